"""SQLite files that only say yes when it is on the disk: how they are opened, and what their errors mean here.

Every file is in WAL mode with `synchronous=FULL`: one process writes, others read meanwhile, and a COMMIT that returned
survives a power cut. `synchronous=NORMAL` does not: it loses commits that were already acknowledged.

A failed fsync is not the disk's last word: Linux then calls the pages clean and the next fsync of the same descriptor
says yes, though they never reached the disk. So after an I/O error a file is opened anew, and whoever opens one to
make promises first writes all that the log beside it (`-wal`) holds into the file itself (`settle`). Else the next
promise could lie behind a commit that only the system's memory has, and go with it when the power does.
"""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from filiere.errors import FiliereError, StoreRefused, StoreUnavailable

BUSY_TIMEOUT_S = 10.0
"""How long a statement waits for another process's lock before StoreUnavailable."""

_PASSING = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_NOMEM", "SQLITE_PROTOCOL")
_DAMAGED = ("SQLITE_NOTADB", "SQLITE_CORRUPT")
MOVE_ASIDE = "move the file aside, or restore it from a backup"
_NEXT_STEP = {
    "SQLITE_BUSY": "another process holds it: only one may write",
    "SQLITE_LOCKED": "another process holds it: only one may write",
    "SQLITE_FULL": "free space on this disk",
    "SQLITE_IOERR": "look at the disk and the system log",
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
    upgrades: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """Version n → what makes a file of it one of version n + 1; done by the writer, whole or not at all."""
    gives_space_back: bool = False
    """A new file can be made smaller a few pages at a time (incremental vacuum)."""
    damaged: str = MOVE_ASIDE
    """What to do with a damaged file."""


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
    _make_folder(path.parent)
    with translated(path, layout.damaged):
        connection = _connect(path, mode="rwc")
        try:
            version = _version(connection, path, layout)
            if not version and layout.gives_space_back:
                connection.execute("PRAGMA auto_vacuum=INCREMENTAL")  # only while nothing is in the file
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA fullfsync=ON")  # on macOS fsync alone leaves the data in the drive's cache
            if not version:  # else nothing is written: a reader that opens the file does not wait for its writer
                _make_tables(connection, layout)
            elif version < layout.version:
                _upgrade(connection, version, layout)
        except BaseException:
            connection.close()
            raise
    return connection


def open_reader(path: Path, layout: Layout, *, damaged_too: bool = False) -> sqlite3.Connection:
    """Open a file that another process writes. Nothing in it can be changed through this connection.

    With `damaged_too`, a file that is shorter than it says is opened as well; what is missing fails when it is read.

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
    with translated(path, layout.damaged):
        connection = _connect(path, mode="ro")
        try:
            connection.execute("PRAGMA query_only=ON")
            if damaged_too:  # the only way to make SQLite open a file that was cut off
                connection.execute("PRAGMA writable_schema=ON")
            version = _version(connection, path, layout)
        except BaseException:
            connection.close()
            raise
    if version == layout.version:
        return connection
    connection.close()
    if not version:
        raise StoreUnavailable(f"{path}: the {layout.kind} is being made; try again")
    raise StoreUnavailable(
        f"{path}: got a {layout.kind} of version {version}; expected {layout.version}: start `filiere collect`, which"
        " brings it up to date"
    )


def settle(connection: sqlite3.Connection, path: Path, damaged: str) -> None:
    """Bring all that is committed into the file itself, on the disk, and empty the log beside it (`-wal`): done once,
    by the only writer, when it has opened the file. `damaged` says what to do where that cannot be.

    Raises:
        StoreUnavailable: another process holds the file for longer than BUSY_TIMEOUT_S, disk full.
        StoreRefused: damaged, or not writable.
    """
    with translated(path, damaged):
        (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise StoreUnavailable(f"{path}: got a locked file; {_NEXT_STEP['SQLITE_BUSY']}")


def settle_damaged(path: Path) -> None:
    """`settle` for a file that is damaged, as far as SQLite can open it: what is whole in the `-wal` goes into it."""
    with suppress(sqlite3.Error):
        connection = _connect(path, mode="rw")
        try:
            connection.execute("PRAGMA writable_schema=ON")  # or else a file that was cut off is not opened
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()


def _make_folder(folder: Path) -> None:
    """Make it, with its name on the disk: a file that is promised lies in a folder that a power cut leaves there."""
    try:
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for made in missing:
            descriptor = os.open(made.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except OSError as error:
        raise StoreRefused(f"{folder}: got {error.strerror}; expected a folder that may be written") from None


def _make_tables(connection: sqlite3.Connection, layout: Layout) -> None:
    with transaction(connection):
        for statement in layout.tables:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id={layout.application_id}")
        connection.execute(f"PRAGMA user_version={layout.version}")


def _upgrade(connection: sqlite3.Connection, version: int, layout: Layout) -> None:
    with transaction(connection):
        for step in range(version, layout.version):
            for statement in layout.upgrades[step]:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version={layout.version}")


def _connect(path: Path, *, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )


def _version(connection: sqlite3.Connection, path: Path, layout: Layout) -> int:
    """Version of the file; 0 while it is empty. Refuses what is not such a file, or of a version without an upgrade."""
    # the tables first: a writer that makes the file meanwhile commits them together with the mark
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if not tables and not application_id:
        return 0
    if application_id != layout.application_id:
        raise StoreRefused(
            f"{path}: got a SQLite file of another kind; expected a {layout.kind}: choose another data folder"
        )
    if version != layout.version and version not in layout.upgrades:
        raise StoreRefused(
            f"{path}: got a {layout.kind} of version {version}; expected {layout.version}: use the program that made"
            " it, or move the file aside"
        )
    return int(version)


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
def translated(path: Path, damaged: str = MOVE_ASIDE) -> Iterator[None]:
    """sqlite3's errors → StoreUnavailable (wait) or StoreRefused (hold), naming the file and the next step."""
    try:
        yield
    except sqlite3.Error as error:
        raise meaning(path, error, damaged) from error


def meaning(path: Path, error: sqlite3.Error, damaged: str = MOVE_ASIDE) -> FiliereError:
    """The error that a caller can act on: StoreUnavailable (wait) or StoreRefused (hold)."""
    name = _name(error)
    primary = next((known for known in _NEXT_STEP if name.startswith(known)), name)
    step = damaged if is_damage(error) else _NEXT_STEP.get(primary, "tell who maintains this program")
    text = f"{path}: got {error} ({name}); {step}"
    return StoreUnavailable(text) if primary in _PASSING else StoreRefused(text)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether what is in the file is wrong."""
    return _name(error).startswith(_DAMAGED)


def is_disk_error(error: sqlite3.Error) -> bool:
    """Whether the system could not read, write or sync: from then on the open file is not to be trusted."""
    return _name(error).startswith("SQLITE_IOERR")


def _name(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", "") or type(error).__name__
