"""Is it alive, is it ready, and how much of what: `/healthz`, `/readyz`, `/metrics`."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import anyio
from anyio import to_thread
from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.responses import JSONResponse, Response

from api.models import Alive, Check, Ready
from api.parts import Parts, PartsOf
from collector.audit import audit, recorder_state
from filiere.clock import NS_PER_S
from filiere.errors import FiliereError, StoreUnavailable
from filiere.message_log import MessageLog

OTHER_DEVICES = "other"
READY_WITHIN_S = 5.0
"""A dependency that has not answered by then is not ready."""
LAG_MAX = 10_000
"""Messages that the recorder may be behind the log before what the API shows is too old to be called ready."""

SILENT_S_MAX = 30.0
"""A recorder that lives says so every few seconds."""

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
    """Readings store, ledger, message log and recorder, each with what is wrong. 503 until all are well."""
    checks = {
        "readings_store": partial(_check_store, parts),
        "ledger": partial(_check_ledger, parts),
        "message_log": partial(_check_log, parts),
        "recorder": partial(_check_recorder, parts),
    }
    found: dict[str, Check] = {}

    async def ask(name: str, question: Callable[[], str]) -> None:
        found[name] = Check(name=name, ok=False, detail=f"no answer within {READY_WITHIN_S:g} s")
        with anyio.move_on_after(READY_WITHIN_S):
            found[name] = await to_thread.run_sync(_asked, parts, name, question, abandon_on_cancel=True)

    async with anyio.create_task_group() as group:
        for name, question in checks.items():
            group.start_soon(ask, name, question)
    ready = Ready(ready=all(check.ok for check in found.values()), checks=[found[name] for name in checks])
    return JSONResponse(
        ready.model_dump(), status_code=200 if ready.ready else 503, headers={"Cache-Control": "no-store"}
    )


def _asked(parts: Parts, name: str, question: Callable[[], str]) -> Check:
    try:
        return Check(name=name, ok=True, detail=question())
    except (FiliereError, OSError, sqlite3.Error) as error:
        return Check(name=name, ok=False, detail=parts.outward(error))


def _check_store(parts: Parts) -> str:
    parts.store.check()
    return parts.store.name.replace(f"{parts.settings.data_dir}/", "")


def _check_ledger(parts: Parts) -> str:
    parts.ledger.check()
    held = parts.ledger.held()
    waiting, refused = sum(not event.refused for event in held), sum(event.refused for event in held)
    return f"{len(parts.ledger.chain().lots)} lots; {waiting} events wait for others, {refused} refused"


def _check_log(parts: Parts) -> str:
    return f"{_log_head(parts)} messages"


def _log_head(parts: Parts) -> int:
    with MessageLog.open_reader(parts.settings.log_path) as log:
        return log.head()


def _check_recorder(parts: Parts) -> str:
    state = recorder_state(parts.settings.recorder_path)
    lag = max(0, _log_head(parts) - state.bookmark)
    if state.store_problem:
        raise StoreUnavailable(f"waits with {lag} messages: {state.store_problem}")
    if not state.updated_ns:
        raise StoreUnavailable("never seen at work: start `filiere collect`")
    silent_s = (parts.clock() - state.updated_ns) / NS_PER_S
    if silent_s > SILENT_S_MAX:
        raise StoreUnavailable(
            f"silent for {silent_s:.0f} s, expected at most {SILENT_S_MAX:g} s: start `filiere collect`"
        )
    if lag > LAG_MAX:
        raise StoreUnavailable(f"{lag} messages behind the log, expected at most {LAG_MAX}: it is catching up")
    return f"{lag} messages behind the log, {state.quarantined} quarantined"


@router.get(
    "/metrics",
    operation_id="getMetrics",
    summary="Numbers for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus text format"}},
)
def metrics(request: Request) -> Response:
    """Per device what was published, stored, quarantined and is waiting; log lag; store up; requests by route."""
    registry: CollectorRegistry = request.app.state.registry
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})


class PathMetrics(Collector):
    """The data's path, read from its files when Prometheus asks. What cannot be read is left out, and `up` is 0."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def describe(self) -> Iterator[Metric]:
        """Nothing: registering must not touch a file."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """All families."""
        yield self._up()
        yield from self._lag()
        yield from self._devices()

    def _up(self) -> Metric:
        family = GaugeMetricFamily("filiere_store_up", "1 = the store answers", labels=("store",))
        for name, question in (("readings", _check_store), ("ledger", _check_ledger), ("message_log", _check_log)):
            family.add_metric((name,), float(_asked(self._parts, name, partial(question, self._parts)).ok))
        return family

    def _lag(self) -> Iterator[Metric]:
        try:
            head = _log_head(self._parts)
            state = recorder_state(self._parts.settings.recorder_path)
        except (FiliereError, OSError, sqlite3.Error):
            return
        yield GaugeMetricFamily("filiere_log_head", "Messages in the message log", value=head)
        yield GaugeMetricFamily(
            "filiere_log_lag", "Messages that the recorder has still to read", value=max(0, head - state.bookmark)
        )

    def _devices(self) -> Iterator[Metric]:
        try:
            accounts = audit(self._parts.settings.recorder_path)
        except (FiliereError, OSError, sqlite3.Error):
            return
        own = {f"{line.path}/{unit.id}" for line in self._parts.plant.lines for unit in line.units}
        for field, text, made in (
            ("published", "Rows and events that the device sent, by its own numbering", CounterMetricFamily),
            ("stored", "Rows and events recorded, once each", CounterMetricFamily),
            ("duplicates", "Rows and events sent again, and left out", CounterMetricFamily),
            ("quarantined", "Rows and events refused, with their reason", CounterMetricFamily),
            ("waiting", "Events that wait for what they name", GaugeMetricFamily),
        ):
            # Whoever may publish can make up names: what was never heard rightly is counted as one.
            sums: Counter[str] = Counter()
            for account in accounts:
                named = account.stored or account.device in own
                sums[account.device if named else OTHER_DEVICES] += getattr(account, field)
            family = made(f"filiere_device_{field}", text, labels=("device",))
            for device, value in sorted(sums.items()):
                family.add_metric((device,), float(value))
            yield family
