"""What is truly in the lots, whatever the faults do to them; that no gram is lost is in test_laws.py."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filiere.clock import NS_PER_S
from simulators.faults.fault import Active, Window
from simulators.line.feeding import fed_share, planned_feed
from simulators.line.material import SECONDS_PER_YEAR, WINTER_NS, equilibrium, mixed, replaced, separated
from simulators.line.state import Stock
from tests.simulators.builders import FLAX, TEXTILE, caux, cycles, fault, with_faults
from tests.simulators.line.machine_readings import true

STARVED = fault("feeder_starve", "feeders.fibre_feed", line=FLAX, lot=1, step="compounding", severity=0.4)
BRIDGED = fault("feeder_bridge", "feeders.polymer_feed", line=FLAX, lot=1, duration_s=1800.0)
WET = fault("wet_feed", "dryer", line=FLAX, lot=1, severity=3.0)
SLOW = fault("feeder_starve", "extruder.throughput", lot=1, step="extrusion", severity=0.5)
RAIN = fault("wet_feed", "dryer", lot=1, step="extrusion", severity=5.0)
WRONG = fault("wrong_polymer", "extruder", lot=1, step="extrusion", duration_s=2400.0)


def grams(lots: tuple[Stock, ...]) -> int:
    """Dry."""
    return sum(lot.dry_g for lot in lots)


def test_what_a_starved_feeder_keeps_stays_in_its_lot():
    (normal, _), *_ = cycles(FLAX)
    starved = with_faults(STARVED)[0]
    stage, usual = starved.plan.stages[0], normal.plan.stages[0]
    assert stage.planned_inputs == usual.inputs
    fibre = [flow for flow in stage.inputs if flow.portion.material == "flax_fibre"]
    planned = [flow for flow in usual.inputs if flow.portion.material == "flax_fibre"]
    assert sum(flow.dry_g for flow in fibre) == pytest.approx(0.6 * sum(flow.dry_g for flow in planned), abs=3)
    assert stage.outputs[0].dry_g < usual.outputs[0].dry_g
    assert grams(starved.plan.stock + starved.plan.set_aside) > grams(normal.plan.stock + normal.plan.set_aside)
    assert starved.plan.events[:-1] == normal.plan.events[:-1]  # nobody knows until the product is weighed


def test_the_bag_fills_to_what_truly_came_out():
    for faults in ((STARVED,), (WET,), (SLOW,), (RAIN,), (STARVED, WET)):
        stage = with_faults(*faults)[0].plan.stages[-1]
        product = stage.outputs[0]
        end = planned_feed(start_s=stage.feed_start_s, stop_s=stage.feed_stop_s, ramp_s=stage.ramp_s).time_s[-1:] + 1.0
        assert stage.product_kg(end)[0] == pytest.approx((product.dry_g + product.water_g) / 1000, abs=0.05)


@pytest.mark.parametrize("surge", [None, 0.15, 2.0])
def test_what_the_feeders_give_adds_up_to_the_grams_however_a_refill_surges(surge: float | None):
    found = () if surge is None else (fault("refill_surge", "feeders", line=FLAX, severity=surge),)
    cycle = with_faults(*found)[0] if found else cycles(FLAX)[0][0]
    for signal, material in (("fibre_feed", "flax_fibre"), ("polymer_feed", "virgin_pp")):
        given_kg = float(np.sum(true(cycle, f"feeders.{signal}"))) / 3600.0
        inputs = [flow for flow in cycle.plan.stages[0].inputs if flow.portion.material == material]
        assert given_kg == pytest.approx(sum(flow.dry_g for flow in inputs) / 1000.0, rel=1e-3)


def test_wet_feed_brings_water_on_top_of_the_flax():
    stage = with_faults(WET)[0].plan.stages[0]
    (normal, _), *_ = cycles(FLAX)
    usual = normal.plan.stages[0]
    fibre, planned = stage.inputs[0], usual.inputs[0]
    assert fibre.water_g == pytest.approx(3.0 * planned.water_g, rel=0.25)
    assert fibre.dry_g == planned.dry_g
    assert fibre.taken_up_g == fibre.water_g - planned.water_g
    assert stage.outputs[0].water_g > 2.5 * usual.outputs[0].water_g


def test_a_wrong_polymer_is_in_the_lot_and_nobody_says_so():
    cycle = with_faults(WRONG)[0]
    (normal, _), *_ = cycles(TEXTILE)
    lot = cycle.plan.stages[-1].lot
    truth, usual = ({each.lot: each for each in of.lots}[lot] for of in (cycle, normal))
    assert truth.composition["pet"] > usual.composition["pet"] + 0.1
    assert truth.told_kg == usual.told_kg
    assert cycle.told == normal.told


@pytest.mark.parametrize("line", [TEXTILE, FLAX])
def test_each_lot_has_its_composition_its_origin_and_its_parents(line: str):
    for cycle, _ in cycles(line):
        lots = {lot.lot: lot for lot in cycle.lots}
        assert len(lots) == len(cycle.lots)
        for lot in lots.values():
            assert sum(lot.composition.values()) == pytest.approx(1.0)
            assert sum(lot.origin.values()) == pytest.approx(1.0)
            assert lot.told_kg is not None
            assert bool(lot.parents) == bool(lot.run)
        final = lots[cycle.plan.stages[-1].lot]
        assert sum(parent.dry_g for parent in final.parents) > final.dry_g
        assert final.time_ns == cycle.plan.cycle.start_ns + round(cycle.plan.stages[-1].stop_s * NS_PER_S)


def test_a_composite_is_flax_and_polypropylene_as_the_recipe_says():
    cycle, _ = cycles(FLAX)[1]
    lot = next(lot for lot in cycle.lots if lot.lot == cycle.plan.stages[-1].lot)
    assert dict(lot.composition) == {"flax": pytest.approx(0.30, abs=1e-4), "pp": pytest.approx(0.70, abs=1e-4)}


def test_sorting_makes_the_product_purer_and_loses_no_substance():
    cycle, _ = cycles(TEXTILE)[0]
    stage = cycle.plan.stages[0]
    product, reject = stage.outputs
    feed = mixed((flow.dry_g, flow.composition) for flow in stage.inputs)
    both = mixed((flow.dry_g, flow.composition) for flow in stage.outputs)
    assert product.composition["pp"] > feed["pp"] > reject.composition["pp"]
    assert both == pytest.approx(feed)


SHARES = st.lists(st.floats(0.0, 1.0), min_size=2, max_size=6).filter(lambda parts: sum(parts) > 0.01)


@given(SHARES, st.floats(0.0, 1.0), st.floats(0.05, 0.99))
def test_separating_never_makes_or_loses_a_substance(parts: list[float], purity: float, product: float):
    feed = {f"s{place}": part / sum(parts) for place, part in enumerate(parts)}
    made, left = separated(feed, wanted="s0", purity=purity, product=product)
    for shares in (made, left):
        assert all(-1e-9 <= share <= 1.0 + 1e-9 for share in shares.values())
        assert sum(shares.values()) == pytest.approx(1.0, abs=1e-6)
    for name, share in feed.items():
        assert product * made[name] + (1.0 - product) * left[name] == pytest.approx(share, abs=1e-6)


@given(st.floats(0.0, 1.0))
def test_what_is_replaced_still_adds_up(part: float):
    shares = replaced({"pp": 0.9, "pet": 0.1}, "pet", part)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares["pet"] == pytest.approx(0.1 + 0.9 * part)


@settings(max_examples=25)
@given(st.integers(0, 3600), st.integers(1, 7200), st.floats(0.0, 1.0))
def test_a_feeder_gives_what_it_is_asked_for_outside_its_fault(after_s: int, lasts_s: int, severity: float):
    one = fault("feeder_starve", "feeders.fibre_feed", line=FLAX, severity=severity)
    window = Window(after_s * NS_PER_S, (after_s + lasts_s) * NS_PER_S)
    feed = planned_feed(start_s=0.0, stop_s=7200.0, ramp_s=300.0)
    share = fed_share(
        [Active(fault=one, window=window)],
        seed=1,
        line=FLAX,
        device="feeders",
        signal="fibre_feed",
        time_s=feed.time_s,
        start_ns=0,
    )
    outside = (feed.time_s < after_s) | (feed.time_s >= after_s + lasts_s)
    assert (share[outside] == 1.0).all()
    assert share[~outside] == pytest.approx(1.0 - severity)
    assert feed.part.sum() == pytest.approx(1.0)


def test_a_bridge_stops_the_flow_and_breaks_now_and_then():
    stage = with_faults(BRIDGED)[0].plan.stages[0]
    lost = 1.0 - sum(flow.dry_g for flow in stage.inputs[1:]) / sum(flow.dry_g for flow in stage.planned_inputs[1:])
    assert 0.05 < lost < 0.35


def test_flax_breathes_in_the_store_and_its_dry_mass_stays():
    cycle, _ = cycles(FLAX)[0]
    planned = {lot.lot: lot for lot in cycle.plan.stock}
    after = {lot.lot: lot for lot in cycle.following.stock}
    flax = [lot for lot in after.values() if lot.material == "flax_fibre"]
    assert flax
    for lot in flax:
        even = equilibrium(caux().materials["flax_fibre"].moisture, cycle.following.start_ns, season=0.08)
        before = planned[lot.lot].water_g / (planned[lot.lot].water_g + lot.dry_g)
        now = lot.water_g / (lot.water_g + lot.dry_g)
        assert planned[lot.lot].dry_g == lot.dry_g
        assert abs(now - even) < abs(before - even)
    assert {lot.lot: lot for lot in after.values() if lot.material == "virgin_pp"} == {
        name: lot for name, lot in planned.items() if lot.material == "virgin_pp"
    }
    water_g = [sum(lot.water_g for lot in stock) for stock in (cycle.plan.stock, cycle.following.stock)]
    assert cycle.store_air_g == water_g[0] - water_g[1] != 0


def test_a_store_is_damper_in_winter():
    summer_ns = WINTER_NS + round(SECONDS_PER_YEAR / 2 * NS_PER_S)
    assert equilibrium(0.10, WINTER_NS, season=0.08) == pytest.approx(0.108)
    assert equilibrium(0.10, summer_ns, season=0.08) == pytest.approx(0.092)
