"""Wire format, version 1, in both directions: topics, readings and events. Pure: bytes in, nouns out.

What cannot be read is refused with MessageRefused, whose `reason` is one of the words below; nothing is repaired,
defaulted or guessed. What the words mean for a device's maker is written in docs/wire.md.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import isfinite
from types import MappingProxyType
from typing import Annotated, Any

import msgspec

from collector.wire_time import BAD_TIME, column_ns, time_ns_of, time_value
from filiere.errors import MessageRefused
from filiere.readings import SEQ_NS

TOPIC_ROOT = "filiere/v1"
READINGS, EVENTS, STATE = "readings", "events", "state"
KINDS = (READINGS, EVENTS, STATE)

PAYLOAD_BYTES_MAX = 256 * 1024
ROWS_MAX = SEQ_NS
"""Rows in one message: the stored time tells SEQ_NS rows of one instant apart, no more."""
SEQ_MAX = 2**53
"""Every JSON reader holds integers exactly up to here."""

NOT_JSON, WRONG_SHAPE, WRONG_TOPIC, TOO_LARGE = "not_json", "wrong_shape", "wrong_topic", "too_large"
NOT_FINITE = "not_finite"

_SEGMENT = re.compile(r"[a-z0-9_-]{1,64}")
_BOOT = r"\A[A-Za-z0-9_-]{1,32}\Z"
_BOOTS_REMEMBERED = 4096
_SHOWN_MAX = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """Where a message was published: `filiere/v1/{site}/{workshop}/{line}/{device}/{kind}`."""

    site: str
    workshop: str
    line: str
    device: str
    kind: str

    @property
    def line_path(self) -> str:
        """`caux/textile/t1`: the line's name everywhere else."""
        return f"{self.site}/{self.workshop}/{self.line}"

    @property
    def device_path(self) -> str:
        """`caux/textile/t1/extruder`."""
        return f"{self.line_path}/{self.device}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What makes a message the same when it is sent twice."""

    boot: str
    """New each time that the device starts: 1 to 32 of [A-Za-z0-9_-]."""
    seq: int
    """Number of the first row; it starts at 0 with each boot and counts on by one a row."""
    rows: int
    """How many numbers the message takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingsMessage:
    """Rows of one device. Row i has the number `seq + i`, the time `time_ns[i]` and the values `values[signal][i]`."""

    boot: str
    seq: int
    time_ns: tuple[int, ...]
    """Event times, UTC ns, whole µs."""
    values: Mapping[str, tuple[float | None, ...]]
    """Signal id → one value a row; None = not measured."""
    units: Mapping[str, str] = field(default_factory=dict)
    """Signal id → the unit that the device states (UCUM); absent = the plant model's."""

    @property
    def identity(self) -> Identity:
        """Boot, first number and how many rows."""
        return Identity(boot=self.boot, seq=self.seq, rows=len(self.time_ns))


class Columns(msgspec.Struct, frozen=True, gc=False):  # one a message, so it must be cheap to make
    """The same message as the recorder takes it."""

    boot: str
    seq: int
    time_ns: Sequence[int]
    names: tuple[str, ...]
    """The signals, in the order of the message."""
    values: Sequence[Sequence[float | None]]
    """A column a signal, of one value a row."""
    units: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventMessage:
    """One EPCIS event of a terminal, its bytes as they were sent."""

    boot: str
    seq: int
    body: bytes

    @property
    def identity(self) -> Identity:
        """An event takes one number."""
        return Identity(boot=self.boot, seq=self.seq, rows=1)


_Boot = Annotated[str, msgspec.Meta(pattern=_BOOT)]
_Seq = Annotated[int, msgspec.Meta(ge=0, le=SEQ_MAX)]


class _Readings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    boot: str  # a pattern here would cost more than all the rest: it is remembered which ones are right
    seq: int
    t: int | str | list[int | str]
    v: dict[str, float | list[float | None] | None]
    u: dict[str, str] | None = None


