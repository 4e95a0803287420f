"""The shell of `filiere simulate`: state file, signals, progress line, publisher."""

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

from collector.supervisor import stop_with_standard_input
from filiere.clock import NS_PER_S, Clock, system_clock, to_text
from filiere.errors import SettingsError
from filiere.plant import Plant
from filiere.plant_file import load_plant
from filiere.settings import Settings
from simulators.publisher import Broker, Progress, Publisher
from simulators.simulation import beginning, rewound, simulate
from simulators.state import SimulatorState, read_state, write_state

STATE_FILE = "simulator.json"
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
    again: int = 0
    """So many publications of each line are sent once more: a broker may have lost what it had acknowledged."""
    stop_with_stdin: bool = False
    """Stop when standard input ends: whoever started this holds the other end."""


def run_simulation(settings: Settings, order: Order, *, clock: Clock = system_clock) -> dict[str, object]:
    """Publish until the lots are made or a signal comes; flushes and keeps the state. Returns what was done.

    Raises:
        SettingsError: no broker, or a state of another seed, start or plant.
    """
    plant = load_plant(settings.plant)
    path = settings.data_dir / STATE_FILE
    state = opening_state(plant, path, order, clock)
    state = rewound(state, order.again)
    stream = simulate(
        plant, seed=state.seed, start_ns=state.start_ns, lots=order.lots, state=state, rows_max=order.rows_max
    )
    began_s = time.monotonic()
    broker = broker_of(settings)
    line = _ProgressLine(sys.stderr)
    orphan = threading.Event()
    if order.stop_with_stdin:
        stop_with_standard_input(orphan)
    with stop_signals() as signals, Publisher(broker, state, clock=clock) as publisher:

        def stop() -> bool:
            return signals.count > 0 or orphan.is_set()

        def note(progress: Progress) -> None:
            line.show(progress)
            write_state(path, publisher.state)

        ended = publisher.publish_all(stream, speed=order.speed, stop=stop, note=note)
        flushed = publisher.flush(stop=lambda: signals.count > 1)
        write_state(path, publisher.state)
    took_s = time.monotonic() - began_s
    line.end(publisher.published, took_s, flushed=flushed)
    return {
        "ended": ended,
        "flushed": flushed,
        "published": publisher.published,
        "seconds": round(took_s, 3),
        "messages_per_s": round(publisher.published / took_s, 1) if took_s else 0.0,
        "seed": state.seed,
        "start": to_text(state.start_ns),
    }


def broker_of(settings: Settings) -> Broker:
    """The broker of the settings."""
    password = settings.mqtt_password.get_secret_value() if settings.mqtt_password else ""
    return Broker(
        host=settings.mqtt_host, port=settings.mqtt_port, username=settings.mqtt_username or "", password=password
    )


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
            text += " · attend le courtier ou un abonné"
        self._stream.write(f"\r\x1b[2K{text}" if self._terminal else f"{text}\n")
        self._stream.flush()

    def end(self, published: int, took_s: float, *, flushed: bool) -> None:
        text = f"{thousands(published)} messages publiés et confirmés en {took_s:.1f} s"
        if not flushed:
            text += " ; le courtier n'a pas confirmé les derniers : ils repartiront au prochain démarrage"
        self._stream.write(f"\r\x1b[2K{text}\n" if self._terminal else f"{text}\n")
        self._stream.flush()


def thousands(count: int) -> str:
    """`12345` → `12 345`, with the narrow space of French."""
    return f"{count:_}".replace("_", "\N{NARROW NO-BREAK SPACE}")
