"""Poison beside good traffic: all of it quarantined with a reason that docs/wire.md has, and nothing of it stored.

Ten thousand messages in the normal run, a million with `make fuzz`. What is stored is compared row by row with what the
page says (tests/fuzz/reference.py), and a message that is only nearly good must be taken for what the page takes it.
"""

import sqlite3
import threading
import urllib.parse
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from random import Random

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from collector.accounts.audit import audit
from collector.codec import encode_event
from collector.intake.assignment import topic_filters
from filiere.events import event_json
from filiere.influx_store import InfluxStore
from filiere.plant_file import load_plant
from filiere.readings import MEASUREMENT, QUALITIES, QUALITY_PREFIX
from tests.chain_events import received
from tests.collector.builders import NOON_NS, Rig
from tests.collector.mqtt import Publisher, until
from tests.fuzz import reference
from tests.fuzz.grammar import Grammar, poison
from tests.fuzz.reference import REASONS

PLANT = load_plant("caux")
BATCH = 1_000
RECORD_STEP_NS = 1_000_000
POISON_SHARE, EVENTS_UP_TO, GOOD_UP_TO = 0.7, 0.71, 0.86
"""Of all messages; the rest are nearly good."""
SEED = 20_260_311
SHOWN = 5


@dataclass
class Expected:
    """What must come of all that was sent."""

    stored: dict = field(default_factory=dict)
    """(line, key, time_ns) → (value, quality)."""
    poison: dict = field(default_factory=dict)
    """Offset → the case."""
    near: dict = field(default_factory=dict)
    """Offset → a payload that was nearly good, and is refused."""
    events: int = 0

    def store(self, path, rows):
        line, _, device = path.rpartition("/")
        self.stored.update({(line, f"{device}.{signal}", ns): found for (signal, ns), found in rows.items()})


def send(rig, grammar, expected, n, *, seed):
    """`n` poisoned messages in a seeded order among good ones, nearly good ones, and events."""
    random, cases = Random(seed), grammar.poisons(n)
    offset = rig.log.head()
    while len(expected.poison) < n:
        batch = []
        while len(batch) < BATCH and len(expected.poison) < n:
            offset += 1
            rig.clock_ns += RECORD_STEP_NS
            topic, payload = one(grammar, cases, expected, offset, rig.clock_ns, random.random())
            batch.append((topic, payload, rig.clock_ns))
        rig.log.append(batch)
        while rig.recorder.step():
            pass


def one(grammar, cases, expected, offset, record_ns, kind):
    """(topic, payload) of the next message; what must come of it is noted."""
    if kind < POISON_SHARE:
        case = next(cases)
        expected.poison[offset] = case
        return case.topic, case.payload
    if kind < EVENTS_UP_TO:
        seq = expected.events
        expected.events += 1
        return next(iter(grammar.terminals.values())), encode_event("good", seq, event_json(received(f"L{seq}")))
    path, payload = grammar.good() if kind < GOOD_UP_TO else grammar.near()
    try:
        expected.store(path, reference.stored(payload, grammar.devices[path], record_ns))
    except reference.Refused:
        assert kind >= GOOD_UP_TO, f"the reference refuses a good message: {payload}"
        expected.near[offset] = payload
    return grammar.topics[path], payload


def check_quarantine(rig, expected):
    """Every poison is in quarantine for its reason; every nearly good one that the reference refuses; nothing else."""
    with sqlite3.connect(rig.book_path) as book:
        got = dict(book.execute('SELECT "offset", reason FROM quarantine'))
    book.close()
    missing = [case for offset, case in expected.poison.items() if offset not in got]
    assert not missing, missing[:SHOWN]
    other = [(got[offset], case) for offset, case in expected.poison.items() if got[offset] not in case.reasons]
    assert not other, other[:SHOWN]
    passed = [payload for offset, payload in expected.near.items() if offset not in got]
    assert not passed, passed[:SHOWN]
    assert got.keys() == expected.poison.keys() | expected.near.keys(), "good ones are in quarantine"
    unknown = set(got.values()) - REASONS
    assert not unknown, f"reasons that no page has: {unknown}"


def check_accounts(rig, expected):
    open_accounts = [account for account in audit(rig.book_path) if not account.closes]
    assert not open_accounts, open_accounts[:SHOWN]
    assert sum(1 for _ in rig.ledger.events()) == expected.events


def same(got, expected):
    """Row by row."""
    wrong = [
        (key, got.get(key), expected.get(key))
        for key in got.keys() | expected.keys()
        if got.get(key) != expected.get(key)
    ]
    assert not wrong, f"{len(wrong)} rows differ: {wrong[:SHOWN]}"


def embedded_rows(rig):
    with sqlite3.connect(rig.folder / "readings.sqlite") as store:
        rows = store.execute(
            "SELECT line, key, time_ns, value, quality FROM reading JOIN series ON series.id = reading.series"
        ).fetchall()
    store.close()
    return {(line, key, time_ns): (value, QUALITIES[quality]) for line, key, time_ns, value, quality in rows}


