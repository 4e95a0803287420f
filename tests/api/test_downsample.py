import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.downsample import envelope, min_max
from filiere.readings import Series

START, STOP = 1_000_000_000, 1_000_100_000
STEPS = st.lists(st.integers(1, 500), max_size=400)
VALUES = st.floats(-1e6, 1e6, allow_nan=False)


@st.composite
def series(draw: st.DrawFn) -> Series:
    times = START + np.cumsum(np.array(draw(STEPS), dtype=np.int64))
    times = times[times < STOP]
    values = draw(st.lists(VALUES, min_size=times.size, max_size=times.size))
    return made(times, values)


def made(times: object, values: object) -> Series:
    time_ns = np.array(times, dtype=np.int64)
    return Series(
        key="extruder.melt_temp",
        time_ns=time_ns,
        value=np.array(values, dtype=np.float64),
        quality=(np.arange(time_ns.size) % 3).astype(np.uint8),
    )


@given(series(), st.integers(2, 300))
def test_peaks_survive_and_nothing_is_invented(found: Series, points: int) -> None:
    kept = min_max(found, points, START, STOP)
    assert kept.time_ns.size <= max(points, 0)
    assert (np.diff(kept.time_ns) > 0).all()
    rows = set(zip(found.time_ns.tolist(), found.value.tolist(), found.quality.tolist(), strict=True))
    assert set(zip(kept.time_ns.tolist(), kept.value.tolist(), kept.quality.tolist(), strict=True)) <= rows
    if found.value.size:
        assert (kept.value.min(), kept.value.max()) == (found.value.min(), found.value.max())


@given(series(), st.integers(2, 300))
def test_a_series_that_is_short_enough_is_left_alone(found: Series, points: int) -> None:
    if found.time_ns.size <= points:
        assert min_max(found, points, START, STOP) is found


def test_a_single_spike_among_many_readings_is_kept() -> None:
    values = np.full(5000, 200.0)
    values[3217] = 262.5
    kept = min_max(made(START + np.arange(5000) * 20, values), 100, START, STOP)
    assert 262.5 in kept.value


def test_fewer_than_two_points_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        min_max(made([], []), 1, START, STOP)


@given(series(), st.integers(1, 60))
def test_an_envelope_has_the_lowest_and_highest_of_every_bucket(found: Series, buckets: int) -> None:
    grid = envelope(found, START, STOP, buckets)
    assert len(grid) == 2 * buckets
    known = [value for value in grid if value is not None]
    if found.value.size:
        assert (min(known), max(known)) == (found.value.min(), found.value.max())
    else:
        assert known == []
    assert all((grid[2 * i] is None) == (grid[2 * i + 1] is None) for i in range(buckets))


def test_readings_outside_an_envelope_do_not_count() -> None:
    assert envelope(made([START - 1, STOP], [1.0, 2.0]), START, STOP, 4) == [None] * 8
