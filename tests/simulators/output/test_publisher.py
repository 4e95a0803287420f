import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pytest

from collector.outbox import Outbox, OutboxUnusable, Sender
from collector.outbox.file import status_of
from filiere.clock import NS_PER_S
from simulators.demo.children import filiere_command
from simulators.demo.services import free_port
from simulators.line.simulation import simulate
from simulators.output.publisher import Pace, Progress, Publisher
from simulators.output.simulate import OUTBOX_FILE
from tests.collector.answering import Answering
from tests.collector.mqtt import until
from tests.servers import Mosquitto
from tests.simulators.builders import START_NS, caux, state

KINDS = ("filiere/v1/+/+/+/+/readings", "filiere/v1/+/+/+/+/events")


def some(count: int) -> list:
    return list(islice(simulate(caux(), seed=1, start_ns=START_NS, lots=None), count))


def wire(publications: list) -> set[tuple[str, bytes]]:
    return {(each.topic, each.payload) for each in publications}


@contextmanager
def publishing(folder: Path, port: int, **more: int) -> Iterator[tuple[Publisher, Outbox]]:
    with (
        Outbox.open(folder / "outbox.sqlite", **more) as outbox,
        Sender(outbox, host="127.0.0.1", port=port) as sender,
    ):
        yield Publisher(outbox, sender, state()), outbox


def test_each_publication_arrives_and_the_state_counts_it(mosquitto: Mosquitto, tmp_path: Path):
    publications = some(800)
    notes: list[Progress] = []
    with Answering(mosquitto, topics=KINDS) as collector, publishing(tmp_path, mosquitto.port) as (publisher, outbox):
        assert publisher.publish_all(publications, speed=0, stop=lambda: False, note=notes.append)
        assert publisher.published == len(publications)
        assert sum(progress.sent for progress in publisher.state.lines.values()) == len(publications)
        assert publisher.flush(stop=lambda: False)
        assert outbox.messages == 0
    assert set(collector.heard) == wire(publications)


def test_with_nobody_there_all_goes_into_the_outbox_and_is_sent_later(mosquitto: Mosquitto, tmp_path: Path):
    publications = some(500)
    with publishing(tmp_path, free_port()) as (publisher, outbox):
        assert publisher.publish_all(publications, speed=0, stop=lambda: False, note=lambda _: None)
        assert sum(progress.sent for progress in publisher.state.lines.values()) == len(publications)
        assert not publisher.flush_briefly(stop=lambda: False)
        assert outbox.messages == len(publications)
    with Answering(mosquitto, topics=KINDS) as collector, publishing(tmp_path, mosquitto.port) as (publisher, _):
        assert publisher.flush(stop=lambda: False)
    assert set(collector.heard) == wire(publications)


def test_a_full_outbox_holds_the_simulation_and_says_so(mosquitto: Mosquitto, tmp_path: Path):
    publications = some(600)
    said = threading.Event()

    def note(progress: Progress) -> None:
        if progress.problem and "expected room" in progress.problem:
            said.set()

    with publishing(tmp_path, mosquitto.port, bytes_max=300_000) as (publisher, _):
        arguments = {"speed": 0, "stop": lambda: False, "note": note}
        batches = [publications[start : start + 50] for start in range(0, len(publications), 50)]
        thread = threading.Thread(target=lambda: [publisher.publish_all(batch, **arguments) for batch in batches])
        thread.start()
        assert said.wait(20)
        with Answering(mosquitto, topics=KINDS) as collector:
            thread.join(30)
            assert publisher.flush(stop=lambda: False)
    assert set(collector.heard) == wire(publications)


def test_time_runs_at_its_speed_until_it_has_caught_up():
    day_ns = 24 * 3600 * NS_PER_S
    pace = Pace(speed=60.0, virtual_ns=0, wall_ns=day_ns)
    assert pace.due_ns(60 * NS_PER_S) == day_ns + NS_PER_S
    assert pace.due_ns(2 * day_ns) == 2 * day_ns


