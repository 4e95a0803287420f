"""A simulation as the console sees it, without the simulation: rows by hand, orders answered by a thread."""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from filiere.clock import NS_PER_S
from filiere.events import Event
from simulators.console.feed import Feed
from simulators.console.reaction import Reaction
from simulators.faults.fault import Fault
from simulators.line.messages import Publication
from simulators.line.rows import DeviceRows
from simulators.line.state import first_start
from simulators.output import live_faults
from simulators.output.live_faults import FOLDER, FaultFolder
from simulators.output.progress import Progress
from tests.simulators.builders import FLAX, START_NS, TEXTILE, caux

T1, F1 = TEXTILE, FLAX
CAUX = caux()
WITHIN_S = 60.0
"""On a busy machine; who is in time waits for nothing."""


def rows(
    device: str = "extruder", *, line: str = T1, at_s: float = 0.0, **signals: tuple[list[float], list[float]]
) -> DeviceRows:
    """Rows two seconds apart of a device: signal → (true, shown)."""
    count = len(next(iter(signals.values()))[0])
    time_ms = (START_NS // 10**6 + round(at_s * 1000)) + np.arange(count, dtype=np.int64) * 2000
    return DeviceRows(
        line=line,
        device=device,
        time_ms=time_ms,
        stamp_ms=time_ms,
        boots=("boot",),
        boot=np.zeros(count, dtype=np.uint16),
        seq=np.arange(count, dtype=np.int64),
        place=np.arange(count, dtype=np.int64),
        ended_ns=(),
        true={name: np.array(true) for name, (true, _) in signals.items()},
        shown={name: np.array(shown) for name, (_, shown) in signals.items()},
    )


def publication(
    made: DeviceRows | None = None, *, stop: int | None = None, event: Event | None = None, line: str = T1
) -> Publication:
    """All rows up to `stop`, or an event."""
    return Publication(
        time_ns=START_NS,
        topic="any",
        rows=made,
        start=0,
        stop=0 if made is None else len(made.time_ms) if stop is None else stop,
        event=event,
        boot="boot",
        seq=0,
        cycle=first_start(line, start_ns=START_NS),
        index=0,
    )


def progress(*, waiting: int = 0, problem: str | None = None) -> Progress:
    return Progress(
        virtual_ns=START_NS, published=12_345, messages_per_s=50.0, rate=60.0, waiting=waiting, problem=problem
    )


class HandMade:
    """A session of which the test says everything; what is ordered is done by a thread, as a simulation does it."""

    def __init__(self, folder: Path) -> None:
        self.feed = Feed(CAUX)
        self.folder = FaultFolder(folder / FOLDER, CAUX)
        self.progress: Progress | None = None
        self.ended = self.failed = False
        self.reaction = Reaction()
        self.faults: dict[str, Fault] = {}
        self._answering = FaultFolder(folder / FOLDER, CAUX)

    def look(self) -> Reaction:
        return self.reaction

    @contextmanager
    def running(self) -> Iterator[None]:
        stop, shown = threading.Event(), threading.Event()

        def run() -> None:
            now_ns = START_NS + NS_PER_S
            while not stop.wait(0.01):
                for fault in self._answering.take(
                    tuple(self.faults.values()), start_ns=START_NS, now_ns=now_ns, windows={}
                ):
                    self.faults[fault.label] = fault
                self._answering._show_at = -math.inf
                windows = {label: live_faults._window(fault, START_NS) for label, fault in self.faults.items()}
                self._answering.show(tuple(self.faults.values()), windows, virtual_ns=now_ns, waiting=0, problem=None)
                self._answering.tell()
                shown.set()
                now_ns += NS_PER_S // 10

        thread = threading.Thread(target=run)
        thread.start()
        assert shown.wait(WITHIN_S)
        try:
            with pytest.MonkeyPatch.context() as patient:
                patient.setattr(live_faults, "ANSWER_S", WITHIN_S)
                patient.setattr(live_faults, "STALE_S", WITHIN_S)
                yield
        finally:
            stop.set()
            thread.join()
