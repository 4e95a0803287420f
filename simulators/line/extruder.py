"""The extruder: barrel zones and melt with their controllers, shear heat, pressure, a screen that clogs, energy.

The melt's viscosity ties them together: η = K·exp[n·Ea/R·(1/T − 1/T_ref)]·γ̇^(n−1). A thicker blend, a colder melt or a
wrong polymer shows in pressure, motor current and melt temperature at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from filiere.errors import PlantError
from filiere.plant import Limits, Parameters, Signal, Unit
from simulators.faults.process import HeaterOpen, RelayStuckOn, ScreenClog, WrongPolymer
from simulators.line.blend import blend_of
from simulators.line.machines import Machine, Trace
from simulators.line.parameters import number, positive
from simulators.line.physics import FLOW_INDEX, SECONDS_PER_HOUR, Array, die_pressure, first_order, viscosity
from simulators.line.preparing import FEED_MOISTURE
from simulators.line.randomness import autoregressive
from simulators.line.screen import screen
from simulators.line.thermal import COOLING_STEP_S, STEP_S, THICK_MOST, Barrel, Course, Heat, Zones, cooled, march

ZONE_PREFIX = "barrel_temp_z"
SET_POINT_C = 200.0
"""Where neither recipe nor limits say how hot a zone is."""
BOILING_J_KG = 2.26e6
"""To boil a kilogram of water."""
MELT_CONSISTENCY, MELT_DIRT = "melt_consistency", "melt_dirt"
"""What is in the barrel, for those who sample it; no sensor shows it."""
FEEDS = ("fibre_feed", "polymer_feed")
"""Signals of feeders before an extruder: together they are its throughput."""
FULL_MOST = 1.5
"""A screw takes at most so many times what it is made for [K]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Feed:
    """What goes through the screw at each row, shape (n,), and its nominal working point there."""

    speed: Array
    """1/min."""
    flow_kg_h: Array
    consistency: Array
    """K/K_ref."""
    moisture: Array
    nominal_speed: Array
    nominal_kg_h: Array
    melt_c: Array
    """Melt temperature of the working point."""
    zones_c: Array
    """Set points, (n, zones)."""

    @property
    def turning(self) -> Array:
        """N/N_ref."""
        return self.speed / self.nominal_speed

    @property
    def full(self) -> Array:
        """How full the screw is: (Q/Q_ref)/(N/N_ref)."""
        return np.clip(self.flow_kg_h / self.nominal_kg_h / np.maximum(self.turning, 1e-3), 0.0, FULL_MOST)


def extruder(machine: Machine) -> Trace:
    """All signals of an extruder with one zone or more, with or without a screen.

    Raises PlantError: no zone, or a parameter that makes no sense.
    """
    zones = zones_of(machine.unit.signals)
    if not zones:
        raise PlantError(
            f"unit {machine.unit.id}: got simulator.model 'extruder' and no signal {ZONE_PREFIX}1; expected one a zone"
            " of the barrel: add them, or take another model"
        )
    consistency, dirt, remembered = _material(machine)
    feed = _feed(machine, zones, consistency)
    heat, memory = _heat(machine, zones, feed)
    values = {zone: heat.metal_c[:, at] for at, zone in enumerate(zones)}
    values["melt_temp"] = heat.melt_c + machine.noise("melt_temp", phi=0.97, sd=0.3)
    pressure, held = _pressure(machine, feed, values["melt_temp"], dirt)
    values |= pressure | {"screw_speed": feed.speed, "throughput": feed.flow_kg_h}
    values |= {MELT_CONSISTENCY: consistency, MELT_DIRT: dirt}
    drive_kw = heat.shear_w / 1000.0 * (1.0 + machine.noise("motor_load", phi=0.5, sd=0.01))
    given = machine.parameters
    values["motor_current"] = number(given, "idle_a", 12.0) * (feed.speed > 0.0) + drive_kw * number(
        given, "a_per_kw", 2.2
    )
    # E = ∫ (drive + heaters + auxiliaries) dt
    power_kw = drive_kw / number(given, "drive_efficiency", 0.88) + heat.heaters_w / 1000.0
    power_kw += number(given, "auxiliary_kw", 3.0)
    energy = machine.memory.get("energy_kwh", 0.0) + np.cumsum(power_kw) * machine.period_s / SECONDS_PER_HOUR
    values["energy"] = energy
    memory |= held | remembered
    if len(energy):
        memory |= {"energy_kwh": float(energy[-1]), "melt_temp": float(values["melt_temp"][-1])}
    return Trace(values=values, noise=_sensors(machine, zones, values), memory=memory)


