"""Issuing: fetch the readings of the runs behind a lot, compute the statement, seal, sign, keep. Doing it again
changes nothing.

The same ledger and the same readings make the same bytes: no clock is read for what is signed, and what was sealed or
issued once stands.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from filiere.archive import SealedRun, read_run, write_run
from filiere.chain import Chain, Run
from filiere.errors import BalanceError, NotAuthentic, NotFound
from filiere.plant import Label, Plant
from filiere.readings_store import ReadingsStore
from processing.balance import MassBalance, mass_balance
from processing.certificate import read_certificate, sign, verify
from processing.claims import claim
from processing.compose import RunEvidence, make_statement
from processing.files import (
    archive_path,
    certificate_path,
    disk_errors_said,
    keep_certificate,
    keep_refusal,
    lift_refusal,
)
from processing.genealogy import in_order, trace
from processing.keys import key_id, public_pem
from processing.policy import ISSUE_POLICY, Candidate, IssueRefused, Policy
from processing.quality import RunQuality, fetch_run, keys_of, run_statistics, verdict_of_runs
from processing.release import Verdict, Word
from processing.seal import seal
from processing.statement import certificate_id
from processing.statistics import SignalStatistics


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate that was issued, or refused."""

    lot: str
    certificate_id: str
    """Empty when it was refused."""
    path: Path
    """The certificate; or the file that keeps why it was refused."""
    mass_kg: Decimal | None
    """None while its run is open."""
    recycled: Decimal | None
    """Recycled content, 0..1, and its U95; None when it was refused."""
    u95: Decimal | None
    verdict: Word | None
    refused: tuple[Label, ...] = ()
    """Why there is no certificate."""


@disk_errors_said()
def issue_lot(
    *,
    plant: Plant,
    chain: Chain,
    store: ReadingsStore,
    key: Ed25519PrivateKey,
    lot_id: str,
    archive_dir: Path,
    certificates_dir: Path,
    policy: Policy = ISSUE_POLICY,
) -> Issued:
    """Issue the certificate of a lot; the one that is there already stands.

    Raises:
        NotFound: nothing makes such a lot.
        IssueRefused: a policy refuses. When the lot exists, the reasons are kept in `{lot}.refused.json`.
        StoreUnavailable, StoreRefused: the readings cannot be had, or a file not be kept; nothing was issued.
    """
    run = run_that_makes(chain, lot_id)
    path = certificate_path(certificates_dir, lot_id)
    if path.exists():
        lift_refusal(certificates_dir, lot_id)
        return _already_issued(path)
    try:
        sealed = _fetch(plant, chain, store, run, archive_dir)
        content = _certificate(plant, chain, run, sealed=sealed, key=key, policy=policy)
    except IssueRefused as refused:
        if run.closed:  # a run that is only open is no news
            mass_kg = chain.lots[lot_id].portion.mass_kg
            keep_refusal(certificates_dir, run, mass_kg=mass_kg, reasons=refused.labels)
        raise
    for each, readings in sealed.items():
        write_run(archive_path(archive_dir, each), readings)
    lift_refusal(certificates_dir, lot_id)
    keep_certificate(path, content)
    return _already_issued(path)  # of two issuers the first one's stands


def _certificate(
    plant: Plant,
    chain: Chain,
    run: Run,
    *,
    sealed: Mapping[str, SealedRun],
    key: Ed25519PrivateKey,
    policy: Policy,
) -> bytes:
    """The certificate of what `run` makes. Raises IssueRefused, also for what cannot be computed."""
    try:
        statistics = {each: run_statistics(plant, chain.runs[each], readings) for each, readings in sealed.items()}
        policy.check(make_candidate(plant, chain, run, sealed=sealed, statistics=statistics))
        evidence = {
            each: RunEvidence(seal=seal(readings), statistics=statistics[each]) for each, readings in sealed.items()
        }
        statement = make_statement(plant, chain, run.lot, evidence=evidence, key_id=key_id(key.public_key()))
    except (NotFound, BalanceError, NotAuthentic) as error:
        raise _not_computed(error) from error
    content = sign(statement, key)
    _refuse_what_does_not_verify(content, key, sealed)
    return content


