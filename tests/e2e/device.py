"""A device that can be killed anywhere: it writes each row to its own file, then puts it into its outbox.

`python -m tests.e2e.device DEVICE --signals a,b --folder D --port P --rows-per-s N`; it makes rows until its standard
input ends, then exits with 0 when receipts have covered everything. Each start is another boot. A row that is in the
file and may not be in the outbox, because the process was killed between the two, is put again with the same number.
"""

import argparse
import json
import os
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from collector.outbox import Numbered, Outbox, Sender
from filiere.clock import parse_time

START_MS = parse_time("2026-03-11T12:00:00Z") // 1_000_000
STEP_MS = 20
ROWS = (1, 1, 1, 5, 20)
"""Of one message, in turn."""
BATCH = 5
"""Messages that are written and put together."""
BAD_EVERY = 37
"""Every so many messages, one that the collector refuses."""
DRAIN_S_MAX = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One message of the device's own file."""

    boot: str
    seq: int
    count: int
    """Rows that the device made before it, over all boots: times and values follow from it."""
    rows: int
    bad: bool

    def time_ms(self, row: int) -> int:
        return START_MS + (self.count + row) * STEP_MS

    def value(self, row: int, place: int) -> float:
        """Of a row and a signal's place."""
        return ((self.count + row) * 7 + place * 13) % 999 / 1000

    def payload(self, signals: Sequence[str]) -> bytes:
        names = ["colour"] if self.bad else signals
        rows = range(self.rows)
        columns = {name: [self.value(row, place) for row in rows] for place, name in enumerate(names)}
        times = [self.time_ms(row) for row in rows]
        return json.dumps({"boot": self.boot, "seq": self.seq, "t": times, "v": columns}).encode()

    def stored(self, place: int) -> Iterator[tuple[int, float]]:
        """Time (ns) and value under which the store must have each row."""
        for row in range(self.rows):
            yield self.time_ms(row) * 1_000_000 + (self.seq + row) % 1000, self.value(row, place)


def read_own(folder: Path) -> list[Sent]:
    """The device's own file. A line that a kill cut off was never put."""
    path = folder / "rows.txt"
    if not path.exists():
        return []
    lines = path.read_text().split("\n")[:-1]
    return [
        Sent(boot=boot, seq=int(seq), count=int(count), rows=int(rows), bad=bad == "bad")
        for boot, seq, count, rows, bad in (line.split() for line in lines)
    ]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("device")
    parser.add_argument("--signals", type=lambda text: text.split(","))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--port", type=int)
    parser.add_argument("--rows-per-s", type=float)
    options = parser.parse_args()
    ended = threading.Event()
    threading.Thread(target=_watch_standard_input, args=(ended,), daemon=True).start()
    with (
        Outbox.open(options.folder / "outbox.sqlite") as outbox,
        Sender(outbox, host="127.0.0.1", port=options.port, client_id=options.device.replace("/", "-")) as sender,
    ):
        before = read_own(options.folder)
        put(outbox, options.device, options.signals, before[-BATCH:])
        made = before[-1].count + before[-1].rows if before else 0
        with own_file(options.folder) as own:
            for batch in batches(f"b{uuid.uuid4().hex[:8]}", made):
                own.write("".join(line(each) for each in batch))
                own.flush()
                put(outbox, options.device, options.signals, batch)
                if ended.wait(sum(each.rows for each in batch) / options.rows_per_s):
                    break
        return 0 if sender.flush(DRAIN_S_MAX) else 3


def own_file(folder: Path):
    """For writing on, without a line that was cut off."""
    path = folder / "rows.txt"
    if path.exists():
        os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
    return path.open("a")


def batches(boot: str, count: int) -> Iterator[list[Sent]]:
    """For ever, from row `count` of the device on."""
    seq = number = 0
    while True:
        batch = []
        for _ in range(BATCH):
            rows = ROWS[number % len(ROWS)]
            number += 1
            batch.append(Sent(boot=boot, seq=seq, count=count, rows=rows, bad=number % BAD_EVERY == 0))
            seq, count = seq + rows, count + rows
        yield batch


def line(sent: Sent) -> str:
    return f"{sent.boot} {sent.seq} {sent.count} {sent.rows} {'bad' if sent.bad else 'good'}\n"


def put(outbox: Outbox, device: str, signals: Sequence[str], batch: Sequence[Sent]) -> None:
    outbox.put_numbered(
        [
            Numbered(
                device=device,
                kind="readings",
                boot=each.boot,
                seq=each.seq,
                rows=each.rows,
                payload=each.payload(signals),
            )
            for each in batch
        ]
    )


def _watch_standard_input(ended: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    ended.set()


if __name__ == "__main__":
    sys.exit(main())
