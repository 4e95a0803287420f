"""The fast way in: many PUBLISH packets out of one receive, all their acknowledgements in one write.

paho still connects, subscribes, keeps alive and says goodbye: every packet that is not a PUBLISH is handed to it whole.
"""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass

import paho.mqtt.client as paho

from collector.broker import Broker
from collector.intake.connection import (
    BATCH_BYTES_MAX,
    BATCH_MESSAGES_MAX,
    MQTT_5,
    NO_ALIASES,
    Logged,
    PahoConnection,
    Reason,
    Session,
    Version,
    client_arguments,
)
from filiere.clock import Clock

RECEIVE_BYTES = 256 * 1024
RECORD_STEP_NS = 1_000
"""Record times are at least this far apart, so that rows which stand at the time of their arrival (record time + seq
mod 1000 ns) never share an instant."""
_AHEAD_NS_MAX = 1_000_000_000
"""Record times may run ahead of the clock for that by less than this; more, and the clock was set back."""

PUBLISH, PUBREL = 3, 6
PUBACK, PUBREC, PUBCOMP = b"\x40\x02", b"\x50\x02", b"\x70\x02"
"""An acknowledgement up to its packet number: type, and two more bytes (MQTT 5, 3.4.2.1: no reason = success)."""
QOS_1, QOS_2 = 2, 4
"""In bits 2 and 1 of a PUBLISH's first byte."""
_NO_NUMBER = b"\0\0"
_INTEGER_BYTES_MAX = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """Why nothing more can be understood of what a broker sends."""

    reason: Reason
    problem: str


class _Malformed(Exception):
    """The packet is not what MQTT says; the text tells in what."""