def run_embedded(folder, n, seed):
    grammar, expected = Grammar(seed, plant=PLANT), Expected()
    with Rig(folder, plant=PLANT) as rig:
        send(rig, grammar, expected, n, seed=seed)
        check_quarantine(rig, expected)
        same(embedded_rows(rig), expected.stored)
        check_accounts(rig, expected)
    rules = Counter(case.rule for case in expected.poison.values())
    assert set(rules) == {name for name in dir(Grammar) if name.startswith("rule_")}, "a rule made nothing"


def test_ten_thousand_poisoned_messages_are_quarantined_and_the_good_ones_stored(tmp_path):
    run_embedded(tmp_path, 10_000, SEED)


@pytest.mark.fuzz
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("part", range(20))
def test_a_million_poisoned_messages_are_quarantined_and_the_good_ones_stored(tmp_path, part):
    run_embedded(tmp_path, 50_000, SEED + 1 + part)


def test_poison_leaves_no_series_and_no_field_in_influxdb(tmp_path, influxdb):
    bucket = influxdb.new_bucket()
    grammar, expected = Grammar(SEED, plant=PLANT), Expected()
    with Rig(tmp_path, plant=PLANT) as rig:
        rig.store.close()
        rig.store = InfluxStore(url=influxdb.url, token=influxdb.token, org=influxdb.org, bucket=bucket)
        rig.restart()
        send(rig, grammar, expected, 3_000, seed=SEED)
        check_quarantine(rig, expected)
        check_accounts(rig, expected)
        same(influx_rows(rig.store), expected.stored)

    def shown(what):
        query = urllib.parse.urlencode({"db": bucket, "q": f"SHOW {what}"})
        (result,) = influxdb.call("GET", f"/query?{query}")["results"]
        return [row for series in result.get("series", ()) for row in series["values"]]

    assert shown("MEASUREMENTS") == [[MEASUREMENT]]
    assert {tag for (tag,) in shown("TAG KEYS")} == {"site", "workshop", "line", "device"}
    paths = {f"{line}/{key.partition('.')[0]}" for line, key, _ in expected.stored}
    assert {series for (series,) in shown("SERIES")} == {series_of(path) for path in paths}
    signals = {key.partition(".")[2] for _, key, _ in expected.stored}
    fields = dict(shown("FIELD KEYS"))
    assert {name.removeprefix(QUALITY_PREFIX) for name in fields} == signals
    assert {kind for name, kind in fields.items() if not name.startswith(QUALITY_PREFIX)} == {"float"}


def series_of(path):
    site, workshop, line, device = path.split("/")
    return f"{MEASUREMENT},device={device},line={line},site={site},workshop={workshop}"


def influx_rows(store):
    found = {}
    for line in PLANT.lines:
        for series in store.window(line.path, [signal.key for signal in line.signals], -(2**62), 2**62):
            for time_ns, value, quality in zip(series.time_ns, series.value, series.quality, strict=True):
                found[line.path, series.key, int(time_ns)] = (float(value), QUALITIES[quality])
    return found


def test_the_same_seed_makes_the_same_poison():
    assert list(poison(7, 500)) == list(poison(7, 500))
    assert list(poison(7, 500)) != list(poison(8, 500))
    assert list(islice(poison(7, 500), 10)) == list(islice(poison(7, 20), 10))


def test_a_broker_passes_on_what_is_made_for_it(mosquitto):
    """The benchmark's poison reaches the collector: no broker stops it, and all of it is on its subscriptions."""
    arrived = []
    collector = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    collector.on_message = lambda _client, _userdata, message: arrived.append((message.topic.encode(), message.payload))
    subscribed = threading.Event()
    collector.on_subscribe = lambda *_: subscribed.set()
    collector.connect(mosquitto.host, mosquitto.port)
    collector.loop_start()
    try:
        collector.subscribe([(name, 1) for name in topic_filters()])
        assert subscribed.wait(10)
        sent = list(poison(SEED, 2_000))
        with Publisher(mosquitto) as publisher:
            for topic, payload in sent:
                publisher.publish(topic.decode(), payload)
            publisher.flush()
        until(lambda: len(arrived) == len(sent), seconds=20, why=lambda: f"{len(arrived)} of {len(sent)}")
    finally:
        collector.disconnect()
        collector.loop_stop()
    assert Counter(arrived) == Counter(sent)


def test_the_reference_refuses_all_poison_too():
    grammar = Grammar(SEED)
    paths = {topic: path for path, topic in grammar.topics.items()}
    accepted = []
    for case in grammar.poisons(5_000):
        if case.topic in paths:
            try:
                reference.stored(case.payload, grammar.devices[paths[case.topic]], NOON_NS)
                accepted.append(case)
            except reference.Refused:
                pass
    assert not accepted, accepted[:SHOWN]
