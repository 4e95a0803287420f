"""The score: truth beside what the system concluded.

detection delay       from a fault's onset until somebody could know of it (see `matching.py`)
missed                a fault that nothing reveals, and that was not absorbed either
false alarms a day    alarms that reveal no fault, each episode once and once more each hour that it stands, over the
                      days of work of all lines together: 24 h in which a line is on, be it hot and waiting; one that
                      is off calls nobody
balance error         what the system cannot account for in a run, dry; in truth it is 0 to the gram
wrong verdicts        lots released that do not conform, and held that do (see `verdicts.py`)

Of a simulation that still runs, or was stopped, the score ends where the system last heard of a line: what is not
published yet is neither missed nor wrong, and is told. A line of which it heard nothing at all is scored whole.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache, partial
from statistics import fmean, median

from filiere.clock import NS_PER_S
from filiere.errors import BalanceError, SettingsError
from filiere.plant import Plant
from filiere.readings import CLOCK_SUSPECT
from processing.balance import mass_balance
from simulators.truth.book import Absorption, of_book
from simulators.truth.conclusion import Conclusion, Source
from simulators.truth.folder import Truth
from simulators.truth.matching import GRACE_S, FaultScore, Routes, match, reveals
from simulators.truth.records import FaultTruth
from simulators.truth.system import Note, System
from simulators.truth.verdicts import Decision, LotScore, Outcome, judge_lots, undecided
from simulators.truth.watched import of_readings

GRAMS_PER_KG = 1000
S_PER_DAY = 86_400
SILENT_S = 60.0
"""Between a line's last reading and the end of what was published: its fastest device is never silent so long."""

Concluded = Callable[[Truth, System], Sequence[Conclusion]]
"""A further part of the system that concludes something, such as its alarms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceScore:
    """One closed run: what its books say beside what was."""

    run: str
    line: str
    feed_true_g: int
    """Dry, as all of these."""
    feed_error_g: float
    """Told less true."""
    product_error_g: float
    error_g: float
    """In less out, as told: what the system cannot account for. In truth nothing is missing."""
    u_g: float
    """Standard uncertainty that the system states of it (k = 1)."""
    balanced: bool
    """The system's word: the error is within its uncertainty."""

    @property
    def error_percent(self) -> float:
        """Of the feed; 0 where nothing truly went in."""
        return 100.0 * self.error_g / self.feed_true_g if self.feed_true_g else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LineSpan:
    """What was simulated of a line."""

    line: str
    """Line path."""
    start_ns: int
    stop_ns: int
    work_s: float
    """Without the time in which it was off."""
    unheard_s: float
    """From there to the beginning of the last cycle: the system heard nothing of it, and it is not scored. The last
    cycle itself may not be published yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How well a system did with one simulation."""

    scenario: str
    seed: int
    lines: tuple[LineSpan, ...]
    grace_s: float
    faults: tuple[FaultScore, ...]
    conclusions: tuple[Conclusion, ...]
    """All of them, by time."""
    false_alarms: tuple[Conclusion, ...]
    lots: tuple[LotScore, ...]
    balances: tuple[BalanceScore, ...]

    @property
    def days(self) -> float:
        """Days of work of all lines together."""
        return sum(each.work_s for each in self.lines) / S_PER_DAY

    @property
    def missed(self) -> tuple[FaultTruth, ...]:
        """Faults that nothing reveals, and that did harm."""
        return tuple(each.fault for each in self.faults if each.missed)

    @property
    def absorbed(self) -> tuple[FaultTruth, ...]:
        """Faults that nothing had to reveal."""
        return tuple(each.fault for each in self.faults if each.absorbed)

    @property
    def delays_s(self) -> tuple[float, ...]:
        """Of the faults that were found at a time that can be said, rising."""
        return tuple(sorted(each.delay_s for each in self.faults if each.delay_s is not None))

    @property
    def median_delay_s(self) -> float | None:
        """None = no fault was found at a time that can be said."""
        return median(self.delays_s) if self.delays_s else None

    @property
    def false_calls(self) -> int:
        """How often somebody was called in vain: an alarm that stands calls again."""
        return sum(each.calls for each in self.false_alarms)

    @property
    def false_alarms_a_day(self) -> float:
        """Calls in vain, a line's day of work."""
        return self.false_calls / self.days

    @property
    def outcomes(self) -> Counter[Outcome]:
        """Outcome → lots."""
        return Counter(lot.outcome for lot in self.lots)

    @property
    def wrong_verdicts(self) -> tuple[LotScore, ...]:
        """Lots that were wrongly released or wrongly held."""
        return tuple(lot for lot in self.lots if lot.outcome in (Outcome.WRONGLY_RELEASED, Outcome.WRONGLY_HELD))

    @property
    def mean_balance_error_g(self) -> float | None:
        """Mean of |error| over the runs; None = no run is closed."""
        return fmean(abs(each.error_g) for each in self.balances) if self.balances else None

    @property
    def worst_balance(self) -> BalanceScore | None:
        """The run with the largest |error|."""
        return max(self.balances, key=lambda each: abs(each.error_g), default=None)


