"""Rows of one device, gathered as columns: filled message by message, then held against ranges and clocks. Pure."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from collector.recorder.validation import Column, Place, out_of_range, suspect_clocks
from filiere.message_log import Message
from filiere.readings import CLOCK_SUSPECT, OUT_OF_RANGE, Block, stored_time_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedBlock:
    """What is stored of a PendingBlock, and what is doubtful in it."""

    block: Block
    suspects: Sequence[int]
    """Places of the rows whose clock cannot be right: they are stored under the time of their arrival."""
    out_of_range: int
    """Rows with at least one value that the sensor cannot mean."""
    believed_ns: Sequence[int]
    """Event times of the other rows, in the order of arrival."""


@dataclass(slots=True, kw_only=True)
class PendingBlock:
    """Rows on their way to the readings store, with the messages that they came in."""

    place: Place
    names: tuple[str, ...]
    """The signals of its values."""
    numbered: bool
    """The rows have numbers of a boot; foreign ones have none."""
    columns: tuple[list[float | None], ...]
    event_ns: list[int] = field(default_factory=list)
    seqs: list[int] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    """One a message, ..."""
    boots: list[str] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    """... and the place after its last row."""
    bad: dict[str, dict[int, str]] = field(default_factory=dict)
    """Signal id → place → what the device itself says of the value."""

    def add(
        self, message: Message, boot: str, seqs: Iterable[int], event_ns: Sequence[int], values: Iterable[Column]
    ) -> None:
        """Add the rows of a message."""
        self.event_ns.extend(event_ns)
        self.seqs.extend(seqs)
        for column, more in zip(self.columns, values):  # noqa: B905 - one each a name; checking costs more than the rest
            column.extend(more)
        self.messages.append(message)
        self.boots.append(boot)
        self.ends.append(len(self.event_ns))

    def judged(self) -> JudgedBlock:
        """The whole block, held against ranges and clocks."""
        record_ns = self._record_ns()
        suspects = suspect_clocks(self.event_ns, record_ns)
        times, believed = self.event_ns, self.event_ns
        if suspects:
            times = list(times)
            for place in suspects:
                times[place] = record_ns[place]
            wrong = set(suspects)
            believed = [time_ns for place, time_ns in enumerate(self.event_ns) if place not in wrong]
        quality: dict[str, dict[int, str]] = {}
        outside: set[int] = set()
        for name, column in zip(self.names, self.columns, strict=True):
            places = out_of_range(self.place.signals[name], column)
            outside.update(places)
            flags = {place: CLOCK_SUSPECT for place in suspects if column[place] is not None}
            flags |= dict.fromkeys(places, OUT_OF_RANGE)  # graver: the value itself is not to be used
            flags |= self.bad.get(name, {})  # gravest: the device says so
            if flags:
                quality[name] = flags
        block = Block(
            line=self.place.line,
            device=self.place.device,
            time_ns=list(map(stored_time_ns, times, self.seqs)),
            values=dict(zip(self.names, self.columns, strict=True)),
            quality=quality,
        )
        return JudgedBlock(block=block, suspects=suspects, out_of_range=len(outside), believed_ns=believed)

    def _record_ns(self) -> list[int]:
        """Record time of each row."""
        if len(self.messages) == len(self.event_ns):
            return [message.record_time_ns for message in self.messages]
        starts = [0, *self.ends]
        return [
            message.record_time_ns
            for message, start, end in zip(self.messages, starts, self.ends, strict=False)
            for _ in range(start, end)
        ]

    def origin(self, place: int) -> tuple[Message, str | None, int | None]:
        """The message that brought a row, its boot and number; None where it has none."""
        index = bisect_right(self.ends, place)
        if not self.numbered:
            return self.messages[index], None, None
        return self.messages[index], self.boots[index], self.seqs[place]
