"""How long work goes: one line that is rewritten on a terminal; elsewhere a line now and then."""

import time
from dataclasses import dataclass, replace
from os import get_terminal_size
from typing import TextIO

from filiere.clock import NS_PER_S, to_text
from filiere.terminal import printable

PLAIN_LINE_S = 10.0
"""Between two lines where there is no terminal to rewrite."""
TERMINAL_LINE_S = 0.1
COLUMNS_USUAL = 80
"""Of a terminal that says it has none, as those of programs do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How a simulation stands just now."""

    virtual_ns: int
    """Simulated time, UTC ns."""
    published: int
    """Messages since the start: in the outbox, through it, or in the files."""
    messages_per_s: float
    rate: float
    """Simulated seconds a second."""
    lots: int = 0
    """Lots closed since the start, of all lines."""
    share: float | None = None
    """Of the whole work, 0..1; None = it has no end."""
    left_s: float | None = None
    """Time left at this rate; None = not known."""
    waiting: int = 0
    """Messages without a receipt."""
    problem: str | None = None
    """Why nothing goes through; None = all is well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """Where a simulation ends: whichever comes first."""

    start_ns: int
    """Simulated time at which the work begins, UTC ns."""
    stop_ns: int | None = None
    lots: int | None = None
    """Still to be closed, of all lines."""

    def share(self, virtual_ns: int, lots: int) -> float | None:
        """How much of the work is done, 0..1; None = it has no end."""
        shares = []
        if self.stop_ns is not None:
            shares.append((virtual_ns - self.start_ns) / max(1, self.stop_ns - self.start_ns))
        if self.lots is not None:
            shares.append(lots / max(1, self.lots))
        return min(1.0, max(0.0, *shares)) if shares else None


def with_goal(progress: Progress, goal: Goal, took_s: float) -> Progress:
    """The same with share and time left: to a time at the rate of now, to a lot as long as the lots before took."""
    share = goal.share(progress.virtual_ns, progress.lots)
    left_s = []
    if goal.stop_ns is not None and progress.rate > 0.0:
        left_s.append(max(0.0, (goal.stop_ns - progress.virtual_ns) / NS_PER_S / progress.rate))
    if goal.lots is not None and progress.lots:
        left_s.append(max(0.0, took_s * (goal.lots / progress.lots - 1.0)))
    return replace(progress, share=share, left_s=min(left_s, default=None))


class ProgressLine:
    """Shows how it stands, in the language of who looks."""

    def __init__(self, stream: TextIO, language: str = "fr") -> None:
        self._stream = stream
        self._english = language == "en"
        self._terminal = stream.isatty()
        self._last_s = -PLAIN_LINE_S
        self._rows_above = 0
        """Rows of the terminal that the line fills, before the one it ends in."""

    def show(self, progress: Progress) -> None:
        """Rewrite the line, when it is time to."""
        now_s = time.monotonic()
        if now_s - self._last_s < (TERMINAL_LINE_S if self._terminal else PLAIN_LINE_S):
            return
        self._last_s = now_s
        self._write(" · ".join(self._parts(progress)), end="" if self._terminal else "\n")

    def end(self, text: str) -> None:
        """The last line, which stays."""
        self._write(text, end="\n")

    def _write(self, text: str, *, end: str) -> None:
        if self._terminal:
            back = f"\x1b[{self._rows_above}A" if self._rows_above else ""
            self._stream.write(f"\r{back}\x1b[J")
            columns = get_terminal_size(self._stream.fileno()).columns or COLUMNS_USUAL
            self._rows_above = max(0, len(text) - 1) // columns
        self._stream.write(f"{text}{end}")
        self._stream.flush()

    def _parts(self, progress: Progress) -> list[str]:
        english = self._english
        parts = []
        if progress.share is not None:
            parts.append(f"{progress.share:.0%}" if english else f"{progress.share * 100:.0f} %")
        parts.append(f"{'simulated time' if english else 'temps simulé'} {to_text(progress.virtual_ns)[:19]}Z")
        parts.append(f"{counted(round(progress.rate), english=english)}×")
        parts.append(f"{counted(round(progress.messages_per_s), english=english)} messages/s")
        parts.append(f"{counted(progress.published, english=english)} {'published' if english else 'publiés'}")
        if progress.left_s is not None:
            left = duration_words(progress.left_s, english=english)
            parts.append(f"{left} left" if english else f"reste {left}")
        if progress.waiting:
            waiting = counted(progress.waiting, english=english)
            parts.append(f"{waiting} without a receipt" if english else f"{waiting} sans récépissé")
        if progress.problem:
            parts.append(printable(progress.problem))
        return parts


def duration_words(seconds: float, *, english: bool) -> str:
    """`95` → `1 min 35 s`: the two largest units."""
    left = max(0, round(seconds))
    days, hours, minutes = left // 86_400, left // 3600 % 24, left // 60 % 60
    if days:
        day = "d" if english else "j"
        return f"{days} {day} {hours} h" if hours else f"{days} {day}"
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min {left % 60} s" if minutes else f"{left} s"


def counted(count: int, *, english: bool) -> str:
    """`12345` → `12,345` in English, `12 345` in French."""
    return f"{count:,}" if english else thousands(count)


def tenths(number: float, *, english: bool) -> str:
    """`1.25` → `1.2` in English, `1,2` in French."""
    return f"{number:.1f}" if english else f"{number:.1f}".replace(".", ",")


def thousands(count: int) -> str:
    """`12345` → `12 345`, with the narrow space of French."""
    return f"{count:_}".replace("_", "\N{NARROW NO-BREAK SPACE}")
