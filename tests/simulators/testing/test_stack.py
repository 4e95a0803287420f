import json
from pathlib import Path

import pytest

from collector.codec import decode_event, parse_topic
from collector.recorder.book import Quarantined
from filiere.clock import NS_PER_S
from filiere.errors import NotFound
from filiere.plant_file import load_plant
from filiere.readings import CLOCK_SUSPECT, GOOD, QUALITIES, SEQ_NS
from simulators.testing import listening
from simulators.testing.broker import LocalBroker
from simulators.testing.frozen import FrozenClock
from simulators.testing.lines import LineSim
from simulators.testing.stack import FiliereStack, open_stack, settings_of
from tests.collector.mqtt import Publisher

T1 = "caux/textile/t1"
TOPIC = f"filiere/v1/{T1}/extruder/readings"


def row(seq: int, time: str = "2026-03-11T06:00:00Z", **values: float) -> str:
    return json.dumps({"boot": "b1", "seq": seq, "t": time, "v": values or {"melt_temp": 231.5}})


def test_a_simulated_lot_comes_out_certified_and_everything_is_accounted_for(
    line_sim: LineSim, filiere_stack: FiliereStack
):
    lot = line_sim(T1)
    (issued,) = filiere_stack.run(lot)
    assert (issued.lot,) == lot.lots
    assert not issued.refused
    assert filiere_stack.verify(issued.lot).authentic
    assert filiere_stack.certificate(issued.lot).statement.lot.id == issued.lot
    assert filiere_stack.quarantine() == ()
    assert all(account.closes and account.skew_s < 60 for account in filiere_stack.accounts())
    assert sum(account.published for account in filiere_stack.accounts()) > len(lot)


def test_the_api_shows_what_the_stack_holds(line_sim: LineSim, filiere_stack: FiliereStack):
    (lot,) = line_sim(T1).lots
    filiere_stack.run(line_sim(T1))
    assert filiere_stack.api.get("/readyz").json()["ready"]
    shown = filiere_stack.api.get(f"/batches/{lot}/certificate")
    assert shown.status == 200
    assert shown.json()["statement"]["lot"]["id"] == lot
    page = filiere_stack.api.get(f"/batches/{lot}/certificate", headers={"accept": "text/html"})
    assert "<html" in page.text
    assert filiere_stack.api.get("/batches/NONE").status == 404


