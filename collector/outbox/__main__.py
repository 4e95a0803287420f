"""The outbox as a command, beside any program that writes JSON lines: `python -m outbox --help`."""

import argparse
import json
import signal
import ssl
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from queue import Empty, Queue
from typing import Any, TextIO

from .file import Status, status_of
from .kept import BYTES_MAX, Outbox
from .sender import Sender
from .wire import ROWS_MAX, OutboxError, OutboxFull, Refused, RowRefused, check_device, shown
from .words import WORDS

EXIT_OK, EXIT_REFUSED, EXIT_ERROR, EXIT_NOT_RECEIPTED = 0, 1, 2, 3
WAIT_S = 0.05
"""For a line, between two looks at everything else."""
QUEUE_LINES = 10_000
FULL_S = 0.2
NOTE_S, PLAIN_NOTE_S = 0.5, 10.0
"""Between two progress lines on a terminal; elsewhere."""
MIB = 1024 * 1024
DROP_OLDEST = "drop-oldest"


@dataclass(slots=True)
class _Count:
    """How the work goes."""

    read: int = 0
    """Lines."""
    kept: int = 0
    """Rows and events."""
    refused_here: int = 0
    """Lines that cannot be sent."""
    refused_there: int = 0
    """Messages that the collector has in quarantine."""
    not_kept: int = 0
    """Rows that were read and found no room before the stop."""


