"""What a simulated line carries from one lot to the next, and the small file that lets a restart go on from there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from filiere.errors import SettingsError, StoreUnavailable

STATE_FORMAT = 2
ROWS_MAX = 10
"""Most rows in a message, when nobody says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """What is left of a received or made lot: the truth in grams, and what the books say."""

    lot: str
    material: str
    dry_g: int
    water_g: int
    composition: Mapping[str, float]
    """Substance → true share of its dry mass; adds up to 1."""
    origin: Mapping[str, float]
    """Origin → true share of its dry mass; adds up to 1."""
    book_kg: Decimal
    """Weighed at its beginning less what was weighed out, wet kg: the chain refuses to take more."""
    u_kg: Decimal
    moisture: Decimal
    u_moisture: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleStart:
    """All that a lot cycle depends on, beside the plant file and the seed."""

    line: str
    number: int
    """0 for the first lot of a line."""
    start_ns: int
    day: str
    """Local day of the last cycle, `260311`; empty before the first."""
    counts: Mapping[str, int]
    """Code → how many lots were numbered on that day."""
    stock: tuple[Stock, ...]
    seq: Mapping[str, int]
    """Device → number of its next row."""
    machines: Mapping[str, Mapping[str, float]]
    """Device → what its machine remembers: temperatures, screen, tare."""
    boots: Mapping[str, int] = field(default_factory=dict)
    """Device → how often it started anew."""
    onsets: Mapping[str, int] = field(default_factory=dict)
    """Label of a fault that began with a lot → when, UTC ns."""
    firsts: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Fault and signal → seconds since the onset, and value, of the first reading under the fault."""
    shift_lots: int = 0
    """Lots begun since the workshop opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineProgress:
    """How far a line's publications went."""

    cycle: CycleStart
    sent: int
    """Publications of this cycle that are in the outbox, or through it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorState:
    """Where a simulation stands."""

    seed: int
    start_ns: int
    """Virtual time of its very first instant."""
    plant_digest: str
    scenario: str
    """Its id."""
    scenario_digest: str
    lines: Mapping[str, LineProgress]
    """Line path → progress."""
    live: tuple[Mapping[str, Any], ...] = ()
    """Faults that were added while it ran, as a scenario file writes them."""
    rows_max: int = ROWS_MAX
    """Most rows in a message: with another number it would count its messages otherwise."""
    format: int = STATE_FORMAT


def first_start(line: str, *, start_ns: int) -> CycleStart:
    """A line that was never used: cold, empty."""
    return CycleStart(line=line, number=0, start_ns=start_ns, day="", counts={}, stock=(), seq={}, machines={})


def read_state(path: Path) -> SimulatorState | None:
    """The state of an earlier simulation; None when there was none.

    Raises:
        SettingsError: the file is not a state of this version, or cannot be read.
    """
    try:
        body = path.read_bytes()
        found = msgspec.json.decode(body, type=_Format).format
        if found != STATE_FORMAT:
            raise SettingsError(f"{path}: got state format {found}; expected {STATE_FORMAT}: start anew with --fresh")
        return msgspec.json.decode(body, type=SimulatorState)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"{path}: got {error.strerror}; expected a file that may be read") from None
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise SettingsError(
            f"{path}: got a state that cannot be read ({error}); expected one of this version: start anew with --fresh"
        ) from None


class _Format(msgspec.Struct, frozen=True):
    """As much of a state as every version of it has."""

    format: int


def write_state(path: Path, state: SimulatorState) -> None:
    """Replace the file in one step, so that a stop at any instant leaves the old one or the new one.

    Raises:
        StoreUnavailable: the folder cannot be written, or the disk is full.
    """
    temporary = path.with_suffix(".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(state), indent=1))
        temporary.replace(path)
    except OSError as error:
        raise StoreUnavailable(
            f"{path}: {error.strerror}; free space or make the folder writable, then start again: it goes on"
        ) from None
