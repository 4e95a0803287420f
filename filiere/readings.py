"""Readings: the nouns, the stored time, the one place where measurement, tag and field names are spelled, and what no
store takes.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from filiere.errors import StoreRefused

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
_LINE_PARTS = 3


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


# What no store takes, in one place, so that what one keeps the other keeps too.


def refuse_not_finite(rows: Iterable[Row]) -> None:
    """No store can give NaN or infinity back. Raises StoreRefused."""
    for row in rows:
        for signal, value in row.values.items():
            if not math.isfinite(value):
                raise StoreRefused(f"{row.line}/{row.device}.{signal}: got {value}; expected a finite number")


def refuse_bad_line(line: str) -> None:
    """A line path is `site/workshop/line`. Raises StoreRefused."""
    parts = line.split("/")
    if len(parts) != _LINE_PARTS:
        raise StoreRefused(f"got line {line!r}; expected site/workshop/line")
    for part in parts:
        _refuse_bad_name(part)


def refuse_bad_device(device: str) -> None:
    """A key is split at its first dot, so a device has none. Raises StoreRefused."""
    _refuse_bad_name(device)
    if "." in device:
        raise StoreRefused(f"got device {device!r}; expected a name without a dot")


def refuse_bad_signal(signal: str) -> None:
    """`time` is a column of every store, `q_…` a quality. Raises StoreRefused."""
    _refuse_bad_name(signal)
    if signal == "time" or signal.startswith(QUALITY_PREFIX):
        raise StoreRefused(f"got signal {signal!r}; expected a name other than time or {QUALITY_PREFIX}…")


def _refuse_bad_name(name: str) -> None:
    """Line protocol cannot hold an empty name, a backslash, or a control character."""
    if not name or "\\" in name or not name.isprintable():
        raise StoreRefused(f"got name {name!r}; expected printable characters other than a backslash")


def split_key(key: str) -> tuple[str, str]:
    """`extruder.melt_temp` → device, signal. Raises StoreRefused."""
    device, dot, signal = key.partition(".")
    if not dot:
        raise StoreRefused(f"got signal key {key!r}; expected device.signal")
    return device, signal


def quality_index(quality: str) -> int:
    """Place in QUALITIES. Raises StoreRefused."""
    try:
        return QUALITIES.index(quality)
    except ValueError:
        known = ", ".join(filter(None, QUALITIES))
        raise StoreRefused(f"got quality {quality!r}; expected {known}, or empty for good") from None
