"""Child processes of the demo: each with its own log file, none outlives the demo, not even when that is killed."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from filiere.errors import SettingsError

STOP_S = 15.0
KILL_S = 5.0
TAIL_LINES = 8
TAIL_BYTES = 8192
LOGS_ENCODING = {"PYTHONIOENCODING": "utf-8"}
"""Whatever the terminal can show, a log takes every letter."""
_PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class Child:
    """A running program."""

    name: str
    process: subprocess.Popen[bytes]
    log_path: Path
    output_path: Path
    """Its standard output, kept apart where it says a result."""

    @property
    def code(self) -> int | None:
        """Exit status; None while it runs."""
        return self.process.poll()

    def failure(self) -> str:
        """Why it ended, for people."""
        tail = tail_of(self.log_path)
        ended = f"{self.name} : arrêté avec le code {self.process.returncode} ; son journal : {self.log_path}"
        return f"{ended}\n{tail}" if tail else ended


class Interrupted(Exception):
    """Somebody asked to stop while a start was awaited."""


@dataclass(slots=True)
class Children:
    """All programs of one demo, in the order of their start."""

    logs_dir: Path
    interrupted: Callable[[], bool] = lambda: False
    """Asked whenever something is awaited."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to that of every program that is started from now on."""
    running: list[Child] = field(default_factory=list)

    def start(self, name: str, command: Sequence[str]) -> Child:
        """Start a program; its standard error goes to `logs_dir/NAME.log`, its output to `NAME.out`.

        It gets a session of its own, so that Ctrl-C reaches the demo alone, and is told to stop when the demo dies.

        Raises:
            SettingsError: there is no such program.
        """
        self.logs_dir.mkdir(parents=True, exist_ok=True)
        log_path, output_path = self.logs_dir / f"{name}.log", self.logs_dir / f"{name}.out"
        parent = os.getpid()
        try:
            with log_path.open("ab") as log, output_path.open("wb") as output:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=log,
                    env={**os.environ, **LOGS_ENCODING, **self.environment},
                    start_new_session=True,
                    preexec_fn=lambda: _die_with(parent),  # noqa: PLW1509 - the demo has one thread when it starts children
                )
        except OSError as error:
            raise SettingsError(f"{name}: got {error}; expected to start {command[0]}: install it") from None
        child = Child(name=name, process=process, log_path=log_path, output_path=output_path)
        self.running.append(child)
        return child

    def dead(self) -> Child | None:
        """The first child that has ended, if any."""
        return next((child for child in self.running if child.code is not None), None)

    def forget(self, child: Child) -> None:
        """A child that ended as it should."""
        self.running.remove(child)
        _close(child.process.stdin)

    def wait_until(self, question: str, ready: Callable[[], bool], *, timeout_s: float, poll_s: float = 0.1) -> None:
        """Poll `ready` until it says yes.

        Raises:
            SettingsError: a child died meanwhile, or it took too long.
            Interrupted: somebody asked to stop.
        """
        deadline = time.monotonic() + timeout_s
        while not ready():
            if self.interrupted():
                raise Interrupted
            dead = self.dead()
            if dead is not None:
                raise SettingsError(dead.failure())
            if time.monotonic() > deadline:
                last = self.running[-1] if self.running else None
                hint = f" ; voir {last.log_path}\n{tail_of(last.log_path)}" if last else ""
                raise SettingsError(f"{question} : rien après {timeout_s:g} s{hint}")
            time.sleep(poll_s)

    def stop(self, child: Child, *, timeout_s: float = STOP_S) -> None:
        """Ask it to stop, wait, kill it when it does not."""
        with suppress(ProcessLookupError):
            child.process.send_signal(signal.SIGTERM)
        try:
            child.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait(KILL_S)
        if child in self.running:
            self.forget(child)

    def stop_all(self) -> None:
        """The last one started stops first."""
        while self.running:
            self.stop(self.running[-1])


def filiere_command(*arguments: str) -> list[str]:
    """`filiere` of the same installation, whatever PATH says."""
    return module_command("filiere", *arguments)


def module_command(module: str, *arguments: str) -> list[str]:
    """A module of the same installation that is a program."""
    return [sys.executable, "-m", module, *arguments]


def tail_of(path: Path) -> str:
    """The last lines of a log."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - TAIL_BYTES))
            lines = log.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return "\n".join(f"  {line}" for line in lines[-TAIL_LINES:])


def _die_with(parent: int) -> None:
    """In the child before its program starts: on Linux the kernel sends SIGTERM when the parent is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)


def _close(stream: IO[bytes] | None) -> None:
    if stream is not None:
        with suppress(OSError):
            stream.close()
