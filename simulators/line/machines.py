"""Models of machines other than the extruder: what each device shows in a lot cycle, before its display rounds.

A model is a function from a `Machine` (one unit of a line in one cycle) to a `Trace`. Signals that a model does not
speak of behave steadily around their target, so that a plant file needs no parameters at all to be simulated.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from filiere.clock import NS_PER_S
from filiere.plant import Parameters, Signal, Unit, limits_of
from simulators.faults.fault import Active, ProcessFault
from simulators.line.operator import Plan, Stage
from simulators.line.parameters import number, text
from simulators.line.physics import Array, drying, trapezoid, trapezoid_done
from simulators.line.randomness import autoregressive, bounded_normal, generator

BATCH_WEIGHT = "batch_weight"
UNLOADING_S = 120.0
"""The full bag stays on the scale this long after the run has closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One unit of a line in one cycle."""

    unit: Unit
    plan: Plan
    active: tuple[Active, ...]
    """The faults of this line."""
    seed: int
    time_s: Array
    """Instants of the device's rows, seconds after the cycle's start, shape (n,)."""
    period_s: float
    memory: Mapping[str, float]
    """What the machine remembers of the cycle before."""

    @property
    def parameters(self) -> Parameters:
        """Of the plant file."""
        return self.unit.simulator

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The runs that this unit takes part in."""
        return tuple(stage for stage in self.plan.stages if self.unit.id in stage.step.units)

    @property
    def targets(self) -> tuple[Mapping[str, float], ...]:
        """The set points of the runs that this unit takes part in."""
        return tuple(stage.recipe.targets for stage in self.stages)

    def chance(self, name: str) -> np.random.Generator:
        """A stream of random numbers of this unit's own."""
        return generator(self.seed, self.plan.cycle.line, self.plan.cycle.number, self.unit.id, name)

    def noise(self, name: str, *, phi: float, sd: float) -> Array:
        """AR(1) noise over the whole cycle, shape (n,); a plant file may set `<name>_phi` and `<name>_sd`."""
        phi = number(self.parameters, f"{name}_phi", phi)
        sd = number(self.parameters, f"{name}_sd", sd)
        return autoregressive(self.chance(name), len(self.time_s), phi=phi, sd=sd)

    def load(self, stage: Stage) -> Array:
        """0 at rest, 1 on the plateau of a run's feed, shape (n,)."""
        return trapezoid(self.time_s, start_s=stage.feed_start_s, stop_s=stage.feed_stop_s, ramp_s=stage.ramp_s)

    def done(self, stage: Stage) -> Array:
        """Share of a run's feed that went through, 0..1, shape (n,)."""
        return trapezoid_done(self.time_s, start_s=stage.feed_start_s, stop_s=stage.feed_stop_s, ramp_s=stage.ramp_s)

    def severity(self, kind: type[ProcessFault], signal: str = "") -> Array:
        """How badly this unit, or its `signal`, has this fault at each instant, shape (n,); NaN = it has not."""
        severity = np.full(len(self.time_s), np.nan)
        start_s = self.plan.cycle.start_ns / NS_PER_S
        for active in self.active:
            fault = active.fault
            if isinstance(fault, kind) and fault.touches(self.unit.id, signal):
                window = active.window
                rows = self.within(window.start_ns / NS_PER_S - start_s, window.stop_ns / NS_PER_S - start_s)
                severity[rows] = fault.severity if fault.scale is not None else 1.0
        return severity

    def within(self, start_s: float, stop_s: float) -> slice:
        """Rows in [start_s, stop_s)."""
        first, last = np.searchsorted(self.time_s, [start_s, stop_s])
        return slice(int(first), int(last))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What a device shows in a cycle."""

    values: Mapping[str, Array]
    """Signal id → what is truly there, shape (n,)."""
    noise: Mapping[str, Array] = field(default_factory=dict)
    """Signal id → what the sensor adds to it, shape (n,); absent = nothing."""
    memory: Mapping[str, float] = field(default_factory=dict)
    """For the next cycle."""


Model = Callable[[Machine], Trace]


def steady(machine: Machine) -> Trace:
    """Every signal near its target while its unit runs, at rest otherwise."""
    return Trace(values={signal.id: _steady(machine, signal) for signal in machine.unit.signals})


def _steady(machine: Machine, signal: Signal) -> Array:
    """`<signal>_run` and `<signal>_rest` of the plant file; else the recipe's set point, which is held at rest too
    (a hot machine waits hot), or the limits' middle, 0 at rest.
    """
    span = signal.range_high - signal.range_low
    held = next((targets[signal.key] for targets in machine.targets if signal.key in targets), None)
    rest = number(machine.parameters, f"{signal.id}_rest", max(0.0, signal.range_low) if held is None else held)
    level = np.full(len(machine.time_s), rest)
    for stage in machine.stages:
        usual = number(machine.parameters, f"{signal.id}_run", _target(stage, signal, span))
        level += machine.load(stage) * (usual - rest)
    sd = max(signal.resolution, abs(float(level.max(initial=0.0))) * 0.005)
    noise = machine.noise(signal.id, phi=0.9, sd=sd)
    busy = np.where(level == rest, 0.2, 1.0)
    high = number(machine.parameters, f"{signal.id}_most", signal.range_high)
    return np.clip(level + busy * noise, signal.range_low, high)


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


def sorter(machine: Machine) -> Trace:
    """Near-infrared share of the wanted fibre: a level of its own for each lot; an empty belt keeps the last value."""
    held = machine.memory.get("fibre_ratio", number(machine.parameters, "fibre_ratio_run", 0.95))
    ratio = np.full(len(machine.time_s), held)
    for stage in machine.stages:
        usual = stage.recipe.targets.get(f"{machine.unit.id}.fibre_ratio", held)
        between_lots = number(machine.parameters, "between_lots_sd", 0.008)
        level = usual + between_lots * bounded_normal(machine.chance(stage.run))
        noise = machine.noise("fibre_ratio", phi=0.85, sd=0.006)
        rows = machine.within(stage.feed_start_s, stage.feed_stop_s)
        ratio[rows] = np.clip(level + noise[rows], 0.0, 1.0)
        if rows.stop > rows.start:
            held = float(ratio[rows.stop - 1])
            ratio[rows.stop :] = held
    return Trace(values={"fibre_ratio": ratio}, memory={"fibre_ratio": held})


def dryer(machine: Machine) -> Trace:
    """Moisture of the charge: exponential from what came in to the dry air's equilibrium, held while it is used."""
    held = machine.memory.get("moisture", number(machine.parameters, "equilibrium", 0.001))
    moisture = np.full(len(machine.time_s), held)
    for stage in machine.stages:
        material = text(machine.parameters, "material", stage.recipe.ingredients[0].material)
        charge = [flow for flow in stage.inputs if flow.portion.material == material] or list(stage.inputs)
        wet = sum(flow.water_g for flow in charge) / sum(flow.dry_g + flow.water_g for flow in charge)
        rows = machine.within(stage.setup_s, stage.stop_s)
        curve = drying(
            machine.time_s[rows] - stage.setup_s,
            wet=wet,
            dry=min(wet, number(machine.parameters, "equilibrium", 0.001)),
            time_constant_s=number(machine.parameters, "time_constant_s", 1200.0),
        )
        noise = machine.noise("moisture", phi=0.7, sd=0.02)[rows]
        moisture[rows] = np.maximum(curve * (1.0 + noise), 0.0)
        if rows.stop > rows.start:
            held = float(moisture[rows.stop - 1])
            moisture[rows.stop :] = held
    return Trace(values={"moisture": moisture}, memory={"moisture": held})


