"""What stands in a foreign payload: JSON, numbers, texts, times, read strictly. Pure: the value, or MessageRefused."""

import json
import re
from datetime import datetime, timedelta
from math import isfinite
from typing import Any
from zoneinfo import ZoneInfo

from collector.codec import NOT_FINITE, NOT_JSON, WRONG_SHAPE
from collector.wire_time import BAD_TIME, LOCAL_TIME, TIME_NS_MAX
from filiere.bindings import Path, Source, TimeFormat, TimeSource, path_text
from filiere.clock import NS_PER_S, from_ns, parse_time, to_ns
from filiere.errors import MessageRefused

MISSING_PATH = "missing_path"
AMBIGUOUS_S_MAX = 1800
"""A local time that the clocks show twice in autumn is taken for the one that is this near to its arrival."""
ABSENT = object()
"""Nothing stands there, not even null."""
_SHOWN_MAX = 80
_NUMBER = re.compile(r"[+-]?[0-9]{1,400}(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,9})?")
_NOT_A_NUMBER = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_BLANKS = " \t\r\n"
_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?P<offset>[Zz]|[+-][0-9]{2}:[0-9]{2})?"
)


def read_text(payload: bytes) -> str:
    """A payload that is a number or a word alone, blanks around it taken off. Raises MessageRefused (wrong_shape)."""
    try:
        return payload.decode().strip(_BLANKS)
    except UnicodeDecodeError:
        raise MessageRefused(WRONG_SHAPE, f"got {shown(payload)}; expected a number in decimal digits") from None


def read_json(payload: bytes) -> object:
    """Strict JSON in UTF-8, each name once, no NaN. Raises MessageRefused."""
    try:
        return json.loads(payload.decode(), object_pairs_hook=_once_each, parse_constant=_refuse_constant)
    except RecursionError:
        raise MessageRefused(NOT_JSON, "got JSON nested too deep; expected less than a thousand levels") from None
    except ValueError as error:
        if "integer string conversion" in str(error):  # Python reads no integer of more than 4300 digits
            raise MessageRefused(NOT_FINITE, "got an integer of thousands of digits; expected a number") from None
        raise MessageRefused(
            NOT_JSON, f"got bytes that are not JSON ({str(error)[:_SHOWN_MAX]}); expected JSON"
        ) from None


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise MessageRefused(WRONG_SHAPE, "got a name twice in an object; expected each name once")
    return document


def _refuse_constant(text: str) -> float:
    raise MessageRefused(NOT_FINITE, f"got {text}; expected a finite number, null where none was measured")


def at(document: object, path: Path) -> object:
    """What stands at a path; ABSENT when nothing does."""
    for part in path:
        keyed = isinstance(document, dict) and isinstance(part, str) and part in document
        listed = isinstance(document, list) and isinstance(part, int) and part < len(document)
        if not keyed and not listed:
            return ABSENT
        document = document[part]  # type: ignore[index]  # one of the two, and part is in it
    return document


def read_number(value: object, source: Source, what: str) -> float:
    """The number that the device means, before scale and unit. Raises MessageRefused."""
    if source.numbers:
        word = json.dumps(value) if isinstance(value, bool | int | float) else value
        if isinstance(word, str) and word in source.numbers:
            return source.numbers[word]
        raise MessageRefused(
            WRONG_SHAPE, f"{what}: got {shown(value)}; expected one of its map: {', '.join(list(source.numbers)[:8])}"
        )
    if source.text:
        if not isinstance(value, str):
            raise MessageRefused(WRONG_SHAPE, f"{what}: got {shown(value)}; expected a text, as the binding says")
        return _decimal(value.strip(_BLANKS), what)
    if isinstance(value, bool) or not isinstance(value, int | float):
        advice = ": say `text: true` for a number written as a text, or `map` for words and truth values"
        raise MessageRefused(WRONG_SHAPE, f"{what}: got {shown(value)}; expected a number{advice}")
    return _finite(value, what)