def test_stored_is_what_the_simulated_device_showed(line_sim: LineSim, filiere_stack: FiliereStack):
    lot = line_sim(T1)
    filiere_stack.run(lot)
    shown, stored = lot.signal("extruder.melt_temp"), filiere_stack.readings(T1, "extruder.melt_temp")
    assert stored.value.tolist() == shown.shown.tolist()
    assert (stored.time_ns // SEQ_NS * SEQ_NS).tolist() == shown.time_ns.tolist()


def test_the_same_messages_make_the_same_certificates_byte_for_byte(line_sim: LineSim, tmp_path: Path):
    made = []
    for name in ("one", "two"):
        with open_stack(tmp_path / name, plant=load_plant("caux"), clock=FrozenClock(0)) as stack:
            stack.run(line_sim(T1))
            made.append({path.name: path.read_bytes() for path in stack.settings.certificates_dir.iterdir()})
    assert made[0] == made[1]
    assert made[0]


def test_what_is_asked_is_answered_after_all_that_was_published(filiere_stack: FiliereStack):
    filiere_stack.publish(TOPIC, row(0))
    assert filiere_stack.readings(T1, "extruder.melt_temp").value.tolist() == [231.5]
    filiere_stack.publish(TOPIC, row(1, "2026-03-11T06:00:02Z", melt_temp=232.0))
    signals = {
        signal["key"]: signal
        for line in filiere_stack.api.get("/lines").json()["lines"]
        for signal in line["signals"]
        if line["line"] == T1
    }
    assert signals["extruder.melt_temp"]["value"] == 232.0


def test_what_is_refused_is_kept_with_its_reason(filiere_stack: FiliereStack):
    filiere_stack.publish(TOPIC, b"{")
    filiere_stack.publish(TOPIC, row(0, melt_temprature=1.0))
    filiere_stack.publish(f"filiere/v1/{T1}/toaster/readings", row(0))
    refused = {each.reason: each for each in filiere_stack.quarantine()}
    assert {"not_json", "unknown_signal", "unknown_device"} == set(refused)
    assert isinstance(refused["not_json"], Quarantined)
    filiere_stack.retry_quarantine()
    assert len(filiere_stack.quarantine()) == 3


POISON = [
    b"",
    b"{",
    b"\xff\xfe\0",
    b"[" * 100_000,
    b'{"boot":"b1","seq":0,"t":0,"v":{"melt_temp":NaN}}',
    b'{"boot":"b1","seq":1,"t":"2026-03-11T06:00:00","v":{"melt_temp":1}}',
    b'{"boot":"b1","seq":2,"t":"2026-03-11T06:00:00Z","v":{"melt_temp":"231"}}',
    b'{"boot":"b1","seq":3,"t":"2026-03-11T06:00:00Z","v":{"melt_temp":1e999}}',
    b"x" * 10_000_000,
]


def test_no_payload_breaks_the_stack_and_what_is_good_goes_on(filiere_stack: FiliereStack):
    for payload in POISON:
        filiere_stack.publish(TOPIC, payload)
    filiere_stack.publish("nowhere", b"\0")
    filiere_stack.publish(TOPIC, row(4, "1970-01-01T00:00:01Z"))
    filiere_stack.publish(TOPIC, row(5, "2099-01-01T00:00:00Z"))
    filiere_stack.publish(TOPIC, row(7, "2199-01-01T00:00:00Z"))
    filiere_stack.publish(TOPIC, row(6))
    filiere_stack.publish(TOPIC, row(6))
    assert len(filiere_stack.quarantine()) == len(POISON) + 2
    assert len(filiere_stack.readings(T1, "extruder.melt_temp").value) == 3
    assert [account.duplicates for account in filiere_stack.accounts() if account.device.endswith("extruder")] == [1]


def test_time_passes_when_the_test_says_so(filiere_stack: FiliereStack, frozen_clock: FrozenClock):
    frozen_clock.advance(3600)
    filiere_stack.publish(TOPIC, row(0))
    (account,) = filiere_stack.accounts()
    assert account.skew_s == pytest.approx(3600)
    assert account.last_record_ns == frozen_clock()
    assert filiere_stack.api.get("/readyz").json()["ready"]


def test_a_rewind_stores_the_same_again(filiere_stack: FiliereStack):
    for seq in range(5):
        filiere_stack.publish(TOPIC, row(seq, f"2026-03-11T06:00:0{seq}Z"))
    before = filiere_stack.readings(T1, "extruder.melt_temp")
    filiere_stack.rewind()
    again = filiere_stack.readings(T1, "extruder.melt_temp")
    assert again.time_ns.tolist() == before.time_ns.tolist()
    assert filiere_stack.accounts()[0].duplicates == 0


def test_a_lot_without_a_certificate_says_why(filiere_stack: FiliereStack, line_sim: LineSim):
    lot = line_sim(T1)
    (name,) = lot.lots
    events = [each for each in lot if each.rows is None]
    filiere_stack.run(events[:-1])
    with pytest.raises(NotFound, match="no run of it has closed"):
        filiere_stack.certificate(name)
    filiere_stack.run(events[-1:])
    with pytest.raises(NotFound, match=r"has no certificate: .*; those that have one: none"):
        filiere_stack.certificate(name)


def test_a_stack_goes_on_where_an_earlier_one_left(line_sim: LineSim, tmp_path: Path):
    lot = line_sim(T1)
    half = len(lot) // 2
    clock = FrozenClock(lot.start_ns)
    with open_stack(tmp_path, plant=lot.plant, clock=clock) as stack:
        assert stack.run(lot.publications[:half]) == ()
    with open_stack(tmp_path, plant=lot.plant, clock=clock) as stack:
        (issued,) = stack.run(lot.publications[half:])
        assert stack.verify(issued.lot).authentic
        assert all(account.closes for account in stack.accounts())


def test_a_server_of_the_environment_is_never_written_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("FILIERE_INFLUX_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("FILIERE_LEDGER_URL", "postgresql://workshop")
    monkeypatch.setenv("FILIERE_MQTT_PORT", "no number")
    settings = settings_of(tmp_path)
    assert settings.influx_url == ""
    assert settings.ledger_database_url == f"sqlite:///{tmp_path}/ledger.sqlite"


def test_a_store_that_the_test_reads_is_the_stack_s(filiere_stack: FiliereStack, readings_store):
    filiere_stack.publish(TOPIC, row(0))
    filiere_stack.record()
    assert [latest.key for latest in readings_store.latest(T1)] == ["extruder.melt_temp"]


def test_events_arrive_in_any_order(line_sim: LineSim, filiere_stack: FiliereStack):
    lot = line_sim(T1)
    late = [each for each in lot if parse_topic(each.topic.encode()).kind == "events"]
    rest = [each for each in lot if parse_topic(each.topic.encode()).kind != "events"]
    filiere_stack.run(rest)
    for each in reversed(late):
        assert decode_event(each.payload)
        filiere_stack.publish(each.topic, each.payload)
    (issued,) = filiere_stack.issue()
    assert filiere_stack.verify(issued.lot).authentic
    assert filiere_stack.clock() - lot.start_ns > NS_PER_S


def test_what_a_gateway_publishes_at_a_broker_is_stored(filiere_stack: FiliereStack, mqtt_broker: LocalBroker):
    with filiere_stack.listening(mqtt_broker):
        with Publisher(mqtt_broker) as gateway:
            for seq in range(3):
                gateway.publish(TOPIC, row(seq, f"2026-03-11T06:00:0{seq}Z", melt_temp=230.0 + seq))
            gateway.flush()
        filiere_stack.wait_for(3)
        assert filiere_stack.readings(T1, "extruder.melt_temp").value.tolist() == [230.0, 231.0, 232.0]
        assert filiere_stack.api.get("/readyz").json()["ready"]
    assert filiere_stack.api.get("/readyz").json()["ready"]
    filiere_stack.publish(TOPIC, row(3, "2026-03-11T06:00:04Z", melt_temp=233.0))
    assert filiere_stack.readings(T1, "extruder.melt_temp").value[-1] == 233.0


def test_messages_that_do_not_come_are_said_with_how_many_did(filiere_stack: FiliereStack):
    filiere_stack.publish(TOPIC, row(0))
    filiere_stack.record()
    with pytest.raises(TimeoutError, match=r"got 1 messages within 0\.05 s; expected 2, on filiere/v1/\+"):
        filiere_stack.wait_for(2, within_s=0.05)


def test_a_broker_that_is_down_is_said_with_why(
    filiere_stack: FiliereStack, mqtt_broker: LocalBroker, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(listening, "WITHIN_S", 0.3)
    mqtt_broker.stop()
    with (
        pytest.raises(TimeoutError, match=rf"no subscription at {mqtt_broker.address} .*Connection refused"),
        filiere_stack.listening(mqtt_broker),
    ):
        pass


def test_a_gateway_with_a_clock_of_its_own_is_believed_once_the_stack_has_its_time(
    filiere_stack: FiliereStack, frozen_clock: FrozenClock
):
    filiere_stack.publish(TOPIC, row(0, "2026-11-24T14:30:00Z"))
    frozen_clock.reach("2026-11-24T14:30:01Z")
    filiere_stack.publish(TOPIC, row(1, "2026-11-24T14:30:01Z"))
    found = filiere_stack.readings(T1, "extruder.melt_temp")
    assert [QUALITIES[code] for code in found.quality] == [CLOCK_SUSPECT, GOOD]


@pytest.mark.parametrize(("line", "key"), [("caux/textile/t9", "extruder.melt_temp"), (T1, "extruder.melt_tmp")])
def test_readings_of_what_the_plant_does_not_have_are_refused(filiere_stack: FiliereStack, line: str, key: str):
    with pytest.raises(NotFound, match="known: "):
        filiere_stack.readings(line, key)
