"""Messages of devices that publish as they like: recorded once, in the same account, and again after a rewind."""

import json

import pytest

from collector.accounts.audit import audit
from filiere.clock import NS_PER_S
from tests.collector.builders import NOON_NS, Rig
from tests.collector.foreign_messages import LINE, binding, plant

TOPIC = "scales/3"
DRYER = f"{LINE}/dryer"
BINDING = binding(
    topic=TOPIC,
    device=DRYER,
    signals="air_temp: {path: temp, unit: Cel}",
    more="time: {path: at, format: unix_ms}",
)


@pytest.fixture
def rig(tmp_path):
    with Rig(tmp_path, plant=plant(BINDING)) as rig:
        yield rig


def sent(temp=80.5, at_ms=NOON_NS // 10**6):
    return json.dumps({"temp": temp, "at": at_ms}).encode()


def account(rig):
    (found,) = [each for each in audit(rig.book_path) if each.device == DRYER]
    return found


def outcome(rig):
    refused = [(each.offset, each.reason, each.rows, each.numbered) for each in rig.book.quarantine()]
    return rig.everything_stored(), audit(rig.book_path), refused


def test_a_row_that_is_sent_twice_is_stored_once_and_the_account_closes(rig):
    rig.record(sent(), sent(), sent(81), topic=TOPIC)
    rig.restart()
    rig.record(sent(), sent(82, NOON_NS // 10**6 + 1), topic=TOPIC)
    assert sorted(value for _, value, _ in rig.stored("dryer.air_temp")) == [80.5, 81.0, 82.0]
    found = account(rig)
    assert (found.device, found.published, found.stored, found.duplicates, found.closes) == (DRYER, 3, 3, 2, True)


def test_rows_of_one_instant_stand_apart_within_its_microsecond(rig):
    rig.record(*(sent(value) for value in range(5)), topic=TOPIC)
    times = [time_ns for time_ns, _, _ in rig.stored("dryer.air_temp")]
    assert len(set(times)) == 5
    assert all(NOON_NS <= time_ns < NOON_NS + 1000 for time_ns in times)


def test_a_value_out_of_range_is_flagged(rig):
    rig.record(sent(900), topic=TOPIC)
    assert [quality for _, _, quality in rig.stored("dryer.air_temp")] == [1]
    assert account(rig).out_of_range == 1


def test_what_no_binding_describes_is_quarantined(rig):
    rig.record(sent(), topic="somewhere/else")
    rig.record(b"{}", topic=TOPIC)
    strangers, dryer = sorted(audit(rig.book_path), key=lambda each: each.device)
    assert (strangers.quarantined, strangers.closes) == (1, True)
    assert (dryer.device, dryer.published, dryer.quarantined, dryer.closes) == (DRYER, 1, 1, True)


def test_a_rewind_leaves_the_same_points_and_accounts(rig):
    rig.store.poison = 13.0
    rig.record(sent(), sent(), b"{}", sent(13), sent(81), sent(80.5, 0), topic=TOPIC)
    before = outcome(rig)
    assert account(rig).closes
    rig.rewind(empty=True)
    rig.rewind(2)
    assert outcome(rig) == before
    rig.store.poison = None
    assert rig.retry().moved == 1
    assert (account(rig).stored, account(rig).quarantined, account(rig).closes) == (4, 1, True)


def test_a_row_that_the_store_refused_is_one_row_also_when_the_log_has_it_no_more(rig):
    rig.store.poison = 13.0
    rig.record(sent(), sent(13), sent(81), topic=TOPIC)
    rig.log.prune(before=3, limit=2)
    rig.clock_ns += 60 * NS_PER_S
    rig.recorder._each_minute()
    rig.store.poison = None
    assert rig.retry().moved == 1
    assert (account(rig).published, account(rig).stored, account(rig).closes) == (3, 3, True)


def test_a_binding_that_is_added_brings_what_was_refused(rig):
    rig.plant = plant(binding(topic="other"))
    rig.restart()
    rig.record(sent(), sent(), sent(81), topic=TOPIC)
    assert [each.reason for each in rig.book.quarantine()] == ["unbound_topic"] * 3
    rig.plant = plant(BINDING)
    rig.restart()
    assert rig.retry().moved == 3
    found = account(rig)
    assert (found.device, found.published, found.stored, found.duplicates, found.closes) == (DRYER, 2, 2, 1, True)


def test_a_binding_that_reads_one_more_signal_doubles_no_point_by_a_rewind(rig):
    rig.record(json.dumps({"temp": 80.5, "power": 3, "at": NOON_NS // 10**6}).encode(), topic=TOPIC)
    before = rig.stored("dryer.air_temp")
    signals = "air_temp: {path: temp, unit: Cel}\n      power: {path: power, unit: kW}"
    more = "time: {path: at, format: unix_ms}"
    rig.plant = plant(binding(topic=TOPIC, device=DRYER, signals=signals, more=more))
    rig.restart()
    rig.rewind()
    assert rig.stored("dryer.air_temp") == before
    assert [time_ns for time_ns, _, _ in before] == [time_ns for time_ns, _, _ in rig.stored("dryer.power")]
    assert (account(rig).published, account(rig).stored, account(rig).closes) == (1, 1, True)


def test_a_binding_that_is_taken_away_moves_its_rows_to_quarantine_by_a_rewind(rig):
    rig.record(sent(), sent(81), topic=TOPIC)
    rig.plant = plant(binding(topic="other"))
    rig.restart()
    rig.rewind(empty=True)
    assert rig.stored("dryer.air_temp") == []
    assert [(found.stored, found.quarantined, found.closes) for found in audit(rig.book_path)][-1] == (0, 2, True)
    rig.plant = plant(BINDING)
    rig.restart()
    rig.rewind(empty=True)
    assert (account(rig).published, account(rig).stored, account(rig).closes) == (2, 2, True)
