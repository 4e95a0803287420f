"""The outbox as a command, beside any program that writes JSON lines: `python -m outbox --help`."""

import argparse
import json
import math
import signal
import ssl
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from queue import Empty, Queue
from typing import Any, TextIO

from .file import BYTES_MAX, Outbox, Status, status_of
from .sender import Sender
from .wire import OutboxError, OutboxFull, Refused, RowRefused, body_of, check_device, shown

EXIT_OK, EXIT_REFUSED, EXIT_ERROR, EXIT_NOT_RECEIPTED = 0, 1, 2, 3
TICK_S = 0.05
"""Between two looks at everything else."""
TOGETHER_MAX = 100
"""Lines of one commit."""
AHEAD_MAX, LINE_BYTES_MAX = 1_000, 1024 * 1024
"""Lines that are read before they are kept; what is read as one."""
NOTE_S, PLAIN_NOTE_S = 0.5, 10.0
"""Between two progress lines on a terminal; elsewhere."""
MIB = 1024 * 1024
WORDS: Mapping[str, tuple[str, str]] = {
    "about": (
        (
            "Envoie au collecteur, par MQTT 5, des lignes JSON lues sur l'entrée standard, et les garde sur le disque"
            ' jusqu\'à son récépissé. Une ligne : {"t": …, "v": {signal: valeur}, "u": {signal: unité}} (t et u'
            " facultatifs), ou un événement EPCIS. Code de sortie : 0 tout va bien ; 1 des lignes ont été refusées ;"
            " 2 impossible de travailler ; 3 --drain n'a pas tout vu confirmé."
        ),
        (
            "Sends JSON lines from standard input to the collector by MQTT 5, and keeps them on the disk until its"
            ' receipt. A line: {"t": ..., "v": {signal: value}, "u": {signal: unit}} (t and u may be left out), or one'
            " EPCIS event. Exit status: 0 all is well; 1 lines were refused; 2 it cannot work; 3 --drain did not see"
            " everything receipted."
        ),
    ),
    "--device": ("site/atelier/ligne/appareil", "site/workshop/line/device"),
    "--file": ("fichier de la boîte d'envoi [outbox.sqlite]", "the outbox's file [outbox.sqlite]"),
    "--host": ("hôte du courtier MQTT [127.0.0.1]", "host of the MQTT broker [127.0.0.1]"),
    "--port": ("port du courtier [1883 ; avec --ca 8883]", "port of the broker [1883; with --ca 8883]"),
    "--username": ("nom d'utilisateur auprès du courtier", "user name at the broker"),
    "--password-file": ("fichier dont la première ligne est le mot de passe", "file whose first line is the password"),
    "--ca": ("TLS : certificat de l'autorité (PEM)", "TLS: certificate of the authority (PEM)"),
    "--certificate": ("TLS : notre certificat (PEM)", "TLS: our certificate (PEM)"),
    "--key": ("TLS : notre clé privée (PEM)", "TLS: our private key (PEM)"),
    "--client-id": ("identifiant MQTT [propre au fichier]", "MQTT client id [the file's own]"),
    "--max-mib": ("taille du fichier, au plus, en MiB [256]", "size of the file, at most, MiB [256]"),
    "--drain": ("à la fin de l'entrée, attendre les récépissés", "at the end of the input, wait for all receipts"),
    "--timeout": ("avec --drain : au plus tant de secondes [sans fin]", "with --drain: seconds at most [for ever]"),
    "--status": ("dire ce que le fichier contient, et c'est tout", "say what the file holds, and no more"),
    "--json": ("dire le résultat en JSON sur la sortie standard", "say the result as JSON on standard output"),
    "--lang": ("langue : fr ou en [fr]", "language: fr or en [fr]"),
    "progress": (
        "{rows} en attente, le plus ancien {age:.0f} s {problem}",
        "{rows} waiting, the oldest {age:.0f} s {problem}",
    ),
    "line": ("ligne {number} refusée : {words}", "line {number} refused: {words}"),
    "refused": (
        "refusé par le collecteur : {boot} n° {seq}, {rows} relevé(s), {reason} : {message}",
        "refused by the collector: {boot} no. {seq}, {rows} row(s), {reason}: {message}",
    ),
    "full": ("boîte pleine, l'entrée attend : {words}", "the outbox is full, the input waits: {words}"),
    "not_kept": (
        "{count} lignes lues n'ont pas trouvé de place avant l'arrêt : à renvoyer",
        "{count} lines that were read found no room before the stop: send them again",
    ),
    "error": ("outbox : {words}", "outbox: {words}"),
    "holds": (
        "{rows} relevés en attente, le plus ancien depuis {age:.0f} s ; {bytes} octets ; identité {boot}",
        "{rows} rows waiting, the oldest for {age:.0f} s; {bytes} bytes; identity {boot}",
    ),
}
"""Key → French, English."""


