"""Recorded files with sane defaults, their mappings, and what a collector makes of messages."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from collector.codec import decode_readings
from filiere.clock import parse_time
from simulators.replay.mapping import ColumnMapping
from simulators.replay.mapping_file import parse_mapping
from simulators.replay.recording import Lap, Recorded
from simulators.replay.table_recording import TableRecording
from tests.collector.builders import Rig
from tests.simulators.builders import caux

NOW_NS = parse_time("2026-11-24T12:00:00Z")
EXTRUDER = "caux/textile/t1/extruder"
COLUMNS = {
    "z1": (f"{EXTRUDER}.barrel_temp_z1", "Cel"),
    "z2": (f"{EXTRUDER}.barrel_temp_z2", "Cel"),
    "z3": (f"{EXTRUDER}.barrel_temp_z3", "Cel"),
    "p": (f"{EXTRUDER}.melt_pressure", "bar"),
    "moisture": ("caux/textile/t1/dryer.moisture", "1"),
}


def mapping_text(
    *columns: str,
    file: str = '{kind: csv, separator: ";", decimal: ","}',
    time: str = "{columns: [t], format: year_first}",
    more: str = "",
    no_default: bool = False,
    **other: tuple[str, str],
) -> str:
    chosen = {name: COLUMNS[name] for name in columns or (() if no_default else ("z1",))} | other
    lines = [f"  {name}: {{signal: {signal}, unit: '{unit}'}}" for name, (signal, unit) in chosen.items()]
    return "\n".join(["replay: 1", f"file: {file}", f"time: {time}", more, "columns:", *lines]) + "\n"


def mapping(*columns: str, **fields: str) -> ColumnMapping:
    return parse_mapping(mapping_text(*columns, **fields).encode(), "mapping.yaml", caux())


def written(folder: Path, *lines: str, name: str = "plant.csv", encoding: str = "utf-8", end: str = "\n") -> Path:
    path = folder / name
    path.write_bytes((end.join(lines) + end).encode(encoding))
    return path


def recorded(path: Path | Sequence[Path], chosen: ColumnMapping | None = None, **more: int) -> TableRecording:
    paths = [path] if isinstance(path, Path) else path
    return TableRecording(paths, chosen or mapping(), clock=lambda: NOW_NS, **more)


def messages(recording: TableRecording, lap: Lap = Lap()) -> list[Recorded]:  # noqa: B008  # frozen
    return list(recording.lap(lap))


def values(sent: Iterable[Recorded], signal: str = "barrel_temp_z1") -> list[tuple[str, float | None]]:
    """Time of day (UTC) and value of a signal, in the order of sending."""
    found = []
    for message in sent:
        read = decode_readings(message.payload)
        if signal in read.values:
            for time_ns, value in zip(read.time_ns, read.values[signal], strict=True):
                seconds = time_ns // 10**9 % 86_400
                found.append((f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}", value))
    return found


def stored_by(rig: Rig, sent: Iterable[tuple[bytes, bytes, int]]) -> list[tuple[object, ...]]:
    """Every reading and run mark that a recorder stores of messages: topic, payload, time of arrival."""
    rig.log.append(list(sent))
    while rig.recorder.step():
        pass
    rows, marks = rig.everything_stored()
    return [*rows, *marks]
