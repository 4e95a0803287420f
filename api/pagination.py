"""Cursor pages: newest first, a page begins after the last entry of the one before. Pure.

A cursor is opaque to clients. It holds the place in the order and the filters it belongs to, so that a cursor used with
other filters is refused instead of skipping entries in silence.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from api.problems import BadRequest

PAGE_LIMIT_DEFAULT = 50
PAGE_LIMIT_MAX = 200
CURSOR_CHARACTERS_MAX = 400
_VERSION = 1
_TIME_NS_MAX = 2**63

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Place:
    """Where an entry stands: by time, then by id, so that no two are alike."""

    time_ns: int
    id: str


def filter_digest(**filters: str | None) -> str:
    """Short name of a set of filters."""
    return hashlib.sha256(json.dumps(filters, sort_keys=True).encode()).hexdigest()[:16]


def encode_cursor(place: Place, digest: str) -> str:
    """Place and filters → opaque text for a URL."""
    text = json.dumps([_VERSION, place.time_ns, place.id, digest], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str, digest: str) -> Place:
    """Raises BadRequest: not a cursor of this server, or one of other filters."""
    refused = BadRequest(
        f"cursor: got {cursor[:40]!r}; expected a next_cursor of this server: leave it out to begin at the first page"
    )
    if not cursor.isascii() or len(cursor) > CURSOR_CHARACTERS_MAX:
        raise refused
    try:
        padded = cursor.encode() + b"=" * (-len(cursor) % 4)
        fields: Any = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise refused from None
    match fields:
        case [int(version), int(time_ns), str(lot), str(filters)] if (
            version == _VERSION and -_TIME_NS_MAX <= time_ns < _TIME_NS_MAX
        ):
            if filters != digest:
                raise BadRequest(
                    "cursor: got one that belongs to other filters; expected the filters of the page it came from"
                )
            return Place(time_ns=time_ns, id=lot)
    raise refused


def page_after(entries: Sequence[tuple[Place, T]], after: Place | None, limit: int) -> tuple[list[T], Place | None]:
    """Entries in falling order → the page after a place, and the place to go on from (None at the end)."""
    rest = [entry for entry in entries if after is None or entry[0] < after]
    page = rest[:limit]
    return [entry for _, entry in page], page[-1][0] if len(rest) > limit else None
