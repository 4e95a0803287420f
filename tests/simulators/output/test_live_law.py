"""The law behind faults that come while a line runs: what was sent is what it would have been, and the rest follows."""

from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from simulators.faults.catalogue import KINDS, targets
from simulators.line.messages import Publication
from simulators.line.simulation import beginning, sent, simulate
from simulators.line.state import SimulatorState
from simulators.output.live_faults import FaultFolder, Stop, Trigger
from simulators.scenarios.scenario import NORMAL, Scenario
from tests.simulators.builders import START_NS, TEXTILE, caux

SEED = 3
BEFORE, BETWEEN, AFTER = 1_500, 300, 300
"""Messages before the fault is ordered, until it is stopped, and after that."""
ONE_LINE = replace(NORMAL, lines=(TEXTILE,))


def stream(state: SimulatorState, scenario: Scenario, count: int) -> list[Publication]:
    made = simulate(caux(), seed=SEED, start_ns=START_NS, lots=None, state=state, scenario=scenario)
    return list(islice(made, count))


def wire(publications: list[Publication]) -> list[tuple[int, str, bytes]]:
    return [(each.time_ns, each.topic, each.payload) for each in publications]


def after(state: SimulatorState, publications: list[Publication]) -> SimulatorState:
    for each in publications:
        state = sent(state, each)
    return state


@pytest.mark.parametrize(
    "name", ["screen_clog", "sensor_stuck", "clock_dst_jump", "device_restart", "late", "outage", "double_weighing"]
)
def test_nobody_can_tell_that_a_fault_was_not_there_from_the_beginning(tmp_path: Path, name: str) -> None:
    folder = FaultFolder(tmp_path, caux())
    state = begun = beginning(caux(), seed=SEED, start_ns=START_NS, scenario=ONE_LINE)
    heard = stream(state, ONE_LINE, BEFORE)
    state = after(state, heard)
    target = targets(KINDS[name], caux().line(TEXTILE))[-1]
    folder.place(Trigger(fault={"kind": name, "line": TEXTILE, "target": target, "label": "f"}))
    faults = folder.take((), start_ns=START_NS, now_ns=heard[-1].time_ns, windows={})
    folder.tell()
    more = stream(state, ONE_LINE.with_faults(faults), BETWEEN)
    heard, state = heard + more, after(state, more)
    folder.place(Stop(label="f"))
    stopped = folder.take(faults, start_ns=START_NS, now_ns=heard[-1].time_ns, windows={})
    folder.tell()
    scenario = ONE_LINE.with_faults(faults).with_faults(stopped)
    heard += stream(state, scenario, AFTER)
    assert wire(heard) == wire(stream(begun, scenario, len(heard)))
