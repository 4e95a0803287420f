"""SIGKILL at any moment: what was acknowledged is stored, once. And the gentle ways to stop."""

import os
import signal
import threading
from pathlib import Path
from random import Random

import pytest

from filiere.embedded_store import EmbeddedStore
from tests.collector.mqtt import until
from tests.e2e.collecting import F1, START_NS, T1, payload, stored, topic

KILLS = 10
WAITS_S = (0.0, 0.4)
PENDING_MAX = 5_000
VICTIMS = ((), ("recorder",), (), ("intake",), ("collect",))
"""Whom to kill, in turn: () = all three processes at once."""


class FullSpeed:
    """Publishes numbered rows of two lines as fast as the broker takes them."""

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

    def _run(self):
        while not self._stop.is_set():
            for _ in range(100):
                for line in (T1, F1):
                    self._publisher.publish(topic(line), payload(self.published), name=(line, self.published))
                self.published += 1
            until(lambda: self._publisher.pending < PENDING_MAX)


@pytest.mark.timeout(300)
def test_ten_kills_at_full_speed_lose_nothing_that_was_acknowledged_and_double_nothing(collector, publisher):
    random = Random(20260311)
    collector.subscribe(publisher)
    with FullSpeed(publisher) as stream:
        for kill in range(KILLS):
            head, bookmark = collector.head(), collector.bookmark()
            if kill % 2:
                until(lambda head=head: collector.head() > head, why=lambda: collector.words)
            else:
                until(lambda bookmark=bookmark: collector.bookmark() > bookmark, why=lambda: collector.words)
            threading.Event().wait(random.uniform(*WAITS_S))
            victims = VICTIMS[kill % len(VICTIMS)]
            collector.kill(*victims)
            if not victims or "collect" in victims:
                collector.start()
    publisher.flush()
    until(
        lambda: (
            collector.recorded()
            and sum(account.stored for account in collector.accounts().values()) > 2 * stream.published
        ),
        seconds=200,
        why=lambda: collector.words,
    )
    accounts = collector.accounts()
    for line in (T1, F1):
        numbers = [seq for of_line, seq in publisher.acknowledged if of_line == line]
        assert numbers == list(range(stream.published))
        assert collector.readings(line, "extruder.melt_temp") == stored(numbers)
        account = accounts[f"{line}/extruder"]
        assert (account.published, account.stored, account.quarantined) == (stream.published, stream.published, 0)
        assert account.closes
    assert collector.run("audit").returncode == 0
    assert collector.stop() == 0


def test_without_influxdb_a_kill_loses_nothing_either(collector, publisher):
    collector.environment["FILIERE_INFLUX_URL"] = ""
    collector.subscribe(publisher)
    for seq in range(2000):
        publisher.publish(topic(T1), payload(seq))
        if seq == 1000:
            collector.kill()
            collector.start()
    until(lambda: collector.recorded() and collector.accounts()[f"{T1}/extruder"].stored == 2000)
    store = EmbeddedStore.open(collector.folder / "readings.sqlite")
    (series,) = store.window(T1, ["extruder.melt_temp"], START_NS, START_NS + 10**15)
    store.close()
    assert dict(zip(series.time_ns.tolist(), series.value.tolist(), strict=True)) == stored(range(2000))
    assert collector.run("audit").returncode == 0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_it_ends_with_status_0_without_traceback_and_leaves_nothing_running(collector, publisher, how):
    collector.subscribe(publisher)
    family = collector.family()
    assert set(family) == {"collect", "intake", "recorder", "receipts"}
    assert collector.stop(how) == 0
    assert "Traceback" not in collector.words
    assert not [pid for pid in family.values() if runs(pid)]


def test_ctrl_c_reaches_all_three_and_they_end_quietly(collector, publisher):
    collector.subscribe(publisher)
    os.killpg(collector.process.pid, signal.SIGINT)
    assert collector.process.wait(40) == 0
    assert "Traceback" not in collector.words
    assert "a child ended" not in collector.words


def test_the_children_go_when_the_parent_is_killed(collector, publisher):
    collector.subscribe(publisher)
    family = collector.family()
    collector.kill("collect")
    until(lambda: not [pid for pid in family.values() if runs(pid)], why=lambda: collector.words)


def runs(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
