"""What a device measured in a cycle, as columns: what was there, and what it shows of it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from collector.codec import ReadingsMessage, encode_readings
from filiere.clock import NS_PER_MS
from simulators.line.physics import Array, Times


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRows:
    """All rows of one device in one cycle, in the order in which they were measured. Arrays have shape (n,)."""

    line: str
    device: str
    time_ms: Times
    """When each row was measured, UTC ms."""
    stamp_ms: Times
    """When the device says that it was: its clock may be wrong."""
    boots: tuple[str, ...]
    boot: npt.NDArray[np.uint16]
    """Place in `boots` of each row."""
    seq: npt.NDArray[np.int64]
    """Number of each row within its boot."""
    place: Times
    """Place of each row among the instants at which the device measures: some measure nothing, or it is off."""
    ended_ns: tuple[int, ...]
    """When each boot but the last one ended, UTC ns."""
    true: Mapping[str, Array]
    """Signal id → what was there; NaN = it is not measured in this row."""
    shown: Mapping[str, Array]
    """Signal id → what the device shows; NaN = nothing."""

    def payload(self, start: int, stop: int) -> bytes:
        """Rows start … stop − 1 as one readings message; they are of one boot."""
        return encode_readings(
            ReadingsMessage(
                boot=self.boots[self.boot[start]],
                seq=int(self.seq[start]),
                time_ns=tuple((self.stamp_ms[start:stop] * NS_PER_MS).tolist()),
                values={name: _nullable(column[start:stop]) for name, column in self.shown.items()},
            )
        )


def _nullable(values: Array) -> tuple[float | None, ...]:
    shown: list[float | None] = values.tolist()
    if np.isnan(values).any():
        shown = [None if value != value else value for value in shown]  # noqa: PLR0124  # NaN alone is not itself
    return tuple(shown)
