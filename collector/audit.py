"""Is everything there? Per device: published = stored + quarantined + waiting, or the account does not close.

The two sides are counted apart. Published comes from the numbers that the device itself gave its rows: from 0 to the
highest one seen, for each boot. The other side is what the recorder did with each row that reached it. A message so
broken that its number cannot be read stands for one of the missing numbers, or else for itself. A refused state, which
takes no number, stands for itself.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from collector.record_book import DeviceCounts, RecordBook

NO_DEVICE = "?"
"""Stands for messages whose topic names no device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceAccount:
    """What one device published and what became of it, in rows (an event is one)."""

    device: str
    """`caux/textile/t1/extruder`."""
    published: int
    stored: int
    quarantined: int
    waiting: int
    """Events that the ledger holds until what they name has arrived."""
    missing: int
    """Numbers that the device gave and that never arrived; 0 where the account closes."""
    duplicates: int
    """Sent again, dropped; on neither side."""
    late: int
    clock_suspect: int
    out_of_range: int
    reasons: Mapping[str, int]
    """Why rows are in quarantine: reason → rows."""
    skew_s: float
    """record_time − event_time of the last row, s: how far behind its clock or its line is."""
    last_record_ns: int
    """When the device was last heard, UTC ns."""
    state: str
    """`online`, `offline`, or empty when it never said."""

    @property
    def closes(self) -> bool:
        """Whether published = stored + quarantined + waiting."""
        return self.published == self.stored + self.quarantined + self.waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderState:
    """Where the recorder is, for other processes."""

    bookmark: int
    """Offset of the last message that is done."""
    log_head: int
    """Offset of the last message that it saw in the log."""
    quarantined: int
    """Rows in quarantine."""
    waiting: int
    """Events that the ledger holds."""
    store_problem: str | None
    """Why it waits; None = all is well."""
    updated_ns: int
    """When it last said so, UTC ns: at most some ten seconds old while it lives."""

    @property
    def log_lag(self) -> int:
        """Messages that are on the disk and not recorded yet."""
        return self.log_head - self.bookmark


def audit(recorder_path: Path) -> tuple[DeviceAccount, ...]:
    """The account of every device that was ever heard, of one instant, in alphabetical order.

    Raises:
        StoreUnavailable: no recorder has run in this data folder yet.
        StoreRefused: the file is not a recorder's book.
    """
    with RecordBook.open_reader(recorder_path) as book, book.snapshot():
        numbers = book.published()
        refused = book.quarantine_counts()
        waiting = Counter(event.device for event in book.waiting())
        return tuple(
            _account(device, counts, numbers.get(device, (0, 0)), refused, waiting[device])
            for device, counts in book.counts().items()
        )


def recorder_state(recorder_path: Path) -> RecorderState:
    """Where the recorder is. Raises as `audit`."""
    with RecordBook.open_reader(recorder_path) as book, book.snapshot():
        progress = book.progress()
        return RecorderState(
            bookmark=progress.bookmark,
            log_head=progress.log_head,
            quarantined=sum(book.quarantine_counts().values()),
            waiting=len(book.waiting()),
            store_problem=progress.store_problem,
            updated_ns=progress.updated_ns,
        )


def _account(
    device: str,
    counts: DeviceCounts,
    numbers: tuple[int, int],
    refused: Mapping[tuple[str, str, bool | None], int],
    waiting: int,
) -> DeviceAccount:
    seen, up_to = numbers
    reasons: Counter[str] = Counter()
    by_number: Counter[bool | None] = Counter()
    for (of_device, reason, numbered), rows in refused.items():
        if of_device == device:
            reasons[reason] += rows
            by_number[numbered] += rows
    gaps, unnumbered = up_to - seen, by_number[False]
    return DeviceAccount(
        device=device or NO_DEVICE,
        published=seen + max(gaps, unnumbered) + by_number[None],
        stored=counts.stored,
        quarantined=reasons.total(),
        waiting=waiting,
        missing=max(gaps - unnumbered, 0),
        duplicates=counts.duplicates,
        late=counts.late,
        clock_suspect=counts.clock_suspect,
        out_of_range=counts.out_of_range,
        reasons=dict(sorted(reasons.items())),
        skew_s=counts.skew_ns / 1e9,
        last_record_ns=counts.last_record_ns,
        state=counts.state,
    )
