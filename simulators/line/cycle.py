"""One lot cycle of a line: every publication of every device, in time order, and what the next cycle starts from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from heapq import merge
from operator import attrgetter

import numpy as np

from collector.codec import EVENTS, READINGS, encode_event, topic_text
from filiere.clock import NS_PER_S
from filiere.errors import PlantError
from filiere.events import Event, event_json
from filiere.plant import Line, Plant, Signal, Unit
from simulators.faults.fault import Active
from simulators.line import machines
from simulators.line.extruder import extruder
from simulators.line.machines import BATCH_WEIGHT, Machine, Model, Trace
from simulators.line.operator import Plan, plan_cycle
from simulators.line.parameters import text
from simulators.line.physics import Array, Times, quantised
from simulators.line.randomness import token
from simulators.line.rows import NS_PER_MS, DeviceRows
from simulators.line.state import CycleStart, SimulatorState

TERMINAL = "terminal"
"""The device that sends a line's events."""
ROWS_MAX = 10
"""Most rows in a message."""
MESSAGE_SPAN_S = 20.0
"""A message gathers the rows of at most this long: a slow device sends each row on its own."""
MODELS: Mapping[str, Model] = {
    "steady": machines.steady,
    "sorter": machines.sorter,
    "dryer": machines.dryer,
    "feeder": machines.feeder,
    "scale": machines.scale,
    "extruder": extruder,
}
"""Values of `simulator.model` in a plant file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """One MQTT message, not encoded yet: rows of a device, or one event."""

    time_ns: int
    """Simulated time at which it is sent, UTC ns."""
    topic: str
    rows: DeviceRows | None
    start: int = 0
    stop: int = 0
    """Rows start … stop − 1 of `rows`."""
    event: Event | None = None
    boot: str = ""
    """Of an event: rows have their own."""
    seq: int = 0
    """Number of the event, or of the first row."""
    cycle: CycleStart
    index: int
    """Place in its cycle, from 0."""
    closes: bool = False
    """It says that the last run of a lot is closed."""

    @property
    def payload(self) -> bytes:
        """The bytes of the message; made anew at each call."""
        if self.rows is not None:
            return self.rows.payload(self.start, self.stop)
        if self.event is None:
            raise AssertionError("a publication without rows and without an event")
        return encode_event(self.boot, self.seq, event_json(self.event))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """One lot cycle, computed."""

    plan: Plan
    active: tuple[Active, ...]
    """The faults of this line whose onset is known, those that are over too."""
    devices: tuple[DeviceRows, ...]
    following: CycleStart
    """Where the next cycle of the line starts."""
    publications: Iterator[Publication]
    """In time order; made as they are asked for, once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grid:
    """The instants of a device's rows in a cycle."""

    time_ms: Times
    first: int
    """Number of the first row since 1970, so that slow signals keep their phase from cycle to cycle."""
    period_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    time_ns: int
    device: str
    rows: DeviceRows | None = None
    start: int = 0
    stop: int = 0
    event: Event | None = None
    boot: str = ""
    seq: int
    closes: bool = False


def run_cycle(plant: Plant, cycle: CycleStart, state: SimulatorState, *, rows_max: int = ROWS_MAX) -> Cycle:
    """Compute the cycle that begins at `cycle`; `state` gives the seed and the simulation's own beginning."""
    line = plant.line(cycle.line)
    plan = plan_cycle(plant, line, cycle, seed=state.seed)
    active: tuple[Active, ...] = ()
    seq = dict(cycle.seq)
    memories: dict[str, Mapping[str, float]] = {}
    devices: list[DeviceRows] = []
    periods: list[float] = []
    for unit in line.units:
        grid = _grid(line, unit, plan)
        trace = _trace(unit, plan, active, grid, state.seed, cycle.machines.get(unit.id, {}))
        memories[unit.id] = trace.memory
        devices.append(_device_rows(line, unit, grid, trace, _boot(state, line, unit.id), seq.get(unit.id, 0)))
        seq[unit.id] = seq.get(unit.id, 0) + len(grid.time_ms)
        periods.append(grid.period_s)
    drafts = [_events(plan, _boot(state, line, TERMINAL), seq)]
    drafts += [_messages(rows, period_s, rows_max) for rows, period_s in zip(devices, periods, strict=True)]
    seq[TERMINAL] = seq.get(TERMINAL, 0) + len(plan.events)
    following = CycleStart(
        line=line.path,
        number=cycle.number + 1,
        start_ns=cycle.start_ns + plan.duration_s * NS_PER_S,
        day=plan.day,
        counts=plan.counts,
        stock=plan.stock,
        seq=seq,
        machines=memories,
    )
    return Cycle(
        plan=plan,
        active=active,
        devices=tuple(devices),
        following=following,
        publications=_published(line, cycle, merge(*drafts, key=attrgetter("time_ns"))),
    )


