"""A plant, a state and whole cycles with sane defaults."""

import json
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np

from filiere.clock import NS_PER_S, parse_time
from filiere.events import Event, parse_event
from filiere.plant import Line, Plant, Unit
from filiere.plant_file import load_plant
from simulators.faults.catalogue import KINDS
from simulators.faults.fault import Fault, Onset
from simulators.line.cycle import Cycle, Publication, run_cycle
from simulators.line.physics import Array
from simulators.line.plan import Stage
from simulators.line.simulation import beginning
from simulators.line.state import SimulatorState
from simulators.scenarios.scenario import NORMAL, Calendar, Scenario

START_NS = parse_time("2026-03-11T06:00:00Z")
TEXTILE, FLAX = "caux/textile/t1", "caux/flax/f1"


@cache
def caux() -> Plant:
    return load_plant("caux")


def state(seed: int = 1) -> SimulatorState:
    return beginning(caux(), seed=seed, start_ns=START_NS)


def plant_with(path: str, change: Callable[[Line], Line]) -> Plant:
    """The plant with one of its lines changed."""
    shops = tuple(
        replace(shop, lines=tuple(change(line) if line.path == path else line for line in shop.lines))
        for shop in caux().workshops
    )
    return replace(caux(), workshops=shops)


def with_parameters(path: str, device: str, **parameters: float) -> Plant:
    """The plant with other simulator constants of one unit."""

    def changed(unit: Unit) -> Unit:
        return replace(unit, simulator={**unit.simulator, **parameters}) if unit.id == device else unit

    return plant_with(path, lambda line: replace(line, units=tuple(map(changed, line.units))))


def first_cycle(plant: Plant, line: str) -> Cycle:
    """The first lot cycle of a line of another plant."""
    start = beginning(plant, seed=1, start_ns=START_NS)
    return run_cycle(plant, start.lines[line].cycle, start)


@cache
def cycles(line: str, count: int = 2, seed: int = 1) -> tuple[tuple[Cycle, tuple[Publication, ...]], ...]:
    """The first lot cycles of a line with their publications."""
    made = []
    start = state(seed).lines[line].cycle
    for _ in range(count):
        cycle = run_cycle(caux(), start, state(seed))
        made.append((cycle, tuple(cycle.publications)))
        start = cycle.following
    return tuple(made)


def fault(
    kind: str,
    target: str = "",
    *,
    line: str = TEXTILE,
    after_s: float = 0.0,
    lot: int | None = None,
    step: str = "",
    duration_s: float | None = None,
    severity: float | None = None,
    label: str = "",
) -> Fault:
    """A fault of this kind, as bad and as long as usual, from the beginning."""
    found = KINDS[kind]
    usual = math.nan if found.scale is None else found.scale.usual
    return found(
        label=label or f"{kind}-{target}",
        line=line,
        target=target,
        onset=Onset(after_s=after_s, lot=lot, step=step),
        duration_s=found.usual_duration_s if duration_s is None else duration_s,
        severity=usual if severity is None else severity,
    )


def scenario(*faults: Fault, calendar: Calendar | None = None) -> Scenario:
    return replace(NORMAL, faults=faults, calendar=calendar)


@cache
def with_faults(*faults: Fault, count: int = 1, seed: int = 1) -> tuple[Cycle, ...]:
    """The first lot cycles of the faults' line."""
    line = faults[0].line
    start = state(seed).lines[line].cycle
    made = []
    for _ in range(count):
        made.append(run_cycle(caux(), start, state(seed), scenario=scenario(*faults)))
        start = made[-1].following
    return tuple(made)


def events(publications: tuple[Publication, ...]) -> list[Event]:
    found = (json.loads(each.payload) for each in publications if each.topic.endswith("/events"))
    return [parse_event(json.dumps(each["event"]).encode()) for each in found]


def readings(publications: tuple[Publication, ...], device: str, signal: str) -> tuple[Array, Array]:
    """Event times (s since 1970) and values of one signal, as published."""
    times: list[float] = []
    values: list[float] = []
    for each in publications:
        if each.topic.endswith(f"/{device}/readings"):
            message = json.loads(each.payload)
            t = message["t"] if isinstance(message["t"], list) else [message["t"]]
            v = message["v"][signal] if isinstance(message["v"][signal], list) else [message["v"][signal]]
            times += [moment / 1000 for moment in t]
            values += v
    return np.array(times), np.array(values)


def during(stage: Stage, cycle: Cycle, times: Array, *, after_s: float = 0.0, before_s: float = 0.0) -> Array:
    """A mask of the readings inside a run, without its beginning and end."""
    start_s = cycle.plan.cycle.start_ns / NS_PER_S
    return np.asarray((times >= start_s + stage.start_s + after_s) & (times < start_s + stage.stop_s - before_s))


def sequence_numbers(publications: tuple[Publication, ...]) -> dict[str, list[int]]:
    """Device topic → the numbers of all its rows, in the order of sending."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for each in publications:
        message = json.loads(each.payload)
        rows = len(message["t"]) if isinstance(message.get("t"), list) else 1
        numbers[each.topic].extend(range(message["seq"], message["seq"] + rows))
    return numbers


def unit(line: str, device: str) -> Unit:
    return caux().line(line).unit(device)
