"""Waiting for what is down: for ever, ever longer up to a limit, never in step with others, and saying why."""

import threading
from collections.abc import Callable, Iterator
from random import Random
from typing import TypeVar

from filiere.errors import StoreRefused, StoreUnavailable

WAIT_S_MIN = 0.2
WAIT_S_MAX = 5.0

T = TypeVar("T")


class Stopped(Exception):
    """The process was asked to stop while it waited."""


class Patience:
    """Tries again until it works or the process is asked to stop."""

    def __init__(self, *, stop: threading.Event, random: Random, note: Callable[[str | None], None]) -> None:
        """`note` is told why there is a wait, each time, and None when it is over."""
        self._stop = stop
        self._random = random
        self._note = note

    def until_done(self, action: Callable[[], T]) -> T:
        """The action's result. A store that is down and one that refuses both hold everything: nothing is skipped.

        Raises Stopped.
        """
        for wait_s in waits_s(self._random):
            try:
                result = action()
            except (StoreUnavailable, StoreRefused) as problem:
                self._note(str(problem))
            else:
                self._note(None)
                return result
            if self._stop.wait(wait_s):
                break
        raise Stopped


def waits_s(random: Random) -> Iterator[float]:
    """Seconds to wait after the first failure, the second, ...: doubled up to WAIT_S_MAX, with half of it by chance."""
    wait_s = WAIT_S_MIN
    while True:
        yield wait_s * random.uniform(0.5, 1.0)
        wait_s = min(2 * wait_s, WAIT_S_MAX)
