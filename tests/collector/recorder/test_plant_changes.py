"""The plant model changes between two starts: what is stored stays readable, and nothing is mixed."""

from dataclasses import replace

import pytest
import structlog

from collector.accounts.audit import audit
from collector.recorder.plant_changes import plant_changes, signals_of
from filiere.clock import NS_PER_S
from filiere.errors import StoreRefused
from tests.collector.builders import EXTRUDER, LINE, NOON_NS, Rig, plant, readings, signal, with_signals

MELT_TEMP = f"{EXTRUDER}.melt_temp"


@pytest.fixture
def rig(tmp_path):
    with Rig(tmp_path) as rig:
        yield rig


def changed(**fields):
    """The plant with another melt_temp."""
    model = plant()
    line = model.lines[0]
    signals = tuple(replace(each, **fields) if each.id == "melt_temp" else each for each in line.signals)
    unit = replace(line.units[0], signals=signals)
    workshop = replace(model.workshops[0], lines=(replace(line, units=(unit,)),))
    return replace(model, workshops=(workshop,), digest=str(fields))


def start_with(rig, model):
    """What the recorder says of the plant when it starts."""
    rig.plant = model
    rig.restart()
    with structlog.testing.capture_logs() as said:
        rig.recorder._begin()
    return [each for each in said if each["event"] == "the plant model changed"]


def account(rig):
    (found,) = audit(rig.book_path)
    return found


def test_the_first_start_and_an_unchanged_one_say_nothing(rig):
    assert start_with(rig, plant()) == []
    assert start_with(rig, replace(plant(), digest="another, of a changed comment")) == []
    assert rig.book.progress().plant_digest == "another, of a changed comment"


def test_a_new_signal_is_said_and_recorded(rig):
    start_with(rig, plant())
    (said,) = start_with(rig, with_signals(signal("colour", unit="1")))
    assert (said["new"], said["removed"]) == ([f"{EXTRUDER}.colour"], [])
    rig.record(readings(seq=0, colour=3))
    assert len(rig.stored("extruder.colour")) == 1


def test_a_removed_signal_keeps_its_values_and_what_comes_later_waits_in_quarantine(rig):
    start_with(rig, with_signals(signal("colour", unit="1")))
    rig.record(readings(seq=0, colour=3))
    (said,) = start_with(rig, plant())
    assert said["removed"] == [f"{EXTRUDER}.colour"]
    assert start_with(rig, plant()) == []
    rig.record(readings(seq=1, colour=3))
    assert len(rig.stored("extruder.colour")) == 1
    assert [each.reason for each in rig.book.quarantine()] == ["unknown_signal"]


def test_a_renamed_signal_is_a_removed_one_and_a_new_one(rig):
    start_with(rig, with_signals(signal("colour", unit="1")))
    rig.record(readings(seq=0, colour=3))
    (said,) = start_with(rig, with_signals(signal("hue", unit="1")))
    assert (said["new"], said["removed"]) == ([f"{EXTRUDER}.hue"], [f"{EXTRUDER}.colour"])
    rig.record(readings(seq=1, hue=4))
    assert [len(rig.stored(f"extruder.{name}")) for name in ("colour", "hue")] == [1, 1]
    assert account(rig).closes


def test_another_unit_holds_before_one_value_of_it_is_stored(rig):
    start_with(rig, plant())
    rig.record(readings(seq=0))
    rig.arrive(readings(seq=1, melt_temp=503))
    with pytest.raises(StoreRefused, match=r"extruder\.melt_temp: got unit K .* expected Cel, .*plant-changes\.md"):
        start_with(rig, changed(unit="K"))
    assert len(rig.stored()) == 1
    assert start_with(rig, plant()) == []


def test_another_unit_is_taken_where_the_store_has_no_value_of_the_old_one(rig):
    start_with(rig, plant())
    rig.record(readings(seq=0, melt_pressure=44))
    (said,) = start_with(rig, changed(unit="K"))
    assert said["units"] == {MELT_TEMP: ["Cel", "K"]}
    rig.record(readings(seq=1, melt_temp=503))
    assert [value for _, value, _ in rig.stored()] == [503.0]


def test_a_unit_that_was_wrong_is_put_right_by_emptying_the_store_and_a_rewind(rig):
    start_with(rig, plant())
    rig.record(readings(seq=0, melt_temp=300), readings(seq=1, melt_temp=230, units={"melt_temp": "Cel"}))
    rig.plant = changed(unit="K")
    rig.restart()
    rig.rewind(empty=True)
    assert [value for _, value, _ in rig.stored()] == pytest.approx([300.0, 503.15])
    assert account(rig).closes


def test_a_signal_that_comes_back_in_another_unit_holds_too(rig):
    start_with(rig, with_signals(signal("colour", unit="1")))
    rig.record(readings(seq=0, colour=3))
    start_with(rig, plant())
    with pytest.raises(StoreRefused, match="got unit kg"):
        start_with(rig, with_signals(signal("colour", unit="kg")))


def test_another_range_holds_for_what_comes_from_now_on(rig):
    start_with(rig, plant())
    rig.record(readings(seq=0, melt_temp=300))
    (said,) = start_with(rig, changed(range_high=250.0))
    assert said["ranges"] == {MELT_TEMP: [[-20.0, 400.0], [-20.0, 250.0]]}
    rig.record(readings(seq=1, melt_temp=300))
    assert [quality for _, _, quality in rig.stored()] == [0, 1]
    rig.rewind(empty=True)
    assert [quality for _, _, quality in rig.stored()] == [1, 1]
    assert account(rig).out_of_range == 1


def test_another_line_keeps_what_it_recorded_and_its_old_name_is_unknown(rig):
    start_with(rig, plant())
    rig.record(readings(seq=0))
    line = plant().lines[0]
    moved = replace(line, id="t2", path="caux/textile/t2")
    (said,) = start_with(rig, replace(plant(), workshops=(replace(plant().workshops[0], lines=(moved,)),), digest="t2"))
    assert f"{LINE}/extruder.melt_temp" in said["removed"]
    assert "caux/textile/t2/extruder.melt_temp" in said["new"]
    rig.record(readings(seq=1), topic="filiere/v1/caux/textile/t2/extruder/readings")
    rig.record(readings(seq=1))
    assert rig.stored() == [(NOON_NS, 230.0, 0)]
    assert [each.reason for each in rig.book.quarantine()] == ["unknown_device"]
    rig.clock_ns += NS_PER_S
    assert MELT_TEMP in start_with(rig, plant())[0]["new"]
    rig.retry()
    assert len(rig.stored()) == 2


def test_changes_are_none_for_the_same_plant_and_all_for_none():
    signals = signals_of(plant())
    assert not plant_changes(signals, signals)
    assert plant_changes({}, signals).new == tuple(signals)
