"""The formulas of the simulated machines. Pure; every constant comes from the plant file, with a mark of its source.

p ~ N^0.63 was measured on a real recycled-polypropylene extruder; the power law with Arrhenius' temperature is the
textbooks' for polymer melts. Heat in the barrel is in `thermal.py`.
"""

from math import exp

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]
"""UTC ms or ns."""

GAS_CONSTANT = 8.314
"""J/(mol·K)."""
KELVIN = 273.15
SECONDS_PER_HOUR = 3600.0
FLOW_INDEX = 0.40
"""n of the power law η ~ γ̇^(n−1)."""


def quantised(values: Array, resolution: float) -> Array:
    """What a display with this resolution shows: the nearest multiple, free of binary dust. 0 = as it is."""
    if resolution <= 0.0:
        return values
    decimals = max(0, -int(np.floor(np.log10(resolution))) + 1)
    return np.round(np.round(values / resolution) * resolution, decimals) + 0.0


def trapezoid(time_s: Array, *, start_s: float, stop_s: float, ramp_s: float) -> Array:
    """0 before start, 1 on the plateau, 0 after stop, straight ramps of ramp_s inside. Shape of time_s."""
    ramp_s = max(min(ramp_s, (stop_s - start_s) / 2.0), 1e-9)
    return np.clip(np.minimum(time_s - start_s, stop_s - time_s) / ramp_s, 0.0, 1.0)


def trapezoid_done(time_s: Array, *, start_s: float, stop_s: float, ramp_s: float) -> Array:
    """Share of the trapezoid's area before each time, 0..1. Shape of time_s."""
    ramp_s = max(min(ramp_s, (stop_s - start_s) / 2.0), 1e-9)
    area = stop_s - start_s - ramp_s
    up = np.clip(time_s - start_s, 0.0, ramp_s)
    plateau = np.clip(time_s - start_s - ramp_s, 0.0, stop_s - start_s - 2.0 * ramp_s)
    down = np.clip(time_s - stop_s + ramp_s, 0.0, ramp_s)
    return np.asarray((up * up / (2.0 * ramp_s) + plateau + down - down * down / (2.0 * ramp_s)) / area)


def drying(time_s: Array, *, wet: float, dry: float, time_constant_s: float) -> Array:
    """Moisture of material that dries: m = m_eq + (m_0 − m_eq)·exp(−t/τ), water mass fraction; wet for t < 0."""
    return dry + (wet - dry) * np.exp(-np.maximum(time_s, 0.0) / time_constant_s)


def first_order(values: Array, *, period_s: float, time_constant_s: float, start: float) -> Array:
    """A first-order lag: τ·dy/dt = x − y from y = start, shape of values, exact where x holds for a period."""
    from scipy.signal import lfilter  # noqa: PLC0415 - half a second that only a simulation needs

    kept = exp(-period_s / time_constant_s) if time_constant_s > 0.0 else 0.0
    lagged, _ = lfilter([1.0 - kept], [1.0, -kept], values, zi=[kept * start])
    return np.asarray(lagged)


def die_pressure(speed: Array, *, reference_bar: float, reference_speed: float, exponent: float) -> Array:
    """P = p_ref·(N/N_ref)^0.63, bar: measured 14 bar at 5/min, 28 at 20, 41 at 30, 60 at 40."""
    return np.asarray(reference_bar * (np.maximum(speed, 0.0) / reference_speed) ** exponent)


def screen_drop(caught_kg: Array, *, clean_bar: float, capacity_kg: float) -> Array:
    """Pressure drop of a screen that clogs: Δp = Δp0·(1 + m/m0)², bar."""
    return np.asarray(clean_bar * (1.0 + caught_kg / capacity_kg) ** 2)


def viscosity(melt_c: Array, *, reference_c: Array | float, activation_j_mol: float) -> Array:
    """η/η_ref = exp[Ea/R·(1/T − 1/T_ref)] at one shear rate: a hotter melt is thinner. Shape of melt_c.

    `activation_j_mol` is that at constant shear rate: n times that of the melt flow rate, which is at constant stress.
    """
    colder = 1.0 / (melt_c + KELVIN) - 1.0 / (reference_c + KELVIN)
    return np.asarray(np.exp(activation_j_mol / GAS_CONSTANT * colder))


def melt_flow_rate(consistency: Array, *, usual: float, index: float) -> Array:
    """MFR = MFR_usual·(K/K_ref)^(−1/n), g/10 min: the rate at one stress, where γ̇ ~ (τ/K)^(1/n)."""
    return np.asarray(usual * consistency ** (-1.0 / index))
