"""Was a lot rightly released? What the system decided, beside what it should have, had it known the truth.

A lot *conforms* when, of it and of every run behind it, none of this is so:

limits    a signal with limits whose true values have their mean beyond them (time-weighted, as the release takes it)
foreign   its composition has a substance, by 2 % or more of its dry mass, that the lots it is made of did not bring
told      what was told of the run is not what was: other lots went in or came out, a mass is off by more than three
          times its stated uncertainty, a start or a stop by more than a minute
claimed   more recycled content would be certified than there is, or on a document of another delivery

A lot that conforms and is released is right, and so is one that does not and is not. Held although it conforms is
*cautious* when what it is held for reveals a fault (see `matching.py`) that did harm: the system could not know
better, and did not let it go. A fault of the network that lost nothing excuses nobody. A verdict of *fail* is never
cautious: it says that the material is bad.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from collector.recorder.validation import TERMINAL
from filiere.chain import Run
from filiere.errors import BalanceError, NotFound
from filiere.plant import Label, Plant
from processing.files import certificate_path, read_refusal, refusal_path
from processing.quality import LotChart, LotQuality, Remembered, lot_quality
from processing.release import COMPLETENESS_MIN, WORDS, Word, judge, judged
from simulators.faults.operators import BATCH_WEIGHT
from simulators.truth.conclusion import Conclusion, Source
from simulators.truth.flaws import Flaws
from simulators.truth.folder import Truth
from simulators.truth.records import RunTruth
from simulators.truth.system import Note, System

BAD = frozenset({"fail", "conditional_fail"})
"""Verdicts that say that the material is bad."""


class Decision(StrEnum):
    """What became of a lot."""

    RELEASED = "released"
    """It has its certificate, or its verdict lets it have one."""
    WITHHELD = "withheld"
    UNDECIDED = "undecided"
    """Its run is not known to the system, or still open there: nothing was decided, and it has no certificate."""


class Outcome(StrEnum):
    """A decision beside the truth."""

    RIGHT = "right"
    CAUTIOUS = "cautious"
    """A lot that conforms was held, and there was a fault to hold it for."""
    WRONGLY_RELEASED = "wrongly_released"
    WRONGLY_HELD = "wrongly_held"


@dataclass(frozen=True, slots=True, kw_only=True)
class LotScore:
    """One lot that is sold, judged twice."""

    lot: str
    line: str
    start_ns: int
    """When the first run behind it began, in truth."""
    stop_ns: int
    """When its own run ended, in truth."""
    flaws: tuple[Label, ...]
    """Why it does not conform, in truth; empty = it does."""
    decision: Decision
    word: Word | None
    """The system's verdict; None = it has none."""
    reasons: tuple[Label, ...]
    """The system's."""
    held_for: tuple[str, ...] = ()
    """Labels of the faults that excuse holding it."""

    @property
    def conforms(self) -> bool:
        """In truth."""
        return not self.flaws

    @property
    def outcome(self) -> Outcome:
        """The decision beside the truth, by the rule at the top of this module."""
        if not self.conforms:
            return Outcome.WRONGLY_RELEASED if self.decision is Decision.RELEASED else Outcome.RIGHT
        if self.decision is Decision.RELEASED:
            return Outcome.RIGHT
        return Outcome.CAUTIOUS if self.held_for and self.word not in BAD else Outcome.WRONGLY_HELD


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decided:
    """What the system says of a lot."""

    decision: Decision
    word: Word | None = None
    reasons: tuple[Label, ...] = ()
    charts: tuple[LotChart, ...] = ()
    targets: tuple[str, ...] = ()
    """What it was withheld for."""
    incomplete: bool = False
    """For readings that are missing, and nothing else."""


def judge_lots(
    truth: Truth, system: System, *, note: Note | None = None
) -> tuple[tuple[LotScore, ...], list[Conclusion]]:
    """Every lot of a certified step that was made in truth, by line and time; and what the system concluded of them.

    Raises:
        StoreUnavailable, StoreRefused: the readings or the truth cannot be read.
    """
    flaws = Flaws(truth, system.plant, system.chain)
    scores: list[LotScore] = []
    conclusions: list[Conclusion] = []
    remembered: Remembered = {}
    for done, cycle in enumerate(truth.cycles):
        if note is not None:
            note(done, len(truth.cycles))
        line = system.plant.line(cycle.line)
        for run in cycle.runs:
            if line.step(run.step).certified:
                decided = _decided(system, run, remembered)
                score = _score(cycle.line, run, decided, flaws)
                scores.append(score)
                conclusions += _concluded(score, run, decided)
    return tuple(scores), conclusions


