"""A scale of class C3: what lies on it, and the errors of its load cell."""

import numpy as np

from simulators.faults.operators import BATCH_WEIGHT
from simulators.line.machines import Machine, Trace
from simulators.line.parameters import number, positive
from simulators.line.physics import SECONDS_PER_HOUR, Array, first_order
from simulators.line.plan import Stage

UNLOADING_S = 120.0
"""The full bag stays on the scale this long after the run has closed [K]."""
QUIET_S = 20.0
"""So long after the flow has stopped, a full bag shows what the operator will write down [K]."""
QUIET_SHARE = 0.3
"""Noise of an empty scale against a loaded one [K]."""


def scale(machine: Machine) -> Trace:
    """It fills with a run's product and shows, full, what the operator writes down.

    What it adds to the truth: noise, the random walk of its tare since the operator last zeroed it, creep of the load
    cell, and the swinging of the platform when the bag is taken away.
    """
    given = machine.parameters
    full_scale_kg = number(given, "full_scale_kg", 1500.0)
    weight = np.zeros(len(machine.time_s))
    for stage in machine.stages:
        rows = machine.within(stage.feed_start_s, stage.stop_s + UNLOADING_S)
        weight[rows] = stage.product_kg(machine.time_s[rows])
    creep = number(given, "creep", 0.00025) * first_order(
        weight,
        period_s=machine.period_s,
        time_constant_s=positive(given, "creep_s", 600.0),
        start=machine.memory.get("creep_load_kg", 0.0),
    )
    tare, tare_kg = _tare(machine, full_scale_kg)
    error = tare + creep
    swing = np.zeros(len(weight))
    for stage in machine.stages:
        full = machine.within(stage.feed_stop_s, stage.stop_s + UNLOADING_S)
        written_kg = float(stage.outputs[0].portion.mass_kg) - _true_kg(stage)
        calm = 1.0 - np.exp(-(machine.time_s[full] - stage.feed_stop_s) / QUIET_S)
        error[full] += calm * (written_kg - error[full])
        swing += _swing(machine, stage.stop_s + UNLOADING_S, _true_kg(stage))
    noise = machine.noise(BATCH_WEIGHT, phi=0.2, sd=1e-4 * full_scale_kg)
    noise *= np.where(weight > 0.0, 1.0, QUIET_SHARE)
    memory = {"tare_kg": tare_kg} | ({"creep_load_kg": float(weight[-1])} if len(weight) else {})
    return Trace(values={BATCH_WEIGHT: weight}, noise={BATCH_WEIGHT: error + swing + noise}, memory=memory)


def _true_kg(stage: Stage) -> float:
    return (stage.outputs[0].dry_g + stage.outputs[0].water_g) / 1000.0


def _tare(machine: Machine, full_scale_kg: float) -> tuple[Array, float]:
    """Error of the zero, kg, shape (n,), and at the end: a random walk, zeroed before each run."""
    walk_sd = number(machine.parameters, "tare_walk_per_h", 1e-4) * full_scale_kg
    steps = machine.chance("tare").standard_normal(len(machine.time_s)) * walk_sd
    tare = machine.memory.get("tare_kg", 0.0) + np.cumsum(steps * np.sqrt(machine.period_s / SECONDS_PER_HOUR))
    for stage in machine.stages:
        rows = machine.within(stage.setup_s, np.inf)
        if rows.stop > rows.start:
            tare[rows] -= tare[rows.start]
    return tare, float(tare[-1]) if len(tare) else machine.memory.get("tare_kg", 0.0)


def _swing(machine: Machine, from_s: float, load_kg: float) -> Array:
    """A platform that was relieved swings: A·load·exp(−t/τ)·cos(2πt/T), kg, shape (n,)."""
    given = machine.parameters
    since_s = machine.time_s - from_s
    swing = (
        load_kg * number(given, "swing", 0.003) * np.exp(-np.maximum(since_s, 0.0) / positive(given, "swing_s", 5.0))
    )
    return np.where(since_s >= 0.0, swing * np.cos(2.0 * np.pi * since_s / positive(given, "swing_period_s", 3.0)), 0.0)
