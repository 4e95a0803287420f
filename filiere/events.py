"""EPCIS 2.0 events: the three that the chain needs, read from and written to JSON-LD.

received   ObjectEvent ADD, bizStep receiving: a lot comes in from outside, with its origin and its evidence
started    TransformationEvent with inputs: a run begins and takes from lots
closed     TransformationEvent with outputs, same transformationID: a run ends, its products and residues were weighed

What EPCIS has no word for is said in the `filiere:` namespace. Masses are exact decimals, in kg.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, TypeGuard
from unicodedata import category

from filiere.clock import parse_time, to_text
from filiere.errors import EventRefused

LOT_URN = "urn:filiere:lot:"
RUN_URN = "urn:filiere:run:"
LINE_URN = "urn:filiere:line:"
SITE_URN = "urn:filiere:site:"
CONTEXT = [
    "https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld",
    {"filiere": "urn:filiere:term:"},
]
ORIGINS = ("post_consumer", "pre_consumer", "virgin", "bio_based", "unevidenced")
"""ISO 14021 origins that count as recycled are the first two; the fractions of a lot sum to exactly 1."""
PRODUCT, RESIDUE = "product", "residue"
EVENT_BYTES_MAX = 256 * 1024
EVENT_TIME_MIN_NS = parse_time("2020-01-01T00:00:00Z")
EVENT_TIME_MAX_NS = parse_time("2100-01-01T00:00:00Z")
MASS_KG_MAX = Decimal(1_000_000)
ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_EVENT_ID_LENGTH_MAX = 200
_NUMBER = re.compile(r"[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?")
"""A number given as a text."""
PLACES_MAX = 9
"""Decimal places of a mass, a moisture or a fraction."""
_SHOWN_MAX = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """A weighed quantity of one lot."""

    lot: str
    material: str
    mass_kg: Decimal
    """As weighed, wet."""
    u_kg: Decimal
    """Standard uncertainty of the weighing (k = 1), kg."""
    moisture: Decimal
    """Water mass fraction, wet basis, 0..1."""
    u_moisture: Decimal
    """Standard uncertainty of the moisture (k = 1)."""
    role: str = PRODUCT
    """PRODUCT or RESIDUE; inputs are always PRODUCT."""

    @property
    def dry_kg(self) -> Decimal:
        """mass_kg · (1 − moisture)."""
        return self.mass_kg * (1 - self.moisture)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A lot came in from outside."""

    event_id: str
    event_time_ns: int
    site: str
    portion: Portion
    supplier: str
    origin: Mapping[str, Decimal]
    """Origin → mass fraction as the supplier declares it; sums to exactly 1."""
    evidence: str
    """Reference of the document that proves the origin; empty = unevidenced, whatever was declared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """A run began on a line and took its inputs."""

    event_id: str
    event_time_ns: int
    run: str
    line: str
    step: str
    recipe: str
    lot: str
    """The lot that this run will make: known at the start so that the wall screen can say it."""
    inputs: tuple[Portion, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunClosed:
    """A run ended; everything that came out was weighed."""

    event_id: str
    event_time_ns: int
    run: str
    line: str
    outputs: tuple[Portion, ...]


Event = Received | RunStarted | RunClosed


def parse_event(body: bytes) -> Event:
    """EPCIS 2.0 JSON-LD → Event. Raises EventRefused: got, expected, do this."""
    if len(body) > EVENT_BYTES_MAX:
        raise EventRefused(f"got an event of {len(body)} bytes; expected at most {EVENT_BYTES_MAX}")
    try:
        document = json.loads(body.decode(), parse_float=_exact, parse_int=_exact, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise EventRefused(f"got bytes that are not JSON ({error}); expected one EPCIS 2.0 event") from None
    if not isinstance(document, dict):
        raise EventRefused(f"got a JSON {type(document).__name__}; expected one EPCIS 2.0 event, a JSON object")
    return _Fields(document).event()


def _exact(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text[:_SHOWN_MAX]} is beyond every limit") from None


def _refuse_constant(name: str) -> Decimal:
    raise ValueError(f"{name} is not JSON")


@dataclass(frozen=True, slots=True)
class _Fields:
    """A JSON object under reading; every getter raises EventRefused with the field's name."""

    document: dict[str, Any]

    def event(self) -> Event:
        if "errorDeclaration" in self.document:
            raise EventRefused("got an errorDeclaration; corrections are not taken yet: send the right event only")
        kind = self.text("type")
        step = self.text("bizStep").rsplit(":", 1)[-1].rsplit("-", 1)[-1]
        match kind:
            case "ObjectEvent" if step == "receiving" and self.text("action") == "ADD":
                return self.received()
            case "TransformationEvent" if "inputQuantityList" in self.document:
                return self.started()
            case "TransformationEvent" if "outputQuantityList" in self.document:
                return self.closed()
        raise EventRefused(
            f"got {kind} with bizStep {step!r}; expected an ObjectEvent ADD receiving, or a TransformationEvent"
            " with inputQuantityList (a start) or outputQuantityList (a close)"
        )

    def received(self) -> Received:
        portions = self.portions("quantityList")
        if len(portions) != 1:
            raise EventRefused(f"quantityList: got {len(portions)} lots; expected one lot a receiving event")
        evidence = self.document.get("filiere:evidence", "")
        if not _is_text(evidence):
            raise EventRefused(f"filiere:evidence: got {_shown(evidence)}; expected the reference of a document")
        return Received(
            event_id=self.event_id(),
            event_time_ns=self.time(),
            site=self.urn("bizLocation", SITE_URN),
            portion=portions[0],
            supplier=self.text("filiere:supplier"),
            origin=self.origin(),
            evidence=evidence.strip(),
        )

    def started(self) -> RunStarted:
        if "outputQuantityList" in self.document:
            raise EventRefused(
                "got inputs and outputs in one event; send a start with inputs, later a close with outputs"
            )
        return RunStarted(
            event_id=self.event_id(),
            event_time_ns=self.time(),
            run=self.identifier("transformationID", RUN_URN),
            line=self.urn("bizLocation", LINE_URN),
            step=self.text("filiere:step"),
            recipe=self.text("filiere:recipe"),
            lot=self.identifier("filiere:lot", LOT_URN),
            inputs=self.portions("inputQuantityList"),
        )

    def closed(self) -> RunClosed:
        return RunClosed(
            event_id=self.event_id(),
            event_time_ns=self.time(),
            run=self.identifier("transformationID", RUN_URN),
            line=self.urn("bizLocation", LINE_URN),
            outputs=self.portions("outputQuantityList"),
        )

    def text(self, name: str) -> str:
        value = self.document.get(name)
        if not _is_text(value) or not value.strip():
            raise EventRefused(f"{name}: got {_shown(value)}; expected a text")
        return value

    def identifier(self, name: str, prefix: str) -> str:
        value = self.text(name).removeprefix(prefix)
        if not ID_PATTERN.fullmatch(value):
            raise EventRefused(
                f"{name}: got {_shown(value)}; expected {prefix}ID with at most 64 letters, digits, '.', '_' or '-'"
            )
        return value

    def event_id(self) -> str:
        value = self.text("eventID")
        if len(value) > _EVENT_ID_LENGTH_MAX:
            raise EventRefused(f"eventID: got {len(value)} characters; expected at most {_EVENT_ID_LENGTH_MAX}")
        return value

    def urn(self, name: str, prefix: str) -> str:
        place = self.document.get(name)
        value = place.get("id") if isinstance(place, dict) else None
        if not _is_text(value) or not value.startswith(prefix) or len(value) == len(prefix):
            raise EventRefused(f'{name}: got {_shown(place)}; expected {{"id": "{prefix}…"}}')
        return value.removeprefix(prefix)

    def time(self) -> int:
        try:
            time_ns = parse_time(self.text("eventTime"))
        except ValueError as error:
            raise EventRefused(f"eventTime: {error}") from None
        if not EVENT_TIME_MIN_NS <= time_ns < EVENT_TIME_MAX_NS:
            raise EventRefused(
                f"eventTime: got {self.document['eventTime']}; expected a year from 2020 to 2099:"
                " set the sender's clock"
            )
        return time_ns

    def origin(self) -> dict[str, Decimal]:
        given = self.document.get("filiere:origin")
        if not isinstance(given, dict) or not given:
            raise EventRefused(f"filiere:origin: got {_shown(given)}; expected fractions of {', '.join(ORIGINS)}")
        unknown = sorted(set(given) - set(ORIGINS))
        if unknown:
            raise EventRefused(f"filiere:origin: got {_shown(unknown)}; expected only {', '.join(ORIGINS)}")
        fractions = {name: _number(given, name, high=Decimal(1)) for name in ORIGINS if name in given}
        total = sum(fractions.values(), Decimal(0))
        if total != 1:
            raise EventRefused(f"filiere:origin: got fractions that sum to {total}; expected exactly 1")
        return fractions

    def portions(self, name: str) -> tuple[Portion, ...]:
        given = self.document.get(name)
        if not isinstance(given, list) or not given:
            raise EventRefused(f"{name}: got {_shown(given)}; expected a list of weighed lots")
        return tuple(_portion(element, name) for element in given)


