"""`filiere demo`: two workshops come alive on this machine, from the bale to the certificate, and stop cleanly.

Everything that runs is what runs in earnest, as processes of their own: broker, collector, issuer, API, simulator. The
demo finds or starts them, watches, and stops them in the order of the data's way: simulator first.
"""

import fcntl
import json
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from collector.accounts.audit import DeviceAccount, audit
from collector.accounts.write_offs import FILE as WRITTEN_OFF
from collector.recorder.requests import FOLDER as REQUESTS
from filiere.archive import read_run
from filiere.chain import Run
from filiere.errors import FiliereError, SettingsError
from filiere.plant import Plant
from filiere.plant_file import load_plant
from filiere.settings import Settings, load_settings, variable
from processing.certificate import read_certificate, verify
from processing.files import REFUSAL_SUFFIX, archive_path, certificate_path, refusal_path
from simulators.demo.children import Child, Children, Interrupted, filiere_command, module_command
from simulators.demo.observation import Finished, Observer
from simulators.demo.services import Found, find_broker, find_store, refuse_taken_port
from simulators.demo.view import Screen
from simulators.output.live_faults import FOLDER as FAULTS
from simulators.output.signals import stop_signals
from simulators.output.simulate import OUTBOX_FILE, STATE_FILE
from simulators.scenarios.scenario_file import load_scenario

DRAIN_S = 60.0
STABLE_S = 0.5
CERTIFICATES_S = 60.0
VIEW_S = 0.5
LOGS, LOCK = "logs", "demo.lock"
EXIT_OK, EXIT_NOT_PROVEN, EXIT_ERROR = 0, 1, 2
REMADE = (
    *("messages.sqlite", "recorder.sqlite", "readings.sqlite", "ledger.sqlite", STATE_FILE, OUTBOX_FILE),
    *("intake.status", "receipts.status", "subscriptions.json", WRITTEN_OFF, REQUESTS, FAULTS),
    *("archive", "certificates", "broker", "influxdb", LOGS),
)
"""What `--fresh` removes, and nothing else: the issuer's keys stay, certificates that were handed out need them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOrder:
    """What was asked for on the command line."""

    speed: float = 60.0
    lots: int | None = None
    leave: bool = False
    fresh: bool = False
    as_json: bool = False
    port: int | None = None
    data_dir: Path | None = None
    seed: int | None = None
    scenario: str = ""


@dataclass(slots=True, kw_only=True)
class _Demo:
    """One demo while it runs."""

    order: DemoOrder
    settings: Settings
    plant: Plant
    children: Children
    observer: Observer
    screen: Screen
    simulator: Child | None = None
    published: int | None = None
    """Messages, as the simulator said; None until it has ended."""
    finished: list[Finished] = field(default_factory=list)


def run_demo(order: DemoOrder) -> int:
    """Run until Ctrl-C, or with `leave` until the lots are proven. Returns the exit status.

    Raises:
        SettingsError: something that is needed is missing or does not start; everything that was started is stopped.
    """
    settings = _settings(order)
    plant = load_plant(settings.plant)
    if order.scenario:
        load_scenario(order.scenario, plant)  # what is wrong there is told before anything is started
    screen = Screen(as_json=order.as_json)
    refuse_taken_port(settings.api_host, settings.api_port)
    if order.fresh and settings.ledger_url:
        raise SettingsError(
            f"--fresh: got {variable('ledger_url')}, a ledger on a server, which the demo does not empty; expected"
            " none, or no --fresh"
        )
    _make_folder(settings.data_dir)
    with stop_signals() as signals, _only_demo(settings.data_dir):
        if order.fresh:
            _empty(settings)
        children = Children(logs_dir=settings.data_dir / LOGS, interrupted=lambda: signals.count > 0)
        try:
            settings, found = _stand(settings, children)
            demo = _Demo(
                order=order,
                settings=settings,
                plant=plant,
                children=children,
                observer=Observer(settings=settings, plant=plant),
                screen=screen,
            )
            screen.opening(found, settings)
            try:
                return _run(demo)
            finally:
                demo.observer.close()
        except Interrupted:
            screen.say("Arrêté.")
            return EXIT_OK
        finally:
            children.interrupted = lambda: False
            children.stop_all()


def _settings(order: DemoOrder) -> Settings:
    given = {"data_dir": order.data_dir, "api_port": order.port}
    return load_settings(**{name: value for name, value in given.items() if value is not None})


def _stand(settings: Settings, children: Children) -> tuple[Settings, tuple[Found, ...]]:
    """Find or start what the demo stands on; returns the settings that point to it."""
    broker = find_broker(settings, children)
    store = find_store(settings, children)
    pointing = {
        variable("data_dir"): str(settings.data_dir),
        variable("api_port"): str(settings.api_port),
        **broker.settings,
        **store.settings,
    }
    names = {variable(name): name for name in Settings.model_fields}
    settings = load_settings(**{names[key]: value for key, value in pointing.items()})
    children.environment = pointing
    grafana = Found(name="Grafana" if settings.grafana_url else "page en direct", address=settings.grafana_url)
    ledger = Found(name="SQLite" if not settings.ledger_url else "base du réglage", address="")
    return settings, (broker, store, grafana, ledger)


# -------------------------------------------------------------------------------------------------------- the run


def _run(demo: _Demo) -> int:
    known = tuple(demo.observer.finished())
    _start(demo)
    with demo.screen.live():
        while not demo.children.interrupted():
            _look(demo)
            if demo.simulator is None and demo.order.leave:
                break
            time.sleep(VIEW_S)
    if demo.order.leave and not demo.children.interrupted():
        return _prove(demo, known)
    demo.screen.say("Arrêt : le simulateur d'abord, puis le reste quand tout est enregistré…")
    _stop_simulator(demo)
    demo.children.interrupted = lambda: False
    with suppress(SettingsError):
        _drain(demo)
    _look(demo)
    demo.screen.say("Tout est arrêté et gardé ; `make demo` reprend ici.")
    return EXIT_OK


def _start(demo: _Demo) -> None:
    """In any order: what is published before the collector listens waits in the simulator's outbox."""
    order, children = demo.order, demo.children
    children.start("collect", filiere_command("collect", "--stop-with-stdin"))
    arguments = ["--json", "--stop-with-stdin", "--speed", str(order.speed)]
    if order.lots is not None:
        arguments += ["--lots", str(order.lots)]
    if order.seed is not None:
        arguments += ["--seed", str(order.seed)]
    if order.scenario:
        arguments += ["--scenario", order.scenario]
    demo.simulator = children.start("simulate", filiere_command("simulate", *arguments))
    # After the simulator: the first reading comes sooner when they do not all start at once.
    children.start("serve", module_command("simulators.demo.serve"))
    children.start("certificate", filiere_command("certificate", "issue", "--watch"))


