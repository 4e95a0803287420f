"""What was put and has no receipt yet, in one SQLite file: a COMMIT that returned survives a power cut."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Self

from .file import MESSAGE_BYTES, Status, connect, only_one, read_status, translated
from .wire import (
    EVENTS,
    PAYLOAD_BYTES_MAX,
    READINGS,
    ROWS_MAX,
    SEQ_MAX,
    OutboxFull,
    OutboxUnusable,
    Receipt,
    check_boot,
    check_device,
    event_payload,
    readings_payloads,
    refuse_unless,
    row_body,
    shown,
)

BYTES_MAX = 256 * 1024 * 1024
"""What waits may take, unless another limit is given."""
READ_BYTES = 4 * 1024 * 1024
"""Of one read, about."""
DROPPED_AT_ONCE = 100
ROW = "row"
"""Kind of a row that is kept bare: it becomes part of a payload when it is sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbered:
    """A message whose sender numbers its rows itself: `payload` holds `boot` and `seq` already."""

    device: str
    """`site/workshop/line/device`."""
    kind: str
    """`readings` or `events`."""
    boot: str
    seq: int
    rows: int
    payload: bytes


@dataclass(slots=True)
class Source:
    """One boot of one device."""

    device: str
    boot: str
    waiting: int = 0
    """Messages that are kept."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A message that is kept."""

    id: int
    """In the order in which they were put."""
    source: int
    first: int
    last: int
    kind: str
    body: bytes


@dataclass(slots=True)
class _Size:
    messages: int = 0
    rows: int = 0
    bytes: int = 0


