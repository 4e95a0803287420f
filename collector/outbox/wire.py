"""What goes over the wire, as a device makes and reads it. Pure.

Refused here is only what could have no receipt, because its number could not be read. All else is the collector's to
judge: it keeps what is wrong with it, and says so in its receipt.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TOPIC_ROOT = "filiere/v1"
READINGS, EVENTS = "readings", "events"
ROWS_MAX, PAYLOAD_BYTES_MAX, SEQ_MAX = 1_000, 256 * 1024, 2**53
"""Of one message; and the highest number of a row."""
RECEIPT_BYTES_MAX = 128 * 1024
SHOWN_MAX = 80

_DEVICE = re.compile(r"[a-z0-9_-]{1,64}(?:/[a-z0-9_-]{1,64}){3}")
_BOOT = re.compile(r"[A-Za-z0-9_-]{1,32}")


class OutboxError(Exception):
    """Root of what goes wrong here. The message says what was got, what was expected and what to do."""


class RowRefused(OutboxError):
    """It cannot be sent: correct what makes it. Nothing was kept of this call."""


class OutboxFull(OutboxError):
    """No room in the outbox or on the disk. Nothing was kept of this call: try again when receipts have come."""


class OutboxUnusable(OutboxError):
    """The file is damaged, in use, of another kind, or an older copy of itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbered:
    """A message whose sender numbers its rows itself: `payload` holds `boot` and `seq` already."""

    device: str
    """`site/workshop/line/device`."""
    kind: str
    """`readings` or `events`."""
    boot: str
    seq: int
    rows: int
    payload: bytes


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the collector has on its disk of one boot of a device."""

    device: str
    boot: str
    spans: tuple[tuple[int, int], ...]
    """First and last numbers, ascending."""
    refused: tuple[Refused, ...] = ()


def check_numbered(message: Numbered) -> None:
    """Raises RowRefused: the collector could not tell which numbers it takes."""
    check_device(message.device)
    numbers = 1 <= message.rows <= ROWS_MAX and 0 <= message.seq <= SEQ_MAX + 1 - message.rows
    if not numbers or message.kind not in (READINGS, EVENTS) or not _BOOT.fullmatch(message.boot):
        raise RowRefused(
            f"got {shown(message.kind)}, boot {shown(message.boot)}, seq {message.seq}, {message.rows} rows; expected"
            f" {READINGS} or {EVENTS}, 1 to 32 of [A-Za-z0-9_-], a number from 0 to 2^53, 1 to {ROWS_MAX} rows"
        )
    if len(message.payload) > PAYLOAD_BYTES_MAX:
        raise RowRefused(f"got {len(message.payload)} bytes; expected at most {PAYLOAD_BYTES_MAX}")


def check_device(device: str) -> None:
    """Raises RowRefused."""
    if not _DEVICE.fullmatch(device):
        raise RowRefused(f"device: got {shown(device)}; expected site/workshop/line/device")


def body_of(row: Mapping[str, Any], now_ms: int) -> tuple[str, bytes]:
    """A row or an event → kind, and its payload without the numbers, which `numbered` puts in. Raises RowRefused."""
    event = isinstance(row, Mapping) and "type" in row
    plain = isinstance(row, Mapping) and "v" in row and row.keys() <= {"t", "v", "u"}
    if not event and not (plain and isinstance(row.get("t", now_ms), int | str)):
        raise RowRefused(f"got {shown(row)}; expected v and, where wanted, one time t and units u; or one EPCIS event")
    try:
        body = json.dumps(
            {"event": row} if event else {"t": now_ms, **row},
            ensure_ascii=False,
            separators=(",", ":"),
            allow_nan=False,
        ).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise RowRefused(f"got {shown(row)} ({error}); expected what JSON can hold, finite numbers") from None
    if len(body) > PAYLOAD_BYTES_MAX - 100:
        raise RowRefused(f"got {len(body)} bytes; expected less than 256 KiB")
    return EVENTS if event else READINGS, body


def numbered(boot: str, seq: int, body: bytes) -> bytes:
    """The payload of `body_of`'s body."""
    return b'{"boot":"%s","seq":%d,%s' % (boot.encode(), seq, body[1:])


def read_receipt(device: str, payload: bytes) -> Receipt:
    """Payload of a device's `receipt` topic → Receipt. Raises OutboxError: it cannot be read; nothing is let go of."""
    try:
        if len(payload) > RECEIPT_BYTES_MAX:
            raise ValueError(len(payload))  # noqa: TRY301 - told as whatever else is wrong with it
        read = json.loads(payload)
        boot, up_to = _text(read["boot"]), _number(read["up_to"], -1)
        spans = [(0, up_to)] if up_to >= 0 else []
        spans += [(_number(first), _number(last)) for first, last in read.get("spans", ())]
        refused = [
            Refused(
                device, boot, _number(each["seq"]), _number(each["rows"]), _text(each["reason"]), _text(each["message"])
            )
            for each in read.get("refused", ())
        ]
        return Receipt(device, boot, tuple(spans), tuple(refused))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise OutboxError(f"got a receipt that cannot be read ({shown(error)}); expected boot, up_to, spans") from None


def shown(value: object) -> str:
    """What was got, short, on one line."""
    text = ascii(value)
    return text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "…"


def _number(value: object, least: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= SEQ_MAX:
        raise ValueError(value)
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value
