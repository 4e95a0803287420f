"""Pruning the message log: what is recorded and older than the retention goes, a little at a time; so does the space.

Called by the intake, the log's only writer, between two batches. A step is one short transaction, sized by how long the
last one took: no acknowledgement waits longer for it than PRUNE_S_MAX.
"""

import time
from collections.abc import Callable
from pathlib import Path

import structlog

from collector.recorder.book import RecordBook
from filiere.clock import NS_PER_S, Clock, system_clock
from filiere.errors import FiliereError
from filiere.message_log import MessageLog
from filiere.settings import Settings

PRUNE_S_MAX = 0.05
"""What a step may take on an ordinary disk."""
PRUNE_S_AIM = 0.01
"""Steps are made so large that they take this long; the rest is for a disk that is slow at times."""
PRUNED_MAX = 2_000
PRUNED_MIN = 10
PAGES_MAX = 500
"""Pages given back in one step, at most."""
PAGES_MIN = 8
LOOK_S = 2.0
"""How long after one that found nothing the next step looks again."""
DAY_NS = 24 * 3600 * NS_PER_S

_log = structlog.get_logger(__name__)


class Pruner:
    """Deletes what every reader is past and nobody will want to read again."""

    def __init__(
        self,
        *,
        log: MessageLog,
        bookmarks: Callable[[], int | None],
        retention_days: float,
        clock: Clock,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """`bookmarks` gives the lowest offset that some reader still stands at; None = not known: nothing is pruned."""
        self._messages = log
        self._bookmarks = bookmarks
        self._retention_ns = int(retention_days * DAY_NS)
        self._clock = clock
        self._timer = timer
        self._deletes = _Size(PRUNED_MIN, PRUNED_MAX)
        self._pages = _Size(PAGES_MIN, PAGES_MAX)
        self._look_at_s = 0.0
        self._pruned = 0

    def step(self) -> bool:
        """Do a little, if there is something to do. Whether there is more to do at once.

        Raises StoreUnavailable, StoreRefused: the log cannot be written; nothing was lost.
        """
        now_s = self._timer()
        if now_s < self._look_at_s:
            return False
        self._look_at_s = now_s + LOOK_S
        if self._prune() or self._give_back():
            self._look_at_s = 0.0
            return True
        if self._pruned:
            _log.info("message log pruned", messages=self._pruned, first=self._messages.first())
            self._pruned = 0
        return False

    def _prune(self) -> bool:
        bookmark = self._bookmarks()
        if bookmark is None:
            return False
        start_s, now_ns = self._timer(), self._clock()
        older_than_ns = now_ns - self._retention_ns
        pruned = self._messages.prune(bookmark, self._deletes.now, older_than_ns=older_than_ns)
        if not pruned:
            pruned = self._messages.prune(
                min(bookmark, self._behind_the_future(older_than_ns, now_ns)), self._deletes.now
            )
        if pruned:
            self._pruned += pruned
            self._deletes.learn(self._timer() - start_s)
        return pruned > 0

    def _behind_the_future(self, older_than_ns: int, now_ns: int) -> int:
        """Where the log begins with times that are still to come, from a clock that ran ahead: the offset before which
        all arrived earlier than a message that is old. Else 0.
        """
        first = self._messages.read(0, 1)
        if not first or first[0].record_time_ns <= now_ns:
            return 0
        cut = self._messages.offset_at(older_than_ns, now_ns=now_ns)
        (last,) = self._messages.read(cut - 2, 1)
        return cut if last.record_time_ns < older_than_ns else 0

    def _give_back(self) -> bool:
        start_s = self._timer()
        left = self._messages.give_back(self._pages.now)
        if left:
            self._pages.learn(self._timer() - start_s)
        return left > 0


class _Size:
    """How much one step does: less after one that took too long, more after a short one."""

    def __init__(self, smallest: int, largest: int) -> None:
        self.now = smallest
        self._smallest, self._largest = smallest, largest

    def learn(self, took_s: float) -> None:
        if took_s > PRUNE_S_AIM:
            self.now = max(self._smallest, self.now // 2)
        else:
            self.now = min(self._largest, self.now + self.now // 4 + 1)


def pruner_of(settings: Settings, log: MessageLog, *, clock: Clock = system_clock) -> Pruner:
    """The pruner of a data folder: behind the recorder's bookmark, as long back as the settings say."""
    return Pruner(
        log=log,
        bookmarks=lambda: recorded_up_to(settings.recorder_path),
        retention_days=settings.log_retention_days,
        clock=clock,
    )


def recorded_up_to(book_path: Path) -> int | None:
    """The recorder's bookmark: its message and those above are still to be read. None = no book that can be read."""
    try:
        with RecordBook.open_reader(book_path) as book:
            return book.progress().bookmark or None
    except FiliereError:
        return None
