"""The operator of a simulated line: plans one lot cycle, weighs what goes in and out, and sends the events.

The truth is kept in whole grams of dry matter and of water and is conserved exactly: inputs = outputs + water moved to
the air. What the events say is the truth plus weighing and moisture errors that fit the uncertainty they state.

A run is planned as if nothing went wrong: its times and its doses never depend on faults of its own. What truly goes
in and comes out is then the plan less what the faults kept back, so that nothing moves before a fault begins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np

from filiere.clock import from_ns
from filiere.events import PRODUCT, RESIDUE, Portion, RunClosed, RunStarted
from filiere.plant import Line, Plant, Recipe, Step
from simulators.faults.fault import Active
from simulators.line.feeding import Feed, planned_feed
from simulators.line.material import Shares, mixed, separated
from simulators.line.parameters import number, text
from simulators.line.plan import GRAMS_PER_KG, Flow, Plan, Stage
from simulators.line.randomness import bounded_normal
from simulators.line.state import CycleStart
from simulators.line.store import RECEIVING_GAP_S, Store
from simulators.line.upset import Planned, Upset, upset_of
from simulators.line.weighing import sampled, stock_of, weighed

MINUTE_S = 60


def plan_cycle(plant: Plant, line: Line, cycle: CycleStart, *, seed: int, active: Sequence[Active] = ()) -> Plan:
    """Plan the lot cycle that begins at `cycle`, with what the process faults among `active` do to its masses."""
    day = from_ns(cycle.start_ns).astimezone(ZoneInfo(plant.timezone)).strftime("%y%m%d")
    store = Store(
        plant=plant,
        line=line,
        cycle=cycle,
        seed=seed,
        day=day,
        counts=dict(cycle.counts) if day == cycle.day else {},
        stock=list(cycle.stock),
    )
    operator = _Operator(line=line, store=store, active=active)
    lot = store.numbered("")
    stages = tuple(operator.stage(step, lot) for step in line.steps)
    return Plan(
        cycle=cycle,
        stages=stages,
        events=tuple(store.events),
        received=tuple(store.received),
        set_aside=tuple(store.set_aside),
        duration_s=_whole_minutes(store.now_s + number(line.simulator, "changeover_s", 600.0)),
        day=day,
        counts=store.counts,
        stock=tuple(store.stock),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Operator:
    """Runs one step after the other, with what is in store."""

    line: Line
    store: Store
    active: Sequence[Active]

    def stage(self, step: Step, lot: str) -> Stage:
        store = self.store
        last = step is self.line.steps[-1]
        made = lot if last else f"{lot}-{text(step.simulator, 'lot_suffix', step.id)}"
        recipe = step.recipes[store.cycle.number % len(step.recipes)]
        setup_s = store.now_s
        planned = tuple(store.take_all(step, recipe))
        start_s = setup_s + _whole_minutes(number(step.simulator, "setup_s", 600.0))
        start_s = max(start_s, store.now_s + RECEIVING_GAP_S)
        feed_start_s = start_s + number(step.simulator, "settle_s", 60.0)
        feed_kg = sum(flow.dry_g + flow.water_g for flow in planned) / GRAMS_PER_KG
        ramp_s = number(step.simulator, "ramp_s", 120.0)
        feed_s = feed_kg / number(step.simulator, "throughput_kg_h", 400.0) * 3600.0 + ramp_s
        feed_stop_s = feed_start_s + _whole_minutes(feed_s)
        planned_product, *_ = outputs = self.weigh_all(step, recipe, made, planned)
        feed = planned_feed(start_s=feed_start_s, stop_s=feed_stop_s, ramp_s=ramp_s)
        inputs, upset = planned, self.upset(step, recipe, planned, feed)
        if upset is not None:
            inputs = tuple(store.truly_taken(upset, flow) for flow in planned)
            outputs = self.weigh_all(step, recipe, made, inputs, wetter=upset.product_wetter)
        store.now_s = feed_stop_s + number(step.simulator, "weigh_s", 180.0)
        stage = Stage(
            step=step,
            recipe=recipe,
            run=f"{lot}-{step.id}",
            lot=made,
            setup_s=setup_s,
            start_s=start_s,
            feed_start_s=feed_start_s,
            feed_stop_s=feed_stop_s,
            ramp_s=ramp_s,
            stop_s=store.now_s,
            planned_inputs=planned,
            planned_product=planned_product,
            inputs=inputs,
            outputs=outputs,
            missing=None if upset is None else upset.missing,
        )
        self.tell(stage)
        if not last:
            store.stock.append(stock_of(outputs[0]))
        return stage

    def upset(self, step: Step, recipe: Recipe, planned: tuple[Flow, ...], feed: Feed) -> Upset | None:
        store = self.store
        of_material = {
            ingredient.material: [flow for flow in planned if flow.portion.material == ingredient.material]
            for ingredient in recipe.ingredients
        }
        return upset_of(
            self.line,
            step,
            recipe,
            self.active,
            seed=store.seed,
            start_ns=store.cycle.start_ns,
            feed=feed,
            planned={
                ingredient.material: Planned(
                    dry_g=sum(flow.dry_g for flow in of_material[ingredient.material]),
                    water_g=sum(flow.water_g for flow in of_material[ingredient.material]),
                )
                for ingredient in recipe.ingredients
            },
        )

    def tell(self, stage: Stage) -> None:
        """The run's two events: a start with what it was to take, and a close with what was weighed."""
        store = self.store
        store.events.append(
            RunStarted(
                event_id=store.event_id(f"{stage.run}/start"),
                event_time_ns=store.time_ns(stage.start_s),
                run=stage.run,
                line=self.line.path,
                step=stage.step.id,
                recipe=stage.recipe.id,
                lot=stage.lot,
                inputs=tuple(flow.portion for flow in stage.planned_inputs),
            )
        )
        store.events.append(
            RunClosed(
                event_id=store.event_id(f"{stage.run}/close"),
                event_time_ns=store.time_ns(stage.stop_s),
                run=stage.run,
                line=self.line.path,
                outputs=tuple(flow.portion for flow in stage.outputs),
            )
        )

    def weigh_all(
        self, step: Step, recipe: Recipe, lot: str, inputs: tuple[Flow, ...], *, wetter: float = 1.0
    ) -> tuple[Flow, ...]:
        """The product, then the residues: all dry mass comes out, water only as much as the outputs hold.

        `wetter`: how many times its usual water the product has.
        """
        chance = self.store.chance(step.id, "weigh")
        dry_in_g = sum(flow.dry_g for flow in inputs)
        dry_g: dict[str, int] = {}
        for residue in step.residues:
            usual = number(step.simulator, f"{residue}.fraction", 0.02)
            spread = number(step.simulator, f"{residue}.spread", usual * 0.1)
            dry_g[residue] = round(dry_in_g * min(0.9, max(0.0, usual + spread * bounded_normal(chance))))
        product_dry_g = dry_in_g - sum(dry_g.values())
        feed = mixed((flow.dry_g, flow.composition) for flow in inputs)
        product_is, residue_is = self.sorted(step, recipe, feed, product_dry_g / dry_in_g if dry_in_g else 1.0)
        origin = mixed((flow.dry_g, flow.origin) for flow in inputs)
        product = self.weigh(
            chance, step, step.product, lot, product_dry_g, composition=product_is, origin=origin, wetter=wetter
        )
        residues = [
            self.weigh(
                chance,
                step,
                residue,
                f"{lot}-X{place}",
                mass_g,
                role=RESIDUE,
                composition=residue_is,
                origin=origin,
            )
            for place, (residue, mass_g) in enumerate(dry_g.items(), start=1)
        ]
        return (product, *residues)

    def weigh(
        self,
        chance: np.random.RandomState,
        step: Step,
        material: str,
        lot: str,
        dry_g: int,
        *,
        role: str = PRODUCT,
        composition: Shares,
        origin: Shares,
        wetter: float = 1.0,
    ) -> Flow:
        usual = self.store.true_moisture(chance, material, 0.1)
        on_dry = usual / (1.0 - usual) * wetter
        water_g = round(dry_g * on_dry)
        u_kg = Decimal(repr(number(step.simulator, "u_kg", 0.3)))
        u_moisture = Decimal(repr(number(step.simulator, "u_moisture", 0.0005)))
        portion = Portion(
            lot=lot,
            material=material,
            mass_kg=weighed(chance, (dry_g + water_g) / GRAMS_PER_KG, u_kg, Decimal("0.2")),
            u_kg=u_kg,
            moisture=sampled(chance, on_dry / (1.0 + on_dry), u_moisture),
            u_moisture=u_moisture,
            role=role,
        )
        return Flow(portion=portion, dry_g=dry_g, water_g=water_g, composition=composition, origin=origin)

    def sorted(self, step: Step, recipe: Recipe, feed: Shares, product: float) -> tuple[Shares, Shares]:
        """Of what the product and the residues are; `product`: its share of the dry mass.

        A step with `sorts_out` (a substance) makes its product purer, to the recipe's target of `purity_signal` and a
        level of its own for each lot; every other step leaves the mix as it is.
        """
        wanted = text(step.simulator, "sorts_out", "")
        if not wanted:
            return feed, feed
        usual = recipe.targets.get(text(step.simulator, "purity_signal", ""), feed.get(wanted, 1.0))
        sd = number(step.simulator, "purity_sd", 0.008)
        purity = min(1.0, usual + sd * bounded_normal(self.store.chance(step.id, "purity")))
        return separated(feed, wanted=wanted, purity=purity, product=product)


def _whole_minutes(seconds: float) -> int:
    return -int(-seconds // MINUTE_S) * MINUTE_S
