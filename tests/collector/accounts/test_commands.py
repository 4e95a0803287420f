"""`filiere audit`, as people and monitors read it."""

import io
import json
import re

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from collector.accounts import commands as accounts_commands
from collector.accounts.audit import DeviceAccount, audit
from collector.accounts.commands import accounts_table
from collector.intake.status import StatusFile
from filiere.clock import NS_PER_S, system_clock
from filiere.errors import NotFound, SettingsError, StoreRefused, StoreUnavailable
from filiere.settings import load_settings
from tests.collector.book_by_hand import DRYER, NOON_NS, Book
from tests.collector.builders import EXTRUDER, Rig, readings


@pytest.fixture
def rig(tmp_path, monkeypatch):
    monkeypatch.setenv("FILIERE_DATA_DIR", str(tmp_path))
    with Rig(tmp_path) as rig:
        yield rig


@pytest.fixture
def book(tmp_path, monkeypatch):
    monkeypatch.setenv("FILIERE_DATA_DIR", str(tmp_path))
    return Book(tmp_path / "recorder.sqlite")


def run(*arguments):
    app = typer.Typer()
    app.command()(accounts_commands.audit)
    return CliRunner().invoke(app, arguments)


def cells(shown, device=EXTRUDER):
    row = next(line for line in shown.splitlines() if line.startswith(device))
    return row.split()


def test_an_account_that_closes_is_status_0(rig):
    rig.record(readings(seq=0, rows=3), b"hello")
    result = run()
    assert result.exit_code == 0
    assert "Les comptes tombent juste" in result.stdout
    assert cells(result.stdout)[1:5] == ["4", "3", "1", "0"]
    assert cells(result.stdout)[-1] == "juste"
    assert "not_json 1" in result.stdout


def test_an_account_that_does_not_close_is_status_1(rig):
    rig.record(readings(seq=1))
    result = run()
    assert result.exit_code == 1
    assert "NE TOMBENT PAS JUSTE" in result.stdout
    assert "des relevés manquent" in result.stdout
    assert cells(result.stdout)[-1] == "OUVERT"


def test_a_recorder_that_a_damaged_log_stops_leaves_word_of_it(rig, monkeypatch):
    rig.record(readings(seq=0))

    def damaged(*_):
        raise StoreRefused("messages 1000 to 1009 cannot be read; run `filiere log repair`")

    monkeypatch.setattr(type(rig.log), "read", damaged)
    monkeypatch.setattr(rig.recorder, "_begin", lambda: None)
    with pytest.raises(StoreRefused):
        rig.recorder.run()
    assert "L'enregistrement attend : messages 1000 to 1009 cannot be read" in run().stdout


def test_what_came_in_while_no_recorder_ran_is_told_as_not_recorded(rig):
    rig.record(readings(seq=0))
    rig.arrive(readings(seq=1), readings(seq=2))
    assert "pas encore enregistrés, comptés d'aucun côté : 2" in run().stdout
    (collector,) = json.loads(run("--json").stdout)["collectors"]
    assert (collector["recorder"]["log_head"], collector["recorder"]["log_lag"]) == (3, 2)


def test_a_recorder_that_stopped_is_told_and_a_collector_that_stopped_is_told_once(rig):
    rig.record(readings(seq=0))
    shown = run().stdout
    assert "la réception est arrêtée. Lancez filiere collect" in shown
    assert "L'enregistrement est arrêté" not in shown
    settings = load_settings()
    status = StatusFile(settings.intake_status_path, log_path=settings.log_path, clock=system_clock)
    status.say(connected=True, problem=None)
    shown = run().stdout
    assert "L'enregistrement est arrêté. Lancez filiere collect" in shown
    assert "Les appareils ne reçoivent pas de réponse et gardent tout : never seen at work" in shown
    assert "Rien n'est accepté" not in shown


def test_english_is_a_choice(rig):
    rig.record(readings(seq=1))
    shown = run("--lang", "en").stdout
    assert "NOT CLOSED: rows are missing" in shown
    assert "published" in shown


def test_the_audit_as_json_says_the_same(rig):
    rig.record(readings(seq=0), readings(seq=2))
    rig.arrive(readings(seq=1))
    result = run("--json")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    (device,) = answer["devices"]
    assert (answer["closes"], device["closes"], device["missing"], device["published"]) == (False, False, 1, 3)
    assert device["gaps"] == [{"boot": "9f2c", "first": 1, "last": 1}]
    (collector,) = answer["collectors"]
    assert (collector["recorder"]["bookmark"], collector["data_dir"]) == (2, str(rig.folder))
    assert "start `filiere collect`" in collector["intake_trouble"]
    assert "start `filiere collect`" in collector["receipts_trouble"]


def test_an_audit_before_any_recorder_ran_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("FILIERE_DATA_DIR", str(tmp_path / "nothing"))
    assert isinstance(run().exception, StoreUnavailable)
    assert isinstance(run(str(tmp_path / "nowhere")).exception, StoreUnavailable)


def test_the_gaps_are_named_with_boot_and_numbers(book):
    book.stored(5).stored(9, 12).write()
    result = run("--gaps")
    assert result.exit_code == 1
    rows = [line.split()[1:] for line in result.stdout.splitlines() if line.startswith(EXTRUDER)]
    assert rows == [["9f2c", "0", "4", "5"], ["9f2c", "6", "8", "3"]]
    assert run("--gaps", "--lang", "en", "--device", EXTRUDER).exit_code == 1


def test_messages_that_cannot_be_read_stand_for_gaps_and_it_says_so(book):
    book.stored(0).stored(2).refused(reason="not_json").write()
    result = run("--gaps", "--lang", "en")
    assert result.exit_code == 0
    assert f"{EXTRUDER}: 1 messages in quarantine whose number cannot be read" in result.stdout


