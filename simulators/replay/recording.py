"""A recording: what was published once, or could have been, ready to be published again as often as wanted."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from collector.codec import TOPIC_ROOT
from collector.outbox import Numbered
from collector.receipts.receipt import numbers_of
from filiere.clock import NS_PER_S
from filiere.errors import ScenarioError
from simulators.replay.dirt import Findings

BOOT_CHARACTERS = 16
HASH_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One message of a recording."""

    time_ns: int
    """When it was sent, UTC ns; with the shift that was asked for."""
    topic: bytes
    payload: bytes
    shown_ns: int
    """When it was sent as the file says, without a shift."""

    @property
    def numbered(self) -> Numbered | None:
        """As an outbox takes it; None = it has no number that can be read, so no receipt can come for it."""
        found = numbers_of(self.topic, self.payload)
        if found is None:
            return None
        device, identity = found
        return Numbered(
            device=device,
            kind=self.topic.decode().removeprefix(f"{TOPIC_ROOT}/{device}/"),
            boot=identity.boot,
            seq=identity.seq,
            rows=identity.rows,
            payload=self.payload,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lap:
    """One passing through a recording."""

    number: int = 0
    shift_ns: int = 0
    """Added to all times; whole seconds."""

    @property
    def as_recorded(self) -> bool:
        """Every message as it stands in the file."""
        return not (self.number or self.shift_ns)


Read = Callable[[int], None]
"""Told, while files are read, how many bytes more were."""


def unheard(_: int) -> None:
    """The Read of who does not want to know."""


class Recording(Protocol):
    """Checked from its first byte to its last before it exists, so that nothing of a bad file is published."""

    first_ns: int
    """Time of its first message, UTC ns."""
    last_ns: int
    count: int
    """Messages of the first lap."""
    rows: int
    """Rows and events of the first lap."""

    @property
    def findings(self) -> Findings:
        """What is wrong with it."""
        ...

    def lap(self, lap: Lap) -> Iterator[Recorded]:
        """Its messages, in the order in which they are sent. The same lap gives the same bytes."""
        ...


def lap_ns(recording: Recording) -> int:
    """How long a lap takes, whole seconds: the next one begins a second after the last message."""
    return ((recording.last_ns - recording.first_ns) // NS_PER_S + 2) * NS_PER_S


def digest_of(paths: Iterable[Path]) -> str:
    """SHA-256 of files, one after the other, hex. Raises ScenarioError: one cannot be read."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as file:
                while part := file.read(HASH_BYTES):
                    digest.update(part)
        except OSError as error:
            raise ScenarioError(f"{path}: got {error.strerror or error}; expected a file that may be read") from None
    return digest.hexdigest()


def boot_of(*parts: object) -> str:
    """A boot that is the same for the same parts: sent again, rows are known again."""
    return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:BOOT_CHARACTERS]
