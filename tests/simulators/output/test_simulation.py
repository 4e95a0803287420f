"""What is simulated, where it goes on, and where it ends."""

import math
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from filiere.clock import NS_PER_S
from filiere.errors import SettingsError, StoreUnavailable
from simulators.faults.fault import Onset
from simulators.faults.process import ScreenClog
from simulators.line.simulation import sent
from simulators.line.state import read_state, write_state
from simulators.output.order import Order, days_needed
from simulators.output.simulation import Simulation, anew, opening
from simulators.scenarios.scenario import Calendar
from simulators.scenarios.scenario_file import fault_document, load_scenario, shipped_bytes
from tests.simulators.builders import FLAX, START_NS, TEXTILE, caux

NOW_NS = 1_790_000_000 * NS_PER_S
HOUR_NS = 3600 * NS_PER_S


def opened(folder: Path, **order: object) -> Simulation:
    return opening(caux(), folder / "simulator.json", Order(**order), lambda: NOW_NS)


def go_on(folder: Path, simulation: Simulation, messages: int) -> Counter[str]:
    """Send so many messages and write the state down. Returns the lots that they close."""
    made: Counter[str] = Counter()
    state = simulation.state
    for publication in islice(simulation.publications(state, Counter()), messages):
        state = sent(state, publication)
        made.update([publication.cycle.line] if publication.closes else [])
    write_state(folder / "simulator.json", state)
    return made


@pytest.mark.parametrize("lots", [1, 10])
def test_all_lots_that_are_asked_for_are_made_before_now(tmp_path: Path, lots: int):
    simulation = opened(tmp_path, lots=lots, rows_max=1000)
    slowest = simulation.of_line(TEXTILE, simulation.state, Counter())
    assert max(publication.time_ns for publication in slowest) < NOW_NS


def test_messages_stay_as_large_as_they_were_when_a_simulation_goes_on(tmp_path: Path):
    go_on(tmp_path, opened(tmp_path, rows_max=3), messages=40)
    assert opened(tmp_path).state.rows_max == 3
    with pytest.raises(SettingsError, match="--rows: got 5; expected 3"):
        opened(tmp_path, rows_max=5)


def test_a_month_on_working_days_fits_before_now_too():
    calendar = Calendar(days=frozenset(range(5)), start_minute=360, lots_a_day=3)
    assert days_needed(60, None, calendar) >= 28
    assert days_needed(None, 40, calendar) == 40
    assert days_needed(None, None, calendar) == 0


def test_the_seed_of_the_order_goes_before_the_scenarios(tmp_path: Path):
    (tmp_path / "mine.yaml").write_bytes(shipped_bytes("drift") + b"seed: 7\n")
    mine = str(tmp_path / "mine.yaml")
    assert anew(caux(), Order(scenario=mine)).state.seed == 7
    assert anew(caux(), Order(scenario=mine, seed=3)).state.seed == 3
    assert anew(caux(), Order(lots=1)).state.seed == 1


def test_an_end_that_is_asked_for_stands_instead_of_the_scenarios():
    month = load_scenario("full-month", caux())
    assert anew(caux(), Order(), month).lots == {TEXTILE: 60, FLAX: 60}
    asked = anew(caux(), Order(days=2, start_ns=START_NS), month)
    assert (asked.lots, asked.stop_ns) == (None, START_NS + 48 * HOUR_NS)


def test_what_has_no_end_cannot_go_into_files():
    with pytest.raises(SettingsError, match="expected --lots, --days, or a scenario"):
        anew(caux(), Order())


@pytest.mark.parametrize("wrong", [{"days": math.nan}, {"days": math.inf}, {"days": -1.0}, {"speed": math.nan}])
def test_a_number_that_is_none_is_refused(wrong: dict):
    with pytest.raises(SettingsError, match=f"--{next(iter(wrong))}: got .*; expected a finite number, 0 or more"):
        Order(**wrong)


def test_a_seed_that_no_scenario_may_have_is_refused():
    for seed in (-1, 2**63):
        with pytest.raises(SettingsError, match=f"--seed: got {seed}; expected a whole number from 0 to"):
            Order(seed=seed)


def test_days_end_every_line_at_that_time():
    simulation = anew(caux(), Order(days=0.1, start_ns=START_NS))
    times = [publication.time_ns for publication in simulation.publications(simulation.state, Counter())]
    assert times == sorted(times)
    assert START_NS + 2.3 * HOUR_NS < times[-1] < START_NS + 2.4 * HOUR_NS


