"""Both adapters against real brokers, MQTT 5 and 3.1.1, plain and TLS: one contract."""

import threading
import uuid
from collections import Counter

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from collector.broker import Tls, ssl_context
from collector.intake.assignment import HeldFilters
from collector.intake.bulk import BulkConnection
from collector.intake.connection import MQTT_5, CallbackConnection, Ending, Session
from filiere.clock import system_clock
from tests.collector.brokers import LARGEST, TlsMosquitto, broker_of, kinds
from tests.collector.certificates import Authority
from tests.collector.mqtt import until
from tests.servers import ServerMissing, unavailable

ADAPTERS = pytest.mark.parametrize("adapter", [BulkConnection, CallbackConnection])

# paho leaves the socket of a handshake that failed to the garbage collector
LEFT_OPEN = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module", params=kinds())
def place(request):
    kind, version = kinds()[request.param]
    try:
        server = kind()
    except ServerMissing as missing:
        unavailable(str(missing))
    try:
        yield Place(server.start(), version)
    finally:
        server.remove()


class Place:
    """A running broker, and the version of MQTT that is spoken with it."""

    def __init__(self, server, version):
        self.server, self.version = server, version
        self.name = server.name

    def session(self, client_id=None, **arguments):
        client_id = client_id or f"c-{uuid.uuid4().hex[:12]}"
        broker = broker_of(self.server, client_id)
        root = f"filiere/v1/caux/textile/{uuid.uuid4().hex}"
        return root, Session(broker=broker, **{"filters": (f"{root}/+/readings", f"{root}/+/state"), **arguments})

    def connect(self, adapter, session):
        """A connection that is subscribed."""
        connection = adapter(session, system_clock, self.version)
        connection.open()
        until(lambda: self._subscribed(connection), seconds=20, why=lambda: f"{connection.problem}")
        return connection

    @staticmethod
    def _subscribed(connection):
        assert connection.wait(0.05), (connection.ending, connection.problem)
        assert not connection.read()
        return connection.ending is Ending.LOST

    def publisher(self):
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            protocol=self.version,
            clean_session=None if self.version == MQTT_5 else True,
            reconnect_on_failure=False,
        )
        tls = getattr(self.server, "tls", None)
        if tls is not None:
            client.tls_set_context(ssl_context(tls))
        client.max_inflight_messages_set(100)
        client.connect(self.server.host, self.server.port)
        client.loop_start()
        return Sender(client)


class Sender:
    def __init__(self, client):
        self._client = client
        self._told = []

    def __enter__(self):
        until(self._client.is_connected)
        return self

    def __exit__(self, *_):
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic, payload, **arguments):
        self._told.append(self._client.publish(topic, payload, **{"qos": 1, **arguments}))

    def flush(self):
        until(lambda: all(told.is_published() for told in self._told), seconds=8, why="no PUBACK from the broker")


def take(connection, count, *, acknowledge=True):
    """Payloads in the order of arrival, at least `count` of them."""
    payloads = []

    def enough():
        assert connection.wait(0.05), (connection.ending, connection.problem)
        batch = connection.read()
        if acknowledge:
            payloads.extend(payload for _, payload, _ in batch)
            connection.acknowledge()
        else:
            payloads[:] = [payload for _, payload, _ in batch]
        return len(payloads) >= count

    until(enough, seconds=8, why=lambda: f"got {len(payloads)} of {count}")
    return payloads


@ADAPTERS
def test_bytes_come_as_they_were_sent_in_order_at_any_qos(place, adapter):
    root, session = place.session()
    payloads = [b"{}", b"\x00\xff" * 300, b"x" * 127, b"y" * 20_000, b"z" * 250_000, *(b"%d" % n for n in range(500))]
    connection = place.connect(adapter, session)
    with place.publisher() as sender:
        for qos in (1, 2, 0) if place.name == "mosquitto" else (1, 0):
            for payload in payloads:
                sender.publish(f"{root}/extruder/readings", payload, qos=qos)
            assert take(connection, len(payloads)) == payloads
    connection.close()


