"""Composing a statement: the chain, the claim, the balances and the statistics, in the texts of a certificate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from filiere.chain import Chain, Lot, Run
from filiere.events import Portion
from filiere.plant import Label, Limits, Material, Plant, Signal
from processing.balance import MassBalance, mass_balance
from processing.claims import Claim, claim
from processing.exact import SIGNIFICANT_DIGITS, decimal_text, number_text, time_text
from processing.genealogy import trace
from processing.release import JudgedSignal, Verdict, release
from processing.seal import Seal
from processing.statement import (
    FORMAT,
    Issuer,
    PlantModel,
    StatedBalance,
    StatedClaim,
    StatedLot,
    StatedOutput,
    StatedPortion,
    StatedReceived,
    StatedRelease,
    StatedRun,
    StatedSeal,
    StatedStatistics,
    Statement,
    label_of,
    name_of,
    replaced_id,
)
from processing.statistics import SignalStatistics


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvidence:
    """What the readings of one run say: its seal, and the statistics of its signals in the order of the keys."""

    seal: Seal
    statistics: tuple[SignalStatistics, ...]


def make_statement(
    plant: Plant, chain: Chain, lot_id: str, *, evidence: Mapping[str, RunEvidence], key_id: str, revision: int = 1
) -> Statement:
    """State everything of a lot that a run has made. `evidence`: run id → what its readings say, for every run behind.

    Raises:
        NotFound: no such lot; the plant model does not know a line, step or signal of its runs.
        BalanceError: a run behind it cannot be added up.
    """
    behind = trace(chain, lot_id, "back")
    last = chain.runs[str(chain.lots[lot_id].run)]
    assert last.stop_ns is not None
    runs = tuple(_stated_run(plant, run, evidence[run.id]) for run in behind.runs)
    balances = {run.id: mass_balance(run) for run in behind.runs}
    return Statement(
        format=FORMAT,
        revision=revision,
        replaces=replaced_id(lot_id, revision),
        date=time_text(last.stop_ns),
        issuer=Issuer(name=plant.issuer, site=plant.site, key_id=key_id),
        plant=PlantModel(site=plant.site, digest=plant.digest),
        lot=stated_lot(
            chain.lots[lot_id],
            name=material_label(plant.materials, chain.lots[lot_id].portion.material),
            line=last.line,
            line_name=plant.line(last.line).label,
        ),
        claim=stated_claim(claim(chain, lot_id)),
        received=tuple(_stated_received(plant, lot) for lot in behind.received),
        runs=runs,
        release=stated_release(verdict_of(runs, balances)),
    )


def material_label(materials: Mapping[str, Material], material: str) -> Label:
    """The plant model's words for a material; its own id where the model has none."""
    known = materials.get(material)
    return known.label if known is not None else Label(fr=material, en=material)


def stated_lot(lot: Lot, *, name: Label, line: str, line_name: Label) -> StatedLot:
    """The lot as it was weighed."""
    return StatedLot(
        id=lot.id,
        material=lot.portion.material,
        name=name_of(name),
        mass_kg=decimal_text(lot.portion.mass_kg),
        u_kg=decimal_text(lot.portion.u_kg),
        moisture=decimal_text(lot.portion.moisture),
        line=line,
        line_name=name_of(line_name),
    )


def stated_claim(made: Claim) -> StatedClaim:
    """A claim in texts."""
    return StatedClaim(
        recycled_content=decimal_text(made.recycled),
        u95=decimal_text(made.u95),
        **{name: decimal_text(share) for name, share in made.origin.items()},
        custody_model=made.custody_model,
        method=name_of(made.method),
    )


def stated_balance(balance: MassBalance) -> StatedBalance:
    """A balance in texts."""
    return StatedBalance(
        feed_dry_kg=decimal_text(balance.feed_dry_kg),
        product_dry_kg=decimal_text(balance.product_dry_kg),
        residue_dry_kg=decimal_text(balance.residue_dry_kg),
        water_in_kg=decimal_text(balance.water_in_kg),
        water_out_kg=decimal_text(balance.water_out_kg),
        difference_kg=decimal_text(balance.difference_kg),
        u_kg=decimal_text(balance.u_kg),
        k=balance.k,
        closure=decimal_text(balance.closure),
        balanced=balance.balanced,
    )


