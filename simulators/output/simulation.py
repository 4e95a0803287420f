"""A simulation that is published: what is simulated, where it goes on, and where it ends."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from heapq import merge
from itertools import islice
from operator import attrgetter
from pathlib import Path

from filiere.clock import NS_PER_S, Clock, parse_time, to_text
from filiere.errors import SettingsError
from filiere.plant import Plant
from simulators.faults.fault import FOREVER_NS, Window
from simulators.line.cycle import Cycle
from simulators.line.messages import Publication
from simulators.line.simulation import beginning, line_publications
from simulators.line.state import ROWS_MAX, SimulatorState, read_state, write_state
from simulators.output.order import DAYS_BEFORE, Order, days_needed
from simulators.output.progress import Goal
from simulators.scenarios.scenario import NORMAL, Scenario
from simulators.scenarios.scenario_file import load_scenario, parse_fault, shipped
from simulators.truth.folder import TruthWriter

START_NS = parse_time("2026-03-02T05:00:00Z")
"""Where simulated time begins in files and frames when nobody says: a Monday, six in the morning in France."""
HOUR_NS = 3600 * NS_PER_S
DAY_H = 24


@dataclass(slots=True, kw_only=True)
class Simulation:
    """A simulation that is published: what is simulated, from where, and to where."""

    plant: Plant
    scenario: Scenario
    """With the faults that came while it ran."""
    state: SimulatorState
    """Where it begins."""
    lots: Mapping[str, int] | None
    """Line path → lots that are still to be made; None = no end."""
    stop_ns: int | None
    truth: TruthWriter | None = None
    """Keeps what is true of each cycle; None = it is not kept."""
    windows: dict[str, Window] = field(default_factory=dict)
    """Label → when a fault is there, of those that are known by now."""

    def publications(self, state: SimulatorState, made: Counter[str]) -> Iterator[Publication]:
        """What comes after `state`, of all lines in time order; `made` = lots that were closed since the beginning."""
        return merge(*(self.of_line(line, state, made) for line in state.lines), key=attrgetter("time_ns"))

    def of_line(self, line: str, state: SimulatorState, made: Counter[str]) -> Iterator[Publication]:
        """The same of one line."""
        left = None if self.lots is None else self.lots[line] - made[line]
        if left is not None and left <= 0:
            return iter(())
        return line_publications(
            self.plant,
            state,
            line,
            scenario=self.scenario,
            lots=left,
            stop_ns=FOREVER_NS if self.stop_ns is None else self.stop_ns,
            computed=self._computed,
        )

    def sent_ns(self, line: str, state: SimulatorState) -> int:
        """Up to where it was sent of a line at `state`, UTC ns of simulated time."""
        progress = state.lines[line]
        if not progress.sent:
            return progress.cycle.start_ns - 1
        return next(islice(self._again(line, state), progress.sent - 1, None)).time_ns

    def made(self, line: str) -> int:
        """Lots of a line that were closed before this simulation goes on; the same is done for it."""
        progress = self.state.lines[line]
        again = islice(self._again(line, self.state), progress.sent) if progress.sent else ()
        return progress.cycle.number + sum(publication.closes for publication in again)

    def _again(self, line: str, state: SimulatorState) -> Iterator[Publication]:
        before = replace(state, lines={line: replace(state.lines[line], sent=0)})
        return line_publications(self.plant, before, line, scenario=self.scenario, lots=None)

    def _computed(self, cycle: Cycle) -> None:
        self.windows |= {active.fault.label: active.window for active in cycle.active}
        if self.truth is not None:
            self.truth.write(cycle)

    def goal(self) -> Goal:
        """For the time left."""
        return Goal(
            start_ns=min(progress.cycle.start_ns for progress in self.state.lines.values()),
            stop_ns=self.stop_ns,
            lots=None if self.lots is None else sum(self.lots.values()),
        )


def anew(plant: Plant, order: Order, scenario: Scenario | None = None) -> Simulation:
    """What to simulate from its beginning, whatever the clock says: the same order gives the same bytes.

    `scenario` = instead of the order's.

    Raises:
        ScenarioError: the scenario is wrong.
        SettingsError: it has no end.
    """
    scenario = scenario or order.scenario_of(plant)
    order.check_end(scenario)
    start_ns = order.start_ns if order.start_ns is not None else scenario.start_ns
    state = beginning(
        plant,
        seed=order.seed_of(scenario),
        start_ns=START_NS if start_ns is None else start_ns,
        scenario=scenario,
        rows_max=ROWS_MAX if order.rows_max is None else order.rows_max,
    )
    return _simulation(plant, scenario, state, order)


def opening(plant: Plant, path: Path, order: Order, clock: Clock) -> Simulation:
    """What to simulate and where to go on from: the state file, unless `fresh`.

    Raises:
        ScenarioError: the scenario is wrong.
        SettingsError: the state is of another simulation.
    """
    state = None if order.fresh else read_state(path)
    if state is None:
        scenario = order.scenario_of(plant)
        start_ns = order.start_ns if order.start_ns is not None else scenario.start_ns
        if start_ns is None:
            needed = days_needed(order.lots_of(scenario), order.days_of(scenario), scenario.calendar)
            days = max(DAYS_BEFORE, math.ceil(needed))
            start_ns = (clock() // HOUR_NS - days * DAY_H) * HOUR_NS
        state = beginning(
            plant,
            seed=order.seed_of(scenario),
            start_ns=start_ns,
            scenario=scenario,
            rows_max=ROWS_MAX if order.rows_max is None else order.rows_max,
        )
        write_state(path, state)
    else:
        scenario = _check_state(state, plant, path, order)
    documents = ((document, f"{path}, fault {document.get('label')}") for document in state.live)
    live = tuple(parse_fault(json.dumps(document).encode(), source, plant) for document, source in documents)
    simulation = _simulation(plant, scenario.with_faults(live), state, order)
    if order.lots is None and simulation.lots is not None:
        simulation.lots = {line: lots - simulation.made(line) for line, lots in simulation.lots.items()}
    return simulation


def _simulation(plant: Plant, scenario: Scenario, state: SimulatorState, order: Order) -> Simulation:
    lots = order.lots_of(scenario)
    truth = None if order.truth is None else TruthWriter(order.truth, plant, scenario, seed=state.seed)
    return Simulation(
        plant=plant,
        scenario=scenario,
        state=state,
        lots=None if lots is None else dict.fromkeys(state.lines, lots),
        stop_ns=order.stop_ns(scenario, state.start_ns),
        truth=truth,
    )


def _check_state(state: SimulatorState, plant: Plant, path: Path, order: Order) -> Scenario:
    """The scenario of an earlier simulation that goes on. Raises SettingsError: another one was asked for."""
    otherwise = "or start anew with --fresh in an empty data folder"
    if state.plant_digest != plant.digest:
        raise SettingsError(
            f"got a simulation of plant {state.plant_digest[:12]}… in {path}; expected {plant.digest[:12]}…, the plant"
            " file as it is now: start anew with --fresh, in an empty data folder"
        )
    if order.seed is not None and order.seed != state.seed:
        raise SettingsError(
            f"--seed: got {order.seed}; expected {state.seed}, the seed of the simulation in {path}: leave it out to"
            f" go on, {otherwise}"
        )
    if order.rows_max is not None and order.rows_max != state.rows_max:
        raise SettingsError(
            f"--rows: got {order.rows_max}; expected {state.rows_max}, as in the simulation in {path}: leave it out to"
            f" go on, {otherwise}"
        )
    if order.start_ns is not None and order.start_ns != state.start_ns:
        raise SettingsError(
            f"--start: got {to_text(order.start_ns)}; expected {to_text(state.start_ns)}, the start of the simulation"
            f" in {path}: leave it out to go on, {otherwise}"
        )
    if order.scenario:
        scenario = order.scenario_of(plant)
    else:
        scenario = load_scenario(state.scenario, plant) if _names_shipped(state) else NORMAL
    if (scenario.id, scenario.digest) != (state.scenario, state.scenario_digest):
        changed = f", which is another {state.scenario} now" if scenario.id == state.scenario else ""
        how = f"--scenario {state.scenario}" if _names_shipped(state) and not changed else "its file as it was then"
        raise SettingsError(
            f"--scenario: got {order.scenario or 'none'}{changed}; expected {state.scenario}, with which the simulation"
            f" in {path} began: go on with {how}, {otherwise}"
        )
    return scenario


def _names_shipped(state: SimulatorState) -> bool:
    return bool(state.scenario_digest) and state.scenario in shipped()
