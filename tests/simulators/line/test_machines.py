"""What the machines do, and what their faults do to them."""

import re
from dataclasses import replace
from functools import cache
from importlib.resources import files

import numpy as np
import pytest

from filiere.errors import PlantError
from filiere.plant import Line
from filiere.plant_file import parse_plant
from simulators.faults.catalogue import KINDS, targets
from simulators.faults.fault import Fault
from simulators.line.cycle import Cycle, run_cycle
from simulators.line.machines import Machine
from simulators.line.preparing import FEED_MOISTURE, MOISTURE, dryer
from simulators.line.simulation import beginning
from tests.simulators.builders import (
    FLAX,
    START_NS,
    TEXTILE,
    caux,
    cycles,
    fault,
    first_cycle,
    plant_with,
    scenario,
    with_faults,
)
from tests.simulators.line.machine_readings import plateau, rows_of, seconds, shown, true, warm

LINES = (TEXTILE, FLAX)
ONSET_S = 9000.0
"""In the first lot's extrusion, in full swing."""
HOUR_S = 3600.0

FAULTS = [
    fault("heater_open", "extruder.barrel_temp_z3", after_s=ONSET_S, duration_s=HOUR_S),
    fault("relay_stuck_on", "extruder.barrel_temp_z4", after_s=ONSET_S, duration_s=HOUR_S),
    fault("screen_clog", "extruder", after_s=ONSET_S, duration_s=HOUR_S),
    fault("feeder_starve", "extruder.throughput", after_s=ONSET_S, duration_s=HOUR_S),
    fault("feeder_bridge", "extruder.throughput", after_s=ONSET_S, duration_s=HOUR_S),
    fault("wet_feed", "dryer", after_s=ONSET_S, duration_s=HOUR_S),
    fault("wrong_polymer", "extruder", after_s=ONSET_S, duration_s=HOUR_S),
    fault("feeder_starve", "feeders.fibre_feed", line=FLAX, after_s=ONSET_S, duration_s=HOUR_S),
    fault("feeder_bridge", "feeders.polymer_feed", line=FLAX, after_s=ONSET_S, duration_s=HOUR_S),
    fault("refill_surge", "feeders", line=FLAX, after_s=ONSET_S, duration_s=HOUR_S),
    fault("wet_feed", "dryer", line=FLAX, after_s=ONSET_S, duration_s=HOUR_S),
    fault("wrong_polymer", "extruder", line=FLAX, after_s=ONSET_S, duration_s=HOUR_S),
]


@cache
def first(line: str) -> Cycle:
    return cycles(line)[0][0]


def of(kind: str, line: str = TEXTILE) -> Cycle:
    """The first cycle of a line with this fault."""
    return with_faults(next(each for each in FAULTS if (each.kind, each.line) == (kind, line)))[0]


def late(cycle: Cycle, key: str, *, after_s: float = 1800.0) -> np.ndarray:
    """Mask of the rows of a fault's second half."""
    at = seconds(cycle, key.split(".", maxsplit=1)[0])
    return np.asarray((at > ONSET_S + after_s) & (at < ONSET_S + HOUR_S))


def means(key: str, cycle: Cycle, usual: Cycle, *, after_s: float = 1800.0) -> tuple[float, float]:
    return tuple(float(np.nanmean(true(each, key)[late(each, key, after_s=after_s)])) for each in (cycle, usual))


# ------------------------------------------------------------------------------------------------------------ faults


@pytest.mark.parametrize("given", FAULTS, ids=lambda each: each.label)
def test_a_machine_does_nothing_differently_before_a_fault_begins(given: Fault):
    usual, cycle = first(given.line), with_faults(given)[0]
    changed = False
    for device in (rows.device for rows in usual.devices):
        before = seconds(usual, device) < ONSET_S
        for signal, column in rows_of(usual, device).true.items():
            found = rows_of(cycle, device)
            assert np.array_equal(found.true[signal][before], column[before], equal_nan=True), signal
            assert np.array_equal(found.shown[signal][before], rows_of(usual, device).shown[signal][before], True)
            changed = changed or not np.array_equal(found.true[signal], column, equal_nan=True)
    assert changed


