import json
from dataclasses import replace
from functools import cache
from itertools import islice, pairwise

import pytest

from collector.codec import decode_event, decode_readings, parse_topic
from filiere.clock import NS_PER_S
from filiere.errors import NotFound, PlantError, SettingsError
from filiere.plant import Unit
from filiere.plant_file import parse_plant
from simulators.line.cycle import Publication, run_cycle
from simulators.line.simulation import beginning, sent, simulate
from simulators.line.state import read_state, write_state
from simulators.scenarios.scenario import NORMAL
from tests.simulators.builders import FLAX, START_NS, TEXTILE, caux, cycles, sequence_numbers, state

WHOLE = 9000
"""Publications that go well into the second lot of each line."""


def stream(lots: int | None = 1, seed: int = 1) -> list[Publication]:
    return list(simulate(caux(), seed=seed, start_ns=START_NS, lots=lots))


def wire(publications: list[Publication]) -> list[tuple[str, bytes]]:
    return [(each.topic, each.payload) for each in publications]


def test_the_same_seed_sends_the_same_bytes_and_another_one_others():
    assert wire(stream(seed=7)) == wire(stream(seed=7))
    assert wire(stream(seed=7)) != wire(stream(seed=8))


def test_publications_come_in_time_order_over_all_lines():
    times = [each.time_ns for each in stream(lots=2)]
    assert times == sorted(times)


@cache
def undisturbed() -> list[Publication]:
    return list(islice(simulate(caux(), seed=1, start_ns=START_NS, lots=None), WHOLE))


@pytest.mark.parametrize("after", [0, 37, 3000, 7600])
def test_a_restart_goes_on_with_the_stream_that_was_interrupted(after: int, tmp_path):
    whole = undisturbed()
    now = state()
    for each in whole[:after]:
        now = sent(now, each)
    write_state(tmp_path / "simulator.json", now)
    again = read_state(tmp_path / "simulator.json")
    assert again == now
    rest = simulate(caux(), seed=99, start_ns=0, lots=None, state=again)
    assert wire(list(islice(rest, WHOLE - after))) == wire(whole[after:])


@pytest.mark.parametrize("line", [TEXTILE, FLAX])
def test_every_message_is_one_that_the_collector_reads(line: str):
    for _, publications in cycles(line):
        for each in publications:
            topic = parse_topic(each.topic.encode())
            assert topic.line_path == line
            if topic.kind == "events":
                decode_event(each.payload)
            else:
                message = decode_readings(each.payload)
                assert len(message.time_ns) <= 10
                assert each.time_ns == message.time_ns[-1]


@pytest.mark.parametrize("line", [TEXTILE, FLAX])
def test_each_device_numbers_its_rows_without_a_gap_from_one_lot_to_the_next(line: str):
    both = tuple(each for _, publications in cycles(line) for each in publications)
    for numbers in sequence_numbers(both).values():
        assert numbers == list(range(len(numbers)))


def machines(line: str) -> list[Unit]:
    """The units of a line that measure all the time: a laboratory does not."""
    return [each for each in caux().line(line).units if each.id != "laboratory"]


@pytest.mark.parametrize("line", [TEXTILE, FLAX])
def test_each_device_keeps_its_period_from_one_lot_to_the_next(line: str):
    for each_unit in machines(line):
        times: list[int] = []
        for _, publications in cycles(line):
            for each in publications:
                if each.topic.endswith(f"/{each_unit.id}/readings"):
                    times += [time_ns // 1_000_000 for time_ns in decode_readings(each.payload).time_ns]
        steps = {later - earlier for earlier, later in pairwise(times)}
        assert steps == {round(min(signal.period_s for signal in each_unit.signals) * 1000)}


@pytest.mark.parametrize("line", [TEXTILE, FLAX])
def test_every_device_is_heard_after_the_last_closing(line: str):
    cycle, publications = cycles(line)[0]
    stop_ns = cycle.plan.cycle.start_ns + round(cycle.plan.stages[-1].stop_s * NS_PER_S)
    for each_unit in machines(line):
        last = [each for each in publications if each.topic.endswith(f"/{each_unit.id}/readings")][-1]
        assert last.time_ns >= stop_ns


def test_a_slow_device_sends_a_message_a_row():
    _, publications = cycles(TEXTILE)[0]
    dryer = [json.loads(each.payload) for each in publications if each.topic.endswith("/dryer/readings")]
    assert all(isinstance(message["t"], int) for message in dryer)


def test_a_state_of_another_plant_file_is_refused():
    other = replace(state(), plant_digest="0" * 64)
    with pytest.raises(SettingsError, match="--fresh"):
        next(iter(simulate(caux(), seed=1, start_ns=START_NS, lots=1, state=other)))


def test_a_state_of_another_scenario_is_refused():
    other = replace(state(), scenario="clogged-screen", scenario_digest="ab" * 32)
    with pytest.raises(SettingsError, match="clogged-screen"):
        next(iter(simulate(caux(), seed=1, start_ns=START_NS, lots=1, state=other)))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe{}",
        b'{"format": 2}\0',
        b'{"format": "2"}',
        b'{"format": 2}',
        b'{"format": 2, "seed": 1e308, "start_ns": 0, "plant_digest": "", "scenario": "", "lines": {}}',
        b'{"format": 2, "live": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"format": 2, "seed": 1, "lines": {"caux": 5}}',
        b" " * 10_000_000,
    ],
    ids=range(12),
)
def test_an_unreadable_state_says_how_to_start_anew(body: bytes, tmp_path):
    (tmp_path / "simulator.json").write_bytes(body)
    with pytest.raises(SettingsError, match="--fresh"):
        read_state(tmp_path / "simulator.json")


