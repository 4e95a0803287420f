"""What a simulated line carries from one lot to the next, and the small file that lets a restart go on from there."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import msgspec

from filiere.errors import SettingsError

STATE_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """What is left of a received or made lot: the truth in grams, and what the books say."""

    lot: str
    material: str
    dry_g: int
    water_g: int
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
    lines: Mapping[str, LineProgress]
    """Line path → progress."""
    format: int = STATE_FORMAT


def first_state(lines: tuple[str, ...], *, seed: int, start_ns: int, plant_digest: str) -> SimulatorState:
    """A plant that was never used: cold, empty."""
    progress = {
        line: LineProgress(
            cycle=CycleStart(line=line, number=0, start_ns=start_ns, day="", counts={}, stock=(), seq={}, machines={}),
            sent=0,
        )
        for line in lines
    }
    return SimulatorState(seed=seed, start_ns=start_ns, plant_digest=plant_digest, lines=progress)


def read_state(path: Path) -> SimulatorState | None:
    """The state of an earlier simulation; None when there was none.

    Raises:
        SettingsError: the file is not a state of this version.
    """
    try:
        state = msgspec.json.decode(path.read_bytes(), type=SimulatorState)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, ValueError) as error:
        raise SettingsError(
            f"{path}: got a state that cannot be read ({error}); expected one of this version: start anew with --fresh"
        ) from None
    if state.format != STATE_FORMAT:
        raise SettingsError(
            f"{path}: got state format {state.format}; expected {STATE_FORMAT}: start anew with --fresh"
        )
    return state


def write_state(path: Path, state: SimulatorState) -> None:
    """Replace the file in one step, so that a stop at any instant leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(state), indent=1))
    temporary.replace(path)
