"""A recorded file → a Recording: of our own, known by what is in it; of another historian, by its mapping."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from zoneinfo import available_timezones

import msgspec

from filiere.clock import Clock, system_clock
from filiere.errors import ScenarioError, SettingsError
from filiere.plant import Plant
from simulators.replay.device_recording import DeviceRecording, NumberedRows, Several
from simulators.replay.log_recording import LogRecording
from simulators.replay.mapping import ColumnMapping
from simulators.replay.own_tables import own_table, read_own_table
from simulators.replay.recording import Read, Recording, unheard
from simulators.replay.sealed_runs import is_sealed, read_sealed
from simulators.replay.table_recording import ROWS_MAX, TableRecording

LOG_NAMES = ({"topic", "topic_base64"}, {"payload", "payload_base64"}, {"record_time"})
"""One of each stands in a line of a log."""
FIRST_LINE_MAX = 1024 * 1024


def open_recording(
    paths: Sequence[Path],
    plant: Plant,
    *,
    mapping: ColumnMapping | None = None,
    zone: str | None = None,
    rows_max: int = ROWS_MAX,
    clock: Clock = system_clock,
    read: Read = unheard,
) -> Recording:
    """Read and check recorded files, all of one kind; a folder stands for the files in it.

    Without a mapping they are `filiere log export`'s lines, files of `filiere simulate`, or sealed runs. `zone` (IANA)
    is that of local times, and goes before the mapping's.

    Raises:
        ScenarioError: a file cannot be read, or the mapping does not fit it; the message gives file and line.
        SettingsError: the zone is none.
    """
    checked_zone(zone)
    files = files_of(paths)
    if mapping is not None:
        if zone is not None:
            mapping = replace(mapping, time=replace(mapping.time, zone=zone))
        return TableRecording(files, mapping, rows_max=rows_max, clock=clock, read=read)
    logs = [path for path in files if is_log(path)]
    devices: list[NumberedRows] = []
    for path in files:
        if path not in logs:
            devices += _own_rows(path, plant, read)
    recordings = (DeviceRecording(rows, rows_max=rows_max, clock=clock) for rows in devices)
    parts: list[Recording] = [recording for recording in recordings if recording.count]
    if logs:
        parts.append(LogRecording(logs, read=read))
    if not parts:
        raise ScenarioError(f"{paths[0]}: got tables without a row; expected recorded rows")
    return parts[0] if len(parts) == 1 else Several(parts)


def _own_rows(path: Path, plant: Plant, read: Read) -> list[NumberedRows]:
    """The rows of a table of our own. Raises ScenarioError: it is none, or damaged."""
    if is_sealed(path):
        return list(read_sealed(path, plant))
    table = own_table(path, plant)
    if table is None:
        raise ScenarioError(
            f"{path}: got a file that is neither of `filiere log export` nor of `filiere simulate`; expected a mapping"
            f" with it: `filiere replay inspect {path} -o mapping.yaml` proposes one, --mapping takes it"
        )
    return [read_own_table(table, read)]


def checked_zone(zone: str | None) -> str | None:
    """The zone that was named. Raises SettingsError: it is none of the IANA database."""
    if zone is not None and zone not in available_timezones():
        raise SettingsError(f"zone: got {zone!r}; expected a zone of the IANA database such as Europe/Paris")
    return zone


def files_of(paths: Sequence[Path]) -> list[Path]:
    """The files that are named, and those of folders that are. Raises ScenarioError: there is none."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = [each for each in sorted(path.iterdir()) if each.suffix in (".csv", ".jsonl", ".parquet")]
            if not found:
                raise ScenarioError(f"{path}: got a folder without .csv, .jsonl and .parquet files; expected some")
            files += found
        elif path.exists() and not path.is_file():
            raise ScenarioError(f"{path}: got no file of a disk; expected one: it is read more than once")
        else:
            files.append(path)
    return files


def is_own(path: Path, plant: Plant) -> bool:
    """Whether a file needs no mapping. Raises ScenarioError: it cannot be read, or is empty."""
    return (
        is_log(path) or is_sealed(path) or (path.suffix in (".csv", ".parquet") and own_table(path, plant) is not None)
    )


def is_log(path: Path) -> bool:
    """Whether its first line is one of a log. Raises ScenarioError: it cannot be read, or is empty."""
    try:
        with path.open("rb") as file:
            line = file.readline(FIRST_LINE_MAX)
            if not line:
                raise ScenarioError(f"{path}: got an empty file; expected recorded rows")
            while line and not line.strip():
                line = file.readline(FIRST_LINE_MAX)
        found = msgspec.json.decode(line)
    except OSError as error:
        raise ScenarioError(f"{path}: got {error.strerror or error}; expected a file that may be read") from None
    except (msgspec.DecodeError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and all(names & found.keys() for names in LOG_NAMES)
