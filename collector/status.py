"""How a process of the collector is, for those who ask from outside: one small file, written in place.

It is made in its full size when there is still room, so that it can say that the disk is full when it is.
"""

import os
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

import msgspec
import structlog

from filiere.clock import NS_PER_S, Clock
from filiere.errors import FiliereError

STATUS_BYTES = 4096
"""One block: a reader sees it whole or, very rarely, torn; then it looks again."""
WRITE_EVERY_NS = NS_PER_S // 2
STALE_NS = 30 * NS_PER_S
"""A status that is older was left by a process that does not run, or hangs."""
_PROBLEM_CHARS_MAX = 600
_READS_MAX = 3

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What a process last said of itself."""

    connected: bool
    """To the broker, and at work there."""
    problem: str | None
    """Why it does not do its work, in words; None when all is well."""
    since_ns: int
    """Since when `connected` and `problem` are so, UTC ns."""
    updated_ns: int
    """When this was written, UTC ns."""

    def is_stale(self, now_ns: int) -> bool:
        """Whether the process that wrote this is gone or hangs."""
        return now_ns - self.updated_ns > STALE_NS


S = TypeVar("S", bound=Status)


def read_status(path: Path, kind: type[S]) -> S | None:
    """The status in the file; None where no such process has run, or the file is damaged."""
    for _ in range(_READS_MAX):
        try:
            text = path.read_bytes()[:STATUS_BYTES]
        except OSError:
            return None
        with suppress(msgspec.DecodeError):  # ValidationError is one
            return msgspec.json.decode(text.rstrip(b" \0\n"), type=kind)
    return None


class StatusFile(ABC):
    """The process's side of the file. A status that cannot be written never stops the process."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._clock = clock
        self._connected = False
        self._problem: str | None = None
        self._since_ns = clock()
        self._written_ns = 0
        self._descriptor: int | None = None
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            os.posix_fallocate(self._descriptor, 0, STATUS_BYTES)
        except OSError as error:
            _log.warning("the status cannot be shown", path=str(path), got=error.strerror)
        self._write()

    def say(self, *, connected: bool | None = None, problem: str | None = None) -> None:
        """Note how it is now, written at once when it is not as before. `connected` None = as it was."""
        connected = self._connected if connected is None else connected
        if (connected, problem) != (self._connected, self._problem):
            self._connected, self._problem, self._since_ns = connected, problem, self._clock()
            self._write()
        else:
            self.live()

    def live(self) -> None:
        """Say that the process works; the file follows twice a second."""
        if not 0 <= self._clock() - self._written_ns < WRITE_EVERY_NS:
            self._write()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self.close(problem=str(error) if isinstance(error, FiliereError) else None)

    def close(self, problem: str | None = None) -> None:
        """Say that nobody is connected any more, and why if that was not asked for; let go of the file."""
        self.say(connected=False, problem=problem)
        if self._descriptor is not None:
            self._write()
            os.close(self._descriptor)
            self._descriptor = None

    @abstractmethod
    def _whole(self, said: Status) -> Status:
        """`said`, with what this process counts."""

    def _write(self) -> None:
        self._written_ns = self._clock()
        if self._descriptor is None:
            return
        said = Status(
            connected=self._connected,
            problem=None if self._problem is None else self._problem[:_PROBLEM_CHARS_MAX],
            since_ns=self._since_ns,
            updated_ns=self._written_ns,
        )
        text = msgspec.json.encode(self._whole(said))
        with suppress(OSError):
            os.pwrite(self._descriptor, text.ljust(STATUS_BYTES - 1) + b"\n", 0)
