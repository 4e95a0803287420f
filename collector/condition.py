"""How the collector fares, from the files of its data folder: what is acknowledged and answered, what room is left."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from collector.intake.status import read_intake_status
from collector.receipts.status import read_receipts_status
from collector.status import Status
from filiere.clock import NS_PER_S
from filiere.settings import Settings

CONNECTING_NS_MAX = 15 * NS_PER_S
"""A process may be without its broker for so long, when it starts or the network blinks, before that is trouble."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why a process of the collector does not do its work."""

    state: Literal["absent", "silent", "problem", "disconnected"]
    words: str
    """Got, expected, do this."""
    since_ns: int | None
    """Since when, UTC ns; None = never was otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What the message log takes of its disk, and what is left."""

    log_bytes: int
    disk_free_bytes: int


def intake_trouble(path: Path, now_ns: int) -> Trouble | None:
    """Why nothing is acknowledged, from the intake's status file; None = what arrives is acknowledged."""
    return _trouble(read_intake_status(path), now_ns)


def receipts_trouble(path: Path, now_ns: int) -> Trouble | None:
    """Why devices get no receipts, from the status file of the receipts process; None = they are answered."""
    return _trouble(read_receipts_status(path), now_ns)


def _trouble(status: Status | None, now_ns: int) -> Trouble | None:
    if status is None:
        return Trouble(state="absent", words="never seen at work: start `filiere collect`", since_ns=None)
    if status.is_stale(now_ns):
        silent_s = (now_ns - status.updated_ns) / NS_PER_S
        words = f"silent for {silent_s:.0f} s: start `filiere collect`, or look at its log"
        return Trouble(state="silent", words=words, since_ns=status.updated_ns)
    if status.problem is not None:
        return Trouble(state="problem", words=status.problem, since_ns=status.since_ns)
    if not status.connected and now_ns - status.since_ns > CONNECTING_NS_MAX:
        words = f"not connected for {_since_s(status, now_ns):.0f} s: check FILIERE_MQTT_HOST, and that the broker runs"
        return Trouble(state="disconnected", words=words, since_ns=status.since_ns)
    return None


def room(settings: Settings) -> Room:
    """Size of the message log, with what SQLite keeps beside it, and free space. Raises OSError: no such folder."""
    beside = (settings.log_path, settings.log_path.with_name(f"{settings.log_path.name}-wal"))
    return Room(
        log_bytes=sum(path.stat().st_size for path in beside if path.exists()),
        disk_free_bytes=shutil.disk_usage(os.fspath(settings.data_dir)).free,
    )


def _since_s(status: Status, now_ns: int) -> float:
    return (now_ns - status.since_ns) / NS_PER_S
