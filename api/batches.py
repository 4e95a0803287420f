"""`/batches`: the lots, what they came from and went into, their readings and their quality."""

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from api import lots
from api.downsample import POINTS_MIN, min_max
from api.models import (
    Batch,
    BatchPage,
    BatchReadings,
    BatchState,
    BatchTrace,
    CertificateState,
    LotId,
    SignalReadings,
    Text,
    TracedEdge,
    TracedRun,
)
from api.negotiation import prefers_html
from api.pages import language_of, render, zone
from api.pagination import (
    CURSOR_CHARACTERS_MAX,
    PAGE_LIMIT_DEFAULT,
    PAGE_LIMIT_MAX,
    decode_cursor,
    encode_cursor,
    filter_digest,
    page_after,
)
from api.parts import Parts, PartsOf
from api.problems import BadRequest, responses
from filiere.chain import Chain, Run
from filiere.clock import parse_time, to_text
from filiere.errors import NotFound
from filiere.plant import Recipe, Signal, limits_of
from filiere.readings import QUALITIES, Series
from processing.genealogy import Direction, trace

POINTS_DEFAULT = 500
POINTS_MAX = 2000
SIGNALS_MAX = 50
FILTER_CHARACTERS_MAX = 200
READABLE = r"^[^\x00-\x1f\x7f]*$"
"""A filter is text: no control characters."""
NS_PER_MS = 1_000_000
DATE_TIME: dict[str, Any] = {"format": "date-time"}

router = APIRouter(tags=["batches"])

Filter = Annotated[str | None, Query(max_length=FILTER_CHARACTERS_MAX, pattern=READABLE)]


@router.get(
    "/batches",
    operation_id="listBatches",
    summary="Batches, newest first",
    response_model=BatchPage,
    responses=responses(400, 404, 422, 503),
)
def list_batches(
    request: Request,
    response: Response,
    parts: PartsOf,
    line: Annotated[Filter, Query(description="Path of a line", examples=["caux/textile/t1"])] = None,
    material: Annotated[Filter, Query(description="Id of a material", examples=["recycled_granulate"])] = None,
    state: Annotated[BatchState | None, Query(description="in_progress, in_stock or used_up")] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_LIMIT_MAX, description="Batches a page")] = PAGE_LIMIT_DEFAULT,
    cursor: Annotated[
        str | None,
        Query(max_length=CURSOR_CHARACTERS_MAX, description="`next_cursor` of the page before; opaque"),
    ] = None,
) -> BatchPage | Response:
    """One page of lots: received, made, being made, residues. Cursors belong to the filters they came with."""
    if line is not None:
        parts.plant.line(line)
    if material is not None and material not in parts.plant.materials:
        raise NotFound(f"no material {material[:80]!r} in the plant model; known: {', '.join(parts.plant.materials)}")
    digest = filter_digest(line=line, material=material, state=state)
    after = decode_cursor(cursor, digest) if cursor is not None else None
    chain = parts.ledger.chain()
    wanted = [
        (place, found)
        for place, found in lots.entries(chain)
        if (line is None or lots.line_of(chain, found) == line)
        and (material is None or lots.material_of(parts.plant, found) == material)
        and (state is None or lots.state_of(chain, found) == state)
    ]
    entries, last = page_after(wanted, after, limit)
    page = BatchPage(
        items=[_batch(parts, chain, lots.id_of(found)) for found in entries],
        limit=limit,
        next_cursor=encode_cursor(last, digest) if last is not None else None,
    )
    if not prefers_html(request.headers.get("accept", "")):
        response.headers["Vary"] = "Accept"
        return page
    language = language_of(request.query_params.get("lang"))
    return render(
        "batches.html",
        language=language,
        headers={"Vary": "Accept", "Cache-Control": "no-cache"},
        page=page,
        plant=parts.plant,
        where=zone(parts.plant.timezone),
        chosen={"line": line or "", "material": material or "", "state": state or ""},
        states=BatchState,
        first=cursor is None,
    )


@router.get(
    "/batches/{batch_id}",
    operation_id="getBatch",
    summary="One batch",
    response_model=Batch,
    responses=responses(404, 422, 503),
)
def get_batch(request: Request, response: Response, parts: PartsOf, batch_id: LotId) -> Batch | Response:
    """The lot with its mass, what is left of it and, when it was received, its origin.

    A person is led to its certificate, or to the page that says why it has none.
    """
    if prefers_html(request.headers.get("accept", "")):
        suffix = "?lang=en" if language_of(request.query_params.get("lang")) == "en" else ""
        return RedirectResponse(f"/batches/{batch_id}/certificate{suffix}", status_code=303, headers={"Vary": "Accept"})
    response.headers["Vary"] = "Accept"
    return _batch(parts, parts.ledger.chain(), batch_id)


def _batch(parts: Parts, chain: Chain, lot_id: str) -> Batch:
    certificate = CertificateState.NONE
    if parts.shelf.latest(lot_id) is not None:
        certificate = CertificateState.ISSUED
    elif parts.shelf.refusal(lot_id) is not None:
        certificate = CertificateState.REFUSED
    return lots.batch(parts.plant, chain, lots.entry(chain, lot_id), certificate)


