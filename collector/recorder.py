"""The recorder: reads the message log from its bookmark, and brings every message to the stores or to quarantine.

A chunk goes: read, judge, events to the ledger, rows and run marks to the readings store, one commit in the book. A
kill between any two of these repeats the chunk, and every store keeps one of two equal things.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from random import Random

import structlog

from collector.codec import TIME_NS_MAX
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
CHUNK_BYTES_MAX = 16 * 1024 * 1024
READ_MESSAGES = 256
"""Messages of one read from the log: a chunk ends at the first read that takes it over CHUNK_BYTES_MAX."""
IDLE_WAIT_S = 0.05
HEARTBEAT_NS = 2 * NS_PER_S
"""How often the book says that the recorder lives, when nothing else is written."""

Refusal = tuple[PendingRow, str]
"""A row that the store will not take, and the store's words."""

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
        _log.info("recorder ready", store=self._store.name, bookmark=self._progress.bookmark)
        try:
            while not self._stop.is_set():
                if self.step() == 0:
                    self._note(None)
                    self._stop.wait(IDLE_WAIT_S)
        except Stopped:
            _log.info("recorder stopped while it waited", bookmark=self._progress.bookmark)

    def step(self) -> int:
        """Record one chunk. Returns its number of messages; 0 at the head of the log. Raises as `run`, and Stopped."""
        messages = self._read()
        if not messages:
            return 0
        chunk = Chunk(placement=self._placement, book=self._book, progress=self._progress)
        chunk.take(messages)
        marks: list[RunMark] = []
        position = self._progress.ledger_position
        if chunk.events:
            self._append_events(chunk)
            self._settle_waiting(chunk)
            marks, position = self._patience.until_done(self._new_marks)
        self._write(chunk, marks)
        self._progress = chunk.record.progress = replace(
            self._progress,
            bookmark=messages[-1].offset,
            log_head=self._messages.head(),
            ledger_position=position,
            updated_ns=self._clock(),
        )
        self._book.commit(chunk.record)
        _say_quarantined(chunk.record.quarantined)
        return len(messages)

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

    def _new_marks(self) -> tuple[list[RunMark], int]:
        """Run marks of the ledger's events since the last commit, also of those that had waited; the new position."""
        marks: list[RunMark] = []
        position = self._progress.ledger_position
        for stored in self._ledger.events(after=position):
            position = stored.position
            event = parse_event(stored.body)
            # the time of an event may be one that no readings store can hold
            if isinstance(event, RunStarted | RunClosed) and abs(event.event_time_ns) <= TIME_NS_MAX:
                marks.append(run_mark(event, self._ledger.chain()))
        return marks, position

    def _write(self, chunk: Chunk, marks: Sequence[RunMark]) -> None:
        rows = [pending for pending in chunk.rows if pending.row.values]
        if not rows and not marks:
            return
        by_message: dict[int, list[Refusal]] = defaultdict(list)
        for refusal in self._patience.until_done(lambda: self._write_or_isolate(rows, marks)):
            by_message[refusal[0].message.offset].append(refusal)
        for refusals in by_message.values():
            (pending, words), count = refusals[0], len(refusals)
            chunk.record.device(pending.device).stored -= count
            chunk.quarantine(pending.message, pending.device, reason=STORE_REFUSED, words=words, rows=count)

    def _write_or_isolate(self, rows: Sequence[PendingRow], marks: Sequence[RunMark]) -> list[Refusal]:
        """Write all; the rows that the store refuses, with its words.

        Raises StoreUnavailable; StoreRefused when it is the store as a whole that refuses (credentials, bucket).
        """
        try:
            self._store.write([pending.row for pending in rows], marks)
        except StoreRefused as refused:
            self._store.check()
            for mark in marks:
                self._write_mark(mark)
            return list(self._isolate(rows, str(refused)))
        return []

    def _isolate(self, rows: Sequence[PendingRow], words: str) -> Iterator[Refusal]:
        """Rows that were refused together, halved until each refused one stands alone."""
        if len(rows) == 1:
            yield rows[0], words
            return
        middle = len(rows) // 2
        for half in (rows[:middle], rows[middle:]):
            try:
                self._store.write([pending.row for pending in half])
            except StoreRefused as refused:
                yield from self._isolate(half, str(refused))

    def _write_mark(self, mark: RunMark) -> None:
        """A mark is drawn, never summed: one that the store refuses is said in the log, and the ledger still has it."""
        try:
            self._store.write((), [mark])
        except StoreRefused as refused:
            _log.error("run mark refused", run=mark.run, line=mark.line, words=str(refused))

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
