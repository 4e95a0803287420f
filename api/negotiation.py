"""What the client would rather read, and whether it has it already (RFC 9110, sections 12.5.1 and 13.1.2). Pure."""

import hashlib
from collections.abc import Iterator

ACCEPT_CHARACTERS_MAX = 2000


def prefers_html(accept: str) -> bool:
    """True when `text/html` is wanted more than `application/json`. No wish, or `*/*`: JSON."""
    ranges = tuple(_ranges(accept[:ACCEPT_CHARACTERS_MAX]))
    return _quality(ranges, "text", "html") > _quality(ranges, "application", "json")


def _ranges(accept: str) -> Iterator[tuple[str, str, float]]:
    for part in accept.lower().split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        kind, _, subtype = media.partition("/")
        quality = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                quality = _number(value)
        yield kind, subtype, quality


def _number(text: str) -> float:
    """A quality from 0 to 1; what is not one counts as 0."""
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if 0.0 <= value <= 1.0 else 0.0


def _quality(ranges: tuple[tuple[str, str, float], ...], kind: str, subtype: str) -> float:
    """The most specific range that fits decides."""
    for wanted in ((kind, subtype), (kind, "*"), ("*", "*")):
        fitting = [quality for *media, quality in ranges if tuple(media) == wanted]
        if fitting:
            return max(fitting)
    return 0.0


def strong_etag(body: bytes) -> str:
    """The bytes' SHA-256: equal tags mean equal bytes."""
    return f'"{hashlib.sha256(body).hexdigest()}"'


def is_known(if_none_match: str | None, etag: str) -> bool:
    """True when the client has these bytes: answer 304."""
    if if_none_match is None:
        return False
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return etag in tags or "*" in tags
