"""What machines did in simulated cycles, without the wire in between."""

import numpy as np

from simulators.line.cycle import Cycle
from simulators.line.physics import Array
from simulators.line.plan import Stage
from simulators.line.rows import DeviceRows
from tests.simulators.builders import cycles


def rows_of(cycle: Cycle, device: str) -> DeviceRows:
    return next(rows for rows in cycle.devices if rows.device == device)


def seconds(cycle: Cycle, device: str) -> Array:
    """When each row was measured, seconds after the cycle's start."""
    return np.asarray((rows_of(cycle, device).time_ms - cycle.plan.cycle.start_ns // 1_000_000) / 1000.0)


def true(cycle: Cycle, key: str) -> Array:
    device, signal = key.split(".")
    return np.asarray(rows_of(cycle, device).true[signal])


def shown(cycle: Cycle, key: str) -> Array:
    device, signal = key.split(".")
    return np.asarray(rows_of(cycle, device).shown[signal])


def plateau(cycle: Cycle, key: str, stage: Stage | None = None) -> np.ndarray:
    """A mask of a device's rows while a run is in full swing: half an hour after its feed began, until it fades."""
    stage = stage or cycle.plan.stages[-1]
    at = seconds(cycle, key.split(".", maxsplit=1)[0])
    return np.asarray((at > stage.feed_start_s + 1800.0) & (at < stage.feed_stop_s - stage.ramp_s - 60.0))


def cold_start(line: str) -> Cycle:
    return cycles(line)[0][0]


def warm(line: str) -> Cycle:
    return cycles(line)[1][0]
