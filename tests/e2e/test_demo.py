"""The demo as a person runs it: from nothing to two proven certificates, Ctrl-C, a kill, a second start."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from filiere.errors import FiliereError
from filiere.message_log import MessageLog
from simulators.demo.children import filiere_command
from simulators.demo.services import free_port
from tests.servers import ServerMissing, find_influxd, find_mosquitto, unavailable

PROVEN_S = 120.0
"""Twice what is promised for an idle machine."""
READING_S = 60.0
STOP_S = 40.0
HTTP_S = 30.0
POLL_S = 0.1


class DemoProcess:
    """`filiere demo` in a folder of its own, with the programs that it may find."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.programs = folder / "programs"
        self.programs.mkdir()
        self.port = free_port()
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "PATH": str(self.programs)}
        command = filiere_command("demo", "--data", str(self.data), "--port", str(self.port), *arguments)
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self.started.append(process)
        return process

    def offer(self, program: Path) -> None:
        (self.programs / program.name).symlink_to(program)

    def processes(self) -> list[int]:
        """Everything that works in the data folder."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != os.getpid():
                try:
                    said = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
                    state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                except OSError:
                    continue
                if str(self.data).encode() in said and state != "Z":
                    found.append(int(folder.name))
        return found

    def messages(self) -> int:
        """How many are in the message log."""
        try:
            with closing(MessageLog.open_reader(self.data / "messages.sqlite")) as log:
                return log.head()
        except FiliereError:
            return 0

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """An answer of the demo's API, as JSON."""
        content = None if body is None else json.dumps(body).encode()
        request = Request(f"http://127.0.0.1:{self.port}{path}", content, {"Content-Type": "application/json"})
        request.method = method
        with build_opener(ProxyHandler({})).open(request, timeout=HTTP_S) as answer:
            return json.load(answer)

    def faults(self) -> Any:
        return self.ask("GET", "/simulator/faults")

    def metric(self, name: str) -> float:
        """The value of one line of /metrics; 0 = it is not there yet."""
        with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{self.port}/metrics", timeout=HTTP_S) as answer:
            lines = answer.read().decode().splitlines()
        return float(next((line.split()[-1] for line in lines if line.startswith(name)), 0))

    def serves(self, path: str) -> bool:
        """The page is there."""
        try:
            with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{self.port}{path}", timeout=HTTP_S) as page:
                return page.status == 200
        except OSError:
            return False


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[DemoProcess]:
    process = DemoProcess(tmp_path)
    yield process
    for each in process.started:
        if each.poll() is None:
            each.kill()
        each.communicate()
    until(lambda: not process.processes(), STOP_S)


def until(ready: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not ready():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(POLL_S)


def proven(process: subprocess.Popen[str]) -> dict:
    output, errors = process.communicate(timeout=PROVEN_S)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    result = json.loads(output)
    assert result["ok"]
    assert result["audit"]["closes"]
    assert all(device["published"] > 0 and device["quarantined"] == 0 for device in result["audit"]["devices"])
    return result


def assert_both_lots(demo: DemoProcess, result: dict) -> None:
    certificates = {certificate["lot"][:2]: certificate for certificate in result["certificates"]}
    assert set(certificates) == {"T1", "F1"}
    assert all(certificate["authentic"] for certificate in certificates.values())
    assert all(certificate["checks"] for certificate in certificates.values())
    assert float(certificates["T1"]["recycled_content"]) == pytest.approx(0.98, abs=0.005)
    assert float(certificates["F1"]["recycled_content"]) == 0.0
    assert all(Path(certificate["file"]).is_relative_to(demo.data) for certificate in certificates.values())
    assert len(list((demo.data / "archive").glob("*.parquet"))) == 3


def test_with_nothing_installed_a_lot_of_each_line_is_proven(demo: DemoProcess):
    result = proven(demo.start("--lots", "1", "--speed", "600", "--exit", "--json"))
    assert_both_lots(demo, result)
    assert (demo.data / "readings.sqlite").exists()
    assert not demo.processes()
    for certificate in result["certificates"]:
        key = demo.data / "keys" / "issuer.pub.pem"
        command = filiere_command("certificate", "verify", certificate["file"], "--key", str(key))
        checked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd="/")
        assert checked.returncode == 0, checked.stderr