@router.get(
    "/batches/{batch_id}/trace",
    operation_id="traceBatch",
    summary="What a batch came from, or went into",
    responses=responses(404, 422, 503),
)
def trace_batch(
    parts: PartsOf,
    batch_id: LotId,
    direction: Annotated[Direction, Query(description="back: what it came from; forward: what it went into")] = "back",
) -> BatchTrace:
    """All lots and runs on that side, each once, with the masses that passed (kg, wet)."""
    chain = parts.ledger.chain()
    found = trace(chain, batch_id, direction)
    return BatchTrace(
        batch=found.lot,
        direction=found.direction,
        batches=[_batch(parts, chain, lot.id) for lot in found.lots],
        runs=[_traced_run(run) for run in found.runs],
        edges=[
            TracedEdge(
                run=edge.run,
                batch=edge.lot,
                kind="input" if edge.kind == "input" else "output",
                mass_kg=edge.mass_kg,
                role=edge.role,
            )
            for edge in found.edges
        ],
    )


def _traced_run(run: Run) -> TracedRun:
    return TracedRun(
        id=run.id,
        line=run.line,
        step=run.step,
        recipe=run.recipe,
        start=to_text(run.start_ns),
        stop=to_text(run.stop_ns) if run.stop_ns is not None else None,
    )


@router.get(
    "/batches/{batch_id}/readings",
    operation_id="getBatchReadings",
    summary="Readings of the run that made a batch",
    responses=responses(400, 404, 422, 502, 503),
)
def get_batch_readings(
    parts: PartsOf,
    batch_id: LotId,
    signal: Annotated[
        list[str] | None,
        Query(
            max_length=SIGNALS_MAX,
            description="Key of a signal, repeatable; none = all signals of the step",
            examples=["extruder.melt_temp"],
        ),
    ] = None,
    start: Annotated[
        str | None,
        Query(max_length=64, json_schema_extra=DATE_TIME, description="RFC 3339 with offset; none = start of the run"),
    ] = None,
    stop: Annotated[
        str | None,
        Query(max_length=64, json_schema_extra=DATE_TIME, description="Not included; none = end of the run"),
    ] = None,
    points: Annotated[
        int, Query(ge=POINTS_MIN, le=POINTS_MAX, description="Most readings a signal; more are downsampled")
    ] = POINTS_DEFAULT,
) -> BatchReadings:
    """Never outside the run. Where there are more readings than `points`, the lowest and the highest of each bucket of
    equal time are kept as they are: nothing is averaged, no peak is lost.
    """
    run = lots.run_of(parts.ledger.chain(), batch_id)
    signals = _signals(parts, run, signal)
    start_ns, stop_ns = _window(parts, run, start, stop)
    keys = [wanted.key for wanted in signals]
    windows = parts.store.window(run.line, keys, start_ns, stop_ns) if start_ns < stop_ns else tuple(map(_empty, keys))
    recipe = lots.recipe_of(parts.plant, run)
    return BatchReadings(
        batch=batch_id,
        run=run.id,
        line=run.line,
        start=to_text(start_ns),
        stop=to_text(stop_ns),
        points=points,
        signals=[
            _readings(wanted, recipe, series, min_max(series, points, start_ns, stop_ns))
            for wanted, series in zip(signals, windows, strict=True)
        ],
    )


def _signals(parts: Parts, run: Run, keys: list[str] | None) -> list[Signal]:
    """The signals asked for, each once; else those that are sealed with the run. Raises NotFound."""
    line = parts.plant.line(run.line)
    if keys:
        return [line.signal(key[:FILTER_CHARACTERS_MAX]) for key in dict.fromkeys(keys)]
    return list(line.signals_of(line.step(run.step)))


def _window(parts: Parts, run: Run, start: str | None, stop: str | None) -> tuple[int, int]:
    """What was asked, cut to the run; an open run lasts until its newest reading. Raises BadRequest."""
    first, last = run.start_ns, run.stop_ns
    if last is None:
        newest = max((latest.time_ns for latest in parts.store.latest(run.line)), default=first)
        last = max(first, newest) + 1
    start_ns = _time("start", start) if start is not None else first
    stop_ns = _time("stop", stop) if stop is not None else last
    if start_ns >= stop_ns and start is not None and stop is not None:
        raise BadRequest(f"got start {start[:40]} and stop {stop[:40]}; expected a start before the stop")
    return min(max(start_ns, first), last), max(min(stop_ns, last), first)


def _time(name: str, text: str) -> int:
    try:
        return parse_time(text)
    except ValueError as error:
        raise BadRequest(f"{name}: {error}") from None


def _empty(key: str) -> Series:
    return Series(
        key=key,
        time_ns=np.empty(0, dtype=np.int64),
        value=np.empty(0, dtype=np.float64),
        quality=np.empty(0, dtype=np.uint8),
    )


def _readings(signal: Signal, recipe: Recipe | None, found: Series, kept: Series) -> SignalReadings:
    limits = limits_of(signal, recipe)
    return SignalReadings(
        key=signal.key,
        name=Text.of(signal.label),
        unit=signal.unit,
        low=limits.low,
        high=limits.high,
        count=found.time_ns.size,
        downsampled=kept.time_ns.size < found.time_ns.size,
        time_ms=(kept.time_ns // NS_PER_MS).tolist(),
        value=kept.value.tolist(),
        quality=[QUALITIES[index] for index in kept.quality.tolist()],
    )
