"""The simulated extruder behaves as the measured one: DYNAMICS below are ranges seen on a real machine."""

import numpy as np
import pytest

from tests.simulators.builders import FLAX, TEXTILE, caux, cycles, during, readings

ZONES = [f"barrel_temp_z{zone}" for zone in range(1, 6)]
HEAT_UP_C_MIN = (8.0, 14.0)
RISE_MIN = (8.3, 16.8)
OVERSHOOT_C = (4.0, 10.0)
STEADY_SD_C = (0.3, 2.2)
LAG_1 = (0.95, 0.995)


def steady(line: str, signal: str) -> np.ndarray:
    cycle, publications = cycles(line)[1]
    times, values = readings(publications, "extruder", signal)
    return values[during(cycle.plan.stages[-1], cycle, times, after_s=1800, before_s=800)]


def lag_1(values: np.ndarray) -> float:
    return float(np.corrcoef(values[1:], values[:-1])[0, 1])


@pytest.mark.parametrize("line", [TEXTILE, FLAX])
@pytest.mark.parametrize("zone", ZONES)
def test_a_cold_barrel_heats_up_as_fast_as_the_real_one_and_overshoots_as_much(line: str, zone: str):
    cycle, publications = cycles(line)[0]
    stage = cycle.plan.stages[-1]
    set_point = stage.recipe.targets[f"extruder.{zone}"]
    times, values = readings(publications, "extruder", zone)
    first = values[0]
    at_10 = times[np.argmax(values > first + 0.1 * (set_point - first))]
    at_90 = times[np.argmax(values > first + 0.9 * (set_point - first))]
    rise_min = (at_90 - at_10) / 60
    assert RISE_MIN[0] <= rise_min <= RISE_MIN[1]
    assert HEAT_UP_C_MIN[0] <= 0.8 * (set_point - first) / rise_min <= HEAT_UP_C_MIN[1]
    before_run = values[times < times[0] + 4400]
    assert OVERSHOOT_C[0] <= before_run.max() - set_point <= OVERSHOOT_C[1]


@pytest.mark.parametrize("line", [TEXTILE, FLAX])
@pytest.mark.parametrize("zone", ZONES)
def test_steady_temperatures_swing_and_stand_still_like_the_real_ones(line: str, zone: str):
    values = steady(line, zone)
    assert STEADY_SD_C[0] <= np.std(values) <= STEADY_SD_C[1]
    assert LAG_1[0] <= lag_1(values) <= LAG_1[1]
    assert np.mean(np.diff(values) == 0) >= 0.90
    assert values * 2 == pytest.approx(np.round(values * 2))


@pytest.mark.parametrize("line", [TEXTILE, FLAX])
def test_pressure_is_less_correlated_than_temperature(line: str):
    signal = "melt_pressure_after" if line == TEXTILE else "melt_pressure"
    assert 0.1 <= lag_1(steady(line, signal)) <= 0.86


@pytest.mark.parametrize("line", [TEXTILE, FLAX])
def test_the_melt_is_near_its_target(line: str):
    target = cycles(line)[1][0].plan.stages[-1].recipe.targets["extruder.melt_temp"]
    assert np.mean(steady(line, "melt_temp")) == pytest.approx(target, abs=2.0)


def test_the_screen_clogs_during_a_run():
    before, after = steady(TEXTILE, "melt_pressure"), steady(TEXTILE, "melt_pressure_after")
    drop = before - after
    assert drop[-300:].mean() > drop[:300].mean() + 3.0


def test_feeders_weigh_within_half_a_percent_a_minute():
    cycle, publications = cycles(FLAX)[1]
    times, values = readings(publications, "feeders", "fibre_feed")
    inside = values[during(cycle.plan.stages[-1], cycle, times, after_s=1800, before_s=800)]
    minutes = inside[: len(inside) // 60 * 60].reshape(-1, 60).mean(axis=1)
    assert 0.002 <= np.std(minutes) / np.mean(minutes) <= 0.006


def test_flax_is_dry_before_the_run_begins():
    cycle, publications = cycles(FLAX)[0]
    times, values = readings(publications, "dryer", "moisture")
    assert values[:3].max() > 0.08
    assert values[during(cycle.plan.stages[0], cycle, times)].max() < 0.01


def test_the_bagging_scale_ends_at_the_mass_that_was_written_down():
    for line in (TEXTILE, FLAX):
        cycle, publications = cycles(line)[0]
        stage = cycle.plan.stages[-1]
        times, values = readings(publications, "bagging", "batch_weight")
        last = values[during(stage, cycle, times)][-10:]
        assert last.mean() == pytest.approx(float(stage.outputs[0].portion.mass_kg), abs=0.6)


@pytest.mark.parametrize("line", [TEXTILE, FLAX])
def test_no_sensor_leaves_the_range_that_it_can_mean(line: str):
    for _, publications in cycles(line):
        for signal in caux().line(line).signals:
            _, values = readings(publications, signal.device, signal.id)
            assert signal.range_low <= values.min()
            assert values.max() <= signal.range_high
