"""`filiere quarantine`: what was refused, what to do about it, and trying again."""

import fcntl
import json
import re
from base64 import b64decode
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from collector.accounts.audit import audit
from collector.log.lines import message_of
from collector.quarantine.commands import EXIT_NOT_DONE, EXIT_STILL_REFUSED, PAGE, quarantine
from collector.quarantine.progress import RetryProgress
from collector.quarantine.words import HELPED_BY_RETRY, NEXT_STEP, OTHERWISE, next_step
from collector.recorder.requests import Outcome
from filiere import logs, terminal
from filiere.errors import NotFound, SettingsError, StoreUnavailable
from tests.collector.book_by_hand import EXTRUDER, Book
from tests.collector.builders import Rig, readings

PROJECT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _logs_are_not_output(monkeypatch):
    """A program configures its logs once; here many commands run in one program, which keeps its own."""
    monkeypatch.setattr(logs, "configure_logs", lambda *_: None)
    with capture_logs():
        yield


@pytest.fixture
def book(tmp_path, monkeypatch):
    monkeypatch.setenv("FILIERE_DATA_DIR", str(tmp_path))
    return Book(tmp_path / "recorder.sqlite")


def run(*arguments):
    return CliRunner().invoke(quarantine, arguments)


def test_alone_it_lists_the_newest_first_with_reason_and_bytes(book):
    book.refused(reason="not_json", payload=b"first").refused(0, payload=b'{"v":{"colour":1}}').write()
    for command in ([], ["list"]):
        shown = json.loads(run(*command, "--json").stdout)
        assert [message["reason"] for message in shown] == ["unknown_signal", "not_json"]
        assert shown[1]["payload"] == "first"
        assert shown[0]["topic"].endswith(f"{EXTRUDER}/readings")


def test_one_reason_or_device_can_be_asked_for(book):
    book.refused(reason="not_json").refused(0).refused(device="", reason="wrong_topic").write()
    assert len(json.loads(run("--json", "--reason", "not_json").stdout)) == 1
    assert len(json.loads(run("list", "--json", "--device", EXTRUDER).stdout)) == 2
    assert len(json.loads(run("list", "--json", "--device", "?").stdout)) == 1
    assert run("--reason", "not_there").stdout == "Aucun message de ce genre.\n"
    assert "Il y en a d'autres" in run("--limit", "1").stdout
    assert "Il y en a d'autres" not in run("--limit", "3").stdout


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_shows_from_where_and_why_and_how_to_see_more(book, monkeypatch, width):
    monkeypatch.setattr(terminal, "WIDTH_ELSEWHERE", width)
    book.refused(7, message=f"got signal {'colour' * 20}; expected melt_temp").write()
    book.refused(device="", reason="wrong_topic", topic=b"filiere/v1/caux/readings").write()
    lines = run().stdout.splitlines()
    assert max(len(line) for line in lines) <= width
    assert not any("…" in line for line in lines)
    shown = "".join("".join(lines).split())
    for part in ("unknown_signal", "wrong_topic", "colour", "expectedmelt_temp", "quarantineshowNUMÉRO"):
        assert part in shown
    if width == 120:
        assert EXTRUDER in run().stdout
        assert "filiere/v1/caux/readings" in run().stdout


def test_options_before_a_command_are_refused_rather_than_passed_over(book):
    book.refused(0).write()
    result = run("--reason", "not_json", "retry", "--all")
    assert result.exit_code == 2
    assert "write options after the command" in result.stderr


def test_what_strangers_send_is_shown_without_what_a_terminal_would_obey(book):
    nasty = b"\x1b[2J\x1b]0;title\x07 [bold]not markup[/bold]"
    book.refused(payload=nasty, device="", topic=nasty, message=nasty.decode()).write()
    for command in ([], ["show", "1"]):
        shown = run(*command).stdout
        assert "\x1b" not in shown
        assert "\x07" not in shown
        assert "markup" in shown


def test_an_empty_quarantine_says_so(book):
    book.stored(0).write()
    assert run().stdout == "La quarantaine est vide.\n"
    assert run("list", "--lang", "en").stdout == "Nothing is in quarantine.\n"


def test_a_message_is_shown_whole_with_what_is_wrong_and_what_to_do(book):
    payload = b'{"boot":"9f2c","seq":7,"t":0,"v":{"colour":1}}' + b" " * 5000 + b"end"
    book.refused(7, payload=payload, message="got signal colour; expected melt_temp").write()
    shown = run("show", "1").stdout
    for part in (EXTRUDER, "boot 9f2c, seq 7", "unknown_signal", "got signal colour", "corrigez son nom", "end"):
        assert part in shown
    assert "filiere quarantine retry --reason unknown_signal" in shown
    found = json.loads(run("show", "1", "--json", "--lang", "en").stdout)
    assert b64decode(found["payload_base64"]) == payload
    assert "correct its name" in found["what_to_do"]


def test_bytes_that_are_no_text_are_dumped(book):
    book.refused(payload=bytes(range(256)) * 40).write()
    shown = run("show", "1").stdout
    assert "00000010  10 11 12 13" in shown
    assert "0123456789:;<=>?" in shown
    assert "6144 octets de plus" in shown


def test_a_message_that_is_not_there_is_said(book):
    book.refused(0).write()
    assert isinstance(run("show", "41").exception, NotFound)


def test_before_any_recorder_ran_it_says_what_to_do(book):
    assert book
    for command in ([], ["show", "1"], ["export"], ["retry", "--all"]):
        assert isinstance(run(*command).exception, StoreUnavailable)


