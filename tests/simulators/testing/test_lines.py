from typing import Any

import numpy as np
import pytest

from filiere.errors import NotFound, ScenarioError
from filiere.plant_file import load_plant
from simulators.line.simulation import simulate
from simulators.scenarios.scenario import Scenario
from simulators.testing import lines
from simulators.testing.lines import LineSim
from simulators.testing.scenarios import Scenarios

T1, F1 = "caux/textile/t1", "caux/flax/f1"


def test_the_same_call_gives_the_same_simulation_computed_once(line_sim: LineSim):
    assert line_sim(T1) is line_sim(T1)
    assert line_sim(T1).digest == line_sim(T1, lots=1).digest


def test_a_simulation_is_what_filiere_simulate_publishes(line_sim: LineSim):
    both = line_sim()
    wire = simulate(load_plant("caux"), seed=1, start_ns=both.start_ns, lots=1)
    assert [(each.topic, each.payload) for each in wire] == [(each.topic, each.payload) for each in both.messages]
    assert {topic.split("/")[4] for topic, _ in wire} <= {"t1", "f1"}


def test_another_seed_is_another_plant(line_sim: LineSim):
    assert line_sim(T1, seed=2).digest != line_sim(T1, seed=1).digest


def test_a_line_alone_publishes_what_it_publishes_among_others(line_sim: LineSim):
    alone = [(each.topic, each.payload) for each in line_sim(T1).messages]
    assert [(each.topic, each.payload) for each in line_sim().messages if f"/{T1}/" in each.topic] == alone


def test_what_was_true_stands_beside_what_was_shown(line_sim: LineSim):
    melt = line_sim().signal("extruder.melt_temp", line=T1)
    assert melt.unit == "Cel"
    assert len(melt.time_ns) == len(melt.true) == len(melt.shown) > 1000
    assert (np.diff(melt.time_ns) > 0).all()
    assert np.abs(melt.true - melt.shown).max() < 5.0
    assert (melt.true != melt.shown).any()


def test_a_signal_of_several_lines_wants_to_know_which(line_sim: LineSim):
    with pytest.raises(NotFound, match=f"{F1}, {T1}"):
        line_sim().signal("extruder.melt_temp")
    assert line_sim().signal("sorter.fibre_ratio").line == T1


def test_an_unknown_signal_is_refused_with_the_known_ones(line_sim: LineSim):
    with pytest.raises(NotFound, match=r"extruder\.melt_tmp.*caux/textile/t1 extruder\.melt_temp"):
        line_sim(T1).signal("extruder.melt_tmp")


def test_an_unknown_line_is_refused_with_the_known_ones(line_sim: LineSim):
    with pytest.raises(ScenarioError, match=f"{T1}"):
        line_sim("caux/textile/t9")


@pytest.mark.parametrize("wrong", [{"lots": 0}, {"lots": -1}, {"lots": 1.5}, {"seed": -1}, {"seed": 2**63}])
def test_what_would_simulate_nothing_or_cannot_be_is_refused(line_sim: LineSim, wrong: dict[str, Any]):
    with pytest.raises(ScenarioError, match=r"got (lots|seed) .*expected a whole number from"):
        line_sim(T1, **wrong)


def test_a_scenario_by_its_name_is_told_the_fixture_that_loads_it(line_sim: LineSim):
    named: Any = "drift"
    with pytest.raises(ScenarioError, match=r"the fixture scenario\('drift'\)"):
        line_sim(T1, scenario=named)


def test_the_lots_of_a_simulation_are_those_that_get_a_certificate(line_sim: LineSim):
    assert [lot[:2] for lot in line_sim().lots] in (["T1", "F1"], ["F1", "T1"])
    assert len(line_sim(F1, lots=2).lots) == 2


@pytest.mark.parametrize(("seed_wins", "own", "expected"), [(False, 5, 5), (True, 5, 3), (False, None, 3)])
def test_whose_seed_counts(seed_wins: bool, own: int | None, expected: int, scenario: Scenarios):  # noqa: FBT001 - parametrised by pytest
    made = LineSim(load_plant("caux"), seed=3, seed_wins=seed_wins, start_ns=0)(F1, scenario=scenario(seed=own))
    assert made.seed == expected


def test_the_scenario_says_lots_start_and_lines_where_the_call_does_not(scenario: Scenarios, line_sim: LineSim):
    asked: Scenario = scenario(lots=2, start_ns=1_790_000_000_000_000_000, lines=(F1,), seed=4)
    made = line_sim(scenario=asked)
    assert (made.start_ns, made.seed, len(made.lots)) == (asked.start_ns, 4, 2)
    assert {message.topic.split("/")[4] for message in made.messages} == {"f1"}
    assert len(line_sim(scenario=asked, lots=1).lots) == 1


@pytest.mark.parametrize("limit", ["KEPT_MAX", "KEPT_MESSAGES_MAX"])
def test_only_some_simulations_are_kept(limit: str, scenario: Scenarios, monkeypatch: pytest.MonkeyPatch):
    sim = LineSim(load_plant("caux"), seed=1, start_ns=0)
    brief = scenario(days=0.01)
    first, second = sim(F1, scenario=brief), sim(T1, scenario=brief)
    assert sim(F1, scenario=brief) is first
    monkeypatch.setattr(lines, limit, {"KEPT_MAX": 1, "KEPT_MESSAGES_MAX": len(first)}[limit])
    assert sim(F1, scenario=brief) is first
    assert sim(T1, scenario=brief) is not second


def test_a_simulation_says_how_to_make_it_again(line_sim: LineSim, scenario: Scenarios):
    assert line_sim(F1, seed=9).words == f"normal-day, {F1}, seed 9, from 2026-03-11T06:00:00.000Z"
    fault = {"kind": "sensor_break", "line": F1, "target": "extruder.melt_temp", "label": "cut"}
    broken = line_sim(F1, scenario=scenario(days=0.01, faults=[fault]))
    assert broken.words.startswith(f"normal-day (cut), {F1}, seed 1")


def test_the_truth_of_each_lot_is_at_hand(line_sim: LineSim):
    made = line_sim(T1)
    (cycle,) = made.cycles
    truth = made.truth[made.lots[0]]
    assert cycle.plan.cycle.line == T1
    assert truth.dry_g > 100_000
    assert sum(truth.composition.values()) == pytest.approx(1.0)
    assert {parent.lot for parent in truth.parents} <= set(made.truth)


def test_a_scenario_of_days_ends_with_them(scenario: Scenarios, line_sim: LineSim):
    made = line_sim(F1, scenario=scenario(days=0.1))
    assert max(each.time_ns for each in made) < made.start_ns + 8640 * 10**9
    assert [cycle.plan.cycle.number for cycle in made.cycles] == [0]
