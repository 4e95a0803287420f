"""The shell of `filiere simulate` by MQTT: state file, signals, progress, outbox, faults that come while it runs."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from collector.broker import broker_of, ssl_context
from collector.outbox import Outbox, OutboxError, Sender
from collector.supervisor import stop_with_standard_input
from filiere.clock import Clock, system_clock, to_text
from filiere.errors import StoreRefused
from filiere.plant_file import load_plant
from filiere.settings import Settings
from simulators.line.messages import Publication
from simulators.line.state import write_state
from simulators.output.live_faults import FOLDER, FaultFolder
from simulators.output.order import Order
from simulators.output.progress import Progress, ProgressLine, counted, tenths, with_goal
from simulators.output.publisher import Publisher
from simulators.output.signals import Signals, stop_signals
from simulators.output.simulation import Simulation, opening
from simulators.scenarios.scenario_file import fault_document

STATE_FILE, OUTBOX_FILE = "simulator.json", "simulator-outbox.sqlite"
OUTBOX_BYTES_MAX = 512 * 1024 * 1024
"""Days of both lines; beyond it, simulated time stands still until the collector is back."""


def run_simulation(
    settings: Settings,
    order: Order,
    *,
    clock: Clock = system_clock,
    stop: Callable[[], bool] | None = None,
    note: Callable[[Progress], None] | None = None,
    watch: Callable[[Publication], None] | None = None,
) -> dict[str, object]:
    """Publish until the lots are made or a signal comes. Returns what was done.

    Broker and collector may come later, or go meanwhile: what has no receipt is in the outbox, and is sent by the next
    start too. With `stop`, that is asked instead of signals; `note` is told how it goes instead of a line on standard
    error; `watch` sees each message that is in the outbox.

    Raises:
        ScenarioError: the scenario is wrong.
        SettingsError: a state of another seed, start, plant or scenario; a certificate that cannot be read.
        StoreRefused: the outbox's file is damaged, or another simulation has it.
        StoreUnavailable: the data folder cannot be written, or the disk is full.
    """
    plant = load_plant(settings.plant)
    path = settings.data_dir / STATE_FILE
    broker = broker_of(settings)
    tls = None if broker.tls is None else ssl_context(broker.tls)
    orphan = threading.Event()
    if order.stop_with_stdin:
        stop_with_standard_input(orphan)
    began_s = time.monotonic()
    line = ProgressLine(sys.stderr, order.language)
    with (
        stop_signals() if stop is None else nullcontext(Signals()) as signals,
        _outbox_in_words(),
        Outbox.open(settings.data_dir / OUTBOX_FILE, bytes_max=OUTBOX_BYTES_MAX) as outbox,
        Sender(
            outbox, host=broker.host, port=broker.port, username=broker.username, password=broker.password, tls=tls
        ) as sender,
    ):

        def asked() -> bool:
            return signals.count > 0 or orphan.is_set() or (stop is not None and stop())

        simulation = opening(plant, path, order, clock)
        publisher = Publisher(outbox, sender, simulation.state, clock=clock, watch=watch)
        goal = simulation.goal()
        show = note or line.show
        live = FaultFolder(settings.data_dir / FOLDER, plant, lines=tuple(simulation.state.lines))

        def noted(progress: Progress) -> None:
            write_state(path, publisher.state)
            show(with_goal(progress, goal, time.monotonic() - began_s))
            live.show(
                simulation.scenario.faults,
                simulation.windows,
                virtual_ns=progress.virtual_ns,
                waiting=progress.waiting,
                problem=progress.problem,
            )

        ended = _publish(simulation, publisher, order.speed, live, path, stop=asked, note=noted)
        write_state(path, publisher.state)
        flushed = ended and publisher.flush(stop=asked)
        if not flushed:
            flushed = publisher.flush_briefly(stop=lambda: signals.count > 1)
        waiting = outbox.messages
    took_s = time.monotonic() - began_s
    if note is None:
        line.end(_last_words(publisher.published, took_s, waiting=waiting, english=order.language == "en"))
    return {
        "ended": ended,
        "flushed": flushed,
        "asked_to_stop": asked(),
        "published": publisher.published,
        "lots": publisher.lots.total(),
        "waiting": waiting,
        "seconds": round(took_s, 3),
        "messages_per_s": round(publisher.published / took_s, 1) if took_s else 0.0,
        "scenario": publisher.state.scenario,
        "seed": publisher.state.seed,
        "start": to_text(publisher.state.start_ns),
    }


def _publish(
    simulation: Simulation,
    publisher: Publisher,
    speed: float,
    live: FaultFolder,
    path: Path,
    *,
    stop: Callable[[], bool],
    note: Callable[[Progress], None],
) -> bool:
    """Publish to the end. A fault that is asked for meanwhile changes what is not published yet. False when stopped."""
    ordered = False
    ahead: dict[str, int] = {}

    def interrupted() -> bool:
        nonlocal ordered
        # Up to where it was sent is known with the first message: a fault may not begin before.
        ordered = ordered or (publisher.virtual_ns > 0 and live.waiting())
        return ordered or stop()

    while True:
        stream = simulation.publications(publisher.state, publisher.lots)
        ended = publisher.publish_all(stream, speed=speed, stop=interrupted, note=note)
        if not ordered:
            return ended
        ordered = False
        # Asked once: from then on, the line that was ahead is not.
        ahead = ahead or {line: simulation.sent_ns(line, simulation.state) for line in simulation.state.lines}
        changed = live.take(
            simulation.scenario.faults,
            start_ns=simulation.state.start_ns,
            now_ns=publisher.virtual_ns,
            windows=simulation.windows,
            sent_ns=ahead,
        )
        simulation.scenario = simulation.scenario.with_faults(changed)
        documents = {document["label"]: document for document in publisher.state.live}
        documents |= {fault.label: fault_document(fault) for fault in changed}
        publisher.state = replace(publisher.state, live=tuple(documents.values()))
        write_state(path, publisher.state)
        live.tell()


@contextmanager
def _outbox_in_words() -> Iterator[None]:
    try:
        yield
    except OutboxError as error:
        raise StoreRefused(str(error)) from None


def _last_words(published: int, took_s: float, *, waiting: int, english: bool) -> str:
    count, held = counted(published, english=english), counted(waiting, english=english)
    took = tenths(took_s, english=english)
    if english:
        return f"{count} messages published in {took} s" + (
            f"; {held} wait in the outbox for the collector's receipt: the next start sends them again"
            if waiting
            else ", all receipted by the collector"
        )
    return f"{count} messages publiés en {took} s" + (
        f" ; {held} attendent le récépissé du collecteur dans la boîte d'envoi : ils repartiront au prochain démarrage"
        if waiting
        else ", tous confirmés par le collecteur"
    )
