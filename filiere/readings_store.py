"""The readings store: one small port, two adapters (InfluxDB 2, embedded SQLite), one contract test on both."""

import math
from collections.abc import Iterable, Sequence
from typing import Protocol

from filiere.errors import StoreRefused
from filiere.readings import QUALITIES, QUALITY_PREFIX, Latest, Row, RunMark, Series
from filiere.settings import Settings

_LINE_PARTS = 3


class ReadingsStore(Protocol):
    """Where readings are kept by line, device and signal, for windows of time.

    Every method raises StoreUnavailable (wait and try again, nothing is half done that a second try would double) or
    StoreRefused (hold: credentials, bucket, damaged file, a value that is not finite). Any thread may call.
    """

    name: str
    """For people: `InfluxDB http://…/bucket`, `embedded data/readings.sqlite`."""

    def write(self, rows: Sequence[Row], marks: Sequence[RunMark] = ()) -> None:
        """Keep rows and run marks; on the disk when it returns. Writing the same one twice leaves one."""
        ...

    def window(self, line: str, keys: Sequence[str], start_ns: int, stop_ns: int) -> tuple[Series, ...]:
        """Readings with start_ns ≤ time_ns < stop_ns: one Series a key, in the order asked, empty where there is none.

        float64 values and ns times are the very ones that were written (-0.0 is kept as 0.0).
        """
        ...

    def latest(self, line: str) -> tuple[Latest, ...]:
        """The last reading of every signal that the line ever had, ordered by key."""
        ...

    def check(self) -> None:
        """Ask whether readings could be read and written now. Raises what is wrong."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


def open_store(settings: Settings) -> ReadingsStore:
    """InfluxDB 2 when `influx_url` is set, else the embedded store in the data folder.

    An InfluxDB that does not answer is not an error here: `check` and every call say so.

    Raises:
        StoreUnavailable, StoreRefused: the embedded store's file cannot be opened.
    """
    if settings.influx_url:
        from filiere.influx_store import InfluxStore  # noqa: PLC0415  # its client takes 0.3 s to import

        return InfluxStore(
            url=settings.influx_url,
            token=settings.influx_token.get_secret_value(),
            org=settings.influx_org,
            bucket=settings.influx_bucket,
        )
    from filiere.embedded_store import EmbeddedStore  # noqa: PLC0415  # only the adapter that is used

    return EmbeddedStore.open(settings.embedded_store_path)


# What no adapter takes, in one place, so that what one store keeps the other keeps too.


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
