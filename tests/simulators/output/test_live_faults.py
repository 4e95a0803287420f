"""Faults that are ordered from a simulation that runs: answered each, and never before what was sent."""

import json
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiere.clock import NS_PER_S
from filiere.errors import FiliereError, ScenarioError, SettingsError, StoreUnavailable
from filiere.plant_file import load_plant
from simulators.faults.fault import Fault, Window
from simulators.output import live_faults
from simulators.output.live_faults import (
    ORDER_BYTES_MAX,
    STALE_S,
    FaultFolder,
    Running,
    RunningFault,
    Stop,
    Trigger,
    running_fault,
)

T1 = "caux/textile/t1"
START_NS = 1_790_000_000 * NS_PER_S
NOW_NS = START_NS + 3600 * NS_PER_S + 250_000_007
CAUX = load_plant("caux")
TOO_LONG = b'{"do":"stop","label":"' + b"x" * ORDER_BYTES_MAX + b'"}'


def clog(**fields: object) -> Trigger:
    return Trigger(fault={"kind": "screen_clog", "line": T1, "target": "extruder", **fields})


class Simulation:
    """The side that answers."""

    def __init__(self, path: Path, lines: tuple[str, ...] = ()) -> None:
        self.folder = FaultFolder(path, CAUX, lines=lines)
        self.faults: dict[str, Fault] = {}

    def turn(self, *, now_ns: int = NOW_NS, windows: Mapping[str, Window] | None = None) -> tuple[Fault, ...]:
        """What is new or changed; every order that lies there is answered."""
        changed = self.folder.take(tuple(self.faults.values()), start_ns=START_NS, now_ns=now_ns, windows=windows or {})
        self.folder.tell()
        self.faults |= {fault.label: fault for fault in changed}
        return changed

    def ordered(self, order: Trigger | Stop, **more: object) -> RunningFault:
        """The answer to one order. Raises ScenarioError."""
        name = self.folder.place(order)
        self.turn(**more)  # type: ignore[arg-type]  # a test's shorthand
        answer = self.folder.answer(name)
        assert answer is not None
        if answer.done is None:
            raise ScenarioError(answer.problem)
        return answer.done.fault


@pytest.fixture
def simulation(tmp_path: Path) -> Simulation:
    return Simulation(tmp_path / "faults")


def test_a_fault_that_is_ordered_begins_after_all_that_was_sent(simulation: Simulation) -> None:
    answer = simulation.ordered(clog())
    (fault,) = simulation.faults.values()
    assert fault.kind == "screen_clog"
    assert fault.label == answer.label
    assert fault.label == "screen_clog"
    assert answer.start_ns is not None
    assert 0 < answer.start_ns - NOW_NS <= 1_000_000
    assert answer.start_ns % 1_000_000 == 0
    assert answer.stop_ns is None
    assert answer.severity == fault.severity == 10.0
    assert fault.onset.after_s == (answer.start_ns - START_NS) / NS_PER_S


def test_a_fault_that_names_itself_not_is_called_as_its_kind_with_a_number(simulation: Simulation) -> None:
    spike = {"kind": "sensor_spike", "line": T1}
    zones = [Trigger(fault={**spike, "target": f"extruder.barrel_temp_z{zone}"}) for zone in (1, 2, 3)]
    labels = [simulation.ordered(order).label for order in zones]
    assert labels == ["sensor_spike", "sensor_spike-2", "sensor_spike-3"]


@given(st.integers(0, 10**17), st.integers(0, 10**9))
def test_whatever_was_sent_it_begins_later_and_within_a_millisecond(sent_ns: int, phase_ns: int) -> None:
    start_ns, now_ns = START_NS + phase_ns, START_NS + phase_ns + sent_ns
    folder = FaultFolder(Path("/nonexistent"), CAUX)
    windows: dict[str, Window] = {}
    fault = folder._done(clog(), {}, windows, start_ns, {T1: now_ns})
    assert now_ns < windows[fault.label].start_ns + 500_000  # a float of seconds over three years is that exact
    assert windows[fault.label].start_ns - now_ns <= 1_500_000


