"""`filiere scenario`: what people see."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from simulators.scenarios.commands import scenario
from simulators.scenarios.scenario_file import shipped, shipped_bytes


def run(*arguments: str) -> Result:
    return CliRunner().invoke(scenario, [*arguments], catch_exceptions=False)


@pytest.mark.parametrize("language", ["fr", "en"])
def test_the_list_has_every_shipped_scenario_and_what_it_shows(language: str):
    shown = run("list", "--lang", language)
    assert shown.exit_code == 0
    for name in shipped():
        assert name in shown.stdout
    assert ("60 lots par ligne" in shown.stdout) == (language == "fr")
    assert ("60 lots a line" in shown.stdout) == (language == "en")


def test_the_list_in_json_has_every_fault():
    found = {each["id"]: each for each in json.loads(run("list", "--json").stdout)}
    assert found["clogged-screen"]["faults"][0]["onset"] == {"after": "20 min", "lot": 2, "step": "extrusion"}
    assert found["normal-day"]["days"] == 1


def test_a_scenario_that_is_shown_is_its_file_and_can_be_checked(tmp_path: Path):
    shown = run("show", "drift")
    assert shown.stdout_bytes == shipped_bytes("drift")
    (tmp_path / "mine.yaml").write_bytes(shown.stdout_bytes)
    checked = run("check", str(tmp_path / "mine.yaml"), "--lang", "en")
    assert checked.exit_code == 0
    assert "Scale tare drifting" in checked.stdout
    assert "0.2 Cel/h (drift)" in checked.stdout


def test_a_wrong_scenario_is_told_with_its_line_and_exit_status_1(tmp_path: Path):
    wrong = shipped_bytes("drift").replace(b"severity: 0.5", b"severity: much")
    (tmp_path / "mine.yaml").write_bytes(wrong)
    checked = run("check", str(tmp_path / "mine.yaml"))
    assert checked.exit_code == 1
    number = wrong.decode().splitlines().index(next(line for line in wrong.decode().splitlines() if "much" in line)) + 1
    assert checked.stderr.startswith(f"{tmp_path}/mine.yaml:{number}: scenario.faults[1].severity: got 'much'")
    assert not checked.stdout


def test_a_label_of_an_own_scenario_moves_no_cursor(tmp_path: Path):
    sly = shipped_bytes("normal-day").replace("Une journée normale".encode(), "Sûr : \\e[2J".encode())
    (tmp_path / "mine.yaml").write_bytes(sly)
    told = run("check", str(tmp_path / "mine.yaml")).stdout
    assert "\x1b[2J" not in told
    assert "Sûr :" in told


def test_days_are_told_in_the_language_of_who_looks(tmp_path: Path):
    week = b'days: 2.5\ncalendar: {days: [mon, sun], start: "06:00", lots_a_day: 3}\n'
    (tmp_path / "mine.yaml").write_bytes(shipped_bytes("normal-day").replace(b"days: 1\n", week))
    assert "2,5 jours · lun dim : 3 lots par jour" in run("check", str(tmp_path / "mine.yaml")).stdout
    assert "2.5 days · mon sun: 3 lots a day" in run("check", str(tmp_path / "mine.yaml"), "--lang", "en").stdout
