"""What one bad message in a hundred costs the good ones."""

import time
from collections.abc import Iterator

from tests.bench import Bench, Measurement, from_values
from tests.bench.consumers import Filiere
from tests.bench.streams import POISON, POISON_EVERY, TOPIC, Poisoned, Rows, yesterday_ms
from tests.bench.wire import Load, Publishing, Stream, publish

MESSAGES = 100_000
ROUNDS = 5
LOSS_GOAL = 5.0
POLL_S = 0.01
SILENCE_S_MAX = 60.0


def bench_poison(bench: Bench) -> Iterator[Measurement]:
    """Messages a second until all are recorded or in quarantine: none bad, and one in a hundred; a backlog."""
    clean: list[float] = []
    poisoned: list[float] = []
    for _ in range(ROUNDS):
        clean.append(_run(bench, spoilt=False))
        poisoned.append(_run(bench, spoilt=True))
    yield from_values("no bad message", "messages/s", clean, remark=f"{MESSAGES} messages, into InfluxDB 2")
    yield from_values("1 % bad messages", "messages/s", poisoned, remark="twelve kinds of bad ones, all in quarantine")
    loss = [100.0 * (1.0 - bad / good) for bad, good in zip(poisoned, clean, strict=True)]
    yield from_values("lost to 1 % bad messages", "%", loss, remark="of the messages/s", at_most=LOSS_GOAL)


def _run(bench: Bench, *, spoilt: bool) -> float:
    """Messages/s from a backlog in the broker to the recorder's bookmark."""
    broker = bench.mosquitto()
    ours = Filiere(broker=broker, influxdb=bench.influxdb(), folder=bench.folder(), profile=bench.profile)
    with ours:
        good = Rows(boot=ours.client_id, start_ms=yesterday_ms())
        stream: Stream = Poisoned(good=good) if spoilt else good
        publishing = Publishing(Load(host=broker.host, port=broker.port, stream=stream, count=MESSAGES))
        _meet_each_kind(ours)
        ours.pause()
        before = ours.bookmark()
        publishing.go()
        publishing.wait()
        began_at = at = time.monotonic()
        ours.go_on()
        done = 0
        while done < MESSAGES:
            time.sleep(POLL_S)
            now_done = ours.bookmark() - before
            if now_done != done:
                done, at = now_done, time.monotonic()
            if time.monotonic() > at + SILENCE_S_MAX:
                raise TimeoutError(f"got {done} of {MESSAGES} messages, then nothing:\n{ours.log_tail()}")
        rows, _ = ours.await_rows(MESSAGES - (MESSAGES // POISON_EVERY if spoilt else 0))
        if not ours.closes() or rows != MESSAGES - (MESSAGES // POISON_EVERY if spoilt else 0):
            raise RuntimeError(f"got {rows} rows, and an account that closes: {ours.closes()}")
    return done / (at - began_at)


def _meet_each_kind(ours: Filiere) -> None:
    """Each kind once, unmeasured: the first unit to be converted loads the units, which takes a third of a second."""
    before = ours.head()
    publish(Load(host=ours.broker.host, port=ours.broker.port, stream=_Kinds(), count=len(POISON)))
    deadline = time.monotonic() + SILENCE_S_MAX
    while ours.bookmark() < max(ours.head(), before + len(POISON)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the first bad messages are not recorded:\n{ours.log_tail()}")
        time.sleep(POLL_S)


class _Kinds:
    """The kinds of poison, under boots of their own."""

    def topic(self, _number: int) -> str:
        return TOPIC

    def payload(self, number: int) -> bytes:
        return POISON[number].replace(b'"boot":"p', b'"boot":"w')