class _Command:
    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._count = {"read": 0, "kept": 0, "refused_here": 0, "refused_there": 0, "not_kept": 0}
        """Lines; lines that cannot be sent; messages in the collector's quarantine; lines without room at the stop."""
        self._stop = threading.Event()
        self._noted_at = -PLAIN_NOTE_S
        self._full = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda _number, _frame: self._stop.set())

    def say(self, key: str, **values: object) -> None:
        text = self._word(key, **values)
        sys.stderr.write(f"\r\x1b[2K{text}\n" if sys.stderr.isatty() else f"{text}\n")

    def run(self) -> int:
        options = self._options
        with (
            Outbox.open(options.file, bytes_max=options.max_mib * MIB) as self._outbox,
            Sender(
                self._outbox,
                host=options.host,
                port=options.port or (8883 if options.ca else 1883),
                username=options.username,
                password=_password(options.password_file),
                client_id=options.client_id,
                tls=_tls(options),
                on_refused=self._refused,
            ) as self._sender,
        ):
            lines, ended = self._lines(sys.stdin), False
            while not ended:
                batch, ended = _gathered(lines)
                if self._stop.is_set() and not batch:  # not before: what was read of the pipe is nowhere else
                    break
                self._keep([row for line in batch if (row := self._row(line)) is not None])
                self._note()
            deadline = time.monotonic() + (math.inf if options.timeout is None else options.timeout)
            while options.drain and self._outbox.messages and not self._stop.is_set() and time.monotonic() < deadline:
                self._stop.wait(TICK_S)
                self._note()
            self._note(last=True)
            status, problem = self._outbox.status(), self._sender.problem
        if self._count["not_kept"]:
            self.say("not_kept", count=self._count["not_kept"])
        if options.json:
            sys.stdout.write(json.dumps({**self._count, "problem": problem, "outbox": asdict(status)}, indent=2) + "\n")
        if options.drain and status.messages:
            return EXIT_NOT_RECEIPTED
        bad = self._count["refused_here"] or self._count["refused_there"] or self._count["not_kept"]
        return EXIT_REFUSED if bad else EXIT_OK

    def status(self) -> int:
        status = status_of(self._options.file)
        text = json.dumps(asdict(status), indent=2)
        if not self._options.json:
            text = self._word("holds", **asdict(status), age=_age_s(status))
        sys.stdout.write(text + "\n")
        return EXIT_OK

    def _lines(self, stream: TextIO) -> "Queue[bytes | None]":
        """What a thread reads, line by line and not far ahead; None at the end."""
        lines: Queue[bytes | None] = Queue(AHEAD_MAX)

        def read() -> None:
            while not self._stop.is_set() and (line := stream.buffer.readline(LINE_BYTES_MAX)):
                lines.put(line)
            lines.put(None)

        threading.Thread(target=read, name="standard input", daemon=True).start()
        return lines

    def _row(self, line: bytes) -> dict[str, Any] | None:
        self._count["read"] += 1
        if not line.strip():
            return None
        try:
            row: dict[str, Any] = json.loads(line, object_pairs_hook=_once_each)
            body_of(row, 0)
        except RowRefused as refused:
            words = str(refused)
        except (ValueError, RecursionError) as error:
            words = f"got what is not JSON ({error}); expected one JSON object in UTF-8"
        else:
            return row
        self._count["refused_here"] += 1
        self.say("line", number=self._count["read"], words=words)
        return None

    def _keep(self, rows: Sequence[dict[str, Any]]) -> None:
        """All together; where there is no room for that one by one, each when there is."""
        while rows:
            try:
                self._outbox.put_many(self._options.device, rows)
            except OutboxFull as full:
                if len(rows) > 1:
                    for row in rows:
                        self._keep([row])
                elif self._stop.is_set():
                    self._count["not_kept"] += 1
                else:
                    if not self._full:
                        self.say("full", words=full)
                    self._full = True
                    self._note()
                    self._stop.wait(TICK_S)
                    continue
            else:
                self._full = False
                self._count["kept"] += len(rows)
            return

    def _refused(self, refused: Refused) -> None:
        self._count["refused_there"] += 1
        self.say("refused", **asdict(refused))

    def _note(self, *, last: bool = False) -> None:
        now, terminal = time.monotonic(), sys.stderr.isatty()
        if last or now - self._noted_at >= (NOTE_S if terminal else PLAIN_NOTE_S):
            self._noted_at = now
            status = self._outbox.status()
            text = self._word("progress", rows=status.rows, age=_age_s(status), problem=self._sender.problem or "")
            sys.stderr.write(f"\r\x1b[2K{text}" + ("\n" if last else "") if terminal else f"{text}\n")
            sys.stderr.flush()

    def _word(self, key: str, **values: object) -> str:
        """With nothing of somebody else's in it that could move the cursor or colour the line."""
        text = WORDS[key][self._options.lang == "en"].format(**values)
        return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


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
        command.say("error", words=error)
        return EXIT_ERROR


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    english = "--lang=en" in arguments or ("--lang", "en") in pairwise(arguments)
    more: dict[str, dict[str, Any]] = {
        "--file": {"type": Path, "default": Path("outbox.sqlite")},
        "--host": {"default": "127.0.0.1"},
        "--port": {"type": int},
        **{name: {"type": Path} for name in ("--password-file", "--ca", "--certificate", "--key")},
        "--client-id": {"default": ""},
        "--max-mib": {"type": int, "default": BYTES_MAX // MIB},
        "--timeout": {"type": float},
        **{name: {"action": "store_true"} for name in ("--drain", "--status", "--json")},
        "--lang": {"choices": ("fr", "en"), "default": "fr"},
    }
    parser = argparse.ArgumentParser(prog="outbox", description=WORDS["about"][english])
    for name, words in WORDS.items():
        if name.startswith("--"):
            parser.add_argument(name, help=words[english], **more.get(name, {}))
    return parser.parse_args(arguments)


def _gathered(lines: "Queue[bytes | None]") -> tuple[list[bytes], bool]:
    """The lines that are there, for one commit; whether these were the last."""
    batch: list[bytes] = []
    with suppress(Empty):
        while len(batch) < TOGETHER_MAX:
            line = lines.get_nowait() if batch else lines.get(timeout=TICK_S)
            if line is None:
                return batch, True
            batch.append(line)
    return batch, False


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of a name that stands twice JSON readers keep the last: a value would be lost. Raises RowRefused."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise RowRefused(f"got a name twice in {shown([name for name, _ in pairs])}; expected each name once")
    return found


def _password(path: Path | None) -> str | None:
    if path is None:
        return None
    first = path.read_bytes().partition(b"\n")[0].rstrip(b"\r")
    try:
        if first:
            return first.decode()
    except UnicodeDecodeError:
        pass
    raise OutboxError(f"--password-file: got {path}, whose first line is no text; expected the password there")


def _tls(options: argparse.Namespace) -> ssl.SSLContext | None:
    if options.ca is None:
        return None
    context = ssl.create_default_context(cafile=options.ca)
    if options.certificate is not None:
        context.load_cert_chain(options.certificate, options.key)
    return context


def _age_s(status: Status) -> float:
    """How long the oldest has waited."""
    return 0.0 if status.oldest_ms is None else max(0.0, time.time() - status.oldest_ms / 1000)


if __name__ == "__main__":
    sys.exit(main())
