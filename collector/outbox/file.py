"""What was put and has no receipt yet, in one SQLite file: a COMMIT that returned survives a power cut."""

import secrets
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from .wire import (
    TOPIC_ROOT,
    Numbered,
    OutboxFull,
    OutboxUnusable,
    Receipt,
    body_of,
    check_device,
    check_numbered,
    numbered,
)

BYTES_MAX = 256 * 1024 * 1024
"""What the file may take, unless another limit is given."""
BUSY_S = 10.0
APPLICATION_ID, PAGE_BYTES = 0x46694F32, 4096
NO_LIMIT = PAGE_BYTES * (2**32 - 2)
"""SQLite's own."""
_TABLES = """
CREATE TABLE outbox (boot TEXT NOT NULL, messages INTEGER NOT NULL, rows INTEGER NOT NULL);
CREATE TABLE device (name TEXT PRIMARY KEY, next INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE message (
  id INTEGER PRIMARY KEY AUTOINCREMENT, device TEXT NOT NULL, boot TEXT NOT NULL, first INTEGER NOT NULL,
  last INTEGER NOT NULL, kind TEXT NOT NULL, put_ms INTEGER NOT NULL, payload BLOB NOT NULL,
  UNIQUE (device, boot, first, last)
);
CREATE TRIGGER kept AFTER INSERT ON message BEGIN
  UPDATE outbox SET messages = messages + 1, rows = rows + new.last - new.first + 1;
END;
CREATE TRIGGER gone AFTER DELETE ON message BEGIN
  UPDATE outbox SET messages = messages - 1, rows = rows - (old.last - old.first + 1);
END;
"""
_KEEP = "INSERT OR IGNORE INTO message (device, boot, first, last, kind, put_ms, payload) VALUES (?, ?, ?, ?, ?, ?, ?)"
_LET_GO = "DELETE FROM message WHERE device = ? AND boot = ? AND first BETWEEN ? AND ? AND last <= ? RETURNING id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What an outbox holds."""

    boot: str
    """What it calls itself to the collector."""
    messages: int
    """Kept, because no receipt covers them yet."""
    rows: int
    bytes: int
    """Of the file, in use."""
    oldest_ms: int | None
    """When the oldest of them was put, ms since 1970."""


class Outbox:
    """One file, which one process has. Any thread may put; one Sender takes."""

    def __init__(self, path: Path, connection: sqlite3.Connection, lock_file: IO[bytes], bytes_max: int) -> None:
        self.path = path
        self._connection, self._lock_file, self._bytes_max = connection, lock_file, bytes_max
        self._lock = threading.RLock()
        self.boot = self.status().boot
        """What it calls itself to the collector."""

    @classmethod
    def open(cls, path: Path, *, bytes_max: int = BYTES_MAX) -> Self:
        """Open, or make, an outbox whose file takes at most `bytes_max` bytes: beyond that `put` raises OutboxFull.

        Raises:
            OutboxFull: the disk is.
            OutboxUnusable: damaged, another kind of file, in use by another process, not writable.
        """
        lock_file = _only_one(path)
        try:
            with _translated(path):
                return cls(path, _connect(path), lock_file, bytes_max)
        except BaseException:
            lock_file.close()
            raise

    def close(self) -> None:
        """Let go of the file; what waits is sent when it is opened again."""
        with self._lock:
            self._connection.close()
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
        bodies = [body_of(row, now_ms) for row in rows]
        with self._changes(self._bytes_max) as connection:
            connection.execute("INSERT OR IGNORE INTO device VALUES (?, 0)", (device,))
            ((first,),) = connection.execute("SELECT next FROM device WHERE name = ?", (device,)).fetchall()
            kept = [
                (device, self.boot, seq, seq, kind, now_ms, numbered(self.boot, seq, body))
                for seq, (kind, body) in enumerate(bodies, first)
            ]
            connection.executemany(_KEEP, kept)
            connection.execute("UPDATE device SET next = ? WHERE name = ?", (first + len(kept), device))
        return range(first, first + len(kept))

    def put_numbered(self, messages: Sequence[Numbered]) -> None:
        """Keep messages that have their numbers already, all or none. One that is kept already is kept once.

        Raises as `put_many`.
        """
        now_ms = time.time_ns() // 1_000_000
        for each in messages:
            check_numbered(each)
        kept = [(m.device, m.boot, m.seq, m.seq + m.rows - 1, m.kind, now_ms, m.payload) for m in messages]
        with self._changes(self._bytes_max) as connection:
            connection.executemany(_KEEP, kept)

    def settle(self, receipts: Iterable[Receipt]) -> list[int]:
        """Let go of what receipts cover, and of nothing else; the ids of those messages.

        Raises:
            OutboxUnusable: one is for numbers that this file never gave: it is an older copy. Nothing is let go of.
            OutboxFull: the disk is.
        """
        gone: list[int] = []
        with self._changes(NO_LIMIT) as connection:
            for receipt in receipts:
                if receipt.boot == self.boot:
                    self._refuse_older_copy(receipt)
                for first, last in receipt.spans:
                    found = connection.execute(_LET_GO, (receipt.device, receipt.boot, first, last, last)).fetchall()
                    gone += [message for (message,) in found]
        return gone

    def status(self) -> Status:
        """What is kept now."""
        with self._lock, _translated(self.path):
            return _status(self._connection)

    @property
    def messages(self) -> int:
        """How many are kept: put, and not covered by a receipt."""
        return self.status().messages

    def after(self, message: int, limit: int) -> list[tuple[int, str]]:
        """Ids and devices of the messages after the one with this id. Ids grow in the order of putting."""
        query = "SELECT id, device FROM message WHERE id > ? ORDER BY id LIMIT ?"
        with self._lock, _translated(self.path):
            return self._connection.execute(query, (message, limit)).fetchall()

    def publication(self, message: int) -> tuple[str, bytes]:
        """Topic and payload of the message with this id."""
        query = "SELECT device, kind, payload FROM message WHERE id = ?"
        with self._lock, _translated(self.path):
            ((device, kind, payload),) = self._connection.execute(query, (message,)).fetchall()
        return f"{TOPIC_ROOT}/{device}/{kind}", payload

    @contextmanager
    def _changes(self, bytes_max: int) -> Iterator[sqlite3.Connection]:
        """All or nothing, on the disk when the block ends without an error. SQLite lets the file grow no further."""
        with self._lock, _translated(self.path):
            self._connection.execute(f"PRAGMA max_page_count={max(1, bytes_max // PAGE_BYTES)}")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _refuse_older_copy(self, receipt: Receipt) -> None:
        query = "SELECT next FROM device WHERE name = ?"
        (following,) = self._connection.execute(query, (receipt.device,)).fetchone() or (0,)
        highest = max((last for _, last in receipt.spans), default=-1)
        if highest >= following:
            raise OutboxUnusable(
                f"{self.path}: got a receipt for number {highest}; expected at most {following - 1}: this is an older"
                " copy of an outbox. Move it aside and start a new one: two rows of one number are one"
            )


