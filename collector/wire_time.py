"""Times on the wire: RFC 3339 with an offset, or integer ms since 1970. Pure."""

import re
from typing import Any

from filiere.clock import NS_PER_MS, from_ns, parse_time, to_text
from filiere.errors import MessageRefused

TIME_NS_MAX = 2**62
"""Both sides of 1970, so that the difference of any two times fits 64 bits."""
TIME_MS_MAX = TIME_NS_MAX // NS_PER_MS

LOCAL_TIME, BAD_TIME = "local_time", "bad_time"

_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?P<offset>[Zz]|[+-][0-9]{2}:[0-9]{2})?"
)
_SHOWN_MAX = 80


def time_value(time_ns: int) -> int | str:
    """UTC ns → how it is written: ms where it is whole ms. Raises ValueError: it is not whole µs."""
    if time_ns % NS_PER_MS == 0:
        return time_ns // NS_PER_MS
    if time_ns % 1000:
        raise ValueError(f"got time {time_ns} ns; expected whole microseconds")
    return from_ns(time_ns).isoformat().replace("+00:00", "Z")


def column_ns(times: list[Any]) -> list[int]:
    """A column of `t` → UTC ns. Raises MessageRefused (local_time, bad_time)."""
    if set(map(type, times)) == {int} and min(times) >= -TIME_MS_MAX and max(times) <= TIME_MS_MAX:
        return [time_ms * NS_PER_MS for time_ms in times]
    return list(map(time_ns_of, times))


def time_ns_of(value: int | str) -> int:
    """`t` → UTC ns. Raises MessageRefused (local_time, bad_time)."""
    if isinstance(value, str):
        match = _RFC_3339.fullmatch(value)
        if match is None:
            raise MessageRefused(
                BAD_TIME, f"t: got {_shown(value)}; expected RFC 3339 such as {to_text(0)}, or integer ms since 1970"
            )
        if match["offset"] is None:
            raise MessageRefused(
                LOCAL_TIME, f"t: got {_shown(value)}, a local time; expected an offset such as Z or +01:00"
            )
        try:
            time_ns = parse_time(value.upper())
        except ValueError as error:
            raise MessageRefused(BAD_TIME, f"t: {error}") from None
    else:
        time_ns = value * NS_PER_MS
    if not -TIME_NS_MAX <= time_ns <= TIME_NS_MAX:
        raise MessageRefused(BAD_TIME, f"t: got {_shown(value)}; expected a time from 1824 to 2116, in ms since 1970")
    return time_ns


def _shown(value: object) -> str:
    return repr(value)[:_SHOWN_MAX]
