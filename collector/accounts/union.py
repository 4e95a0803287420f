"""What several collectors counted twice: the numbers that more than one book has. Pure.

While a line moves from one collector to another, both may take the same messages. The store keeps one of two equal
rows, so a number that two books have is one row. It is stored when one of them stored it, else in quarantine.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from collector.recorder.numbers import Numbers, Span

Boot = tuple[str, str]
"""(device, boot)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedBook:
    """The numbers of one collector's book."""

    seen: Mapping[Boot, Sequence[Span]]
    """In ascending order, apart from each other."""
    refused: Mapping[Boot, Sequence[tuple[Span, str]]] = field(default_factory=dict)
    """Of these, the ones in its quarantine, each with the reason."""


@dataclass(slots=True, kw_only=True)
class Overlap:
    """What the sum of the books has too much, in rows of one device."""

    stored: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """Reason → rows."""

    @property
    def rows(self) -> int:
        """All of it: as many rows came once more than they had to."""
        return self.stored + self.refused.total()


def united(books: Iterable[NumberedBook]) -> dict[Boot, Numbers]:
    """The numbers that at least one book has."""
    together: dict[Boot, Numbers] = defaultdict(Numbers)
    for book in books:
        for boot, spans in book.seen.items():
            for first, last in spans:
                together[boot].add(first, last)
    return dict(together)


def overlaps(books: Sequence[NumberedBook]) -> dict[str, Overlap]:
    """Device → what must be taken off the sum of the books, so that each number counts once."""
    found: dict[str, Overlap] = defaultdict(Overlap)
    owners = Counter(boot for book in books for boot in book.seen)
    for boot in (boot for boot, count in owners.items() if count > 1):
        device, _ = boot
        for count, seen, reasons in _stretches(books, boot):
            if seen > 1:
                _add_surplus(found[device], count, seen, reasons)
    return dict(found)


def _add_surplus(overlap: Overlap, count: int, seen: int, reasons: Counter[str]) -> None:
    """`count` numbers that `seen` books have, some of them as refused."""
    refused = list(reasons.elements())[:seen]
    stored = seen - len(refused)
    surplus = refused if stored else refused[1:]
    overlap.stored += count * max(stored - 1, 0)
    for reason in surplus:
        overlap.refused[reason] += count


def _stretches(books: Sequence[NumberedBook], boot: Boot) -> Iterator[tuple[int, int, Counter[str]]]:
    """(how many numbers, how many books have them, reason → books that refused them), from the lowest number on."""
    seen_steps: Counter[int] = Counter()
    reason_steps: dict[int, Counter[str]] = defaultdict(Counter)
    for book in books:
        for first, last in book.seen.get(boot, ()):
            seen_steps[first] += 1
            seen_steps[last + 1] -= 1
        for (first, last), reason in book.refused.get(boot, ()):
            reason_steps[first][reason] += 1
            reason_steps[last + 1][reason] -= 1
    borders = sorted({*seen_steps, *reason_steps})
    seen, reasons = 0, Counter[str]()
    for start, stop in pairwise(borders):
        seen += seen_steps[start]
        reasons.update(reason_steps.get(start, {}))
        yield stop - start, seen, +reasons
