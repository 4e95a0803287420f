"""Which numbers of one (device, boot) have been seen: a set of whole numbers kept as spans. Pure."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

Span = tuple[int, int]
"""First and last number, both in the set."""


def length(spans: Iterable[Span]) -> int:
    """How many numbers are in spans that do not overlap."""
    return sum(last - first + 1 for first, last in spans)


def numbers_in(spans: Iterable[Span]) -> frozenset[int]:
    """Each number of some short spans."""
    return frozenset(number for first, last in spans for number in range(first, last + 1))


class TooManySpans(Exception):
    """A set would have more spans than it may."""


class Numbers:
    """A set of whole numbers, ordered spans that neither touch nor overlap.

    `take_changes` gives what must be written down since the last time: first number of a span → its last, None = gone.
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

    def __len__(self) -> int:
        """How many spans; 0 = no number is in the set."""
        return len(self._firsts)

    def __contains__(self, number: int) -> bool:
        index = bisect_right(self._firsts, number) - 1
        return index >= 0 and number <= self._lasts[index]

    def add(self, first: int, last: int, spans_max: int | None = None) -> tuple[Span, ...]:
        """Add first..last. Returns those of them that were there before, as spans.

        Raises TooManySpans: it would make one span more than `spans_max`; nothing is added.
        """
        if self._lasts and self._lasts[-1] + 1 == first:  # counting on, as nearly always
            self._lasts[-1] = self._changed[self._firsts[-1]] = last
            return ()
        # the spans from `start` up to `stop` touch or overlap first..last and become one with it
        start = bisect_left(self._lasts, first - 1)
        stop = bisect_right(self._firsts, last + 1)
        if start == stop and spans_max is not None and len(self._firsts) >= spans_max:
            raise TooManySpans
        touched = list(zip(self._firsts[start:stop], self._lasts[start:stop], strict=True))
        merged_first = min([first, *(span[0] for span in touched)])
        merged_last = max([last, *(span[1] for span in touched)])
        if touched != [(merged_first, merged_last)]:
            for span_first, _ in touched:
                self._changed[span_first] = None
            self._changed[merged_first] = merged_last
            self._firsts[start:stop] = [merged_first]
            self._lasts[start:stop] = [merged_last]
        overlaps = ((max(first, span_first), min(last, span_last)) for span_first, span_last in touched)
        return tuple(span for span in overlaps if span[0] <= span[1])

    def take_changes(self) -> dict[int, int | None]:
        """What changed since the last call: first number of a span → its last number, None = no such span any more."""
        changed, self._changed = self._changed, {}
        return changed
