"""The text of a cell → a number, or why it is none. Pure.

A file has one decimal sign; a number that stands there with the other one is understood where it can mean only one
thing, and counted. `1.234` in a file of decimal commas may be twelve hundred or one and a quarter: it is not guessed.
"""

import math
import re
from collections.abc import Callable, Sequence
from enum import Enum

import numpy as np
import numpy.typing as npt

from simulators.replay.dirt import Dirt, Findings


class Absent(Enum):
    """Where a row does not even have the name of a column, as JSON objects may."""

    CELL = "absent"


Cell = str | float | int | bool | Absent | None
"""A text where the file is text, else what it holds."""
CELL_MAX = 64
"""Characters of a number; longer is none."""
_SHOWN_MAX = 40
_MISSING = frozenset(("", "-", "--", "---", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "?", "."))
_INFINITE = re.compile(r"[+-]?(?:inf|infinity|∞|1\.#inf)", re.IGNORECASE)
_MINUS = "\N{MINUS SIGN}"
"""What a spreadsheet prints in place of the sign of the keyboard."""
_BLANKS = " \t\r\n\0\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}"
_PLAIN = re.compile(r"[+-]?(?:[0-9]+(?:(?P<sign>[.,])[0-9]*)?|(?P<bare>[.,])[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_AMBIGUOUS = re.compile(r"[+-]?[1-9][0-9]{0,2}[.,][0-9]{3}")
_GROUPED = re.compile(
    r"[+-]?[0-9]{1,3}(?:(?P<group>[ '’.,\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}])[0-9]{3}(?:(?P=group)[0-9]{3})*)"
    r"(?:(?P<sign>[.,])[0-9]+)?"
)
_ORDINARY = re.compile(r"[0-9.+\-\n]*")
"""Letters of a column that needs no closer look."""


def number(text: str, decimal: str) -> tuple[float, Dirt | None]:
    """A cell's text → its value, NaN where it has none, and what is to be said of it. `decimal` is `.` or `,`."""
    text = text.strip(_BLANKS).replace(_MINUS, "-")
    if text.lower() in _MISSING:
        return math.nan, Dirt.EMPTY
    if len(text) > CELL_MAX:
        return math.nan, Dirt.NOT_A_NUMBER
    if plain := _PLAIN.fullmatch(text):
        sign = plain["sign"] or plain["bare"]
        if sign in (None, decimal):
            return _finite(text.replace(",", "."), None)
        if _AMBIGUOUS.fullmatch(text):
            return math.nan, Dirt.AMBIGUOUS
        return _finite(text.replace(",", "."), Dirt.OTHER_DECIMAL)
    if (grouped := _GROUPED.fullmatch(text)) and grouped["group"] != grouped["sign"]:
        sign = grouped["sign"]
        other = grouped["group"] == decimal or sign not in (None, decimal)
        digits = text.replace(grouped["group"], "").replace(",", ".")
        return _finite(digits, Dirt.OTHER_DECIMAL if other else None)
    return math.nan, Dirt.NOT_FINITE if _INFINITE.fullmatch(text) else Dirt.NOT_A_NUMBER


def _finite(text: str, remark: Dirt | None) -> tuple[float, Dirt | None]:
    value = float(text)
    return (value, remark) if math.isfinite(value) else (math.nan, Dirt.NOT_FINITE)


def numbers(
    cells: Sequence[Cell], decimal: str, findings: Findings, where: Callable[[int, object], str]
) -> npt.NDArray[np.float64]:
    """A column's cells → values, shape (n,); NaN = not measured. `where(place, cell)` names a place for people."""
    text = "\n".join(cells) if all(type(cell) is str for cell in cells) else ""  # type: ignore[arg-type]  # they are
    if decimal == ",":
        text = "" if "." in text else text.replace(",", ".")
    if text and _ORDINARY.fullmatch(text):
        try:
            values = np.array(text.split("\n"), dtype=np.float64)
        except ValueError:  # an empty one, a date, two points
            values = np.empty(0)
        if len(values) == len(cells) and np.isfinite(values).all():
            return values
    values = np.empty(len(cells))
    for place, cell in enumerate(cells):
        values[place], remark = _value(cell, decimal)
        if remark is not None:
            findings.add(remark, where(place, cell))
    return values


def _value(cell: Cell, decimal: str) -> tuple[float, Dirt | None]:
    if isinstance(cell, str):
        return number(cell, decimal)
    if cell is Absent.CELL:
        return math.nan, None
    if cell is None:
        return math.nan, Dirt.EMPTY
    if not isinstance(cell, float | int):
        return math.nan, Dirt.NOT_A_NUMBER
    try:
        value = float(cell)
    except OverflowError:
        return math.nan, Dirt.NOT_FINITE
    if math.isnan(value):
        return math.nan, Dirt.EMPTY
    return (value, None) if math.isfinite(value) else (math.nan, Dirt.NOT_FINITE)


def word(cell: Cell) -> str:
    """A cell as a name or a quality: 192.0 is the same one as `192`."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return "" if cell is None else str(cell).strip(_BLANKS)


def shown(cell: object) -> str:
    """What was got, short, on one line."""
    text = repr(cell)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…"