def _decimal(text: str, what: str) -> float:
    if _NOT_A_NUMBER.fullmatch(text):
        raise MessageRefused(NOT_FINITE, f"{what}: got {shown(text)}; expected a finite number")
    if not _NUMBER.fullmatch(text):
        raise MessageRefused(
            WRONG_SHAPE, f"{what}: got {shown(text)}; expected a number in decimal digits with a point, such as 12.5"
        )
    return _finite(float(text), what)


def _finite(value: float, what: str) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    if not isfinite(number):
        raise MessageRefused(NOT_FINITE, f"{what}: got {shown(value)}; expected a finite number of 64 bits")
    return number


def read_time(document: object, time: TimeSource, record_time_ns: int) -> int:
    """The time that a payload states → UTC ns, whole µs. Raises MessageRefused (missing_path, bad_time, local_time)."""
    what = f"time ({path_text(time.path)})"
    value = at(document, time.path)
    if value is ABSENT or value is None:
        raise MessageRefused(MISSING_PATH, f"{what}: got nothing; expected a time there, as the binding says")
    if time.format in (TimeFormat.UNIX_S, TimeFormat.UNIX_MS):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise MessageRefused(BAD_TIME, f"{what}: got {shown(value)}; expected a number, {time.format}")
        us = _finite(value, what) * (1_000_000 if time.format is TimeFormat.UNIX_S else 1000)
        time_ns = round(us) * 1000 if isfinite(us) else TIME_NS_MAX + 1
    else:
        time_ns = _text_time(value, time, record_time_ns, what)
    if not -TIME_NS_MAX <= time_ns <= TIME_NS_MAX:
        raise MessageRefused(BAD_TIME, f"{what}: got {shown(value)}; expected a time from 1824 to 2116, {time.format}")
    return time_ns


def _text_time(value: object, time: TimeSource, record_time_ns: int, what: str) -> int:
    found = _RFC_3339.fullmatch(value) if isinstance(value, str) else None
    local = time.format is TimeFormat.LOCAL
    if not isinstance(value, str) or found is None or (local and found["offset"] is not None):
        example = "2026-11-23T10:14:05, without an offset" if local else "2026-11-23T09:14:05.250Z"
        raise MessageRefused(BAD_TIME, f"{what}: got {shown(value)}; expected a time such as {example}")
    if not local and found["offset"] is None:
        raise MessageRefused(
            LOCAL_TIME, f"{what}: got {shown(value)}, a local time; expected an offset, or `format: local` with a zone"
        )
    try:
        return _zoned(value, time.zone, record_time_ns) if local else parse_time(value.upper().replace(" ", "T"))
    except (ValueError, OverflowError) as error:
        raise MessageRefused(BAD_TIME, f"{what}: {error}") from None


def _zoned(text: str, zone_name: str, record_time_ns: int) -> int:
    """A wall clock's time in its zone → UTC ns. Raises ValueError for what the clocks skip or show twice."""
    zone = ZoneInfo(zone_name)
    wall = datetime.fromisoformat(text)
    times = [to_ns(wall.replace(tzinfo=zone, fold=fold)) for fold in (0, 1)]
    if from_ns(times[0]).astimezone(zone).replace(tzinfo=None) != wall:
        raise ValueError(f"got {text[:40]!r}; expected a time that the clocks show: in {zone_name} they skip it")
    nearest = min(times, key=lambda time_ns: abs(record_time_ns - time_ns))
    if times[0] != times[1] and abs(record_time_ns - nearest) > AMBIGUOUS_S_MAX * NS_PER_S:
        raise ValueError(
            f"got {text[:40]!r}, which the clocks show twice in {zone_name}; expected it to arrive within"
            f" {timedelta(seconds=AMBIGUOUS_S_MAX)} of one of them, or a time with an offset"
        )
    return nearest


def shown(value: object) -> str:
    """A value in a sentence, cut to a few characters."""
    return repr(value)[:_SHOWN_MAX]
