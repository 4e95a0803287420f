"""Tables that `filiere simulate` wrote: a device a file, with boots and numbers, so that no mapping is needed.

Rows go out in the order of the file, with their own numbers: another collector stores the same readings.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from collector.codec import SEQ_MAX
from filiere.errors import NotFound, ScenarioError
from filiere.plant import Plant
from simulators.output.table import BOOT, EVENT_TIME, SEQ
from simulators.replay.cells import Cell, numbers
from simulators.replay.cleaning import Values
from simulators.replay.device_recording import NumberedRows
from simulators.replay.dirt import Dirt, Findings
from simulators.replay.mapping import Kind, Layout
from simulators.replay.recording import Read, unheard
from simulators.replay.tables import Chunk, TableFile
from simulators.replay.times import Moments, TimeFormat, TimeReader

METADATA = b"filiere"
"""Of a Parquet file: line and device, as JSON."""
BOOT_TEXT = re.compile(r"[A-Za-z0-9_-]{1,32}")
BEFORE = (EVENT_TIME, BOOT, SEQ)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnTable:
    """A file that names its device."""

    path: Path
    layout: Layout
    line: str
    device: str
    signals: tuple[str, ...]


def own_table(path: Path, plant: Plant) -> OwnTable | None:
    """What a file is of; None = it is not one of ours. Raises ScenarioError: it cannot be read, as a table."""
    kind = Kind.PARQUET if path.suffix == ".parquet" else Kind.CSV
    layout = Layout(kind=kind)
    names = TableFile(path=path, layout=layout, findings=Findings()).names()
    if tuple(names[: len(BEFORE)]) != BEFORE:
        return None
    line, device = _said(path) if kind is Kind.PARQUET else _named(path, plant)
    try:
        unit = plant.line(line).unit(device)
    except NotFound as error:
        raise ScenarioError(f"{path}: {error}: replay it with the plant file that it was recorded with") from None
    signals = tuple(names[len(BEFORE) :])
    unknown = [name for name in signals if name not in {signal.id for signal in unit.signals}]
    if unknown:
        raise ScenarioError(
            f"{path}: got signal {unknown[0]!r}; expected those of {line}/{device} in the plant file: replay it with"
            " the plant file that it was recorded with"
        )
    return OwnTable(path=path, layout=layout, line=line, device=device, signals=signals)


def _said(path: Path) -> tuple[str, str]:
    """Line and device, as a Parquet file says them."""
    try:
        said = json.loads((pq.read_schema(path).metadata or {}).get(METADATA, b"{}"))
        return str(said["line"]), str(said["device"])
    except (OSError, pa.ArrowException, ValueError, TypeError, KeyError):
        raise ScenarioError(
            f"{path}: got no line and device; expected them, as `filiere simulate` writes them"
        ) from None


def _named(path: Path, plant: Plant) -> tuple[str, str]:
    """Line and device, from the name of a CSV file."""
    for line, unit in plant.devices():
        if path.stem == f"{line.path.replace('/', '-')}-{unit.id}":
            return line.path, unit.id
    raise ScenarioError(f"{path}: got a name of no device; expected SITE-WORKSHOP-LINE-DEVICE.csv, of the plant file")


def read_own_table(table: OwnTable, read: Read = unheard) -> NumberedRows:
    """All rows of a file. Raises ScenarioError: one cannot be read; a file of our own is whole, or is not replayed."""
    findings = Findings()
    file = TableFile(path=table.path, layout=table.layout, findings=findings, read=read, may_be_empty=True)
    times: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)]
    values: list[Values] = [np.empty((0, len(table.signals)))]
    boots: list[str] = []
    seqs: list[int] = []
    reader = TimeReader(TimeFormat.YEAR_FIRST, None)
    for chunk in file.chunks([*BEFORE, *table.signals]):
        times.append(reader.read(chunk.columns[EVENT_TIME], findings, chunk.where))
        boots += _boots(chunk)
        seqs += _seqs(chunk)
        columns = [numbers(_cells(chunk, name), ".", findings, chunk.where) for name in table.signals]
        values.append(np.stack(columns, axis=1))
    for kind in (Dirt.BROKEN_ROW, Dirt.BAD_TIME, Dirt.NOT_A_NUMBER, Dirt.NOT_FINITE):
        if findings.count(kind):
            raise ScenarioError(f"{findings.by_kind[kind].first}: got a damaged row ({kind}); expected whole ones")
    return NumberedRows(
        line=table.line,
        device=table.device,
        signals=table.signals,
        time_ns=np.concatenate(times),
        boots=boots,
        seqs=np.array(seqs, dtype=np.int64),
        values=np.concatenate(values),
    )


def _cells(chunk: Chunk, name: str) -> Sequence[Cell]:
    cells = chunk.columns[name]
    if isinstance(cells, Moments):
        raise ScenarioError(f"{chunk.file}: got times in column {name}; expected texts or numbers")
    return cells


def _boots(chunk: Chunk) -> list[str]:
    found = [str(cell) for cell in _cells(chunk, BOOT)]
    for boot in set(found):
        if not BOOT_TEXT.fullmatch(boot):
            place = found.index(boot)
            raise ScenarioError(f"{chunk.where(place, boot)}: got no boot; expected 1 to 32 of [A-Za-z0-9_-]")
    return found


def _seqs(chunk: Chunk) -> list[int]:
    found = []
    for place, cell in enumerate(_cells(chunk, SEQ)):
        text = str(cell)
        if not (text.isascii() and text.isdecimal() and len(text) < 17 and int(text) <= SEQ_MAX):
            raise ScenarioError(f"{chunk.where(place, cell)}: got no number of a row; expected 0 to {SEQ_MAX}")
        found.append(int(text))
    return found