def test_a_state_of_an_earlier_version_says_so(tmp_path):
    (tmp_path / "simulator.json").write_bytes(b'{"format": 1, "seed": 1}')
    with pytest.raises(SettingsError, match="format 1; expected 2"):
        read_state(tmp_path / "simulator.json")


def test_a_scenario_may_leave_lines_out():
    only_flax = replace(NORMAL, lines=(FLAX,))
    publications = simulate(caux(), seed=1, start_ns=START_NS, lots=1, scenario=only_flax)
    (_, alone), *_ = cycles(FLAX)
    assert wire(list(publications)) == wire(list(alone))


def test_a_scenario_with_an_unknown_line_is_refused():
    with pytest.raises(NotFound, match="caux/flax/f9"):
        beginning(caux(), seed=1, start_ns=START_NS, scenario=replace(NORMAL, lines=("caux/flax/f9",)))


BARE = """
filiere: 1
site: {id: ici, label: {fr: Ici, en: Here}, issuer: Atelier, timezone: Europe/Paris}
materials:
  wood: {label: {fr: Bois, en: Wood}, moisture: 0.2}
  chips: {label: {fr: Plaquettes, en: Chips}, moisture: 0.1}
  dust: {label: {fr: Poussière, en: Dust}, moisture: 0.1}
workshops:
  - id: atelier
    label: {fr: Atelier, en: Workshop}
    lines:
      - id: l1
        label: {fr: Ligne, en: Line}
        units:
          - id: chipper
            label: {fr: Broyeur, en: Chipper}
            simulator: {model: MODEL}
            signals:
              - {id: speed, label: {fr: Vitesse, en: Speed}, unit: /min, period_s: 1, range: [0, 100], resolution: 0.1}
              - {id: bearing, label: {fr: Palier, en: Bearing}, unit: Cel, period_s: 60, range: [0, 200],
                 resolution: 0.5, limits: {low: 20, high: 90}}
        steps:
          - id: chipping
            label: {fr: Broyage, en: Chipping}
            product: chips
            residues: [dust]
            units: [chipper]
            certified: true
            recipes:
              - {id: r, label: {fr: R, en: R}, ingredients: [{material: wood, share: 1}], targets: {chipper.speed: 50}}
"""


def test_a_third_filiere_without_any_parameter_runs_too():
    plant = parse_plant(BARE.replace("{model: MODEL}", "{}").encode(), "bare.yaml")
    publications = list(simulate(plant, seed=1, start_ns=START_NS, lots=2))
    speeds = [
        value
        for each in publications
        if each.topic.endswith("readings")
        for value in decode_readings(each.payload).values["speed"]
    ]
    assert max(speeds) == pytest.approx(50, abs=3)
    bearing = [
        value
        for each in publications
        if each.topic.endswith("readings")
        for value in decode_readings(each.payload).values["bearing"]
    ]
    assert sum(value is not None for value in bearing) == pytest.approx(len(bearing) / 60, abs=2)


def test_a_misspelled_model_is_refused_with_the_known_ones():
    plant = parse_plant(BARE.replace("MODEL", "chippper").encode(), "bare.yaml")
    start = beginning(plant, seed=1, start_ns=START_NS)
    with pytest.raises(PlantError, match="extruder"):
        run_cycle(plant, start.lines["ici/atelier/l1"].cycle, start)
