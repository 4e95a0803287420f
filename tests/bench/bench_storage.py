"""Where things are kept: message log and readings stores."""

import time
from collections.abc import Iterator

from filiere.embedded_store import EmbeddedStore
from filiere.influx_store import InfluxStore
from filiere.message_log import MessageLog
from filiere.readings import Block
from filiere.readings_store import ReadingsStore
from tests.bench import Bench, Measurement, measured

MESSAGES = 20_000
BATCH = 500
LONE_MESSAGES = 200
PAYLOAD = b'{"boot":"9f2c","seq":41,"t":1763888045250,"v":{"barrel_temp_z3":231.4,"melt_pressure":44.0}}'
TOPIC = b"filiere/v1/caux/textile/t1/extruder/readings"
ROWS = 10_000
CHUNK_ROWS = 1_000
SIGNALS = 10
STEP_NS = 1_000_000_000


def bench_message_log(bench: Bench) -> Iterator[Measurement]:
    """Appending to the message log, on the disk at every commit."""
    with MessageLog.open(bench.folder() / "messages.sqlite") as log:

        def append(messages: int, batch: int) -> float:
            began = time.perf_counter()
            for _ in range(messages // batch):
                log.append([(TOPIC, PAYLOAD, 0)] * batch)
            return messages / (time.perf_counter() - began)

        yield measured(
            "message log, group commit", "messages/s", lambda: append(MESSAGES, BATCH), remark=f"{BATCH} a commit"
        )
        yield measured("message log, lone commit", "messages/s", lambda: append(LONE_MESSAGES, 1), remark="1 a commit")

        def read() -> float:
            began = time.perf_counter()
            after = 0
            while messages := log.read(after, CHUNK_ROWS):
                after = messages[-1].offset
            return after / (time.perf_counter() - began)

        yield measured("message log, read", "messages/s", read, remark=f"{CHUNK_ROWS} a chunk")


def bench_readings_store(bench: Bench) -> Iterator[Measurement]:
    """Writing rows and reading a window, embedded and InfluxDB 2."""
    yield from _store(EmbeddedStore.open(bench.folder() / "readings.sqlite"), "embedded")
    server = bench.influxdb()
    bucket = server.new_bucket()
    yield from _store(InfluxStore(url=server.url, token=server.token, org=server.org, bucket=bucket), "InfluxDB 2")


def _store(store: ReadingsStore, name: str) -> Iterator[Measurement]:
    line, device = "caux/textile/t1", "extruder"
    first_ns = 1_763_888_045_000_000_000
    written = 0

    def write() -> float:
        nonlocal written
        rows = [
            Block.one(
                line=line,
                device=device,
                time_ns=first_ns + (written + n) * STEP_NS,
                values={f"signal_{k}": 200.0 + k + (n % 97) / 10 for k in range(SIGNALS)},
            )
            for n in range(ROWS)
        ]
        began = time.perf_counter()
        for at in range(0, ROWS, CHUNK_ROWS):
            store.write(rows[at : at + CHUNK_ROWS])
        written += ROWS
        return ROWS / (time.perf_counter() - began)

    remark = f"{SIGNALS} signals a row, {CHUNK_ROWS} rows a chunk"
    yield measured(f"{name}, write", "rows/s", write, repeats=3, remark=remark)

    def window() -> float:
        began = time.perf_counter()
        found = store.window(line, [f"{device}.signal_3"], first_ns, first_ns + written * STEP_NS)
        assert len(found[0].time_ns) == written
        return written / (time.perf_counter() - began)

    yield measured(f"{name}, window", "readings/s", window, repeats=3, remark=f"{written} readings of one signal")
    store.close()
