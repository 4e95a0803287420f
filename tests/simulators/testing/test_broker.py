import threading
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from filiere.errors import SettingsError
from simulators.demo.services import answers
from simulators.testing.broker import LocalBroker, local_broker
from tests.collector.mqtt import DEADLINE_S, Publisher
from tests.servers import ServerMissing, find_mosquitto, unavailable

TOPIC = "filiere/v1/caux/textile/t1/extruder/readings"


@pytest.fixture(params=["iotcore", "mosquitto"])
def broker(request: pytest.FixtureRequest, tmp_path: Path):
    if request.param == "mosquitto":
        try:
            find_mosquitto()
        except ServerMissing as missing:
            unavailable(str(missing))
    with local_broker(tmp_path, kind=request.param) as running:
        yield running


def round_trip(broker: LocalBroker, payload: bytes) -> bytes:
    """What a subscriber gets of what a publisher sends, both at QoS 1."""
    heard: list[bytes] = []
    subscribed, came = threading.Event(), threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = lambda _client, _userdata, message: (heard.append(message.payload), came.set())
    client.connect(broker.host, broker.port)
    client.subscribe(TOPIC, qos=1)
    client.loop_start()
    try:
        assert subscribed.wait(DEADLINE_S)
        with Publisher(broker) as publisher:
            publisher.publish(TOPIC, payload)
            publisher.flush()
        assert came.wait(DEADLINE_S)
    finally:
        client.disconnect()
        client.loop_stop()
    return heard[0]


def test_what_is_published_is_heard(broker: LocalBroker):
    assert round_trip(broker, b"\xff\0{}") == b"\xff\0{}"
    assert broker.environment == {"FILIERE_MQTT_HOST": "127.0.0.1", "FILIERE_MQTT_PORT": str(broker.port)}


def test_a_broker_comes_back_on_its_port(broker: LocalBroker):
    port = broker.port
    broker.stop()
    assert not answers(broker.host, port)
    broker.start().kill()
    assert not answers(broker.host, port)
    broker.start().start()
    assert broker.address == f"127.0.0.1:{port}"
    assert round_trip(broker, b"again") == b"again"


def test_a_broker_ends_with_its_block(tmp_path: Path):
    with local_broker(tmp_path, kind="iotcore") as broker:
        assert answers(broker.host, broker.port)
    assert not answers(broker.host, broker.port)
    broker.stop()


def test_an_unknown_broker_is_refused_with_the_known_ones(tmp_path: Path):
    with (
        pytest.raises(SettingsError, match="expected one of auto, mosquitto, iotcore"),
        local_broker(tmp_path, kind="emqx"),
    ):
        pass


def test_a_missing_mosquitto_is_said_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("simulators.testing.broker.shutil.which", lambda _name: None)
    with pytest.raises(SettingsError, match="install it, or take 'iotcore'"), local_broker(tmp_path, kind="mosquitto"):
        pass
    with local_broker(tmp_path, kind="auto") as broker:
        assert broker.kind == "iotcore"


def test_a_broker_that_does_not_start_says_why(tmp_path: Path):
    with local_broker(tmp_path, kind="iotcore") as broker:
        broker.stop()
        (tmp_path / "broker" / "iotcore.toml").write_text("no [")
        with pytest.raises(SettingsError, match="broker"):
            broker.start()
