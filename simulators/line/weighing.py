"""What is written down of a mass: what the scale and the sample say, with the uncertainty that they state."""

from decimal import Decimal

import numpy as np

from filiere.events import Portion
from simulators.line.plan import Flow
from simulators.line.randomness import bounded_normal
from simulators.line.state import Stock

ERROR_SHARE = 0.6
"""Share of the stated standard uncertainty that is noise from one weighing to the next; the rest of it (calibration,
creep, tare) stays the same for all weighings of a lot and cancels in its balance [K]."""
PLACES_MOISTURE = Decimal("0.00001")


def weighed(chance: np.random.RandomState, true_kg: float, u_kg: Decimal, resolution_kg: Decimal) -> Decimal:
    """What the scale shows, at least one step of its display."""
    shown_kg = true_kg + ERROR_SHARE * float(u_kg) * bounded_normal(chance)
    return max(1, round(shown_kg / float(resolution_kg))) * resolution_kg


def sampled(chance: np.random.RandomState, moisture: float, u_moisture: Decimal) -> Decimal:
    """What a sample says of a moisture, mass fraction."""
    shown = min(1.0, max(0.0, moisture + ERROR_SHARE * float(u_moisture) * bounded_normal(chance)))
    return Decimal(repr(shown)).quantize(PLACES_MOISTURE)


def portion_of(stock: Stock, mass_kg: Decimal, u_kg: Decimal) -> Portion:
    """What is written down when a mass (wet kg, as weighed) of a lot goes into a run."""
    return Portion(
        lot=stock.lot,
        material=stock.material,
        mass_kg=mass_kg,
        u_kg=u_kg,
        moisture=stock.moisture,
        u_moisture=stock.u_moisture,
    )


def flow_of(stock: Stock, mass_kg: Decimal, u_kg: Decimal, dry_g: int, water_g: int) -> Flow:
    """So much of a lot, in truth and on paper."""
    return Flow(
        portion=portion_of(stock, mass_kg, u_kg),
        dry_g=dry_g,
        water_g=water_g,
        composition=stock.composition,
        origin=stock.origin,
    )


def stock_of(flow: Flow) -> Stock:
    """What came out of a run, as a lot in store."""
    return Stock(
        lot=flow.portion.lot,
        material=flow.portion.material,
        dry_g=flow.dry_g,
        water_g=flow.water_g,
        composition=flow.composition,
        origin=flow.origin,
        book_kg=flow.portion.mass_kg,
        u_kg=flow.portion.u_kg,
        moisture=flow.portion.moisture,
        u_moisture=flow.portion.u_moisture,
    )