def test_the_lots_of_a_scenario_are_counted_over_restarts(tmp_path: Path):
    simulation = opened(tmp_path, scenario="clogged-screen")
    made = go_on(tmp_path, simulation, 9_000)
    assert made
    again = opened(tmp_path, scenario="clogged-screen")
    assert again.lots == {line: 3 - made[line] for line in (TEXTILE, FLAX)}
    assert opened(tmp_path, lots=2).lots == {TEXTILE: 2, FLAX: 2}  # asked for: so many more


def test_a_restart_goes_on_with_the_shipped_scenario_that_it_began_with(tmp_path: Path):
    began = opened(tmp_path, scenario="wet-feed")
    go_on(tmp_path, began, 100)
    assert opened(tmp_path).scenario == began.scenario


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (
            {"scenario": "drift"},
            "--scenario: got drift; expected wet-feed, .*: go on with --scenario wet-feed, or start anew",
        ),
        ({"seed": 5}, "--seed: got 5; expected 1"),
        ({"start_ns": START_NS}, "--start: got 2026-03-11"),
    ],
)
def test_another_simulation_than_the_one_that_stopped_is_refused(tmp_path: Path, order: dict, message: str):
    opened(tmp_path, scenario="wet-feed")
    with pytest.raises(SettingsError, match=message):
        opened(tmp_path, **order)
    assert opened(tmp_path, fresh=True, **order).state.lines[TEXTILE].sent == 0


def test_an_own_scenario_has_to_be_named_again_and_unchanged(tmp_path: Path):
    mine = tmp_path / "mine.yaml"
    mine.write_bytes(shipped_bytes("drift").replace(b"id: drift", b"id: mine"))
    opened(tmp_path, scenario=str(mine))
    with pytest.raises(SettingsError, match=r"got none; expected mine, .*: go on with its file as it was then"):
        opened(tmp_path)
    assert opened(tmp_path, scenario=str(mine)).scenario.id == "mine"
    mine.write_bytes(mine.read_bytes() + b"# changed\n")
    with pytest.raises(SettingsError, match="which is another mine now; expected mine"):
        opened(tmp_path, scenario=str(mine))


def test_faults_that_came_while_it_ran_are_there_after_a_restart(tmp_path: Path):
    clog = ScreenClog(label="live-1", line=TEXTILE, target="extruder", onset=Onset(after_s=7200.0), severity=9.0)
    simulation = opened(tmp_path, scenario="wet-feed")
    write_state(tmp_path / "simulator.json", replace(simulation.state, live=(fault_document(clog),)))
    again = opened(tmp_path)
    assert again.scenario == simulation.scenario.with_faults([clog])
    assert read_state(tmp_path / "simulator.json") == again.state


def test_up_to_where_a_line_was_sent_is_known_after_a_restart(tmp_path: Path):
    began = opened(tmp_path)
    assert began.sent_ns(TEXTILE, began.state) == began.state.start_ns - 1
    sent_ns = dict.fromkeys(began.state.lines, 0)
    state = began.state
    for publication in islice(began.publications(state, Counter()), 50):
        state = sent(state, publication)
        sent_ns[publication.cycle.line] = publication.time_ns
    assert {line: began.sent_ns(line, state) for line in sent_ns} == sent_ns


def test_a_fault_with_the_label_of_another_stands_instead_of_it():
    wet = load_scenario("wet-feed", caux())
    shorter = replace(wet.faults[0], duration_s=60.0)
    assert wet.with_faults([shorter]).faults == (shorter, *wet.faults[1:])


def test_a_state_that_cannot_be_read_or_written_is_told_in_one_line(tmp_path: Path):
    state = opened(tmp_path).state
    (tmp_path / "folder").mkdir()
    with pytest.raises(SettingsError, match="folder: got Is a directory; expected a file"):
        read_state(tmp_path / "folder")
    with pytest.raises(StoreUnavailable, match="folder: Is a directory; free space"):
        write_state(tmp_path / "folder", state)


def test_a_plant_of_another_digest_is_refused(tmp_path: Path):
    state = opened(tmp_path).state
    write_state(tmp_path / "simulator.json", replace(state, plant_digest="0" * 64))
    with pytest.raises(SettingsError, match="the plant file as it is now"):
        opened(tmp_path)
