import re
from pathlib import Path

import pytest
import yaml

from filiere.errors import NotFound, PlantError
from filiere.plant import Limits, limits_of
from filiere.plant_file import load_plant, parse_plant
from filiere.yaml_node import BYTES_MAX, read_yaml

THIRD_FILIERE = Path(__file__).with_name("third_filiere.yaml")


def test_the_packaged_plant_has_the_two_workshops():
    plant = load_plant("caux")
    assert [line.path for line in plant.lines] == ["caux/textile/t1", "caux/flax/f1"]
    textile, flax = plant.lines
    assert [step.id for step in textile.steps] == ["sorting", "extrusion"]
    assert [step.id for step in flax.steps] == ["compounding"]


def test_every_signal_of_the_packaged_plant_has_limits_inside_its_range():
    for line in load_plant("caux").lines:
        for step in line.steps:
            for recipe in step.recipes:
                for signal in line.signals_of(step):
                    limits = limits_of(signal, recipe)
                    for limit in (limits.low, limits.high):
                        assert limit is None or signal.range_low <= limit <= signal.range_high


def test_a_recipe_s_limits_go_before_the_signal_s_own():
    line = load_plant("caux").line("caux/textile/t1")
    recipe = line.step("extrusion").recipe("pp-gris")
    assert limits_of(line.signal("extruder.barrel_temp_z1"), recipe) == Limits(low=187, high=203)
    assert limits_of(line.signal("extruder.melt_pressure"), recipe) == Limits(high=120)


def test_a_third_filiere_is_a_file_and_no_code():
    plant = load_plant(str(THIRD_FILIERE))
    assert [line.path for line in plant.lines] == ["rouen/wood/w1"]


@pytest.mark.parametrize("ask", ["line", "unit", "step", "signal", "recipe"])
def test_asking_for_what_is_not_there_lists_what_is(ask):
    plant = load_plant("caux")
    line = plant.lines[0]
    holder = {"line": plant, "recipe": line.steps[0]}.get(ask, line)
    with pytest.raises(NotFound, match="known: "):
        getattr(holder, ask)("nothing")


def broken(old: str, new: str) -> tuple[bytes, int]:
    """The third filière with one text replaced, and the line where it stood."""
    text = THIRD_FILIERE.read_text(encoding="utf-8")
    assert old in text
    return text.replace(old, new, 1).encode(), text[: text.index(old)].count("\n") + 1


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("filiere: 1", "filiere: 2", "got '2'; expected 1"),
        ("filiere: 1", "filiere: one", "expected 1, the version|expected a number"),
        ("timezone: Europe/Paris", "timezone: Mars/Olympus", "expected a zone of the IANA database"),
        ("timezone: Europe/Paris", "timezon: Europe/Paris", "got this field; expected one of"),
        ("id: w1", "id: W 1", "expected an id"),
        ("id: w1", "id: w1\n        id: w2", "got this name twice"),
        ("id: plate_temp", "id: time", "time and q_… are the store's own"),
        ("id: plate_temp", "id: q_temp", "time and q_… are the store's own"),
        ("unit: Cel", "unit: degrees", "expected a UCUM code"),
        ("period_s: 2", "period_s: -2", "expected a number from 0.001"),
        ("period_s: 2", "period_s: .nan", "expected a number from 0.001"),
        ("period_s: 2", "period_s: .inf", "expected a number"),
        ("period_s: 2", "period_s: true", "expected a number"),
        ("range: [0, 300]", "range: [300, 0]", "expected low below high"),
        ("range: [0, 300]", "range: [0]", "expected \\[low, high\\]"),
        ("critical: true", "critical: perhaps", "expected true or false"),
        ("share: 0.6", "share: 0.5", "shares that add up to 0.9; expected 1"),
        ("product: board", "product: bord", "got material 'bord'; expected one of"),
        ("units: [press]", "units: [pres]", "got unit 'pres'; expected one of press"),
        ("press.plate_temp: {low: 170", "press.plate: {low: 170", "expected unit.signal of this line"),
        ("press.plate_temp: 180", "press.plate_temp: 1800", "expected a number from 0 to 300"),
        ("low: 170, high: 190", "low: 190, high: 170", "expected low below high"),
        ("fr: Presse", "fr: ", "got nothing; expected a text"),
        ("residues: [dust]", "residues: dust", "expected a list"),
    ],
)
def test_a_wrong_field_is_told_with_its_line(old, new, words):
    body, line = broken(old, new)
    with pytest.raises(PlantError, match=words) as caught:
        parse_plant(body, "third.yaml")
    told = re.match(r"third\.yaml:(\d+): ", str(caught.value))
    assert told is not None
    assert abs(int(told[1]) - line) <= 1


@pytest.mark.parametrize(("written", "meant"), [("1e-05", 1e-05), ("2E3", 2000.0), ('"1e5"', "1e5"), ("e5", "e5")])
def test_a_number_with_an_exponent_is_a_number_though_it_has_no_point(written, meant):
    node = dict(read_yaml(f"a: {written}".encode(), "x.yaml", "x", PlantError, empty="").entries())["a"]
    assert node.parameter() == meant


def test_two_units_of_one_id_are_refused():
    text = THIRD_FILIERE.read_text(encoding="utf-8")
    unit = text[text.index("          - id: press") : text.index("        steps:")]
    with pytest.raises(PlantError, match="id 'press' twice"):
        parse_plant(text.replace(unit, unit + unit).encode(), "third.yaml")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "the file is empty"),
        (b"# only a comment\n", "the file is empty"),
        (b"filiere: 1\n", "got no site; expected site: add it"),
        (b"[1, 2]", "got a list; expected a mapping"),
        (b"a: [1,\nb: }", "third.yaml:2: not YAML"),
        (b"a: \xff", "is not UTF-8"),
        (b"a: \0", "not YAML"),
        (b"[" * 10_000, "nested deeper than"),
        (b"a: &x 1\nb: *x", "got an alias"),
        (b"#" * (BYTES_MAX + 1), "expected a plant file of some kilobytes"),
    ],
)
def test_a_file_that_is_no_plant_is_refused(body, words):
    with pytest.raises(PlantError, match=words):
        parse_plant(body, "third.yaml")


def test_a_missing_file_names_the_packaged_plants():
    with pytest.raises(PlantError, match="expected a path to a plant file, or one of: caux"):
        load_plant("no/such/plant.yaml")


def test_the_digest_is_that_of_the_file():
    body = THIRD_FILIERE.read_bytes()
    assert parse_plant(body, "a").digest == parse_plant(body, "b").digest
    assert parse_plant(body, "a").digest != parse_plant(body + b"\n", "a").digest


def test_the_third_filiere_has_no_key_that_yaml_would_drop():
    assert yaml.safe_load(THIRD_FILIERE.read_text(encoding="utf-8"))["filiere"] == 1
