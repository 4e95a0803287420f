"""Mosquitto on this machine is told to read its files again: SIGHUP, to that process and to no other."""

import os
import signal
from pathlib import Path

from filiere.errors import SettingsError

PROGRAM = "mosquitto"
PID_FILE_BYTES_MAX = 64


def broker_pid(pid_file: Path) -> int:
    """The process id in Mosquitto's `pid_file`. Raises SettingsError."""
    try:
        with pid_file.open("rb") as file:
            text = file.read(PID_FILE_BYTES_MAX)
        return int(text)
    except OSError as error:
        raise SettingsError(
            f"FILIERE_BROKER_PID_FILE: got {pid_file} ({error.strerror}); expected what Mosquitto's `pid_file` names,"
            " while it runs"
        ) from None
    except ValueError:
        raise SettingsError(f"FILIERE_BROKER_PID_FILE: got {pid_file}, which holds no process id") from None


def reload_broker(pid: int) -> None:
    """Tell Mosquitto to read its files again; what it has accepted stays connected while it is still allowed.

    Raises SettingsError: there is no such process, it is another program (SIGHUP would end it), or it is not ours to
    signal.
    """
    try:
        program = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        raise SettingsError(f"got process {pid}, which does not run; expected Mosquitto's: is the broker up?") from None
    if program != PROGRAM:
        raise SettingsError(f"got process {pid}, which is {program!r}; expected {PROGRAM}: another would end by SIGHUP")
    try:
        os.kill(pid, signal.SIGHUP)
    except OSError as error:
        raise SettingsError(f"process {pid}: cannot be told ({error.strerror}); do: sudo kill -HUP {pid}") from None
