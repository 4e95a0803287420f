"""What a device published in a lot cycle, as a table: a row a row, a column a signal, in the order of arrival."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filiere.clock import NS_PER_MS
from filiere.plant import Line, Unit
from simulators.line.messages import Publication
from simulators.line.rows import DeviceRows

EVENT_TIME, BOOT, SEQ = "event_time", "boot", "seq"
"""The columns before the signals."""
TIME = pa.timestamp("ns", tz="UTC")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Rows of one device in the order of arrival."""

    rows: DeviceRows
    take: slice | npt.NDArray[np.int64]


def schema_of(line: Line, unit: Unit) -> pa.Schema:
    """The columns of a device's file; each signal's unit and names stand with its column."""
    fields: list[pa.Field[Any]] = [
        pa.field(EVENT_TIME, TIME),
        pa.field(BOOT, pa.string()),
        pa.field(SEQ, pa.int64()),
    ]
    for signal in unit.signals:
        words = {"unit": signal.unit, "label_fr": signal.label.fr, "label_en": signal.label.en}
        fields.append(pa.field(signal.id, pa.float64(), metadata=words))
    return pa.schema(fields, metadata={"filiere": json.dumps({"line": line.path, "device": unit.id})})


def stretches(publications: Iterable[Publication]) -> Iterator[Stretch]:
    """The rows that were published, some neighbours at a time: whole columns where nothing came late or twice."""
    waiting: dict[str, tuple[DeviceRows, list[tuple[int, int]]]] = {}
    for publication in publications:
        rows = publication.rows
        if rows is None:
            continue
        held = waiting.get(rows.device)
        if held is None or held[0] is not rows:
            if held is not None:
                yield _stretch(*held)
            held = waiting[rows.device] = (rows, [])
        spans = held[1]
        if spans and spans[-1][1] == publication.start:
            spans[-1] = (spans[-1][0], publication.stop)
        else:
            spans.append((publication.start, publication.stop))
    for held in waiting.values():
        yield _stretch(*held)


def _stretch(rows: DeviceRows, spans: list[tuple[int, int]]) -> Stretch:
    if len(spans) == 1:
        return Stretch(rows, slice(*spans[0]))
    return Stretch(rows, np.concatenate([np.arange(start, stop) for start, stop in spans]))


def table_of(stretch: Stretch, schema: pa.Schema) -> pa.Table:
    """Rows → table; null where nothing was measured."""
    rows, take = stretch.rows, stretch.take
    boots = pa.array(rows.boots).take(pa.array(rows.boot[take], type=pa.uint16()))
    columns: list[pa.Array[Any]] = [
        pa.array(rows.stamp_ms[take] * NS_PER_MS, type=pa.int64()).cast(TIME),
        boots,
        pa.array(rows.seq[take], type=pa.int64()),
    ]
    columns += [pa.array(rows.shown[name][take], from_pandas=True) for name in schema.names[len(columns) :]]
    return pa.Table.from_arrays(columns, schema=schema)
