"""The composition without containers: each service's own command and environment, with the broker as it is shipped."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.secrets_script import make_secrets
from tests.deploy.shipped import ShippedMosquitto
from tests.servers import HOST, PROJECT, InfluxDB, free_port

SERVICES = {
    name: service
    for name, service in yaml.safe_load((PROJECT / "docker-compose.yml").read_text(encoding="utf-8"))[
        "services"
    ].items()
    if service["image"].startswith("filiere:")
}
ONCE = ("broker-files", "simulator-account")
"""They end before the broker starts."""
READY_S_MAX = 90.0
STOP_S_MAX = 30.0
POLL_S = 0.1


def interpolated(value: object, values: dict[str, str]) -> str:
    """`${NAME:?…}` and `${NAME:-default}`, as Compose reads them."""
    return re.sub(
        r"\$\{([A-Z_]+)(?::-([^}]*)|:\?[^}]*)\}", lambda found: values.get(found[1]) or found[2] or "", str(value)
    )


def until(answer: Callable[[], bool], *, what: str) -> None:
    deadline = time.monotonic() + READY_S_MAX
    while not answer():
        assert time.monotonic() < deadline, f"not within {READY_S_MAX:.0f} s: {what}"
        time.sleep(POLL_S)


@pytest.fixture
def running(tmp_path: Path, mosquitto: object, influxdb: InfluxDB) -> Iterator[tuple[str, dict[str, Any], Path]]:  # noqa: ARG001 - skips where there is no broker
    """The API's address, the processes by service, the data folder."""
    make_secrets.write_secrets(tmp_path)
    values = make_secrets.read_environment(tmp_path / ".env") | {"INFLUX_TOKEN": influxdb.token}
    data, port = tmp_path / "data" / "compose" / "filiere", free_port()
    with ExitStack() as stack:
        # what differs here from the network of the composition; a service gets it for what it was given there
        here = {
            "FILIERE_DATA_DIR": str(data),
            "FILIERE_MQTT_CA": str(data / "broker" / "ca.crt"),
            "FILIERE_INFLUX_URL": influxdb.url,
            "FILIERE_API_HOST": HOST,
        }
        beside = {"FILIERE_INFLUX_BUCKET": influxdb.new_bucket(), "FILIERE_API_PORT": str(port)}

        def started(name: str) -> subprocess.Popen[bytes]:
            service = SERVICES[name]
            given = {key: here.get(key, interpolated(value, values)) for key, value in service["environment"].items()}
            log = stack.enter_context((tmp_path / f"{name}.log").open("wb"))
            process = subprocess.Popen(
                [sys.executable, "-m", "filiere", *service["command"]],
                cwd=PROJECT,
                env={**os.environ, **given, **beside},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            stack.callback(process.wait, STOP_S_MAX)
            stack.callback(process.kill)
            return process

        for name in ONCE:
            assert started(name).wait(STOP_S_MAX) == 0, (tmp_path / f"{name}.log").read_text()
        broker = ShippedMosquitto(data / "broker")
        stack.callback(broker.remove)
        broker.start()
        here |= {"FILIERE_MQTT_HOST": broker.host, "FILIERE_MQTT_PORT": str(broker.port)}
        yield f"http://{HOST}:{port}", {name: started(name) for name in SERVICES if name not in ONCE}, data


def get(url: str) -> Any:
    """The JSON of a page; None while nobody answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)
    except OSError:
        return None


def test_the_services_find_each_other_record_a_simulated_plant_and_stop_when_told(
    running: tuple[str, dict[str, subprocess.Popen[bytes]], Path],
):
    address, processes, data = running

    def ready() -> bool:
        for name, process in processes.items():
            log = (data.parents[2] / f"{name}.log").read_text(errors="replace")
            assert process.poll() is None, f"{name} ended with {process.returncode}:\n{log[-2000:]}"
        answer = get(f"{address}/readyz")
        return bool(answer and answer["ready"])

    until(ready, what="every dependency is ready")

    def shows_a_line() -> bool:
        answer = get(f"{address}/lines")
        return bool(answer) and '"value"' in json.dumps(answer)

    until(shows_a_line, what="a line's readings in the API")
    until((data / "keys" / "issuer.pub.pem").exists, what="the certifier's key, which its health check asks for")

    for process in processes.values():
        process.send_signal(signal.SIGTERM)
    for name, process in processes.items():
        assert process.wait(STOP_S_MAX) in (0, -signal.SIGTERM), name
