"""InfluxDB is killed in the middle of large writes, or hangs: every row is there once, and the intake never waits."""

import json

from tests.collector.mqtt import until
from tests.e2e.collecting import START_NS, STEP_NS, T1, payload, stored, topic, value

ROWS, MESSAGES = 500, 80
"""Rows of a message, and messages: far more than one write takes."""
KILLS = 2
HUNG_MESSAGES = 1_500


def large(number):
    """A columnar message of ROWS rows, numbered and valued as `payload`'s."""
    seqs = range(number * ROWS, (number + 1) * ROWS)
    times = [(START_NS + seq * STEP_NS) // 10**6 for seq in seqs]
    return json.dumps(
        {"boot": "b1", "seq": seqs[0], "t": times, "v": {"melt_temp": [value(seq) for seq in seqs]}}
    ).encode()


def rows_there(collector):
    return len(collector.readings(T1, "extruder.melt_temp"))


def test_killed_in_the_middle_of_large_writes_it_has_every_row_once(collector, publisher, influxdb):
    collector.subscribe(publisher)
    until(collector.recorded, why=lambda: collector.words)
    influxdb.kill()
    for number in range(MESSAGES):
        publisher.publish(topic(T1), large(number))
    publisher.flush()
    until(lambda: collector.head() > MESSAGES, why=lambda: collector.words)
    for _ in range(KILLS):
        influxdb.start()
        before = rows_there(collector)
        until(lambda seen=before: rows_there(collector) > seen or collector.recorded(), why=lambda: collector.words)
        influxdb.kill()  # some lines of the chunk are written, most often not all
    influxdb.start()
    until(collector.recorded, why=lambda: collector.words)
    assert collector.readings(T1, "extruder.melt_temp") == stored(range(ROWS * MESSAGES))
    account = collector.accounts()[f"{T1}/extruder"]
    assert (account.published, account.stored, account.quarantined) == (ROWS * MESSAGES, ROWS * MESSAGES, 0)
    assert account.closes


def test_while_it_hangs_the_intake_goes_on_and_then_every_row_is_there_once(collector, publisher, influxdb):
    collector.subscribe(publisher)
    for seq in range(100):
        publisher.publish(topic(T1), payload(seq))
    until(collector.recorded, why=lambda: collector.words)
    influxdb.pause()
    try:
        for seq in range(100, HUNG_MESSAGES):
            publisher.publish(topic(T1), payload(seq))
        publisher.flush()
        until(lambda: collector.head() >= HUNG_MESSAGES, why=lambda: collector.words)
        assert collector.bookmark() < HUNG_MESSAGES
    finally:
        influxdb.go_on()
    until(collector.recorded, why=lambda: collector.words)
    assert collector.readings(T1, "extruder.melt_temp") == stored(range(HUNG_MESSAGES))
    assert collector.accounts()[f"{T1}/extruder"].closes
