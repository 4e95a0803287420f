import math

import numpy as np
import pytest
from scipy import integrate, stats

from processing.charts import D2, LOTS_MIN, PROVISIONAL_LOTS_MIN, SIGMA_LIMIT, individuals_chart

E2 = SIGMA_LIMIT / D2

# NIST/SEMATECH e-Handbook of Statistical Methods, 6.3.2.2: ten flow rates, mean 50.81, mean moving range 1.8778
NIST_FLOW = [49.6, 47.6, 49.9, 51.3, 47.8, 51.2, 52.6, 52.4, 53.6, 52.1]


def test_d2_is_the_expected_range_of_two_normal_values() -> None:
    # E|X − Y| with X − Y ~ N(0, 2)
    expected, _ = integrate.quad(lambda x: 2 * x * stats.norm.pdf(x, scale=math.sqrt(2)), 0, math.inf)
    assert pytest.approx(expected, abs=1e-9) == D2
    assert pytest.approx(1.1283791670955126, abs=1e-15) == D2
    assert pytest.approx(2.6586807763582736, abs=1e-12) == E2


def test_centre_and_sigma_of_the_published_example() -> None:
    chart = individuals_chart(NIST_FLOW)
    assert chart.centre == pytest.approx(50.81, abs=1e-9)
    assert chart.sigma == pytest.approx(1.8778 / D2, abs=1e-4)
    assert chart.provisional


def test_twenty_lots_make_limits_of_three_sigma() -> None:
    values = NIST_FLOW * 2
    chart = individuals_chart(values)
    mean_range = np.abs(np.diff(values)).mean()
    assert not chart.provisional
    assert chart.upper == pytest.approx(np.mean(values) + E2 * mean_range, abs=1e-9)
    assert chart.lower == pytest.approx(np.mean(values) - E2 * mean_range, abs=1e-9)


def test_few_lots_make_no_limits() -> None:
    chart = individuals_chart(NIST_FLOW[: PROVISIONAL_LOTS_MIN - 1])
    assert (chart.lower, chart.upper, chart.sigma, chart.outside) == (None, None, None, ())
    assert chart.centre is not None
    assert individuals_chart([]).centre is None


def test_provisional_limits_are_wider_and_narrow_as_lots_come() -> None:
    widths = []
    for n in range(PROVISIONAL_LOTS_MIN, LOTS_MIN):
        chart = individuals_chart([float(i % 2) for i in range(n)])
        assert chart.upper is not None
        assert chart.centre is not None
        assert chart.sigma is not None
        widths.append((chart.upper - chart.centre) / chart.sigma)
    assert widths == sorted(widths, reverse=True)
    assert min(widths) > 3


def test_provisional_limits_keep_the_false_alarms_of_three_sigma() -> None:
    rng = np.random.default_rng(7)
    alarms, trials = 0, 4000
    for _ in range(trials):
        chart = individuals_chart(list(rng.normal(size=10)))
        assert chart.upper is not None
        assert chart.lower is not None
        alarms += not chart.lower <= rng.normal() <= chart.upper
    assert alarms / trials < 0.006  # 0.0027 wanted; plain 3-sigma limits of 10 lots give about 0.02


def test_a_lot_beyond_a_limit_is_named_and_one_on_it_is_not() -> None:
    values = [0.0, 1.0] * 12
    values[20] = 9.0
    assert individuals_chart(values).outside == (20,)
    assert individuals_chart([5.0] * 25).outside == ()


def test_equal_lots_are_never_surer_than_the_resolution() -> None:
    assert individuals_chart([5.0] * 20, resolution=0.5).sigma == pytest.approx(0.5 / math.sqrt(12))


def test_a_mean_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not a finite number"):
        individuals_chart([1.0, math.nan])
