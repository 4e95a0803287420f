"""Recycled content of a lot: dry mass carried through the graph, exact, with its uncertainty.

A received lot has the origin that its evidence proves; without evidence it is unevidenced, whatever was declared. Every
product of a run has the mix of its dry inputs, and its residues leave with the same mix:

    x[product] = Σ d[i]·x[i] / D          D = Σ d[i]          d = m·(1 − w)
    recycled = post-consumer + pre-consumer (ISO 14021, 7.8.1); bio-based and virgin are never recycled

Uncertainty (JCGM 100, GUM, 5.1.2), back to what was measured: each weighing m of a run's input, and each moisture w,
which one lot shares between all runs that state the same one (so a lot that was used twice is counted as correlated).
With a = ∂x/∂x[run], accumulated from the lot backwards:

    ∂x/∂m[i] = a·(x[i] − x[run])/D·(1 − w[i])          ∂x/∂w[i] = −a·(x[i] − x[run])/D·m[i]
    u² = Σ (∂x/∂v·u(v))²

All of it in rational numbers; only the printed results are rounded.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from filiere.chain import Chain, Lot, Run
from filiere.errors import BalanceError
from filiere.events import ORIGINS, Received
from filiere.plant import Label
from processing.balance import MoistureKey, dry_kg, feed_dry_kg, moisture_key
from processing.exact import COVERAGE_FACTOR, SHARE_PLACES, shares, square_root
from processing.genealogy import Trace, trace

RECYCLED = ("post_consumer", "pre_consumer")
UNEVIDENCED = "unevidenced"
IDENTITY_PRESERVED, SEGREGATED, CONTROLLED_BLENDING = "identity_preserved", "segregated", "controlled_blending"
CUSTODY_MODELS = {
    IDENTITY_PRESERVED: Label(fr="identité préservée", en="identity preserved"),
    SEGREGATED: Label(fr="ségrégation", en="segregated"),
    CONTROLLED_BLENDING: Label(fr="mélange contrôlé", en="controlled blending"),
}
METHOD = Label(
    fr="Masse sèche suivie d'opération en opération ; les rebuts partent dans la même proportion ; un lot sans"
    " preuve ne compte pas comme recyclé. U95 = 2·u, propagation du GUM depuis les pesées et les humidités.",
    en="Dry mass followed from run to run; residues leave in the same proportion; a lot without evidence does"
    " not count as recycled. U95 = 2·u, GUM propagation from the weighings and the moistures.",
)

Mix = Mapping[str, Fraction]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What may be said of the origin of a lot: fractions of dry mass, 0..1, 6 places; `origin` sums to exactly 1."""

    lot: str
    recycled: Decimal
    """post_consumer + pre_consumer, exactly."""
    u95: Decimal
    """Expanded uncertainty (k = 2) of `recycled`."""
    origin: Mapping[str, Decimal]
    """All five origins."""
    custody_model: str
    """ISO 22095: identity_preserved (one received lot), segregated (all equally recycled) or controlled_blending."""
    method: Label


def claim(chain: Chain, lot_id: str) -> Claim:
    """The claim for a lot, out of the received lots and the runs behind it.

    Raises:
        NotFound: no such lot.
        BalanceError: a run behind it took no dry mass, or the lot has none.
    """
    behind = trace(chain, lot_id, "back")
    if dry_kg(chain.lots[lot_id].portion) <= 0:
        raise BalanceError(f"lot {lot_id}: got no dry mass; expected a weighed lot: of nothing there are no shares")
    mixes = _mixes(behind)
    origin = shares(mixes[lot_id])
    recycled = sum((origin[name] for name in RECYCLED), Decimal(0))
    u95 = square_root(COVERAGE_FACTOR**2 * _variance(behind, mixes), SHARE_PLACES)
    return Claim(
        lot=lot_id,
        recycled=recycled,
        u95=u95,
        origin=origin,
        custody_model=_custody_model(behind, mixes),
        method=METHOD,
    )


def proven_origin(received: Received) -> dict[str, Fraction]:
    """All five origins of a received lot; only unevidenced when there is no evidence."""
    if not received.evidence:
        return {name: Fraction(name == UNEVIDENCED) for name in ORIGINS}
    return {name: Fraction(received.origin.get(name, Decimal(0))) for name in ORIGINS}


def recycled_of(mix: Mix) -> Fraction:
    """post_consumer + pre_consumer."""
    return sum((mix[name] for name in RECYCLED), Fraction(0))


def _mixes(behind: Trace) -> dict[str, Mix]:
    """Exact origin of every lot behind."""
    mixes: dict[str, Mix] = {lot.id: proven_origin(lot.received) for lot in behind.lots if lot.received is not None}
    made = _made_by_run(behind)
    for run in behind.runs:
        mix = _mix_of_feed(run, mixes)
        for lot in made[run.id]:
            mixes[lot.id] = mix
    return mixes


def _made_by_run(behind: Trace) -> dict[str, list[Lot]]:
    made: dict[str, list[Lot]] = defaultdict(list)
    for lot in behind.lots:
        if lot.run is not None:
            made[lot.run].append(lot)
    return made


def _mix_of_feed(run: Run, mixes: Mapping[str, Mix]) -> Mix:
    feed = feed_dry_kg(run)
    return {
        name: sum((dry_kg(portion) * mixes[portion.lot][name] for portion in run.inputs), Fraction(0)) / feed
        for name in ORIGINS
    }


def _variance(behind: Trace, mixes: Mapping[str, Mix]) -> Fraction:
    """u² of the recycled content of the trace's lot: sensitivities accumulated backwards (formula above)."""
    weight: dict[str, Fraction] = defaultdict(Fraction)
    weight[behind.lot] = Fraction(1)
    by_moisture: dict[MoistureKey, Fraction] = defaultdict(Fraction)
    variance = Fraction(0)
    made = _made_by_run(behind)
    for run in reversed(behind.runs):
        feed = feed_dry_kg(run)
        of_run = sum((weight[lot.id] for lot in made[run.id]), Fraction(0))
        here = recycled_of(mixes[made[run.id][0].id])
        for portion in run.inputs:
            weight[portion.lot] += of_run * dry_kg(portion) / feed
            by_dry = of_run * (recycled_of(mixes[portion.lot]) - here) / feed
            variance += (by_dry * (1 - Fraction(portion.moisture)) * Fraction(portion.u_kg)) ** 2
            by_moisture[moisture_key(portion)] -= by_dry * Fraction(portion.mass_kg)
    return variance + sum(((slope * Fraction(u)) ** 2 for (_, _, u), slope in by_moisture.items()), Fraction(0))


def _custody_model(behind: Trace, mixes: Mapping[str, Mix]) -> str:
    """ISO 22095, 5: a model may only degrade on the way down."""
    if len(behind.received) == 1:
        return IDENTITY_PRESERVED
    contents = {recycled_of(mixes[lot.id]) for lot in behind.received}
    return SEGREGATED if len(contents) == 1 else CONTROLLED_BLENDING