class BulkClient(paho.Client):
    """A paho client whose socket is read by `receive` alone.

    Of paho's insides it knows two: `_sock_recv`, by which paho is given the packets that are its own, and
    `_packet_queue`, by which bytes are sent.
    """

    def __init__(self, broker: Broker, version: Version, clock: Clock) -> None:
        super().__init__(**client_arguments(broker, version))
        self.batch: list[Logged] = []
        self.batch_bytes = 0
        self.broken: Broken | None = None
        self._clock = clock
        self._now_ns = 0
        """Record time of the next message."""
        self._to_puback: list[bytes] = []
        self._to_pubrec: list[bytes] = []
        self._parts: list[bytes] = []
        """The beginning of a packet whose end has not arrived."""
        self._missing = 0
        """Bytes without which that packet is not looked at again."""
        self._for_paho = b""
        self._at_end = False

    def receive(self) -> bool:
        """Take what one receive gives into `batch`, and give paho what is its own. False when there is no more now."""
        socket = self.socket()
        if socket is None or self.broken is not None:
            return False
        try:
            received = socket.recv(RECEIVE_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError:
            received = b""
        if not received:
            self._at_end = True
            self.loop_read()  # where paho sees the end as its own
            return False
        self.batch_bytes += len(received)
        self._parts.append(received)
        self._missing -= len(received)
        if self._missing <= 0:
            whole = received if len(self._parts) == 1 else b"".join(self._parts)
            self._parts.clear()
            self._take(whole)
        return len(received) == RECEIVE_BYTES or isinstance(socket, ssl.SSLSocket)  # TLS gives 16 KiB at a time

    def acknowledge(self) -> None:
        """Acknowledge the batch in one write, in the order of arrival."""
        packets = b""
        if self._to_puback:
            packets = PUBACK + PUBACK.join(self._to_puback)
        if self._to_pubrec:
            packets += PUBREC + PUBREC.join(self._to_pubrec)
        self.batch.clear()
        self._to_puback.clear()
        self._to_pubrec.clear()
        self.batch_bytes = 0
        if packets:
            self._packet_queue(packets[0], packets, 0, 0)

    # PUBLISH (MQTT 5, 3.3), which 3.1.1 has without the properties:
    #
    #   1      0011 dup qos qos retain
    #   1..4   length of what follows, 7 bits a byte, low ones first; the high bit says that there is another byte
    #   2 + n  topic
    #   2      packet number, with QoS 1 and 2
    #   1..4+n properties
    #   ...    payload
    def _take_plain(self, data: bytes, at: int) -> int:
        """Take PUBLISH packets of QoS 0 and 1 from `at` on; returns the place of the first that is something else.

        What is rare is not decided here: packets that are long or not whole, long properties, and what is wrong.
        """
        size, five, now_ns = len(data), self.protocol == MQTT_5, self._now_ns
        take, number_of = self.batch.append, self._to_puback.append
        try:
            while True:
                first, length, body = data[at], data[at + 1], at + 2
                if length > 0x7F:
                    high = data[body]
                    if high > 0x7F:
                        break
                    length += (high - 1) << 7
                    body += 1
                end = body + length
                if first & 0xF4 != 0x30 or end > size:
                    break
                topic = body + 2
                number = payload = topic + (data[body] << 8) + data[body + 1]
                if first & QOS_1:
                    payload += 2
                if five:
                    properties = data[payload]
                    if properties > 0x7F:
                        break
                    payload += 1 + properties
                if payload > end or number == topic:
                    break
                if first & QOS_1:
                    packet_number = data[number : number + 2]
                    if packet_number == _NO_NUMBER:
                        break
                    number_of(packet_number)
                take((data[topic:number], data[payload:end], now_ns))
                now_ns += RECORD_STEP_NS
                at = end
        except IndexError:
            pass  # the last packet ends elsewhere
        self._now_ns = now_ns
        return at

    def _take(self, data: bytes) -> None:
        """Take every whole packet of `data`, and keep the beginning of the last one."""
        at, size, now_ns = 0, len(data), self._clock()
        if not 0 < self._now_ns - now_ns < _AHEAD_NS_MAX:
            self._now_ns = now_ns
        try:
            while self.broken is None and self.socket() is not None:
                at = self._take_plain(data, at)
                body, end = _bounds(data, at)
                if end > size:
                    self._missing = end - size
                    if at < size:
                        self._parts.append(data[at:])
                    return
                kind = data[at] >> 4
                if kind == PUBLISH:
                    self._take_publish(data[at], data[body:end])
                elif kind == PUBREL:
                    self._answer_pubrel(data[body:end])
                else:
                    self._for_paho = data[at:end]
                    self.loop_read()
                at = end
        except _Malformed as malformed:
            # the good ones before it stay in the batch: they are acknowledged first
            self.broken = Broken(reason=Reason.MALFORMED_PACKET, problem=str(malformed))

    def _take_publish(self, first: int, packet: bytes) -> None:
        """Any PUBLISH, with care. Also QoS 2 is answered when it is on the disk; what is sent again is logged again."""
        qos = first & (QOS_1 | QOS_2)
        if qos == QOS_1 | QOS_2:
            raise _Malformed("got a PUBLISH of QoS 3; expected 0 to 2")
        topic_end = 2 + int.from_bytes(packet[:2], "big")
        payload = topic_end + (2 if qos else 0)
        if len(packet) < 2 or payload > len(packet):
            raise _Malformed(f"got a PUBLISH of {len(packet)} bytes that ends within its topic or packet number")
        number = packet[topic_end:payload]
        if qos and number == _NO_NUMBER:
            raise _Malformed("got a PUBLISH with packet number 0; expected 1 or more")
        if self.protocol == MQTT_5:
            length, behind = _integer(packet, payload, "PUBLISH's properties")
            payload = behind + length
            if not behind or payload > len(packet):
                raise _Malformed(f"got a PUBLISH of {len(packet)} bytes that ends within its properties")
        if topic_end == 2:
            self.broken = Broken(reason=Reason.TOPIC_ALIAS_INVALID, problem=NO_ALIASES)
            return
        self.batch.append((packet[2:topic_end], packet[payload:], self._now_ns))
        self._now_ns += RECORD_STEP_NS
        if qos:
            (self._to_puback if qos == QOS_1 else self._to_pubrec).append(number)

    def _answer_pubrel(self, packet: bytes) -> None:
        """The end of QoS 2: what it asks about was on the disk before our PUBREC."""
        if len(packet) < 2:
            raise _Malformed("got a PUBREL without a packet number")
        self._packet_queue(PUBCOMP[0], PUBCOMP + packet[:2], 0, 0)

    def _sock_recv(self, bufsize: int) -> bytes:
        """What paho reads: the one packet that it is handed, or the end."""
        taken, self._for_paho = self._for_paho[:bufsize], self._for_paho[bufsize:]
        if not taken and not self._at_end:
            raise BlockingIOError
        return taken


def _bounds(data: bytes, at: int) -> tuple[int, int]:
    """Where the packet at `at` has its body, and where it ends: beyond `data` when it has not all arrived.

    Raises:
        _Malformed: its length has more than four bytes.
    """
    length, body = _integer(data, at + 1, "packet")
    return (body, body + length) if body else (0, len(data) + 1)


def _integer(data: bytes, at: int, of: str) -> tuple[int, int]:
    """A variable byte integer (MQTT 5, 1.5.5), and the place behind it; place 0 when it does not end within `data`.

    Raises:
        _Malformed: it has more than four bytes.
    """
    value = 0
    for place, byte in enumerate(data[at : at + _INTEGER_BYTES_MAX]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    if len(data) - at >= _INTEGER_BYTES_MAX:
        raise _Malformed(f"got a length of the {of} of more than {_INTEGER_BYTES_MAX} bytes")
    return 0, 0


class BulkConnection(PahoConnection):
    """A connection over `BulkClient`: what the intake uses."""

    _client: BulkClient

    def __init__(self, session: Session, clock: Clock, version: Version = MQTT_5) -> None:
        super().__init__(session, BulkClient(session.broker, version, clock), version)

    def wait(self, wait_s: float) -> bool:
        """As the port says."""
        if self._client.broken is not None:
            self._leave(self._client.broken.reason, self._client.broken.problem)
            return False
        return super().wait(wait_s)

    def read(self) -> Sequence[Logged]:
        """As the port says."""
        client = self._client
        # a packet that is larger than a batch is received to its end: until then there is nothing to put on the disk
        while not client.batch or (len(client.batch) < BATCH_MESSAGES_MAX and client.batch_bytes < BATCH_BYTES_MAX):
            if not client.receive():
                break
        return client.batch

    def acknowledge(self) -> None:
        """As the port says."""
        self._client.acknowledge()
