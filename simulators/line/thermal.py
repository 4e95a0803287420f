"""Heat in a barrel: metal, melt and heaters of each zone, and the controllers that make it cycle.

Of zone i, with T the metal, Tm the melt, q the heater's heat, u its controller's duty 0..1:

    C·dT/dt  = q − k·hA·(T − Tm) − UA·(T − Troom) + G·(T[i−1] − 2T + T[i+1]) + draught
    Cm·dTm/dt = ṁ·cp·(Tm[i−1] − Tm) + w[i]·Qshear − Qsteam[i] + k·hA·(T − Tm)
    τh·dq/dt = u·P − q                        the band of a heater is heated before the barrel is
    τf·dTf/dt = T − Tf                        the controller sees the temperature late, e = Tset − Tf
    v = K·e + I, cut to 0..1                  dI/dt = K·e/Ti while |e| < the integral's band
    u = v as soon as |v − u| ≥ Δ, or v is 0 or 1: a relay's timing is set anew only when it is worth it

Nothing makes the temperatures swing from outside: the duty that a zone needs is never quite the one that its relay
holds, so the integral moves on until the relay follows, and then too far. Gain, integral time and Δ say how long a
cycle lasts and how wide it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, fsum, log

import numpy as np

from simulators.line.exact import CELSIUS, KG_S, SHARE, WATT, exact, exact_number
from simulators.line.physics import GAS_CONSTANT, KELVIN, Array

STEP_S = 5.0
"""Heat is marched in steps of at most this, or of one row where rows are further apart, and interpolated in between."""
COOLING_STEP_S = 30.0
COLD_AFTER_S = 48 * 3600.0
"""A barrel that was off for longer is as cold as after this."""
THICK_MOST = 2.0
"""A cold melt heats itself at most this many times more: a screw slips before [K]."""
METAL, MELT, HEATER, FILTERED, INTEGRAL, DUTY = "", ".melt", ".heater", ".filtered", ".integral", ".duty"
"""What is remembered of a zone, behind its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Barrel:
    """Constants of a heated barrel with n zones, the same for each zone."""

    heater_w: float
    heater_lag_s: float
    capacity_j_k: float
    """Metal of a zone."""
    melt_j_k: float
    """Melt inside a zone."""
    metal_to_melt_w_k: float
    solids_contact: float
    """Share of it in the first zone, where nothing is molten yet; it rises to the whole by the middle of the barrel."""
    metal_to_room_w_k: float
    between_zones_w_k: float
    melt_cp_j_kg_k: float
    room_c: float
    gain: float
    """Heater duty per °C of error."""
    integral_s: float
    integral_band_c: float
    """The integral only moves while the error is smaller than this: a wide band gives the overshoot of a real loop."""
    filter_s: float
    duty_step: float
    """Δ: the duty is set anew when it is wrong by this much."""
    activation_j_mol: float
    """Of the viscosity at constant shear rate."""


