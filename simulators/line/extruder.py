"""The extruder: barrel zones and melt with their controllers, shear heat, pressure, a screen that clogs."""

from dataclasses import dataclass

import numpy as np

from filiere.plant import Limits
from simulators.line.machines import Machine, Trace
from simulators.line.operator import Stage
from simulators.line.parameters import number
from simulators.line.physics import (
    SECONDS_PER_HOUR,
    SHARE_OF_SPEED,
    Array,
    Barrel,
    BarrelState,
    barrel_step,
    die_pressure,
    screen_drop,
    shear_weights,
    viscosity_factor,
)
from simulators.line.randomness import bounded_normal

ZONE_PREFIX = "barrel_temp_z"
SET_POINT_C = 200.0
"""Where neither recipe nor limits say how hot a zone is."""
CYCLE_MIN_S, CYCLE_MAX_S = 720.0, 1740.0
"""Measured steady cycles last 12 to 29 minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    """Nominal working point of a stage."""

    zones_c: Array
    melt_c: float
    speed: float
    """1/min."""
    flow_kg_h: float


def extruder(machine: Machine) -> Trace:
    """All signals of an extruder with any number of zones, with or without a screen."""
    zones = [signal.id for signal in machine.unit.signals if signal.id.startswith(ZONE_PREFIX)]
    load = np.zeros(len(machine.time_s))
    speed = np.zeros(len(machine.time_s))
    flow = np.zeros(len(machine.time_s))
    for stage in machine.stages:
        settings = _settings(machine, stage, zones)
        shape = machine.load(stage)
        load += shape
        flow += shape * settings.flow_kg_h
        speed += shape * settings.speed
    speed *= 1.0 + machine.noise("screw_speed", phi=0.6, sd=0.002)
    flow *= 1.0 + machine.noise("throughput", phi=0.9, sd=0.008)
    values, memory = _heat(machine, zones, speed, flow)
    pressure, caught_kg = _pressure(machine, speed, flow, values["melt_temp"])
    values |= pressure | {"screw_speed": speed, "throughput": flow}
    shear_kw = values.pop("shear_kw")
    current = number(machine.parameters, "idle_a", 12.0) * (speed > 0.0) + shear_kw * number(
        machine.parameters, "a_per_kw", 2.2
    )
    values["motor_current"] = np.maximum(current * (1.0 + machine.noise("motor_current", phi=0.5, sd=0.012)), 0.0)
    return Trace(values=values, memory=memory | {"caught_kg": caught_kg})


def _settings(machine: Machine, stage: Stage, zones: list[str]) -> _Settings:
    targets, device = stage.recipe.targets, machine.unit.id
    zones_c = [targets.get(f"{device}.{zone}", _middle(stage.recipe.limits.get(f"{device}.{zone}"))) for zone in zones]
    return _Settings(
        zones_c=np.array(zones_c),
        melt_c=targets.get(f"{device}.melt_temp", zones_c[-1] + 5.0 if zones_c else SET_POINT_C),
        speed=targets.get(f"{device}.screw_speed", number(machine.parameters, "screw_speed_run", 60.0)),
        flow_kg_h=stage.flow_kg_h,
    )


def _middle(limits: Limits | None) -> float:
    if limits is None or limits.low is None or limits.high is None:
        return SET_POINT_C
    return (limits.low + limits.high) / 2.0


def _barrel(machine: Machine) -> Barrel:
    given = machine.parameters
    return Barrel(
        heater_w=number(given, "heater_w", 8000.0),
        capacity_j_k=number(given, "capacity_j_k", 36_000.0),
        melt_j_k=number(given, "melt_j_k", 4000.0),
        metal_to_melt_w_k=number(given, "metal_to_melt_w_k", 40.0),
        metal_to_room_w_k=number(given, "metal_to_room_w_k", 5.0),
        between_zones_w_k=number(given, "between_zones_w_k", 15.0),
        melt_cp_j_kg_k=number(given, "melt_cp_j_kg_k", 2600.0),
        room_c=number(given, "room_c", 20.0),
        gain=number(given, "gain", 0.05),
        integral_s=number(given, "integral_s", 200.0),
        integral_band_c=number(given, "integral_band_c", 30.0),
    )


def _heat(machine: Machine, zones: list[str], speed: Array, flow: Array) -> tuple[dict[str, Array], dict[str, float]]:
    """March the heat balances through the cycle. Returns temperatures and shear power, and what is remembered."""
    barrel, count, given = _barrel(machine), len(machine.time_s), machine.parameters
    stages = machine.stages
    settings = [_settings(machine, stage, zones) for stage in stages]
    # The set points of the next run hold from the end of the one before.
    active = np.searchsorted([stage.stop_s for stage in stages[:-1]], machine.time_s, side="right")
    remembered = machine.memory
    state = BarrelState(
        metal_c=np.array([remembered.get(zone, barrel.room_c) for zone in zones]),
        melt_c=np.array([remembered.get(f"{zone}.melt", barrel.room_c) for zone in zones]),
        integral=np.array([remembered.get(f"{zone}.integral", 0.0) for zone in zones]),
    )
    disturbance_w = _disturbance(machine, zones, flow)
    weights = shear_weights(len(zones))
    activation = number(given, "activation_j_mol", 40_000.0)
    share = number(given, "shear_share", 0.80)
    metal, melt, shear_kw = np.empty((count, len(zones))), np.empty(count), np.empty(count)
    for row in range(count):
        if not settings:
            break
        at = settings[min(int(active[row]), len(settings) - 1)]
        nominal_w = share * at.flow_kg_h / SECONDS_PER_HOUR * barrel.melt_cp_j_kg_k * (at.melt_c - barrel.room_c)
        thinner = viscosity_factor(float(state.melt_c[-1]), reference_c=at.melt_c, activation_j_mol=activation)
        shear_w = nominal_w * (speed[row] / at.speed) ** SHARE_OF_SPEED * min(thinner, 2.0)
        metal[row], melt[row], shear_kw[row] = state.metal_c, state.melt_c[-1], shear_w / 1000.0
        barrel_step(
            barrel,
            state,
            at.zones_c,
            weights * shear_w,
            disturbance_w[row],
            float(flow[row]) / SECONDS_PER_HOUR,
            machine.period_s,
        )
    sensor_sd = number(given, "sensor_sd", 0.02)
    values = {
        zone: metal[:, place] + machine.chance(zone).standard_normal(count) * sensor_sd
        for place, zone in enumerate(zones)
    }
    values["melt_temp"] = melt + machine.noise("melt_temp", phi=0.97, sd=0.35)
    values["shear_kw"] = shear_kw
    memory: dict[str, float] = {}
    for place, zone in enumerate(zones):
        memory[zone] = float(state.metal_c[place])
        memory[f"{zone}.melt"] = float(state.melt_c[place])
        memory[f"{zone}.integral"] = float(state.integral[place])
    return values, memory


def _disturbance(machine: Machine, zones: list[str], flow: Array) -> Array:
    """Heat that comes and goes, W, shape (n, zones): a slow cycle, draughts, and cold charges from the hopper."""
    count = len(machine.time_s)
    heat = np.zeros((count, len(zones)))
    given = machine.parameters
    for place, zone in enumerate(zones):
        chance = machine.chance(f"{zone}.disturbance")
        period_s = chance.uniform(CYCLE_MIN_S, CYCLE_MAX_S)
        phase = chance.uniform(0.0, 2.0 * np.pi)
        swing_w = number(given, "swing_w", 450.0)
        heat[:, place] = swing_w * np.sin(2.0 * np.pi * machine.time_s / period_s + phase)
        heat[:, place] += machine.noise(f"{zone}.draught", phi=0.98, sd=number(given, "draught_w", 30.0))
    if zones:
        refill_s = number(given, "refill_period_s", 360.0)
        cold_w = number(given, "refill_w", 350.0)
        heat[:, 0] -= (flow > 0.0) * cold_w * np.sin(2.0 * np.pi * machine.time_s / refill_s)
    return heat


def _pressure(machine: Machine, speed: Array, flow: Array, melt_c: Array) -> tuple[dict[str, Array], float]:
    """Pressure behind and before the screen, bar, and the dirt in it at the end, kg."""
    given = machine.parameters
    reference_c = number(
        given, "pressure_melt_c", float(np.median(melt_c[flow > 0.0])) if (flow > 0.0).any() else 200.0
    )
    blend = np.ones(len(speed))
    for stage in machine.stages:
        spread = number(given, "blend_spread", 0.08)
        blend[machine.within(stage.feed_start_s, np.inf)] = 1.0 + spread * bounded_normal(machine.chance(stage.run))
    after = die_pressure(
        speed,
        reference_bar=number(given, "pressure_bar", 45.0),
        reference_speed=number(given, "pressure_speed", 40.0),
        exponent=number(given, "pressure_exponent", 0.63),
    )
    # Viscosity moves the pressure by its own factor, about 1 % per °C.
    after = after * blend * np.exp(-0.01 * np.clip(melt_c - reference_c, -20.0, 20.0))
    after *= 1.0 + machine.noise("melt_pressure", phi=0.6, sd=0.02)
    clean_bar = number(given, "screen_clean_bar", 0.0)
    caught_kg = machine.memory.get("caught_kg", 0.0)
    if clean_bar <= 0.0:
        return {"melt_pressure": after, "melt_pressure_after": after}, caught_kg
    dirt_kg = flow / SECONDS_PER_HOUR * machine.period_s * number(given, "dirt", 5e-4)
    caught = _caught(dirt_kg, caught_kg, most_kg=_most_kg(machine, clean_bar))
    drop = screen_drop(caught, clean_bar=clean_bar, capacity_kg=number(given, "screen_capacity_kg", 0.8))
    # A screen only resists what flows through it.
    flowing = flow / max(float(flow.max(initial=0.0)), 1e-9)
    before = after + drop * flowing * (1.0 + machine.noise("screen", phi=0.6, sd=0.01))
    return {"melt_pressure": before, "melt_pressure_after": after}, float(caught[-1])


def _most_kg(machine: Machine, clean_bar: float) -> float:
    """Dirt at which the screen is changed: Δp = `screen_change_bar`."""
    change_bar = max(number(machine.parameters, "screen_change_bar", 40.0), clean_bar)
    capacity_kg = number(machine.parameters, "screen_capacity_kg", 0.8)
    return capacity_kg * (float(np.sqrt(change_bar / clean_bar)) - 1.0)


def _caught(dirt_kg: Array, start_kg: float, *, most_kg: float) -> Array:
    """Dirt in the screen at each instant, kg, shape (n,); a full screen is changed for a clean one at once."""
    total = start_kg + np.cumsum(dirt_kg)
    return np.asarray(total % most_kg) if most_kg > 0.0 else total
