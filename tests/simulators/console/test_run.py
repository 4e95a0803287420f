"""The console's simulation, for real: a fault that is ordered from it is there, and a restart still has it."""

import contextlib
import math
import os
import pty
import subprocess
import termios
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from filiere.clock import NS_PER_S
from filiere.errors import FiliereError, ScenarioError
from filiere.settings import Settings, load_settings
from simulators.console.run import Simulation
from simulators.demo.children import filiere_command
from simulators.line.simulation import simulate
from simulators.line.state import read_state
from simulators.output import simulate as simulate_shell
from simulators.output.live_faults import Running, Stop, Trigger
from simulators.output.order import Order
from simulators.output.simulate import STATE_FILE
from simulators.output.simulation import opening
from simulators.scenarios.scenario import NORMAL, Scenario
from tests.collector.mqtt import until
from tests.servers import free_port
from tests.simulators.builders import FLAX, START_NS, TEXTILE, caux

PRESSURE = {"kind": "sensor_stuck", "line": TEXTILE, "target": "extruder.melt_pressure", "label": "stuck"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a folder where nothing else runs, not even a broker."""
    return load_settings(data_dir=tmp_path, mqtt_port=free_port())


def simulation(settings: Settings, **order: Any) -> Simulation:
    made = Simulation(settings, caux(), Order(start_ns=START_NS, **{"speed": 600.0, **order}), language="fr")
    made.start()
    return made


def running(made: Simulation, so: Callable[[Running], bool] = lambda _: True) -> Running:
    """What it says of itself, when it is so."""
    found: list[Running] = []

    def look() -> bool:
        now = made.folder.running()
        found[:] = [now] if now is not None else []
        return now is not None and so(now)

    until(look)
    return found[0]


def test_a_fault_that_is_ordered_is_there_and_stopped_and_a_restart_still_knows_it(settings: Settings) -> None:
    made = simulation(settings)
    try:
        before = running(made, lambda now: now.virtual_ns > START_NS)
        ordered = made.folder.order(Trigger(fault=PRESSURE), timeout_s=30.0).fault
        assert (ordered.start_ns or 0) > before.virtual_ns
        now = running(made, lambda now: now.active != ())
        assert [fault.label for fault in now.active] == ["stuck"]
        assert now.waiting > 0
        until(lambda: TEXTILE in made.feed._rows and len(made.feed.signals(TEXTILE)) > 5)
        stopped = made.folder.order(Stop(label="stuck"), timeout_s=30.0).fault
        assert (stopped.start_ns, stopped.stop_ns is not None) == (ordered.start_ns, True)
        with pytest.raises(ScenarioError, match="there already"):
            made.folder.order(Trigger(fault=PRESSURE), timeout_s=30.0)
        assert not made.look().there
    finally:
        made.stop()
    assert made.result is not None
    assert made.result["asked_to_stop"]
    again = simulation(settings)
    try:
        known = running(again, lambda now: now.virtual_ns > (stopped.stop_ns or 0)).faults
        assert [(fault.label, fault.start_ns, fault.stop_ns) for fault in known] == [
            ("stuck", ordered.start_ns, stopped.stop_ns)
        ]
    finally:
        again.stop()


def test_what_was_published_before_the_order_is_what_it_would_have_been_and_after_it_the_simulation_with_the_fault(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The law that lets a running line take a fault: nobody can tell that it was not there from the beginning."""
    sent: list[tuple[int, str, bytes]] = []
    made = Simulation(settings, caux(), Order(start_ns=START_NS, speed=600.0), language="fr")
    monkeypatch.setattr(made.feed, "watch", lambda each: sent.append((each.time_ns, each.topic, each.payload)))
    made.start()
    try:
        running(made, lambda now: now.virtual_ns > START_NS)
        ordered = made.folder.order(Trigger(fault={**PRESSURE, "target": "extruder"}), timeout_s=30.0).fault
        onset_ns = ordered.start_ns or 0
        until(lambda: sent[-1][0] > onset_ns + 600 * NS_PER_S)
    finally:
        made.stop()

    def simulated(scenario: Scenario) -> list[tuple[int, str, bytes]]:
        stream = simulate(caux(), seed=1, start_ns=START_NS, lots=None, scenario=scenario)
        return [(each.time_ns, each.topic, each.payload) for each, _ in zip(stream, sent, strict=False)]

    assert sent == simulated(opening(caux(), settings.data_dir / STATE_FILE, Order(), lambda: START_NS).scenario)
    plain = simulated(NORMAL)
    assert [each for each in sent if each[0] < onset_ns] == [each for each in plain if each[0] < onset_ns]
    assert sent != plain


def test_what_ends_the_simulation_is_told_when_the_console_is_left(settings: Settings) -> None:
    made = simulation(settings, scenario="no-such-scenario")
    until(lambda: made.ended)
    assert made.failed
    with pytest.raises(FiliereError, match="no-such-scenario"):
        made.stop()


def test_what_nobody_expected_is_not_swallowed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(simulate_shell, "opening", broken)
    made = simulation(settings)
    until(lambda: made.ended)
    with pytest.raises(ZeroDivisionError):
        made.stop()


@pytest.mark.parametrize("arguments", [["--interactive"], ["--interactive", "--to", "folder"]])
def test_without_a_terminal_it_is_refused_in_words(tmp_path: Path, arguments: list[str]) -> None:
    done = subprocess.run(
        filiere_command("simulate", *arguments),
        env={**os.environ, "FILIERE_DATA_DIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert b"--interactive: got" in done.stderr
    assert b"Traceback" not in done.stderr


def test_on_a_terminal_it_opens_and_a_key_leaves_it_with_the_simulation_written_down(tmp_path: Path) -> None:
    ours, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (50, 150))
    network = {"FILIERE_DATA_DIR": str(tmp_path), "FILIERE_MQTT_PORT": str(free_port())}
    process = subprocess.Popen(
        filiere_command("simulate", "--interactive"),
        env={**os.environ, "TERM": "xterm-256color", **network},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    shown = bytearray()
    reader = threading.Thread(target=_read_all, args=(ours, shown))
    reader.start()
    try:
        until(lambda: b"Ligne textile" in shown)
        os.write(ours, b"q")
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        reader.join()
        os.close(ours)
    assert b"Traceback" not in shown
    assert read_state(tmp_path / STATE_FILE) is not None


def _read_all(terminal: int, into: bytearray) -> None:
    """Until the program is gone."""
    with contextlib.suppress(OSError):
        while part := os.read(terminal, 65_536):
            into += part


def test_flax_is_simulated_too(settings: Settings) -> None:
    made = simulation(settings, speed=0.0)
    try:
        until(lambda: len(made.feed.signals(FLAX)) > 3)
        assert all(math.isfinite(now.true) for now in made.feed.signals(FLAX).values())
    finally:
        made.stop()
