"""Receipts: what the collector answers to a device, in both directions, and which numbers a message takes. Pure.

A receipt says which numbers of one boot are on the collector's disk. It is cumulative: each one says all that the one
before said, so that a lost one costs nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import msgspec

from collector.codec import (
    EVENTS,
    NOT_JSON,
    READINGS,
    ROWS_MAX,
    SEQ_MAX,
    TOO_LARGE,
    TOPIC_ROOT,
    WRONG_SHAPE,
    Identity,
    parse_topic,
    peek_identity,
)
from collector.recorder.numbers import Span
from filiere.errors import MessageRefused

RECEIPT = "receipt"
"""Last segment of the topic on which the collector answers."""
SPANS_MAX = 100
"""Spans beyond the first gap that a receipt lists, the newest ones."""
REFUSALS_MAX = 100
"""Refused messages that a receipt lists, the newest ones."""
WORDS_MAX = 200
"""Characters of a refusal's sentence."""
RECEIPT_BYTES_MAX = 128 * 1024
NOTHING_YET = -1
"""`up_to` of a boot whose number 0 has not arrived."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A message, or some of its rows, that the collector keeps in quarantine."""

    seq: int
    """The message's first number."""
    rows: int
    """How many of its rows were refused."""
    reason: str
    """Short stable word: unknown_signal, wrong_unit, ..."""
    message: str
    """Got, expected, do this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What of one boot is on the collector's disk."""

    boot: str
    up_to: int
    """Every number from 0 to this one is; NOTHING_YET = not even 0."""
    spans: tuple[Span, ...] = ()
    """First and last number of what is beyond the first gap, in ascending order, at most SPANS_MAX."""
    refused: tuple[Refusal, ...] = field(default=())
    """What of it is in quarantine, the newest first, at most REFUSALS_MAX."""

    def covers(self, first: int, last: int) -> bool:
        """Whether all of first..last is on the disk."""
        return last <= self.up_to or any(low <= first and last <= high for low, high in self.spans)


def receipt_of(boot: str, numbers: Sequence[Span], refused: Sequence[Refusal] = ()) -> Receipt:
    """The receipt for numbers that are on the disk: ascending spans that neither touch nor overlap."""
    whole = numbers[0][1] if numbers and numbers[0][0] == 0 else NOTHING_YET
    beyond = numbers[1:] if whole != NOTHING_YET else numbers
    return Receipt(boot=boot, up_to=whole, spans=tuple(beyond[-SPANS_MAX:]), refused=tuple(refused[:REFUSALS_MAX]))


def receipt_topic(device_path: str) -> str:
    """`caux/textile/t1/extruder` → the topic on which its receipts are."""
    return f"{TOPIC_ROOT}/{device_path}/{RECEIPT}"


_Seq = Annotated[int, msgspec.Meta(ge=0, le=SEQ_MAX)]
_Boot = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_-]{1,32}\Z")]


class _Refused(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    seq: _Seq
    rows: Annotated[int, msgspec.Meta(ge=1, le=ROWS_MAX)]
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    message: Annotated[str, msgspec.Meta(max_length=WORDS_MAX)]


class _Receipt(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    boot: _Boot
    up_to: Annotated[int, msgspec.Meta(ge=NOTHING_YET, le=SEQ_MAX)]
    spans: Annotated[list[tuple[_Seq, _Seq]], msgspec.Meta(max_length=SPANS_MAX)] = []
    refused: Annotated[list[_Refused], msgspec.Meta(max_length=REFUSALS_MAX)] = []


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Receipt)


def encode_receipt(receipt: Receipt) -> bytes:
    """Receipt → payload. Sentences are cut to WORDS_MAX; `decode_receipt` gives the same receipt back."""
    refused = [
        _Refused(seq=each.seq, rows=each.rows, reason=each.reason, message=each.message[:WORDS_MAX])
        for each in receipt.refused
    ]
    return _encoder.encode(_Receipt(boot=receipt.boot, up_to=receipt.up_to, spans=list(receipt.spans), refused=refused))


def decode_receipt(payload: bytes) -> Receipt:
    """Payload of a `receipt` topic → Receipt.

    Raises MessageRefused: too_large, not_json, wrong_shape.
    """
    if len(payload) > RECEIPT_BYTES_MAX:
        raise MessageRefused(TOO_LARGE, f"got {len(payload)} bytes; expected at most {RECEIPT_BYTES_MAX}")
    try:
        read = _decoder.decode(payload)
    except msgspec.ValidationError as error:
        raise MessageRefused(WRONG_SHAPE, f"{error}; expected boot, up_to, spans and refused") from None
    except (ValueError, RecursionError) as error:
        raise MessageRefused(NOT_JSON, f"got bytes that are not JSON ({error}); expected one JSON object") from None
    before = read.up_to
    for first, last in read.spans:
        if not before + 1 < first <= last:
            raise MessageRefused(
                WRONG_SHAPE, f"spans: got [{first},{last}] after {before}; expected ascending spans with gaps between"
            )
        before = last
    refused = (Refusal(seq=each.seq, rows=each.rows, reason=each.reason, message=each.message) for each in read.refused)
    return Receipt(boot=read.boot, up_to=read.up_to, spans=tuple(read.spans), refused=tuple(refused))


def numbers_of(topic: bytes, payload: bytes) -> tuple[str, Identity] | None:
    """Device path and numbers of a logged message, as the recorder counts them; None for one that takes none, or whose
    numbers cannot be read.
    """
    try:
        where = parse_topic(topic)
    except MessageRefused:
        return None
    if where.kind not in (READINGS, EVENTS):
        return None
    identity = peek_identity(payload, where.kind)
    return None if identity is None else (where.device_path, identity)
