"""The facts of a statement, turned back into a chain: what was weighed and received, believing nothing else of it."""

from collections.abc import Iterator
from decimal import Decimal

from filiere.chain import Chain, fold
from filiere.clock import parse_time
from filiere.errors import EventEarly, EventRefused, NotAuthentic
from filiere.events import PRODUCT, Event, Portion, Received, RunClosed, RunStarted
from processing.statement import StatedPortion, StatedReceived, Statement


def facts(statement: Statement) -> Chain:
    """The chain of what a statement discloses as weighed and received.

    The laws of the chain hold for it as for the ledger: nothing is used before it exists, nothing drawn beyond what
    was made, no lot made twice.

    Raises:
        NotAuthentic: the facts contradict each other, or a time is not one.
    """
    try:
        return fold(_events(statement))
    except (EventRefused, EventEarly, ValueError) as error:
        raise NotAuthentic(str(error)) from None


def _events(statement: Statement) -> Iterator[Event]:
    for lot in statement.received:
        yield _received(lot, site=statement.plant.site)
    for run in statement.runs:
        yield RunStarted(
            event_id=f"start {run.id}",
            event_time_ns=parse_time(run.start),
            run=run.id,
            line=run.line,
            step=run.step,
            recipe=run.recipe,
            lot=run.lot,
            inputs=tuple(_portion(portion) for portion in run.inputs),
        )
        yield RunClosed(
            event_id=f"close {run.id}",
            event_time_ns=parse_time(run.stop),
            run=run.id,
            line=run.line,
            outputs=tuple(_portion(portion, role=portion.role) for portion in run.outputs),
        )


def _received(lot: StatedReceived, *, site: str) -> Received:
    origin = {str(name): Decimal(part) for name, part in lot.origin.items()}
    total = sum(origin.values(), Decimal(0))
    if total != 1 or min(origin.values()) < 0:
        raise NotAuthentic(f"lot {lot.lot}: got origins that sum to {total}; expected parts of exactly 1")
    return Received(
        event_id=f"received {lot.lot}",
        event_time_ns=parse_time(lot.date),
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
    if min(portion.mass_kg, portion.u_kg, portion.moisture, portion.u_moisture) < 0 or portion.moisture > 1:
        raise NotAuthentic(f"lot {stated.lot}: got a negative quantity or a moisture above 1")
    return portion
