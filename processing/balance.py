"""Mass balance of a run, on dry mass, with its combined uncertainty (JCGM 100, GUM, 5.1).

    dry = m·(1 − w)          difference = Σ dry in − Σ dry products − Σ dry residues
    u² = Σ ((1 − w)·u_m)² + Σ (Σ m)²·u_w²          balanced when |difference| ≤ k·u, k = 2

A weighing is measured each time; a moisture once a lot: portions of one lot that state the same moisture share it, so
their terms are added before they are squared. The test is two-sided: a process can lose (a weighing that is missing)
or gain (flax that took up water after its moisture was measured).
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from filiere.chain import Run
from filiere.errors import BalanceError
from filiere.events import PRODUCT, Portion
from processing.exact import COVERAGE_FACTOR, MASS_PLACES, SHARE_PLACES, quantized, square_root

MoistureKey = tuple[str, Decimal, Decimal]
"""One measurement of moisture: lot, value, standard uncertainty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MassBalance:
    """The masses of one run. Rounded to 1 mg, half to even; `balanced` was decided before rounding."""

    feed_dry_kg: Decimal
    product_dry_kg: Decimal
    residue_dry_kg: Decimal
    water_in_kg: Decimal
    water_out_kg: Decimal
    difference_kg: Decimal
    """Dry in − dry out: above 0 = lost, below 0 = gained."""
    u_kg: Decimal
    """Standard uncertainty of the difference (k = 1)."""
    k: int
    closure: Decimal
    """(product + residue) / feed, dry."""
    balanced: bool


def dry_kg(portion: Portion) -> Fraction:
    """m·(1 − w), exact."""
    return Fraction(portion.mass_kg) * (1 - Fraction(portion.moisture))


def feed_dry_kg(run: Run) -> Fraction:
    """Dry mass that went into a run, kg, exact. Raises BalanceError when there is none."""
    feed = _dry(run.inputs)
    if feed <= 0:
        raise BalanceError(
            f"run {run.id}: got no dry mass in; expected a weighed feed: correct the masses of its start"
        )
    return feed


def moisture_key(portion: Portion) -> MoistureKey:
    """Portions with the same key share one measurement of moisture."""
    return portion.lot, portion.moisture, portion.u_moisture


def mass_balance(run: Run) -> MassBalance:
    """Add up one closed run.

    Raises:
        BalanceError: the run is open, or no dry mass went in.
    """
    if not run.closed:
        raise BalanceError(
            f"run {run.id}: it is still open; weigh what came out and close it, then ask for its balance"
        )
    feed = feed_dry_kg(run)
    product = _dry(portion for portion in run.outputs if portion.role == PRODUCT)
    residue = _dry(portion for portion in run.outputs if portion.role != PRODUCT)
    difference = feed - product - residue
    variance = _variance(run)
    return MassBalance(
        feed_dry_kg=quantized(feed, MASS_PLACES),
        product_dry_kg=quantized(product, MASS_PLACES),
        residue_dry_kg=quantized(residue, MASS_PLACES),
        water_in_kg=quantized(_wet(run.inputs) - feed, MASS_PLACES),
        water_out_kg=quantized(_wet(run.outputs) - product - residue, MASS_PLACES),
        difference_kg=quantized(difference, MASS_PLACES),
        u_kg=square_root(variance, MASS_PLACES),
        k=COVERAGE_FACTOR,
        closure=quantized((product + residue) / feed, SHARE_PLACES),
        balanced=difference**2 <= COVERAGE_FACTOR**2 * variance,
    )


def _dry(portions: Iterable[Portion]) -> Fraction:
    return sum((dry_kg(portion) for portion in portions), Fraction(0))


def _wet(portions: Iterable[Portion]) -> Fraction:
    return sum((Fraction(portion.mass_kg) for portion in portions), Fraction(0))


def _variance(run: Run) -> Fraction:
    """u² of the difference, kg², exact."""
    weighing = Fraction(0)
    wet_by_moisture: dict[MoistureKey, Fraction] = defaultdict(Fraction)
    for portion in (*run.inputs, *run.outputs):
        weighing += ((1 - Fraction(portion.moisture)) * Fraction(portion.u_kg)) ** 2
        wet_by_moisture[moisture_key(portion)] += Fraction(portion.mass_kg)
    return weighing + sum(
        ((wet * Fraction(u)) ** 2 for (_, _, u), wet in wet_by_moisture.items()),
        Fraction(0),
    )
