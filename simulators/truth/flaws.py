"""What is truly wrong with a lot: its material, or what was told of it."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

import numpy as np

from filiere.chain import Chain, Run
from filiere.clock import NS_PER_S
from filiere.errors import BalanceError, NotFound
from filiere.events import PRODUCT, Portion
from filiere.plant import Label, Limits, Plant, limits_of
from filiere.readings import Series
from processing.claims import RECYCLED, claim
from processing.exact import number_text
from processing.release import comma, limits_label
from processing.statistics import signal_statistics
from simulators.line.truth import LotTruth
from simulators.truth.folder import Truth
from simulators.truth.records import CycleTruth, FaultTruth, FlowTruth, RunTruth

TOLD_K = 3
"""A weighing further off than this many standard uncertainties was not told as it was: 3 in 1,000 of honest ones."""
TOLD_TIME_S = 60.0
"""A start or a stop may be told so much off."""
CLAIM_MORE = 0.001
"""A recycled content may be claimed so much beyond its uncertainty and the truth: it is told with six places."""
FOREIGN_MAX = 0.02
"""A product may have so much more of a substance than the lots that it is said to be made of, share of its dry mass."""
DOCUMENT_KINDS = frozenset({"reused_document"})
"""Faults during which a delivery's document proves nothing of it, though what it says may be true."""
GRAMS_PER_KG = 1000


class Flaws:
    """Why lots do not conform; each run is looked at once."""

    def __init__(self, truth: Truth, plant: Plant, chain: Chain) -> None:
        self._truth = truth
        self._plant = plant
        self._chain = chain
        self._runs = truth.runs
        self._maker = {flow.lot: run for run in self._runs.values() for flow in run.outputs if flow.role == PRODUCT}
        self._cycle_of = {run.id: cycle for cycle in truth.cycles for run in cycle.runs}
        self._lots = {lot.lot: lot for cycle in truth.cycles for lot in cycle.lots}
        self._line_of = {lot.lot: cycle.line for cycle in truth.cycles for lot in cycle.lots}
        self._known: dict[str, tuple[Label, ...]] = {}

    def behind(self, run: RunTruth) -> tuple[RunTruth, ...]:
        """The runs behind what `run` makes, in truth, itself last."""
        found, todo = {run.id: run}, [run]
        while todo:
            for flow in todo.pop().inputs:
                maker = self._maker.get(flow.lot)
                if maker is not None and maker.id not in found:
                    found[maker.id] = maker
                    todo.append(maker)
        return tuple(sorted(found.values(), key=lambda each: (each.stop_ns, each.id)))

    def of_lot(self, run: RunTruth) -> tuple[Label, ...]:
        """What is wrong with the lot that `run` makes, of all the runs behind it."""
        behind = self.behind(run)
        return (
            *(label for each in behind for label in self._of_run(each)),
            *(label for each in behind for label in foreign(self._lots.get(each.lot), self._lots)),
            *over_claimed(self._chain, self._lots.get(run.lot)),
            *self._without_document(behind),
        )

    def _without_document(self, behind: Sequence[RunTruth]) -> Iterator[Label]:
        """Received lots whose document is another's."""
        faults = [fault for fault in self._truth.faults if fault.kind in DOCUMENT_KINDS]
        for name in dict.fromkeys(flow.lot for run in behind for flow in run.inputs):
            lot = self._lots.get(name)
            if lot is None or lot.run:
                continue
            if any(covers(fault, self._line_of[name], lot.time_ns) for fault in faults):
                yield Label(
                    fr=f"{name} : le document est d'une autre livraison",
                    en=f"{name}: the document is of another delivery",
                )

    def _of_run(self, run: RunTruth) -> tuple[Label, ...]:
        if run.id not in self._known:
            told = self._chain.runs.get(run.id)
            self._known[run.id] = (
                *beyond_limits(self._plant, self._truth, self._cycle_of[run.id], run),
                *(() if told is None else wrongly_told(run, told)),
            )
        return self._known[run.id]


def beyond_limits(plant: Plant, truth: Truth, cycle: CycleTruth, run: RunTruth) -> Iterator[Label]:
    """Signals whose true mean over the run, time-weighted, is beyond their limits."""
    line = plant.line(cycle.line)
    step = line.step(run.step)
    recipe = step.recipe(run.recipe)
    limits = {signal.key: limits_of(signal, recipe) for signal in line.signals_of(step)}
    for each in truth.signals(cycle, [key for key, given in limits.items() if given != Limits()]):
        signal = line.signal(f"{each.device}.{each.signal}")
        statistics = signal_statistics(
            Series(key=signal.key, time_ns=each.time_ns, value=each.true, quality=np.zeros(len(each.true), np.uint8)),
            limits=limits[signal.key],
            period_s=signal.period_s,
            resolution=signal.resolution,
            start_ns=run.start_ns,
            stop_ns=run.stop_ns,
        )
        if statistics.mean is None or _inside(statistics.mean, limits[signal.key]):
            continue
        mean, allowed = number_text(statistics.mean, digits=4), limits_label(limits[signal.key])
        yield Label(
            fr=f"{run.id}, {signal.label.fr} : moyenne vraie {comma(mean)} {signal.unit}, limites {allowed.fr}",
            en=f"{run.id}, {signal.label.en}: true mean {mean} {signal.unit}, limits {allowed.en}",
        )


