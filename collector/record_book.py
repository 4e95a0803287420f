"""The recorder's own book: how far it has read, which numbers it has seen, its counts, and the quarantine.

One transaction a chunk, after the chunk is in the stores. So a killed recorder reads the same chunk again and finds
its numbers unseen: stores that keep one of two equal rows make that harmless, and nothing is counted twice.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from collector.numbers import Numbers
from filiere.sqlite_file import Layout, SqliteFile, open_reader, open_writer, transaction, translated

_PROGRESS = """
CREATE TABLE IF NOT EXISTS progress (
  id INTEGER PRIMARY KEY CHECK (id = 1), bookmark INTEGER NOT NULL, bookmark_ns INTEGER NOT NULL,
  log_head INTEGER NOT NULL, ledger_position INTEGER NOT NULL, store_problem TEXT, updated_ns INTEGER NOT NULL
)
"""
_NUMBERS = """
CREATE TABLE IF NOT EXISTS numbers (
  device TEXT NOT NULL, boot TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  PRIMARY KEY (device, boot, first)
) WITHOUT ROWID
"""
_COUNTS = """
CREATE TABLE IF NOT EXISTS counts (
  device TEXT PRIMARY KEY, stored INTEGER NOT NULL DEFAULT 0, duplicates INTEGER NOT NULL DEFAULT 0,
  late INTEGER NOT NULL DEFAULT 0, clock_suspect INTEGER NOT NULL DEFAULT 0, out_of_range INTEGER NOT NULL DEFAULT 0,
  last_event_ns INTEGER NOT NULL DEFAULT 0, last_record_ns INTEGER NOT NULL DEFAULT 0,
  skew_ns INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID
"""
_QUARANTINE = """
CREATE TABLE IF NOT EXISTS quarantine (
  "offset" INTEGER PRIMARY KEY, device TEXT NOT NULL, topic BLOB NOT NULL, payload BLOB NOT NULL,
  reason TEXT NOT NULL, message TEXT NOT NULL, record_time_ns INTEGER NOT NULL,
  rows INTEGER NOT NULL, numbered INTEGER
)
"""
_WAITING = """
CREATE TABLE IF NOT EXISTS waiting ("offset" INTEGER PRIMARY KEY, device TEXT NOT NULL, event_id TEXT NOT NULL)
"""
LAYOUT = Layout(
    kind="recorder's book",
    application_id=0x46694231,
    version=1,
    tables=(
        _PROGRESS,
        _NUMBERS,
        _COUNTS,
        _QUARANTINE,
        _WAITING,
        "INSERT OR IGNORE INTO progress VALUES (1, 0, 0, 0, 0, NULL, 0)",
    ),
)
QUARANTINE_LISTED_MAX = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A message that was refused: its bytes as sent, and why."""

    offset: int
    """Its place in the message log."""
    device: str
    """`caux/textile/t1/extruder`; empty when the topic does not say."""
    topic: bytes
    payload: bytes
    reason: str
    """Short stable word: not_json, unknown_signal, ..."""
    message: str
    """Got, expected, do this."""
    record_time_ns: int
    rows: int
    """How many of its numbers are refused."""
    numbered: bool | None
    """Its boot and seq could be read, so that its numbers are accounted for; None = a state, which takes no number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingEvent:
    """An event that the ledger holds until what it names has arrived."""

    offset: int
    device: str
    event_id: str


@dataclass(slots=True, kw_only=True)
class DeviceCounts:
    """What one device sent, in rows (an event is one). In a chunk: what is to be added."""

    stored: int = 0
    duplicates: int = 0
    late: int = 0
    """Stored, though older than what the device had already sent."""
    clock_suspect: int = 0
    out_of_range: int = 0
    last_event_ns: int = 0
    """Newest event time that could be believed; 0 = none."""
    last_record_ns: int = 0
    """When it was last heard; 0 = never."""
    skew_ns: int = 0
    """record_time − event_time of its last row."""
    state: str = ""
    """`online` or `offline`, as its retained message says; empty = it never said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where the recorder is."""

    bookmark: int
    """Offset of the last message that is done."""
    bookmark_ns: int = 0
    """Record time of that message: tells this log from another that was put in its place."""
    log_head: int
    """Offset of the last message that it saw in the log."""
    ledger_position: int
    """The last ledger event whose run mark is written."""
    store_problem: str | None
    """Why it waits; None = all is well."""
    updated_ns: int


@dataclass(slots=True, kw_only=True)
class ChunkRecord:
    """What one transaction writes down."""

    progress: Progress
    counts: dict[str, DeviceCounts] = field(default_factory=dict)
    """Device → what is added (counts) and what is new (times, skew, state)."""
    quarantined: list[Quarantined] = field(default_factory=list)
    waiting: list[WaitingEvent] = field(default_factory=list)
    settled: list[int] = field(default_factory=list)
    """Offsets of events that wait no more."""

    def device(self, path: str) -> DeviceCounts:
        """The counts of a device in this chunk."""
        return self.counts.setdefault(path, DeviceCounts())


class RecordBook(SqliteFile):
    """Written by the recorder alone; other processes open a reader."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        super().__init__(path, connection)
        self._numbers: dict[tuple[str, str], Numbers] = {}
        self._touched: set[tuple[str, str]] = set()
        self._last_event_ns: dict[str, int] = {}

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open for writing; made when it is not there. Raises StoreUnavailable, StoreRefused."""
        return cls(path, open_writer(path, LAYOUT))

    @classmethod
    def open_reader(cls, path: Path) -> Self:
        """Open for reading. Raises StoreUnavailable (not made yet), StoreRefused."""
        return cls(path, open_reader(path, LAYOUT))

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """What is read inside the block is of one instant, while the recorder goes on."""
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("ROLLBACK")

    def progress(self) -> Progress:
        """Where the recorder is."""
        (row,) = self._rows(
            "SELECT bookmark, bookmark_ns, log_head, ledger_position, store_problem, updated_ns FROM progress"
        )
        return Progress(**row)

    def numbers(self, device: str, boot: str) -> Numbers:
        """The numbers seen of a device's boot. What is added to it is written by the next `commit`."""
        key = device, boot
        self._touched.add(key)
        found = self._numbers.get(key)
        if found is None:
            spans = self._rows("SELECT first, last FROM numbers WHERE device = ? AND boot = ?", key)
            found = self._numbers[key] = Numbers((span["first"], span["last"]) for span in spans)
        return found

    def last_event_ns(self, device: str) -> int:
        """Newest event time of a device that could be believed, as committed; 0 = none."""
        found = self._last_event_ns.get(device)
        if found is None:
            rows = self._rows("SELECT last_event_ns FROM counts WHERE device = ?", (device,))
            found = self._last_event_ns[device] = rows[0]["last_event_ns"] if rows else 0
        return found

    def commit(self, record: ChunkRecord) -> None:
        """Write a chunk down, all or nothing. Raises StoreUnavailable, StoreRefused."""
        with translated(self.path), transaction(self._connection):
            self._write_progress(record.progress)
            for device, boot in self._touched:
                self._write_spans(device, boot, self._numbers[device, boot].take_changes())
            for device, counts in record.counts.items():
                self._add_counts(device, counts)
            self._connection.executemany(
                "INSERT OR REPLACE INTO quarantine VALUES (:offset, :device, :topic, :payload, :reason, :message,"
                " :record_time_ns, :rows, :numbered)",
                [asdict(message) for message in record.quarantined],
            )
            self._connection.executemany(
                "INSERT OR REPLACE INTO waiting VALUES (:offset, :device, :event_id)",
                [asdict(event) for event in record.waiting],
            )
            self._connection.executemany(
                'DELETE FROM waiting WHERE "offset" = ?', [(offset,) for offset in record.settled]
            )
        self._touched.clear()
        for device, counts in record.counts.items():
            self._last_event_ns[device] = max(self.last_event_ns(device), counts.last_event_ns)

    def note(self, progress: Progress) -> None:
        """Say where the recorder is, without a chunk."""
        with translated(self.path), transaction(self._connection):
            self._write_progress(progress)

    def _write_progress(self, progress: Progress) -> None:
        self._connection.execute(
            "UPDATE progress SET bookmark = :bookmark, bookmark_ns = :bookmark_ns, log_head = :log_head,"
            " ledger_position = :ledger_position, store_problem = :store_problem, updated_ns = :updated_ns",
            asdict(progress),
        )

    def _write_spans(self, device: str, boot: str, changes: Mapping[int, int | None]) -> None:
        for first, last in changes.items():
            if last is None:
                self._connection.execute(
                    "DELETE FROM numbers WHERE device = ? AND boot = ? AND first = ?", (device, boot, first)
                )
            else:
                self._connection.execute(
                    "INSERT OR REPLACE INTO numbers VALUES (?, ?, ?, ?)", (device, boot, first, last)
                )

    def _add_counts(self, device: str, counts: DeviceCounts) -> None:
        self._connection.execute("INSERT OR IGNORE INTO counts (device) VALUES (?)", (device,))
        self._connection.execute(
            "UPDATE counts SET stored = stored + :stored, duplicates = duplicates + :duplicates, late = late + :late,"
            " clock_suspect = clock_suspect + :clock_suspect, out_of_range = out_of_range + :out_of_range,"
            " last_event_ns = max(last_event_ns, :last_event_ns),"
            " last_record_ns = max(last_record_ns, :last_record_ns),"
            " skew_ns = iif(:skew_ns = 0, skew_ns, :skew_ns), state = iif(:state = '', state, :state)"
            " WHERE device = :device",
            {"device": device, **asdict(counts)},
        )

    def counts(self) -> dict[str, DeviceCounts]:
        """Counts of every device that was ever heard, in alphabetical order."""
        rows = self._rows(
            "SELECT device, stored, duplicates, late, clock_suspect, out_of_range, last_event_ns, last_record_ns,"
            " skew_ns, state FROM counts ORDER BY device"
        )
        return {row.pop("device"): DeviceCounts(**row) for row in rows}

    def published(self) -> dict[str, tuple[int, int]]:
        """Device → (numbers seen, numbers from 0 to the highest seen), added up over its boots."""
        published: dict[str, tuple[int, int]] = {}
        for row in self._rows(
            "SELECT device, sum(last - first + 1) AS seen, max(last) + 1 AS up_to FROM numbers GROUP BY device, boot"
        ):  # added up here: boots of any number of hostile devices would overflow SQLite's integers
            seen, up_to = published.get(row["device"], (0, 0))
            published[row["device"]] = (seen + row["seen"], up_to + row["up_to"])
        return published

    def quarantine_counts(self) -> Counter[tuple[str, str, bool | None]]:
        """(device, reason, numbered) → rows."""
        return Counter(
            {
                (row["device"], row["reason"], _truth(row["numbered"])): row["refused"]
                for row in self._rows(
                    "SELECT device, reason, numbered, sum(rows) AS refused FROM quarantine"
                    " GROUP BY device, reason, numbered"
                )
            }
        )

    def quarantine(
        self, *, limit: int = QUARANTINE_LISTED_MAX, device: str | None = None, reason: str | None = None
    ) -> Iterator[Quarantined]:
        """At most `limit` messages, the newest first; of one device, with one reason, when these are given."""
        for row in self._rows(
            'SELECT "offset", device, topic, payload, reason, message, record_time_ns, rows, numbered FROM quarantine'
            " WHERE ifnull(?, device) = device AND ifnull(?, reason) = reason"
            ' ORDER BY "offset" DESC LIMIT ?',
            (device, reason, limit),
        ):
            yield Quarantined(**{**row, "numbered": _truth(row["numbered"])})

    def waiting(self) -> tuple[WaitingEvent, ...]:
        """Events that the ledger holds, in the order in which they came."""
        rows = self._rows('SELECT "offset", device, event_id FROM waiting ORDER BY "offset"')
        return tuple(WaitingEvent(**row) for row in rows)

    def _rows(self, statement: str, parameters: Sequence[object] = ()) -> list[dict[str, Any]]:
        """All rows, each by column name."""
        with translated(self.path):
            cursor = self._connection.execute(statement, parameters)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]


def _truth(column: int | None) -> bool | None:
    return None if column is None else bool(column)