def zones_of(signals: Sequence[Signal]) -> list[str]:
    """Ids of the barrel zones' signals, from the hopper on."""
    return [signal.id for signal in signals if signal.id.startswith(ZONE_PREFIX)]


def cooled_down(unit: Unit, memory: Mapping[str, float], off_s: float) -> Mapping[str, float]:
    """What an extruder remembers after it was off for `off_s`: its barrel is colder."""
    names = zones_of(unit.signals)
    barrel = barrel_of(unit.simulator)
    zones = Zones.recalled(names, memory, barrel.room_c)
    cooled(barrel, zones, off_s)
    return {**memory, **zones.remembered(names)}


def _sensors(machine: Machine, zones: list[str], values: dict[str, Array]) -> dict[str, Array]:
    """What the sensors add: thermocouples little, transmitters a share of what they show."""
    given = machine.parameters
    sd_c = number(given, "sensor_sd", 0.03, low=0.0)
    noise = {zone: machine.sensor(zone, sd_c) for zone in zones}
    noise["melt_temp"] = machine.sensor("melt_temp", number(given, "melt_sensor_sd", 0.1, low=0.0))
    share = number(given, "transmitter_sd", 0.002, low=0.0)
    for signal in ("melt_pressure", "melt_pressure_after", "screw_speed", "motor_current", "throughput"):
        noise[signal] = values[signal] * machine.sensor(signal, share)
    return noise


# ------------------------------------------------------------------------------------------------------------- feed


def _feed(machine: Machine, zones: list[str], consistency: Array) -> _Feed:
    count, given = len(machine.time_s), machine.parameters
    stages = machine.stages
    load, speed, asked_kg_h = np.zeros(count), np.zeros(count), np.zeros(count)
    melt_c, nominal_speed, nominal_kg_h = np.full(count, SET_POINT_C), np.ones(count), np.ones(count)
    zones_c = np.zeros((count, len(zones)))
    begun_s = 0.0
    for stage in stages:
        # The set points of a run hold from the end of the one before; the last one's until the cycle ends.
        rows = machine.within(begun_s, np.inf)
        shape, targets, device = machine.load(stage), stage.recipe.targets, machine.unit.id
        each_c = [
            targets.get(f"{device}.{zone}", _middle(stage.recipe.limits.get(f"{device}.{zone}"))) for zone in zones
        ]
        turns = targets.get(f"{device}.screw_speed", number(given, "screw_speed_run", 60.0, low=0.0))
        zones_c[rows] = each_c
        melt_c[rows] = targets.get(f"{device}.melt_temp", each_c[-1] + 5.0 if each_c else SET_POINT_C)
        nominal_speed[rows], nominal_kg_h[rows] = max(turns, 1e-3), max(stage.flow_kg_h, 1e-3)
        load += shape
        speed += shape * turns
        asked_kg_h += shape * stage.flow_kg_h
        begun_s = stage.stop_s
    return _Feed(
        speed=speed * (1.0 + machine.noise("screw_speed", phi=0.6, sd=0.002)),
        flow_kg_h=_flow_kg_h(machine, asked_kg_h),
        consistency=consistency,
        moisture=_or(machine.before(FEED_MOISTURE), count),
        nominal_speed=nominal_speed,
        nominal_kg_h=nominal_kg_h,
        melt_c=melt_c,
        zones_c=zones_c,
    )


def _flow_kg_h(machine: Machine, asked_kg_h: Array) -> Array:
    """What the feeders before it give; without them, what is asked, as far as it comes."""
    if any(machine.before(signal) is not None for signal in FEEDS):
        fallen_s = machine.time_s - number(machine.parameters, "feed_delay_s", 5.0)
        return np.asarray(sum(_or(machine.before(signal, time_s=fallen_s), len(fallen_s)) for signal in FEEDS))
    share = machine.fed_share("throughput")
    return asked_kg_h * share * (1.0 + machine.noise("throughput", phi=0.9, sd=0.008))


def _material(machine: Machine) -> tuple[Array, Array, dict[str, float]]:
    """Consistency K/K_ref and dirt (times the usual) of what is in the barrel, and what is remembered of them.

    A new blend, or a wrong polymer, takes the place of the old one in about a minute.
    """
    memory, count = machine.memory, len(machine.time_s)
    usual, dirty = memory.get("blend", 1.0), memory.get("blend_dirt", 1.0)
    target, dirt = np.full(count, usual), np.full(count, dirty)
    for stage in machine.stages:
        blend = blend_of(machine.plan, stage, machine.parameters, seed=machine.seed)
        rows = machine.within(stage.feed_start_s, np.inf)
        target[rows], dirt[rows] = blend.consistency, blend.dirt
        usual, dirty = blend.consistency, blend.dirt
    target *= np.nan_to_num(machine.severity(WrongPolymer), nan=1.0)
    dirt *= np.nan_to_num(machine.severity(ScreenClog), nan=1.0)
    consistency = first_order(
        target,
        period_s=machine.period_s,
        time_constant_s=positive(machine.parameters, "residence_s", 75.0),
        start=memory.get(MELT_CONSISTENCY, 1.0),
    )
    last = float(consistency[-1]) if count else memory.get(MELT_CONSISTENCY, 1.0)
    return consistency, dirt, {"blend": usual, "blend_dirt": dirty, MELT_CONSISTENCY: last}


