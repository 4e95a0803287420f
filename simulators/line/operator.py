"""The operator of a simulated line: plans one lot cycle, weighs what goes in and out, and sends the events.

The truth is kept in whole grams of dry matter and of water and is conserved exactly: inputs = outputs + water moved to
the air. What the events say is the truth plus weighing and moisture errors that fit the uncertainty they state.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from math import hypot
from zoneinfo import ZoneInfo

import numpy as np

from filiere.clock import NS_PER_S, from_ns
from filiere.events import RESIDUE, Event, Portion, Received, RunClosed, RunStarted
from filiere.plant import Ingredient, Line, Parameters, Plant, Recipe, Step
from simulators.line.parameters import flag, number, text
from simulators.line.randomness import bounded_normal, generator, token
from simulators.line.state import CycleStart, Stock

ERROR_SHARE = 0.6
"""Share of the stated standard uncertainty that is noise from one weighing to the next; the rest of it (calibration,
creep, tare) stays the same for all weighings of a lot and cancels in its balance."""
PLACES_MOISTURE = Decimal("0.00001")
GRAMS_PER_KG = 1000
RECEIVING_GAP_S = 30
MINUTE_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """True mass that crossed the border of a run, with what was written down for it."""

    portion: Portion
    dry_g: int
    water_g: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One run of a step, planned to the second. Times are seconds after the cycle's start."""

    step: Step
    recipe: Recipe
    run: str
    lot: str
    setup_s: float
    """Machines are made ready from here: dried, heated, tared."""
    start_s: float
    feed_start_s: float
    feed_stop_s: float
    ramp_s: float
    stop_s: float
    """Everything is weighed; the run closes."""
    inputs: tuple[Flow, ...]
    outputs: tuple[Flow, ...]

    @property
    def feed_kg(self) -> float:
        """True wet mass in."""
        return sum(flow.dry_g + flow.water_g for flow in self.inputs) / GRAMS_PER_KG

    @property
    def flow_kg_h(self) -> float:
        """Feed on the plateau."""
        return self.feed_kg / (self.feed_stop_s - self.feed_start_s - self.ramp_s) * 3600.0

    @property
    def air_water_g(self) -> int:
        """Water that left to the air; negative when the material took some up."""
        return sum(flow.water_g for flow in self.inputs) - sum(flow.water_g for flow in self.outputs)

    def dry_share(self, material: str) -> float:
        """True dry share of a material in the feed, 0..1."""
        dry_g = sum(flow.dry_g for flow in self.inputs if flow.portion.material == material)
        return dry_g / sum(flow.dry_g for flow in self.inputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One lot cycle of a line."""

    cycle: CycleStart
    stages: tuple[Stage, ...]
    events: tuple[Event, ...]
    """In time order."""
    duration_s: int
    """Whole minutes, so that the sampling of every device goes on evenly into the next cycle."""
    day: str
    counts: Mapping[str, int]
    stock: tuple[Stock, ...]


def plan_cycle(plant: Plant, line: Line, cycle: CycleStart, *, seed: int) -> Plan:
    """Plan the lot cycle that begins at `cycle`: a pure function of its arguments."""
    return _Operator(plant=plant, line=line, cycle=cycle, seed=seed).plan()


@dataclass(slots=True, kw_only=True)
class _Operator:
    plant: Plant
    line: Line
    cycle: CycleStart
    seed: int
    day: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    stock: list[Stock] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    now_s: float = 0.0

    def plan(self) -> Plan:
        zone = ZoneInfo(self.plant.timezone)
        self.day = from_ns(self.cycle.start_ns).astimezone(zone).strftime("%y%m%d")
        self.counts = dict(self.cycle.counts) if self.day == self.cycle.day else {}
        self.stock = list(self.cycle.stock)
        lot = self.numbered("")
        stages = tuple(self.stage(step, lot) for step in self.line.steps)
        changeover_s = number(self.line.simulator, "changeover_s", 600.0)
        return Plan(
            cycle=self.cycle,
            stages=stages,
            events=tuple(self.events),
            duration_s=_whole_minutes(self.now_s + changeover_s),
            day=self.day,
            counts=self.counts,
            stock=tuple(self.stock),
        )

    def chance(self, *names: str) -> np.random.Generator:
        return generator(self.seed, self.line.path, self.cycle.number, *names)

    def numbered(self, code: str) -> str:
        """`T1-260311-01` for a lot, `T1-260311-B03` for the third bale received that day."""
        self.counts[code] = self.counts.get(code, 0) + 1
        prefix = text(self.line.simulator, "lot_prefix", self.line.id.upper())
        return f"{prefix}-{self.day}-{code}{self.counts[code]:02d}"

    def event_id(self, name: str) -> str:
        digits = token(self.seed, self.line.path, self.cycle.start_ns, self.cycle.number, name, length=32)
        parts = (digits[:8], digits[8:12], "8" + digits[13:16], "8" + digits[17:20], digits[20:])
        return f"urn:uuid:{'-'.join(parts)}"

    def time_ns(self, seconds: float) -> int:
        return self.cycle.start_ns + round(seconds * NS_PER_S)

    # ------------------------------------------------------------------------------------------------------ one run

    def stage(self, step: Step, lot: str) -> Stage:
        last = step is self.line.steps[-1]
        made = lot if last else f"{lot}-{text(step.simulator, 'lot_suffix', step.id)}"
        recipe = step.recipes[self.cycle.number % len(step.recipes)]
        setup_s = self.now_s
        inputs = tuple(self.take_all(step, recipe))
        start_s = setup_s + _whole_minutes(number(step.simulator, "setup_s", 600.0))
        start_s = max(start_s, self.now_s + RECEIVING_GAP_S)
        feed_start_s = start_s + number(step.simulator, "settle_s", 60.0)
        feed_kg = sum(flow.dry_g + flow.water_g for flow in inputs) / GRAMS_PER_KG
        ramp_s = number(step.simulator, "ramp_s", 120.0)
        feed_s = feed_kg / number(step.simulator, "throughput_kg_h", 400.0) * 3600.0 + ramp_s
        feed_stop_s = feed_start_s + _whole_minutes(feed_s)
        stop_s = feed_stop_s + number(step.simulator, "weigh_s", 180.0)
        run = f"{lot}-{step.id}"
        outputs = self.weigh_all(step, made, inputs)
        self.events.append(
            RunStarted(
                event_id=self.event_id(f"{run}/start"),
                event_time_ns=self.time_ns(start_s),
                run=run,
                line=self.line.path,
                step=step.id,
                recipe=recipe.id,
                lot=made,
                inputs=tuple(flow.portion for flow in inputs),
            )
        )
        self.events.append(
            RunClosed(
                event_id=self.event_id(f"{run}/close"),
                event_time_ns=self.time_ns(stop_s),
                run=run,
                line=self.line.path,
                outputs=tuple(flow.portion for flow in outputs),
            )
        )
        if not last:
            self.stock.append(_stock(outputs[0]))
        self.now_s = stop_s
        return Stage(
            step=step,
            recipe=recipe,
            run=run,
            lot=made,
            setup_s=setup_s,
            start_s=start_s,
            feed_start_s=feed_start_s,
            feed_stop_s=feed_stop_s,
            ramp_s=ramp_s,
            stop_s=stop_s,
            inputs=inputs,
            outputs=outputs,
        )

    # ------------------------------------------------------------------------------------------------------- inputs

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
        whole_share = sum(ingredient.share for ingredient in whole)
        total_dry_g = taken_dry_g / whole_share if whole else batch_g
        for ingredient in dosed:
            yield from self.dose(step, ingredient.material, round(total_dry_g * ingredient.share))

    def is_whole(self, ingredient: Ingredient) -> bool:
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
            yield Flow(portion=_portion(stock, stock.book_kg, stock.u_kg), dry_g=stock.dry_g, water_g=stock.water_g)

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
            weighed_kg = _weighed(chance, true_kg, u_kg, Decimal("0.01"))
            if weighed_kg >= stock.book_kg:
                # The rest of a lot is only as well known as all that was weighed in and out of it before.
                weighed_kg, u_kg = stock.book_kg, max(u_kg, stock.u_kg)
            yield Flow(portion=_portion(stock, weighed_kg, u_kg), dry_g=take_dry_g, water_g=take_water_g)
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
        stock = Stock(
            lot=lot,
            material=material,
            dry_g=wet_g - water_g,
            water_g=water_g,
            book_kg=_weighed(chance, wet_g / GRAMS_PER_KG, u_kg, Decimal("0.2")),
            u_kg=u_kg,
            moisture=_sampled(chance, moisture, u_moisture),
            u_moisture=u_moisture,
        )
        self.stock.append(stock)
        self.now_s += RECEIVING_GAP_S
        self.events.append(
            Received(
                event_id=self.event_id(f"{lot}/receive"),
                event_time_ns=self.time_ns(self.now_s),
                site=self.plant.site,
                portion=_portion(stock, stock.book_kg, stock.u_kg),
                supplier=text(simulator, f"{material}.supplier", material),
                origin=_origin(chance, simulator, material),
                evidence=_evidence(chance, simulator, material, lot),
            )
        )
        return stock

    def true_moisture(self, chance: np.random.Generator, material: str, spread: float) -> float:
        """The material's usual moisture, ± spread of it."""
        return min(0.9, max(0.0, self.plant.materials[material].moisture * (1.0 + spread * bounded_normal(chance))))

    # ------------------------------------------------------------------------------------------------------ outputs

    def weigh_all(self, step: Step, lot: str, inputs: tuple[Flow, ...]) -> tuple[Flow, ...]:
        """The product, then the residues: all dry mass comes out, water only as much as the outputs hold."""
        chance = self.chance(step.id, "weigh")
        dry_in_g = sum(flow.dry_g for flow in inputs)
        dry_g: dict[str, int] = {}
        for residue in step.residues:
            usual = number(step.simulator, f"{residue}.fraction", 0.02)
            spread = number(step.simulator, f"{residue}.spread", usual * 0.1)
            dry_g[residue] = round(dry_in_g * min(0.9, max(0.0, usual + spread * bounded_normal(chance))))
        product_dry_g = dry_in_g - sum(dry_g.values())
        product = self.weigh(chance, step, step.product, lot, product_dry_g)
        residues = [
            self.weigh(chance, step, residue, f"{lot}-X{place}", mass_g, role=RESIDUE)
            for place, (residue, mass_g) in enumerate(dry_g.items(), start=1)
        ]
        return (product, *residues)

    def weigh(
        self, chance: np.random.Generator, step: Step, material: str, lot: str, dry_g: int, role: str = "product"
    ) -> Flow:
        moisture = self.true_moisture(chance, material, 0.1)
        water_g = round(dry_g * moisture / (1.0 - moisture))
        u_kg = Decimal(repr(number(step.simulator, "u_kg", 0.3)))
        u_moisture = Decimal(repr(number(step.simulator, "u_moisture", 0.0005)))
        portion = Portion(
            lot=lot,
            material=material,
            mass_kg=_weighed(chance, (dry_g + water_g) / GRAMS_PER_KG, u_kg, Decimal("0.2")),
            u_kg=u_kg,
            moisture=_sampled(chance, moisture, u_moisture),
            u_moisture=u_moisture,
            role=role,
        )
        return Flow(portion=portion, dry_g=dry_g, water_g=water_g)


def _whole_minutes(seconds: float) -> int:
    return -int(-seconds // MINUTE_S) * MINUTE_S


def _weighed(chance: np.random.Generator, true_kg: float, u_kg: Decimal, resolution_kg: Decimal) -> Decimal:
    """What the scale shows, at least one step of its display."""
    shown_kg = true_kg + ERROR_SHARE * float(u_kg) * bounded_normal(chance)
    return max(1, round(shown_kg / float(resolution_kg))) * resolution_kg


def _sampled(chance: np.random.Generator, moisture: float, u_moisture: Decimal) -> Decimal:
    shown = min(1.0, max(0.0, moisture + ERROR_SHARE * float(u_moisture) * bounded_normal(chance)))
    return Decimal(repr(shown)).quantize(PLACES_MOISTURE)


def _portion(stock: Stock, mass_kg: Decimal, u_kg: Decimal) -> Portion:
    return Portion(
        lot=stock.lot,
        material=stock.material,
        mass_kg=mass_kg,
        u_kg=u_kg,
        moisture=stock.moisture,
        u_moisture=stock.u_moisture,
    )


def _stock(flow: Flow) -> Stock:
    return Stock(
        lot=flow.portion.lot,
        material=flow.portion.material,
        dry_g=flow.dry_g,
        water_g=flow.water_g,
        book_kg=flow.portion.mass_kg,
        u_kg=flow.portion.u_kg,
        moisture=flow.portion.moisture,
        u_moisture=flow.portion.u_moisture,
    )


def _origin(chance: np.random.Generator, simulator: Parameters, material: str) -> dict[str, Decimal]:
    """The declared origin; a mean second origin spreads from lot to lot in whole percents. Sums to exactly 1."""
    main = text(simulator, f"{material}.origin", "virgin")
    second = text(simulator, f"{material}.second_origin", "")
    if not second:
        return {main: Decimal(1)}
    mean = number(simulator, f"{material}.second_share", 0.1)
    percent = round(100.0 * min(1.0, max(0.0, mean * (1.0 + 0.3 * bounded_normal(chance)))))
    return {main: 1 - Decimal(percent) / 100, second: Decimal(percent) / 100}


def _evidence(chance: np.random.Generator, simulator: Parameters, material: str, lot: str) -> str:
    """Reference of the delivery's document; now and then it is missing."""
    missing = number(simulator, f"{material}.without_evidence", 0.0)
    if chance.random() < missing:
        return ""
    return f"{text(simulator, f'{material}.evidence', 'BL')}-{lot}"
