"""The log of one plant on another machine: the same bytes, the same readings; a damaged one is not begun."""

import json
from functools import cache
from itertools import islice
from pathlib import Path

import pytest

from collector.codec import decode_readings
from collector.log.lines import line_of
from filiere.clock import NS_PER_S
from filiere.errors import ScenarioError
from filiere.events import parse_event
from filiere.message_log import Message
from simulators.line.simulation import simulate
from simulators.replay.dirt import Dirt
from simulators.replay.log_recording import LogRecording
from simulators.replay.recording import Lap
from tests.collector.builders import NOON_NS, TERMINAL_TOPIC, TOPIC, Rig, readings
from tests.simulators.builders import START_NS, caux
from tests.simulators.replay.builders import stored_by

LATER = Lap(shift_ns=3600 * NS_PER_S)


def logged(*payloads: bytes, topic: str = TOPIC, record_ns: int = NOON_NS) -> list[Message]:
    return [
        Message(offset=place, topic=topic.encode(), payload=payload, record_time_ns=record_ns + place)
        for place, payload in enumerate(payloads, 1)
    ]


def exported(folder: Path, messages: list[Message], name: str = "log.jsonl") -> Path:
    path = folder / name
    path.write_bytes(b"".join(line_of(message) + b"\n" for message in messages))
    return path


@cache
def simulation() -> tuple[Message, ...]:
    return tuple(
        Message(offset=place, topic=each.topic.encode(), payload=each.payload, record_time_ns=each.time_ns)
        for place, each in enumerate(islice(simulate(caux(), seed=1, start_ns=START_NS, lots=None), 900), 1)
    )


def test_a_log_replayed_on_another_machine_gives_identical_stored_readings(tmp_path: Path):
    messages = list(simulation())
    garbage = logged(b"not json", b'{"boot":"b","seq":7}', record_ns=messages[-1].record_time_ns)
    messages += [*garbage, *messages[:50]]  # some came twice
    sent = list(LogRecording([exported(tmp_path, messages)]).lap(Lap()))
    assert [(each.topic, each.payload) for each in sent] == [(each.topic, each.payload) for each in messages]
    found = []
    for name, arrived in (
        ("one", [(each.topic, each.payload, each.record_time_ns) for each in messages]),
        ("other", [(each.topic, each.payload, NOON_NS * 2) for each in sent]),
    ):
        (tmp_path / name).mkdir()
        with Rig(tmp_path / name, plant=caux()) as rig:
            found.append(stored_by(rig, arrived))
    assert found[0] == found[1]
    assert len(found[0]) > 5_000


def test_what_has_numbers_goes_through_an_outbox_and_what_has_none_does_not(tmp_path: Path):
    messages = logged(readings(seq=0, rows=3), b"not json") + logged(b"21.5", topic="plug/power")
    sent = list(LogRecording([exported(tmp_path, messages)]).lap(Lap()))
    numbered = [each.numbered for each in sent]
    assert numbered[1:] == [None, None]
    assert numbered[0] is not None
    assert (numbered[0].device, numbered[0].kind, numbered[0].rows) == ("caux/textile/t1/extruder", "readings", 3)


def test_what_only_an_import_keeps_is_said(tmp_path: Path):
    messages = logged(readings(time_ns=0), readings(seq=1)) + logged(b"21.5", topic="plug/power")
    recording = LogRecording([exported(tmp_path, messages)])
    assert recording.findings.count(Dirt.OWN_CLOCK) == 2
    assert (recording.count, recording.rows) == (3, 3)


def test_shifted_readings_and_events_have_other_times_and_boots_and_the_rest_stays(tmp_path: Path):
    (closing,) = [each for each in simulation() if each.topic.endswith(b"/events")][:1]
    messages = [*logged(readings(seq=4, rows=2), b"not json"), closing]
    recording = LogRecording([exported(tmp_path, messages)])
    rows, strange, shifted = recording.lap(LATER)
    before, after = decode_readings(messages[0].payload), decode_readings(rows.payload)
    assert after.time_ns == tuple(time_ns + LATER.shift_ns for time_ns in before.time_ns)
    assert (after.seq, after.values) == (before.seq, before.values)
    assert after.boot != before.boot
    assert strange.payload == b"not json"
    was, is_now = json.loads(closing.payload), json.loads(shifted.payload)
    assert is_now["event"].pop("eventTime") != was["event"].pop("eventTime")
    assert is_now["event"] == was["event"]
    assert recording.findings.count(Dirt.UNSHIFTED) == 1


def test_a_later_lap_sends_no_event_again(tmp_path: Path):
    (closing,) = [each for each in simulation() if each.topic.endswith(b"/events")][:1]
    recording = LogRecording([exported(tmp_path, [*logged(readings()), closing])])
    assert len(list(recording.lap(Lap(number=1, shift_ns=NS_PER_S)))) == 1
    assert recording.findings.count(Dirt.ONCE) == 1


def test_an_event_without_a_time_is_sent_as_it_is(tmp_path: Path):
    payload = b'{"boot":"b","seq":0,"event":{"type":"ObjectEvent"}}'
    recording = LogRecording([exported(tmp_path, logged(payload, topic=TERMINAL_TOPIC))])
    assert [each.payload for each in recording.lap(LATER)] == [payload]


def test_files_follow_each_other(tmp_path: Path):
    paths = [exported(tmp_path, logged(readings(seq=seq)), name=f"{seq}.jsonl") for seq in (0, 1)]
    assert [decode_readings(each.payload).seq for each in LogRecording(paths).lap(Lap())] == [0, 1]


@pytest.mark.parametrize("topic", ["", "a/+", "a/#", "a\0b", "x" * 70_000])
def test_a_topic_that_no_broker_takes_is_refused(tmp_path: Path, topic: str):
    path = exported(tmp_path, logged(readings()) + logged(b"1", topic=topic))
    with pytest.raises(ScenarioError, match=r"got topic .*: nothing was published"):
        LogRecording([path])


@pytest.mark.parametrize("damage", [b'{"offset":3,"record_ti', b"{}\n", b"\xff\xfe\n", b'{"a":' * 5000 + b"\n"])
def test_a_log_with_one_bad_line_is_refused_with_its_number(tmp_path: Path, damage: bytes):
    path = exported(tmp_path, logged(readings(seq=0), readings(seq=1)))
    path.write_bytes(path.read_bytes() + damage)
    with pytest.raises(ScenarioError, match=r"log.jsonl, line 3: .*: nothing was published"):
        LogRecording([path])


def test_a_log_of_no_message_is_refused(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"\n\n")
    with pytest.raises(ScenarioError, match="got no message"):
        LogRecording([path])


def test_a_shifted_event_is_one_that_the_ledger_reads(tmp_path: Path):
    (closing,) = [each for each in simulation() if each.topic.endswith(b"/events")][:1]
    (sent,) = LogRecording([exported(tmp_path, [closing])]).lap(LATER)
    before, after = (
        parse_event(json.dumps(json.loads(payload)["event"]).encode()) for payload in (closing.payload, sent.payload)
    )
    assert after.event_time_ns == before.event_time_ns + LATER.shift_ns
