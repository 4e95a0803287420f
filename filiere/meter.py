"""How far a long work is, said on standard error now and then: how many, how fast, how long it will still take."""

import sys
import time

SAID_S_TERMINAL, SAID_S_FILE = 0.5, 10.0
"""How often."""


class Meter:
    """Says on standard error how far a long work is: how many, how fast, how long it will still take."""

    def __init__(self, label: str, left: str, *, total: int) -> None:
        self.count = 0
        self._label, self._left, self._total = label, left, total
        self._terminal = sys.stderr.isatty()
        self._start_s = self._said_s = time.monotonic()

    def more(self, count: int) -> None:
        """So many more are done."""
        self.at(self.count + count)

    def at(self, count: int) -> None:
        """So many are done in all."""
        self.count = count
        now_s = time.monotonic()
        if now_s - self._said_s >= (SAID_S_TERMINAL if self._terminal else SAID_S_FILE):
            self._said_s = now_s
            rate = count / (now_s - self._start_s)
            left_s = (self._total - count) / rate if self._total > count and rate else 0.0
            left = f", {self._left} {left_s:.0f} s" if left_s else ""
            end = "\r" if self._terminal else "\n"
            sys.stderr.write(f"{self._label.format(count=count)}, {rate:.0f}/s{left}   {end}")
            sys.stderr.flush()

    def end(self) -> None:
        """Leave the line to what comes next."""
        if self._terminal and self._said_s != self._start_s:
            sys.stderr.write("\n")
