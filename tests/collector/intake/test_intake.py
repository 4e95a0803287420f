"""With a real Mosquitto: committed, then acknowledged; what was not committed comes again."""

import shutil
import subprocess
import threading
import uuid
from collections import Counter
from contextlib import contextmanager, suppress
from random import Random

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
from structlog.testing import capture_logs

from collector.broker import Broker
from collector.intake.connection import CallbackConnection, Ending, Session
from collector.intake.intake import Intake
from filiere.clock import system_clock
from filiere.errors import StoreUnavailable
from filiere.message_log import MessageLog
from tests.collector.mqtt import Publisher, session, until
from tests.servers import Mosquitto, unavailable


class Kill(BaseException):
    """Ends an intake where a SIGKILL would."""


class Bench:
    """A message log, a topic of this test's own, and intakes that come and go."""

    def __init__(self, server, folder, client_id):
        self.path = folder / "messages.sqlite"
        self.topic = f"filiere/v1/caux/textile/{uuid.uuid4().hex}/extruder/readings"
        self._broker = Broker(host=server.host, port=server.port, client_id=client_id)
        MessageLog.open(self.path).close()

    @contextmanager
    def intake(self, append=MessageLog.append):
        stop = threading.Event()

        class Log(MessageLog):
            pass

        Log.append = append

        def run():
            with Log.open(self.path) as log, suppress(Kill):
                Intake(broker=self._broker, log=log, clock=system_clock, random=Random(1), stop=stop).run()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield thread
        finally:
            stop.set()
            thread.join()

    def logged(self):
        with MessageLog.open_reader(self.path) as log:
            return [message.payload for message in log.read(0, 1_000_000) if message.topic.decode() == self.topic]

    def subscribed(self, publisher):
        """Return once the session is there, so that the broker keeps what follows."""
        with self.intake():
            self.arrives(publisher)

    def arrives(self, publisher):
        probe = uuid.uuid4().hex.encode()

        def seen():
            publisher.publish(self.topic, probe)
            return probe in self.logged()

        until(seen)


@pytest.fixture
def bench(mosquitto, tmp_path):
    with session(mosquitto) as client_id:
        yield Bench(mosquitto, tmp_path, client_id)


@pytest.fixture
def publisher(mosquitto):
    with Publisher(mosquitto) as publisher:
        yield publisher


def test_bytes_are_logged_as_they_were_sent(bench, publisher):
    payloads = [b"", b"\x00\xff" * 300, b"{}", b"x" * 200_000]
    with bench.intake():
        bench.arrives(publisher)
        for payload in payloads:
            publisher.publish(bench.topic, payload)
        until(lambda: set(payloads) <= set(bench.logged()))
    assert [payload for payload in bench.logged() if payload in payloads] == payloads


def test_messages_of_one_publisher_keep_their_order(bench, publisher):
    numbers = [b"%d" % number for number in range(3000)]
    with bench.intake():
        bench.arrives(publisher)
        for number in numbers:
            publisher.publish(bench.topic, number)
        until(lambda: numbers[-1] in bench.logged())
    assert [payload for payload in bench.logged() if len(payload) < 5] == numbers


def test_what_is_published_while_the_collector_is_away_comes_when_it_is_back(bench, publisher):
    bench.subscribed(publisher)
    for number in range(100):
        publisher.publish(bench.topic, b"%d" % number)
    publisher.flush()
    with bench.intake():
        until(lambda: {b"%d" % number for number in range(100)} <= set(bench.logged()))


def test_a_message_that_was_not_committed_is_not_acknowledged_and_comes_again(bench, publisher):
    bench.subscribed(publisher)

    def kill(_log, _batch):
        raise Kill

    publisher.publish(bench.topic, b"once")
    publisher.flush()
    with bench.intake(append=kill) as thread:
        thread.join(30)
        assert not thread.is_alive()
    assert b"once" not in bench.logged()
    with bench.intake():
        until(lambda: b"once" in bench.logged())


def test_a_message_that_was_committed_and_not_acknowledged_comes_again(bench, publisher):
    bench.subscribed(publisher)

    def kill(log, batch):
        MessageLog.append(log, batch)
        raise Kill

    publisher.publish(bench.topic, b"twice")
    publisher.flush()
    with bench.intake(append=kill) as thread:
        thread.join(30)
    with bench.intake():
        until(lambda: Counter(bench.logged())[b"twice"] == 2)