def test_an_open_heater_lets_its_zone_fall_out_of_its_limits():
    fallen, usual = means("extruder.barrel_temp_z3", of("heater_open"), first(TEXTILE))
    assert fallen < usual - 15.0


def test_a_stuck_relay_drives_its_zone_far_above_its_limits():
    risen, usual = means("extruder.barrel_temp_z4", of("relay_stuck_on"), first(TEXTILE))
    assert risen > usual + 40.0


def test_a_screen_that_clogs_in_minutes_passes_the_pressure_limit_before_anybody_changes_it():
    key = "extruder.melt_pressure"
    assert np.max(true(of("screen_clog"), key)) > 100.0
    after, usual = means("extruder.melt_pressure_after", of("screen_clog"), first(TEXTILE))
    assert after == pytest.approx(usual, rel=0.01)


def test_a_starved_extruder_takes_less_and_turns_more_easily():
    cycle, usual = of("feeder_starve"), first(TEXTILE)
    for key in ("extruder.throughput", "extruder.melt_pressure", "extruder.motor_current", "pelletiser.pellet_flow"):
        starved, full = means(key, cycle, usual)
        assert starved < 0.92 * full, key
    starved, full = means("extruder.throughput", cycle, usual)
    assert starved == pytest.approx(0.7 * full, rel=0.02)


def test_a_starved_fibre_feeder_moves_the_recipe_and_empties_its_hopper_more_slowly():
    cycle, usual = of("feeder_starve", FLAX), first(FLAX)
    ratio, full = means("feeders.fibre_ratio", cycle, usual)
    assert ratio == pytest.approx(0.7 * 0.3 / (0.7 * 0.3 + 0.7), abs=0.005)
    assert full == pytest.approx(0.3, abs=0.005)
    inside = late(cycle, "feeders.refill")
    filled, usually = (np.sum(np.diff(shown(each, "feeders.refill")[inside]) > 0) for each in (cycle, usual))
    assert filled < usually


def test_a_bridge_stops_the_flow_and_breaks_now_and_then():
    flow = true(of("feeder_bridge"), "extruder.throughput")[late(of("feeder_bridge"), "extruder.throughput", after_s=0)]
    assert 0.3 < np.mean(flow < 1.0) < 1.0
    assert np.sum(np.diff(flow < 1.0)) >= 4


def test_a_refill_that_surges_pushes_the_ratio_over_its_limit():
    cycle, usual = of("refill_surge", FLAX), first(FLAX)
    key = "feeders.fibre_ratio"
    assert np.max(true(cycle, key)[late(cycle, key, after_s=0)]) > 0.315
    assert np.max(true(usual, key)[late(usual, key, after_s=0)]) < 0.315


@pytest.mark.parametrize("line", LINES)
def test_a_wet_feed_stays_wetter_than_the_specification_and_makes_the_pressure_pulse(line: str):
    cycle, usual = of("wet_feed", line), first(line)
    wet, dry = means("dryer.moisture", cycle, usual)
    limit = caux().line(line).signal("dryer.moisture").limits.high
    assert dry < limit < wet
    key = "extruder.melt_pressure"
    pulsing, calm = (np.std(np.diff(true(each, key)[late(each, key)])) for each in (cycle, usual))
    assert pulsing > 1.2 * calm


@pytest.mark.parametrize("line", LINES)
def test_a_thinner_wrong_polymer_shows_in_pressure_load_and_melt_flow_rate_at_once(line: str):
    cycle, usual = of("wrong_polymer", line), first(line)
    for key in ("extruder.melt_pressure", "extruder.motor_current", "extruder.melt_temp"):
        wrong, right = means(key, cycle, usual, after_s=600.0)
        assert wrong < right, key
    limits = caux().line(line).signal("laboratory.melt_flow_rate").limits
    assert np.nanmin(shown(usual, "laboratory.melt_flow_rate")) > limits.low
    assert np.nanmax(shown(usual, "laboratory.melt_flow_rate")) < limits.high
    sampled = seconds(cycle, "laboratory")
    inside = (sampled > ONSET_S + 1500.0) & (sampled < ONSET_S + HOUR_S)
    if inside.any():
        assert shown(cycle, "laboratory.melt_flow_rate")[inside].min() > limits.high


