"""A planned lot cycle: runs to the second, what was to go in, what truly did, and what is written down of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from filiere.clock import NS_PER_S
from filiere.events import Event, Portion
from filiere.plant import Recipe, Step
from simulators.line.material import Shares
from simulators.line.physics import Array, trapezoid_done
from simulators.line.state import CycleStart, Stock
from simulators.line.upset import Missing

GRAMS_PER_KG = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """True mass that crossed the border of a run, with what was written down for it."""

    portion: Portion
    dry_g: int
    water_g: int
    composition: Shares
    """Substance → true share of the dry mass."""
    origin: Shares
    """Origin → true share of the dry mass."""
    taken_up_g: int = 0
    """Of the water: what came out of the air on the way from the store."""


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
    planned_inputs: tuple[Flow, ...]
    """What the run was to take, and is told to have taken."""
    planned_product: Flow
    """The product, had nothing gone wrong."""
    inputs: tuple[Flow, ...]
    """What truly went in."""
    outputs: tuple[Flow, ...]
    """What truly came out: the product, then the residues."""
    missing: Missing | None
    """What of the plan did not go through; None = nothing."""

    def product_kg(self, time_s: Array) -> Array:
        """Wet mass of the product that was made until each time, shape of time_s: it ends at what truly came out.

        Until something goes wrong, it is the planned product's share to the last bit, whatever comes later.
        """
        done = trapezoid_done(time_s, start_s=self.feed_start_s, stop_s=self.feed_stop_s, ramp_s=self.ramp_s)
        dry_g, water_g = done * self.planned_product.dry_g, done * self.planned_product.water_g
        if self.missing is not None:
            dry_g -= self.missing.dry_until(time_s) * self.planned_product.dry_g
            water_g -= self.missing.water_until(time_s) * self.planned_product.water_g
        return (dry_g + water_g) / GRAMS_PER_KG

    @property
    def feed_kg(self) -> float:
        """Planned wet mass in."""
        return sum(flow.dry_g + flow.water_g for flow in self.planned_inputs) / GRAMS_PER_KG

    @property
    def flow_kg_h(self) -> float:
        """Planned feed on the plateau."""
        return self.feed_kg / (self.feed_stop_s - self.feed_start_s - self.ramp_s) * 3600.0

    @property
    def air_water_g(self) -> int:
        """Water that left to the air; negative when the material took some up."""
        return sum(flow.water_g for flow in self.inputs) - sum(flow.water_g for flow in self.outputs)

    def dry_share(self, material: str) -> float:
        """Dry share of a material in the planned feed, 0..1."""
        dry_g = sum(flow.dry_g for flow in self.planned_inputs if flow.portion.material == material)
        return dry_g / sum(flow.dry_g for flow in self.planned_inputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One lot cycle of a line."""

    cycle: CycleStart
    stages: tuple[Stage, ...]
    events: tuple[Event, ...]
    """In time order; they say what was weighed."""
    received: tuple[tuple[Stock, int], ...]
    """Deliveries with their time, UTC ns."""
    set_aside: tuple[Stock, ...]
    """What is truly left of lots that the books call used up: it is swept up and never used."""
    duration_s: int
    """Whole minutes, so that the sampling of every device goes on evenly into the next cycle."""
    day: str
    counts: Mapping[str, int]
    stock: tuple[Stock, ...]

    def time_ns(self, seconds: float) -> int:
        """Seconds after the cycle's start → UTC ns."""
        return self.cycle.start_ns + round(seconds * NS_PER_S)
