"""The time of a recorded row, however a historian wrote it → UTC ns. Pure.

A local time is a clock on a wall: it means nothing without the zone that the wall is in, which a person must name. In
the hour that clocks show twice in autumn the first one is meant, unless times would then go back.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from collector.wire_time import TIME_NS_MAX
from filiere.clock import NS_PER_MS, NS_PER_S, to_ns, to_text
from filiere.errors import ScenarioError
from simulators.replay.cells import Cell, number, shown
from simulators.replay.dirt import Dirt, Findings

NO_TIME = np.iinfo(np.int64).min
"""In place of a time that cannot be read."""
NS_PER_US = 1_000
S_PER_DAY = 86_400
EXCEL_1970 = 25_569
"""1970-01-01 in days of a spreadsheet."""
MINUTES_REMEMBERED = 65_536


class TimeFormat(StrEnum):
    """How times are written. A time with its year first, or the name of its month, is understood in each of the first
    three.
    """

    YEAR_FIRST = "year_first"
    """`2026-11-23 09:14:05.250`, with or without an offset."""
    DAY_FIRST = "day_first"
    """`23/11/2026 09:14:05`."""
    MONTH_FIRST = "month_first"
    """`11/23/2026 9:14:05 AM`."""
    UNIX_S = "unix_s"
    UNIX_MS = "unix_ms"
    UNIX_US = "unix_us"
    UNIX_NS = "unix_ns"
    EXCEL_DAYS = "excel_days"
    """Days since 1899-12-30 on a wall clock, as a spreadsheet counts them: `46092.25` is 06:00 on 2026-03-11."""
    TIMESTAMP = "timestamp"
    """A Parquet column of times."""


PER_S = {TimeFormat.UNIX_S: 1, TimeFormat.UNIX_MS: 10**3, TimeFormat.UNIX_US: 10**6, TimeFormat.UNIX_NS: NS_PER_S}

MONTHS = {
    "jan": 1, "feb": 2, "fev": 2, "fév": 2, "mar": 3, "mär": 3, "apr": 4, "avr": 4, "may": 5, "mai": 5, "jun": 6,
    "juin": 6, "jul": 7, "juil": 7, "aug": 8, "aou": 8, "aoû": 8, "sep": 9, "oct": 10, "okt": 10, "nov": 11,
    "dec": 12, "déc": 12, "dez": 12,
}  # fmt: skip
"""How the names of the months begin, in English, French and German."""
DATE = (
    r"(?P<a>[0-9]{1,4})"
    rf"(?:[-/.](?P<b>[0-9]{{1,2}})[-/.]|[-/. ](?P<name>(?i:{'|'.join(MONTHS)}))[^\W\d_]*\.?[-/. ])"
    r"(?P<c>[0-9]{1,4})"
)
"""Day, month and year, in an order that is to be known."""
_STAMP = re.compile(
    DATE + r"(?:(?:[ ,]+|T)(?P<hour>[0-9]{1,2})[:hH](?P<minute>[0-9]{2})"
    r"(?::(?P<second>[0-9]{2})(?:[.,](?P<part>[0-9]{1,9}))?)?"
    r"(?:\s*(?P<half>[AaPp])\.?[Mm]\.?)?)?"
    r"\s*(?P<offset>Z|z|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?)?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """A column of times that the file itself holds as such."""

    time_ns: npt.NDArray[np.int64]
    """UTC ns, or ns of a wall clock as if it were in UTC."""
    missing: npt.NDArray[np.bool_]
    local: bool


class TimeReader:
    """Reads one file's times, in its order. `previous` times tell the two readings of a clock in autumn apart."""

    def __init__(self, time_format: TimeFormat, zone: str | None) -> None:
        """`zone`: IANA name; None = no local time is understood."""
        self._format = time_format
        self._zone = zone
        self._previous: dict[object, int] = {}

    def read(
        self,
        cells: Sequence[Cell] | Moments,
        findings: Findings,
        where: Callable[[int, object], str],
        series: Sequence[object] | None = None,
    ) -> npt.NDArray[np.int64]:
        """UTC ns of each row, whole µs, shape (n,); NO_TIME where it cannot be read. `series`: what each row is of,
        where rows of several series are mixed.

        Raises:
            ScenarioError: a local time, and no zone was named.
        """
        if isinstance(cells, Moments):
            return self._moments(cells, findings, where)
        times = np.empty(len(cells), dtype=np.int64)
        for place, cell in enumerate(cells):
            of = None if series is None else series[place]
            read = self._time(cell, self._previous.get(of))
            if read is None:
                findings.add(Dirt.BAD_TIME, where(place, cell))
                times[place] = NO_TIME
                continue
            time_ns, remark = read
            if remark is not None:
                findings.add(remark, where(place, cell))
            times[place] = self._previous[of] = time_ns // NS_PER_US * NS_PER_US
        return times

    def _moments(
        self, moments: Moments, findings: Findings, where: Callable[[int, object], str]
    ) -> npt.NDArray[np.int64]:
        times = moments.time_ns.copy()
        if moments.local:
            self._from_walls(times, findings, where)
        bad = moments.missing | (np.abs(times) > TIME_NS_MAX)
        for place in np.flatnonzero(bad).tolist():
            findings.add(Dirt.BAD_TIME, where(place, None if moments.missing[place] else int(moments.time_ns[place])))
        return np.where(bad, NO_TIME, times // NS_PER_US * NS_PER_US)

    def _from_walls(
        self, wall_ns: npt.NDArray[np.int64], findings: Findings, where: Callable[[int, object], str]
    ) -> None:
        """Times of a wall clock, ns as if it were in UTC → UTC ns, in place. Raises as `read`."""
        previous = self._previous.get(None)
        for place, wall in enumerate(wall_ns.tolist()):
            time_ns, remark = self._shown_ns(wall, previous)
            if remark is not None:
                findings.add(remark, where(place, to_text(wall).removesuffix("Z")))
            wall_ns[place] = previous = time_ns
        if previous is not None:
            self._previous[None] = previous

    def _time(self, cell: Cell, previous: int | None) -> tuple[int, Dirt | None] | None:
        """UTC ns and what is to be said of it; None = it cannot be read."""
        try:
            if self._format in PER_S:
                time_ns, remark = _unix(cell, PER_S[self._format]), None
            elif self._format is TimeFormat.EXCEL_DAYS:
                time_ns, remark = self._shown_ns(_excel(cell), previous)
            elif isinstance(cell, str):
                time_ns, remark = self._stamp(cell.strip(" \t\r\n\0"), previous)
            else:
                return None
        except (ValueError, OverflowError):  # the 30th of February, the year 0
            return None
        return (time_ns, remark) if -TIME_NS_MAX <= time_ns <= TIME_NS_MAX else None

    def _stamp(self, text: str, previous: int | None) -> tuple[int, Dirt | None]:
        found = _STAMP.fullmatch(text)
        if found is None:
            raise ValueError(text)
        year, month, day = _date(found["a"], found["b"], found["name"], found["c"], self._format)
        hour, minute, second = int(found["hour"] or 0), int(found["minute"] or 0), int(found["second"] or 0)
        if found["half"]:
            if not 1 <= hour <= 12:
                raise ValueError(text)
            hour = hour % 12 + 12 * (found["half"] in "Pp")
        if second > 59:
            raise ValueError(text)
        rest = second * NS_PER_S + int((found["part"] or "").ljust(9, "0"))
        fields = (year, month, day, hour, minute)
        if found["offset"] is None:
            return self._wall(fields, rest, previous, text)
        return _utc(fields) - _offset_s(found["offset"]) * NS_PER_S + rest, None

    def _shown_ns(self, wall_ns: int, previous: int | None) -> tuple[int, Dirt | None]:
        """What a wall clock shows, ns as if it were in UTC. Raises OverflowError: beyond the year 9999."""
        minute, rest = divmod(wall_ns, 60 * NS_PER_S)
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
        fields = (moment.year, moment.month, moment.day, moment.hour, moment.minute)
        return self._wall(fields, rest, previous, moment.isoformat())

    def _wall(
        self, fields: tuple[int, int, int, int, int], rest: int, previous: int | None, text: str
    ) -> tuple[int, Dirt | None]:
        if self._zone is None:
            raise ScenarioError(
                f"got local times such as {shown(text)}; expected the zone that they are of: name it with --zone"
                " Europe/Paris, or in the mapping: time: {zone: Europe/Paris}"
            )
        first, second, exists = _minute(self._zone, *fields)
        if not exists:
            return first + rest, Dirt.SKIPPED
        if first == second:
            return first + rest, None
        later = previous is not None and first + rest < previous <= second + rest
        return (second if later else first) + rest, Dirt.TWICE_SHOWN


def _unix(cell: Cell, per_s: int) -> int:
    if isinstance(cell, str) and cell.strip().isdecimal():  # exact: a float holds no nanoseconds of today
        return int(cell[:30]) * (NS_PER_S // per_s)
    if isinstance(cell, int) and not isinstance(cell, bool):
        return cell * (NS_PER_S // per_s)
    return round(_counted(cell) * 10**6 / per_s) * NS_PER_US


def _excel(cell: Cell) -> int:
    """Days of a spreadsheet → ns of a wall clock, whole ms: a cell of six places is good for a tenth of a second."""
    return round((_counted(cell) - EXCEL_1970) * S_PER_DAY * 1000) * NS_PER_MS


def _counted(cell: Cell) -> float:
    """A number of seconds or days; NaN = it is none."""
    if isinstance(cell, str):
        return number(cell, ".")[0]
    return float(cell) if isinstance(cell, int | float) and not isinstance(cell, bool) else math.nan


def _date(a: str, b: str, name: str | None, c: str, time_format: TimeFormat) -> tuple[int, int, int]:
    month = int(b) if name is None else MONTHS[name.lower()]
    if len(a) == 4:
        return int(a), month, int(c)
    if len(c) not in (2, 4) or (time_format is TimeFormat.YEAR_FIRST and name is None):
        raise ValueError(a)
    year = int(c) + (2000 if len(c) == 2 else 0)
    month_first = time_format is TimeFormat.MONTH_FIRST and name is None
    return (year, int(a), month) if month_first else (year, month, int(a))


def _offset_s(text: str) -> int:
    if text[0] not in "+-":
        return 0
    hours, minutes = int(text[1:3]), int(text[3:].lstrip(":") or 0)
    if hours > 23 or minutes > 59:
        raise ValueError(text)
    return (-1 if text[0] == "-" else 1) * (hours * 3600 + minutes * 60)


@lru_cache(maxsize=MINUTES_REMEMBERED)
def _utc(fields: tuple[int, int, int, int, int]) -> int:
    return to_ns(datetime(*fields, tzinfo=UTC))


@lru_cache(maxsize=MINUTES_REMEMBERED)
def _minute(zone: str, year: int, month: int, day: int, hour: int, minute: int) -> tuple[int, int, bool]:
    """UTC ns of a minute on a wall, as it is shown the first and the second time; whether it is shown at all."""
    wall = datetime(year, month, day, hour, minute, tzinfo=ZoneInfo(zone))
    first, second = wall.astimezone(UTC), wall.replace(fold=1).astimezone(UTC)
    exists = first.astimezone(wall.tzinfo).replace(tzinfo=None) == wall.replace(tzinfo=None)
    return to_ns(first), to_ns(second), exists