def _or(values: Array | None, count: int) -> Array:
    return np.zeros(count) if values is None else values


def _middle(limits: Limits | None) -> float:
    if limits is None or limits.low is None or limits.high is None:
        return SET_POINT_C
    return (limits.low + limits.high) / 2.0


# ------------------------------------------------------------------------------------------------------------- heat


def barrel_of(given: Parameters) -> Barrel:
    """The barrel that the plant file describes. Raises PlantError: a parameter is not a number."""
    return Barrel(
        heater_w=positive(given, "heater_w", 8000.0),
        heater_lag_s=positive(given, "heater_lag_s", 80.0),
        capacity_j_k=positive(given, "capacity_j_k", 36_000.0),
        melt_j_k=positive(given, "melt_j_k", 2000.0),
        metal_to_melt_w_k=number(given, "metal_to_melt_w_k", 30.0, low=0.0),
        solids_contact=number(given, "solids_contact", 0.3, low=0.0, high=1.0),
        metal_to_room_w_k=number(given, "metal_to_room_w_k", 5.0, low=0.0),
        between_zones_w_k=number(given, "between_zones_w_k", 15.0, low=0.0),
        melt_cp_j_kg_k=positive(given, "melt_cp_j_kg_k", 2600.0),
        room_c=number(given, "room_c", 20.0),
        gain=number(given, "gain", 0.036, low=0.0),
        integral_s=positive(given, "integral_s", 300.0),
        integral_band_c=number(given, "integral_band_c", 20.0, low=0.0),
        filter_s=positive(given, "filter_s", 30.0),
        duty_step=number(given, "duty_step", 0.04, low=0.0),
        activation_j_mol=_activation(given),
    )


def _index(given: Parameters) -> float:
    return number(given, "flow_index", FLOW_INDEX, low=0.05, high=1.0)


def _activation(given: Parameters) -> float:
    """At constant shear rate, J/mol: n times that of the melt flow rate."""
    return _index(given) * number(given, "activation_j_mol", 40_000.0)


def _heat(machine: Machine, zones: list[str], feed: _Feed) -> tuple[Heat, dict[str, float]]:
    """Heat at each row, shape (n, …), and what is remembered of the zones."""
    given, count = machine.parameters, len(machine.time_s)
    barrel = barrel_of(given)
    state = Zones.recalled(zones, machine.memory, barrel.room_c)
    edges = _edges(count, machine.period_s)
    at = edges[:-1].astype(np.int64)
    # All the heat that the melt needs, of which the screw gives a share: Q = share·ṁ·cp·(Tm − Troom)·(N/N_ref)^n·…
    nominal_w = feed.nominal_kg_h / SECONDS_PER_HOUR * barrel.melt_cp_j_kg_k * (feed.melt_c - barrel.room_c)
    shear_w = nominal_w * number(given, "shear_share", 0.90) * feed.consistency * feed.full
    shear_w *= np.maximum(feed.turning, 0.0) ** (1.0 + _index(given))
    steam_w = feed.flow_kg_h / SECONDS_PER_HOUR * feed.moisture * BOILING_J_KG
    inlet_c, fed_kg = _inlet(machine, feed)
    step_s = np.diff(edges) * machine.period_s
    _refuse_unstable(barrel, float(step_s.max(initial=0.0)))
    heat = march(
        barrel,
        state,
        Course(
            step_s=step_s,
            set_points_c=feed.zones_c[at],
            reference_c=feed.melt_c[at],
            shear_w=shear_w[at],
            flow_kg_s=feed.flow_kg_h[at] / SECONDS_PER_HOUR,
            inlet_c=inlet_c[at],
            steam_w=steam_w[at],
            draught_w=_draughts(machine, zones, len(at), float(step_s[0]) if count else 1.0),
            power_left=np.column_stack([1.0 - _none(machine.severity(HeaterOpen, zone)[at]) for zone in zones]),
            stuck_on=np.column_stack([_none(machine.severity(RelayStuckOn, zone)[at]) for zone in zones]),
        ),
    )
    rows = np.arange(count)
    marched = Heat(
        metal_c=np.column_stack([np.interp(rows, edges, column) for column in heat.metal_c.T]),
        melt_c=np.interp(rows, edges, heat.melt_c),
        # What a step begins with is known at its beginning only: between two of them, the one before holds.
        shear_w=heat.shear_w[np.searchsorted(edges, rows, side="right") - 1],
        heaters_w=np.interp(rows, edges, heat.heaters_w),
    )
    return marched, state.remembered(zones) | {"fed_kg": fed_kg}


