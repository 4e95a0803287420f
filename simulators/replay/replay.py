"""The shell of `filiere replay`: read and check, then send, or write, or neither; and say what was found."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from collector.broker import broker_of, ssl_context
from collector.log.lines import line_of
from collector.outbox import Outbox, OutboxError, Sender
from filiere.clock import Clock, system_clock, to_text
from filiere.errors import SettingsError, StoreRefused
from filiere.message_log import Message
from filiere.meter import Meter
from filiere.plant import Plant
from filiere.plant_file import load_plant
from filiere.settings import Settings
from filiere.terminal import Language
from filiere.whole_file import output_file
from simulators.output.signals import stop_signals
from simulators.replay.direct import Direct
from simulators.replay.dirt import WORDS, Findings
from simulators.replay.mapping import ColumnMapping
from simulators.replay.mapping_file import load_mapping
from simulators.replay.opening import files_of, open_recording
from simulators.replay.recording import Recording
from simulators.replay.sending import Pace, Plan, Progress, Sending
from simulators.replay.table_recording import ROWS_MAX
from simulators.replay.words import LEFT, READ, progress_text

OUTBOX_FILE = "replay-outbox.sqlite"
OUTBOX_BYTES_MAX = 512 * 1024 * 1024
OUTPUT_MODE = 0o640
KB = 1000
PLAIN_LINE_S = 10.0
"""Between two progress lines where there is no terminal to rewrite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOrder:
    """What was asked for on the command line."""

    paths: tuple[Path, ...]
    mapping: Path | None = None
    zone: str | None = None
    plan: Plan = field(default_factory=Plan)
    rows_max: int = ROWS_MAX
    output: Path | None = None
    """A new file that gets the messages, as `filiere log export` writes them; None = they are published."""
    check_only: bool = False
    language: Language = "fr"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What was done."""

    recording: Recording
    sent: int = 0
    """Messages that were published, or written."""
    waiting: int = 0
    """Of them, those without a receipt."""
    unnumbered_waiting: int = 0
    """Of them, those that no outbox keeps."""
    took_s: float = 0.0
    asked_to_stop: bool = False

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        recording = self.recording
        return {
            "messages": recording.count,
            "rows": recording.rows,
            "first_time": to_text(recording.first_ns),
            "last_time": to_text(recording.last_ns),
            "found": found_json(recording.findings),
            "sent": self.sent,
            "waiting": self.waiting,
            "seconds": round(self.took_s, 3),
            "messages_per_s": round(self.sent / self.took_s, 1) if self.took_s else 0.0,
            "asked_to_stop": self.asked_to_stop,
        }


def found_json(findings: Findings) -> list[dict[str, object]]:
    """What was found, and what was done with each kind of it."""
    return [
        {"kind": kind.value, "count": found.count, "first": found.first, "done": WORDS[kind].done.en}
        for kind, found in findings.items()
    ]


def run_replay(settings: Settings, order: ReplayOrder, *, clock: Clock = system_clock) -> Replayed:
    """Replay until the recording ends or a signal comes. Nothing is published before all of it was read and checked.

    Raises:
        ScenarioError: a file or the mapping is wrong.
        SettingsError: the zone, the output or the certificate is.
        StoreRefused: the outbox's file is damaged, or another replay has it.
    """
    if order.output is not None and not order.plan.laps:
        raise SettingsError("--loop: got 0, without end, with --output; expected a number of laps: a file must end")
    plan = order.plan
    if plan.shift_to_now and 0.0 < plan.speed <= 1.0 and plan.longest_wait_s < float("inf"):
        raise SettingsError(
            "--longest-wait: got it with --shift-to-now in step with the clock; expected one of them: a time of now"
            " comes when it comes"
        )
    plant = load_plant(settings.plant)
    mapping = None if order.mapping is None else load_mapping(order.mapping, plant)
    recording = _read(order, plant, mapping, clock)
    if order.check_only:
        return Replayed(recording=recording)
    if order.output is not None:
        return _write(recording, order.output, order.plan, clock)
    return _publish(settings, recording, order, clock)


def _read(order: ReplayOrder, plant: Plant, mapping: ColumnMapping | None, clock: Clock) -> Recording:
    """Read and check it all, and say on standard error how far that is."""
    size = sum(path.stat().st_size for path in files_of(order.paths) if path.is_file())
    label, left = READ.in_language(order.language), LEFT.in_language(order.language)
    meter, done = Meter(label, left, total=size // KB), 0

    def read(count: int) -> None:
        nonlocal done
        done += count
        meter.at(done // KB)

    try:
        return open_recording(
            order.paths, plant, mapping=mapping, zone=order.zone, rows_max=order.rows_max, clock=clock, read=read
        )
    finally:
        meter.end()


def _write(recording: Recording, path: Path, plan: Plan, clock: Clock) -> Replayed:
    """The messages in a file, whole or not there."""
    began_s, count = time.monotonic(), 0
    with output_file(path, mode=OUTPUT_MODE) as file:
        for message, _ in plan.messages(recording, clock()):
            count += 1
            line = line_of(
                Message(
                    offset=count, topic=message.topic, payload=message.payload, record_time_ns=max(0, message.time_ns)
                )
            )
            file.write(line + b"\n")
    return Replayed(recording=recording, sent=count, took_s=time.monotonic() - began_s)


def _publish(settings: Settings, recording: Recording, order: ReplayOrder, clock: Clock) -> Replayed:
    broker = broker_of(settings)
    tls = None if broker.tls is None else ssl_context(broker.tls)
    began_s = time.monotonic()
    with (
        stop_signals() as signals,
        _outbox_in_words(),
        Outbox.open(settings.data_dir / OUTBOX_FILE, bytes_max=OUTBOX_BYTES_MAX) as outbox,
        Sender(
            outbox, host=broker.host, port=broker.port, username=broker.username, password=broker.password, tls=tls
        ) as sender,
        Direct(broker, tls, f"replay-{outbox.boot}") as direct,
        _progress_line(order.language) as note,
    ):
        sending = Sending(
            outbox=outbox,
            sender=sender,
            direct=direct,
            stop=lambda: signals.count > 0,
            note=note,
            clock=clock,
            total=recording.count * order.plan.laps or None,
        )
        plan, now_ns = order.plan, clock()
        pace = Pace(plan.speed, plan.longest_wait_s, now_ns)
        if sending.send_all(plan.messages(recording, now_ns), pace):
            sending.flush()
        return Replayed(
            recording=recording,
            sent=sending.sent,
            waiting=sending.waiting,
            unnumbered_waiting=direct.waiting,
            took_s=time.monotonic() - began_s,
            asked_to_stop=signals.count > 0,
        )


@contextmanager
def _outbox_in_words() -> Iterator[None]:
    try:
        yield
    except OutboxError as error:
        raise StoreRefused(str(error)) from None


@contextmanager
def _progress_line(language: Language) -> Iterator[Callable[[Progress], None]]:
    """One line on standard error that is rewritten on a terminal; elsewhere a line now and then."""
    terminal, said_s = sys.stderr.isatty(), time.monotonic()

    def note(progress: Progress) -> None:
        nonlocal said_s
        text, now_s = progress_text(progress, language), time.monotonic()
        if terminal:
            sys.stderr.write(f"\r\x1b[2K{text}")
        elif now_s - said_s >= PLAIN_LINE_S:
            said_s = now_s
            sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    try:
        yield note
    finally:
        if terminal:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()
