"""Issue policies: each is a rule that may refuse a certificate, and they compose.

A policy says why it refuses in both languages. `AllOf` asks every one, so that all reasons are told at once; with
nothing in it it refuses, because a certificate that nobody looked at must not be.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from filiere.archive import SealedRun
from filiere.chain import Run
from filiere.errors import PolicyRefused
from filiere.plant import Label
from processing.balance import MassBalance
from processing.claims import Claim
from processing.exact import decimal_text
from processing.release import WORDS, Verdict, comma, unbalanced


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A lot that may get a certificate, with all that is known of it."""

    lot: str
    run: Run
    """The run that makes it."""
    behind: tuple[Run, ...]
    """Every run behind it, this one last."""
    balances: Mapping[str, MassBalance]
    """Run id → balance, of the closed ones."""
    claim: Claim | None
    """None while its run is open."""
    verdict: Verdict | None
    """None while its run is open."""
    sealed: Mapping[str, SealedRun]
    """Run id → its readings."""
    signals: Mapping[str, tuple[str, ...]]
    """Run id → keys of the signals that the plant model says belong to it, sorted."""


class IssueRefused(PolicyRefused):
    """A certificate may not be issued; `labels` are the reasons in both languages."""

    def __init__(self, labels: tuple[Label, ...]) -> None:
        super().__init__(tuple(label.en for label in labels))
        self.labels = labels


class Policy(Protocol):
    """A rule that a candidate must pass."""

    def check(self, candidate: Candidate) -> None:
        """Return when it passes. Raises IssueRefused with every reason why not."""
        ...


@dataclass(frozen=True, slots=True)
class AllOf:
    """Passes when every one of its policies does."""

    policies: tuple[Policy, ...]

    def check(self, candidate: Candidate) -> None:
        """Raises IssueRefused with the reasons of all that refuse; an empty one always does."""
        if not self.policies:
            raise _refused("Aucune règle d'émission : rien n'a été contrôlé", "No issue policy: nothing was looked at")
        labels: list[Label] = []
        for policy in self.policies:
            try:
                policy.check(candidate)
            except IssueRefused as error:
                labels.extend(label for label in error.labels if label not in labels)
        if labels:
            raise IssueRefused(tuple(labels))


@dataclass(frozen=True, slots=True)
class RunIsClosed:
    """What the lot's run made was weighed."""

    def check(self, candidate: Candidate) -> None:
        """Raises IssueRefused."""
        if not candidate.run.closed:
            raise _refused(
                f"L'opération {candidate.run.id} est encore ouverte : la clore avec ses pesées",
                f"Run {candidate.run.id} is still open: close it with its weighings",
            )


@dataclass(frozen=True, slots=True)
class ChainIsComplete:
    """Every run behind the lot is closed."""

    def check(self, candidate: Candidate) -> None:
        """Raises IssueRefused."""
        open_runs = [run.id for run in candidate.behind if not run.closed and run.id != candidate.run.id]
        if open_runs or not candidate.behind:
            names = ", ".join(open_runs) or "–"
            raise _refused(f"Opérations en amont encore ouvertes : {names}", f"Runs upstream still open: {names}")


@dataclass(frozen=True, slots=True)
class BalancesHold:
    """The mass balance of every run behind the lot is within its uncertainty."""

    def check(self, candidate: Candidate) -> None:
        """Raises IssueRefused, one reason a run."""
        labels = []
        for run in candidate.behind:
            balance = candidate.balances.get(run.id)
            if balance is None:
                labels.append(
                    Label(fr=f"Opération {run.id} : pas de bilan matière", en=f"Run {run.id}: no mass balance")
                )
            elif not balance.balanced:
                labels.append(unbalanced(run.id, balance))
        if labels:
            raise IssueRefused(tuple(labels))


@dataclass(frozen=True, slots=True)
class OriginsSumToOne:
    """Every gram of the lot has exactly one origin."""

    def check(self, candidate: Candidate) -> None:
        """Raises IssueRefused."""
        total = sum(candidate.claim.origin.values(), Decimal(0)) if candidate.claim is not None else Decimal(0)
        if total != 1:
            raise _refused(
                f"Les origines ne font pas 1 mais {comma(decimal_text(total))}",
                f"The origins do not sum to 1 but to {decimal_text(total)}",
            )


@dataclass(frozen=True, slots=True)
class VerdictIsPass:
    """The lot was released without reserve."""

    def check(self, candidate: Candidate) -> None:
        """Raises IssueRefused with the reasons of the verdict."""
        if candidate.verdict is None:
            raise _refused("Pas encore de verdict de libération", "No release verdict yet")
        if candidate.verdict.word != "pass":
            word = WORDS[candidate.verdict.word]
            raise IssueRefused((Label(fr=f"Lot {word.fr}", en=f"Lot: {word.en}"), *candidate.verdict.reasons))


@dataclass(frozen=True, slots=True)
class ReadingsAreSealed:
    """Every run behind the lot has its readings: exactly the signals of its step, over exactly its time."""

    def check(self, candidate: Candidate) -> None:
        """Raises IssueRefused, one reason a run."""
        labels = []
        for run in candidate.behind:
            sealed = candidate.sealed.get(run.id)
            if sealed is None or sealed.keys != candidate.signals.get(run.id):
                labels.append(
                    Label(
                        fr=f"Opération {run.id} : les mesures de tous ses signaux ne sont pas scellées",
                        en=f"Run {run.id}: the readings of all its signals are not sealed",
                    )
                )
            elif (sealed.start_ns, sealed.stop_ns) != (run.start_ns, run.stop_ns):
                labels.append(
                    Label(
                        fr=f"Opération {run.id} : les mesures scellées couvrent un autre intervalle",
                        en=f"Run {run.id}: the sealed readings cover another interval",
                    )
                )
        if labels:
            raise IssueRefused(tuple(labels))


def _refused(fr: str, en: str) -> IssueRefused:
    return IssueRefused((Label(fr=fr, en=en),))


ISSUE_POLICY = AllOf(
    (RunIsClosed(), ChainIsComplete(), BalancesHold(), OriginsSumToOne(), VerdictIsPass(), ReadingsAreSealed())
)
"""What a certificate of this workshop must pass."""