def test_an_onset_is_counted_from_now_and_a_duration_ends_it(simulation: Simulation) -> None:
    answer = simulation.ordered(clog(onset="10 min", duration="1 h", label="c", severity=3))
    assert (answer.start_ns or 0) - NOW_NS == pytest.approx(600 * NS_PER_S, abs=1_000_000)
    assert answer.stop_ns == (answer.start_ns or 0) + 3600 * NS_PER_S
    assert answer.state(NOW_NS) == "waiting"
    assert answer.state(answer.start_ns or 0) == "active"
    assert answer.state(answer.stop_ns) == "over"


def test_a_fault_that_is_stopped_keeps_its_onset_and_is_over_after_all_that_was_sent(simulation: Simulation) -> None:
    first = simulation.ordered(clog(label="c"))
    began = simulation.faults["c"].onset
    later_ns = NOW_NS + 1800 * NS_PER_S
    answer = simulation.ordered(Stop(label="c"), now_ns=later_ns)
    assert simulation.faults["c"].onset == began
    assert answer.start_ns == first.start_ns
    assert 0 < (answer.stop_ns or 0) - later_ns <= 1_000_000
    assert math.isfinite(simulation.faults["c"].duration_s)


def test_a_fault_of_a_lot_is_stopped_where_its_window_is_known(simulation: Simulation) -> None:
    simulation.ordered(clog(label="c"))
    window = Window(NOW_NS - 60 * NS_PER_S, NOW_NS + 60 * NS_PER_S)
    simulation.faults["c"] = fault = _of_a_lot(simulation.faults["c"])
    with pytest.raises(ScenarioError, match="has not begun"):
        simulation.ordered(Stop(label="c"))
    simulation.ordered(Stop(label="c"), windows={"c": window})
    assert simulation.faults["c"].duration_s == pytest.approx(60.0, abs=0.002)
    assert running_fault(fault, {}).start_ns is None


def _of_a_lot(fault: Fault) -> Fault:
    from dataclasses import replace  # noqa: PLC0415 - only here

    return replace(fault, onset=replace(fault.onset, lot=2))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({}, "kind"),
        ({"kind": "gremlin", "line": T1}, "got kind 'gremlin'; expected one of heater_open"),
        ({"kind": "screen_clog", "line": "caux/textile/t9"}, "expected one of caux/textile/t1"),
        ({"kind": "screen_clog", "line": T1, "target": "sorter"}, "target"),
        ({"kind": "screen_clog", "line": T1, "duration": "-1 h"}, "duration"),
        ({"kind": "screen_clog", "line": T1, "severity": 1e308}, "severity"),
        ({"kind": "screen_clog", "line": T1, "onset": {"lot": 3}}, "expected a duration from now"),
        ({"kind": ["x"], "line": {"y": 1}}, "kind"),
        ({"kind": "screen_clog", "line": T1, "label": "a\0b"}, "label"),
    ],
)
def test_a_fault_that_cannot_be_is_refused_with_why_and_changes_nothing(
    simulation: Simulation, fault: dict[str, object], words: str
) -> None:
    with pytest.raises(ScenarioError, match=words):
        simulation.ordered(Trigger(fault=fault))
    assert not simulation.faults


def test_what_is_there_already_or_excludes_what_is_there_is_refused(simulation: Simulation) -> None:
    simulation.ordered(clog(label="c"))
    with pytest.raises(ScenarioError, match="there already"):
        simulation.ordered(clog(label="c"))
    heater = {"line": T1, "target": "extruder.barrel_temp_z2"}
    simulation.ordered(Trigger(fault={"kind": "heater_open", "label": "h", **heater}))
    with pytest.raises(ScenarioError, match=r"while h \(heater_open\) is there"):
        simulation.ordered(Trigger(fault={"kind": "relay_stuck_on", **heater}))
    simulation.ordered(Stop(label="h"), now_ns=NOW_NS + NS_PER_S)
    simulation.ordered(Trigger(fault={"kind": "relay_stuck_on", "label": "r", **heater}), now_ns=NOW_NS + NS_PER_S)
    assert set(simulation.faults) == {"c", "h", "r"}