def test_a_third_filiere_is_a_file_and_no_code(demo: DemoProcess, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FILIERE_PLANT", str(Path(__file__).parents[1] / "filiere" / "third_filiere.yaml"))
    result = proven(demo.start("--lots", "1", "--speed", "1200", "--exit", "--json"))
    (certificate,) = result["certificates"]
    assert certificate["authentic"]
    assert certificate["lot"].startswith("W1")
    assert float(certificate["recycled_content"]) == pytest.approx(0.4, abs=0.02)


@pytest.mark.services
def test_with_mosquitto_and_influxdb_on_the_path_a_lot_of_each_line_is_proven(demo: DemoProcess):
    try:
        demo.offer(find_mosquitto())
        demo.offer(find_influxd())
    except ServerMissing as missing:
        unavailable(str(missing))
    result = proven(demo.start("--lots", "1", "--speed", "600", "--exit", "--json"))
    assert_both_lots(demo, result)
    assert not (demo.data / "readings.sqlite").exists()
    token = demo.data / "influxdb" / "token"
    assert token.stat().st_mode & 0o777 == 0o600
    assert not demo.processes()


def test_ctrl_c_and_a_kill_leave_nothing_behind_and_the_next_start_goes_on(demo: DemoProcess):
    first = demo.start("--speed", "600")
    until(lambda: demo.messages() > 500, READING_S)
    until(lambda: demo.serves("/live"), READING_S)
    os.killpg(first.pid, signal.SIGINT)
    output, errors = first.communicate(timeout=STOP_S)
    assert first.returncode == 0, errors
    assert "Traceback" not in output + errors
    assert not demo.processes()
    kept = demo.messages()

    second = demo.start("--speed", "600")
    until(lambda: demo.messages() > kept + 500, READING_S)
    second.kill()
    second.communicate()
    until(lambda: not demo.processes(), STOP_S)

    result = proven(demo.start("--lots", "1", "--speed", "600", "--exit", "--json"))
    assert_both_lots(demo, result)
    assert all(device["missing"] == 0 for device in result["audit"]["devices"])


def test_a_fault_that_is_triggered_in_the_demo_is_seen_by_the_system_until_it_is_stopped(demo: DemoProcess):
    process = demo.start("--speed", "600")
    until(lambda: demo.serves("/live") and demo.faults()["running"], READING_S)
    where = {"kind": "sentinel", "line": "caux/textile/t1", "target": "extruder.melt_temp", "label": "s"}
    assert demo.ask("POST", "/simulator/faults", where)["state"] == "active"
    until(
        lambda: demo.metric('filiere_device_out_of_range_rows_total{device="caux/textile/t1/extruder"}') > 0, READING_S
    )
    until(lambda: [fault["label"] for fault in demo.faults()["faults"]] == ["s"], READING_S)
    assert demo.ask("DELETE", "/simulator/faults/s")["state"] == "over"
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=STOP_S)
    assert process.returncode == 0, errors
    assert "Traceback" not in output + errors


def test_a_taken_port_is_named_and_another_one_proposed(demo: DemoProcess):
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", demo.port))
        taken.listen()
        process = demo.start("--exit")
        _, errors = process.communicate(timeout=READING_S)
    assert process.returncode == 2
    assert str(demo.port) in errors
    assert re.search(r"--port \d+", errors)
    assert "Traceback" not in errors


def test_a_child_that_dies_is_named_with_its_log_and_the_rest_is_stopped(demo: DemoProcess):
    broken = demo.programs / "mosquitto"
    broken.write_text("#!/bin/sh\necho 'no room on the disk' >&2\nexit 3\n")
    broken.chmod(0o755)
    (demo.programs / "sh").symlink_to(shutil.which("sh") or "/bin/sh")
    process = demo.start("--exit")
    _, errors = process.communicate(timeout=READING_S)
    assert process.returncode == 2
    assert "no room on the disk" in errors
    assert "courtier.log" in errors
    assert not demo.processes()


def test_a_second_demo_in_the_same_folder_is_refused(demo: DemoProcess):
    first = demo.start("--speed", "60")
    until((demo.data / "logs").exists, READING_S)
    command = filiere_command("demo", "--data", str(demo.data), "--port", str(free_port()))
    second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert second.returncode == 2
    assert "--data" in second.stderr
    first.send_signal(signal.SIGTERM)
    assert first.wait(STOP_S) == 0
