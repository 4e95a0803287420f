"""Sealed runs: the readings of one finished run in one immutable Parquet file, which a stranger can check.

Columns: time_ns int64, key dictionary<string>, value float64, quality uint8 (index into QUALITIES); ordered by time,
then key; no nulls; zstd, with page checksums. What the run is stands in the schema's metadata, as JSON.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from filiere.errors import NotAuthentic, NotFound, StoreRefused, StoreUnavailable
from filiere.readings import QUALITIES, Series
from filiere.whole_file import AlreadyThere, whole_file

FORMAT = "filiere-run/1"
METADATA_KEY = b"filiere-run"
READINGS_MAX = 100_000_000
"""Readings of one file, so that a hostile one cannot fill the memory: 1.8 GB."""
KEYS_MAX = 65_536
"""Keys of one run: the seal's leaves number them with two bytes."""
ROW_GROUP_READINGS = 1 << 20
COMPRESSION_LEVEL = 3
FILE_MODE = 0o444

SCHEMA = pa.schema(
    [
        pa.field("time_ns", pa.int64(), nullable=False),
        pa.field("key", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
        pa.field("quality", pa.uint8(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SealedRun:
    """The readings of one finished run. Compare two with `same_run`."""

    run: str
    line: str
    step: str
    start_ns: int
    stop_ns: int
    keys: tuple[str, ...]
    """Sorted; a signal without readings is among them."""
    series: tuple[Series, ...]
    """One a key, in the order of `keys`, times strictly increasing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OrderedReadings:
    """All readings of a run, ordered by time, then key: the order of the file and of the seal. Arrays of shape (n,)."""

    time_ns: npt.NDArray[np.int64]
    key_index: npt.NDArray[np.uint16]
    """Place in `SealedRun.keys`."""
    value: npt.NDArray[np.float64]
    quality: npt.NDArray[np.uint8]


def ordered_readings(sealed: SealedRun) -> OrderedReadings:
    """The series of a run as one table."""
    lengths = [len(series.time_ns) for series in sealed.series]
    key_index = np.repeat(np.arange(len(sealed.keys), dtype=np.uint16), lengths)
    time_ns = _joined([series.time_ns for series in sealed.series], np.int64)
    # key_index rises already, so a stable sort by time is a sort by (time, key)
    order = np.argsort(time_ns, kind="stable")
    return OrderedReadings(
        time_ns=time_ns[order],
        key_index=key_index[order],
        value=_joined([series.value for series in sealed.series], np.float64)[order],
        quality=_joined([series.quality for series in sealed.series], np.uint8)[order],
    )


def _joined(parts: Sequence[npt.NDArray[Any]], kind: type[np.generic]) -> npt.NDArray[Any]:
    return np.concatenate([np.empty(0, kind), *parts]).astype(kind, copy=False)


def same_run(one: SealedRun, other: SealedRun) -> bool:
    """Whether two runs are the same to the last bit."""
    return _header(one) == _header(other) and all(
        a.time_ns.tobytes() == b.time_ns.tobytes()
        and a.value.tobytes() == b.value.tobytes()
        and a.quality.tobytes() == b.quality.tobytes()
        for a, b in zip(one.series, other.series, strict=True)
    )


def write_run(path: Path, sealed: SealedRun) -> None:
    """Keep a run; the file is whole and on the disk when it returns. Keeping the same run again changes nothing.

    Raises:
        StoreRefused: another run (or a damaged file) is there already, the folder cannot be written, or the run is not
            in the shape that SealedRun promises.
        StoreUnavailable: the disk is full.
    """
    wrong = wrong_run(sealed)
    if wrong:
        raise StoreRefused(f"{path}: {wrong}")
    if path.exists():
        _refuse_another(path, sealed)
        return
    try:
        with whole_file(path, mode=FILE_MODE) as temporary:
            _write_table(temporary, sealed)
    except AlreadyThere:
        _refuse_another(path, sealed)
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, FileExistsError | NotADirectoryError | PermissionError):
            raise StoreRefused(f"{path}: got {error}; expected a folder that may be written") from error
        raise StoreUnavailable(f"{path}: got {error}; free space on this disk, then try again") from error


def _refuse_another(path: Path, sealed: SealedRun) -> None:
    try:
        there = read_run(path)
    except NotAuthentic as error:
        raise StoreRefused(f"{error}; a sealed file is never overwritten: move it aside") from error
    if not same_run(there, sealed):
        raise StoreRefused(
            f"{path}: got other readings of run {sealed.run} than the sealed ones; a sealed file is never overwritten:"
            " seal late readings as a new revision"
        )


def _write_table(path: Path, sealed: SealedRun) -> None:
    readings = ordered_readings(sealed)
    key = pa.DictionaryArray.from_arrays(readings.key_index.astype(np.int32), pa.array(list(sealed.keys), pa.string()))
    table = pa.Table.from_arrays(
        [pa.array(readings.time_ns), key, pa.array(readings.value), pa.array(readings.quality)],
        schema=SCHEMA.with_metadata({METADATA_KEY: _header(sealed)}),
    )
    pq.write_table(
        table,
        path,
        compression="zstd",
        compression_level=COMPRESSION_LEVEL,
        row_group_size=ROW_GROUP_READINGS,
        use_dictionary=["key"],  # type: ignore[arg-type]  # the stubs know only the switch for all columns
        column_encoding={"time_ns": "DELTA_BINARY_PACKED", "value": "BYTE_STREAM_SPLIT", "quality": "PLAIN"},
        write_page_checksum=True,
        store_schema=True,
    )


def _header(sealed: SealedRun) -> bytes:
    header = {
        "format": FORMAT,
        "run": sealed.run,
        "line": sealed.line,
        "step": sealed.step,
        "start_ns": str(sealed.start_ns),
        "stop_ns": str(sealed.stop_ns),
        "keys": list(sealed.keys),
    }
    return json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def read_run(path: Path) -> SealedRun:
    """Read a sealed run, believing nothing.

    Raises:
        NotFound: there is no such file.
        NotAuthentic: truncated, damaged, of another schema, or not in order; the message says which.
    """
    if not path.is_file():
        raise NotFound(f"{path}: no such file; expected the sealed readings of a run (.parquet)")
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            schema, readings = file.schema_arrow, file.metadata.num_rows
            if not schema.equals(SCHEMA, check_metadata=False):
                raise NotAuthentic(
                    f"{path}: got columns {_columns(schema)}; expected {_columns(SCHEMA)}: this is not a sealed run"
                )
            if readings > READINGS_MAX:
                raise NotAuthentic(f"{path}: got {readings} readings; expected at most {READINGS_MAX}")
            table = file.read()
            table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise NotAuthentic(
            f"{path}: got {str(error).strip()[:200]}; expected a whole Parquet file: it is truncated or damaged"
        ) from error
    sealed = _split(path, _read_header(path, schema.metadata or {}), table)
    wrong = wrong_run(sealed)
    if wrong:
        raise NotAuthentic(f"{path}: {wrong}")
    return sealed


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}{'' if field.nullable else ' not null'}" for field in schema)[:300]


def _read_header(path: Path, metadata: Any) -> SealedRun:
    """The run that the file says it is, without its readings."""
    raw = metadata.get(METADATA_KEY, b"")
    try:
        header = json.loads(raw)
        sealed = SealedRun(
            run=header["run"],
            line=header["line"],
            step=header["step"],
            start_ns=int(header["start_ns"]),
            stop_ns=int(header["stop_ns"]),
            keys=tuple(header["keys"]),
            series=(),
        )
        understood = header["format"] == FORMAT and _header(sealed) == raw
    except (ValueError, KeyError, TypeError, RecursionError):
        understood = False
    if not understood or not all(
        isinstance(text, str) for text in (sealed.run, sealed.line, sealed.step, *sealed.keys)
    ):
        raise NotAuthentic(f"{path}: got metadata {raw[:80]!r}; expected the header of a {FORMAT}")
    return sealed


def _split(path: Path, header: SealedRun, table: pa.Table) -> SealedRun:
    """The file's table → one Series a key."""
    key: Any = table.unify_dictionaries().column("key").combine_chunks()
    if any(column.null_count for column in table.columns):
        raise NotAuthentic(f"{path}: got an empty cell; expected none")
    place = {name: index for index, name in enumerate(header.keys)}
    names = key.dictionary.to_pylist()
    used = np.unique(key.indices.to_numpy(zero_copy_only=False))
    strange = [names[index] for index in used if names[index] not in place]
    if strange:
        raise NotAuthentic(
            f"{path}: got readings of {strange[0]!r}, which its header does not name; expected its keys alone"
        )
    renumbered = np.array([place.get(name, 0) for name in names] or [0], np.int64)
    key_index = renumbered[key.indices.to_numpy(zero_copy_only=False)]
    time_ns = table.column("time_ns").to_numpy()
    later = (time_ns[1:] > time_ns[:-1]) | ((time_ns[1:] == time_ns[:-1]) & (key_index[1:] > key_index[:-1]))
    if not later.all():
        row = int(np.argmin(later)) + 1
        raise NotAuthentic(f"{path}: got reading {row} out of order or twice; expected the order of time, then key")
    order = np.argsort(key_index, kind="stable")
    bounds = np.searchsorted(key_index[order], np.arange(1, len(header.keys)))
    columns = [np.split(table.column(name).to_numpy()[order], bounds) for name in ("time_ns", "value", "quality")]
    return SealedRun(
        run=header.run,
        line=header.line,
        step=header.step,
        start_ns=header.start_ns,
        stop_ns=header.stop_ns,
        keys=header.keys,
        series=tuple(
            Series(key=name, time_ns=time_ns, value=value, quality=quality)
            for name, time_ns, value, quality in zip(header.keys, *columns, strict=bool(header.keys))
        ),
    )


def wrong_run(sealed: SealedRun) -> str | None:
    """What is not as SealedRun promises: got, expected; None when all is."""
    if list(sealed.keys) != sorted(set(sealed.keys)) or len(sealed.keys) > KEYS_MAX:
        return f"got {len(sealed.keys)} keys that are not sorted, not unique or too many; expected at most {KEYS_MAX}"
    if tuple(series.key for series in sealed.series) != sealed.keys:
        return "got series of other keys than the header's; expected one a key, in their order"
    if sealed.stop_ns < sealed.start_ns:
        return f"got a stop {sealed.stop_ns} before the start {sealed.start_ns}; expected one at or after it"
    for series in sealed.series:
        if not (len(series.time_ns) == len(series.value) == len(series.quality)):
            return f"{series.key}: got columns of different lengths; expected a time, a value and a quality a reading"
        if not (series.time_ns[1:] > series.time_ns[:-1]).all():
            return f"{series.key}: got readings out of order or twice; expected rising times"
        if not np.isfinite(series.value).all():
            return f"{series.key}: got a value that is not finite; expected a number"
        if (series.quality >= len(QUALITIES)).any():
            return f"{series.key}: got quality {int(series.quality.max())}; expected at most {len(QUALITIES) - 1}"
    return None
