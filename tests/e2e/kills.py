"""A whole chain that is killed part by part: five devices, broker, intake, recorder, receipts, InfluxDB.

What must hold afterwards, whatever was killed when: published = stored + quarantined, compared row by row with each
device's own file; nothing doubled, nothing missing; `filiere audit` says so with exit status 0.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from collector.accounts.audit import DeviceAccount
from collector.recorder.book import RecordBook
from filiere.influx_store import InfluxStore
from filiere.readings import Series
from tests.collector.mqtt import until
from tests.e2e.collecting import Collector
from tests.e2e.device import Sent, read_own
from tests.servers import PROJECT, InfluxDB, Mosquitto

PARTS = ("intake", "recorder", "receipts")
SERVERS = {"broker": ("intake", "receipts", "outbox"), "influxdb": ("recorder",)}
"""And who waits for each when it is down."""
KINDS = (*PARTS, "outbox", *SERVERS)
BOTH_SHARE = 0.5
WORKING_SHARE = 0.8
"""Of the kills of a part, how many come when it is at work; the others may meet it at its start."""
WORKS_S_MAX = 5.0
DEVICES = {
    "caux/textile/t1/extruder": ("melt_temp", "melt_pressure", "screw_speed", "motor_current"),
    "caux/flax/f1/extruder": ("melt_temp", "melt_pressure", "screw_speed", "motor_current"),
    "caux/textile/t1/shredder": ("motor_load",),
    "caux/flax/f1/feeders": ("fibre_feed", "polymer_feed", "hopper_weight", "fibre_ratio"),
    "caux/textile/t1/sorter": ("fibre_ratio", "batch_weight"),
}
BETWEEN_S = (0.02, 1.0)
DOWN_S = (0.0, 0.5)
DRAIN_S_MAX = 300.0
FOR_EVER_NS = 2**62
ALL = 10**9


class ForgetfulMosquitto(Mosquitto):
    """A broker that saves as seldom as the shipped one: a kill takes seconds of what it acknowledged."""

    def __init__(self) -> None:
        super().__init__()
        path = self.folder / "mosquitto.conf"
        path.write_text(path.read_text().replace("autosave_interval 1\n", "autosave_interval 5\n"))


@dataclass
class Chain:
    """All the processes and their folders. The servers outlive it."""

    folder: Path
    mosquitto: Mosquitto
    influxdb: InfluxDB
    client_id: str
    rows_per_s: float
    processes: dict[str, subprocess.Popen] = field(default_factory=dict)
    kills: Counter = field(default_factory=Counter)
    told: dict[str, int] = field(default_factory=dict)
    """How much each had written when it was started the last time."""

    def __post_init__(self) -> None:
        self.collector = Collector(
            folder=self.folder / "collector",
            mosquitto=self.mosquitto,
            influxdb=self.influxdb,
            client_id=self.client_id,
        )
        self.collector.folder.mkdir()
        for name in DEVICES:
            self.device_folder(name).mkdir(parents=True)

    def device_folder(self, name: str) -> Path:
        return self.folder / "devices" / name.replace("/", "-")

    def start(self, name: str) -> None:
        """One part of the collector, or one device."""
        if name in PARTS:
            command = ["-m", "filiere", "collect", "--only", name, "--stop-with-stdin"]
        else:
            command = ["-m", "tests.e2e.device", name, "--signals", ",".join(DEVICES[name])]
            command += ["--folder", str(self.device_folder(name)), "--port", str(self.mosquitto.port)]
            command += ["--rows-per-s", str(self.rows_per_s)]
        self.told[name] = self.told_bytes(name)
        with self.log_path(name).open("ab") as log:
            # their standard input is held open by this process: when it is gone, they go
            self.processes[name] = subprocess.Popen(
                [sys.executable, *command],
                cwd=PROJECT,
                env=self.collector.environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )

    def works(self, name: str) -> bool:
        """Whether it has come so far, since its last start, that there is work to be killed in."""
        before = self.told[name]
        if name in DEVICES:
            return self.told_bytes(name) > before
        with self.log_path(name).open("rb") as log:
            log.seek(before)
            return f"{name} ready".encode() in log.read()

    def told_bytes(self, name: str) -> int:
        """Size of what it writes: rows, or else words."""
        path = self.device_folder(name) / "rows.txt" if name in DEVICES else self.log_path(name)
        return path.stat().st_size if path.exists() else 0

    def log_path(self, name: str) -> Path:
        return self.folder / f"{name.replace('/', '-')}.log"

    def kill(self, kind: str, dice: random.Random) -> None:
        """SIGKILL one of a kind, and start it again a little later; with a server, often one who waits for it."""
        self.kills[kind] += 1
        down_s = dice.uniform(*DOWN_S)
        if kind in SERVERS:
            server = self.mosquitto if kind == "broker" else self.influxdb
            server.kill()
            time.sleep(down_s)
            if dice.random() < BOTH_SHARE:
                self.kill(dice.choice(SERVERS[kind]), dice)
            server.start()
            return
        name = dice.choice(list(DEVICES)) if kind == "outbox" else kind
        if dice.random() < WORKING_SHARE:
            with suppress(AssertionError):  # a part may never get ready while a server is down
                until(lambda: self.works(name), seconds=WORKS_S_MAX)
        self.end(name, signal.SIGKILL)
        time.sleep(down_s)
        self.start(name)

    def end(self, name: str, how: signal.Signals) -> None:
        process = self.processes.pop(name)
        with suppress(ProcessLookupError):
            os.kill(process.pid, how)
        process.stdin.close()
        process.wait()

    def drain(self) -> None:
        """Let the devices make no more rows, and wait until each has receipts for all, and all is recorded."""
        for name in DEVICES:
            self.processes[name].stdin.close()
        for name in DEVICES:
            code = self.processes[name].wait(DRAIN_S_MAX)
            assert code == 0, f"{name} ended with {code}: not everything was receipted\n{self.words(name)}"
        until(self.collector.recorded, seconds=DRAIN_S_MAX, why=lambda: self.words("recorder"))

    def words(self, name: str) -> str:
        return self.log_path(name).read_text()[-4000:]

    def readings(self) -> int:
        """How many the devices made so far."""
        return sum(
            each.rows * len(signals)
            for name, signals in DEVICES.items()
            for each in read_own(self.device_folder(name))
            if not each.bad
        )

    def stored(self, name: str) -> tuple[Series, ...]:
        store = InfluxStore(
            url=self.influxdb.url, token=self.influxdb.token, org=self.influxdb.org, bucket=self.collector.bucket
        )
        line, _, device = name.rpartition("/")
        try:
            return store.window(line, [f"{device}.{each}" for each in DEVICES[name]], 0, FOR_EVER_NS)
        finally:
            store.close()

    def quarantined(self) -> set[tuple[str, str, int]]:
        """(device, boot, seq) of every message in quarantine."""
        with RecordBook.open_reader(self.collector.book_path) as book:
            payloads = [(each.device, json.loads(each.payload)) for each in book.quarantine(limit=ALL)]
        return {(device, payload["boot"], payload["seq"]) for device, payload in payloads}


@contextmanager
def chain(**options) -> Iterator[Chain]:
    """Running. Nothing of it is left behind but the servers."""
    running = Chain(**options)
    try:
        for name in (*PARTS, *DEVICES):
            running.start(name)
        yield running
    finally:
        for name in list(running.processes):
            running.end(name, signal.SIGKILL)


def kill_in_turn(running: Chain, dice: random.Random, kills: int, *, note: Callable[[int], None] = lambda _: None):
    """So many kills, each kind as often as the others, in an order and at times that the dice give."""
    order = [KINDS[number % len(KINDS)] for number in range(kills)]
    dice.shuffle(order)
    for number, kind in enumerate(order):
        time.sleep(dice.uniform(*BETWEEN_S))
        running.kill(kind, dice)
        note(number + 1)


def assert_nothing_lost_nothing_doubled(running: Chain) -> None:
    """Row by row, against each device's own file."""
    accounts = running.collector.accounts()
    bad: set[tuple[str, str, int]] = set()
    for name in DEVICES:
        sent = read_own(running.device_folder(name))
        assert sent, f"{name} sent nothing"
        bad |= {(name, each.boot, each.seq) for each in sent if each.bad}
        assert_account(accounts[name], sent)
        for place, series in enumerate(running.stored(name)):
            expected = dict(pair for each in sent if not each.bad for pair in each.stored(place))
            found = dict(zip(series.time_ns.tolist(), series.value.tolist(), strict=True))
            assert len(series.time_ns) == len(found), f"{name} {series.key}: one time twice"
            assert_same(found, expected, f"{name} {series.key}")
    assert running.quarantined() == bad
    audit = running.collector.run("audit")
    assert audit.returncode == 0, audit.stdout


def assert_account(account: DeviceAccount, sent: list[Sent]) -> None:
    rows, bad = sum(each.rows for each in sent), sum(each.rows for each in sent if each.bad)
    found = (account.published, account.stored, account.quarantined, account.missing)
    assert found == (rows, rows - bad, bad, 0), f"{account}; expected {rows} rows, {bad} of them bad"
    assert account.closes


def assert_same(found: dict[int, float], expected: dict[int, float], what: str) -> None:
    missing, more = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    assert not missing, f"{what}: {len(missing)} of {len(expected)} rows are missing, the first at {missing[0]}"
    assert not more, f"{what}: {len(more)} rows that nobody sent, the first at {more[0]}"
    wrong = [time_ns for time_ns, value in expected.items() if found[time_ns] != value]
    assert not wrong, f"{what}: {len(wrong)} other values, the first at {wrong[0]}"
