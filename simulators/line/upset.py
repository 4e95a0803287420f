"""What the process faults of a run do to its masses: less goes in, it is wetter, or it is something else.

Everything is a sum over small steps of the feed, in each of which the faults of that instant act: nothing moves before
a fault, and what a machine shows on the way adds up to the grams at the end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from filiere.plant import Line, Recipe, Step, Unit
from simulators.faults.fault import Active, ProcessFault
from simulators.faults.process import FeederBridge, FeederStarve, WetFeed, WrongPolymer
from simulators.line.feeding import Feed, fed_share, severity_at
from simulators.line.material import Shares, replaced
from simulators.line.parameters import text
from simulators.line.physics import Array

FIBRE_FEED, POLYMER_FEED, THROUGHPUT = "fibre_feed", "polymer_feed", "throughput"
WET_MOST = 0.9
"""Water mass fraction of the wettest feed."""
KINDS: tuple[type[ProcessFault], ...] = (FeederStarve, FeederBridge, WetFeed, WrongPolymer)
"""The process faults that change what goes in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a run is to take of a material."""

    dry_g: int
    water_g: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """What of a run's planned feed is not there, as it grows: 0 exactly until the first fault."""

    time_s: Array
    """Seconds after the cycle's start, shape (n,)."""
    dry: Array
    """Share of the planned dry mass that did not go through until each time."""
    water: Array
    """Share of the product's planned water that it lacks; negative = it has more."""

    def dry_until(self, time_s: Array) -> Array:
        """`dry` at each time, shape of `time_s`; it holds until the next step."""
        return self._until(self.dry, time_s)

    def water_until(self, time_s: Array) -> Array:
        """`water` at each time, shape of `time_s`."""
        return self._until(self.water, time_s)

    def _until(self, shares: Array, time_s: Array) -> Array:
        return np.append(0.0, shares)[np.searchsorted(self.time_s, time_s, side="right")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upset:
    """How the feed of a run differs from its plan."""

    lost: Mapping[str, float]
    """Material → share of its planned dry mass that does not go in."""
    taken_up: Mapping[str, float]
    """Material → water that it took up since it was in store, as a share of its planned wet mass."""
    wrong: tuple[str, str, float]
    """(material, substance that is there in its place, in which share of the feed); 0 = all is what it should be."""
    product_wetter: float
    """How many times its usual water the product has."""
    missing: Missing

    def masses(self, material: str, dry_g: int, water_g: int) -> tuple[int, int, int]:
        """(dry g, water g of the store, water g taken up since) that truly go in, of what was planned."""
        fed_dry_g = dry_g - round(dry_g * self.lost.get(material, 0.0))
        fed_water_g = water_g * fed_dry_g // dry_g if dry_g else water_g
        return fed_dry_g, fed_water_g, round((dry_g + water_g) * self.taken_up.get(material, 0.0))

    def composition(self, material: str, shares: Shares) -> Shares:
        """Of what goes in of a material that should be made of `shares`."""
        wrong, substance, part = self.wrong
        return replaced(shares, substance, part) if material == wrong and part > 0.0 else shares


def upset_of(
    line: Line,
    step: Step,
    recipe: Recipe,
    active: Sequence[Active],
    *,
    seed: int,
    start_ns: int,
    feed: Feed,
    planned: Mapping[str, Planned],
) -> Upset | None:
    """What goes wrong with the feed of one run; None = nothing.

    `start_ns`: the cycle's start; `planned`: material → what the run is to take of it.
    """
    faults = [each for each in active if isinstance(each.fault, KINDS)]
    if not faults:
        return None
    main = max(recipe.ingredients, key=lambda ingredient: ingredient.share).material
    short = {material: np.zeros(len(feed.part)) for material in planned}
    taken_up: dict[str, float] = {}
    wrong = (main, "", 0.0)
    severity = np.ones(len(feed.part))
    first, *rest = [ingredient.material for ingredient in recipe.ingredients]
    for unit in (line.unit(unit_id) for unit_id in step.units):
        for signal, materials in ((FIBRE_FEED, [first]), (POLYMER_FEED, rest), (THROUGHPUT, [first, *rest])):
            if any(each.id == signal for each in unit.signals):
                share = fed_share(
                    faults,
                    seed=seed,
                    line=line.path,
                    device=unit.id,
                    signal=signal,
                    time_s=feed.time_s,
                    start_ns=start_ns,
                )
                for material in materials:
                    short[material] = 1.0 - (1.0 - short[material]) * share
        wet = _severity(faults, WetFeed, unit, feed, start_ns)
        damp = text(unit.simulator, "material", first)
        if damp in planned and not np.isnan(wet).all():
            severity = np.where(np.isnan(wet), severity, wet)
            taken_up[damp] = _take_up(planned[damp], feed, short[damp], severity)
        other = ~np.isnan(_severity(faults, WrongPolymer, unit, feed, start_ns))
        if other.any():
            part = feed.share(other.astype(np.float64))
            wrong = (main, text(unit.simulator, "wrong_polymer", "other"), part)
    if not any(share.any() for share in short.values()) and not taken_up and wrong[2] <= 0.0:
        return None
    total_g = sum(each.dry_g for each in planned.values())
    lacking = np.asarray(sum(short[material] * (each.dry_g / total_g) for material, each in planned.items()))
    fed = feed.part * (1.0 - lacking)
    return Upset(
        lost={material: feed.share(share) for material, share in short.items()},
        taken_up=taken_up,
        wrong=wrong,
        product_wetter=float(np.sum(fed * severity) / np.sum(fed)) if fed.any() else 1.0,
        missing=Missing(
            time_s=feed.time_s,
            dry=np.cumsum(feed.part * lacking),
            water=np.cumsum(feed.part * (1.0 - (1.0 - lacking) * severity)),
        ),
    )


def _severity(faults: Sequence[Active], kind: type[ProcessFault], unit: Unit, feed: Feed, start_ns: int) -> Array:
    return severity_at(faults, kind, unit.id, "", time_s=feed.time_s, start_ns=start_ns)


def _take_up(planned: Planned, feed: Feed, short: Array, severity: Array) -> float:
    """Water that comes into a material between store and machine, as a share of its planned wet mass.

    It was weighed before: its dry mass is what was planned, and the water comes on top.
    """
    moisture = planned.water_g / (planned.dry_g + planned.water_g)
    return feed.share((1.0 - short) * np.minimum((severity - 1.0) * moisture, WET_MOST - moisture))
