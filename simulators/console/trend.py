"""The last hour of a signal as letters: what was true, and what was shown of it, on one scale."""

import math
from collections.abc import Sequence

from rich.text import Text

TRUE_MARK, SHOWN_MARK = "─", "•"
TRUE_STYLE, SHOWN_STYLE = "cyan", "bold yellow"
FLAT_SHARE = 0.01
"""A scale is never narrower than this share of its values: noise of the last digit is no curve."""


def chart(true: Sequence[float], shown: Sequence[float], *, height: int, resolution: float) -> Text:
    """One column a value, `height` lines, lowest below. NaN = nothing there.

    `resolution` is the smallest step that the signal can show: the scale is a few of them at least.
    """
    finite = [value for value in (*true, *shown) if math.isfinite(value)]
    if not finite or height < 1:
        return Text("")
    low, high = min(finite), max(finite)
    least = max(height * resolution, FLAT_SHARE * max(abs(low), abs(high)))
    if high - low < least:
        middle = (low + high) / 2.0
        low, high = middle - least / 2.0, middle + least / 2.0
    lines = [[(" ", "")] * len(true) for _ in range(height)]
    for values, mark, style in ((true, TRUE_MARK, TRUE_STYLE), (shown, SHOWN_MARK, SHOWN_STYLE)):
        for column, value in enumerate(values):
            if math.isfinite(value):
                line = round((high - value) / (high - low) * (height - 1))
                if lines[line][column][0] != TRUE_MARK:  # where both are the same, the true one is drawn
                    lines[line][column] = (mark, style)
    return Text("\n").join(Text.assemble(*line) for line in lines)
