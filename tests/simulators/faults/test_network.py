"""What becomes of messages on a bad link."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiere.clock import NS_PER_S
from simulators.faults.catalogue import KINDS
from simulators.faults.fault import Active, NetworkFault
from simulators.faults.network import Dropped, Duplicate, Late, Outage, OutOfOrder, arrivals
from simulators.line.randomness import generator
from tests.simulators.faults.builders import HOUR_NS, START_NS, active, fault

NETWORK_KINDS = [kind for kind in KINDS.values() if issubclass(kind, NetworkFault)]
MESSAGE_NS = 20 * NS_PER_S
COUNT = 2000


def sent(*faults: Active, count: int = COUNT) -> list[tuple[int, ...]]:
    """Arrivals of messages that are due one after the other."""
    return [
        arrivals(START_NS + i * MESSAGE_NS, faults, lambda each, i=i: generator(each.label, i)) for i in range(count)
    ]


def on(kind: type[NetworkFault], *, start_ns: int = START_NS, stop_ns: int = 2**62, **changed: object) -> Active:
    return active(fault(kind, **changed), start_ns=start_ns, stop_ns=stop_ns)


def due(i: int) -> int:
    return START_NS + i * MESSAGE_NS


def test_without_a_fault_every_message_arrives_once_when_it_is_sent():
    assert sent(count=3) == [(due(0),), (due(1),), (due(2),)]


def test_as_many_messages_come_twice_as_the_severity_says():
    found = Counter(len(times) for times in sent(on(Duplicate, severity=0.2)))
    assert found[2] / COUNT == pytest.approx(0.2, abs=0.03)
    assert set(found) == {1, 2}


def test_some_messages_are_overtaken_and_none_is_lost():
    found = [time for times in sent(on(OutOfOrder, severity=0.3)) for time in times]
    assert len(found) == COUNT
    overtaken = sum(later < earlier for earlier, later in pairwise(found))
    assert overtaken > 0.15 * COUNT
    assert max(time - due(i) for i, time in enumerate(found)) < 90 * NS_PER_S


def test_a_late_message_is_so_long_on_its_way():
    assert sent(on(Late, severity=600.0), count=2) == [(due(0) + 600 * NS_PER_S,), (due(1) + 600 * NS_PER_S,)]


def test_as_many_messages_are_lost_as_the_severity_says():
    found = Counter(len(times) for times in sent(on(Dropped, severity=0.1)))
    assert found[0] / COUNT == pytest.approx(0.1, abs=0.03)


def test_what_an_outage_holds_back_comes_in_one_burst_at_its_end():
    stop_ns = due(4)
    found = sent(on(Outage, start_ns=due(2), stop_ns=stop_ns), count=6)
    assert found == [(due(0),), (due(1),), (stop_ns,), (stop_ns,), (stop_ns,), (due(5),)]


def test_a_late_message_that_meets_an_outage_waits_for_its_end():
    outage = on(Outage, start_ns=due(30), stop_ns=due(60))
    late = on(Late, severity=600.0)  # thirty messages
    for order in ((outage, late), (late, outage)):
        found = sent(*order, count=10)
        assert found == [(due(60),)] * 10


def test_two_outages_in_a_row_are_one_long_one():
    first, second = on(Outage, stop_ns=due(3)), on(Outage, start_ns=due(2), stop_ns=due(9))
    assert sent(second, first, count=3) == [(due(9),)] * 3


def test_a_message_that_is_lost_does_not_come_twice():
    assert set(sent(on(Dropped, severity=1.0), on(Duplicate, severity=1.0), count=50)) == {()}


@pytest.mark.parametrize("kind", NETWORK_KINDS, ids=lambda kind: kind.kind)
@given(after_ns=st.integers(-HOUR_NS, 3 * HOUR_NS))
def test_nothing_arrives_before_it_is_sent_and_outside_of_the_window_all_is_well(
    kind: type[NetworkFault], after_ns: int
):
    time_ns = START_NS + after_ns
    times = arrivals(time_ns, [on(kind, stop_ns=START_NS + HOUR_NS)], lambda each: generator(each.label, after_ns))
    assert all(time >= time_ns for time in times)
    if not 0 <= after_ns < HOUR_NS:
        assert times == (time_ns,)


def test_the_fate_of_a_message_does_not_depend_on_the_others():
    faults = (on(Duplicate, severity=0.5), on(Dropped, severity=0.3))
    assert sent(*faults, count=100) == sent(*faults, count=300)[:100]
