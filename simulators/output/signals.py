"""Asked to stop by the terminal or the system: counted, so that what is begun can be finished."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass(slots=True)
class Signals:
    """How often somebody asked to stop."""

    count: int = 0

    def take(self, _number: int, _frame: FrameType | None) -> None:
        """A signal handler."""
        self.count += 1


@contextmanager
def stop_signals() -> Iterator[Signals]:
    """Count SIGINT, SIGTERM and SIGHUP instead of dying of them; the old handlers come back at the end."""
    signals = Signals()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    old = [signal.signal(number, signals.take) for number in numbers]
    try:
        yield signals
    finally:
        for number, handler in zip(numbers, old, strict=True):
            signal.signal(number, handler)
