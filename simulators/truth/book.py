"""What the recorder's book says: what was refused, what never arrived, what was counted.

Everything is told in simulated time. A message's time of arrival is not that: a simulation that hurries arrives when
the wall clock says. So a row's number is looked up in the truth, which knows when it was measured.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress

from collector.accounts.audit import account_of
from collector.accounts.book import AccountBook
from collector.recorder.book import Quarantined
from collector.recorder.validation import TERMINAL
from filiere.clock import parse_time
from filiere.plant import Label
from simulators.faults.fault import FOREVER_NS, Layer
from simulators.truth.conclusion import Conclusion, Source, episodes
from simulators.truth.folder import Truth
from simulators.truth.readings import RowTimes
from simulators.truth.records import CycleTruth, FaultTruth
from simulators.truth.system import System

PAGE = 1_000
"""Refused messages that are held together."""
GAPS_MAX = 10_000
"""Gaps of a device that are looked up."""
COUNTED: Mapping[str, tuple[Label, frozenset[str]]] = {
    "duplicates": (
        Label(fr="reçus deux fois, laissés de côté", en="arrived twice, left out"),
        frozenset({"duplicate"}),
    ),
    "late": (
        Label(fr="en retard, enregistrés", en="late, recorded"),
        frozenset({"late", "out_of_order", "clock_skew", "clock_dst_jump"}),
    ),
    "clock_suspect": (
        Label(fr="datés de leur arrivée", en="dated by their arrival"),
        frozenset({"clock_1970", "clock_dst_jump", "clock_skew"}),
    ),
}
"""Counts of a device's account that a kind of fault raises. Nobody is called for them."""
MISSING = Label(fr="numéros jamais arrivés", en="numbers that never arrived")
REFUSED = Label(fr="refusé : {reason}", en="refused: {reason}")


def of_book(truth: Truth, system: System) -> list[Conclusion]:
    """What was refused, what never arrived, and what was only counted.

    Raises:
        StoreUnavailable, StoreRefused: the recorder's book is not there, or damaged.
    """
    if system.recorder_path is None:
        return []
    times = _Times(truth)
    with AccountBook.open_reader(system.recorder_path) as book, book.snapshot():
        found = [conclusion for refused in _quarantine(book) if (conclusion := _refused(refused, times)) is not None]
        for device, boot, (first, last) in book.gaps(GAPS_MAX):
            found += _gap(device, boot, first, last, times)
        for account in account_of(book):
            for count, (words, kinds) in COUNTED.items():
                if getattr(account, count):
                    found += _counted(account.device, getattr(account, count), words, kinds, truth)
    return episodes(found)


def _quarantine(book: AccountBook) -> Iterator[Quarantined]:
    """All that was refused, the oldest first: the first of a kind says when somebody could know."""
    last = -1
    while page := list(book.quarantine(limit=PAGE, after=last)):
        yield from page
        last = page[-1].offset


class _Times:
    """When a row was measured, by its number."""

    def __init__(self, truth: Truth) -> None:
        self.truth = truth
        self._rows: dict[tuple[str, str], list[RowTimes]] = {}
        """(device path, boot) → its rows, cycle after cycle; read when first asked for."""
        self._read: set[str] = set()

    def of_row(self, device_path: str, boot: str, seq: int) -> int | None:
        """UTC ns; None = the truth has no such row."""
        line = device_path.rpartition("/")[0]
        if line not in self._read and line in self.truth.lines:
            self._read.add(line)
            for cycle in self.truth.of_line(line):
                for (device, of_boot), rows in self.truth.numbers(cycle).items():
                    self._rows.setdefault((f"{line}/{device}", of_boot), []).append(rows)
        found = (rows.time_of(seq) for rows in self._rows.get((device_path, boot), ()))
        return next((time_ns for time_ns in found if time_ns is not None), None)


