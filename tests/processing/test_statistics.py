import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiere.clock import NS_PER_S
from filiere.plant import Limits
from filiere.readings import Series
from processing.statistics import HOLD_PERIODS, SignalStatistics, autocorrelation, mean_uncertainty, signal_statistics
from tests.processing.builders import T0, series

NO_LIMITS = Limits()


def over(given_series: Series, stop_s: float, **fields: object) -> SignalStatistics:
    values: dict[str, object] = {
        "limits": NO_LIMITS,
        "period_s": 10.0,
        "resolution": 0.1,
        "start_ns": T0,
        "stop_ns": T0 + round(stop_s * NS_PER_S),
    }
    return signal_statistics(given_series, **(values | fields))  # type: ignore[arg-type]  # a builder


def test_a_complete_regular_signal_is_exactly_complete_wherever_its_first_sample_falls() -> None:
    for phase in (0.0, 3.0, 9.9):
        times = np.arange(phase, 600, 10)
        assert over(series("a.b", times, times * 0 + 5), 600).completeness == 1.0


def test_each_reading_weighs_as_long_as_it_holds() -> None:
    found = over(series("a.b", [0, 10, 15], [1.0, 2.0, 4.0]), 25)
    assert found.mean == pytest.approx((10 * 1 + 5 * 2 + 10 * 4) / 25, abs=1e-12)
    assert found.sd == pytest.approx(math.sqrt((10 * 1.4**2 + 5 * 0.4**2 + 10 * 1.6**2) / 25), abs=1e-12)
    assert (found.minimum, found.maximum, found.n) == (1.0, 4.0, 3)


def test_a_gap_counts_three_periods_and_no_more() -> None:
    found = over(series("a.b", [0, 10, 510], [1.0, 1.0, 3.0]), 520)
    covered = 10 + HOLD_PERIODS * 10 + 10
    assert found.completeness == pytest.approx(covered / 520, abs=1e-12)
    assert found.mean == pytest.approx((10 + 30 + 3 * 10) / covered, abs=1e-12)


def test_a_reading_that_is_not_good_counts_for_nothing_and_ends_the_hold_of_the_one_before() -> None:
    found = over(series("a.b", [0, 10, 20], [1.0, 900.0, 1.0], quality=[0, 1, 0]), 30)
    assert found.mean == 1.0
    assert found.n == 2
    assert found.completeness == pytest.approx(20 / 30, abs=1e-12)


def test_a_signal_on_change_holds_until_it_changes() -> None:
    found = over(series("a.batch_weight", [0, 500], [10.0, 20.0]), 1000, period_s=0.0)
    assert found.mean == 15.0
    assert found.completeness == 1.0


def test_a_first_change_says_nothing_of_the_time_before_it() -> None:
    found = over(series("a.batch_weight", [900], [20.0]), 1000, period_s=0.0)
    assert found.mean == 20.0
    assert found.completeness == 0.1


def test_irregular_readings_of_a_periodic_signal_weigh_by_their_time() -> None:
    found = over(series("a.batch_weight", [0, 5, 7, 31], [0.0, 100.0, 200.0, 300.0]), 40)
    assert found.mean == pytest.approx((5 * 0 + 2 * 100 + 24 * 200 + 9 * 300) / 40, abs=1e-9)
    assert found.completeness == 1.0


def test_minutes_outside_count_the_time_beyond_either_limit() -> None:
    found = over(
        series("a.b", range(0, 600, 10), [5.0] * 30 + [11.0] * 18 + [-1.0] * 12), 600, limits=Limits(low=0, high=10)
    )
    assert found.minutes_outside == pytest.approx(5.0, abs=1e-12)


def test_a_value_on_its_limit_is_inside() -> None:
    assert over(series("a.b", [0, 10], [10.0, 10.0]), 20, limits=Limits(high=10)).minutes_outside == 0.0


def test_no_good_reading_says_nothing_instead_of_zero() -> None:
    for given_series in (series("a.b", [], []), series("a.b", [0], [5.0], quality=[1])):
        found = over(given_series, 60)
        assert (found.mean, found.sd, found.u95, found.n, found.completeness) == (None, None, None, 0, 0.0)


def test_an_empty_run_is_not_complete() -> None:
    assert over(series("a.b", [], []), 0).completeness == 0.0