def test_all_it_can_never_runs_ahead_of_the_clock() -> None:
    """Readings from the future are believed by nobody: a lot made of them is refused."""
    pace = Pace(speed=0.0, virtual_ns=0, wall_ns=3600 * NS_PER_S)
    assert pace.due_ns(2 * 3600 * NS_PER_S) == 2 * 3600 * NS_PER_S


class Simulator:
    """`filiere simulate` in a folder of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.environment = {**os.environ, "FILIERE_DATA_DIR": str(folder), "FILIERE_MQTT_PORT": str(port)}

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = filiere_command("simulate", "--start", "2026-03-11T06:00:00Z", "--json", *arguments)
        return subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def waiting(self) -> int:
        try:
            return status_of(self.folder / OUTBOX_FILE).messages
        except OutboxUnusable:  # not made yet
            return 0


def result(process: subprocess.Popen[bytes], status: int = 0) -> dict:
    output, errors = process.communicate(timeout=60)
    assert process.returncode == status, errors.decode()
    assert b"Traceback" not in errors
    return json.loads(output)


def test_a_stopped_or_killed_simulator_goes_on_where_it_stopped(mosquitto: Mosquitto, tmp_path: Path):
    simulator = Simulator(tmp_path, mosquitto.port)
    with Answering(mosquitto, topics=KINDS) as collector:
        for stops in (signal.SIGINT, signal.SIGKILL, None):
            heard = len(collector.heard)
            process = simulator.start("--speed", "0" if stops is None else "2000", "--lots", "1")
            if stops is not None:
                until(lambda heard=heard: len(collector.heard) > heard + 300)
                process.send_signal(stops)
            if stops is signal.SIGKILL:
                process.communicate()
                continue
            assert result(process)["flushed"]
    whole = list(simulate(caux(), seed=1, start_ns=START_NS, lots=1))
    assert set(collector.heard) == wire(whole)


@pytest.mark.parametrize("broker", ["none", "nobody listens"])
def test_asked_to_stop_with_nobody_there_it_ends_at_once_and_loses_nothing(
    mosquitto: Mosquitto, tmp_path: Path, broker: str
):
    simulator = Simulator(tmp_path, mosquitto.port if broker == "nobody listens" else free_port())
    process = simulator.start("--speed", "600")
    until(lambda: simulator.waiting() > 100)
    process.send_signal(signal.SIGTERM)
    said = result(process)
    assert not said["flushed"]
    assert said["waiting"] == said["published"] == simulator.waiting()
    simulator.environment["FILIERE_MQTT_PORT"] = str(mosquitto.port)
    with Answering(mosquitto, topics=KINDS) as collector:
        process = simulator.start("--speed", "0", "--lots", "1")
        assert result(process)["flushed"]
    assert set(collector.heard) == wire(list(simulate(caux(), seed=1, start_ns=START_NS, lots=1)))


def test_another_seed_in_the_same_folder_is_refused(tmp_path: Path):
    simulator = Simulator(tmp_path, free_port())
    first = simulator.start("--seed", "1")
    until((tmp_path / "simulator.json").exists)
    first.send_signal(signal.SIGTERM)
    result(first)
    second = simulator.start("--seed", "2")
    _, errors = second.communicate(timeout=60)
    assert second.returncode == 2
    assert b"--fresh" in errors
    assert b"Traceback" not in errors


def test_a_second_simulation_in_the_same_folder_is_refused(tmp_path: Path):
    simulator = Simulator(tmp_path, free_port())
    first = simulator.start()
    until((tmp_path / OUTBOX_FILE).exists)
    second = simulator.start()
    _, errors = second.communicate(timeout=60)
    first.send_signal(signal.SIGTERM)
    result(first)
    assert second.returncode == 2
    assert b"another process" in errors
    assert b"Traceback" not in errors
