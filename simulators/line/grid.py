"""When a device measures: at a fixed period and a phase of its own, or when there is something to say."""

from dataclasses import dataclass

import numpy as np

from filiere.clock import NS_PER_MS
from filiere.plant import Line, Unit
from simulators.line.models import SAMPLED, model_name
from simulators.line.physics import Array, Times
from simulators.line.plan import Plan
from simulators.line.randomness import token


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The instants at which a device measures in a cycle."""

    time_ms: Times
    """UTC ms, shape (n,)."""
    time_s: Array
    """The same, seconds after the cycle's start."""
    first: int
    """Number of the first row since 1970, so that slow signals keep their phase from cycle to cycle."""
    period_s: float


def grid_of(line: Line, unit: Unit, plan: Plan, *, seed: int) -> Grid:
    """The instants in [start, start + duration) of the plan's cycle. Raises PlantError: an unknown model."""
    period_ms = max(1, round(min(signal.period_s for signal in unit.signals) * 1000))
    start_ms = plan.cycle.start_ns // NS_PER_MS
    said_at = SAMPLED.get(model_name(unit))
    first = 0
    if said_at is not None:
        time_ms = start_ms + np.round(said_at(unit, plan, seed) * 1000.0).astype(np.int64)
    else:
        phase_ms = int(token(line.path, unit.id, "phase"), 16) % period_ms
        stop_ms = start_ms + plan.duration_s * 1000
        first = -((phase_ms - start_ms) // period_ms)
        last = -((phase_ms - stop_ms) // period_ms)
        time_ms = np.arange(first, last, dtype=np.int64) * period_ms + phase_ms
    return Grid(time_ms=time_ms, time_s=(time_ms - start_ms) / 1000.0, first=first, period_s=period_ms / 1000)