@dataclass(slots=True, kw_only=True)
class Zones:
    """What changes in a barrel from one instant to the next, one number a zone."""

    metal_c: list[float]
    melt_c: list[float]
    heater_w: list[float]
    filtered_c: list[float]
    integral: list[float]
    """Integral part of the duty, 0..1."""
    duty: list[float]
    """What the relay is set to, 0..1."""

    @classmethod
    def recalled(cls, names: Sequence[str], memory: Mapping[str, float], room_c: float) -> "Zones":
        """As they were remembered; never heated before = as warm as the room."""
        return cls(
            metal_c=[memory.get(f"{name}{METAL}", room_c) for name in names],
            melt_c=[memory.get(f"{name}{MELT}", room_c) for name in names],
            heater_w=[memory.get(f"{name}{HEATER}", 0.0) for name in names],
            filtered_c=[memory.get(f"{name}{FILTERED}", room_c) for name in names],
            integral=[memory.get(f"{name}{INTEGRAL}", 0.0) for name in names],
            duty=[memory.get(f"{name}{DUTY}", 0.0) for name in names],
        )

    def remembered(self, names: Sequence[str]) -> dict[str, float]:
        """For the next cycle."""
        columns = {
            METAL: self.metal_c,
            MELT: self.melt_c,
            HEATER: self.heater_w,
            FILTERED: self.filtered_c,
            INTEGRAL: self.integral,
            DUTY: self.duty,
        }
        return {f"{name}{of}": column[at] for of, column in columns.items() for at, name in enumerate(names)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What a barrel goes through, at each of m steps; arrays have shape (m,) or (m, zones)."""

    step_s: Array
    set_points_c: Array
    reference_c: Array
    """Melt temperature at which the shear heat is `shear_w`."""
    shear_w: Array
    """Shear heat of all zones at the reference temperature."""
    flow_kg_s: Array
    inlet_c: Array
    """Of what falls into the first zone."""
    steam_w: Array
    """Heat that water takes from the first zone's melt as it boils."""
    draught_w: Array
    """To the metal of each zone, (m, zones)."""
    power_left: Array
    """Share of its power that each heater still has, (m, zones)."""
    stuck_on: Array
    """Share of its power that each heater cannot fall below, (m, zones)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heat:
    """What came of it, at the beginning of each step and at the end of the last, shape (m + 1,)."""

    metal_c: Array
    """(m + 1, zones)"""
    melt_c: Array
    """At the end of the last zone."""
    shear_w: Array
    heaters_w: Array
    """Of all zones."""


def shear_weights(zones: int) -> Array:
    """How shear heat spreads over the zones, shape (zones,), sum 1: most in the melting zone, least at the ends."""
    place = (np.arange(zones) + 1.0) / (zones + 1.0)
    weights = np.sin(np.pi * place) + 0.3
    return np.asarray(weights / weights.sum())


def contacts(zones: int, first: float) -> Array:
    """Share of the metal's contact with the material in each zone, shape (zones,): `first` … 1 from the middle on."""
    return np.asarray(np.minimum(1.0, first + (1.0 - first) * 2.0 * np.arange(zones) / zones))


def march(barrel: Barrel, zones: Zones, course: Course) -> Heat:
    """Take `zones` through `course`; they are then what is at its end.

    Plain floats: five zones are too few for numpy. Metal, heater and controller go one explicit step; the melt is
    implicit in its own temperature, zone after zone, which is stable for any flow.
    """
    steps = zip(
        course.step_s.tolist(),
        course.reference_c.tolist(),
        exact(course.shear_w, WATT).tolist(),
        exact(course.flow_kg_s, KG_S).tolist(),
        exact(course.inlet_c, CELSIUS).tolist(),
        exact(course.steam_w, WATT).tolist(),
        course.set_points_c.tolist(),
        exact(course.draught_w, WATT).tolist(),
        course.power_left.tolist(),
        course.stuck_on.tolist(),
        strict=True,
    )
    weights = exact(shear_weights(len(zones.metal_c)), SHARE).tolist()
    to_melt_w_k = (barrel.metal_to_melt_w_k * contacts(len(weights), barrel.solids_contact)).tolist()
    over_r = barrel.activation_j_mol / GAS_CONSTANT
    thick_most = log(THICK_MOST)
    metal_c, melt_c, shear_w, heaters_w = [list(zones.metal_c)], [zones.melt_c[-1]], [], [fsum(zones.heater_w)]
    for step_s, reference_c, nominal_w, flow_kg_s, inlet_c, steam_w, *each_zone in steps:
        colder = 1.0 / (zones.melt_c[-1] + KELVIN) - 1.0 / (reference_c + KELVIN)
        shear = exact_number(nominal_w * exp(min(over_r * colder, thick_most)), WATT)
        sheared_w = [shear * weight for weight in weights]
        carried_w_k = flow_kg_s * barrel.melt_cp_j_kg_k
        _step(barrel, zones, step_s, carried_w_k, inlet_c, steam_w, (to_melt_w_k, sheared_w, *each_zone))
        metal_c.append(list(zones.metal_c))
        melt_c.append(zones.melt_c[-1])
        shear_w.append(shear)
        heaters_w.append(fsum(zones.heater_w))
    shear_w.append(shear_w[-1] if shear_w else 0.0)
    return Heat(
        metal_c=np.array(metal_c), melt_c=np.array(melt_c), shear_w=np.array(shear_w), heaters_w=np.array(heaters_w)
    )


def _step(
    barrel: Barrel,
    zones: Zones,
    step_s: float,
    carried_w_k: float,
    upstream_c: float,
    steam_w: float,
    each_zone: tuple[list[float], ...],
) -> None:
    """Advance all zones by `step_s`.

    `each_zone`: contact W/K, shear heat W, set points °C, draughts W, power left, stuck on: one number a zone.
    """
    to_melt_w_k, shear_w, set_points_c, draughts_w, left, stuck_on = each_zone
    metal, melt, heater = zones.metal_c, zones.melt_c, zones.heater_w
    filtered, integral, duty = zones.filtered_c, zones.integral, zones.duty
    heated = exact_number(1.0 - exp(-step_s / barrel.heater_lag_s), SHARE)
    seen = exact_number(1.0 - exp(-step_s / barrel.filter_s), SHARE)
    stored_w_k, to_room_w_k, across_w_k = barrel.melt_j_k / step_s, barrel.metal_to_room_w_k, barrel.between_zones_w_k
    warmed, gain, duty_step = step_s / barrel.capacity_j_k, barrel.gain, barrel.duty_step
    last, before_c = len(metal) - 1, metal[0]
    for zone in range(last + 1):
        here_c = metal[zone]
        after_c = metal[zone + 1] if zone < last else here_c
        error_c = set_points_c[zone] - filtered[zone]
        if -barrel.integral_band_c < error_c < barrel.integral_band_c:
            integral[zone] = min(1.0, max(0.0, integral[zone] + gain * error_c * step_s / barrel.integral_s))
        wanted = min(1.0, max(0.0, gain * error_c + integral[zone]))
        if not -duty_step < wanted - duty[zone] < duty_step or wanted in (0.0, 1.0):
            duty[zone] = wanted
        heater[zone] += heated * (max(duty[zone] * left[zone], stuck_on[zone]) * barrel.heater_w - heater[zone])
        filtered[zone] += seen * (here_c - filtered[zone])
        upstream_c = melt[zone] = (
            stored_w_k * melt[zone] + carried_w_k * upstream_c + shear_w[zone] - steam_w + to_melt_w_k[zone] * here_c
        ) / (stored_w_k + carried_w_k + to_melt_w_k[zone])
        metal[zone] = here_c + warmed * (
            heater[zone]
            - to_melt_w_k[zone] * (here_c - upstream_c)
            - to_room_w_k * (here_c - barrel.room_c)
            + across_w_k * (before_c - 2.0 * here_c + after_c)
            + draughts_w[zone]
        )
        steam_w, before_c = 0.0, here_c


def cooled(barrel: Barrel, zones: Zones, off_s: float) -> None:
    """Let `zones` cool, with everything off, for `off_s`; the controllers begin anew after it."""
    steps = int(min(off_s, COLD_AFTER_S) // COOLING_STEP_S)
    count = len(zones.metal_c)
    nothing, none = np.zeros(steps), np.zeros((steps, count))
    course = Course(
        step_s=np.full(steps, COOLING_STEP_S),
        set_points_c=none,
        reference_c=np.full(steps, barrel.room_c),
        shear_w=nothing,
        flow_kg_s=nothing,
        inlet_c=nothing,
        steam_w=nothing,
        draught_w=none,
        power_left=none,
        stuck_on=none,
    )
    march(barrel, zones, course)
    zones.integral[:] = zones.duty[:] = [0.0] * count
    zones.filtered_c[:] = zones.metal_c
