"""A collector as people run it: `filiere collect`, with its own data folder, broker session and bucket."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from collector.accounts.audit import audit, recorder_state
from filiere.clock import NS_PER_S, parse_time
from filiere.errors import StoreUnavailable
from filiere.influx_store import InfluxStore
from filiere.message_log import MessageLog
from tests.collector.mqtt import until

T1, F1 = "caux/textile/t1", "caux/flax/f1"
START_NS = parse_time("2026-03-11T12:00:00Z")
STEP_NS = NS_PER_S // 50
STOP_S_MAX = 40.0
PROBE = b'{"boot":"probe","seq":0,"t":"2026-01-01T00:00:00Z","v":{"moisture":0.01}}'


@dataclass
class Collector:
    folder: Path
    mosquitto: object
    influxdb: object
    client_id: str
    bucket: str = ""
    process: subprocess.Popen | None = None
    environment: dict = field(default_factory=dict)

    def __post_init__(self):
        self.bucket = self.influxdb.new_bucket()
        self.environment = {
            **os.environ,
            "FILIERE_DATA_DIR": str(self.folder),
            "FILIERE_MQTT_HOST": self.mosquitto.host,
            "FILIERE_MQTT_PORT": str(self.mosquitto.port),
            "FILIERE_MQTT_CLIENT_ID": self.client_id,
            "FILIERE_INFLUX_URL": self.influxdb.url,
            "FILIERE_INFLUX_TOKEN": self.influxdb.token,
            "FILIERE_INFLUX_ORG": self.influxdb.org,
            "FILIERE_INFLUX_BUCKET": self.bucket,
        }

    @property
    def book_path(self):
        return self.folder / "recorder.sqlite"

    @property
    def words(self):
        return (self.folder / "collector.log").read_text()

    def start(self):
        with (self.folder / "collector.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "filiere", "collect"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def family(self):
        """Process ids by name: `collect`, `intake`, `recorder`; what is not running is left out."""
        found = {}
        if self.process is not None and self.process.poll() is None:
            found["collect"] = self.process.pid
            with suppress(OSError):
                children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
                for pid in map(int, children):
                    with suppress(OSError):
                        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                        found[words[words.index(b"--only") + 1].decode() if b"--only" in words else "new"] = pid
        return found

    def kill(self, *names):
        """SIGKILL some of the family; all of it when no name is given."""
        for name, pid in self.family().items():
            if not names or name in names:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if self.process is not None and (not names or "collect" in names):
            self.process.wait()

    def stop(self, how=signal.SIGTERM):
        """Ask it to stop; its exit status."""
        self.process.send_signal(how)
        return self.process.wait(STOP_S_MAX)

    def end(self):
        """Leave nothing running."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_S_MAX)
        self.kill()

    def head(self):
        """Messages in the log."""
        try:
            with MessageLog.open_reader(self.folder / "messages.sqlite") as log:
                return log.head()
        except StoreUnavailable:
            return 0

    def state(self):
        return recorder_state(self.book_path)

    def bookmark(self):
        try:
            return self.state().bookmark
        except StoreUnavailable:
            return 0

    def problem(self):
        """Why the recorder waits; None when it does not, or has no book yet."""
        try:
            return self.state().store_problem
        except StoreUnavailable:
            return None

    def recorded(self):
        """Whether all that is in the log is done."""
        return self.head() > 0 and self.bookmark() == self.head()

    def accounts(self):
        return {account.device: account for account in audit(self.book_path)}

    def run(self, *arguments):
        """Another `filiere` command on the same data folder."""
        return subprocess.run(
            [sys.executable, "-m", "filiere", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def subscribe(self, publisher):
        """Start, and return once the broker keeps messages for it: what is published from now on counts."""
        self.start()

        def arrives():
            publisher.publish("filiere/v1/caux/flax/f1/dryer/readings", PROBE)
            return self.head() > 0

        until(arrives, why=lambda: self.words)
        publisher.flush()
        publisher.acknowledged.clear()

    def readings(self, line, key):
        """{time_ns: value} of a signal in InfluxDB."""
        store = InfluxStore(url=self.influxdb.url, token=self.influxdb.token, org=self.influxdb.org, bucket=self.bucket)
        try:
            (series,) = store.window(line, [key], START_NS - NS_PER_S, START_NS + 10**15)
        finally:
            store.close()
        return dict(zip(series.time_ns.tolist(), series.value.tolist(), strict=True))


def payload(seq, *, boot="b1", signal="melt_temp"):
    """Row `seq`: time and value follow from its number."""
    time_ms = (START_NS + seq * STEP_NS) // 10**6
    return json.dumps({"boot": boot, "seq": seq, "t": time_ms, "v": {signal: value(seq)}}).encode()


def value(seq):
    return 200.0 + seq % 1000 / 10


def stored(seqs):
    """What InfluxDB must hold of rows with these numbers."""
    return {START_NS + seq * STEP_NS + seq % 1000: value(seq) for seq in seqs}


def topic(line, device="extruder"):
    return f"filiere/v1/{line}/{device}/readings"
