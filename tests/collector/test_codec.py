"""The wire format: what is read, what is refused and with which word, and round trips."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.codec import (
    EVENTS,
    PAYLOAD_BYTES_MAX,
    READINGS,
    ROWS_MAX,
    SEQ_MAX,
    EventMessage,
    Identity,
    ReadingsMessage,
    decode_event,
    decode_readings,
    decode_state,
    encode_event,
    encode_readings,
    encode_state,
    parse_topic,
    peek_identity,
    topic_text,
)
from filiere.clock import parse_time
from filiere.errors import MessageRefused

ROW = b'{"boot":"9f2c","seq":41,"t":"2026-11-23T09:14:05.250Z","v":{"barrel_temp_z3":231.4,"melt_pressure":44.0}}'


def payload(t=b"1763889245250", v=b'{"melt_temp":230.5}', boot=b'"9f2c"', seq=b"41", more=b""):
    return b'{"boot":%b,"seq":%b,"t":%b,"v":%b%b}' % (boot, seq, t, v, more)


def refusal(decode, message):
    with pytest.raises(MessageRefused) as caught:
        decode(message)
    assert len(str(caught.value)) < 400
    return caught.value.reason


def test_one_row_is_read():
    message = decode_readings(ROW)
    assert message == ReadingsMessage(
        boot="9f2c",
        seq=41,
        time_ns=(parse_time("2026-11-23T09:14:05.250Z"),),
        values={"barrel_temp_z3": (231.4,), "melt_pressure": (44.0,)},
    )


def test_columns_are_read_and_null_means_not_measured():
    message = decode_readings(payload(t=b'[1000,"1970-01-01T01:00:02+01:00"]', v=b'{"a":[1,null],"b":[null,2.5]}'))
    assert message.time_ns == (1_000_000_000, 2_000_000_000)
    assert message.values == {"a": (1.0, None), "b": (None, 2.5)}
    assert message.identity == Identity(boot="9f2c", seq=41, rows=2)


def test_units_are_read():
    assert decode_readings(payload(more=b',"u":{"melt_temp":"K"}')).units == {"melt_temp": "K"}


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("not_json", b""),
        ("not_json", b"\x00"),
        ("not_json", b"hello"),
        ("not_json", ROW[:-1]),
        ("not_json", ROW + b"x"),
        ("not_json", ROW + ROW),
        ("not_json", b"\xef\xbb\xbf" + ROW),
        ("not_json", ROW.replace(b"9f2c", b"\xff\xfe")),
        ("not_json", payload(v=b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}")),
        ("not_json", payload(v=b"{'a':1}")),
        ("not_json", payload(v=b'{"a":1,}')),
        ("not_json", payload(v=b'{"a":01}')),
        ("too_large", b" " * (PAYLOAD_BYTES_MAX - len(ROW) + 1) + ROW),
        ("too_large", b"[" * 10_000_000),
        ("not_finite", payload(v=b'{"a":NaN}')),
        ("not_finite", payload(v=b'{"a":-Infinity}')),
        ("not_finite", payload(v=b'{"a":1e999}')),
        ("not_finite", payload(v=b'{"a":-1e400}')),
        ("not_finite", payload(v=b'{"a":1' + b"0" * 400 + b"}")),
        ("not_finite", payload(t=b"[1,2]", v=b'{"a":[1,NaN]}')),
        ("wrong_shape", b"null"),
        ("wrong_shape", b"[]"),
        ("wrong_shape", b"{}"),
        ("wrong_shape", payload(v=b'{"a":true}')),
        ("wrong_shape", payload(v=b'{"a":"1"}')),
        ("wrong_shape", payload(v=b'{"a":{"value":1}}')),
        ("wrong_shape", payload(v=b"{}")),
        ("wrong_shape", payload(v=b'{"a":null}')),
        ("wrong_shape", payload(v=b"[1]")),
        ("wrong_shape", payload(v=b'{"a":[1]}')),
        ("wrong_shape", payload(t=b"[1,2]", v=b'{"a":[1,2],"b":[1]}')),
        ("wrong_shape", payload(t=b"[1,2]", v=b'{"a":[1,2,3]}')),
        ("wrong_shape", payload(t=b"[1]", v=b'{"a":1}')),
        ("wrong_shape", payload(t=b"[]", v=b'{"a":[]}')),
        ("wrong_shape", payload(t=b"[%b0]" % (b"0," * ROWS_MAX), v=b'{"a":[%b1]}' % (b"1," * ROWS_MAX))),
        ("wrong_shape", payload(seq=b"-1")),
        ("wrong_shape", payload(seq=b"1.0")),
        ("wrong_shape", payload(seq=b"true")),
        ("wrong_shape", payload(seq=b'"1"')),
        ("wrong_shape", payload(seq=str(SEQ_MAX + 1).encode())),
        ("wrong_shape", payload(seq=str(SEQ_MAX).encode(), t=b"[1,2]", v=b'{"a":[1,2]}')),
        ("wrong_shape", payload(boot=b'""')),
        ("wrong_shape", payload(boot=b'"a b"')),
        ("wrong_shape", payload(boot=b'"a\\n"')),
        ("wrong_shape", payload(boot=b'"%b"' % (b"a" * 33))),
        ("wrong_shape", payload(boot=b"7")),
        ("wrong_shape", payload(more=b',"extra":1')),
        ("wrong_shape", payload(more=b',"u":{"other":"Cel"}')),
        ("wrong_shape", payload(more=b',"u":"Cel"')),
        ("wrong_shape", payload(more=b',"seq":42')),
        ("wrong_shape", payload(v=b'{"a":1,"a":2}')),
        ("wrong_shape", payload(v=b'{"a":1,"\\u0061":2}')),
        ("local_time", payload(t=b'"2026-11-23T09:14:05"')),
        ("local_time", payload(t=b'"2026-11-23T09:14:05.25"')),
        ("local_time", payload(t=b'[1,"2026-11-23T09:14:05"]', v=b'{"a":[1,2]}')),
        ("bad_time", payload(t=b'"yesterday"')),
        ("bad_time", payload(t=b'""')),
        ("bad_time", payload(t=b'"2026-13-23T09:14:05Z"')),
        ("bad_time", payload(t=b'"2026-02-29T09:14:05Z"')),
        ("bad_time", payload(t=b'"2026-11-23"')),
        ("bad_time", payload(t=b'"2026-W48-1T09:14:05Z"')),
        ("bad_time", payload(t='"٢٠٢٦-11-23T09:14:05Z"'.encode())),
        ("bad_time", payload(t=b'"0001-01-01T00:00:00+14:00"')),
        ("bad_time", payload(t=b"1763889245.25")),
        ("bad_time", payload(t=b"true")),
        ("bad_time", payload(t=b"null")),
        ("bad_time", payload(t=b"9" * 30)),
        ("bad_time", payload(t=b"-" + b"9" * 20)),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_cannot_be_read_is_refused_with_its_reason(reason, message):
    assert refusal(decode_readings, message) == reason


def test_the_largest_message_is_read():
    assert decode_readings(ROW + b" " * (PAYLOAD_BYTES_MAX - len(ROW))) == decode_readings(ROW)


@pytest.mark.parametrize("t", [b'"2026-11-23T10:14:05.250+01:00"', b'"2026-11-23t09:14:05.250000z"', b"1795425245250"])
def test_the_same_instant_is_read_the_same_however_it_is_written(t):
    assert decode_readings(payload(t=t)).time_ns == (parse_time("2026-11-23T09:14:05.250Z"),)


def test_a_clock_at_1970_is_read_and_left_to_validation():
    assert decode_readings(payload(t=b"0")).time_ns == (0,)


@pytest.mark.parametrize(
    "topic",
    [
        b"",
        b"filiere/v1",
        b"filiere/v1/caux/textile/t1/extruder",
        b"filiere/v1/caux/textile/t1/extruder/readings/more",
        b"filiere/v2/caux/textile/t1/extruder/readings",
        b"filiere/v1/caux/textile/t1/extruder/receipt",
        b"filiere/v1/caux/textile/t1/extruder/readings\n",
        b"filiere/v1/caux/textile/t1//readings",
        b"filiere/v1/caux/textile/+/extruder/readings",
        b"filiere/v1/caux/textile/#/extruder/readings",
        b"filiere/v1/caux/textile/t1/extruder,site=x value=1/readings",
        b"filiere/v1/caux/textile/T1/extruder/readings",
        "filiere/v1/caux/textile/tʹ1/extruder/readings".encode(),
        b"filiere/v1/caux/textile/t1/extru\x00der/readings",
        b"filiere/v1/caux/textile/%b/extruder/readings" % (b"a" * 65),
        b"\xff\xfe",
    ],
)
def test_a_topic_that_is_not_ours_is_refused(topic):
    assert refusal(parse_topic, topic) == "wrong_topic"


SEGMENTS = st.from_regex(r"[a-z0-9_-]{1,64}", fullmatch=True)


@given(st.lists(SEGMENTS, min_size=3, max_size=3), SEGMENTS, st.sampled_from(["readings", "events", "state"]))
def test_a_topic_reads_back(line, device, kind):
    topic = parse_topic(topic_text("/".join(line), device, kind).encode())
    assert (topic.line_path, topic.device, topic.kind) == ("/".join(line), device, kind)
    assert topic.device_path == f"{'/'.join(line)}/{device}"


def test_a_topic_with_a_wildcard_cannot_be_made():
    assert refusal(lambda device: topic_text("caux/textile/t1", device, "readings"), "+") == "wrong_topic"


BOOTS = st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True)
TIMES_NS = st.integers(-(2**62) // 1000 + 1, 2**62 // 1000).map(lambda us: us * 1000)
VALUES = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def readings(draw):
    rows = draw(st.integers(1, 6))
    column = st.lists(VALUES, min_size=rows, max_size=rows).map(tuple)
    values = draw(
        st.dictionaries(SEGMENTS, column, min_size=1, max_size=5).filter(
            lambda columns: any(value is not None for column in columns.values() for value in column)
        )
    )
    return ReadingsMessage(
        boot=draw(BOOTS),
        seq=draw(st.integers(0, SEQ_MAX - rows)),
        time_ns=tuple(draw(st.lists(TIMES_NS, min_size=rows, max_size=rows))),
        values=values,
        units=draw(st.dictionaries(st.sampled_from(sorted(values)), st.sampled_from(["Cel", "K", "%", "/min"]))),
    )


@given(readings())
def test_readings_read_back(message):
    encoded = encode_readings(message)
    assert decode_readings(encoded) == message
    assert peek_identity(encoded, READINGS) == message.identity


@given(readings())
def test_readings_read_back_however_json_is_spaced_and_escaped(message):
    spaced = json.dumps(json.loads(encode_readings(message)), indent=1)
    assert decode_readings(spaced.encode()) == message


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_and_nothing_else(message):
    for decode in (decode_readings, decode_event, decode_state, parse_topic):
        with suppress(MessageRefused):
            decode(message)
    peek_identity(message, READINGS)


@given(readings(), st.data())
def test_a_damaged_message_is_read_or_refused_and_nothing_else(message, data):
    encoded = bytearray(encode_readings(message))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    with suppress(MessageRefused):
        decode_readings(bytes(encoded))


@pytest.mark.parametrize(
    "wrong",
    [
        {"values": {"a": (float("nan"),)}},
        {"values": {"a": (float("inf"),)}},
        {"values": {"a": (1.0, 2.0)}},
        {"time_ns": (1,)},
        {"time_ns": (), "values": {"a": ()}},
        {"time_ns": (0,) * (ROWS_MAX + 1), "values": {"a": (1.0,) * (ROWS_MAX + 1)}},
    ],
)
def test_what_the_format_cannot_hold_is_not_encoded(wrong):
    message = {"boot": "b", "seq": 0, "time_ns": (0,), "values": {"a": (1.0,)}} | wrong
    with pytest.raises(ValueError, match="expected"):
        encode_readings(ReadingsMessage(**message))


def test_an_event_keeps_its_own_bytes():
    body = b'{ "type": "ObjectEvent", "quantity": 1.50, "name": "caf\xc3\xa9" }'
    assert decode_event(encode_event("9f2c", 7, body)) == EventMessage(boot="9f2c", seq=7, body=body)


@pytest.mark.parametrize(
    ("reason", "body"),
    [
        ("not_json", b'{"a":'),
        ("not_json", b'{"a":"\xff"}'),
        ("not_json", b'{"a":["\\ud800"]}'),
        ("not_json", b'{"\\udfff":1}'),
        ("not_json", b"[" * 100_000 + b"]" * 100_000),
        ("not_finite", b'{"a":NaN}'),
        ("wrong_shape", b"1"),
        ("wrong_shape", b'"{}"'),
        ("wrong_shape", b'{"a":1,"a":2}'),
        ("wrong_shape", b'{"a":[{"b":1,"b":1}]}'),
        ("too_large", b'{"a":"%b"}' % (b"a" * PAYLOAD_BYTES_MAX)),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_event_that_cannot_be_read_is_refused(reason, body):
    assert refusal(decode_event, b'{"boot":"b","seq":1,"event":%b}' % body) == reason


def test_an_event_with_two_numbers_takes_neither():
    twice = b'{"boot":"b","seq":1,"seq":2,"event":{}}'
    assert refusal(decode_event, twice) == "wrong_shape"
    assert peek_identity(twice, EVENTS) is None


def test_state_reads_back():
    assert [decode_state(encode_state(state)) for state in ("online", "offline")] == ["online", "offline"]
    assert refusal(decode_state, b'{"state":"asleep"}') == "wrong_shape"


def test_a_refused_event_takes_one_number_whatever_else_it_says():
    assert peek_identity(payload(t=b"[1,2,3]"), EVENTS) == Identity(boot="9f2c", seq=41, rows=1)


def test_a_refused_message_still_tells_its_number():
    assert peek_identity(payload(t=b'"2026-11-23T09:14:05"'), READINGS) == Identity(boot="9f2c", seq=41, rows=1)
    assert peek_identity(payload(t=b"[1,2,3]", v=b'{"a":[1]}'), READINGS) == Identity(boot="9f2c", seq=41, rows=3)
    assert peek_identity(payload(v=b'{"a":true}', more=b',"extra":{}'), READINGS) == Identity(
        boot="9f2c", seq=41, rows=1
    )
    assert peek_identity(payload(t=b"[1,2]", v=b'{"a":[1,2],"a":[1,2]}'), READINGS) == Identity(
        boot="9f2c", seq=41, rows=2
    )


@pytest.mark.parametrize(
    "message", [b"", b"hello", payload(v=b'{"a":NaN}'), payload(seq=b"-1"), payload(t=b"[]"), payload(more=b',"seq":9')]
)
def test_a_message_without_a_readable_number_has_no_identity(message):
    assert peek_identity(message, READINGS) is None
