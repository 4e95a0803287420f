"""Is it alive, is it ready, and how much of what: `/healthz`, `/readyz`, `/metrics`."""

import sqlite3
from collections.abc import Callable
from functools import partial

import anyio
from anyio import to_thread
from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.responses import JSONResponse, Response

from api.models import Alive, Check, Ready
from api.parts import Parts, PartsOf
from collector.accounts.audit import SILENT_S_MAX, recorder_state
from collector.condition import intake_trouble, receipts_trouble, room
from collector.receipts.status import read_receipts_status
from filiere.clock import NS_PER_S
from filiere.errors import FiliereError, StoreUnavailable
from filiere.message_log import MessageLog

READY_WITHIN_S = 5.0
"""A dependency that has not answered by then is not ready."""
LAG_MAX = 10_000
"""Messages that the recorder may be behind the log before what the API shows is too old to be called ready."""

MB = 1e6

router = APIRouter(tags=["health"])


@router.get("/healthz", operation_id="getHealth", summary="Is the process alive")
async def healthz() -> Alive:
    """Answers whatever the stores do: restart the process only when this fails."""
    return Alive(alive=True)


@router.get(
    "/readyz",
    operation_id="getReadiness",
    summary="Is every dependency there",
    responses={503: {"model": Ready, "description": "Something is wrong; `detail` says what and what to do"}},
)
async def readyz(parts: PartsOf) -> JSONResponse:
    """Stores, message log, intake, recorder and receipts, each with what is wrong. 503 until all are well."""
    checks = {
        "readings_store": partial(check_store, parts),
        "ledger": partial(check_ledger, parts),
        "message_log": partial(check_log, parts),
        "intake": partial(_check_intake, parts),
        "recorder": partial(_check_recorder, parts),
        "receipts": partial(_check_receipts, parts),
    }
    found: dict[str, Check] = {}

    async def ask(name: str, question: Callable[[], str]) -> None:
        found[name] = Check(name=name, ok=False, detail=f"no answer within {READY_WITHIN_S:g} s")
        with anyio.move_on_after(READY_WITHIN_S):
            found[name] = await to_thread.run_sync(asked, parts, name, question, abandon_on_cancel=True)

    async with anyio.create_task_group() as group:
        for name, question in checks.items():
            group.start_soon(ask, name, question)
    ready = Ready(ready=all(check.ok for check in found.values()), checks=[found[name] for name in checks])
    return JSONResponse(
        ready.model_dump(), status_code=200 if ready.ready else 503, headers={"Cache-Control": "no-store"}
    )


def asked(parts: Parts, name: str, question: Callable[[], str]) -> Check:
    """The answer, or what is wrong."""
    try:
        return Check(name=name, ok=True, detail=question())
    except (FiliereError, OSError, sqlite3.Error) as error:
        return Check(name=name, ok=False, detail=parts.outward(error))


def check_store(parts: Parts) -> str:
    """Its name. Raises what is wrong."""
    parts.store.check()
    return parts.store.name.replace(f"{parts.settings.data_dir}/", "")


def check_ledger(parts: Parts) -> str:
    """How much is in it. Raises what is wrong."""
    parts.ledger.check()
    held = parts.ledger.held()
    waiting, refused = sum(not event.refused for event in held), sum(event.refused for event in held)
    return f"{len(parts.ledger.chain().lots)} lots; {waiting} events wait for others, {refused} refused"


def check_log(parts: Parts) -> str:
    """How much is in it, and what room is left. Raises what is wrong, also with the message that is recorded next."""
    head, space = log_head(parts), room(parts.settings)
    with MessageLog.open_reader(parts.settings.log_path) as log:
        log.read(_bookmark(parts), 1)
    return f"{head} messages, {space.log_bytes / MB:.1f} MB, {space.disk_free_bytes / MB:.0f} MB free"


def _bookmark(parts: Parts) -> int:
    try:
        return recorder_state(parts.settings.recorder_path).bookmark
    except FiliereError:  # that is said of the recorder
        return 0


def log_head(parts: Parts) -> int:
    """Messages that ever came into the log. Raises what is wrong."""
    with MessageLog.open_reader(parts.settings.log_path) as log:
        return log.head()


def _check_intake(parts: Parts) -> str:
    trouble = intake_trouble(parts.settings.intake_status_path, parts.clock())
    if trouble is not None:
        raise StoreUnavailable(f"nothing that is sent is acknowledged: {trouble.words}")
    return "connected to the broker; what is sent is acknowledged"


def _check_recorder(parts: Parts) -> str:
    state = recorder_state(parts.settings.recorder_path)
    lag = max(0, log_head(parts) - state.bookmark)
    if state.store_problem:
        raise StoreUnavailable(f"waits with {lag} messages: {state.store_problem}")
    if not state.updated_ns:
        raise StoreUnavailable("never seen at work: start `filiere collect`")
    if state.is_silent(now_ns := parts.clock()):
        silent_s = (now_ns - state.updated_ns) / NS_PER_S
        raise StoreUnavailable(
            f"silent for {silent_s:.0f} s, expected at most {SILENT_S_MAX:g} s: start `filiere collect`"
        )
    if lag > LAG_MAX:
        raise StoreUnavailable(f"{lag} messages behind the log, expected at most {LAG_MAX}: it is catching up")
    return f"{lag} messages behind the log, {state.quarantined} quarantined"


def _check_receipts(parts: Parts) -> str:
    path = parts.settings.receipts_status_path
    trouble = receipts_trouble(path, parts.clock())
    if trouble is not None:
        raise StoreUnavailable(f"no device is told what is safe, their outboxes fill: {trouble.words}")
    status = read_receipts_status(path)
    lag = max(0, log_head(parts) - (status.position if status is not None else 0))
    if lag > LAG_MAX:
        raise StoreUnavailable(f"{lag} messages behind the log, expected at most {LAG_MAX}: it is catching up")
    return f"devices are answered; {lag} messages behind the log"


@router.get(
    "/metrics",
    operation_id="getMetrics",
    summary="Numbers for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus text format"}},
)
def metrics(request: Request) -> Response:
    """Both sides of each device's account, intake, log, recorder, disk, stores, requests by route."""
    registry: CollectorRegistry = request.app.state.registry
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})
