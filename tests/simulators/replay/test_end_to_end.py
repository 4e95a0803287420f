"""From a log that one machine exported to the readings store of another, through a broker and a real collector."""

import json
import os
import subprocess
import sys
from pathlib import Path

from collector.recorder.book import RecordBook
from filiere.embedded_store import EmbeddedStore
from filiere.errors import StoreUnavailable
from filiere.message_log import MessageLog
from tests.collector.builders import Rig
from tests.collector.mqtt import until
from tests.servers import Mosquitto
from tests.simulators.builders import caux
from tests.simulators.replay.test_log_recording import simulation

STOP_S_MAX = 40.0
QUERY = "SELECT line, key, time_ns, value, quality FROM reading JOIN series ON series = id ORDER BY 1, 2, 3"


def filiere(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "filiere", *arguments]


def recorded_up_to(folder: Path) -> tuple[int, int]:
    """Where the recorder is, and how long the log is."""
    try:
        with (
            RecordBook.open_reader(folder / "recorder.sqlite") as book,
            MessageLog.open_reader(folder / "messages.sqlite") as log,
        ):
            return book.progress().bookmark, log.head()
    except StoreUnavailable:
        return 0, -1


def readings_of(folder: Path) -> list[tuple[object, ...]]:
    store = EmbeddedStore.open(folder / "readings.sqlite")
    try:
        return list(store._connection.execute(QUERY).fetchall())
    finally:
        store.close()


def test_an_exported_log_is_replayed_into_another_collector_with_identical_stored_readings(
    mosquitto: Mosquitto, tmp_path: Path
):
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    with Rig(one, plant=caux()) as rig:
        rig.log.append([(each.topic, each.payload, each.record_time_ns) for each in simulation()[:300]])
        while rig.recorder.step():
            pass
    here = {**os.environ, "FILIERE_DATA_DIR": str(one)}
    there = {
        **os.environ,
        "FILIERE_DATA_DIR": str(other),
        "FILIERE_MQTT_PORT": str(mosquitto.port),
        "FILIERE_MQTT_CLIENT_ID": "replayed",
    }
    subprocess.run(filiere("log", "export", "-o", str(tmp_path / "log.jsonl")), env=here, check=True)
    with (tmp_path / "collector.log").open("wb") as words:
        collector = subprocess.Popen(
            filiere("collect"), env=there, stdin=subprocess.DEVNULL, stdout=words, stderr=words
        )
        try:
            replayed = subprocess.run(
                filiere("replay", str(tmp_path / "log.jsonl"), "--json"),
                env=there, capture_output=True, text=True, timeout=90, check=False,
            )  # fmt: skip
            assert replayed.returncode == 0, replayed.stderr + (tmp_path / "collector.log").read_text()
            until(lambda: recorded_up_to(other)[0] == recorded_up_to(other)[1])
        finally:
            collector.terminate()
            collector.wait(STOP_S_MAX)
    said = json.loads(replayed.stdout)
    assert (said["sent"], said["waiting"]) == (300, 0)
    found = readings_of(one)
    assert found == readings_of(other)
    assert len(found) > 2_000