def _look(demo: _Demo) -> None:
    """One look at everything: dead children, finished lots, the live view."""
    dead = demo.children.dead()
    if dead is not None:
        if dead is not demo.simulator or dead.code != 0:
            raise SettingsError(dead.failure())
        _simulator_ended(demo)
    _tell_finished(demo)
    demo.screen.show(demo.observer.view(), simulating=demo.simulator is not None)


def _tell_finished(demo: _Demo) -> None:
    for found in demo.observer.finished():
        demo.finished.append(found)
        demo.screen.finished(found)


def _simulator_ended(demo: _Demo) -> None:
    child = demo.simulator
    if child is None:
        return
    demo.simulator = None
    with suppress(OSError, ValueError):
        demo.published = int(json.loads(child.output_path.read_bytes())["published"])
    if child in demo.children.running:
        demo.children.forget(child)


def _stop_simulator(demo: _Demo) -> None:
    if demo.simulator is not None:
        demo.children.stop(demo.simulator)
        _simulator_ended(demo)


def _drain(demo: _Demo) -> None:
    """Wait until all that the collector has is recorded. Raises SettingsError when it takes too long."""
    last, since = -1, time.monotonic()

    def drained() -> bool:
        nonlocal last, since
        head, recorder = demo.observer.log_head(), demo.observer.recorder()
        if head != last:
            last, since = head, time.monotonic()
        done = recorder is not None and recorder.bookmark >= head
        return done and time.monotonic() - since >= STABLE_S

    demo.children.wait_until("enregistrement des derniers messages", drained, timeout_s=DRAIN_S)


# ------------------------------------------------------------------------------------------------------- the proof


