from pathlib import Path

import pytest

from filiere.errors import ScenarioError
from simulators.scenarios.scenario_file import shipped, shipped_bytes
from simulators.testing.lines import LineSim
from simulators.testing.scenarios import Scenarios
from simulators.testing.stack import FiliereStack

T1, F1 = "caux/textile/t1", "caux/flax/f1"
BREAK = {"kind": "sensor_break", "line": T1, "target": "extruder.melt_temp"}


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_scenario_is_there_by_its_name(scenario: Scenarios, name: str):
    assert scenario(name).id == name


def test_a_scenario_is_a_file_or_a_text_too(scenario: Scenarios, tmp_path: Path):
    (tmp_path / "mine.yaml").write_bytes(shipped_bytes("drift"))
    assert scenario(tmp_path / "mine.yaml") == scenario(shipped_bytes("drift").decode()) == scenario("drift")


def test_faults_are_added_and_fields_replaced(scenario: Scenarios):
    made = scenario("drift", faults=[BREAK, {**BREAK, "target": "extruder.melt_pressure"}], lots=2)
    own = len(scenario("drift").faults)
    assert [fault.label for fault in made.faults[own:]] == ["sensor_break", "sensor_break-2"]
    assert made.lots == 2
    assert scenario("drift", faults=made.faults[own:], lots=2) == made


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        (
            [{"kind": "sensor_brake", "line": T1}],
            r"faults\[0\]:1: .*got kind 'sensor_brake'.*did you mean sensor_break",
        ),
        ([{}], r"faults\[0\]"),
        (BREAK, r"faults\[0\]: got 'kind'; expected a fault in words: .*in a list"),
        ([BREAK, {**BREAK, "label": "sensor_break"}], r"label 'sensor_break' twice"),
        ([{**BREAK, "duration": "-5 min"}], r"faults\[0\]"),
        ([{**BREAK, "severity": float("nan")}], r"faults\[0\]"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_in_words(scenario: Scenarios, faults, said: str):
    with pytest.raises(ScenarioError, match=said):
        scenario(faults=faults)


def test_two_faults_that_exclude_each_other_are_refused(scenario: Scenarios):
    zone = {"line": T1, "target": "extruder.barrel_temp_z3"}
    with pytest.raises(ScenarioError, match="one of them at a time"):
        scenario(faults=[{**zone, "kind": "heater_open"}, {**zone, "kind": "relay_stuck_on"}])


def test_a_wrong_line_of_a_text_is_named(scenario: Scenarios):
    with pytest.raises(ScenarioError, match="scenario in the test:2"):
        scenario("scenario: 1\nnonsense: true\n")


def test_a_misspelled_scenario_is_refused_with_the_known_ones(scenario: Scenarios):
    with pytest.raises(ScenarioError, match="clogged-screen"):
        scenario("cloged-screen")


def test_a_fault_changes_what_is_simulated_and_nothing_before_it(scenario: Scenarios, line_sim: LineSim):
    onset = {"lot": 1, "after": "10 min", "step": "extrusion"}
    normal = line_sim(T1)
    broken = line_sim(T1, scenario=scenario(faults=[{**BREAK, "onset": onset}]))
    (active,) = broken.cycles[0].active
    before = list(normal.messages)[: sum(each.time_ns < active.window.start_ns for each in normal)]
    assert len(before) > 1000
    assert list(broken.messages[: len(before)]) == before
    assert broken.digest != normal.digest


def test_a_broken_probe_costs_the_lot_its_certificate(
    scenario: Scenarios, line_sim: LineSim, filiere_stack: FiliereStack
):
    lot = line_sim(T1, scenario=scenario(faults=[BREAK]))
    (issued,) = filiere_stack.run(lot)
    assert issued.refused
    assert all(account.closes for account in filiere_stack.accounts())
    score = filiere_stack.score(lot)
    assert [found.fault.label for found in score.faults] == ["sensor_break"]
    assert score.missed == ()


def test_a_score_is_of_its_simulation_alone(scenario: Scenarios, line_sim: LineSim, filiere_stack: FiliereStack):
    broken, normal = line_sim(T1, scenario=scenario(faults=[BREAK])), line_sim(F1)
    filiere_stack.run(broken)
    filiere_stack.run(normal)
    assert [lot.lot for lot in filiere_stack.score(broken).lots] == list(broken.lots)
    score = filiere_stack.score(normal)
    assert [lot.lot for lot in score.lots] == list(normal.lots)
    assert score.faults == ()


def test_a_normal_lot_is_judged_right(line_sim: LineSim, filiere_stack: FiliereStack):
    filiere_stack.run(line_sim(T1))
    score = filiere_stack.score(line_sim(T1))
    assert [lot.lot for lot in score.lots] == list(line_sim(T1).lots)
    assert (score.faults, score.wrong_verdicts) == ((), ())
