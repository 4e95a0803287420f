"""Which faults there are, what they can be aimed at, and which are impossible."""

import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiere.errors import ScenarioError
from filiere.plant_file import parse_plant
from simulators.faults.catalogue import KINDS, WrongFault, check, overlap, targets
from simulators.faults.fault import Fault, Layer, Onset, ProcessFault, Severity, Target
from simulators.faults.network import Dropped, Outage
from simulators.faults.operators import LabelSwap
from simulators.faults.process import (
    FeederBridge,
    FeederStarve,
    HeaterOpen,
    RefillSurge,
    RelayStuckOn,
    ScreenClog,
    WetFeed,
    WrongPolymer,
)
from simulators.faults.sensors import (
    ClockSkew,
    DeviceRestart,
    ScaleTareDrift,
    SensorDrift,
    SensorStuck,
    Sentinel,
    UnitError,
)
from tests.simulators.faults.builders import FLAX, TEXTILE, caux, fault

DOCS = Path(__file__).parents[3] / "docs" / "faults.md"
LINES = (TEXTILE, FLAX)
ALL_KINDS = pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
WOOD = """
filiere: 1
site: {id: ici, label: {fr: Ici, en: Here}, issuer: Atelier, timezone: Europe/Paris}
materials:
  wood: {label: {fr: Bois, en: Wood}, moisture: 0.2}
  chips: {label: {fr: Plaquettes, en: Chips}, moisture: 0.1}
workshops:
  - id: atelier
    label: {fr: Atelier, en: Workshop}
    lines:
      - id: l1
        label: {fr: Ligne, en: Line}
        units:
          - id: chipper
            label: {fr: Broyeur, en: Chipper}
            signals:
              - {id: level, label: {fr: Niveau, en: Level}, unit: m, period_s: 1, range: [0, 100], resolution: 0.1}
        steps:
          - id: chipping
            label: {fr: Broyage, en: Chipping}
            product: chips
            residues: []
            units: [chipper]
            certified: true
            recipes:
              - {id: r, label: {fr: R, en: R}, ingredients: [{material: wood, share: 1}], targets: {}}
"""


@ALL_KINDS
def test_every_kind_says_what_it_is_in_both_languages(kind: type[Fault]):
    assert re.fullmatch(r"[a-z][a-z0-9_]*", kind.kind)
    assert kind.words.fr
    assert kind.words.en
    assert kind.words.fr != kind.words.en
    assert isinstance(kind.layer, Layer)
    assert kind.__doc__
    if kind.scale is not None:
        assert kind.scale.low <= kind.scale.usual <= kind.scale.high


@ALL_KINDS
def test_every_kind_can_be_had_on_one_of_the_two_lines_and_is_then_in_order(kind: type[Fault]):
    places = [(line.path, target) for line in caux().lines for target in targets(kind, line)]
    assert places
    for line, target in places:
        check(fault(kind, line=line, target=target), caux())


@ALL_KINDS
def test_a_fault_without_a_target_is_everywhere_on_the_line_that_can_have_it(kind: type[Fault]):
    line = next(line for line in caux().lines if targets(kind, line))
    check(fault(kind, line=line.path), caux())


@pytest.mark.parametrize(
    ("kind", "line", "expected"),
    [
        (HeaterOpen, TEXTILE, {f"extruder.barrel_temp_z{zone}" for zone in range(1, 6)}),
        (ScreenClog, TEXTILE, {"extruder"}),
        (ScreenClog, FLAX, set()),
        (FeederStarve, TEXTILE, {"extruder.throughput"}),
        (FeederStarve, FLAX, {"feeders.fibre_feed", "feeders.polymer_feed"}),
        (FeederBridge, TEXTILE, set()),
        (RefillSurge, FLAX, {"feeders"}),
        (WetFeed, TEXTILE, {"dryer"}),
        (WrongPolymer, FLAX, {"extruder"}),
        (ScaleTareDrift, FLAX, {"feeders.hopper_weight", "bagging.batch_weight"}),
        (LabelSwap, FLAX, {""}),
    ],
)
def test_a_kind_is_aimed_at_what_can_have_it(kind: type[Fault], line: str, expected: set[str]):
    assert set(targets(kind, caux().line(line))) == expected


def test_only_messages_of_the_terminal_can_go_wrong():
    for kind in KINDS.values():
        assert ("terminal" in targets(kind, caux().line(TEXTILE))) == (kind.layer is Layer.NETWORK)


