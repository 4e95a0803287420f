"""`filiere settings` and `filiere plant check`, as a person types them."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from filiere.cli import load
from filiere.settings import MASK, Settings, settings_markdown, variable

PACKAGED = Path(__file__).parents[2] / "filiere" / "plants" / "caux.yaml"


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    for name in Settings.model_fields:
        monkeypatch.delenv(variable(name), raising=False)


def test_settings_shows_every_variable_and_masks_secrets(monkeypatch):
    monkeypatch.setenv("FILIERE_INFLUX_TOKEN", "hidden")
    result = CliRunner().invoke(load("settings"), [])
    assert result.exit_code == 0
    assert all(variable(name) in result.stdout for name in Settings.model_fields)
    assert MASK in result.stdout
    assert "hidden" not in result.output


def test_settings_as_json_is_json_even_with_an_unknown_variable(monkeypatch):
    monkeypatch.setenv("FILIERE_MQTT_HOTS", "x")
    result = CliRunner().invoke(load("settings"), ["--json"])
    assert json.loads(result.stdout)["FILIERE_MQTT_PORT"]["value"] == "1883"
    assert "FILIERE_MQTT_HOTS: no setting reads this variable" in result.stderr


def test_the_markdown_page_needs_no_valid_environment(monkeypatch):
    monkeypatch.setenv("FILIERE_MQTT_PORT", "wrong")
    result = CliRunner().invoke(load("settings"), ["--markdown"])
    assert result.stdout == settings_markdown()


@pytest.mark.parametrize("name", ["caux", str(PACKAGED)])
def test_a_plant_in_order_is_shown_as_a_tree(name):
    result = CliRunner().invoke(load("plant"), ["check", name])
    assert result.exit_code == 0, result.output
    assert "in order: " in result.stdout
    assert "caux/textile/" in result.stdout


def test_a_plant_that_is_wrong_names_file_and_line(tmp_path):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(PACKAGED.read_text(encoding="utf-8").replace("timezone: ", "timezone: Mars/", 1), encoding="utf-8")
    result = CliRunner().invoke(load("plant"), ["check", str(wrong)])
    assert result.exit_code == 1
    assert "wrong.yaml:" in result.stderr
    assert "Mars/" in result.stderr
    assert result.stdout == ""


def test_a_plant_s_lines_are_not_broken_in_a_file(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    result = CliRunner().invoke(load("plant"), ["check", "caux", "--lang", "en"])
    assert re.search(
        r"melt_pressure \[bar\] every 2 s, at most 120, critical — Pressure before the screen$",
        result.stdout,
        re.MULTILINE,
    )
    assert re.search(r"in order: 2 lines, .* digest [0-9a-f]{16}$", result.stdout, re.MULTILINE)


def test_a_language_that_plants_do_not_have_is_refused():
    assert CliRunner().invoke(load("plant"), ["check", "caux", "--lang", "de"]).exit_code == 2


def test_a_plant_that_is_not_there_says_so():
    result = CliRunner().invoke(load("plant"), ["check", "/nowhere.yaml"])
    assert result.exit_code == 1
    assert "/nowhere.yaml" in result.stderr
