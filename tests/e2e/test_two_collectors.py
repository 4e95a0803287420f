"""Two collectors share the lines of a plant; a line moves from one to the other while its devices publish."""

import json
import threading
from contextlib import contextmanager

import pytest

from collector.accounts.audit import audit
from collector.intake.assignment import HeldFilters, topic_filters
from filiere.message_log import MessageLog
from tests.collector.mqtt import session, until
from tests.e2e.collecting import F1, T1, Collector, payload, stored, topic

PENDING_MAX = 200


class Owner(Collector):
    """A collector that owns some lines."""

    def own(self, *lines):
        """Start, or start again, with these lines; return once the broker keeps them for it."""
        if self.process is not None:
            assert self.stop() == 0
        self.environment["FILIERE_MQTT_LINES"] = ",".join(lines)
        self.start()
        held = HeldFilters(self.folder / "subscriptions.json", client_id=self.client_id)
        until(lambda: held.read() == topic_filters(lines), why=lambda: f"{held.read()} {self.words}")
        until(self.ready, why=lambda: self.words)

    def ready(self):
        status = json.loads((self.folder / "intake.status").read_text())
        return status["connected"]

    def topics(self, after=0):
        """Of the messages that it received with a row number from `after` on."""
        with MessageLog.open_reader(self.folder / "messages.sqlite") as log:
            messages = log.read(0, 10**7)
        return {message.topic.decode() for message in messages if json.loads(message.payload)["seq"] >= after}


@contextmanager
def owner(mosquitto, influxdb, folder):
    folder.mkdir()
    with session(mosquitto) as client_id:
        collector = Owner(folder=folder, mosquitto=mosquitto, influxdb=influxdb, client_id=client_id)
        try:
            yield collector
        finally:
            collector.end()


@pytest.fixture
def west(mosquitto, influxdb, tmp_path):
    with owner(mosquitto, influxdb, tmp_path / "west") as west:
        yield west


@pytest.fixture
def east(west, mosquitto, influxdb, tmp_path):
    with owner(mosquitto, influxdb, tmp_path / "east") as east:
        east.bucket = west.bucket
        east.environment["FILIERE_INFLUX_BUCKET"] = west.bucket
        yield east


class Devices:
    """Two of them, one a line, which publish numbered rows without a pause."""

    def __init__(self, publisher):
        self._publisher = publisher
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.published = 0

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def more(self, rows=200):
        """Return when so many more are published."""
        at = self.published
        until(lambda: self.published > at + rows)

    def _run(self):
        while not self._stop.wait(0.005):
            for line in (T1, F1):
                self._publisher.publish(topic(line), payload(self.published), name=(line, self.published))
            self.published += 1
            until(lambda: self._publisher.pending < PENDING_MAX)


@pytest.mark.timeout(300)
def test_a_line_moves_while_its_devices_publish_and_nothing_is_lost_or_doubled(west, east, publisher):
    west.own(T1, F1)
    with Devices(publisher) as devices:
        devices.more()
        east.own(T1)  # for a while the line has two owners: what both take is stored once
        devices.more()
        west.own(F1)
        at = devices.published
        devices.more()
    publisher.flush()
    count = devices.published
    books = (west.book_path, east.book_path)
    until(
        lambda: west.recorded() and east.recorded() and sum(account.stored for account in audit(*books)) == 2 * count,
        seconds=120,
        why=lambda: west.words + east.words,
    )
    for line in (T1, F1):
        assert [seq for of_line, seq in publisher.acknowledged if of_line == line] == list(range(count))
        assert west.readings(line, "extruder.melt_temp") == stored(range(count))
        account = next(each for each in audit(*books) if each.device == f"{line}/extruder")
        assert (account.published, account.stored, account.missing, account.closes) == (count, count, 0, True)
    assert (west.topics(after=at), east.topics()) == ({topic(F1)}, {topic(T1)})
