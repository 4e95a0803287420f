"""Files of a historian → the rows of each device: read, cleaned, converted and in order. Wide and long files alike."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from filiere.errors import ScenarioError
from filiere.units import converter
from simulators.replay.cells import Absent, Cell, numbers, word
from simulators.replay.cleaning import (
    Rows,
    Values,
    count_backward,
    count_gaps,
    in_order,
    joined,
    without_halved,
    without_repeated,
)
from simulators.replay.dirt import Dirt, Findings
from simulators.replay.mapping import ColumnMapping, Source, TimeColumns
from simulators.replay.mapping_file import absent
from simulators.replay.tables import Chunk, TableFile
from simulators.replay.times import NO_TIME, Moments, TimeReader

VALUES_MAX = 100_000_000
"""Of one recording: they are held in memory, 8 bytes each."""
BAD_TIME_SHARE_MAX = 0.5
"""Of a file's rows; where more cannot be read, the format is wrong and not the rows."""

FILE_STEP = 1 << 40
"""Rows of the next file are numbered from here."""

Device = tuple[tuple[Source, ...], Rows]
"""The signals of one device that were recorded, and its rows."""


def read_devices(files: Sequence[TableFile], mapping: ColumnMapping, findings: Findings) -> dict[str, Device]:
    """Device path → its signals and rows, in the order in which they are sent. Raises ScenarioError."""
    read = _LongReader if mapping.long is not None else _WideReader
    return read(mapping, findings).devices(files)


class _Reader:
    """What both shapes of a file share."""

    def __init__(self, mapping: ColumnMapping, findings: Findings) -> None:
        self.mapping, self.sources, self.findings = mapping, mapping.sources, findings
        self.values_read = 0
        self.there: set[str] = set()
        """Names of the sources that the files have."""
        self.sentinels = np.array(sorted(mapping.sentinels))

    def measured(self, values: Values, where: str) -> Values:
        """Without sentinels."""
        if len(self.sentinels):
            found = np.isin(values, self.sentinels)
            if found.any():
                first = values[found][0]
                self.findings.add(Dirt.SENTINEL, f"{where}: {first:g}", int(np.count_nonzero(found)))
                values[found] = np.nan
        return values

    def converted(self, source: Source, values: Values, where: str) -> Values:
        """What stands in the file → the signal's unit; what becomes too large is not measured."""
        with np.errstate(over="ignore"):
            scaled = values * source.scale if source.scale != 1.0 else values
        if source.unit != source.signal.unit:
            convert = converter(source.unit, source.signal.unit)
            different, places = np.unique(scaled, return_inverse=True)
            scaled = np.array([convert(value) for value in different.tolist()])[places]
        infinite = np.isinf(scaled)
        self.findings.add(Dirt.NOT_FINITE, where, int(np.count_nonzero(infinite)))
        return np.where(infinite, np.nan, scaled)

    def more(self, count: int, file: TableFile) -> None:
        """So many more values are held. Raises ScenarioError: too many."""
        self.values_read += count
        if self.values_read > VALUES_MAX:
            raise ScenarioError(f"{file.path}: got more than {VALUES_MAX} values; expected less: replay it in parts")

    def check_there(self, files: Sequence[TableFile]) -> None:
        """Raises ScenarioError: something is missing that must be there."""
        for source in self.sources:
            if source.name not in self.there and not source.optional:
                raise absent(self.mapping, source, sorted(self.there), str(files[0].path))

    def check_times(self, bad_before: int, file: TableFile) -> None:
        """Raises ScenarioError: most times of a file cannot be read."""
        bad = self.findings.count(Dirt.BAD_TIME) - bad_before
        if bad > BAD_TIME_SHARE_MAX * file.rows:
            first = self.findings.by_kind[Dirt.BAD_TIME].first
            raise ScenarioError(
                f"{file.path}: got {bad} of {file.rows} times that cannot be read (such as {first}); expected"
                f" {self.mapping.time.format}: correct time.format in {self.mapping.source or 'the mapping'}"
            )


