"""`/batches/{id}/quality`: statistics of the runs behind a batch, charts over past lots, balances, verdict."""

from collections.abc import Iterator, MutableMapping
from decimal import Decimal
from typing import Literal

from fastapi import APIRouter
from pydantic import Field

from api.models import LotId, Model, Text
from api.parts import PartsOf
from api.problems import responses
from filiere.plant import Plant
from processing.balance import MassBalance
from processing.quality import FibreRatio, LotChart, LotQuality, RunQuality, lot_quality
from processing.statistics import SignalStatistics

REMEMBERED_MAX = 2000
"""Runs whose statistics are kept in memory: readings of a run that is over do not change."""

router = APIRouter(tags=["batches"])


class Memory(MutableMapping[str, tuple[SignalStatistics, ...]]):
    """Statistics by run, the newest REMEMBERED_MAX."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[SignalStatistics, ...]] = {}

    def __getitem__(self, run: str) -> tuple[SignalStatistics, ...]:
        return self._known[run]

    def __setitem__(self, run: str, statistics: tuple[SignalStatistics, ...]) -> None:
        self._known[run] = statistics
        if len(self._known) > REMEMBERED_MAX:
            self._known.pop(next(iter(self._known)), None)

    def __delitem__(self, run: str) -> None:
        del self._known[run]

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._known))

    def __len__(self) -> int:
        return len(self._known)


class SignalQuality(Model):
    """One signal over one run, weighted by time; null where there was no good reading."""

    key: str = Field(examples=["extruder.melt_temp"])
    name: Text
    unit: str = Field(description="UCUM; of mean, sd, u95, minimum, maximum, low, high", examples=["Cel"])
    n: int = Field(description="Good readings", examples=[2700])
    mean: float | None = Field(examples=[228.4])
    sd: float | None = Field(description="Standard deviation as observed", examples=[0.9])
    u95: float | None = Field(description="Expanded uncertainty of the mean (k = 2)", examples=[0.2])
    minimum: float | None = Field(examples=[225.5])
    maximum: float | None = Field(examples=[231.0])
    low: float | None = Field(description="Lower limit; null = none", examples=[210.0])
    high: float | None = Field(description="Upper limit; null = none", examples=[245.0])
    minutes_outside: float = Field(description="Minutes strictly outside the limits", examples=[0.0])
    completeness: float = Field(description="Covered good time / duration of the run, 0..1", examples=[1.0])


class Balance(Model):
    """Mass balance of a run on dry mass, kg."""

    feed_dry_kg: Decimal = Field(description="Dry mass in, kg", examples=["1000.000000"])
    product_dry_kg: Decimal = Field(description="Dry product out, kg", examples=["960.000000"])
    residue_dry_kg: Decimal = Field(description="Dry residue out, kg", examples=["39.500000"])
    water_in_kg: Decimal = Field(description="Water in, kg", examples=["6.000000"])
    water_out_kg: Decimal = Field(description="Water out, kg", examples=["0.500000"])
    difference_kg: Decimal = Field(description="Dry in − dry out, kg; above 0 = lost", examples=["0.500000"])
    u_kg: Decimal = Field(description="Standard uncertainty of the difference (k = 1), kg", examples=["0.400000"])
    k: int = Field(description="Coverage factor of the test |difference| ≤ k·u", examples=[2])
    closure: Decimal = Field(description="(product + residue) / feed, dry", examples=["0.999500"])
    balanced: bool = Field(examples=[True])


class QualityOfRun(Model):
    """One run behind the batch."""

    run: str = Field(examples=["T1-R0042"])
    line: str = Field(examples=["caux/textile/t1"])
    step: str = Field(examples=["extrusion"])
    statistics: list[SignalQuality]
    balance: Balance


class FibreRatioOfRun(Model):
    """Mean share of fibre over a run."""

    run: str = Field(examples=["F1-R0007"])
    key: str = Field(examples=["feeders.fibre_ratio"])
    name: Text
    mean: float | None = Field(description="Mass fraction, 0..1", examples=[0.301])
    u95: float | None = Field(description="Expanded uncertainty (k = 2), mass fraction", examples=[0.002])


class ChartOfLots(Model):
    """Individuals chart of lot means, oldest first, in the signal's unit."""

    key: str = Field(examples=["extruder.melt_temp"])
    name: Text
    unit: str = Field(description="UCUM", examples=["Cel"])
    batches: list[str] = Field(examples=[["T1-0041", "T1-0042"]])
    means: list[float] = Field(examples=[[228.1, 228.4]])
    centre: float | None = Field(description="Mean of the means", examples=[228.2])
    lower: float | None = Field(description="Lower control limit; null = too few lots", examples=[226.9])
    upper: float | None = Field(description="Upper control limit; null = too few lots", examples=[229.5])
    provisional: bool = Field(description="True: 8 to 19 lots, widened limits", examples=[True])
    outside: list[str] = Field(description="Batches beyond a control limit", examples=[[]])