def _prove(demo: _Demo, known: tuple[Finished, ...]) -> int:
    """Audit, then verify the certificate of each lot that was asked for, as anyone could. Returns the exit status."""
    _drain(demo)
    folder = demo.settings.certificates_dir
    runs = newest_of_each_line(demo.observer.certified_runs(), demo.order.lots or 1)

    def judged() -> bool:
        _tell_finished(demo)
        return all(certificate_path(folder, run.lot).exists() or refusal_path(folder, run.lot).exists() for run in runs)

    demo.children.wait_until("établissement des certificats", judged, timeout_s=CERTIFICATES_S + demo.settings.settle_s)
    _tell_finished(demo)
    accounts = audit(demo.settings.recorder_path)
    found = {each.lot: each for each in (*known, *demo.finished)}
    proofs = [_proof(demo.settings, found[run.lot]) for run in runs if run.lot in found]
    wanted = (demo.order.lots or 0) * len(demo.plant.lines)
    ok = (
        all(account.closes for account in accounts)
        and all(proof["authentic"] for proof in proofs)
        and len(proofs) >= wanted
    )
    if demo.order.as_json:
        sys.stdout.write(json.dumps(_result(demo, accounts, proofs, ok=ok), indent=1) + "\n")
        sys.stdout.flush()
    demo.screen.proof(accounts, proofs, ok=ok)
    return EXIT_OK if ok else EXIT_NOT_PROVEN


def newest_of_each_line(runs: Iterable[Run], lots: int) -> list[Run]:
    """The last runs of each line: the lots that were asked for, whichever demo it was that saw them finished."""
    by_line: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: (run.stop_ns or 0, run.id)):
        by_line.setdefault(run.line, []).append(run)
    return [run for made in by_line.values() for run in made[-lots:]]


def _proof(settings: Settings, found: Finished) -> dict[str, Any]:
    """A certificate, checked with its sealed readings beside it and the issuer's public key."""
    base: dict[str, Any] = {"lot": found.lot, "file": str(found.path), "address": found.address}
    if found.path.name.endswith(REFUSAL_SUFFIX):
        return {**base, "authentic": False, "verdict": found.verdict, "reasons": list(found.reasons)}
    content = found.path.read_bytes()
    trusted = [path.read_bytes() for path in settings.trusted_key_paths if path.exists()]
    try:
        runs = [run.id for run in read_certificate(content).statement.runs]
        sealed = [read_run(path) for path in (archive_path(settings.archive_dir, run) for run in runs) if path.exists()]
        verification = verify(content, trusted=trusted, readings=sealed)
    except (FiliereError, OSError) as error:
        return {**base, "authentic": False, "verdict": found.verdict, "reasons": [str(error)]}
    return {
        **base,
        "authentic": verification.authentic and len(sealed) == len(runs),
        "verdict": found.verdict,
        "mass_kg": found.mass_kg,
        "recycled_content": str(found.recycled),
        "u95": str(found.u95),
        "checks": {check.name: check.ok for check in verification.checks},
        "reasons": [check.label.fr for check in verification.checks if check.ok is False],
    }


def _result(
    demo: _Demo, accounts: tuple[DeviceAccount, ...], proofs: list[dict[str, Any]], *, ok: bool
) -> dict[str, Any]:
    return {
        "ok": ok,
        "audit": {
            "closes": all(account.closes for account in accounts),
            "devices": [{**asdict(account), "closes": account.closes} for account in accounts],
        },
        "certificates": proofs,
        "published": demo.published,
        "data_dir": str(demo.settings.data_dir),
    }


# ------------------------------------------------------------------------------------------------------ data folder


def _make_folder(data_dir: Path) -> None:
    """Raises SettingsError: the demo cannot write there."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        (data_dir / LOCK).touch()
    except OSError as error:
        raise SettingsError(
            f"{variable('data_dir')}: got {data_dir}, where nothing can be written ({error.strerror or error});"
            " expected a folder of yours: choose another with --data"
        ) from None


@contextmanager
def _only_demo(data_dir: Path) -> Iterator[None]:
    """One demo a data folder. The kernel frees the lock at any death."""
    with (data_dir / LOCK).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(
                f"{data_dir}: got a data folder where another demo runs; expected another folder (--data), or that one"
                " stopped first"
            ) from None
        yield


def _empty(settings: Settings) -> None:
    for name in REMADE:
        path = settings.data_dir / name
        if path.is_dir():
            shutil.rmtree(path)
            continue
        for suffix in ("", "-wal", "-shm", "-journal"):
            path.with_name(name + suffix).unlink(missing_ok=True)
