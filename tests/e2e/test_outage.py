"""InfluxDB goes away, strangers send nonsense, a row does not fit: the stream goes on and nothing is lost."""

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import pytest
from influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS

from tests.collector.mqtt import until
from tests.e2e.collecting import F1, START_NS, T1, payload, stored, topic
from tests.servers import free_port

EXTRUDER = f"{T1}/extruder"
POISON = {
    "not_json": b"hello",
    "wrong_unit": b'{"boot":"b1","seq":1,"t":1773230400000,"v":{"melt_temp":230},"u":{"melt_temp":"kg"}}',
    "unknown_signal": b'{"boot":"b1","seq":2,"t":1773230400000,"v":{"colour":3}}',
    "not_finite": b'{"boot":"b1","seq":3,"t":1773230400000,"v":{"melt_temp":NaN}}',
    "local_time": b'{"boot":"b1","seq":4,"t":"2026-03-11T12:00:00","v":{"melt_temp":230}}',
}


def recorded(collector):
    until(collector.recorded, why=lambda: collector.words)


def test_while_influxdb_is_down_the_intake_goes_on_and_the_recorder_catches_up(collector, publisher, influxdb):
    collector.subscribe(publisher)
    for seq in range(500):
        publisher.publish(topic(T1), payload(seq), name=seq)
    recorded(collector)

    influxdb.stop()
    for seq in range(500, 2500):
        publisher.publish(topic(T1), payload(seq), name=seq)
    publisher.flush()
    until(lambda: collector.head() >= 2500, why=lambda: collector.words)
    until(lambda: collector.problem() and collector.state().log_lag, why=lambda: collector.words)
    assert "got no answer" in collector.state().store_problem
    assert collector.run("audit").stdout.count("L'enregistrement attend")
    head = collector.head()
    for seq in range(2500, 2600):
        publisher.publish(topic(T1), payload(seq), name=seq)
    until(lambda: collector.head() >= head + 100, why=lambda: collector.words)

    influxdb.start()
    recorded(collector)
    assert collector.state().store_problem is None
    assert publisher.acknowledged == list(range(2600))
    assert collector.readings(T1, "extruder.melt_temp") == stored(range(2600))
    assert collector.accounts()[EXTRUDER].closes


