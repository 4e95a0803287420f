"""The recorder: reads the message log from its bookmark, and brings every message to the stores or to quarantine.

A chunk goes: read, judge, rows to the readings store, events to the ledger, run marks to the readings store, one commit
in the book. A kill between any two of these repeats the chunk, and every store keeps one of two equal things. Rows go
first, so that who sees the closing of a run in the ledger finds the readings that were sent before it.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from random import Random
from typing import TypeVar

import structlog

from collector.judging import EVENT_REFUSED, Chunk, PendingEvent, PendingRow
from collector.patience import Patience, Stopped
from collector.record_book import Quarantined, RecordBook, WaitingEvent
from collector.validation import Placement
from filiere.chain import Chain
from filiere.clock import NS_PER_S, Clock
from filiere.errors import EventRefused, StoreRefused
from filiere.events import RunClosed, RunStarted, parse_event
from filiere.ledger import Admission, Ledger
from filiere.message_log import Message, MessageLog
from filiere.plant import Plant
from filiere.readings import STATE_IDLE, STATE_RUNNING, RunMark
from filiere.readings_store import ReadingsStore

STORE_REFUSED = "store_refused"

CHUNK_MESSAGES_MAX = 4096
CHUNK_BYTES_MAX = 4 * 1024 * 1024
CHUNK_ROWS_MAX = 100_000
"""A chunk ends at the first message that takes it over: small rows in large messages would fill the memory."""
READ_MESSAGES = 256
"""Messages of one read from the log: a chunk ends at the first read that takes it over CHUNK_BYTES_MAX."""
IDLE_WAIT_S = 0.05
HEARTBEAT_NS = 2 * NS_PER_S
"""How often the book says that the recorder lives, when nothing else is written."""

Item = TypeVar("Item")
Refusal = tuple[Item, str]
"""What the store will not take, and the store's words."""

_log = structlog.get_logger(__name__)


