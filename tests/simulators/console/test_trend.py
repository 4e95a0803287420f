"""The curves of the console: one scale for what is true and what is shown, and nothing that is not there."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.console.trend import chart

NAN = math.nan


def drawn(true: list[float], shown: list[float], height: int = 5, resolution: float = 0.1) -> list[str]:
    return chart(true, shown, height=height, resolution=resolution).plain.split("\n")


def test_the_shown_curve_leaves_the_true_one_on_the_same_scale() -> None:
    assert drawn([0.0, 0.0, 0.0], [0.0, 50.0, 100.0]) == ["  •", "   ", " • ", "   ", "───"]


def test_where_both_are_the_same_only_the_true_one_is_drawn() -> None:
    assert "•" not in "".join(drawn([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]))


def test_what_is_not_shown_is_a_gap() -> None:
    assert drawn([1.0, 5.0], [NAN, 1.0], height=2) == [" ─", "─•"]


def test_the_last_digit_of_a_steady_signal_is_no_mountain() -> None:
    assert drawn([230.0, 230.5, 230.0], [230.0, 230.5, 230.0], resolution=0.5)[2] == "───"


@pytest.mark.parametrize("values", [[], [NAN, NAN]])
def test_where_nothing_is_nothing_is_drawn(values: list[float]) -> None:
    assert drawn(values, values) == [""]


@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6) | st.just(NAN)), min_size=1, max_size=80),
    st.integers(1, 20),
)
def test_every_value_has_its_place(pairs: list[tuple[float, float]], height: int) -> None:
    lines = drawn([true for true, _ in pairs], [shown for _, shown in pairs], height=height)
    assert len(lines) == height
    assert all(len(line) == len(pairs) for line in lines)
    assert all(any(line[column] == "─" for line in lines) for column in range(len(pairs)))
