"""Nothing of a fault may be seen before its onset: that is why a running line can be given a new one."""

from dataclasses import replace
from itertools import islice

import pytest

from filiere.clock import NS_PER_S
from simulators.faults.catalogue import KINDS, targets
from simulators.faults.fault import Fault
from simulators.line.cycle import Cycle, Publication
from simulators.line.simulation import sent, simulate
from tests.simulators.builders import FLAX, START_NS, TEXTILE, caux, cycles, fault, scenario, state, with_faults

ONSETS_S = (1003.0, 7207.0, 9001.0)
"""In the preparations, in the feed and near the end of a run, beside the beat of every device."""


def every_kind(line: str, after_s: float) -> tuple[Fault, ...]:
    """Each kind at up to two of the things on the line that can have it."""
    return tuple(
        fault(kind, target, line=line, after_s=after_s)
        for kind, found in KINDS.items()
        for target in targets(found, caux().line(line))[:2]
    )


def before(publications: tuple[Publication, ...], time_ns: int) -> list[tuple[int, str, bytes]]:
    return [(each.time_ns, each.topic, each.payload) for each in publications if each.time_ns < time_ns]


def published(cycle: Cycle) -> tuple[Publication, ...]:
    return tuple(cycle.publications)


@pytest.mark.parametrize("line", [TEXTILE, FLAX])
@pytest.mark.parametrize("after_s", ONSETS_S)
def test_no_kind_of_fault_changes_anything_before_its_onset(line: str, after_s: float):
    faults = every_kind(line, after_s)
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
