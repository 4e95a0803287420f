"""Rows of one device with numbers of their own → the messages that it sent: the same numbers, the same readings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import pairwise
from operator import attrgetter

import numpy as np
import numpy.typing as npt

from collector.codec import READINGS, ReadingsMessage, encode_readings, topic_text
from collector.codec import ROWS_MAX as MESSAGE_ROWS_MAX
from collector.wire_time import TIME_NS_MAX
from filiere.clock import NS_PER_S, Clock
from simulators.replay.cleaning import Times, Values, count_gaps, count_strange_times
from simulators.replay.dirt import Finding, Findings
from simulators.replay.recording import Lap, Recorded, Recording, boot_of

MESSAGE_SPAN_NS = 20 * NS_PER_S
"""A message gathers the rows of at most this long."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NumberedRows:
    """Rows of one device, in the order in which they arrived. Arrays have n rows."""

    line: str
    device: str
    signals: tuple[str, ...]
    time_ns: Times
    """UTC ns, whole µs."""
    boots: Sequence[str]
    seqs: npt.NDArray[np.int64]
    values: Values
    """Shape (n, signals); NaN = not measured."""


class DeviceRecording:
    """What one device sent."""

    def __init__(self, rows: NumberedRows, *, rows_max: int, clock: Clock) -> None:
        self.findings = Findings()
        count_strange_times(rows.time_ns, clock(), self.findings)
        count_gaps(np.sort(rows.time_ns), self.findings)
        self._rows = rows
        self._measured = np.asarray(np.isfinite(rows.values).any(axis=1))
        self._sent_ns = np.maximum.accumulate(rows.time_ns)
        self._cuts = _cuts(rows, min(rows_max, MESSAGE_ROWS_MAX))
        self.rows = len(rows.time_ns)
        self.count = sum(bool(self._measured[start:stop].any()) for start, stop in pairwise(self._cuts))
        """0 = the device sent nothing."""
        self.first_ns, self.last_ns = int(rows.time_ns.min(initial=TIME_NS_MAX)), int(rows.time_ns.max(initial=0))

    def lap(self, lap: Lap) -> Iterator[Recorded]:
        """See Recording."""
        rows = self._rows
        topic = topic_text(rows.line, rows.device, READINGS).encode()
        for start, stop in pairwise(self._cuts):
            if not self._measured[start:stop].any():
                continue
            boot, shown_ns = rows.boots[start], int(self._sent_ns[stop - 1])
            message = ReadingsMessage(
                boot=boot if lap.as_recorded else boot_of(boot, lap.number, lap.shift_ns),
                seq=int(rows.seqs[start]),
                time_ns=tuple((rows.time_ns[start:stop] + lap.shift_ns).tolist()),
                values={name: nullable(rows.values[start:stop, place]) for place, name in enumerate(rows.signals)},
            )
            payload = encode_readings(message)
            yield Recorded(time_ns=shown_ns + lap.shift_ns, topic=topic, payload=payload, shown_ns=shown_ns)


def _cuts(rows: NumberedRows, rows_max: int) -> list[int]:
    """Where messages begin, and the end of the last: of one boot, of numbers that count on by one."""
    seqs, times, boots = rows.seqs.tolist(), rows.time_ns.tolist(), rows.boots
    cuts = [0]
    for place in range(1, len(times)):
        first = cuts[-1]
        goes_on = seqs[place] == seqs[place - 1] + 1 and boots[place] == boots[place - 1]
        if not goes_on or place - first >= rows_max or abs(times[place] - times[first]) >= MESSAGE_SPAN_NS:
            cuts.append(place)
    return [*cuts, len(times)]


def nullable(values: Values) -> tuple[float | None, ...]:
    """Values of a column as a message has them: None = not measured."""
    measured: list[float | None] = values.tolist()
    if np.isnan(values).any():
        measured = [None if value != value else value for value in measured]  # noqa: PLR0124  # NaN alone is not itself
    return tuple(measured)


class Several:
    """Recordings that were made at one time, in one stream."""

    def __init__(self, parts: Sequence[Recording]) -> None:
        self._parts = tuple(parts)
        self.first_ns = min(part.first_ns for part in parts)
        self.last_ns = max(part.last_ns for part in parts)
        self.count = sum(part.count for part in parts)
        self.rows = sum(part.rows for part in parts)

    @property
    def findings(self) -> Findings:
        """All of the parts together."""
        together = Findings()
        for part in self._parts:
            for kind, found in part.findings.items():
                known = together.by_kind.setdefault(kind, Finding(first=found.first))
                known.count += found.count
        return together

    def lap(self, lap: Lap) -> Iterator[Recorded]:
        """See Recording."""
        return merge(*(part.lap(lap) for part in self._parts), key=attrgetter("time_ns"))
