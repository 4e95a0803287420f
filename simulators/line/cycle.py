"""One lot cycle of a line: what is true, what is shown and told of it, and what the next cycle starts from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from operator import attrgetter

from filiere.clock import NS_PER_S
from filiere.events import Event
from filiere.plant import Line, Plant, Unit
from simulators.faults.fault import FOREVER_NS, Active, Fault, Window
from simulators.faults.operators import BATCH_WEIGHT, told
from simulators.line.calendar import next_start_ns
from simulators.line.display import Display, Shown, boot_of
from simulators.line.grid import grid_of
from simulators.line.machines import Machine, Ran
from simulators.line.material import aired
from simulators.line.messages import (
    MESSAGE_SPAN_S,
    TERMINAL,
    Draft,
    Network,
    Publication,
    drafts_of_events,
    drafts_of_rows,
    publication,
)
from simulators.line.models import rested, trace_of
from simulators.line.operator import plan_cycle
from simulators.line.plan import Plan
from simulators.line.rows import DeviceRows
from simulators.line.state import CycleStart, SimulatorState
from simulators.line.truth import LotTruth, lots_of
from simulators.scenarios.scenario import NORMAL, Scenario

__all__ = ["Cycle", "Publication", "run_cycle"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """One lot cycle, computed."""

    line: Line
    seed: int
    plan: Plan
    """What is true."""
    told: tuple[Event, ...]
    """What people say of it, in the order in which they say it; its events, where nobody errs."""
    active: tuple[Active, ...]
    """The faults of this line whose onset is known, in that order, those that are over too."""
    devices: tuple[DeviceRows, ...]
    lots: tuple[LotTruth, ...]
    """What was received and made in this cycle."""
    drafts: tuple[Draft, ...]
    """Every message as it is sent, in that order; how it arrives is the network's."""
    following: CycleStart
    """Where the next cycle of the line starts."""

    @property
    def store_air_g(self) -> int:
        """Water that the lots in store gave to the air until the next cycle begins; negative = they took some up."""
        return sum(lot.water_g for lot in self.plan.stock) - sum(lot.water_g for lot in self.following.stock)

    @property
    def publications(self) -> Iterator[Publication]:
        """Every message of this cycle as it arrives, in that order, each time anew."""
        network = Network(self.line, self.seed)
        for index, (time_ns, draft) in enumerate(network.take(self.drafts, self.active, FOREVER_NS)):
            yield publication(network, time_ns, draft, self.plan.cycle, index)


