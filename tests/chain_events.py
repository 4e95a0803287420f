"""Builders of events with sane defaults: bales → sorting → extrusion, at one event an hour."""

import random
from decimal import ROUND_DOWN, Decimal

from filiere.clock import NS_PER_S, parse_time
from filiere.events import PRODUCT, RESIDUE, Event, Portion, Received, RunClosed, RunStarted

LINE = "caux/textile/t1"
NOON_NS = parse_time("2026-03-11T12:00:00Z")


def hour(number: float) -> int:
    return NOON_NS + round(number * 3600) * NS_PER_S


def portion(
    lot: str,
    mass_kg: str = "500",
    material: str = "textile_bale",
    *,
    role: str = PRODUCT,
    moisture: str = "0",
    u_kg: str = "0.2",
) -> Portion:
    return Portion(
        lot=lot,
        material=material,
        mass_kg=Decimal(mass_kg),
        u_kg=Decimal(u_kg),
        moisture=Decimal(moisture),
        u_moisture=Decimal("0.0005"),
        role=role,
    )


def received(
    lot: str = "B1",
    mass_kg: str = "500",
    material: str = "textile_bale",
    *,
    at: float = 0,
    evidence: str = "BSD-1",
    origin: dict[str, str] | None = None,
    event_id: str = "",
) -> Received:
    return Received(
        event_id=event_id or f"urn:test:receive-{lot}",
        event_time_ns=hour(at),
        site="caux",
        portion=portion(lot, mass_kg, material),
        supplier="Collecte normande",
        origin={name: Decimal(part) for name, part in (origin or {"post_consumer": "1"}).items()},
        evidence=evidence,
    )


def started(
    run: str = "R1",
    lot: str = "S1",
    *inputs: Portion,
    at: float = 1,
    line: str = LINE,
    step: str = "sorting",
    recipe: str = "tri-pp",
    event_id: str = "",
) -> RunStarted:
    return RunStarted(
        event_id=event_id or f"urn:test:start-{run}",
        event_time_ns=hour(at),
        run=run,
        line=line,
        step=step,
        recipe=recipe,
        lot=lot,
        inputs=inputs or (portion("B1"),),
    )


def closed(run: str = "R1", *outputs: Portion, at: float = 2, line: str = LINE, event_id: str = "") -> RunClosed:
    default = (
        portion("S1", "450", "sorted_textile"),
        portion("S1-reject", "50", "sorting_reject", role=RESIDUE),
    )
    return RunClosed(
        event_id=event_id or f"urn:test:close-{run}",
        event_time_ns=hour(at),
        run=run,
        line=line,
        outputs=outputs or default,
    )


def two_steps() -> list[Event]:
    """Two bales and a masterbatch → sorted textile → granulate, complete and balanced."""
    return [
        received("B1", "500"),
        received("B2", "500", evidence=""),
        received("M1", "18", "masterbatch", origin={"virgin": "1"}),
        started("R1", "S1", portion("B1"), portion("B2")),
        closed(
            "R1",
            portion("S1", "900", "sorted_textile"),
            portion("S1-reject", "100", "sorting_reject", role=RESIDUE),
        ),
        started(
            "R2",
            "G1",
            portion("S1", "900", "sorted_textile"),
            portion("M1", "18", "masterbatch"),
            at=3,
            step="extrusion",
            recipe="pp-gris",
        ),
        closed(
            "R2",
            portion("G1", "900", "recycled_granulate"),
            portion("G1-purge", "18", "extrusion_purge", role=RESIDUE),
            at=5,
        ),
    ]


def part_of(mass_kg: Decimal, parts: int) -> Decimal:
    return (mass_kg / parts).quantize(Decimal("0.001"), ROUND_DOWN)


def some_plant(dice: random.Random) -> list[Event]:
    """A consistent set on three lines: lots split over runs and merged by them, some runs open, some lots left over."""
    left = {f"B{number}": Decimal(dice.randrange(1, 900)) for number in range(dice.randrange(1, 4))}
    events: list[Event] = [received(lot, str(mass_kg)) for lot, mass_kg in left.items()]
    for number in range(dice.randrange(8)):
        run, lot, line = f"R{number}", f"L{number}", f"caux/textile/t{dice.randrange(3)}"
        inputs = []
        for taken in dice.sample(sorted(left), k=dice.randrange(1, min(4, len(left) + 1))):
            mass_kg = part_of(left[taken], dice.choice((1, 2, 4)))
            left[taken] -= mass_kg
            inputs.append(portion(taken, str(mass_kg)))
        events.append(started(run, lot, *inputs, at=2 * number + 1, line=line))
        if dice.random() < 0.8:
            left[lot] = part_of(sum((one.mass_kg for one in inputs), Decimal(0)), 2)
            residue = portion(f"{lot}-reject", str(left[lot]), role=RESIDUE)
            events.append(closed(run, portion(lot, str(left[lot])), residue, at=2 * number + 2, line=line))
    return events
