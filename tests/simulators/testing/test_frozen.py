import math

import pytest

from filiere.clock import NS_PER_S, parse_time
from simulators.testing.frozen import FrozenClock


def test_the_clock_begins_at_the_first_simulated_instant_and_stands(frozen_clock: FrozenClock):
    assert frozen_clock() == parse_time("2026-03-11T06:00:00Z")
    assert frozen_clock() == frozen_clock.now_ns
    assert "2026-03-11T06:00:00" in repr(frozen_clock)


def test_the_clock_moves_when_it_is_told(frozen_clock: FrozenClock):
    began_ns = frozen_clock()
    assert frozen_clock.advance(90) == began_ns + 90 * NS_PER_S
    assert frozen_clock.reach("2026-03-11T08:00:00+01:00") == began_ns + 3600 * NS_PER_S
    assert frozen_clock() == began_ns + 3600 * NS_PER_S


@pytest.mark.parametrize("moment", [0, "2026-03-11T06:00:00+09:00"])
def test_the_clock_never_goes_back(frozen_clock: FrozenClock, moment: int | str):
    before = frozen_clock()
    assert frozen_clock.reach(moment) == before


@pytest.mark.parametrize("seconds", [-1e-9, -1, math.nan, math.inf])
def test_less_than_nothing_is_refused(frozen_clock: FrozenClock, seconds: float):
    with pytest.raises(ValueError, match="expected 0 or more"):
        frozen_clock.advance(seconds)


def test_a_local_time_is_refused(frozen_clock: FrozenClock):
    with pytest.raises(ValueError, match="offset"):
        frozen_clock.reach("2026-03-11T08:00:00")
