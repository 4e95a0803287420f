"""What a simulation publishes, as the console shows it: of every signal the true value beside the shown one."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from filiere.clock import NS_PER_MS
from filiere.events import RunClosed, RunStarted
from filiere.plant import Plant
from simulators.line.messages import Publication
from simulators.line.rows import DeviceRows


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalNow:
    """The last time a signal was measured."""

    time_ns: int
    """UTC ns of simulated time."""
    true: float
    """What was there, in the signal's unit."""
    shown: float
    """What the device showed; NaN = nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunNow:
    """A run, as the terminal told it."""

    step: str
    recipe: str
    lot: str


class Feed:
    """Takes publications from the thread that makes them, and is asked from another one."""

    def __init__(self, plant: Plant) -> None:
        self._lock = threading.Lock()
        self._rows: dict[str, dict[str, tuple[DeviceRows, int]]] = {line.path: {} for line in plant.lines}
        self._runs: dict[str, RunNow] = {}

    def watch(self, publication: Publication) -> None:
        """Remember what it says; costs next to nothing."""
        line = publication.cycle.line
        with self._lock:
            if publication.rows is not None:
                rows, stop = publication.rows, publication.stop
                known = self._rows[line].get(rows.device)
                # one that arrives late is no news
                if known is None or rows.time_ms[stop - 1] >= known[0].time_ms[known[1] - 1]:
                    self._rows[line][rows.device] = (rows, stop)
            elif isinstance(publication.event, RunStarted):
                started = publication.event
                self._runs[line] = RunNow(step=started.step, recipe=started.recipe, lot=started.lot)
            elif isinstance(publication.event, RunClosed):
                self._runs.pop(line, None)

    def run(self, line: str) -> RunNow | None:
        """The open run of a line; None = it stands still."""
        with self._lock:
            return self._runs.get(line)

    def trend(self, line: str, key: str, *, span_s: float, points: int) -> tuple[list[float], list[float]]:
        """True and shown values of a signal over the last `span_s` of its lot cycle, at most so many; NaN = nothing."""
        device, _, name = key.partition(".")
        with self._lock:
            rows, stop = self._rows[line].get(device, (None, 0))
        if rows is None or name not in rows.true:
            return [], []
        first = int(np.searchsorted(rows.time_ms[:stop], rows.time_ms[stop - 1] - span_s * 1000.0))
        places = first + np.flatnonzero(~np.isnan(rows.true[name][first:stop]))
        chosen = places[_every(len(places), points)]
        return rows.true[name][chosen].tolist(), rows.shown[name][chosen].tolist()

    def signals(self, line: str) -> Mapping[str, SignalNow]:
        """Signal key → the last time it was measured; those that were not yet are missing."""
        with self._lock:
            devices = list(self._rows[line].values())
        return {
            f"{rows.device}.{name}": now
            for rows, stop in devices
            for name in rows.true
            if (now := _last(rows, name, stop)) is not None
        }


def _every(count: int, points: int) -> list[int]:
    """At most `points` places of `count`, evenly, the last one among them."""
    step = max(1, -(-count // points))
    return list(range(count - 1, -1, -step))[::-1]


def _last(rows: DeviceRows, name: str, stop: int) -> SignalNow | None:
    """The last row before `stop` in which a signal is measured; of a slow signal that is not the last one."""
    measured = np.flatnonzero(~np.isnan(rows.true[name][:stop]))
    if not len(measured):
        return None
    row = int(measured[-1])
    return SignalNow(
        time_ns=int(rows.time_ms[row]) * NS_PER_MS,
        true=float(rows.true[name][row]),
        shown=float(rows.shown[name][row]),
    )
