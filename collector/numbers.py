"""Which numbers of one (device, boot) have been seen: a set of whole numbers kept as spans. Pure."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

Span = tuple[int, int]
"""First and last number, both in the set."""


class Numbers:
    """A set of whole numbers, ordered spans that neither touch nor overlap.

    `changed` holds what must be written down since `take_changes`: first number of a span → its last, None = gone.
    """

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        ordered = sorted(spans)
        self._firsts = [first for first, _ in ordered]
        self._lasts = [last for _, last in ordered]
        self._changed: dict[int, int | None] = {}

    @property
    def spans(self) -> tuple[Span, ...]:
        """In ascending order."""
        return tuple(zip(self._firsts, self._lasts, strict=True))

    def __contains__(self, number: int) -> bool:
        index = bisect_right(self._firsts, number) - 1
        return index >= 0 and number <= self._lasts[index]

    def add(self, first: int, last: int) -> None:
        """Add first..last."""
        if self._lasts and self._lasts[-1] + 1 == first:  # counting on, as nearly always
            self._lasts[-1] = self._changed[self._firsts[-1]] = last
            return
        # the spans from `start` up to `stop` touch or overlap first..last and become one with it
        start = bisect_left(self._lasts, first - 1)
        stop = bisect_right(self._firsts, last + 1)
        touched = list(zip(self._firsts[start:stop], self._lasts[start:stop], strict=True))
        merged_first = min([first, *(span[0] for span in touched)])
        merged_last = max([last, *(span[1] for span in touched)])
        if touched != [(merged_first, merged_last)]:
            for span_first, _ in touched:
                self._changed[span_first] = None
            self._changed[merged_first] = merged_last
            self._firsts[start:stop] = [merged_first]
            self._lasts[start:stop] = [merged_last]

    def take_changes(self) -> dict[int, int | None]:
        """What changed since the last call: first number of a span → its last number, None = no such span any more."""
        changed, self._changed = self._changed, {}
        return changed
