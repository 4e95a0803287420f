"""Quality of a lot: statistics of every run behind it, fibre ratio with U95, charts over past lots, verdict."""

from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass

from filiere.archive import SealedRun
from filiere.chain import Chain, Run
from filiere.errors import NotFound
from filiere.plant import Label, Line, Plant, Recipe, Signal, Step, limits_of
from filiere.readings import Series
from filiere.readings_store import ReadingsStore
from processing.balance import MassBalance, mass_balance
from processing.charts import IndividualsChart, individuals_chart
from processing.genealogy import trace
from processing.release import JudgedSignal, Verdict, judged, release
from processing.statistics import SignalStatistics, signal_statistics

FIBRE_RATIO = "fibre_ratio"
"""Id of the signal that measures a share of fibre, on whichever unit."""
CHART_LOTS_MAX = 50
"""Lots of a chart, the newest: older ones were made by a machine that has changed since."""

Remembered = MutableMapping[str, tuple[SignalStatistics, ...]]
"""Run id → statistics: readings of a run that is over do not change, so who asks often may keep them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuality:
    """One run behind the lot."""

    run: str
    line: str
    step: str
    statistics: tuple[SignalStatistics, ...]
    """One a signal of the step, in the order of the keys."""
    balance: MassBalance


@dataclass(frozen=True, slots=True, kw_only=True)
class FibreRatio:
    """Time-weighted mean share of fibre over a run, 0..1, with U95 (k = 2). None = no good reading."""

    run: str
    key: str
    label: Label
    mean: float | None
    u95: float | None
    n_effective: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LotChart:
    """Individuals chart of one critical signal: means of the lots of the same line, step and recipe, oldest first."""

    key: str
    label: Label
    unit: str
    lots: tuple[str, ...]
    means: tuple[float, ...]
    chart: IndividualsChart


@dataclass(frozen=True, slots=True, kw_only=True)
class LotQuality:
    """What is known of the quality of one lot."""

    lot: str
    runs: tuple[RunQuality, ...]
    """Every run behind it, first run first; empty for a lot that was received."""
    fibre_ratios: tuple[FibreRatio, ...]
    charts: tuple[LotChart, ...]
    """Of the run that made it."""
    verdict: Verdict | None
    """None for a lot that was received."""


def lot_quality(
    plant: Plant, chain: Chain, store: ReadingsStore, lot_id: str, *, remembered: Remembered | None = None
) -> LotQuality:
    """Fetch the readings of a lot's runs and judge them.

    Raises:
        NotFound: no such lot, or the plant model does not know a line, step or recipe of its runs.
        StoreUnavailable, StoreRefused: the readings cannot be had.
    """
    memory: Remembered = {} if remembered is None else remembered
    behind = trace(chain, lot_id, "back")
    runs = tuple(
        RunQuality(
            run=run.id,
            line=run.line,
            step=run.step,
            statistics=_statistics(plant, store, run, memory),
            balance=mass_balance(run),
        )
        for run in behind.runs
    )
    return LotQuality(
        lot=lot_id,
        runs=runs,
        fibre_ratios=tuple(_fibre_ratios(plant, runs)),
        charts=_charts(plant, chain, store, behind.runs[-1], memory) if behind.runs else (),
        verdict=verdict_of_runs(plant, runs) if runs else None,
    )


def verdict_of_runs(plant: Plant, runs: Iterable[RunQuality]) -> Verdict:
    """The release of the lot at the end of these runs."""
    known = tuple(runs)
    return release(
        balances={run.run: run.balance for run in known},
        critical=tuple(signal for run in known for signal in _critical(plant, run)),
    )


def _critical(plant: Plant, quality: RunQuality) -> Iterable[JudgedSignal]:
    line = plant.line(quality.line)
    for statistics in quality.statistics:
        signal = line.signal(statistics.key)
        if signal.critical:
            yield judged(quality.run, signal, statistics)


def keys_of(line: Line, step: Step) -> tuple[str, ...]:
    """Keys of the signals that are sealed with a run of a step, sorted."""
    return tuple(sorted(signal.key for signal in line.signals_of(step)))


def fetch_run(plant: Plant, store: ReadingsStore, run: Run) -> SealedRun:
    """The readings of a closed run, as they are sealed.

    Raises:
        NotFound: the plant model does not know its line or step, or the run is open.
        StoreUnavailable, StoreRefused.
    """
    if run.stop_ns is None:
        raise NotFound(f"run {run.id}: it is still open; its readings are complete when it is closed")
    line = plant.line(run.line)
    keys = keys_of(line, line.step(run.step))
    return SealedRun(
        run=run.id,
        line=run.line,
        step=run.step,
        start_ns=run.start_ns,
        stop_ns=run.stop_ns,
        keys=keys,
        series=store.window(run.line, keys, run.start_ns, run.stop_ns) if keys else (),
    )


def run_statistics(plant: Plant, run: Run, sealed: SealedRun) -> tuple[SignalStatistics, ...]:
    """Statistics of every signal of a run, in the order of the keys, against the limits of its recipe.

    Raises:
        NotFound: the plant model does not know its line, step, recipe or a signal.
    """
    line = plant.line(run.line)
    recipe = line.step(run.step).recipe(run.recipe)
    return tuple(_series_statistics(series, line.signal(series.key), recipe, sealed) for series in sealed.series)


def _series_statistics(series: Series, signal: Signal, recipe: Recipe, sealed: SealedRun) -> SignalStatistics:
    return signal_statistics(
        series,
        limits=limits_of(signal, recipe),
        period_s=signal.period_s,
        resolution=signal.resolution,
        start_ns=sealed.start_ns,
        stop_ns=sealed.stop_ns,
    )


def _statistics(plant: Plant, store: ReadingsStore, run: Run, memory: Remembered) -> tuple[SignalStatistics, ...]:
    if run.id not in memory:
        memory[run.id] = run_statistics(plant, run, fetch_run(plant, store, run))
    return memory[run.id]


def _fibre_ratios(plant: Plant, runs: Iterable[RunQuality]) -> Iterable[FibreRatio]:
    for run in runs:
        for statistics in run.statistics:
            signal = plant.line(run.line).signal(statistics.key)
            if signal.id == FIBRE_RATIO:
                yield FibreRatio(
                    run=run.run,
                    key=signal.key,
                    label=signal.label,
                    mean=statistics.mean,
                    u95=statistics.u95,
                    n_effective=statistics.n_effective,
                )


def _charts(plant: Plant, chain: Chain, store: ReadingsStore, last: Run, memory: Remembered) -> tuple[LotChart, ...]:
    """A chart a critical signal, over the lots made before and including this one."""
    assert last.stop_ns is not None
    alike = sorted(
        (run.stop_ns, run.id)
        for run in chain.runs.values()
        if (run.line, run.step, run.recipe) == (last.line, last.step, last.recipe)
        and run.stop_ns is not None
        and (run.stop_ns, run.id) <= (last.stop_ns, last.id)
    )
    runs = [chain.runs[run_id] for _, run_id in alike[-CHART_LOTS_MAX:]]
    line = plant.line(last.line)
    by_run = {run.lot: {each.key: each for each in _statistics(plant, store, run, memory)} for run in runs}
    return tuple(
        _chart(signal, {lot: statistics[signal.key].mean for lot, statistics in by_run.items()})
        for signal in line.signals_of(line.step(last.step))
        if signal.critical
    )


def _chart(signal: Signal, mean_by_lot: dict[str, float | None]) -> LotChart:
    known = {lot: mean for lot, mean in mean_by_lot.items() if mean is not None}
    return LotChart(
        key=signal.key,
        label=signal.label,
        unit=signal.unit,
        lots=tuple(known),
        means=tuple(known.values()),
        chart=individuals_chart(tuple(known.values()), resolution=signal.resolution),
    )
