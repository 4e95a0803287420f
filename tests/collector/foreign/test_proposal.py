"""What was heard → a binding to start from, that reads what was heard."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.foreign.births import MemoryBirths
from collector.foreign.proposal import PATHS_MAX, Heard, proposal_yaml, propose, sparkplug_proposals
from collector.foreign.sources import ForeignSources
from collector.foreign.sparkplug import SparkplugDecoder
from filiere.bindings import Payload
from filiere.plant_file import parse_plant
from tests.collector.foreign_messages import FOLDER, LINE, message, recorded

ZONE = "Europe/Paris"


def heard(*messages):
    by_topic = {}
    for each in messages:
        by_topic.setdefault(each.topic.decode(), []).append(each)
    return [Heard(topic=topic, count=len(kept), kept=kept) for topic, kept in by_topic.items()]


def proposed(*messages):
    return propose(heard(*messages), ZONE)


def completed(yaml):
    """A plant with the proposal, its device filled in, and the signals that it names."""
    signals = re.findall(r"^      ([a-z0-9_]+): \{.*unit: (\S+?)[,}]", yaml, re.MULTILINE)
    assert signals
    unit = "          - id: new\n            label: {fr: new, en: new}\n            signals:\n" + "".join(
        f"              - {{id: '{name}', label: {{fr: x, en: x}}, unit: {code}, period_s: 1, range: [0, 1],"
        " resolution: 1}\n"
        for name, code in signals
    )
    text = (FOLDER / "foreign_plant.yaml").read_text(encoding="utf-8")
    text = text.replace("        steps:\n", f"{unit}        steps:\n")
    return parse_plant(f"{text}bindings:\n{yaml}".replace('"?"', f"{LINE}/new").encode(), "plant.yaml")


@pytest.mark.parametrize(
    ("name", "topics", "time", "least"),
    [
        ("scale", {"scale/bagging/weight"}, None, 1),
        ("tasmota", {"tele/plug-dryer/SENSOR"}, ("Time", "local"), 9),
        ("zigbee2mqtt", {"zigbee2mqtt/hall-flax"}, ("last_seen", "rfc3339"), 5),
    ],
)
def test_a_proposal_reads_what_was_heard(name, topics, time, least):
    good = recorded(name)[:2]
    (proposal,) = proposed(*good)
    assert set(proposal.topics) == topics
    plant = completed(proposal_yaml(proposal, 1, ZONE))
    (binding,) = plant.bindings
    assert (None if binding.time is None else (binding.time.path[0], binding.time.format)) == time
    for received in good:
        (row,) = ForeignSources(plant).decode(received)
        assert len(row.values) >= least


def test_topics_that_differ_in_one_level_are_one_proposal():
    body = '{"ENERGY":{"Power":1}}'
    (proposal,) = proposed(*(message(body, f"tele/plug-{number}/SENSOR") for number in range(3)))
    assert proposal.pattern == "tele/{name}/SENSOR"
    assert proposal.words == ("plug-0", "plug-1", "plug-2")
    plant = completed(proposal_yaml(proposal, 1, ZONE))
    assert plant.bindings[0].devices == dict.fromkeys(proposal.words, f"{LINE}/new")


def test_topics_of_other_shapes_are_proposals_of_their_own():
    found = proposed(message("1", "a/b"), message('{"w":1}', "a/c"), message('{"v":1}', "a/d"), message("2", "x/y/z"))
    assert sorted(proposal.pattern for proposal in found) == ["a/b", "a/c", "a/d", "x/y/z"]


def test_the_beginning_of_a_minute_is_no_time_of_a_measurement():
    (first, *_) = proposed(*(each for each in recorded("shelly") if b"status" in each.topic))
    assert re.search(r"^    # time: .path: aenergy.minute_ts", proposal_yaml(first, 1, ZONE), re.MULTILINE)
    assert completed(proposal_yaml(first, 1, ZONE)).bindings[0].time is None


def test_a_number_written_as_a_text_says_so():
    (proposal,) = proposed(message('{"weight":"12.5","unit":"kg"}'))
    assert "weight: {path: weight, unit: kg, text: true}" in proposal_yaml(proposal, 1, ZONE)


def test_what_is_not_in_every_message_is_optional():
    (proposal,) = proposed(message('{"a":1,"b":2}'), message('{"a":1}', offset=2))
    text = proposal_yaml(proposal, 1, ZONE)
    assert 'b: {path: b, unit: "1", optional: true}' in text
    assert 'a: {path: a, unit: "1"}' in text


def test_what_has_no_number_is_not_proposed():
    assert proposed(message("ON", "stat/POWER"), message('{"state":"ON"}', "s"), message(b"\xff\x00", "b")) == ()


def test_sparkplug_is_proposed_from_its_births():
    found = sparkplug_proposals(heard(*recorded("sparkplug")), SparkplugDecoder(MemoryBirths()))
    device = next(proposal for proposal in found if "DDATA" in proposal.pattern)
    assert device.payload is Payload.SPARKPLUG
    text = proposal_yaml(device, 1, ZONE)
    assert "metric: Zones/3/Temperature" not in text or completed(text)
    assert "temperature" in text
    assert proposed(*recorded("sparkplug")) == ()


def test_a_payload_of_very_many_numbers_gives_a_proposal_of_some():
    (proposal,) = proposed(message("[" + ",".join(map(str, range(5000))) + "]"))
    assert len(proposal.numbers) == PATHS_MAX


NAMES = st.text(max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**9), 10**9) | NAMES,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(NAMES, children, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_whatever_is_heard_the_proposal_is_a_binding_that_reads_it(document):
    received = message(json.dumps(document))
    for proposal in proposed(received):
        plant = completed(proposal_yaml(proposal, 1, ZONE))
        (row,) = ForeignSources(plant).decode(received)
        assert len(row.values) == len(proposal.numbers)