def run_cycle(plant: Plant, cycle: CycleStart, state: SimulatorState, *, scenario: Scenario = NORMAL) -> Cycle:
    """Compute the cycle that begins at `cycle`; `state` gives the seed and the simulation's own beginning.

    Raises:
        PlantError: the plant file names a model that does not exist, or gives it a parameter of the wrong kind.
    """
    line = plant.line(cycle.line)
    faults = [fault for fault in scenario.faults if fault.line == line.path]
    plan = plan_cycle(plant, line, cycle, seed=state.seed)
    onsets, active = _active(faults, plan, state)
    if active:
        plan = plan_cycle(plant, line, cycle, seed=state.seed, active=active)
    stop_ns = cycle.start_ns + plan.duration_s * NS_PER_S
    begun = cycle.shift_lots + 1
    next_ns = next_start_ns(scenario.calendar, plant.timezone, stop_ns, lots=begun)
    over = scenario.calendar is not None and begun >= scenario.calendar.lots_a_day
    work = _Work(plant=plant, line=line, cycle=cycle, state=state, plan=plan, active=active, stop_ns=stop_ns)
    made: dict[str, _Made] = {}
    for unit in line.units:
        made[unit.id] = work.device(unit, {name: each.ran for name, each in made.items()})
    said = told(plan.events, active, _scales(line, plan))
    first = cycle.seq.get(TERMINAL, 0)
    boot = boot_of(state, line, TERMINAL, 0)
    events = drafts_of_events(said, boot=boot, first=first, closing=plan.events[-1].event_id)
    return Cycle(
        line=line,
        seed=state.seed,
        plan=plan,
        told=said,
        active=active,
        devices=tuple(each.shown.rows for each in made.values()),
        lots=lots_of(plan, said),
        drafts=tuple(merge(events, *(each.drafts for each in made.values()), key=attrgetter("due_ns"))),
        following=CycleStart(
            line=line.path,
            number=cycle.number + 1,
            start_ns=next_ns,
            day=plan.day,
            counts=plan.counts,
            stock=aired(plant, line, plan.stock, cycle.start_ns, next_ns),
            seq={name: each.shown.seq for name, each in made.items()} | {TERMINAL: first + len(events)},
            machines={
                unit.id: rested(unit, made[unit.id].ran.trace.memory, (next_ns - stop_ns) / NS_PER_S)
                for unit in line.units
            },
            boots={name: each.shown.boots for name, each in made.items()},
            onsets=onsets,
            firsts={key: first for each in made.values() for key, first in each.shown.firsts.items()},
            shift_lots=0 if over else begun,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """What one device did in a cycle."""

    ran: Ran
    shown: Shown
    drafts: list[Draft]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What all devices of a cycle share."""

    plant: Plant
    line: Line
    cycle: CycleStart
    state: SimulatorState
    plan: Plan
    active: tuple[Active, ...]
    stop_ns: int

    def device(self, unit: Unit, ran: Mapping[str, Ran]) -> _Made:
        """Its machine, then what it shows, then what it sends; `ran`: the units before it in the line."""
        grid = grid_of(self.line, unit, self.plan, seed=self.state.seed)
        memory = self.cycle.machines.get(unit.id, {})
        machine = Machine(
            unit=unit,
            plan=self.plan,
            active=self.active,
            seed=self.state.seed,
            time_s=grid.time_s,
            period_s=grid.period_s,
            memory=memory,
            ran=ran,
        )
        trace = trace_of(machine)
        display = Display(
            line=self.line,
            unit=unit,
            grid=grid,
            cycle=self.cycle,
            stop_ns=self.stop_ns,
            state=self.state,
            timezone=self.plant.timezone,
            active=self.active,
        )
        shown = display.show(trace)
        most = max(1, min(self.state.rows_max, int(MESSAGE_SPAN_S / grid.period_s)))
        return _Made(
            ran=Ran(time_s=grid.time_s, trace=trace, memory=memory),
            shown=shown,
            drafts=drafts_of_rows(shown.rows, grid.time_ms, most=most),
        )


def _active(faults: list[Fault], plan: Plan, state: SimulatorState) -> tuple[dict[str, int], tuple[Active, ...]]:
    """Which faults' onsets are known: (label → onset of those that began with a lot until now, the faults).

    A fault that begins with a lot begins as the lot is planned: no fault changes when another one begins.
    """
    onsets: dict[str, int] = {}
    active: list[Active] = []
    for fault in faults:
        after_ns = round(min(fault.onset.after_s, FOREVER_NS / NS_PER_S) * NS_PER_S)
        start_ns: int | None = min(state.start_ns + after_ns, FOREVER_NS)
        if fault.onset.lot is not None:
            start_ns = plan.cycle.onsets.get(fault.label)
            if start_ns is None and fault.onset.lot == plan.cycle.number + 1:
                start_ns = min(_beginning_ns(plan, fault) + after_ns, FOREVER_NS)
            if start_ns is not None:
                onsets[fault.label] = start_ns
        if start_ns is not None:
            left_ns = (FOREVER_NS - start_ns) / NS_PER_S
            stop_ns = FOREVER_NS if fault.duration_s >= left_ns else start_ns + round(fault.duration_s * NS_PER_S)
            active.append(Active(fault=fault, window=Window(start_ns, stop_ns)))
    return onsets, _one_at_a_time(sorted(active, key=lambda each: (each.window.start_ns, each.fault.label)))


def _one_at_a_time(active: Sequence[Active]) -> tuple[Active, ...]:
    """Where two that exclude each other come to meet, the earlier one is over when the later one begins.

    A scenario in which they are known to meet is refused; this is left where it depends on how long lots take.
    `active`: in the order of their onsets.
    """
    ended: list[Active] = []
    for place, each in enumerate(active):
        fault, stop_ns = each.fault, each.window.stop_ns
        for later in active[place + 1 :] if fault.excludes else ():
            if later.window.start_ns >= stop_ns:
                break
            if later.fault.excludes == fault.excludes and later.fault.meets(fault):
                stop_ns = later.window.start_ns
        ended.append(Active(fault=fault, window=Window(each.window.start_ns, stop_ns)))
    return tuple(ended)


def _beginning_ns(plan: Plan, fault: Fault) -> int:
    """From when the plan's lot counts for a fault: the feed of a step (else the last one), or its setup."""
    stage = next((stage for stage in plan.stages if stage.step.id == fault.onset.step), plan.stages[-1])
    return plan.time_ns(stage.setup_s if fault.from_setup else stage.feed_start_s)


def _scales(line: Line, plan: Plan) -> dict[str, str]:
    """Run → the device that weighs its product: the last one of its step that has a scale."""
    return {
        stage.run: unit
        for stage in plan.stages
        for unit in stage.step.units
        if any(signal.key == f"{unit}.{BATCH_WEIGHT}" for signal in line.signals)
    }
