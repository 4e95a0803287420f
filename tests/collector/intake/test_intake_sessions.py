"""The intake over many connections: another version of MQTT, a session taken over, a full disk, and its own word."""

import threading
import uuid
from contextlib import contextmanager
from itertools import islice
from random import Random

import pytest
from structlog.testing import capture_logs

from collector.broker import Broker, Tls
from collector.intake import intake as intake_module
from collector.intake.assignment import HeldFilters
from collector.intake.connection import MQTT_3, MQTT_5
from collector.intake.intake import DISK_WAIT_S_MAX, NO_ANSWERS_MAX, Intake
from collector.intake.status import StatusFile, read_intake_status
from collector.patience import waits_s
from filiere.clock import system_clock
from filiere.errors import StoreUnavailable
from filiere.message_log import MessageLog
from tests.collector.certificates import Authority
from tests.collector.mqtt import Publisher, session, until
from tests.collector.scripted import (
    CONNECT,
    DISCONNECT,
    PUBACK,
    SUBSCRIBE,
    TOPIC,
    Published,
    connack,
    packet,
    scripted,
    suback,
)


@contextmanager
def running(folder, broker, *, log_kind=MessageLog, **arguments):
    """An intake on a thread, with its status file; gives what it is seen to say."""
    stop = threading.Event()
    log_path = folder / "messages.sqlite"

    def run():
        with log_kind.open(log_path) as log:
            status = StatusFile(folder / "intake.status", log_path=log_path, clock=system_clock)
            try:
                Intake(
                    broker=broker,
                    log=log,
                    clock=system_clock,
                    random=Random(1),
                    stop=stop,
                    status=status,
                    **arguments,
                ).run()
            finally:
                status.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield Seen(folder)
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


class Seen:
    def __init__(self, folder):
        self._folder = folder

    @property
    def status(self):
        return read_intake_status(self._folder / "intake.status")

    def says(self, *, connected=True, problem=None):
        def said():
            status = self.status
            if status is None or status.connected is not connected:
                return False
            return status.problem is None if problem is None else problem in (status.problem or "")

        until(said, seconds=20, why=lambda: str(self.status))

    def payloads(self):
        with MessageLog.open_reader(self._folder / "messages.sqlite") as log:
            return [message.payload for message in log.read(0, 100_000)]


@pytest.fixture
def scripted_broker():
    with scripted() as broker:
        yield broker


def serve(peer, version):
    """Let an intake in, and take one message to its acknowledgement."""
    peer.send(connack(version))
    peer.send(suback(peer.expect(SUBSCRIBE), version, b"\1" * 3))
    peer.publish(Published(number=77, payload=b"taken"))
    assert peer.numbers(PUBACK, 1) == [77]


def version_of(connect):
    return connect[6]


@pytest.mark.parametrize("refusal", [connack(reason=0x84), packet(2, b"\0\1")], ids=["as 5 says it", "as 3.1.1 does"])
def test_a_broker_that_refuses_mqtt_5_is_spoken_to_in_3(tmp_path, scripted_broker, refusal):
    with running(tmp_path, scripted_broker.broker) as seen:
        first = scripted_broker.accept()
        assert version_of(first.expect(CONNECT)) == 5
        first.send(refusal)
        first.close()
        second = scripted_broker.accept(MQTT_3)
        assert version_of(second.expect(CONNECT)) == 4
        serve(second, MQTT_3)
        seen.says(connected=True)
        assert seen.payloads() == [b"taken"]


def test_a_broker_that_hangs_up_on_mqtt_5_is_spoken_to_in_3(tmp_path, scripted_broker):
    with running(tmp_path, scripted_broker.broker) as seen:
        for _ in range(NO_ANSWERS_MAX):
            peer = scripted_broker.accept()
            assert version_of(peer.expect(CONNECT)) == 5
            peer.close()
            seen.says(connected=False, problem="does it speak TLS alone (FILIERE_MQTT_CA)?")
        peer = scripted_broker.accept(MQTT_3)
        assert version_of(peer.expect(CONNECT)) == 4
        serve(peer, MQTT_3)


def test_a_malformed_packet_is_said_and_the_next_connection_is_good(tmp_path, scripted_broker):
    with running(tmp_path, scripted_broker.broker) as seen:
        first = scripted_broker.accept()
        first.expect(CONNECT)
        serve(first, MQTT_5)
        first.send(b"\x36\x00")
        assert first.expect(DISCONNECT) == b"\x81"
        first.close()
        seen.says(connected=False, problem="got a PUBLISH of QoS 3")
        second = scripted_broker.accept()
        second.expect(CONNECT)
        serve(second, MQTT_5)
        seen.says(connected=True)


def test_of_two_collectors_with_one_client_id_one_says_so_and_holds_back(tmp_path, mosquitto, monkeypatch):
    monkeypatch.setattr(intake_module, "TAKEN_OVER_WAIT_S", 600.0)
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with session(mosquitto) as client_id, Publisher(mosquitto) as publisher:
        broker = Broker(host=mosquitto.host, port=mosquitto.port, client_id=client_id)
        with running(tmp_path / "one", broker) as one, running(tmp_path / "two", broker) as two:

            def held_back():
                return [
                    each
                    for each in (one, two)
                    if each.status and "must not share a client id" in (each.status.problem or "")
                ]

            until(lambda: len(held_back()) == 1, seconds=30)
            (other,) = {one, two} - set(held_back())
            other.says(connected=True)
            publisher.publish(TOPIC.decode(), b"taken once")
            until(lambda: b"taken once" in other.payloads())