def _edges(count: int, period_s: float) -> Array:
    """Where the steps of heat begin, and where the last one ends, in rows: every so many rows, or parts of a row."""
    if period_s > STEP_S:
        parts = int(np.ceil(period_s / STEP_S))
        return np.asarray(np.arange(count * parts + 1) / parts)
    return np.append(np.arange(0.0, count, int(STEP_S / period_s)), float(count))


def _refuse_unstable(barrel: Barrel, step_s: float) -> None:
    """A metal that gives away all its heat within a step has no temperature."""
    leaving_w_k = barrel.metal_to_melt_w_k + barrel.metal_to_room_w_k + 2.0 * barrel.between_zones_w_k
    least_j_k = 2.0 * leaving_w_k * max(step_s, COOLING_STEP_S)
    if barrel.capacity_j_k < least_j_k:
        raise PlantError(
            f"simulator.capacity_j_k: got {barrel.capacity_j_k:g}; expected at least {least_j_k:g} J/K, twice the heat"
            " that a zone can lose in a step: correct the plant file"
        )


def _none(severity: Array) -> Array:
    return np.nan_to_num(severity, nan=0.0)


def _draughts(machine: Machine, zones: list[str], count: int, step_s: float) -> Array:
    """Doors and fans: heat that comes and goes in a minute or two, W, shape (count, zones)."""
    sd_w = number(machine.parameters, "draught_w", 60.0)
    phi = float(np.exp(-step_s / positive(machine.parameters, "draught_s", 100.0)))
    return np.column_stack(
        [autoregressive(machine.chance(f"{zone}.draught"), count, phi=phi, sd=sd_w) for zone in zones]
    )


def _inlet(machine: Machine, feed: _Feed) -> tuple[Array, float]:
    """Temperature of what falls into the barrel, °C, and what was fed since the hopper was last filled, kg.

    Each filling brings cold material, which warms above the barrel until the next one.
    """
    given = machine.parameters
    hopper_kg = positive(given, "hopper_kg", 36.0)
    fed_kg = machine.memory.get("fed_kg", 0.0) + np.cumsum(feed.flow_kg_h) * machine.period_s / SECONDS_PER_HOUR
    since_kg = fed_kg % hopper_kg
    chill_c = number(given, "chill_c", 20.0) * np.exp(-since_kg / positive(given, "chill_kg", 12.0))
    warm_c = number(given, "room_c", 20.0) + number(given, "warm_c", 10.0)
    return warm_c - chill_c, float(since_kg[-1]) if len(since_kg) else machine.memory.get("fed_kg", 0.0)


# --------------------------------------------------------------------------------------------------------- pressure


def _pressure(machine: Machine, feed: _Feed, melt_c: Array, dirt: Array) -> tuple[dict[str, Array], dict[str, float]]:
    """Pressure before and after the screen, bar, and what is remembered of the screen.

    p = p_ref·(N/N_ref)^0.63·full^n·K/K_ref·exp[n·Ea/R·(1/T − 1/T_ref)], with pulsation, more of it when water boils.
    """
    given = machine.parameters
    thick = viscosity(melt_c, reference_c=feed.melt_c, activation_j_mol=_activation(given)) * feed.consistency
    after = die_pressure(
        feed.speed,
        reference_bar=number(given, "pressure_bar", 45.0),
        reference_speed=positive(given, "pressure_speed", 40.0),
        exponent=number(given, "pressure_exponent", 0.63),
    )
    after *= np.clip(thick, 0.0, THICK_MOST) * feed.full ** _index(given)
    pulsation = machine.noise("melt_pressure", phi=0.6, sd=0.02)
    after *= 1.0 + pulsation * (1.0 + number(given, "steam_pulsation", 60.0) * feed.moisture)
    if number(given, "screen_clean_bar", 0.0) <= 0.0:
        return {"melt_pressure": after, "melt_pressure_after": after}, {}
    # A screen only resists what flows through it.
    flowing = feed.flow_kg_h / feed.nominal_kg_h * np.clip(thick, 0.0, THICK_MOST)
    drop, held = screen(machine, feed.flow_kg_h * dirt)
    before = after + drop * flowing * (1.0 + machine.noise("screen", phi=0.6, sd=0.01))
    return {"melt_pressure": before, "melt_pressure_after": after}, held
