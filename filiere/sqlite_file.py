"""SQLite files that only say yes when it is on the disk: how they are opened, and what their errors mean here.

Every file is in WAL mode with `synchronous=FULL`: one process writes, others read meanwhile, and a COMMIT that returned
survives a power cut. `synchronous=NORMAL` does not: it loses commits that were already acknowledged.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from filiere.errors import FiliereError, StoreRefused, StoreUnavailable

BUSY_TIMEOUT_S = 10.0
"""How long a statement waits for another process's lock before StoreUnavailable."""

_PASSING = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_NOMEM", "SQLITE_PROTOCOL")
_NEXT_STEP = {
    "SQLITE_BUSY": "another process holds it: only one may write",
    "SQLITE_LOCKED": "another process holds it: only one may write",
    "SQLITE_FULL": "free space on this disk",
    "SQLITE_IOERR": "look at the disk and the system log",
    "SQLITE_NOTADB": "move the file aside, or restore it from a backup",
    "SQLITE_CORRUPT": "move the file aside, or restore it from a backup",
    "SQLITE_CANTOPEN": "check that the folder exists and may be written",
    "SQLITE_READONLY": "check that the file and its folder may be written",
    "SQLITE_PERM": "check that the file and its folder may be written",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a file of one kind is: its mark in the SQLite header, its version and its tables."""

    kind: str
    """For messages: `message log`."""
    application_id: int
    """PRAGMA application_id: tells our files from other SQLite files."""
    version: int
    """PRAGMA user_version: 1, 2, ..."""
    tables: tuple[str, ...]
    """CREATE statements."""


class SqliteFile:
    """One open file, as its noun holds it; `with` closes it."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    def close(self) -> None:
        """Let go of the file. Closing twice is harmless."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_writer(path: Path, layout: Layout) -> sqlite3.Connection:
    """Open a file for writing, durable, made with its folder when it is not there.

    Raises:
        StoreUnavailable: locked, disk full.
        StoreRefused: not such a file, damaged, of another version, or not writable.
    """
    with translated(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreRefused(f"{path.parent}: got {error.strerror}; expected a folder that may be written") from None
        connection = _connect(path, mode="rwc")
        try:
            empty = _refuse_other_file(connection, path, layout)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA fullfsync=ON")  # on macOS fsync alone leaves the data in the drive's cache
            if empty:  # else nothing is written: a reader that opens the file does not wait for its writer
                _make_tables(connection, layout)
        except BaseException:
            connection.close()
            raise
    return connection


def open_reader(path: Path, layout: Layout) -> sqlite3.Connection:
    """Open a file that another process writes. Nothing in it can be changed through this connection.

    Raises:
        StoreUnavailable: not made yet, or locked.
        StoreRefused: not such a file, damaged, or of another version.
    """
    try:
        there = path.exists()
    except OSError as error:
        raise StoreRefused(f"{path}: got {error.strerror}; expected a file that may be read") from None
    if not there:
        raise StoreUnavailable(f"{path}: no {layout.kind} yet; start `filiere collect`, or check FILIERE_DATA_DIR")
    with translated(path):
        connection = _connect(path, mode="ro")
        try:
            connection.execute("PRAGMA query_only=ON")
            empty = _refuse_other_file(connection, path, layout)
        except BaseException:
            connection.close()
            raise
    if empty:
        connection.close()
        raise StoreUnavailable(f"{path}: the {layout.kind} is being made; try again")
    return connection


def _make_tables(connection: sqlite3.Connection, layout: Layout) -> None:
    with transaction(connection):
        for statement in layout.tables:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id={layout.application_id}")
        connection.execute(f"PRAGMA user_version={layout.version}")


def _connect(path: Path, *, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )


def _refuse_other_file(connection: sqlite3.Connection, path: Path, layout: Layout) -> bool:
    """Whether the file is still empty."""
    # the tables first: a writer that makes the file meanwhile commits them together with the mark
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if not tables and not application_id:
        return True
    if application_id != layout.application_id:
        raise StoreRefused(
            f"{path}: got a SQLite file of another kind; expected a {layout.kind}: choose another data folder"
        )
    if version != layout.version:
        raise StoreRefused(
            f"{path}: got a {layout.kind} of version {version}; expected {layout.version}: use the program that made"
            " it, or move the file aside"
        )
    return False


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, on the disk when the block ends without an error."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """sqlite3's errors → StoreUnavailable (wait) or StoreRefused (hold), naming the file and the next step."""
    try:
        yield
    except sqlite3.Error as error:
        raise meaning(path, error) from error


def meaning(path: Path, error: sqlite3.Error) -> FiliereError:
    """The error that a caller can act on: StoreUnavailable (wait) or StoreRefused (hold)."""
    name = getattr(error, "sqlite_errorname", "") or type(error).__name__
    primary = next((known for known in _NEXT_STEP if name.startswith(known)), name)
    step = _NEXT_STEP.get(primary, "tell who maintains this program")
    text = f"{path}: got {error} ({name}); {step}"
    return StoreUnavailable(text) if primary in _PASSING else StoreRefused(text)
