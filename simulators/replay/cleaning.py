"""Rows as arrays, made fit to be sent: halved ones, backward ones, repeated ones, gaps. Pure, and each step counted."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filiere.clock import NS_PER_S, to_text
from simulators.replay.dirt import Dirt, Findings

Times = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]

HALVED_ROWS_MAX = 3
"""Rows at a file's beginning, or after a gap, that may be averaged with zero."""
HALVED_COMPARED = 5
"""Rows behind them that say what is whole: one alone may have cells that were not measured."""
HALVED_SIGNALS_MIN = 3
"""Signals that must say so: one alone may have doubled."""
HALF_LOW, HALF_HIGH = 0.40, 0.60
HALVED_SHARE_MIN = 0.8
"""Of the signals of a row."""
GAP_STEPS = 5
"""A gap is longer than so many usual steps, and than GAP_S_MIN."""
GAP_S_MIN = 10.0
OLD_NS = 1_577_836_800 * NS_PER_S
"""2020-01-01: the collector takes an earlier time for a clock that was never set."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows of one file, or of one device, in some order. Arrays have n rows."""

    time_ns: Times
    values: Values
    """Shape (n, signals); NaN = not measured."""
    places: npt.NDArray[np.int64]
    """Numbers of the rows in their file, for reports."""

    def keep(self, mask: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> "Rows":
        """Some of them, or another order."""
        return Rows(self.time_ns[mask], self.values[mask], self.places[mask])


Where = Callable[[int], str]
"""Number of a row in its file → a place for people."""


def joined(parts: list[Rows], signals: int) -> Rows:
    """Rows of several files, one after the other."""
    return Rows(
        np.concatenate([np.empty(0, np.int64), *(part.time_ns for part in parts)]),
        np.concatenate([np.empty((0, signals)), *(part.values for part in parts)]),
        np.concatenate([np.empty(0, np.int64), *(part.places for part in parts)]),
    )


def without_halved(rows: Rows, findings: Findings, where: Where) -> Rows:
    """Without the first rows, of the file and after each gap, that a historian averaged with zero.

    A row is halved when nearly all of its signals are half of what the next rows say.
    """
    count = len(rows.time_ns)
    starts = [0, *(np.flatnonzero(_long_steps(rows.time_ns)) + 1).tolist()] if count else []
    halved = np.zeros(count, dtype=bool)
    for start in starts:
        for length in range(min(HALVED_ROWS_MAX, count - start - 1), 0, -1):
            whole = _usual(rows.values[start + length : start + length + HALVED_COMPARED])
            if all(_is_half(rows.values[place], whole) for place in range(start, start + length)):
                halved[start : start + length] = True
                findings.add(Dirt.HALVED_ROW, where(int(rows.places[start])), length)
                break
    return rows.keep(~halved)


def _usual(values: Values) -> Values:
    """The median of each signal, NaN where it was not measured at all; shape (signals,)."""
    measured = [column[np.isfinite(column)] for column in values.T]
    return np.array([np.median(column) if len(column) else np.nan for column in measured])


def _is_half(values: Values, whole: Values) -> bool:
    judged = np.isfinite(values) & np.isfinite(whole) & (whole != 0.0)
    if np.count_nonzero(judged) < HALVED_SIGNALS_MIN:
        return False
    share = values[judged] / whole[judged]
    return bool(np.mean((share >= HALF_LOW) & (share <= HALF_HIGH)) >= HALVED_SHARE_MIN)


def _long_steps(time_ns: Times) -> npt.NDArray[np.bool_]:
    """Which steps are gaps."""
    steps = np.diff(time_ns)
    forward = steps[steps > 0]
    if not len(forward):
        return np.zeros(len(steps), dtype=bool)
    return np.asarray(steps > max(GAP_STEPS * float(np.median(forward)), GAP_S_MIN * NS_PER_S))


def count_backward(rows: Rows, findings: Findings, where: Where) -> None:
    """Rows that are older than one before them."""
    if len(rows.time_ns):
        backward = np.flatnonzero(rows.time_ns < np.maximum.accumulate(rows.time_ns))
        if len(backward):
            findings.add(Dirt.BACKWARD, where(int(rows.places[backward[0]])), len(backward))


def in_order(rows: Rows) -> Rows:
    """In the order of their times; rows of one time stay as they stood."""
    return rows.keep(np.argsort(rows.time_ns, kind="stable"))


def without_repeated(rows: Rows, findings: Findings, where: Where, *, leave_out: bool) -> Rows:
    """Without rows of one time and the same values; other values at one time stay, and are counted."""
    order = np.argsort(rows.time_ns, kind="stable")
    times = rows.time_ns[order]
    same = np.flatnonzero(times[1:] == times[:-1]) + 1
    if not len(same):
        return rows
    kept = np.ones(len(times), dtype=bool)
    seen: dict[int, set[bytes]] = {}
    for place in same.tolist():
        time_ns = int(times[place])
        known = seen.get(time_ns)
        if known is None:
            seen.clear()  # times ascend: no earlier one comes again
            known = seen[time_ns] = {rows.values[order[place - 1]].tobytes()}
        row = rows.values[order[place]].tobytes()
        repeated = row in known
        known.add(row)
        kept[order[place]] = not (repeated and leave_out)
        findings.add(Dirt.REPEATED_ROW if repeated else Dirt.SAME_TIME, where(int(rows.places[order[place]])))
    return rows.keep(kept)


def count_gaps(time_ns: Times, findings: Findings) -> None:
    """Where nothing was recorded for long; the first that is told is the longest."""
    gaps = np.flatnonzero(_long_steps(time_ns))
    if len(gaps):
        steps = np.diff(time_ns)[gaps]
        longest = int(np.argmax(steps))
        findings.add(Dirt.GAP, f"{steps[longest] / NS_PER_S:.0f} s, {to_text(int(time_ns[gaps[longest]]))}", len(gaps))


def count_strange_times(time_ns: Times, now_ns: int, findings: Findings) -> None:
    """Times that the collector will not believe."""
    old, future = time_ns[time_ns < OLD_NS], time_ns[time_ns > now_ns]
    if len(old):
        findings.add(Dirt.OLD, to_text(int(old[0])), len(old))
    if len(future):
        findings.add(Dirt.FUTURE, to_text(int(future[0])), len(future))