def _portion(element: Any, name: str) -> Portion:
    if not isinstance(element, dict):
        raise EventRefused(f"{name}: got {_shown(element)}; expected an object with epcClass, quantity and uom")
    if element.get("uom") != "KGM":
        raise EventRefused(f"{name}: got uom {_shown(element.get('uom'))}; expected KGM: state masses in kg")
    role = element.get("filiere:role", PRODUCT)
    if role not in (PRODUCT, RESIDUE):
        raise EventRefused(f"{name}: got filiere:role {_shown(role)}; expected {PRODUCT} or {RESIDUE}")
    fields = _Fields(element)
    return Portion(
        lot=fields.identifier("epcClass", LOT_URN),
        material=fields.text("filiere:material"),
        mass_kg=_number(element, "quantity", high=MASS_KG_MAX),
        u_kg=_number(element, "filiere:u_kg", high=MASS_KG_MAX),
        moisture=_number(element, "filiere:moisture", high=Decimal(1)),
        u_moisture=_number(element, "filiere:u_moisture", high=Decimal(1)),
        role=role,
    )


def _is_text(value: Any) -> TypeGuard[str]:
    """Whether people, logs and stores can take it: no control character, no half of a surrogate pair."""
    return isinstance(value, str) and not any(category(character) in ("Cc", "Cs") for character in value)


