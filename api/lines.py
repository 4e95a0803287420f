"""`/lines`: what every line does now, each signal judged by the limits in force."""

from collections.abc import Mapping, Sequence
from typing import Literal

from fastapi import APIRouter

from api import lots
from api.models import LatestReading, Lines, LineState, OpenRun, Text
from api.parts import PartsOf
from api.problems import responses
from filiere.chain import Chain, Run
from filiere.clock import NS_PER_S, to_text
from filiere.plant import Label, Limits, Line, Plant, Signal, Workshop, limits_of
from filiere.readings import GOOD, Latest

STALE_PERIODS = 10
STALE_S_MIN = 120.0
"""A signal is stale when it is older than the newest reading of the site by more than STALE_PERIODS of its sampling
periods, and by more than this. Event time is compared with event time: a replay of last year is not stale."""

Status = Literal["ok", "low", "high", "suspect", "stale", "idle", "none"]

router = APIRouter(tags=["lines"])


@router.get("/lines", operation_id="listLines", summary="Every line now", responses=responses(502, 503))
def list_lines(parts: PartsOf) -> Lines:
    """State, open run, and the last reading of every signal with its limits and its status."""
    latest = {line.path: parts.store.latest(line.path) for line in parts.plant.lines}
    return states(parts.plant, parts.ledger.chain(), latest)


def states(plant: Plant, chain: Chain, latest: Mapping[str, Sequence[Latest]]) -> Lines:
    """Line path → its last readings, to what the lines do. Pure."""
    newest = max((reading.time_ns for readings in latest.values() for reading in readings), default=None)
    return Lines(
        site=plant.site,
        newest=to_text(newest) if newest is not None else None,
        lines=[
            _line_state(plant, workshop, line, chain.open_run(line.path), latest[line.path], newest)
            for workshop in plant.workshops
            for line in workshop.lines
        ],
    )


def _line_state(
    plant: Plant, workshop: Workshop, line: Line, run: Run | None, latest: Sequence[Latest], newest: int | None
) -> LineState:
    by_key = {reading.key: reading for reading in latest}
    last = max((reading.time_ns for reading in latest), default=None)
    step = lots.step_of(plant, run) if run else None
    recipe = lots.recipe_of(plant, run) if run else None
    judged = {signal.key for signal in line.signals_of(step)} if step else set()
    return LineState(
        line=line.path,
        name=Text.of(line.label),
        workshop=Text.of(workshop.label),
        state="running" if run else "idle",
        run=_open_run(plant, run) if run else None,
        newest=to_text(last) if last is not None else None,
        age_s=_age_s(last, newest),
        signals=[
            _reading(
                signal,
                limits_of(signal, recipe),
                by_key.get(signal.key),
                newest,
                judged=signal.key in judged and not (run and before_run(signal, by_key.get(signal.key), run.start_ns)),
            )
            for signal in line.signals
        ],
    )


def before_run(signal: Signal, reading: Latest | None, start_ns: int) -> bool:
    """A sample of an earlier lot, which says nothing of the run that began at `start_ns`."""
    return signal.by_hand and reading is not None and reading.time_ns < start_ns


def _open_run(plant: Plant, run: Run) -> OpenRun:
    step, recipe = lots.step_of(plant, run), lots.recipe_of(plant, run)
    return OpenRun(
        id=run.id,
        batch=run.lot,
        step=run.step,
        step_name=Text.of(step.label if step else Label(fr=run.step, en=run.step)),
        recipe=run.recipe,
        recipe_name=Text.of(recipe.label if recipe else Label(fr=run.recipe, en=run.recipe)),
        start=to_text(run.start_ns),
    )


def _reading(
    signal: Signal, limits: Limits, reading: Latest | None, newest: int | None, *, judged: bool
) -> LatestReading:
    age_s = _age_s(reading.time_ns if reading else None, newest)
    return LatestReading(
        key=signal.key,
        name=Text.of(signal.label),
        unit=signal.unit,
        critical=signal.critical,
        low=limits.low,
        high=limits.high,
        value=reading.value if reading else None,
        time=to_text(reading.time_ns) if reading else None,
        age_s=age_s,
        status=_status(signal, limits, reading, age_s, judged=judged),
    )


def _status(signal: Signal, limits: Limits, reading: Latest | None, age_s: float | None, *, judged: bool) -> Status:
    """The first that holds: no reading, not judged, silent, flagged, beyond a limit."""
    if reading is None or age_s is None:
        return "none"
    if not judged:
        return "idle"
    if age_s > max(STALE_PERIODS * signal.period_s, STALE_S_MIN):
        return "stale"
    if reading.quality != GOOD:
        return "suspect"
    if limits.low is not None and reading.value < limits.low:
        return "low"
    if limits.high is not None and reading.value > limits.high:
        return "high"
    return "ok"


def _age_s(time_ns: int | None, newest: int | None) -> float | None:
    if time_ns is None or newest is None:
        return None
    return round((newest - time_ns) / NS_PER_S, 3)
