"""Simulator parameters of the plant file, read with their defaults. Every default can be overridden there."""

from filiere.errors import PlantError
from filiere.plant import Parameters


def number(parameters: Parameters, name: str, default: float) -> float:
    """A number. Raises PlantError when the plant file gives something else."""
    value = parameters.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PlantError(f"simulator.{name}: got {value!r}; expected a number: correct the plant file")
    return float(value)


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
