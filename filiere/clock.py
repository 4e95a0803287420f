"""Time is passed in: a Clock answers what time it is, in UTC nanoseconds since 1970."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], int]
"""Returns UTC nanoseconds since 1970-01-01."""

NS_PER_MS, NS_PER_S = 1_000_000, 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def system_clock() -> int:
    """UTC now, ns."""
    return time.time_ns()


def to_ns(moment: datetime) -> int:
    """Aware datetime → UTC ns, exact to the microsecond. Raises ValueError for a naive datetime."""
    if moment.tzinfo is None:
        raise ValueError(f"got a local time without offset, {moment.isoformat()}; expected an offset such as +00:00")
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def from_ns(time_ns: int) -> datetime:
    """UTC ns → aware datetime, cut to the microsecond."""
    return _EPOCH + timedelta(microseconds=time_ns // 1000)


def to_text(time_ns: int) -> str:
    """UTC ns → RFC 3339 with milliseconds, `2026-11-23T09:14:05.250Z`."""
    return from_ns(time_ns).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> int:
    """RFC 3339 text with offset → UTC ns. Raises ValueError naming what was got."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"got time {text[:40]!r}; expected RFC 3339 such as 2026-11-23T09:14:05.250Z") from None
    try:
        return to_ns(moment)
    except OverflowError:
        raise ValueError(f"got time {text[:40]!r}; expected a year from 1 to 9999 in UTC") from None