def stated_statistics(signal: Signal, statistics: SignalStatistics) -> StatedStatistics:
    """Statistics in texts of 6 significant digits; what the plant model says of the signal is exact."""
    return StatedStatistics(
        key=signal.key,
        name=name_of(signal.label),
        unit=signal.unit,
        critical=signal.critical,
        period_s=number_text(signal.period_s),
        resolution=number_text(signal.resolution),
        low=_limit(statistics.limits.low),
        high=_limit(statistics.limits.high),
        **measured_texts(statistics),
    )


def measured_texts(statistics: SignalStatistics) -> dict[str, Any]:
    """The part of `StatedStatistics` that the readings alone decide."""
    return {
        "n": statistics.n,
        "mean": _measured(statistics.mean),
        "sd": _measured(statistics.sd),
        "u95": _measured(statistics.u95),
        "minutes_outside": _measured(statistics.minutes_outside),
        "completeness": _measured(statistics.completeness),
    }


def _measured(value: float | None) -> str | None:
    return None if value is None else number_text(value, digits=SIGNIFICANT_DIGITS)


def _limit(value: float | None) -> str | None:
    return None if value is None else number_text(value)


def _stated_run(plant: Plant, run: Run, evidence: RunEvidence) -> StatedRun:
    line = plant.line(run.line)
    step = line.step(run.step)
    return StatedRun(
        **run_facts(run),
        balance=stated_balance(mass_balance(run)),
        name=name_of(step.label),
        seal=StatedSeal(root=evidence.seal.root, leaves=evidence.seal.leaves),
        statistics=tuple(stated_statistics(line.signal(each.key), each) for each in evidence.statistics),
    )


def run_facts(run: Run) -> dict[str, Any]:
    """The part of `StatedRun` that its events tell."""
    assert run.stop_ns is not None
    return {
        "id": run.id,
        "line": run.line,
        "step": run.step,
        "recipe": run.recipe,
        "lot": run.lot,
        "start": time_text(run.start_ns),
        "stop": time_text(run.stop_ns),
        "inputs": tuple(StatedPortion(**_portion_texts(portion)) for portion in run.inputs),
        "outputs": tuple(StatedOutput(**_portion_texts(portion), role=_role(portion)) for portion in run.outputs),
    }


def _role(portion: Portion) -> Literal["product", "residue"]:
    return "product" if portion.role == "product" else "residue"


def _stated_received(plant: Plant, lot: Lot) -> StatedReceived:
    name = name_of(material_label(plant.materials, lot.portion.material))
    return StatedReceived(**received_facts(lot), name=name)


def received_facts(lot: Lot) -> dict[str, Any]:
    """The part of `StatedReceived` that its event tells."""
    assert lot.received is not None
    return {
        **_portion_texts(lot.portion),
        "supplier": lot.received.supplier,
        "origin": {name: decimal_text(part) for name, part in lot.received.origin.items()},
        "evidence": lot.received.evidence,
        "date": time_text(lot.received.event_time_ns),
    }


def _portion_texts(portion: Portion) -> dict[str, str]:
    return {
        "lot": portion.lot,
        "material": portion.material,
        "mass_kg": decimal_text(portion.mass_kg),
        "u_kg": decimal_text(portion.u_kg),
        "moisture": decimal_text(portion.moisture),
        "u_moisture": decimal_text(portion.u_moisture),
    }


def stated_release(verdict: Verdict) -> StatedRelease:
    """A verdict in texts."""
    return StatedRelease(verdict=verdict.word, reasons=tuple(name_of(reason) for reason in verdict.reasons))


def verdict_of(runs: Sequence[StatedRun], balances: Mapping[str, MassBalance]) -> Verdict:
    """The release, from the balances (run id → balance, recomputed) and the statistics as stated."""
    return release(
        balances=balances,
        critical=tuple(_judged(run.id, each) for run in runs for each in run.statistics if each.critical),
    )


def _judged(run: str, stated: StatedStatistics) -> JudgedSignal:
    return JudgedSignal(
        run=run,
        label=label_of(stated.name),
        unit=stated.unit,
        mean=_float(stated.mean),
        u95=_float(stated.u95),
        limits=limits_of_stated(stated),
        completeness=float(stated.completeness),
    )


def limits_of_stated(stated: StatedStatistics) -> Limits:
    """The limits that a signal was judged by."""
    return Limits(low=_float(stated.low), high=_float(stated.high))


def _float(text: str | None) -> float | None:
    return None if text is None else float(text)
