"""The formulas of the simulated machines. Pure; every constant comes from the plant file.

Sources: zone and melt heat balances, power-law viscosity and p ~ N^0.63 are those of a real recycled-polypropylene
extruder as this project knows it; the constants beside them are engineering knowledge and can be corrected per machine.
"""

from dataclasses import dataclass
from math import exp, sqrt

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]
"""UTC ms or ns."""

GAS_CONSTANT = 8.314
"""J/(mol·K)."""
KELVIN = 273.15
SECONDS_PER_HOUR = 3600.0
SHARE_OF_SPEED = 1.4
"""Shear heat grows with speed to the power 1 + n, with n = 0.40 the flow index of the power law."""


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


def die_pressure(speed: Array, *, reference_bar: float, reference_speed: float, exponent: float) -> Array:
    """P = p_ref·(N/N_ref)^0.63, bar: measured 14 bar at 5/min, 28 at 20, 41 at 30, 60 at 40."""
    return np.asarray(reference_bar * (np.maximum(speed, 0.0) / reference_speed) ** exponent)


def screen_drop(caught_kg: Array, *, clean_bar: float, capacity_kg: float) -> Array:
    """Pressure drop of a screen that clogs: Δp = Δp0·(1 + m/m0)², bar."""
    return np.asarray(clean_bar * (1.0 + caught_kg / capacity_kg) ** 2)


def viscosity_factor(melt_c: float, *, reference_c: float, activation_j_mol: float) -> float:
    """η/η_ref = exp[Ea/R·(1/T − 1/T_ref)]: a hotter melt is thinner."""
    return exp(activation_j_mol / GAS_CONSTANT * (1.0 / (melt_c + KELVIN) - 1.0 / (reference_c + KELVIN)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Barrel:
    """Constants of a heated barrel with n zones, the same for each zone."""

    heater_w: float
    capacity_j_k: float
    """Metal of a zone."""
    melt_j_k: float
    """Melt inside a zone."""
    metal_to_melt_w_k: float
    metal_to_room_w_k: float
    between_zones_w_k: float
    melt_cp_j_kg_k: float
    room_c: float
    gain: float
    """Heater duty per °C of error."""
    integral_s: float
    integral_band_c: float
    """The integral only moves while the error is smaller than this: a wide band gives the overshoot of a real loop."""


@dataclass(slots=True, kw_only=True)
class BarrelState:
    """What changes in a barrel from one instant to the next; each array has shape (n,)."""

    metal_c: Array
    melt_c: Array
    integral: Array
    """Integral part of the heater duty, 0..1."""


def barrel_step(
    barrel: Barrel,
    state: BarrelState,
    set_points_c: Array,
    shear_w: Array,
    disturbance_w: Array,
    flow_kg_s: float,
    dt_s: float,
) -> None:
    """Advance metal, melt and controllers by dt_s; arrays have shape (n,).

    metal: C·dT/dt = u·P − hA(T − Tm) − UA(T − Troom) + G(Tprev − 2T + Tnext)
    melt:  ρ·cp·V·dTm/dt = ṁ·cp·(Tup − Tm) + Qshear + hA(T − Tm)
    """
    metal, melt = state.metal_c, state.melt_c
    error = set_points_c - metal
    moved = state.integral + error * (barrel.gain * dt_s / barrel.integral_s)
    state.integral = np.where(np.abs(error) < barrel.integral_band_c, np.clip(moved, 0.0, 1.0), state.integral)
    duty = np.clip(barrel.gain * error + state.integral, 0.0, 1.0)

    to_melt = barrel.metal_to_melt_w_k * (metal - melt)
    slope = np.diff(metal) * barrel.between_zones_w_k
    conduction = np.append(slope, 0.0) - np.append(0.0, slope)
    heat = (
        duty * barrel.heater_w
        - to_melt
        - barrel.metal_to_room_w_k * (metal - barrel.room_c)
        + conduction
        + disturbance_w
    )

    carried_w_k = flow_kg_s * barrel.melt_cp_j_kg_k
    upstream = np.append(barrel.room_c, melt[:-1])
    # Implicit in the melt's own temperature: stable for any flow and period.
    rate_w_k = barrel.melt_j_k / dt_s
    state.melt_c = (rate_w_k * melt + carried_w_k * upstream + shear_w + barrel.metal_to_melt_w_k * metal) / (
        rate_w_k + carried_w_k + barrel.metal_to_melt_w_k
    )
    state.metal_c = metal + heat * (dt_s / barrel.capacity_j_k)


def shear_weights(zones: int) -> Array:
    """How shear heat spreads over the zones, shape (zones,), sum 1: most in the melting zone, least at the ends."""
    place = (np.arange(zones) + 1.0) / (zones + 1.0)
    weights = np.sin(np.pi * place) + 0.3
    return np.asarray(weights / weights.sum())


def one_minute_sd(sd: float, *, phi: float, period_s: float) -> float:
    """Standard deviation of one-minute means of AR(1) noise: sd·sqrt((1 + φ)/(1 − φ)/n)."""
    return sd * sqrt((1.0 + phi) / (1.0 - phi) * period_s / 60.0)
