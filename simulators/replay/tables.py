"""A recorded file → its columns, some rows at a time: CSV, JSONL and Parquet alike, whatever is wrong in between.

A row that cannot be read is counted and left out; a file that cannot be read as a whole is refused.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from filiere.errors import ScenarioError
from simulators.replay.cells import Absent, Cell, shown
from simulators.replay.dirt import Dirt, Findings
from simulators.replay.mapping import Kind, Layout
from simulators.replay.recording import Read, unheard
from simulators.replay.times import Moments

CHUNK_ROWS = 8192
LINE_CHARACTERS_MAX = 1024 * 1024
COLUMNS_MAX = 10_000
NAMES_ROWS = 1000
"""Rows of a JSONL file whose names are its columns."""
NESTING_MAX = 8
BROKEN_SHARE_MAX = 0.5
"""Of a file's rows; where more cannot be read, the layout is wrong and not the rows."""
LETTER_LOST = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Some rows of a file."""

    file: str
    columns: Mapping[str, Sequence[Cell] | Moments]
    numbers: Sequence[int]
    """Of each row: the line of a text file, the row of a Parquet file, from 1."""

    def where(self, place: int, cell: object) -> str:
        """A row and what stands there, for people."""
        return f"{self.file}:{self.numbers[place]}: {shown(cell)}"


@dataclass(slots=True, kw_only=True)
class TableFile:
    """One recorded file."""

    path: Path
    layout: Layout
    findings: Findings
    read: Read = unheard
    may_be_empty: bool = False
    """A file with names and no row is one too."""
    rows: int = 0
    """Read so far, without the broken ones."""
    _broken: int = 0
    _told: int = 0
    """Bytes of which `read` was told."""

    def names(self) -> list[str]:
        """Names of the columns, in their order. Raises ScenarioError, as `chunks`."""
        with _in_words(self.path):
            if self.layout.kind is Kind.PARQUET:
                with pq.ParquetFile(self.path) as file:
                    return list(file.schema_arrow.names)
            with self._text() as text:
                if self.layout.kind is Kind.CSV:
                    return self._header(text)
                names: dict[str, None] = {}
                unheard = TableFile(path=self.path, layout=self.layout, findings=Findings())
                for _, document in islice(_documents(text, unheard), NAMES_ROWS):
                    names |= dict.fromkeys(document)
                return list(names)

    def chunks(self, columns: Sequence[str]) -> Iterator[Chunk]:
        """The rows of these columns; one that the file does not have is left out.

        Raises:
            ScenarioError: no such file, empty, truncated, of another kind, or most rows cannot be read.
        """
        with _in_words(self.path):
            if self.layout.kind is Kind.PARQUET:
                yield from self._parquet(columns)
            else:
                with self._text() as text:
                    yield from self._csv(text, columns) if self.layout.kind is Kind.CSV else self._jsonl(text, columns)
        if not (self.rows or self._broken or self.may_be_empty):
            raise ScenarioError(f"{self.path}: got no row; expected at least one below the names")
        if self._broken > BROKEN_SHARE_MAX * (self.rows + self._broken):
            first = self.findings.by_kind[Dirt.BROKEN_ROW].first
            raise ScenarioError(
                f"{self.path}: got {self._broken} rows that cannot be read, of {self.rows + self._broken} (the first:"
                f" {first}); expected rows like the names above them: correct file: in the mapping, `filiere replay"
                " inspect FILE` proposes it"
            )

    def broken(self, number: int, got: object) -> None:
        """Count a row that cannot be read."""
        self._broken += 1
        self.findings.add(Dirt.BROKEN_ROW, f"{self.path.name}:{number}: {shown(got)}")

    def _tell(self, position: int) -> None:
        """`position`: bytes read so far."""
        self.read(position - self._told)
        self._told = position

    @contextmanager
    def _text(self) -> Iterator[TextIO]:
        encoding = "utf-8-sig" if self.layout.encoding.lower().replace("_", "-") == "utf-8" else self.layout.encoding
        with self.path.open(encoding=encoding, errors="replace") as text:
            yield text

    def lines(self, text: TextIO) -> Iterator[tuple[int, str]]:
        """Number and line, without its end; blank ones are passed over."""
        number, line = 0, "\n"
        while line := text.readline(LINE_CHARACTERS_MAX):
            number += 1
            if len(line) >= LINE_CHARACTERS_MAX:
                raise ScenarioError(
                    f"{self.path}:{number}: got a line of {LINE_CHARACTERS_MAX} characters and more; expected rows:"
                    " check the file's kind and encoding"
                )
            if LETTER_LOST in line:
                self.findings.add(Dirt.BAD_LETTER, f"{self.path.name}:{number}", line.count(LETTER_LOST))
            ended = line.endswith("\n")
            line = line.rstrip("\r\n")
            broken = self._broken
            if line.strip(" \t"):
                yield number, line
            if not ended and self._broken == broken:
                self.findings.add(Dirt.UNENDED, f"{self.path.name}:{number}: {shown(line[-30:])}")

    def _header(self, text: TextIO) -> list[str]:
        for number in range(1, self.layout.header_line + 1):
            line = text.readline(LINE_CHARACTERS_MAX)
            if not line:
                got = "an empty file" if number == 1 else f"{number - 1} lines"
                raise ScenarioError(
                    f"{self.path}: got {got}; expected the names of columns in line {self.layout.header_line}"
                )
        cells = cells_of(line.rstrip("\r\n"), self.layout.separator) or []
        if len(cells) > COLUMNS_MAX:
            raise ScenarioError(f"{self.path}: got {len(cells)} columns; expected at most {COLUMNS_MAX}")
        return unique([cell.strip() for cell in cells])

    def _csv(self, text: TextIO, columns: Sequence[str]) -> Iterator[Chunk]:
        header = self._header(text)
        places = [(name, header.index(name)) for name in columns if name in header]
        rows: list[list[str]] = []
        numbers: list[int] = []
        for below, line in self.lines(text):
            number = below + self.layout.header_line
            cells = cells_of(line, self.layout.separator)
            if cells is not None and len(cells) > len(header) and not any(cells[len(header) :]):
                del cells[len(header) :]
            if cells is None or len(cells) != len(header):
                self.broken(number, line)
                continue
            if [cell.strip() for cell in cells] == header:
                self.findings.add(Dirt.REPEATED_HEADER, f"{self.path.name}:{number}")
                continue
            rows.append(cells)
            numbers.append(number)
            if len(rows) == CHUNK_ROWS:
                self._tell(text.buffer.tell())
                yield self._chunk(rows, numbers, places)
                rows, numbers = [], []
        if rows:
            yield self._chunk(rows, numbers, places)

    def _chunk(self, rows: list[list[str]], numbers: list[int], places: list[tuple[str, int]]) -> Chunk:
        self.rows += len(rows)
        return Chunk(
            file=self.path.name, columns={name: [row[place] for row in rows] for name, place in places}, numbers=numbers
        )

    def _jsonl(self, text: TextIO, columns: Sequence[str]) -> Iterator[Chunk]:
        rows: list[dict[str, Cell]] = []
        numbers: list[int] = []
        for number, document in _documents(text, self):
            rows.append(document)
            numbers.append(number)
            if len(rows) == CHUNK_ROWS:
                self._tell(text.buffer.tell())
                yield self._objects(rows, numbers, columns)
                rows, numbers = [], []
        if rows:
            yield self._objects(rows, numbers, columns)

    def _objects(self, rows: list[dict[str, Cell]], numbers: list[int], columns: Sequence[str]) -> Chunk:
        self.rows += len(rows)
        return Chunk(
            file=self.path.name,
            columns={name: [row.get(name, Absent.CELL) for row in rows] for name in columns},
            numbers=numbers,
        )

    def _parquet(self, columns: Sequence[str]) -> Iterator[Chunk]:
        size = self.path.stat().st_size
        with pq.ParquetFile(self.path) as file:
            names = [name for name in columns if name in file.schema_arrow.names]
            for batch in file.iter_batches(batch_size=CHUNK_ROWS, columns=names):
                first = self.rows + 1
                self.rows += batch.num_rows
                self._tell(size * self.rows // file.metadata.num_rows)
                yield Chunk(
                    file=self.path.name,
                    columns={name: _cells(batch.column(place)) for place, name in enumerate(batch.schema.names)},
                    numbers=range(first, first + batch.num_rows),
                )


def unique(names: list[str]) -> list[str]:
    """Names of columns, each once: `T`, `T` → `T`, `T #2`; one without a name is called after its place."""
    found: list[str] = []
    for place, name in enumerate(names, 1):
        wanted, again = name or f"column {place}", 1
        while wanted in found:
            again += 1
            wanted = f"{name or f'column {place}'} #{again}"
        found.append(wanted)
    return found


def cells_of(line: str, separator: str) -> list[str] | None:
    """The cells of a line; None = its quotation marks make no sense. A cell does not go on in the next line."""
    if '"' not in line:
        return line.split(separator)
    try:
        return next(csv.reader([line], delimiter=separator, strict=True), None)
    except csv.Error:
        return None


def _documents(text: TextIO, file: TableFile) -> Iterator[tuple[int, dict[str, Cell]]]:
    """Number and fields of each line that is a JSON object; names of nested ones are joined by a dot."""
    for number, line in file.lines(text):
        try:
            document = msgspec.json.decode(line)
        except (msgspec.DecodeError, ValueError, RecursionError):
            document = None
        flat: dict[str, Cell] = {}
        if not isinstance(document, dict) or not _flatten(document, "", flat, NESTING_MAX):
            file.broken(number, line)
        else:
            yield number, flat


def _flatten(document: dict[str, Any], prefix: str, flat: dict[str, Cell], deep: int) -> bool:
    """False: nested too deep. Lists are no readings, and are passed over."""
    for name, value in document.items():
        if isinstance(value, dict):
            if not deep or not _flatten(value, f"{prefix}{name}.", flat, deep - 1):
                return False
        elif not isinstance(value, list):
            flat[f"{prefix}{name}"] = value
    return True


def _cells(column: "pa.Array[Any]") -> Sequence[Cell] | Moments:
    """A Parquet column → its cells."""
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        local = not (pa.types.is_timestamp(column.type) and column.type.tz)
        exact: Any = (
            column.cast(pa.timestamp("ns"), safe=False) if local else column.cast(pa.timestamp("ns", "UTC"), safe=False)
        )
        time_ns = pc.fill_null(exact.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
        return Moments(
            time_ns=np.array(time_ns, dtype=np.int64),
            missing=column.is_null().to_numpy(zero_copy_only=False),
            local=local,
        )
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    return [cell if isinstance(cell, str | int | float) else None for cell in column.to_pylist()]


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    """What goes wrong with a file as a whole → ScenarioError."""
    try:
        if path.is_file() and not path.stat().st_size:
            raise ScenarioError(f"{path}: got an empty file; expected recorded rows")
        yield
    except OSError as error:
        raise ScenarioError(f"{path}: got {error.strerror or error}; expected a file that may be read") from None
    except UnicodeError as error:
        raise ScenarioError(
            f"{path}: got {error}; expected the encoding that the mapping names: correct file"
        ) from None
    except pa.ArrowException as error:
        words = " ".join(str(error).split())[:200]
        raise ScenarioError(f"{path}: got {words}; expected a whole Parquet file: it is truncated or damaged") from None
