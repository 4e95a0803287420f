"""A broker that says exactly the bytes that a test gives it, on the test's own thread."""

import select
import socket
from contextlib import contextmanager
from dataclasses import dataclass

from collector.broker import Broker
from collector.intake.connection import MQTT_5, Session
from tests.collector.mqtt import until

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK = range(1, 12)
PINGREQ, PINGRESP, DISCONNECT = 12, 13, 14
NOW_NS = 1_795_425_247_000_000_000
TOPIC = b"filiere/v1/caux/textile/t1/extruder/readings"


def integer(value):
    """A variable byte integer."""
    out = bytearray()
    while True:
        value, low = divmod(value, 128)
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def packet(kind, body=b"", flags=0):
    return bytes([kind << 4 | flags]) + integer(len(body)) + body


def string(text):
    return len(text).to_bytes(2, "big") + text


@dataclass(frozen=True, kw_only=True)
class Published:
    topic: bytes = TOPIC
    payload: bytes = b"{}"
    number: int = 1
    qos: int = 1
    retain: bool = False
    dup: bool = False
    properties: bytes = b""

    def encoded(self, version=MQTT_5):
        body = string(self.topic)
        if self.qos:
            body += self.number.to_bytes(2, "big")
        if version == MQTT_5:
            body += integer(len(self.properties)) + self.properties
        return packet(PUBLISH, body + self.payload, self.dup << 3 | self.qos << 1 | self.retain)


class Peer:
    """The broker's end of one connection."""

    def __init__(self, link, version):
        self._link = link
        self._version = version
        self._received = b""

    def send(self, data):
        self._link.sendall(data)

    def publish(self, *messages):
        self.send(b"".join(message.encoded(self._version) for message in messages))

    def close(self):
        self._link.close()

    def packets(self, *, wait_s=0.0):
        """(kind, body) of what the client has sent until now; waits for the first."""
        while select.select([self._link], [], [], wait_s)[0]:
            wait_s = 0.0
            try:
                data = self._link.recv(1 << 20)
            except ConnectionResetError:
                break
            if not data:
                break
            self._received += data
        found, self._received = parsed(self._received)
        return found

    def expect(self, kind):
        """The body of the next packet, which must be of this kind."""
        found = []
        until(lambda: found.extend(self.packets(wait_s=0.05)) or found, seconds=10)
        assert [each[0] for each in found] == [kind]
        return found[0][1]

    def numbers(self, kind, count):
        """Packet numbers of the next `count` acknowledgements, which are all of this kind."""
        found = []
        until(lambda: found.extend(self.packets(wait_s=0.05)) or len(found) >= count, seconds=20, why=lambda: found)
        assert {each[0] for each in found} <= {kind}
        return [int.from_bytes(body[:2], "big") for _, body in found]


def parsed(data):
    """Whole packets, and what is left."""
    found = []
    while len(data) >= 2:
        length = shift = 0
        for place in range(1, min(5, len(data))):
            length |= (data[place] & 0x7F) << shift
            shift += 7
            if data[place] < 0x80:
                break
        else:
            break
        start = place + 1
        if start + length > len(data):
            break
        found.append((data[0] >> 4, data[start : start + length]))
        data = data[start + length :]
    return found, data


class ScriptedBroker:
    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open = [self._listener]

    def close(self):
        for each in self._open:
            each.close()

    @property
    def broker(self):
        host, port = self._listener.getsockname()
        return Broker(host=host, port=port, client_id="scripted")

    def session(self, **arguments):
        return Session(broker=self.broker, **{"filters": ("filiere/v1/+/+/+/+/readings",), **arguments})

    def accept(self, version=MQTT_5):
        self._listener.settimeout(20)
        link, _ = self._listener.accept()
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.settimeout(20)
        self._open.append(link)
        return Peer(link, version)

    def connected(self, adapter, version=MQTT_5, *, session_kept=False, **arguments):
        """An open connection that has its CONNACK and SUBACK, and the broker's end of it."""
        connection = adapter(self.session(**arguments), lambda: NOW_NS, version)
        connection.open()
        peer = self.accept(version)
        peer.expect(CONNECT)
        peer.send(connack(version, session_kept=session_kept))
        pump(connection, lambda: peer.send(suback(peer.expect(SUBSCRIBE), version)))
        until(lambda: pump(connection) or connection.ending.name == "LOST")
        return connection, peer


def connack(version=MQTT_5, *, session_kept=False, reason=0):
    return packet(CONNACK, bytes([session_kept, reason]) + (b"\0" if version == MQTT_5 else b""))


def suback(subscribe, version=MQTT_5, reasons=b"\1"):
    return packet(SUBACK, subscribe[:2] + (b"\0" if version == MQTT_5 else b"") + reasons)


def pump(connection, then=lambda: None):
    """Let the connection do what it can now; its batch."""
    connection.wait(0.05)
    batch = list(connection.read())
    connection.wait(0.0)  # what a callback asked to be sent
    then()
    return batch


def taken(connection, count):
    """The batch, once it has this many messages."""
    batch = []

    def all_there():
        batch[:] = connection.read()
        return len(batch) >= count or not connection.wait(0.05)

    until(all_there, seconds=30, why=lambda: f"got {len(batch)} of {count}")
    return batch


@contextmanager
def scripted():
    broker = ScriptedBroker()
    try:
        yield broker
    finally:
        broker.close()
