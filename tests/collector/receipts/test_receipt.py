"""Receipts on the wire, and which numbers a logged message takes: those that the recorder counts, no others."""

import json
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.codec import decode_event, decode_readings
from collector.receipts.receipt import (
    NOTHING_YET,
    REFUSALS_MAX,
    SPANS_MAX,
    WORDS_MAX,
    Receipt,
    Refusal,
    decode_receipt,
    encode_receipt,
    numbers_of,
    receipt_of,
    receipt_topic,
)
from collector.recorder.numbers import Numbers
from filiere.errors import MessageRefused

DEVICE = "caux/textile/t1/extruder"
READINGS = f"filiere/v1/{DEVICE}/readings".encode()
EVENTS = f"filiere/v1/{DEVICE}/events".encode()

NUMBERS = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 5)), max_size=150)
REFUSALS = st.lists(
    st.builds(
        Refusal,
        seq=st.integers(0, 2**53),
        rows=st.integers(1, 1000),
        reason=st.text(min_size=1, max_size=64),
        message=st.text(max_size=WORDS_MAX),
    ),
    max_size=5,
)


def spans_of(numbers):
    made = Numbers()
    for first, more in numbers:
        made.add(first, first + more)
    return made.spans


@given(numbers=NUMBERS, refused=REFUSALS)
def test_a_receipt_is_read_as_it_was_written(numbers, refused):
    receipt = receipt_of("9f2c", spans_of(numbers), refused)
    assert decode_receipt(encode_receipt(receipt)) == receipt


@given(numbers=NUMBERS, first=st.integers(0, 310), more=st.integers(0, 10))
def test_it_covers_what_is_there_and_nothing_else(numbers, first, more):
    there = {number for start, length in numbers for number in range(start, start + length + 1)}
    receipt = receipt_of("9f2c", spans_of(numbers))
    wanted = set(range(first, first + more + 1))
    assert not receipt.covers(first, first + more) or wanted <= there
    if len(receipt.spans) < SPANS_MAX:
        assert receipt.covers(first, first + more) == (wanted <= there)


def test_it_says_where_the_first_gap_is():
    assert receipt_of("b", [(0, 40), (42, 50)]) == Receipt(boot="b", up_to=40, spans=((42, 50),))
    assert receipt_of("b", [(3, 5)]) == Receipt(boot="b", up_to=NOTHING_YET, spans=((3, 5),))
    assert receipt_of("b", []) == Receipt(boot="b", up_to=NOTHING_YET)
    assert json.loads(encode_receipt(receipt_of("b", [(0, 40), (42, 50)]))) == {
        "boot": "b",
        "up_to": 40,
        "spans": [[42, 50]],
        "refused": [],
    }


def test_it_is_bounded_and_the_newest_stay():
    spans = [(0, 0), *((number, number) for number in range(2, 1000, 2))]
    refused = [Refusal(seq=number, rows=1, reason="wrong_unit", message="é" * 1000) for number in range(500)]
    payload = encode_receipt(receipt_of("b" * 32, spans, refused))
    read = decode_receipt(payload)
    assert read.spans[0] == (998 - 2 * (SPANS_MAX - 1),) * 2
    assert read.spans[-1] == (998, 998)
    assert len(read.refused) == REFUSALS_MAX
    assert read.refused[0].message == "é" * WORDS_MAX


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"", "not_json"),
        (b"\xff", "not_json"),
        (b"[" * 100_000, "wrong_shape"),
        (b'{"boot":"b","up_to":NaN}', "not_json"),
        (b"[]", "wrong_shape"),
        (b'{"boot":"b"}', "wrong_shape"),
        (b'{"boot":"b","up_to":1e308}', "wrong_shape"),
        (b'{"boot":"b","up_to":-2}', "wrong_shape"),
        (b'{"boot":"b","up_to":"1"}', "wrong_shape"),
        (b'{"boot":"b","up_to":true}', "wrong_shape"),
        (b'{"boot":"","up_to":1}', "wrong_shape"),
        (b'{"boot":"b\\u0000","up_to":1}', "wrong_shape"),
        (b'{"boot":"b","up_to":1,"more":1}', "wrong_shape"),
        (b'{"boot":"b","up_to":5,"spans":[[6,9]]}', "wrong_shape"),
        (b'{"boot":"b","up_to":5,"spans":[[9,8]]}', "wrong_shape"),
        (b'{"boot":"b","up_to":5,"spans":[[8,9],[10,11]]}', "wrong_shape"),
        (b'{"boot":"b","up_to":5,"refused":[{"seq":1,"rows":0,"reason":"r","message":""}]}', "wrong_shape"),
        (b'{"boot":"b","up_to":5}' + b" " * 10**7, "too_large"),
    ],
)
def test_what_is_no_receipt_is_refused_in_words(bad, reason):
    with pytest.raises(MessageRefused, match=r"expected") as refused:
        decode_receipt(bad)
    assert refused.value.reason == reason


NAMES = st.sampled_from(["boot", "seq", "t", "v", "u", "event", "x"])
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2**60), st.floats(allow_nan=False), st.text(max_size=5), st.just("9f2c")
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3))
PAIRS = st.lists(st.tuples(NAMES, VALUES), max_size=6)


def as_json(pairs):
    return ("{" + ",".join(f"{json.dumps(name)}:{json.dumps(value)}" for name, value in pairs) + "}").encode()


@given(
    pairs=PAIRS,
    seq=st.integers(0, 2**53),
    times=st.lists(st.integers(0, 9), max_size=4),
    kind=st.sampled_from(["readings", "events"]),
)
def test_its_numbers_are_those_that_the_recorder_counts(pairs, seq, times, kind):
    for payload in (as_json(pairs), as_json([("boot", "9f2c"), ("seq", seq), ("t", times), *pairs])):
        found = numbers_of(f"filiere/v1/{DEVICE}/{kind}".encode(), payload)
        decode = {"readings": decode_readings, "events": decode_event}[kind]
        with suppress(MessageRefused):
            assert found == (DEVICE, decode(payload).identity)
        if found is not None:
            names = Counter(name for name, _ in json.loads(payload, object_pairs_hook=list))
            assert names["boot"] == names["seq"] == 1


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        (b"filiere/v1/caux/textile/t1/extruder/state", b'{"boot":"b","seq":0,"t":1}'),
        (b"filiere/v1/caux/textile/t1/extruder/receipt", b'{"boot":"b","seq":0,"t":1}'),
        (b"tele/scale/SENSOR", b'{"boot":"b","seq":0,"t":1}'),
        (b"\xff", b'{"boot":"b","seq":0,"t":1}'),
        (READINGS, b'{"boot":"b","seq":0,"seq":1,"t":1}'),
        (READINGS, b'{"boot":"b","s\\u0065q":0,"seq":1,"t":1}'),
        (READINGS, b'{"boot":"b","seq":0,"t":[]}'),
        (READINGS, b'{"boot":"b","seq":9007199254740992,"t":[1,2]}'),
        (READINGS, b'{"boot":"b","seq":0,"t":1}' + b" " * 2**18),
        (READINGS, b""),
        (READINGS, b"12.4"),
        (EVENTS, b'{"seq":0}'),
    ],
)
def test_a_foreign_or_unreadable_message_takes_no_number(topic, payload):
    assert numbers_of(topic, payload) is None


def test_the_topic_is_the_devices_own():
    assert receipt_topic(DEVICE) == "filiere/v1/caux/textile/t1/extruder/receipt"
