"""A judged chunk on its way to the stores: rows, events, run marks. What a store refuses ends in quarantine.

Everything here may be done twice: stores keep one of two equal things. Every method waits for a store that does not
answer, or that refuses as a whole, and raises Stopped when the process is asked to stop meanwhile.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

import structlog

from collector.codec import EVENTS, TOPIC_ROOT
from collector.patience import Patience
from collector.recorder.blocks import PendingBlock
from collector.recorder.book import WaitingEvent
from collector.recorder.judging import Chunk, PendingEvent
from collector.recorder.run_marks import run_marks
from filiere.errors import EventRefused, StoreRefused
from filiere.events import RunClosed, RunStarted, parse_event
from filiere.ledger import Admission, Ledger
from filiere.message_log import Message, MessageLog
from filiere.readings import Block, RunMark
from filiere.readings_store import ReadingsStore

STORE_REFUSED = "store_refused"

Item = TypeVar("Item")
Refusal = tuple[Item, str]
"""What the store will not take, and the store's words."""
PendingRow = tuple[PendingBlock, int, Block]
"""A row alone, with its place in the block that it came in."""

_log = structlog.get_logger(__name__)


class Writing:
    """The two stores behind one patience."""

    def __init__(self, *, store: ReadingsStore, ledger: Ledger, patience: Patience) -> None:
        self._store = store
        self._ledger = ledger
        self._patience = patience

    def rows(self, chunk: Chunk, blocks: Sequence[Block]) -> None:
        """Write the rows of `chunk.blocks`, as they were judged."""
        if not blocks:
            return

        def alone() -> list[PendingRow]:
            return [
                (pending, place, row)
                for pending, block in zip(chunk.blocks, blocks, strict=True)
                for place, row in enumerate(block.rows())
            ]

        refused = self._refused(
            lambda: self._store.write(blocks), alone, lambda some: self._store.write([row for _, _, row in some])
        )
        by_message: dict[int, list[Refusal[PendingRow]]] = defaultdict(list)
        for refusal in refused:
            pending, place, _ = refusal[0]
            by_message[pending.origin(place)[0].offset].append(refusal)
        for refusals in by_message.values():
            ((pending, place, _), words), count = refusals[0], len(refusals)
            message, boot, seq = pending.origin(place)
            device = pending.place.path
            chunk.record.device(device).stored -= count
            chunk.quarantine(
                message, device, reason=STORE_REFUSED, words=words, rows=count, numbered=True, boot=boot, seq=seq
            )

    def events(self, chunk: Chunk) -> None:
        """Append the events of a chunk to the ledger, in their order."""
        for event in chunk.events:
            try:
                admission = self._patience.until_done(partial(self._append, event))
            except EventRefused as refused:
                chunk.refuse_event(event.message, event.device, str(refused))
                continue
            if admission is Admission.WAITING:
                chunk.record.waiting.append(
                    WaitingEvent(
                        offset=event.message.offset,
                        device=event.device,
                        event_id=event.event.event_id,
                        topic=event.message.topic,
                        payload=event.message.payload,
                        record_time_ns=event.message.record_time_ns,
                    )
                )
            else:
                chunk.record.device(event.device).stored += 1

    def _append(self, event: PendingEvent) -> Admission:
        return self._ledger.append(event.body, record_time_ns=event.message.record_time_ns)

    def settle(self, chunk: Chunk, waiting: Sequence[WaitingEvent], log: MessageLog) -> None:
        """Events that the ledger held, `waiting` and those of the chunk: what it has taken meanwhile, or refused."""
        record = chunk.record
        settled = set(record.settled)
        before = [event for event in waiting if event.offset not in settled]
        if not before and not record.waiting:
            return
        held = {event.event_id: event for event in self._patience.until_done(self._ledger.held)}
        own, record.waiting = record.waiting, []
        for event in (*before, *own):
            still = held.get(event.event_id)
            if still is not None and not still.refused:
                record.waiting += [event] if event in own else []
                continue
            record.settled.append(event.offset)
            if still is None:
                record.device(event.device).stored += 1
            else:
                chunk.refuse_event(_message_of(event, log, still.body), event.device, still.reason)

    def marks(self, position: int) -> int:
        """Mark the runs of the ledger's events after `position`, also of those that had waited. The new position.

        A mark is drawn, never summed: one that the store refuses is said in the log, and the ledger still has it.
        """
        marks, position = self._patience.until_done(partial(self._new_marks, position))
        if marks:
            for mark, words in self._refused(
                lambda: self._store.write((), marks), lambda: marks, lambda some: self._store.write((), some)
            ):
                _log.error("run mark refused", run=mark.run, line=mark.line, words=words)
        return position

    def _new_marks(self, position: int) -> tuple[list[RunMark], int]:
        """A late event changes what the line did after it, so all its marks from there on are drawn again."""
        from_ns: dict[str, int] = {}
        for stored in self._ledger.events(after=position):
            position = stored.position
            event = parse_event(stored.body)
            if isinstance(event, RunStarted | RunClosed):
                from_ns[event.line] = min(event.event_time_ns, from_ns.get(event.line, event.event_time_ns))
        runs = self._ledger.chain().runs.values() if from_ns else ()
        return [
            mark
            for line, time_ns in from_ns.items()
            for mark in run_marks((run for run in runs if run.line == line), time_ns)
        ], position

    def _refused(
        self,
        write_all: Callable[[], None],
        items: Callable[[], Sequence[Item]],
        write: Callable[[Sequence[Item]], None],
    ) -> list[Refusal[Item]]:
        """Write all; those that the store refuses. A store that refuses as a whole (credentials, bucket) is awaited."""

        def write_or_isolate() -> list[Refusal[Item]]:
            try:
                write_all()
            except StoreRefused:
                self._store.check()
                refused = list(_isolate(items(), write))
                self._store.check()  # or else what it refused meanwhile as a whole would be taken for bad items
                return refused
            return []

        return self._patience.until_done(write_or_isolate)


def _isolate(items: Sequence[Item], write: Callable[[Sequence[Item]], None]) -> Iterator[Refusal[Item]]:
    """Items that are refused together, halved until each refused one stands alone. Raises StoreUnavailable."""
    try:
        write(items)
    except StoreRefused as refused:
        if len(items) == 1:
            yield items[0], str(refused)
            return
        middle = len(items) // 2
        yield from _isolate(items[:middle], write)
        yield from _isolate(items[middle:], write)


def _message_of(event: WaitingEvent, log: MessageLog, body: bytes) -> Message:
    """The message that an event came in. An earlier version did not write it down; then the log may still have it."""
    if event.topic is not None and event.payload is not None:
        return Message(event.offset, event.topic, event.payload, event.record_time_ns or 0)
    for message in log.read(event.offset - 1, 1):
        if message.offset == event.offset:
            return message
    return Message(event.offset, f"{TOPIC_ROOT}/{event.device}/{EVENTS}".encode(), body, 0)