class Outbox:
    """One file, which one process has. Any thread may put; one Sender takes."""

    def __init__(self, path: Path, connection: sqlite3.Connection, *, bytes_max: int, drop_oldest: bool) -> None:
        self.path = path
        self.woken: Callable[[], None] = _nobody
        """Called when something was put."""
        self.removals = 0
        """Goes up whenever something is let go of."""
        self._connection = connection
        self._bytes_max, self._drop_oldest = bytes_max, drop_oldest
        self._lock = threading.RLock()
        self._lock_file: IO[bytes] | None = None
        self._lowest: dict[int, int] = {}
        self._size = _Size()
        self._sources: dict[int, Source] = {}
        self._ids: dict[tuple[str, str], int] = {}
        self.boot = ""
        """What this file calls itself to the collector."""
        self._read_sizes()

    @classmethod
    def open(cls, path: Path, *, bytes_max: int = BYTES_MAX, drop_oldest: bool = False) -> Self:
        """Open, or make, an outbox that keeps at most `bytes_max` bytes.

        When that is reached `put` raises OutboxFull; with `drop_oldest` the oldest go instead: lost, and counted.

        Raises:
            OutboxFull: the disk is.
            OutboxUnusable: damaged, another kind of file, in use by another process, not writable.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutboxUnusable(
                f"{path.parent}: got {error.strerror}; expected a folder that may be written"
            ) from None
        lock_file = only_one(path)
        try:
            with translated(path):
                connection = connect(path)
                outbox = cls(path, connection, bytes_max=bytes_max, drop_oldest=drop_oldest)
        except BaseException:
            if lock_file is not None:
                lock_file.close()
            raise
        outbox._lock_file = lock_file
        return outbox

    def close(self) -> None:
        """Let go of the file; what waits is sent when it is opened again."""
        with self._lock:
            self._connection.close()
            if self._lock_file is not None:
                self._lock_file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def put(self, device: str, row: Mapping[str, Any]) -> int:
        """Number one row, keep it, and return its number; it is on the disk by then. Raises as `put_many`."""
        return self.put_many(device, (row,)).start

    def put_many(self, device: str, rows: Iterable[Mapping[str, Any]]) -> range:
        """Number rows of `device` (`site/workshop/line/device`) in this order, keep all or none; their numbers.

        A row is `{"v": {signal: value, ...}}`, with `"t"` (ms since 1970, or RFC 3339 with an offset; now when it is
        absent) and `"u"` (signal → unit) where wanted; or one EPCIS event.

        Raises:
            RowRefused, OutboxFull: nothing was kept.
            OutboxUnusable: the file fails.
        """
        check_device(device)
        now_ms = time.time_ns() // 1_000_000
        checked = [row if "type" in row else row_body(row, now_ms) for row in rows]
        with self._changes() as connection:
            source = self._source(device, self.boot)
            ((first,),) = connection.execute("SELECT next FROM source WHERE id = ?", (source,)).fetchall()
            kept = [
                (source, seq, seq, ROW, each, now_ms)
                if isinstance(each, bytes)
                else (source, seq, seq, EVENTS, event_payload(self.boot, seq, each), now_ms)
                for seq, each in enumerate(checked, first)
            ]
            self._keep(kept)
            connection.execute("UPDATE source SET next = ? WHERE id = ?", (first + len(kept), source))
        self.woken()
        return range(first, first + len(kept))

    def put_numbered(self, messages: Sequence[Numbered]) -> None:
        """Keep messages that have their numbers already, all or none. One that is kept already is kept once.

        Raises as `put_many`.
        """
        now_ms = time.time_ns() // 1_000_000
        for each in messages:
            check_device(each.device)
            check_boot(each.boot)
            fits = 1 <= each.rows <= ROWS_MAX and 0 <= each.seq <= SEQ_MAX + 1 - each.rows
            refuse_unless(fits, f"got seq {each.seq}, {each.rows} rows; expected 0 to {SEQ_MAX}, 1 to {ROWS_MAX} rows")
            refuse_unless(
                each.kind in (READINGS, EVENTS), f"got kind {shown(each.kind)}; expected {READINGS} or {EVENTS}"
            )
            size = len(each.payload)
            refuse_unless(size <= PAYLOAD_BYTES_MAX, f"got {size} bytes; expected at most {PAYLOAD_BYTES_MAX}")
        with self._changes():
            self._keep(
                [
                    (self._source(m.device, m.boot), m.seq, m.seq + m.rows - 1, m.kind, m.payload, now_ms)
                    for m in messages
                ]
            )
        self.woken()

    def settle(self, receipts: Iterable[tuple[str, Receipt]]) -> int:
        """Let go of what the receipts of these devices cover, and of nothing else; how many messages that was.

        Raises:
            OutboxUnusable: one is for numbers that this file never gave: it is an older copy. Nothing is let go of.
            OutboxFull: the disk is.
        """
        count = 0
        with self._changes() as connection:
            for device, receipt in receipts:
                query = "SELECT id, next FROM source WHERE device = ? AND boot = ?"
                source, following = connection.execute(query, (device, receipt.boot)).fetchone() or (0, 0)
                highest = receipt.spans[-1][1] if receipt.spans else -1
                if source and receipt.boot == self.boot and highest >= following:
                    raise OutboxUnusable(
                        f"{self.path}: got a receipt for number {highest}; expected at most {following - 1}: this is an"
                        " older copy of an outbox. Move it aside and start a new one: two rows of one number are one"
                    )
                for span in receipt.spans:
                    count += self._remove(
                        "source = ? AND first BETWEEN ? AND ? AND last <= ?", (source, *span, span[1])
                    )
        return count

    def status(self) -> Status:
        """What is kept now."""
        with self._lock, translated(self.path):
            return read_status(self._connection)

    def oldest_ms(self) -> int | None:
        """When the oldest of what is kept was put, ms since 1970; None = nothing is kept."""
        with self._lock, translated(self.path):
            oldest = self._connection.execute("SELECT put_ms FROM message ORDER BY id LIMIT 1").fetchone()
        return None if oldest is None else int(oldest[0])

    @property
    def messages(self) -> int:
        """How many are kept: put, and not covered by a receipt."""
        return self._size.messages

    @property
    def rows(self) -> int:
        """Their rows."""
        return self._size.rows

    # ---------------------------------------------------------------------------------------------- for the Sender

    def waiting(self) -> dict[int, Source]:
        """Boots of which something is kept, each by its number in this file."""
        with self._lock:
            return {number: replace(each) for number, each in self._sources.items() if each.waiting}

    def take_lowest(self) -> dict[int, int]:
        """Source → lowest number that was put since the last call."""
        with self._lock:
            lowest, self._lowest = self._lowest, {}
        return lowest

    def after(self, source: int, sent: tuple[int, int], limit: int) -> list[Kept]:
        """The next messages of a source after the one with these numbers, in the order of their numbers."""
        with self._lock, translated(self.path):
            mean = self._size.bytes // (self._size.messages or 1)
            rows = self._connection.execute(
                "SELECT id, source, first, last, kind, body FROM message WHERE source = ? AND (first, last) > (?, ?)"
                " ORDER BY first, last LIMIT ?",
                (source, *sent, min(limit, READ_BYTES // (mean or 1) or 1)),
            )
            return [Kept(*row) for row in rows]

    def count_to(self, source: int, sent: tuple[int, int]) -> int:
        """How many of a source's messages are kept up to the one with these numbers."""
        with self._lock, translated(self.path):
            query = "SELECT count(*) FROM message WHERE source = ? AND (first, last) <= (?, ?)"
            return int(self._connection.execute(query, (source, *sent)).fetchone()[0])

    # ------------------------------------------------------------------------------------------------------- within

    @contextmanager
    def _changes(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, on the disk when the block ends without an error."""
        with self._lock, translated(self.path):
            size, waiting = replace(self._size), {number: each.waiting for number, each in self._sources.items()}
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                self._size = size
                self._sources = {number: replace(self._sources[number], waiting=was) for number, was in waiting.items()}
                self._ids = {(each.device, each.boot): number for number, each in self._sources.items()}
                raise

    def _source(self, device: str, boot: str) -> int:
        found = self._ids.get((device, boot))
        if found is None:
            insert = "INSERT INTO source (device, boot, next) VALUES (?, ?, 0)"
            found = self._connection.execute(insert, (device, boot)).lastrowid or 0
            self._ids[device, boot] = found
            self._sources[found] = Source(device, boot)
        return found

    def _keep(self, messages: list[tuple[int, int, int, str, bytes, int]]) -> None:
        size = sum(len(message[4]) + MESSAGE_BYTES for message in messages)
        while self._drop_oldest and self._size.messages and size <= self._bytes_max < self._size.bytes + size:
            self._drop_some()
        if self._size.bytes + size > self._bytes_max:
            raise OutboxFull(
                f"{self.path}: got {size} bytes more than the {self._size.bytes} that wait for a receipt; expected at"
                f" most {self._bytes_max} in all: wait until the collector answers, or give the outbox more room"
            )
        insert = "INSERT OR IGNORE INTO message (source, first, last, kind, body, put_ms) VALUES (?, ?, ?, ?, ?, ?)"
        for message in messages:
            if self._connection.execute(insert, message).rowcount:
                source, first, last, _, body, _ = message
                self._size.messages += 1
                self._size.rows += last - first + 1
                self._size.bytes += len(body) + MESSAGE_BYTES
                self._sources[source].waiting += 1
                self._lowest[source] = min(first, self._lowest.get(source, first))

    def _drop_some(self) -> None:
        oldest = "SELECT id, last - first + 1 AS rows FROM message ORDER BY id LIMIT ?"
        query = f"SELECT max(id), sum(rows) FROM ({oldest})"  # noqa: S608 - a constant
        last, rows = self._connection.execute(query, (DROPPED_AT_ONCE,)).fetchone()
        self._remove("id <= ?", (last,))
        self._connection.execute("UPDATE outbox SET dropped = dropped + ?", (rows,))

    def _remove(self, where: str, values: Sequence[int]) -> int:
        sums = "SELECT source, count(*), total(last - first + 1), total(length(body) + ?) FROM message"
        query = f"{sums} WHERE {where} GROUP BY source"
        count = 0
        for source, messages, rows, size in self._connection.execute(query, (MESSAGE_BYTES, *values)).fetchall():
            self._size.messages -= messages
            self._size.rows -= int(rows)
            self._size.bytes -= int(size)
            self._sources[source].waiting -= messages
            count += messages
        if count:
            self._connection.execute(f"DELETE FROM message WHERE {where}", values)  # noqa: S608 - a constant
            self.removals += 1
        return count

    def _read_sizes(self) -> None:
        query = "SELECT count(*), total(last - first + 1), total(length(body) + ?) FROM message"
        self._size = _Size(*map(int, self._connection.execute(query, (MESSAGE_BYTES,)).fetchone()))
        (self.boot,) = self._connection.execute("SELECT boot FROM outbox").fetchone()
        found = self._connection.execute(
            "SELECT s.id, s.device, s.boot, count(m.id) FROM source AS s LEFT JOIN message AS m ON m.source = s.id"
            " GROUP BY s.id"
        ).fetchall()
        self._sources = {source: Source(device, boot, waiting) for source, device, boot, waiting in found}
        self._ids = {(source.device, source.boot): number for number, source in self._sources.items()}


def publications(boot: str, part: Sequence[Kept]) -> Iterator[tuple[str, bytes]]:
    """One kept message, or bare rows that count on → (kind of the topic, payload), as few as may be."""
    if part[0].kind == ROW:
        for payload in readings_payloads(boot, part[0].first, [each.body for each in part]):
            yield READINGS, payload
    else:
        for each in part:
            yield each.kind, each.body


def _nobody() -> None:
    """Nobody is to be woken."""
