"""The message log: what arrived, as raw bytes, in the order of arrival, on the disk before it is acknowledged.

It understands nothing of what it keeps. Everything after it is a reader with a bookmark (an offset), so that a mistake
in decoding is mended by reading again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from filiere.sqlite_file import Layout, SqliteFile, open_reader, open_writer, transaction, translated

_MESSAGE = """
CREATE TABLE IF NOT EXISTS message (
  "offset" INTEGER PRIMARY KEY, topic BLOB NOT NULL, payload BLOB NOT NULL, record_time_ns INTEGER NOT NULL
)
"""
LAYOUT = Layout(kind="message log", application_id=0x46694C31, version=1, tables=(_MESSAGE,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What arrived on a topic, untouched."""

    offset: int
    """Place in the log: 1, 2, ... without gaps, in the order of arrival."""
    topic: bytes
    payload: bytes
    record_time_ns: int
    """When it was received, UTC ns."""


class MessageLog(SqliteFile):
    """Appended by one process, read by others meanwhile. To be used by one thread at a time."""

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open for appending; the file and its folder are made when they are not there.

        Raises:
            StoreUnavailable: locked by another process, disk full.
            StoreRefused: not a message log, damaged, or not writable.
        """
        return cls(path, open_writer(path, LAYOUT))

    @classmethod
    def open_reader(cls, path: Path) -> Self:
        """Open for reading only.

        Raises:
            StoreUnavailable: not made yet; try again.
            StoreRefused: not a message log, or damaged.
        """
        return cls(path, open_reader(path, LAYOUT))

    def append(self, batch: Sequence[tuple[bytes, bytes, int]]) -> int:
        """Add (topic, payload, record_time_ns) in this order, all or none; on the disk when it returns.

        Returns the offset of the last one; of the head when the batch is empty.

        Raises:
            StoreUnavailable: locked, disk full; nothing was added.
            StoreRefused: damaged, or opened for reading; nothing was added.
        """
        if not batch:
            return self.head()
        with translated(self.path):
            with transaction(self._connection):
                self._connection.executemany(
                    "INSERT INTO message (topic, payload, record_time_ns) VALUES (?, ?, ?)", batch
                )
            (last,) = self._connection.execute("SELECT last_insert_rowid()").fetchone()
        return int(last)

    def read(self, after: int, limit: int) -> list[Message]:
        """At most `limit` messages with an offset above `after`, in order. Empty at the head.

        Raises:
            StoreUnavailable, StoreRefused: as `open_reader`.
        """
        with translated(self.path):
            rows = self._connection.execute(
                'SELECT "offset", topic, payload, record_time_ns FROM message WHERE "offset" > ?'
                ' ORDER BY "offset" LIMIT ?',
                (after, limit),
            ).fetchall()
        return [
            Message(offset=offset, topic=topic, payload=payload, record_time_ns=record_time_ns)
            for offset, topic, payload, record_time_ns in rows
        ]

    def head(self) -> int:
        """Offset of the last message; 0 when there is none."""
        with translated(self.path):
            (last,) = self._connection.execute('SELECT max("offset") FROM message').fetchone()
        return last or 0
