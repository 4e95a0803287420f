"""From the message log to the stores: decode, judge, write, and keep the books."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from collector.codec import parse_topic
from collector.recorder.book import RecordBook
from collector.recorder.recorder import Recorder
from collector.recorder.requests import FOLDER, RequestFolder
from filiere.clock import system_clock
from filiere.embedded_store import EmbeddedStore
from filiere.influx_store import InfluxStore
from filiere.ledger import Ledger
from filiere.message_log import MessageLog
from filiere.plant_file import load_plant
from filiere.readings_store import ReadingsStore
from simulators.line.simulation import simulate
from tests.bench import Bench, Measurement, from_values

START_NS = 1_763_888_400_000_000_000
REPEATS = 3


def bench_recorder(bench: Bench) -> Iterator[Measurement]:
    """One simulated lot of both lines, out of a full message log into each readings store."""
    plant = load_plant("caux")
    messages = [
        (publication.topic.encode(), publication.payload, publication.time_ns)
        for publication in simulate(plant, seed=7, start_ns=START_NS, lots=1)
    ]

    def record(folder: Path, store: ReadingsStore) -> tuple[float, int]:
        """Seconds, and rows stored."""
        with MessageLog.open(folder / "messages.sqlite") as log:
            log.append(messages)
            book = RecordBook.open(folder / "recorder.sqlite")
            ledger = Ledger.open(f"sqlite:///{folder / 'ledger.sqlite'}")
            recorder = Recorder(
                plant=plant,
                log=log,
                store=store,
                ledger=ledger,
                book=book,
                clock=system_clock,
                random=Random(7),
                stop=threading.Event(),
                requests=RequestFolder(folder / FOLDER),
            )
            began = time.perf_counter()
            while recorder.step():
                pass
            took_s = time.perf_counter() - began
            rows = sum(counts.stored for counts in book.counts().values())
            book.close()
            ledger.close()
            store.close()
        return took_s, rows

    def embedded() -> tuple[float, int]:
        folder = bench.folder()
        return record(folder, EmbeddedStore.open(folder / "readings.sqlite"))

    def influx() -> tuple[float, int]:
        server = bench.influxdb()
        store = InfluxStore(url=server.url, token=server.token, org=server.org, bucket=server.new_bucket())
        return record(bench.folder(), store)

    readings = sum(parse_topic(topic).kind == "readings" for topic, _, _ in messages)
    for name, once in (("recorder, embedded", embedded), ("recorder, InfluxDB 2", influx)):
        once()
        runs = [once() for _ in range(REPEATS)]
        rows = runs[0][1]
        remark = f"{rows} rows and events in {len(messages)} messages ({readings} of readings)"
        yield from_values(name, "rows/s", [stored / took_s for took_s, stored in runs], remark=remark)
