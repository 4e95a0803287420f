"""A chunk of the message log, judged: what goes to the stores, what to quarantine, and how it is counted.

Rows of one device that name the same signals are gathered into one block and held against ranges and clocks column by
column: a message of one row costs no more than its share. Nothing is written here. The numbers seen are marked in the
recorder's memory; the book's `commit` makes them last.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol
from zlib import crc32

import structlog

from collector.codec import (
    EVENTS,
    READINGS,
    STATE,
    TOPIC_ROOT,
    decode_columns,
    decode_event,
    decode_state,
    parse_topic,
    peek_identity,
)
from collector.foreign.sources import ForeignRow, ForeignSources
from collector.recorder.blocks import JudgedBlock, PendingBlock
from collector.recorder.book import ChunkRecord, ForeignKey, Quarantined
from collector.recorder.numbers import Span, length, numbers_in
from collector.recorder.seen import Seen
from collector.recorder.validation import Place, Placement, count_late
from filiere.errors import EventRefused, MessageRefused
from filiere.events import Event, parse_event
from filiere.message_log import Message
from filiere.readings import Block

EVENT_REFUSED, INTERNAL_ERROR = "event_refused", "internal_error"
_SHOWN_MAX = 200
FOREIGN = "foreign"
"""Kind of a topic that is not of this program's own."""
_OWN_TOPICS = TOPIC_ROOT.encode() + b"/"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingEvent:
    """An event on its way to the ledger, with the message that it came in."""

    message: Message
    device: str
    body: bytes
    event: Event


class History(Protocol):
    """Whether a message is judged for the first time, or again: what of it is its own."""

    first: bool
    """Late rows, clocks and ranges are counted, and what is heard of a device: that happens once."""

    def accountable(self, message: Message) -> bool:
        """Whether a device that the plant does not have has an account, in which the message is."""
        ...

    def repeats(self, message: Message, device: str, boot: str, first: int, last: int) -> Sequence[Span]:
        """Of its numbers, those that another message had brought before. Raises MessageRefused: too many."""
        ...

    def own_rows(self, message: Message, rows: Sequence[ForeignRow]) -> list[ForeignRow]:
        """Of rows without a number, those that no other message had brought before."""
        ...


class FirstTime:
    """The History of messages that nobody has judged before."""

    first = True

    def __init__(self, record: ChunkRecord, seen: Seen, *, limited: bool = True) -> None:
        """`limited`: new boots and gaps are, as they arrive; not when somebody asks for what was too many."""
        self._record = record
        self._seen = seen
        self._limited = limited

    def accountable(self, message: Message) -> bool:  # noqa: ARG002 - see History
        """See History. Strangers share one account, or they would fill the book with theirs."""
        return False

    def repeats(self, message: Message, device: str, boot: str, first: int, last: int) -> Sequence[Span]:
        """See History."""
        repeats = self._seen.add(device, boot, first, last, message.record_time_ns if self._limited else None)
        if repeats:
            self._record.repeats += ((message.offset, *span) for span in repeats)
            self._record.device(device).duplicates += length(repeats)
        return repeats

    def own_rows(self, message: Message, rows: Sequence[ForeignRow]) -> list[ForeignRow]:
        """See History."""
        own = []
        for row in rows:
            counts = self._record.device(row.device_path)
            if self._seen.foreign_offset(row.key) is None:
                self._seen.put_foreign(ForeignKey(key=row.key, offset=message.offset, device=row.device_path))
                counts.unnumbered += 1
                own.append(row)
            else:
                counts.duplicates += 1
        return own


