"""`make secrets` makes strong secrets once, for their owner's eyes, and the broker we ship believes them."""

import ssl
import stat
import subprocess
import threading
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
import yaml

from collector.devices.devices import Devices, own_account
from filiere.clock import system_clock
from filiere.plant_file import load_plant
from filiere.settings import load_settings
from tests.deploy.secrets_script import make_secrets
from tests.deploy.shipped import ShippedMosquitto
from tests.servers import PROJECT, Server

ANSWER_S_MAX = 10.0
PAYLOAD_BYTES_MAX = 256 * 1024
READINGS, RECEIPT = (f"filiere/v1/caux/textile/t1/extruder/{kind}" for kind in ("readings", "receipt"))
SECRET_CHARACTERS = 43
"""32 random bytes in base64."""


def private_files(project: Path) -> list[Path]:
    return [project / ".env", *sorted((project / "secrets").iterdir())]


def answer_to(
    server: Server,
    authority: Path,
    user: str | None,
    password: str | None,
    *,
    topic: str = READINGS,
    payload: bytes = b"",
) -> str:
    """Connect, publish at QoS 1, and say how the broker answered: a reason code's name, or `delivered`."""
    answer: list[str] = []
    done = threading.Event()
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)

    def finish(word: str) -> None:
        answer.append(word)
        done.set()

    def on_connect(_c: object, _u: object, _f: object, reason: object, _p: object) -> None:
        if str(reason) == "Success":
            client.publish(topic, payload, qos=1)
        else:
            finish(str(reason))

    client.on_connect = on_connect
    client.on_publish = lambda _c, _u, _m, reason, _p: finish(str(reason) if reason.is_failure else "delivered")
    client.on_disconnect = lambda _c, _u, _f, reason, _p: finish(str(reason))
    if user is not None:
        client.username_pw_set(user, password)
    client.tls_set_context(ssl.create_default_context(cafile=authority))
    client.connect(server.host, server.port)
    client.loop_start()
    try:
        assert done.wait(ANSWER_S_MAX), "the broker did not answer"
    finally:
        client.on_disconnect = None
        client.disconnect()
        client.loop_stop()
    return answer[0]


def test_only_the_owner_may_read_them(tmp_path: Path):
    make_secrets.write_secrets(tmp_path)
    for path in private_files(tmp_path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700


def test_a_second_run_changes_nothing(tmp_path: Path):
    assert make_secrets.write_secrets(tmp_path)
    before = {path: path.read_bytes() for path in private_files(tmp_path)}
    assert make_secrets.write_secrets(tmp_path) == []
    assert {path: path.read_bytes() for path in private_files(tmp_path)} == before


def test_no_two_installations_share_a_secret(tmp_path: Path):
    for site in ("one", "two"):
        (tmp_path / site).mkdir()
        make_secrets.write_secrets(tmp_path / site)
    for name in ("influx_password", "influx_token", "grafana_password"):
        one, two = ((tmp_path / site / "secrets" / name).read_text() for site in ("one", "two"))
        assert one != two
        assert len(one) >= SECRET_CHARACTERS


def test_a_renewed_line_renews_what_repeats_it(tmp_path: Path):
    make_secrets.write_secrets(tmp_path)
    environment = tmp_path / ".env"
    kept = [line for line in environment.read_text().splitlines() if not line.startswith(("INFLUX_", "MQTT_COLL"))]
    environment.write_text("# a remark\n" + "\n".join(kept) + "\n")
    written = {path.name for path in make_secrets.write_secrets(tmp_path)}
    assert written == {".env", "influx_token"}
    values = make_secrets.read_environment(environment)
    assert (tmp_path / "secrets/influx_token").read_text() == values["INFLUX_TOKEN"]
    assert set(kept) <= set(environment.read_text().splitlines())


@pytest.mark.usefixtures("mosquitto")  # skips where there is none
def test_the_shipped_broker_believes_them_and_nobody_else(tmp_path: Path):
    make_secrets.write_secrets(tmp_path)
    passwords = make_secrets.read_environment(tmp_path / ".env")
    folder = tmp_path / "broker"
    for user, variable in make_secrets.MQTT_USERS.items():
        settings = load_settings(
            data_dir=tmp_path, broker_dir=folder, mqtt_username=user, mqtt_password=passwords[variable]
        )
        service = own_account(settings)
        assert service is not None
        with Devices.open(settings=settings, plant=load_plant("caux"), clock=system_clock) as devices:
            devices.prepare()
            devices.add(service[0], service[0], password=service[1])
    broker = ShippedMosquitto(folder)
    try:
        broker.start()
        authority = folder / "ca.crt"
        collector, simulator = (passwords[variable] for variable in make_secrets.MQTT_USERS.values())
        assert answer_to(broker, authority, "simulator", simulator) == "delivered"
        assert answer_to(broker, authority, "collector", collector) == "Not authorized", "it only answers"
        assert answer_to(broker, authority, "collector", collector, topic=RECEIPT) == "delivered"
        assert answer_to(broker, authority, "collector", "guess") == "Not authorized"
        assert answer_to(broker, authority, None, None) == "Not authorized"
        largest = b"x" * PAYLOAD_BYTES_MAX
        assert answer_to(broker, authority, "simulator", simulator, payload=largest) == "delivered"
        assert answer_to(broker, authority, "simulator", simulator, payload=largest * 2) != "delivered"
        assert is_well(broker)
        broker.stop()
        assert not is_well(broker)
    finally:
        broker.remove()


def is_well(broker: ShippedMosquitto) -> bool:
    """What the composition's health check says, of this broker's port."""
    services = yaml.safe_load((PROJECT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    command = services["mosquitto"]["healthcheck"]["test"][1:]
    shipped = f":{8883:04X} "
    assert any(shipped in word for word in command)
    here = [word.replace(shipped, f":{broker.password_port:04X} ") for word in command]
    return subprocess.run(here, check=False).returncode == 0
