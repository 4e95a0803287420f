"""Waiting for what is down: for ever, ever longer up to a limit, never in step with others, and saying why."""

import threading
from collections.abc import Callable, Iterator
from random import Random
from typing import TypeVar

from filiere.errors import StoreRefused, StoreUnavailable

WAIT_S_MIN = 0.2
WAIT_S_MAX = 5.0
ASKED_WAIT_S_MAX = 60.0
"""A store that asks for a longer wait is asked again after this one: it may have said so before somebody mended it."""

T = TypeVar("T")


class Stopped(Exception):
    """The process was asked to stop while it waited."""


class Patience:
    """Tries again until it works or the process is asked to stop."""

    def __init__(
        self,
        *,
        stop: threading.Event,
        random: Random,
        note: Callable[[str | None], None],
        wait_s_max: float = WAIT_S_MAX,
    ) -> None:
        """`note` is told why there is a wait, each time, and None when it is over."""
        self._stop = stop
        self._random = random
        self._note = note
        self._wait_s_max = wait_s_max

    def until_done(self, action: Callable[[], T]) -> T:
        """The action's result. A store that is down and one that refuses both hold everything: nothing is skipped.

        One that asks for a wait gets it, up to ASKED_WAIT_S_MAX.

        Raises Stopped.
        """
        for wait_s in waits_s(self._random, self._wait_s_max):
            asked_s = 0.0
            try:
                result = action()
            except StoreUnavailable as problem:
                self._note(str(problem))
                asked_s = min(problem.retry_after_s or 0.0, ASKED_WAIT_S_MAX)
            except StoreRefused as problem:
                self._note(str(problem))
            else:
                self._note(None)
                return result
            if self._stop.wait(max(wait_s, asked_s)):
                break
        raise Stopped


def waits_s(random: Random, wait_s_max: float = WAIT_S_MAX) -> Iterator[float]:
    """Seconds to wait after the first failure, the second, ...: doubled up to a limit, with half of it by chance."""
    wait_s = WAIT_S_MIN
    while True:
        yield wait_s * random.uniform(0.5, 1.0)
        wait_s = min(2 * wait_s, wait_s_max)
