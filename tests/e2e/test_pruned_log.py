"""With no retention the intake prunes its log behind the recorder while messages come, and nothing is missing."""

import json

from filiere.message_log import MessageLog
from tests.collector.mqtt import until
from tests.e2e.collecting import T1, payload, stored, topic

MESSAGES = 6_000


def test_a_log_without_retention_stays_short_and_loses_nothing(collector, publisher):
    collector.environment["FILIERE_LOG_RETENTION_DAYS"] = "0"
    collector.subscribe(publisher)
    for seq in range(MESSAGES):
        publisher.publish(topic(T1), payload(seq))
    publisher.flush()

    def kept():
        with MessageLog.open_reader(collector.folder / "messages.sqlite") as log:
            return log.head() - log.first() + 1

    until(lambda: collector.recorded() and collector.head() > MESSAGES, why=lambda: collector.words)
    until(lambda: kept() == 1, why=lambda: f"{kept()} messages are kept\n{collector.words}")
    assert json.loads(collector.run("log", "info", "--json").stdout)["lag"] == 0
    assert collector.readings(T1, "extruder.melt_temp") == stored(range(MESSAGES))
    assert collector.accounts()[f"{T1}/extruder"].closes
    assert collector.run("log", "rewind", "--start", "--yes").returncode == 0
    until(collector.recorded, why=lambda: collector.words)
    assert collector.accounts()[f"{T1}/extruder"].stored == MESSAGES
