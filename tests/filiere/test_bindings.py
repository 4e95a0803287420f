"""Bindings of a plant file: what is read, what is refused, which topics they take."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiere.bindings import PATH_PARTS_MAX, filters_by_line, overlap, parse_path, path_text
from filiere.errors import PlantError
from filiere.plant_file import load_plant, parse_plant
from tests.collector.foreign_messages import LINE, binding, page_bindings, plant, plant_text

KEY = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
PATH = st.lists(st.one_of(KEY, st.integers(0, 999_999)), min_size=1, max_size=PATH_PARTS_MAX).map(tuple)
LEVEL = st.sampled_from(["a", "b", "c", "+"])


def test_a_plant_without_bindings_has_none():
    assert load_plant("caux").bindings == ()


def test_the_digest_covers_the_bindings():
    assert plant().digest != plant(binding()).digest


@given(PATH)
def test_a_path_is_read_back_as_it_was_written(path):
    assert parse_path(path_text(path)) == path


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("Time", ("Time",)),
        ("ENERGY.Power", ("ENERGY", "Power")),
        ("switch:0.apower", ("switch:0", "apower")),
        ('params."switch:0".apower', ("params", "switch:0", "apower")),
        ('params["a.b"][0]', ("params", "a.b", 0)),
        ("[2].t", (2, "t")),
        ("sensors[0][1].value of it", ("sensors", 0, 1, "value of it")),
    ],
)
def test_a_path_as_people_write_it(text, path):
    assert parse_path(text) == path


@pytest.mark.parametrize(
    "text", ["", ".a", "a.", "a..b", "a[b]", "a[-1]", "a[", 'a"b"', "a b ", '"\\q"', "a.[0]", "a[0]b"]
)
def test_what_is_no_path_is_refused(text):
    with pytest.raises(ValueError, match="expected"):
        parse_path(text)


def test_only_the_topics_of_known_devices_are_asked_for():
    two = binding(topic="tele/{name}/SENSOR", device=f"{{level: name, map: {{a: {LINE}/bagging, b: {LINE}/bagging}}}}")
    assert filters_by_line(plant(two).bindings) == {LINE: ("tele/a/SENSOR", "tele/b/SENSOR")}
    assert filters_by_line(plant(binding(topic="a/+/{_}/{house}/b")).bindings) == {LINE: ("a/+/+/+/b",)}


def test_only_the_topics_of_known_signals_are_asked_for():
    what = binding(topic="scale/{what}", signals="batch_weight: {path: w, unit: kg, when: {what: weight}}")
    assert filters_by_line(plant(what).bindings) == {LINE: ("scale/weight",)}


def test_the_births_of_a_sparkplug_node_are_asked_for_with_its_data():
    press = next(text for text in page_bindings() if "sparkplug" in text)
    assert set(filters_by_line(plant(press).bindings)[LINE]) == {
        *(f"spBv1.0/Atelier/{kind}/presse-1/extruder" for kind in ("DDATA", "DBIRTH", "DDEATH")),
        *(f"spBv1.0/Atelier/{kind}/presse-1" for kind in ("NBIRTH", "NDEATH")),
    }


@given(st.lists(LEVEL, min_size=1, max_size=4), st.lists(LEVEL, min_size=1, max_size=4))
def test_two_topics_meet_where_one_topic_fits_both(left, right):
    one, other = (plant(binding(topic="/".join(["t", *levels]))).bindings[0] for levels in (left, right))
    shared = overlap(one, other)
    assert (shared is None) == (overlap(other, one) is None)
    fits = len(left) == len(right) and all("+" in pair or pair[0] == pair[1] for pair in zip(left, right, strict=True))
    assert (shared is not None) == fits
    if shared is not None:
        topic = shared.replace("+", "c").split("/")
        assert one.mismatch(topic) is None
        assert other.mismatch(topic) is None


def test_two_bindings_for_one_topic_are_refused_with_the_topic():
    second = binding(topic="tele/+/SENSOR").replace("id: b", "id: c")
    with pytest.raises(PlantError, match=r"plant\.yaml:\d+: plant\.bindings\[1\]: .* binding 'b' at tele/a/SENSOR"):
        plant(binding(topic="{what}/a/SENSOR").replace("{what}", "tele"), second)


def test_two_bindings_may_share_a_pattern_where_their_devices_differ():
    one = binding(topic="tele/{name}/SENSOR", device=f"{{level: name, map: {{a: {LINE}/bagging}}}}")
    assert len(plant(one, one.replace("id: b", "id: c").replace("{a:", "{b:")).bindings) == 2


WRONG = [
    ("topic: x", "topic: 'tele/#'", "# would take what nobody has described"),
    ("topic: x", "topic: 'tele/#/x'", "expected each level by name"),
    ("topic: x", "topic: $SYS/broker", "are the broker's own"),
    ("topic: x", "topic: $share/g/x", "are the broker's own"),
    ("topic: x", "topic: 'a+/b'", "stand for a whole level"),
    ("topic: x", "topic: 'a{name}/b'", "stand for a whole level"),
    ("topic: x", "topic: '{a}/{a}'", "each {name} once"),
    ("topic: x", 'topic: "a\\0b"', "printable characters"),
    ("topic: x", "topic: filiere/v1/caux/textile/t1/bagging/readings", "outside filiere/v1/"),
    ("topic: x", "topic: '+/+/caux'", "outside filiere/v1/"),
    ("payload: json", "payload: xml", "one of number, json, sparkplug"),
    ("payload: json", "payload: sparkplug", "spBv1.0/GROUP/DDATA/NODE/DEVICE"),
    ("payload: json", "payload: number", "got this field; expected one of unit"),
    ("device: caux/textile/t1/bagging", "device: caux/textile/t1/nothing", "got device 'caux/textile/t1/nothing'"),
    (
        "device: caux/textile/t1/bagging",
        "device: {level: name, map: {a: caux/textile/t1/bagging}}",
        "a named level of the topic",
    ),
    ("batch_weight:", "weight:", "got signal 'weight'; expected one that caux/textile/t1/bagging has"),
    ("unit: kg", "unit: kilo", "expected a UCUM code"),
    ("unit: kg", "unit: Cel", "one that converts to 'kg', the unit of caux/textile/t1/bagging.batch_weight"),
    ("unit: kg", "unit: {path: u, map: {}}", "got an empty map"),
    ("unit: kg", "unit: {path: u, map: {C: Cel}}", "one that converts to 'kg'"),
    ("path: w, unit: kg", "unit: kg", "got no path"),
    ("path: w,", "path: 'w..x',", "expected a path into the JSON"),
    ("unit: kg", "unit: kg, scale: 0", "a number that keeps the value"),
    ("unit: kg", "unit: kg, scale: .nan", "expected a number"),
    ("unit: kg", "unit: kg, offset: true", "expected a number"),
    ("unit: kg", "unit: kg, text: maybe", "expected true or false"),
    ("unit: kg", "unit: kg, text: true, map: {on: 1}", "one of them"),
    ("unit: kg", "unit: kg, map: {on: yes}", "expected a number"),
    ("unit: kg", "unit: kg, when: {what: weight}", "a named level of the topic: none"),
    ("payload: json", "payload: json\n    time: {path: t, format: local}", "got a local time without a zone"),
    ("payload: json", "payload: json\n    time: {path: t, format: local, zone: Paris}", "a zone of the IANA database"),
    ("payload: json", "payload: json\n    time: {path: t, format: unix_s, zone: Europe/Paris}", "the same everywhere"),
    ("payload: json", "payload: json\n    time: {path: t, format: iso}", "one of rfc3339, unix_s, unix_ms, local"),
    ("- id: b", "- id: B", "expected an id"),
    ("payload: json", "payload: json\n    time: {path: t..u, format: unix_s}", "expected a path into the JSON"),
    ("topic: x", "topic: x/{what}\n    time: {path: t, format: unix_s, why: x}", "got this field"),
]


@pytest.mark.parametrize(("old", "new", "words"), WRONG)
def test_a_wrong_binding_is_told_with_its_line(old, new, words):
    good = plant_text(binding().replace('"x"', "x"))
    at = good.index("bindings:")
    body = good[:at] + good[at:].replace(old, new, 1)
    assert body != good
    with pytest.raises(PlantError, match=re.escape(words)) as caught:
        parse_plant(body.encode(), "plant.yaml")
    told = re.match(r"plant\.yaml:(\d+): plant\.bindings", str(caught.value))
    assert told is not None
    assert abs(int(told[1]) - good[: good.index(old, at)].count("\n") - 1) <= 4


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (binding(signals="{}"), "got no signal; expected at least one"),
        (
            binding(payload="number", signals="batch_weight: {unit: kg}", more="time: {path: t, format: unix_s}"),
            "no time",
        ),
        (binding(topic="a/{n}", device=f"{{level: n, map: {{a/b: {LINE}/bagging}}}}"), "one level of a topic"),
        (binding(topic="a/{n}", signals="batch_weight: {path: w, unit: kg, when: {n: '+'}}"), "one level of a topic"),
        (binding(topic="{n}/a/b", device=f"{{level: n, map: {{$share: {LINE}/bagging}}}}"), "no \\$ in front"),
        (binding(topic="a/{n}", device="{level: n, map: {}}"), "got an empty map"),
        ("  [1]\n", "expected a mapping"),
        ("  {}\n", "expected a list"),
    ],
)
def test_what_makes_no_sense_as_a_whole_is_refused(wrong, words):
    with pytest.raises(PlantError, match=words):
        plant(wrong)


def test_two_signals_from_one_place_are_refused():
    both = binding(device=f"{LINE}/dryer", signals="power: {path: w, unit: W}\n      energy: {path: w, unit: kW.h}")
    with pytest.raises(PlantError, match="power and energy from the same place"):
        plant(both)


def test_two_bindings_of_one_id_are_refused():
    with pytest.raises(PlantError, match="id 'b' twice"):
        plant(binding(), binding(topic="y"))


def test_a_binding_of_more_topics_than_a_broker_should_be_asked_for_is_refused():
    words = ", ".join(f"w{number}: {LINE}/bagging" for number in range(1001))
    with pytest.raises(PlantError, match="got 1001 topics; expected at most 1000"):
        plant(binding(topic="tele/{name}", device=f"{{level: name, map: {{{words}}}}}"))
