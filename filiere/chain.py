"""The chain of lots and runs that events tell, and what can never be true of it.

`Chain` is the fold of a set of events. It does not depend on the order in which they arrived: an event that names what
has not arrived yet is early (it waits), one that contradicts what is known is refused. Both leave the chain unchanged.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from filiere.clock import to_text
from filiere.errors import EventEarly, EventRefused
from filiere.events import PRODUCT, Event, Portion, Received, RunClosed, RunStarted

GAIN_MAX = Decimal("0.02")
"""A run may weigh this much more dry mass out than in, as a fraction of the feed, before its closing is refused.
A smaller gain beyond its uncertainty is recorded and holds the lot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution of a step on a line."""

    id: str
    line: str
    step: str
    recipe: str
    lot: str
    """The lot that it makes."""
    start_ns: int
    stop_ns: int | None
    """None while the run is open."""
    inputs: tuple[Portion, ...]
    outputs: tuple[Portion, ...]

    @property
    def closed(self) -> bool:
        """All that came out was weighed."""
        return self.stop_ns is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """The material traced as one thing."""

    id: str
    portion: Portion
    """What was weighed when it came to be."""
    created_ns: int
    run: str | None
    """The run that made it; None = it was received."""
    received: Received | None


@dataclass(slots=True)
class Chain:
    """Lots and runs by id. `admit` is the only way to change it."""

    lots: dict[str, Lot] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    _users: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    _makers: dict[str, str] = field(default_factory=dict)
    _events: dict[str, Event] = field(default_factory=dict)

    def snapshot(self) -> "Chain":
        """A copy that later events do not change, for readers in other threads; what it holds is immutable."""
        return Chain(
            lots=dict(self.lots),
            runs=dict(self.runs),
            _users=defaultdict(list, {lot: list(runs) for lot, runs in self._users.items()}),
            _makers=dict(self._makers),
            _events=dict(self._events),
        )

    def users(self, lot_id: str) -> tuple[Run, ...]:
        """The runs that took from a lot, in the order of their start."""
        return tuple(
            sorted((self.runs[run] for run in self._users.get(lot_id, ())), key=lambda run: (run.start_ns, run.id))
        )

    def stock_kg(self, lot_id: str) -> Decimal:
        """What is left of a lot, wet kg."""
        taken = sum((p.mass_kg for run in self.users(lot_id) for p in run.inputs if p.lot == lot_id), Decimal(0))
        return self.lots[lot_id].portion.mass_kg - taken

    def open_run(self, line: str) -> Run | None:
        """The run that is under way on a line, the latest started if a closing is still on its way."""
        runs = [run for run in self.runs.values() if run.line == line and not run.closed]
        return max(runs, key=lambda run: run.start_ns, default=None)

    def admit(self, event: Event) -> bool:
        """Add one event. Returns False when it is already there.

        Raises:
            EventEarly: it names a lot or a run that is not known yet; the chain is unchanged.
            EventRefused: it contradicts what is known; the chain is unchanged.
        """
        known = self._events.get(event.event_id)
        if known is not None:
            if known == event:
                return False
            raise EventRefused(f"got another event with eventID {event.event_id}; expected a new id for a new event")
        match event:
            case Received():
                self._receive(event)
            case RunStarted():
                self._start(event)
            case RunClosed():
                self._close(event)
        self._events[event.event_id] = event
        return True

    def _receive(self, event: Received) -> None:
        lot = Lot(id=event.portion.lot, portion=event.portion, created_ns=event.event_time_ns, run=None, received=event)
        self._refuse_known_lot(lot.id, run=None)
        self.lots[lot.id] = lot

    def _start(self, event: RunStarted) -> None:
        if event.run in self.runs:
            raise EventRefused(f"run {event.run}: got a second start; expected a new run id")
        self._refuse_known_lot(event.lot, run=event.run)
        demand: dict[str, Decimal] = defaultdict(Decimal)
        for portion in event.inputs:
            self._check_input(event, portion)
            demand[portion.lot] += portion.mass_kg
        for lot_id, mass_kg in demand.items():
            stock_kg = self.stock_kg(lot_id)
            if mass_kg > stock_kg:
                raise EventRefused(
                    f"run {event.run}: got {mass_kg} kg taken from lot {lot_id}; expected at most the {stock_kg} kg"
                    " left: weigh again, or name the other lot that was used"
                )
        self.runs[event.run] = Run(
            id=event.run,
            line=event.line,
            step=event.step,
            recipe=event.recipe,
            lot=event.lot,
            start_ns=event.event_time_ns,
            stop_ns=None,
            inputs=event.inputs,
            outputs=(),
        )
        self._makers[event.lot] = event.run
        for lot_id in demand:
            self._users[lot_id].append(event.run)

    def _check_input(self, event: RunStarted, portion: Portion) -> None:
        if portion.lot == event.lot:
            raise EventRefused(f"run {event.run}: lot {portion.lot} would be made out of itself; name its real inputs")
        lot = self.lots.get(portion.lot)
        if lot is None:
            raise EventEarly(
                f"run {event.run}: lot {portion.lot} is not known yet; send the event that receives or makes it"
            )
        if lot.portion.role != PRODUCT:
            raise EventRefused(
                f"run {event.run}: got residue {lot.id} as an input; expected a product or a received lot"
            )
        if lot.portion.material != portion.material:
            raise EventRefused(
                f"run {event.run}: got {portion.material} taken from lot {lot.id}; expected {lot.portion.material}"
            )
        if lot.created_ns > event.event_time_ns:
            raise EventRefused(
                f"run {event.run}: got lot {lot.id} used at {to_text(event.event_time_ns)}, before it existed;"
                f" expected a start at or after {to_text(lot.created_ns)}"
            )

    def _close(self, event: RunClosed) -> None:
        run = self.runs.get(event.run)
        if run is None:
            raise EventEarly(f"run {event.run}: its start is not known yet; send the event that starts it")
        if run.stop_ns is not None:
            raise EventRefused(
                f"run {run.id}: got a second closing at {to_text(event.event_time_ns)}; it was closed at"
                f" {to_text(run.stop_ns)}: expected one closing a run"
            )
        if event.line != run.line:
            raise EventRefused(
                f"run {run.id}: got a closing on line {event.line}; expected {run.line}, where it started"
            )
        if event.event_time_ns < run.start_ns:
            raise EventRefused(
                f"run {run.id}: got a closing at {to_text(event.event_time_ns)}; expected one after its start at"
                f" {to_text(run.start_ns)}"
            )
        lots = _lots_made(event)
        made = lots.get(run.lot)
        if made is None or made.portion.role != PRODUCT:
            raise EventRefused(
                f"run {run.id}: got no product {run.lot} among its outputs; expected the lot named at its start"
            )
        for lot_id in lots:
            self._refuse_known_lot(lot_id, run=run.id)
        _refuse_gain(run, event)
        self.runs[run.id] = Run(
            id=run.id,
            line=run.line,
            step=run.step,
            recipe=run.recipe,
            lot=run.lot,
            start_ns=run.start_ns,
            stop_ns=event.event_time_ns,
            inputs=run.inputs,
            outputs=event.outputs,
        )
        self.lots |= lots

    def _refuse_known_lot(self, lot_id: str, *, run: str | None) -> None:
        """A lot comes into being once: by its receipt (`run` is None), or by the run that said so at its start."""
        maker = self._makers.get(lot_id, run)
        if maker != run:
            raise EventRefused(f"lot {lot_id}: run {maker} makes it; expected a new lot id")
        if lot_id in self.lots:
            raise EventRefused(
                f"lot {lot_id}: it exists since {to_text(self.lots[lot_id].created_ns)}; expected a new lot id"
            )


def _lots_made(event: RunClosed) -> Mapping[str, Lot]:
    lots: dict[str, Lot] = {}
    for portion in event.outputs:
        if portion.lot in lots:
            raise EventRefused(f"run {event.run}: got lot {portion.lot} twice among the outputs; add its weighings up")
        lots[portion.lot] = Lot(
            id=portion.lot, portion=portion, created_ns=event.event_time_ns, run=event.run, received=None
        )
    return lots


def _refuse_gain(run: Run, event: RunClosed) -> None:
    """Dry mass out may exceed dry mass in by GAIN_MAX of the feed at most."""
    feed_kg = sum((portion.dry_kg for portion in run.inputs), Decimal(0))
    out_kg = sum((portion.dry_kg for portion in event.outputs), Decimal(0))
    if out_kg > feed_kg * (1 + GAIN_MAX):
        raise EventRefused(
            f"run {run.id}: got {out_kg:.1f} kg dry out of {feed_kg:.1f} kg dry in; expected at most {GAIN_MAX:.0%}"
            " more: weigh again, or name the input that is missing"
        )


def fold(events: Iterable[Event]) -> Chain:
    """Build a chain of events in any order. Raises EventEarly when something that is named never comes."""
    chain = Chain()
    waiting = list(events)
    while waiting:
        early = list(_admit_all(chain, waiting))
        if len(early) == len(waiting):
            chain.admit(early[0])
        waiting = early
    return chain


def _admit_all(chain: Chain, events: Iterable[Event]) -> Iterator[Event]:
    for event in events:
        try:
            chain.admit(event)
        except EventEarly:
            yield event
