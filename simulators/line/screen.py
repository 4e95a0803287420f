"""The screen before the die: dirt clogs it, and at one of his rounds the operator changes it."""

import numpy as np

from filiere.clock import NS_PER_S
from simulators.line.machines import Machine
from simulators.line.parameters import number, positive
from simulators.line.physics import SECONDS_PER_HOUR, Array, screen_drop


def screen(machine: Machine, dirty_kg_h: Array) -> tuple[Array, dict[str, float]]:
    """Pressure drop at the nominal flow, bar, shape (n,), and what is remembered. `dirty_kg_h`: flow times its dirt.

    The screen is changed where a round finds Δp at `screen_change_bar` or above. A screen that clogs at its usual rate
    is found in time; one that clogs in minutes is not.
    """
    given = machine.parameters
    clean_bar = number(given, "screen_clean_bar", 0.0)
    capacity_kg = positive(given, "screen_capacity_kg", 0.6)
    change_bar = max(number(given, "screen_change_bar", 56.0), clean_bar)
    most_kg = capacity_kg * (float(np.sqrt(change_bar / clean_bar)) - 1.0)
    came_kg = dirty_kg_h * number(given, "dirt", 5e-4) * machine.period_s / SECONDS_PER_HOUR
    caught_kg = machine.memory.get("caught_kg", 0.0) + np.cumsum(came_kg)
    for row in _rounds(machine, positive(given, "round_s", 600.0)):
        if caught_kg[row] >= most_kg > 0.0:
            caught_kg[row:] -= caught_kg[row]
    memory = {"caught_kg": float(caught_kg[-1])} if len(caught_kg) else {}
    return screen_drop(caught_kg, clean_bar=clean_bar, capacity_kg=capacity_kg), memory


def _rounds(machine: Machine, round_s: float) -> list[int]:
    """The first row of each round, every `round_s` of the clock."""
    turn = np.floor((machine.time_s + machine.plan.cycle.start_ns / NS_PER_S) / round_s)
    return [int(row) + 1 for row in np.flatnonzero(np.diff(turn) > 0)]