class _WideReader(_Reader):
    """A row has a value of each signal."""

    def devices(self, files: Sequence[TableFile]) -> dict[str, Device]:
        """All rows of all files, cleaned, in order, by device."""
        parts, where = [], places_of(files)
        for number, file in enumerate(files):
            rows = self._read(file, number)
            if self.mapping.cleaning.leave_out_halved:
                rows = without_halved(rows, self.findings, where)
            parts.append(rows)
        self.check_there(files)
        rows = joined(parts, len(self.sources))
        count_backward(rows, self.findings, where)
        rows = without_repeated(rows, self.findings, where, leave_out=self.mapping.cleaning.leave_out_repeated)
        count_gaps(np.sort(rows.time_ns), self.findings)
        if self.mapping.cleaning.sort:
            rows = in_order(rows)
        # only now: what is half of a temperature in °F is not half of it in °C
        for place, source in enumerate(self.sources):
            rows.values[:, place] = self.converted(source, rows.values[:, place], source.name)
        return _by_device(self.sources, rows)

    def _read(self, file: TableFile, number: int) -> Rows:
        names = list(dict.fromkeys((*self.mapping.time.columns, *(source.name for source in self.sources))))
        reader = TimeReader(self.mapping.time.format, self.mapping.time.zone)
        parts, bad_before = [], self.findings.count(Dirt.BAD_TIME)
        for chunk in file.chunks(names):
            time_ns = _times(chunk, self.mapping.time, reader, self.findings)
            values = np.full((len(time_ns), len(self.sources)), np.nan)
            for place, source in enumerate(self.sources):
                cells = chunk.columns.get(source.name)
                if cells is not None:
                    values[:, place] = self._column(chunk, source, cells)
                    if source.name not in self.there and any(cell is not Absent.CELL for cell in _listed(cells)):
                        self.there.add(source.name)
            self.more(values.size, file)
            whole = time_ns != NO_TIME
            parts.append(Rows(time_ns, values, _numbered(chunk, number)).keep(whole))
        self.check_times(bad_before, file)
        return joined(parts, len(self.sources))

    def _column(self, chunk: Chunk, source: Source, cells: Sequence[Cell] | Moments) -> Values:
        if isinstance(cells, Moments):
            raise ScenarioError(
                f"{self.mapping.source}:{source.line_number}: columns: got {source.name!r}, a column of times; expected"
                " one of numbers"
            )
        decimal = source.decimal or self.mapping.layout.decimal
        where = f"{chunk.file}, {source.name}"
        read = numbers(cells, decimal, self.findings, lambda at, cell: f"{chunk.where(at, cell)}, {source.name}")
        return self.measured(read, where)


class _LongReader(_Reader):
    """A row has one value, and the name of its signal."""

    def devices(self, files: Sequence[TableFile]) -> dict[str, Device]:
        """All values of all files, cleaned, in order, by device."""
        parts: dict[str, list[Rows]] = {source.name: [] for source in self.sources}
        for number, file in enumerate(files):
            self._read(file, number, parts)
        where = places_of(files)
        self.check_there(files)
        found: dict[str, Device] = {}
        for path in dict.fromkeys(source.device_path for source in self.sources):
            sources = tuple(source for source in self.sources if source.device_path == path and parts[source.name])
            series = []
            for source in sources:
                rows = joined(parts[source.name], 1)
                count_backward(rows, self.findings, where)
                leave_out = self.mapping.cleaning.leave_out_repeated
                series.append(in_order(without_repeated(rows, self.findings, where, leave_out=leave_out)))
            rows = _together(series)
            if len(rows.time_ns):
                count_gaps(rows.time_ns, self.findings)
                found[path] = sources, rows
        return found

    def _read(self, file: TableFile, number: int, parts: dict[str, list[Rows]]) -> None:
        long, time = self.mapping.long, self.mapping.time
        assert long is not None
        names = [*time.columns, long.name, long.value, *filter(None, (long.quality,))]
        reader, by_name = TimeReader(time.format, time.zone), self.mapping.by_name
        bad_before = self.findings.count(Dirt.BAD_TIME)
        for chunk in file.chunks(list(dict.fromkeys(names))):
            tags = [word(cell) for cell in _plain(chunk, long.name)]
            time_ns = _times(chunk, time, reader, self.findings, tags)
            good = time_ns != NO_TIME
            if long.quality is not None:
                good &= self._good(chunk, long.quality, long.good)
            places: dict[str, list[int]] = {}
            for place, tag in enumerate(tags):
                places.setdefault(tag, []).append(place)
            for tag, mine in places.items():
                if tag not in by_name:
                    self.findings.add(Dirt.UNKNOWN_NAME, chunk.where(mine[0], tag), len(mine))
                    continue
                own = np.array(mine, dtype=np.int64)
                rows = self._values(chunk, by_name[tag], own[good[own]], time_ns, number)
                self.more(len(rows.time_ns), file)
                parts[tag].append(rows)
                self.there.add(tag)
        self.check_times(bad_before, file)

    def _good(self, chunk: Chunk, quality: str, good: frozenset[str]) -> npt.NDArray[np.bool_]:
        cells = _plain(chunk, quality)
        said = [word(cell) in good for cell in cells]
        for place, is_good in enumerate(said):
            if not is_good:
                self.findings.add(Dirt.BAD_QUALITY, chunk.where(place, cells[place]))
        return np.array(said, dtype=bool)

    def _values(
        self,
        chunk: Chunk,
        source: Source,
        places: npt.NDArray[np.int64],
        time_ns: npt.NDArray[np.int64],
        number: int,
    ) -> Rows:
        assert self.mapping.long is not None
        cells = _plain(chunk, self.mapping.long.value)
        decimal = source.decimal or self.mapping.layout.decimal
        read = numbers(
            [cells[place] for place in places],
            decimal,
            self.findings,
            lambda at, cell: f"{chunk.where(int(places[at]), cell)}, {source.name}",
        )
        where = f"{chunk.file}, {source.name}"
        values = self.converted(source, self.measured(read, where), where)
        rows = Rows(time_ns[places], values.reshape(-1, 1), _numbered(chunk, number)[places])
        return rows.keep(np.isfinite(values))


