"""Recorded files in a test: the messages that `filiere replay` would publish, and what is wrong with the file."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from filiere.clock import NS_PER_S, Clock, parse_time, system_clock, to_text
from filiere.plant import Plant
from simulators.replay.mapping import ColumnMapping
from simulators.replay.mapping_file import load_mapping, parse_mapping
from simulators.replay.opening import open_recording
from simulators.replay.recording import Lap, Recorded, Recording
from simulators.replay.table_recording import ROWS_MAX


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A recording, read and checked; iterate over it for its messages, as often as wanted."""

    recording: Recording
    shift_ns: int = 0
    """Added to all times; whole seconds."""

    def __iter__(self) -> Iterator[Recorded]:
        return self.recording.lap(Lap(shift_ns=self.shift_ns))

    def __len__(self) -> int:
        return self.recording.count

    def __repr__(self) -> str:
        return f"Replay({len(self)} messages from {to_text(self.recording.first_ns + self.shift_ns)})"

    @property
    def found(self) -> Mapping[str, int]:
        """Kind of dirt → how often; the kinds are those of the report of `filiere replay`."""
        return {kind.value: finding.count for kind, finding in self.recording.findings.items()}


class Replays:
    """Call it for a recorded file."""

    def __init__(self, plant: Plant, *, clock: Clock = system_clock) -> None:
        """`clock` tells which recorded times lie in the future."""
        self._plant = plant
        self._clock = clock

    def __call__(
        self,
        file: str | Path,
        *more: str | Path,
        mapping: str | Path | None = None,
        zone: str | None = None,
        start: int | str | None = None,
        rows_max: int = ROWS_MAX,
    ) -> Replay:
        """Read and check files: of `filiere log export` or `filiere simulate`, or of a historian with a `mapping`.

        `mapping`: a path, or YAML (a text of several lines). `zone` (IANA): that of local times. `start` (UTC ns,
        or RFC 3339): the first message is moved there, by whole seconds. `rows_max`: most rows in a message.

        Raises:
            ScenarioError: a file or the mapping is wrong; the message gives file and line.
            SettingsError: the zone is none.
        """
        recording = open_recording(
            [Path(each) for each in (file, *more)],
            self._plant,
            mapping=self._mapping(mapping),
            zone=zone,
            rows_max=rows_max,
            clock=self._clock,
        )
        if start is None:
            return Replay(recording=recording)
        start_ns = parse_time(start) if isinstance(start, str) else start
        return Replay(recording=recording, shift_ns=-((recording.first_ns - start_ns) // NS_PER_S) * NS_PER_S)

    def _mapping(self, mapping: str | Path | None) -> ColumnMapping | None:
        if mapping is None:
            return None
        if isinstance(mapping, str) and "\n" in mapping:
            return parse_mapping(mapping.encode(), "mapping in the test", self._plant)
        return load_mapping(Path(mapping), self._plant)
