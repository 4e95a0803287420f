"""`filiere audit` and `filiere quarantine`, as people read them."""

import json

import pytest
import typer
from typer.testing import CliRunner

from collector import commands
from filiere.errors import StoreUnavailable
from tests.collector.builders import EXTRUDER, Rig, readings


@pytest.fixture
def rig(tmp_path, monkeypatch):
    monkeypatch.setenv("FILIERE_DATA_DIR", str(tmp_path))
    with Rig(tmp_path) as rig:
        yield rig


def run(command, *arguments):
    app = typer.Typer()
    app.command()(getattr(commands, command))
    return CliRunner().invoke(app, arguments)


def test_an_account_that_closes_is_status_0(rig):
    rig.record(readings(seq=0, rows=3), b"hello")
    result = run("audit")
    assert result.exit_code == 0
    assert "Les comptes tombent juste." in result.stdout
    row = next(line for line in result.stdout.splitlines() if EXTRUDER in line)
    assert [cell.strip() for cell in row.split("│")[2:5]] == ["4", "3", "1"]
    assert "not_json 1" in row


def test_an_account_that_does_not_close_is_status_1(rig):
    rig.record(readings(seq=1))
    result = run("audit")
    assert result.exit_code == 1
    assert "NE TOMBE PAS JUSTE" in result.stdout
    assert "des relevés manquent" in result.stdout


def test_english_is_a_choice(rig):
    rig.record(readings(seq=1))
    shown = run("audit", "--lang", "en").stdout
    assert "NOT CLOSED: rows are missing" in shown
    assert "published" in shown
    rig.record(b"hello")
    assert "what is wrong" in run("quarantine", "--lang", "en").stdout
    assert "ce qui ne va pas" in run("quarantine").stdout


def test_the_audit_as_json_says_the_same(rig):
    rig.record(readings(seq=0), readings(seq=2))
    rig.arrive(readings(seq=1))
    result = run("audit", "--json")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    (device,) = answer["devices"]
    assert (answer["closes"], device["closes"], device["missing"], device["published"]) == (False, False, 1, 3)
    assert answer["recorder"]["bookmark"] == 2


def test_an_audit_before_any_recorder_ran_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("FILIERE_DATA_DIR", str(tmp_path / "nothing"))
    assert isinstance(run("audit").exception, StoreUnavailable)


def test_the_quarantine_shows_the_newest_first_with_reason_and_bytes(rig):
    rig.record(b"first", readings(seq=0, colour=1))
    shown = json.loads(run("quarantine", "--json").stdout)
    assert [message["reason"] for message in shown] == ["unknown_signal", "not_json"]
    assert shown[1]["payload"] == "first"
    assert shown[0]["topic"].endswith(f"{EXTRUDER}/readings")


def test_the_quarantine_can_be_asked_for_one_reason_or_device(rig):
    rig.record(b"first", readings(seq=0, colour=1))
    rig.record(b"elsewhere", topic="filiere/v1/nowhere")
    assert len(json.loads(run("quarantine", "--json", "--reason", "not_json").stdout)) == 1
    assert len(json.loads(run("quarantine", "--json", "--device", EXTRUDER).stdout)) == 2
    assert len(json.loads(run("quarantine", "--json", "--device", "?").stdout)) == 1
    assert run("quarantine", "--reason", "not_there").stdout == "Aucun message de ce genre.\n"
    assert len(json.loads(run("quarantine", "--json", "--limit", "1").stdout)) == 1


def test_what_strangers_send_is_shown_without_what_a_terminal_would_obey(rig):
    rig.record(b"\x1b[2J\x1b]0;title\x07 [bold]not markup[/bold]")
    shown = run("quarantine").stdout
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "[bold]" in shown


def test_an_empty_quarantine_says_so(rig):
    rig.record(readings(seq=0))
    assert run("quarantine").stdout == "La quarantaine est vide.\n"
