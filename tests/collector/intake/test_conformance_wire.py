"""Both adapters against every byte that a broker may send: cut anywhere, of any size, and wrong."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.intake.bulk import RECEIVE_BYTES, RECORD_STEP_NS, BulkConnection
from collector.intake.connection import BATCH_MESSAGES_MAX, MQTT_3, MQTT_5, CallbackConnection, Ending
from tests.collector.mqtt import until
from tests.collector.scripted import (
    CONNECT,
    DISCONNECT,
    NOW_NS,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBSCRIBE,
    TOPIC,
    Published,
    connack,
    integer,
    packet,
    pump,
    scripted,
    string,
    suback,
    taken,
)

ADAPTERS = pytest.mark.parametrize("adapter", [BulkConnection, CallbackConnection])
VERSIONS = pytest.mark.parametrize("version", [MQTT_5, MQTT_3], ids=["5", "3.1.1"])
USER_PROPERTY = b"\x26" + string(b"gateway") + string(b"hall-2")
LONG_PROPERTY = b"\x26" + string(b"note") + string(b"n" * 300)


@pytest.fixture
def broker():
    with scripted() as broker:
        yield broker


def contents(batch):
    return [(topic, payload) for topic, payload, _ in batch]


def numbered(messages):
    return [message.number for message in messages if message.qos]


@ADAPTERS
def test_connect_announces_neither_topic_aliases_nor_a_largest_packet(broker, adapter):
    connection = adapter(broker.session(), lambda: NOW_NS)
    connection.open()
    body = broker.accept().expect(CONNECT)
    assert body[:7] == string(b"MQTT") + b"\5"
    assert not body[7] & 0x02, "clean start would drop what the broker kept"
    properties = body[11 : 11 + body[10]]
    assert properties == b"\x11" + (30 * 24 * 3600).to_bytes(4, "big") + b"\x21" + (2000).to_bytes(2, "big")
    connection.close()


@ADAPTERS
def test_subscriptions_are_at_qos_1_and_retained_messages_come_once(broker, adapter):
    connection = adapter(broker.session(filters=("a/+", "b")), lambda: NOW_NS)
    connection.open()
    peer = broker.accept()
    peer.expect(CONNECT)
    peer.send(connack())
    pump(connection)
    assert peer.expect(SUBSCRIBE)[2:] == b"\0" + string(b"a/+") + b"\x11" + string(b"b") + b"\x11"
    connection.close()


@ADAPTERS
@VERSIONS
def test_packets_cut_at_every_byte_are_taken_whole_and_in_order(broker, adapter, version):
    messages = [
        Published(number=1, payload=b"one"),
        Published(number=0, qos=0, payload=b""),
        Published(number=0xFFFF, payload=b"x" * 130, properties=USER_PROPERTY),
        Published(number=7, retain=True, dup=True, payload=bytes(range(256)), properties=LONG_PROPERTY),
        Published(number=8, topic=b"t", payload=b"\x32\x05\x30"),
    ]
    stream = b"".join(message.encoded(version) for message in messages)
    stream = stream[:60] + stream[60:] + packet(PINGRESP)
    connection, peer = broker.connected(adapter, version)
    for cut in range(len(stream)):
        peer.send(stream[:cut])
        connection.read()
        peer.send(stream[cut:])
        batch = taken(connection, len(messages))
        assert contents(batch) == [(message.topic, message.payload) for message in messages], cut
        connection.acknowledge()
        assert peer.numbers(PUBACK, 4) == numbered(messages)
    connection.close()


@ADAPTERS
def test_a_stream_that_comes_byte_by_byte_is_taken(broker, adapter):
    messages = [Published(number=number, payload=b"%d" % number * 50) for number in range(1, 6)]
    connection, peer = broker.connected(adapter)
    for byte in b"".join(message.encoded() for message in messages):
        peer.send(bytes([byte]))
        connection.read()
    assert contents(taken(connection, 5)) == [(TOPIC, message.payload) for message in messages]
    connection.close()


SIZES = st.one_of(st.integers(0, 300), st.sampled_from([127, 128, 16_383, 16_384, 70_000]))
MESSAGES = st.builds(
    Published,
    topic=st.binary(min_size=1, max_size=200).map(lambda raw: raw.hex().encode()),
    payload=st.builds(lambda size, byte: bytes([byte]) * size, SIZES, st.integers(0, 255)),
    number=st.integers(1, 65_535),
    qos=st.sampled_from([0, 1, 1]),
    retain=st.booleans(),
    properties=st.sampled_from([b"", b"", USER_PROPERTY, LONG_PROPERTY, b"\x01\x01", b"\x02\0\0\0\x05"]),
)


@pytest.mark.parametrize("adapter", [BulkConnection, CallbackConnection])
@settings(max_examples=100)
@given(messages=st.lists(MESSAGES, min_size=1, max_size=12), cuts=st.lists(st.floats(0, 1), max_size=6), data=st.data())
def test_any_packets_in_any_pieces_are_taken_as_they_were_sent(adapter, messages, cuts, data):
    version = data.draw(st.sampled_from([MQTT_5, MQTT_3]))
    stream = b"".join(message.encoded(version) for message in messages)
    places = [0, *sorted(int(cut * len(stream)) for cut in cuts), len(stream)]
    with scripted() as broker:
        connection, peer = broker.connected(adapter, version)
        for start, end in itertools.pairwise(places):
            peer.send(stream[start:end])
            connection.read()
        batch = taken(connection, len(messages))
        connection.acknowledge()
        assert contents(batch) == [(message.topic, message.payload) for message in messages]
        assert peer.numbers(PUBACK, len(numbered(messages))) == numbered(messages)
        connection.close()


@ADAPTERS
@VERSIONS
@pytest.mark.parametrize("length", [127, 128, 16_383, 16_384, 2_097_151, 2_097_152])
def test_remaining_lengths_of_one_to_four_bytes(broker, adapter, version, length):
    empty = len(Published(payload=b"").encoded(version)) - 2
    connection, peer = broker.connected(adapter, version)
    payload = bytes(length - empty)
    encoded = Published(payload=payload).encoded(version)
    assert encoded[1 : 1 + len(integer(length))] == integer(length)
    send_while_reading(peer, connection, encoded)
    assert contents(taken(connection, 1)) == [(TOPIC, payload)]
    connection.close()


@ADAPTERS
def test_a_packet_that_is_larger_than_a_batch_is_taken_whole(broker, adapter):
    connection, peer = broker.connected(adapter)
    payload = bytes(range(256)) * (20 * 4096)
    send_while_reading(peer, connection, Published(payload=payload).encoded() + Published(number=2).encoded())
    sizes = []
    while len(sizes) < 2:
        batch = taken(connection, 1)
        sizes += [len(payload) for _, payload, _ in batch]
        assert all(each in (payload, b"{}") for _, each, _ in batch)
        connection.acknowledge()
    assert sizes == [20 * 1024 * 1024, 2]
    connection.close()


def send_while_reading(peer, connection, data, piece=100_000):
    for start in range(0, len(data), piece):
        peer.send(data[start : start + piece])
        connection.read()


def test_a_batch_is_bounded_and_what_follows_waits_in_the_socket(broker):
    connection, peer = broker.connected(BulkConnection)
    count = 20_000
    peer.publish(*(Published(number=number % 65_535 + 1, payload=b"p" * 100) for number in range(2_000)))
    largest = total = 0
    sent = 2_000
    while total < count:
        batch = taken(connection, 1)
        largest, total = max(largest, len(batch)), total + len(batch)
        connection.acknowledge()
        if sent < count:
            peer.publish(*(Published(number=n % 65_535 + 1, payload=b"p" * 100) for n in range(sent, sent + 2_000)))
            sent += 2_000
    assert total == count
    assert largest < BATCH_MESSAGES_MAX + RECEIVE_BYTES // 150
    connection.close()


def test_messages_of_one_instant_have_record_times_a_microsecond_apart(broker):
    connection, peer = broker.connected(BulkConnection)
    times_ns = []
    for number in (1, 2, 3):  # what comes in three receives, while the clock stands still
        peer.publish(Published(number=number), Published(number=number, payload=b"l" * 20_000))
        times_ns += [time_ns for _, _, time_ns in taken(connection, 2)]
        connection.acknowledge()
    assert [time_ns - NOW_NS for time_ns in times_ns] == [RECORD_STEP_NS * place for place in range(6)]
    connection.close()


@ADAPTERS
def test_nothing_is_acknowledged_before_it_is_asked_for(broker, adapter):
    connection, peer = broker.connected(adapter)
    peer.publish(Published(number=3), Published(qos=0), Published(number=4))
    taken(connection, 3)
    assert peer.packets(wait_s=0.1) == []
    connection.acknowledge()
    assert peer.numbers(PUBACK, 2) == [3, 4]
    assert connection.read() == []
    connection.close()


@ADAPTERS
def test_other_packets_among_the_messages_are_paho_s(broker, adapter):
    connection, peer = broker.connected(adapter)
    one, two = Published(number=1).encoded(), Published(number=2).encoded()
    peer.send(packet(PINGRESP) + one + packet(PINGRESP) + suback(b"\0\x63") + two + packet(PINGRESP))
    assert len(taken(connection, 2)) == 2
    assert connection.wait(0.0)
    connection.close()


@ADAPTERS
def test_qos_2_is_taken_and_its_handshake_ends(broker, adapter):
    connection, peer = broker.connected(adapter)
    peer.publish(Published(qos=2, number=9, payload=b"exactly"))
    if adapter is BulkConnection:
        assert contents(taken(connection, 1)) == [(TOPIC, b"exactly")]
        assert peer.packets(wait_s=0.1) == [], "PUBREC takes it over: not before it is on the disk"
        connection.acknowledge()
    else:
        pump(connection)
    assert peer.expect(PUBREC)[:2] == b"\0\x09"
    peer.send(packet(PUBREL, b"\0\x09", flags=2))
    if adapter is CallbackConnection:
        assert contents(taken(connection, 1)) == [(TOPIC, b"exactly")]
        connection.acknowledge()
    until(lambda: pump(connection) or (PUBCOMP, b"\0\x09") in peer.packets(wait_s=0.05), seconds=10)
    assert connection.read() == []
    connection.close()


@ADAPTERS
def test_a_message_with_an_alias_in_place_of_its_topic_is_refused_with_the_reason(broker, adapter):
    connection, peer = broker.connected(adapter)
    peer.publish(Published(number=1), Published(number=2, topic=b"", properties=b"\x23\0\1"))
    until(lambda: pump(connection) is None or not connection.wait(0.05), seconds=10)
    assert contents(connection.read()) in ([], [(TOPIC, b"{}")])
    assert (DISCONNECT, b"\x94") in peer.packets(wait_s=1.0)
    assert connection.ending is Ending.BROKEN
    assert "alias" in connection.problem


MALFORMED = {
    "QoS 3": packet(PUBLISH, string(TOPIC) + b"\0\1\0{}", flags=6),
    "nothing": packet(PUBLISH),
    "one byte": packet(PUBLISH, b"\0"),
    "a topic beyond its end": packet(PUBLISH, b"\0\xff" + TOPIC, flags=2),
    "no packet number": packet(PUBLISH, string(TOPIC), flags=2),
    "half a packet number": packet(PUBLISH, string(TOPIC) + b"\0", flags=2),
    "packet number 0": packet(PUBLISH, string(TOPIC) + b"\0\0\0{}", flags=2),
    "no properties": packet(PUBLISH, string(TOPIC) + b"\0\2", flags=2),
    "properties beyond its end": packet(PUBLISH, string(TOPIC) + b"\0\2\x09{}", flags=2),
    "long properties beyond its end": packet(PUBLISH, string(TOPIC) + b"\0\2\xff\x7f{}", flags=2),
    "properties' length of five bytes": packet(PUBLISH, string(TOPIC) + b"\0\2\x80\x80\x80\x80\x01{}", flags=2),
    "a length of five bytes": b"\x32\x80\x80\x80\x80\x01",
    "a PUBREL without a number": packet(PUBREL, b"", flags=2),
}


@pytest.mark.parametrize("after", [b"", Published(number=2).encoded()], ids=["at the end", "and more"])
@pytest.mark.parametrize("bad", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_packet_ends_the_connection_with_the_reason_and_what_came_before_it_counts(broker, bad, after):
    connection, peer = broker.connected(BulkConnection)
    peer.send(Published(number=1).encoded() + bad + after)
    assert contents(taken(connection, 1)) == [(TOPIC, b"{}")]
    connection.acknowledge()
    assert peer.numbers(PUBACK, 1) == [1]
    until(lambda: not connection.wait(0.05), seconds=10)
    assert connection.read() == []
    assert peer.expect(DISCONNECT) == b"\x81"
    assert connection.ending is Ending.BROKEN
    assert connection.problem.startswith("got a ")


@ADAPTERS
@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", b"\0" * 100, b"\xff" * 100, packet(15, b"\0\0")],
    ids=["http", "zeros", "ones", "auth"],
)
def test_what_is_no_broker_is_left_and_crashes_nothing(broker, adapter, answer):
    connection = adapter(broker.session(), lambda: NOW_NS)
    connection.open()
    peer = broker.accept()
    peer.expect(CONNECT)
    peer.send(answer)
    peer.close()
    until(lambda: pump(connection) is None or not connection.wait(0.05), seconds=10)
    assert connection.ending in (Ending.NO_ANSWER, Ending.BROKEN)
    connection.close()


KIND = st.integers(0, 15)
GARBAGE = st.one_of(
    st.binary(max_size=200),
    st.builds(packet, KIND, st.binary(max_size=60), st.integers(0, 15)),
    st.builds(lambda message, cut: message.encoded()[cut:], MESSAGES, st.integers(0, 40)),
)


@settings(max_examples=400)
@given(pieces=st.lists(GARBAGE, min_size=1, max_size=5))
def test_any_bytes_end_the_connection_or_are_taken_and_never_raise(pieces):
    with scripted() as broker:
        connection, peer = broker.connected(BulkConnection)
        peer.send(Published(number=9, payload=b"good").encoded() + b"".join(pieces))
        assert contents(taken(connection, 1))[0] == (TOPIC, b"good")
        connection.acknowledge()
        peer.close()
        until(lambda: pump(connection) is None or not connection.wait(0.0), seconds=10)
        connection.close()


@ADAPTERS
def test_acknowledgements_of_an_earlier_connection_are_dropped(broker, adapter):
    earlier, peer = broker.connected(adapter)
    peer.publish(Published(number=5), Published(number=6))
    taken(earlier, 2)
    peer.close()
    until(lambda: not (earlier.read() and earlier.wait(0.05)), seconds=10)
    earlier.acknowledge()
    later, peer = broker.connected(adapter, session_kept=True)
    assert peer.packets(wait_s=0.1) == []
    peer.publish(Published(number=1, dup=True))
    taken(later, 1)
    later.acknowledge()
    assert peer.numbers(PUBACK, 1) == [1]
    later.close()


@ADAPTERS
def test_a_session_that_another_client_takes_over_is_told_apart(broker, adapter):
    connection, peer = broker.connected(adapter)
    peer.send(packet(DISCONNECT, b"\x8e\0"))
    until(lambda: pump(connection) is None or not connection.wait(0.05), seconds=10)
    assert connection.ending is Ending.TAKEN_OVER
    assert "two collectors must not share a client id" in connection.problem


@ADAPTERS
@pytest.mark.parametrize("answer", [connack(reason=0x84), packet(2, b"\0\1")], ids=["as 5 says it", "as 3.1.1 does"])
def test_a_broker_of_another_version_is_told_apart(broker, adapter, answer):
    connection = adapter(broker.session(), lambda: NOW_NS)
    connection.open()
    peer = broker.accept()
    peer.expect(CONNECT)
    peer.send(answer)
    until(lambda: pump(connection) is None or not connection.wait(0.05), seconds=10)
    assert connection.ending is Ending.WRONG_VERSION
