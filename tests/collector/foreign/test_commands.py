"""`filiere bindings test` and `learn`, as people and programs read them."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from collector.foreign.commands import bindings
from collector.foreign.report import read_messages
from filiere.commands import plant as plant_commands
from filiere.errors import SettingsError
from tests.collector.foreign_messages import SAMPLES, plant_text, recorded
from tests.collector.mqtt import Publisher


@pytest.fixture(autouse=True)
def plant_file(tmp_path, monkeypatch):
    file = tmp_path / "plant.yaml"
    file.write_text(plant_text(), encoding="utf-8")
    monkeypatch.setenv("FILIERE_PLANT", str(file))
    return file


def run(*arguments):
    return CliRunner().invoke(bindings, arguments)


def sample(name):
    return str(SAMPLES / f"{name}.jsonl")


def test_rows_are_shown_with_units_and_status_0():
    result = run("test", sample("tasmota"))
    assert result.exit_code == 0
    assert "air_temp 61,4 Cel · power 1,418 kW · energy 812,406 kW.h" in result.stdout
    assert "3 messages : 3 lignes, 0 refusés, 0 sans mesure." in result.stdout
    assert "pourquoi" not in result.stdout


def test_a_refusal_is_shown_with_its_reason_and_status_1():
    result = run("test", sample("scale"), "--lang", "en")
    assert result.exit_code == 1
    assert "REFUSED wrong_shape" in result.stdout
    assert "batch_weight 748.5 kg" in result.stdout
    assert "(arrival)" in result.stdout


def test_why_tells_which_binding_takes_a_topic_and_why_others_do_not():
    result = run("test", sample("tasmota"), "--why", "--lang", "en")
    assert "✓ takes it" in result.stdout
    assert "zigbee2mqtt/{name} has 2 levels, the topic 3" in result.stdout


def test_a_topic_of_no_binding_is_told_why_without_asking(tmp_path):
    file = tmp_path / "new.jsonl"
    file.write_text('{"record_time":"2026-11-23T09:00:00Z","topic":"tele/new/SENSOR","payload":"1"}\n')
    result = run("test", str(file))
    assert result.exit_code == 1
    assert "level 2 is 'new'; tele/{name}/SENSOR has plug-dryer or plug-mixer there" in result.stdout


def test_json_has_all_of_it():
    result = run("test", sample("sparkplug"), "--json")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert (answer["messages"], answer["rows"], answer["refused"], answer["empty"]) == (7, 5, 1, 2)
    born = answer["shown"][1]
    assert born["binding"] == "press"
    assert born["rows"][0]["values"]["melt_temp"] == {"value": 231.5, "unit": "Cel", "quality": ""}
    assert answer["shown"][6]["reason"] == "no_birth"
    assert "zigbee" in born["not_taken_by"]


def test_the_wire_format_itself_needs_no_binding(tmp_path):
    file = tmp_path / "own.jsonl"
    topic = "filiere/v1/caux/textile/t1/dryer/readings"
    file.write_text(f'{{"record_time":"2026-11-23T09:00:00Z","topic":"{topic}","payload":"x"}}\n')
    result = run("test", str(file))
    assert result.exit_code == 0
    assert "format de Filière" in result.stdout


def test_a_plant_without_bindings_says_so():
    result = run("test", sample("scale"), "--plant", "caux")
    assert result.exit_code == 1
    assert "n'a pas de « bindings »" in result.stdout


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{}\n", r"bad.jsonl:1: .*expected a line of `filiere log export`"),
        (b"\nnot json\n", r"bad.jsonl:2: got"),
        (b"\xff\xfe\n", r"bad.jsonl:1: got"),
        (None, "expected a file of messages, one a line"),
    ],
)
def test_a_file_that_is_no_list_of_messages_is_told_with_its_line(tmp_path, body, words):
    file = tmp_path / "bad.jsonl"
    if body is not None:
        file.write_bytes(body)
    error = run("test", str(file)).exception
    assert isinstance(error, SettingsError)
    assert re.search(words, str(error))


def test_plant_check_shows_bindings(plant_file):
    shown = CliRunner().invoke(plant_commands, ["check", str(plant_file)]).stdout
    assert "tasmota: tele/{name}/SENSOR" in shown
    assert "power = ENERGY.Power [W]" in shown
    assert "6 bindings" in shown


def test_what_strangers_send_cannot_move_the_cursor(tmp_path):
    file = tmp_path / "evil.jsonl"
    line = {"record_time": "2026-11-23T09:00:00Z", "topic": "scale/bagging/weight", "payload": "\x1b[2J[red]\u202e1"}
    file.write_text(json.dumps(line) + "\n")
    shown = run("test", str(file)).stdout
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def listening(mosquitto, *arguments):
    environment = {
        **os.environ,
        "FILIERE_MQTT_HOST": mosquitto.host,
        "FILIERE_MQTT_PORT": str(mosquitto.port),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "filiere", "bindings", "learn", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_learn_shows_what_is_published_and_proposes_a_binding(mosquitto, tmp_path):
    heard = tmp_path / "heard.jsonl"
    retained = [recorded(name)[0] for name in ("tasmota", "scale")]
    with Publisher(mosquitto) as publisher:
        for each in retained:  # so that it is there whenever the listener comes
            publisher.publish(f"learn/{each.topic.decode()}", each.payload, retain=True)
        publisher.flush()
        arguments = ("--seconds", "1.5", "--topic", "learn/#", "--lang", "en", "-o", str(heard))
        with listening(mosquitto, *arguments) as process:
            out, err = process.communicate(timeout=60)
        for each in retained:
            publisher.publish(f"learn/{each.topic.decode()}", b"", retain=True)
        publisher.flush()
    assert process.returncode == 0, err
    assert f"Listening on {mosquitto.host}:{mosquitto.port} (learn/#) for 1.5 s" in err
    assert "learn/scale/bagging/weight" in err
    assert "topic: learn/tele/plug-dryer/SENSOR" in out
    assert "power: {path: ENERGY.Power, unit: W}" in out
    assert {each.payload for each in read_messages(heard)} == {each.payload for each in retained}


def test_learn_is_told_of_a_file_that_is_there_before_it_listens(tmp_path, monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    result = run("learn", "--seconds", "600", "-o", str(tmp_path))
    assert isinstance(result.exception, SettingsError)
    assert "--output" in str(result.exception)


def test_ctrl_c_ends_the_listening_at_once(mosquitto):
    with listening(mosquitto, "--seconds", "600", "--topic", "nothing/here", "--json") as process:
        assert "600" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out) == {"heard": [], "proposals": []}


def test_no_broker_is_told_in_words(monkeypatch):
    monkeypatch.setenv("FILIERE_MQTT_PORT", "9")
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    result = run("learn", "--seconds", "1")
    assert isinstance(result.exception, SettingsError)
    assert "FILIERE_MQTT_HOST: got 127.0.0.1:9" in str(result.exception)


@pytest.mark.parametrize("topic", ["tele#", "a+/b", ""])
def test_a_topic_filter_that_is_none_is_told(mosquitto, monkeypatch, topic):
    monkeypatch.setenv("FILIERE_MQTT_HOST", mosquitto.host)
    monkeypatch.setenv("FILIERE_MQTT_PORT", str(mosquitto.port))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SettingsError, match=r"--topic: got .*expected MQTT topic filters"):
        CliRunner().invoke(bindings, ["learn", "--seconds", "5", "--topic", topic], catch_exceptions=False)