def _number(fields: dict[str, Any], name: str, *, high: Decimal) -> Decimal:
    """A decimal in [0, high], given as a JSON number or as a text."""
    value = fields.get(name)
    number = Decimal(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value
    if not isinstance(number, Decimal) or not 0 <= number <= high:
        raise EventRefused(f"{name}: got {_shown(value)}; expected a number from 0 to {high}")
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)  # it is finite
    if exponent < -PLACES_MAX:
        raise EventRefused(f"{name}: got {_shown(value)}; expected at most {PLACES_MAX} decimal places")
    # never -0, never 0E+999999, whose texts would be as long
    return number.copy_abs() if exponent <= 0 else Decimal(int(number))


def _shown(value: Any) -> str:
    return "nothing" if value is None else repr(str(value) if isinstance(value, Decimal) else value)[:_SHOWN_MAX]


def event_json(event: Event) -> bytes:
    """Event → EPCIS 2.0 JSON-LD, the same bytes for the same event (sorted keys, no spaces)."""
    document: dict[str, Any] = {
        "@context": CONTEXT,
        "eventID": event.event_id,
        "eventTime": to_text(event.event_time_ns),
        "eventTimeZoneOffset": "+00:00",
    }
    match event:
        case Received():
            document |= {
                "type": "ObjectEvent",
                "action": "ADD",
                "bizStep": "receiving",
                "bizLocation": {"id": SITE_URN + event.site},
                "quantityList": [_element(event.portion)],
                "filiere:supplier": event.supplier,
                "filiere:origin": {name: str(part) for name, part in event.origin.items()},
                "filiere:evidence": event.evidence,
            }
        case RunStarted():
            document |= {
                "type": "TransformationEvent",
                "bizStep": "creating_class_instance",
                "transformationID": RUN_URN + event.run,
                "bizLocation": {"id": LINE_URN + event.line},
                "inputQuantityList": [_element(portion) for portion in event.inputs],
                "filiere:step": event.step,
                "filiere:recipe": event.recipe,
                "filiere:lot": LOT_URN + event.lot,
            }
        case RunClosed():
            document |= {
                "type": "TransformationEvent",
                "bizStep": "creating_class_instance",
                "transformationID": RUN_URN + event.run,
                "bizLocation": {"id": LINE_URN + event.line},
                "outputQuantityList": [_element(portion) for portion in event.outputs],
            }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _element(portion: Portion) -> dict[str, Any]:
    return {
        "epcClass": LOT_URN + portion.lot,
        "quantity": float(portion.mass_kg),
        "uom": "KGM",
        "filiere:material": portion.material,
        "filiere:u_kg": str(portion.u_kg),
        "filiere:moisture": str(portion.moisture),
        "filiere:u_moisture": str(portion.u_moisture),
        "filiere:role": portion.role,
    }
