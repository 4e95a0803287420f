"""Many faults on one line at once: what its devices send, and what the system makes of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from collector.accounts.audit import DeviceAccount
from filiere.readings import CLOCK_SUSPECT, GOOD, OUT_OF_RANGE, QUALITIES, Series
from simulators.faults.fault import Active, Fault, Onset
from simulators.faults.network import Dropped, Duplicate, Outage, OutOfOrder
from simulators.faults.operators import LabelSwap
from simulators.faults.sensors import (
    Clock1970,
    ClockSkew,
    DeviceRestart,
    SensorBreak,
    SensorDrift,
    SensorSpike,
    SensorStuck,
    Sentinel,
    UnitError,
)
from simulators.line.cycle import Cycle, run_cycle
from simulators.line.rows import DeviceRows
from simulators.line.simulation import beginning
from simulators.scenarios.scenario import NORMAL, Scenario
from simulators.testing.frozen import FrozenClock
from simulators.testing.stack import FiliereStack, open_stack
from tests.simulators.faults.builders import START_NS, TEXTILE, caux, fault

TEN_MINUTES_S = 600.0
"""Each fault lasts ten minutes, from ten minutes after the feed of the extrusion on."""
FEEDING = Onset(after_s=600.0, lot=1, step="extrusion")


def ten_minutes(kind: type[Fault], target: str = "", **changed: object) -> Fault:
    given = {"label": f"{kind.kind}-{target}".replace(".", "-"), "onset": FEEDING, "duration_s": TEN_MINUTES_S}
    return fault(kind, target=target, **(given | changed))


SENSORS = (
    ten_minutes(Sentinel, "extruder.barrel_temp_z1"),
    ten_minutes(SensorBreak, "extruder.barrel_temp_z2"),
    ten_minutes(SensorStuck, "extruder.barrel_temp_z3"),
    ten_minutes(SensorDrift, "extruder.barrel_temp_z4", severity=60.0),
    ten_minutes(SensorSpike, "extruder.barrel_temp_z4"),
    ten_minutes(UnitError, "extruder.barrel_temp_z5"),
    ten_minutes(ClockSkew, "dryer"),
    ten_minutes(Clock1970, "bagging"),
    ten_minutes(DeviceRestart, "sorter", duration_s=60.0),
)
LINKS = (
    ten_minutes(Duplicate, "extruder", severity=1.0),
    ten_minutes(OutOfOrder, "pelletiser", severity=0.5),
    ten_minutes(Dropped, "sorter", onset=Onset(after_s=1500.0, lot=1, step="extrusion"), severity=1.0),
    ten_minutes(Outage, "shredder"),
)
DIRTY = replace(NORMAL, id="dirty", faults=(*SENSORS, *LINKS))


@cache
def cycle(scenario: Scenario = NORMAL) -> Cycle:
    """The first lot of the textile line."""
    state = beginning(caux(), seed=1, start_ns=START_NS)
    return run_cycle(caux(), state.lines[TEXTILE].cycle, state, scenario=scenario)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FiliereStack]:
    with system(tmp_path_factory.mktemp("dirty"), DIRTY) as opened:
        yield opened


@contextmanager
def system(folder: Path, scenario: Scenario) -> Iterator[FiliereStack]:
    """The whole system, after it heard the first lot."""
    with open_stack(folder, plant=caux(), clock=FrozenClock(START_NS)) as opened:
        opened.run(cycle(scenario).publications)
        yield opened


def known(kind: type[Fault]) -> Active:
    return next(each for each in cycle(DIRTY).active if isinstance(each.fault, kind))


def rows(device: str, scenario: Scenario = DIRTY) -> DeviceRows:
    return next(each for each in cycle(scenario).devices if each.device == device)


def within(device: str, kind: type[Fault], scenario: Scenario = DIRTY) -> slice:
    return known(kind).rows(rows(device, scenario).time_ms)


def stored(stack: FiliereStack, key: str, kind: type[Fault]) -> Series:
    """What the store has of the ten minutes, by true time."""
    window = known(kind).window
    return stack.readings(TEXTILE, key, start_ns=window.start_ns, stop_ns=window.stop_ns)


def account(stack: FiliereStack, device: str) -> DeviceAccount:
    return next(each for each in stack.accounts() if each.device == f"{TEXTILE}/{device}")


def quality(series: Series) -> set[str]:
    return {QUALITIES[index] for index in series.quality}


# ---------------------------------------------------------------------------------------------------- what is sent


def test_a_simulation_with_faults_is_byte_for_byte_the_one_without_before_the_first_onset():
    onset_ns = min(each.window.start_ns for each in cycle(DIRTY).active)
    dirty, normal = (
        [(each.topic, each.payload) for each in cycle(scenario).publications if each.time_ns < onset_ns]
        for scenario in (DIRTY, NORMAL)
    )
    assert dirty == normal
    assert len(dirty) > 1000


def test_sensors_that_are_wrong_change_nothing_of_what_is_there():
    for device in ("extruder", "dryer", "bagging", "shredder"):
        for signal, there in rows(device, NORMAL).true.items():
            assert np.array_equal(rows(device).true[signal], there, equal_nan=True), f"{device}.{signal}"


def test_after_its_end_a_fault_leaves_no_trace_in_what_is_shown():
    last = within("extruder", SensorStuck).stop
    for signal, shown in rows("extruder", NORMAL).shown.items():
        assert np.array_equal(rows("extruder").shown[signal][last:], shown[last:], equal_nan=True), signal


def test_a_fault_is_at_its_target_alone():
    for signal in ("melt_temp", "melt_pressure", "throughput"):
        assert np.array_equal(rows("extruder").shown[signal], rows("extruder", NORMAL).shown[signal]), signal


def test_a_stuck_display_shows_a_number_that_it_showed():
    ten = within("extruder", SensorStuck)
    (stuck,) = set(rows("extruder").shown["barrel_temp_z3"][ten].tolist())
    assert stuck == rows("extruder", NORMAL).shown["barrel_temp_z3"][ten.start]


def test_drift_and_spikes_at_one_sensor_add_up_and_are_rounded_by_its_display():
    ten = within("extruder", SensorDrift)
    shown, normal = (rows("extruder", each).shown["barrel_temp_z4"][ten] for each in (DIRTY, NORMAL))
    assert np.array_equal(shown % 0.5, np.zeros(len(shown)))
    drifted = shown - normal
    calm = np.abs(drifted) < 20.0
    assert drifted[calm][-1] == pytest.approx(10.0, abs=0.5)
    assert 0 < np.count_nonzero(~calm) < 20


def test_a_restarted_device_numbers_its_rows_from_nought_under_a_new_boot():
    sorter = rows("sorter")
    assert len(sorter.boots) == 2
    again = sorter.boot == 1
    assert sorter.seq[again][0] == 0
    assert np.array_equal(sorter.seq[~again], np.arange(np.count_nonzero(~again)))
    assert np.diff(sorter.time_ms).max() >= 60_000


def test_a_device_that_restarts_three_hundred_times_in_a_lot_has_as_many_boots():
    often = tuple(
        fault(DeviceRestart, label=f"r-{i}", target="sorter", onset=Onset(after_s=30.0 * i), duration_s=15.0)
        for i in range(1, 301)
    )
    sorter = rows("sorter", replace(NORMAL, id="often", faults=often))
    assert len(sorter.boots) == len(set(sorter.boot.tolist())) == 301
    assert np.all(sorter.seq[np.flatnonzero(np.diff(sorter.boot)) + 1] == 0)


# ------------------------------------------------------------------------------------------- what becomes of it


def test_every_account_closes_but_that_of_the_device_whose_messages_were_lost(stack: FiliereStack):
    assert [each.device for each in stack.accounts() if not each.closes] == [f"{TEXTILE}/sorter"]
    assert stack.quarantine() == ()


def test_a_sentinel_is_kept_and_flagged(stack: FiliereStack):
    series = stored(stack, "extruder.barrel_temp_z1", Sentinel)
    assert set(series.value.tolist()) == {-175.0}
    assert quality(series) == {OUT_OF_RANGE}


def test_what_a_broken_sensor_does_not_show_is_not_made_up(stack: FiliereStack):
    assert len(stored(stack, "extruder.barrel_temp_z2", SensorBreak).value) == 0


def test_a_stuck_sensor_is_not_noticed_today(stack: FiliereStack):
    series = stored(stack, "extruder.barrel_temp_z3", SensorStuck)
    assert quality(series) == {GOOD}
    assert len(set(series.value.tolist())) == 1


def test_fahrenheit_is_flagged_where_the_sensor_cannot_mean_it(stack: FiliereStack):
    series = stored(stack, "extruder.barrel_temp_z5", UnitError)
    assert series.value.min() > 400.0
    assert quality(series) == {OUT_OF_RANGE}


@pytest.mark.parametrize(("device", "kind"), [("dryer", ClockSkew), ("bagging", Clock1970)])
def test_rows_with_a_clock_that_cannot_be_right_are_kept_under_their_arrival(
    stack: FiliereStack, device: str, kind: type[Fault]
):
    ten = within(device, kind)
    assert account(stack, device).clock_suspect == ten.stop - ten.start
    key = f"{device}.{next(iter(rows(device).shown))}"
    assert CLOCK_SUSPECT in quality(stored(stack, key, kind))


def test_messages_that_come_twice_are_stored_once_and_counted(stack: FiliereStack):
    ten = within("extruder", Duplicate)
    found = account(stack, "extruder")
    assert found.duplicates == pytest.approx(ten.stop - ten.start, abs=20)
    assert found.stored == len(rows("extruder").time_ms)


def test_messages_that_are_overtaken_are_counted_as_late_and_stored(stack: FiliereStack):
    found = account(stack, "pelletiser")
    assert found.late > 0
    assert found.stored == len(rows("pelletiser").time_ms)


def test_messages_that_are_lost_are_counted_as_missing(stack: FiliereStack):
    lost = within("sorter", Dropped)
    found = account(stack, "sorter")
    assert found.missing == pytest.approx(lost.stop - lost.start, abs=4)
    assert found.stored + found.missing == len(rows("sorter").time_ms)


def test_after_an_outage_nothing_is_missing(stack: FiliereStack):
    found = account(stack, "shredder")
    assert (found.missing, found.late, found.duplicates) == (0, 0, 0)
    assert found.stored == len(rows("shredder").time_ms)
    window = known(Outage).window
    burst = [each for each in cycle(DIRTY).publications if each.time_ns == window.stop_ns]
    assert len([each for each in burst if each.topic.endswith("/shredder/readings")]) >= 30


def test_swapped_labels_are_refused_with_the_lot_that_has_not_so_much(tmp_path: Path):
    swap = fault(LabelSwap, onset=Onset(after_s=0.0, lot=1, step="extrusion"), duration_s=7200.0)
    with system(tmp_path, replace(NORMAL, id="swap", faults=(swap,))) as opened:
        (refused,) = opened.quarantine()
        assert (refused.device, refused.reason) == (f"{TEXTILE}/terminal", "event_refused")
        assert not opened.issued
