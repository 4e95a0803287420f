"""What a fault changes of the truth: the machine's own do, those of sensors, networks and people never."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from collector.codec import decode_readings
from simulators.faults.catalogue import KINDS, check, targets
from simulators.faults.fault import Fault, Layer, Onset, RestartFault
from simulators.faults.sensors import ScaleTareDrift
from simulators.line.cycle import Cycle, run_cycle
from simulators.line.simulation import beginning
from simulators.scenarios.scenario import NORMAL
from tests.simulators.faults.builders import FLAX, START_NS, TEXTILE, caux, fault

ONSET = Onset(after_s=4321.0987)
LINES = pytest.mark.parametrize("line", [TEXTILE, FLAX])


def first_lot(line: str, *faults: Fault) -> Cycle:
    state = beginning(caux(), seed=1, start_ns=START_NS)
    return run_cycle(caux(), state.lines[line].cycle, state, scenario=replace(NORMAL, faults=faults))


@cache
def normal(line: str) -> Cycle:
    return first_lot(line)


def everywhere(line: str, kinds: list[type[Fault]]) -> tuple[Fault, ...]:
    """Each kind, at all on the line that can have it."""
    found = [kind for kind in kinds if targets(kind, caux().line(line))]
    return tuple(fault(kind, line=line, onset=ONSET, duration_s=5000.0) for kind in found)


@LINES
def test_whatever_is_wrong_with_sensors_links_and_people_what_is_there_stays_as_it_is(line: str):
    kinds = [kind for kind in KINDS.values() if kind.layer is not Layer.PROCESS and not issubclass(kind, RestartFault)]
    faulty = first_lot(line, *everywhere(line, kinds))
    assert faulty.plan.stages == normal(line).plan.stages
    for seen, there in zip(faulty.devices, normal(line).devices, strict=True):
        for signal, column in seen.true.items():
            kept = np.isin(there.time_ms, seen.time_ms)  # rows in which no sensor shows anything do not exist
            assert np.array_equal(column, there.true[signal][kept], equal_nan=True), f"{seen.device}.{signal}"


@LINES
def test_people_tell_the_truth_unless_they_are_what_is_wrong_or_their_scale_is(line: str):
    kinds = [kind for kind in KINDS.values() if kind.layer is not Layer.OPERATOR and kind is not ScaleTareDrift]
    faulty = first_lot(line, *everywhere(line, kinds))
    assert faulty.told == faulty.plan.events


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS.values() if kind.layer is Layer.PROCESS], ids=lambda kind: kind.kind
)
def test_what_is_wrong_with_the_machine_is_there_and_not_only_shown(kind: type[Fault]):
    line = next(line for line in caux().lines if targets(kind, line)).path
    faulty = first_lot(line, fault(kind, line=line, onset=ONSET))
    changed = {
        seen.device
        for seen, there in zip(faulty.devices, normal(line).devices, strict=True)
        for signal, column in seen.true.items()
        if not np.array_equal(column, there.true[signal], equal_nan=True)
    }
    aimed = {target.partition(".")[0] for target in targets(kind, caux().line(line))}
    assert changed & aimed


@LINES
@pytest.mark.parametrize("bound", ["low", "high"])
def test_the_worst_that_a_scenario_may_ask_for_still_makes_messages_that_can_be_read(line: str, bound: str):
    worst = [
        fault(kind, line=line, onset=ONSET, severity=getattr(kind.scale, bound))
        for kind in KINDS.values()
        if kind.scale is not None and targets(kind, caux().line(line))
    ]
    for each in worst:
        check(each, caux())
    for draft in first_lot(line, *worst).drafts:
        if draft.rows is not None:
            decode_readings(draft.rows.payload(draft.start, draft.stop))
