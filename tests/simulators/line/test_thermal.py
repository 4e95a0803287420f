"""Heat in a barrel: what is conserved, what settles where, and what broken heaters do."""

from dataclasses import replace

import numpy as np
import pytest

from simulators.line.extruder import barrel_of, cooled_down
from simulators.line.thermal import Barrel, Course, Heat, Zones, cooled, march, shear_weights
from tests.simulators.builders import TEXTILE, unit

SETS_C = (195.0, 205.0, 215.0, 220.0, 220.0)
NAMES = [f"z{zone}" for zone in range(1, 6)]
STEP_S = 4.0
FLOW_KG_S = 0.1


def barrel(**changes: float) -> Barrel:
    return replace(barrel_of(unit(TEXTILE, "extruder").simulator), **changes)


def course(hours: float, *, flow_kg_s: float = 0.0, shear_w: float = 0.0, **changes: np.ndarray) -> Course:
    steps = round(hours * 3600.0 / STEP_S)
    none = np.zeros((steps, 5))
    planned = Course(
        step_s=np.full(steps, STEP_S),
        set_points_c=np.tile(SETS_C, (steps, 1)),
        reference_c=np.full(steps, 228.0),
        shear_w=np.full(steps, shear_w),
        flow_kg_s=np.full(steps, flow_kg_s),
        inlet_c=np.full(steps, 25.0),
        steam_w=np.zeros(steps),
        draught_w=none,
        power_left=none + 1.0,
        stuck_on=none,
    )
    return replace(planned, **changes)


def cold(barrel_: Barrel) -> Zones:
    return Zones.recalled(NAMES, {}, barrel_.room_c)


def run(given: Barrel, planned: Course) -> tuple[Zones, Heat]:
    zones = cold(given)
    return zones, march(given, zones, planned)


@pytest.mark.parametrize("zones", [1, 3, 5, 8])
def test_shear_heat_is_shared_out_whole(zones: int):
    assert shear_weights(zones).sum() == pytest.approx(1.0)


def test_heat_is_conserved_what_the_heaters_gave_is_in_the_metal_and_the_melt():
    given = barrel(metal_to_room_w_k=0.0)
    zones, heat = run(given, course(0.2))
    stored_j = sum((metal - 20.0) * given.capacity_j_k for metal in zones.metal_c)
    stored_j += sum((melt - 20.0) * given.melt_j_k for melt in zones.melt_c)
    assert stored_j == pytest.approx(float(heat.heaters_w[1:].sum()) * STEP_S)


def test_every_zone_comes_to_its_set_point_with_and_without_material():
    for flow in (0.0, FLOW_KG_S):
        _, heat = run(barrel(), course(4.0, flow_kg_s=flow, shear_w=flow * 2600 * 208 * 0.85))
        assert heat.metal_c[-1800:].mean(axis=0) == pytest.approx(SETS_C, abs=0.5)


def test_the_same_course_marched_in_two_parts_ends_where_it_ends_in_one():
    given, whole = barrel(), course(1.0)
    one, _ = run(given, whole)
    first, second = course(0.5), course(0.5)
    two, _ = run(given, first)
    again = Zones.recalled(NAMES, two.remembered(NAMES), given.room_c)
    march(given, again, second)
    assert again == one


def test_an_open_heater_asks_for_everything_and_falls_to_what_its_neighbours_give_in_some_minutes():
    given = barrel()
    steps = round(4 * 3600 / STEP_S)
    lost, onset = np.ones((steps, 5)), steps // 2
    lost[onset:, 2] = 0.0
    zones, heat = run(given, course(4.0, flow_kg_s=FLOW_KG_S, shear_w=FLOW_KG_S * 2600 * 208 * 0.85, power_left=lost))
    zone = heat.metal_c[onset:, 2]
    fall_c = zone[0] - zone[-1]
    assert fall_c > 15.0
    # the lag of the heater's band, then τ = C/(hA + UA + 2G)
    tau_min = float(np.argmax(zone < zone[0] - 0.632 * fall_c)) * STEP_S / 60.0
    assert 5.0 <= tau_min <= 12.0
    assert zones.duty[2] == 1.0
    assert heat.metal_c[-1800:, [0, 1, 3, 4]].mean(axis=0) == pytest.approx([195, 205, 220, 220], abs=1.5)


def test_a_stuck_relay_heats_whatever_the_controller_asks():
    steps = round(3 * 3600 / STEP_S)
    stuck, onset = np.zeros((steps, 5)), steps // 2
    stuck[onset:, 3] = 1.0
    zones, heat = run(barrel(), course(3.0, stuck_on=stuck))
    assert heat.metal_c[-1, 3] > SETS_C[3] + 50.0
    assert zones.duty[3] == 0.0


def test_water_that_boils_cools_the_first_zones_melt():
    steps = round(3 * 3600 / STEP_S)
    flowing = {"flow_kg_s": FLOW_KG_S, "shear_w": FLOW_KG_S * 2600 * 208 * 0.85}
    _, dry = run(barrel(), course(3.0, **flowing))
    _, wet = run(barrel(), course(3.0, **flowing, steam_w=np.full(steps, 3000.0)))
    assert wet.melt_c[-900:].mean() < dry.melt_c[-900:].mean() - 1.0


def test_a_barrel_cools_towards_the_room_overnight_and_its_controllers_begin_anew():
    given = barrel()
    zones, _ = run(given, course(2.0))
    hot_c = list(zones.metal_c)
    cooled(given, zones, 2 * 3600.0)
    assert all(given.room_c < now < then - 80.0 for now, then in zip(zones.metal_c, hot_c, strict=True))
    assert zones.integral == [0.0] * 5
    cooled(given, zones, 1e9)
    assert zones.metal_c == pytest.approx([given.room_c] * 5, abs=0.1)


def test_an_extruder_that_was_off_remembers_everything_but_its_heat():
    remembered = {"barrel_temp_z1": 200.0, "barrel_temp_z1.melt": 200.0, "energy_kwh": 5.0, "caught_kg": 0.3}
    after = cooled_down(unit(TEXTILE, "extruder"), remembered, 3600.0)
    assert after["barrel_temp_z1"] < 190.0
    assert (after["energy_kwh"], after["caught_kg"]) == (5.0, 0.3)
