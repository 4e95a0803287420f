"""From the broker to the disk: the intake alone, beside a subscriber that keeps nothing."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from tests.bench import Bench, Measurement, from_values
from tests.bench.consumers import Filiere, cpu_s
from tests.bench.streams import TOPIC, Rows, yesterday_ms
from tests.bench.wire import Load, NullSubscriber, Publishing, publish_packet
from tests.servers import Mosquitto

MESSAGES = 100_000
ROUNDS = 3
FIRST = 1_000_000
"""The numbers have one length, and so have the packets: the null subscriber need not look into them."""
SILENCE_S_MAX = 30.0
POLL_S = 0.005
RATE_GOAL, SHARE_GOAL = 50_000.0, 0.9
"""Messages a second, or else the share of what broker and publisher reach alone."""

BULK, STOCK, NULL = "intake", "intake, paho's callback", "null subscriber"
Counter = Callable[[], int]
"""Messages that are acknowledged so far."""


def bench_intake(bench: Bench) -> Iterator[Measurement]:
    """Messages a second and processor time a message, on the disk before each PUBACK; live, publisher beside it."""
    broker = bench.mosquitto()
    stream = Rows(boot="9f2c", start_ms=yesterday_ms())
    packet_bytes = len(publish_packet(TOPIC, stream.payload(FIRST), packet_id=1))
    rates: dict[str, list[float]] = {NULL: [], BULK: [], STOCK: []}
    cpu_us: dict[str, list[float]] = {NULL: [], BULK: [], STOCK: []}
    takers: dict[str, Callable[[], AbstractContextManager[tuple[Counter, int]]]] = {
        NULL: lambda: _null(broker, packet_bytes),
        BULK: lambda: _intake(bench, broker, "filiere"),
        STOCK: lambda: _intake(bench, broker, "tests.bench.stock_intake"),
    }
    for _ in range(ROUNDS):
        for name, taker in takers.items():
            with taker() as (count, pid):
                rate, cpu = _run(broker, stream, count, pid)
            rates[name].append(rate)
            cpu_us[name].append(cpu)
    remark = f"{MESSAGES} messages of {len(stream.payload(FIRST))} bytes, broker and publisher on the same cores"
    for name in takers:
        share = [ours / alone for ours, alone in zip(rates[name], rates[NULL], strict=True)]
        # either goal will do: the one that is met is shown, else the first
        by_share = min(RATE_GOAL, SHARE_GOAL * sorted(rates[NULL])[ROUNDS // 2])
        yield from_values(
            f"{name}, live", "messages/s", rates[name], remark=remark, at_least=by_share if name == BULK else None
        )
        yield from_values(f"{name}, live, processor", "µs/message", cpu_us[name])
        if name != NULL:
            yield from_values(f"{name} ÷ null subscriber", "×", share)


@contextmanager
def _null(broker: Mosquitto, packet_bytes: int) -> Iterator[tuple[Counter, int]]:
    subscriber = NullSubscriber(broker.host, broker.port, TOPIC, packet_bytes=packet_bytes)
    try:
        yield lambda: subscriber.taken, subscriber.pid
    finally:
        subscriber.stop()


@contextmanager
def _intake(bench: Bench, broker: Mosquitto, module: str) -> Iterator[tuple[Counter, int]]:
    ours = Filiere(
        broker=broker, influxdb=None, folder=bench.folder(), parts=("intake",), module=module, profile=bench.profile
    )
    with ours, ours.reader() as log:
        yield log.head, ours.processes["intake"].pid


def _run(broker: Mosquitto, stream: Rows, count: Counter, pid: int) -> tuple[float, float]:
    """Messages/s until all are acknowledged, and processor µs a message of who does it."""
    load = Load(host=broker.host, port=broker.port, stream=stream, first=FIRST, count=MESSAGES)
    publishing = Publishing(load)
    before, cpu_before_s = count(), cpu_s(pid)
    began_at = at = time.monotonic()
    publishing.go()
    taken = 0
    while taken < MESSAGES:
        time.sleep(POLL_S)
        now_taken = count() - before
        if now_taken != taken:
            taken, at = now_taken, time.monotonic()
        if time.monotonic() > at + SILENCE_S_MAX:
            raise TimeoutError(f"got {taken} of {MESSAGES} messages, then nothing")
    publishing.wait()
    return taken / (at - began_at), (cpu_s(pid) - cpu_before_s) * 1e6 / taken
