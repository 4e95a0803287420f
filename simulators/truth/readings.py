"""What was true of every reading, in one Parquet file a line and cycle: what was there beside what was shown of it.

A row is one value of one signal that was measured, whether its message arrived or not: device, signal, boot and seq
(who said it, and its number), time_ns (when it was measured) and stamp_ns (when the device says that it was), true,
shown (null = nothing was shown), labels (truth labels of the faults that were on it, with a space in between).
Ordered by device, signal, time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from filiere.clock import NS_PER_MS
from filiere.errors import NotFound, StoreRefused
from simulators.faults.fault import Active, Layer
from simulators.line.physics import Array
from simulators.line.rows import DeviceRows

COMPRESSION_LEVEL = 3
SEPARATOR = " "
"""Between truth labels, which have none in them."""
_WORD = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        pa.field("device", _WORD, nullable=False),
        pa.field("signal", _WORD, nullable=False),
        pa.field("boot", _WORD, nullable=False),
        pa.field("seq", pa.int64(), nullable=False),
        pa.field("time_ns", pa.int64(), nullable=False),
        pa.field("stamp_ns", pa.int64(), nullable=False),
        pa.field("true", pa.float64(), nullable=False),
        pa.field("shown", pa.float64()),
        pa.field("labels", _WORD, nullable=False),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SignalTruth:
    """All that one signal measured in a cycle, in time order. Arrays have shape (n,)."""

    device: str
    signal: str
    time_ns: npt.NDArray[np.int64]
    true: Array
    shown: Array
    """NaN = nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowTimes:
    """When the rows of one boot of a device were measured, by their numbers. Arrays have shape (n,)."""

    seq: npt.NDArray[np.int64]
    """Rising."""
    time_ns: npt.NDArray[np.int64]

    def time_of(self, seq: int) -> int | None:
        """When a row was measured; None = there is no such row."""
        place = int(np.searchsorted(self.seq, seq))
        found = place < len(self.seq) and int(self.seq[place]) == seq
        return int(self.time_ns[place]) if found else None

    def between(self, start_ns: int, stop_ns: int) -> list[int]:
        """Numbers of the rows measured in [start_ns, stop_ns)."""
        within = (self.time_ns >= start_ns) & (self.time_ns < stop_ns)
        return [int(seq) for seq in self.seq[within]]


def write_readings(path: Path, devices: Sequence[DeviceRows], active: Sequence[Active]) -> None:
    """Write a cycle's readings; the same cycle makes the same bytes. Raises OSError."""
    with pq.ParquetWriter(
        path,
        SCHEMA,
        compression="zstd",
        compression_level=COMPRESSION_LEVEL,
        use_dictionary=["device", "signal", "boot", "labels"],  # type: ignore[arg-type]  # the stubs know only a switch
        column_encoding={
            "seq": "DELTA_BINARY_PACKED",
            "time_ns": "DELTA_BINARY_PACKED",
            "stamp_ns": "DELTA_BINARY_PACKED",
            "true": "BYTE_STREAM_SPLIT",
            "shown": "BYTE_STREAM_SPLIT",
        },
        store_schema=True,
    ) as writer:
        for rows in devices:  # a row group a device: what is held in memory is one of them
            tables = [_table(rows, signal, active) for signal in rows.true]
            writer.write_table(pa.concat_tables(tables).unify_dictionaries())


def _table(rows: DeviceRows, signal: str, active: Sequence[Active]) -> pa.Table:
    true, shown = rows.true[signal], rows.shown[signal]
    measured = np.flatnonzero(~np.isnan(true))
    count = len(measured)
    sets, place = _labels(rows, signal, active)
    hidden = np.isnan(shown[measured])
    return pa.Table.from_arrays(
        [
            _words(np.zeros(count, np.int32), [rows.device]),
            _words(np.zeros(count, np.int32), [signal]),
            _words(rows.boot[measured].astype(np.int32), rows.boots),
            pa.array(rows.seq[measured]),
            pa.array(rows.time_ms[measured] * NS_PER_MS),
            pa.array(rows.stamp_ms[measured] * NS_PER_MS),
            pa.array(true[measured]),
            pa.array(shown[measured], mask=hidden),
            _words(place[measured], sets),
        ],
        schema=SCHEMA,
    )


def _words(place: npt.NDArray[np.int32], words: Sequence[str]) -> Any:
    return pa.DictionaryArray.from_arrays(place, pa.array(list(words), pa.string()))


