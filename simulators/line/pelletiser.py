"""The pelletiser: what the extruder gives it, a little later, and the water that takes the heat away."""

import numpy as np

from simulators.line.machines import Machine, Trace
from simulators.line.parameters import number, positive
from simulators.line.physics import SECONDS_PER_HOUR, first_order

PELLET_FLOW, WATER_TEMP = "pellet_flow", "water_temp"


def pelletiser(machine: Machine) -> Trace:
    """Pellets come `delay_s` after the melt, less the purge; the water warms with them.

    T_water = T_supply + ṁ·c·(T_melt − T_pellet) / (c_w·ṁ_water), through the tank's time constant.
    """
    given, count = machine.parameters, len(machine.time_s)
    left_s = machine.time_s - number(given, "delay_s", 20.0)
    melt_kg_h, melt_c = machine.before("throughput", time_s=left_s), machine.before("melt_temp", time_s=left_s)
    if melt_kg_h is None:
        melt_kg_h = sum((machine.load(stage) * stage.flow_kg_h for stage in machine.stages), np.zeros(count))
    hot_c = np.full(count, number(given, "melt_c", 200.0)) if melt_c is None else melt_c
    flow = melt_kg_h * (1.0 - number(given, "purge", 0.03))
    cooled_c = np.maximum(hot_c - number(given, "pellet_c", 70.0), 0.0)
    brought_w = flow / SECONDS_PER_HOUR * number(given, "cp_j_kg_k", 2400.0) * cooled_c
    rise_c = brought_w / (positive(given, "water_kg_s", 2.0) * positive(given, "water_cp_j_kg_k", 4186.0))
    tank_s = positive(given, "tank_s", 600.0)
    warm = first_order(
        rise_c, period_s=machine.period_s, time_constant_s=tank_s, start=machine.memory.get("rise_c", 0.0)
    )
    supply = number(given, "supply_c", 38.0) + machine.noise("supply", phi=0.995, sd=0.4)
    memory = {"rise_c": float(warm[-1])} if len(warm) else dict(machine.memory)
    noise = {
        PELLET_FLOW: flow * machine.noise(PELLET_FLOW, phi=0.5, sd=0.01),
        WATER_TEMP: machine.noise(WATER_TEMP, phi=0.2, sd=0.05),
    }
    return Trace(values={PELLET_FLOW: flow, WATER_TEMP: supply + warm}, noise=noise, memory=memory)
