"""The facts of a statement, turned back into a chain: what was weighed and received, believing nothing else of it."""

from collections.abc import Iterator
from decimal import Decimal

from filiere.chain import Chain, fold
from filiere.clock import parse_time
from filiere.errors import EventEarly, EventRefused
from filiere.events import (
    EVENT_TIME_MAX_NS,
    EVENT_TIME_MIN_NS,
    MASS_KG_MAX,
    PLACES_MAX,
    PRODUCT,
    Event,
    Portion,
    Received,
    RunClosed,
    RunStarted,
)
from filiere.plant import Label
from processing.statement import NotBelieved, StatedPortion, StatedReceived, Statement

_SHOWN = 80


def facts(statement: Statement) -> Chain:
    """The chain of what a statement discloses as weighed and received.

    The laws of events and chain hold for it as for the ledger: no mass, moisture or time beyond what an event may say,
    nothing used before it exists, nothing drawn beyond what was made, no lot made twice.

    Raises:
        NotBelieved: the facts contradict each other or those laws.
    """
    try:
        return fold(_events(statement))
    except (EventRefused, EventEarly, ValueError) as error:
        raise NotBelieved(Label(fr=f"{error} (en anglais)", en=str(error))) from None


def _events(statement: Statement) -> Iterator[Event]:
    for lot in statement.received:
        yield _received(lot, site=statement.plant.site)
    for run in statement.runs:
        yield RunStarted(
            event_id=f"start {run.id}",
            event_time_ns=_time(run.start),
            run=run.id,
            line=run.line,
            step=run.step,
            recipe=run.recipe,
            lot=run.lot,
            inputs=tuple(_portion(portion) for portion in run.inputs),
        )
        yield RunClosed(
            event_id=f"close {run.id}",
            event_time_ns=_time(run.stop),
            run=run.id,
            line=run.line,
            outputs=tuple(_portion(portion, role=portion.role) for portion in run.outputs),
        )


def _received(lot: StatedReceived, *, site: str) -> Received:
    origin = {str(name): Decimal(part) for name, part in lot.origin.items()}
    total = sum(origin.values(), Decimal(0))
    if total != 1 or min(origin.values()) < 0:
        raise NotBelieved(
            Label(
                fr=f"lot {lot.lot} : les origines font {total} ; attendu : des parts de 1 exactement",
                en=f"lot {lot.lot}: got origins that sum to {total}; expected parts of exactly 1",
            )
        )
    if lot.evidence != lot.evidence.strip():
        raise NotBelieved(
            Label(
                fr=f"lot {lot.lot} : preuve {lot.evidence[:_SHOWN]!r} entourée de blancs ; attendu : la référence d'un"
                " document, ou rien",
                en=f"lot {lot.lot}: got evidence {lot.evidence[:_SHOWN]!r} with blanks around it; expected the"
                " reference of a document, or nothing",
            )
        )
    return Received(
        event_id=f"received {lot.lot}",
        event_time_ns=_time(lot.date),
        site=site,
        portion=_portion(lot),
        supplier=lot.supplier,
        origin=origin,
        evidence=lot.evidence,
    )


def _portion(stated: StatedPortion, *, role: str = PRODUCT) -> Portion:
    portion = Portion(
        lot=stated.lot,
        material=stated.material,
        mass_kg=Decimal(stated.mass_kg),
        u_kg=Decimal(stated.u_kg),
        moisture=Decimal(stated.moisture),
        u_moisture=Decimal(stated.u_moisture),
        role=role,
    )
    for name, value, high in (
        ("mass_kg", portion.mass_kg, MASS_KG_MAX),
        ("u_kg", portion.u_kg, MASS_KG_MAX),
        ("moisture", portion.moisture, Decimal(1)),
        ("u_moisture", portion.u_moisture, Decimal(1)),
    ):
        exponent = value.as_tuple().exponent
        if not 0 <= value <= high or not isinstance(exponent, int) or exponent < -PLACES_MAX:
            raise NotBelieved(
                Label(
                    fr=f"lot {stated.lot}, {name} : {value} ; attendu : de 0 à {high}, {PLACES_MAX} décimales au plus",
                    en=f"lot {stated.lot}, {name}: got {value}; expected 0 to at most {high}, with at most"
                    f" {PLACES_MAX} decimal places",
                )
            )
    return portion


def _time(text: str) -> int:
    time_ns = parse_time(text)
    if not EVENT_TIME_MIN_NS <= time_ns < EVENT_TIME_MAX_NS:
        raise NotBelieved(
            Label(fr=f"date {text} ; attendu : de 2020 à 2099", en=f"got the date {text}; expected 2020 to 2099")
        )
    return time_ns