# ---------------------------------------------------------------------------------------------------------- machines


def test_only_what_is_dried_brings_its_water_into_the_extruder():
    cycle = warm(FLAX)
    time_s = seconds(cycle, "dryer")
    dried = dryer(
        Machine(
            unit=caux().line(FLAX).unit("dryer"),
            plan=cycle.plan,
            active=(),
            seed=1,
            time_s=time_s,
            period_s=60.0,
            memory={},
        )
    ).values
    stage = cycle.plan.stages[0]
    flax_g = sum(flow.dry_g + flow.water_g for flow in stage.inputs if flow.portion.material == "flax_fibre")
    inside = (time_s > stage.feed_start_s) & (time_s < stage.feed_stop_s)
    share = dried[FEED_MOISTURE][inside] / dried[MOISTURE][inside]
    assert share == pytest.approx(flax_g / 1000.0 / stage.feed_kg)


def test_a_hopper_loses_exactly_what_flows_out_of_it():
    cycle = warm(FLAX)
    weight, flow = true(cycle, "feeders.hopper_weight"), true(cycle, "feeders.fibre_feed")
    filling = true(cycle, "feeders.refill") > 0
    holding = ~(filling[1:] | filling[:-1]) & (np.abs(np.diff(weight)) < 1.0)
    assert np.sum(holding) > 0.9 * len(holding)
    assert -np.diff(weight)[holding] == pytest.approx(flow[1:][holding] / 3600.0, abs=1e-9)
    assert weight.min() > 10.0
    assert weight.max() <= 20.0


