"""Readings: the nouns, the stored time, the one place where measurement, tag and field names are spelled, and what no
store takes.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Self

import numpy as np
import numpy.typing as npt

from filiere.errors import StoreRefused

MEASUREMENT = "reading"
RUN_MEASUREMENT = "run"
TAG_SITE, TAG_WORKSHOP, TAG_LINE, TAG_DEVICE = "site", "workshop", "line", "device"
QUALITY_PREFIX = "q_"
RUN_FIELD_STATE, RUN_FIELD_RUN, RUN_FIELD_LOT, RUN_FIELD_RECIPE = "state", "run", "lot", "recipe"
STATE_RUNNING, STATE_IDLE = "running", "idle"

ACCOUNT_MEASUREMENT = "account"
COLLECTOR_MEASUREMENT = "collector"
TAG_COLLECTOR = "collector"
UNKNOWN_DEVICE = "?"
"""The one device of all that comes from devices that the plant does not have: strangers make no series."""
ACCOUNT_PUBLISHED, ACCOUNT_STORED, ACCOUNT_QUARANTINED = "published", "stored", "quarantined"
ACCOUNT_WAITING, ACCOUNT_MISSING, ACCOUNT_DUPLICATES = "waiting", "missing", "duplicates"
ACCOUNT_LATE, ACCOUNT_CLOCK_SUSPECT, ACCOUNT_OUT_OF_RANGE = "late", "clock_suspect", "out_of_range"
ACCOUNT_WRITTEN_OFF = "written_off"
ACCOUNT_UNNUMBERED, ACCOUNT_SKEW_S, ACCOUNT_SILENT_S = "unnumbered", "skew_s", "silent_s"
ACCOUNT_COUNTS = (
    ACCOUNT_PUBLISHED,
    ACCOUNT_STORED,
    ACCOUNT_QUARANTINED,
    ACCOUNT_WAITING,
    ACCOUNT_WRITTEN_OFF,
    ACCOUNT_MISSING,
    ACCOUNT_DUPLICATES,
    ACCOUNT_LATE,
    ACCOUNT_CLOCK_SUSPECT,
    ACCOUNT_OUT_OF_RANGE,
    ACCOUNT_UNNUMBERED,
)
"""Rows and events of one device, from the beginning on."""
ACCOUNT_FIELDS = (*ACCOUNT_COUNTS, ACCOUNT_SKEW_S, ACCOUNT_SILENT_S)
COLLECTOR_LOG_HEAD, COLLECTOR_LOG_LAG, COLLECTOR_LOG_BYTES = "log_head", "log_lag", "log_bytes"
COLLECTOR_DISK_FREE_BYTES, COLLECTOR_QUARANTINED = "disk_free_bytes", "quarantined"
COLLECTOR_INTAKE_OK = "intake_ok"
"""1 = what arrives is acknowledged, 0 = it is not."""
COLLECTOR_RECEIPTS_OK = "receipts_ok"
"""1 = devices are answered, 0 = they are not."""
COLLECTOR_FIELDS = (
    COLLECTOR_LOG_HEAD,
    COLLECTOR_LOG_LAG,
    COLLECTOR_LOG_BYTES,
    COLLECTOR_DISK_FREE_BYTES,
    COLLECTOR_QUARANTINED,
    COLLECTOR_INTAKE_OK,
    COLLECTOR_RECEIPTS_OK,
)

GOOD = ""
OUT_OF_RANGE = "out_of_range"
CLOCK_SUSPECT = "clock_suspect"
DEVICE_BAD = "device_bad"
"""The device itself says that the value is not to be believed."""
QUALITIES = (GOOD, OUT_OF_RANGE, CLOCK_SUSPECT, DEVICE_BAD)
"""Their order is part of the seal's leaf layout: append only."""

SEQ_NS = 1000
_LINE_PARTS = 3


def stored_time_ns(event_time_ns: int, seq: int) -> int:
    """Device time (whole ms or µs, in ns) + (seq mod 1000) ns: unique, ordered, the same at every replay."""
    return event_time_ns // SEQ_NS * SEQ_NS + seq % SEQ_NS


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Rows of one device that name the same signals, as columns: validated, in the plant model's units."""

    line: str
    """Line path, `caux/textile/t1`."""
    device: str
    time_ns: Sequence[int]
    """Stored time of each row, UTC ns."""
    values: Mapping[str, Sequence[float | None]]
    """Signal id → its value in each row; None = not measured."""
    quality: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    """Signal id → place of a row → why it is not good; good ones are absent."""

    @classmethod
    def one(
        cls,
        *,
        line: str,
        device: str,
        time_ns: int,
        values: Mapping[str, float],
        quality: Mapping[str, str] = MappingProxyType({}),
    ) -> Self:
        """One row alone; `quality`: signal id → why its value is not good."""
        return cls(
            line=line,
            device=device,
            time_ns=(time_ns,),
            values={signal: (value,) for signal, value in values.items()},
            quality={signal: {0: word} for signal, word in quality.items()},
        )

    def rows(self) -> Iterator["Block"]:
        """Each row alone."""
        for place in range(len(self.time_ns)):
            yield Block(
                line=self.line,
                device=self.device,
                time_ns=self.time_ns[place : place + 1],
                values={signal: column[place : place + 1] for signal, column in self.values.items()},
                quality={signal: {0: flags[place]} for signal, flags in self.quality.items() if place in flags},
            )


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
class AccountMark:
    """What became of all that a device published up to an instant, or how a collector fares; for dashboards."""

    collector: str
    """Name of the collector whose book says so."""
    device: str | None
    """`caux/textile/t1/extruder`, or UNKNOWN_DEVICE; None = the collector as a whole."""
    time_ns: int
    values: Mapping[str, float]
    """ACCOUNT_FIELDS of a device, COLLECTOR_FIELDS of a collector → rows, messages, bytes or s."""


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


def refuse_not_finite(blocks: Iterable[Block]) -> None:
    """No store can give NaN or infinity back. Raises StoreRefused."""
    for block in blocks:
        for signal, column in block.values.items():
            if math.isfinite(sum(filter(None, column))):  # as it is not when one of them is not
                continue
            for value in filter(None, column):
                if not math.isfinite(value):
                    raise StoreRefused(f"{block.line}/{block.device}.{signal}: got {value}; expected a finite number")


def refuse_bad_account(mark: AccountMark) -> None:
    """Finite values of a named collector; a device is a line path and a name. Raises StoreRefused."""
    _refuse_bad_name(mark.collector)
    if mark.device not in (None, UNKNOWN_DEVICE):
        line, _, device = mark.device.rpartition("/")
        refuse_bad_line(line)
        refuse_bad_device(device)
    for name, value in mark.values.items():
        refuse_bad_signal(name)
        if not math.isfinite(value):
            raise StoreRefused(
                f"account of {mark.device or mark.collector}, {name}: got {value}; expected a finite number"
            )


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
