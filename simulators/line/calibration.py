"""How the simulated extruder compares with the measured one: the statistics, and the ranges that were measured.

The ranges are those of a real recycled-polypropylene extruder, five zones, scanned every 2 s for eight days. They are
what the constants of the plant file are set against; no detector reads them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from filiere.plant import Label, Plant, Step
from simulators.line.physics import Array

SECONDS_PER_MINUTE = 60.0
SMOOTHED_S = 60.0
"""A cycle is looked for in means over a minute, so that noise is not taken for one."""
CYCLE_S = (240.0, 3600.0)
"""Periods among which a cycle is looked for."""
FINER = 8
"""A spectrum is read at so many times its own resolution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """What was measured of one statistic."""

    low: float
    high: float
    unit: str
    label: Label

    def holds(self, value: float) -> bool:
        """Within the range, its ends included."""
        return self.low <= value <= self.high


MEASURED: Mapping[str, Range] = {
    "heat_up": Range(low=8.0, high=14.0, unit="°C/min", label=Label(fr="Vitesse de chauffe", en="Heat-up rate")),
    "rise": Range(low=8.3, high=16.8, unit="min", label=Label(fr="Montée de 10 à 90 %", en="10–90 % rise")),
    "overshoot": Range(low=4.0, high=10.0, unit="°C", label=Label(fr="Dépassement", en="Overshoot")),
    "cycle": Range(low=12.0, high=29.0, unit="min", label=Label(fr="Période des cycles", en="Period of the cycles")),
    "sd": Range(low=0.3, high=2.2, unit="°C", label=Label(fr="Écart-type établi", en="Steady standard deviation")),
    "still": Range(low=0.93, high=0.97, unit="", label=Label(fr="Différences nulles", en="Differences of exactly 0")),
    "lag_1": Range(low=0.95, high=0.99, unit="", label=Label(fr="Autocorrélation", en="Lag-1 autocorrelation")),
    "lag_1_pressure": Range(
        low=0.1, high=0.86, unit="", label=Label(fr="Autocorrélation de la pression", en="Lag-1, pressure")
    ),
}
PRESSURE_BAR: Mapping[float, float] = {5.0: 14.0, 20.0: 28.0, 30.0: 41.0, 40.0: 60.0, 55.0: 64.0}
"""Screw speed, 1/min → melt pressure before the screen."""
BETWEEN_BLENDS = 0.25
"""Pressure differs by this share, up or down, between blends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatUp:
    """How a cold zone becomes hot."""

    rate_c_min: float
    """Between 10 and 90 % of the way."""
    rise_min: float
    """From 10 to 90 %."""
    overshoot_c: float
    """Above the set point."""


def heat_up(time_s: Array, values: Array, *, set_point_c: float) -> HeatUp:
    """Of a zone's readings from cold until before it is fed; arrays have shape (n,)."""
    way_c = set_point_c - float(values[0])
    at_10, at_90 = (time_s[int(np.argmax(values > values[0] + share * way_c))] for share in (0.1, 0.9))
    rise_min = float(at_90 - at_10) / SECONDS_PER_MINUTE
    return HeatUp(rate_c_min=0.8 * way_c / rise_min, rise_min=rise_min, overshoot_c=float(values.max()) - set_point_c)


def lag_1(values: Array) -> float:
    """Correlation of each reading with the one before it."""
    return float(np.corrcoef(values[1:], values[:-1])[0, 1])


def still(values: Array) -> float:
    """Share of readings that are exactly the one before."""
    return float(np.mean(np.diff(values) == 0))


def cycle_min(values: Array, *, period_s: float) -> float:
    """Period of the strongest cycle, min: the highest peak of the spectrum of minute means, under a Hann window."""
    width = max(1, round(SMOOTHED_S / period_s))
    smooth = np.convolve(values - values.mean(), np.full(width, 1.0 / width), mode="valid")
    power = np.abs(np.fft.rfft(smooth * np.hanning(len(smooth)), FINER * len(smooth))) ** 2
    per_s = np.fft.rfftfreq(FINER * len(smooth), period_s)
    inside = (per_s > 1.0 / CYCLE_S[1]) & (per_s < 1.0 / CYCLE_S[0])
    return float(1.0 / per_s[inside][np.argmax(power[inside])]) / SECONDS_PER_MINUTE


def at_speed(plant: Plant, line_path: str, key: str, speed: float) -> Plant:
    """The plant with a line's screw (`extruder.screw_speed`) at another speed, and its throughput in proportion."""

    def changed(step: Step) -> Step:
        if not any(key in recipe.targets for recipe in step.recipes):
            return step
        turns = speed / step.recipes[0].targets[key]
        given = step.simulator.get("throughput_kg_h", 400.0)
        assert isinstance(given, int | float)
        recipes = tuple(replace(recipe, targets={**recipe.targets, key: speed}) for recipe in step.recipes)
        return replace(step, recipes=recipes, simulator={**step.simulator, "throughput_kg_h": given * turns})

    workshops = tuple(
        replace(
            workshop,
            lines=tuple(
                replace(line, steps=tuple(changed(step) for step in line.steps)) if line.path == line_path else line
                for line in workshop.lines
            ),
        )
        for workshop in plant.workshops
    )
    return replace(plant, workshops=workshops)
