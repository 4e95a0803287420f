"""Curves with their limits as inline SVG: pure functions, text in, text out. No script, no style attribute.

Colours come from the page's style sheet by class, so that dark mode and print are its affair. A limit is a dashed line
with its value written beside it, and what lies beyond is hatched: nothing is said by colour alone.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import tzinfo
from html import escape

import numpy as np

from api.downsample import min_max
from api.pages import Language, number
from filiere.clock import NS_PER_S, from_ns
from filiere.plant import Limits
from filiere.readings import Series

WIDTH, HEIGHT = 360, 190
LEFT, RIGHT, TOP, BOTTOM = 52, 6, 10, 26
"""Room for text of 14 units: some 12 px on a phone of 360."""
POINTS = 360
"""Drawn readings a curve: two for each bucket of 1.7 px."""
Y_TICKS, X_TICKS_MAX = 4, 5
MARGIN = 0.06
"""Free space above and below, fraction of the height."""
SPAN_MIN = 1e-12
"""What differs by less is drawn as one value: no sensor tells it, and its logarithm may not exist."""
SAMPLES_MAX = 12
"""So few readings of a run are samples, as of a laboratory: dots, with nothing known between them."""
GAP_BUCKETS = 4
"""The curve is broken where nothing was read for this many buckets."""
_TICK_STEPS_S = (60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What a chart shows, in words and units."""

    id: str
    """Unique in the page: letters, digits and hyphens."""
    title: str
    unit: str
    """Sign of the unit as people read it; empty for a plain number."""
    limits: Limits
    """In the unit that is drawn."""
    start_ns: int
    stop_ns: int
    scale: float = 1.0
    """Readings are multiplied by it: 100 for a fraction drawn in %."""


@dataclass(frozen=True, slots=True)
class _Frame:
    """From values to the drawing's coordinates."""

    start_ns: int
    stop_ns: int
    low: float
    high: float

    def x(self, time_ns: float) -> float:
        return LEFT + (time_ns - self.start_ns) / max(1, self.stop_ns - self.start_ns) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return TOP + (self.high - value) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM)


def process_chart(series: Series, figure: Figure, *, language: Language, where: tzinfo) -> str:
    """One curve over a run → an `<svg>`. Peaks survive: each bucket of time keeps its lowest and highest reading."""
    kept = min_max(series, POINTS, figure.start_ns, figure.stop_ns)
    values = kept.value * figure.scale
    ticks = nice_ticks(*_span(values, figure.limits), Y_TICKS)
    frame = _Frame(figure.start_ns, figure.stop_ns, *_domain(values, figure.limits, ticks))
    parts = [
        *_grid(frame, ticks, language),
        *_time_axis(frame, where),
        *_limits(frame, figure, language),
        *(
            _samples(frame, kept.time_ns, values)
            if values.size <= SAMPLES_MAX
            else (f'<polyline class="curve" points="{points}"/>' for points in _curves(frame, kept.time_ns, values))
        ),
    ]
    if values.size == 0:
        empty = "no readings" if language == "en" else "aucune mesure"
        parts.append(f'<text class="note" x="{(LEFT + WIDTH) / 2:g}" y="{HEIGHT / 2:g}">{empty}</text>')
    heading, text = escape(figure.title), escape(_description(values, figure, language))
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{figure.id}-t {figure.id}-d">'
        f'<title id="{figure.id}-t">{heading}</title><desc id="{figure.id}-d">{text}</desc>{"".join(parts)}</svg>'
    )


