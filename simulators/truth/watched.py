"""What the system concluded of readings: which it flagged, and which were beyond their limits during a run."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from filiere.chain import Run
from filiere.clock import NS_PER_S
from filiere.plant import Label, Line, Signal, limits_of
from filiere.readings import CLOCK_SUSPECT, DEVICE_BAD, OUT_OF_RANGE, QUALITIES, Series
from processing.statistics import outside
from simulators.truth.conclusion import EPISODE_GAP_S, Conclusion, Source, episodes
from simulators.truth.folder import Truth
from simulators.truth.system import Note, System

LIMIT_HOLD_S = 60.0
"""Readings beyond a limit are an alarm when they stay there so long, without one back inside."""
_MS = 1_000_000

QUALITY_WORDS = {
    OUT_OF_RANGE: Label(fr="hors de la plage du capteur", en="outside the sensor's range"),
    CLOCK_SUSPECT: Label(fr="horloge suspecte", en="clock suspect"),
    DEVICE_BAD: Label(fr="l'appareil dit sa mesure mauvaise", en="bad by the device's own word"),
}
BELOW = Label(fr="sous la limite", en="below the limit")
ABOVE = Label(fr="au-dessus de la limite", en="above the limit")


def of_readings(truth: Truth, system: System, *, note: Note | None = None) -> list[Conclusion]:
    """Flagged readings, and limits crossed during runs. One pass over the store, a cycle at a time."""
    found: list[Conclusion] = []
    for done, cycle in enumerate(truth.cycles):
        if note is not None:
            note(done, len(truth.cycles))
        line = system.plant.line(cycle.line)
        keys = [signal.key for signal in line.signals]
        runs = [
            run
            for run in system.chain.runs.values()
            if run.line == cycle.line and cycle.start_ns <= run.start_ns < cycle.stop_ns
        ]
        for series in system.store.window(cycle.line, keys, cycle.start_ns, cycle.stop_ns):
            if len(series.time_ns):
                found += _flags(cycle.line, series)
                found += _crossings(line, line.signal(series.key), series, runs)
    return episodes(found)


def _flags(line: str, series: Series) -> Iterator[Conclusion]:
    if not series.quality.any():
        return
    for index in np.unique(series.quality[series.quality > 0]).tolist():
        times = series.time_ns[series.quality == index]
        for stretch in np.split(times, np.flatnonzero(np.diff(times) > EPISODE_GAP_S * NS_PER_S) + 1):
            yield Conclusion(
                source=Source.QUALITY,
                line=line,
                targets=(series.key,),
                start_ns=_whole_ms(stretch[0]),
                stop_ns=_whole_ms(stretch[-1]),
                known_ns=_whole_ms(stretch[0]),
                words=QUALITY_WORDS[QUALITIES[index]],
            )


def _crossings(line: Line, signal: Signal, series: Series, runs: Sequence[Run]) -> Iterator[Conclusion]:
    """Limits crossed while a run that the signal belongs to was on."""
    for run in runs:
        step = line.step(run.step)
        if signal.device not in step.units or run.stop_ns is None:
            continue
        limits = limits_of(signal, step.recipe(run.recipe))
        during = (series.time_ns >= run.start_ns) & (series.time_ns < run.stop_ns) & (series.quality == 0)
        time_ns, value = series.time_ns[during], series.value[during]
        beyond = outside(value, limits)
        for stretch in _stretches(beyond):
            start_ns, stop_ns = _whole_ms(time_ns[stretch.start]), _whole_ms(time_ns[stretch.stop - 1])
            known_ns = start_ns + round(max(0.0, LIMIT_HOLD_S - signal.period_s) * NS_PER_S)
            if stop_ns < known_ns:
                continue
            low = limits.low is not None and value[stretch.start] < limits.low
            yield Conclusion(
                source=Source.LIMITS,
                line=line.path,
                targets=(signal.key,),
                start_ns=start_ns,
                stop_ns=stop_ns,
                known_ns=known_ns,
                words=BELOW if low else ABOVE,
            )


def _stretches(mask: npt.NDArray[np.bool_]) -> Iterator[slice]:
    """Where a mask stays true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        yield slice(start, stop)


def _whole_ms(time_ns: np.int64) -> int:
    """A stored time without the row's number in its last digits."""
    return int(time_ns) // _MS * _MS