def feeder(machine: Machine) -> Trace:
    """Loss-in-weight feeders of a first ingredient (fibre) and the rest (polymer).

    Between refills the weight loss controls the flow: noise of 0.3–0.5 % at one minute. During a refill the screw runs
    at its last speed (volumetric hold) while the head of material presses: a few percent too much, which then fades.
    """
    count = len(machine.time_s)
    fibre, polymer, weight = np.zeros(count), np.zeros(count), np.zeros(count)
    held = machine.memory.get("fibre_ratio", 0.0)
    ratio = np.full(count, held)
    fed_kg = machine.memory.get("fed_kg", 0.0)
    high_kg = number(machine.parameters, "hopper_high_kg", 20.0)
    swing_kg = high_kg - number(machine.parameters, "hopper_low_kg", 11.0)
    weight[:] = high_kg - fed_kg % swing_kg
    for stage in machine.stages:
        dry_share = stage.dry_share(stage.recipe.ingredients[0].material)
        dry_kg_h = stage.flow_kg_h * sum(flow.dry_g for flow in stage.inputs) / 1000.0 / stage.feed_kg
        load = machine.load(stage)
        refill_s = number(machine.parameters, "refill_s", 15.0)
        plateau_kg_h = dry_kg_h * dry_share
        done_kg = machine.done(stage) * dry_share * sum(flow.dry_g for flow in stage.inputs) / 1000.0 + fed_kg
        since_kg = done_kg % swing_kg
        since_s = since_kg / plateau_kg_h * 3600.0
        refilled = (done_kg >= swing_kg) & (since_s < 3.0 * refill_s)
        surge = number(machine.parameters, "surge", 0.015) * np.where(
            since_s < refill_s, since_s / refill_s, np.exp(1.0 - since_s / refill_s)
        )
        error = machine.noise("fibre_feed", phi=0.9, sd=0.007) + np.where(refilled, surge, 0.0)
        dry_fibre = plateau_kg_h * load * (1.0 + error)
        dry_polymer = dry_kg_h * (1.0 - dry_share) * load * (1.0 + machine.noise("polymer_feed", phi=0.9, sd=0.005))
        fibre += dry_fibre
        polymer += dry_polymer
        rows = machine.within(stage.feed_start_s, stage.feed_stop_s)
        fed = dry_fibre + dry_polymer
        flowing = np.flatnonzero(fed[rows] > 0.05 * dry_kg_h) + rows.start
        ratio[flowing] = dry_fibre[flowing] / fed[flowing]
        if len(flowing):
            held = float(ratio[flowing[-1]])
            ratio[: flowing[0]] = np.where(ratio[: flowing[0]] == 0.0, dry_share, ratio[: flowing[0]])
            ratio[flowing[-1] :] = held
        filling = np.clip(since_s / refill_s, 0.0, 1.0)
        hopper = high_kg - since_kg
        before = high_kg - swing_kg
        weight[rows.start :] = np.where(refilled, before + filling * (hopper - before), hopper)[rows.start :]
        fed_kg = float(done_kg[-1] % swing_kg) if count else fed_kg
    weight += machine.noise("hopper_weight", phi=0.3, sd=0.01)
    values = {"fibre_feed": fibre, "polymer_feed": polymer, "hopper_weight": weight, "fibre_ratio": ratio}
    return Trace(values=values, memory={"fibre_ratio": held, "fed_kg": fed_kg})