def test_times_that_go_back_are_refused() -> None:
    with pytest.raises(ValueError, match="go back"):
        over(series("a.b", [10, 0], [1.0, 1.0]), 60)


def test_readings_outside_the_window_are_left_out() -> None:
    found = over(series("a.b", [-10, 0, 10, 20], [9.0, 1.0, 1.0, 9.0]), 20)
    assert (found.mean, found.n) == (1.0, 2)


def test_a_stuck_sensor_is_never_surer_than_its_resolution() -> None:
    found = over(series("a.b", range(0, 600, 10), [5.0] * 60), 600, resolution=0.5)
    floor = 0.5 / math.sqrt(12)
    assert found.sd == 0.0
    assert found.u95 is not None
    assert found.u95 >= 2 * floor


def test_autocorrelation_widens_the_uncertainty_of_the_mean() -> None:
    assert mean_uncertainty(sd=1.0, resolution=0.0, n_effective=101.0) == pytest.approx(0.1)
    found = over(series("a.b", range(0, 6000, 10), np.sin(np.arange(600) / 40)), 6000)
    assert found.phi > 0.95
    assert found.n_effective < 20


@pytest.mark.parametrize(("phi", "n"), [(0.0, 10), (0.0, 1000), (0.5, 60), (0.9, 300), (0.95, 1000), (0.99, 3000)])
def test_u95_covers_the_true_mean_of_an_ar1_signal(phi: float, n: int) -> None:
    """Among them the regime of a real extruder: φ = 0.95 to 0.99, a run of one to three hours."""
    rng = np.random.default_rng(20_260_101)
    trials, inside = 300, 0
    for _ in range(trials):
        noise = rng.normal(size=n) * math.sqrt(1 - phi**2)
        noise[0] = rng.normal()
        for i in range(1, n):
            noise[i] += phi * noise[i - 1]
        found = over(series("a.b", range(0, n * 10, 10), noise), n * 10, resolution=0.0)
        assert found.mean is not None
        assert found.u95 is not None
        inside += abs(found.mean) <= found.u95
    assert inside / trials > 0.9


def test_the_bias_of_a_short_autocorrelation_is_mended() -> None:
    """E[r1] is near φ − (1 + 4φ)/n: what is estimated without the correction is too low, and flatters the mean."""
    rng = np.random.default_rng(20_260_102)
    phi, n, found = 0.8, 60, []
    for _ in range(400):
        noise = rng.normal(size=n) * math.sqrt(1 - phi**2)
        noise[0] = rng.normal()
        for i in range(1, n):
            noise[i] += phi * noise[i - 1]
        found.append(autocorrelation(noise))
    assert sum(found) / len(found) == pytest.approx(phi, abs=0.02)


@given(
    gaps=st.lists(st.integers(min_value=1, max_value=10_000), min_size=1, max_size=60),
    values=st.lists(st.floats(min_value=-1e6, max_value=1e6), min_size=60, max_size=60),
    bad=st.sets(st.integers(min_value=0, max_value=59)),
)
def test_the_statistics_are_those_of_the_formula(gaps: list[int], values: list[float], bad: set[int]) -> None:
    times_s = np.cumsum(gaps) / 100
    stop_s = float(times_s[-1]) + 5
    n = len(gaps)
    found = over(series("a.b", times_s, values[:n], quality=[int(i in bad) for i in range(n)]), stop_s)
    weights = []
    for i in range(n):
        until = times_s[i + 1] if i + 1 < n else stop_s
        weight = min(until - times_s[i], 30.0) + (min(times_s[0], 10.0) if i == 0 else 0.0)
        weights.append(0.0 if i in bad else weight)
    total = sum(weights)
    if total == 0:
        assert found.mean is None
        return
    mean = sum(w * v for w, v in zip(weights, values, strict=False)) / total
    assert found.mean == pytest.approx(mean, abs=1e-8 * max(1.0, *map(abs, values)))  # times are whole ns
    assert found.completeness == pytest.approx(min(1.0, total / stop_s), abs=1e-7)


def test_autocorrelation_of_a_constant_or_a_short_series_is_none() -> None:
    assert autocorrelation(np.array([1.0, 1.0, 1.0, 1.0])) == 0.0
    assert autocorrelation(np.array([1.0, 2.0])) == 0.0