def test_pellets_are_what_the_extruder_gave_a_little_earlier():
    cycle = warm(TEXTILE)
    inside = plateau(cycle, "pelletiser.pellet_flow")
    then = np.searchsorted(seconds(cycle, "extruder"), seconds(cycle, "pelletiser")[inside] - 20.0, side="right") - 1
    given = true(cycle, "extruder.throughput")[then]
    assert true(cycle, "pelletiser.pellet_flow")[inside] == pytest.approx(0.97 * given)
    water = true(cycle, "pelletiser.water_temp")
    assert water[inside].mean() > water[: len(water) // 5].mean() + 2.0


@pytest.mark.parametrize("line", LINES)
def test_an_energy_meter_only_counts_up_from_one_lot_to_the_next(line: str):
    (first_cycle, _), (second_cycle, _) = cycles(line)
    counted = np.concatenate([true(each, "extruder.energy") for each in (first_cycle, second_cycle)])
    assert np.all(np.diff(counted) > 0.0)


@pytest.mark.parametrize("line", LINES)
def test_a_full_bag_weighs_its_true_mass_and_shows_what_is_written_down(line: str):
    for cycle, _ in cycles(line):
        stage = cycle.plan.stages[-1]
        at = seconds(cycle, "bagging")
        quiet = (at > stage.feed_stop_s + 100.0) & (at < stage.stop_s)
        product = stage.outputs[0]
        assert true(cycle, "bagging.batch_weight")[quiet] == pytest.approx((product.dry_g + product.water_g) / 1000.0)
        read_kg = shown(cycle, "bagging.batch_weight")[quiet].mean()
        assert read_kg == pytest.approx(float(product.portion.mass_kg), abs=0.2)


def test_a_scale_creeps_and_is_noisy_within_its_class():
    cycle = warm(TEXTILE)
    inside = plateau(cycle, "bagging.batch_weight")
    error = (shown(cycle, "bagging.batch_weight") - true(cycle, "bagging.batch_weight"))[inside]
    assert 0.005e-2 * 1500 <= np.std(np.diff(error)) / np.sqrt(2) <= 0.02e-2 * 1500
    assert abs(error).max() < 1.5


@pytest.mark.parametrize("line", LINES)
def test_the_laboratory_reads_two_or_three_samples_a_lot_before_it_is_closed(line: str):
    for cycle, _ in cycles(line, count=4):
        stage = cycle.plan.stages[-1]
        read = seconds(cycle, "laboratory")
        assert len(read) in (2, 3)
        assert np.all((read > stage.feed_start_s) & (read < stage.stop_s))
        assert not np.isnan(shown(cycle, "laboratory.melt_flow_rate")).any()


@pytest.mark.parametrize("line", LINES)
def test_what_is_there_is_told_apart_from_what_a_sensor_adds(line: str):
    for signal in caux().line(line).signals:
        there, seen = true(warm(line), signal.key), shown(warm(line), signal.key)
        measured = ~np.isnan(there)
        assert np.array_equal(measured, ~np.isnan(seen))
        if signal.id != "refill":
            assert np.any(there[measured] != seen[measured]), signal.key


# ------------------------------------------------------------------------------------------------------- plant file

MARK, ALL = re.compile(r"\[[MSK]\]"), re.compile(r"\ball \[[MSK]\]")
CONSTANT = re.compile(r"^ +[a-z0-9_.]+: -?[0-9][0-9.]*(?: *#.*)?$")
IN_BRACES = re.compile(r"simulator: \{.*: -?[0-9]")


def test_every_constant_of_the_simulators_says_where_it_comes_from():
    lines = (files("filiere") / "plants" / "caux.yaml").read_text(encoding="utf-8").splitlines()
    unmarked, header, inside, depth = [], "", False, 0
    for number, line in enumerate(lines, start=1):
        indent = len(line) - len(line.lstrip())
        if line.lstrip().startswith("#"):
            header += line
            continue
        if line.strip() == "simulator:":
            inside, depth = True, indent
            marked = bool(ALL.search(header))
        elif IN_BRACES.search(line):
            if not ALL.search(line) and not ALL.search(header):
                unmarked.append(number)
        elif inside and indent > depth:
            if CONSTANT.match(line) and not marked and not MARK.search(line):
                unmarked.append(number)
        else:
            inside = False
        header = ""
    assert not unmarked, f"lines without [M], [S] or [K]: {unmarked}"


# ------------------------------------------------------------------------------------------------------ other plants

OTHER = """
filiere: 1
site: {id: ici, label: {fr: Ici, en: Here}, issuer: Atelier, timezone: Europe/Paris}
materials:
  wood: {label: {fr: Bois, en: Wood}, moisture: 0.1}
  rods: {label: {fr: Barres, en: Rods}, moisture: 0.01}
workshops:
  - id: atelier
    label: {fr: Atelier, en: Workshop}
    lines:
      - id: l1
        label: {fr: Ligne, en: Line}
        units:
          - id: press
            label: {fr: Presse, en: Press}
            simulator: {model: extruder SETTINGS}
            signals: [SIGNALS]
        steps:
          - id: pressing
            label: {fr: Pressage, en: Pressing}
            product: rods
            residues: []
            units: [press]
            certified: true
            recipes: [{id: r, label: {fr: R, en: R}, ingredients: [{material: wood, share: 1}]}]
"""

BATCH_WEIGHT = "{id: batch_weight, label: {fr: P, en: W}, unit: kg, period_s: 5, range: [0, 2000], resolution: 0.2}"


def pressed(settings: str = "", *signals: str, period_s: float = 2.0) -> Cycle:
    """The first cycle of another plant, whose press is modelled as an extruder."""
    named = ", ".join(
        f"{{id: {name}, label: {{fr: S, en: S}}, unit: Cel, period_s: {period_s}, range: [0, 500], resolution: 0.1}}"
        for name in signals
    )
    plant = parse_plant(OTHER.replace("SETTINGS", settings).replace("SIGNALS", named).encode(), "other.yaml")
    start = beginning(plant, seed=1, start_ns=START_NS)
    return run_cycle(plant, start.lines["ici/atelier/l1"].cycle, start)


@pytest.mark.parametrize("period_s", [0.5, 2.0, 60.0])
def test_an_extruder_of_another_plant_needs_no_parameter_and_any_period(period_s: float):
    cycle = pressed("", "barrel_temp_z1", "barrel_temp_z2", "melt_temp", period_s=period_s)
    for zone in ("press.barrel_temp_z1", "press.barrel_temp_z2"):
        assert true(cycle, zone)[-1] == pytest.approx(200.0, abs=8.0)


def test_a_scale_of_a_unit_without_a_model_weighs_what_is_made():
    plant = parse_plant(
        OTHER.replace("model: extruder SETTINGS", "").replace("SIGNALS", BATCH_WEIGHT).encode(),
        "other.yaml",
    )
    start = beginning(plant, seed=1, start_ns=START_NS)
    cycle = run_cycle(plant, start.lines["ici/atelier/l1"].cycle, start)
    product = cycle.plan.stages[-1].outputs[0]
    assert true(cycle, "press.batch_weight").max() == pytest.approx((product.dry_g + product.water_g) / 1000.0)


def test_an_extruder_without_a_zone_is_refused():
    with pytest.raises(PlantError, match="barrel_temp_z1"):
        pressed("", "melt_temp")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (", heater_lag_s: 0", "heater_lag_s: got 0.0; expected a number from"),
        (", capacity_j_k: 100", "capacity_j_k: got 100; expected at least"),
        (", hopper_kg: -1", "hopper_kg: got -1"),
        (", gain: high", "gain: got 'high'; expected a number"),
        (", sensor_sd: -0.1", "sensor_sd: got -0.1"),
        (", melt_temp_phi: 1", "melt_temp_phi: got 1"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_told_with_what_would(settings: str, says: str):
    with pytest.raises(PlantError, match=re.escape(says)):
        pressed(settings, "barrel_temp_z1", "melt_temp")


class Asked(dict):
    """Parameters that remember which ones were asked for and are not there."""

    def __init__(self, given):
        super().__init__(given)
        self.missing: set[str] = set()

    def get(self, name, default=None):
        if name not in self:
            self.missing.add(name)
        return super().get(name, default)


@pytest.mark.parametrize("line", LINES)
def test_the_models_run_without_any_parameter_and_every_fault_with_them(line: str):
    bare = plant_with(line, without_parameters)
    start = beginning(bare, seed=1, start_ns=START_NS)
    cycle = run_cycle(bare, start.lines[line].cycle, start, scenario=scenario(*every_fault(bare.line(line))))
    assert all(rows.place.size for rows in cycle.devices)


def without_parameters(line: Line) -> Line:
    """The same line, its units with a model and nothing more."""
    return replace(
        line,
        simulator={},
        units=tuple(replace(each, simulator={"model": each.simulator["model"]}) for each in line.units),
        steps=tuple(replace(step, simulator={}) for step in line.steps),
    )


def every_fault(line: Line) -> list[Fault]:
    """Each kind at the first thing that can have it, one after the other."""
    return [
        fault(kind, targets(found, line)[0], line=line.path, after_s=3000.0 + 60.0 * place)
        for place, (kind, found) in enumerate(KINDS.items())
        if targets(found, line)
    ]


OF_OTHERS = {"screw_speed_run", "melt_c", "fibre_ratio_run", "material", "contaminants_usual"}
"""What is used only where a recipe, an extruder, a lot or a signal is not there."""


@pytest.mark.parametrize("line", LINES)
def test_every_constant_that_a_model_uses_stands_in_the_plant_file(line: str):
    units = tuple(replace(unit, simulator=Asked(unit.simulator)) for unit in caux().line(line).units)
    first_cycle(plant_with(line, lambda each: replace(each, units=units)), line)
    missing = {f"{unit.id}: {name}" for unit in units for name in unit.simulator.missing - OF_OTHERS}
    assert not missing
