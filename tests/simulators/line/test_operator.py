from dataclasses import replace
from decimal import Decimal

import pytest

from filiere.chain import fold
from filiere.clock import NS_PER_S
from filiere.events import Received, RunClosed, RunStarted
from filiere.plant import Plant
from processing.balance import mass_balance
from processing.claims import claim
from simulators.line.material import aired
from simulators.line.operator import plan_cycle
from simulators.line.plan import Plan
from tests.simulators.builders import FLAX, TEXTILE, caux, cycles, events, state

LOTS = 60


def plans(line: str, *, count: int = LOTS, seed: int = 1, plant: Plant | None = None) -> list[Plan]:
    """Many cycles planned, without the readings."""
    plant = plant or caux()
    start = state(seed).lines[line].cycle
    made = []
    for _ in range(count):
        plan = plan_cycle(plant, plant.line(line), start, seed=seed)
        made.append(plan)
        stop_ns = start.start_ns + plan.duration_s * NS_PER_S
        start = replace(
            start,
            number=start.number + 1,
            start_ns=stop_ns,
            day=plan.day,
            counts=plan.counts,
            stock=aired(plant, plant.line(line), plan.stock, start.start_ns, stop_ns),
        )
    return made


@pytest.mark.parametrize("line", [TEXTILE, FLAX])
def test_true_mass_is_conserved_to_the_gram(line: str):
    for plan in plans(line):
        for stage in plan.stages:
            assert sum(flow.dry_g for flow in stage.inputs) == sum(flow.dry_g for flow in stage.outputs)
            water_in_g = sum(flow.water_g for flow in stage.inputs)
            assert water_in_g == sum(flow.water_g for flow in stage.outputs) + stage.air_water_g
            assert all(flow.dry_g > 0 and flow.water_g >= 0 for flow in (*stage.inputs, *stage.outputs))


@pytest.mark.parametrize("line", [TEXTILE, FLAX])
def test_the_ledger_takes_every_event_and_nearly_every_balance_closes(line: str):
    made = plans(line)
    chain = fold(event for plan in made for event in plan.events)
    balances = [mass_balance(run) for run in chain.runs.values()]
    assert len(balances) == LOTS * len(caux().line(line).steps)
    assert sum(balance.balanced for balance in balances) >= 0.98 * len(balances)


def test_no_lot_is_overdrawn_and_shared_lots_are_used_up_over_several_runs():
    chain = fold(event for plan in plans(FLAX) for event in plan.events)
    assert all(chain.stock_kg(lot) >= 0 for lot in chain.lots)
    assert any(len(chain.users(lot)) > 1 for lot in chain.lots)


def test_most_bales_have_evidence_and_now_and_then_one_has_none():
    received = [
        event
        for plan in plans(TEXTILE)
        for event in plan.events
        if isinstance(event, Received) and event.portion.material == "textile_bale"
    ]
    without = [event for event in received if not event.evidence]
    assert 0 < len(without) < 0.1 * len(received)
    assert all(sum(event.origin.values()) == 1 for event in received)
    assert all(event.origin["post_consumer"] > Decimal("0.5") for event in received)
    assert any(event.origin.get("pre_consumer", 0) > 0 for event in received)


def test_the_textile_lot_is_98_percent_recycled_when_every_bale_has_evidence():
    made = plans(TEXTILE, count=1)
    chain = fold(made[0].events)
    assert claim(chain, made[0].stages[-1].lot).recycled == pytest.approx(Decimal("0.98"), abs=Decimal("0.001"))


def test_flax_is_dosed_to_the_recipe_on_its_dry_mass():
    for plan in plans(FLAX):
        assert plan.stages[0].dry_share("flax_fibre") == pytest.approx(0.30, abs=1e-5)


def test_lot_ids_say_line_day_and_number_in_order():
    made = plans(TEXTILE, count=12)
    lots = [plan.stages[-1].lot for plan in made]
    assert lots[0] == "T1-260311-01"
    assert lots == sorted(lots)
    assert len({event.portion.lot for plan in made for event in plan.events if isinstance(event, Received)}) > 30


def test_each_run_starts_after_its_lots_are_there_and_closes_once():
    for plan in plans(TEXTILE, count=4):
        times = [event.event_time_ns for event in plan.events]
        assert times == sorted(times)
        kinds = [type(event) for event in plan.events if not isinstance(event, Received)]
        assert kinds == [RunStarted, RunClosed] * 2


def test_published_events_are_those_that_were_planned():
    cycle, publications = cycles(TEXTILE)[0]
    assert events(publications) == list(cycle.plan.events)
