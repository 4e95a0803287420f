from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiere.chain import Run
from filiere.errors import BalanceError
from filiere.events import RESIDUE, Portion
from processing.balance import mass_balance
from tests.processing.builders import LINE, T0, portion


def run(inputs: list[Portion], outputs: list[Portion], **fields: Any) -> Run:
    values: dict[str, Any] = {
        "id": "R1",
        "line": LINE,
        "step": "extrusion",
        "recipe": "r1",
        "lot": "G1",
        "start_ns": T0,
        "stop_ns": T0 + 1,
        "inputs": tuple(inputs),
        "outputs": tuple(outputs),
    }
    return Run(**(values | fields))


def test_masses_are_added_up_dry() -> None:
    balance = mass_balance(
        run(
            [portion("F", 100, moisture=Decimal("0.10"))],
            [
                portion("G1", 84, moisture=Decimal("0.01")),
                portion("X", 7, moisture=Decimal("0.02"), role=RESIDUE),
            ],
        )
    )
    assert balance.feed_dry_kg == Decimal(90)
    assert balance.product_dry_kg == Decimal("83.16")
    assert balance.residue_dry_kg == Decimal("6.86")
    assert balance.water_in_kg == Decimal(10)
    assert balance.water_out_kg == Decimal("0.98")
    assert balance.difference_kg == Decimal("-0.02")
    assert balance.closure == Decimal("1.000222")
    assert balance.balanced


def test_uncertainty_combines_weighing_and_moisture() -> None:
    balance = mass_balance(
        run(
            [portion("A", 100, u_kg=Decimal("0.3"), moisture=Decimal(0), u_moisture=Decimal("0.004"))],
            [portion("G1", 100, u_kg=Decimal(0), moisture=Decimal(0), u_moisture=Decimal(0))],
        )
    )
    assert balance.u_kg == Decimal("0.5")  # √(0.3² + (100·0.004)²)


def test_portions_of_one_lot_share_their_moisture() -> None:
    weighed = {"u_kg": Decimal(0), "moisture": Decimal(0)}
    once = mass_balance(run([portion("A", 100, **weighed)], [portion("G1", 100, **weighed, u_moisture=Decimal(0))]))
    twice = mass_balance(
        run(
            [portion("A", 50, **weighed), portion("A", 50, **weighed)],
            [portion("G1", 100, **weighed, u_moisture=Decimal(0))],
        )
    )
    two_lots = mass_balance(
        run(
            [portion("A", 50, **weighed), portion("B", 50, **weighed)],
            [portion("G1", 100, **weighed, u_moisture=Decimal(0))],
        )
    )
    assert once.u_kg == twice.u_kg
    assert two_lots.u_kg < once.u_kg


@pytest.mark.parametrize("out_kg", ["95", "105"])
def test_a_difference_beyond_its_uncertainty_is_not_balanced_on_either_side(out_kg: str) -> None:
    assert not mass_balance(run([portion("A", 100)], [portion("G1", out_kg)])).balanced


def test_a_difference_of_exactly_its_uncertainty_is_balanced() -> None:
    exact = {"moisture": Decimal(0), "u_moisture": Decimal(0)}
    inside = run([portion("A", 100, u_kg=Decimal("0.5"), **exact)], [portion("G1", 99, u_kg=Decimal(0), **exact)])
    beyond = run(
        [portion("A", 100, u_kg=Decimal("0.5"), **exact)], [portion("G1", "98.999999999", u_kg=Decimal(0), **exact)]
    )
    assert mass_balance(inside).balanced
    assert not mass_balance(beyond).balanced
    assert mass_balance(beyond).difference_kg == Decimal("1.000000")  # decided before rounding


def test_an_open_run_has_no_balance() -> None:
    with pytest.raises(BalanceError, match="still open"):
        mass_balance(run([portion("A", 100)], [], stop_ns=None))


def test_a_run_without_dry_feed_has_no_balance() -> None:
    with pytest.raises(BalanceError, match="no dry mass in"):
        mass_balance(run([portion("A", 100, moisture=Decimal(1))], [portion("G1", 1)]))


kilograms = st.decimals(min_value=Decimal("0.001"), max_value=Decimal(100_000), places=3)
moistures = st.decimals(min_value=Decimal(0), max_value=Decimal("0.5"), places=6)


@given(st.lists(st.tuples(kilograms, moistures), min_size=1, max_size=8))
def test_what_goes_in_comes_out_balances_exactly(weighed: list[tuple[Decimal, Decimal]]) -> None:
    inputs = [portion(f"A{i}", str(kg), moisture=w) for i, (kg, w) in enumerate(weighed)]
    outputs = [portion("G1" if i == 0 else f"X{i}", str(kg), moisture=w) for i, (kg, w) in enumerate(weighed)]
    balance = mass_balance(run(inputs, outputs))
    assert balance.difference_kg == 0
    assert balance.closure == 1
    assert balance.balanced
    assert balance.water_in_kg == balance.water_out_kg
