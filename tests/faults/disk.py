"""A disk that loses power: replays the system calls of a traced program and gives what could be on the platters.

What a completed fsync covers is there. Of what was written since, each 512-byte sector is there or not. A failed fsync
means that those pages are never written any more, although the program still reads them (what Linux does).
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers import PROJECT

SECTOR = 512
PROGRAM = Path(__file__).parent / "commit_path.py"
TRACED = "openat,pwrite64,write,fdatasync,fsync,ftruncate,unlink"
POLICIES = ("dropped", "kept", "whole writes", "torn")

_LINE = re.compile(r"\d+ +(?P<call>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)")
_TEXT = re.compile(r'"([^"]*)"|<((?:\\x[0-9a-f]{2})+)>')
_ACKED = re.compile(rb"acked (\d+)")


def traced(strace, folder, *options, program_options=()):
    """Run the commit path under strace, on `folder`/messages.sqlite. Returns what it said and the calls it made."""
    trace = folder.with_suffix(".trace")
    shown = ["-y", "-xx", "-s", "1000000", "-e", f"trace={TRACED}", "--seccomp-bpf"]
    ran = run([strace, "-f", "-o", trace, *shown, *options], folder, *program_options)
    return ran, list(calls(trace, folder))


def run(strace, folder, *program_options):
    """Run the commit path under a tracer. Returns the finished process with its output."""
    return subprocess.run(
        [*strace, sys.executable, PROGRAM, folder / "messages.sqlite", *program_options],
        cwd=PROJECT,
        env={"PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        check=False,
    )


@dataclass(frozen=True)
class Call:
    name: str
    path: str
    """The file's name; a folder's own is empty."""
    content: bytes
    numbers: tuple[int, ...]
    """Its last arguments that are numbers: length and offset of a write, length of a truncation."""
    failed: bool
    creates: bool


def calls(trace: Path, folder: Path) -> Iterator[Call]:
    """Calls on files of the folder and on the folder itself, and what the program said (a `write`)."""
    for line in trace.read_text().splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        read = [(bytes.fromhex((a or b).replace("\\x", "")), bool(b)) for a, b in _TEXT.findall(found["arguments"])]
        texts = [text for text, _ in read]
        names = found["call"] in ("openat", "unlink")  # elsewhere a quoted text is what was written
        paths = [Path(text.decode()) for text, of_descriptor in read if of_descriptor or names]
        if found["call"] == "write":
            yield Call("write", "", texts[-1], (), failed=False, creates=False)
            continue
        path = next((path for path in reversed(paths) if folder in (path, path.parent)), None)
        if path is None or path.name.endswith("-shm"):  # made again from the -wal by whoever opens the file next
            continue
        yield Call(
            name=found["call"],
            path="" if path == folder else path.name,
            content=texts[-1] if found["call"] == "pwrite64" else b"",
            numbers=tuple(map(int, re.findall(r", (\d+)", found["arguments"]))),
            failed=int(found["result"]) < 0,
            creates="O_CREAT" in found["arguments"],
        )


@dataclass
class _File:
    durable: bytearray = field(default_factory=bytearray)
    pending: list = field(default_factory=list)
    """(offset, content), or (length, None) for a truncation, since the last fsync."""

    def image(self, policy, dice) -> bytes:
        content = bytearray(self.durable)
        for place, written in self.pending:
            if written is None:
                if _chosen(policy, dice):
                    del content[place:]
            elif policy == "torn":
                for start in range(0, len(written), SECTOR):
                    if _chosen(policy, dice):
                        _put(content, place + start, written[start : start + SECTOR])
            elif _chosen(policy, dice):
                _put(content, place, written)
        return bytes(content)

    def sync(self):
        self.durable = bytearray(self.image("kept", None))
        self.pending.clear()


def _chosen(policy, dice):
    return policy == "kept" or (policy != "dropped" and dice.random() < 0.5)


def _put(content, place, written):
    if len(content) < place:
        content.extend(bytes(place - len(content)))
    content[place : place + len(written)] = written


class Disk:
    """What is on the platters, and what was written since and may be."""

    def __init__(self):
        self.acked = 0
        self._names: dict[str, _File] = {}
        self._durable_names: dict[str, _File] = {}
        self._pending_names: list[tuple[str, _File | None]] = []

    def do(self, call: Call) -> None:
        if call.name == "write":
            for number in _ACKED.findall(call.content):
                self.acked = int(number)
        elif call.name in ("fsync", "fdatasync"):
            self._sync(call)
        elif call.failed:
            return
        elif call.name == "openat":
            if call.creates and call.path not in self._names:
                self._names[call.path] = _File()
                self._pending_names.append((call.path, self._names[call.path]))
        elif call.name == "unlink":
            if self._names.pop(call.path, None) is not None:
                self._pending_names.append((call.path, None))
        elif call.name == "pwrite64":
            self._names[call.path].pending.append((call.numbers[-1], call.content))
        elif call.name == "ftruncate":
            self._names[call.path].pending.append((call.numbers[-1], None))

    def _sync(self, call):
        if call.path and call.failed:
            self._names[call.path].pending.clear()
        elif call.path:
            self._names[call.path].sync()
        elif not call.failed:
            self._durable_names = dict(self._names)
            self._pending_names.clear()

    def write_image(self, folder: Path, policy: str, dice) -> None:
        """What a power cut now may leave, as files."""
        folder.mkdir()
        names = dict(self._durable_names)
        # a journalling file system keeps the order of names: a first part of what was not synced
        kept = {"dropped": 0, "kept": len(self._pending_names)}.get(policy)
        for name, file in self._pending_names[: dice.randint(0, len(self._pending_names)) if kept is None else kept]:
            names.pop(name, None) if file is None else names.update({name: file})
        for name, file in names.items():
            (folder / name).write_bytes(file.image(policy, dice))
