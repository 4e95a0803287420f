"""The simulated machines behave as the measured one: each statistic is within the range that was measured."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from simulators.line.calibration import (
    BETWEEN_BLENDS,
    MEASURED,
    PRESSURE_BAR,
    at_speed,
    cycle_min,
    heat_up,
    lag_1,
    still,
)
from tests.simulators.builders import FLAX, TEXTILE, caux, cycles, first_cycle, readings, with_parameters
from tests.simulators.line.machine_readings import cold_start, plateau, seconds, shown, true, warm

LINES = (TEXTILE, FLAX)
ZONES = [f"extruder.barrel_temp_z{zone}" for zone in range(1, 6)]
SCAN_S = 2.0
BEFORE_FEED_S = 4400.0


def steady(line: str, key: str) -> np.ndarray:
    return shown(warm(line), key)[plateau(warm(line), key)]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("zone", ZONES)
def test_a_cold_barrel_heats_up_as_fast_as_the_real_one_and_overshoots_as_much(line: str, zone: str):
    cycle = cold_start(line)
    at = seconds(cycle, "extruder")
    before = at < BEFORE_FEED_S
    set_point_c = cycle.plan.stages[-1].recipe.targets[zone]
    found = heat_up(at[before], shown(cycle, zone)[before], set_point_c=set_point_c)
    assert MEASURED["heat_up"].holds(found.rate_c_min)
    assert MEASURED["rise"].holds(found.rise_min)
    assert MEASURED["overshoot"].holds(found.overshoot_c)


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("zone", ZONES)
def test_steady_temperatures_swing_and_stand_still_like_the_real_ones(line: str, zone: str):
    values = steady(line, zone)
    assert MEASURED["sd"].holds(float(np.std(values)))
    assert MEASURED["lag_1"].holds(round(lag_1(values), 2))
    assert MEASURED["still"].holds(still(values))
    assert values * 2 == pytest.approx(np.round(values * 2))


@pytest.mark.parametrize("line", LINES)
def test_the_zones_cycle_as_slowly_as_the_real_ones_though_nothing_drives_them(line: str):
    """A run is six cycles long or so: its spectrum alone may mistake two of them for one."""
    runs = [cycle for cycle, _ in cycles(line, count=4)[1:]]
    for zone in ZONES:
        found = [cycle_min(true(each, zone)[plateau(each, zone)], period_s=SCAN_S) for each in runs]
        assert MEASURED["cycle"].holds(float(np.median(found))), (zone, found)


def test_a_controller_without_a_dead_step_does_not_cycle():
    cycle = first_cycle(with_parameters(TEXTILE, "extruder", duty_step=0.0, draught_w=0.0, chill_c=0.0), TEXTILE)
    zone = "extruder.barrel_temp_z4"
    assert np.std(true(cycle, zone)[plateau(cycle, zone)]) < 0.3 * MEASURED["sd"].low


PRESSURES = [(TEXTILE, "melt_pressure"), (TEXTILE, "melt_pressure_after"), (FLAX, "melt_pressure")]


@pytest.mark.parametrize(("line", "signal"), PRESSURES)
def test_pressure_is_less_correlated_than_temperature(line: str, signal: str):
    """Apart from its trend, which is the screen's."""
    values = steady(line, f"extruder.{signal}")
    place = np.arange(len(values))
    assert MEASURED["lag_1_pressure"].holds(lag_1(values - np.polyval(np.polyfit(place, values, 1), place)))


@cache
def pressure_at(speed: float) -> float:
    """Before a screen that is clean, at this screw speed, bar."""
    cycle = first_cycle(at_speed(caux(), TEXTILE, "extruder.screw_speed", speed), TEXTILE)
    stage = cycle.plan.stages[-1]
    at = seconds(cycle, "extruder")
    inside = (at > stage.feed_start_s + stage.ramp_s + 300.0) & (at < stage.feed_start_s + stage.ramp_s + 1500.0)
    return float(np.mean(shown(cycle, "extruder.melt_pressure")[inside]))


@pytest.mark.parametrize(("speed", "measured_bar"), PRESSURE_BAR.items())
def test_pressure_against_screw_speed_is_the_measured_one_as_far_as_blends_allow(speed: float, measured_bar: float):
    assert pressure_at(speed) == pytest.approx(measured_bar, rel=BETWEEN_BLENDS)


