"""Accounts as points of a dashboard: which there are, what they hold, when the recorder writes them."""

import json

import msgspec
import pytest

from collector.accounts.audit import audit
from collector.accounts.marks import bounded, marks_of, own_devices
from collector.intake.status import IntakeStatus
from collector.receipts.status import ReceiptsStatus
from filiere.clock import NS_PER_S
from filiere.errors import StoreUnavailable
from filiere.message_log import MessageLog
from filiere.plant_file import load_plant
from filiere.readings import ACCOUNT_FIELDS, COLLECTOR_FIELDS, UNKNOWN_DEVICE
from filiere.settings import load_settings
from tests.collector.book_by_hand import DRYER, EXTRUDER, NOON_NS, Book
from tests.collector.builders import Rig, readings

PLANT = load_plant("caux")


@pytest.fixture
def settings(tmp_path):
    return load_settings(data_dir=tmp_path, mqtt_client_id="north")


@pytest.fixture
def book(settings):
    return Book(settings.recorder_path)


def filled_log(settings, messages=5):
    with MessageLog.open(settings.log_path) as log:
        log.append([(b"t", b"p", NOON_NS)] * messages)


def accepting(settings, *, problem=None, updated_ns=NOON_NS):
    status = IntakeStatus(
        connected=True, problem=problem, since_ns=NOON_NS, updated_ns=updated_ns, log_bytes=1, acknowledged=5
    )
    settings.intake_status_path.write_bytes(msgspec.json.encode(status))


def answering(settings, *, problem=None):
    status = ReceiptsStatus(
        connected=True, problem=problem, since_ns=NOON_NS, updated_ns=NOON_NS, position=5, answered=5
    )
    settings.receipts_status_path.write_bytes(msgspec.json.encode(status))


def test_every_device_of_the_plant_one_for_strangers_and_the_collector_have_a_point(settings, book):
    book.stored(0, 9).refused(11).heard(30, skew_s=0.25).stored(0, device=DRYER)
    for stranger in range(1000):
        book.refused(41, device=f"x/y/z/d{stranger}", reason="unknown_device")
    book.write()
    filled_log(settings)
    accepting(settings, updated_ns=NOON_NS + 59 * NS_PER_S)
    marks = {mark.device: mark for mark in marks_of(settings, PLANT)(NOON_NS + 60 * NS_PER_S)}
    assert set(marks) == {EXTRUDER, DRYER, UNKNOWN_DEVICE, None}
    assert {mark.collector for mark in marks.values()} == {"north"}
    extruder = marks[EXTRUDER].values
    assert set(extruder) <= set(ACCOUNT_FIELDS)
    assert [extruder[name] for name in ("published", "stored", "quarantined", "missing")] == [12, 10, 1, 1]
    assert (extruder["skew_s"], extruder["silent_s"]) == (0.25, 30)
    assert marks[UNKNOWN_DEVICE].values["quarantined"] == 1000
    assert "skew_s" not in marks[UNKNOWN_DEVICE].values
    whole = marks[None].values
    assert set(whole) == set(COLLECTOR_FIELDS)
    assert (whole["log_head"], whole["log_lag"], whole["quarantined"], whole["intake_ok"]) == (5, 5, 1001, 1)


def test_an_intake_that_acknowledges_nothing_is_0(settings, book):
    book.write()
    filled_log(settings)
    for problem, updated_ns in (("disk full", NOON_NS), (None, NOON_NS - 3600 * NS_PER_S)):
        accepting(settings, problem=problem, updated_ns=updated_ns)
        (whole,) = marks_of(settings, PLANT)(NOON_NS)
        assert whole.values["intake_ok"] == 0


def test_devices_that_get_no_answer_are_0(settings, book):
    book.write()
    filled_log(settings)
    for problem, ok in ((None, 1), ("not connected", 0)):
        answering(settings, problem=problem)
        (whole,) = marks_of(settings, PLANT)(NOON_NS)
        assert whole.values["receipts_ok"] == ok


def test_without_a_book_there_is_nothing_to_draw(settings):
    with pytest.raises(StoreUnavailable):
        marks_of(settings, PLANT)(NOON_NS)


def test_a_device_that_left_the_plant_keeps_its_series_and_one_that_made_itself_up_has_none(book):
    book.stored(0, device="caux/textile/t1/old").refused(3, device="caux/textile/t1/hacker", reason="internal_error")
    named = dict(bounded(audit(book.write()), own_devices(PLANT)))
    assert list(named) == ["caux/textile/t1/old", UNKNOWN_DEVICE]


def test_people_at_a_terminal_are_a_device_of_their_line():
    assert "caux/textile/t1/terminal" in own_devices(PLANT)


def drawn(rig):
    rows = rig.store.kept._connection.execute('SELECT device, time_ns, "values" FROM account_mark ORDER BY time_ns')
    return [(device, (time_ns - NOON_NS) // NS_PER_S, json.loads(values)) for device, time_ns, values in rows]


def test_the_recorder_draws_the_accounts_once_a_minute_and_waits_for_no_store_that_cannot(tmp_path, monkeypatch):
    settings = load_settings(data_dir=tmp_path)
    with Rig(tmp_path) as rig:
        monkeypatch.setattr(rig.recorder, "_account_marks", marks_of(settings, PLANT))
        rig.record(readings(seq=0), readings(seq=1))
        for later_s in (1, 59, 62, 90, 150):
            rig.clock_ns = NOON_NS + later_s * NS_PER_S
            rig.store.down = later_s == 62
            rig.recorder._each_minute()
        extruder = [(at_s, values["stored"]) for device, at_s, values in drawn(rig) if device == EXTRUDER]
        assert extruder == [(1, 2), (150, 2)]