def test_when_nobody_was_heard_it_says_so(book):
    book.write()
    result = run()
    assert (result.exit_code, "Aucun appareil n'a encore été entendu" in result.stdout) == (0, True)


def test_without_gaps_it_says_so(book):
    book.stored(0, 3).write()
    result = run("--gaps")
    assert (result.exit_code, "Aucun numéro ne manque" in result.stdout) == (0, True)


def test_one_device_or_line_can_be_asked_for_and_a_typing_error_is_told(book):
    book.stored(1).stored(0, device=DRYER).stored(0, device="caux/textile/t10/dryer").write()
    assert run("--device", DRYER).exit_code == 0
    assert [each["device"] for each in json.loads(run("--json", "--device", "caux/textile/t1").stdout)["devices"]] == [
        DRYER,
        EXTRUDER,
    ]
    missed = run("--device", "caux/textile/t1/dyer").exception
    assert isinstance(missed, NotFound)
    assert DRYER in str(missed)


def test_the_folders_of_several_collectors_are_added_up(book, tmp_path):
    (tmp_path / "south").mkdir()
    book.stored(0, 50).write()
    Book(tmp_path / "south" / "recorder.sqlite").stored(45, 99).write()
    result = run(str(tmp_path), str(tmp_path / "south"))
    assert result.exit_code == 0
    assert cells(result.stdout)[1:7] == ["100", "100", "0", "0", "0", "6"]
    assert f"{tmp_path / 'south'}: Rien n'est accepté" in result.stdout
    assert run(str(tmp_path / "south")).exit_code == 1


def test_a_folder_named_twice_is_one(book, tmp_path):
    book.stored(0, 9).write()
    answer = json.loads(run("--json", str(tmp_path), f"{tmp_path}/../{tmp_path.name}").stdout)
    assert (answer["devices"][0]["duplicates"], len(answer["collectors"])) == (0, 1)


def test_what_is_lost_for_good_can_be_written_off_with_a_reason(book, tmp_path):
    book.stored(5).stored(1, device=DRYER).write()
    assert "filiere audit --gaps" in run().stdout
    told = run("--gaps").stdout
    assert told.index("les renvoie de lui-même") < told.index("--write-off")
    assert isinstance(run("--write-off", "  ").exception, SettingsError)
    assert run("--write-off", "switch burnt", "--device", EXTRUDER).exit_code == 0
    result = run()
    assert result.exit_code == 1
    assert f"passé en perte (motifs dans written_off.json) : {EXTRUDER} 5" in result.stdout
    assert cells(result.stdout, DRYER)[-1] == "OUVERT"
    assert f"passé en perte (motifs dans written_off.json) : {EXTRUDER} 5" in run("--gaps").stdout
    assert [each["reason"] for each in json.loads((tmp_path / "written_off.json").read_text())] == ["switch burnt"]
    assert run("--write-off", "dryer too").exit_code == 0
    assert json.loads(run("--json").stdout)["devices"][0]["written_off"] == 1
    again = run("--write-off", "once more")
    assert "Rien ne manque" in again.stderr
    assert len(json.loads((tmp_path / "written_off.json").read_text())) == 2


def test_rows_that_another_collector_may_have_cannot_be_written_off(book, tmp_path):
    book.stored(5).write()
    (tmp_path / "south").mkdir()
    Book(tmp_path / "south" / "recorder.sqlite").stored(0, 1).write()
    assert "--write-off" not in run(str(tmp_path), str(tmp_path / "south"), "--gaps").stdout
    result = run(str(tmp_path), str(tmp_path / "south"), "--write-off", "gone")
    assert isinstance(result.exception, SettingsError)
    assert not (tmp_path / "written_off.json").exists()


def test_what_cannot_be_known_is_said(book):
    book.foreign(b"a", b"b").refused(41, device="x/y/z/dyer", reason="unknown_device").write()
    shown = run().stdout
    assert f"sans moyen de savoir s'il en manque : {DRYER} 2" in shown
    assert "?: unknown_device 1" in shown
    assert "appareils que l'atelier n'a pas" in shown


@pytest.mark.parametrize("language", ["fr", "en"])
def test_the_table_fits_120_columns_whatever_the_counts(language):
    account = DeviceAccount(
        device="caux/textile/t1/granulator",
        published=987_654_321,
        stored=987_654_000,
        quarantined=321_000,
        waiting=12,
        missing=123_456,
        duplicates=1_234_567,
        late=123_456,
        clock_suspect=0,
        out_of_range=0,
        reasons={},
        skew_s=-86_400.5,
        last_record_ns=NOON_NS,
        state="",
    )
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(accounts_table([account], language, now_ns=NOON_NS + 7200 * NS_PER_S))
    lines = console.export_text().splitlines()
    assert max(len(line) for line in lines) <= 120
    row = next(line for line in lines if line.startswith("caux"))
    assert "…" not in row
    assert re.split(r"\s{1,}", row.strip())[:3] == ["caux/textile/t1/granulator", "987654321", "987654000"]
    assert len([line for line in lines if line.strip()]) <= 5


@pytest.mark.parametrize("language", ["fr", "en"])
def test_a_terminal_of_80_columns_shows_the_whole_account(book, language):
    book.stored(3, 41_301).refused(41_302, rows=2).stored(0, device="?").write()
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(accounts_table(audit(book.path), language, now_ns=NOON_NS, narrow=True))
    lines = console.export_text().splitlines()
    assert max(len(line) for line in lines) <= 80
    assert not any("…" in line for line in lines)
    row = next(line for line in lines if "41304" in line)
    assert row.split()[1:6] == ["41304", "41299", "2", "0", "3"]
    assert len(row.split()) == 7
