"""Simulator parameters of the plant file, read with their defaults. Every default can be overridden there."""

import math

from filiere.errors import PlantError
from filiere.plant import Parameters

TINY = 1e-9
"""Smallest number that something is divided by."""


def number(
    parameters: Parameters, name: str, default: float, *, low: float = -math.inf, high: float = math.inf
) -> float:
    """A number from `low` to `high`. Raises PlantError when the plant file gives something else."""
    value = parameters.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        bounds = "" if (low, high) == (-math.inf, math.inf) else f" from {low:g} to {high:g}"
        raise PlantError(f"simulator.{name}: got {value!r}; expected a number{bounds}: correct the plant file")
    return float(value)


def positive(parameters: Parameters, name: str, default: float) -> float:
    """A number above 0. Raises PlantError when the plant file gives something else."""
    return number(parameters, name, default, low=TINY)


def text(parameters: Parameters, name: str, default: str) -> str:
    """A text. Raises PlantError when the plant file gives something else."""
    value = parameters.get(name, default)
    if not isinstance(value, str):
        raise PlantError(f"simulator.{name}: got {value!r}; expected a text: correct the plant file")
    return value


def flag(parameters: Parameters, name: str, *, default: bool) -> bool:
    """True or false. Raises PlantError when the plant file gives something else."""
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise PlantError(f"simulator.{name}: got {value!r}; expected true or false: correct the plant file")
    return value