class _Event(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    boot: _Boot
    seq: _Seq
    event: msgspec.Raw


class _State(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    state: str


class _Numbered(msgspec.Struct, frozen=True):
    """As little as it takes to know a message that is refused again."""

    boot: _Boot
    seq: _Seq
    t: Any = None


_readings_decoder = msgspec.json.Decoder(_Readings)
_event_decoder = msgspec.json.Decoder(_Event)
_state_decoder = msgspec.json.Decoder(_State)
_numbered_decoder = msgspec.json.Decoder(_Numbered)
_encoder = msgspec.json.Encoder()
_MEASURED, _COLUMNS = {float}, {list}
_NO_UNITS: Mapping[str, str] = MappingProxyType({})


@lru_cache(maxsize=4096)
def parse_topic(topic: bytes) -> Topic:
    """Topic bytes → Topic. Raises MessageRefused (wrong_topic)."""
    try:
        segments = topic.decode("ascii").split("/")
    except UnicodeDecodeError:
        segments = []
    if (
        len(segments) != 7
        or segments[:2] != ["filiere", "v1"]
        or segments[6] not in KINDS
        or not all(_SEGMENT.fullmatch(segment) for segment in segments)
    ):
        raise MessageRefused(
            WRONG_TOPIC,
            f"got topic {_shown(topic)}; expected {TOPIC_ROOT}/SITE/WORKSHOP/LINE/DEVICE/KIND, each of 1 to 64 of"
            f" [a-z0-9_-], KIND one of {', '.join(KINDS)}",
        )
    return Topic(site=segments[2], workshop=segments[3], line=segments[4], device=segments[5], kind=segments[6])


def topic_text(line_path: str, device: str, kind: str) -> str:
    """`caux/textile/t1`, `extruder`, `readings` → the topic to publish on. Raises MessageRefused (wrong_topic)."""
    text = f"{TOPIC_ROOT}/{line_path}/{device}/{kind}"
    parse_topic(text.encode())
    return text


def decode_readings(payload: bytes) -> ReadingsMessage:
    """Payload of a `readings` topic → its rows, in their order. Raises MessageRefused, as `decode_columns`."""
    found = decode_columns(payload)
    return ReadingsMessage(
        boot=found.boot,
        seq=found.seq,
        time_ns=tuple(found.time_ns),
        values=dict(zip(found.names, map(tuple, found.values), strict=True)),
        units=found.units,
    )


def decode_columns(payload: bytes) -> Columns:
    """Payload of a `readings` topic → its rows, in their order.

    Raises MessageRefused: too_large, not_json, not_finite, wrong_shape, local_time, bad_time.
    """
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise _too_large(payload)
    try:
        message = _readings_decoder.decode(payload)
    except (ValueError, RecursionError) as error:
        raise _refusal(payload, error) from None
    times: Any = message.t
    values: Any = message.v
    columns = type(times) is list
    # every string of a message is known here, and none may hold a quotation mark, so their number tells of names that
    # stand twice: JSON readers keep the last one silently, and a value would be lost
    marks = 10 + 2 * len(values)
    if type(times) is not int:
        marks += 2 * sum(type(time) is str for time in times) if columns else 2
    units = _NO_UNITS
    if message.u is not None:
        units = message.u
        marks += 2 + 4 * len(units)
    if payload.count(b'"') != marks:
        raise MessageRefused(WRONG_SHAPE, "got a name twice, or a quotation mark in a text; expected each name once")
    if not _is_boot(message.boot) or not 0 <= message.seq <= SEQ_MAX:
        raise MessageRefused(
            WRONG_SHAPE,
            f"got boot {_shown(message.boot)}, seq {message.seq}; expected 1 to 32 of [A-Za-z0-9_-], 0 to {SEQ_MAX}",
        )
    if set(map(type, values.values())) != (_COLUMNS if columns else _MEASURED):
        _refuse_shape(message, columns=columns)
    if columns:
        _refuse_columns(message)
        column_values, time_ns = list(values.values()), column_ns(times)
    else:
        column_values, time_ns = [(value,) for value in values.values()], [time_ns_of(times)]
    for name in units:
        if name not in values:
            raise MessageRefused(WRONG_SHAPE, f"u.{_shown(name)}: got a unit without values; expected it in v too")
    return Columns(message.boot, message.seq, time_ns, tuple(values), column_values, units)


@lru_cache(maxsize=_BOOTS_REMEMBERED)
def _is_boot(text: str) -> bool:
    return re.match(_BOOT, text) is not None


def _refuse_shape(message: _Readings, *, columns: bool) -> None:
    """`v` is not all columns, or not all values that were measured. Raises MessageRefused where that is not right."""
    for name, column in message.v.items():
        if isinstance(column, list) is not columns:
            raise MessageRefused(
                WRONG_SHAPE,
                f"v.{_shown(name)}: got {'a column' if isinstance(column, list) else 'one value'}; expected"
                f" {'a column, as t is one' if columns else 'one value, as t is one time'}",
            )
    if not columns and set(message.v.values()) <= {None}:
        raise _nothing_measured()


def _refuse_columns(message: _Readings) -> None:
    """Raises MessageRefused: no rows or too many, a column of another length, nothing measured."""
    assert isinstance(message.t, list)
    rows = len(message.t)
    if message.seq + rows - 1 > SEQ_MAX:
        raise MessageRefused(WRONG_SHAPE, f"got seq {message.seq} for {rows} rows; expected at most {SEQ_MAX}")
    if not 1 <= rows <= ROWS_MAX:
        raise MessageRefused(WRONG_SHAPE, f"got {rows} rows; expected 1 to {ROWS_MAX} in a message")
    measured = False
    for name, column in message.v.items():
        assert isinstance(column, list)
        if len(column) != rows:
            raise MessageRefused(
                WRONG_SHAPE, f"v.{_shown(name)}: got {len(column)} values; expected {rows}, one for each t"
            )
        measured = measured or column.count(None) < rows
    if not measured:
        raise _nothing_measured()


def _nothing_measured() -> MessageRefused:
    return MessageRefused(WRONG_SHAPE, "got no measured value in v; expected at least one: send nothing instead")


def decode_event(payload: bytes) -> EventMessage:
    """Payload of an `events` topic, `{"boot":…,"seq":…,"event":{…}}` → the event's own bytes.

    Raises MessageRefused: too_large, not_json, not_finite, wrong_shape. What the event says is the ledger's to judge.
    """
    message = _decode(_event_decoder, payload)
    body = bytes(message.event)
    try:
        event = json.loads(payload.decode(), object_pairs_hook=_once_each)["event"]
    except MessageRefused:
        raise
    except (ValueError, RecursionError) as error:
        raise MessageRefused(NOT_JSON, f"got bytes that are not JSON ({error}); expected an object") from None
    if not isinstance(event, dict):
        raise MessageRefused(WRONG_SHAPE, f"event: got {_shown(event)}; expected one EPCIS 2.0 event, a JSON object")
    return EventMessage(boot=message.boot, seq=message.seq, body=body)


def decode_state(payload: bytes) -> str:
    """Payload of a `state` topic, `{"state":"online"}` → `online` or `offline`. Raises MessageRefused."""
    state: str = _decode(_state_decoder, payload).state
    if state not in ("online", "offline"):
        raise MessageRefused(WRONG_SHAPE, f"state: got {_shown(state)}; expected online or offline")
    return state


def peek_identity(payload: bytes, kind: str) -> Identity | None:
    """Boot, seq and rows of a message, whatever else is in it, when they can be read beyond doubt; else None.

    The numbers of one that is recorded are found at a tenth of its price.
    """
    if len(payload) > PAYLOAD_BYTES_MAX:
        return None
    try:
        numbered = _numbered_decoder.decode(payload)
        if not _names_its_numbers_once(payload, kind):
            json.loads(payload, object_pairs_hook=_once_each)  # of two numbers, the other may be another message's
    except (ValueError, RecursionError, MessageRefused):
        return None
    rows = len(numbered.t) if kind == READINGS and isinstance(numbered.t, list) else 1
    if not 1 <= rows <= ROWS_MAX or numbered.seq + rows - 1 > SEQ_MAX:
        return None
    return Identity(boot=numbered.boot, seq=numbered.seq, rows=rows)


def _names_its_numbers_once(payload: bytes, kind: str) -> bool:
    """Whether the bytes alone say so; a closer look may find it all the same."""
    names = (b'"boot"', b'"seq"', b'"t"') if kind == READINGS else (b'"boot"', b'"seq"')
    return b"\\" not in payload and all(payload.count(name) == 1 for name in names)


def encode_readings(message: ReadingsMessage) -> bytes:
    """Rows → payload: one row in the short form, several as columns. `decode_readings` gives the same message back.

    Raises ValueError for what JSON or the format cannot hold (NaN, a time that is not whole µs, more than ROWS_MAX
    rows): a device finds out at once, not from the collector's quarantine.
    """
    for name, column in message.values.items():
        if len(column) != len(message.time_ns):
            raise ValueError(f"{name}: got {len(column)} values; expected {len(message.time_ns)}, one for each time")
        if not all(value is None or isfinite(value) for value in column):
            raise ValueError(f"{name}: got a value that is not finite; expected None where nothing was measured")
    if not 1 <= len(message.time_ns) <= ROWS_MAX:
        raise ValueError(f"got {len(message.time_ns)} rows; expected 1 to {ROWS_MAX} in a message")
    times = [time_value(time_ns) for time_ns in message.time_ns]
    one = len(times) == 1
    document: dict[str, object] = {
        "boot": message.boot,
        "seq": message.seq,
        "t": times[0] if one else times,
        "v": {name: column[0] if one else column for name, column in message.values.items()},
    }
    if message.units:
        document["u"] = message.units
    return _encoder.encode(document)


def encode_event(boot: str, seq: int, body: bytes) -> bytes:
    """An event's JSON bytes in the envelope that numbers it; the bytes stay as they are."""
    return _encoder.encode({"boot": boot, "seq": seq, "event": msgspec.Raw(body)})


def encode_state(state: str) -> bytes:
    """`online` or `offline` → payload of a retained `state` message and of the last will."""
    return _encoder.encode({"state": state})


def _too_large(payload: bytes) -> MessageRefused:
    return MessageRefused(TOO_LARGE, f"got {len(payload)} bytes; expected at most {PAYLOAD_BYTES_MAX}")


def _decode(decoder: msgspec.json.Decoder[Any], payload: bytes) -> Any:
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise _too_large(payload)
    try:
        return decoder.decode(payload)
    except (ValueError, RecursionError) as error:
        raise _refusal(payload, error) from None


def _refusal(payload: bytes, error: Exception) -> MessageRefused:
    """Name what is wrong. Only bad messages come here, so a second, slower look is fine."""
    try:
        json.loads(payload.decode(), parse_constant=_refuse_number, parse_float=_finite, parse_int=_finite)
    except MessageRefused as refusal:
        return refusal
    except RecursionError:
        return MessageRefused(NOT_JSON, "got JSON nested too deep; expected a flat message")
    except ValueError:
        return MessageRefused(NOT_JSON, f"got bytes that are not JSON ({error}); expected one JSON object")
    if not isinstance(error, msgspec.ValidationError):  # what Python's reader lets pass, half a surrogate pair say
        return MessageRefused(NOT_JSON, f"{error}; expected one JSON object in UTF-8")
    if str(error).endswith("`$.t`"):
        return MessageRefused(BAD_TIME, f"{error}; expected RFC 3339 with an offset, or integer ms since 1970")
    return MessageRefused(WRONG_SHAPE, f"{error}; expected boot, seq and what docs/wire.md names")


def _finite(text: str) -> float:
    value = float(text)
    return value if isfinite(value) else _refuse_number(text)


def _refuse_number(text: str) -> float:
    raise MessageRefused(NOT_FINITE, f"got {text[:_SHOWN_MAX]}; expected a finite number, null where none was measured")


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise MessageRefused(WRONG_SHAPE, "got a name twice in an object; expected each name once")
    return document


def _shown(value: object) -> str:
    return repr(value)[:_SHOWN_MAX]
