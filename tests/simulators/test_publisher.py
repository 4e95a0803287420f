import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice

import pytest
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from filiere.clock import NS_PER_S
from filiere.errors import SettingsError
from simulators.children import filiere_command
from simulators.publisher import Broker, Pace, Progress, Publisher
from simulators.services import free_port
from simulators.simulation import simulate
from tests.servers import Mosquitto
from tests.simulators.builders import START_NS, caux, state

DEADLINE_S = 20.0


class Listener:
    """A subscriber that keeps what it hears."""

    def __init__(self, port: int) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self._ready = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe("filiere/v1/#", 1)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = lambda _client, _data, message: self.heard.append((message.topic, message.payload))
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._ready.wait(DEADLINE_S)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def listen(mosquitto: Mosquitto) -> Iterator[Callable[[], Listener]]:
    listeners: list[Listener] = []

    def start() -> Listener:
        listeners.append(Listener(mosquitto.port))
        return listeners[-1]

    yield start
    for listener in listeners:
        listener.close()


def until(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not ready():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def some(count: int) -> list:
    return list(islice(simulate(caux(), seed=1, start_ns=START_NS, lots=None), count))


def test_each_publication_arrives_once_and_in_order(mosquitto: Mosquitto, listen: Callable[[], Listener]):
    listener = listen()
    publications = some(800)
    notes: list[Progress] = []
    with Publisher(Broker(host=mosquitto.host, port=mosquitto.port), state()) as publisher:
        assert publisher.publish_all(publications, speed=0, stop=lambda: False, note=notes.append)
        assert publisher.flush()
    until(lambda: len(listener.heard) >= len(publications))
    assert listener.heard == [(each.topic, each.payload) for each in publications]
    assert publisher.published == len(publications)
    assert sum(progress.sent for progress in publisher.state.lines.values()) == len(publications)


def test_what_nobody_heard_is_not_counted_and_is_sent_again(mosquitto: Mosquitto, listen: Callable[[], Listener]):
    publications = some(50)
    waiting = threading.Event()

    def note(progress: Progress) -> None:
        if progress.waiting:
            waiting.set()

    with Publisher(Broker(host=mosquitto.host, port=mosquitto.port), state()) as publisher:
        arguments = {"speed": 0, "stop": lambda: False, "note": note}
        thread = threading.Thread(target=publisher.publish_all, args=(publications,), kwargs=arguments)
        thread.start()
        assert waiting.wait(DEADLINE_S)
        assert publisher.published == 0
        listener = listen()
        thread.join(DEADLINE_S)
        assert publisher.flush()
    until(lambda: len(listener.heard) >= len(publications))
    assert set(listener.heard) == {(each.topic, each.payload) for each in publications}
    assert publisher.published == len(publications)


def test_a_missing_broker_is_named():
    port = free_port()
    with (
        pytest.raises(SettingsError, match=f"127.0.0.1:{port}"),
        Publisher(Broker(host="127.0.0.1", port=port), state()),
    ):
        pass


def test_time_runs_at_its_speed_until_it_has_caught_up():
    day_ns = 24 * 3600 * NS_PER_S
    pace = Pace(speed=60.0, virtual_ns=0, wall_ns=day_ns)
    assert pace.due_ns(60 * NS_PER_S) == day_ns + NS_PER_S
    assert pace.due_ns(2 * day_ns) == 2 * day_ns


def test_a_stopped_simulator_goes_on_where_it_stopped(mosquitto: Mosquitto, listen: Callable[[], Listener], tmp_path):
    listener = listen()
    environment = {
        **os.environ,
        "FILIERE_DATA_DIR": str(tmp_path),
        "FILIERE_MQTT_HOST": mosquitto.host,
        "FILIERE_MQTT_PORT": str(mosquitto.port),
    }
    command = filiere_command("simulate", "--speed", "2000", "--lots", "1", "--start", "2026-03-11T06:00:00Z", "--json")
    heard = 0
    for stops in (signal.SIGINT, signal.SIGTERM, None):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if stops is not None:
            until(lambda heard=heard: len(listener.heard) > heard + 300)
            process.send_signal(stops)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()
        assert b"Traceback" not in errors
        result = json.loads(output)
        assert result["flushed"]
        heard += result["published"]
        until(lambda heard=heard: len(listener.heard) >= heard)
    whole = list(simulate(caux(), seed=1, start_ns=START_NS, lots=1))
    assert listener.heard == [(each.topic, each.payload) for each in whole]


def test_another_seed_in_the_same_folder_is_refused(tmp_path):
    environment = {**os.environ, "FILIERE_DATA_DIR": str(tmp_path), "FILIERE_MQTT_PORT": "1"}
    for seed, message in (("1", "127.0.0.1:1"), ("2", "--fresh")):
        command = filiere_command("simulate", "--seed", seed)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 2
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_all_it_can_never_runs_ahead_of_the_clock() -> None:
    """Readings from the future are believed by nobody: a lot made of them is refused."""
    pace = Pace(speed=0.0, virtual_ns=0, wall_ns=3600 * NS_PER_S)
    assert pace.due_ns(2 * 3600 * NS_PER_S) == 2 * 3600 * NS_PER_S
