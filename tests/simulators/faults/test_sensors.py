"""What sensors and clocks show under a fault."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.faults.catalogue import KINDS
from simulators.faults.fault import SensorFault, Stretch, Window
from simulators.faults.sensors import (
    MISTAKEN,
    SPIKE_SHARE,
    Clock1970,
    ClockDstJump,
    ClockSkew,
    DeviceRestart,
    ScaleTareDrift,
    SensorBreak,
    SensorDrift,
    SensorSpike,
    SensorStuck,
    Sentinel,
    UnitError,
    dst_step_s,
)
from simulators.line.physics import Array, Times
from simulators.line.randomness import generator
from tests.simulators.faults.builders import START_NS, fault, stretch

SENSOR_KINDS = [kind for kind in KINDS.values() if issubclass(kind, SensorFault)]
HOUR_OF_ROWS = 1800
CALM = np.full(HOUR_OF_ROWS + 1, 230.0)
PARIS = "Europe/Paris"


def times(count: int = 3, *, start_ns: int = START_NS) -> tuple[Times, Array]:
    since_s = 2.0 * np.arange(count)
    return start_ns // 1_000_000 + (since_s * 1000).astype(np.int64), since_s


def test_a_broken_sensor_shows_nothing():
    assert np.isnan(fault(SensorBreak).distort(stretch(CALM))).all()


def test_a_stuck_sensor_stays_at_what_it_showed_at_the_onset():
    shown = fault(SensorStuck).distort(stretch(np.array([230.5, 231.0, 180.0])))
    assert shown.tolist() == [230.5, 230.5, 230.5]


def test_a_drift_is_as_large_after_an_hour_as_the_scenario_says():
    shown = fault(SensorDrift, severity=-0.4).distort(stretch(CALM))
    assert shown[0] == 230.0
    assert shown[HOUR_OF_ROWS] == pytest.approx(229.6)


def test_a_drift_goes_on_into_the_next_lot():
    shown = fault(SensorDrift, severity=0.4).distort(stretch(CALM[:2], first_s=7200.0))
    assert shown[0] == pytest.approx(230.8)


def test_spikes_are_rare_go_both_ways_and_leave_the_next_row_right():
    shown = fault(SensorSpike, severity=0.1).distort(stretch(np.full(20_000, 230.0)))
    spiked = shown != 230.0
    assert spiked.mean() == pytest.approx(SPIKE_SHARE, rel=0.2)
    assert set(np.round(shown[spiked], 6)) == {230.0 - 42.0, 230.0 + 42.0}  # a tenth of −20 … 400 °C


def test_a_scale_whose_tare_drifts_shows_more_every_hour_and_the_device_shows_its_other_signals_as_they_are():
    drift = fault(ScaleTareDrift, severity=3.0)
    assert drift.distort(stretch(CALM, key="bagging.batch_weight"))[HOUR_OF_ROWS] == pytest.approx(233.0)
    assert drift.distort(stretch(CALM, key="extruder.throughput")).tolist() == CALM.tolist()


@pytest.mark.parametrize(
    ("key", "there", "shown"),
    [
        ("bagging.batch_weight", 748.6, 748_600.0),
        ("extruder.barrel_temp_z1", 215.0, 419.0),
        ("extruder.melt_pressure", 50.0, 725.188689),
        ("sorter.fibre_ratio", 0.955, 95.5),
        ("extruder.screw_speed", 45.0, 0.75),
    ],
)
def test_a_unit_error_sends_the_number_of_another_unit(key: str, there: float, shown: float):
    assert fault(UnitError).distort(stretch(np.array([there]), key=key)).tolist() == [shown]


@pytest.mark.parametrize(("unit", "mistaken"), [(unit, taken) for unit, (taken, _, _) in MISTAKEN.items()])
def test_the_factors_of_unit_errors_are_those_of_the_collector(unit: str, mistaken: str):
    from filiere.units import converter  # noqa: PLC0415 - pint takes its time

    _, factor, offset = MISTAKEN[unit]
    assert 7.5 * factor + offset == pytest.approx(converter(unit, mistaken)(7.5), rel=1e-9)


def test_a_sentinel_is_sent_as_if_it_were_a_value():
    assert set(fault(Sentinel, severity=65532.0).distort(stretch(CALM)).tolist()) == {65532.0}


def test_what_is_wrong_with_a_display_is_not_rounded_by_it():
    assert {kind.kind for kind in SENSOR_KINDS if kind.on_display} == {"sensor_stuck", "unit_error", "sentinel"}


@pytest.mark.parametrize("kind", SENSOR_KINDS, ids=lambda kind: kind.kind)
@given(
    values=st.lists(st.floats(0.0, 400.0), min_size=1, max_size=50),
    later=st.lists(st.floats(0.0, 400.0), max_size=20),
)
def test_what_is_shown_does_not_depend_on_what_comes_after(
    kind: type[SensorFault], values: list[float], later: list[float]
):
    broken = fault(kind)
    whole = broken.distort(stretch(np.array([*values, *later])))
    assert np.array_equal(whole[: len(values)], broken.distort(stretch(np.array(values))), equal_nan=True)


@pytest.mark.parametrize("kind", SENSOR_KINDS, ids=lambda kind: kind.kind)
def test_a_stretch_without_rows_stays_without(kind: type[SensorFault]):
    empty = stretch(np.zeros(0))
    assert fault(kind).distort(empty).shape == (0,)


# ----------------------------------------------------------------------------------------------------------- clocks


@pytest.mark.parametrize("severity", [420.0, -86_400.0, 0.25])
def test_a_skewed_clock_is_ahead_or_behind_by_so_much(severity: float):
    time_ms, since_s = times()
    assert (fault(ClockSkew, severity=severity).stamps(time_ms, since_s, PARIS) - time_ms).tolist() == [
        severity * 1000
    ] * 3


@pytest.mark.parametrize(
    ("month", "zone", "step_s"),
    [
        (1, PARIS, 3600.0),
        (7, PARIS, -3600.0),
        (1, "Australia/Sydney", -3600.0),
        (7, "Australia/Sydney", 3600.0),
        (7, "Australia/Lord_Howe", 1800.0),
        (7, "Asia/Tokyo", 3600.0),
    ],
)
def test_summer_time_on_the_wrong_day_goes_forward_in_winter_and_back_in_summer(month: int, zone: str, step_s: float):
    assert dst_step_s(datetime(2026, month, 15, tzinfo=UTC), zone) == step_s


def test_a_jump_is_that_of_the_season_of_its_onset_however_long_it_lasts():
    time_ms, since_s = times(start_ns=START_NS)
    jump = fault(ClockDstJump)
    assert (jump.stamps(time_ms, since_s, PARIS) - time_ms).tolist() == [3_600_000] * 3
    summer_ms, month_s = time_ms + 90 * 86_400_000, since_s + 90 * 86_400.0
    assert (jump.stamps(summer_ms, month_s, PARIS) - summer_ms).tolist() == [3_600_000] * 3
    assert jump.stamps(time_ms[:0], since_s[:0], PARIS).shape == (0,)


def test_a_clock_that_lost_the_time_counts_from_1970():
    time_ms, since_s = times()
    assert fault(Clock1970).stamps(time_ms, since_s, PARIS).tolist() == [0, 2000, 4000]


def test_a_device_that_restarts_is_silent_for_its_window():
    window = Window(START_NS, START_NS + 20)
    assert fault(DeviceRestart).off(window) == (window,)


def test_two_faults_of_one_kind_do_not_share_their_chance():
    rows = stretch(np.full(5000, 230.0))
    other = Stretch(values=rows.values, since_s=rows.since_s, signal=rows.signal, chance=generator("another"))
    spikes = fault(SensorSpike)
    assert spikes.distort(rows).tolist() != spikes.distort(other).tolist()