@ADAPTERS
def test_what_is_sent_while_the_collector_is_away_comes_when_it_is_back(place, adapter):
    root, session = place.session()
    place.connect(adapter, session).close()
    with place.publisher() as sender:
        for number in range(300):
            sender.publish(f"{root}/extruder/readings", b"%d" % number)
        sender.flush()
    connection = adapter(session, system_clock, place.version)
    connection.open()
    assert take(connection, 300) == [b"%d" % number for number in range(300)]
    connection.close()


@ADAPTERS
def test_what_was_not_acknowledged_comes_again_and_what_was_does_not(place, adapter):
    root, session = place.session()
    topic = f"{root}/extruder/readings"
    connection = place.connect(adapter, session)
    with place.publisher() as sender:
        sender.publish(topic, b"acknowledged")
        assert take(connection, 1) == [b"acknowledged"]
        sender.publish(topic, b"not acknowledged")
        take(connection, 1, acknowledge=False)
        connection.close()
        connection.acknowledge()  # of an earlier connection: to nobody
        later = adapter(session, system_clock, place.version)
        later.open()
        assert take(later, 1) == [b"not acknowledged"]
        sender.publish(topic, b"last")
        assert take(later, 1) == [b"last"]
    later.close()


@ADAPTERS
def test_a_session_that_is_gone_is_made_again(place, adapter):
    root, session = place.session()
    place.connect(adapter, session).close()
    other = paho.Client(CallbackAPIVersion.VERSION2, client_id=session.broker.client_id, protocol=place.version)
    if session.broker.tls is not None:
        other.tls_set_context(ssl_context(session.broker.tls))
    clean = {"clean_start": True} if place.version == MQTT_5 else {}
    other.connect(place.server.host, place.server.port, **clean)
    other.loop_start()
    until(other.is_connected)
    other.disconnect()
    other.loop_stop()
    connection = place.connect(adapter, session)
    with place.publisher() as sender:
        sender.publish(f"{root}/extruder/readings", b"again")
        assert take(connection, 1) == [b"again"]
    connection.close()


@ADAPTERS
def test_a_retained_message_comes_to_a_new_subscription(place, adapter):
    root, session = place.session()
    with place.publisher() as sender:
        sender.publish(f"{root}/extruder/state", b"online", retain=True)
        sender.flush()
    connection = adapter(session, system_clock, place.version)
    connection.open()
    assert take(connection, 1) == [b"online"]
    connection.close()


@ADAPTERS
def test_many_messages_of_many_sizes_lose_nothing(place, adapter):
    root, session = place.session()
    connection = place.connect(adapter, session)
    sent = [b"%06d" % number + b"p" * (number * 37 % 3_000) for number in range(3_000)]

    def publish():
        with place.publisher() as sender:
            for payload in sent:
                sender.publish(f"{root}/extruder/readings", payload)
            sender.flush()

    thread = threading.Thread(target=publish)
    thread.start()
    got = take(connection, len(sent))
    thread.join()
    assert got == sent
    connection.close()


@ADAPTERS
def test_a_message_at_the_broker_s_limit_comes_and_one_above_it_harms_nobody(place, adapter):
    root, session = place.session()
    topic = f"{root}/extruder/readings"
    limit = LARGEST if place.name == "iotcore" else 1_048_576
    connection = place.connect(adapter, session)
    largest = b"a" * (limit - len(topic) - 20)
    with place.publisher() as sender:
        sender.publish(topic, largest)
        assert take(connection, 1) == [largest]
    with place.publisher() as too_much:
        too_much.publish(topic, b"b" * (limit + 1))
    with place.publisher() as sender:
        sender.publish(topic, b"and on")
        assert Counter(take(connection, 1)) == Counter([b"and on"])
    connection.close()