def status_of(path: Path) -> Status:
    """What the outbox in a file holds, also while a process has it. Raises OutboxUnusable: there is none."""
    with _translated(path), closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", BUSY_S, uri=True)) as reader:
        if _is_new(path, reader):
            raise OutboxUnusable(f"{path}: got an empty file; expected an outbox: it may be being made, try again")
        return _status(reader)


def _status(connection: sqlite3.Connection) -> Status:
    boot, messages, rows = connection.execute("SELECT boot, messages, rows FROM outbox").fetchone()
    (oldest_ms,) = connection.execute("SELECT put_ms FROM message ORDER BY id LIMIT 1").fetchone() or (None,)
    pages, free = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count"))
    return Status(boot=boot, messages=messages, rows=rows, bytes=(pages - free) * PAGE_BYTES, oldest_ms=oldest_ms)


def _connect(path: Path) -> sqlite3.Connection:
    """Open, or make, an outbox for writing. Raises sqlite3.Error, OutboxUnusable."""
    connection = sqlite3.connect(path, BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        new = _is_new(path, connection)
        # on macOS fsync alone leaves it in the drive's cache; hence fullfsync
        for setting in (f"page_size={PAGE_BYTES}", "journal_mode=WAL", "synchronous=FULL", "fullfsync=ON"):
            connection.execute(f"PRAGMA {setting}")
        if new:
            row = f"INSERT INTO outbox VALUES ('{secrets.token_hex(8)}', 0, 0)"  # noqa: S608 - hexadecimal
            mark = f"PRAGMA application_id={APPLICATION_ID}"
            connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} {row}; {mark}; COMMIT")
        # a commit whose fsync failed may be in the -wal in memory alone: it goes to the disk before more is promised
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except BaseException:
        connection.close()
        raise
    return connection


def _is_new(path: Path, connection: sqlite3.Connection) -> bool:
    """Whether nothing is in the file. Raises OutboxUnusable for what is no whole outbox."""
    mark = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if mark != APPLICATION_ID and (tables or mark):
        raise OutboxUnusable(f"{path}: got another kind of SQLite file, or another version; expected an outbox")
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(" ".join(found.split()))
    return not tables


def _only_one(path: Path) -> IO[bytes]:
    """Hold a lock beside the file as long as this process has it; the kernel frees it at any death."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.with_name(path.name + ".lock").open("ab")
    except OSError as error:
        raise OutboxUnusable(f"{path}: got {error.strerror}; expected a folder that may be written") from None
    with suppress(ImportError):  # where there is no fcntl (Windows) nobody checks
        import fcntl  # noqa: PLC0415 - see above

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise OutboxUnusable(f"{path}: got an outbox that another process has; expected one of its own") from None
    return file


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """sqlite3's errors → OutboxFull (wait) or OutboxUnusable, in words."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        if name.startswith("SQLITE_FULL"):
            raise OutboxFull(
                f"{path}: got {error}; expected room in the outbox (wait for the collector's receipts, or give it"
                " more) and on its disk"
            ) from error
        raise OutboxUnusable(
            f"{path}: got {error} ({name}); expected an outbox that may be read and written. If it is damaged, move it"
            " aside and start a new one: what only it held is missing at the collector, and `filiere audit` says so"
        ) from error
