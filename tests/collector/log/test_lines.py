"""A message as a line of JSON: there and back byte for byte, and a line that is none is refused with its number."""

import io
import json
from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.log.lines import chunks_of, line_of, message_of, parse_time_ns, time_text
from filiere.errors import MessageRefused
from filiere.message_log import TIME_MAX_NS, Message

PATH = Path("export.jsonl")
LINE = b'{"offset":7,"record_time":"2026-11-24T09:14:05.250000041Z","topic":"a/b","payload":"{\\"v\\":1}"}'
MESSAGE = Message(7, b"a/b", b'{"v":1}', 1_795_511_645_250_000_041)


def test_a_line_is_what_the_page_says():
    assert line_of(MESSAGE) == LINE
    assert message_of(LINE) == MESSAGE


@given(offset=st.integers(0, 2**62), topic=st.binary(), payload=st.binary(), time_ns=st.integers(0, TIME_MAX_NS))
def test_any_bytes_come_back_as_they_were(offset, topic, payload, time_ns):
    message = Message(offset, topic, payload, time_ns)
    line = line_of(message)
    assert b"\n" not in line
    assert message_of(line) == message


@given(st.text())
def test_text_stays_legible(payload):
    assert json.loads(line_of(Message(1, b"t", payload.encode(errors="replace"), 0)))["payload"] is not None


def test_bytes_that_are_no_text_stand_as_base64():
    line = json.loads(line_of(Message(1, b"\xff", b"\0\xfe", 0)))
    assert line["topic_base64"] == b64encode(b"\xff").decode()
    assert "payload" not in line


@given(st.integers(0, TIME_MAX_NS))
def test_times_are_exact_to_the_nanosecond(time_ns):
    assert parse_time_ns(time_text(time_ns)) == time_ns


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T00:00:00.5Z", 500_000_000),
        ("1970-01-01T00:00:00.000000001Z", 1),
    ],
)
def test_other_ways_to_write_a_time_are_read(text, time_ns):
    assert parse_time_ns(text) == time_ns


@pytest.mark.parametrize(
    "text",
    [
        *("", "now", "2026-11-24", "2026-11-24T09:14:05", "2026-02-30T00:00:00Z", "1969-12-31T23:59:59Z"),
        *("2263-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-11-24T09:14:05.1234567890Z", "٢٠٢٦-11-24T09:14:05Z"),
    ],
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(MessageRefused, match="expected RFC 3339"):
        parse_time_ns(text)


BAD = {
    "not JSON": b"hello",
    "empty object": b"{}",
    "a list": b"[1]",
    "cut off": LINE[:-5],
    "unknown name": LINE.replace(b"offset", b"colour"),
    "wrong type": LINE.replace(b'"a/b"', b"5"),
    "no payload": b'{"record_time":"2026-11-24T09:14:05Z","topic":"a"}',
    "both payloads": LINE[:-1] + b',"payload_base64":"AA=="}',
    "not base64": b'{"record_time":"2026-11-24T09:14:05Z","topic":"a","payload_base64":"*"}',
    "half a letter": LINE.replace(b"a/b", b"\\ud800"),
    "no UTF-8": LINE.replace(b"a/b", b"\xff"),
    "no time": LINE.replace(b"2026", b"last"),
    "deep": b"[" * 100_000,
    "huge number": b'{"offset":1e999}',
}


@pytest.mark.parametrize("line", BAD.values(), ids=BAD.keys())
def test_a_bad_line_is_refused_with_its_number(line):
    file = io.BytesIO(LINE + b"\n\n" + line + b"\n")
    with pytest.raises(MessageRefused, match=r"export\.jsonl, line 3: got .*expected .*correct or remove it") as told:
        list(chunks_of(file, PATH))
    assert len(str(told.value)) < 500


def test_empty_lines_and_a_missing_last_newline_do_no_harm():
    assert list(chunks_of(io.BytesIO(b"\n" + LINE + b"\r\n  \n" + LINE), PATH)) == [[MESSAGE, MESSAGE]]
    assert list(chunks_of(io.BytesIO(b""), PATH)) == []
