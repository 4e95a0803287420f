"""MQTT by hand, as cheap as it goes, so that what is measured is the other side: a publisher, and a null subscriber.

Both are processes of their own. The publisher's packets are made before it is told to go; in MQTT 3.1.1 every PUBACK
has 4 bytes, so acknowledgements are counted and not read. The subscriber takes packets of one length, acknowledges all
of a receive at once and stores nothing: what broker and publisher reach alone.
"""

import multiprocessing
import select
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from multiprocessing.sharedctypes import RawArray
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

RECEIVE_BYTES = 256 * 1024
WINDOW = 2_000
"""Messages on their way to the broker without a PUBACK."""
PACKET_IDS = 65_535
PUBACK_BYTES = 4
TICK_S = 0.001
WAIT_S = 60.0
"""Longest silence of the broker before something is wrong."""
_SPAWN = multiprocessing.get_context("spawn")


class Stream(Protocol):
    """What a device sends: its payloads by their number, 0, 1, …"""

    def topic(self, number: int) -> str:
        """Where the message goes."""
        ...

    def payload(self, number: int) -> bytes:
        """What is in it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is published, and how fast."""

    host: str
    port: int
    stream: Stream
    first: int = 0
    """Number of the first message."""
    count: int
    rate: float | None = None
    """Messages a second; None = as fast as the broker takes them."""
    block: int | None = None
    """Messages that are encoded at once; None = all of them, before the start."""


