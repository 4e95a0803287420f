import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.site import WITHIN_S, wait_until
from tests.servers import HOST, free_port, port_answers

EXIT_ERROR = 2


def start(folder: Path, port: int, *options: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FILIERE_")}
    return subprocess.Popen(
        [sys.executable, "-m", "filiere", "serve", "--port", str(port), *options],
        env=environment | {"FILIERE_DATA_DIR": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    port = free_port()
    process = start(tmp_path, port, "--stop-with-stdin")
    try:
        wait_until(lambda: port_answers(port) or process.poll() is not None)
        yield process, port
    finally:
        process.kill()
        process.communicate(timeout=WITHIN_S)


def ask(port: int, path: str) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection(HOST, port, timeout=WITHIN_S)
    connection.request("GET", path)
    return connection, connection.getresponse()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly_though_somebody_watches(
    served: tuple[subprocess.Popen[str], int], number: signal.Signals
) -> None:
    process, port = served
    connection, response = ask(port, "/live/events")
    assert response.readline()
    process.send_signal(number)
    _, said = process.communicate(timeout=WITHIN_S)
    connection.close()
    assert process.returncode == 0
    assert "Traceback" not in said
    assert f":{port}" in said


def test_a_signal_stops_it_cleanly_while_its_parent_holds_standard_input(
    served: tuple[subprocess.Popen[str], int],
) -> None:
    process, _ = served
    process.terminate()
    assert process.wait(WITHIN_S) == 0
    assert process.stderr is not None
    assert "Fatal" not in process.stderr.read()


def test_it_stops_when_its_parent_goes(served: tuple[subprocess.Popen[str], int]) -> None:
    process, port = served
    connection, response = ask(port, "/healthz")
    assert response.read() == b'{"alive":true}'
    connection.close()
    _, said = process.communicate(timeout=WITHIN_S)
    assert process.returncode == 0
    assert "Traceback" not in said


def test_a_port_that_is_taken_is_one_line_and_no_traceback(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        process = start(tmp_path, taken.getsockname()[1])
        _, said = process.communicate(timeout=WITHIN_S)
    assert process.returncode == EXIT_ERROR
    assert said.startswith("filiere: ")
    assert said.count("\n") == 1
    assert "choose another port" in said
