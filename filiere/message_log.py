"""The message log: what arrived, as raw bytes, in the order of arrival, on the disk before it is acknowledged.

It understands nothing of what it keeps. Everything after it is a reader with a bookmark (an offset), so that a mistake
in decoding is mended by reading again. Its beginning is pruned when every reader is past it; offsets never start again.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise, starmap
from pathlib import Path
from typing import Self

import msgspec

from filiere.errors import StoreRefused
from filiere.sqlite_file import (
    Layout,
    SqliteFile,
    is_damage,
    is_disk_error,
    meaning,
    open_reader,
    open_writer,
    settle,
    transaction,
)

PRUNED_BYTES_MAX = 1024 * 1024
"""Payload that one pruning deletes: each page of a large message is touched."""
FREE_PAGES_KEPT = 1024
"""Free pages (4 MiB) that are not given back: the next messages go there."""
FREE_SHARE_KEPT = 4
"""A quarter of the file may be free, for the same reason."""
PROBES_ONE_BY_ONE = 4096
"""Offsets tried one after the other behind a damaged place; beyond that, twice as far each time."""
OFFSET_MAX = 2**62
TIME_MAX_NS = 2**63 - 1

REPAIR = "stop `filiere collect` and run `filiere log repair`: it keeps all that can be read"

_MESSAGE = """
CREATE TABLE IF NOT EXISTS message (
  "offset" INTEGER PRIMARY KEY, topic BLOB NOT NULL, payload BLOB NOT NULL, record_time_ns INTEGER NOT NULL
)
"""
_LOST = "CREATE TABLE IF NOT EXISTS lost (first INTEGER PRIMARY KEY, last INTEGER NOT NULL)"
LAYOUT = Layout(
    kind="message log",
    application_id=0x46694C31,
    version=1,  # `lost` came later: programs that do not know it read the rest, and logs without it have lost nothing
    tables=(_MESSAGE, _LOST),
    gives_space_back=True,
    damaged=REPAIR,
)
_COLUMNS = '"offset", topic, payload, record_time_ns'
# ">=", not ">": a search for what is above the last message of a damaged page would look into that page
_READ = f'SELECT {_COLUMNS} FROM message WHERE "offset" >= ? ORDER BY "offset" LIMIT ?'  # noqa: S608  # constants
_ENDS = 'SELECT "offset" FROM message ORDER BY "offset" DESC LIMIT 2'
_APPEND = "INSERT INTO message (topic, payload, record_time_ns) VALUES (?, ?, ?)"


_Row = tuple[int, bytes, bytes, int]


class Message(msgspec.Struct, frozen=True, gc=False):  # ten times cheaper to make than a frozen dataclass
    """What arrived on a topic, untouched."""

    offset: int
    """Place in the log: 1, 2, ... in the order of arrival, without gaps but for what a damaged disk took."""
    topic: bytes
    payload: bytes
    record_time_ns: int
    """When it was received, UTC ns."""


class Unreadable(msgspec.Struct, frozen=True):
    """Offsets whose messages a damaged file does not give back."""

    first: int
    last: int | None
    """None = to the end, which cannot be found."""


class MessageLog(SqliteFile):
    """Appended by one process, read by others meanwhile. To be used by one thread at a time."""

    def __init__(self, path: Path, connection: sqlite3.Connection, *, writes: bool) -> None:
        super().__init__(path, connection)
        self._writes = writes
        self._doubtful = False
        self._head = 0  # of the writer: the last offset that it saw or gave
        self._next: int | None = None  # the offset to go on at, where the file itself does not say it

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open for appending; the file and its folder are made when they are not there.

        Raises:
            StoreUnavailable: locked by another process, disk full.
            StoreRefused: not a message log, damaged, or not writable.
        """
        log = cls(path, open_writer(path, LAYOUT), writes=True)
        try:
            log._take_up()
        except BaseException:
            log.close()
            raise
        return log

    @classmethod
    def open_reader(cls, path: Path) -> Self:
        """Open for reading only.

        Raises:
            StoreUnavailable: not made yet; try again.
            StoreRefused: not a message log, or damaged.
        """
        return cls(path, open_reader(path, LAYOUT), writes=False)

    @classmethod
    def open_damaged(cls, path: Path) -> Self:
        """Open for `walk`, whatever can still be read of it.

        Raises:
            StoreUnavailable: there is none.
            StoreRefused: not a message log, or damaged where a file says what it is.
        """
        return cls(path, open_reader(path, LAYOUT, damaged_too=True), writes=False)

    def append(self, batch: Sequence[tuple[bytes, bytes, int]]) -> int:
        """Add (topic, payload, record_time_ns) in this order, all or none; on the disk when it returns.

        Returns the offset of the last one; of the head when the batch is empty.

        Raises:
            StoreUnavailable: locked, disk full, the disk does not answer as it should; nothing was added.
            StoreRefused: damaged, or opened for reading; nothing was added.
        """
        if not batch:
            return self.head()
        with self._guarded() as connection:
            with transaction(connection):
                if self._next is None:
                    connection.executemany(_APPEND, batch)
                    (last,) = connection.execute("SELECT last_insert_rowid()").fetchone()
                    if last < self._head + len(batch):  # SQLite goes on behind what it takes for the last message
                        raise StoreRefused(f"{self.path}: got message {last} behind {self._head}; {REPAIR}")
                else:
                    self._keep(connection, list(starmap(Message, ((self._next + n, *m) for n, m in enumerate(batch)))))
                    last = self._next + len(batch) - 1
            self._next, self._head = None, int(last)
        return self._head

    def restore(self, messages: Sequence[Message]) -> None:
        """Put messages at the offsets that they have; those that are there stay. A damaged log is made anew with it.

        Raises StoreUnavailable, StoreRefused: as `append`; nothing was added.
        """
        with self._guarded() as connection, transaction(connection):
            self._keep(connection, messages)

    def close_gaps(self, first: int, head: int) -> tuple[Unreadable, ...]:
        """Write down as lost what is missing from offset `first` to `head`, or to the last message if that is higher;
        offsets go on after it. Returns all that is lost.

        Raises StoreUnavailable, StoreRefused: as `append`.
        """
        with self._guarded() as connection, transaction(connection):
            connection.execute(
                "INSERT OR REPLACE INTO lost"
                ' SELECT previous + 1, "offset" - 1 FROM'
                ' (SELECT "offset", lag("offset", 1, ?) OVER (ORDER BY "offset") AS previous FROM message)'
                ' WHERE "offset" > previous + 1',
                (first - 1,),
            )
            connection.execute(
                "INSERT OR REPLACE INTO lost"
                ' SELECT last + 1, ? FROM (SELECT ifnull(max("offset"), ?) AS last FROM message) WHERE last < ?',
                (head, first - 1, head),
            )
        self._take_up()
        return self.lost()

    def read(self, after: int, limit: int) -> list[Message]:
        """At most `limit` messages with an offset above `after`, in order. Empty at the head; short before damage.

        Raises:
            StoreUnavailable: as `open_reader`.
            StoreRefused: damaged: the next message cannot be read; says which ones cannot.
        """
        with self._guarded() as connection:
            try:
                rows = connection.execute(_READ, (after + 1, limit)).fetchall()
                if _plausible(connection, rows, after):
                    return list(starmap(Message, rows))
                problem = "what is no message"
            except sqlite3.Error as error:
                if not is_damage(error):
                    raise
                problem = str(error)
            readable = _until_damage(connection, after, limit)
            if not readable:
                raise StoreRefused(self._told(_unreadable(connection, after + 1), problem))
        return readable

    def walk(self, after: int = 0, *, limit: int = 1000) -> Iterator[list[Message] | Unreadable]:
        """Everything above `after`, in order, damaged or not: messages, at most `limit` at a time, and what is lost.

        Raises StoreUnavailable, StoreRefused: the file as a whole cannot be read.
        """
        while True:
            with self._guarded() as connection:
                readable = _until_damage(connection, after, limit)
                lost = _unreadable(connection, after + 1) if not readable else None
            if readable:
                yield readable
                after = readable[-1].offset
            elif lost is not None:
                yield lost
                if lost.last is None:
                    return
                after = lost.last
            else:
                return

    def first(self) -> int:
        """Offset of the oldest message that is kept; 0 when there is none."""
        with self._guarded() as connection:
            return _first(connection)

    def head(self) -> int:
        """Offset of the last message; 0 when there is none.

        Raises StoreUnavailable, StoreRefused: as `read`; what stands at the end cannot be the last message.
        """
        with self._guarded() as connection:
            head = _head(connection)
        if head is None:
            raise StoreRefused(f"{self.path}: got an end that no message can have; {REPAIR}")
        return head

    def count(self) -> int:
        """How many messages are kept. Reads the whole file."""
        with self._guarded() as connection:
            (count,) = connection.execute("SELECT count(*) FROM message").fetchone()
        return int(count)

    def offset_at(self, time_ns: int, *, now_ns: int = TIME_MAX_NS) -> int:
        """Offset of the first message received at `time_ns` or later; one above the head when there is none.

        Exact where the clock never went back; there, it is one of the places where that time was reached. What seems to
        have been received after `now_ns` is passed over.
        """
        low, high = max(self.first(), 1), self.head() + 1
        while low < high:
            middle = (low + high) // 2
            (message,) = self.read(middle - 1, 1)
            if not time_ns <= message.record_time_ns <= now_ns:
                low = message.offset + 1
            else:
                high = middle
        return low

    def lost(self) -> tuple[Unreadable, ...]:
        """What was not there any more when this log was made from a damaged one, in order."""
        with self._guarded() as connection:
            return tuple(Unreadable(first=first, last=last) for first, last in _lost(connection))

    def prune(self, before: int, limit: int, *, older_than_ns: int = TIME_MAX_NS) -> int:
        """Delete the oldest messages, below offset `before` and up to the last that was received before
        `older_than_ns`: at most `limit`, and PRUNED_BYTES_MAX of payload. The last message always stays.

        Returns how many; 0 = there is nothing to delete.

        Raises StoreUnavailable, StoreRefused: as `append`; nothing was deleted.
        """
        size, seen, cut, pruned = 0, 0, 0, 0
        with self._guarded() as connection:
            oldest = connection.execute(
                'SELECT "offset", record_time_ns, length(payload) FROM message'
                ' WHERE "offset" < min(?, (SELECT max("offset") FROM message)) ORDER BY "offset" LIMIT ?',
                (before, limit),
            )
            for offset, record_time_ns, length in oldest:
                seen, size = seen + 1, size + length
                if record_time_ns < older_than_ns:
                    cut, pruned = offset, seen
                if size >= PRUNED_BYTES_MAX:
                    break
            oldest.close()
            if pruned:
                with transaction(connection):
                    connection.execute('DELETE FROM message WHERE "offset" <= ?', (cut,))
        return pruned

    def give_back(self, pages: int) -> int:
        """Make the file smaller by at most so many of its free pages; some are kept for the messages to come.

        Returns how many are still to be given back: 0 = none. A log that an older program made keeps them all.

        Raises StoreUnavailable, StoreRefused: as `append`.
        """
        with self._guarded() as connection:
            surplus = self._surplus(connection)
            if surplus <= 0:
                return 0
            # executescript: execute would take one step of it, which is one page
            connection.executescript(f"PRAGMA incremental_vacuum({min(pages, surplus)})")
            left = self._surplus(connection)
        return left if left < surplus else 0

    @staticmethod
    def _surplus(connection: sqlite3.Connection) -> int:
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        (total,) = connection.execute("PRAGMA page_count").fetchone()
        return int(free) - max(FREE_PAGES_KEPT, int(total) // FREE_SHARE_KEPT)

    @staticmethod
    def _keep(connection: sqlite3.Connection, messages: Sequence[Message]) -> None:
        connection.executemany(
            f"INSERT OR IGNORE INTO message ({_COLUMNS}) VALUES (?, ?, ?, ?)",  # noqa: S608  # constants
            [(each.offset, each.topic, each.payload, each.record_time_ns) for each in messages],
        )

    def _take_up(self) -> None:
        """What is found is on the disk before more is promised; offsets that were lost are not given again."""
        settle(self._connection, self.path, REPAIR)
        self._head = self.head()
        beyond = max((span.last or 0 for span in self.lost()), default=0) + 1
        self._next = beyond if beyond > self._head + 1 else None

    @contextmanager
    def _guarded(self) -> Iterator[sqlite3.Connection]:
        """The open file; after an I/O error, the file opened anew (see sqlite_file). Errors are translated."""
        if self._doubtful:
            self._connection.close()
            self._connection = open_writer(self.path, LAYOUT) if self._writes else open_reader(self.path, LAYOUT)
            if self._writes:
                settle(self._connection, self.path, REPAIR)
            self._doubtful = False
        try:
            yield self._connection
        except sqlite3.Error as error:
            self._doubtful = is_disk_error(error)
            raise meaning(self.path, error, REPAIR) from error

    def _told(self, lost: Unreadable | None, problem: str) -> str:
        where = "there" if lost is None else f"{lost.first} to {'the end' if lost.last is None else lost.last}"
        return f"{self.path}: got {problem}; messages {where} cannot be read; {REPAIR}"


def _until_damage(connection: sqlite3.Connection, after: int, limit: int) -> list[Message]:
    """What `read` gives before the first message that cannot be read, or a part of it; none = damage, or the head."""
    while limit:
        rows = _rows(connection, after, limit)
        if rows is not None:
            return list(starmap(Message, rows))
        limit //= 2  # sqlite3 steps ahead of what it gives: rows before the damage come only when none is asked there
    return []


def _rows(connection: sqlite3.Connection, after: int, limit: int) -> list[_Row] | None:
    """None = damage."""
    try:
        rows = connection.execute(_READ, (after + 1, limit)).fetchall()
    except sqlite3.Error as error:
        if is_damage(error) or is_disk_error(error):
            return None
        raise
    return rows if _plausible(connection, rows, after) else None


def _plausible(connection: sqlite3.Connection, rows: Sequence[_Row], after: int) -> bool:
    """Whether these can be messages: SQLite takes a page that is half zeros for one of empty rows numbered 0."""
    offsets = [row[0] for row in rows]
    if offsets == list(range(after + 1, after + 1 + len(rows))):
        return bool(rows) or _head(connection) is not None
    gaps = [(before + 1, offset - 1) for before, offset in pairwise([after, *offsets]) if offset != before + 1]
    if gaps[0][0] == after + 1 and _first(connection) >= offsets[0]:
        del gaps[0]  # pruned
    lost = _lost(connection)
    return all(
        start <= end and any(first <= start and end <= last for first, last in lost) for start, end in gaps
    ) and all(type(row[1]) is type(row[2]) is bytes and type(row[3]) is int for row in rows)


def _first(connection: sqlite3.Connection) -> int:
    (offset,) = connection.execute('SELECT min("offset") FROM message').fetchone()
    return offset or 0


def _head(connection: sqlite3.Connection) -> int | None:
    """None = damage."""
    ends = [offset for (offset,) in connection.execute(_ENDS)]
    if not ends:
        return 0
    head, previous = ends if len(ends) > 1 else (ends[0], ends[0] - 1)
    sound = head > 0 and (head == previous + 1 or (previous + 1, head - 1) in _lost(connection))
    return int(head) if sound else None


def _lost(connection: sqlite3.Connection) -> list[tuple[int, int]]:
    if not connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'lost'").fetchone()[0]:
        return []
    return connection.execute("SELECT first, last FROM lost ORDER BY first").fetchall()


def _unreadable(connection: sqlite3.Connection, first: int) -> Unreadable | None:
    """What is lost from `first` on; None when nothing is there."""

    def answers(offset: int) -> bool:
        return _rows(connection, offset - 1, 1) is not None

    if answers(first):
        return None
    bad, good = first, first + 1
    while not answers(good):
        if good > OFFSET_MAX:
            return Unreadable(first=first, last=None)
        bad, good = good, good + max(1, good - first - PROBES_ONE_BY_ONE)
    while good - bad > 1:
        middle = (bad + good) // 2
        bad, good = (bad, middle) if answers(middle) else (middle, good)
    return Unreadable(first=first, last=bad)
