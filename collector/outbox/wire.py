"""What goes over the wire, as a device makes and reads it: rows, events, payloads, receipts. Pure.

What the collector would refuse is refused here, where whoever sends it can still mend it.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

TOPIC_ROOT = "filiere/v1"
READINGS, EVENTS = "readings", "events"
ROWS_MAX, PAYLOAD_BYTES_MAX, SEQ_MAX = 1_000, 256 * 1024, 2**53
"""Of one message; and the highest number of a row."""
TIME_MS_MAX = 2**62 // 1_000_000
RECEIPT_BYTES_MAX = 128 * 1024
SHOWN_MAX = 80

_DEVICE = re.compile(r"[a-z0-9_-]{1,64}(?:/[a-z0-9_-]{1,64}){3}")
_BOOT = re.compile(r"[A-Za-z0-9_-]{1,32}")
_NAME = re.compile(r'[^"\\\x00-\x1f\x7f\ud800-\udfff]{1,64}')
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


class OutboxError(Exception):
    """Root of what goes wrong here. The message says what was got, what was expected and what to do."""


class RowRefused(OutboxError):
    """The collector would refuse it too: correct what sends it. Nothing was kept of this call."""


class OutboxFull(OutboxError):
    """No room in the outbox or on the disk. Nothing was kept of this call: try again when receipts have come."""


class OutboxUnusable(OutboxError):
    """The file is damaged, in use, of another kind, or an older copy of itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """What the collector keeps in quarantine, and why. It is safe there, and not sent again."""

    device: str
    boot: str
    seq: int
    """Number of its first row that was refused."""
    rows: int
    reason: str
    """Short stable word: unknown_signal, wrong_unit, ..."""
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What the collector has on its disk of one boot of a device."""

    boot: str
    spans: tuple[tuple[int, int], ...]
    """First and last numbers, ascending, with gaps between."""
    refused: tuple[Refused, ...] = ()


def refuse_unless(true: object, words: str) -> None:
    """Raises RowRefused."""
    if not true:
        raise RowRefused(words)


def check_device(device: str) -> None:
    """Raises RowRefused."""
    refuse_unless(_DEVICE.fullmatch(device), f"device: got {shown(device)}; expected site/workshop/line/device")


def check_boot(boot: str) -> None:
    """Raises RowRefused."""
    refuse_unless(_BOOT.fullmatch(boot), f"boot: got {shown(boot)}; expected 1 to 32 of [A-Za-z0-9_-]")


def row_body(row: Mapping[str, Any], now_ms: int) -> bytes:
    """`{"t": ..., "v": {...}, "u": {...}}` → JSON; `t` is now where it is absent. Raises RowRefused."""
    time: Any = row.get("t", now_ms)
    values: Any = row.get("v")
    units: Any = row.get("u", {})
    other = [name for name in row if name not in ("t", "v", "u")]
    refuse_unless(not other, f"got the name {shown(other[:1])}; expected t, v and u alone")
    refuse_unless(isinstance(values, dict) and values, f"v: got {shown(values)}; expected signal → value, at least one")
    refuse_unless(isinstance(units, dict), f"u: got {shown(units)}; expected signal → unit")
    _check_time(time)
    for name, value in values.items():
        fine = isinstance(name, str) and _NAME.fullmatch(name)
        refuse_unless(fine, f"v: got the name {shown(name)}; expected 1 to 64 signs, no quotation mark or backslash")
        refuse_unless(value is None or _is_finite(value), f"v.{name}: got {shown(value)}; expected a finite number")
    refuse_unless(any(value is not None for value in values.values()), "v: got nothing measured; expected a number")
    for name, unit in units.items():
        refuse_unless(name in values, f"u.{shown(name)}: got a unit without a value; expected it in v too")
        fine = isinstance(unit, str) and _NAME.fullmatch(unit)
        refuse_unless(fine, f"u.{name}: got {shown(unit)}; expected a unit such as Cel")
    body = _json({"t": time, "v": values, **({"u": units} if units else {})})
    refuse_unless(len(body) <= PAYLOAD_BYTES_MAX - 100, f"got {len(body)} bytes; expected a row under 256 KiB")
    return body


def event_payload(boot: str, seq: int, event: Mapping[str, Any]) -> bytes:
    """An EPCIS event in the envelope that numbers it. Raises RowRefused."""
    try:
        body = _json(event)
    except (TypeError, ValueError, RecursionError) as error:
        raise RowRefused(f"event: got what JSON cannot hold ({error}); expected one EPCIS 2.0 event") from None
    refuse_unless(len(body) <= PAYLOAD_BYTES_MAX - 100, f"got {len(body)} bytes; expected an event under 256 KiB")
    return b'{"boot":"%s","seq":%d,"event":%s}' % (boot.encode(), seq, body)


def readings_payloads(boot: str, seq: int, bodies: Sequence[bytes]) -> Iterator[bytes]:
    """Rows numbered from `seq` on → payloads, columns of as many rows as the format allows.

    Only rows of the same signals in the same units go together: the collector refuses a message as a whole, and a row
    with a signal that it does not know shall not take others with it.
    """
    rows: list[dict[str, Any]] = [json.loads(body) for body in bodies]
    start = 0
    while start < len(rows):
        stop = start + 1
        while stop < min(len(rows), start + ROWS_MAX) and _alike(rows[start], rows[stop]):
            stop += 1
        while len(payload := _columns(boot, seq + start, rows[start:stop])) > PAYLOAD_BYTES_MAX:
            stop = start + (stop - start) // 2
        yield payload
        start = stop


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return bool(one["v"].keys() == other["v"].keys() and one.get("u") == other.get("u"))


def _columns(boot: str, seq: int, rows: Sequence[Mapping[str, Any]]) -> bytes:
    first, one = rows[0], len(rows) == 1
    document = {
        "boot": boot,
        "seq": seq,
        "t": first["t"] if one else [row["t"] for row in rows],
        "v": first["v"] if one else {name: [row["v"][name] for row in rows] for name in first["v"]},
    }
    return _json({**document, "u": first["u"]} if "u" in first else document)


def read_receipt(device: str, payload: bytes) -> Receipt:
    """Payload of a device's `receipt` topic → Receipt. Raises OutboxError: it cannot be read; nothing is let go of."""

    def refuse(words: str) -> NoReturn:
        raise OutboxError(f"got a receipt that cannot be read ({words}); expected boot, up_to, spans and refused")

    if len(payload) > RECEIPT_BYTES_MAX:
        refuse(f"{len(payload)} bytes")
    try:
        read = json.loads(payload)
    except (ValueError, RecursionError) as error:
        refuse(str(error))
    if not isinstance(read, dict) or not isinstance(read.get("boot"), str) or not _BOOT.fullmatch(read["boot"]):
        refuse("no boot")
    up_to: Any = read.get("up_to")
    spans, refused = read.get("spans", []), read.get("refused", [])
    if not _is_number(up_to, -1) or not isinstance(spans, list) or not isinstance(refused, list):
        refuse("no up_to, or no lists")
    whole: list[tuple[int, int]] = [(0, up_to)] if up_to >= 0 else []
    for span in spans:
        before = whole[-1][1] if whole else -1
        if not isinstance(span, list) or len(span) != 2 or not all(_is_number(each, 0) for each in span):
            refuse(f"span {shown(span)}")
        if not before < span[0] <= span[1]:
            refuse(f"span {shown(span)} after {before}")
        whole.append((span[0], span[1]))
    told = []
    for each in refused:
        fine = isinstance(each, dict) and _is_number(each.get("seq"), 0) and _is_number(each.get("rows"), 1)
        if not fine or not all(isinstance(each.get(name), str) for name in ("reason", "message")):
            refuse(f"refusal {shown(each)}")
        words = {name: each[name] for name in ("seq", "rows", "reason", "message")}
        told.append(Refused(device=device, boot=read["boot"], **words))
    return Receipt(boot=read["boot"], spans=tuple(whole), refused=tuple(told))


def shown(value: object) -> str:
    """What was got, short, on one line."""
    text = ascii(value)
    return text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "…"


def _is_number(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= SEQ_MAX


def _is_finite(value: object) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer that no 64-bit float holds
        return False


def _check_time(time: object) -> None:
    if isinstance(time, str) and _TIME.fullmatch(time):
        try:
            datetime.fromisoformat(time.upper())
        except ValueError as error:
            raise RowRefused(f"t: got {shown(time)} ({error}); expected a time that is one") from None
        return
    fine = isinstance(time, int) and not isinstance(time, bool) and abs(time) <= TIME_MS_MAX
    refuse_unless(fine, f"t: got {shown(time)}; expected ms since 1970, or RFC 3339 with an offset such as Z or +01:00")


def _json(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
