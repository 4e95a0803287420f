"""`/simulator/faults`: let something go wrong in the simulated workshops. The demo has it, `filiere serve` has not."""

import math
from ipaddress import ip_address
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from pydantic import Field

from api.models import Model, Text, Time
from api.parts import Parts, PartsOf
from api.problems import NotNow, NotYours, responses
from filiere.clock import to_text
from filiere.errors import NotFound, ScenarioError, StoreUnavailable
from filiere.plant import Plant
from filiere.yaml_node import ID
from simulators.faults.catalogue import KINDS, targets
from simulators.faults.fault import Fault
from simulators.output.live_faults import FOLDER, FaultFolder, FaultState, RunningFault, Stop, Trigger

NO_SIMULATION = "got no answer from a simulation; expected one that runs: start `filiere demo`"

LOCAL_NAME = "localhost"

router = APIRouter(prefix="/simulator", tags=["simulator"])


def from_this_machine(request: Request) -> None:
    """Who listens on an address of the network shows the pages to all, and lets nobody there break the line.

    The Host header is looked at too: a page of a stranger can give its own name the address 127.0.0.1 and have the
    browser of this machine ask. Under another name that page cannot ask: a JSON body, or DELETE, is asked for first.

    Raises:
        NotYours: it came from another machine, or under another name than localhost.
    """
    client = request.client.host if request.client else ""
    named = request.url.hostname or ""
    if not _is_loopback(client) or not (named == LOCAL_NAME or _is_loopback(named)):
        raise NotYours(
            f"got a request from {client[:64] or 'nowhere'} to {named[:64] or 'nobody'}; expected one from the machine"
            f" that runs the demo, to http://{LOCAL_NAME}"
        )


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


FaultLabel = Annotated[
    str, Path(description="Label of the fault.", pattern=f"^{ID.pattern}$", max_length=64, examples=["clog-1"])
]


class FaultOrder(Model):
    """A fault, in the words of a scenario file."""

    kind: str = Field(description="One of `kinds` of GET.", max_length=64, examples=["screen_clog"])
    line: str = Field(description="Line path.", max_length=200, examples=["caux/textile/t1"])
    target: str | None = Field(
        default=None,
        description="Device, or device and signal; nothing = all of the line that can have it.",
        max_length=200,
        examples=["extruder"],
    )
    onset: str | None = Field(
        default=None,
        description="So long from now, in simulated time; nothing = now.",
        max_length=40,
        examples=["10 min"],
    )
    duration: str | None = Field(
        default=None, description="Nothing = until it is stopped.", max_length=40, examples=["2 h"]
    )
    severity: float | None = Field(default=None, description="Nothing = the kind's usual one.", examples=[12.0])
    label: str | None = Field(default=None, description="Nothing = one is made.", max_length=64, examples=["clog-1"])


class FaultNow(Model):
    """A fault of the simulation, as it is now. Times are simulated."""

    label: str = Field(examples=["clog-1"])
    kind: str = Field(examples=["screen_clog"])
    name: Text
    line: str = Field(examples=["caux/textile/t1"])
    target: str = Field(description="Empty = the line.", examples=["extruder"])
    severity: float | None = Field(examples=[12.0])
    state: FaultState
    start: Time | None = Field(description="Nothing = not known yet: its lot has not begun.")
    stop: Time | None = Field(description="Nothing = until it is stopped.")


class FaultKind(Model):
    """Something that can go wrong."""

    kind: str = Field(examples=["screen_clog"])
    name: Text
    layer: str = Field(description="process, sensor, network or operator", examples=["process"])
    severity: Text | None = Field(description="What the severity means; nothing = it has none.")
    unit: str | None = Field(description="UCUM; `signal` = that of the signal that is aimed at.", examples=["1"])
    usual: float | None = Field(examples=[10.0])
    low: float | None = Field(examples=[1.0])
    high: float | None = Field(description="Nothing = no bound.", examples=[None])
    duration_s: float | None = Field(description="Usual duration, s; nothing = until it is stopped.", examples=[1800.0])
    targets: dict[str, list[str]] = Field(description="Line path → what can be aimed at there.")