def _score(line: str, run: RunTruth, decided: _Decided, flaws: Flaws) -> LotScore:
    return LotScore(
        lot=run.lot,
        line=line,
        start_ns=min(each.start_ns for each in flaws.behind(run)),
        stop_ns=run.stop_ns,
        flaws=flaws.of_lot(run),
        decision=decided.decision,
        word=decided.word,
        reasons=decided.reasons,
    )


def _decided(system: System, run: RunTruth, remembered: Remembered) -> _Decided:
    """A certificate or a refusal that is kept goes before a verdict that is computed now."""
    known = system.chain.runs.get(run.id)
    if known is None or not known.closed:
        return _Decided(decision=Decision.UNDECIDED)
    try:
        return _judged(system, known, remembered)
    except (NotFound, BalanceError) as error:
        words = Label(fr=f"Calcul impossible (en anglais : {error})", en=f"Cannot be computed: {error}")
        return _Decided(decision=Decision.WITHHELD, reasons=(words,))


def _judged(system: System, known: Run, remembered: Remembered) -> _Decided:
    """Raises NotFound, BalanceError: a run behind it took no dry mass, or is of another plant file."""
    quality = lot_quality(system.plant, system.chain, system.store, known.lot, remembered=remembered)
    word = None if quality.verdict is None else quality.verdict.word
    reasons = () if quality.verdict is None else quality.verdict.reasons
    decision = Decision.RELEASED if word == "pass" else Decision.WITHHELD
    if system.certificates_dir is not None:
        try:
            reasons = read_refusal(refusal_path(system.certificates_dir, known.lot))
            decision = Decision.WITHHELD
        except NotFound:
            if certificate_path(system.certificates_dir, known.lot).exists():
                decision = Decision.RELEASED
    findings = list(_findings(system.plant, quality))
    return _Decided(
        decision=decision,
        word=word,
        reasons=reasons,
        charts=quality.charts,
        targets=tuple(dict.fromkeys(target for target, _ in findings)),
        incomplete=bool(findings) and all(incomplete for _, incomplete in findings),
    )


def _findings(plant: Plant, quality: LotQuality) -> Iterator[tuple[str, bool]]:
    """Signals that a lot is not released for, and whether it is because their readings are missing.

    A balance that does not close is the finding of the scales on which its run was weighed.
    """
    for run in quality.runs:
        line = plant.line(run.line)
        for signal in line.signals_of(line.step(run.step)):
            if signal.id == BATCH_WEIGHT and not run.balance.balanced:
                yield signal.key, False
        for statistics in run.statistics:
            signal = line.signal(statistics.key)
            seen = judged(run.run, signal, statistics)
            if not signal.critical:
                continue
            if seen.completeness < COMPLETENESS_MIN or seen.mean is None or seen.u95 is None:
                yield signal.key, True
            elif judge(seen.mean, u95=seen.u95, limits=seen.limits) != "pass":
                yield signal.key, False


def undecided(score: LotScore) -> Conclusion:
    """What a lot of which nothing was decided would be held for: the terminal's messages are missing.

    Nobody is told so; it is made to ask which fault did it.
    """
    return Conclusion(
        source=Source.INCOMPLETE,
        line=score.line,
        targets=(TERMINAL,),
        start_ns=score.start_ns,
        stop_ns=score.stop_ns,
        known_ns=None,
        words=Label(fr="rien de décidé", en="undecided"),
        lot=score.lot,
        alarm=False,
    )


def _concluded(score: LotScore, run: RunTruth, decided: _Decided) -> Iterator[Conclusion]:
    if score.decision is Decision.WITHHELD:
        refused = Label(fr="certificat refusé", en="certificate refused")
        said = refused if score.word in (None, "pass") else WORDS[score.word]
        yield Conclusion(
            source=Source.INCOMPLETE if decided.incomplete else Source.RELEASE,
            line=score.line,
            targets=decided.targets,
            start_ns=score.start_ns,
            stop_ns=run.stop_ns,
            known_ns=run.stop_ns,
            words=Label(fr=f"lot : {said.fr}", en=f"lot: {said.en}"),
            lot=score.lot,
        )
    for chart in decided.charts:
        # a chart judges a lot by those before it, as somebody would who looks when its run has closed
        if chart.lots and chart.lots[-1] == score.lot and len(chart.lots) - 1 in chart.chart.outside:
            yield Conclusion(
                source=Source.CHART,
                line=score.line,
                targets=(chart.key,),
                start_ns=run.start_ns,
                stop_ns=run.stop_ns,
                known_ns=run.stop_ns,
                words=Label(fr="moyenne du lot hors de la carte", en="lot mean beyond its chart's limits"),
                lot=score.lot,
            )