class ReleaseVerdict(Model):
    """May it be sold, and why."""

    verdict: Literal["pass", "conditional_pass", "conditional_fail", "fail", "hold"]
    reasons: list[Text]


class BatchQuality(Model):
    """Quality of a batch."""

    batch: str = Field(examples=["T1-0042"])
    runs: list[QualityOfRun] = Field(description="Every run behind it, first run first; empty when received")
    fibre_ratios: list[FibreRatioOfRun]
    charts: list[ChartOfLots] = Field(description="Critical signals of the run that made it, over past lots")
    release: ReleaseVerdict | None = Field(description="null for a batch that was received")


@router.get(
    "/batches/{batch_id}/quality",
    operation_id="getBatchQuality",
    summary="Statistics, balances and verdict of a batch",
    responses=responses(404, 409, 422, 502, 503),
)
def get_batch_quality(parts: PartsOf, batch_id: LotId) -> BatchQuality:
    """Computed now from the readings. What a certificate states was computed by the same code when it was issued."""
    found = lot_quality(parts.plant, parts.ledger.chain(), parts.store, batch_id, remembered=parts.remembered)
    return _batch_quality(parts.plant, found)


def _batch_quality(plant: Plant, found: LotQuality) -> BatchQuality:
    verdict = found.verdict
    return BatchQuality(
        batch=found.lot,
        runs=[_run(plant, run) for run in found.runs],
        fibre_ratios=[_fibre_ratio(ratio) for ratio in found.fibre_ratios],
        charts=[_chart(chart) for chart in found.charts],
        release=ReleaseVerdict(verdict=verdict.word, reasons=[Text.of(reason) for reason in verdict.reasons])
        if verdict
        else None,
    )


def _run(plant: Plant, run: RunQuality) -> QualityOfRun:
    line = plant.line(run.line)
    return QualityOfRun(
        run=run.run,
        line=run.line,
        step=run.step,
        statistics=[
            SignalQuality(
                key=each.key,
                name=Text.of(line.signal(each.key).label),
                unit=line.signal(each.key).unit,
                n=each.n,
                mean=each.mean,
                sd=each.sd,
                u95=each.u95,
                minimum=each.minimum,
                maximum=each.maximum,
                low=each.limits.low,
                high=each.limits.high,
                minutes_outside=each.minutes_outside,
                completeness=each.completeness,
            )
            for each in run.statistics
        ],
        balance=_balance(run.balance),
    )


def _balance(balance: MassBalance) -> Balance:
    return Balance.model_validate({name: getattr(balance, name) for name in Balance.model_fields})


def _fibre_ratio(ratio: FibreRatio) -> FibreRatioOfRun:
    return FibreRatioOfRun(run=ratio.run, key=ratio.key, name=Text.of(ratio.label), mean=ratio.mean, u95=ratio.u95)


def _chart(chart: LotChart) -> ChartOfLots:
    return ChartOfLots(
        key=chart.key,
        name=Text.of(chart.label),
        unit=chart.unit,
        batches=list(chart.lots),
        means=list(chart.means),
        centre=chart.chart.centre,
        lower=chart.chart.lower,
        upper=chart.chart.upper,
        provisional=chart.chart.provisional,
        outside=[chart.lots[index] for index in chart.chart.outside],
    )