def score(
    truth: Truth,
    system: System,
    *,
    grace_s: float = GRACE_S,
    further: Sequence[Concluded] = (),
    note: Note | None = None,
) -> Score:
    """Join the truth of a simulation with what the system concluded of it.

    `further`: what else concludes something. `note` is called with steps done and all steps.

    Raises:
        SettingsError: the truth is of another plant file.
        NotFound, StoreUnavailable, StoreRefused: what either side keeps cannot be read.
    """
    if truth.plant != system.plant.digest:
        raise SettingsError(
            f"{truth.folder}: got the truth of plant {truth.plant[:12]}…; expected {system.plant.digest[:12]}…, the"
            " plant file of FILIERE_PLANT: name the one that was simulated"
        )
    readings = of_readings(truth, system, note=_part(note, 0))
    lots, of_lots = judge_lots(truth, system, note=_part(note, 1))
    conclusions = sorted(
        [*readings, *of_book(truth, system), *of_lots, *(each for part in further for each in part(truth, system))],
        key=lambda each: (each.start_ns, each.line, each.source, each.targets, each.lot, each.words.en),
    )
    lines = tuple(_span(truth, system, line) for line in truth.lines)
    stop_ns = {each.line: each.stop_ns for each in lines}
    faults = [fault for fault in truth.faults if fault.start_ns < stop_ns[fault.line]]
    absorbs = cache(Absorption(truth, system))
    routes = _routes(system.plant)
    found, false_alarms = match(faults, conclusions, routes=routes, grace_s=grace_s)
    shows = partial(reveals, routes=routes, grace_s=grace_s)
    return Score(
        scenario=truth.cycles[0].scenario,
        seed=truth.cycles[0].seed,
        lines=lines,
        grace_s=grace_s,
        faults=tuple(replace(each, absorbed=not each.found and absorbs(each.fault)) for each in found),
        conclusions=tuple(conclusions),
        false_alarms=false_alarms,
        lots=tuple(_excused(lot, of_lots, faults, shows, absorbs) for lot in lots if lot.stop_ns <= stop_ns[lot.line]),
        balances=tuple(_balances(truth, system)),
    )


def _excused(
    lot: LotScore,
    of_lots: Sequence[Conclusion],
    faults: Sequence[FaultTruth],
    shows: Callable[[Conclusion, FaultTruth], bool],
    absorbs: Callable[[FaultTruth], bool],
) -> LotScore:
    """The same, with the faults for which it was held although it conforms."""
    if not lot.conforms or lot.decision is Decision.RELEASED:
        return lot
    holds = [said for said in of_lots if said.lot == lot.lot and said.source is not Source.CHART] or [undecided(lot)]
    held_for = (fault.label for fault in faults if any(shows(hold, fault) for hold in holds) and not absorbs(fault))
    return replace(lot, held_for=tuple(held_for))


def _span(truth: Truth, system: System, line: str) -> LineSpan:
    start_ns, stop_ns = truth.span_ns(line)
    # what is dated by its arrival says nothing of simulated time
    believed = (each.time_ns for each in system.store.latest(line) if each.quality != CLOCK_SUSPECT)
    heard_ns = max(believed, default=stop_ns)
    if heard_ns >= start_ns:
        stop_ns = min(stop_ns, heard_ns + round(SILENT_S * NS_PER_S))
    work_ns = sum(max(0, min(cycle.stop_ns, stop_ns) - cycle.start_ns) for cycle in truth.of_line(line))
    return LineSpan(
        line=line,
        start_ns=start_ns,
        stop_ns=stop_ns,
        work_s=work_ns / NS_PER_S,
        unheard_s=max(0, max(cycle.start_ns for cycle in truth.of_line(line)) - stop_ns) / NS_PER_S,
    )


def _routes(plant: Plant) -> Routes:
    """A plant file has the units of a line in the order of the route."""
    return {line.path: [unit.id for unit in line.units] for line in plant.lines}


def _part(note: Note | None, part: int) -> Note | None:
    """Readings and lots take about as long as each other."""
    return None if note is None else lambda done, count: note(part * count + done, 2 * count)


def _balances(truth: Truth, system: System) -> Iterator[BalanceScore]:
    """Every run that is closed in the books, by line and time."""
    for cycle in truth.cycles:
        for run in cycle.runs:
            told = system.chain.runs.get(run.id)
            if told is None or not told.closed:
                continue
            try:
                balance = mass_balance(told)
            except BalanceError:
                continue  # nothing was told to have gone in: the release says so
            yield BalanceScore(
                run=run.id,
                line=cycle.line,
                feed_true_g=run.feed_dry_g,
                feed_error_g=_grams(balance.feed_dry_kg) - run.feed_dry_g,
                product_error_g=_grams(balance.product_dry_kg) - run.product_dry_g,
                error_g=_grams(balance.difference_kg),
                u_g=_grams(balance.u_kg),
                balanced=balance.balanced,
            )


def _grams(mass_kg: Decimal) -> float:
    return float(mass_kg * GRAMS_PER_KG)
