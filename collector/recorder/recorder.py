"""The recorder: reads the message log from its bookmark, and brings every message to the stores or to quarantine.

A chunk goes: read, judge, rows to the readings store, events to the ledger, run marks to the readings store, one commit
in the book. A kill between any two of these repeats the chunk, and every store keeps one of two equal things. Rows go
first, so that who sees the closing of a run in the ledger finds the readings that were sent before it.
"""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from random import Random

import msgspec
import structlog

from collector.foreign.sources import ForeignSources
from collector.patience import Patience, Stopped
from collector.recorder.again import Again
from collector.recorder.book import ChunkRecord, Progress, Quarantined, RecordBook
from collector.recorder.judging import Chunk, FirstTime
from collector.recorder.plant_changes import line_of, plant_changes, signals_of
from collector.recorder.requests import Outcome, RequestFolder, Retry, Rewind
from collector.recorder.seen import Seen
from collector.recorder.validation import Placement
from collector.recorder.writing import Writing
from filiere.clock import NS_PER_S, Clock
from filiere.errors import StoreRefused, StoreUnavailable
from filiere.ledger import Ledger
from filiere.message_log import Message, MessageLog
from filiere.plant import Plant
from filiere.readings import AccountMark, Block
from filiere.readings_store import ReadingsStore

