"""A message as one line of JSON, there and back byte for byte: what `filiere log export` writes and `import` reads.

    {"offset":7,"record_time":"2026-11-24T09:14:05.250000000Z","topic":"filiere/v1/…","payload":"…"}

Bytes that are not UTF-8 stand as base64 under `topic_base64` or `payload_base64` instead.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import msgspec

from filiere.clock import NS_PER_S, from_ns, parse_time
from filiere.errors import MessageRefused
from filiere.message_log import TIME_MAX_NS, Message

BAD_LINE = "bad_line"
CHUNK = 1000
"""Messages that are read at a time."""
LINE_BYTES_MAX = 64 * 1024 * 1024
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII)


class _Line(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    offset: int = 0
    record_time: str
    topic: str | None = None
    topic_base64: str | None = None
    payload: str | None = None
    payload_base64: str | None = None
    device: str | None = None  # these three are what `filiere quarantine export` adds; they are passed over
    reason: str | None = None
    message: str | None = None


_decoder = msgspec.json.Decoder(_Line)
_encoder = msgspec.json.Encoder()


def line_of(message: Message) -> bytes:
    """One line, without its end."""
    topic, topic_base64 = _text_or_base64(message.topic)
    payload, payload_base64 = _text_or_base64(message.payload)
    return _encoder.encode(
        _Line(
            offset=message.offset,
            record_time=time_text(message.record_time_ns),
            topic=topic,
            topic_base64=topic_base64,
            payload=payload,
            payload_base64=payload_base64,
        )
    )


def message_of(line: bytes) -> Message:
    """The message that a line holds; offset 0 where the line has none.

    Raises MessageRefused: got, expected.
    """
    try:
        found = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageRefused(
            BAD_LINE, f"got {line[:60]!r} ({error}); expected a line of `filiere log export`"
        ) from None
    return Message(
        offset=found.offset,
        topic=_bytes("topic", found.topic, found.topic_base64),
        payload=_bytes("payload", found.payload, found.payload_base64),
        record_time_ns=parse_time_ns(found.record_time),
    )


def chunks_of(file: BinaryIO, path: Path) -> Iterator[list[Message]]:
    """The messages of a file, some at a time; empty lines say nothing.

    Raises MessageRefused: names the file and the line.
    """
    messages = _messages_of(file, path)
    while chunk := list(islice(messages, CHUNK)):
        yield chunk


def _messages_of(file: BinaryIO, path: Path) -> Iterator[Message]:
    number = 0
    while line := file.readline(LINE_BYTES_MAX):
        number += 1
        if line.strip():
            try:
                yield message_of(line)
            except MessageRefused as refused:
                raise MessageRefused(BAD_LINE, f"{path}, line {number}: {refused}; correct or remove it") from None


def time_text(time_ns: int) -> str:
    """UTC ns → RFC 3339 with all nine digits."""
    return f"{from_ns(time_ns):%Y-%m-%dT%H:%M:%S}.{time_ns % NS_PER_S:09d}Z"


def parse_time_ns(text: str) -> int:
    """RFC 3339 with an offset and up to nine digits → UTC ns, from 1970 to 2262. Raises MessageRefused."""
    time_ns = -1
    if found := _TIME.fullmatch(text):
        second, fraction, zone = found.groups()
        with suppress(ValueError):  # the 30th of February
            time_ns = parse_time(second + zone) + int((fraction or "").ljust(9, "0"))
    if not 0 <= time_ns <= TIME_MAX_NS:
        raise MessageRefused(
            BAD_LINE, f"got time {text[:40]!r}; expected RFC 3339 such as 2026-11-23T09:14:05.250Z, from 1970 to 2262"
        )
    return time_ns


def _text_or_base64(raw: bytes) -> tuple[str | None, str | None]:
    try:
        return raw.decode(), None
    except UnicodeDecodeError:
        return None, b64encode(raw).decode()


def _bytes(name: str, text: str | None, base64: str | None) -> bytes:
    if (text is None) == (base64 is None):
        got = "neither" if text is None else "both"
        raise MessageRefused(BAD_LINE, f"got {got} of {name} and {name}_base64; expected one of them")
    try:
        return b64decode(base64, validate=True) if base64 is not None else str(text).encode()
    except ValueError as error:
        raise MessageRefused(BAD_LINE, f"got {name} that is no bytes ({error}); expected UTF-8, or base64") from None
