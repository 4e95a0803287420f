"""`filiere replay`: what people read, exit statuses, and that a bad file publishes nothing."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from collector.outbox.file import status_of
from filiere.errors import ScenarioError, SettingsError
from simulators.demo.services import free_port
from simulators.replay import sending
from simulators.replay.commands import replay
from simulators.replay.dirt import WORDS, Dirt
from simulators.replay.replay import OUTBOX_FILE
from tests.collector.answering import Answering
from tests.servers import Mosquitto
from tests.simulators.replay.builders import mapping_text, written

ROWS = ("2026-03-11 10:00:01;230,5", "2026-03-11 10:00:03;-175", "2026-03-11 10:00:03;-175", "2026-03-11 10:00:05;231")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recorded file, its mapping, and an empty data folder beside them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FILIERE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("FILIERE_MQTT_PORT", str(free_port()))
    written(tmp_path, "t;z1", *ROWS)
    text = mapping_text(time="{columns: [t], format: year_first}", more="sentinels: [-175]")
    (tmp_path / "mapping.yaml").write_text(text)
    return tmp_path


def run(*arguments: str, code: int = 0):
    result = CliRunner().invoke(replay, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


MAPPED = ("plant.csv", "-m", "mapping.yaml", "--zone", "Europe/Paris")


@pytest.mark.usefixtures("folder")
def test_a_check_says_what_is_wrong_in_both_languages_and_publishes_nothing():
    french = run(*MAPPED, "--check").stdout
    assert "valeur sentinelle" in french
    assert "Vérifié, rien n'est publié." in french
    english = run(*MAPPED, "--check", "--lang", "en").stdout
    assert "sentinel value" in english
    assert "Checked, nothing is published." in english
    assert not Path("data").exists()


@pytest.mark.usefixtures("folder")
def test_the_report_is_json_for_programs():
    said = json.loads(run(*MAPPED, "--check", "--json").stdout)
    assert {each["kind"]: each["count"] for each in said["found"]} == {"sentinel": 2, "repeated_row": 1}
    assert (said["messages"], said["rows"], said["first_time"]) == (1, 2, "2026-03-11T09:00:01.000Z")


@pytest.mark.usefixtures("folder")
def test_a_file_becomes_a_log_that_is_replayed_without_a_mapping():
    assert "1 messages écrits dans log.jsonl." in run(*MAPPED, "--output", "log.jsonl").stdout
    assert "Rien d'anormal" in run("log.jsonl", "--check").stdout
    run("run", "log.jsonl", "--check")
    with pytest.raises(SettingsError, match="there already"):
        run(*MAPPED, "--output", "log.jsonl")


@pytest.mark.usefixtures("folder")
def test_a_file_without_end_is_refused():
    with pytest.raises(SettingsError, match="--loop: got 0, without end, with --output"):
        run(*MAPPED, "--output", "log.jsonl", "--loop", "0")
    assert not Path("log.jsonl").exists()


@pytest.mark.usefixtures("folder")
def test_a_gap_cannot_be_shortened_in_step_with_the_clock():
    with pytest.raises(SettingsError, match="--longest-wait: got it with --shift-to-now"):
        run(*MAPPED, "--speed", "1", "--shift-to-now", "--longest-wait", "5")


def test_a_replay_arrives_and_a_second_one_changes_nothing(
    folder: Path, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FILIERE_MQTT_PORT", str(mosquitto.port))
    with Answering(mosquitto) as collector:
        first = run(*MAPPED, "--lang", "en")
        second = json.loads(run(*MAPPED, "--json").stdout)
        run(*MAPPED, "--loop", "2", "--shift-to-now", "--speed", "1000")
    assert "1 messages sent in" in first.stdout
    assert (second["sent"], second["waiting"]) == (1, 0)
    assert collector.heard[0] == collector.heard[1]
    assert len(set(collector.heard)) == 3
    assert status_of(folder / "data" / OUTBOX_FILE).messages == 0


def test_with_no_collector_it_waits_in_the_outbox_and_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sending, "FLUSH_S", 0.0)
    said = run(*MAPPED, code=1).stdout
    assert "attendent le collecteur" in said
    assert status_of(folder / "data" / OUTBOX_FILE).messages == 1


@pytest.mark.parametrize("row", ["nonsense", "x" * 2_000_000])
def test_of_a_bad_file_nothing_is_published(folder: Path, row: str):
    with (folder / "plant.csv").open("a") as file:
        file.writelines(f"{row}\n" for _ in range(8))
    with pytest.raises(ScenarioError, match=r"plant\.csv"):
        run(*MAPPED)
    assert not (folder / "data").exists()


@pytest.mark.usefixtures("folder")
def test_a_local_time_without_a_zone_is_refused():
    with pytest.raises(ScenarioError, match="--zone"):
        run("plant.csv", "-m", "mapping.yaml")


@pytest.mark.usefixtures("folder")
def test_inspect_proposes_a_mapping_that_replays_the_file():
    result = run("inspect", "plant.csv", "--output", "proposed.yaml", code=1)
    assert "? à compléter" in result.stderr
    text = Path("proposed.yaml").read_text().replace('"?", unit: "?"', "caux/textile/t1/extruder.melt_temp, unit: Cel")
    Path("proposed.yaml").write_text(text)
    run("plant.csv", "-m", "proposed.yaml", "--check")


def test_inspect_writes_yaml_alone_to_standard_output_or_json(folder: Path):
    path = written(folder, "time,melt_temp (°C)", "2026-03-11T10:00:01Z,230.5", name="other.csv")
    result = run("inspect", path.name, "--lang", "en")
    assert result.stdout.startswith("# other.csv\nreplay: 1\n")
    assert "Nothing is wrong with the recording." in result.stderr
    said = json.loads(run("inspect", path.name, "--json").stdout)
    assert said["columns"] == {"melt_temp (°C)": "caux/textile/t1/extruder.melt_temp"}
    assert said["mapping"] == result.stdout


@pytest.mark.usefixtures("folder")
def test_inspect_says_of_our_own_files_that_they_need_no_mapping():
    run(*MAPPED, "--output", "log.jsonl")
    assert "sans correspondance" in run("inspect", "log.jsonl").stderr


def test_every_kind_of_dirt_has_its_words():
    assert set(WORDS) == set(Dirt)