class Absorption:
    """Whether the network's faults did no harm: all that was measured and told meanwhile arrived."""

    def __init__(self, truth: Truth, system: System) -> None:
        self._truth = truth
        self._system = system

    def __call__(self, fault: FaultTruth) -> bool:
        """False of a fault of another layer, and where there is no book that says so."""
        if fault.layer is not Layer.NETWORK or self._system.recorder_path is None:
            return False
        stop_ns = FOREVER_NS if fault.stop_ns is None else fault.stop_ns
        cycles = [
            cycle
            for cycle in self._truth.of_line(fault.line)
            if cycle.start_ns < stop_ns and cycle.stop_ns > fault.start_ns
        ]
        with AccountBook.open_reader(self._system.recorder_path) as book:
            measured = all(self._measured(book, cycle, fault, stop_ns) for cycle in cycles)
        return measured and all(self._told(cycle, fault, stop_ns) for cycle in cycles)

    def _measured(self, book: AccountBook, cycle: CycleTruth, fault: FaultTruth, stop_ns: int) -> bool:
        """Every row that a device measured within the fault was seen by the recorder."""
        for (device, boot), rows in self._truth.numbers(cycle).items():
            if fault.device in ("", device):
                seen = book.numbers(f"{fault.line}/{device}", boot)
                if not all(seq in seen for seq in rows.between(fault.start_ns, stop_ns)):
                    return False
        return True

    def _told(self, cycle: CycleTruth, fault: FaultTruth, stop_ns: int) -> bool:
        """Every run that was closed within the fault is closed in the ledger."""
        if fault.device not in ("", TERMINAL):
            return True
        closed = [run.id for run in cycle.runs if fault.start_ns <= run.stop_ns < stop_ns]
        runs = self._system.chain.runs
        return all(run in runs and runs[run].closed for run in closed)


def _refused(refused: Quarantined, times: _Times) -> Conclusion | None:
    """None when it is of a line that was not simulated."""
    line, _, device = refused.device.rpartition("/")
    if line not in times.truth.lines:
        return None
    time_ns = _time_of(refused, times)
    start_ns, stop_ns = (time_ns, time_ns) if time_ns is not None else times.truth.span_ns(line)
    return Conclusion(
        source=Source.QUARANTINE,
        line=line,
        targets=(device,),
        start_ns=start_ns,
        stop_ns=stop_ns,
        known_ns=time_ns,
        words=Label(fr=REFUSED.fr.format(reason=refused.reason), en=REFUSED.en.format(reason=refused.reason)),
    )


def _time_of(refused: Quarantined, times: _Times) -> int | None:
    """When it was measured or happened: by its number, else by its own words, else by its arrival where that fits."""
    if refused.boot is not None and refused.seq is not None:
        measured_ns = times.of_row(refused.device, refused.boot, refused.seq)
        if measured_ns is not None:
            return measured_ns
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        return parse_time(json.loads(refused.payload)["event"]["eventTime"])
    start_ns, stop_ns = times.truth.span_ns(refused.device.rpartition("/")[0])
    return refused.record_time_ns if start_ns <= refused.record_time_ns < stop_ns else None


def _gap(device_path: str, boot: str, first: int, last: int, times: _Times) -> Iterator[Conclusion]:
    """Numbers that never arrived: known when the one after them did."""
    line, _, device = device_path.rpartition("/")
    start_ns = times.of_row(device_path, boot, first)
    if start_ns is None:
        return
    stop_ns = times.of_row(device_path, boot, last) or start_ns
    yield Conclusion(
        source=Source.ACCOUNTS,
        line=line,
        targets=(device,),
        start_ns=start_ns,
        stop_ns=stop_ns,
        known_ns=times.of_row(device_path, boot, last + 1) or stop_ns,
        words=MISSING,
    )


def _counted(device_path: str, count: int, words: Label, kinds: frozenset[str], truth: Truth) -> Iterator[Conclusion]:
    line, _, device = device_path.rpartition("/")
    if line not in truth.lines:
        return
    start_ns, stop_ns = truth.span_ns(line)
    yield Conclusion(
        source=Source.ACCOUNTS,
        line=line,
        targets=(device,),
        start_ns=start_ns,
        stop_ns=stop_ns,
        known_ns=None,
        words=Label(fr=f"{count} {words.fr}", en=f"{count} {words.en}"),
        alarm=False,
        kinds=kinds,
    )
