"""What a lot's material is like in the machines: no two blends flow and foul alike."""

from dataclasses import dataclass

from filiere.plant import Parameters
from simulators.line.parameters import number
from simulators.line.plan import Plan, Stage
from simulators.line.randomness import bounded_normal, generator


@dataclass(frozen=True, slots=True, kw_only=True)
class Blend:
    """A lot's material against the usual one."""

    consistency: float
    """K/K_ref of the power law, 1 = usual."""
    dirt: float
    """Times the usual dirt."""


def blend_of(plan: Plan, stage: Stage, parameters: Parameters, *, seed: int) -> Blend:
    """The blend of a run: every machine and the laboratory have the same. `parameters` are the line's.

    Raises PlantError: a parameter is not a number.
    """
    chance = generator(seed, plan.cycle.line, plan.cycle.number, "blend", stage.run)
    consistency = 1.0 + number(parameters, "blend_spread", 0.08) * bounded_normal(chance)
    dirt = 1.0 + number(parameters, "dirt_spread", 0.15) * bounded_normal(chance)
    return Blend(consistency=max(0.1, consistency), dirt=max(0.1, dirt))
