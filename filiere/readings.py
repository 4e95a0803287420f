"""Readings: the nouns, the stored time, and the one place where measurement, tag and field names are spelled."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

MEASUREMENT = "reading"
RUN_MEASUREMENT = "run"
TAG_SITE, TAG_WORKSHOP, TAG_LINE, TAG_DEVICE = "site", "workshop", "line", "device"
QUALITY_PREFIX = "q_"
RUN_FIELD_STATE, RUN_FIELD_RUN, RUN_FIELD_LOT, RUN_FIELD_RECIPE = "state", "run", "lot", "recipe"
STATE_RUNNING, STATE_IDLE = "running", "idle"

GOOD = ""
OUT_OF_RANGE = "out_of_range"
CLOCK_SUSPECT = "clock_suspect"
QUALITIES = (GOOD, OUT_OF_RANGE, CLOCK_SUSPECT)
"""Their order is part of the seal's leaf layout: append only."""

SEQ_NS = 1000


def stored_time_ns(event_time_ns: int, seq: int) -> int:
    """Device time (whole ms or µs, in ns) + (seq mod 1000) ns: unique, ordered, the same at every replay."""
    return event_time_ns // SEQ_NS * SEQ_NS + seq % SEQ_NS


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One instant of one device, validated and in the plant model's units."""

    line: str
    """Line path, `caux/textile/t1`."""
    device: str
    time_ns: int
    """Stored time, UTC ns."""
    values: Mapping[str, float]
    """Signal id → value."""
    quality: Mapping[str, str] = field(default_factory=dict)
    """Signal id → why it is not good; good ones are absent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMark:
    """A change of a line's state, for dashboards: a run started or stopped."""

    line: str
    time_ns: int
    state: str
    """STATE_RUNNING or STATE_IDLE."""
    run: str
    lot: str
    """The lot that is being made; empty when idle or not known yet."""
    recipe: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Readings of one signal in a window, ordered by time. All arrays have shape (n,)."""

    key: str
    """`extruder.melt_temp`."""
    time_ns: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    quality: npt.NDArray[np.uint8]
    """Index into QUALITIES; 0 = good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latest:
    """The last reading of one signal."""

    key: str
    time_ns: int
    value: float
    quality: str