def test_a_third_filiere_has_the_faults_that_its_machines_can_have():
    plant = parse_plant(WOOD.encode(), "wood.yaml")
    line = plant.line("ici/atelier/l1")
    assert targets(SensorDrift, line) == ("chipper.level",)
    assert not any(targets(kind, line) for kind in (HeaterOpen, WetFeed, UnitError, ScaleTareDrift))
    with pytest.raises(WrongFault, match="nothing on ici/atelier/l1 can have wet_feed"):
        check(fault(WetFeed, line=line.path), plant)


@pytest.mark.parametrize(
    ("wrong", "field", "said"),
    [
        (fault(SensorDrift, label=""), "label", "an id"),
        (fault(SensorDrift, label="two words"), "label", "an id"),
        (fault(SensorDrift, label="a\0b"), "label", "an id"),
        (fault(SensorDrift, line="caux/textile/t9"), "line", "caux/textile/t1"),
        (fault(SensorDrift, line="x" * 10_000), "line", "caux/textile/t1"),
        (fault(SensorDrift, target="extruder.melt_tmp"), "target", "extruder.melt_temp"),
        (fault(SensorDrift, target="extruder."), "target", "extruder.melt_temp"),
        (fault(SensorDrift, target="extru"), "target", "extruder.melt_temp"),
        (fault(ClockSkew, target="terminal"), "target", "one of sorter"),
        (fault(ScreenClog, target="extruder.melt_pressure"), "target", "one of extruder"),
        (fault(ScreenClog, line=FLAX, target="extruder"), "target", "another kind, or another line"),
        (fault(HeaterOpen, target="dryer"), "target", "barrel_temp_z1"),
        (fault(LabelSwap, target="bagging"), "target", "whole line"),
        (fault(SensorDrift, onset=Onset(after_s=-1.0)), "onset", "0 or more"),
        (fault(SensorDrift, onset=Onset(after_s=math.nan)), "onset", "0 or more"),
        (fault(SensorDrift, onset=Onset(after_s=math.inf)), "onset", "0 or more"),
        (fault(SensorDrift, onset=Onset(after_s=0.0, lot=0)), "onset", "1 for the first lot"),
        (fault(SensorDrift, onset=Onset(after_s=0.0, step="sorting")), "onset", "add lot"),
        (fault(SensorDrift, onset=Onset(after_s=0.0, lot=1, step="baking")), "onset", "sorting, extrusion"),
        (fault(SensorDrift, duration_s=0.0), "duration", "more than 0"),
        (fault(SensorDrift, duration_s=-5.0), "duration", "more than 0"),
        (fault(SensorDrift, duration_s=math.nan), "duration", "more than 0"),
        (fault(Outage, duration_s=math.inf), "duration", "has to end; usual 1800 s"),
        (fault(DeviceRestart, duration_s=math.inf), "duration", "has to end"),
        (fault(SensorDrift, severity=math.nan), "severity", "signal/h"),
        (fault(SensorDrift, severity=math.inf), "severity", "usual 0.2"),
        (fault(Sentinel, severity=1e308), "severity", "at most 1e+12"),
        (fault(Dropped, severity=1.5), "severity", "at most 1"),
        (fault(Dropped, severity=-0.1), "severity", "at least 0"),
        (fault(SensorStuck, severity=3.0), "severity", "remove the field"),
    ],
)
def test_an_impossible_fault_says_which_field_what_it_got_and_what_it_expected(wrong: Fault, field: str, said: str):
    with pytest.raises(WrongFault) as raised:
        check(wrong, caux())
    assert raised.value.field == field
    assert said in raised.value.expected
    assert len(str(raised.value)) < 1500
    assert isinstance(raised.value, ScenarioError)


def test_a_severity_is_said_in_the_unit_of_what_it_is_aimed_at():
    drift = SensorDrift.scale
    assert isinstance(drift, Severity)
    assert drift.unit_at(caux().line(TEXTILE).signal("extruder.melt_temp")) == "Cel/h"
    assert drift.unit_at(None) == "signal/h"


# --------------------------------------------------------------------------------------------------------- overlaps