def test_a_broker_that_says_who_took_the_session_is_believed_at_once(tmp_path, scripted_broker, monkeypatch):
    monkeypatch.setattr(intake_module, "TAKEN_OVER_WAIT_S", 600.0)
    with running(tmp_path, scripted_broker.broker) as seen:
        peer = scripted_broker.accept()
        peer.expect(CONNECT)
        serve(peer, MQTT_5)
        peer.send(packet(DISCONNECT, b"\x8e\0"))
        seen.says(connected=False, problem="another client connected to")


def test_a_full_disk_is_said_acknowledges_nothing_and_ends_within_five_seconds(tmp_path, mosquitto):
    full = threading.Event()

    class Log(MessageLog):
        def append(self, batch):
            if full.is_set():
                raise StoreUnavailable("messages.sqlite: got database or disk is full; free space on this disk")
            return super().append(batch)

    with session(mosquitto) as client_id, Publisher(mosquitto) as publisher:
        broker = Broker(host=mosquitto.host, port=mosquitto.port, client_id=client_id)
        with running(tmp_path, broker, log_kind=Log) as seen:
            seen.says(connected=True)
            full.set()
            for number in range(3_000):
                publisher.publish(TOPIC.decode(), b"%d" % number)
            seen.says(problem="disk is full")
            publisher.flush()
            assert (seen.payloads(), seen.status.acknowledged) == ([], 0)
            full.clear()
            seen.says(connected=True)
            until(lambda: len(seen.payloads()) >= 3_000)
            until(lambda: seen.status.acknowledged >= 3_000, seconds=5)
    assert seen.payloads() == [b"%d" % number for number in range(3_000)]
    assert max(islice(waits_s(Random(1), DISK_WAIT_S_MAX), 100)) <= DISK_WAIT_S_MAX < 5.0


def test_while_the_disk_is_full_no_more_than_the_window_is_taken_from_the_broker(tmp_path, scripted_broker):
    refused = []

    class Log(MessageLog):
        def append(self, batch):
            refused.append(len(batch))
            raise StoreUnavailable("disk full")

    with running(tmp_path, scripted_broker.broker, log_kind=Log) as seen:
        peer = scripted_broker.accept()
        peer.expect(CONNECT)
        peer.send(connack())
        peer.send(suback(peer.expect(SUBSCRIBE), MQTT_5, b"\1" * 3))
        seen.says(connected=True)
        peer.publish(*(Published(number=number, payload=b"x" * 1_000) for number in range(1, 2_001)))
        until(lambda: len(refused) >= 3, seconds=20)
        assert len(set(refused)) == 1, "what is read once is not added to"
        assert refused[0] <= 2_000
        assert peer.packets() == []


def test_upkeep_of_the_log_goes_on_under_load_and_its_failure_stops_nothing(tmp_path, mosquitto):
    calls = []

    def chore():
        calls.append(None)
        raise StoreUnavailable("no room to prune")

    with session(mosquitto) as client_id, Publisher(mosquitto) as publisher, capture_logs() as logs:
        broker = Broker(host=mosquitto.host, port=mosquitto.port, client_id=client_id)
        with running(tmp_path, broker, chore=chore) as seen:
            seen.says(connected=True)
            publisher.publish(TOPIC.decode(), b"1")
            until(lambda: seen.payloads() == [b"1"])
            until(lambda: len(calls) >= 2, seconds=20)
    assert any(line["event"] == "the message log cannot be kept small" for line in logs)


# paho leaves the socket of a handshake that failed to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_files_for_tls_that_are_broken_later_are_said_and_found_mended(tmp_path, mosquitto):
    authority = Authority(tmp_path)
    good = authority.ca.read_bytes()
    authority.ca.write_bytes(b"half")
    broker = Broker(host=mosquitto.host, port=mosquitto.port, client_id="tls", tls=Tls(ca=authority.ca))
    with running(tmp_path, broker) as seen:  # whose broker speaks no TLS
        seen.says(connected=False, problem="FILIERE_MQTT_CA: got")
        authority.ca.write_bytes(good)
        seen.says(connected=False, problem="no connection to the broker")


def test_a_session_of_the_first_release_gives_up_the_topics_that_are_not_asked_for(tmp_path, mosquitto):
    line = f"filiere/v1/caux/textile/{uuid.uuid4().hex}"
    with session(mosquitto) as client_id, Publisher(mosquitto) as publisher:
        broker = Broker(host=mosquitto.host, port=mosquitto.port, client_id=client_id)
        with running(tmp_path, broker, filters=("filiere/v1/#",)) as seen:
            seen.says(connected=True)
        held = HeldFilters(tmp_path / "subscriptions.json", client_id=client_id)
        with running(tmp_path, broker, held=held) as seen:
            seen.says(connected=True)
            until(lambda: "filiere/v1/#" not in held.read())
            publisher.publish(f"{line}/extruder/receipt", b"a receipt")
            publisher.publish(f"{line}/extruder/readings", b"a reading")
            until(lambda: b"a reading" in seen.payloads())
            assert b"a receipt" not in seen.payloads()


def test_topics_that_cannot_be_remembered_are_not_subscribed_to(tmp_path, mosquitto):
    (tmp_path / "file").touch()
    with session(mosquitto) as client_id:
        broker = Broker(host=mosquitto.host, port=mosquitto.port, client_id=client_id)
        held = HeldFilters(tmp_path / "file" / "subscriptions.json", client_id=client_id)
        with running(tmp_path, broker, held=held) as seen:
            seen.says(connected=False, problem="expected to write what the broker was asked for")