def scale(machine: Machine) -> Trace:
    """A class C3 scale that fills with a run's product and shows, full, what the operator wrote down."""
    full_scale_kg = number(machine.parameters, "full_scale_kg", 1500.0)
    weight = np.zeros(len(machine.time_s))
    for stage in machine.stages:
        shown_kg = float(stage.outputs[0].portion.mass_kg)
        rows = machine.within(stage.feed_start_s, stage.stop_s + UNLOADING_S)
        weight[rows] = shown_kg * machine.done(stage)[rows]
    chance = machine.chance("tare")
    walk_sd = number(machine.parameters, "tare_walk_per_h", 1e-4) * full_scale_kg
    steps = chance.standard_normal(len(machine.time_s)) * walk_sd * np.sqrt(machine.period_s / 3600.0)
    tare = machine.memory.get("tare_kg", 0.0) + np.cumsum(steps)
    # The operator tares the empty scale before each run, so that the walk does not reach the weighing.
    for stage in machine.stages:
        rows = machine.within(stage.setup_s, np.inf)
        if rows.stop > rows.start:
            tare[rows] -= tare[rows.start]
    noise = machine.noise(BATCH_WEIGHT, phi=0.2, sd=number(machine.parameters, "noise", 1e-4) * full_scale_kg)
    busy = np.where(weight > 0.0, 1.0, 0.3)
    memory = {"tare_kg": float(tare[-1])} if len(tare) else {}
    return Trace(values={BATCH_WEIGHT: np.maximum(weight + tare + busy * noise, 0.0)}, memory=memory)
