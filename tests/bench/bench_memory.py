"""What the collector's processes need in memory over a long time, with the database down half of it.

`make bench ARGS="memory --minutes 30"` for the long one.
"""

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from collector.commands import Part
from tests.bench import Bench, Measurement, from_values
from tests.bench.consumers import Filiere
from tests.bench.streams import Rows, yesterday_ms
from tests.bench.wire import Load, Publishing

RATE = 5_000.0
LOOK_S = 1.0
PERIODS = 8
"""Of equal length; the database is down in every other one."""
GOALS_MB = {"intake": 80.0, "recorder": 150.0}
GROWTH_GOAL = 10.0
"""% from the second quarter to the last: flat."""
CATCH_UP_S_MAX = 600.0


def bench_memory(bench: Bench) -> Iterator[Measurement]:
    """Memory of each process at 5,000 messages a second, InfluxDB down half of the time."""
    seconds = bench.minutes * 60.0
    broker, influxdb = bench.mosquitto(), bench.influxdb()
    parts = tuple(str(part) for part in Part)
    with Filiere(broker=broker, influxdb=influxdb, folder=bench.folder(), parts=parts) as ours:
        stream = Rows(boot=ours.client_id, start_ms=yesterday_ms())
        count = int(RATE * seconds)
        load = Load(host=broker.host, port=broker.port, stream=stream, count=count, rate=RATE, block=int(RATE * LOOK_S))
        publishing = Publishing(load)
        publishing.go()
        try:
            samples = _watch(ours, seconds)
            influxdb.start()
            publishing.wait()
            caught_up_s = _catch_up(ours, count)
        finally:
            influxdb.start()
            publishing.stop()
        rows = ours.count()
    remark = f"{RATE:,.0f} messages/s for {bench.minutes:g} min, InfluxDB down half of the time"
    for part, resident in samples.items():
        yield from_values(f"memory, {part}", "MB", resident, remark=remark)
        yield from_values(f"memory, {part}, most", "MB", [max(resident)], at_most=GOALS_MB.get(part))
        quarter = len(resident) // 4
        early, late = resident[quarter : 2 * quarter], resident[-quarter:]
        growth = 100.0 * (statistics.median(late) / statistics.median(early) - 1.0)
        yield from_values(
            f"memory, {part}, growth", "%", [growth], remark="last quarter over the second", at_most=GROWTH_GOAL
        )
    yield from_values("memory run, lost", "rows", [count - rows], at_most=0)
    yield from_values("memory run, caught up after", "s", [caught_up_s], remark="from the last message to its row")


def _watch(ours: Filiere, seconds: float) -> Mapping[str, Sequence[float]]:
    """Samples of each process's memory, MB, while the database goes and comes."""
    samples: dict[str, list[float]] = defaultdict(list)
    began_at = time.monotonic()
    while (passed_s := time.monotonic() - began_at) < seconds:
        down = int(passed_s / seconds * PERIODS) % 2 == 1
        if down and ours.influxdb.is_running:
            ours.influxdb.kill()
        elif not down:
            ours.influxdb.start()
        ours.refuse_dead()
        for part, resident in ours.resident_mb().items():
            samples[part].append(resident)
        time.sleep(LOOK_S)
    return samples


def _catch_up(ours: Filiere, count: int) -> float:
    """Seconds until everything is recorded."""
    began_at = time.monotonic()
    while ours.bookmark() < count or ours.bookmark() < ours.head():
        ours.refuse_dead()
        if time.monotonic() > began_at + CATCH_UP_S_MAX:
            raise TimeoutError(f"got {ours.bookmark()} of {count} messages recorded in {CATCH_UP_S_MAX:.0f} s")
        time.sleep(LOOK_S)
    return time.monotonic() - began_at