def test_a_fault_that_began_with_a_lot_excludes_as_any_other(simulation: Simulation) -> None:
    zone = {"line": T1, "target": "extruder.barrel_temp_z2", "duration": "1 h"}
    simulation.ordered(Trigger(fault={"kind": "heater_open", "label": "h", **zone}))
    simulation.faults["h"] = _of_a_lot(simulation.faults["h"])
    there = {"h": Window(NOW_NS - 60 * NS_PER_S, NOW_NS + 3540 * NS_PER_S)}
    relay = Trigger(fault={"kind": "relay_stuck_on", **zone})
    with pytest.raises(ScenarioError, match=r"while h \(heater_open\) is there"):
        simulation.ordered(relay, windows=there)
    assert simulation.ordered(relay, windows=there, now_ns=NOW_NS + 3600 * NS_PER_S).state(NOW_NS) == "waiting"


def test_a_fault_of_a_line_that_is_not_simulated_is_refused(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, lines=("caux/flax/f1",))
    with pytest.raises(ScenarioError, match="got line caux/textile/t1, which is not simulated; expected one of caux/f"):
        simulation.ordered(clog())
    assert simulation.ordered(Trigger(fault={"kind": "late", "line": "caux/flax/f1"})).label == "late"


def test_on_a_line_that_was_sent_further_than_the_others_it_begins_later(simulation: Simulation) -> None:
    flax, ahead_ns = "caux/flax/f1", NOW_NS + 5400 * NS_PER_S
    names = [simulation.folder.place(Trigger(fault={"kind": "late", "line": line})) for line in (T1, flax)]
    simulation.folder.take((), start_ns=START_NS, now_ns=NOW_NS, windows={}, sent_ns={T1: ahead_ns, flax: START_NS})
    simulation.folder.tell()
    starts = [
        answer.done.fault.start_ns for name in names if (answer := simulation.folder.answer(name)) and answer.done
    ]
    assert 0 < (starts[0] or 0) - ahead_ns <= 1_000_000
    assert 0 < (starts[1] or 0) - NOW_NS <= 1_000_000


def test_an_order_of_long_ago_is_nobodys(simulation: Simulation) -> None:
    name = simulation.folder.place(clog())
    (order,) = simulation.folder._path.glob(f"{name}*")
    os.utime(order, (time.time() - 61, time.time() - 61))
    assert not simulation.folder.waiting()
    assert simulation.turn() == ()
    assert not order.exists()


def test_what_is_not_there_cannot_be_stopped_and_what_could_be_is_named(simulation: Simulation) -> None:
    with pytest.raises(ScenarioError, match="nothing is wrong"):
        simulation.ordered(Stop(label="c"))
    simulation.ordered(clog(label="c"))
    with pytest.raises(ScenarioError, match="'d', which is no fault of this simulation; expected one of c"):
        simulation.ordered(Stop(label="d"), now_ns=NOW_NS + NS_PER_S)
    simulation.ordered(Stop(label="c"), now_ns=NOW_NS + NS_PER_S)
    with pytest.raises(ScenarioError, match="is over"):
        simulation.ordered(Stop(label="c"), now_ns=NOW_NS + 2 * NS_PER_S)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"\xff\xfe",
        b"[" * 50_000,
        b'{"do":"dance"}',
        b'{"do":"stop"}',
        b'{"do":"trigger","fault":7}',
        TOO_LONG,
    ],
)
def test_an_order_that_is_none_is_answered_once_and_stops_nobody(simulation: Simulation, content: bytes) -> None:
    path = simulation.folder.place(clog())
    order = next(simulation.folder._path.glob(f"{path}*"))
    order.write_bytes(content)
    assert simulation.turn() == ()
    answer = simulation.folder.answer(path)
    assert answer is not None
    assert answer.problem
    assert not order.exists()