@contextmanager
def api(collector):
    """`filiere serve` beside the collector; gives a question to ask /readyz: status and document."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "filiere", "serve", "--port", str(port)],
        env=collector.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def ready():
        try:
            with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
                return answer.status, json.load(answer)
        except HTTPError as refused:
            return refused.code, json.load(refused)
        except OSError:
            return 0, {}

    try:
        yield ready
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_the_api_says_that_influxdb_is_down_and_when_it_is_back(collector, publisher, influxdb):
    collector.subscribe(publisher)
    publisher.publish(topic(T1), payload(0))
    recorded(collector)
    with api(collector) as ready:
        until(lambda: ready()[0] == 200, why=lambda: str(ready()))
        influxdb.stop()
        publisher.publish(topic(T1), payload(1))
        until(lambda: "waits with 1 messages" in json.dumps(ready()[1]), why=lambda: str(ready()))
        assert ready()[0] == 503
        influxdb.start()
        until(lambda: ready()[0] == 200, why=lambda: str(ready()))
    recorded(collector)
    assert collector.readings(T1, "extruder.melt_temp") == stored(range(2))


def test_a_collector_stopped_and_started_during_an_outage_loses_nothing(collector, publisher, influxdb):
    collector.subscribe(publisher)
    influxdb.stop()
    for seq in range(300):
        publisher.publish(topic(T1), payload(seq))
    until(collector.problem, why=lambda: collector.words)
    assert collector.stop(signal.SIGTERM) == 0
    for seq in range(300, 600):
        publisher.publish(topic(T1), payload(seq))
    publisher.flush()
    collector.start()
    until(lambda: collector.head() >= 600, why=lambda: collector.words)
    influxdb.start()
    recorded(collector)
    assert collector.readings(T1, "extruder.melt_temp") == stored(range(600))
    assert collector.accounts()[EXTRUDER].closes
    assert "Traceback" not in collector.words


def test_wrong_credentials_hold_the_stream_and_say_so(collector, publisher):
    token = collector.environment["FILIERE_INFLUX_TOKEN"]
    collector.environment["FILIERE_INFLUX_TOKEN"] = "not-this-one"
    collector.subscribe(publisher)
    for seq in range(10):
        publisher.publish(topic(T1), payload(seq))
    until(lambda: "check FILIERE_INFLUX_TOKEN" in (collector.problem() or ""), why=lambda: collector.words)
    assert collector.stop() == 0
    collector.environment["FILIERE_INFLUX_TOKEN"] = token
    collector.start()
    until(lambda: collector.head() >= 11, why=lambda: collector.words)
    recorded(collector)
    assert collector.readings(T1, "extruder.melt_temp") == stored(range(10))
    assert collector.state().quarantined == 0


def test_poison_is_shown_by_quarantine_and_the_stream_goes_on(collector, publisher):
    collector.subscribe(publisher)
    for bad in (payload(0), *POISON.values(), payload(6)):
        publisher.publish(topic(T1), bad)
    publisher.publish("filiere/v1/caux/textile/t1/oven/readings", payload(0))
    publisher.publish("filiere/v1/Caux/textile/t1/extruder/readings", b"x")  # no topic of ours: a capital letter
    publisher.flush()
    until(lambda: collector.recorded() and len(collector.readings(T1, "extruder.melt_temp")) == 2)

    shown = json.loads(collector.run("quarantine", "--json").stdout)
    assert [message["reason"] for message in reversed(shown)][-7:] == [*POISON, "unknown_device", "wrong_topic"]
    assert all("expected" in message["message"] for message in shown)
    table = collector.run("quarantine", "--device", EXTRUDER).stdout
    assert all(reason in table for reason in POISON)
    assert "unknown_device" not in table

    audit = collector.run("audit", "--json")
    assert audit.returncode == 0
    account = next(each for each in json.loads(audit.stdout)["devices"] if each["device"] == EXTRUDER)
    # `hello` has no number: it stands for number 5, which never came
    assert (account["published"], account["stored"], account["quarantined"], account["missing"]) == (7, 2, 5, 0)


def test_messages_twice_and_out_of_order_are_stored_once_each(collector, publisher):
    collector.subscribe(publisher)
    order = [*range(0, 200, 2), *range(199, 0, -2), *range(0, 200, 3)]
    for seq in order:
        publisher.publish(topic(T1), payload(seq))
    until(lambda: collector.head() > len(order))
    recorded(collector)
    assert collector.readings(T1, "extruder.melt_temp") == stored(range(200))
    account = collector.accounts()[EXTRUDER]
    assert (account.stored, account.duplicates, account.late) == (200, len(order) - 200, 99)
    assert account.closes


def test_a_missing_row_is_found_by_the_audit(collector, publisher):
    collector.subscribe(publisher)
    for seq in (0, 1, 3):
        publisher.publish(topic(T1), payload(seq))
    until(lambda: collector.head() > 3)
    recorded(collector)
    audit = collector.run("audit")
    assert audit.returncode == 1
    assert "NE TOMBENT PAS JUSTE" in audit.stdout


@pytest.mark.parametrize("rows", [1, 40])
def test_rows_that_influxdb_refuses_go_to_quarantine_with_its_words(collector, publisher, influxdb, rows):
    clash = f'reading,device=extruder,line=t1,site=caux,workshop=textile melt_temp="text" {START_NS}'
    influxdb_write(influxdb, collector.bucket, clash)
    collector.subscribe(publisher)
    for seq in range(rows):
        publisher.publish(topic(T1), payload(seq))
        publisher.publish(topic(F1), payload(seq, signal="melt_pressure"))
    until(lambda: collector.head() > 2 * rows)
    recorded(collector)
    assert collector.readings(F1, "extruder.melt_pressure") == stored(range(rows))
    shown = json.loads(collector.run("quarantine", "--json", "--reason", "store_refused").stdout)
    assert [json.loads(message["payload"])["seq"] for message in reversed(shown)] == list(range(rows))
    assert all("field type conflict" in message["message"] for message in shown)
    assert collector.accounts()[EXTRUDER].closes


def influxdb_write(influxdb, bucket, line):
    with InfluxDBClient(url=influxdb.url, token=influxdb.token, org=influxdb.org) as client:
        client.write_api(write_options=SYNCHRONOUS).write(bucket=bucket, record=line)
