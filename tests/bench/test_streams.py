"""What the benchmarks publish is what the collector takes, and what the peer is given is the same."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.accounts.audit import audit
from filiere.line_protocol import block_lines
from filiere.plant_file import load_plant
from filiere.readings import Block
from tests.bench.streams import (
    DEVICE,
    LINE,
    NS_PER_MS,
    POISON,
    POISON_EVERY,
    SIGNAL,
    TOPIC,
    Columns,
    Poisoned,
    Rows,
    poison,
)
from tests.bench.wire import Load, NullSubscriber, Publishing, publish, publish_packet
from tests.collector.builders import Rig
from tests.collector.mqtt import until

START_MS = 1_773_230_400_000


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path, plant=load_plant("caux")) as rig:
        yield rig


def test_rows_are_what_a_device_sends(rig: Rig):
    stream = Rows(boot="9f2c", start_ms=START_MS)
    rig.record(*(stream.payload(number) for number in range(50)), topic=stream.topic(0))
    (account,) = audit(rig.book_path)
    assert (account.device, account.stored, account.quarantined) == (f"{LINE}/{DEVICE}", 50, 0)
    assert (account.out_of_range, account.clock_suspect, account.closes) == (0, 0, True)
    assert [time_ns // NS_PER_MS - START_MS for time_ns, _, _ in rig.stored(f"{DEVICE}.{SIGNAL}")] == list(range(50))


def test_rows_whose_numbers_have_one_length_have_one_length():
    stream = Rows(boot="9f2c", start_ms=START_MS)
    assert len({len(stream.payload(number)) for number in range(1_000_000, 1_002_000)}) == 1


def test_columns_are_what_a_device_sends_and_their_lines_what_the_store_writes(rig: Rig):
    stream = Columns(boot="9f2c", start_ms=START_MS)
    written: list[Block] = []
    keep = rig.store.write
    rig.store.write = lambda blocks, *more: written.extend(blocks) or keep(blocks, *more)
    rig.record(stream.payload(3), topic=stream.topic(3))
    lines = [line for block in written for line in block_lines(block)]
    assert lines == [stream.line(row) for row in range(300, 400)]


def test_one_in_a_hundred_is_poison_and_the_others_count_on():
    good = Rows(boot="9f2c", start_ms=START_MS)
    stream = Poisoned(good=good)
    payloads = [stream.payload(number) for number in range(20 * POISON_EVERY)]
    bad = payloads[POISON_EVERY - 1 :: POISON_EVERY]
    assert bad == [poison(count) for count in range(20)]
    assert [each for each in payloads if each not in bad] == [good.payload(n) for n in range(len(payloads) - 20)]


def test_each_poison_is_refused_and_kept(rig: Rig):
    sent = [poison(count) for count in range(5 * len(POISON))]
    rig.record(*sent, topic=TOPIC)
    assert [message.payload for message in rig.book.quarantine()][::-1] == sent
    assert len({message.reason for message in rig.book.quarantine()}) > 5
    assert rig.everything_stored() == ([], [])
    assert all(account.closes for account in audit(rig.book_path))


def test_the_publisher_publishes_and_the_null_subscriber_acknowledges(mosquitto):
    stream = Rows(boot="9f2c", start_ms=START_MS)
    first, count = 1_000_000, 5_000
    packet_bytes = len(publish_packet(stream.topic(first), stream.payload(first), packet_id=1))
    subscriber = NullSubscriber(mosquitto.host, mosquitto.port, stream.topic(first), packet_bytes=packet_bytes)
    publishing = Publishing(
        Load(host=mosquitto.host, port=mosquitto.port, stream=stream, first=first, count=count, rate=20_000, block=700)
    )
    try:
        publishing.go()
        publishing.wait()
        until(lambda: subscriber.taken == count)
        assert (publishing.sent_ns > 0).all()
        publish(Load(host=mosquitto.host, port=mosquitto.port, stream=stream, first=first, count=10))
        until(lambda: subscriber.taken == count + 10)
    finally:
        publishing.stop()
        subscriber.stop()
