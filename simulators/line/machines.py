"""What a model of a machine is given, and what it answers.

A model is a function from a `Machine` (one unit of a line in one cycle) to a `Trace`: what is truly there, and what
each sensor adds to it. Row k depends on rows 0 … k and on what the units before it did until then, never on later
ones: a fault is not seen before its onset.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from filiere.plant import Parameters, Unit
from simulators.faults.fault import Active, ProcessFault
from simulators.line.feeding import fed_share, severity_at
from simulators.line.parameters import number
from simulators.line.physics import Array, trapezoid, trapezoid_done
from simulators.line.plan import Plan, Stage
from simulators.line.randomness import autoregressive, generator

PHI_MOST = 0.9999
"""Noise with more memory than this would never end a swing within a lot."""


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
    ran: Mapping[str, "Ran"] = field(default_factory=dict)
    """What the units before it in the line did in this cycle, by unit, in the plant file's order."""

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

    def chance(self, name: str) -> np.random.RandomState:
        """A stream of random numbers of this unit's own."""
        return generator(self.seed, self.plan.cycle.line, self.plan.cycle.number, self.unit.id, name)

    def noise(self, name: str, *, phi: float, sd: float) -> Array:
        """AR(1) noise over the whole cycle, shape (n,); a plant file may set `<name>_phi` and `<name>_sd`."""
        phi = number(self.parameters, f"{name}_phi", phi, low=0.0, high=PHI_MOST)
        sd = number(self.parameters, f"{name}_sd", sd, low=0.0)
        return autoregressive(self.chance(name), len(self.time_s), phi=phi, sd=sd)

    def sensor(self, signal: str, sd: float) -> Array:
        """What a sensor adds of its own: white noise, shape (n,)."""
        return autoregressive(self.chance(f"{signal}.sensor"), len(self.time_s), phi=0.0, sd=sd)

    def load(self, stage: Stage) -> Array:
        """0 at rest, 1 on the plateau of a run's feed, shape (n,)."""
        return trapezoid(self.time_s, start_s=stage.feed_start_s, stop_s=stage.feed_stop_s, ramp_s=stage.ramp_s)

    def done(self, stage: Stage) -> Array:
        """Share of a run's feed that went through, 0..1, shape (n,)."""
        return trapezoid_done(self.time_s, start_s=stage.feed_start_s, stop_s=stage.feed_stop_s, ramp_s=stage.ramp_s)

    def before(self, name: str, *, time_s: Array | None = None) -> Array | None:
        """True values of a signal of the last unit before this one that has it; None = none has.

        At `time_s`, of the unit's own rows where it is not given, shape of it. A value holds until that unit's next
        row: nothing is known before it is there.
        """
        for ran in reversed(tuple(self.ran.values())):
            if name in ran.trace.values:
                rows = np.searchsorted(ran.time_s, self.time_s if time_s is None else time_s, side="right")
                return np.append(ran.memory.get(name, 0.0), ran.trace.values[name])[rows]
        return None

    def severity(self, kind: type[ProcessFault], signal: str = "") -> Array:
        """How badly this unit, or its `signal`, has this fault at each instant, shape (n,); NaN = it has not."""
        return severity_at(
            self.active, kind, self.unit.id, signal, time_s=self.time_s, start_ns=self.plan.cycle.start_ns
        )

    def fed_share(self, signal: str) -> Array:
        """Share of what a feeder is asked for that comes out of it, 0..1, shape (n,)."""
        return fed_share(
            self.active,
            seed=self.seed,
            line=self.plan.cycle.line,
            device=self.unit.id,
            signal=signal,
            time_s=self.time_s,
            start_ns=self.plan.cycle.start_ns,
        )

    def within(self, start_s: float, stop_s: float) -> slice:
        """Rows in [start_s, stop_s)."""
        first, last = np.searchsorted(self.time_s, [start_s, stop_s])
        return slice(int(first), int(last))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What a unit did in a cycle, and what its sensors make of it."""

    values: Mapping[str, Array]
    """Signal id → what is truly there, shape (n,). It may hold more than signals: what later units work with."""
    noise: Mapping[str, Array] = field(default_factory=dict)
    """Signal id → what the sensor adds to it, shape (n,); absent = nothing."""
    memory: Mapping[str, float] = field(default_factory=dict)
    """For the next cycle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a unit did in a cycle: a later unit works with what it was given."""

    time_s: Array
    """Instants of its rows, seconds after the cycle's start, shape (n,)."""
    trace: Trace
    memory: Mapping[str, float] = field(default_factory=dict)
    """What it remembered of the cycle before."""


Model = Callable[[Machine], Trace]
