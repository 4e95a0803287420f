"""Foreign devices through a real broker, collector and database, as docs/bindings.md says."""

import json

import pytest

from filiere.clock import to_text
from filiere.influx_store import InfluxStore
from tests.collector.foreign_messages import LINE, plant_text, recorded
from tests.collector.mqtt import until

BIRTHS, DATA = recorded("sparkplug")[:2], recorded("sparkplug")[2:5]
RETAINED = recorded("zigbee2mqtt")[0]


def publish(publisher, messages):
    for message in messages:
        publisher.publish(message.topic.decode(), message.payload)
    publisher.flush()


def readings(collector, *keys):
    """Key → [(time, value)], of the database."""
    server = collector.influxdb
    store = InfluxStore(url=server.url, token=server.token, org=server.org, bucket=collector.bucket)
    try:
        found = store.window(LINE, keys, 0, 2**62)
    finally:
        store.close()
    return {
        series.key: [
            (to_text(time_ns)[:19], pytest.approx(value))
            for time_ns, value in zip(series.time_ns.tolist(), series.value.tolist(), strict=True)
        ]
        for series in found
    }


@pytest.mark.timeout(120)
def test_four_foreign_devices_and_a_sparkplug_node_are_recorded_once(collector, publisher):
    plant = collector.folder / "plant.yaml"
    plant.write_text(plant_text(), encoding="utf-8")
    collector.environment["FILIERE_PLANT"] = str(plant)
    collector.subscribe(publisher)
    names = ("scale", "tasmota", "shelly", "zigbee2mqtt")
    publish(publisher, [message for name in names for message in recorded(name)])
    publish(publisher, [RETAINED])  # as a broker sends a retained message again
    publish(publisher, DATA)  # before the births: nobody can read it yet
    expected = sum(len(recorded(name)) for name in names) + 1 + len(DATA)

    def all_recorded(more=0):
        accounts = collector.accounts() if collector.bookmark() else {}
        mine = [account for account in accounts.values() if account.device.startswith(LINE)]
        done = sum(account.stored + account.quarantined + account.duplicates for account in mine)
        return collector.recorded() and done >= expected + more

    until(all_recorded, why=lambda: collector.words)
    accounts = {device.rpartition("/")[2]: account for device, account in collector.accounts().items()}
    assert (accounts["bagging"].stored, accounts["bagging"].reasons) == (2, {"wrong_shape": 1})
    assert (accounts["hall"].stored, accounts["hall"].duplicates) == (3, 1)
    assert accounts["extruder"].reasons == {"no_birth": 3}
    assert all(account.closes for device, account in accounts.items() if device in ("bagging", "hall", "extruder"))
    assert readings(collector, "dryer.power", "dryer.air_temp", "hall.humidity") == {
        "dryer.power": [("2026-11-23T09:14:05", 1.418), ("2026-11-23T09:14:15", 1.42), ("2026-11-23T09:14:25", 1.411)],
        "dryer.air_temp": [("2026-11-23T09:14:05", 61.4), ("2026-11-23T09:14:15", 61.5)],
        "hall.humidity": [("2026-11-23T09:30:00", 0.5431), ("2026-11-23T09:40:00", 0.5502)],
    }

    collector.kill()
    collector.start()
    publish(publisher, BIRTHS)
    until(lambda: all_recorded(more=1), why=lambda: collector.words)
    retried = collector.run("quarantine", "retry", "--reason", "no_birth")
    assert retried.returncode == 0, retried.stdout + retried.stderr
    assert readings(collector, "extruder.melt_temp") == {
        "extruder.melt_temp": [
            ("2026-11-23T09:14:05", 231.5),
            ("2026-11-23T09:14:07", 232.0),
            ("2026-11-23T09:14:08", 232.5),
        ]
    }

    # a restarted recorder reads data by alias with the births that it kept
    collector.kill("recorder")
    before = collector.accounts()[f"{LINE}/extruder"].stored
    publish(publisher, [DATA[0], *recorded("sparkplug")[4:5], recorded("sparkplug")[3]])
    until(lambda: collector.recorded() and collector.accounts()[f"{LINE}/extruder"].duplicates >= 3)
    assert collector.accounts()[f"{LINE}/extruder"].stored == before

    # what the log holds gives the same points again
    keys = ("bagging.batch_weight", "dryer.power", "shredder.running", "hall.temperature", "extruder.melt_temp")
    points = readings(collector, *keys)
    rewound = collector.run("log", "rewind", "--start", "--yes")
    assert rewound.returncode == 0, rewound.stdout + rewound.stderr
    until(lambda: collector.recorded() and not collector.problem(), why=lambda: collector.words)
    assert readings(collector, *keys) == points
    assert collector.accounts()[f"{LINE}/extruder"].stored == before

    exported = collector.folder / "exported.jsonl"
    shown = collector.run("log", "export", "--output", str(exported))
    assert shown.returncode == 0, shown.stderr
    judged = collector.run("bindings", "test", str(exported), "--json")
    assert judged.returncode == 1, judged.stderr
    assert json.loads(judged.stdout)["rows"] >= expected
