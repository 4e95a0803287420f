"""The outbox as a file on the disk: how it is opened, what its errors mean, what it holds."""

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .wire import OutboxFull, OutboxUnusable

BUSY_S = 10.0
APPLICATION_ID, VERSION = 0x46694F31, 1
MESSAGE_BYTES = 64
"""What a kept message takes beside its own bytes."""
_TABLES = """
CREATE TABLE outbox (id INTEGER PRIMARY KEY CHECK (id = 1), boot TEXT NOT NULL, dropped INTEGER NOT NULL);
CREATE TABLE source (
  id INTEGER PRIMARY KEY, device TEXT NOT NULL, boot TEXT NOT NULL, next INTEGER NOT NULL, UNIQUE (device, boot)
);
CREATE TABLE message (
  id INTEGER PRIMARY KEY AUTOINCREMENT, source INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  kind TEXT NOT NULL, body BLOB NOT NULL, put_ms INTEGER NOT NULL, UNIQUE (source, first, last)
);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What an outbox holds."""

    boot: str
    messages: int
    """Kept, because no receipt covers them yet."""
    rows: int
    bytes: int
    oldest_ms: int | None
    """When the oldest of them was put, ms since 1970."""
    dropped: int
    """Rows that were thrown away for room, ever: only with `drop_oldest`."""


def status_of(path: Path) -> Status:
    """What the outbox in a file holds, also while a process has it. Raises OutboxUnusable: there is none."""
    if not path.is_file():
        raise OutboxUnusable(f"{path}: got no file; expected an outbox")
    with translated(path):
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", timeout=BUSY_S, uri=True)
        try:
            if _refuse_other_file(path, connection):
                raise OutboxUnusable(f"{path}: got an empty file; expected an outbox: it may be being made, try again")
            return read_status(connection)
        finally:
            connection.close()


def read_status(connection: sqlite3.Connection) -> Status:
    """What is kept now."""
    boot, dropped = connection.execute("SELECT boot, dropped FROM outbox").fetchone()
    query = "SELECT count(*), total(last - first + 1), total(length(body) + ?), min(put_ms) FROM message"
    messages, rows, size, oldest_ms = connection.execute(query, (MESSAGE_BYTES,)).fetchone()
    return Status(boot=boot, messages=messages, rows=int(rows), bytes=int(size), oldest_ms=oldest_ms, dropped=dropped)


def connect(path: Path) -> sqlite3.Connection:
    """Open, or make, an outbox for writing. Raises sqlite3.Error, OutboxUnusable."""
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        empty = _refuse_other_file(path, connection)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA fullfsync=ON")  # on macOS fsync alone leaves it in the drive's cache
        if empty:
            marks = f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={VERSION}"
            boot = f"INSERT INTO outbox VALUES (1, '{secrets.token_hex(8)}', 0)"  # noqa: S608 - hexadecimal
            connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} {boot}; {marks}; COMMIT")
        # a commit whose fsync failed may be in the -wal in memory alone: it goes to the disk before more is promised
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        # boots of programs that number their rows themselves; of our own the next number must stay
        done = "boot <> (SELECT boot FROM outbox) AND id NOT IN (SELECT source FROM message)"
        connection.execute(f"DELETE FROM source WHERE {done}")  # noqa: S608 - a constant
    except BaseException:
        connection.close()
        raise
    return connection


def _refuse_other_file(path: Path, connection: sqlite3.Connection) -> bool:
    """Whether the file is still empty."""
    marks = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if marks != [APPLICATION_ID, VERSION] and (tables or any(marks)):
        raise OutboxUnusable(f"{path}: got another kind of SQLite file, or another version; expected an outbox")
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise OutboxUnusable(_damaged(path, found))
    return not tables


def only_one(path: Path) -> IO[bytes] | None:
    """Hold a lock beside the file as long as this process has it; the kernel frees it at any death."""
    with suppress(ImportError):  # where there is no fcntl (Windows) nobody checks
        import fcntl  # noqa: PLC0415 - see above

        try:
            file = path.with_name(path.name + ".lock").open("ab")
        except OSError as error:
            raise OutboxUnusable(f"{path}: got {error.strerror}; expected a file that may be written") from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise OutboxUnusable(f"{path}: got an outbox that another process has; expected one of its own") from None
        return file
    return None


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """sqlite3's errors → OutboxFull (wait) or OutboxUnusable, in words."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        if name.startswith("SQLITE_FULL"):
            raise OutboxFull(f"{path}: got {error}; expected room on this disk: free some") from error
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            raise OutboxUnusable(_damaged(path, error)) from error
        raise OutboxUnusable(f"{path}: got {error} ({name}); expected a file that may be read and written") from error


def _damaged(path: Path, got: object) -> str:
    return (
        f"{path}: got a damaged file ({' '.join(str(got).split())}); expected an outbox: move it aside and start a new"
        " one (`sqlite3 FILE .recover` shows what is left). What only it held is missing at the collector, and"
        " `filiere audit` says so"
    )
