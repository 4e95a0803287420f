"""The store of a line in one cycle: deliveries come in, runs take from the lots, and what they left goes back.

Every gram is somewhere: in a lot, in a run, in the air, or set aside when the books call its lot used up.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from math import fsum, hypot

import numpy as np

from filiere.clock import NS_PER_S
from filiere.events import Event, Received
from filiere.plant import Ingredient, Line, Parameters, Plant, Recipe, Step
from simulators.line.material import Shares, delivered
from simulators.line.parameters import flag, number, text
from simulators.line.plan import GRAMS_PER_KG, Flow
from simulators.line.randomness import bounded_normal, generator, token
from simulators.line.state import CycleStart, Stock
from simulators.line.upset import Upset
from simulators.line.weighing import flow_of, portion_of, sampled, stock_of, weighed

RECEIVING_GAP_S = 30


@dataclass(slots=True, kw_only=True)
class Store:
    """What is in store, and the clock and the numbers of those who work there."""

    plant: Plant
    line: Line
    cycle: CycleStart
    seed: int
    day: str
    """Local day, `260311`."""
    counts: dict[str, int]
    stock: list[Stock]
    now_s: float = 0.0
    """Seconds after the cycle's start."""
    events: list[Event] = field(default_factory=list)
    received: list[tuple[Stock, int]] = field(default_factory=list)
    set_aside: list[Stock] = field(default_factory=list)

    def chance(self, *names: str) -> np.random.RandomState:
        """A stream of random numbers of this cycle's own."""
        return generator(self.seed, self.line.path, self.cycle.number, *names)

    def numbered(self, code: str) -> str:
        """`T1-260311-01` for a lot, `T1-260311-B03` for the third bale received that day."""
        self.counts[code] = self.counts.get(code, 0) + 1
        prefix = text(self.line.simulator, "lot_prefix", self.line.id.upper())
        return f"{prefix}-{self.day}-{code}{self.counts[code]:02d}"

    def event_id(self, name: str) -> str:
        """A UUID (version 8: made of names) of an event of this cycle."""
        digits = token(self.seed, self.line.path, self.cycle.start_ns, self.cycle.number, name, length=32)
        parts = (digits[:8], digits[8:12], "8" + digits[13:16], "8" + digits[17:20], digits[20:])
        return f"urn:uuid:{'-'.join(parts)}"

    def time_ns(self, seconds: float) -> int:
        """Seconds after the cycle's start → UTC ns."""
        return self.cycle.start_ns + round(seconds * NS_PER_S)

    def take_all(self, step: Step, recipe: Recipe) -> Iterator[Flow]:
        """Whole lots first (bales, what an earlier step made); they set the batch, the rest is dosed to the recipe."""
        batch_g = number(step.simulator, "batch_kg", 600.0) * GRAMS_PER_KG
        whole = [ingredient for ingredient in recipe.ingredients if self.is_whole(ingredient)]
        dosed = [ingredient for ingredient in recipe.ingredients if ingredient not in whole]
        taken_dry_g = 0
        for ingredient in whole:
            for flow in self.take_whole(ingredient.material, batch_g * ingredient.share):
                taken_dry_g += flow.dry_g
                yield flow
        whole_share = fsum(ingredient.share for ingredient in whole)
        total_dry_g = taken_dry_g / whole_share if whole else batch_g
        for ingredient in dosed:
            yield from self.dose(step, ingredient.material, round(total_dry_g * ingredient.share))

    def is_whole(self, ingredient: Ingredient) -> bool:
        """Its lots are used up whole: bales, and what an earlier step made."""
        made_here = any(step.product == ingredient.material for step in self.line.steps)
        return made_here or flag(self.line.simulator, f"{ingredient.material}.whole", default=False)

    def take_whole(self, material: str, least_g: float) -> Iterator[Flow]:
        """All lots in stock, and deliveries until the batch is complete."""
        made_here = any(step.product == material for step in self.line.steps)
        taken_g = 0
        while taken_g < least_g:
            stock = next((lot for lot in self.stock if lot.material == material), None)
            if stock is None:
                if made_here and taken_g:
                    return
                stock = self.receive(material)
            self.stock.remove(stock)
            taken_g += stock.dry_g + stock.water_g
            yield flow_of(stock, stock.book_kg, stock.u_kg, stock.dry_g, stock.water_g)

    def dose(self, step: Step, material: str, dry_g: int) -> Iterator[Flow]:
        """Exactly `dry_g` of true dry mass out of the lots in stock, oldest first, each weighed."""
        chance = self.chance(step.id, "dose", material)
        share = number(step.simulator, "dosing_u", 0.002)
        while dry_g > 0:
            stock = next((lot for lot in self.stock if lot.material == material), None) or self.receive(material)
            position = self.stock.index(stock)
            take_dry_g = min(dry_g, stock.dry_g)
            take_water_g = stock.water_g * take_dry_g // stock.dry_g
            true_kg = (take_dry_g + take_water_g) / GRAMS_PER_KG
            u_kg = Decimal(repr(round(max(true_kg * share, 0.02), 3)))
            weighed_kg = weighed(chance, true_kg, u_kg, Decimal("0.01"))
            if weighed_kg >= stock.book_kg:
                # The rest of a lot is only as well known as all that was weighed in and out of it before.
                weighed_kg, u_kg = stock.book_kg, max(u_kg, stock.u_kg)
            yield flow_of(stock, weighed_kg, u_kg, take_dry_g, take_water_g)
            dry_g -= take_dry_g
            left = replace(
                stock,
                dry_g=stock.dry_g - take_dry_g,
                water_g=stock.water_g - take_water_g,
                book_kg=stock.book_kg - weighed_kg,
                u_kg=Decimal(repr(round(hypot(stock.u_kg, u_kg), 3))),
            )
            # A lot that is empty, in truth or in the books, is not used again.
            if left.dry_g > 0 and left.book_kg > 0:
                self.stock[position] = left
            else:
                self.stock.remove(stock)
                if left.dry_g or left.water_g:
                    self.set_aside.append(replace(left, book_kg=Decimal(0)))

    def receive(self, material: str) -> Stock:
        """A delivery arrives: weighed, sampled for moisture, with its supplier's declaration."""
        simulator = self.line.simulator
        code = text(simulator, f"{material}.code", "".join(word[0] for word in material.upper().split("_") if word))
        lot = self.numbered(code)
        chance = self.chance("receive", lot)
        usual = number(simulator, f"{material}.lot_kg", 500.0)
        spread = number(simulator, f"{material}.spread_kg", usual * 0.05)
        wet_g = max(GRAMS_PER_KG, round((usual + spread * bounded_normal(chance)) * GRAMS_PER_KG))
        moisture = self.true_moisture(chance, material, number(simulator, f"{material}.moisture_spread", 0.1))
        water_g = round(wet_g * moisture)
        u_kg = Decimal(repr(number(simulator, f"{material}.u_kg", 0.3)))
        u_moisture = Decimal(repr(number(simulator, f"{material}.u_moisture", 0.001)))
        origin = _origin(chance, simulator, material)
        stock = Stock(
            lot=lot,
            material=material,
            dry_g=wet_g - water_g,
            water_g=water_g,
            composition=self.substances(material, lot),
            origin={name: float(share) for name, share in origin.items()},
            book_kg=weighed(chance, wet_g / GRAMS_PER_KG, u_kg, Decimal("0.2")),
            u_kg=u_kg,
            moisture=sampled(chance, moisture, u_moisture),
            u_moisture=u_moisture,
        )
        self.stock.append(stock)
        self.now_s += RECEIVING_GAP_S
        self.received.append((stock, self.time_ns(self.now_s)))
        self.events.append(
            Received(
                event_id=self.event_id(f"{lot}/receive"),
                event_time_ns=self.time_ns(self.now_s),
                site=self.plant.site,
                portion=portion_of(stock, stock.book_kg, stock.u_kg),
                supplier=text(simulator, f"{material}.supplier", material),
                origin=origin,
                evidence=_evidence(chance, simulator, material, lot),
            )
        )
        return stock

    def substances(self, material: str, lot: str) -> Shares:
        """What a delivery truly consists of, shares of its dry mass."""
        chance = self.chance("substances", lot)
        count = sum(name.startswith(f"{material}.substance.") for name in self.line.simulator)
        return delivered(self.line.simulator, material, [bounded_normal(chance) for _ in range(count)])

    def true_moisture(self, chance: np.random.RandomState, material: str, spread: float) -> float:
        """The material's usual moisture, ± spread of it."""
        return min(0.9, max(0.0, self.plant.materials[material].moisture * (1.0 + spread * bounded_normal(chance))))

    def truly_taken(self, upset: Upset, flow: Flow) -> Flow:
        """What of a planned flow truly goes in; the rest goes back to its lot, or is set aside where that is gone."""
        material = flow.portion.material
        dry_g, water_g, taken_up_g = upset.masses(material, flow.dry_g, flow.water_g)
        left_dry_g, left_water_g = flow.dry_g - dry_g, flow.water_g - water_g
        if left_dry_g or left_water_g:
            lot = flow.portion.lot
            place = next((place for place, stock in enumerate(self.stock) if stock.lot == lot), None)
            if place is None:
                self.set_aside.append(
                    replace(stock_of(flow), dry_g=left_dry_g, water_g=left_water_g, book_kg=Decimal(0))
                )
            else:
                stock = self.stock[place]
                self.stock[place] = replace(stock, dry_g=stock.dry_g + left_dry_g, water_g=stock.water_g + left_water_g)
        return replace(
            flow,
            dry_g=dry_g,
            water_g=water_g + taken_up_g,
            taken_up_g=taken_up_g,
            composition=upset.composition(material, flow.composition),
        )


def _origin(chance: np.random.RandomState, simulator: Parameters, material: str) -> dict[str, Decimal]:
    """The declared origin; a mean second origin spreads from lot to lot in whole percents. Sums to exactly 1."""
    main = text(simulator, f"{material}.origin", "virgin")
    second = text(simulator, f"{material}.second_origin", "")
    if not second:
        return {main: Decimal(1)}
    mean = number(simulator, f"{material}.second_share", 0.1)
    percent = round(100.0 * min(1.0, max(0.0, mean * (1.0 + 0.3 * bounded_normal(chance)))))
    return {main: 1 - Decimal(percent) / 100, second: Decimal(percent) / 100}


def _evidence(chance: np.random.RandomState, simulator: Parameters, material: str, lot: str) -> str:
    """Reference of the delivery's document; now and then it is missing."""
    missing = number(simulator, f"{material}.without_evidence", 0.0)
    if chance.random() < missing:
        return ""
    return f"{text(simulator, f'{material}.evidence', 'BL')}-{lot}"
