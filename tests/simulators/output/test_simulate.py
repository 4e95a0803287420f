from pathlib import Path

import pytest

from filiere.clock import NS_PER_S
from filiere.plant import Plant
from filiere.plant_file import load_plant
from simulators.line.simulation import simulate
from simulators.output.simulate import Order, opening_state

NOW_NS = 1_790_000_000 * NS_PER_S


@pytest.fixture(scope="module")
def caux() -> Plant:
    return load_plant("caux")


@pytest.mark.parametrize("lots", [1, 24])
def test_all_lots_that_are_asked_for_are_made_before_now(caux: Plant, tmp_path: Path, lots: int) -> None:
    state = opening_state(caux, tmp_path / "simulator.json", Order(lots=lots), lambda: NOW_NS)
    last = max(
        publication.time_ns
        for publication in simulate(
            caux, seed=state.seed, start_ns=state.start_ns, lots=lots, state=state, rows_max=1000
        )
    )
    assert last < NOW_NS
