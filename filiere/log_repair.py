"""A damaged message log made anew: all that can be read, at the same offsets, and which offsets are lost.

First the way through SQLite's tree, around what it cannot read. What lies behind a damaged branch is then looked for
page by page (SQLite file format, https://www.sqlite.org/fileformat2.html): a leaf of the tree says by itself which
messages are in it.
"""

import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from filiere.errors import FiliereError, StoreRefused, StoreUnavailable
from filiere.message_log import Message, MessageLog, Unreadable
from filiere.sqlite_file import settle_damaged

PAGE_BYTES = 4096
"""Of every log that this program makes."""
CHUNK = 1000

_LEAF = 13
_HEADER_BYTES = 8
_WAL_HEADER_BYTES, _FRAME_HEADER_BYTES = 32, 24
_INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 0, 9: 0}
"""SQLite's serial types of integers; 8 and 9 are the constants 0 and 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What a repair brought."""

    kept: int
    """Messages of the new log."""
    lost: tuple[Unreadable, ...]
    """In order; the last one without an end where nothing says how much there was."""
    aside: Path
    """Where the damaged file lies now."""


def repair(
    path: Path, *, head: int, suffix: str, note: Callable[[int], None], recorded: tuple[int, int] | None = None
) -> Repaired:
    """Make the log anew from all that can be read of it, and put the damaged file aside. Nobody else may use it.

    `head` is the highest offset that anybody has seen: new messages get offsets above it. `recorded` is offset and
    record time of a message that was read from the log: one that does not have it took the place of another, and its
    messages get offsets above `head` too. `suffix` names the damaged file, `note` is told how many messages were read.

    Raises:
        StoreUnavailable: there is none; disk full.
        StoreRefused: it cannot be read or written as a file.
    """
    if not path.is_file():
        raise StoreUnavailable(f"{path}: no message log there; check FILIERE_DATA_DIR")
    new, aside = path.with_suffix(".repaired"), path.with_suffix(f".{suffix}.sqlite")
    for leftover in (new, wal_of(new), _sidecar(new, "shm")):
        leftover.unlink(missing_ok=True)
    try:
        _take_back_wal(path)
        settle_damaged(path)
        # the rest of a page that was cut off would be read as zeros, and taken for what was sent
        os.truncate(path, path.stat().st_size // PAGE_BYTES * PAGE_BYTES)
        unreadable: list[Unreadable] = []
        shift = head if recorded is not None and _is_another(path, *recorded) else 0
        with MessageLog.open(new) as log:
            read = 0
            for messages in _all_readable(path, unreadable):
                log.restore([_shifted(message, shift) for message in messages] if shift else messages)
                read += len(messages)
                note(read)
            # a beginning that cannot be read is lost; one that is not there was pruned
            from_start = shift or (unreadable and unreadable[0].first == 1)
            lost = log.close_gaps(1 if from_start else log.first() or head + 1, head)
            lost += _lost_at_the_end(unreadable, lost, shift, log.head())
            kept = log.count()
        _put_in_place(path, new, aside)
    except OSError as error:
        raise StoreRefused(f"{path}: got {error.strerror}; expected files that may be read and written") from None
    return Repaired(kept=kept, lost=lost, aside=aside)


def _is_another(path: Path, offset: int, record_time_ns: int) -> bool:
    """Whether a log can be read that far, and does not have this message."""
    try:
        with MessageLog.open_damaged(path) as log:
            if log.head() < offset:
                return True
            found = log.read(offset - 1, 1)
            if found[0].offset == offset:
                return found[0].record_time_ns != record_time_ns
            return not any(span.first <= offset <= (span.last or offset) for span in log.lost())
    except FiliereError:
        return False


def _shifted(message: Message, shift: int) -> Message:
    return Message(message.offset + shift, message.topic, message.payload, message.record_time_ns)


def _all_readable(path: Path, unreadable: list[Unreadable]) -> Iterator[Sequence[Message]]:
    """Through the tree, and from single pages what lies in the parts that the tree does not give: `unreadable`."""
    try:
        with MessageLog.open_damaged(path) as log:
            for part in log.walk(limit=CHUNK):
                if isinstance(part, Unreadable):
                    unreadable.append(part)
                else:
                    yield part
    except FiliereError:
        unreadable[:] = [Unreadable(first=1, last=None)]
    if unreadable:
        found = (message for message in messages_of_pages(path) if _within(message.offset, unreadable))
        while chunk := list(islice(found, CHUNK)):
            yield chunk


def _lost_at_the_end(
    unreadable: Sequence[Unreadable], lost: Sequence[Unreadable], shift: int, head: int
) -> tuple[Unreadable, ...]:
    """Where the end cannot be read, no message of it was found, and nobody saw how far it went."""
    if not unreadable or unreadable[-1].last is not None:
        return ()
    first = unreadable[-1].first + shift
    if head >= first or any(span.last is not None and span.last >= first for span in lost):
        return ()
    return (Unreadable(first=first, last=None),)


def _within(offset: int, spans: Sequence[Unreadable]) -> bool:
    return any(span.first <= offset and (span.last is None or offset <= span.last) for span in spans)


def _put_in_place(path: Path, new: Path, aside: Path) -> None:
    """At every instant a log is at `path`: the old one, or the new one. A `-wal` never stands beside the wrong one."""
    os.link(path, aside)
    with suppress(FileNotFoundError):
        if wal_of(path).stat().st_size:  # only where SQLite cannot open the file: else it was settled
            wal_of(path).rename(wal_of(aside))
        else:
            wal_of(path).unlink()
    _sidecar(path, "shm").unlink(missing_ok=True)
    new.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _take_back_wal(path: Path) -> None:
    """A repair that was killed while it put the files in place may have moved the `-wal` already."""
    for aside in path.parent.glob(f"{path.stem}.*{path.suffix}"):
        if wal_of(aside).exists() and not wal_of(path).exists() and aside.samefile(path):
            wal_of(aside).rename(wal_of(path))


def wal_of(path: Path) -> Path:
    """SQLite's log beside a file."""
    return _sidecar(path, "wal")


def _sidecar(path: Path, name: str) -> Path:
    return path.with_name(f"{path.name}-{name}")


def messages_of_pages(path: Path) -> Iterator[Message]:
    """Every message of every page that is a leaf of the message table, in no order, some of them twice.

    Raises OSError.
    """
    with path.open("rb") as file:
        pages = _Pages(file, _wal_pages(wal_of(path)))
        for number in range(2, pages.count + 1):
            yield from _leaf_messages(pages, number)


class _Pages:
    """Pages by number, from 1: as the `-wal` has them, else the file."""

    def __init__(self, file: BinaryIO, newer: Mapping[int, bytes]) -> None:
        self._file = file
        self._newer = newer
        size = file.seek(0, os.SEEK_END)
        self.count = max(size // PAGE_BYTES, *newer, 0) if newer else size // PAGE_BYTES

    def page(self, number: int) -> bytes:
        """Shorter than a page where the disk does not give it."""
        found = self._newer.get(number)
        if found is not None:
            return found
        try:
            self._file.seek((number - 1) * PAGE_BYTES)
            return self._file.read(PAGE_BYTES)
        except OSError:  # a bad sector
            return b""


def _wal_pages(path: Path) -> dict[int, bytes]:
    """Page number → its last committed content in the `-wal`; none when there is no such file."""
    committed: dict[int, bytes] = {}
    pending: dict[int, bytes] = {}
    try:
        with path.open("rb") as file:
            salts = file.read(_WAL_HEADER_BYTES)[16:24]
            while len(frame := file.read(_FRAME_HEADER_BYTES + PAGE_BYTES)) == _FRAME_HEADER_BYTES + PAGE_BYTES:
                number, size_after_commit = struct.unpack_from(">II", frame)
                if frame[8:16] != salts:
                    break
                pending[number] = frame[_FRAME_HEADER_BYTES:]
                if size_after_commit:
                    committed |= pending
                    pending = {}
    except OSError:
        return committed
    return committed


def _leaf_messages(pages: _Pages, number: int) -> Iterator[Message]:
    page = pages.page(number)
    if len(page) < PAGE_BYTES or page[0] != _LEAF:
        return
    (cells,) = struct.unpack_from(">H", page, 3)
    if _HEADER_BYTES + 2 * cells > PAGE_BYTES:
        return
    for place in struct.unpack_from(f">{cells}H", page, _HEADER_BYTES):
        try:
            message = _cell_message(pages, page, place)
        except (IndexError, ValueError, struct.error):
            continue  # not a cell of the message table, or one that is damaged
        yield message


def _cell_message(pages: _Pages, page: bytes, place: int) -> Message:
    """Raises IndexError, ValueError, struct.error: it is none."""
    size, place = _varint(page, place)
    offset, place = _varint(page, place)
    record = _payload(pages, page, place, size)
    header_size, at = _varint(record, 0)
    kinds = []
    while at < header_size:
        kind, at = _varint(record, at)
        kinds.append(kind)
    null, topic_kind, payload_kind, time_kind = kinds
    if null != 0 or any(kind < 12 or kind % 2 for kind in (topic_kind, payload_kind)):
        raise ValueError("not a message")
    topic_end = header_size + (topic_kind - 12) // 2
    payload_end = topic_end + (payload_kind - 12) // 2
    if time_kind not in _INTEGER_BYTES or payload_end + _INTEGER_BYTES[time_kind] != size or offset <= 0:
        raise ValueError("not a message")
    number = int.from_bytes(record[payload_end:], signed=True) if _INTEGER_BYTES[time_kind] else time_kind - 8
    return Message(offset, record[header_size:topic_end], record[topic_end:payload_end], number)


def _payload(pages: _Pages, page: bytes, place: int, size: int) -> bytes:
    """A cell's record: in the page, or begun there and continued in a chain of pages."""
    usable = PAGE_BYTES
    longest, shortest = usable - 35, (usable - 12) * 32 // 255 - 23
    local = size
    if size > longest:
        local = shortest + (size - shortest) % (usable - 4)
        local = local if local <= longest else shortest
    record = page[place : place + local]
    if local == size:
        return _whole(record, size)
    (following,) = struct.unpack_from(">I", page, place + local)
    parts, got = [record], len(record)
    while got < size:
        more = pages.page(following)
        if following < 2 or len(more) < usable:
            raise ValueError("its end is not there")
        (following,) = struct.unpack_from(">I", more)
        parts.append(more[4 : 4 + size - got])
        got += len(parts[-1])
    return _whole(b"".join(parts), size)


def _whole(record: bytes, size: int) -> bytes:
    if len(record) != size:
        raise ValueError("its end is not there")
    return record


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """SQLite's integers: 7 bits a byte, high bits first, the ninth byte whole. The number, and where it ends."""
    number = 0
    for length in range(8):
        byte = data[at + length]
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            return number, at + length + 1
    return number << 8 | data[at + 8], at + 9
