"""The tests' bad link is bad in the ways that it says, and good otherwise."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.proxy import HOST, Proxy

ANSWER_S_MAX = 20.0
SILENCE_S = 0.3


@contextmanager
def echo() -> Iterator[tuple[str, int]]:
    """A server that sends back what it gets."""
    listener = socket.create_server((HOST, 0))

    def serve(client: socket.socket) -> None:
        with client, suppress(OSError):
            while part := client.recv(65536):
                client.sendall(part)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.fixture
def link() -> Iterator[Proxy]:
    with echo() as (host, port), Proxy(host, port) as proxy:
        yield proxy


def connected(link: Proxy) -> socket.socket:
    return socket.create_connection((link.host, link.port), timeout=ANSWER_S_MAX)


def received(stream: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count and (part := stream.recv(count - len(got))):
        got += part
    return got


def test_a_good_link_hands_on_everything_both_ways(link: Proxy):
    whole = bytes(range(256)) * 4096
    with connected(link) as stream:
        threading.Thread(target=stream.sendall, args=(whole,), daemon=True).start()
        assert received(stream, len(whole)) == whole
    assert link.up.passed == link.down.passed == len(whole)


def test_a_closed_end_is_told_to_the_other(link: Proxy):
    with connected(link) as stream:
        stream.sendall(b"last words")
        stream.shutdown(socket.SHUT_WR)
        assert received(stream, 100) == b"last words"


def test_a_slow_link_takes_its_time(link: Proxy):
    link.up.bytes_per_s, link.down.delay_s = 2_000, 0.2
    with connected(link) as stream:
        began_at = time.monotonic()
        stream.sendall(bytes(600))
        assert received(stream, 600) == bytes(600)
    assert time.monotonic() - began_at >= 0.4  # 600 bytes at 2000 a second, then the delay: never sooner


def test_a_cut_comes_in_the_middle(link: Proxy):
    with connected(link) as stream:
        stream.sendall(b"one")
        assert received(stream, 3) == b"one"
        link.cut(after_bytes=4)
        stream.sendall(b"two and more")
        with suppress(ConnectionError):
            assert len(received(stream, 12)) <= 4  # those that went on may have come back before the cut
    with connected(link) as stream:
        stream.sendall(b"again")
        assert received(stream, 5) == b"again"


def test_a_half_open_link_says_nothing_and_its_connections_stay_dead(link: Proxy):
    with connected(link) as before:
        before.sendall(b"one")
        assert received(before, 3) == b"one"
        link.swallow()
        with connected(link) as meanwhile:
            for stream in (before, meanwhile):
                stream.sendall(b"is anybody there?")
                stream.settimeout(SILENCE_S)
                with pytest.raises(TimeoutError):
                    stream.recv(1)
            link.heal()
            with connected(link) as after:
                after.sendall(b"yes")
                assert received(after, 3) == b"yes"
            for stream in (before, meanwhile):
                stream.sendall(b"and now?")
                with pytest.raises(TimeoutError):
                    stream.recv(1)


def test_a_refusing_link_refuses_until_it_is_healed(link: Proxy):
    link.refuse()
    with suppress(ConnectionError), connected(link) as stream:
        assert received(stream, 1) == b""
    link.heal()
    with connected(link) as stream:
        stream.sendall(b"yes")
        assert received(stream, 3) == b"yes"
