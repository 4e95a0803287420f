"""The plant model: site → workshop → line → unit → signal, and the steps that lots go through."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from filiere.bindings import Binding
from filiere.errors import NotFound

HAND_READ_S = 3600.0

Parameters = Mapping[str, float | str | bool]
"""Simulator parameters of a unit or a step, as the plant file gives them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One text in the two languages of the product."""

    fr: str
    en: str

    def in_language(self, language: str) -> str:
        """`fr` or `en`; anything else is French."""
        return self.en if language == "en" else self.fr


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Specification of a signal, in its unit. None = no limit on that side."""

    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """A named stream of readings of one device."""

    id: str
    device: str
    label: Label
    unit: str
    """UCUM: Cel, bar, kg, kg/h, 1, /min, A, kW, ..."""
    period_s: float
    range_low: float
    """Readings outside [range_low, range_high] are kept and flagged `out_of_range`: the sensor cannot mean them."""
    range_high: float
    resolution: float
    critical: bool
    """A lot is released only when at least 99 % of a critical signal's readings are there."""
    limits: Limits

    @property
    def key(self) -> str:
        """`extruder.melt_temp`: unique within a line."""
        return f"{self.device}.{self.id}"

    @property
    def by_hand(self) -> bool:
        """Read by people now and then, as in a laboratory (more than HAND_READ_S apart): never silent between two."""
        return self.period_s > HAND_READ_S

    @property
    def is_switch(self) -> bool:
        """A plain number that is 0 or 1: yes or no, and no share."""
        return self.unit == "1" and self.resolution >= 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A machine of a line; it carries one device of the same id."""

    id: str
    label: Label
    signals: tuple[Signal, ...]
    simulator: Parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What a lot is made of."""

    id: str
    label: Label
    moisture: float
    """Usual water mass fraction, wet basis: where the simulator starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingredient:
    """A share of a step's feed."""

    material: str
    share: float
    """Mass fraction of the feed, 0..1; the shares of a recipe add up to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a step is run for one product."""

    id: str
    label: Label
    ingredients: tuple[Ingredient, ...]
    targets: Mapping[str, float]
    """Signal key → set point, in the signal's unit."""
    limits: Mapping[str, Limits]
    """Signal key → specification for this recipe; it goes before the signal's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One transformation of a line's route: some materials in, one product and residues out."""

    id: str
    label: Label
    product: str
    residues: tuple[str, ...]
    units: tuple[str, ...]
    """Units whose readings belong to a run of this step: they are sealed with it."""
    recipes: tuple[Recipe, ...]
    certified: bool
    """The product is sold: a closed run of this step gets a certificate."""
    simulator: Parameters

    def recipe(self, recipe_id: str) -> Recipe:
        """Raises NotFound."""
        for recipe in self.recipes:
            if recipe.id == recipe_id:
                return recipe
        raise NotFound(f"step {self.id}: no recipe {recipe_id!r}; known: {', '.join(r.id for r in self.recipes)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A production line. `path` (`caux/textile/t1`) is its name everywhere outside the plant file."""

    id: str
    path: str
    label: Label
    units: tuple[Unit, ...]
    steps: tuple[Step, ...]
    simulator: Parameters

    @property
    def signals(self) -> tuple[Signal, ...]:
        """All signals, in the order of the file."""
        return tuple(signal for unit in self.units for signal in unit.signals)

    def unit(self, unit_id: str) -> Unit:
        """Raises NotFound."""
        for unit in self.units:
            if unit.id == unit_id:
                return unit
        raise NotFound(f"line {self.path}: no unit {unit_id!r}; known: {', '.join(u.id for u in self.units)}")

    def step(self, step_id: str) -> Step:
        """Raises NotFound."""
        for step in self.steps:
            if step.id == step_id:
                return step
        raise NotFound(f"line {self.path}: no step {step_id!r}; known: {', '.join(s.id for s in self.steps)}")

    def signal(self, key: str) -> Signal:
        """`extruder.melt_temp` → Signal. Raises NotFound."""
        for signal in self.signals:
            if signal.key == key:
                return signal
        raise NotFound(f"line {self.path}: no signal {key!r}; known: {', '.join(s.key for s in self.signals)}")

    def signals_of(self, step: Step) -> tuple[Signal, ...]:
        """Signals that are sealed with a run of `step`."""
        return tuple(signal for unit_id in step.units for signal in self.unit(unit_id).signals)


def limits_of(signal: Signal, recipe: Recipe | None) -> Limits:
    """The recipe's limits for a signal, else the signal's own."""
    if recipe is not None and signal.key in recipe.limits:
        return recipe.limits[signal.key]
    return signal.limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """A building with lines."""

    id: str
    label: Label
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """The whole model of one site."""

    site: str
    label: Label
    issuer: str
    """Who signs: the legal name on the certificate."""
    timezone: str
    materials: Mapping[str, Material]
    workshops: tuple[Workshop, ...]
    digest: str
    """SHA-256 of the plant file, hex: certificates name the model they were judged by."""
    bindings: tuple[Binding, ...] = ()
    """What foreign devices publish, and which signals it is."""

    @property
    def lines(self) -> tuple[Line, ...]:
        """All lines of all workshops."""
        return tuple(line for workshop in self.workshops for line in workshop.lines)

    def line(self, path: str) -> Line:
        """`caux/textile/t1` → Line. Raises NotFound."""
        for line in self.lines:
            if line.path == path:
                return line
        raise NotFound(f"no line {path!r} in the plant model; known: {', '.join(line.path for line in self.lines)}")

    def devices(self) -> Iterator[tuple[Line, Unit]]:
        """Every device with its line."""
        for line in self.lines:
            for unit in line.units:
                yield line, unit
