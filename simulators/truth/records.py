"""What was true of one lot cycle, as it is kept: faults, runs, masses and lots in one JSON file, beside its readings.

Masses are whole grams, dry and water apart, and nothing is lost: what goes into a run comes out of it, or is water
that went into the air. Times are UTC ns.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from filiere.clock import NS_PER_S
from filiere.errors import StoreRefused
from filiere.events import PRODUCT
from simulators.faults.fault import FOREVER_NS, Active, Layer
from simulators.line.cycle import Cycle
from simulators.line.plan import Flow, Stage
from simulators.line.state import Stock
from simulators.line.truth import LotTruth

FORMAT = "filiere-truth/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultTruth:
    """A fault with the time in which it is there."""

    label: str
    kind: str
    layer: Layer
    line: str
    """Line path, `caux/textile/t1`."""
    target: str
    """`extruder`, `extruder.melt_temp`, or empty for the whole line."""
    severity: float | None
    """In the unit of its kind; None = it is there or not."""
    start_ns: int
    stop_ns: int | None
    """None = it does not end."""

    @property
    def device(self) -> str:
        """Empty = the whole line."""
        return self.target.partition(".")[0]

    @property
    def signal(self) -> str:
        """Empty = all of the device, or of the line."""
        return self.target.partition(".")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowTruth:
    """True mass that crossed the border of a run."""

    lot: str
    material: str
    role: str
    """`product` or `residue`; inputs are always `product`."""
    dry_g: int
    water_g: int
    taken_up_g: int = 0
    """Of the water of an input: what came out of the air on the way from the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTruth:
    """One execution of a step."""

    id: str
    step: str
    recipe: str
    lot: str
    """The lot that it makes."""
    start_ns: int
    feed_start_ns: int
    feed_stop_ns: int
    stop_ns: int
    inputs: tuple[FlowTruth, ...]
    outputs: tuple[FlowTruth, ...]
    air_water_g: int
    """Water that went into the air; below 0 = that was taken up from it."""

    @property
    def feed_dry_g(self) -> int:
        """Dry mass in."""
        return sum(flow.dry_g for flow in self.inputs)

    @property
    def product_dry_g(self) -> int:
        """Dry mass of the product alone."""
        return sum(flow.dry_g for flow in self.outputs if flow.role == PRODUCT)


@dataclass(frozen=True, slots=True, kw_only=True)
class StockTruth:
    """What is left of a lot at the end of a cycle."""

    lot: str
    material: str
    dry_g: int
    water_g: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleTruth:
    """All that is known of one lot cycle of a line, its readings apart."""

    format: str = FORMAT
    plant: str
    """SHA-256 of the plant file, hex."""
    scenario: str
    scenario_digest: str
    seed: int
    line: str
    number: int
    """0 for the first lot of a line."""
    start_ns: int
    stop_ns: int
    faults: tuple[FaultTruth, ...]
    """Those that began by its end, in the order of their onset; they may have ended before it."""
    runs: tuple[RunTruth, ...]
    lots: tuple[LotTruth, ...]
    """What was received and made, with what it truly is."""
    stock: tuple[StockTruth, ...]
    set_aside: tuple[StockTruth, ...]
    """What is truly left of lots that the books call used up: swept up, and never used."""
    store_air_g: int
    """Water that the stock gave to the air until the next cycle began; below 0 = it took some up."""


def cycle_truth(cycle: Cycle, *, plant: str, scenario: str, scenario_digest: str, seed: int) -> CycleTruth:
    """What is true of a computed cycle; `plant` is the digest of the plant file."""
    plan = cycle.plan
    stop_ns = plan.cycle.start_ns + plan.duration_s * NS_PER_S
    return CycleTruth(
        plant=plant,
        scenario=scenario,
        scenario_digest=scenario_digest,
        seed=seed,
        line=plan.cycle.line,
        number=plan.cycle.number,
        start_ns=plan.cycle.start_ns,
        stop_ns=stop_ns,
        faults=tuple(_fault(active) for active in in_order(cycle.active) if active.window.start_ns < stop_ns),
        runs=tuple(_run(plan.cycle.start_ns, stage) for stage in plan.stages),
        lots=cycle.lots,
        stock=tuple(map(_stock, plan.stock)),
        set_aside=tuple(map(_stock, plan.set_aside)),
        store_air_g=cycle.store_air_g,
    )


