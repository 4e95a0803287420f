"""A TCP link that can be made bad while it is in use: slow, late, cut in the middle of a packet, or silently dead.

    with Proxy(server.host, server.port) as link:
        ...                               # connect to link.host, link.port
        link.up.bytes_per_s = 2_000       # a trickle, towards the server
        link.down.delay_s = 0.2           # each byte that much later, towards the client
        link.cut(after_bytes=100)         # every connection, in the middle of what it is sending
        link.swallow()                    # half-open: accepts, takes everything, answers nothing
        link.heal()                       # as new, for connections that are made from now on

`up` is towards the server, `down` towards the client; what is set there holds for connections that are open, too.
"""

import select
import socket
import struct
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

HOST = "127.0.0.1"
RECEIVE_BYTES = 64 * 1024
HELD_BYTES_MAX = 1024 * 1024
"""Bytes on their way in one direction, at most; beyond it the sender is not read: backpressure, as on a real link."""
TICK_S = 0.01
CONNECT_S_MAX = 5.0
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing sends RST, as a link that is torn off."""


@dataclass(slots=True)
class Direction:
    """How one direction is; may be changed at any time."""

    delay_s: float = 0.0
    bytes_per_s: float | None = None
    """None = as fast as it goes."""
    passed: int = 0
    """Bytes handed on so far, by all connections."""


class Proxy:
    """Listens on a loopback port of its own and hands on to one server. Closed on exit, with all connections."""

    def __init__(self, host: str, port: int) -> None:
        self.up, self.down = Direction(), Direction()
        self.connected = 0
        """Connections accepted so far."""
        self.cuts = 0
        """How often all connections ended in mid-flight, as `cut` was told."""
        self._server = (host, port)
        self._swallows = self._refuses = False
        self._bytes_left: int | None = None
        self._links: list[_Link] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server((HOST, 0))
        self.host = HOST
        self.port: int = self._listener.getsockname()[1]
        self._stopped = False
        self._thread = threading.Thread(target=self._accept, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        self._thread.join()
        self._listener.close()
        self.cut()

    def cut(self, *, after_bytes: int | None = None) -> None:
        """Reset every connection: at once, or in mid-flight when so many more bytes have gone up or down in all."""
        if after_bytes is not None:
            with self._lock:
                self._bytes_left = after_bytes
            return
        for link in self._open():
            link.reset()

    def hand_on(self, sink: socket.socket, part: bytes, direction: Direction) -> int:
        """Send some bytes on, up to the cut; how many it were."""
        with self._lock:
            left = self._bytes_left
            allowed = len(part) if left is None else min(left, len(part))
            is_cut = left is not None and allowed == left
            if is_cut:
                self._bytes_left = None
            elif left is not None:
                self._bytes_left = left - allowed
        sink.sendall(part[:allowed])
        direction.passed += allowed
        if is_cut:
            self.cuts += 1
            self.cut()
        return allowed

    def swallow(self) -> None:
        """Take bytes and hand on none, without a word to either side. Open connections never come back to life."""
        self._swallows = True
        for link in self._open():
            link.dead = True

    def refuse(self) -> None:
        """Reset every connection, and every new one."""
        self._refuses = True
        self.cut()

    def heal(self) -> None:
        """As new. Connections that were swallowed stay dead: bytes of theirs are lost."""
        self._swallows = self._refuses = False
        for direction in (self.up, self.down):
            direction.delay_s, direction.bytes_per_s = 0.0, None

    def _open(self) -> "list[_Link]":
        with self._lock:
            self._links = [link for link in self._links if link.is_open]
            return list(self._links)

    def _accept(self) -> None:
        while not self._stopped:
            if not select.select([self._listener], [], [], TICK_S)[0]:
                continue
            client, _ = self._listener.accept()
            self.connected += 1
            if self._refuses:
                _reset(client)
                continue
            link = _Link(self, client, self._server, dead=self._swallows)
            with self._lock:
                self._links.append(link)
            link.start()


class _Link:
    """One connection: a thread that connects to the server and one a direction."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: tuple[str, int], *, dead: bool) -> None:
        self.dead = dead
        self.is_open = True
        self._client = client
        self._address = server
        self._server: socket.socket | None = None
        self._proxy = proxy
        self._ending = threading.Lock()

    def start(self) -> None:
        threading.Thread(target=self._serve, name="proxy connection", daemon=True).start()

    def reset(self) -> None:
        with self._ending:
            self.is_open = False
            for end in (self._client, self._server):
                if end is not None:
                    _reset(end)

    def _serve(self) -> None:
        try:
            self._server = socket.create_connection(self._address, timeout=CONNECT_S_MAX)
        except OSError:
            self.reset()
            return
        with suppress(OSError):  # reset meanwhile
            self._server.settimeout(None)
            for end in (self._client, self._server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=self._pump, args=(self._server, self._client, self._proxy.down), daemon=True)
        back.start()
        self._pump(self._client, self._server, self._proxy.up)
        back.join()
        self.reset()

    def _pump(self, source: socket.socket, sink: socket.socket, direction: Direction) -> None:
        """Hand on until one end closes. A swallowed connection stays open, and takes what comes."""
        held: deque[tuple[float, bytes]] = deque()
        ended = False
        with suppress(OSError, ValueError):  # the second: a socket that was reset meanwhile
            while self.is_open and not (ended and not held):
                room = not ended and sum(len(part) for _, part in held) < HELD_BYTES_MAX
                if not room:
                    time.sleep(TICK_S / 10)
                elif select.select([source], [], [], TICK_S / 10 if held else TICK_S)[0]:
                    part = source.recv(RECEIVE_BYTES)
                    ended = not part
                    if part and not self.dead:
                        held.append((time.monotonic() + direction.delay_s, part))
                if self.dead:
                    held.clear()
                    if ended:
                        return
                    continue
                self._hand_on(held, sink, direction)
            if ended and not self.dead and self.is_open:
                sink.shutdown(socket.SHUT_WR)
            return
        self.reset()

    def _hand_on(self, held: deque[tuple[float, bytes]], sink: socket.socket, direction: Direction) -> None:
        """What is due, no faster than the direction allows, up to the cut."""
        while held and held[0][0] <= time.monotonic() and not self.dead:
            due_at, part = held.popleft()
            allowed = len(part)
            if direction.bytes_per_s is not None:
                allowed = min(allowed, max(1, int(direction.bytes_per_s * TICK_S)))
            allowed = self._proxy.hand_on(sink, part[:allowed], direction)
            if allowed < len(part):
                held.appendleft((due_at, part[allowed:]))
            if direction.bytes_per_s is not None:
                time.sleep(allowed / direction.bytes_per_s)
                return


def _reset(end: socket.socket) -> None:
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)  # wakes who waits for it
    end.close()
