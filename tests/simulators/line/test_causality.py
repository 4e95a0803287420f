"""Nothing of a fault may be seen before its onset: that is why a running line can be given a new one."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from filiere.clock import NS_PER_S
from simulators.faults.catalogue import KINDS, targets
from simulators.faults.fault import Fault
from simulators.line.cycle import Cycle, Publication
from simulators.line.simulation import sent, simulate
from tests.simulators.builders import FLAX, START_NS, TEXTILE, caux, cycles, fault, scenario, state, with_faults

ONSETS = ((1003.0, False), (1003.0, True), (7207.0, False), (7207.0, True), (9001.0, False))
"""In the preparations, in the feed and near the end of a run, beside the beat of every device."""
MELT = "extruder.melt_temp"


def every_kind(line: str, after_s: float, *, backwards: bool = False) -> tuple[Fault, ...]:
    """Each kind at up to two of the things on the line that can have it, as far as those that exclude it leave some.

    `backwards`: the last kinds choose first.
    """
    chosen: list[Fault] = []
    for kind, found in reversed(KINDS.items()) if backwards else KINDS.items():
        taken = [each for each in chosen if found.excludes and each.excludes == found.excludes]
        those = [fault(kind, target, line=line, after_s=after_s) for target in targets(found, caux().line(line))]
        chosen += [each for each in those if not any(each.meets(other) for other in taken)][:2]
    return tuple(chosen)


def before(publications: tuple[Publication, ...], time_ns: int) -> list[tuple[int, str, bytes]]:
    return [(each.time_ns, each.topic, each.payload) for each in publications if each.time_ns < time_ns]


def published(cycle: Cycle) -> tuple[Publication, ...]:
    return tuple(cycle.publications)


@pytest.mark.parametrize("line", [TEXTILE, FLAX])
@pytest.mark.parametrize(("after_s", "backwards"), ONSETS)
def test_no_kind_of_fault_changes_anything_before_its_onset(line: str, after_s: float, backwards: bool):  # noqa: FBT001  # from the table
    faults = every_kind(line, after_s, backwards=backwards)
    onset_ns = START_NS + round(after_s * NS_PER_S)
    with_all = published(with_faults(*faults)[0])
    (_, without), *_ = cycles(line)
    assert before(with_all, onset_ns) == before(without, onset_ns)
    assert before(with_all, onset_ns + 600 * NS_PER_S) != before(without, onset_ns + 600 * NS_PER_S)


@pytest.mark.parametrize("line", [TEXTILE, FLAX])
def test_a_second_fault_changes_nothing_of_the_first_before_its_own_onset(line: str):
    first = every_kind(line, 5003.0)
    second = tuple(replace(each, label=f"{each.label}-2") for each in every_kind(line, 8009.0))
    onset_ns = START_NS + round(8009.0 * NS_PER_S)
    assert before(published(with_faults(*first, *second)[0]), onset_ns) == before(
        published(with_faults(*first)[0]), onset_ns
    )


@pytest.mark.parametrize("line", [TEXTILE, FLAX])
def test_a_fault_that_is_stopped_earlier_was_the_same_until_then(line: str):
    whole = tuple(replace(each, duration_s=2400.0) for each in every_kind(line, 6005.0))
    short = tuple(replace(each, duration_s=1200.0) for each in whole)
    stopped_ns = START_NS + round(7205.0 * NS_PER_S)
    assert before(published(with_faults(*short)[0]), stopped_ns) == before(
        published(with_faults(*whole)[0]), stopped_ns
    )


def test_taken_from_both_ends_every_kind_of_fault_is_tried():
    tried = {
        each.kind
        for line in (TEXTILE, FLAX)
        for backwards in (False, True)
        for each in every_kind(line, 0.0, backwards=backwards)
    }
    assert tried == set(KINDS)


def test_where_two_that_exclude_each_other_come_to_meet_the_later_one_holds():
    """A scenario cannot know: one is counted from the beginning, the other from a lot."""
    broken = fault("sensor_break", MELT, after_s=8000.0)
    stuck = fault("sensor_stuck", MELT, lot=1, after_s=3000.0, duration_s=600.0)
    (cycle,) = with_faults(broken, stuck)
    first, second = cycle.active
    assert (first.fault, second.fault) == (broken, stuck)
    assert first.window.stop_ns == second.window.start_ns
    rows = next(rows for rows in cycle.devices if rows.device == "extruder")
    held = rows.shown["melt_temp"][second.rows(rows.time_ms)]
    assert len(set(held.tolist())) == 1
    assert not np.isnan(rows.shown["melt_temp"][second.rows(rows.time_ms).stop :]).any()


def test_a_heater_that_is_cut_while_its_relay_is_stuck_gives_no_heat():
    zone = "extruder.barrel_temp_z3"
    stuck = fault("relay_stuck_on", zone, after_s=8000.0, duration_s=7200.0)
    cut = fault("heater_open", zone, lot=1, after_s=3000.0, duration_s=3600.0)
    (cycle,) = with_faults(stuck, cut)
    rows = next(rows for rows in cycle.devices if rows.device == "extruder")
    found = rows.true["barrel_temp_z3"][cycle.active[1].rows(rows.time_ms)]
    assert found[-1] < found[0] - 15.0


def test_a_running_line_takes_a_new_fault_and_goes_on_where_it_was():
    count, more = 5000, 1500
    running = list(islice(simulate(caux(), seed=1, start_ns=START_NS, lots=None), count))
    now = state()
    for each in running:
        now = sent(now, each)
    after_s = (running[-1].time_ns - START_NS) / NS_PER_S + 1.0
    worse = scenario(*every_kind(TEXTILE, after_s), *every_kind(FLAX, after_s))
    resumed = list(islice(simulate(caux(), seed=1, start_ns=START_NS, lots=None, state=now, scenario=worse), more))
    from_the_start = list(islice(simulate(caux(), seed=1, start_ns=START_NS, lots=None, scenario=worse), count + more))
    assert [each.payload for each in running + resumed] == [each.payload for each in from_the_start]


def test_faults_of_one_line_leave_the_other_as_it_is():
    faults = every_kind(FLAX, 1003.0)
    stream = simulate(caux(), seed=1, start_ns=START_NS, lots=1, scenario=scenario(*faults))
    of_textile = [each.payload for each in stream if f"/{TEXTILE}/" in each.topic]
    (_, alone), *_ = cycles(TEXTILE)
    assert of_textile == [each.payload for each in alone]
