"""Units of measure at the border: UCUM codes, converted by pint. Inside, a value is in its signal's unit."""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pint

_UCUM = {
    "Cel": "degC",
    "[degF]": "degF",
    "K": "kelvin",
    "bar": "bar",
    "mbar": "millibar",
    "Pa": "pascal",
    "hPa": "hectopascal",
    "kPa": "kilopascal",
    "MPa": "megapascal",
    "[psi]": "pound_force_per_square_inch",
    "kg": "kilogram",
    "g": "gram",
    "t": "metric_ton",
    "[lb_av]": "pound",
    "kg/h": "kilogram/hour",
    "kg/min": "kilogram/minute",
    "g/s": "gram/second",
    "t/h": "metric_ton/hour",
    "1": "dimensionless",
    "%": "percent",
    "[ppm]": "ppm",
    "/min": "1/minute",
    "/s": "1/second",
    "/h": "1/hour",
    "/kg": "1/kilogram",
    "A": "ampere",
    "mA": "milliampere",
    "V": "volt",
    "Hz": "hertz",
    "W": "watt",
    "kW": "kilowatt",
    "kW.h": "kilowatt_hour",
    "W.h": "watt_hour",
    "J": "joule",
    "MJ": "megajoule",
    "s": "second",
    "min": "minute",
    "h": "hour",
    "m": "meter",
    "mm": "millimeter",
    "um": "micrometer",
    "L": "liter",
    "L/min": "liter/minute",
    "dL/g": "deciliter/gram",
    "g/(10.min)": "gram/(10*minute)",
}
"""UCUM code → pint expression. Grows with the plants."""

FRACTION = "1"
"""UCUM for a plain number; the plant's are fractions, which people read in %."""
_SIGNS = {"Cel": "°C", "/min": "tr/min", "kW.h": "kWh", "g/(10.min)": "g/10 min"}
"""UCUM code → sign for people, where they differ."""


def display(code: str, language: str = "fr") -> tuple[float, str]:
    """UCUM → the factor and the sign that people read: a fraction is shown in %."""
    if code == FRACTION:
        return 100.0, "%"
    if language == "en" and code == "/min":
        return 1.0, "rpm"
    return 1.0, _SIGNS.get(code, code)


@cache
def _registry() -> "pint.UnitRegistry[float]":
    import pint  # noqa: PLC0415 - a third of a second that a plant file without conversions does not need

    return pint.UnitRegistry(cache_folder=None)


def check_unit(code: str) -> None:
    """Raises ValueError when `code` is not a known UCUM code."""
    if code not in _UCUM:
        raise ValueError(f"unknown unit; known: {', '.join(_UCUM)}")


@cache
def converter(unit_from: str, unit_to: str) -> Callable[[float], float]:
    """A function from a value in `unit_from` to the same quantity in `unit_to`.

    Raises:
        ValueError: a code is unknown, or the two measure different quantities.
    """
    check_unit(unit_from)
    check_unit(unit_to)
    if unit_from == unit_to:
        return float
    registry = _registry()
    source, target = registry(_UCUM[unit_from]).units, registry(_UCUM[unit_to]).units
    if not source.is_compatible_with(target):
        raise ValueError(f"got unit {unit_from!r}; expected {unit_to!r} or one that converts to it")
    return lambda value: float(registry.Quantity(value, source).m_as(target))
