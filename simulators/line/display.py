"""From what is there to what a device shows: sensor faults, display, clock, numbers of the rows, restarts."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from filiere.clock import NS_PER_MS, NS_PER_S
from filiere.plant import Line, Signal, Unit
from simulators.faults.fault import Active, ClockFault, RestartFault, SensorFault, Stretch, Window
from simulators.line.grid import Grid
from simulators.line.machines import Trace
from simulators.line.physics import Array, Times, quantised
from simulators.line.randomness import generator, token
from simulators.line.rows import DeviceRows
from simulators.line.state import CycleStart, SimulatorState


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a device shows in a cycle, and what of it the next cycle must know."""

    rows: DeviceRows
    seq: int
    """Number of its next row."""
    boots: int
    """How often it started anew until now."""
    firsts: Mapping[str, tuple[float, float]]
    """As in CycleStart, of this device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Display:
    """One device of a line in one cycle, with the faults of its line."""

    line: Line
    unit: Unit
    grid: Grid
    cycle: CycleStart
    stop_ns: int
    """End of the cycle."""
    state: SimulatorState
    timezone: str
    active: tuple[Active, ...]

    def show(self, trace: Trace) -> Shown:
        """The device's rows. A row in which nothing is measured does not exist."""
        firsts: dict[str, tuple[float, float]] = {}
        true: dict[str, Array] = {}
        shown: dict[str, Array] = {}
        for signal in self.unit.signals:
            there = self._measured(signal, trace.values[signal.id])
            true[signal.id] = there
            shown[signal.id] = self._shown(signal, there + trace.noise.get(signal.id, 0.0), firsts)
        off = self._off()
        kept = ~np.all(np.isnan(list(shown.values())), axis=0)
        for window in off:
            kept[_rows(self.grid.time_ms, window)] = False
        began = [window.start_ns for window in off if self.cycle.start_ns <= window.start_ns < self.stop_ns]
        place = np.flatnonzero(kept)
        time_ms = self.grid.time_ms[place]
        boot = np.searchsorted(began, time_ms * NS_PER_MS, side="right").astype(np.uint16)
        before = self.cycle.boots.get(self.unit.id, 0)
        seq = _numbers(boot, self.cycle.seq.get(self.unit.id, 0))
        rows = DeviceRows(
            line=self.line.path,
            device=self.unit.id,
            time_ms=time_ms,
            stamp_ms=self._stamps(time_ms),
            boots=tuple(
                boot_of(self.state, self.line, self.unit.id, before + after) for after in range(len(began) + 1)
            ),
            boot=boot,
            seq=seq,
            place=place,
            ended_ns=tuple(began),
            true={name: column[place] for name, column in true.items()} if len(place) < len(kept) else true,
            shown={name: column[place] for name, column in shown.items()} if len(place) < len(kept) else shown,
        )
        of_last = int(np.count_nonzero(boot == len(began)))
        return Shown(
            rows=rows,
            seq=of_last if began else self.cycle.seq.get(self.unit.id, 0) + of_last,
            boots=before + len(began),
            firsts=firsts,
        )

    def _measured(self, signal: Signal, values: Array) -> Array:
        """A signal slower than its device is not measured (NaN) in between."""
        every = max(1, round(signal.period_s / self.grid.period_s))
        if every == 1:
            return values
        numbers = self.grid.first + np.arange(len(values))
        return np.where(numbers % every == 0, values, np.nan)

    def _shown(self, signal: Signal, sensed: Array, firsts: dict[str, tuple[float, float]]) -> Array:
        """Sensor, then display: what it can mean, to its resolution; then what is wrong with the display."""
        faults = [
            active
            for active in self.active
            if isinstance(active.fault, SensorFault)
            and active.fault.touches(self.unit.id, signal.id)
            and active.window.start_ns < self.stop_ns
            and active.window.stop_ns > self.cycle.start_ns
        ]
        for active in faults:
            if not _on_display(active):
                sensed = self._distorted(active, signal, sensed, firsts)
        shown = quantised(np.clip(sensed, signal.range_low, signal.range_high), signal.resolution)
        for active in faults:
            if _on_display(active):
                shown = self._distorted(active, signal, shown, firsts)
        return shown

    def _distorted(
        self, active: Active, signal: Signal, values: Array, firsts: dict[str, tuple[float, float]]
    ) -> Array:
        """The fault sees what was measured from its onset on; in a later cycle, its first reading before that."""
        fault = active.fault
        assert isinstance(fault, SensorFault)
        key = f"{fault.label} {signal.key}"
        measured = np.flatnonzero(~np.isnan(values))
        measured = measured[np.searchsorted(self.grid.time_ms[measured], -(-active.window.start_ns // NS_PER_MS)) :]
        first = self.cycle.firsts.get(key)
        since_s = self.grid.time_ms[measured] / 1000.0 - active.window.start_ns / NS_PER_S
        if active.window.stop_ns > self.stop_ns:
            if first is not None:
                firsts[key] = first
            elif len(measured):
                firsts[key] = (float(since_s[0]), float(values[measured[0]]))
        if not len(measured):
            return values
        seen = values[measured]
        if first is not None:
            since_s, seen = np.append(first[0], since_s), np.append(first[1], seen)
        chance = generator(
            self.state.seed, self.line.path, "fault", fault.label, self.cycle.number, self.unit.id, signal.id
        )
        # Past the window too: how long the fault lasts must not change which numbers it draws.
        said = fault.distort(Stretch(values=seen, since_s=since_s, signal=signal, chance=chance))[first is not None :]
        inside = self.grid.time_ms[measured] < -(-active.window.stop_ns // NS_PER_MS)
        answer = values.copy()
        answer[measured[inside]] = said[inside]
        return answer

    def _off(self) -> list[Window]:
        found = [
            window
            for active in self.active
            if isinstance(active.fault, RestartFault) and active.fault.touches(self.unit.id, "")
            for window in active.fault.off(active.window)
            if window.start_ns < self.stop_ns and window.stop_ns > self.cycle.start_ns
        ]
        return sorted(found, key=lambda window: (window.start_ns, window.stop_ns))

    def _stamps(self, time_ms: Times) -> Times:
        stamp_ms = time_ms
        for active in self.active:
            if isinstance(active.fault, ClockFault) and active.fault.touches(self.unit.id, ""):
                rows = active.rows(time_ms)
                if rows.start < rows.stop:
                    stamp_ms = stamp_ms.copy()
                    since_s = (time_ms[rows] - active.window.start_ns // NS_PER_MS) / 1000.0
                    stamp_ms[rows] = active.fault.stamps(stamp_ms[rows], since_s, self.timezone)
        return stamp_ms


def boot_of(state: SimulatorState, line: Line, device: str, restarts: int) -> str:
    """The same seed and start give the same boots."""
    again = (restarts,) if restarts else ()
    return token(state.seed, state.start_ns, line.path, device, *again)


def _on_display(active: Active) -> bool:
    return isinstance(active.fault, SensorFault) and active.fault.on_display


def _rows(time_ms: Times, window: Window) -> slice:
    first, last = np.searchsorted(time_ms, [-(-window.start_ns // NS_PER_MS), -(-window.stop_ns // NS_PER_MS)])
    return slice(int(first), int(last))


def _numbers(boot: "np.typing.NDArray[np.uint16]", first: int) -> Times:
    """The numbers of rows whose boots count up: on from `first`, then from 0 in each."""
    place = np.arange(len(boot), dtype=np.int64)
    starts = np.searchsorted(boot, boot)
    return place - starts + np.where(boot == 0, first, 0)
