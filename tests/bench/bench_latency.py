"""How long a reading is on its way: until it is on the disk, and until a query finds it."""

import time
from collections.abc import Iterator
from urllib.parse import urlencode

import numpy as np
import numpy.typing as npt

from tests.bench import Bench, Measurement, from_values
from tests.bench.consumers import Filiere
from tests.bench.streams import NS_PER_MS, SIGNAL, Rows, yesterday_ms
from tests.bench.wire import Load, Publishing

RATE = 5_000.0
SECONDS = 15
ROUNDS = 3
LOOK_S = 0.001
QUERY_EVERY_S = 0.02
SILENCE_S_MAX = 30.0
DURABLE_GOAL_MS, QUERYABLE_GOAL_MS = 50.0, 1_000.0

Times = npt.NDArray[np.int64]
"""By message, ns of the monotonic clock."""


def bench_latency(bench: Bench) -> Iterator[Measurement]:
    """From the publisher's send to the disk and to a query, at 5,000 messages a second; 50 and 99 of 100 messages."""
    durable: list[npt.NDArray[np.float64]] = []
    queryable: list[npt.NDArray[np.float64]] = []
    for _ in range(ROUNDS):
        sent, on_disk, found = _run(bench)
        durable.append((on_disk - sent) / NS_PER_MS)
        queryable.append((found - sent) / NS_PER_MS)
    remark = f"{RATE:,.0f} messages/s for {SECONDS} s, looked at every {{}} ms"
    for name, latencies, look_s, goal in (
        ("publish → durable", durable, LOOK_S, DURABLE_GOAL_MS),
        ("publish → queryable", queryable, QUERY_EVERY_S, QUERYABLE_GOAL_MS),
    ):
        with_ = remark.format(round(look_s * 1000))
        for share in (50, 99):
            yield from_values(
                f"{name}, p{share}",
                "ms",
                [float(np.percentile(each, share)) for each in latencies],
                remark=with_,
                at_most=goal if share == 99 else None,
            )


def _run(bench: Bench) -> tuple[Times, Times, Times]:
    """When each message was sent, was on the disk, was found by a query."""
    count = int(RATE * SECONDS)
    broker = bench.mosquitto()
    on_disk, found = np.zeros(count, np.int64), np.zeros(count, np.int64)
    ours = Filiere(broker=broker, influxdb=bench.influxdb(), folder=bench.folder(), profile=bench.profile)
    with ours, ours.reader() as log:
        stream = Rows(boot=ours.client_id, start_ms=yesterday_ms())
        publishing = Publishing(Load(host=broker.host, port=broker.port, stream=stream, count=count, rate=RATE))
        before, logged, shown = log.head(), 0, 0
        publishing.go()
        query_at = heard_at = time.monotonic()
        while shown < count:
            time.sleep(LOOK_S)
            head = log.head() - before
            on_disk[logged:head] = time.monotonic_ns()
            if head != logged:
                logged, heard_at = head, time.monotonic()
            if time.monotonic() >= query_at:
                query_at = time.monotonic() + QUERY_EVERY_S
                newest = _newest(ours, stream.start_ms)
                found[shown:newest] = time.monotonic_ns()
                if newest != shown:
                    shown, heard_at = newest, time.monotonic()
            if time.monotonic() > heard_at + SILENCE_S_MAX:
                raise TimeoutError(f"got {shown} of {count} rows, then nothing:\n{ours.log_tail()}")
        publishing.wait()
        return publishing.sent_ns.copy(), on_disk, found


def _newest(ours: Filiere, start_ms: int) -> int:
    """How many of the stream's rows are found: they are written in order, and each one's time tells its number."""
    query = f'SELECT last("{SIGNAL}") FROM "reading"'
    answer = ours.influxdb.call("GET", "/query?" + urlencode({"db": ours.bucket, "q": query, "epoch": "ms"}))
    series = answer["results"][0].get("series")
    return int(series[0]["values"][0][0]) - start_ms + 1 if series else 0
