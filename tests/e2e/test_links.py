"""Bad links to the broker and to the database: cut, silently dead, slow, late. Nothing is lost, nothing is doubled.

The publisher has a good link of its own to the broker, so that what was published is known.
"""

import random
import threading
from contextlib import contextmanager
from functools import partial

import pytest

from collector.processes import run_intake, run_recorder
from filiere.plant_file import load_plant
from filiere.settings import load_settings
from tests.collector.mqtt import until
from tests.e2e.collecting import T1, payload, stored, topic
from tests.proxy import Proxy

EXTRUDER = f"{T1}/extruder"
SEED, CUTS = 11, 4  # at five brief connections in a row the intake takes another client for the cause, and holds back
KEEPALIVE_S = 2
READ_TIMEOUT_MS = 1_000


@pytest.fixture
def broker_link(collector, mosquitto):
    """The collector's way to the broker."""
    with Proxy(mosquitto.host, mosquitto.port) as link:
        collector.environment["FILIERE_MQTT_PORT"] = str(link.port)
        yield link
        collector.end()


@pytest.fixture
def database_link(collector, influxdb):
    """The collector's way to InfluxDB."""
    with Proxy(influxdb.host, influxdb.port) as link:
        collector.environment["FILIERE_INFLUX_URL"] = f"http://{link.host}:{link.port}"
        yield link
        collector.end()


def publish(publisher, seqs):
    for seq in seqs:
        publisher.publish(topic(T1), payload(seq), name=seq)
    publisher.flush()


def assert_all_there(collector, count):
    """Every row once, with its value, and the account closes."""
    until(collector.recorded, why=lambda: collector.words)
    until(lambda: collector.accounts()[EXTRUDER].published == count, why=lambda: str(collector.accounts()[EXTRUDER]))
    assert collector.readings(T1, "extruder.melt_temp") == stored(range(count))
    account = collector.accounts()[EXTRUDER]
    assert (account.stored, account.quarantined, account.missing) == (count, 0, 0)
    assert collector.run("audit").returncode == 0


@contextmanager
def in_this_process(collector):
    """Intake and recorder as threads, so that a test may shorten how long they wait for an answer."""
    names = {name.removeprefix("FILIERE_").lower(): value for name, value in collector.environment.items()}
    settings = load_settings(**{name: names[name] for name in type(load_settings()).model_fields if name in names})
    stop = threading.Event()
    parts = [
        threading.Thread(target=run, args=(settings, load_plant("caux")), kwargs={"stop": stop})
        for run in (run_intake, run_recorder)
    ]
    for part in parts:
        part.start()
    try:
        yield
    finally:
        stop.set()
        for part in parts:
            part.join()


def was_cut(link, times):
    return link.cuts == times


def subscribed(collector, publisher):
    """Return once the broker keeps messages for the collector that runs in this process."""

    def arrives():
        publish(publisher, [0])
        return collector.head() > 0

    until(arrives)


def test_a_broker_link_that_is_cut_in_the_middle_of_packets_loses_nothing(collector, broker_link, publisher):
    dice = random.Random(SEED)
    collector.subscribe(publisher)
    for cut in range(CUTS):
        broker_link.cut(after_bytes=dice.randrange(1, 20_000))  # some way into what comes now
        publish(publisher, range(cut * 300, cut * 300 + 300))
        until(partial(was_cut, broker_link, cut + 1), why=lambda: collector.words)
    assert_all_there(collector, CUTS * 300)


def test_a_half_open_broker_link_is_found_by_the_keepalive(collector, broker_link, publisher, monkeypatch):
    monkeypatch.setattr("collector.intake.connection.KEEPALIVE_S", KEEPALIVE_S)
    with in_this_process(collector):
        subscribed(collector, publisher)
        publish(publisher, range(100))
        until(lambda: collector.head() >= 100)
        broker_link.swallow()
        publish(publisher, range(100, 200))
        broker_link.heal()  # for the next connection; this one is dead without knowing it
        assert_all_there(collector, 200)
        assert broker_link.connected >= 2


def test_a_broker_link_that_trickles_late_brings_everything(collector, broker_link, publisher):
    collector.subscribe(publisher)
    broker_link.down.bytes_per_s, broker_link.up.bytes_per_s = 30_000, 3_000
    broker_link.down.delay_s = broker_link.up.delay_s = 0.1
    publish(publisher, range(500))
    assert_all_there(collector, 500)


def test_a_half_open_database_link_does_not_stop_the_log(collector, database_link, publisher, monkeypatch):
    monkeypatch.setattr("filiere.influx_store.READ_TIMEOUT_MS", READ_TIMEOUT_MS)
    with in_this_process(collector):
        subscribed(collector, publisher)
        until(collector.recorded)
        database_link.swallow()
        publish(publisher, range(1_000))
        until(lambda: collector.head() >= 1_000)
        until(lambda: "got no answer" in (collector.problem() or ""))
        head = collector.head()
        publish(publisher, range(1_000, 1_200))
        until(lambda: collector.head() >= head + 200)
        assert collector.bookmark() < head
        database_link.heal()
        assert_all_there(collector, 1_200)
        assert collector.problem() is None


def test_a_database_link_that_is_cut_in_the_middle_of_requests_doubles_nothing(collector, database_link, publisher):
    dice = random.Random(SEED)
    collector.subscribe(publisher)
    for cut in range(CUTS):
        database_link.cut(after_bytes=dice.randrange(1, 20_000))
        publish(publisher, range(cut * 300, cut * 300 + 300))
        until(partial(was_cut, database_link, cut + 1), why=lambda: collector.words)
    assert_all_there(collector, CUTS * 300)


def test_a_database_link_that_trickles_holds_back_the_recorder_alone(collector, database_link, publisher):
    collector.subscribe(publisher)
    until(collector.recorded, why=lambda: collector.words)
    database_link.up.bytes_per_s, database_link.down.delay_s = 60_000, 0.1
    publish(publisher, range(2_000))
    until(lambda: collector.head() > 2_000, why=lambda: collector.words)
    assert collector.bookmark() < collector.head()
    assert_all_there(collector, 2_000)
