"""What the recorder remembers of devices between chunks: their numbers, their newest time. In bounded memory.

What is not remembered is read from the book again when it is asked for. A device that makes up boots, or leaves out
numbers on purpose, would fill memory and book: both are refused above what a machine can do.
"""

from collections import OrderedDict

from collector.foreign.births import BookBirths
from collector.recorder.book import ChunkRecord, ForeignKey, RecordBook
from collector.recorder.numbers import Numbers, Span, TooManySpans
from filiere.clock import NS_PER_S
from filiere.errors import MessageRefused

TOO_MANY_BOOTS, TOO_MANY_GAPS = "too_many_boots", "too_many_gaps"

NEW_BOOTS_MAX = 3_000
"""New (device, boot) of a whole plant in a minute."""
NEW_BOOTS_OF_DEVICE_MAX = 60
"""New boots of a device in a minute."""
SPANS_MAX = 100_000
"""Runs of numbers of one boot, with gaps between them: some 10 MB of memory."""
BOOTS_KEPT = 10_000
"""Boots in memory after a chunk."""
SPANS_KEPT = 200_000
"""Spans in memory after a chunk."""
_NS_PER_MINUTE = 60 * NS_PER_S


class Seen:
    """The recorder has one. What is marked in it goes into the chunk's record by `write_to`."""

    def __init__(self, book: RecordBook) -> None:
        self._book = book
        self._numbers: OrderedDict[tuple[str, str], Numbers] = OrderedDict()
        self._touched: dict[tuple[str, str], Numbers] = {}
        self._newest_ns: dict[str, int] = {}
        self._new_boots = book.new_boots()
        self._boots_changed = False
        self._foreign: dict[bytes, ForeignKey] = {}
        self.births = BookBirths(book)

    def add(self, device: str, boot: str, first: int, last: int, record_time_ns: int | None) -> tuple[Span, ...]:
        """Mark the numbers first..last of a device's boot as seen. Returns those of them that were seen before.

        Raises MessageRefused: it would be one new boot too many in the minute of `record_time_ns` (too_many_boots), or
        one gap too many (too_many_gaps); nothing is marked. Without a record time there is no limit.
        """
        key = device, boot
        numbers = self._touched.get(key)
        if numbers is None:
            numbers = self._touched[key] = self._load(key, record_time_ns)
        try:
            return numbers.add(first, last, None if record_time_ns is None else SPANS_MAX)
        except TooManySpans:
            raise MessageRefused(
                TOO_MANY_GAPS,
                f"got number {first} beside {SPANS_MAX} runs of numbers with gaps between them; expected a device to"
                " count on by one: start it anew, with another boot",
            ) from None

    def _load(self, key: tuple[str, str], record_time_ns: int | None) -> Numbers:
        found = self._numbers.get(key)
        if found is None:
            found = self._book.numbers(*key)
            if not found and record_time_ns is not None:
                self._count_new_boot(key[0], record_time_ns // _NS_PER_MINUTE)
            self._numbers[key] = found
        return found

    def _count_new_boot(self, device: str, minute: int) -> None:
        if (minute, "") not in self._new_boots:
            self._new_boots = {(minute, ""): 0}
        for of_whom, most in ((device, NEW_BOOTS_OF_DEVICE_MAX), ("", NEW_BOOTS_MAX)):
            if self._new_boots.get((minute, of_whom), 0) >= most:
                raise MessageRefused(
                    TOO_MANY_BOOTS,
                    f"got more than {most} new boots {f'of {of_whom} ' if of_whom else ''}in a minute; expected one"
                    " each time that a device starts: look at the device, then retry what was refused",
                )
        self._boots_changed = True
        for of_whom in (device, ""):
            self._new_boots[minute, of_whom] = self._new_boots.get((minute, of_whom), 0) + 1

    def newest_ns(self, device: str) -> int:
        """Newest event time of a device that could be believed; 0 = none."""
        found = self._newest_ns.get(device)
        if found is None:
            found = self._newest_ns[device] = self._book.last_event_ns(device)
        return found

    def foreign_offset(self, key: bytes) -> int | None:
        """Offset of the message that brought this row without a number first; None = it is new."""
        found = self._foreign.get(key)
        return self._book.foreign_offset(key) if found is None else found.offset

    def put_foreign(self, key: ForeignKey) -> None:
        """Mark a row without a number."""
        self._foreign[key.key] = key

    def write_to(self, record: ChunkRecord) -> None:
        """Hand over what was marked since the last call."""
        for (device, boot), numbers in self._touched.items():
            record.spans += ((device, boot, first, last) for first, last in numbers.take_changes().items())
            self._numbers.move_to_end((device, boot))
        self._touched.clear()
        if self._boots_changed:
            record.new_boots, self._boots_changed = dict(self._new_boots), False
        record.foreign += self._foreign.values()
        self._foreign.clear()
        record.births += self.births.take_new()
        for device, counts in record.counts.items():
            self._newest_ns[device] = max(self.newest_ns(device), counts.last_event_ns)

    def forget_some(self) -> None:
        """Keep the boots heard last. To be called when all that was handed over is in the book."""
        spans = sum(map(len, self._numbers.values())) if len(self._numbers) > 1 else 0
        while len(self._numbers) > BOOTS_KEPT or (spans > SPANS_KEPT and len(self._numbers) > 1):
            _, numbers = self._numbers.popitem(last=False)
            spans -= len(numbers)
