"""The shell of `filiere simulate --to FOLDER`: the same simulation, as fast as it goes, into files."""

import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from filiere.clock import NS_PER_S, to_text
from filiere.errors import SettingsError
from filiere.plant_file import load_plant
from filiere.settings import Settings
from simulators.output.files import ABOUT_FILE, MESSAGES_FILE, DeviceFiles, message_line, new_folder
from simulators.output.format import Format
from simulators.output.order import DAY_S, Order
from simulators.output.pieces import pieces
from simulators.output.progress import Progress, ProgressLine, counted, tenths, with_goal
from simulators.output.signals import Signals, stop_signals
from simulators.output.simulation import Simulation, anew
from simulators.truth.folder import TruthWriter

MESSAGES_AT_ONCE = 1_000
"""Between two looks at the clock and at signals."""
BUFFER_BYTES = 1024 * 1024


@dataclass(slots=True)
class _Done:
    """How far it is."""

    last_ns: int
    """Simulated time of the last message."""
    messages: int = 0
    rows: int = 0
    lots: int = 0
    sha256: str = ""
    """Of all messages, each as topic, a zero byte, payload, a line feed; JSONL only."""


class _StoppedError(Exception):
    """Somebody asked to stop."""


def run_to_folder(settings: Settings, order: Order) -> dict[str, object]:
    """Simulate into the new folder `order.to`. Returns what was done; stopped by a signal, the folder is not there.

    Raises:
        ScenarioError: the scenario is wrong.
        SettingsError: there is something in the folder, it cannot be written, or the simulation has no end.
        StoreUnavailable: the truth cannot be written.
    """
    assert order.to is not None
    plant = load_plant(settings.plant)
    simulation = anew(plant, order)
    done = _Done(last_ns=simulation.state.start_ns)
    line = ProgressLine(sys.stderr, order.language)
    began_s = time.monotonic()
    fill = _messages if order.form is Format.JSONL else _tables
    ended = True
    try:
        with stop_signals() as signals, _folders(order.to, order.truth) as (temporary, truth):
            if truth is not None:
                simulation.truth = TruthWriter(truth, plant, simulation.scenario, seed=simulation.state.seed)
            for _ in fill(simulation, order, temporary, done):
                line.show(_progress(simulation, done, time.monotonic() - began_s))
                _go_on(signals)
            about = _result(simulation, done) | {
                "format": str(order.form),
                "scenario_sha256": simulation.scenario.digest,
                "plant": simulation.plant.site,
                "plant_sha256": simulation.plant.digest,
            }
            (temporary / ABOUT_FILE).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    except _StoppedError:
        ended = False
    took_s = time.monotonic() - began_s
    line.end(_last_words(order, done, simulation.state.start_ns, took_s, ended=ended))
    return _result(simulation, done) | {
        "ended": ended,
        "flushed": ended,
        "asked_to_stop": not ended,
        "folder": str(order.to),
        "seconds": round(took_s, 3),
    }


@contextmanager
def _folders(folder: Path, truth: Path | None) -> Iterator[tuple[Path, Path | None]]:
    """Temporary folders for files and truth, whole at the end or gone; the truth may lie within the other."""
    whole = folder.resolve()
    if truth is not None and truth.resolve() in (whole, *whole.parents):
        raise SettingsError(
            f"--truth: got {truth}, where the folder of --to is; expected another one, such as {folder / 'truth'}"
        )
    with ExitStack() as stack:
        temporary = stack.enter_context(new_folder(folder, "--to"))
        if truth is None:
            yield temporary, None
        elif whole in truth.resolve().parents:
            yield temporary, temporary / truth.resolve().relative_to(whole)
        else:
            yield temporary, stack.enter_context(new_folder(truth, "--truth"))


def _go_on(signals: Signals) -> None:
    if signals.count:
        raise _StoppedError


def _tables(simulation: Simulation, order: Order, folder: Path, done: _Done) -> Iterator[None]:
    lines = [simulation.plant.line(path) for path in simulation.state.lines]
    with DeviceFiles(folder, lines, order.form) as files:
        for piece in pieces(simulation):
            done.rows += files.take(piece)
            done.messages += piece.messages
            done.lots += piece.lots
            done.last_ns = max(done.last_ns, piece.stop_ns)
            yield


def _messages(simulation: Simulation, _order: Order, folder: Path, done: _Done) -> Iterator[None]:
    digest = hashlib.sha256()
    with (folder / MESSAGES_FILE).open("wb", buffering=BUFFER_BYTES) as file:
        for publication in simulation.publications(simulation.state, Counter()):
            file.write(message_line(done.messages, publication))
            digest.update(publication.topic.encode() + b"\0" + publication.payload + b"\n")
            done.messages += 1
            done.rows += publication.stop - publication.start
            done.lots += publication.closes
            done.last_ns = publication.time_ns
            if done.messages % MESSAGES_AT_ONCE == 0:
                yield
    done.sha256 = digest.hexdigest()


def _result(simulation: Simulation, done: _Done) -> dict[str, object]:
    result: dict[str, object] = {
        "messages": done.messages,
        "rows": done.rows,
        "lots": done.lots,
        "scenario": simulation.scenario.id,
        "seed": simulation.state.seed,
        "start": to_text(simulation.state.start_ns),
        "stop": to_text(done.last_ns),
    }
    return result | ({"sha256": done.sha256} if done.sha256 else {})


def _progress(simulation: Simulation, done: _Done, took_s: float) -> Progress:
    took_s = max(took_s, 1e-9)
    progress = Progress(
        virtual_ns=done.last_ns,
        published=done.messages,
        messages_per_s=done.messages / took_s,
        rate=(done.last_ns - simulation.state.start_ns) / NS_PER_S / took_s,
        lots=done.lots,
    )
    return with_goal(progress, simulation.goal(), took_s)


def _last_words(order: Order, done: _Done, start_ns: int, took_s: float, *, ended: bool) -> str:
    english = order.language == "en"
    if not ended:
        return "stopped: nothing is written" if english else "arrêté : rien n'est écrit"
    messages, rows = (counted(each, english=english) for each in (done.messages, done.rows))
    days, took = (tenths(each, english=english) for each in ((done.last_ns - start_ns) / NS_PER_S / DAY_S, took_s))
    if english:
        return f"{messages} messages, {rows} rows, {days} simulated days in {took} s: {order.to}"
    return f"{messages} messages, {rows} lignes, {days} jours simulés en {took} s : {order.to}"
