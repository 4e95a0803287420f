"""What is true of every lot: what it is made of, where it comes from, and what people say of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from filiere.events import PRODUCT, Event, Portion, Received, RunClosed
from simulators.line.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """What a lot was made from."""

    lot: str
    dry_g: int
    water_g: int
    """As it was when it was fed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LotTruth:
    """One lot as it truly was when it was received or made."""

    lot: str
    material: str
    role: str
    """`product` or `residue`; what is received is a product."""
    run: str
    """The run that made it; empty = it was received."""
    time_ns: int
    """When it was received, or its run closed, UTC ns."""
    dry_g: int
    water_g: int
    composition: Mapping[str, float]
    """Substance → share of the dry mass; adds up to 1, and is empty where nothing came out."""
    origin: Mapping[str, float]
    """Origin → share of the dry mass; the same. What evidence proves of it is another matter."""
    parents: tuple[Parent, ...]
    """Everything that its run took; empty = it was received."""
    told_kg: Decimal | None
    """Wet mass as it was written down; None = nobody said a word of it."""
    told_moisture: Decimal | None


def lots_of(plan: Plan, told: Sequence[Event]) -> tuple[LotTruth, ...]:
    """The lots of a cycle: received ones in the order of arrival, then what each run made."""
    said = _said(told)
    received = [
        _truth(
            said,
            lot=stock.lot,
            material=stock.material,
            time_ns=time_ns,
            dry_g=stock.dry_g,
            water_g=stock.water_g,
            composition=stock.composition,
            origin=stock.origin,
        )
        for stock, time_ns in plan.received
    ]
    made = [
        _truth(
            said,
            lot=flow.portion.lot,
            material=flow.portion.material,
            role=flow.portion.role,
            run=stage.run,
            time_ns=plan.time_ns(stage.stop_s),
            dry_g=flow.dry_g,
            water_g=flow.water_g,
            composition=flow.composition,
            origin=flow.origin,
            parents=tuple(
                Parent(lot=each.portion.lot, dry_g=each.dry_g, water_g=each.water_g) for each in stage.inputs
            ),
        )
        for stage in plan.stages
        for flow in stage.outputs
    ]
    return (*received, *made)


def _truth(
    said: Mapping[str, Portion],
    *,
    lot: str,
    material: str,
    role: str = PRODUCT,
    run: str = "",
    time_ns: int,
    dry_g: int,
    water_g: int,
    composition: Mapping[str, float],
    origin: Mapping[str, float],
    parents: tuple[Parent, ...] = (),
) -> LotTruth:
    portion = said.get(lot)
    return LotTruth(
        lot=lot,
        material=material,
        role=role,
        run=run,
        time_ns=time_ns,
        dry_g=dry_g,
        water_g=water_g,
        composition=composition,
        origin=origin,
        parents=parents,
        told_kg=None if portion is None else portion.mass_kg,
        told_moisture=None if portion is None else portion.moisture,
    )


def _said(told: Sequence[Event]) -> dict[str, Portion]:
    """Lot → what was written down when it came into being."""
    said: dict[str, Portion] = {}
    for event in told:
        if isinstance(event, Received):
            said[event.portion.lot] = event.portion
        elif isinstance(event, RunClosed):
            said |= {portion.lot: portion for portion in event.outputs}
    return said