class Faults(Model):
    """What is wrong in the simulated workshops, and what could be."""

    running: bool = Field(description="A simulation runs.")
    time: Time | None = Field(description="Simulated time.")
    waiting: int | None = Field(description="Messages in the simulation's outbox.", examples=[0])
    problem: str | None = Field(description="Why nothing goes through.")
    faults: list[FaultNow]
    kinds: list[FaultKind]


@router.get("/faults", operation_id="listFaults", summary="What is wrong, and what could be", responses=responses(503))
def list_faults(parts: PartsOf) -> Faults:
    """The faults of the simulation that runs, the simulated time, and every kind with what it can be aimed at."""
    running = _folder(parts).running()
    return Faults(
        running=running is not None,
        time=to_text(running.virtual_ns) if running else None,
        waiting=running.waiting if running else None,
        problem=running.problem if running else None,
        faults=[_now(fault, running.virtual_ns) for fault in running.faults] if running else [],
        kinds=[_kind(kind, parts.plant) for kind in KINDS.values()],
    )


@router.post(
    "/faults",
    operation_id="triggerFault",
    summary="Let something go wrong",
    status_code=201,
    responses=responses(403, 409, 422),
    dependencies=[Depends(from_this_machine)],
)
def trigger_fault(order: FaultOrder, parts: PartsOf) -> FaultNow:
    """Answers when the simulation has it, and it begins after all that was sent by then. 409: no simulation runs."""
    mapping = {name: value for name, value in order.model_dump().items() if value is not None}
    return _ordered(parts, Trigger(fault=mapping))


@router.delete(
    "/faults/{label}",
    operation_id="stopFault",
    summary="Let it be over",
    responses=responses(403, 404, 409, 422),
    dependencies=[Depends(from_this_machine)],
)
def stop_fault(label: FaultLabel, parts: PartsOf) -> FaultNow:
    """It ends now, in simulated time; what it did before stays as it was."""
    try:
        return _ordered(parts, Stop(label=label))
    except ScenarioError as error:
        running = _folder(parts).running()  # it follows twice a second: only the simulation knows its newest faults
        if running is not None and label not in {fault.label for fault in running.faults}:
            raise NotFound(f"{error}; GET /simulator/faults has them") from None
        raise


def _ordered(parts: Parts, order: Trigger | Stop) -> FaultNow:
    try:
        done = _folder(parts).order(order)
    except StoreUnavailable:
        raise NotNow(NO_SIMULATION) from None
    return _now(done.fault, done.now_ns)


def _folder(parts: Parts) -> FaultFolder:
    return FaultFolder(parts.settings.data_dir / FOLDER, parts.plant)


def _now(fault: RunningFault, virtual_ns: int) -> FaultNow:
    kind = KINDS.get(fault.kind)
    return FaultNow(
        label=fault.label,
        kind=fault.kind,
        name=Text.of(kind.words) if kind else Text(fr=fault.kind, en=fault.kind),
        line=fault.line,
        target=fault.target,
        severity=fault.severity,
        state=fault.state(virtual_ns),
        start=None if fault.start_ns is None else to_text(fault.start_ns),
        stop=None if fault.stop_ns is None else to_text(fault.stop_ns),
    )


def _kind(kind: type[Fault], plant: Plant) -> FaultKind:
    scale = kind.scale
    aimed: dict[str, list[str]] = {line.path: list(targets(kind, line)) for line in plant.lines}
    severity: dict[str, Any] = {"severity": None, "unit": None, "usual": None, "low": None, "high": None}
    if scale is not None:
        severity = {
            "severity": Text.of(scale.label),
            "unit": scale.unit,
            "usual": scale.usual,
            "low": _finite(scale.low),
            "high": _finite(scale.high),
        }
    return FaultKind(
        kind=kind.kind,
        name=Text.of(kind.words),
        layer=kind.layer,
        duration_s=_finite(kind.usual_duration_s),
        targets={line: found for line, found in aimed.items() if found},
        **severity,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
