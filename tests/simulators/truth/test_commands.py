"""`filiere score` on one simulated lot that went through the whole system."""

import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from filiere.errors import NotFound, SettingsError
from simulators.faults.fault import Layer
from simulators.line.simulation import beginning, line_cycles, simulate
from simulators.scenarios.scenario_file import parse_scenario
from simulators.testing.frozen import FrozenClock
from simulators.testing.stack import FiliereStack, open_stack
from simulators.truth import commands
from simulators.truth.folder import TruthWriter, read_truth
from simulators.truth.matching import GRACE_S
from simulators.truth.score import score
from simulators.truth.system import System
from simulators.truth.verdicts import Outcome
from tests.simulators.builders import START_NS, TEXTILE, caux

SCENARIO = b"""
scenario: 1
id: one-lot
label: {fr: "Un lot", en: "One lot"}
summary: {fr: "Quatre pannes.", en: "Four faults."}
lines: [caux/textile/t1]
lots: 1
faults:
  - kind: sentinel
    label: overflow
    line: caux/textile/t1
    target: extruder.screw_speed
    onset: {lot: 1, step: extrusion, after: 20 min}
    duration: 5 min
    severity: 65532
  - kind: outage
    label: offline
    line: caux/textile/t1
    target: shredder
    onset: {lot: 1, step: sorting, after: 5 min}
    duration: 10 min
  - kind: dropped
    label: holes
    line: caux/textile/t1
    target: dryer
    onset: {lot: 1, step: extrusion, after: 10 min}
    duration: 20 min
    severity: 1
  - kind: sensor_stuck
    label: stuck
    line: caux/textile/t1
    target: extruder.motor_current
    onset: {lot: 1, step: extrusion, after: 40 min}
    duration: 10 min
"""


@dataclass(frozen=True, slots=True)
class Done:
    """A simulation that was recorded, and its truth."""

    data: Path
    truth: Path


def record(folder: Path) -> Done:
    scenario = parse_scenario(SCENARIO, "one-lot.yaml", caux())
    state = beginning(caux(), seed=1, start_ns=START_NS, scenario=scenario)
    cycle = next(line_cycles(caux(), state, TEXTILE, scenario=scenario))
    TruthWriter(folder / "truth", caux(), scenario, seed=1).write(cycle)
    with open_stack(folder, plant=caux(), clock=FrozenClock(START_NS)) as stack:
        stack.run(simulate(caux(), seed=1, start_ns=START_NS, lots=1, state=state, scenario=scenario))
    return Done(data=folder, truth=folder / "truth")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    return record(tmp_path_factory.mktemp("score"))


@contextmanager
def stack_of(done: Done) -> Iterator[FiliereStack]:
    with open_stack(done.data, plant=caux(), clock=FrozenClock(START_NS)) as stack:
        yield stack


def run(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(commands.score)
    return CliRunner().invoke(app, [str(each) for each in arguments])


def test_what_the_system_made_of_each_fault(done: Done) -> None:
    with stack_of(done) as stack:
        system = System(
            plant=caux(),
            chain=stack.ledger.chain(),
            store=stack.store,
            recorder_path=stack.settings.recorder_path,
            certificates_dir=stack.settings.certificates_dir,
        )
        result = score(read_truth(done.truth), system)
    found = {each.fault.label: each for each in result.faults}
    assert found["overflow"].first.words.en == "outside the sensor's range"
    assert found["overflow"].delay_s < 10
    assert found["holes"].first.words.en == "numbers that never arrived"
    assert found["holes"].delay_s > 60
    assert found["offline"].absorbed
    assert found["stuck"].missed
    (lot,) = result.lots
    assert lot.conforms
    assert lot.outcome is Outcome.CAUTIOUS  # held for the dryer's holes
    assert {balance.balanced for balance in result.balances} == {True}


def test_the_command_finds_the_truth_in_the_data_folder(done: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILIERE_DATA_DIR", str(done.data))
    result = run()
    assert result.exit_code == 1
    assert "Scénario one-lot, graine 1" in result.stdout
    assert "MANQUÉE" in result.stdout


def test_json_is_one_document(done: Done) -> None:
    result = run(done.truth, "--data", done.data, "--json")
    document = json.loads(result.stdout)
    assert document["summary"]["faults"] == 4
    assert {each["layer"] for each in document["faults"]} == {Layer.SENSOR, Layer.NETWORK}


def test_a_picture_is_drawn_beside_the_table(done: Done, tmp_path: Path) -> None:
    result = run(done.truth, "--data", done.data, "--plot", tmp_path / "score.svg", "--lang", "en")
    assert "missed faults" in result.stdout
    assert (tmp_path / "score.svg").is_file()
    assert f"Drawn: {tmp_path / 'score.svg'}" in result.stderr


def test_a_wrong_name_for_the_picture_is_told_before_the_work(done: Done, tmp_path: Path) -> None:
    result = run(done.truth, "--data", done.data, "--plot", tmp_path / "score.gif")
    assert isinstance(result.exception, SettingsError)
    assert result.stdout == ""


def test_scoring_changes_nothing(done: Done) -> None:
    def files() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in sorted(done.data.rglob("*.json"))}

    before = files()
    first = run(done.truth, "--data", done.data, "--json").stdout
    assert run(done.truth, "--data", done.data, "--json").stdout == first
    assert files() == before


@pytest.mark.parametrize("missing", ["truth", "data"])
def test_a_folder_that_is_not_there_is_told(done: Done, tmp_path: Path, missing: str) -> None:
    truth, data = (
        tmp_path / "gone" if missing == which else here for which, here in (("truth", done.truth), ("data", done.data))
    )
    assert isinstance(run(truth, "--data", data).exception, NotFound)


def test_the_commands_grace_is_that_of_the_rules() -> None:
    assert inspect.signature(commands.score).parameters["grace"].default == GRACE_S


def test_a_grace_that_is_no_number_of_seconds_is_wrong_usage(done: Done) -> None:
    for grace in ("-1", "nan", "1e308", "soon"):
        assert run(done.truth, "--data", done.data, "--grace", grace).exit_code == 2
