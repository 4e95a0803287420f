"""A historian's file with its mapping → the messages that its devices would have sent.

All of it is read, cleaned and put in order before the first message is made. Numbers and boots come from the file
itself, so the same file sent twice is stored once.
"""

from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from itertools import pairwise
from operator import attrgetter
from pathlib import Path

import numpy as np
import numpy.typing as npt

from collector.codec import READINGS, ReadingsMessage, encode_readings, topic_text
from collector.codec import ROWS_MAX as MESSAGE_ROWS_MAX
from filiere.clock import Clock, system_clock
from filiere.errors import ScenarioError
from simulators.replay.cleaning import Rows, count_strange_times
from simulators.replay.device_recording import MESSAGE_SPAN_NS, nullable
from simulators.replay.dirt import Findings
from simulators.replay.mapping import ColumnMapping, Kind, Source
from simulators.replay.mapping_file import absent
from simulators.replay.recording import Lap, Read, Recorded, boot_of, digest_of, unheard
from simulators.replay.table_reading import Device, read_devices
from simulators.replay.tables import TableFile

ROWS_MAX = 10
"""Most rows in a message, unless another number is asked for."""


class TableRecording:
    """Files of one layout, read with one mapping."""

    def __init__(
        self,
        paths: Sequence[Path],
        mapping: ColumnMapping,
        *,
        rows_max: int = ROWS_MAX,
        clock: Clock = system_clock,
        read: Read = unheard,
    ) -> None:
        """Raises ScenarioError: a file cannot be read, or the mapping does not fit it."""
        self.findings = Findings()
        self._mapping = mapping
        self._rows_max = min(rows_max, MESSAGE_ROWS_MAX)
        self._digest = boot_of(digest_of(paths), *_meaning(mapping))
        files = [TableFile(path=path, layout=mapping.layout, findings=self.findings, read=read) for path in paths]
        _check_columns(mapping, files)
        self.devices: Mapping[str, Device] = read_devices(files, mapping, self.findings)
        """Device path → its signals, and its rows in their order."""
        self.file_rows = sum(file.rows for file in files)
        """Rows of the files that could be read."""
        self.rows = sum(len(rows.time_ns) for _, rows in self.devices.values())
        if not self.rows:
            raise ScenarioError(
                f"{paths[0]}: got no value of the signals in {mapping.source or 'the mapping'}; expected at least one:"
                " check the columns, time.format and sentinels"
            )
        for _, rows in self.devices.values():
            count_strange_times(rows.time_ns, clock(), self.findings)
        self.first_ns = min(int(rows.time_ns.min()) for _, rows in self.devices.values())
        self.last_ns = max(int(rows.time_ns.max()) for _, rows in self.devices.values())
        self.count = sum(len(_cuts(rows.time_ns, self._rows_max)) - 1 for _, rows in self.devices.values())

    def lap(self, lap: Lap) -> Iterator[Recorded]:
        """See Recording."""
        streams = [self._device(path, sources, rows, lap) for path, (sources, rows) in self.devices.items()]
        return merge(*streams, key=attrgetter("shown_ns"))

    def _device(self, path: str, sources: tuple[Source, ...], rows: Rows, lap: Lap) -> Iterator[Recorded]:
        line, _, device = path.rpartition("/")
        topic = topic_text(line, device, READINGS).encode()
        boot = boot_of(self._digest, path, lap.number, lap.shift_ns)
        cuts = _cuts(rows.time_ns, self._rows_max)
        sent_ns = np.maximum.accumulate(rows.time_ns)
        for start, stop in pairwise(cuts):
            shown_ns = int(sent_ns[stop - 1])
            payload = encode_readings(
                ReadingsMessage(
                    boot=boot,
                    seq=start,
                    time_ns=tuple((rows.time_ns[start:stop] + lap.shift_ns).tolist()),
                    values={
                        source.signal.id: nullable(rows.values[start:stop, place])
                        for place, source in enumerate(sources)
                    },
                )
            )
            yield Recorded(time_ns=shown_ns + lap.shift_ns, topic=topic, payload=payload, shown_ns=shown_ns)


def _meaning(mapping: ColumnMapping) -> Iterator[object]:
    """All of a mapping that changes what is sent."""
    yield from (mapping.layout, mapping.time, mapping.cleaning, sorted(mapping.sentinels))
    if mapping.long is not None:
        yield from (mapping.long.name, mapping.long.value, mapping.long.quality, sorted(mapping.long.good))
    for source in mapping.sources:
        yield (source.name, source.device_path, source.signal.id, source.unit, source.scale, source.decimal)


def _check_columns(mapping: ColumnMapping, files: Sequence[TableFile]) -> None:
    """Raises ScenarioError: a column is missing that must be there."""
    long = mapping.long
    asked = () if long is None else (long.name, long.value, *filter(None, (long.quality,)))
    for file in files:
        names = file.names()
        for name in (*mapping.time.columns, *asked):
            if name not in names:
                listed = ", ".join(map(repr, names[:20]))
                raise ScenarioError(
                    f"{mapping.source}: got column {name!r}, which {file.path} does not have; expected one of its"
                    f" names: {listed}"
                )
        if long is None and file.layout.kind is not Kind.JSONL:  # of a JSONL file the names are known at its end
            for source in mapping.sources:
                if source.name not in names and not source.optional:
                    raise absent(mapping, source, names, str(file.path))


def _cuts(time_ns: npt.NDArray[np.int64], rows_max: int) -> list[int]:
    """Where messages begin, and the end of the last."""
    cuts = [0]
    times = time_ns.tolist()
    for place, time in enumerate(times):
        if place - cuts[-1] >= rows_max or (place > cuts[-1] and abs(time - times[cuts[-1]]) >= MESSAGE_SPAN_NS):
            cuts.append(place)
    return [*cuts, len(times)]
