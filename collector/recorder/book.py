"""The recorder's own book: how far it has read, which numbers it has seen, its counts, and the quarantine.

One transaction a chunk, after the chunk is in the stores. So a killed recorder reads the same chunk again and finds
its numbers unseen: stores that keep one of two equal rows make that harmless, and nothing is counted twice.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from collector.foreign.births import BIRTHS_MAX, Birth
from collector.recorder.book_layout import LAYOUT
from collector.recorder.numbers import Numbers, Span
from filiere.sqlite_file import SqliteFile, open_reader, open_writer, transaction, translated

QUARANTINE_LISTED_MAX = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A message that was refused: its bytes as sent, and why."""

    offset: int
    """Its place in the message log."""
    device: str
    """`caux/textile/t1/extruder`; empty when the topic names none that the plant has."""
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
    """Its boot and seq could be read, so that its numbers are accounted for; None = what takes no number (a state)."""
    boot: str | None = None
    """Where its numbers could be read: the device's boot, ..."""
    seq: int | None = None
    """... and the first of its numbers that is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingEvent:
    """An event that the ledger holds until what it names has arrived."""

    offset: int
    device: str
    event_id: str
    topic: bytes | None = None
    """The message as it was sent, for the quarantine; None when an earlier version wrote this down."""
    payload: bytes | None = None
    record_time_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """Identity of a row that came without a number, and the message that brought it first."""

    key: bytes
    offset: int
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedSignal:
    """A signal as the plant model last had it while the recorder ran."""

    key: str
    """`caux/textile/t1/extruder.melt_temp`."""
    unit: str
    """The unit of all its values in the readings store."""
    range_low: float
    range_high: float
    planned: bool
    """It was in the plant model at the last start."""


@dataclass(slots=True, kw_only=True)
class DeviceCounts:
    """What one device sent, in rows (an event is one). In a chunk: what is to be added."""

    stored: int = 0
    duplicates: int = 0
    late: int = 0
    """Stored, though older than what the device had already sent."""
    clock_suspect: int = 0
    out_of_range: int = 0
    unnumbered: int = 0
    """Rows that arrived and take no number, of foreign devices; a message that is refused whole is not among them."""
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
    """Offset of the last message that is done. After a rewind it is behind `recorded_to`."""
    recorded_to: int = 0
    """The furthest that the bookmark ever was: all numbers up to there are in the book."""
    recorded_ns: int = 0
    """Record time of the message at `recorded_to`: tells this log from another that was put in its place."""
    repeats_from: int = 0
    """Up to this offset an earlier version recorded, which did not write down what was sent twice."""
    log_head: int
    """Offset of the last message that it saw in the log."""
    ledger_position: int
    """The last ledger event whose run mark is written."""
    store_problem: str | None
    """Why it waits; None = all is well."""
    updated_ns: int
    plant_digest: str = ""
    """Of the plant file that it last recorded by."""

    @property
    def again(self) -> int:
        """Messages that a rewind has still to judge again, at most."""
        return max(self.recorded_to - self.bookmark, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What an earlier judgement made of a message."""

    repeats: tuple[Span, ...] = ()
    """Its numbers that another message had brought before."""
    quarantined: Quarantined | None = None
    waiting: bool = False
    """It is an event that the ledger holds."""
    keys: Mapping[bytes, str] = field(default_factory=dict)
    """Identities of its rows without a number → device."""


@dataclass(slots=True, kw_only=True)
class ChunkRecord:
    """What one transaction writes down."""

    progress: Progress
    counts: dict[str, DeviceCounts] = field(default_factory=dict)
    """Device → what is added (counts) and what is new (times, skew, state)."""
    spans: list[tuple[str, str, int, int | None]] = field(default_factory=list)
    """(device, boot, first, last) of the numbers seen; last None = no such span any more."""
    repeats: list[tuple[int, int, int]] = field(default_factory=list)
    """(offset, first, last) of numbers that a message brought again."""
    quarantined: list[Quarantined] = field(default_factory=list)
    released: list[int] = field(default_factory=list)
    """Offsets of messages that are in quarantine no more; done before `quarantined`."""
    waiting: list[WaitingEvent] = field(default_factory=list)
    settled: list[int] = field(default_factory=list)
    """Offsets of events that wait no more; done before `waiting`."""
    new_boots: dict[tuple[int, str], int] = field(default_factory=dict)
    """(minute since 1970, device) → boots first seen in it, as they are after this chunk."""
    foreign: list[ForeignKey] = field(default_factory=list)
    foreign_gone: list[bytes] = field(default_factory=list)
    """Keys that a new judgement did not bring again; done before `foreign`."""
    births: list[Birth] = field(default_factory=list)

    def device(self, path: str) -> DeviceCounts:
        """The counts of a device in this chunk."""
        found = self.counts.get(path)
        if found is None:
            found = self.counts[path] = DeviceCounts()
        return found


