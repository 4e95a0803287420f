# ruff: noqa: S608 - InfluxQL has no parameters in a dashboard: identifiers and texts are quoted by `name` and `text` alone
"""InfluxQL of the dashboards. Names come from `filiere.readings` and the plant model, and from nowhere else.

InfluxDB 1, 2 and 3 answer InfluxQL; InfluxDB 2 answers it at `/query?db=BUCKET` with nothing to set up.
`$timeFilter` and `$__interval` are filled in by Grafana: the window on the screen and the width of a pixel.
"""

from collections.abc import Sequence

from filiere.plant import Line, Signal
from filiere.readings import (
    ACCOUNT_MEASUREMENT,
    COLLECTOR_MEASUREMENT,
    MEASUREMENT,
    RUN_MEASUREMENT,
    TAG_COLLECTOR,
    TAG_DEVICE,
    TAG_LINE,
    TAG_SITE,
    TAG_WORKSHOP,
)

SILENT_PERIODS = 5
SILENT_S_MIN = 15.0
"""A signal faster than this would be called silent by the delay of the network alone."""
NOW_LOOKBACK_S = 3600.0
NOW_LOOKBACK_STEPS_MIN = 12
ACCOUNT_STEP = "1m"
"""How often a collector writes its accounts."""
ACCOUNT_STALE_S = 180.0
"""An account older than three of them is no longer what is so now."""


def silent_after_s(signal: Signal) -> float:
    """A reading older than this (s) is no longer what happens now."""
    return max(SILENT_PERIODS * signal.period_s, SILENT_S_MIN)


def last_of_run(line: Line, field: str) -> str:
    """What the last start or stop of a run said. A run may have started days ago: all of the time is searched."""
    return f"SELECT last({name(field)}) FROM {name(RUN_MEASUREMENT)} WHERE {_line_filter(line)}"


def newest(line: Line, signal: Signal) -> str:
    """The newest reading of a signal; no row when it is silent."""
    return f"SELECT last({name(signal.id)}) {_from(line, signal)} AND time > now() - {duration(silent_after_s(signal))}"


def now_or_nothing(line: Line, signal: Signal) -> str:
    """Steps of the last hour that end exactly now; the last one is null when the signal is silent.

    Unlike `newest`, a silent signal keeps its row, so that it can be shown as silent beside the others.
    """
    step_s = silent_after_s(signal)
    lookback_s = max(NOW_LOOKBACK_S, NOW_LOOKBACK_STEPS_MIN * step_s)
    # `time(step, now())` puts the borders of the steps at now: the last step is whole, never one that just began
    return (
        f"SELECT last({name(signal.id)}) {_from(line, signal)} AND time >= now() - {duration(lookback_s)}"
        f" AND time < now() GROUP BY time({duration(step_s)}, now()) fill(null)"
    )


def curve(line: Line, signal: Signal) -> str:
    """Means over the width of a pixel, within the window on the screen; null where nothing was measured."""
    return f"SELECT mean({name(signal.id)}) {_from(line, signal)} AND $timeFilter GROUP BY time($__interval) fill(null)"


def collector_now(field: str, of_all: str) -> str:
    """`min` or `sum` over the collectors of what each one last said; no row when all are silent."""
    return _now(field, COLLECTOR_MEASUREMENT, (TAG_COLLECTOR,), of_all)


def collector_curve(field: str) -> str:
    """The sum over the collectors, in steps of what each one said last."""
    return _curve(f"last({name(field)})", COLLECTOR_MEASUREMENT, (TAG_COLLECTOR,))


def account_now(line: Line, device: str, field: str) -> str:
    """A count of one device, added up over the collectors that have it."""
    where = f"{_line_filter(line)} AND {name(TAG_DEVICE)} = {text(device)}"
    return _now(field, ACCOUNT_MEASUREMENT, (TAG_COLLECTOR,), "sum", where)


def account_curve(line: Line, device: str, field: str) -> str:
    """The greatest of what the collectors said of one device, over time."""
    where = f"{_line_filter(line)} AND {name(TAG_DEVICE)} = {text(device)}"
    return (
        f"SELECT max({name(field)}) FROM {name(ACCOUNT_MEASUREMENT)} WHERE {where} AND $timeFilter"
        " GROUP BY time($__interval) fill(null)"
    )


def total_now(field: str) -> str:
    """A count of all devices together."""
    return _now(field, ACCOUNT_MEASUREMENT, _EACH_ACCOUNT, "sum")


def total_curve(field: str) -> str:
    """A count of all devices together, over time."""
    return _curve(f"last({name(field)})", ACCOUNT_MEASUREMENT, _EACH_ACCOUNT)


def total_rate(field: str) -> str:
    """How fast a count of all devices together rises, a minute."""
    return _curve(f"non_negative_derivative(last({name(field)}), {ACCOUNT_STEP})", ACCOUNT_MEASUREMENT, _EACH_ACCOUNT)


_EACH_ACCOUNT = (TAG_COLLECTOR, TAG_SITE, TAG_WORKSHOP, TAG_LINE, TAG_DEVICE)


def _now(field: str, measurement: str, tags: Sequence[str], of_all: str, where: str = "") -> str:
    each = ", ".join(name(tag) for tag in tags)
    return (
        f'SELECT {of_all}("v") FROM (SELECT last({name(field)}) AS "v" FROM {name(measurement)}'
        f" WHERE {where + ' AND ' if where else ''}time > now() - {duration(ACCOUNT_STALE_S)} GROUP BY {each})"
    )


def _curve(value: str, measurement: str, tags: Sequence[str]) -> str:
    each = ", ".join(name(tag) for tag in tags)
    return (
        f'SELECT sum("v") FROM (SELECT {value} AS "v" FROM {name(measurement)} WHERE $timeFilter'
        f" GROUP BY time($__interval), {each} fill(null)) WHERE $timeFilter GROUP BY time($__interval) fill(null)"
    )


def name(identifier: str) -> str:
    """An InfluxQL identifier: `"melt_temp"`."""
    return '"' + identifier.replace("\\", "\\\\").replace('"', '\\"') + '"'


def text(value: str) -> str:
    """An InfluxQL string: `'t1'`."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def duration(seconds: float) -> str:
    """An InfluxQL duration: 15.0 → `15s`, 2.5 → `2500ms`."""
    milliseconds = round(seconds * 1000)
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"


def _from(line: Line, signal: Signal) -> str:
    return f"FROM {name(MEASUREMENT)} WHERE {_line_filter(line)} AND {name(TAG_DEVICE)} = {text(signal.device)}"


def _line_filter(line: Line) -> str:
    """A line's path is its three tags."""
    tags = zip((TAG_SITE, TAG_WORKSHOP, TAG_LINE), line.path.split("/"), strict=True)
    return " AND ".join(f"{name(tag)} = {text(value)}" for tag, value in tags)
