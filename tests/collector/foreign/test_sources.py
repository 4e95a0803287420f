"""Foreign messages by configuration: four kinds of real devices, and what is refused of them."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.codec import PAYLOAD_BYTES_MAX
from collector.foreign.sources import KEY_BYTES, ForeignSources
from filiere.clock import NS_PER_S, parse_time, to_text
from filiere.errors import MessageRefused
from filiere.message_log import Message
from tests.collector.foreign_messages import LINE, NOON_NS, binding, message, plant, recorded


def sources(*bindings):
    return ForeignSources(plant(*bindings))


def outcome(read, received):
    """(device, time, values) of each row, or the reason."""
    try:
        rows = read.decode(received)
    except MessageRefused as refused:
        return refused.reason
    return [
        (row.device, None if row.event_time_ns is None else to_text(row.event_time_ns), dict(row.values))
        for row in rows
    ]


def refused(read, payload, topic="x", at_ns=NOON_NS):
    with pytest.raises(MessageRefused) as caught:
        read.decode(message(payload, topic, at_ns=at_ns))
    assert "got" in str(caught.value)
    assert "expected" in str(caught.value)
    return caught.value.reason


SHAPES = {
    "scale": [
        [("bagging", None, {"batch_weight": 748.5})],
        [("bagging", None, {"batch_weight": 748.6})],
        "wrong_shape",
    ],
    "tasmota": [
        [("dryer", "2026-11-23T09:14:05.000Z", {"air_temp": 61.4, "power": 1.418, "energy": 812.406})],
        [("dryer", "2026-11-23T09:14:15.000Z", {"air_temp": 61.5, "power": 1.42, "energy": 812.41})],
        [("dryer", "2026-11-23T09:14:25.000Z", {"power": 1.411, "energy": 812.414})],
    ],
    "shelly": [
        [("shredder", None, {"power": 0.8423, "energy": 10.421755, "running": 1})],
        [("shredder", "2026-11-23T09:20:30.040Z", {"power": 0.851})],
        [("shredder", None, {"power": 0, "energy": 10.435806, "running": 0})],
    ],
    "zigbee2mqtt": [
        [("hall", "2026-11-23T09:30:00.000Z", {"temperature": 18.42, "humidity": 0.5431})],
        [("hall", "2026-11-23T09:40:00.000Z", {"temperature": 18.37, "humidity": 0.5502})],
        [("hall", "2026-11-23T09:50:00.000Z", {"temperature": 18.4})],
    ],
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_real_device_is_read_as_the_page_says(name):
    read = sources()
    for received, expected in zip(recorded(name), SHAPES[name], strict=True):
        got = outcome(read, received)
        if isinstance(expected, str):
            assert got == expected
            continue
        assert [row[:2] for row in got] == [row[:2] for row in expected]
        assert [row[2] for row in got] == [pytest.approx(row[2]) for row in expected]


def test_a_topic_of_no_binding_is_refused_with_what_each_binding_takes():
    read = sources()
    assert refused(read, "1", "tele/plug-new/SENSOR") == "unbound_topic"
    with pytest.raises(MessageRefused, match=r"tasmota: level 2 is 'plug-new'.*has plug-dryer or plug-mixer there"):
        read.decode(message("1", "tele/plug-new/SENSOR"))
    assert [each.binding for each in read.candidates(b"scale/bagging/weight") if each.mismatch is None] == [
        "bagging_scale"
    ]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ("", "not_json"),
        ("{", "not_json"),
        ('{"w":1}}', "not_json"),
        ("\ufeff{}", "not_json"),
        (b'{"w":"\xff"}', "not_json"),
        (b"\x00\x01", "not_json"),
        ('{"w":1}'.encode("utf-16"), "not_json"),
        ("[" * 100_000, "not_json"),
        ('{"w":' * 50_000, "not_json"),
        ('{"w":1,"w":2}', "wrong_shape"),
        ('{"w":1,"deep":{"a":1,"a":2}}', "wrong_shape"),
        ('{"w":"12.5"}', "wrong_shape"),
        ('{"w":true}', "wrong_shape"),
        ('{"w":[1]}', "wrong_shape"),
        ('{"w":{"v":1}}', "wrong_shape"),
        ('{"w":null}', "missing_path"),
        ('{"v":1}', "missing_path"),
        ("7", "missing_path"),
        ("[7]", "missing_path"),
        ("null", "missing_path"),
        ('{"w":NaN}', "not_finite"),
        ('{"w":-Infinity}', "not_finite"),
        ('{"w":1e400}', "not_finite"),
        ('{"w":1' + "0" * 400 + "}", "not_finite"),
        ('{"w":1' + "0" * 5000 + "}", "not_finite"),
        ('{"w":1e308}', "not_finite"),
        (b" " * (10 * 1024 * 1024), "too_large"),
    ],
)
def test_what_is_not_a_number_at_its_place_is_refused(payload, reason):
    assert refused(sources(binding(signals="batch_weight: {path: w, unit: t}")), payload) == reason


@pytest.mark.parametrize(
    "payload", ["12,5", "12.5 kg", "", " ", "0x10", "1_000", "12.", ".5", "١٢", "true", '"12"', "--1", b"\xff"]
)
def test_a_bare_payload_that_is_no_number_is_refused(payload):
    assert refused(sources(binding(payload="number", signals="batch_weight: {unit: kg}")), payload) == "wrong_shape"


@pytest.mark.parametrize("payload", ["nan", "-inf", "Infinity", "1e999", "9" * 400])
def test_a_bare_number_that_is_not_finite_is_refused(payload):
    assert refused(sources(binding(payload="number", signals="batch_weight: {unit: kg}")), payload) == "not_finite"


@pytest.mark.parametrize(("payload", "value"), [("12.5", 12.5), ("+0012.50\r\n", 12.5), (" -3e2 ", -300), ("0", 0)])
def test_a_bare_number_is_read_as_scales_write_it(payload, value):
    read = sources(binding(payload="number", signals="batch_weight: {unit: kg}"))
    assert outcome(read, message(payload)) == [("bagging", None, {"batch_weight": value})]


def test_scale_and_offset_go_before_the_unit():
    read = sources(binding(signals="batch_weight: {path: w, unit: g, scale: 10, offset: -500}"))
    assert outcome(read, message('{"w":150}')) == [("bagging", None, {"batch_weight": 1.0})]


def test_a_text_is_a_number_only_where_the_binding_says_so():
    read = sources(binding(signals="batch_weight: {path: w, unit: kg, text: true}"))
    assert outcome(read, message('{"w":" 12.5"}')) == [("bagging", None, {"batch_weight": 12.5})]
    assert refused(read, '{"w":12.5}') == "wrong_shape"
    assert refused(read, '{"w":"12,5"}') == "wrong_shape"
    assert refused(read, '{"w":"NaN"}') == "not_finite"


def test_words_and_truth_values_are_numbers_only_by_a_map():
    read = sources(binding(signals='batch_weight: {path: w, unit: kg, map: {"true": 1, ON: 2}}'))
    assert outcome(read, message('{"w":true}')) == [("bagging", None, {"batch_weight": 1})]
    assert outcome(read, message('{"w":"ON"}')) == [("bagging", None, {"batch_weight": 2})]
    for other in ("false", '"on"', "3", "null", "[]"):
        assert refused(read, f'{{"w":{other}}}') in ("wrong_shape", "missing_path")


def test_a_unit_may_stand_in_the_message():
    read = sources(binding(signals="batch_weight: {path: w, unit: {path: u, map: {kg: kg, lb: '[lb_av]'}}}"))
    assert outcome(read, message('{"w":10,"u":"kg"}')) == [("bagging", None, {"batch_weight": 10})]
    assert outcome(read, message('{"w":10,"u":"lb"}'))[0][2]["batch_weight"] == pytest.approx(4.5359237)
    assert refused(read, '{"w":10,"u":"t"}') == "wrong_unit"
    assert refused(read, '{"w":10}') == "wrong_unit"


def test_a_message_without_any_of_its_optional_values_is_no_row_and_no_fault():
    read = sources(binding(signals="batch_weight: {path: w, unit: kg, optional: true}"))
    assert outcome(read, message('{"w":null}')) == []
    assert outcome(read, message('{"other":1}')) == []


def test_a_signal_may_be_told_by_a_level_of_the_topic():
    read = sources(
        binding(
            topic="plug/{what}",
            device=f"{LINE}/dryer",
            payload="number",
            signals="power: {unit: W, when: {what: p}}\n      energy: {unit: W.h, when: {what: e}}",
        )
    )
    assert outcome(read, message("1500", "plug/p")) == [("dryer", None, {"power": 1.5})]
    assert outcome(read, message("1500", "plug/e")) == [("dryer", None, {"energy": 1.5})]
    assert refused(read, "1500", "plug/u") == "unbound_topic"


def timed(text, time_format, zone="", at="2026-11-23T12:00:00Z"):
    zoned = f", zone: {zone}" if zone else ""
    read = sources(binding(more=f"time: {{path: t, format: {time_format}{zoned}}}"))
    got = outcome(read, message(f'{{"w":1,"t":{text}}}', at_ns=parse_time(at)))
    return got if isinstance(got, str) else got[0][1]


@pytest.mark.parametrize(
    ("text", "time_format", "time"),
    [
        ('"2026-11-23T09:14:05.250Z"', "rfc3339", "2026-11-23T09:14:05.250Z"),
        ('"2026-11-23 10:14:05+01:00"', "rfc3339", "2026-11-23T09:14:05.000Z"),
        ("1795425245", "unix_s", "2026-11-23T09:14:05.000Z"),
        ("1795425245.25", "unix_s", "2026-11-23T09:14:05.250Z"),
        ("1795425245250", "unix_ms", "2026-11-23T09:14:05.250Z"),
        ('"2026-11-23T09:14:05"', "rfc3339", "local_time"),
        ('"23/11/2026 09:14"', "rfc3339", "bad_time"),
        ('"2026-13-23T09:14:05Z"', "rfc3339", "bad_time"),
        ("1795425245", "rfc3339", "bad_time"),
        ('"1795425245"', "unix_s", "bad_time"),
        ("true", "unix_s", "bad_time"),
        ("1e300", "unix_s", "bad_time"),
        ("1795425245250", "unix_s", "bad_time"),
        ("1e400", "unix_ms", "not_finite"),
        ("null", "unix_ms", "missing_path"),
        ("[]", "rfc3339", "bad_time"),
    ],
)
def test_a_time_is_what_the_binding_says_it_is(text, time_format, time):
    assert timed(text, time_format) == time


@pytest.mark.parametrize(
    ("text", "at", "time"),
    [
        ("2026-11-23T10:14:05", "2026-11-23T09:14:06Z", "2026-11-23T09:14:05.000Z"),
        ("2026-07-23T10:14:05", "2026-07-23T08:14:06Z", "2026-07-23T08:14:05.000Z"),
        # the night of the 25th of October: 02:30 in summer time, and an hour later again
        ("2026-10-25T02:30:00", "2026-10-25T00:30:01Z", "2026-10-25T00:30:00.000Z"),
        ("2026-10-25T02:30:00", "2026-10-25T01:30:01Z", "2026-10-25T01:30:00.000Z"),
        ("2026-10-25T02:30:00", "2026-10-25T09:00:00Z", "bad_time"),
        ("2026-03-29T02:30:00", "2026-03-29T01:30:00Z", "bad_time"),
        ("2026-11-23T10:14:05Z", "2026-11-23T10:14:06Z", "bad_time"),
        ("0001-01-01T00:00:00", "2026-11-23T10:14:06Z", "bad_time"),
    ],
)
def test_a_wall_clock_is_read_in_its_zone(text, at, time):
    assert timed(json.dumps(text), "local", "Europe/Paris", at) == time


def key(read, payload, topic="x", at_ns=NOON_NS):
    (row,) = read.decode(message(payload, topic, at_ns=at_ns))
    assert len(row.key) == KEY_BYTES
    return row.key


def test_a_retained_message_seen_again_is_the_same_row_when_it_has_a_time():
    read = sources(binding(more="time: {path: t, format: unix_s}"))
    first = key(read, '{"w":1,"t":1795425245}')
    assert key(read, '{"w":1,"t":1795425245}', at_ns=NOON_NS + 9 * NS_PER_S) == first
    assert key(read, '{"t":1795425245, "w":1.0, "rssi":-60}') == first
    assert key(read, '{"w":2,"t":1795425245}') != first
    assert key(read, '{"w":1,"t":1795425246}') != first


def test_without_a_time_the_arrival_tells_two_rows_apart():
    read = sources(binding(topic="+"))
    assert key(read, '{"w":1}') == key(read, '{"w":1}')
    assert key(read, '{"w":1}') != key(read, '{"w":1}', at_ns=NOON_NS + 1)
    assert key(read, '{"w":1}') != key(read, '{"w":1}', topic="y")


def test_a_corrected_unit_gives_the_same_row_again():
    grams = sources(binding(signals="batch_weight: {path: w, unit: g}"))
    kilograms = sources(binding(signals="batch_weight: {path: w, unit: kg, scale: 2}"))
    assert key(grams, '{"w":1}') == key(kilograms, '{"w":1}')


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.sampled_from("wtué"), children, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300)
@given(st.one_of(JSON.map(lambda value: json.dumps(value).encode()), st.binary(max_size=200)), st.booleans())
def test_whatever_arrives_is_rows_or_a_refusal(payload, bare):
    assert len(payload) <= PAYLOAD_BYTES_MAX
    shape = (
        binding(payload="number", signals="batch_weight: {unit: kg}")
        if bare
        else binding(
            more="time: {path: t, format: local, zone: Europe/Paris}",
            signals="batch_weight: {path: w.w, unit: {path: u, map: {kg: kg}}}",
        )
    )
    rows = or_refusal(sources(shape), message(payload))
    assert isinstance(rows, str) or all(row.values for row in rows)


SOURCES = sources()


@given(st.binary(max_size=40))
def test_no_topic_breaks_the_reader(topic):
    received = Message(offset=1, topic=topic, payload=b"1", record_time_ns=NOON_NS)
    assert or_refusal(SOURCES, received) in ("unbound_topic", "not_sparkplug")


def or_refusal(read, received):
    try:
        return read.decode(received)
    except MessageRefused as refused:
        return refused.reason if len(str(refused)) < 600 else "too many words"
