"""What the demo stands on: a broker and a readings store, found, or started in the data folder."""

import getpass
import json
import os
import secrets
import shutil
import socket
import sys
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from filiere.errors import SettingsError
from filiere.settings import Settings, variable
from simulators.demo.children import Children

HOST = "127.0.0.1"
BROKER_START_S = 10.0
INFLUX_START_S = 60.0
PROBE_S = 2.0
CONNECT_S = 0.5
INFLUX_ORG, INFLUX_BUCKET = "filiere", "filiere"
PAYLOAD_BYTES_MAX = 300_000
"""A little more than the largest message of the wire format, with its topic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A part that is there now, as the opening table says it."""

    name: str
    address: str
    settings: dict[str, str] = field(default_factory=dict)
    """Environment variables that point the other processes to it."""


def find_broker(settings: Settings, children: Children) -> Found:
    """The broker of the settings when its host is set, else mosquitto on PATH, else the embedded one.

    Raises:
        SettingsError: the broker of the settings does not answer, or ours does not start.
    """
    if "mqtt_host" in settings.model_fields_set:
        if not answers(settings.mqtt_host, settings.mqtt_port):
            raise SettingsError(
                f"{variable('mqtt_host')}: got {settings.mqtt_host}:{settings.mqtt_port}, where nothing answers;"
                " expected a running MQTT broker: start it, or remove the setting and the demo brings its own"
            )
        return Found(name="courtier du réglage", address=f"{settings.mqtt_host}:{settings.mqtt_port}")
    port = free_port()
    mosquitto = shutil.which("mosquitto")
    name = "Mosquitto" if mosquitto else "courtier embarqué (iotcore)"
    children.start("courtier", broker_command(settings.data_dir / "broker", port, mosquitto=mosquitto))
    children.wait_until("démarrage du courtier MQTT", lambda: answers(HOST, port), timeout_s=BROKER_START_S)
    pointing = {variable("mqtt_host"): HOST, variable("mqtt_port"): str(port)}
    return Found(name=name, address=f"{HOST}:{port}", settings=pointing)


def broker_command(folder: Path, port: int, *, mosquitto: str | None) -> list[str]:
    """What starts a broker that listens on `port` and keeps its files in `folder`: that program, else iotcore."""
    folder.mkdir(parents=True, exist_ok=True)
    if mosquitto:
        configuration = folder / "mosquitto.conf"
        configuration.write_text(_mosquitto(port, folder), encoding="utf-8")
        return [mosquitto, "-c", str(configuration)]
    configuration = folder / "iotcore.toml"
    configuration.write_text(_IOTCORE.format(host=HOST, port=port, payload=PAYLOAD_BYTES_MAX), encoding="utf-8")
    return [sys.executable, "-m", "iotcore", "--config", str(configuration), "--log-level", "CRITICAL"]


def find_store(settings: Settings, children: Children) -> Found:
    """The InfluxDB of the settings, else `influxd` on PATH, set up once in the data folder, else the embedded store.

    Raises:
        SettingsError: influxd does not start, or its folder was set up with another token.
    """
    if settings.influx_url:
        return Found(name="InfluxDB du réglage", address=settings.influx_url)
    influxd = shutil.which("influxd")
    if not influxd:
        return Found(name="base embarquée (SQLite)", address=str(settings.embedded_store_path))
    folder = settings.data_dir / "influxdb"
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    children.start(
        "influxd",
        [
            influxd,
            *("--bolt-path", str(folder / "influxd.bolt")),
            *("--engine-path", str(folder / "engine")),
            *("--sqlite-path", str(folder / "influxd.sqlite")),
            *("--http-bind-address", f"{HOST}:{port}"),
            *("--reporting-disabled", "--ui-disabled", "--log-level", "warn"),
        ],
    )
    children.wait_until("démarrage d'InfluxDB", lambda: _get_ok(port, "/health"), timeout_s=INFLUX_START_S)
    pointing = {
        variable("influx_url"): f"http://{HOST}:{port}",
        variable("influx_token"): _influx_token(port, folder),
        variable("influx_org"): INFLUX_ORG,
        variable("influx_bucket"): INFLUX_BUCKET,
    }
    return Found(name="InfluxDB 2", address=f"http://{HOST}:{port}", settings=pointing)


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on now."""
    with closing(socket.socket()) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def answers(host: str, port: int) -> bool:
    """Something accepts connections there."""
    with suppress(OSError), socket.create_connection((host, port), timeout=CONNECT_S):
        return True
    return False


def refuse_taken_port(host: str, port: int) -> None:
    """Raises SettingsError when the pages cannot be served there."""
    with closing(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SettingsError(
                f"--port: got {port} on {host}, which cannot be used ({error.strerror or error}); expected a free port:"
                f" choose another, such as --port {free_port()}"
            ) from None


# -------------------------------------------------------------------------------------------------------- Mosquitto


def _mosquitto(port: int, folder: Path) -> str:
    """Acknowledged messages survive a stop of the broker; nothing is dropped while the collector is away."""
    lines = [
        f"listener {port} {HOST}",
        "allow_anonymous true",
        "max_inflight_messages 1000",
        "max_queued_messages 0",
        "persistence true",
        f"persistence_location {folder.resolve()}/",
        "autosave_interval 5",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
    ]
    if os.geteuid() == 0:
        # Started by root it would become another user, who may not write here.
        lines.append(f"user {getpass.getuser()}")
    return "\n".join(lines) + "\n"


# ---------------------------------------------------------------------------------------------------------- iotcore

_IOTCORE = """id = 0

[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 1000
max_segment_size = 104857600
max_segment_count = 10

[v5.1]
name = "v5"
listen = "{host}:{port}"
next_connection_delay_ms = 1

[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = {payload}
max_inflight_count = 1000
dynamic_filters = true
"""

# --------------------------------------------------------------------------------------------------------- InfluxDB


def _influx_token(port: int, folder: Path) -> str:
    """The token of this folder's InfluxDB, made at its first start, readable by its owner alone."""
    path = folder / "token"
    if path.exists():
        return path.read_text(encoding="ascii").strip()
    token = secrets.token_urlsafe(32)
    setup = {
        "username": "filiere",
        "password": secrets.token_urlsafe(24),
        "org": INFLUX_ORG,
        "bucket": INFLUX_BUCKET,
        "token": token,
    }
    # The token is on the disk before the server knows it: a stop in between leaves nothing that cannot be opened.
    temporary = folder / "token.new"
    with suppress(FileNotFoundError):
        temporary.unlink()
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(token)
        file.flush()
        os.fsync(file.fileno())
    with closing(HTTPConnection(HOST, port, timeout=INFLUX_START_S)) as connection:
        connection.request("POST", "/api/v2/setup", json.dumps(setup), {"Content-Type": "application/json"})
        status = connection.getresponse().status
    if status != 201:
        raise SettingsError(
            f"{folder}: got HTTP {status} at the set-up of InfluxDB; expected 201: it was set up before, with a token"
            " that is not there any more; start anew with --fresh"
        )
    temporary.replace(path)
    return token


def _get_ok(port: int, path: str) -> bool:
    try:
        with closing(HTTPConnection(HOST, port, timeout=PROBE_S)) as connection:
            connection.request("GET", path)
            return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