CHUNK_MESSAGES_MAX = 4096
CHUNK_BYTES_MAX = 4 * 1024 * 1024
CHUNK_ROWS_MAX = 20_000
"""A chunk ends at the first message that takes it over: small rows in large messages would fill the memory."""
READ_MESSAGES = 256
"""Messages of one read from the log: a chunk ends at the first read that takes it over CHUNK_BYTES_MAX."""
RETRY_MESSAGES = 64
"""Messages of the quarantine that are judged again between two chunks."""
IDLE_WAIT_S = 0.05
HEARTBEAT_NS = 2 * NS_PER_S
"""How often the book says that the recorder lives, when nothing else is written."""
MINUTE_NS = 60 * NS_PER_S
AGAIN_SAID_NS = 10 * NS_PER_S
"""How often the log says how far a rewind is."""

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
        requests: RequestFolder,
        account_marks: Callable[[int], Sequence[AccountMark]] | None = None,
    ) -> None:
        """`account_marks`: what is written for dashboards once a minute, for a time in ns."""
        self._plant = plant
        self._placement = Placement(plant)
        self._messages = log
        self._store = store
        self._book = book
        self._clock = clock
        self._stop = stop
        self._requests = requests
        self._account_marks = account_marks
        self._patience = Patience(stop=stop, random=random, note=self._note)
        self._writing = Writing(store=store, ledger=ledger, patience=self._patience)
        self._ledger = ledger
        self._seen = Seen(book)
        self._foreign = ForeignSources(plant, self._seen.births)
        self._progress = book.progress()
        self._retrying: tuple[str, Retry, int, Outcome] | None = None
        self._minute_ns = 0
        self._again_said_ns = 0

    def run(self) -> None:
        """Record until asked to stop. What is under way when that comes is finished, or done again at the next start.

        Raises StoreUnavailable, StoreRefused: the message log or the book itself fails.
        """
        try:
            self._patience.until_done(self._begin)
            _log.info("recorder ready", store=self._store.name, bookmark=self._progress.bookmark)
            while not self._stop.is_set():
                busy = self.step() + self._take_requests()
                self._each_minute()
                if not busy:
                    self._note(None)
                    self._stop.wait(IDLE_WAIT_S)
        except Stopped:
            _log.info("recorder stopped while it waited", bookmark=self._progress.bookmark)
        except (StoreUnavailable, StoreRefused) as problem:
            with suppress(StoreUnavailable, StoreRefused):  # it may be the book itself that fails
                self._note(str(problem))
            raise

    def _begin(self) -> None:
        """Take up the book where it was left. Raises StoreRefused: what it speaks of is not what is here."""
        self._rewind_if_asked()
        self._refuse_other_files()
        self._take_plant()
        if not self._progress.ledger_position:
            self._draw_marks_again()

    # one chunk

    def step(self) -> int:
        """Record one chunk. Returns its number of messages; 0 at the head of the log. Raises as `run`, and Stopped."""
        messages = self._read()
        if not messages:
            return 0
        first_time = messages[0].offset > self._progress.recorded_to
        chunk, taken = self._judge(messages, first_time=first_time, asked=False)
        last = messages[taken - 1]
        if first_time:
            chunk.record.progress = replace(self._progress, recorded_to=last.offset, recorded_ns=last.record_time_ns)
        else:
            self._say_again(last.offset)
        self._record(chunk, bookmark=last.offset)
        return taken

    def _read(self) -> list[Message]:
        """The next messages: all to be judged for the first time, or all to be judged again."""
        bookmark, recorded_to = self._progress.bookmark, self._progress.recorded_to
        messages: list[Message] = []
        size = 0
        while len(messages) < CHUNK_MESSAGES_MAX and size < CHUNK_BYTES_MAX:
            more = self._messages.read(messages[-1].offset if messages else bookmark, READ_MESSAGES)
            messages += more
            size += sum(len(message.payload) for message in more)
            if len(more) < READ_MESSAGES:
                break
        if bookmark < recorded_to:
            return [message for message in messages if message.offset <= recorded_to] or messages
        return messages

    def _judge(self, messages: Sequence[Message], *, first_time: bool, asked: bool) -> tuple[Chunk, int]:
        """A chunk of the first messages, and how many of them; `asked`: somebody chose them."""
        record = ChunkRecord(progress=self._progress)
        again = None
        if not first_time:
            earlier = self._book.earlier([message.offset for message in messages])
            again = Again(record, self._seen, earlier, asked=asked)
        chunk = Chunk(
            placement=self._placement,
            foreign=self._foreign,
            seen=self._seen,
            record=record,
            history=again or FirstTime(record, self._seen),
        )
        taken = 0
        for message in messages:
            taken += 1
            if again is None or again.takes_up(message):
                chunk.take(message)
            if chunk.rows >= CHUNK_ROWS_MAX:
                break
        return chunk, taken

    def _record(self, chunk: Chunk, *, bookmark: int) -> None:
        """Bring a chunk to the stores, then write it down."""
        blocks: list[Block] = list(chunk.judged())
        self._seen.write_to(chunk.record)
        self._writing.rows(chunk, blocks)
        position = self._progress.ledger_position
        if chunk.events:
            self._writing.events(chunk)
            self._writing.settle(chunk, self._book.waiting(), self._messages)
            position = self._writing.marks(position)
        self._progress = chunk.record.progress = replace(
            chunk.record.progress,
            bookmark=bookmark,
            log_head=self._log_head(),
            ledger_position=position,
            store_problem=None,
            updated_ns=self._clock(),
        )
        self._book.commit(chunk.record)
        self._seen.forget_some()
        _say_quarantined(chunk.record.quarantined)

    # what the book speaks of

    def _refuse_other_files(self) -> None:
        """Raises StoreRefused: the log or the ledger is not the one that the book speaks of; much would be skipped."""
        progress = self._progress
        if progress.recorded_to and not self._log_is_the_same(progress):
            raise StoreRefused(
                f"{self._messages.path}: got another message log than the one that was recorded up to message"
                f" {progress.recorded_to}; put that one back, or (if it is lost) stop `filiere collect` and run"
                " `filiere log repair`: it lets this one go on behind that message"
            )
        event = next(self._ledger.events(after=progress.ledger_position - 1), None)
        if progress.ledger_position and (event is None or event.position != progress.ledger_position):
            raise StoreRefused(
                f"event ledger: got no event {progress.ledger_position}, which was recorded; put that ledger back, or"
                f" move {self._book.path} aside and record the message log whole"
            )

    def _log_is_the_same(self, progress: Progress) -> bool:
        """Whether it has the message that was recorded last, or says that it lost it."""
        last = self._messages.read(progress.recorded_to - 1, 1)
        if last and last[0].offset == progress.recorded_to:
            return last[0].record_time_ns == progress.recorded_ns
        lost = [each for each in self._messages.lost() if each.first <= progress.recorded_to <= (each.last or 0)]
        if lost:
            _log.warning("messages were lost with a damaged log", first=lost[0].first, last=lost[0].last)
        return bool(lost)

    def _take_plant(self) -> None:
        """Go on by this plant model, and say what changed in it.

        Raises StoreRefused: a signal has another unit than its values in the readings store.
        """
        recorded, planned = self._book.recorded_signals(), signals_of(self._plant)
        changes = plant_changes(recorded, planned)
        stored = {line: {reading.key for reading in self._store.latest(line)} for line in map(line_of, changes.units)}
        for key, (before, now) in changes.units.items():
            if key.rpartition("/")[2] in stored[line_of(key)]:
                raise StoreRefused(
                    f"{key}: got unit {now} in the plant model; expected {before}, the unit of its values in the"
                    f" readings store: write {before} back (a device may state its own unit and is converted), or give"
                    " the new signal another id, or empty the old one in the store: see docs/plant-changes.md"
                )
        if changes and recorded:
            _log.info(
                "the plant model changed",
                new=list(changes.new),
                removed=list(changes.removed),
                units={key: list(pair) for key, pair in changes.units.items()},
                ranges={key: [list(limits) for limits in pair] for key, pair in changes.ranges.items()},
            )
        if changes or self._progress.plant_digest != self._plant.digest:
            self._progress = replace(self._progress, plant_digest=self._plant.digest)
            self._book.keep_plant(self._progress, planned.values())

    def _draw_marks_again(self) -> None:
        position = self._writing.marks(0)
        if position:
            self._progress = replace(self._progress, ledger_position=position, updated_ns=self._clock())
            self._book.note(self._progress)

    # what people ask

    def answer_requests(self) -> None:
        """Do all that was asked for, without recording what is new. Raises as `run`, and Stopped."""
        self._patience.until_done(self._begin)
        while self._take_requests():
            pass

    def _rewind_if_asked(self) -> bool:
        """Also while the recorder holds: it may be what ends it. Whether it was asked for, and can be."""
        rewound = False
        for name, request in self._requests.pending():
            if isinstance(request, Rewind):
                outcome = self.rewind(request.offset)
                self._requests.answer(name, outcome)
                rewound = rewound or outcome.problem is None
        return rewound

    def rewind(self, offset: int) -> Outcome:
        """Put the bookmark before message `offset`: all from there on is judged again."""
        progress = self._progress
        if not progress.repeats_from < offset <= progress.recorded_to:
            return Outcome(done=True, problem=_no_rewind(offset, progress))
        bookmark = max(offset, self._messages.first()) - 1
        # what was drawn of runs is drawn again too: the store may be a new one
        self._progress = replace(progress, bookmark=min(bookmark, progress.bookmark), ledger_position=0)
        self._book.note(self._progress)
        _log.info("rewound", bookmark=self._progress.bookmark, recorded_to=progress.recorded_to)
        return Outcome(done=True, total=self._progress.again)

    def _take_requests(self) -> int:
        """Do a part of what was asked for. Returns how many messages or requests that were; 0 = there is nothing."""
        if self._retrying is None:
            if self._rewind_if_asked():
                self._draw_marks_again()
            found = next(((name, each) for name, each in self._requests.pending() if isinstance(each, Retry)), None)
            if found is None:
                return 0
            name, retry = found
            total = self._book.quarantined_messages(device=retry.device, reason=retry.reason, offsets=retry.offsets)
            self._retrying = name, retry, 0, Outcome(done=False, total=total)
        return self._retry_some()

    def _retry_some(self) -> int:
        assert self._retrying is not None
        name, retry, after, outcome = self._retrying
        refused = list(
            self._book.quarantine(
                device=retry.device, reason=retry.reason, offsets=retry.offsets, after=after, limit=RETRY_MESSAGES
            )
        )
        if not refused or outcome.judged >= outcome.total:  # what was refused meanwhile was not asked for
            self._requests.answer(name, msgspec.structs.replace(outcome, done=True))
            self._retrying = None
            return 1
        messages = [Message(each.offset, each.topic, each.payload, each.record_time_ns) for each in refused]
        chunk, taken = self._judge(messages, first_time=False, asked=True)
        self._record(chunk, bookmark=self._progress.bookmark)
        outcome = msgspec.structs.replace(
            outcome, judged=outcome.judged + taken, left=outcome.left + len(chunk.record.quarantined)
        )
        self._requests.answer(name, outcome)
        self._retrying = name, retry, messages[taken - 1].offset, outcome
        return taken

    # what is said now and then

    def _each_minute(self) -> None:
        now_ns = self._clock()
        if 0 <= now_ns - self._minute_ns < MINUTE_NS:
            return
        self._minute_ns = now_ns
        self._book.forget_before(self._messages.first())
        if self._account_marks is not None:
            try:
                self._store.write((), accounts=self._account_marks(now_ns))
            except (StoreUnavailable, StoreRefused) as problem:  # the next minute draws them anew
                _log.warning("accounts not drawn", problem=str(problem))

    def _say_again(self, offset: int) -> None:
        now_ns = self._clock()
        if now_ns - self._again_said_ns >= AGAIN_SAID_NS or offset == self._progress.recorded_to:
            self._again_said_ns = now_ns
            _log.info("judging again", message=offset, up_to=self._progress.recorded_to)

    def _note(self, problem: str | None) -> None:
        """Write down that the recorder lives, and why it waits if it does."""
        now_ns = self._clock()
        if problem == self._progress.store_problem and now_ns - self._progress.updated_ns < HEARTBEAT_NS:
            return
        if problem is not None:
            _log.warning("waiting for a store", problem=problem)
        elif self._progress.store_problem is not None:
            _log.info("the store answers again", lag=self._log_head() - self._progress.bookmark)
        self._progress = replace(self._progress, log_head=self._log_head(), store_problem=problem, updated_ns=now_ns)
        self._book.note(self._progress)

    def _log_head(self) -> int:
        """Of a log whose end is damaged, the one that was seen last: all that lies before is recorded first."""
        try:
            return self._messages.head()
        except StoreRefused:
            return self._progress.log_head


def _no_rewind(offset: int, progress: Progress) -> str:
    if offset <= progress.repeats_from:
        return (
            f"got message {offset}; expected {progress.repeats_from + 1} or later: an earlier version recorded up to"
            f" {progress.repeats_from}, and did not write down what was sent twice"
        )
    return (
        f"got message {offset}; expected at most {progress.recorded_to}, the last that was recorded: what comes after"
        " it is recorded anyway"
    )


def _say_quarantined(quarantined: Sequence[Quarantined]) -> None:
    """One line a device and reason, with the first one's words: a flood of bad messages is no flood of lines."""
    counts = Counter((refused.device, refused.reason) for refused in quarantined)
    words = {(refused.device, refused.reason): refused.message for refused in reversed(quarantined)}
    for (device, reason), messages in counts.items():
        _log.warning("quarantined", device=device, reason=reason, messages=messages, words=words[device, reason])
