"""The whole way, from the broker into InfluxDB 2, against the agent that people use for it: same messages, same cores.

`python -m tests.bench.bench_telegraf` tries the peer's settings, to keep its best ones in `TELEGRAF_BEST`.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from collector.commands import Part
from tests.bench import Bench, Measurement, from_values
from tests.bench.consumers import JSON_V2, TELEGRAF_BEST, Consumer, Filiere, Telegraf
from tests.bench.streams import Rows, yesterday_ms
from tests.bench.wire import Load, Publishing

MESSAGES = 100_000
ROUNDS = 3
FASTER, CHEAPER = 1.2, 0.5
"""Goals: messages a second and processor time a message, as shares of the peer's."""
SWEEP_MESSAGES = 60_000

OURS, WITH_RECEIPTS, PEER, PEER_V2 = "Filière", "Filière with receipts", "Telegraf json", "Telegraf json_v2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What came of one run."""

    messages_per_s: float
    cpu_us: Mapping[str, float]
    """Processor time a message, by process, µs."""
    lost: int

    @property
    def cpu_total_us(self) -> float:
        return sum(self.cpu_us.values())


def bench_telegraf(bench: Bench) -> Iterator[Measurement]:
    """One message is one row of four signals at QoS 1, through Mosquitto into InfluxDB 2, beside Telegraf."""
    contenders = _contenders(bench)
    remark = f"{MESSAGES} messages, broker, database{{}} on the same cores"
    for live in (False, True):
        runs: dict[str, list[Run]] = defaultdict(list)
        for _ in range(ROUNDS):
            for name, make in contenders.items():
                runs[name].append(once(make(), messages=MESSAGES, live=live))
        kind, more = ("live", remark.format(", publisher")) if live else ("backlog", remark.format(""))
        for name, ran in runs.items():
            yield from_values(f"{name}, {kind}", "messages/s", [run.messages_per_s for run in ran], remark=more)
            yield from_values(
                f"{name}, {kind}, processor",
                "µs/message",
                [run.cpu_total_us for run in ran],
                remark=", ".join(f"{part} {us:.1f}" for part, us in ran[-1].cpu_us.items()),
            )
            yield from_values(f"{name}, {kind}, lost", "rows", [run.lost for run in ran], at_most=0)
        yield from _ratios(kind, runs)


def _ratios(kind: str, runs: Mapping[str, list[Run]]) -> Iterator[Measurement]:
    """Of the two runs of each round; the peer's is that of its faster parser."""
    peers = [
        max(of_round, key=lambda run: run.messages_per_s) for of_round in zip(runs[PEER], runs[PEER_V2], strict=True)
    ]
    for name in (OURS, WITH_RECEIPTS):
        if name not in runs:
            continue
        pairs = list(zip(runs[name], peers, strict=True))
        graded = name == OURS  # the goals are said for intake and recorder
        yield from_values(
            f"{name} ÷ Telegraf, {kind}, messages/s",
            "×",
            [ours.messages_per_s / peer.messages_per_s for ours, peer in pairs],
            at_least=FASTER if graded else None,
        )
        yield from_values(
            f"{name} ÷ Telegraf, {kind}, processor",
            "×",
            [ours.cpu_total_us / peer.cpu_total_us for ours, peer in pairs],
            at_most=CHEAPER if graded else None,
        )


def _contenders(bench: Bench) -> dict[str, Callable[[], Consumer]]:
    broker, influxdb = bench.mosquitto(), bench.influxdb()

    def ours(*parts: str) -> Consumer:
        return Filiere(broker=broker, influxdb=influxdb, folder=bench.folder(), parts=parts, profile=bench.profile)

    def peer(**options: str) -> Consumer:
        return Telegraf(broker=broker, influxdb=influxdb, folder=bench.folder(), **options)

    every_part = tuple(str(part) for part in Part)
    return {
        OURS: partial(ours, "intake", "recorder"),
        PEER: peer,
        **({WITH_RECEIPTS: partial(ours, *every_part)} if "receipts" in every_part else {}),
        PEER_V2: partial(peer, parser=JSON_V2),
    }


def once(consumer: Consumer, *, messages: int, live: bool) -> Run:
    """Publish and wait until every row is found by a query. The clock starts when the consumer may start.

    Of a backlog, a window full waits in the consumer's socket already: more of the peer's than of ours.
    """
    with consumer:
        broker = consumer.broker
        stream = Rows(boot=consumer.client_id, start_ms=yesterday_ms())
        publishing = Publishing(Load(host=broker.host, port=broker.port, stream=stream, count=messages))
        if not live:
            consumer.pause()
            publishing.go()
            publishing.wait()
        cpu_before = consumer.cpu_s()
        began_at = time.monotonic()
        if live:
            publishing.go()
        else:
            consumer.go_on()
        found, found_at = consumer.await_rows(messages)
        cpu_after = consumer.cpu_s()
        publishing.wait()
    return Run(
        messages_per_s=found / (found_at - began_at),
        cpu_us={name: (cpu_after[name] - cpu_before[name]) * 1e6 / max(found, 1) for name in cpu_after},
        lost=messages - found,
    )


def sweep() -> Iterator[str]:
    """A line for each way to set up the peer, each against the best known with one thing changed."""
    changes: list[Mapping[str, str | int]] = [
        {},
        *({"max_undelivered_messages": value} for value in (2_000, 5_000, 10_000, 65_000)),
        *({"metric_batch_size": value} for value in (1_000, 2_000, 10_000, 20_000)),
        *({"flush_interval": value} for value in ("10ms", "250ms", "1s")),
        {"content_encoding": "gzip"},
        *({"concurrent_writes": value} for value in (2, 4)),
    ]
    with Bench() as bench:
        broker, influxdb = bench.mosquitto(), bench.influxdb()
        for change in changes:
            settings = {**TELEGRAF_BEST, **change}
            runs = [
                once(
                    Telegraf(broker=broker, influxdb=influxdb, folder=bench.folder(), settings=settings),
                    messages=SWEEP_MESSAGES,
                    live=live,
                )
                for live in (False, True)
            ]
            told = "   ".join(
                f"{kind} {run.messages_per_s:8,.0f}/s {run.cpu_total_us:5.1f} µs lost {run.lost}"
                for kind, run in zip(("backlog", "live"), runs, strict=True)
            )
            yield f"{change or 'as it is'!s:40} {told}"


if __name__ == "__main__":
    for line in sweep():
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