class Chunk:
    """Messages that are recorded together. Every row is either pending, a duplicate, or in quarantine."""

    def __init__(
        self,
        *,
        placement: Placement,
        foreign: ForeignSources,
        seen: Seen,
        record: ChunkRecord,
        history: History,
    ) -> None:
        self.record = record
        self.blocks: list[PendingBlock] = []
        self.events: list[PendingEvent] = []
        self.rows = 0
        """In all blocks."""
        self._placement = placement
        self._foreign = foreign
        self._seen = seen
        self._history = history
        self._open: dict[str, PendingBlock] = {}

    def take(self, message: Message) -> None:
        """Judge the next message of the log."""
        try:
            # who sends is known, or the message is refused before its bytes are read
            route = self._placement.routes.get(message.topic) or self._route(message.topic)
            if route is None:
                self._take_foreign(message)
                return
            kind, place = route
            if kind == READINGS:
                self._take_readings(place, message)
            elif kind == EVENTS:
                self._take_event(place, message)
            else:
                self._take_state(place, message)
        except MessageRefused as refused:
            self._refuse(message, refused)
        except Exception as error:  # noqa: BLE001 - a mistake in this program costs one message, not the stream
            _log.exception("a message met a mistake in this program", offset=message.offset)
            words = f"got {type(error).__name__}: {str(error)[:_SHOWN_MAX]}; tell who maintains this program"
            self._refuse(message, MessageRefused(INTERNAL_ERROR, words))

    def _route(self, topic: bytes) -> tuple[str, Place] | None:
        return self._placement.route(topic) if topic.startswith(_OWN_TOPICS) else None

    def _take_readings(self, place: Place, message: Message) -> None:
        found = decode_columns(message.payload)
        block = self._open.get(place.path)
        known = block is not None and block.names == found.names and block.numbered
        values = found.values if known and not found.units else self._placement.columns(place, found)
        times, count = found.time_ns, len(found.time_ns)
        seqs: Sequence[int] = range(found.seq, found.seq + count)
        repeats = self._history.repeats(message, place.path, found.boot, found.seq, found.seq + count - 1)
        if repeats:
            repeated = numbers_in(repeats)
            own = [index for index, seq in enumerate(seqs) if seq not in repeated]
            if not own:
                self._heard(place.path, message)
                return
            seqs, times = [seqs[index] for index in own], [times[index] for index in own]
            values = [[column[index] for index in own] for column in values]
        if block is None or not known:
            block = self._new_block(place, found.names, numbered=True)
        block.add(message, found.boot, seqs, times, values)
        self.rows += len(seqs)

    def _take_foreign(self, message: Message) -> None:
        rows = self._history.own_rows(message, self._foreign.decode(message))
        if not rows and (device := self._foreign.device_path(message.topic)):
            self._heard(device, message)
        # in the place of a number: tells rows of one instant apart, and is the same whatever a binding reads of them
        number = crc32(message.payload, crc32(message.topic))
        for row in rows:
            place = self._placement.device(row.device_path)
            assert place is not None, "a binding names devices of its own plant"
            names, block = tuple(row.values), self._open.get(place.path)
            if block is None or block.names != names or block.numbered:
                block = self._new_block(place, names, numbered=False)
            for signal, word in row.quality.items():
                block.bad.setdefault(signal, {})[len(block.event_ns)] = word
            time_ns = message.record_time_ns if row.event_time_ns is None else row.event_time_ns
            block.add(message, "", (number,), (time_ns,), [(value,) for value in row.values.values()])
        self.rows += len(rows)

    def _new_block(self, place: Place, names: tuple[str, ...], *, numbered: bool) -> PendingBlock:
        """The block that rows of a device go to. A device has one open at a time, so that its rows keep their order."""
        block = self._open[place.path] = PendingBlock(
            place=place, names=names, numbered=numbered, columns=tuple([] for _ in names)
        )
        self.blocks.append(block)
        return block

    def _take_event(self, place: Place, message: Message) -> None:
        envelope = decode_event(message.payload)
        try:
            event = parse_event(envelope.body)
        except EventRefused as refused:
            raise MessageRefused(EVENT_REFUSED, str(refused)) from None
        self._placement.event(place, event)
        repeats = self._history.repeats(message, place.path, envelope.boot, envelope.seq, envelope.seq)
        self._heard(place.path, message)
        if not repeats:
            self.events.append(PendingEvent(message=message, device=place.path, body=envelope.body, event=event))

    def _take_state(self, place: Place, message: Message) -> None:
        state = decode_state(message.payload)
        self._heard(place.path, message)
        if self._history.first:
            self.record.device(place.path).state = state

    def _refuse(self, message: Message, refused: MessageRefused) -> None:
        """Quarantine a message, once: its numbers, where they can be read, are seen from now on."""
        device, kind = self._sender(message)
        if kind == FOREIGN:
            self._history.own_rows(message, ())
        identity = peek_identity(message.payload, kind) if kind in (READINGS, EVENTS) else None
        rows, seq = (1, None) if identity is None else (identity.rows, identity.seq)
        numbered = None if kind in (STATE, FOREIGN) else False
        if identity is not None and device:
            with suppress(MessageRefused):  # its numbers would be too many: the message stands for itself
                numbers = range(identity.seq, identity.seq + identity.rows)
                repeated = numbers_in(self._history.repeats(message, device, identity.boot, identity.seq, numbers[-1]))
                numbered, rows = True, rows - len(repeated)
                seq = next((number for number in numbers if number not in repeated), None)
        self._heard(device, message)
        if rows:
            self.quarantine(
                message,
                device,
                reason=refused.reason,
                words=str(refused),
                rows=rows,
                numbered=numbered,
                boot=None if identity is None else identity.boot,
                seq=seq,
            )

    def _sender(self, message: Message) -> tuple[str, str]:
        """The device that accounts for a refused message, empty when the plant has none such; the topic's kind."""
        if not message.topic.startswith(_OWN_TOPICS):
            return self._foreign.device_path(message.topic), FOREIGN
        try:
            topic = parse_topic(message.topic)
        except MessageRefused:
            return "", ""
        try:
            return self._placement.place(topic).path, topic.kind
        except MessageRefused:
            return topic.device_path if self._history.accountable(message) else "", topic.kind

    def quarantine(
        self,
        message: Message,
        device: str,
        *,
        reason: str,
        words: str,
        rows: int,
        numbered: bool | None,
        boot: str | None,
        seq: int | None,
    ) -> None:
        """Keep a message, or `rows` of its rows, as refused."""
        self.record.quarantined.append(
            Quarantined(
                offset=message.offset,
                device=device,
                topic=message.topic,
                payload=message.payload,
                reason=reason,
                message=words,
                record_time_ns=message.record_time_ns,
                rows=rows,
                numbered=numbered,
                boot=boot,
                seq=seq,
            )
        )

    def refuse_event(self, message: Message, device: str, words: str) -> None:
        """Keep an event that the ledger refused."""
        identity = peek_identity(message.payload, EVENTS)
        self.quarantine(
            message,
            device,
            reason=EVENT_REFUSED,
            words=words,
            rows=1,
            numbered=True,
            boot=None if identity is None else identity.boot,
            seq=None if identity is None else identity.seq,
        )

    def _heard(self, device: str, message: Message) -> None:
        if self._history.first:
            counts = self.record.device(device)
            counts.last_record_ns = max(counts.last_record_ns, message.record_time_ns)

    def judged(self) -> Iterator[Block]:
        """What is stored of each of `blocks`, in their order; held against ranges and clocks, and counted."""
        for pending in self.blocks:
            judged = pending.judged()
            self.record.device(pending.place.path).stored += len(pending.event_ns)
            if self._history.first:
                self._count(pending, judged)
            yield judged.block

    def _count(self, pending: PendingBlock, judged: JudgedBlock) -> None:
        counts = self.record.device(pending.place.path)
        newest_ns = max(counts.last_event_ns, self._seen.newest_ns(pending.place.path))
        counts.clock_suspect += len(judged.suspects)
        counts.out_of_range += judged.out_of_range
        counts.late += count_late(judged.believed_ns, newest_ns)
        counts.last_event_ns = max(newest_ns, max(judged.believed_ns, default=newest_ns))
        last_ns = pending.messages[-1].record_time_ns
        counts.last_record_ns = max(counts.last_record_ns, last_ns)
        counts.skew_ns = last_ns - pending.event_ns[-1]