def test_a_message_that_was_acknowledged_does_not_come_again(bench, publisher):
    bench.subscribed(publisher)
    with bench.intake():
        bench.arrives(publisher)
    before = Counter(bench.logged())
    with bench.intake():
        bench.arrives(publisher)
    after = Counter(bench.logged())
    assert all(after[payload] == count for payload, count in before.items())


def test_a_full_disk_holds_the_messages_and_loses_none(bench, publisher):
    bench.subscribed(publisher)
    refusals = iter([StoreUnavailable("disk full")] * 3)

    def append(log, batch):
        for refusal in refusals:
            raise refusal
        return MessageLog.append(log, batch)

    with bench.intake(append=append):
        for number in range(200):
            publisher.publish(bench.topic, b"%d" % number)
        until(lambda: {b"%d" % number for number in range(200)} <= set(bench.logged()))
    assert next(refusals, None) is None


def test_a_broker_that_goes_and_comes_back_is_found_again(mosquitto, bench):
    with bench.intake():
        with Publisher(mosquitto) as publisher:
            bench.arrives(publisher)
        mosquitto.stop()
        mosquitto.start()
        with Publisher(mosquitto) as publisher:
            bench.arrives(publisher)


@pytest.mark.parametrize("host", ["127.0.0.1", "no..name", "x" * 80])
def test_an_intake_without_a_broker_waits_and_stops_when_asked(tmp_path, host):
    broker = Broker(host=host, port=1, client_id="nobody")
    stop = threading.Event()
    with MessageLog.open(tmp_path / "messages.sqlite") as log:
        intake = Intake(broker=broker, log=log, clock=system_clock, random=Random(1), stop=stop)
        thread = threading.Thread(target=intake.run)
        with capture_logs() as said:
            thread.start()
            until(lambda: any(line["event"] == "no connection to the broker" for line in said))
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


class Guarded(Mosquitto):
    """Lets in `collector` alone, with a password."""

    password = "seven-ducks"

    def __init__(self):
        super().__init__()
        passwords = self.folder / "passwords"
        subprocess.run(["mosquitto_passwd", "-c", "-b", passwords, "collector", self.password], check=True)
        configuration = (self.folder / "mosquitto.conf").read_text().replace("anonymous true", "anonymous false")
        (self.folder / "mosquitto.conf").write_text(f"{configuration}password_file {passwords}\n")


@contextmanager
def guarded():
    if shutil.which("mosquitto_passwd") is None:
        unavailable("mosquitto_passwd not found: install the Debian package mosquitto")
    server = Guarded()
    try:
        yield server.start()
    finally:
        server.remove()


@pytest.mark.usefixtures("mosquitto")
@pytest.mark.parametrize(
    ("password", "said"),
    [
        (Guarded.password, "intake ready"),
        ("wrong", "the broker refuses the collector"),
        (None, "the broker refuses the collector"),
    ],
    ids=["let in", "wrong password", "no password"],
)
def test_a_broker_that_refuses_is_asked_again_and_the_log_says_why(tmp_path, password, said):
    with guarded() as server, MessageLog.open(tmp_path / "messages.sqlite") as log, capture_logs() as logs:
        user = None if password is None else "collector"
        broker = Broker(host=server.host, port=server.port, client_id="guarded", username=user, password=password)
        stop = threading.Event()
        intake = Intake(broker=broker, log=log, clock=system_clock, random=Random(1), stop=stop)
        thread = threading.Thread(target=intake.run)
        thread.start()
        try:
            times = 1 if said == "intake ready" else 2
            until(lambda: [entry["event"] for entry in logs].count(said) >= times, seconds=30, why=lambda: str(logs))
        finally:
            stop.set()
            thread.join()


def test_a_subscription_that_is_refused_is_said_and_tried_again_on_a_new_connection():
    class Client:
        disconnected = False

        def disconnect(self):
            self.disconnected = True

    session = Session(broker=Broker(host="127.0.0.1", port=1, client_id="x"), filters=("a/b", "c/d"))
    client, connection = Client(), CallbackConnection(session, system_clock)
    granted = ReasonCode(PacketTypes.SUBACK, "Granted QoS 1")
    refused = ReasonCode(PacketTypes.SUBACK, "Not authorized")
    with capture_logs() as logs:
        connection._on_subscribe(client, None, 1, [granted, refused], None)
    assert client.disconnected
    assert connection.ending is not Ending.LOST
    assert (logs[0]["event"], logs[0]["topics"]) == ("the broker refuses the subscription", {"c/d": "Not authorized"})