def heater(kind: type[Fault], start_s: float, duration_s: float = 600.0, **changed: object) -> Fault:
    onset = Onset(after_s=start_s, lot=changed.pop("lot", None), step=changed.pop("step", ""))  # type: ignore[arg-type]  # a test gives a number and a text
    return fault(kind, onset=onset, duration_s=duration_s, **{"target": "extruder.barrel_temp_z2", **changed})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (heater(HeaterOpen, 0.0), heater(RelayStuckOn, 599.0)),
        (heater(HeaterOpen, 0.0), heater(HeaterOpen, 300.0)),
        (heater(HeaterOpen, 0.0, target=""), heater(RelayStuckOn, 300.0)),
        (heater(HeaterOpen, 0.0, target="extruder"), heater(RelayStuckOn, 300.0)),
        (heater(HeaterOpen, 0.0, math.inf, lot=2), heater(RelayStuckOn, 300.0, lot=5)),
        (heater(HeaterOpen, 0.0, math.inf), heater(RelayStuckOn, 300.0, lot=1)),
        (heater(HeaterOpen, 60.0, lot=2), heater(RelayStuckOn, 300.0, lot=2)),
        (heater(HeaterOpen, 60.0, lot=2, step="extrusion"), heater(RelayStuckOn, 300.0, lot=2)),
        (heater(HeaterOpen, 0.0, math.inf, lot=2, step="sorting"), heater(RelayStuckOn, 0.0, lot=2, step="extrusion")),
    ],
)
def test_faults_that_exclude_each_other_cannot_be_at_one_target_at_one_time(first: Fault, second: Fault):
    assert overlap([first, second], caux()) == (first, second)
    assert overlap([second, first], caux()) == (first, second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (heater(HeaterOpen, 0.0), heater(RelayStuckOn, 600.0)),
        (heater(HeaterOpen, 0.0), heater(RelayStuckOn, 0.0, target="extruder.barrel_temp_z1")),
        (heater(HeaterOpen, 0.0), heater(RelayStuckOn, 0.0, line=FLAX)),
        (heater(HeaterOpen, 0.0, lot=1), heater(RelayStuckOn, 0.0, lot=2)),
        (heater(HeaterOpen, 0.0), heater(SensorStuck, 0.0)),
        (heater(SensorDrift, 0.0), heater(SensorDrift, 0.0)),
    ],
)
def test_faults_at_other_targets_or_times_and_those_that_add_up_can_be_together(first: Fault, second: Fault):
    assert overlap([first, second], caux()) is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "extruder", "extruder.barrel_temp_z1", "extruder.barrel_temp_z2"]),
            st.integers(0, 50),
            st.integers(1, 20),
        ),
        max_size=8,
    )
)
def test_an_overlap_is_found_whenever_there_is_one(given: list[tuple[str, int, int]]):
    faults = [heater(HeaterOpen, start, length, target=target) for target, start, length in given]
    together = [
        (one, other)
        for i, one in enumerate(faults)
        for other in faults[i + 1 :]
        if max(one.onset.after_s, other.onset.after_s)
        < min(one.onset.after_s + one.duration_s, other.onset.after_s + other.duration_s)
        and (one.target.startswith(other.target) or other.target.startswith(one.target))
    ]
    assert (overlap(faults, caux()) is not None) == bool(together)


def test_ten_thousand_faults_are_compared_in_no_time():
    many = [heater(HeaterOpen, 600.0 * i) for i in range(10_000)]
    assert overlap(many, caux()) is None


def test_every_process_fault_excludes_another_of_its_kind():
    assert all(kind.excludes for kind in KINDS.values() if issubclass(kind, ProcessFault))


# ------------------------------------------------------------------------------------------------------------- docs


AIMS = {"line": Target.LINE, "device": Target.DEVICE, "signal": Target.SIGNAL}


def rows_of_docs() -> dict[str, list[str]]:
    cells = (re.split(r"(?<!\\) \| ", line.strip("| \n")) for line in DOCS.read_text("utf-8").splitlines())
    return {row[0].strip("`"): row for row in cells if row[0].startswith("`") and len(row) > 3}


@ALL_KINDS
def test_the_docs_have_a_row_for_every_kind_with_its_target_and_severity(kind: type[Fault]):
    _, what, aim, severity, concludes = rows_of_docs()[kind.kind]
    assert what.startswith(kind.words.en)
    assert AIMS[re.split(r"\W", aim)[0]] is kind.aims_at
    if kind.scale is None:
        assert severity == "–"
    else:
        assert severity.startswith(f"{kind.scale.label.en}: {kind.scale.usual:g}")
    assert concludes


def test_the_docs_list_the_kinds_in_the_order_of_the_catalogue_and_no_others():
    assert list(rows_of_docs()) == list(KINDS)
