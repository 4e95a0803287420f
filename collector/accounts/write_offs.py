"""Rows that a person declared lost: a file beside the recorder's book that adds up, and never hides.

A device without an outbox that lost rows would leave its account open for ever, and nobody would see the next loss.
What is missing at one moment can be written off, with a reason. Later gaps are open again; a row that arrives after all
counts as stored, and is written off no more.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from filiere.errors import SettingsError, StoreRefused
from filiere.whole_file import whole_file

FILE = "written_off.json"
_MODE = 0o644


class WriteOff(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that was missing of a boot when somebody gave it up."""

    device: str
    boot: str
    up_to: int
    """The highest number that had been seen; what is missing below it is written off."""
    written_ns: int
    reason: str
    """In the words of who gave it up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBoot:
    """A boot of which numbers are missing."""

    device: str
    boot: str
    up_to: int
    missing: int


def write_offs_path(recorder_path: Path) -> Path:
    """Where those of a book are."""
    return recorder_path.with_name(FILE)


def read_write_offs(path: Path) -> list[WriteOff]:
    """In the order in which they were written; none where there is no file. Raises StoreRefused: it is damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[WriteOff])
    except FileNotFoundError:
        return []
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreRefused(f"{path}: got {error}; expected what `filiere audit --write-off` wrote") from None


def add_write_offs(path: Path, boots: Sequence[OpenBoot], *, reason: str, now_ns: int) -> None:
    """Add those of these boots. Raises StoreRefused: the file is damaged; SettingsError: it cannot be written."""
    new = [
        WriteOff(device=boot.device, boot=boot.boot, up_to=boot.up_to, written_ns=now_ns, reason=reason)
        for boot in boots
    ]
    body = msgspec.json.format(msgspec.json.encode([*read_write_offs(path), *new]))
    try:
        with whole_file(path, mode=_MODE, replace=True) as file:
            file.write_bytes(body)
    except OSError as error:
        raise SettingsError(
            f"FILIERE_DATA_DIR: got {path.parent} ({error.strerror}); expected a folder that may be written"
        ) from None


def latest_of_each(write_offs: Iterable[WriteOff]) -> dict[tuple[str, str], WriteOff]:
    """(device, boot) → the one that reaches furthest."""
    found: dict[tuple[str, str], WriteOff] = {}
    for write_off in write_offs:
        key = write_off.device, write_off.boot
        if key not in found or found[key].up_to < write_off.up_to:
            found[key] = write_off
    return found
