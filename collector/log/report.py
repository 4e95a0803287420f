"""How the message log stands: what it holds, how far it is recorded, what room is left and for how long."""

from dataclasses import dataclass

from collector.condition import room
from collector.recorder.book import RecordBook
from filiere.clock import NS_PER_S, Clock
from filiere.errors import FiliereError
from filiere.message_log import MessageLog, Unreadable
from filiere.settings import Settings

RATE_NS = 600 * NS_PER_S
"""The present rate is that of the last ten minutes."""
DAY_S = 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReport:
    """What `filiere log info` says."""

    path: str
    first: int
    """Offset of the oldest message that is kept; 0 = the log is empty."""
    head: int
    """Offset of the newest one."""
    first_time_ns: int | None
    last_time_ns: int | None
    bookmark: int | None
    """Offset of the last message that is recorded; None = there is no recorder's book."""
    log_bytes: int
    disk_free_bytes: int
    messages_per_s: float
    bytes_per_s: float
    retention_days: float
    full_in_s: float | None
    """When the disk will be full at the present rate, s; None = never: pruning keeps pace, or nothing arrives."""
    lost: tuple[Unreadable, ...]
    """What was not there any more when the log was repaired."""

    @property
    def messages(self) -> int:
        """How many are kept."""
        missing = sum((span.last or span.first) - span.first + 1 for span in self.lost if span.first > self.first)
        return self.head - self.first + 1 - missing if self.head else 0

    @property
    def lag(self) -> int | None:
        """Messages that are not recorded yet."""
        return None if self.bookmark is None else max(0, self.head - self.bookmark)


def log_report(settings: Settings, clock: Clock) -> LogReport:
    """Read it all from the data folder. Raises StoreUnavailable, StoreRefused: the log cannot be read."""
    now_ns = clock()
    with MessageLog.open_reader(settings.log_path) as log:
        first, head = log.first(), log.head()
        first_ns, last_ns = _time_ns(log, first), _time_ns(log, head)
        window_ns = min(RATE_NS, max(NS_PER_S, now_ns - (first_ns or now_ns)))
        recent = head + 1 - log.offset_at(now_ns - window_ns) if head else 0
        lost = log.lost()
    space = room(settings)
    messages_per_s = max(0, recent) * NS_PER_S / window_ns
    bytes_per_s = messages_per_s * space.log_bytes / (head - first + 1) if head else 0.0
    return LogReport(
        path=str(settings.log_path),
        first=first,
        head=head,
        first_time_ns=first_ns,
        last_time_ns=last_ns,
        bookmark=_bookmark(settings),
        log_bytes=space.log_bytes,
        disk_free_bytes=space.disk_free_bytes,
        messages_per_s=messages_per_s,
        bytes_per_s=bytes_per_s,
        retention_days=settings.log_retention_days,
        full_in_s=_full_in_s(
            bytes_per_s,
            free=space.disk_free_bytes,
            age_s=(now_ns - (first_ns or now_ns)) / NS_PER_S,
            retention_s=settings.log_retention_days * DAY_S,
        ),
        lost=lost,
    )


def _full_in_s(bytes_per_s: float, *, free: int, age_s: float, retention_s: float) -> float | None:
    """The log grows until its first message is as old as the retention; then as much goes as comes."""
    if bytes_per_s <= 0.0:
        return None
    full_in_s = free / bytes_per_s
    return full_in_s if full_in_s < retention_s - age_s else None


def _time_ns(log: MessageLog, offset: int) -> int | None:
    messages = log.read(offset - 1, 1) if offset else []
    return messages[0].record_time_ns if messages else None


def _bookmark(settings: Settings) -> int | None:
    try:
        with RecordBook.open_reader(settings.recorder_path) as book:
            return book.progress().bookmark
    except FiliereError:
        return None