class _Command:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.count = _Count()
        self._language = 1 if options.lang == "en" else 0
        self._stop = threading.Event()
        self._noted_at = -PLAIN_NOTE_S
        self._full = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda _number, _frame: self._stop.set())

    def word(self, key: str, **values: object) -> str:
        return WORDS[key][self._language].format(**values)

    def say(self, text: str) -> None:
        text = _printable(text)
        sys.stderr.write(f"\r\x1b[2K{text}\n" if sys.stderr.isatty() else f"{text}\n")

    def run(self) -> int:
        options = self.options
        with (
            Outbox.open(
                options.file,
                bytes_max=round(options.max_mib * MIB),
                drop_oldest=options.when_full == DROP_OLDEST,
            ) as outbox,
            Sender(
                outbox,
                host=options.host,
                port=options.port or (8883 if options.ca else 1883),
                username=options.username,
                password=_password(options.password_file),
                client_id=options.client_id,
                tls=_tls(options),
                on_refused=self._refused,
            ) as sender,
        ):
            lines = _lines(sys.stdin)
            ended = False
            while not self._stop.is_set() and not ended:
                batch, ended = _gathered(lines)
                self._put(outbox, sender, batch)
                self._note(outbox, sender)
            while batch and self._stop.is_set():  # what was read of the pipe is nowhere else
                batch, _ = _gathered(lines)
                self._put(outbox, sender, batch)
            if options.drain:
                self._drain(outbox, sender)
            self._note(outbox, sender, last=True)
            receipted = not outbox.messages
            if self.count.not_kept:
                self.say(self.word("not_kept", count=self.count.not_kept))
            self._result(outbox.status(), sender, receipted=receipted)
        if options.drain and not receipted:
            return EXIT_NOT_RECEIPTED
        bad = self.count.refused_here or self.count.refused_there or self.count.not_kept
        return EXIT_REFUSED if bad else EXIT_OK

    def _put(self, outbox: Outbox, sender: Sender, lines: Sequence[bytes]) -> None:
        rows = []
        for line in lines:
            self.count.read += 1
            if line.strip():
                try:
                    rows.append((self.count.read, _parsed(line)))
                except RowRefused as refused:
                    self._refuse_line(self.count.read, refused)
        self._keep(outbox, sender, rows)

    def _keep(self, outbox: Outbox, sender: Sender, rows: Sequence[tuple[int, dict[str, Any]]]) -> None:
        """Lines with their numbers: all together; where one is refused, or there is no room, in smaller parts."""
        while rows:
            try:
                outbox.put_many(self.options.device, [row for _, row in rows])
            except (RowRefused, OutboxFull) as problem:
                if len(rows) > 1:
                    half = len(rows) // 2
                    self._keep(outbox, sender, rows[:half])
                    self._keep(outbox, sender, rows[half:])
                elif isinstance(problem, RowRefused):
                    self._refuse_line(rows[0][0], problem)
                elif not self._stop.is_set():
                    self._wait_for_room(outbox, sender, problem)
                    continue
                else:
                    self.count.not_kept += 1
            else:
                self._full = False
                self.count.kept += len(rows)
            return

    def _wait_for_room(self, outbox: Outbox, sender: Sender, full: OutboxFull) -> None:
        if not self._full:
            self._full = True
            self.say(self.word("full", words=full))
        self._note(outbox, sender)
        self._stop.wait(FULL_S)

    def _refuse_line(self, number: int, refused: RowRefused) -> None:
        self.count.refused_here += 1
        self.say(self.word("line", number=number, words=refused))

    def _refused(self, refused: Refused) -> None:
        self.count.refused_there += 1
        self.say(self.word("refused", **asdict(refused)))

    def _drain(self, outbox: Outbox, sender: Sender) -> None:
        deadline = None if self.options.timeout is None else time.monotonic() + self.options.timeout
        while outbox.messages and not self._stop.is_set() and (deadline is None or time.monotonic() < deadline):
            sender.flush(NOTE_S / 5, stop=self._stop.is_set)
            self._note(outbox, sender)

    def _note(self, outbox: Outbox, sender: Sender, *, last: bool = False) -> None:
        now = time.monotonic()
        terminal = sys.stderr.isatty()
        if not last and now - self._noted_at < (NOTE_S if terminal else PLAIN_NOTE_S):
            return
        self._noted_at = now
        oldest_ms = outbox.oldest_ms()
        lag = self.word("nothing_waits") if oldest_ms is None else self.word("behind", s=_age_s(oldest_ms))
        text = self.word("progress", waiting=outbox.rows, acknowledged=sender.acknowledged, lag=lag)
        text = _printable(f"{text} · {sender.problem}" if sender.problem else text)
        sys.stderr.write(f"\r\x1b[2K{text}" + ("\n" if last else "") if terminal else f"{text}\n")
        sys.stderr.flush()

    def _result(self, status: Status, sender: Sender, *, receipted: bool) -> None:
        if self.options.json:
            found = {**asdict(self.count), "receipted": receipted, "problem": sender.problem, "outbox": asdict(status)}
            sys.stdout.write(json.dumps(found, indent=2) + "\n")

    def status(self) -> int:
        status = status_of(self.options.file)
        if self.options.json:
            sys.stdout.write(json.dumps(asdict(status), indent=2) + "\n")
            return EXIT_OK
        age = self.word("none") if status.oldest_ms is None else self.word("since", s=_age_s(status.oldest_ms))
        sys.stdout.write(self.word("holds", **asdict(status), age=age) + "\n")
        return EXIT_OK


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status."""
    options = _options(sys.argv[1:] if arguments is None else list(arguments))
    command = _Command(options)
    try:
        if options.status:
            return command.status()
        check_device(options.device or "")
        return command.run()
    except (OutboxError, OSError) as error:  # the second: a file of a password or a certificate
        command.say(f"outbox: {error}")
        return EXIT_ERROR


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    english = "en" in [after for before, after in pairwise(arguments) if before == "--lang"]
    english = english or "--lang=en" in arguments

    def help_of(key: str) -> str:
        return WORDS[key][1 if english else 0].replace("%", "%%")

    parser = argparse.ArgumentParser(prog="outbox", description=help_of("about"))
    add = parser.add_argument
    add("--device", help=help_of("device"))
    add("--file", type=Path, default=Path("outbox.sqlite"), help=help_of("file"))
    add("--host", default="127.0.0.1", help=help_of("host"))
    add("--port", type=int, help=help_of("port"))
    add("--username", help=help_of("username"))
    add("--password-file", type=Path, help=help_of("password"))
    add("--ca", type=Path, help=help_of("ca"))
    add("--certificate", type=Path, help=help_of("certificate"))
    add("--key", type=Path, help=help_of("key"))
    add("--client-id", default="", help=help_of("client_id"))
    add("--max-mib", type=float, default=BYTES_MAX / MIB, help=help_of("max_mib"))
    add("--when-full", choices=("refuse", DROP_OLDEST), default="refuse", help=help_of("when_full"))
    add("--drain", action="store_true", help=help_of("drain"))
    add("--timeout", type=float, help=help_of("timeout"))
    add("--status", action="store_true", help=help_of("status"))
    add("--json", action="store_true", help=help_of("json"))
    add("--lang", choices=("fr", "en"), default="fr", help=help_of("lang"))
    return parser.parse_args(arguments)


def _lines(stream: TextIO) -> "Queue[bytes | None]":
    """What a thread reads from a stream, line by line; None at its end. It reads no further than QUEUE_LINES ahead."""
    lines: Queue[bytes | None] = Queue(QUEUE_LINES)

    def read() -> None:
        for line in stream.buffer:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, name="standard input", daemon=True).start()
    return lines


def _gathered(lines: "Queue[bytes | None]") -> tuple[list[bytes], bool]:
    """The lines that are there, at most a message's rows; whether these were the last."""
    batch: list[bytes] = []
    while len(batch) < ROWS_MAX:
        try:
            line = lines.get_nowait() if batch else lines.get(timeout=WAIT_S)
        except Empty:
            break
        if line is None:
            return batch, True
        batch.append(line)
    return batch, False


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line, object_pairs_hook=_once_each)
    except (ValueError, RecursionError) as error:
        raise RowRefused(f"got what is not JSON ({error}); expected one JSON object in UTF-8") from None
    if not isinstance(row, dict):
        raise RowRefused(f"got {shown(row)}; expected a JSON object")
    return row


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise RowRefused(f"got a name twice in {shown([name for name, _ in pairs])}; expected each name once")
    return found


def _password(path: Path | None) -> str | None:
    return None if path is None else path.read_text(encoding="utf-8").splitlines()[0]


def _tls(options: argparse.Namespace) -> ssl.SSLContext | None:
    if options.ca is None:
        return None
    context = ssl.create_default_context(cafile=options.ca)
    if options.certificate is not None:
        context.load_cert_chain(options.certificate, options.key)
    return context


def _printable(text: str) -> str:
    """With nothing of somebody else's in it that could move the cursor or colour the line."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


def _age_s(then_ms: int) -> float:
    return max(0.0, time.time() - then_ms / 1000)


if __name__ == "__main__":
    sys.exit(main())
