"""What a receipt takes from the recorder's book: numbers that are known, and what was refused. Reads only."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from collector.codec import EVENTS, READINGS, TOPIC_ROOT
from collector.receipts.receipt import Refusal
from collector.recorder.book_layout import LAYOUT
from collector.recorder.numbers import Span
from filiere.sqlite_file import SqliteFile, open_reader, translated

OffsetTopicBoot = tuple[int, bytes, str | None]
"""A refused message: its place in the log, its topic, its boot where that could be read."""


class ReceiptBook(SqliteFile):
    """The recorder's book, while the recorder writes it."""

    @classmethod
    def open(cls, path: Path) -> Self:
        """Raises StoreUnavailable (not made yet, or locked), StoreRefused."""
        return cls(path, open_reader(path, LAYOUT))

    def recorded_to(self) -> int:
        """Offset up to which the numbers of every message are in the book."""
        ((offset,),) = self._rows("SELECT max(recorded_to, bookmark) FROM progress")
        return int(offset)

    def known_spans(self, device: str, boot: str, limit: int) -> list[Span]:
        """Numbers seen of a boot, ascending: the span that begins with 0, and the newest ones, `limit` in all."""
        rows = self._rows(
            "SELECT first, last FROM numbers WHERE device = ?1 AND boot = ?2 AND first = 0"
            " UNION SELECT * FROM (SELECT first, last FROM numbers WHERE device = ?1 AND boot = ?2"
            " ORDER BY first DESC LIMIT ?3) ORDER BY first",
            (device, boot, limit - 1),
        )
        return [(first, last) for first, last in rows]

    def refusals(self, device: str, boot: str, limit: int) -> list[Refusal]:
        """What is in quarantine of a boot, the newest numbers first; also of a device that is in no plant."""
        topics = [f"{TOPIC_ROOT}/{device}/{kind}".encode() for kind in (READINGS, EVENTS)]
        rows = self._rows(
            "SELECT seq, rows, reason, message FROM quarantine WHERE device IN (?, '') AND boot = ? AND topic IN (?, ?)"
            " AND seq IS NOT NULL ORDER BY seq DESC LIMIT ?",
            (device, boot, *topics, limit),
        )
        return [Refusal(seq=seq, rows=count, reason=reason, message=words) for seq, count, reason, words in rows]

    def newest_refused(self) -> int:
        """Offset of the newest message in quarantine; 0 = none."""
        ((offset,),) = self._rows('SELECT max("offset") FROM quarantine')
        return offset or 0

    def refused_after(self, offset: int, limit: int) -> list[OffsetTopicBoot]:
        """At most `limit` refused messages that stand after `offset` in the log, in this order."""
        return self._rows(
            'SELECT "offset", topic, boot FROM quarantine WHERE "offset" > ? ORDER BY "offset" LIMIT ?',
            (offset, limit),
        )

    def waiting(self) -> frozenset[int]:
        """Offsets of events that the ledger holds: they may still be refused."""
        return frozenset(offset for (offset,) in self._rows('SELECT "offset" FROM waiting'))

    def _rows(self, statement: str, parameters: Sequence[object] = ()) -> list[Any]:
        with translated(self.path):
            return self._connection.execute(statement, parameters).fetchall()
