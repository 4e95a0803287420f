from pathlib import Path

import pytest

from filiere.chain import Run
from filiere.errors import ScenarioError, SettingsError
from filiere.settings import load_settings
from simulators.demo.run import REMADE, DemoOrder, newest_of_each_line, run_demo
from simulators.demo.services import free_port


def closed_run(line: str, lot: str, stop_ns: int) -> Run:
    return Run(
        id=f"{lot}-run",
        line=line,
        step="extrusion",
        recipe="any",
        lot=lot,
        start_ns=0,
        stop_ns=stop_ns,
        inputs=(),
        outputs=(),
    )


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_data_folder_that_cannot_be_one_is_said_in_words(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(SettingsError, match="--data"):
        run_demo(DemoOrder(data_dir=tmp_path / name, port=free_port()))


def test_a_data_folder_that_may_not_be_written_is_said_in_words() -> None:
    # not even root may make a file there
    with pytest.raises(SettingsError, match="--data"):
        run_demo(DemoOrder(data_dir=Path("/proc/self"), port=free_port()))


def test_a_scenario_that_is_none_is_told_before_anything_is_started(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="did you mean drift"):
        run_demo(DemoOrder(data_dir=tmp_path / "data", port=free_port(), scenario="drifft"))
    assert not (tmp_path / "data").exists()


def test_the_proof_is_of_the_lots_that_were_asked_for_also_when_a_stop_came_between() -> None:
    runs = [closed_run(line, lot, at) for at, (line, lot) in enumerate([("t", "T1"), ("f", "F1"), ("t", "T2")])]
    assert [run.lot for run in newest_of_each_line(runs, 1)] == ["T2", "F1"]
    assert [run.lot for run in newest_of_each_line(reversed(runs), 2)] == ["T1", "T2", "F1"]


def test_a_fresh_start_leaves_nothing_of_the_collector_behind_but_the_keys(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    paths = (settings.log_path, settings.intake_status_path, settings.subscriptions_path, settings.recorder_path)
    assert {path.name for path in (*paths, settings.receipts_status_path)} <= set(REMADE)
    assert {"written_off.json", "requests", "simulator-faults"} <= set(REMADE)
    assert settings.signing_key_path.name not in REMADE
