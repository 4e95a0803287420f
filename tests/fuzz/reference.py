"""What docs/wire.md says of a readings message, written a second time, plainly and slowly: the collector must agree.

It shares the plant, the table of units and the times' library with the collector, and no line of its codec.
"""

import json
import math
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filiere.units import converter

REASONS = {
    word
    for page in ("wire.md", "bindings.md")
    for row in re.findall(
        r"^\| (`[a-z_`, ]+) \| ", (Path(__file__).parents[2] / "docs" / page).read_text(encoding="utf-8"), re.MULTILINE
    )
    for word in re.findall(r"`(\w+)`", row)
} - {"internal_error", "store_refused"}
"""What a message may be quarantined for, by the pages: the last two are no fault of the message."""
BYTES_MAX, ROWS_MAX, SEQ_MAX = 256 * 1024, 1000, 2**53
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
YEAR_2020_NS = 1_577_836_800 * 10**9
FIVE_MINUTES_NS = 300 * 10**9


class Refused(Exception):
    """The message must go to quarantine."""


def stored(payload, signals, record_time_ns):
    """{(signal, time_ns): (value, quality)} that must be stored; raises Refused. `signals`: id → Signal."""
    message = read(payload)
    boot, seq, t, v = (message[name] for name in ("boot", "seq", "t", "v"))
    units = message.get("u", {})
    check(isinstance(boot, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,32}", boot))
    check(type(seq) is int and 0 <= seq <= SEQ_MAX)
    check(isinstance(v, dict) and isinstance(units, dict))
    times = t if isinstance(t, list) else [t]
    check(1 <= len(times) <= ROWS_MAX and seq + len(times) - 1 <= SEQ_MAX)
    times = [time_ns(value) for value in times]
    check(set(units) <= set(v))
    rows = {}
    for name, values in v.items():
        check(isinstance(values, list) is isinstance(t, list) and name in signals)
        column = values if isinstance(values, list) else [values]
        check(len(column) == len(times))
        unit = units.get(name, signals[name].unit)
        check(isinstance(unit, str))
        try:
            convert = converter(unit, signals[name].unit)
        except ValueError:
            raise Refused(unit) from None
        for index, (value, event_ns) in enumerate(zip(column, times, strict=True)):
            if value is not None:
                suspect = not YEAR_2020_NS <= event_ns <= record_time_ns + FIVE_MINUTES_NS
                number = convert(finite(value))
                check(math.isfinite(number))
                inside = signals[name].range_low <= number <= signals[name].range_high
                quality = "out_of_range" if not inside else "clock_suspect" if suspect else ""
                at_ns = (record_time_ns if suspect else event_ns) // 1000 * 1000 + (seq + index) % 1000
                rows[name, at_ns] = number, quality
    check(rows)
    return rows


def read(payload):
    check(len(payload) <= BYTES_MAX)
    try:
        message = json.loads(payload.decode(), object_pairs_hook=once, parse_constant=refuse, parse_float=finite_text)
    except (ValueError, RecursionError):
        raise Refused from None
    check(isinstance(message, dict))
    check({"boot", "seq", "t", "v"} <= set(message) <= {"boot", "seq", "t", "v", "u"})
    return message


def time_ns(value):
    if type(value) is int:
        moment_ns = value * 10**6
    else:
        check(isinstance(value, str) and TIME.fullmatch(value))
        try:
            moment_ns = (datetime.fromisoformat(value.upper()) - EPOCH) // timedelta(microseconds=1) * 1000
        except (ValueError, OverflowError):
            raise Refused(value) from None
    check(abs(moment_ns) <= 2**62)
    return moment_ns


def finite(value):
    check(type(value) in (int, float))
    try:
        return float(value)
    except OverflowError:
        raise Refused from None


def finite_text(text):
    check(math.isfinite(float(text)))
    return float(text)


def once(pairs):
    check(len(dict(pairs)) == len(pairs))
    return dict(pairs)


def refuse(text):
    raise Refused(text)


def check(true):
    if not true:
        raise Refused
