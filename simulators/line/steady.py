"""Signals that no other model speaks of: near their target while the unit runs. A plant file need not name them."""

from collections.abc import Sequence

import numpy as np

from filiere.plant import Signal, limits_of
from simulators.line.machines import Machine, Trace
from simulators.line.parameters import number
from simulators.line.physics import Array
from simulators.line.plan import Stage

USUAL_SD = 0.005
"""Of the greatest level, where neither plant file nor resolution says more [K]."""
SENSOR_SHARE = 0.2
"""The sensor's own noise against what moves [K]."""
REST_SHARE = 0.2
"""A machine at rest moves less than one that runs [K]."""


def steady(machine: Machine, signals: Sequence[Signal] | None = None) -> Trace:
    """These signals, or all of the unit, near their target while the unit runs, at rest otherwise."""
    values, noise = {}, {}
    for signal in machine.unit.signals if signals is None else signals:
        values[signal.id], sd = _steady(machine, signal)
        noise[signal.id] = machine.sensor(signal.id, sd * SENSOR_SHARE)
    return Trace(values=values, noise=noise)


def _steady(machine: Machine, signal: Signal) -> tuple[Array, float]:
    """`<signal>_run` and `<signal>_rest` of the plant file; else the recipe's set point, which is held at rest too
    (a hot machine waits hot), or the limits' middle, 0 at rest. Returns values and how much they move.
    """
    span = signal.range_high - signal.range_low
    held = next((targets[signal.key] for targets in machine.targets if signal.key in targets), None)
    rest = number(machine.parameters, f"{signal.id}_rest", max(0.0, signal.range_low) if held is None else held)
    level = np.full(len(machine.time_s), rest)
    greatest = abs(rest)
    for stage in machine.stages:
        usual = number(machine.parameters, f"{signal.id}_run", _target(stage, signal, span))
        level += machine.load(stage) * (usual - rest)
        greatest = max(greatest, abs(usual))
    sd = max(signal.resolution, greatest * USUAL_SD)
    moved = machine.noise(signal.id, phi=0.9, sd=sd) * np.where(level == rest, REST_SHARE, 1.0)
    high = number(machine.parameters, f"{signal.id}_most", signal.range_high)
    return np.clip(level + moved, signal.range_low, high), sd


def _target(stage: Stage, signal: Signal, span: float) -> float:
    if signal.key in stage.recipe.targets:
        return stage.recipe.targets[signal.key]
    limits = limits_of(signal, stage.recipe)
    if limits.low is not None and limits.high is not None:
        return (limits.low + limits.high) / 2.0
    if limits.high is not None:
        return limits.high - 0.1 * abs(limits.high - signal.range_low)
    if limits.low is not None:
        return limits.low + 0.1 * abs(signal.range_high - limits.low)
    return signal.range_low + 0.5 * span
