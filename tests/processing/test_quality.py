import pytest

from filiere.chain import fold
from filiere.errors import NotFound, StoreUnavailable
from filiere.events import Event
from processing.quality import Remembered, lot_quality
from tests.processing.builders import MemoryStore, plant, portion, received, run, two_step_chain


def test_quality_tells_statistics_balance_fibre_ratio_and_verdict() -> None:
    found = lot_quality(plant(), two_step_chain(), MemoryStore(), "G1")
    assert [(each.run, [s.key for s in each.statistics]) for each in found.runs] == [
        ("R1", ["sorter.fibre_ratio"]),
        ("R2", ["extruder.current", "extruder.melt_temp"]),
    ]
    assert all(each.balance.balanced for each in found.runs)
    assert found.verdict is not None
    assert found.verdict.word == "pass"
    (ratio,) = found.fibre_ratios
    assert ratio.run == "R1"
    assert ratio.mean == pytest.approx(0.95, abs=0.001)
    assert ratio.u95 is not None
    assert 0 < ratio.u95 < 0.01


def test_limits_of_the_recipe_go_before_those_of_the_signal() -> None:
    found = lot_quality(plant(), two_step_chain(), MemoryStore(), "G1")
    limits = {s.key: (s.limits.low, s.limits.high) for each in found.runs for s in each.statistics}
    assert limits["extruder.melt_temp"] == (215, 240)
    assert limits["sorter.fibre_ratio"] == (0.9, None)


def many_lots(count: int) -> tuple[Event, ...]:
    events: list[Event] = [received("A", 100_000)]
    for i in range(count):
        events += run(f"R{i}", [portion("A", 100)], [portion(f"G{i}", 100)], start=i / 4 + 1, stop=i / 4 + 1.2)
    return tuple(events)


def test_the_chart_holds_the_lots_made_before_and_including_this_one() -> None:
    found = lot_quality(plant(), fold(many_lots(24)), MemoryStore(), "G21")
    (chart,) = found.charts
    assert chart.key == "extruder.melt_temp"
    assert chart.lots == tuple(f"G{i}" for i in range(22))
    assert len(chart.means) == 22
    assert chart.chart.upper is not None
    assert not chart.chart.provisional


def test_readings_of_past_runs_are_fetched_once_by_who_remembers() -> None:
    chain, memory = fold(many_lots(4)), dict[str, object]()
    remembered: Remembered = memory  # type: ignore[assignment]  # read below as plain objects
    lot_quality(plant(), chain, MemoryStore(), "G2", remembered=remembered)
    assert set(memory) == {"R0", "R1", "R2"}
    lot_quality(plant(), chain, MemoryStore(down=True), "G2", remembered=remembered)
    with pytest.raises(StoreUnavailable):
        lot_quality(plant(), chain, MemoryStore(down=True), "G3", remembered=remembered)


def test_a_lot_without_readings_is_left_out_of_its_chart() -> None:
    found = lot_quality(plant(), fold(many_lots(3)), MemoryStore(missing=frozenset({"extruder.melt_temp"})), "G2")
    assert found.charts[0].lots == ()
    assert found.verdict is not None
    assert found.verdict.word == "hold"


def test_a_received_lot_has_no_runs_and_no_verdict() -> None:
    found = lot_quality(plant(), two_step_chain(), MemoryStore(), "A")
    assert (found.runs, found.charts, found.verdict) == ((), (), None)


def test_an_unknown_lot_is_said() -> None:
    with pytest.raises(NotFound):
        lot_quality(plant(), two_step_chain(), MemoryStore(), "Z")