class Publishing:
    """A process that publishes a load at QoS 1. It is ready, and waits for `go`, when the object is made."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._went = RawArray("q", load.count)
        self._ready, self._go = _SPAWN.Event(), _SPAWN.Event()
        self._process = _SPAWN.Process(target=_publish, args=(load, self._went, self._ready, self._go), daemon=True)
        self._process.start()
        if not self._ready.wait(WAIT_S):
            raise TimeoutError("the publisher did not get ready")

    def go(self) -> None:
        """Begin."""
        self._go.set()

    def wait(self) -> None:
        """Return when the broker has acknowledged everything."""
        self._process.join()
        if self._process.exitcode:
            raise RuntimeError(f"the publisher ended with code {self._process.exitcode}")

    def stop(self) -> None:
        """End it, done or not."""
        self._process.terminate()
        self._process.join()

    @property
    def sent_ns(self) -> npt.NDArray[np.int64]:
        """When each message was handed to the kernel, ns of the monotonic clock; 0 = not yet."""
        return np.frombuffer(self._went, np.int64)


def publish(load: Load) -> None:
    """Publish from this very process, and return when all is acknowledged."""
    times = np.zeros(load.count, np.int64)
    with _connected(load.host, load.port, _client_id("publisher")) as stream:
        _send(stream, load, _encoded(load, 0), times)


def _publish(load: Load, went: Any, ready: Any, go: Any) -> None:
    with _connected(load.host, load.port, _client_id("publisher")) as stream:
        packets = _encoded(load, 0)
        ready.set()
        go.wait()
        _send(stream, load, packets, np.frombuffer(went, np.int64))


def _send(stream: socket.socket, load: Load, packets: Sequence[bytes], times: npt.NDArray[np.int64]) -> None:
    began_s, done = time.monotonic(), 0
    while packets:
        _send_block(stream, load, packets, done, began_s, times)
        done += len(packets)
        packets = _encoded(load, done)


def _encoded(load: Load, done: int) -> Sequence[bytes]:
    """The next block; empty at the end."""
    return [
        publish_packet(
            load.stream.topic(load.first + number),
            load.stream.payload(load.first + number),
            packet_id=1 + number % PACKET_IDS,
        )
        for number in range(done, min(done + (load.block or load.count), load.count))
    ]


def _send_block(
    stream: socket.socket,
    load: Load,
    packets: Sequence[bytes],
    done: int,
    began_s: float,
    times: npt.NDArray[np.int64],
) -> None:
    """Send, at the load's rate and never more than WINDOW ahead of the PUBACKs; return when all are acknowledged."""
    ends = [0, *accumulate(map(len, packets))]
    whole = memoryview(b"".join(packets))
    sent = acknowledged_bytes = 0
    while (acknowledged := acknowledged_bytes // PUBACK_BYTES) < len(packets):
        upto = min(acknowledged + WINDOW, len(packets))
        if load.rate is not None:
            upto = min(upto, int((time.monotonic() - began_s) * load.rate) - done)
        if upto > sent:
            stream.sendall(whole[ends[sent] : ends[upto]])
            times[done + sent : done + upto] = time.monotonic_ns()
            sent = upto
        wait_s = WAIT_S if load.rate is None or sent == len(packets) else TICK_S
        if select.select([stream], [], [], wait_s)[0]:
            more = stream.recv(RECEIVE_BYTES)
            if not more:
                raise ConnectionError("the broker closed the publisher's connection")
            acknowledged_bytes += len(more)
        elif wait_s == WAIT_S:
            raise TimeoutError(f"the broker acknowledged {acknowledged} of {len(packets)} messages, then nothing")


def publish_packet(topic: str, payload: bytes, *, packet_id: int) -> bytes:
    """A PUBLISH at QoS 1, MQTT 3.1.1."""
    name = topic.encode()
    body = struct.pack(">H", len(name)) + name + struct.pack(">H", packet_id) + payload
    return b"\x32" + _length(len(body)) + body


class NullSubscriber:
    """A process that acknowledges at once and keeps nothing. It has subscribed when the object is made."""

    def __init__(self, host: str, port: int, topic: str, *, packet_bytes: int) -> None:
        self._taken = RawArray("q", 1)
        ready = _SPAWN.Event()
        arguments = (host, port, topic, packet_bytes, self._taken, ready)
        self._process = _SPAWN.Process(target=_subscribe, args=arguments, daemon=True)
        self._process.start()
        if not ready.wait(WAIT_S):
            raise TimeoutError("the subscriber did not get ready")

    @property
    def taken(self) -> int:
        """Messages acknowledged."""
        return int(self._taken[0])

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.join()


def _subscribe(host: str, port: int, topic: str, packet_bytes: int, taken: Any, ready: Any) -> None:
    name = topic.encode()
    with _connected(host, port, _client_id("null")) as stream:
        body = b"\x00\x01" + struct.pack(">H", len(name)) + name + b"\x01"
        stream.sendall(b"\x82" + _length(len(body)) + body)
        if stream.recv(5) != b"\x90\x03\x00\x01\x01":
            raise ConnectionError("the broker refuses the subscription")
        ready.set()
        id_at = 1 + len(_length(packet_bytes)) + 2 + len(name)
        kept = b""
        while more := stream.recv(RECEIVE_BYTES):
            kept += more
            whole = len(kept) // packet_bytes
            packets = np.frombuffer(kept, np.uint8, whole * packet_bytes).reshape(whole, packet_bytes)
            if not (packets[:, 0] & 0xF0 == 0x30).all():
                raise ConnectionError("got a packet of another length")
            acknowledgements = np.empty((whole, PUBACK_BYTES), np.uint8)
            acknowledgements[:, :2] = 0x40, 2
            acknowledgements[:, 2:] = packets[:, id_at : id_at + 2]
            stream.sendall(acknowledgements.tobytes())
            taken[0] += whole
            kept = kept[whole * packet_bytes :]


def forget_session(host: str, port: int, client_id: str) -> None:
    """Make the broker drop what it keeps for a client."""
    _connected(host, port, client_id).close()


def _connected(host: str, port: int, client_id: str) -> socket.socket:
    """A clean session, no keepalive. The broker's CONNACK has been read."""
    stream = socket.create_connection((host, port))
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    name = client_id.encode()
    body = b"\x00\x04MQTT\x04\x02\x00\x00" + struct.pack(">H", len(name)) + name
    stream.sendall(b"\x10" + _length(len(body)) + body)
    if stream.recv(4) != b"\x20\x02\x00\x00":
        stream.close()
        raise ConnectionError("the broker refuses the connection")
    return stream


def _client_id(kind: str) -> str:
    return f"bench-{kind}-{time.monotonic_ns()}"


def _length(size: int) -> bytes:
    """MQTT's variable byte integer."""
    coded = bytearray()
    while True:
        size, low = divmod(size, 128)
        coded.append(low | (0x80 if size else 0))
        if not size:
            return bytes(coded)