def _plain(chunk: Chunk, name: str) -> Sequence[Cell]:
    """A column of texts or numbers. Raises ScenarioError."""
    cells = chunk.columns.get(name)
    if cells is None or isinstance(cells, Moments):
        raise ScenarioError(f"{chunk.file}: got {name!r}, no column of texts or numbers; expected one")
    return cells


def _listed(cells: Sequence[Cell] | Moments) -> Sequence[Cell]:
    return () if isinstance(cells, Moments) else cells


def _times(
    chunk: Chunk, time: TimeColumns, reader: TimeReader, findings: Findings, tags: Sequence[str] | None = None
) -> npt.NDArray[np.int64]:
    """UTC ns of each row of a chunk; NO_TIME where it cannot be read."""
    first = chunk.columns.get(time.columns[0], [None] * len(chunk.numbers))
    cells = first
    if len(time.columns) > 1:
        parts = [_plain(chunk, name) for name in time.columns]
        cells = [
            " ".join("" if cell is None else str(cell).strip() for cell in row) for row in zip(*parts, strict=True)
        ]
    return reader.read(cells, findings, chunk.where, tags)


def _numbered(chunk: Chunk, file: int) -> npt.NDArray[np.int64]:
    """The numbers of a chunk's rows, told apart from those of other files."""
    return np.asarray(chunk.numbers, dtype=np.int64) + file * FILE_STEP


def places_of(files: Sequence[TableFile]) -> Callable[[int], str]:
    """Where a row of several files stands, for people."""
    return lambda place: f"{files[place // FILE_STEP].path.name}:{place % FILE_STEP}"


def _together(series: Sequence[Rows]) -> Rows:
    """Signals of one device, each ordered by time → rows: what has one time is one row.

    Where a signal has several values at one time, the second ones make a row of their own.
    """
    time_ns = np.concatenate([np.empty(0, np.int64), *(rows.time_ns for rows in series)])
    place = np.repeat(np.arange(len(series)), [len(rows.time_ns) for rows in series])
    again = np.concatenate([np.empty(0, np.int64), *(_again(rows.time_ns) for rows in series)])
    keys, row = np.unique(np.stack([time_ns, again]), axis=1, return_inverse=True)
    values = np.full((keys.shape[1], len(series)), np.nan)
    places = np.zeros(keys.shape[1], np.int64)
    row = row.reshape(-1)
    values[row, place] = np.concatenate([np.empty(0), *(rows.values[:, 0] for rows in series)])
    places[row] = np.concatenate([np.empty(0, np.int64), *(rows.places for rows in series)])
    return Rows(keys[0], values, places)


def _again(time_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """0 for the first of each time, 1 for the second, …; times ascend."""
    count = np.arange(len(time_ns))
    new = np.concatenate([[True], time_ns[1:] != time_ns[:-1]]) if len(time_ns) else np.empty(0, bool)
    return np.asarray(count - np.maximum.accumulate(np.where(new, count, 0)), dtype=np.int64)


def _by_device(sources: tuple[Source, ...], rows: Rows) -> dict[str, Device]:
    """Rows of a device are those in which one of its signals was measured."""
    found = {}
    for path in dict.fromkeys(source.device_path for source in sources):
        places = [place for place, source in enumerate(sources) if source.device_path == path]
        mine = Rows(rows.time_ns, rows.values[:, places], rows.places)
        mine = mine.keep(np.asarray(np.isfinite(mine.values).any(axis=1)))
        if len(mine.time_ns):
            found[path] = tuple(sources[place] for place in places), mine
    return found
