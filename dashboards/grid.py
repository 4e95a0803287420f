"""Grafana's grid of 24 columns: panels of a row side by side, as wide as there is room."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from dashboards.panels import Place

T = TypeVar("T")

COLUMNS = 24


def widths(count: int, columns: int = COLUMNS) -> tuple[int, ...]:
    """Columns shared by `count` panels; what is left over goes to the last."""
    each = columns // count
    return (each,) * (count - 1) + (columns - each * (count - 1),)


def rows(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Rows of at most `size` items."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def placed(items: Sequence[T], y: int, h: int) -> Iterator[tuple[T, Place]]:
    """The items of one row, each with its place."""
    x = 0
    for item, w in zip(items, widths(len(items)), strict=True):
        yield item, Place(x=x, y=y, w=w, h=h)
        x += w