class RecordBook(SqliteFile):
    """Written by the recorder alone; other processes open a reader."""

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

    # what the recorder writes

    def commit(self, record: ChunkRecord) -> None:
        """Write a chunk down, all or nothing. Raises StoreUnavailable, StoreRefused."""
        write = self._connection.executemany
        with translated(self.path), transaction(self._connection):
            self._write_progress(record.progress)
            self._write_spans(record.spans)
            for device, counts in record.counts.items():
                self._add_counts(device, counts)
            write("INSERT OR REPLACE INTO repeats VALUES (?, ?, ?)", record.repeats)
            write('DELETE FROM quarantine WHERE "offset" = ?', _each(record.released))
            write(
                'INSERT OR REPLACE INTO quarantine ("offset", device, topic, payload, reason, message, record_time_ns,'
                " rows, numbered, boot, seq) VALUES (:offset, :device, :topic, :payload, :reason, :message,"
                " :record_time_ns, :rows, :numbered, :boot, :seq)",
                [_columns(message) for message in record.quarantined],
            )
            write('DELETE FROM waiting WHERE "offset" = ?', _each(record.settled))
            write(
                'INSERT OR REPLACE INTO waiting ("offset", device, event_id, topic, payload, record_time_ns)'
                " VALUES (:offset, :device, :event_id, :topic, :payload, :record_time_ns)",
                [_columns(event) for event in record.waiting],
            )
            self._write_new_boots(record.new_boots)
            write("DELETE FROM foreign_seen WHERE key = ?", _each(record.foreign_gone))
            write(
                "INSERT OR REPLACE INTO foreign_seen VALUES (:key, :offset, :device)",
                [_columns(key) for key in record.foreign],
            )
            write("INSERT OR REPLACE INTO births VALUES (?, ?, ?)", record.births)
            write(
                'DELETE FROM births WHERE owner = ?1 AND "offset" NOT IN'
                ' (SELECT "offset" FROM births WHERE owner = ?1 ORDER BY "offset" DESC LIMIT ?2)',
                [(owner, BIRTHS_MAX) for owner in {birth[0] for birth in record.births}],
            )

    def note(self, progress: Progress) -> None:
        """Say where the recorder is, without a chunk."""
        with translated(self.path), transaction(self._connection):
            self._write_progress(progress)

    def keep_plant(self, progress: Progress, signals: Iterable[RecordedSignal]) -> None:
        """Write down the signals of the plant model that is recorded by from now on; others are `planned` no more."""
        with translated(self.path), transaction(self._connection):
            self._write_progress(progress)
            self._connection.execute("UPDATE recorded_signal SET planned = 0")
            self._connection.executemany(
                "INSERT OR REPLACE INTO recorded_signal VALUES (:key, :unit, :range_low, :range_high, :planned)",
                [_columns(signal) for signal in signals],
            )

    def forget_before(self, offset: int) -> None:
        """Let go of what is only kept to judge messages again, of those before `offset`: the log has them no more.

        Not of what is in quarantine: that is judged again out of this book.
        """
        with translated(self.path), transaction(self._connection):
            for table in ("repeats", "foreign_seen"):
                self._connection.execute(
                    f'DELETE FROM {table} WHERE "offset" < ? AND "offset" NOT IN (SELECT "offset" FROM quarantine)',  # noqa: S608  # two words
                    (offset,),
                )

    def _write_progress(self, progress: Progress) -> None:
        self._connection.execute(
            "UPDATE progress SET bookmark = :bookmark, recorded_to = :recorded_to, recorded_ns = :recorded_ns,"
            " repeats_from = :repeats_from, log_head = :log_head, ledger_position = :ledger_position,"
            " store_problem = :store_problem, updated_ns = :updated_ns, plant_digest = :plant_digest",
            _columns(progress),
        )

    def _write_spans(self, spans: Sequence[tuple[str, str, int, int | None]]) -> None:
        self._connection.executemany(
            "DELETE FROM numbers WHERE device = ? AND boot = ? AND first = ?",
            [(device, boot, first) for device, boot, first, last in spans if last is None],
        )
        self._connection.executemany(
            "INSERT OR REPLACE INTO numbers VALUES (?, ?, ?, ?)", [span for span in spans if span[3] is not None]
        )

    def _add_counts(self, device: str, counts: DeviceCounts) -> None:
        self._connection.execute("INSERT OR IGNORE INTO counts (device) VALUES (?)", (device,))
        self._connection.execute(
            "UPDATE counts SET stored = stored + :stored, duplicates = duplicates + :duplicates, late = late + :late,"
            " clock_suspect = clock_suspect + :clock_suspect, out_of_range = out_of_range + :out_of_range,"
            " unnumbered = unnumbered + :unnumbered, last_event_ns = max(last_event_ns, :last_event_ns),"
            " last_record_ns = max(last_record_ns, :last_record_ns),"
            " skew_ns = iif(:skew_ns = 0, skew_ns, :skew_ns), state = iif(:state = '', state, :state)"
            " WHERE device = :device",
            {"device": device, **_columns(counts)},
        )

    def _write_new_boots(self, new_boots: Mapping[tuple[int, str], int]) -> None:
        if new_boots:
            self._connection.execute("DELETE FROM new_boots WHERE minute < ?", (max(new_boots)[0],))
            self._connection.executemany(
                "INSERT OR REPLACE INTO new_boots VALUES (?, ?, ?)",
                [(minute, device, boots) for (minute, device), boots in new_boots.items()],
            )

    # what it remembers

    def progress(self) -> Progress:
        """Where the recorder is."""
        (row,) = self._rows(
            "SELECT bookmark, recorded_to, recorded_ns, repeats_from, log_head, ledger_position, store_problem,"
            " updated_ns, plant_digest FROM progress"
        )
        return Progress(**row)

    def numbers(self, device: str, boot: str) -> Numbers:
        """The numbers seen of a device's boot, up to `recorded_to`: a copy."""
        with translated(self.path):
            return Numbers(
                self._connection.execute(
                    "SELECT first, last FROM numbers WHERE device = ? AND boot = ?", (device, boot)
                ).fetchall()
            )

    def last_event_ns(self, device: str) -> int:
        """Newest event time of a device that could be believed, as committed; 0 = none."""
        rows = self._rows("SELECT last_event_ns FROM counts WHERE device = ?", (device,))
        return int(rows[0]["last_event_ns"]) if rows else 0

    def new_boots(self) -> dict[tuple[int, str], int]:
        """(minute since 1970, device) → boots first seen in it; of the last minutes only."""
        rows = self._rows("SELECT minute, device, boots FROM new_boots")
        return {(row["minute"], row["device"]): row["boots"] for row in rows}

    def earlier(self, offsets: Sequence[int]) -> dict[int, Earlier]:
        """Offset → what an earlier judgement left of some messages; nothing of one that was stored whole."""
        repeats: dict[int, list[Span]] = {}
        keys: dict[int, dict[bytes, str]] = {}
        some = (json.dumps(list(offsets)),)
        for row in self._rows(f'SELECT "offset", first, last FROM repeats {_SOME}', some):  # noqa: S608  # a constant
            repeats.setdefault(row["offset"], []).append((row["first"], row["last"]))
        for row in self._rows(f'SELECT "offset", key, device FROM foreign_seen {_SOME}', some):  # noqa: S608  # same
            keys.setdefault(row["offset"], {})[row["key"]] = row["device"]
        waiting = {row["offset"] for row in self._rows(f'SELECT "offset" FROM waiting {_SOME}', some)}  # noqa: S608  # same
        quarantined = {message.offset: message for message in self.quarantine(offsets=offsets, limit=len(offsets))}
        return {
            offset: Earlier(
                repeats=tuple(repeats.get(offset, ())),
                quarantined=quarantined.get(offset),
                waiting=offset in waiting,
                keys=keys.get(offset, {}),
            )
            for offset in {*repeats, *keys, *waiting, *quarantined}
        }

    def foreign_offset(self, key: bytes) -> int | None:
        """Offset of the message that brought this row without a number first; None = it is new."""
        rows = self._rows('SELECT "offset" FROM foreign_seen WHERE key = ?', (key,))
        return int(rows[0]["offset"]) if rows else None

    def births(self, owner: bytes) -> Iterable[tuple[int, bytes]]:
        """(offset, body) of the births that are kept of a node or device."""
        rows = self._rows('SELECT "offset", body FROM births WHERE owner = ? ORDER BY "offset"', (owner,))
        return [(row["offset"], row["body"]) for row in rows]

    def recorded_signals(self) -> dict[str, RecordedSignal]:
        """Key → each signal that a plant model ever had while the recorder ran."""
        rows = self._rows("SELECT key, unit, range_low, range_high, planned FROM recorded_signal ORDER BY key")
        return {row["key"]: RecordedSignal(**{**row, "planned": bool(row["planned"])}) for row in rows}

    # what others ask

    def counts(self) -> dict[str, DeviceCounts]:
        """Counts of every device that was ever heard, in alphabetical order."""
        rows = self._rows(
            "SELECT device, stored, duplicates, late, clock_suspect, out_of_range, unnumbered, last_event_ns,"
            " last_record_ns, skew_ns, state FROM counts ORDER BY device"
        )
        return {row.pop("device"): DeviceCounts(**row) for row in rows}

    def quarantine(
        self,
        *,
        limit: int = QUARANTINE_LISTED_MAX,
        device: str | None = None,
        boot: str | None = None,
        reason: str | None = None,
        offsets: Sequence[int] | None = None,
        after: int | None = None,
    ) -> Iterator[Quarantined]:
        """At most `limit` messages, the newest first; of what is given, only those that fit.

        With `after`, the oldest first, and only what has a greater offset: so the next page is after the last one.
        """
        order = "ASC" if after is not None else "DESC"
        for row in self._rows(
            f"SELECT {_QUARANTINED} FROM quarantine {_CHOSEN}"  # noqa: S608  # constants and one of two words
            ' AND (:boot IS NULL OR boot = :boot) AND (:after IS NULL OR "offset" > :after)'
            f' ORDER BY "offset" {order} LIMIT :limit',
            {**_choice(device, reason, offsets), "boot": boot, "after": after, "limit": limit},
        ):
            yield _quarantined(row)

    def quarantined_messages(
        self, *, device: str | None = None, reason: str | None = None, offsets: Sequence[int] | None = None
    ) -> int:
        """How many messages `quarantine` would find without a limit."""
        rows = self._rows(
            f"SELECT count(*) AS messages FROM quarantine {_CHOSEN}",  # noqa: S608  # a constant
            _choice(device, reason, offsets),
        )
        return int(rows[0]["messages"])

    def waiting(self) -> tuple[WaitingEvent, ...]:
        """Events that the ledger holds, in the order in which they came."""
        rows = self._rows(
            'SELECT "offset", device, event_id, topic, payload, record_time_ns FROM waiting ORDER BY "offset"'
        )
        return tuple(WaitingEvent(**row) for row in rows)

    def _rows(self, statement: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> list[dict[str, Any]]:
        """All rows, each by column name."""
        with translated(self.path):
            cursor = self._connection.execute(statement, parameters)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]


_SOME = 'WHERE "offset" IN (SELECT value FROM json_each(?))'
_CHOSEN = (
    "WHERE (:device IS NULL OR device = :device) AND (:reason IS NULL OR reason = :reason)"
    ' AND (:offsets IS NULL OR "offset" IN (SELECT value FROM json_each(:offsets)))'
)
_QUARANTINED = '"offset", device, topic, payload, reason, message, record_time_ns, rows, numbered, boot, seq'


def _choice(device: str | None, reason: str | None, offsets: Sequence[int] | None) -> dict[str, object]:
    return {"device": device, "reason": reason, "offsets": None if offsets is None else json.dumps(list(offsets))}


def _quarantined(row: Mapping[str, Any]) -> Quarantined:
    return Quarantined(**{**row, "numbered": _truth(row["numbered"])})


def _truth(column: int | None) -> bool | None:
    return None if column is None else bool(column)


def _columns(noun: Any) -> dict[str, Any]:
    """Field → value of a flat dataclass with slots; `asdict` would copy each value deeply."""
    return {name: getattr(noun, name) for name in noun.__slots__}


def _each(values: Iterable[object]) -> list[tuple[object]]:
    return [(value,) for value in values]
