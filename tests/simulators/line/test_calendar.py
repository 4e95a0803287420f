"""A workshop that closes: no rows at night, cold machines in the morning, so many lots a day."""

from datetime import datetime
from functools import cache
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiere.clock import from_ns, parse_time
from simulators.line.calendar import next_start_ns, opening_ns
from simulators.line.cycle import Cycle
from simulators.line.simulation import beginning, line_cycles, simulate
from simulators.scenarios.scenario import Calendar
from tests.simulators.builders import FLAX, START_NS, TEXTILE, caux, scenario

PARIS = "Europe/Paris"
WEEK = Calendar(days=frozenset(range(5)), start_minute=360, lots_a_day=2)


def local(time_ns: int) -> datetime:
    return from_ns(time_ns).astimezone(ZoneInfo(PARIS))


@cache
def days(line: str) -> tuple[Cycle, ...]:
    """Two lots a day on Thursday, Friday and Monday."""
    weekdays = scenario(calendar=WEEK)
    start = beginning(caux(), seed=1, start_ns=START_NS, scenario=weekdays)
    return tuple(islice(line_cycles(caux(), start, line, scenario=weekdays), 6))


@given(
    st.integers(parse_time("2026-01-01T00:00:00Z"), parse_time("2027-12-31T00:00:00Z")),
    st.frozensets(st.integers(0, 6), min_size=1),
    st.integers(0, 1439),
)
def test_the_workshop_opens_within_a_week_at_its_hour(time_ns: int, weekdays: frozenset[int], minute: int):
    found = opening_ns(Calendar(days=weekdays, start_minute=minute, lots_a_day=1), PARIS, time_ns)
    assert time_ns <= found <= time_ns + (7 * 24 + 2) * 3_600_000_000_000
    assert local(found).weekday() in weekdays
    if not 2 * 60 <= minute < 3 * 60:  # the hour that the clock change leaves out
        assert (local(found).hour * 60 + local(found).minute) == minute


@pytest.mark.parametrize(
    ("day", "utc"), [("2026-03-27", "05:00"), ("2026-03-30", "04:00"), ("2026-10-23", "04:00"), ("2026-10-26", "05:00")]
)
def test_the_workshop_opens_by_the_clock_on_the_wall(day: str, utc: str):
    assert opening_ns(WEEK, PARIS, parse_time(f"{day}T01:00:00Z")) == parse_time(f"{day}T{utc}:00Z")


def test_after_the_last_lot_of_friday_comes_monday():
    friday_ns = parse_time("2026-03-13T15:00:00Z")
    assert next_start_ns(WEEK, PARIS, friday_ns, lots=1) == friday_ns
    assert next_start_ns(WEEK, PARIS, friday_ns, lots=2) == parse_time("2026-03-16T05:00:00Z")
    assert next_start_ns(None, PARIS, friday_ns, lots=99) == friday_ns


@pytest.mark.parametrize("line", [TEXTILE, FLAX])
def test_so_many_lots_a_day_are_begun_from_the_morning_on(line: str):
    made = days(line)
    begun = [local(cycle.plan.cycle.start_ns) for cycle in made]
    assert begun[0] == local(parse_time("2026-03-12T05:00:00Z"))  # the start lies after that day's opening
    assert [(each.hour, each.minute) for each in begun[::2]] == [(6, 0)] * 3
    assert [each.date() for each in begun[::2]] == [each.date() for each in begun[1::2]]
    assert begun[4].date() == datetime(2026, 3, 16, tzinfo=ZoneInfo(PARIS)).date()  # Thursday, Friday, Monday


@pytest.mark.parametrize("line", [TEXTILE, FLAX])
def test_nothing_is_heard_at_night_and_numbers_go_on_in_the_morning(line: str):
    evening, morning = days(line)[1:3]
    for before, after in zip(evening.devices, morning.devices, strict=True):
        assert before.time_ms[-1] < evening.plan.cycle.start_ns // 10**6 + evening.plan.duration_s * 1000
        assert after.time_ms[0] >= morning.plan.cycle.start_ns // 10**6
        assert after.seq[0] == before.seq[-1] + 1
        assert after.boots == before.boots


@pytest.mark.parametrize("line", [TEXTILE, FLAX])
def test_a_barrel_is_cold_in_the_morning_and_hot_between_two_lots(line: str):
    first, second, third, *_ = days(line)
    zone = [
        next(rows for rows in cycle.devices if rows.device == "extruder").true["barrel_temp_z3"]
        for cycle in (first, second, third)
    ]
    assert zone[1][0] == pytest.approx(zone[0][-1], abs=2.0)
    assert 15.0 < zone[2][0] < 80.0 < zone[1][0]
    assert np.nanmax(zone[2]) > 180.0


def test_all_lines_of_a_closed_workshop_stand_still_together():
    weekdays = scenario(calendar=WEEK)
    stop_ns = parse_time("2026-03-14T00:00:00Z")
    times = [
        each.time_ns
        for each in simulate(caux(), seed=1, start_ns=START_NS, lots=None, scenario=weekdays, stop_ns=stop_ns)
    ]
    assert max(later - earlier for earlier, later in pairwise(times)) > 10 * 3_600_000_000_000
    assert times == sorted(times)
