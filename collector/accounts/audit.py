"""Is everything there? Per device: published = stored + quarantined + waiting (+ written off), or it does not close.

The two sides are counted apart. Published comes from the numbers that the device itself gave its rows: from 0 to the
highest one seen, for each boot. The other side is what the recorder did with each row that reached it. A message so
broken that its number cannot be read stands for one of the missing numbers, or else for itself. What takes no number (a
refused state, a row of a device that does not number) stands for itself. So does all that comes from a device that the
plant does not have: what a stranger numbers proves nothing, and one stray message leaves no account open.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from collector.accounts.book import AccountBook
from collector.accounts.union import Boot, NumberedBook, overlaps, united
from collector.accounts.write_offs import WriteOff, latest_of_each, read_write_offs, write_offs_path
from collector.recorder.book import DeviceCounts
from collector.recorder.numbers import Span
from filiere.clock import NS_PER_S
from filiere.readings import UNKNOWN_DEVICE

NO_DEVICE = UNKNOWN_DEVICE
"""Stands for all messages whose topic names no device that the plant has."""
STRANGER_REASONS = frozenset({"unknown_device", "wrong_topic", "unbound_topic"})
"""A device of which nothing was ever recorded, and all was refused for one of these, is a stranger."""
SILENT_S_MAX = 30.0
"""A recorder that lives says so every few seconds."""
GAPS_LISTED = 20
"""Gaps of a device that an account lists; `missing` counts all of them."""
_ADDED = ("stored", "duplicates", "late", "clock_suspect", "out_of_range", "unnumbered")
"""Counts of a device that add up over the books of several collectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Numbers that a device must have given and that never arrived."""

    boot: str
    first: int
    last: int


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
    written_off: int = 0
    """Numbers that never arrived, and that a person declared lost."""
    missing: int
    """The other numbers that the device gave and that never arrived; 0 where the account closes."""
    duplicates: int
    """Sent again, dropped; on neither side."""
    late: int
    clock_suspect: int
    out_of_range: int
    unnumbered: int = 0
    """Published rows that take no number: whether more of them were sent cannot be known."""
    unreadable: int = 0
    """Messages whose number cannot be read: each stands for a missing one, or else for itself."""
    reasons: Mapping[str, int]
    """Why rows are in quarantine: reason → rows."""
    gaps: tuple[Gap, ...] = ()
    """The first GAPS_LISTED runs of missing numbers, by boot."""
    skew_s: float
    """record_time − event_time of the last row, s: how far behind its clock or its line is."""
    last_record_ns: int
    """When the device was last heard, UTC ns."""
    state: str
    """`online`, `offline`, or empty when it never said."""

    @property
    def closes(self) -> bool:
        """Whether published = stored + quarantined + waiting + written off."""
        return self.published == self.stored + self.quarantined + self.waiting + self.written_off


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderState:
    """Where the recorder is, for other processes."""

    bookmark: int
    """Offset of the last message that is done."""
    log_head: int
    """Offset of the last message that it saw in the log."""
    quarantined: int
    """Messages in quarantine."""
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

    def is_silent(self, now_ns: int) -> bool:
        """Whether the recorder that left this is gone or hangs."""
        return now_ns - self.updated_ns > SILENT_S_MAX * NS_PER_S


@dataclass(slots=True, kw_only=True)
class _Sides:
    """What the books say of one device."""

    seen: int = 0
    """Numbers that arrived."""
    up_to: int = 0
    """Numbers from 0 to the highest seen, over all boots."""
    counts: DeviceCounts = field(default_factory=DeviceCounts)
    reasons: Counter[str] = field(default_factory=Counter)
    by_number: Counter[bool | None] = field(default_factory=Counter)
    """Refused rows: with a number, with one that cannot be read (False), of what takes none (None)."""
    waiting: int = 0
    given_up: int = 0
    """Numbers that never arrived, within what was written off."""
    gaps: list[Gap] = field(default_factory=list)


def audit(*recorder_paths: Path, gaps: bool = True) -> tuple[DeviceAccount, ...]:
    """The account of every device that was ever heard, of one instant, in alphabetical order, strangers last.

    Without `gaps` those of one book are not listed, which is faster.

    The books of several collectors are added up by union: a number that two of them have is one published row, and
    the second time that it came is a duplicate. So an account closes over the move of a line from one to the other.

    Raises:
        StoreUnavailable: no recorder has run in one of these data folders yet.
        StoreRefused: a file is not a recorder's book.
    """
    if len(recorder_paths) == 1:
        with AccountBook.open_reader(recorder_paths[0]) as book, book.snapshot():
            return account_of(book, gaps=gaps, write_offs=read_write_offs(write_offs_path(recorder_paths[0])))
    sides: dict[str, _Sides] = defaultdict(_Sides)
    numbers, keys = [], Counter[tuple[str, bytes]]()
    for path in recorder_paths:
        with AccountBook.open_reader(path) as book, book.snapshot():
            for device, of_book in _sides(book).items():
                _add(sides[device], of_book)
            numbers.append(_numbered(book))
            keys.update(book.foreign_keys())
    _unite(sides, numbers, [each for path in recorder_paths for each in read_write_offs(write_offs_path(path))])
    for (device, _), books in keys.items():
        _count_again(sides[device].counts, books - 1)
    return _accounts(sides)


def account_of(
    book: AccountBook, *, gaps: bool = False, write_offs: Sequence[WriteOff] = ()
) -> tuple[DeviceAccount, ...]:
    """The account of every device of an open book; with `gaps` the gaps are listed, which takes longer.

    To be called inside `book.snapshot()`.
    """
    sides = _sides(book)
    for device, boot, (first, last) in book.gaps(GAPS_LISTED) if gaps else ():
        sides[device].gaps.append(Gap(boot=boot, first=first, last=last))
    for (device, boot), write_off in latest_of_each(write_offs).items():
        if device in sides:
            sides[device].given_up += book.missing_up_to(device, boot, write_off.up_to)
    return _accounts(sides)


def recorder_state(recorder_path: Path) -> RecorderState:
    """Where the recorder is. Raises as `audit`."""
    with AccountBook.open_reader(recorder_path) as book, book.snapshot():
        progress = book.progress()
        return RecorderState(
            bookmark=progress.bookmark,
            log_head=progress.log_head,
            quarantined=book.refused_messages(),
            waiting=book.waiting_counts().total(),
            store_problem=progress.store_problem,
            updated_ns=progress.updated_ns,
        )


def _sides(book: AccountBook) -> dict[str, _Sides]:
    sides = {device: _Sides(counts=counts) for device, counts in book.counts().items()}
    for device, (seen, up_to) in book.published().items():
        sides.setdefault(device, _Sides()).seen = seen
        sides[device].up_to = up_to
    for (device, reason, numbered), rows in book.quarantine_counts().items():
        of_device = sides.setdefault(device, _Sides())
        of_device.reasons[reason] += rows
        of_device.by_number[numbered] += rows
    for device, events in book.waiting_counts().items():
        sides.setdefault(device, _Sides()).waiting = events
    return sides


def _add(sum_: _Sides, more: _Sides) -> None:
    """Add what another book says of a device. What is counted twice is taken off by `_unite`."""
    newer, older = sorted((sum_.counts, more.counts), key=lambda counts: counts.last_record_ns, reverse=True)
    sum_.counts = DeviceCounts(
        **{each: getattr(newer, each) + getattr(older, each) for each in _ADDED},
        last_event_ns=max(newer.last_event_ns, older.last_event_ns),
        last_record_ns=newer.last_record_ns,
        skew_ns=newer.skew_ns,
        state=newer.state or older.state,
    )
    sum_.reasons += more.reasons
    sum_.by_number += more.by_number
    sum_.waiting += more.waiting


def _numbered(book: AccountBook) -> NumberedBook:
    seen: dict[Boot, list[Span]] = defaultdict(list)
    for device, boot, span in book.spans():
        seen[device, boot].append(span)
    refused: dict[Boot, list[tuple[Span, str]]] = defaultdict(list)
    for device, boot, span, reason in book.refused_numbers():
        refused[device, boot].append((span, reason))
    return NumberedBook(seen=seen, refused=refused)


def _unite(sides: Mapping[str, _Sides], books: Sequence[NumberedBook], write_offs: Sequence[WriteOff]) -> None:
    """Count each number once."""
    given_up = latest_of_each(write_offs)
    for each in sides.values():
        each.seen = each.up_to = 0
    for (device, boot), numbers in sorted(united(books).items()):
        of_device, after = sides[device], -1
        for first, last in numbers.spans:
            if first > after + 1 and len(of_device.gaps) < GAPS_LISTED:
                of_device.gaps.append(Gap(boot=boot, first=after + 1, last=first - 1))
            of_device.seen += last - first + 1
            after = last
        of_device.up_to += after + 1
        if (device, boot) in given_up:
            up_to = given_up[device, boot].up_to
            of_device.given_up += (
                up_to + 1 - sum(min(last, up_to) - first + 1 for first, last in numbers.spans if first <= up_to)
            )
    for device, overlap in overlaps(books).items():
        of_device = sides[device]
        of_device.counts.stored -= overlap.stored
        of_device.counts.duplicates += overlap.rows
        of_device.reasons -= overlap.refused
        of_device.by_number[True] -= overlap.refused.total()


def _count_again(counts: DeviceCounts, times: int) -> None:
    """A row without a number that other books have too is one row."""
    counts.stored -= times
    counts.unnumbered -= times
    counts.duplicates += times


def _accounts(sides: Mapping[str, _Sides]) -> tuple[DeviceAccount, ...]:
    """Strangers last, in one account."""
    strangers = {device: each for device, each in sides.items() if not device or _is_stranger(each)}
    accounts = [_account(device, each) for device, each in sorted(sides.items()) if device not in strangers]
    if strangers:
        together = _Sides()
        for each in strangers.values():
            _add(together, each)
        accounts.append(_account_of_strangers(together))
    return tuple(accounts)


def _is_stranger(sides: _Sides) -> bool:
    counts = sides.counts
    heard_rightly = counts.stored or counts.state or counts.last_event_ns or sides.waiting
    return not heard_rightly and bool(sides.reasons) and sides.reasons.keys() <= STRANGER_REASONS


def _account(device: str, sides: _Sides) -> DeviceAccount:
    gaps, unreadable = sides.up_to - sides.seen, sides.by_number[False]
    never_came = max(gaps - unreadable, 0)
    written_off = min(sides.given_up, never_came)
    unnumbered = sides.counts.unnumbered + sides.by_number[None]
    return _with_counts(
        device,
        sides,
        published=sides.seen + max(gaps, unreadable) + unnumbered,
        written_off=written_off,
        missing=never_came - written_off,
        unnumbered=unnumbered,
    )


def _account_of_strangers(sides: _Sides) -> DeviceAccount:
    sides.gaps.clear()
    refused = sides.reasons.total()
    return _with_counts(NO_DEVICE, sides, published=refused, written_off=0, missing=0, unnumbered=refused)


def _with_counts(
    device: str, sides: _Sides, *, published: int, written_off: int, missing: int, unnumbered: int
) -> DeviceAccount:
    counts = sides.counts
    return DeviceAccount(
        device=device,
        published=published,
        stored=counts.stored,
        quarantined=sides.reasons.total(),
        waiting=sides.waiting,
        written_off=written_off,
        missing=missing,
        duplicates=counts.duplicates,
        late=counts.late,
        clock_suspect=counts.clock_suspect,
        out_of_range=counts.out_of_range,
        unnumbered=unnumbered,
        unreadable=0 if device == NO_DEVICE else sides.by_number[False],
        reasons=dict(sorted(sides.reasons.items())),
        gaps=tuple(sides.gaps),
        skew_s=counts.skew_ns / NS_PER_S,
        last_record_ns=counts.last_record_ns,
        state=counts.state,
    )
