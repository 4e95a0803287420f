"""Runs the collector's processes: starts them, starts a dead one again, stops them with itself.

A child lives as long as its standard input is open, so that it goes when this process is gone, even by SIGKILL.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from random import Random

import structlog

from collector.patience import waits_s

POLL_S = 0.2
STOP_S_MAX = 20.0
"""How long a child may take to stop before it is killed."""
RESTART_S_MAX = 30.0
"""Longest wait for the next start of a child that dies again and again: a start costs seconds on a small machine."""
HEALTHY_S = 60.0
"""A child that lived this long is started again at once when it dies."""

_log = structlog.get_logger(__name__)


class _Child:
    def __init__(self, name: str, command: Sequence[str], random: Random) -> None:
        self.name = name
        self._command = command
        self._random = random
        self._waits = waits_s(random, RESTART_S_MAX)
        self._start_at = 0.0
        self._started_at = 0.0
        self.process: subprocess.Popen[bytes] | None = None

    def keep_running(self) -> None:
        """Start when it is time to; notice a death and plan the next start."""
        now = time.monotonic()
        if self.process is None:
            if now >= self._start_at:
                self._start(now)
        elif self.process.poll() is not None:
            if now - self._started_at > HEALTHY_S:
                self._waits = waits_s(self._random, RESTART_S_MAX)
            self._start_at = now + (wait_s := next(self._waits))
            _log.error("a child ended; it is started again", child=self.name, code=self.process.returncode, in_s=wait_s)
            self.close()

    def _start(self, now: float) -> None:
        try:
            self.process = subprocess.Popen(self._command, stdin=subprocess.PIPE)
        except OSError as error:  # no memory, no process to be had: the others go on
            self._start_at = now + (wait_s := next(self._waits))
            _log.error("a child cannot be started", child=self.name, got=error.strerror, in_s=wait_s)
            return
        self._started_at = now
        _log.info("started", child=self.name, pid=self.process.pid)

    def ask_to_stop(self) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.terminate()

    def wait(self, deadline: float) -> None:
        if self.process is not None:
            try:
                self.process.wait(max(deadline - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                _log.error("killed: it did not stop in time", child=self.name)
                self.process.kill()
                self.process.wait()
            self.close()

    def close(self) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
        self.process = None


def supervise(commands: Mapping[str, Sequence[str]], *, stop: threading.Event, random: Random) -> None:
    """Keep one process a command running until asked to stop; then stop them all and wait for them."""
    children = [_Child(name, command, random) for name, command in commands.items()]
    try:
        while not stop.is_set():
            for child in children:
                child.keep_running()
            stop.wait(POLL_S)
    finally:
        deadline = time.monotonic() + STOP_S_MAX
        for child in children:
            child.ask_to_stop()
        for child in children:
            child.wait(deadline)


def stop_with_standard_input(stop: threading.Event) -> None:
    """Set `stop` when standard input ends: whoever started this process, and holds the other end, is gone."""

    def watch() -> None:
        with suppress(OSError):
            # the descriptor, not sys.stdin: a buffered reader would hold its lock while the interpreter ends
            while os.read(sys.stdin.fileno(), 4096):
                pass
        stop.set()

    threading.Thread(target=watch, name="standard input", daemon=True).start()