def in_order(faults: tuple[Active, ...]) -> list[Active]:
    """By onset, then by label."""
    return sorted(faults, key=lambda active: (active.window.start_ns, active.fault.label))


def _fault(active: Active) -> FaultTruth:
    fault, window = active.fault, active.window
    return FaultTruth(
        label=fault.label,
        kind=fault.kind,
        layer=fault.layer,
        line=fault.line,
        target=fault.target,
        severity=None if math.isnan(fault.severity) else fault.severity,
        start_ns=window.start_ns,
        stop_ns=None if window.stop_ns == FOREVER_NS else window.stop_ns,
    )


def _run(cycle_ns: int, stage: Stage) -> RunTruth:
    def time_ns(seconds: float) -> int:
        return cycle_ns + round(seconds * NS_PER_S)

    return RunTruth(
        id=stage.run,
        step=stage.step.id,
        recipe=stage.recipe.id,
        lot=stage.lot,
        start_ns=time_ns(stage.start_s),
        feed_start_ns=time_ns(stage.feed_start_s),
        feed_stop_ns=time_ns(stage.feed_stop_s),
        stop_ns=time_ns(stage.stop_s),
        inputs=tuple(map(_flow, stage.inputs)),
        outputs=tuple(map(_flow, stage.outputs)),
        air_water_g=stage.air_water_g,
    )


def _flow(flow: Flow) -> FlowTruth:
    portion = flow.portion
    return FlowTruth(
        lot=portion.lot,
        material=portion.material,
        role=portion.role,
        dry_g=flow.dry_g,
        water_g=flow.water_g,
        taken_up_g=flow.taken_up_g,
    )


def _stock(lot: Stock) -> StockTruth:
    return StockTruth(lot=lot.lot, material=lot.material, dry_g=lot.dry_g, water_g=lot.water_g)


def encode(truth: CycleTruth) -> bytes:
    """The file's bytes: the same for the same truth."""
    return msgspec.json.format(msgspec.json.encode(truth), indent=1) + b"\n"


def decode(path: Path, content: bytes) -> CycleTruth:
    """The truth of one file; `path` is for the message. Raises StoreRefused."""
    try:
        truth = msgspec.json.decode(content, type=CycleTruth)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise StoreRefused(
            f"{path}: got a truth that cannot be read ({error}); expected a {FORMAT} that `filiere simulate --truth`"
            " wrote: simulate again into a new folder"
        ) from None
    wrong = next(_wrong(truth), None)
    if wrong is not None:
        raise StoreRefused(f"{path}: {wrong}: simulate again into a new folder")
    return truth


def _wrong(truth: CycleTruth) -> Iterator[str]:
    """What cannot be: got, expected."""
    if truth.format != FORMAT:
        yield f"got format {truth.format[:40]!r}; expected {FORMAT}"
    faults = [(fault.start_ns, fault.stop_ns or 0) for fault in truth.faults]
    runs = [(run.start_ns, run.stop_ns) for run in truth.runs]
    if not all(
        0 <= time_ns <= FOREVER_NS for pair in [(truth.start_ns, truth.stop_ns), *faults, *runs] for time_ns in pair
    ):
        yield "got a time before 1970 or beyond 2262; expected UTC ns"
    if truth.stop_ns <= truth.start_ns:
        yield f"got a cycle that ends {truth.stop_ns - truth.start_ns} ns after it begins; expected a later end"
    for fault in truth.faults:
        if fault.line != truth.line:
            yield f"fault {fault.label}: got line {fault.line[:80]!r}; expected {truth.line}, that of the cycle"
        if fault.stop_ns is not None and fault.stop_ns < fault.start_ns:
            yield f"fault {fault.label}: got an end before its beginning; expected one at or after it"
    for run in truth.runs:
        if run.stop_ns < run.start_ns:
            yield f"run {run.id}: got a stop before its start; expected one at or after it"
        dry_out_g = sum(flow.dry_g for flow in run.outputs)
        if run.feed_dry_g != dry_out_g:
            yield f"run {run.id}: got {run.feed_dry_g} g dry in and {dry_out_g} g out; expected the same, to the gram"