def _labels(rows: DeviceRows, signal: str, active: Sequence[Active]) -> tuple[list[str], npt.NDArray[np.int32]]:
    """The sets of labels that occur, as texts, and the place in them of each row, shape (n,)."""
    sets, place = [""], np.zeros(len(rows.time_ms), np.int32)
    for each in active:
        fault = each.fault
        # what an operator writes down is in events, not in readings
        if fault.layer is Layer.OPERATOR or not fault.touches(rows.device, signal):
            continue
        within = place[each.rows(rows.time_ms)]
        for before in np.unique(within):
            words = sets[before]
            within[within == before] = len(sets)
            sets.append(f"{words}{SEPARATOR}{fault.label}" if words else fault.label)
    return sets, place


# --------------------------------------------------------------------------------------------------------- reading


def read_signals(path: Path, keys: Sequence[str] | None = None) -> Iterator[SignalTruth]:
    """The signals of one file, in the order in which they are in it; with `keys` (`extruder.melt_temp`) those alone.

    Raises:
        NotFound: there is no such file.
        StoreRefused: it is truncated, damaged or of another schema.
    """
    for table in _groups(path, ["device", "signal", "time_ns", "true", "shown"]):
        device, device_words = _indices(table, "device")
        signal, signal_words = _indices(table, "signal")
        time_ns, true, shown = (_numbers(table, name) for name in ("time_ns", "true", "shown"))
        for pair in _pairs(device, signal):
            names = device_words[int(device[pair.start])], signal_words[int(signal[pair.start])]
            if keys is None or ".".join(names) in keys:
                yield SignalTruth(
                    device=names[0],
                    signal=names[1],
                    time_ns=time_ns[pair].astype(np.int64),
                    true=true[pair],
                    shown=shown[pair],
                )


def read_numbers(path: Path) -> Mapping[tuple[str, str], RowTimes]:
    """(device, boot) → the numbers of its rows in one file. Raises as `read_signals`."""
    found: dict[tuple[str, str], list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]] = {}
    for table in _groups(path, ["device", "boot", "seq", "time_ns"]):
        device, device_words = _indices(table, "device")
        boot, boot_words = _indices(table, "boot")
        seq, time_ns = (_numbers(table, name).astype(np.int64) for name in ("seq", "time_ns"))
        pairs = device * max(1, len(boot_words)) + boot
        for pair in np.flatnonzero(np.bincount(pairs)):
            rows = pairs == pair
            numbers, first = np.unique(seq[rows], return_index=True)
            of_device, of_boot = divmod(int(pair), len(boot_words))
            key = device_words[of_device], boot_words[of_boot]
            found.setdefault(key, []).append((numbers, time_ns[rows][first]))
    return {key: _joined(parts) for key, parts in found.items()}


def _joined(parts: Sequence[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]) -> RowTimes:
    seq, time_ns = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    numbers, first = np.unique(seq, return_index=True)
    return RowTimes(seq=numbers, time_ns=time_ns[first])


def _groups(path: Path, columns: list[str]) -> Iterator[pa.Table]:
    """The row groups of a file, one after the other."""
    if not path.is_file():
        raise NotFound(f"{path}: no such file; expected the readings of a truth folder (.readings.parquet)")
    try:
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(SCHEMA, check_metadata=False):
                raise StoreRefused(
                    f"{path}: got columns {', '.join(file.schema_arrow.names)[:200]}; expected"
                    f" {', '.join(SCHEMA.names)}: this is not the readings of a truth folder"
                )
            for group in range(file.num_row_groups):
                yield file.read_row_group(group, columns=columns)
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise StoreRefused(
            f"{path}: got {str(error).strip()[:200]}; expected a whole Parquet file: it is truncated or damaged,"
            " simulate again into a new folder"
        ) from None


def _pairs(device: npt.NDArray[np.int64], signal: npt.NDArray[np.int64]) -> Iterator[slice]:
    """The stretches of rows that are of one signal."""
    if len(device) == 0:
        return
    changes = np.flatnonzero((np.diff(device) != 0) | (np.diff(signal) != 0)) + 1
    edges = [0, *changes.tolist(), len(device)]
    for start, stop in pairwise(edges):
        yield slice(start, stop)


def _indices(table: pa.Table, name: str) -> tuple[npt.NDArray[np.int64], list[str]]:
    column: Any = table.unify_dictionaries().column(name).combine_chunks()
    return column.indices.to_numpy(zero_copy_only=False).astype(np.int64), column.dictionary.to_pylist()


def _numbers(table: pa.Table, name: str) -> npt.NDArray[Any]:
    column: Any = table.column(name)
    return np.asarray(column.to_numpy())
