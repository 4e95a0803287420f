"""What material truly is: of which substances, of which origin, how wet; mixed, sorted, and breathing in the store."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import cos, exp, fsum, pi

from filiere.clock import NS_PER_S
from filiere.plant import Line, Parameters, Plant
from simulators.line.parameters import number
from simulators.line.state import Stock

Shares = Mapping[str, float]
"""Name → share of the dry mass; adds up to 1."""
SECONDS_PER_HOUR, SECONDS_PER_YEAR = 3600.0, 365.25 * 86_400.0
WINTER_NS = 1_736_899_200 * NS_PER_S
"""Mid-January: the air in an unheated store is wettest for a fibre."""


def mixed(parts: Iterable[tuple[int, Shares]]) -> dict[str, float]:
    """The mix of parts (dry grams, their shares), shares of the whole; empty when there is nothing."""
    total_g = 0
    sums: dict[str, float] = {}
    for dry_g, shares in parts:
        total_g += dry_g
        for name, share in shares.items():
            sums[name] = sums.get(name, 0.0) + dry_g * share
    return {name: amount / total_g for name, amount in sums.items()} if total_g else {}


def delivered(simulator: Parameters, material: str, spread: Sequence[float]) -> dict[str, float]:
    """Substances of a delivery: `<material>.substance.<name>` of the plant file's line; else it is itself.

    `spread`: one standard normal number a substance: each varies by `<material>.substance_spread` of its usual share,
    and all of them add up to 1 again.
    """
    prefix = f"{material}.substance."
    names = [name.removeprefix(prefix) for name in simulator if name.startswith(prefix)]
    if not names:
        return {material: 1.0}
    sd = number(simulator, f"{material}.substance_spread", 0.0)
    amounts = [
        max(0.0, number(simulator, prefix + name, 0.0) * (1.0 + sd * draw))
        for name, draw in zip(names, spread, strict=False)
    ]
    total = fsum(amounts) or 1.0
    return {name: amount / total for name, amount in zip(names, amounts, strict=True)}


def separated(feed: Shares, *, wanted: str, purity: float, product: float) -> tuple[dict[str, float], dict[str, float]]:
    """Sorting: a product with `purity` of the wanted substance, `product` of the feed's dry mass; and the rest.

    Nothing appears or vanishes: feed = product · its shares + rest · its shares. What cannot be reached is not: a feed
    with too little of the wanted substance gives a less pure product, one with too much a purer one.
    """
    rest = 1.0 - product
    if rest <= 0.0 or wanted not in feed:
        return dict(feed), dict(feed)
    there = feed[wanted]
    least, most = max(0.0, (there - rest) / product), min(1.0, there / product)
    purity = min(max(purity, least), most)
    other = 1.0 - there
    scale = (1.0 - purity) / other if other > 0.0 else 0.0
    made = {name: purity if name == wanted else share * scale for name, share in feed.items()}
    left = {name: max(0.0, (share - product * made[name]) / rest) for name, share in feed.items()}
    return made, left


def replaced(shares: Shares, by: str, part: float) -> dict[str, float]:
    """The same with `part` of it (0..1) being something else."""
    left = {name: share * (1.0 - part) for name, share in shares.items()}
    left[by] = left.get(by, 0.0) + part
    return left


def equilibrium(usual: float, time_ns: int, *, season: float) -> float:
    """Moisture that a fibre takes on in the store, mass fraction: more by `season` of the usual one in winter, less in
    summer.
    """
    return usual * (1.0 + season * cos(2.0 * pi * (time_ns - WINTER_NS) / NS_PER_S / SECONDS_PER_YEAR))


def aired(plant: Plant, line: Line, stock: Sequence[Stock], start_ns: int, stop_ns: int) -> tuple[Stock, ...]:
    """The lots in store at `stop_ns`: fibres took up or lost water since `start_ns`; dry mass stays.

    w = w_eq + (w_0 − w_eq)·exp(−t/τ) on dry mass, τ = `<material>.uptake_h` of the line; without it nothing moves.
    """
    return tuple(_aired(plant, line, lot, start_ns, stop_ns) for lot in stock)


def _aired(plant: Plant, line: Line, lot: Stock, start_ns: int, stop_ns: int) -> Stock:
    uptake_h = number(line.simulator, f"{lot.material}.uptake_h", 0.0)
    if uptake_h <= 0.0:
        return lot
    season = number(line.simulator, f"{lot.material}.season", 0.0)
    moisture = equilibrium(plant.materials[lot.material].moisture, stop_ns, season=season)
    even_g = lot.dry_g * moisture / (1.0 - moisture)
    kept = exp(-(stop_ns - start_ns) / NS_PER_S / SECONDS_PER_HOUR / uptake_h)
    return replace(lot, water_g=round(even_g + (lot.water_g - even_g) * kept))