def nice_ticks(low: float, high: float, count: int) -> list[float]:
    """Round values (1, 2 or 5 times a power of ten apart) that cover [low, high] with about `count` steps."""
    if not (math.isfinite(low) and math.isfinite(high)) or low > high:
        raise ValueError(f"got a span from {low} to {high}; expected finite numbers in order")
    if high - low <= max(max(abs(low), abs(high)) * 1e-9, SPAN_MIN):
        half = max(abs(high) * 0.05, 0.5)
        low, high = low - half, high + half
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(multiple * power for multiple in (1, 2, 5, 10) if multiple * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def _span(values: np.ndarray, limits: Limits) -> tuple[float, float]:
    edges = [edge for edge in (limits.low, limits.high) if edge is not None]
    if values.size:
        edges += [float(values.min()), float(values.max())]
    return (min(edges), max(edges)) if edges else (0.0, 1.0)


def _domain(values: np.ndarray, limits: Limits, ticks: list[float]) -> tuple[float, float]:
    """What is seen: the data and the limits, with some room."""
    low, high = _span(values, limits)
    room = max((high - low) * MARGIN, (ticks[1] - ticks[0]) * MARGIN)
    return low - room, high + room


def _grid(frame: _Frame, ticks: list[float], language: Language) -> Iterator[str]:
    places = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    for tick in ticks:
        if not frame.low <= tick <= frame.high:
            continue
        y = frame.y(tick)
        yield f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>'
        label = escape(number(tick + 0.0, language, places))
        yield f'<text class="tick y" x="{LEFT - 5}" y="{y + 5:.1f}">{label}</text>'


def _time_axis(frame: _Frame, where: tzinfo) -> Iterator[str]:
    """Ticks at round local times."""
    seconds = (frame.stop_ns - frame.start_ns) / NS_PER_S
    step = next((step for step in _TICK_STEPS_S if seconds / step <= X_TICKS_MAX), None)
    if step is None:
        return
    offset = from_ns(frame.start_ns).astimezone(where).utcoffset()
    shift_ns = int(offset.total_seconds()) * NS_PER_S if offset else 0
    tick = -(-(frame.start_ns + shift_ns) // (step * NS_PER_S)) * step * NS_PER_S - shift_ns
    while tick <= frame.stop_ns:
        x = frame.x(tick)
        yield f'<line class="grid" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}"/>'
        if LEFT + 12 <= x <= WIDTH - RIGHT - 18:
            label = from_ns(tick).astimezone(where).strftime("%H:%M")
            yield f'<text class="tick x" x="{x:.1f}" y="{HEIGHT - 6}">{label}</text>'
        tick += step * NS_PER_S


def _limits(frame: _Frame, figure: Figure, language: Language) -> Iterator[str]:
    for name, limit, far in (("min", figure.limits.low, frame.low), ("max", figure.limits.high, frame.high)):
        if limit is None:
            continue
        y, edge = frame.y(limit), frame.y(far)
        top, size = min(y, edge), abs(y - edge)
        yield f'<rect class="beyond" x="{LEFT}" y="{top:.1f}" width="{WIDTH - LEFT - RIGHT}" height="{size:.1f}"/>'
        yield f'<line class="limit" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>'
        text_y = y + 14 if name == "max" else y - 4
        text = escape(f"{name} {number(limit, language, _shortest(limit))} {figure.unit}".rstrip())
        yield f'<text class="limit-label" x="{WIDTH - RIGHT - 2}" y="{text_y:.1f}">{text}</text>'


def _shortest(value: float) -> int:
    """Decimal places that write a limit as the plant file gave it."""
    text = f"{value:.6f}".rstrip("0")
    return len(text.partition(".")[2])


def _samples(frame: _Frame, time_ns: np.ndarray, values: np.ndarray) -> Iterator[str]:
    for at_ns, value in zip(time_ns.tolist(), values.tolist(), strict=True):
        yield f'<circle class="sample" cx="{frame.x(at_ns):.1f}" cy="{frame.y(value):.1f}" r="4"/>'


def _curves(frame: _Frame, time_ns: np.ndarray, values: np.ndarray) -> Iterator[str]:
    """Points of each unbroken piece."""
    if values.size == 0:
        return
    steps = np.diff(time_ns)
    bucket_ns = (frame.stop_ns - frame.start_ns) / (POINTS / 2)
    usual_ns = float(np.median(steps)) if steps.size else 0.0
    breaks = np.flatnonzero(steps > GAP_BUCKETS * max(bucket_ns, usual_ns)) + 1
    for piece in np.split(np.arange(values.size), breaks):
        points = [f"{frame.x(int(time_ns[index])):.1f},{frame.y(float(values[index])):.1f}" for index in piece]
        if len(points) == 1:
            points.append(points[0])
        yield " ".join(points)


def _description(values: np.ndarray, figure: Figure, language: Language) -> str:
    """The chart for those who do not see it."""
    if values.size == 0:
        return "No readings." if language == "en" else "Aucune mesure."
    low, high = (number(float(value), language, 2) for value in (values.min(), values.max()))
    unit = f" {figure.unit}" if figure.unit else ""
    bounds = " – ".join(
        "…" if edge is None else number(edge, language, _shortest(edge))
        for edge in (figure.limits.low, figure.limits.high)
    )
    if language == "en":
        return f"From {low} to {high}{unit}; limits {bounds}{unit}."
    return f"De {low} à {high}{unit} ; limites {bounds}{unit}."
