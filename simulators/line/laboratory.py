"""The laboratory: two or three samples of a lot, each read a while after it was taken."""

import numpy as np

from filiere.plant import Unit
from simulators.line.extruder import MELT_CONSISTENCY, MELT_DIRT
from simulators.line.machines import Machine, Trace
from simulators.line.parameters import number
from simulators.line.physics import FLOW_INDEX, Array, melt_flow_rate
from simulators.line.plan import Plan, Stage
from simulators.line.randomness import generator

MELT_FLOW_RATE, CONTAMINANTS = "melt_flow_rate", "contaminants"
SAMPLE_SHARES = {2: (0.2, 0.7), 3: (0.12, 0.45, 0.75)}
"""How much of the feed's time is over when each of two or three samples is taken [K]."""
JITTER_S = 60.0
BEFORE_CLOSING_S = 60.0
"""The last sample is read at least this long before its run closes, the ones before it as much earlier each."""


def reading_times(unit: Unit, plan: Plan, seed: int) -> Array:
    """When samples are read, seconds after the cycle's start, shape (n,), in order: all before their run closes."""
    wait_s = number(unit.simulator, "wait_s", 900.0)
    times: list[float] = []
    for stage in plan.stages:
        taken_s = taken_times(unit, plan, stage, seed)
        for after, each_s in enumerate(reversed(taken_s)):
            times.append(min(each_s + wait_s, stage.stop_s - BEFORE_CLOSING_S * (after + 1)))
    return np.sort(np.array(times))


def taken_times(unit: Unit, plan: Plan, stage: Stage, seed: int) -> list[float]:
    """When the samples of a run are taken, seconds after the cycle's start; none where the unit is not of the run."""
    if unit.id not in stage.step.units:
        return []
    chance = generator(seed, plan.cycle.line, plan.cycle.number, unit.id, "samples", stage.run)
    count = 2 if chance.uniform() < number(unit.simulator, "two_samples", 0.5) else 3
    span_s = stage.feed_stop_s - stage.feed_start_s
    jitter_s = min(JITTER_S, 0.05 * span_s)
    return [
        stage.feed_start_s + share * span_s + chance.uniform(-1.0, 1.0) * jitter_s for share in SAMPLE_SHARES[count]
    ]


def laboratory(machine: Machine) -> Trace:
    """Melt flow rate, g/10 min, and contaminants, 1/kg, of what was in the extruder when the samples were taken.

    MFR = MFR_usual·(K/K_ref)^(−1/n). Contaminants go with the root of the dirt: the screen keeps the rest. They are
    counted: standard deviation √count.
    """
    given = machine.parameters
    taken_s = [
        time_s for stage in machine.stages for time_s in taken_times(machine.unit, machine.plan, stage, machine.seed)
    ]
    sampled = [machine.before(name, time_s=np.array(taken_s)) for name in (MELT_CONSISTENCY, MELT_DIRT)]
    consistency, dirt = (np.ones(len(taken_s)) if found is None else found for found in sampled)
    rate = melt_flow_rate(
        consistency,
        usual=number(given, "melt_flow_rate_usual", 12.0),
        index=number(given, "flow_index", FLOW_INDEX),
    )
    counted = number(given, "contaminants_usual", 20.0) * np.sqrt(dirt)
    errors = machine.chance("reading").standard_normal((len(taken_s), 2))
    return Trace(
        values={MELT_FLOW_RATE: rate, CONTAMINANTS: counted},
        noise={
            MELT_FLOW_RATE: rate * number(given, "melt_flow_rate_sd", 0.03) * errors[:, 0],
            CONTAMINANTS: np.sqrt(counted) * errors[:, 1],
        },
    )
