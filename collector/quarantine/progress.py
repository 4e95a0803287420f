"""What a person sees while refused messages are judged again."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from collector.recorder.requests import Outcome
from filiere.plant import Label
from filiere.terminal import Language, printable

PROGRESS_S = 2.0
"""How often it is said how far it is."""
JUDGED_AGAIN = Label(fr="rejugés : {judged} sur {total}", en="judged again: {judged} of {total}")
LEFT_S = Label(fr="reste {seconds:.0f} s", en="{seconds:.0f} s left")
WAITS = Label(fr="L'enregistrement attend : {problem}", en="The recorder waits: {problem}")


@contextmanager
def stopped_by_ctrl_c() -> Iterator[threading.Event]:
    """Ctrl-C ends the waiting, and what was found so far is still said."""
    stop = threading.Event()
    before = signal.signal(signal.SIGINT, lambda _number, _frame: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


class RetryProgress:
    """Says on standard error how far it is, how long it takes, and what the recorder waits for."""

    def __init__(self, language: Language, *, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._language = language
        self._monotonic_s = monotonic_s
        self._begun_s = monotonic_s()
        self._said_s = self._begun_s
        self._problem: str | None = None

    def __call__(self, outcome: Outcome) -> None:
        """Told of every change."""
        now_s = self._monotonic_s()
        if outcome.problem is not None and outcome.problem != self._problem:
            typer.echo(WAITS.in_language(self._language).format(problem=printable(outcome.problem)), err=True)
        self._problem = outcome.problem
        if not outcome.judged or now_s - self._said_s < PROGRESS_S:
            return
        self._said_s = now_s
        text = JUDGED_AGAIN.in_language(self._language).format(judged=outcome.judged, total=outcome.total)
        left_s = (now_s - self._begun_s) * (outcome.total - outcome.judged) / outcome.judged
        typer.echo(f"{text}, {LEFT_S.in_language(self._language).format(seconds=left_s)}", err=True)