@pytest.mark.parametrize("line", LINES)
def test_the_melt_swings_with_the_fillings_of_the_hopper(line: str):
    melt_c = true(warm(line), "extruder.melt_temp")[plateau(warm(line), "extruder.melt_temp")]
    minutes = melt_c[: len(melt_c) // 180 * 180].reshape(-1, 6, 30).mean(axis=2)
    assert 2.0 <= np.median(np.ptp(minutes, axis=1)) <= 15.0


@pytest.mark.parametrize("line", LINES)
def test_the_melt_is_near_its_target(line: str):
    target = warm(line).plan.stages[-1].recipe.targets["extruder.melt_temp"]
    assert np.mean(steady(line, "extruder.melt_temp")) == pytest.approx(target, abs=3.0)


@pytest.mark.parametrize("line", LINES)
def test_shear_gives_most_of_the_heat(line: str):
    cycle, given = warm(line), caux().line(line).unit("extruder").simulator
    inside = plateau(cycle, "extruder.energy")
    at, energy = seconds(cycle, "extruder")[inside], true(cycle, "extruder.energy")[inside]
    hours = (at[-1] - at[0]) / 3600.0
    power_kw = (energy[-1] - energy[0]) / hours
    shear_kw = (np.mean(true(cycle, "extruder.motor_current")[inside]) - given["idle_a"]) / given["a_per_kw"]
    heaters_kw = power_kw - given["auxiliary_kw"] - shear_kw / given["drive_efficiency"]
    assert 0.70 <= shear_kw / (shear_kw + heaters_kw) <= 0.85
    assert 0.1 <= power_kw / np.mean(true(cycle, "extruder.throughput")[inside]) <= 0.3


@pytest.mark.parametrize("line", LINES)
def test_no_zone_leaves_its_limits_for_a_minute_in_a_normal_lot(line: str):
    cycle = warm(line)
    stage, at = cycle.plan.stages[-1], seconds(cycle, "extruder")
    running = (at >= stage.start_s) & (at < stage.stop_s)
    for zone in ZONES:
        values, limits = shown(cycle, zone)[running], stage.recipe.limits[zone]
        outside = np.concatenate([[False], (values < limits.low) | (values > limits.high), [False]])
        begun, ended = (
            np.flatnonzero(np.diff(outside.astype(int)) == 1),
            np.flatnonzero(np.diff(outside.astype(int)) == -1),
        )
        assert np.max(ended - begun, initial=0) * SCAN_S <= 60.0, zone


def test_the_screen_clogs_during_a_run_and_lasts_one_to_eight_hours():
    key = "extruder.melt_pressure"
    cycle = warm(TEXTILE)
    drop = steady(TEXTILE, key) - steady(TEXTILE, "extruder.melt_pressure_after")
    assert drop[-300:].mean() > drop[:300].mean() + 3.0
    given = caux().line(TEXTILE).unit("extruder").simulator
    most_kg = given["screen_capacity_kg"] * ((given["screen_change_bar"] / given["screen_clean_bar"]) ** 0.5 - 1.0)
    kg_h = float(np.mean(true(cycle, "extruder.throughput")[plateau(cycle, key)]))
    assert 1.0 <= most_kg / (kg_h * given["dirt"]) <= 8.0


def test_feeders_weigh_within_half_a_percent_a_minute():
    inside = steady(FLAX, "feeders.fibre_feed")
    minutes = inside[: len(inside) // 60 * 60].reshape(-1, 60).mean(axis=1)
    assert 0.003 <= np.std(minutes) / np.mean(minutes) <= 0.0055


def test_the_hopper_is_filled_every_six_minutes_or_so():
    cycle = warm(FLAX)
    inside = plateau(cycle, "feeders.refill")
    begun = seconds(cycle, "feeders")[inside][1:][np.diff(shown(cycle, "feeders.refill")[inside]) > 0]
    assert np.all((np.diff(begun) > 300.0) & (np.diff(begun) < 420.0))


def test_flax_is_dry_before_the_run_begins():
    cycle = cold_start(FLAX)
    moisture, at, stage = shown(cycle, "dryer.moisture"), seconds(cycle, "dryer"), cycle.plan.stages[0]
    assert moisture[:3].max() > 0.08
    assert moisture[(at >= stage.start_s) & (at < stage.stop_s)].max() < 0.01


@pytest.mark.parametrize("line", LINES)
def test_no_sensor_leaves_the_range_that_it_can_mean(line: str):
    for cycle, _ in cycles(line):
        for signal in caux().line(line).signals:
            values = shown(cycle, signal.key)
            assert signal.range_low <= np.nanmin(values)
            assert np.nanmax(values) <= signal.range_high


@pytest.mark.parametrize("line", LINES)
def test_what_is_published_is_what_the_machines_show(line: str):
    cycle, publications = cycles(line)[0]
    for signal in ("melt_temp", "melt_pressure", "energy"):
        assert readings(publications, "extruder", signal)[1] == pytest.approx(shown(cycle, f"extruder.{signal}"))


def test_the_page_states_the_ranges_that_the_simulator_is_held_to():
    page = (Path(__file__).parents[3] / "docs" / "simulated-plant.md").read_text(encoding="utf-8")
    stated = [each for name, each in MEASURED.items() if name != "still"]
    assert [each for each in stated if f"{each.low:g}–{each.high:g}" not in page] == []
    speeds, bars = (", ".join(f"{number:g}" for number in column) for column in (PRESSURE_BAR, PRESSURE_BAR.values()))
    assert f"| pressure at {speeds} /min | {bars} bar, ±{BETWEEN_BLENDS * 100:g} %" in page