class Recorder:
    """One process has one; it is the only writer of the book, the readings store and (in SQLite) the ledger."""

    def __init__(
        self,
        *,
        plant: Plant,
        log: MessageLog,
        store: ReadingsStore,
        ledger: Ledger,
        book: RecordBook,
        clock: Clock,
        random: Random,
        stop: threading.Event,
    ) -> None:
        self._placement = Placement(plant)
        self._messages = log
        self._store = store
        self._ledger = ledger
        self._book = book
        self._clock = clock
        self._stop = stop
        self._patience = Patience(stop=stop, random=random, note=self._note)
        self._progress = book.progress()

    def run(self) -> None:
        """Record until asked to stop. What is under way when that comes is finished, or done again at the next start.

        Raises StoreUnavailable, StoreRefused: the message log or the book itself fails.
        """
        try:
            self._patience.until_done(self._refuse_other_files)
            _log.info("recorder ready", store=self._store.name, bookmark=self._progress.bookmark)
            while not self._stop.is_set():
                if self.step() == 0:
                    self._note(None)
                    self._stop.wait(IDLE_WAIT_S)
        except Stopped:
            _log.info("recorder stopped while it waited", bookmark=self._progress.bookmark)

    def step(self) -> int:
        """Record one chunk. Returns its number of messages; 0 at the head of the log. Raises as `run`, and Stopped."""
        chunk = Chunk(placement=self._placement, book=self._book, progress=self._progress)
        taken: list[Message] = []
        for message in self._read():
            chunk.take(message)
            taken.append(message)
            if len(chunk.rows) >= CHUNK_ROWS_MAX:
                break
        if not taken:
            return 0
        self._write_rows(chunk)
        position = self._progress.ledger_position
        if chunk.events:
            self._append_events(chunk)
            self._settle_waiting(chunk)
            position = self._write_marks()
        self._progress = chunk.record.progress = replace(
            self._progress,
            bookmark=taken[-1].offset,
            bookmark_ns=taken[-1].record_time_ns,
            log_head=self._messages.head(),
            ledger_position=position,
            updated_ns=self._clock(),
        )
        self._book.commit(chunk.record)
        _say_quarantined(chunk.record.quarantined)
        return len(taken)

    def _refuse_other_files(self) -> None:
        """Raises StoreRefused: the log or the ledger is not the one that the book speaks of; much would be skipped."""
        progress = self._progress
        last = self._messages.read(progress.bookmark - 1, 1) if progress.bookmark else []
        if progress.bookmark and [message.record_time_ns for message in last] != [progress.bookmark_ns]:
            raise StoreRefused(
                f"{self._messages.path}: got another message log than the one that was recorded up to message"
                f" {progress.bookmark}; put that one back, or move {self._book.path} aside and record this one whole"
            )
        event = next(self._ledger.events(after=progress.ledger_position - 1), None)
        if progress.ledger_position and (event is None or event.position != progress.ledger_position):
            raise StoreRefused(
                f"event ledger: got no event {progress.ledger_position}, which was recorded; put that ledger back, or"
                f" move {self._book.path} aside and record the message log whole"
            )

    def _read(self) -> list[Message]:
        messages: list[Message] = []
        size = 0
        while len(messages) < CHUNK_MESSAGES_MAX and size < CHUNK_BYTES_MAX:
            after = messages[-1].offset if messages else self._progress.bookmark
            more = self._messages.read(after, READ_MESSAGES)
            messages += more
            size += sum(len(message.payload) for message in more)
            if len(more) < READ_MESSAGES:
                break
        return messages

    def _append_events(self, chunk: Chunk) -> None:
        for event in chunk.events:
            try:
                admission = self._patience.until_done(partial(self._append, event))
            except EventRefused as refused:
                chunk.quarantine(event.message, event.device, reason=EVENT_REFUSED, words=str(refused))
                continue
            if admission is Admission.WAITING:
                chunk.record.waiting.append(
                    WaitingEvent(offset=event.message.offset, device=event.device, event_id=event.event.event_id)
                )
            else:
                chunk.record.device(event.device).stored += 1

    def _append(self, event: PendingEvent) -> Admission:
        return self._ledger.append(event.body, record_time_ns=event.message.record_time_ns)

    def _settle_waiting(self, chunk: Chunk) -> None:
        """Events that the ledger held: those that it has taken meanwhile, and those that it refused at last."""
        waiting = [*self._book.waiting(), *chunk.record.waiting]
        if not waiting:
            return
        held = {event.event_id: event for event in self._patience.until_done(self._ledger.held)}
        for event in waiting:
            still = held.get(event.event_id)
            if still is not None and not still.refused:
                continue
            chunk.record.settled.append(event.offset)
            if still is None:
                chunk.record.device(event.device).stored += 1
            else:
                (message,) = self._messages.read(event.offset - 1, 1)
                chunk.quarantine(message, event.device, reason=EVENT_REFUSED, words=still.reason)

    def _write_marks(self) -> int:
        """Mark the runs of the ledger's events since the last commit, also of those that had waited. The new position.

        A mark is drawn, never summed: one that the store refuses is said in the log, and the ledger still has it.
        """
        marks, position = self._patience.until_done(self._new_marks)
        for mark, words in self._refused(marks, lambda some: self._store.write((), some)):
            _log.error("run mark refused", run=mark.run, line=mark.line, words=words)
        return position

    def _new_marks(self) -> tuple[list[RunMark], int]:
        marks: list[RunMark] = []
        position = self._progress.ledger_position
        for stored in self._ledger.events(after=position):
            position = stored.position
            event = parse_event(stored.body)
            if isinstance(event, RunStarted | RunClosed):
                marks.append(run_mark(event, self._ledger.chain()))
        return marks, position

    def _write_rows(self, chunk: Chunk) -> None:
        rows = [pending for pending in chunk.rows if pending.row.values]
        by_message: dict[int, list[Refusal[PendingRow]]] = defaultdict(list)
        for refusal in self._refused(rows, lambda some: self._store.write([pending.row for pending in some])):
            by_message[refusal[0].message.offset].append(refusal)
        for refusals in by_message.values():
            (pending, words), count = refusals[0], len(refusals)
            chunk.record.device(pending.device).stored -= count
            chunk.quarantine(pending.message, pending.device, reason=STORE_REFUSED, words=words, rows=count)

    def _refused(self, items: Sequence[Item], write: Callable[[Sequence[Item]], None]) -> list[Refusal[Item]]:
        """Write all; those that the store refuses. A store that refuses as a whole (credentials, bucket) is awaited."""

        def write_or_isolate() -> list[Refusal[Item]]:
            try:
                write(items)
            except StoreRefused:
                self._store.check()
                refused = list(_isolate(items, write))
                self._store.check()  # or else what it refused meanwhile as a whole would be taken for bad items
                return refused
            return []

        return self._patience.until_done(write_or_isolate) if items else []

    def _note(self, problem: str | None) -> None:
        """Write down that the recorder lives, and why it waits if it does."""
        now_ns = self._clock()
        if problem == self._progress.store_problem and now_ns - self._progress.updated_ns < HEARTBEAT_NS:
            return
        if problem is not None:
            _log.warning("waiting for a store", problem=problem)
        elif self._progress.store_problem is not None:
            _log.info("the store answers again", lag=self._messages.head() - self._progress.bookmark)
        self._progress = replace(
            self._progress, log_head=self._messages.head(), store_problem=problem, updated_ns=now_ns
        )
        self._book.note(self._progress)


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


def _say_quarantined(quarantined: Sequence[Quarantined]) -> None:
    """One line a device and reason, with the first one's words: a flood of bad messages is no flood of lines."""
    counts = Counter((refused.device, refused.reason) for refused in quarantined)
    words = {(refused.device, refused.reason): refused.message for refused in reversed(quarantined)}
    for (device, reason), messages in counts.items():
        _log.warning("quarantined", device=device, reason=reason, messages=messages, words=words[device, reason])


def run_mark(event: RunStarted | RunClosed, chain: Chain) -> RunMark:
    """What the line does from this event on. A closing may leave another run of the same line under way."""
    if isinstance(event, RunStarted):
        return RunMark(
            line=event.line,
            time_ns=event.event_time_ns,
            state=STATE_RUNNING,
            run=event.run,
            lot=event.lot,
            recipe=event.recipe,
        )
    time_ns = event.event_time_ns
    under_way = [
        run
        for run in chain.runs.values()
        if run.line == event.line and run.start_ns <= time_ns and (run.stop_ns is None or run.stop_ns > time_ns)
    ]
    latest = max(under_way, key=lambda run: run.start_ns, default=None)
    return RunMark(
        line=event.line,
        time_ns=time_ns,
        state=STATE_IDLE if latest is None else STATE_RUNNING,
        run=event.run if latest is None else latest.id,
        lot="" if latest is None else latest.lot,
        recipe="" if latest is None else latest.recipe,
    )
