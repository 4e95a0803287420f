"""Pages: templates with everything escaped, and how numbers and times are written for people."""

import math
import re
from datetime import UTC, tzinfo
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import jinja2
from starlette.responses import HTMLResponse

from filiere.clock import from_ns, parse_time

Language = Literal["fr", "en"]
FOLDER = Path(__file__).parent
PLACES_MAX = 6
_MONTHS = {
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "en": "January February March April May June July August September October November December",
}
_FRENCH_SPACE = re.compile(r" (?=[:;?!»])|(?<=«) ")
_NARROW_SPACE, _NO_BREAK, _MINUS = "\u202f", "\u00a0", "\u2212"

_environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(FOLDER / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def language_of(wish: str | None) -> Language:
    """`en` when asked for, else French."""
    return "en" if wish == "en" else "fr"


def render(
    template: str, *, language: Language, status: int = 200, headers: dict[str, str] | None = None, **values: Any
) -> HTMLResponse:
    """A page in one language."""
    text = _environment.get_template(template).render(lang=language, **values)
    return HTMLResponse(text, status_code=status, headers={"Content-Language": language, **(headers or {})})


def number(value: Decimal | float | str, language: Language, places: int = 1) -> str:
    """`1234.5` → `1 234,5` (fr) or `1,234.5` (en); what is no number → `—`."""
    try:
        exact = value if isinstance(value, Decimal) else Decimal(str(value))
    except InvalidOperation:
        return "—"
    if not exact.is_finite():
        return "—"
    text = f"{exact:,.{places}f}".replace("-", _MINUS)
    return text if language == "en" else text.replace(",", _NARROW_SPACE).replace(".", ",")


def percent(value: Decimal | float | str, language: Language, places: int = 1) -> str:
    """A fraction 0..1 → `94,2 %`."""
    try:
        text = number(Decimal(str(value)) * 100, language, places)
    except InvalidOperation:
        return "—"
    return f"{text} %" if language == "en" else f"{text}{_NARROW_SPACE}%"


def places_for(uncertainty: Decimal | float | str, *, digits: int = 2, places_max: int = 2) -> int:
    """Decimal places that show `digits` significant digits of an uncertainty; one place when it is 0."""
    size = abs(float(uncertainty))
    if not math.isfinite(size) or size == 0.0:
        return 1
    return max(0, min(places_max, digits - 1 - math.floor(math.log10(size))))


def places_of(resolution: float) -> int:
    """Decimal places that show a resolution: 0.5 → 1, 0.001 → 3, 2 → 0."""
    if resolution <= 0.0:
        return 1
    return max(0, min(PLACES_MAX, -math.floor(math.log10(resolution))))


def zone(name: str) -> tzinfo:
    """A time zone by name; UTC where the system has no such zone (it is always written beside the time)."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def moment(value: int | str, language: Language, where: tzinfo, *, seconds: bool = False) -> str:
    """UTC ns, or RFC 3339 text → `23 novembre 2026 à 10:14 (CET)`."""
    local = from_ns(parse_time(value) if isinstance(value, str) else value).astimezone(where)
    clock = local.strftime("%H:%M:%S" if seconds else "%H:%M")
    joined = "at" if language == "en" else "à"
    day = f"{local.day}{_NO_BREAK}{_MONTHS[language].split()[local.month - 1]} {local.year}"
    return f"{day} {joined}{_NO_BREAK}{clock}{_NO_BREAK}({local.tzname()})"


def french(text: str) -> str:
    """The spaces that French typography keeps from breaking: before `: ; ? !` and inside guillemets."""
    return _FRENCH_SPACE.sub(_NO_BREAK, text)


def _text(label: Any, language: Language) -> str:
    """A Label, or what a certificate holds of one → the text in one language."""
    return str(label.en) if language == "en" else french(str(label.fr))


_environment.filters.update(
    number=number, percent=percent, places_for=places_for, moment=moment, text=_text, french=french
)
