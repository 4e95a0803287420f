"""The recorder's book, as accounts and the quarantine's commands ask it. Reads only."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator

from collector.accounts.write_offs import OpenBoot
from collector.recorder.book import RecordBook
from collector.recorder.numbers import Span
from filiere.sqlite_file import translated


class AccountBook(RecordBook):
    """What each device published and what became of it, while the recorder writes. Opened with `open_reader`."""

    def waiting_counts(self) -> Counter[str]:
        """Device → events that the ledger holds."""
        rows = self._rows("SELECT device, count(*) AS events FROM waiting GROUP BY device")
        return Counter({row["device"]: row["events"] for row in rows})

    def published(self) -> dict[str, tuple[int, int]]:
        """Device → (numbers seen, numbers from 0 to the highest seen), added up over its boots."""
        published: dict[str, tuple[int, int]] = {}
        for row in self._rows(
            "SELECT device, sum(last - first + 1) AS seen, max(last) + 1 AS up_to FROM numbers GROUP BY device, boot"
        ):  # added up here: boots of any number of hostile devices would overflow SQLite's integers
            seen, up_to = published.get(row["device"], (0, 0))
            published[row["device"]] = (seen + row["seen"], up_to + row["up_to"])
        return published

    def spans(self) -> Iterator[tuple[str, str, Span]]:
        """(device, boot, first and last number) of every span of numbers seen, in this order."""
        with translated(self.path):
            for device, boot, first, last in self._connection.execute(
                "SELECT device, boot, first, last FROM numbers ORDER BY device, boot, first"
            ):
                yield device, boot, (first, last)

    def gaps(self, limit: int) -> Iterator[tuple[str, str, Span]]:
        """(device, boot, first and last number) of what is missing below the highest number seen, `limit` a device."""
        with translated(self.path):
            for device, boot, first, last in self._connection.execute(
                "SELECT device, boot, first, last FROM (SELECT device, boot, first, last,"
                " row_number() OVER (PARTITION BY device ORDER BY boot, first) AS place FROM (SELECT device, boot,"
                " ifnull(lag(last) OVER (PARTITION BY device, boot ORDER BY first), -1) + 1 AS first, first - 1 AS last"
                " FROM numbers) WHERE first <= last) WHERE place <= ? ORDER BY device, boot, first",
                (limit,),
            ):
                yield device, boot, (first, last)

    def missing_up_to(self, device: str, boot: str, up_to: int) -> int:
        """How many of the numbers 0 to `up_to` of a boot were never seen."""
        (row,) = self._rows(
            "SELECT ifnull(sum(min(last, :up_to) - first + 1), 0) AS seen FROM numbers"
            " WHERE device = :device AND boot = :boot AND first <= :up_to",
            {"device": device, "boot": boot, "up_to": up_to},
        )
        return up_to + 1 - int(row["seen"])

    def open_boots(self) -> list[OpenBoot]:
        """Every boot of which numbers are missing."""
        rows = self._rows(
            "SELECT device, boot, max(last) AS up_to, max(last) + 1 - sum(last - first + 1) AS missing FROM numbers"
            " GROUP BY device, boot HAVING missing > 0 ORDER BY device, boot"
        )
        return [OpenBoot(**row) for row in rows]

    def refused_numbers(self) -> Iterator[tuple[str, str, Span, str]]:
        """(device, boot, first and last number, reason) of what is in quarantine, where its numbers could be read."""
        with translated(self.path):
            for device, boot, first, rows, reason in self._connection.execute(
                "SELECT device, boot, seq, rows, reason FROM quarantine WHERE numbered AND seq IS NOT NULL"
            ):
                yield device, boot, (first, first + rows - 1), reason

    def foreign_keys(self) -> Iterator[tuple[str, bytes]]:
        """(device, identity) of every row that came without a number, as far back as the message log goes."""
        with translated(self.path):
            yield from self._connection.execute("SELECT device, key FROM foreign_seen")

    def quarantine_counts(self) -> Counter[tuple[str, str, bool | None]]:
        """(device, reason, numbered) → rows."""
        rows = self._rows(
            "SELECT device, reason, numbered, sum(rows) AS refused FROM quarantine GROUP BY device, reason, numbered"
        )
        return Counter({(row["device"], row["reason"], _truth(row["numbered"])): row["refused"] for row in rows})

    def refused_messages(self) -> int:
        """How many messages are in quarantine."""
        (row,) = self._rows("SELECT count(*) AS messages FROM quarantine")
        return int(row["messages"])

    def refused_offsets(self, *, device: str | None = None, reason: str | None = None) -> list[int]:
        """Offsets of the messages in quarantine, the oldest first; of what is given, only those that fit."""
        rows = self._rows(
            'SELECT "offset" FROM quarantine WHERE ifnull(:device, device) = device'
            ' AND ifnull(:reason, reason) = reason ORDER BY "offset"',
            {"device": device, "reason": reason},
        )
        return [row["offset"] for row in rows]

    def refused_reasons(self, offsets: Iterable[int]) -> Counter[str]:
        """Reason → how many of these messages are in quarantine for it."""
        rows = self._rows(
            'SELECT reason, count(*) AS messages FROM quarantine WHERE "offset" IN (SELECT value FROM json_each(?))'
            " GROUP BY reason",
            (json.dumps(list(offsets)),),
        )
        return Counter({row["reason"]: row["messages"] for row in rows})


def _truth(column: int | None) -> bool | None:
    return None if column is None else bool(column)
