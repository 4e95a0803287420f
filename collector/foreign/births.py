"""Where Sparkplug's birth certificates outlive the process that read them. No Protocol Buffers here."""

from collections.abc import Iterable
from typing import Protocol

BIRTHS_MAX = 64
"""Births and deaths that are kept of a node and of each of its devices: the newest."""

Birth = tuple[bytes, int, bytes]
"""Whose (`group/node[/device]`), the offset of its message, and what is to be remembered of it."""


class Births(Protocol):
    """Births and deaths by the offset of their message."""

    def births(self, owner: bytes) -> Iterable[tuple[int, bytes]]:
        """(offset, body) of all that are kept of a node or device."""

    def put_birth(self, owner: bytes, offset: int, body: bytes) -> None:
        """Keep one, in place of one of the same offset."""


class Kept(Protocol):
    """The book, as far as births go."""

    def births(self, owner: bytes) -> Iterable[tuple[int, bytes]]:
        """(offset, body) of all that are committed."""


class MemoryBirths:
    """Births that live as long as the process."""

    def __init__(self) -> None:
        self._kept: dict[bytes, dict[int, bytes]] = {}

    def births(self, owner: bytes) -> Iterable[tuple[int, bytes]]:
        """(offset, body) of the newest ones."""
        return tuple(self._kept.get(owner, {}).items())

    def put_birth(self, owner: bytes, offset: int, body: bytes) -> None:
        """Keep one; of each owner the BIRTHS_MAX newest."""
        kept = self._kept.setdefault(owner, {})
        kept[offset] = body
        if len(kept) > BIRTHS_MAX:
            del kept[min(kept)]


class BookBirths:
    """Read from the recorder's book; what is new waits for the commit of the chunk that it came in."""

    def __init__(self, book: Kept) -> None:
        self._book = book
        self._new: list[Birth] = []
        self._taken: list[Birth] = []
        """Of the chunk before, which may not be committed yet."""

    def births(self, owner: bytes) -> Iterable[tuple[int, bytes]]:
        """Committed ones, and those of this chunk and the one before."""
        yield from self._book.births(owner)
        yield from ((offset, body) for of_whom, offset, body in (*self._taken, *self._new) if of_whom == owner)

    def put_birth(self, owner: bytes, offset: int, body: bytes) -> None:
        """Keep one with the next commit."""
        self._new.append((owner, offset, body))

    def take_new(self) -> list[Birth]:
        """What came since the last call: for the record of a chunk."""
        self._taken, self._new = self._new, []
        return self._taken
