"""Scenario files: what is read, and what is told of one that is wrong."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given

from filiere.errors import ScenarioError
from simulators.faults.catalogue import KINDS
from simulators.faults.fault import Fault, Onset
from simulators.line.simulation import beginning
from simulators.scenarios.scenario import Scenario
from simulators.scenarios.scenario_file import (
    UNIT_S,
    duration_text,
    fault_document,
    load_scenario,
    parse_fault,
    parse_scenario,
    shipped,
)
from tests.simulators.builders import FLAX, START_NS, TEXTILE, caux
from tests.simulators.strategies import any_fault, seconds

HEAD = """\
scenario: 1
id: mine
label: {fr: "Le mien", en: "Mine"}
summary: {fr: "Un essai.", en: "A trial."}
"""
CLOG = "  - {kind: screen_clog, line: caux/textile/t1, target: extruder, onset: 3 h, duration: 2 h, severity: 12}\n"


def read(more: str = "", head: str = HEAD) -> Scenario:
    return parse_scenario((head + more).encode(), "mine.yaml", caux())


def fault(more: str = "", **changes: str) -> Fault:
    fields = {"kind": "screen_clog", "line": TEXTILE, "target": "extruder"} | changes
    text = ", ".join(f"{name}: {value}" for name, value in fields.items() if value)
    return read(f"faults:\n  - {{{text}{more}}}\n").faults[0]


# ---------------------------------------------------------------------------------------------------------- shipped


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_scenario_is_in_order_and_ends(name: str):
    found = load_scenario(name, caux())
    assert found.id == name
    assert found.lots is not None or found.days is not None
    assert beginning(caux(), seed=1, start_ns=START_NS, scenario=found).scenario_digest == found.digest


@pytest.mark.parametrize("name", shipped())
def test_every_fault_of_a_shipped_scenario_begins_before_its_end(name: str):
    found = load_scenario(name, caux())
    for each in found.faults:
        if each.onset.lot is not None:
            assert each.onset.lot <= (found.lots or 0)
        elif found.days is not None:
            assert each.onset.after_s < found.days * UNIT_S["d"]


def test_the_shipped_scenarios_show_every_kind_of_fault():
    shown = {each.kind for name in shipped() for each in load_scenario(name, caux()).faults}
    assert shown == set(KINDS)


def test_the_month_has_sixty_lots_on_working_days_and_leaves_the_first_ten_alone():
    month = load_scenario("full-month", caux())
    assert month.lots == 60
    assert month.calendar is not None
    assert month.calendar.days == frozenset(range(5))
    assert month.calendar.lots_a_day * 20 == 60
    assert min(each.onset.lot or 0 for each in month.faults) > 10


def test_the_page_on_scenarios_has_a_file_that_is_read_and_names_all_that_are_shipped():
    page = (Path(__file__).parents[3] / "docs" / "scenarios.md").read_text("utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    found = parse_scenario(example.encode(), "mine.yaml", caux())
    assert found.faults[0].onset == Onset(after_s=1200, lot=2, step="extrusion")
    assert set(re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE)) == set(shipped())
    (told,) = re.findall(r"^mine\.yaml.*$", page, re.MULTILINE)
    with pytest.raises(ScenarioError) as refused:
        parse_scenario(example.replace("target: extruder ", "target: oven ").encode(), "mine.yaml", caux())
    assert str(refused.value) == told


# ------------------------------------------------------------------------------------------------------------- read


def test_all_fields_are_read():
    found = read(
        "seed: 7\nstart: 2026-03-02T06:00:00+01:00\nlots: 3\ndays: 2.5\nlines: [caux/flax/f1, caux/textile/t1]\n"
        'calendar: {days: [mon, sat], start: "06:30", lots_a_day: 2}\n'
    )
    assert (found.seed, found.lots, found.days, found.lines) == (7, 3, 2.5, (FLAX, TEXTILE))
    assert found.start_ns == 1_772_427_600_000_000_000
    assert found.calendar is not None
    assert (found.calendar.days, found.calendar.start_minute, found.calendar.lots_a_day) == ({0, 5}, 390, 2)


def test_a_fault_is_read_with_its_usual_severity_label_and_duration():
    found = fault()
    assert found == type(found)(
        label="screen_clog", line=TEXTILE, target="extruder", onset=Onset(after_s=0), severity=10
    )
    restart = fault(kind="device_restart")
    assert (restart.duration_s, math.isnan(restart.severity)) == (20.0, True)


def test_an_onset_counts_from_the_beginning_or_from_a_lot():
    assert fault(", onset: 90 min").onset == Onset(after_s=5400)
    assert fault(", onset: {after: 1.5 h}").onset == Onset(after_s=5400)
    onset = fault(", onset: {lot: 2, step: extrusion, after: 20 min}").onset
    assert onset == Onset(lot=2, step="extrusion", after_s=1200)


def test_a_fault_without_a_label_gets_a_free_one():
    second = CLOG.replace("3 h", "9 h")
    found = read("faults:\n" + CLOG + second + CLOG.replace("3 h", "18 h").replace("kind", "label: mine, kind"))
    assert [each.label for each in found.faults] == ["screen_clog", "screen_clog-2", "mine"]


def test_the_largest_seed_is_read_to_its_last_digit_and_noughts_before_a_number_are_none():
    assert read("seed: 9223372036854775807\n").seed == 2**63 - 1
    assert read(f"seed: {'0' * 5000}7\n").seed == 7


def test_a_thousand_faults_without_a_label_get_a_thousand():
    many = "".join(CLOG.replace("3 h, duration: 2 h", f"{i} h, duration: 1 h") for i in range(1000))
    assert len({each.label for each in read("faults:\n" + many).faults}) == 1000


def test_the_digest_is_of_the_bytes():
    assert read().digest != read("# another comment\n").digest


# ------------------------------------------------------------------------------------------------------------ wrong


WRONG = [
    ("seed: 1.5", "mine.yaml:5: scenario.seed: got '1.5'; expected a whole number"),
    ("seed: -1", "scenario.seed: got '-1'"),
    ("seed: 9223372036854775808", "expected a whole number from 0 to 9223372036854775807"),
    (f"seed: {'9' * 5000}", "scenario.seed: got '999"),
    ("lots: 0", "scenario.lots: got '0'; expected a whole number from 1 to 100000"),
    ("lots: true", "scenario.lots: got 'true'; expected a number"),
    ("days: 0", "scenario.days: got 0; expected more than 0 days"),
    ("days: .nan", "scenario.days: got '.nan'; expected a number"),
    ("days: 1e308", "scenario.days: got '1e308'; expected a number from 0 to 36500"),
    ("start: 2026-03-02", "scenario.start"),
    ("start: 2026-03-02T06:00:00", "scenario.start: got a local time without offset"),
    ("start: 1970-01-01T00:00:00Z", "scenario.start: got '1970-01-01T00:00:00Z'; expected a time from the year 2000"),
    ("start: 9999-12-31T23:59:59Z", "expected a time from the year 2000 to 2199"),
    ("lines: []", "scenario.lines: got an empty list; expected at least one line"),
    ("lines: [caux/textile/t2]", "got line 'caux/textile/t2'; expected one of caux/textile/t1"),
    ("lines: [caux/flax/f1, caux/flax/f1]", "got line caux/flax/f1 twice"),
    ("lines: caux/flax/f1", "scenario.lines: got 'caux/flax/f1'; expected a list"),
    ('calendar: {days: [monday], start: "06:00", lots_a_day: 2}', "got 'monday'; expected one of mon, tue"),
    ('calendar: {days: [], start: "06:00", lots_a_day: 2}', "scenario.calendar.days: got an empty list"),
    ('calendar: {days: [mon], start: "25:00", lots_a_day: 2}', "scenario.calendar.start: got '25:00'"),
    ('calendar: {days: [mon], start: "06:00"}', "scenario.calendar: got no lots_a_day; expected lots_a_day: add it"),
    ("colour: red", "mine.yaml:5: scenario.colour: got this field; expected one of scenario, id"),
    ("lots: 1\nlots: 2", "mine.yaml:6: scenario.lots: got this name twice"),
    ("faults: 3", "scenario.faults: got '3'; expected a list"),
    ("faults: [clog]", "mine.yaml:5: scenario.faults[0]: got 'clog'; expected a mapping"),
    ("faults: [{line: caux/textile/t1}]", "scenario.faults[0]: got no kind; expected kind: add it"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_a_wrong_field_is_told_with_its_line(text: str, message: str):
    with pytest.raises(ScenarioError) as refused:
        read(text + "\n")
    assert message in str(refused.value)
    assert str(refused.value).startswith("mine.yaml:")


WRONG_FAULTS = [
    ({"kind": "screen_clogged"}, "", "kind: got kind 'screen_clogged'; expected one of heater_open"),
    ({"kind": "screen_clogged"}, "", "did you mean screen_clog?"),
    ({"line": "caux/textile/t9"}, "", "line: got line 'caux/textile/t9'; expected one of caux/textile/t1"),
    ({"target": "oven"}, "", "target: got target 'oven'; expected one of extruder"),
    ({"kind": "sensor_drift", "target": "extruder.colour"}, "", "target: got target 'extruder.colour'"),
    ({"line": "caux/flax/f1"}, "", "nothing on caux/flax/f1 can have screen_clog"),
    ({"kind": "label_swap"}, "", "expected none: label_swap is of the whole line"),
    ({}, ", duration: -5 min", "duration: got '-5 min'; expected a duration, more than 0: a number and s, min, h or d"),
    ({}, ", duration: 0 s", "duration: got '0 s'; expected a duration, more than 0"),
    ({}, ", duration: 5", "duration: got '5'; expected a duration"),
    ({}, ", duration: 5 weeks", "duration: got '5 weeks'; expected a duration"),
    ({}, ", duration: 1e308 d", "duration: got '1e308 d'; expected a duration"),
    ({}, ", duration: .inf", "duration: got '.inf'; expected a duration"),
    ({}, ", onset: -3 h", "onset: got '-3 h'; expected a duration, 0 or more"),
    ({}, ", onset: {lot: 0}", "onset.lot: got '0'"),
    ({}, ", onset: {lot: 1, step: baking}", "onset: got step 'baking'; expected one of sorting, extrusion"),
    ({}, ", onset: {step: extrusion}", "onset: got step 'extrusion' without a lot"),
    ({}, ", onset: {at: 3 h}", "onset.at: got this field"),
    ({}, ", severity: .nan", "severity: got '.nan'; expected a number"),
    ({}, ", severity: 0.2", "severity: got 0.2; expected a finite number, at least 1"),
    ({}, ", severity: bad", "severity: got 'bad'; expected a number"),
    ({"kind": "sensor_stuck", "target": "extruder.melt_temp"}, ", severity: 1", "severity: got 1; expected none"),
    ({}, ', label: "no good"', "label: got 'no good'; expected an id"),
]


@pytest.mark.parametrize(("changes", "more", "message"), WRONG_FAULTS)
def test_a_wrong_fault_is_told_with_its_line_and_field(changes: dict[str, str], more: str, message: str):
    with pytest.raises(ScenarioError) as refused:
        fault(more, **changes)
    assert message in str(refused.value)
    assert str(refused.value).startswith("mine.yaml:6: scenario.faults[0].")


def test_faults_that_exclude_each_other_at_one_place_and_time_are_refused():
    line, zone = "line: caux/textile/t1", "target: extruder.barrel_temp_z3"
    first = f"  - {{kind: heater_open, {line}, {zone}, onset: 1 h, duration: 2 h}}\n"
    second = f"  - {{kind: relay_stuck_on, {line}, {zone}, onset: 2 h, duration: 2 h}}\n"
    with pytest.raises(ScenarioError) as refused:
        read("faults:\n" + first + second)
    assert str(refused.value).startswith("mine.yaml:7: scenario.faults[1]: got relay_stuck_on")
    assert "heater_open (heater_open, line 6) is there" in str(refused.value)
    assert len(read("faults:\n" + first + second.replace("onset: 2 h", "onset: 3 h")).faults) == 2


def test_a_label_twice_a_line_left_out_and_a_lot_after_the_last_are_refused():
    labelled = CLOG.replace("kind", "label: one, kind")
    with pytest.raises(ScenarioError, match=r"mine\.yaml:7: .*got label 'one' twice"):
        read("faults:\n" + labelled + labelled.replace("3 h", "9 h"))
    with pytest.raises(ScenarioError, match="expected a line of this scenario: caux/flax/f1"):
        read("lines: [caux/flax/f1]\nfaults:\n" + CLOG)
    with pytest.raises(ScenarioError, match="got lot 4; expected at most 3"):
        read("lots: 3\nfaults:\n" + CLOG.replace("3 h", "{lot: 4}"))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "mine.yaml: the file is empty; expected a scenario"),
        (b"# nothing\n", "the file is empty"),
        (b"- 1\n", "mine.yaml:1: scenario: got a list; expected a mapping"),
        (HEAD.encode()[:-20], "mine.yaml:"),
        (b"scenario: 1\nid: \xff\xfe", "mine.yaml:2: byte 16 is not UTF-8"),
        (b"scenario: 1\nid: a\0b\n", "mine.yaml:2: not YAML: character U+0000"),
        (b"scenario: 2\n" + HEAD.encode().partition(b"\n")[2], "got '2'; expected 1, the version of this format"),
        (b"scenario: " + b"[" * 60 + b"]" * 60, "nested deeper than 40"),
        (b"scenario: &a 1\nid: *a\n", "got an alias"),
        (b"#" * (10 * 1024 * 1024), "expected a scenario file of some kilobytes"),
    ],
)
def test_a_file_that_is_no_scenario_is_refused_in_one_line(body: bytes, message: str):
    with pytest.raises(ScenarioError) as refused:
        parse_scenario(body, "mine.yaml", caux())
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["no-such", "/no/such/file.yaml", ".", "a\0b", "x" * 5000])
def test_a_scenario_that_is_not_there_is_told_with_those_that_are(name: str):
    with pytest.raises(ScenarioError, match="clogged-screen, dirty-data"):
        load_scenario(name, caux())


def test_a_name_that_is_nearly_right_is_met():
    with pytest.raises(ScenarioError, match="did you mean clogged-screen"):
        load_scenario("clogged_screen", caux())


# ---------------------------------------------------------------------------------------------------- there and back


@given(any_fault())
def test_a_fault_that_is_written_down_is_read_back_the_same(written: Fault):
    body = json.dumps(fault_document(written)).encode()
    found = parse_fault(body, "order", caux())
    assert type(found) is type(written)
    assert math.isnan(found.severity) == math.isnan(written.severity)
    assert replace(found, severity=0.0) == replace(written, severity=0.0)
    assert math.isnan(written.severity) or found.severity == written.severity


@given(seconds(1e7))
def test_a_duration_in_words_is_the_same_duration(seconds: float):
    number, _, unit = duration_text(seconds).partition(" ")
    assert float(number) * UNIT_S[unit] == seconds


def test_durations_are_told_in_their_largest_whole_unit():
    assert [duration_text(each) for each in (0, 20, 90, 5400, 7200, 172_800)] == [
        *("0 s", "20 s", "90 s", "90 min", "2 h", "2 d"),
    ]


def test_a_fault_of_an_order_takes_the_label_and_onset_that_it_does_not_name():
    body = b'{"kind": "screen_clog", "line": "caux/textile/t1", "target": "extruder"}'
    found = parse_fault(body, "order", caux(), label="live-1", onset=Onset(after_s=77.0))
    assert (found.label, found.onset) == ("live-1", Onset(after_s=77.0))
