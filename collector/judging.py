"""A chunk of the message log, judged: what goes to the stores, what to quarantine, and how it is counted.

Nothing is written here. The numbers seen are marked in the book's memory; its `commit` makes them last.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from collector.codec import (
    EVENTS,
    READINGS,
    STATE,
    Identity,
    Topic,
    decode_event,
    decode_readings,
    decode_state,
    parse_topic,
    peek_identity,
)
from collector.record_book import ChunkRecord, DeviceCounts, Progress, Quarantined, RecordBook
from collector.validation import JudgedRow, Placement
from filiere.errors import EventRefused, MessageRefused
from filiere.events import Event, parse_event
from filiere.message_log import Message
from filiere.readings import OUT_OF_RANGE, Row

EVENT_REFUSED, INTERNAL_ERROR = "event_refused", "internal_error"
_SHOWN_MAX = 200

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingRow:
    """A row on its way to the readings store, with the message that it came in."""

    message: Message
    device: str
    row: Row


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingEvent:
    """An event on its way to the ledger, with the message that it came in."""

    message: Message
    device: str
    body: bytes
    event: Event


class Chunk:
    """Messages that are recorded together. Every row is either pending, a duplicate, or in quarantine."""

    def __init__(self, *, placement: Placement, book: RecordBook, progress: Progress) -> None:
        self.record = ChunkRecord(progress=progress)
        self.rows: list[PendingRow] = []
        self.events: list[PendingEvent] = []
        self._placement = placement
        self._book = book

    def take(self, message: Message) -> None:
        """Judge the next message of the log."""
        topic: Topic | None = None
        try:
            topic = parse_topic(message.topic)
            self._take(topic, message)
        except MessageRefused as refused:
            self._refuse(message, topic, refused)
        except Exception as error:  # noqa: BLE001 - a mistake in this program costs one message, not the stream
            _log.exception("a message met a mistake in this program", offset=message.offset)
            words = f"got {type(error).__name__}: {str(error)[:_SHOWN_MAX]}; tell who maintains this program"
            self._refuse(message, topic, MessageRefused(INTERNAL_ERROR, words))

    def _take(self, topic: Topic, message: Message) -> None:
        self._placement.signals(topic)  # who sends is known, or the message is refused before its bytes are read
        match topic.kind:
            case kind if kind == READINGS:
                self._take_readings(topic, message)
            case kind if kind == EVENTS:
                self._take_event(topic, message)
            case _:
                self._heard(topic.device_path, message).state = decode_state(message.payload)

    def _take_readings(self, topic: Topic, message: Message) -> None:
        readings = decode_readings(message.payload)
        rows = self._placement.rows(topic, readings, message.record_time_ns)
        device = topic.device_path
        counts = self._heard(device, message)
        numbers = self._book.numbers(device, readings.boot)
        fresh = [row for row in rows if row.seq not in numbers]
        counts.duplicates += len(rows) - len(fresh)
        if not fresh:
            return
        numbers.add(readings.seq, readings.seq + len(rows) - 1)
        self._count(device, counts, fresh)
        counts.skew_ns = message.record_time_ns - fresh[-1].event_time_ns
        self.rows += [PendingRow(message=message, device=device, row=row.row) for row in fresh]

    def _count(self, device: str, counts: DeviceCounts, rows: Iterable[JudgedRow]) -> None:
        newest_ns = max(counts.last_event_ns, self._book.last_event_ns(device))
        for row in rows:
            counts.stored += 1
            counts.out_of_range += OUT_OF_RANGE in row.row.quality.values()
            if row.clock_suspect:
                counts.clock_suspect += 1
            elif row.event_time_ns < newest_ns:
                counts.late += 1
            else:
                newest_ns = row.event_time_ns
        counts.last_event_ns = newest_ns

    def _take_event(self, topic: Topic, message: Message) -> None:
        envelope = decode_event(message.payload)
        try:
            event = parse_event(envelope.body)
        except EventRefused as refused:
            raise MessageRefused(EVENT_REFUSED, str(refused)) from None
        self._placement.event(event)
        device = topic.device_path
        counts = self._heard(device, message)
        if self._first_time(device, envelope.identity):
            self.events.append(PendingEvent(message=message, device=device, body=envelope.body, event=event))
        else:
            counts.duplicates += 1

    def _refuse(self, message: Message, topic: Topic | None, refused: MessageRefused) -> None:
        """Quarantine a message, once: its numbers, where they can be read, are seen from now on."""
        device = topic.device_path if topic is not None else ""
        counts = self._heard(device, message)
        kind = None if topic is None else topic.kind
        identity = peek_identity(message.payload, kind) if kind in (READINGS, EVENTS) else None
        if identity is not None:
            unseen = self._first_time(device, identity)
            counts.duplicates += identity.rows - unseen
            if not unseen:
                return
        self.quarantine(
            message,
            device,
            reason=refused.reason,
            words=str(refused),
            rows=1 if identity is None else unseen,
            numbered=None if kind == STATE else identity is not None,
        )

    def quarantine(
        self, message: Message, device: str, *, reason: str, words: str, rows: int = 1, numbered: bool | None = True
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
            )
        )

    def _first_time(self, device: str, identity: Identity) -> int:
        """How many of the numbers were not seen before; they are from now on."""
        numbers = self._book.numbers(device, identity.boot)
        last = identity.seq + identity.rows - 1
        unseen = sum(seq not in numbers for seq in range(identity.seq, last + 1))
        numbers.add(identity.seq, last)
        return unseen

    def _heard(self, device: str, message: Message) -> DeviceCounts:
        counts = self.record.device(device)
        counts.last_record_ns = message.record_time_ns
        return counts
