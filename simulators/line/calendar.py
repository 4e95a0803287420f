"""When a workshop works: lots are begun in the morning, one after the other, until the day's work is done."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from filiere.clock import from_ns, to_ns
from simulators.scenarios.scenario import Calendar

MINUTES_PER_HOUR = 60
DAYS_LOOKED_AT = 8
"""A workshop that works at all opens within a week."""


def opening_ns(calendar: Calendar, timezone: str, from_time_ns: int) -> int:
    """The first instant at or after `from_time_ns` at which the workshop opens, UTC ns.

    An hour that the clock change leaves out opens an hour later by the clock on the wall.
    """
    zone = ZoneInfo(timezone)
    today = from_ns(from_time_ns).astimezone(zone).date()
    hour, minute = divmod(calendar.start_minute, MINUTES_PER_HOUR)
    for after in range(DAYS_LOOKED_AT):
        day = today + timedelta(days=after)
        opens_ns = to_ns(datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone))
        if day.weekday() in calendar.days and opens_ns >= from_time_ns:
            return opens_ns
    raise AssertionError("a calendar without days")


def next_start_ns(calendar: Calendar | None, timezone: str, end_ns: int, *, lots: int) -> int:
    """When the lot after one that ends at `end_ns` is begun; `lots` were begun since the workshop opened."""
    if calendar is None or lots < calendar.lots_a_day:
        return end_ns
    return opening_ns(calendar, timezone, end_ns)
