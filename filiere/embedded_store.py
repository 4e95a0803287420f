"""The readings store for a laptop: one SQLite file, nothing to install. One process writes, others read meanwhile."""

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from filiere.errors import StoreRefused
from filiere.readings import (
    QUALITIES,
    AccountMark,
    Block,
    Latest,
    RunMark,
    Series,
    quality_index,
    refuse_bad_account,
    refuse_bad_device,
    refuse_bad_line,
    refuse_bad_signal,
    refuse_not_finite,
    split_key,
)
from filiere.sqlite_file import Layout, open_writer, transaction, translated

_SERIES = "CREATE TABLE IF NOT EXISTS series (id INTEGER PRIMARY KEY, line TEXT, key TEXT, UNIQUE (line, key))"
_READING = """
CREATE TABLE IF NOT EXISTS reading (
  series INTEGER NOT NULL REFERENCES series, time_ns INTEGER NOT NULL, value REAL NOT NULL, quality INTEGER NOT NULL,
  PRIMARY KEY (series, time_ns)
) WITHOUT ROWID
"""  # clustered by series and time: a window of one signal is one range of pages
_RUN_MARK = """
CREATE TABLE IF NOT EXISTS run_mark (
  line TEXT NOT NULL, time_ns INTEGER NOT NULL, state TEXT NOT NULL, run TEXT NOT NULL, lot TEXT NOT NULL,
  recipe TEXT NOT NULL, PRIMARY KEY (line, time_ns)
) WITHOUT ROWID
"""
_ACCOUNT_MARK = """
CREATE TABLE IF NOT EXISTS account_mark (
  collector TEXT NOT NULL, device TEXT NOT NULL, time_ns INTEGER NOT NULL, "values" TEXT NOT NULL,
  PRIMARY KEY (collector, device, time_ns)
) WITHOUT ROWID
"""  # values as JSON: which there are grows with the program
LAYOUT = Layout(
    kind="readings store",
    application_id=0x46695231,
    version=2,
    tables=(_SERIES, _READING, _RUN_MARK, _ACCOUNT_MARK),
    upgrades={1: (_ACCOUNT_MARK,)},
)

_ROW = np.dtype([("time_ns", np.int64), ("value", np.float64), ("quality", np.uint8)])


class EmbeddedStore:
    """ReadingsStore on SQLite."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.name = f"embedded {path}"
        self._path = path
        self._connection = connection
        self._lock = threading.Lock()
        self._series: dict[tuple[str, str, str], int] = {}
        self._refusal: str | None = None
        """Why the file took nothing the last time: it is damaged, or may not be written. No row is to blame."""

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the file, made with its folder when it is not there.

        Raises:
            StoreUnavailable: locked by another process, disk full.
            StoreRefused: not a readings store, damaged, or not writable.
        """
        return cls(path, open_writer(path, LAYOUT))

    def write(
        self, blocks: Sequence[Block], marks: Sequence[RunMark] = (), accounts: Sequence[AccountMark] = ()
    ) -> None:
        """See ReadingsStore."""
        refuse_not_finite(blocks)
        for mark in marks:
            refuse_bad_line(mark.line)
        for account in accounts:
            refuse_bad_account(account)
        with self._lock:
            try:
                with translated(self._path), transaction(self._connection):
                    self._insert(blocks, marks, accounts)
            except BaseException as error:
                self._series.clear()  # what was rolled back may have made some of them
                of_file = isinstance(error, StoreRefused) and error.__cause__ is not None  # SQLite's word, not ours
                self._refusal = str(error) if of_file else None
                raise
            self._refusal = None

    def _insert(self, blocks: Sequence[Block], marks: Sequence[RunMark], accounts: Sequence[AccountMark]) -> None:
        self._connection.executemany("INSERT OR REPLACE INTO reading VALUES (?, ?, ?, ?)", self._readings(blocks))
        self._connection.executemany(
            "INSERT OR REPLACE INTO run_mark VALUES (?, ?, ?, ?, ?, ?)",
            ((mark.line, mark.time_ns, mark.state, mark.run, mark.lot, mark.recipe) for mark in marks),
        )
        self._connection.executemany(
            "INSERT OR REPLACE INTO account_mark VALUES (?, ?, ?, ?)",
            ((mark.collector, mark.device or "", mark.time_ns, json.dumps(dict(mark.values))) for mark in accounts),
        )

    def _readings(self, blocks: Sequence[Block]) -> Iterator[tuple[int, int, float, int]]:
        for block in blocks:
            for signal, column in block.values.items():
                known = self._series.get((block.line, block.device, signal))
                series = self._series_id(block.line, block.device, signal) if known is None else known
                flags = {place: quality_index(word) for place, word in block.quality.get(signal, {}).items()}
                for place, (time_ns, value) in enumerate(zip(block.time_ns, column, strict=True)):
                    if value is not None:
                        yield series, time_ns, value + 0.0, flags.get(place, 0)

    def _series_id(self, line: str, device: str, signal: str) -> int:
        refuse_bad_line(line)
        refuse_bad_device(device)
        refuse_bad_signal(signal)
        key = f"{device}.{signal}"
        self._connection.execute("INSERT OR IGNORE INTO series (line, key) VALUES (?, ?)", (line, key))
        (series,) = self._connection.execute("SELECT id FROM series WHERE line = ? AND key = ?", (line, key)).fetchone()
        self._series[line, device, signal] = series
        return int(series)

    def window(self, line: str, keys: Sequence[str], start_ns: int, stop_ns: int) -> tuple[Series, ...]:
        """See ReadingsStore."""
        refuse_bad_line(line)
        for key in keys:
            split_key(key)
        with self._lock, translated(self._path):
            return tuple(self._series_window(line, key, start_ns, stop_ns) for key in keys)

    def _series_window(self, line: str, key: str, start_ns: int, stop_ns: int) -> Series:
        found = self._connection.execute(
            "SELECT time_ns, value, quality FROM reading"
            " WHERE series = (SELECT id FROM series WHERE line = ? AND key = ?) AND time_ns >= ? AND time_ns < ?"
            " ORDER BY time_ns",
            (line, key, start_ns, stop_ns),
        )
        table = np.fromiter(found, dtype=_ROW)
        return Series(
            key=key,
            time_ns=np.ascontiguousarray(table["time_ns"]),
            value=np.ascontiguousarray(table["value"]),
            quality=np.ascontiguousarray(table["quality"]),
        )

    def latest(self, line: str) -> tuple[Latest, ...]:
        """See ReadingsStore."""
        with self._lock, translated(self._path):
            found = self._connection.execute(
                "SELECT series.key, reading.time_ns, reading.value, reading.quality FROM series JOIN reading"
                " ON reading.series = series.id"
                " AND reading.time_ns = (SELECT max(time_ns) FROM reading WHERE series = series.id)"
                " WHERE series.line = ? ORDER BY series.key",
                (line,),
            ).fetchall()
        return tuple(
            Latest(key=key, time_ns=time_ns, value=value, quality=QUALITIES[quality])
            for key, time_ns, value, quality in found
        )

    def check(self) -> None:
        """See ReadingsStore. Only reads: whoever asks must not hold up the writer. What a write met, it says again."""
        with self._lock, translated(self._path):
            self._connection.execute("SELECT 1 FROM series LIMIT 1").fetchone()
            if self._refusal is not None:
                raise StoreRefused(self._refusal)

    def close(self) -> None:
        """See ReadingsStore."""
        with self._lock:
            self._connection.close()