def test_a_folder_or_a_pipe_in_the_place_of_an_order_is_left_alone(simulation: Simulation) -> None:
    (simulation.folder._path / "x.order.json").mkdir(parents=True)
    assert not simulation.folder.waiting()
    assert simulation.turn() == ()


def test_an_order_is_answered_only_when_it_was_written_down(simulation: Simulation) -> None:
    name = simulation.folder.place(clog(label="c"))
    assert simulation.folder.take((), start_ns=START_NS, now_ns=NOW_NS, windows={})
    assert simulation.folder.answer(name) is None
    assert not simulation.folder.take((), start_ns=START_NS, now_ns=NOW_NS, windows={})  # it is not taken twice
    simulation.folder.tell()
    assert simulation.folder.answer(name) is not None


def test_it_is_asked_often_and_looks_seldom(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(live_faults.time, "monotonic", lambda: now)
    assert not simulation.folder.waiting()
    simulation.folder.place(clog())
    assert not simulation.folder.waiting()
    now += live_faults.LOOK_S
    assert simulation.folder.waiting()


def test_who_orders_waits_for_the_answer(simulation: Simulation) -> None:
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(0.01):
            simulation.turn()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert simulation.folder.order(clog(label="c"), timeout_s=60.0).fault.label == "c"
        with pytest.raises(ScenarioError, match="there already"):
            simulation.folder.order(clog(label="c"), timeout_s=60.0)
    finally:
        stop.set()
        thread.join()
    assert not list(simulation.folder._path.glob("*.answer.json"))


def test_where_no_simulation_runs_the_order_is_taken_back(simulation: Simulation) -> None:
    with pytest.raises(StoreUnavailable, match="start `filiere demo`"):
        simulation.folder.order(clog(), timeout_s=0.0)
    assert not list(simulation.folder._path.glob("*.order.json"))


def test_an_order_of_ten_megabytes_and_a_folder_that_cannot_be_written_are_refused_at_once(
    simulation: Simulation, tmp_path: Path
) -> None:
    with pytest.raises(ScenarioError, match="expected at most"):
        simulation.folder.place(clog(label="x" * 10_000_000))
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="a folder that may be written"):
        FaultFolder(tmp_path / "file", CAUX).place(clog())


def test_what_runs_is_shown_until_it_is_silent(simulation: Simulation, tmp_path: Path) -> None:
    simulation.ordered(clog(label="c"))
    simulation.folder.show(
        tuple(simulation.faults.values()), {"c": Window(NOW_NS, NOW_NS + 5)}, virtual_ns=NOW_NS, waiting=3, problem=None
    )
    running = simulation.folder.running()
    assert isinstance(running, Running)
    assert (running.virtual_ns, running.waiting, [fault.label for fault in running.faults]) == (NOW_NS, 3, ["c"])
    assert running.faults[0].state(NOW_NS) == "active"
    later = FaultFolder(tmp_path / "faults", CAUX, clock=lambda: running.updated_ns + round((STALE_S + 1) * NS_PER_S))
    assert later.running() is None
    assert FaultFolder(tmp_path / "nothing", CAUX).running() is None


@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.dictionaries(st.text(), inner))
)
def test_any_json_in_place_of_a_fault_is_a_fault_or_a_refusal(value: object) -> None:
    folder = FaultFolder(Path("/nonexistent"), CAUX)
    ask: Callable[[], object] = lambda: folder._done(  # noqa: E731 - named for what it does
        live_faults._decoded(json.dumps({"do": "trigger", "fault": value}).encode()), {}, {}, START_NS, {T1: NOW_NS}
    )
    with pytest.raises(FiliereError):
        ask()