def test_an_export_gives_every_byte_back_with_the_reason(book, tmp_path):
    payloads = [b"\xff\x00", b'{"a":1}', "é".encode(), b""]
    for payload in payloads:
        book.refused(reason="not_json", payload=payload)
    book.refused(reason="wrong_topic", device="", topic=b"\xfe/x").write()
    lines = run("export").stdout_bytes.splitlines()
    assert [message_of(line).payload for line in lines][:4] == payloads
    assert [message_of(line).offset for line in lines] == [1, 2, 3, 4, 5]
    assert message_of(lines[4]).topic == b"\xfe/x"
    assert json.loads(lines[4])["reason"] == "wrong_topic"
    assert len(run("export", "--reason", "not_json").stdout.splitlines()) == 4
    file = tmp_path / "out.jsonl"
    assert run("export", "--output", str(file)).exit_code == 0
    assert file.read_bytes().splitlines() == lines
    assert isinstance(run("export", "--output", str(file)).exception, SettingsError)
    assert isinstance(run("export", "--output", str(tmp_path / "recorder.sqlite" / "x")).exception, SettingsError)


def test_an_export_is_longer_than_one_read(book):
    for _ in range(PAGE + 1):
        book.refused()
    book.write()
    assert len(run("export").stdout.splitlines()) == PAGE + 1


def test_every_reason_of_the_wire_has_its_next_step():
    page = (PROJECT / "docs" / "wire.md").read_text()
    table = page.split("## What is refused", 1)[1].split("##", 1)[0]
    reasons = {
        reason
        for row in table.splitlines()
        if row.startswith("| `")
        for reason in re.findall(r"`(\w+)`", row.split("|")[1])
    }
    assert len(reasons) > 10
    assert reasons <= NEXT_STEP.keys()
    assert NEXT_STEP.keys() >= HELPED_BY_RETRY
    assert next_step("something_new") == OTHERWISE


def test_a_retry_wants_to_know_of_what(book):
    book.refused(0).write()
    for arguments in ([], ["1", "--all"], ["--all", "--reason", "not_json"]):
        result = run("retry", *arguments)
        assert result.exit_code == 2
        assert "say which" in result.stderr
    assert isinstance(run("retry", "41").exception, NotFound)


def test_a_retry_of_nothing_is_no_error(book):
    book.stored(0).write()
    result = run("retry", "--all")
    assert (result.exit_code, result.stdout) == (0, "Aucun message de ce genre.\n")


# ---- trying again, with a recorder's real files: its plant lacks a signal that the packaged one has


@pytest.fixture
def rig(tmp_path, monkeypatch):
    monkeypatch.setenv("FILIERE_DATA_DIR", str(tmp_path))
    with Rig(tmp_path) as rig:
        rig.record(readings(seq=0), readings(seq=1, screw_speed=40), b"hello", readings(seq=2, screw_speed=41))
        yield rig


def account(rig):
    (found,) = audit(rig.book_path)
    return found.published, found.stored, found.quarantined, found.closes


def test_a_signal_added_to_the_plant_brings_back_what_was_refused_for_it(rig):
    assert account(rig) == (4, 1, 3, True)
    result = run("retry", "--reason", "unknown_signal")
    assert result.exit_code == 0
    assert "Sortis de quarantaine : 2 messages." in result.stdout
    assert account(rig) == (4, 3, 1, True)
    assert [value for _, value, _ in rig.stored("extruder.screw_speed")] == [40, 41]


def test_what_is_still_refused_is_counted_with_its_reason(rig):
    result = run("retry", "--all", "--lang", "en")
    assert result.exit_code == EXIT_STILL_REFUSED
    assert "Out of quarantine: 2 messages." in result.stdout
    assert "Still refused: 1 — not_json 1" in result.stdout
    again = run("retry", "--all", "--json")
    assert again.exit_code == EXIT_STILL_REFUSED
    assert json.loads(again.stdout) == {"done": True, "moved": 0, "left": 1, "still_refused": {"not_json": 1}}
    assert account(rig) == (4, 3, 1, True)


def test_one_message_can_be_tried_again_by_its_number(rig):
    assert run("retry", "2").exit_code == 0
    assert account(rig) == (4, 2, 2, True)
    assert json.loads(run("--json").stdout)[-1]["offset"] == 3


def test_a_recorder_that_does_not_answer_is_not_waited_for_longer_than_asked(rig, tmp_path):
    with (tmp_path / "recorder.lock").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        result = run("retry", "--all", "--wait", "0")
    assert result.exit_code == EXIT_NOT_DONE
    assert "Pas encore fait" in result.stdout
    assert account(rig) == (4, 1, 3, True)


def test_a_store_that_is_down_is_said_and_nothing_is_lost(rig, monkeypatch):
    monkeypatch.setenv("FILIERE_INFLUX_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("FILIERE_INFLUX_TOKEN", "t")
    result = run("retry", "--all")
    assert isinstance(result.exception, StoreUnavailable)
    assert account(rig) == (4, 1, 3, True)


def test_a_stray_message_on_an_unknown_device_is_retried_and_leaves_every_account_closed(rig):
    rig.record(readings(seq=41), topic="filiere/v1/caux/textile/t1/extuder/readings")
    result = run("retry", "--device", "?")
    assert result.exit_code == EXIT_STILL_REFUSED
    assert "unknown_device 1" in result.stdout
    assert all(each.closes for each in audit(rig.book_path))


def test_a_long_retry_says_how_far_it_is_how_long_it_takes_and_what_it_waits_for(capsys):
    times_s = iter((0.0, 1.0, 10.0, 10.5, 11.0))
    progress = RetryProgress("fr", monotonic_s=lambda: next(times_s))
    for judged, problem in ((10, None), (250, None), (300, "down"), (300, "down")):
        progress(Outcome(done=False, total=1000, judged=judged, problem=problem))
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == ["rejugés : 250 sur 1000, reste 30 s", "L'enregistrement attend : down"]
