import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.line.physics import (
    die_pressure,
    drying,
    first_order,
    melt_flow_rate,
    quantised,
    screen_drop,
    trapezoid,
    trapezoid_done,
    viscosity,
)
from simulators.line.randomness import autoregressive, generator


def test_pressure_follows_the_measured_power_of_the_screw_speed():
    speed = np.array([5.0, 20.0, 30.0, 40.0])
    pressure = die_pressure(speed, reference_bar=60.0, reference_speed=40.0, exponent=0.63)
    slope = np.polyfit(np.log(speed), np.log(pressure), 1)[0]
    assert slope == pytest.approx(0.63)


def test_a_screen_with_its_capacity_caught_resists_four_times_as_much():
    assert screen_drop(np.array([0.0, 0.8]), clean_bar=6.0, capacity_kg=0.8) == pytest.approx([6.0, 24.0])


def test_drying_reaches_1_part_in_e_after_one_time_constant():
    moisture = drying(np.array([-5.0, 0.0, 1200.0]), wet=0.10, dry=0.005, time_constant_s=1200.0)
    assert moisture == pytest.approx([0.10, 0.10, 0.005 + 0.095 / np.e])


def test_a_hotter_melt_is_thinner():
    melt_c = np.array([220.0, 230.0])
    found = viscosity(melt_c, reference_c=220.0, activation_j_mol=40_000.0)
    assert found == pytest.approx([1.0, 0.8237], abs=1e-4)


def test_half_the_consistency_flows_nearly_six_times_as_fast_at_one_stress():
    assert melt_flow_rate(np.array([1.0, 0.5]), usual=12.0, index=0.4) == pytest.approx([12.0, 12.0 * 2**2.5])


@given(st.floats(0.1, 1e3), st.floats(1.0, 1e3), st.floats(-100.0, 100.0))
def test_a_lag_goes_from_its_start_to_what_it_follows(period_s: float, time_constant_s: float, start: float):
    values = np.full(50, 7.0)
    found = first_order(values, period_s=period_s, time_constant_s=time_constant_s, start=start)
    since_s = np.arange(1, 51) * period_s
    assert found == pytest.approx(7.0 + (start - 7.0) * np.exp(-since_s / time_constant_s), abs=1e-9)


@given(st.floats(0.0, 1e4), st.floats(60.0, 1e4), st.floats(0.0, 600.0))
def test_what_is_done_is_the_area_under_the_load(start_s: float, length_s: float, ramp_s: float):
    time_s = np.linspace(start_s, start_s + length_s, 5_001)
    load = trapezoid(time_s, start_s=start_s, stop_s=start_s + length_s, ramp_s=ramp_s)
    done = trapezoid_done(time_s, start_s=start_s, stop_s=start_s + length_s, ramp_s=ramp_s)
    area = np.concatenate([[0.0], np.cumsum((load[1:] + load[:-1]) / 2.0)])
    assert done[0] == 0.0
    assert done[-1] == pytest.approx(1.0)
    assert done == pytest.approx(area / area[-1], abs=1e-3)


@given(st.floats(-1e3, 1e3), st.sampled_from([0.5, 0.2, 0.1, 0.01, 0.001, 0.0001]))
def test_a_display_shows_the_nearest_step_without_binary_dust(value: float, resolution: float):
    shown = float(quantised(np.array([value]), resolution)[0])
    assert abs(shown - value) <= resolution / 2 + 1e-9
    assert len(repr(shown).partition(".")[2]) <= 5


def test_noise_has_the_autocorrelation_and_the_spread_that_were_asked_for():
    noise = autoregressive(generator("a test"), 200_000, phi=0.9, sd=2.0)
    assert np.std(noise) == pytest.approx(2.0, rel=0.05)
    assert np.corrcoef(noise[1:], noise[:-1])[0, 1] == pytest.approx(0.9, abs=0.01)


def test_streams_of_chance_depend_on_their_names_alone():
    assert generator(1, "a").random() == generator(1, "a").random()
    assert generator(1, "a").random() != generator(1, "b").random()