@ADAPTERS
def test_properties_and_the_publisher_s_topic_aliases_are_nothing_to_the_collector(place, adapter):
    if place.version != MQTT_5:
        pytest.skip("MQTT 5 alone has properties")
    root, session = place.session()
    topic = f"{root}/extruder/readings"
    properties = Properties(PacketTypes.PUBLISH)
    properties.UserProperty = [("gateway", "hall-2"), ("note", "n" * 200)]
    properties.ContentType = "application/json"
    alias = Properties(PacketTypes.PUBLISH)
    alias.TopicAlias = 1
    connection = place.connect(adapter, session)
    with place.publisher() as sender:
        sender.publish(topic, b"with properties", properties=properties)
        if place.name == "mosquitto":
            sender.publish(topic, b"alias set", properties=alias)
        sender.publish(topic, b"plain")
        expected = (
            [b"with properties", b"alias set", b"plain"]
            if place.name == "mosquitto"
            else [b"with properties", b"plain"]
        )
        assert take(connection, len(expected)) == expected
    connection.close()


@ADAPTERS
def test_a_line_that_is_owned_no_more_is_received_no_more_and_the_rest_goes_on(place, adapter, tmp_path):
    if place.name == "iotcore":
        pytest.skip("iotcore does not answer UNSUBSCRIBE")
    held = HeldFilters(tmp_path / "subscriptions.json", client_id=(client_id := f"c-{uuid.uuid4().hex[:12]}"))
    root, session = place.session(client_id, held=held)
    both = session.filters
    place.connect(adapter, session).close()
    assert held.read() == both
    _, session = place.session(client_id, held=held, filters=both[:1])
    connection = place.connect(adapter, session)
    until(lambda: connection.wait(0.05) and not connection.read() and held.read() == both[:1], seconds=8)
    with place.publisher() as sender:
        sender.publish(f"{root}/extruder/state", b"not ours")
        sender.publish(f"{root}/extruder/readings", b"ours")
        assert take(connection, 1) == [b"ours"]
    connection.close()


@pytest.fixture(scope="module")
def tls_broker():
    try:
        server = TlsMosquitto()
    except ServerMissing as missing:
        unavailable(str(missing))
    try:
        yield server.start()
    finally:
        server.remove()


@LEFT_OPEN
@ADAPTERS
def test_a_broker_of_another_authority_is_not_believed(tls_broker, adapter, tmp_path):
    other = Authority(tmp_path, "somebody else")
    certificate, key = other.sign("collector")
    broker = broker_of(tls_broker, "c")
    for tls in (Tls(ca=other.ca), Tls(ca=other.ca, certificate=certificate, key=key)):
        session = Session(
            broker=type(broker)(host=broker.host, port=broker.port, client_id="c", tls=tls), filters=("a",)
        )
        connection = adapter(session, system_clock)
        with pytest.raises(OSError, match="certificate verify failed"):
            connection.open()


@LEFT_OPEN
@ADAPTERS
def test_a_broker_under_another_name_than_its_certificate_says_is_not_believed(tls_broker, adapter):
    broker = broker_of(tls_broker, "c")
    session = Session(
        broker=type(broker)(host="localhost", port=broker.port, client_id="c", tls=broker.tls), filters=("a",)
    )
    with pytest.raises(OSError, match="certificate"):
        adapter(session, system_clock).open()


@ADAPTERS
def test_without_a_certificate_of_its_own_the_collector_is_not_let_in(tls_broker, adapter):
    broker = broker_of(tls_broker, "c")
    tls = Tls(ca=broker.tls.ca)
    session = Session(broker=type(broker)(host=broker.host, port=broker.port, client_id="c", tls=tls), filters=("a",))
    connection = adapter(session, system_clock)
    try:
        connection.open()
        until(lambda: connection.read() or not connection.wait(0.05), seconds=20)
    except OSError:
        pass
    assert connection.ending is Ending.NO_ANSWER