def _inside(value: float, limits: Limits) -> bool:
    return (limits.low is None or value >= limits.low) and (limits.high is None or value <= limits.high)


def foreign(lot: LotTruth | None, lots: Mapping[str, LotTruth]) -> Iterator[Label]:
    """Substances that came in without a lot: more of one than all that its run took can have brought.

    Sorting enriches the main substance, so that one may grow.
    """
    parents = [] if lot is None else [(lots.get(parent.lot), parent.dry_g) for parent in lot.parents]
    total_g = sum(dry_g for _, dry_g in parents)
    if lot is None or total_g == 0:
        return
    mix: defaultdict[str, float] = defaultdict(float)
    for parent, dry_g in parents:
        if parent is None:
            return  # it was there before the truth began
        for substance, share in parent.composition.items():
            mix[substance] += share * dry_g / total_g
    main = max(sorted(mix), key=lambda substance: mix[substance])
    for substance, share in lot.composition.items():
        more = share - mix[substance]
        if substance != main and more > FOREIGN_MAX:
            said = percent(more)
            yield Label(
                fr=f"{lot.lot} : {said.fr} de « {substance} » que ses lots n'avaient pas",
                en=f"{lot.lot}: {said.en} of {substance!r} that its lots did not have",
            )


def over_claimed(chain: Chain, lot: LotTruth | None) -> Iterator[Label]:
    """More recycled content would be certified than there is. Less is not a flaw: what is not proven does not count."""
    if lot is None or lot.lot not in chain.lots:
        return
    try:
        told = claim(chain, lot.lot)
    except (NotFound, BalanceError):
        return  # nothing can be claimed of it
    true = sum(lot.origin.get(name, 0.0) for name in RECYCLED)
    if float(told.recycled) > true + float(told.u95) + CLAIM_MORE:
        said, is_ = percent(float(told.recycled)), percent(true)
        yield Label(
            fr=f"{lot.lot} : contenu recyclé déclaré {said.fr}, vrai {is_.fr}",
            en=f"{lot.lot}: recycled content claimed {said.en}, true {is_.en}",
        )


def covers(fault: FaultTruth, line: str, time_ns: int) -> bool:
    """The fault is on that line at that time."""
    return fault.line == line and fault.start_ns <= time_ns and (fault.stop_ns is None or time_ns < fault.stop_ns)


def wrongly_told(run: RunTruth, told: Run) -> Iterator[Label]:
    """Where the books of a run say something else than what was."""
    yield from _wrong_lots(run.id, run.inputs, told.inputs, Label(fr="entrées", en="inputs"))
    if told.stop_ns is not None:
        yield from _wrong_lots(run.id, run.outputs, told.outputs, Label(fr="sorties", en="outputs"))
    off_ns = max(abs(told.start_ns - run.start_ns), abs((told.stop_ns or run.stop_ns) - run.stop_ns))
    if off_ns > TOLD_TIME_S * NS_PER_S:
        off_s = off_ns // NS_PER_S
        yield Label(fr=f"{run.id} : heures notées à {off_s} s près", en=f"{run.id}: times told {off_s} s off")


def _wrong_lots(run_id: str, flows: Sequence[FlowTruth], portions: Sequence[Portion], way: Label) -> Iterator[Label]:
    """Dry masses lot by lot: water comes and goes with the air, whatever people do."""
    true_kg: defaultdict[str, Decimal] = defaultdict(Decimal)
    for flow in flows:
        true_kg[flow.lot] += Decimal(flow.dry_g) / GRAMS_PER_KG
    told_kg: defaultdict[str, Decimal] = defaultdict(Decimal)
    u2_kg2: defaultdict[str, Decimal] = defaultdict(Decimal)
    for portion in portions:
        told_kg[portion.lot] += portion.dry_kg
        u2_kg2[portion.lot] += portion.u_kg**2 + (portion.mass_kg * portion.u_moisture) ** 2
    strange = ", ".join(sorted(true_kg.keys() ^ told_kg.keys()))
    if strange:
        yield Label(
            fr=f"{run_id}, {way.fr} : d'autres lots que ceux notés ({strange})",
            en=f"{run_id}, {way.en}: other lots than were written down ({strange})",
        )
    for lot in sorted(true_kg.keys() & told_kg.keys()):
        off_kg = told_kg[lot] - true_kg[lot]
        if abs(off_kg) > TOLD_K * u2_kg2[lot].sqrt():
            off = f"{off_kg:+.1f}"
            yield Label(
                fr=f"{run_id}, {way.fr} : {lot} noté à {comma(off)} kg de sa masse sèche vraie",
                en=f"{run_id}, {way.en}: {lot} told {off} kg off its true dry mass",
            )


def percent(share: float) -> Label:
    """`0.295` → `29,5 %`, `29.5%`."""
    text = f"{share * 100:.1f}"
    return Label(fr=f"{comma(text)} %", en=f"{text}%")
