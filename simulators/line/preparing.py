"""Machines that prepare the feed: near-infrared sorting, and drying."""

import numpy as np

from simulators.faults.process import WetFeed
from simulators.line.machines import Machine, Trace
from simulators.line.parameters import number, positive, text
from simulators.line.physics import drying, first_order
from simulators.line.plan import GRAMS_PER_KG, Stage

FIBRE_RATIO, MOISTURE = "fibre_ratio", "moisture"
FEED_MOISTURE = "feed_moisture"
"""Of all that is fed, of which a dryer may dry a part; no sensor shows it."""


def sorter(machine: Machine) -> Trace:
    """Near-infrared share of the wanted substance in what passes; an empty belt keeps the last value.

    What passes is the lot's true share, which wanders from bale to bale; the sensor adds its own error.
    """
    held = machine.memory.get(FIBRE_RATIO, number(machine.parameters, "fibre_ratio_run", 0.95))
    ratio = np.full(len(machine.time_s), held)
    wandering = machine.noise(FIBRE_RATIO, phi=0.97, sd=0.004)
    for stage in machine.stages:
        rows = machine.within(stage.feed_start_s, stage.feed_stop_s)
        ratio[rows] = np.clip(_share(machine, stage, held) + wandering[rows], 0.0, 1.0)
        if rows.stop > rows.start:
            held = float(ratio[rows.stop - 1])
            ratio[rows.stop :] = held
    noise = machine.noise("fibre_ratio_sensor", phi=0.3, sd=0.004)
    return Trace(values={FIBRE_RATIO: ratio}, noise={FIBRE_RATIO: noise}, memory={FIBRE_RATIO: held})


def _share(machine: Machine, stage: Stage, otherwise: float) -> float:
    """True share of the substance that the step sorts out."""
    wanted = text(stage.step.simulator, "sorts_out", "")
    usual = stage.recipe.targets.get(f"{machine.unit.id}.{FIBRE_RATIO}", otherwise)
    return stage.planned_product.composition.get(wanted, usual)


def dryer(machine: Machine) -> Trace:
    """Moisture of the charge: w = w_eq + (w_0 − w_eq)·exp(−t/τ), held while it is used.

    A wet feed brings more water than the dryer was made for: `overload` of what is too much stays in.
    """
    equilibrium, overload = (
        number(machine.parameters, "equilibrium", 0.001),
        number(machine.parameters, "overload", 0.1),
    )
    time_constant_s = positive(machine.parameters, "time_constant_s", 1200.0)
    held = machine.memory.get(MOISTURE, equilibrium)
    moisture, dried_share = np.full(len(machine.time_s), held), np.zeros(len(machine.time_s))
    wetter = np.nan_to_num(machine.severity(WetFeed), nan=1.0) - 1.0
    for stage in machine.stages:
        wet, dried_share[machine.within(stage.setup_s, np.inf)] = _charge(machine, stage)
        rows = machine.within(stage.setup_s, stage.stop_s)
        dried = drying(
            machine.time_s[rows] - stage.setup_s,
            wet=wet,
            dry=min(wet, equilibrium),
            time_constant_s=time_constant_s,
        )
        too_much = wetter[rows] * wet * overload
        dried += first_order(too_much, period_s=machine.period_s, time_constant_s=time_constant_s, start=0.0)
        moisture[rows] = np.minimum(dried, 1.0)
        if rows.stop > rows.start:
            held = float(moisture[rows.stop - 1])
            moisture[rows.stop :] = held
    noise = moisture * machine.noise(MOISTURE, phi=0.7, sd=0.02)
    values = {MOISTURE: moisture, FEED_MOISTURE: moisture * dried_share}
    return Trace(values=values, noise={MOISTURE: noise}, memory={MOISTURE: held})


def _charge(machine: Machine, stage: Stage) -> tuple[float, float]:
    """Planned moisture of what goes into the dryer, water mass fraction, and its share of the feed's mass."""
    material = text(machine.parameters, "material", stage.recipe.ingredients[0].material)
    planned = stage.planned_inputs
    charge = [flow for flow in planned if flow.portion.material == material] or planned
    wet_g = sum(flow.dry_g + flow.water_g for flow in charge)
    return sum(flow.water_g for flow in charge) / wet_g, wet_g / GRAMS_PER_KG / stage.feed_kg