def _published(line: Line, cycle: CycleStart, drafts: Iterator[_Draft]) -> Iterator[Publication]:
    topics: dict[tuple[str, str], str] = {}
    for index, draft in enumerate(drafts):
        key = (draft.device, READINGS if draft.rows is not None else EVENTS)
        if key not in topics:
            topics[key] = topic_text(line.path, *key)
        yield Publication(
            time_ns=draft.time_ns,
            topic=topics[key],
            rows=draft.rows,
            start=draft.start,
            stop=draft.stop,
            event=draft.event,
            boot=draft.boot,
            seq=draft.seq,
            cycle=cycle,
            index=index,
            closes=draft.closes,
        )


def _boot(state: SimulatorState, line: Line, device: str) -> str:
    """A simulated device starts once a simulation: the same seed and start give the same boot."""
    return token(state.seed, state.start_ns, line.path, device)


# ---------------------------------------------------------------------------------------------------------- drafts


def _events(plan: Plan, boot: str, seq: Mapping[str, int]) -> list[_Draft]:
    first, last = seq.get(TERMINAL, 0), len(plan.events) - 1
    return [
        _Draft(
            time_ns=event.event_time_ns,
            device=TERMINAL,
            event=event,
            boot=boot,
            seq=first + place,
            closes=place == last,
        )
        for place, event in enumerate(plan.events)
    ]


def _messages(rows: DeviceRows, period_s: float, rows_max: int) -> list[_Draft]:
    """Rows gathered into messages, each sent with its last row."""
    count = len(rows.time_ms)
    most = max(1, min(rows_max, int(MESSAGE_SPAN_S / period_s)))
    return [
        _Draft(
            time_ns=int(rows.time_ms[min(start + most, count) - 1]) * NS_PER_MS,
            device=rows.device,
            rows=rows,
            start=start,
            stop=min(start + most, count),
            seq=int(rows.seq[start]),
        )
        for start in range(0, count, most)
    ]


def _device_rows(line: Line, unit: Unit, grid: _Grid, trace: Trace, boot: str, first: int) -> DeviceRows:
    count = len(grid.time_ms)
    true = {signal.id: _measured(signal, grid, trace.values[signal.id]) for signal in unit.signals}
    shown = {
        signal.id: _measured(
            signal, grid, _displayed(signal, trace.values[signal.id] + trace.noise.get(signal.id, 0.0))
        )
        for signal in unit.signals
    }
    return DeviceRows(
        line=line.path,
        device=unit.id,
        time_ms=grid.time_ms,
        stamp_ms=grid.time_ms,
        boots=(boot,),
        boot=np.zeros(count, dtype=np.uint8),
        seq=np.arange(first, first + count, dtype=np.int64),
        true=true,
        shown=shown,
    )


def _displayed(signal: Signal, values: Array) -> Array:
    """What the display shows."""
    return quantised(np.clip(values, signal.range_low, signal.range_high), signal.resolution)


def _measured(signal: Signal, grid: _Grid, values: Array) -> Array:
    """A signal slower than its device is not measured (NaN) in between."""
    every = max(1, round(signal.period_s / grid.period_s))
    if every == 1:
        return values
    numbers = grid.first + np.arange(len(values))
    return np.where(numbers % every == 0, values, np.nan)


# --------------------------------------------------------------------------------------------------------- machines


def _grid(line: Line, unit: Unit, plan: Plan) -> _Grid:
    """A fixed period and a phase of the device's own, counted from 1970."""
    period_ms = max(1, round(min(signal.period_s for signal in unit.signals) * 1000))
    phase_ms = int(token(line.path, unit.id, "phase"), 16) % period_ms
    start_ms = plan.cycle.start_ns // NS_PER_MS
    stop_ms = start_ms + plan.duration_s * 1000
    first = -((phase_ms - start_ms) // period_ms)
    last = -((phase_ms - stop_ms) // period_ms)
    time_ms = np.arange(first, last, dtype=np.int64) * period_ms + phase_ms
    return _Grid(time_ms=time_ms, first=first, period_s=period_ms / 1000)


def _trace(
    unit: Unit, plan: Plan, active: tuple[Active, ...], grid: _Grid, seed: int, memory: Mapping[str, float]
) -> Trace:
    """The unit's model, with a built-in scale and steady signals for what the model does not speak of."""
    name = text(unit.simulator, "model", "steady")
    if name not in MODELS:
        raise PlantError(f"unit {unit.id}: got simulator.model {name!r}; expected one of {', '.join(sorted(MODELS))}")
    machine = Machine(
        unit=unit,
        plan=plan,
        active=active,
        seed=seed,
        time_s=(grid.time_ms - plan.cycle.start_ns // NS_PER_MS) / 1000.0,
        period_s=grid.period_s,
        memory=memory,
    )
    chosen = {"steady", name}
    if any(signal.id == BATCH_WEIGHT for signal in unit.signals):
        chosen.add("scale")
    # "steady" speaks of every signal and knows least: it goes first, the unit's own model last.
    order = sorted(chosen, key=lambda model: ("steady", "scale").index(model) if model in ("steady", "scale") else 2)
    traces = [MODELS[model](machine) for model in order]
    values = {signal: column for trace in traces for signal, column in trace.values.items()}
    noise = {signal: column for trace in traces for signal, column in trace.noise.items()}
    return Trace(
        values=values, noise=noise, memory={key: value for trace in traces for key, value in trace.memory.items()}
    )