def _not_computed(error: Exception) -> IssueRefused:
    return IssueRefused((Label(fr=f"Calcul impossible (en anglais : {error})", en=f"Cannot be computed: {error}"),))


def _refuse_what_does_not_verify(content: bytes, key: Ed25519PrivateKey, sealed: Mapping[str, SealedRun]) -> None:
    """A certificate that a stranger would refuse is never issued: it is checked as they check it, readings and all."""
    verification = verify(content, trusted=[public_pem(key.public_key())], readings=tuple(sealed.values()))
    if not verification.authentic:
        raise IssueRefused(tuple(check.label for check in verification.checks if not check.ok))


def run_that_makes(chain: Chain, lot_id: str) -> Run:
    """The run that was started to make a lot, closed or not. Raises NotFound: received, a residue, or not known."""
    for run in chain.runs.values():
        if run.lot == lot_id:
            return run
    known = chain.lots.get(lot_id)
    if known is None:
        raise NotFound(f"no lot {lot_id!r} in the ledger; expected a lot that a run was started for")
    came = "was received" if known.run is None else f"came out of run {known.run} beside {chain.runs[known.run].lot!r}"
    raise NotFound(f"lot {lot_id!r} {came}; expected a lot that a run was started for")


def runs_behind(chain: Chain, run: Run) -> tuple[Run, ...]:
    """The runs behind what `run` makes, itself last."""
    behind = {run.id: run}
    for portion in run.inputs:
        behind |= {each.id: each for each in trace(chain, portion.lot, "back").runs}
    return in_order(behind.values())


def make_candidate(
    plant: Plant,
    chain: Chain,
    run: Run,
    *,
    sealed: Mapping[str, SealedRun],
    statistics: Mapping[str, tuple[SignalStatistics, ...]],
) -> Candidate:
    """Everything that the policies look at."""
    behind = runs_behind(chain, run)
    balances = {each.id: mass_balance(each) for each in behind if each.closed}
    return Candidate(
        lot=run.lot,
        run=run,
        behind=behind,
        balances=balances,
        claim=claim(chain, run.lot) if run.closed else None,
        verdict=_verdict(plant, behind, balances, statistics),
        sealed=sealed,
        signals={each.id: _keys(plant, each) for each in behind},
    )


def _verdict(
    plant: Plant,
    behind: Sequence[Run],
    balances: Mapping[str, MassBalance],
    statistics: Mapping[str, tuple[SignalStatistics, ...]],
) -> Verdict | None:
    """The release; None while a run behind is open or has no readings."""
    if not all(each.id in balances and each.id in statistics for each in behind):
        return None
    return verdict_of_runs(
        plant,
        (
            RunQuality(
                run=each.id,
                line=each.line,
                step=each.step,
                statistics=statistics[each.id],
                balance=balances[each.id],
            )
            for each in behind
        ),
    )


def _keys(plant: Plant, run: Run) -> tuple[str, ...]:
    line = plant.line(run.line)
    return keys_of(line, line.step(run.step))


def _fetch(plant: Plant, chain: Chain, store: ReadingsStore, run: Run, archive_dir: Path) -> dict[str, SealedRun]:
    """Readings of every closed run behind: the sealed ones where there are, else the store's. Raises IssueRefused."""
    sealed: dict[str, SealedRun] = {}
    try:
        for each in runs_behind(chain, run):
            path = archive_path(archive_dir, each.id)
            if path.exists():
                sealed[each.id] = read_run(path)
            elif each.closed:
                sealed[each.id] = fetch_run(plant, store, each)
    except (NotFound, BalanceError, NotAuthentic) as error:
        raise _not_computed(error) from error
    return sealed


def _already_issued(path: Path) -> Issued:
    statement = read_certificate(path.read_bytes()).statement
    return Issued(
        lot=statement.lot.id,
        certificate_id=certificate_id(statement.lot.id, statement.revision),
        path=path,
        mass_kg=Decimal(statement.lot.mass_kg),
        recycled=Decimal(statement.claim.recycled_content),
        u95=Decimal(statement.claim.u95),
        verdict=statement.release.verdict,
    )
