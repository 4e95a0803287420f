"""The network between devices and broker, over the border of two lots and over a restart of the simulation."""

from collections.abc import Sequence
from functools import cache
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.faults.fault import Fault
from simulators.line.cycle import Publication
from simulators.line.simulation import sent, simulate
from simulators.line.state import SimulatorState, read_state, write_state
from tests.simulators.builders import FLAX, START_NS, TEXTILE, caux, cycles, fault, scenario, state, with_faults

LONG, GOES_ON = 9000, 2500
"""Publications of a stream, and how many of them are compared after a restart."""


def stream(*faults: Fault, lots: int | None = None, at: SimulatorState | None = None) -> "islice[Publication]":
    return islice(simulate(caux(), seed=1, start_ns=START_NS, lots=lots, state=at, scenario=scenario(*faults)), LONG)


def cycle_end_s(line: str) -> float:
    cycle, _ = cycles(line)[0]
    return float(cycle.plan.duration_s)


def over_the_border(kind: str, *, line: str = TEXTILE, severity: float | None = None) -> Fault:
    """From ten minutes before the first lot cycle ends to ten minutes after it."""
    after_s = cycle_end_s(line) - 600.0
    return fault(kind, line=line, after_s=after_s, duration_s=1200.0, severity=severity)


def wire(publications: Sequence[Publication]) -> list[tuple[int, str, bytes]]:
    return [(each.time_ns, each.topic, each.payload) for each in publications]


FAULTS = (
    over_the_border("outage"),
    over_the_border("late", line=FLAX, severity=700.0),
    fault("duplicate", after_s=3600.0, duration_s=3600.0, severity=0.3),
    fault("out_of_order", line=FLAX, after_s=3600.0, duration_s=7200.0, severity=0.3),
    fault("dropped", "sorter", after_s=1800.0, duration_s=1800.0, severity=0.5),
    fault("late_entry", line=FLAX, after_s=9000.0, duration_s=4000.0, severity=3000.0),
)


@cache
def undisturbed() -> tuple[Publication, ...]:
    """The stream of one that never stops."""
    return tuple(stream(*FAULTS))


@pytest.mark.parametrize("after", [3, 2500, 5600, 6100, 6500, 7100])
def test_a_restart_goes_on_with_messages_that_were_on_their_way(after: int, tmp_path):
    whole = undisturbed()
    now = state()
    for each in whole[:after]:
        now = sent(now, each)
    write_state(tmp_path / "simulator.json", now)
    again = read_state(tmp_path / "simulator.json")
    assert again == now
    rest = list(islice(stream(*FAULTS, at=again), min(GOES_ON, LONG - after)))
    assert wire(rest) == wire(whole[after : after + GOES_ON])


def test_what_is_late_crosses_the_border_of_two_lots_and_comes_in_the_order_of_arrival():
    publications = undisturbed()
    assert [each.time_ns for each in publications] == sorted(each.time_ns for each in publications)
    anchors = [each.cycle.number for each in publications if f"/{TEXTILE}/" in each.topic]
    assert anchors == sorted(anchors)
    border_ns = START_NS + round(cycle_end_s(TEXTILE) * 1e9)
    held = [each for each in publications if f"/{TEXTILE}/" in each.topic and each.time_ns >= border_ns]
    assert held[0].cycle.number == 0  # a message of the first lot is still on its way


def test_an_outage_loses_nothing_and_doubles_nothing():
    outage = over_the_border("outage")
    usual = [each for each in stream(lots=2) if f"/{TEXTILE}/" in each.topic]
    held = [each for each in stream(outage, lots=2) if f"/{TEXTILE}/" in each.topic]
    count = min(len(usual), len(held)) - 500  # both are cut off by length somewhere in the second lot
    first = {each.payload for each in held}
    assert all(each.payload in first for each in usual[:count])
    assert len({each.payload for each in held}) == len(held)


def test_a_lot_whose_last_messages_are_late_is_still_sent_whole():
    late = fault("late", line=FLAX, severity=5000.0)
    plain = fault("late", line=FLAX, severity=0.001)
    of_flax = [
        [
            each
            for each in simulate(caux(), seed=1, start_ns=START_NS, lots=1, scenario=scenario(one))
            if FLAX in each.topic
        ]
        for one in (late, plain)
    ]
    assert len(of_flax[0]) == len(of_flax[1])
    assert sum(each.closes for each in of_flax[0]) == 1


def test_a_closing_that_is_lost_does_not_hold_up_the_next_lot():
    lost = fault("dropped", line=FLAX, severity=1.0)
    publications = list(simulate(caux(), seed=1, start_ns=START_NS, lots=2, scenario=scenario(lost)))
    assert {each.topic.split("/")[3] for each in publications} == {"textile"}


def test_a_closing_that_comes_twice_closes_one_lot():
    twice = fault("duplicate", "terminal", severity=1.0)
    publications = [each for each in stream(twice, lots=1) if f"/{TEXTILE}/terminal" in each.topic]
    closing = [each for each in publications if each.closes]
    assert len(closing) == 1
    assert [each.payload for each in publications].count(closing[0].payload) == 2


@pytest.mark.parametrize("after_s", [1e12, 1e300])
def test_a_fault_that_begins_at_the_end_of_time_never_does(after_s: float):
    never = fault("sensor_stuck", "extruder.melt_temp", after_s=after_s)
    cycle = with_faults(never)[0]
    (_, usual), *_ = cycles(TEXTILE)
    assert wire(list(cycle.publications)) == wire(usual)


def test_nothing_is_sent_at_or_after_the_end():
    stop_ns = START_NS + 3600 * 1_000_000_000
    publications = list(simulate(caux(), seed=1, start_ns=START_NS, lots=None, stop_ns=stop_ns))
    assert publications[-1].time_ns < stop_ns
    assert publications[-1].time_ns > stop_ns - 10 * 1_000_000_000


@settings(max_examples=4, deadline=None)
@given(st.sets(st.sampled_from(range(len(FAULTS))), min_size=1), st.integers(0, 7000))
def test_any_faults_of_the_network_and_any_stop_give_the_same_stream(chosen: set[int], after: int):
    faults = tuple(FAULTS[place] for place in sorted(chosen))
    whole = list(stream(*faults))
    now = state()
    for each in whole[:after]:
        now = sent(now, each)
    rest = list(islice(stream(*faults, at=now), 200))
    assert wire(rest) == wire(whole[after : after + 200])
