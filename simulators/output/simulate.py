"""The shell of `filiere simulate`: state file, signals, progress line, outbox."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TextIO

from collector.broker import broker_of, ssl_context
from collector.outbox import Outbox, OutboxError, Sender
from collector.supervisor import stop_with_standard_input
from filiere.clock import NS_PER_S, Clock, system_clock, to_text
from filiere.errors import SettingsError, StoreRefused
from filiere.plant import Plant
from filiere.plant_file import load_plant
from filiere.settings import Settings
from filiere.terminal import printable
from simulators.line.simulation import beginning, simulate
from simulators.line.state import SimulatorState, read_state, write_state
from simulators.output.publisher import Progress, Publisher

STATE_FILE, OUTBOX_FILE = "simulator.json", "simulator-outbox.sqlite"
OUTBOX_BYTES_MAX = 512 * 1024 * 1024
"""Days of both lines; beyond it, simulated time stands still until the collector is back."""
DAYS_BEFORE = 7
"""Without a start, virtual time begins this many days before now, at a full hour; earlier for many lots."""
LOTS_A_DAY = 3
"""A line makes more than so many: the lots that were asked for fit between the first virtual instant and now."""
HOUR_NS = 3600 * NS_PER_S
SEED = 1
PLAIN_LINE_S = 10.0
"""Between two progress lines where there is no terminal to rewrite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was asked for on the command line; None = as before, or the default."""

    speed: float = 60.0
    lots: int | None = None
    seed: int | None = None
    start_ns: int | None = None
    fresh: bool = False
    rows_max: int = 10
    stop_with_stdin: bool = False
    """Stop when standard input ends: whoever started this holds the other end."""


def run_simulation(settings: Settings, order: Order, *, clock: Clock = system_clock) -> dict[str, object]:
    """Publish until the lots are made or a signal comes. Returns what was done.

    Broker and collector may come later, or go meanwhile: what has no receipt is in the outbox, and is sent by the next
    start too.

    Raises:
        SettingsError: a state of another seed, start or plant; a certificate that cannot be read.
        StoreRefused: the outbox's file is damaged, or another simulation has it.
    """
    plant = load_plant(settings.plant)
    path = settings.data_dir / STATE_FILE
    broker = broker_of(settings)
    tls = None if broker.tls is None else ssl_context(broker.tls)
    began_s = time.monotonic()
    line = _ProgressLine(sys.stderr)
    orphan = threading.Event()
    if order.stop_with_stdin:
        stop_with_standard_input(orphan)
    with (
        stop_signals() as signals,
        _outbox_in_words(),
        Outbox.open(settings.data_dir / OUTBOX_FILE, bytes_max=OUTBOX_BYTES_MAX) as outbox,
        Sender(
            outbox, host=broker.host, port=broker.port, username=broker.username, password=broker.password, tls=tls
        ) as sender,
    ):
        state = opening_state(plant, path, order, clock)
        stream = simulate(
            plant, seed=state.seed, start_ns=state.start_ns, lots=order.lots, state=state, rows_max=order.rows_max
        )
        publisher = Publisher(outbox, sender, state, clock=clock)

        def asked() -> bool:
            return signals.count > 0 or orphan.is_set()

        def note(progress: Progress) -> None:
            line.show(progress)
            write_state(path, publisher.state)

        ended = publisher.publish_all(stream, speed=order.speed, stop=asked, note=note)
        write_state(path, publisher.state)
        flushed = ended and publisher.flush(stop=asked)
        if not flushed:
            flushed = publisher.flush_briefly(stop=lambda: signals.count > 1)
        waiting = outbox.messages
    took_s = time.monotonic() - began_s
    line.end(publisher.published, took_s, waiting=waiting)
    return {
        "ended": ended,
        "flushed": flushed,
        "asked_to_stop": asked(),
        "published": publisher.published,
        "waiting": waiting,
        "seconds": round(took_s, 3),
        "messages_per_s": round(publisher.published / took_s, 1) if took_s else 0.0,
        "seed": state.seed,
        "start": to_text(state.start_ns),
    }


@contextmanager
def _outbox_in_words() -> Iterator[None]:
    try:
        yield
    except OutboxError as error:
        raise StoreRefused(str(error)) from None


def opening_state(plant: Plant, path: Path, order: Order, clock: Clock) -> SimulatorState:
    """Where to go on from: the state file, unless `fresh`. Raises SettingsError when it is of another simulation."""
    state = None if order.fresh else read_state(path)
    if state is None:
        days = max(DAYS_BEFORE, (order.lots or 0) // LOTS_A_DAY)
        before_ns = (clock() // HOUR_NS - days * 24) * HOUR_NS
        start_ns = order.start_ns if order.start_ns is not None else before_ns
        state = beginning(plant, seed=order.seed if order.seed is not None else SEED, start_ns=start_ns)
        write_state(path, state)
        return state
    if order.seed is not None and order.seed != state.seed:
        raise SettingsError(
            f"--seed: got {order.seed}; expected {state.seed}, the seed of the simulation in {path}: leave it out to"
            " go on, or start anew with --fresh in an empty data folder"
        )
    if order.start_ns is not None and order.start_ns != state.start_ns:
        raise SettingsError(
            f"--start: got {to_text(order.start_ns)}; expected {to_text(state.start_ns)}, the start of the simulation"
            f" in {path}: leave it out to go on, or start anew with --fresh in an empty data folder"
        )
    return state


@dataclass(slots=True)
class Signals:
    """How often somebody asked to stop."""

    count: int = 0

    def take(self, _number: int, _frame: FrameType | None) -> None:
        """A signal handler."""
        self.count += 1


@contextmanager
def stop_signals() -> Iterator[Signals]:
    """Count SIGINT, SIGTERM and SIGHUP instead of dying of them; the old handlers come back at the end."""
    signals = Signals()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    old = [signal.signal(number, signals.take) for number in numbers]
    try:
        yield signals
    finally:
        for number, handler in zip(numbers, old, strict=True):
            signal.signal(number, handler)


class _ProgressLine:
    """One line that is rewritten on a terminal; elsewhere a line now and then."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._last_s = -PLAIN_LINE_S

    def show(self, progress: Progress) -> None:
        now_s = time.monotonic()
        if not self._terminal and now_s - self._last_s < PLAIN_LINE_S:
            return
        self._last_s = now_s
        text = (
            f"temps simulé {to_text(progress.virtual_ns)[:19]}Z · {progress.rate:.0f}× ·"
            f" {progress.messages_per_s:.0f} messages/s · {thousands(progress.published)} publiés"
        )
        if progress.waiting:
            text += f" · {thousands(progress.waiting)} sans récépissé"
        if progress.problem:
            text += f" · {printable(progress.problem)}"
        self._stream.write(f"\r\x1b[2K{text}" if self._terminal else f"{text}\n")
        self._stream.flush()

    def end(self, published: int, took_s: float, *, waiting: int) -> None:
        text = f"{thousands(published)} messages publiés en {took_s:.1f} s"
        if waiting:
            text += (
                f" ; {thousands(waiting)} attendent le récépissé du collecteur dans la boîte d'envoi : ils repartiront"
                " au prochain démarrage"
            )
        else:
            text += ", tous confirmés par le collecteur"
        self._stream.write(f"\r\x1b[2K{text}\n" if self._terminal else f"{text}\n")
        self._stream.flush()


def thousands(count: int) -> str:
    """`12345` → `12 345`, with the narrow space of French."""
    return f"{count:_}".replace("_", "\N{NARROW NO-BREAK SPACE}")
