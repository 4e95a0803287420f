"""One lot cycle of a line: every publication of every device, in time order, and what the next cycle starts from."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from heapq import merge
from operator import attrgetter

import numpy as np
import numpy.typing as npt

from collector.codec import EVENTS, READINGS, ReadingsMessage, encode_event, encode_readings, topic_text
from filiere.clock import NS_PER_S
from filiere.errors import PlantError
from filiere.events import Event, event_json
from filiere.plant import Line, Plant, Signal, Unit
from simulators.line import machines
from simulators.line.extruder import extruder
from simulators.line.machines import BATCH_WEIGHT, Machine, Model, Trace
from simulators.line.operator import Plan, plan_cycle
from simulators.line.parameters import text
from simulators.line.physics import Array, quantised
from simulators.line.randomness import token
from simulators.line.state import CycleStart, SimulatorState

TERMINAL = "terminal"
"""The device that sends a line's events."""
ROWS_MAX = 10
"""Most rows in a message."""
MESSAGE_SPAN_S = 20.0
"""A message gathers the rows of at most this long: a slow device sends each row on its own."""
NS_PER_MS = 1_000_000
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
    """One MQTT message."""

    time_ns: int
    """Virtual time at which it is sent: that of its last row, UTC ns."""
    topic: str
    payload: bytes
    cycle: CycleStart
    index: int
    """Place in its cycle, from 0."""
    closes: bool = False
    """It says that the last run of a lot is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """One lot cycle, computed."""

    plan: Plan
    publications: Iterator[Publication]
    """In time order; encoded as they are asked for, once."""
    following: CycleStart
    """Where the next cycle of the line starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    time_ns: int
    device: str
    kind: str
    encode: Callable[[], bytes]
    closes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grid:
    """The instants of a device's rows in a cycle."""

    time_ms: npt.NDArray[np.int64]
    first: int
    """Number of the first row since 1970, so that slow signals keep their phase from cycle to cycle."""
    period_s: float


def run_cycle(plant: Plant, cycle: CycleStart, state: SimulatorState, *, rows_max: int = ROWS_MAX) -> Cycle:
    """Compute the cycle that begins at `cycle`; `state` gives the seed and the simulation's own beginning."""
    line = plant.line(cycle.line)
    plan = plan_cycle(plant, line, cycle, seed=state.seed)
    seq = dict(cycle.seq)
    memories: dict[str, Mapping[str, float]] = {}
    streams = [_events(plan, _boot(state, line, TERMINAL), seq)]
    for unit in line.units:
        grid = _grid(line, unit, plan)
        trace = _trace(unit, plan, grid, state.seed, cycle.machines.get(unit.id, {}))
        memories[unit.id] = trace.memory
        streams.append(_rows(unit, grid, trace, _boot(state, line, unit.id), seq, rows_max))
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
    drafts = merge(*streams, key=attrgetter("time_ns"))
    return Cycle(plan=plan, publications=_published(line, cycle, drafts), following=following)


def _published(line: Line, cycle: CycleStart, drafts: Iterator[_Draft]) -> Iterator[Publication]:
    topics: dict[tuple[str, str], str] = {}
    for index, draft in enumerate(drafts):
        key = (draft.device, draft.kind)
        if key not in topics:
            topics[key] = topic_text(line.path, *key)
        yield Publication(
            time_ns=draft.time_ns,
            topic=topics[key],
            payload=draft.encode(),
            cycle=cycle,
            index=index,
            closes=draft.closes,
        )


def _boot(state: SimulatorState, line: Line, device: str) -> str:
    """A simulated device starts once a simulation: the same seed and start give the same boot."""
    return token(state.seed, state.start_ns, line.path, device)


# ---------------------------------------------------------------------------------------------------------- drafts


def _events(plan: Plan, boot: str, seq: dict[str, int]) -> list[_Draft]:
    first = seq.get(TERMINAL, 0)
    seq[TERMINAL] = first + len(plan.events)
    last = len(plan.events) - 1

    def encoder(event: Event, number: int) -> Callable[[], bytes]:
        return lambda: encode_event(boot, number, event_json(event))

    return [
        _Draft(
            time_ns=event.event_time_ns,
            device=TERMINAL,
            kind=EVENTS,
            encode=encoder(event, first + place),
            closes=place == last,
        )
        for place, event in enumerate(plan.events)
    ]


def _rows(unit: Unit, grid: _Grid, trace: Trace, boot: str, seq: dict[str, int], rows_max: int) -> list[_Draft]:
    first = seq.get(unit.id, 0)
    count = len(grid.time_ms)
    seq[unit.id] = first + count
    rows = max(1, min(rows_max, int(MESSAGE_SPAN_S / grid.period_s)))
    columns = {signal.id: _column(signal, grid, trace.values[signal.id]) for signal in unit.signals}

    def encoder(start: int, stop: int) -> Callable[[], bytes]:
        return lambda: encode_readings(
            ReadingsMessage(
                boot=boot,
                seq=first + start,
                time_ns=tuple((grid.time_ms[start:stop] * NS_PER_MS).tolist()),
                values={name: tuple(column[start:stop]) for name, column in columns.items()},
            )
        )

    return [
        _Draft(
            time_ns=int(grid.time_ms[min(start + rows, count) - 1]) * NS_PER_MS,
            device=unit.id,
            kind=READINGS,
            encode=encoder(start, min(start + rows, count)),
        )
        for start in range(0, count, rows)
    ]


def _column(signal: Signal, grid: _Grid, values: Array) -> list[float | None]:
    """What the display shows; a signal slower than its device is not measured (None) in between."""
    shown: list[float | None] = quantised(
        np.clip(values, signal.range_low, signal.range_high), signal.resolution
    ).tolist()
    every = max(1, round(signal.period_s / grid.period_s))
    if every > 1:
        shown = [value if (grid.first + row) % every == 0 else None for row, value in enumerate(shown)]
    return shown


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


def _trace(unit: Unit, plan: Plan, grid: _Grid, seed: int, memory: Mapping[str, float]) -> Trace:
    """The unit's model, with a built-in scale and steady signals for what the model does not speak of."""
    name = text(unit.simulator, "model", "steady")
    if name not in MODELS:
        raise PlantError(f"unit {unit.id}: got simulator.model {name!r}; expected one of {', '.join(sorted(MODELS))}")
    machine = Machine(
        unit=unit,
        plan=plan,
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
    return Trace(values=values, memory={key: value for trace in traces for key, value in trace.memory.items()})
