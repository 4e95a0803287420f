"""Loss-in-weight feeders: a first ingredient (fibre) with its hopper, and the rest (polymer)."""

import numpy as np

from simulators.faults.process import RefillSurge
from simulators.line.machines import Machine, Trace
from simulators.line.parameters import number, positive
from simulators.line.physics import SECONDS_PER_HOUR, Array, first_order

FIBRE_FEED, POLYMER_FEED, HOPPER_WEIGHT, REFILL, FIBRE_RATIO = (
    "fibre_feed",
    "polymer_feed",
    "hopper_weight",
    "refill",
    "fibre_ratio",
)
FLOWING = 0.05
"""Share of the plateau below which a ratio of flows means nothing."""
FADED = 3.0
"""A refill's surge is gone after so many times the refill [K]."""
TAKEN_BACK = 6.0
"""The controller has taken a surge back after so many of its time constants: all but e^−6 of it."""


def feeder(machine: Machine) -> Trace:
    """Flows, hopper and their ratio.

    Between refills the weight loss controls the flow: noise of 0.3–0.5 % at one minute. During a refill the screw runs
    at its last speed (volumetric hold) while the head of material presses: a few percent too much, which then fades,
    and which the controller, that sees the weight again, takes back. So a run gets what it was to get, whatever surges.
    The hopper loses exactly what flows.
    """
    count, given = len(machine.time_s), machine.parameters
    fibre, polymer, plateau = np.zeros(count), np.zeros(count), np.full(count, 1e-3)
    target = machine.memory.get(FIBRE_RATIO)
    for stage in machine.stages:
        planned = stage.planned_inputs
        dry_kg_h = stage.flow_kg_h * sum(flow.dry_g for flow in planned) / 1000.0 / stage.feed_kg
        share = stage.dry_share(stage.recipe.ingredients[0].material)
        target = share if target is None else target
        load = machine.load(stage)
        fibre += load * dry_kg_h * share
        polymer += load * dry_kg_h * (1.0 - share)
        plateau[machine.within(stage.feed_start_s, np.inf)] = dry_kg_h
    fibre *= machine.fed_share(FIBRE_FEED) * (1.0 + machine.noise(FIBRE_FEED, phi=0.9, sd=0.0065))
    polymer *= machine.fed_share(POLYMER_FEED) * (1.0 + machine.noise(POLYMER_FEED, phi=0.9, sd=0.0055))
    weight, refill, used_kg = _hopper(machine, fibre)
    ratio = _ratio(fibre, polymer, plateau, 0.0 if target is None else target)
    sd = number(given, "feed_sensor_sd", 0.002, low=0.0)
    seen_fibre = fibre * (1.0 + machine.sensor(FIBRE_FEED, sd))
    seen_polymer = polymer * (1.0 + machine.sensor(POLYMER_FEED, sd))
    noise = {
        FIBRE_FEED: seen_fibre - fibre,
        POLYMER_FEED: seen_polymer - polymer,
        HOPPER_WEIGHT: machine.noise(HOPPER_WEIGHT, phi=0.3, sd=0.01),
        FIBRE_RATIO: _ratio(seen_fibre, seen_polymer, plateau, 0.0 if target is None else target) - ratio,
    }
    values = {
        FIBRE_FEED: fibre,
        POLYMER_FEED: polymer,
        HOPPER_WEIGHT: weight,
        REFILL: refill,
        FIBRE_RATIO: ratio,
    }
    memory = {"used_kg": used_kg} | ({FIBRE_RATIO: float(ratio[-1])} if count else {})
    return Trace(values=values, noise=noise, memory=memory)


def _ratio(fibre: Array, polymer: Array, plateau: Array, held: float) -> Array:
    """Share of the fibre in what flows; what does not flow keeps the last ratio."""
    fed = fibre + polymer
    flowing = fed > FLOWING * plateau
    last = np.maximum.accumulate(np.where(flowing, np.arange(1, len(fed) + 1), 0))
    return np.append(held, np.divide(fibre, fed, out=np.zeros(len(fed)), where=flowing))[last]


def _hopper(machine: Machine, fibre: Array) -> tuple[Array, Array, float]:
    """Weight, kg, and whether it is being filled, 0 or 1; and what was used since the last refill, kg.

    Adds to `fibre` (kg/h, in place) what each refill presses through, s, less what is taken back of it, b:

        τ·db/dt = s − b
    """
    given = machine.parameters
    high_kg = positive(given, "hopper_high_kg", 20.0)
    swing_kg = max(high_kg - number(given, "hopper_low_kg", 11.0), 0.1)
    refill_s = max(number(given, "refill_s", 15.0), machine.period_s)
    correction_s = positive(given, "correction_s", 60.0)
    worse = machine.severity(RefillSurge)
    surge = np.where(np.isnan(worse), number(given, "surge", 0.015), worse)
    hours = machine.period_s / SECONDS_PER_HOUR
    weight, refill, asked = np.empty(len(fibre)), np.zeros(len(fibre)), fibre.copy()
    used_kg, filled_kg, start = machine.memory.get("used_kg", 0.0), 0.0, 0
    while start < len(fibre):
        since_s = machine.time_s[start:] - machine.time_s[start]
        if filled_kg > 0.0:
            count = int(np.searchsorted(since_s, FADED * refill_s + TAKEN_BACK * correction_s))
            rows, shape = slice(start, start + count), _surge(since_s[:count] / refill_s)
            pressed = asked[rows] * surge[rows] * shape
            back = first_order(pressed, period_s=machine.period_s, time_constant_s=correction_s, start=0.0)
            fibre[rows] = np.maximum(fibre[rows] + pressed - back, 0.0)
            refill[start:][since_s < refill_s] = 1.0
        used = used_kg + np.cumsum(fibre[start:]) * hours
        stop = start + max(1, int(np.searchsorted(used, swing_kg)))
        still_kg = filled_kg * np.clip(1.0 - since_s / refill_s, 0.0, 1.0)
        weight[start:stop] = (high_kg - used - still_kg)[: stop - start]
        used_kg = float(used[min(stop, len(fibre)) - start - 1])
        if stop < len(fibre):
            filled_kg, used_kg = used_kg, 0.0
        start = stop
    return weight, refill, used_kg


def _surge(refills: Array) -> Array:
    """How hard the head of material presses, 0..1, at so many times the refill after it began: it rises, then fades."""
    return np.where(refills < 1.0, refills, np.where(refills < FADED, np.exp(1.0 - refills), 0.0))
