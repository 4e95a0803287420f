import re
from datetime import UTC
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from api.charts_svg import HEIGHT, WIDTH, Figure, nice_ticks, process_chart
from filiere.clock import NS_PER_S, parse_time
from filiere.plant import Limits
from filiere.readings import Series

START = parse_time("2026-11-23T09:00:00Z")
HOUR = 3600 * NS_PER_S


def figure(**fields: object) -> Figure:
    values: dict[str, object] = {
        "id": "c-1",
        "title": "Température de la matière (°C)",
        "unit": "°C",
        "limits": Limits(low=210.0, high=245.0),
        "start_ns": START,
        "stop_ns": START + HOUR,
    }
    return Figure(**(values | fields))  # type: ignore[arg-type]  # a builder


def series(values: object, *, period_s: float = 2.0) -> Series:
    value = np.array(values, dtype=np.float64)
    time_ns = START + (np.arange(value.size) * period_s * NS_PER_S).astype(np.int64)
    return Series(key="k", time_ns=time_ns, value=value, quality=np.zeros(value.size, dtype=np.uint8))


def drawn(found: Series, shown: Figure | None = None, language: str = "fr") -> tuple[str, ET.Element]:
    text = process_chart(found, shown or figure(), language=language, where=UTC)  # type: ignore[arg-type]  # fr or en
    return text, ET.fromstring(text)


def curve_points(root: ET.Element) -> list[tuple[float, float]]:
    lines = [line.attrib["points"] for line in root.iter("polyline")]
    return [tuple(map(float, pair.split(","))) for line in lines for pair in line.split()]  # type: ignore[misc]  # pairs


def test_a_chart_names_itself_and_says_its_range_to_those_who_do_not_see_it() -> None:
    _, root = drawn(series([228.0, 231.5, 226.0]))
    assert root.attrib["role"] == "img"
    assert root.findtext("title") == "Température de la matière (°C)"
    assert root.findtext("desc") == "De 226,00 à 231,50 °C ; limites 210 – 245 °C."


def test_a_spike_between_two_pixels_is_drawn() -> None:
    values = np.full(1800, 228.0)
    values[911] = 262.0
    _, root = drawn(series(values))
    highest = min(y for _, y in curve_points(root))
    assert highest < min(float(line.attrib["y1"]) for line in root.iter("line") if line.attrib["class"] == "limit")


def test_limits_are_lines_with_their_values_in_words() -> None:
    text, root = drawn(series([228.0, 229.0]))
    labels = [node.text for node in root.iter("text") if node.attrib["class"] == "limit-label"]
    assert labels == ["min 210 °C", "max 245 °C"]
    assert "max 245 °C" in text


def test_a_gap_breaks_the_curve() -> None:
    found = series(np.full(1800, 228.0))
    kept = np.r_[0:500, 900:1800]
    _, root = drawn(Series(key="k", time_ns=found.time_ns[kept], value=found.value[kept], quality=found.quality[kept]))
    assert len(list(root.iter("polyline"))) == 2


def test_samples_are_dots_with_nothing_known_between_them() -> None:
    text, root = drawn(series([10.4, 10.6], period_s=3000.0))
    assert text.count('<circle class="sample"') == 2
    assert curve_points(root) == []


def test_no_readings_is_said_in_words() -> None:
    for language, words in (("fr", "aucune mesure"), ("en", "no readings")):
        text, _ = drawn(series([]), language=language)
        assert words in text


def test_a_title_cannot_bring_markup_in() -> None:
    text, root = drawn(series([228.0]), figure(title='<script>alert("1")</script> & co', unit="<b>"))
    assert "<script" not in text
    assert "<b>" not in text
    assert root.findtext("title") == '<script>alert("1")</script> & co'


def test_nothing_in_it_needs_an_inline_style_or_a_script() -> None:
    text, _ = drawn(series(np.linspace(200, 260, 3000)))
    assert not re.search(r"style=|<script|on\w+=", text)


def test_time_ticks_stand_at_round_local_times() -> None:
    _, root = drawn(series(np.full(1800, 228.0)))
    ticks = [node.text or "" for node in root.iter("text") if node.attrib["class"] == "tick x"]
    assert ticks
    assert all(tick.endswith(("00", "15", "30", "45")) for tick in ticks)


@given(
    st.lists(st.floats(-1e9, 1e9, allow_nan=False), max_size=200),
    st.none() | st.floats(-1e6, 1e6),
    st.none() | st.floats(-1e6, 1e6),
)
def test_every_series_is_drawn_inside_its_frame(values: list[float], low: float | None, high: float | None) -> None:
    _, root = drawn(series(values), figure(limits=Limits(low=low, high=high)))
    for x, y in curve_points(root):
        assert 0 <= x <= WIDTH
        assert 0 <= y <= HEIGHT


@given(st.floats(-1e9, 1e9), st.floats(0, 1e9), st.integers(2, 8))
@example(0.0, 5e-324, 2)
def test_ticks_cover_the_span_in_round_steps(low: float, width: float, count: int) -> None:
    ticks = nice_ticks(low, low + width, count)
    assert 2 <= len(ticks) <= count + 4
    tolerance = 1e-6 * max(1.0, abs(low), width)
    assert ticks[0] <= low + tolerance
    assert ticks[-1] >= low + width - tolerance


def test_a_span_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        nice_ticks(float("nan"), 1.0, 4)
