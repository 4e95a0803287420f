"""What a device shows: sensor faults over the lots, rows that are not there, restarts, clocks."""

import json

import numpy as np
import pytest

from collector.codec import decode_readings
from filiere.clock import NS_PER_MS, NS_PER_S
from simulators.line.cycle import Cycle
from simulators.line.rows import DeviceRows
from tests.simulators.builders import FLAX, START_NS, TEXTILE, cycles, fault, sequence_numbers, with_faults

MELT = "extruder.melt_temp"


def device(cycle: Cycle, name: str) -> DeviceRows:
    return next(rows for rows in cycle.devices if rows.device == name)


def after(rows: DeviceRows, seconds: float) -> np.ndarray:
    return rows.time_ms >= (START_NS + round(seconds * NS_PER_S)) // NS_PER_MS


def test_what_is_true_is_not_touched_by_the_sensor():
    broken = with_faults(fault("sensor_drift", MELT, severity=5.0), fault("sentinel", "extruder.barrel_temp_z1"))[0]
    (normal, _), *_ = cycles(TEXTILE)
    for name, column in device(normal, "extruder").true.items():
        assert np.array_equal(column, device(broken, "extruder").true[name], equal_nan=True)


def test_a_stuck_sensor_stays_at_what_it_showed_from_lot_to_lot():
    first, second = with_faults(fault("sensor_stuck", MELT, after_s=7205.0), count=2)
    one, two = (device(cycle, "extruder") for cycle in (first, second))
    held = one.shown["melt_temp"][after(one, 7205.0)]
    assert len(set(held.tolist())) == 1
    assert set(two.shown["melt_temp"].tolist()) == set(held.tolist())
    assert len(set(two.true["melt_temp"].tolist())) > 1000


def test_a_drift_goes_on_growing_from_lot_to_lot():
    first, second = with_faults(fault("sensor_drift", MELT, severity=2.0), count=2)
    (_, _), (normal, _) = cycles(TEXTILE, 2)
    rows, usual = device(second, "extruder"), device(normal, "extruder")
    hours = (rows.time_ms[-1] - START_NS // NS_PER_MS) / 3_600_000
    drift = rows.shown["melt_temp"][-50:] - usual.shown["melt_temp"][-50:]
    assert drift.mean() == pytest.approx(2.0 * hours, abs=0.3)
    assert first.following.firsts.keys() == {"sensor_drift-extruder.melt_temp extruder.melt_temp"}


def test_what_is_over_is_forgotten():
    cycle = with_faults(fault("sensor_stuck", MELT, after_s=7205.0, duration_s=60.0))[0]
    assert cycle.following.firsts == {}


def test_a_device_that_measures_nothing_sends_nothing_and_numbers_nothing():
    cycle = with_faults(fault("sensor_break", "dryer.moisture", after_s=6001.0, duration_s=1800.0))[0]
    (normal, _), *_ = cycles(TEXTILE)
    rows, usual = device(cycle, "dryer"), device(normal, "dryer")
    assert len(rows.time_ms) == len(usual.time_ms) - 30
    assert rows.seq.tolist() == list(range(len(rows.seq)))
    assert not np.isnan(rows.shown["moisture"]).any()
    for each in cycle.publications:
        if each.rows is not None:
            decode_readings(each.payload)  # the collector refuses a row in which nothing is measured


def test_a_broken_sensor_among_others_shows_nothing_in_its_column():
    cycle = with_faults(fault("sensor_break", MELT, after_s=6001.0, duration_s=600.0))[0]
    rows = device(cycle, "extruder")
    gone = np.isnan(rows.shown["melt_temp"])
    assert np.count_nonzero(gone) == 300
    assert not np.isnan(rows.shown["melt_pressure"]).any()
    assert not np.isnan(rows.true["melt_temp"]).any()


def test_a_device_that_restarts_is_silent_and_counts_anew_under_another_boot():
    cycle, following = with_faults(fault("device_restart", "extruder", after_s=7207.0, duration_s=60.0), count=2)
    rows = device(cycle, "extruder")
    (normal, _), *_ = cycles(TEXTILE)
    usual = device(normal, "extruder")
    assert len(rows.time_ms) == len(usual.time_ms) - 30
    assert len(set(rows.boots)) == 2
    assert rows.boots[0] == usual.boots[0]
    first, second = (rows.seq[rows.boot == place] for place in (0, 1))
    assert first.tolist() == list(range(len(first)))
    assert second.tolist() == list(range(len(second)))
    assert rows.time_ms[rows.boot == 1][0] >= (START_NS + 7267 * NS_PER_S) // NS_PER_MS
    assert cycle.following.boots["extruder"] == 1
    later = device(following, "extruder")
    assert later.boots == (rows.boots[1],)
    assert later.seq[0] == len(second)
    boots = [
        json.loads(each.payload)["boot"] for each in cycle.publications if each.topic.endswith("extruder/readings")
    ]
    assert boots == sorted(boots, key=rows.boots.index)


def test_a_message_holds_rows_of_one_boot():
    cycle = with_faults(fault("device_restart", "extruder", after_s=7207.0, duration_s=4.0))[0]
    for draft in cycle.drafts:
        if draft.rows is not None:
            assert len(set(draft.rows.boot[draft.start : draft.stop].tolist())) == 1


def test_every_row_goes_out_once_whatever_is_missing():
    for line, faults in (
        (TEXTILE, (fault("device_restart", "extruder", after_s=7207.0), fault("sensor_break", "dryer.moisture"))),
        (FLAX, (fault("device_restart", "feeders", line=FLAX, after_s=5005.0),)),
    ):
        cycle = with_faults(*faults)[0]
        assert cycle.line.path == line
        for rows in cycle.devices:
            sent = [
                (each.boot, each.seq + place)
                for each in cycle.publications
                if each.rows is rows
                for place in range(each.stop - each.start)
            ]
            assert sorted(sent) == sorted(
                (rows.boots[boot], seq) for boot, seq in zip(rows.boot.tolist(), rows.seq.tolist(), strict=True)
            )


def test_a_wrong_clock_changes_what_is_stamped_not_when_it_is_sent():
    cycle = with_faults(fault("clock_skew", "extruder", after_s=7207.0, severity=400.0))[0]
    rows = device(cycle, "extruder")
    late = after(rows, 7207.0)
    assert (rows.stamp_ms[late] - rows.time_ms[late]).tolist() == [400_000] * int(late.sum())
    assert np.array_equal(rows.stamp_ms[~late], rows.time_ms[~late])
    (_, usual), *_ = cycles(TEXTILE)
    assert [each.time_ns for each in cycle.publications] == [each.time_ns for each in usual]


def test_numbers_stay_whole_when_every_device_is_well():
    (_, publications), *_ = cycles(FLAX)
    for numbers in sequence_numbers(publications).values():
        assert numbers == list(range(len(numbers)))
