"""Who takes messages from the broker into InfluxDB: the collector as people run it, and the peer; seen from outside.

Each is one or more processes with a bucket of its own. It can be stopped in its tracks and let go on, so that a backlog
waits in the broker while nobody pays for starting.
"""

import os
import signal
import subprocess
import sys
import time
import urllib.parse
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from collector.accounts.audit import audit, recorder_state
from filiere.errors import StoreUnavailable
from filiere.message_log import MessageLog
from tests.bench.streams import PROBE, PROBE_TOPIC, SIGNAL
from tests.bench.wire import Load, forget_session, publish
from tests.servers import PROJECT, InfluxDB, Mosquitto, find_program

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
START_S_MAX = 60.0
STOP_S_MAX = 30.0
SILENCE_S_MAX = 30.0
"""When nothing more arrives for this long, the rest is lost."""
POLL_S = 0.02
LOG_TAIL_LINES = 15


class Consumer(ABC):
    """Started on entry, gone on exit with its session and its bucket."""

    name = ""
    count_query = ""
    """InfluxQL: how many rows are there."""
    probe_query = ""
    """InfluxQL: how many probes are there."""

    def __init__(self, *, broker: Mosquitto, influxdb: InfluxDB | None, folder: Path) -> None:
        self.folder = folder
        self.client_id = f"bench-{uuid.uuid4().hex[:8]}"
        self.broker = broker
        self._influxdb = influxdb
        self.bucket = influxdb.new_bucket() if influxdb is not None else ""
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    @abstractmethod
    def commands(self) -> Mapping[str, Sequence[str]]:
        """The processes' names and commands."""

    def environment(self) -> Mapping[str, str]:
        return {}

    def __enter__(self) -> Self:
        try:
            for name, command in self.commands().items():
                with (self.folder / "processes.log").open("ab") as log:
                    self.processes[name] = subprocess.Popen(
                        command,
                        env={**os.environ, **self.environment()},
                        cwd=PROJECT,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                    )
            self.await_first()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S_MAX)
            process.kill()
            process.wait()
        if self.broker.is_running:
            for suffix in ("", "-receipts"):
                forget_session(self.broker.host, self.broker.port, self.client_id + suffix)
        if self._influxdb is not None and self._influxdb.is_running:
            drop_bucket(self._influxdb, self.bucket)

    @property
    def influxdb(self) -> InfluxDB:
        assert self._influxdb is not None, "this one has no database"
        return self._influxdb

    def is_there(self) -> bool:
        """Whether a probe has come through: the subscription is there, and the database knows the bucket."""
        return self.count(self.probe_query) > 0

    def await_first(self) -> None:
        """Return when all of the way is open."""
        deadline = time.monotonic() + START_S_MAX
        while not self.is_there():
            self.refuse_dead()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} does not take messages:\n{self.log_tail()}")
            publish(Load(host=self.broker.host, port=self.broker.port, stream=_Probe(), count=1))

    def refuse_dead(self) -> None:
        """Raises RuntimeError: one has ended."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise RuntimeError(f"{self.name}: {name} ended with code {process.returncode}:\n{self.log_tail()}")

    def pause(self) -> None:
        """Stop all in their tracks."""
        for process in self.processes.values():
            process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let all go on."""
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)

    def count(self, query: str = "") -> int:
        """Rows that a query finds."""
        statement = urllib.parse.urlencode({"db": self.bucket, "q": query or self.count_query})
        answer = self.influxdb.call("GET", f"/query?{statement}")
        series = answer["results"][0].get("series")
        return int(series[0]["values"][0][1]) if series else 0

    def await_rows(self, rows: int) -> tuple[int, float]:
        """Rows found in the end, and when the last one was found (monotonic s): all, or what came before a silence."""
        found, found_at = 0, time.monotonic()
        while found < rows and time.monotonic() < found_at + SILENCE_S_MAX:
            time.sleep(POLL_S)
            now_found = self.count()
            if now_found != found:
                found, found_at = now_found, time.monotonic()
        return found, found_at

    def cpu_s(self) -> dict[str, float]:
        """Processor time of each process so far, user and system, s."""
        self.refuse_dead()
        return {name: cpu_s(process.pid) for name, process in self.processes.items()}

    def resident_mb(self) -> dict[str, float]:
        """Memory of each process, MB."""
        return {name: resident_mb(process.pid) for name, process in self.processes.items()}

    def log_tail(self) -> str:
        return "\n".join((self.folder / "processes.log").read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])


class Filiere(Consumer):
    """The collector's processes, one by one, as its supervisor starts them."""

    name = "Filière"
    count_query = f'SELECT count("{SIGNAL}") FROM "reading"'
    probe_query = 'SELECT count("moisture") FROM "reading"'

    def __init__(
        self,
        *,
        broker: Mosquitto,
        influxdb: InfluxDB | None,
        folder: Path,
        parts: Sequence[str] = ("intake", "recorder"),
        profile: Path | None = None,
        module: str = "filiere",
    ) -> None:
        """`module` runs in place of `filiere`, with the same words behind it."""
        super().__init__(broker=broker, influxdb=influxdb, folder=folder)
        self._parts = parts
        self._profile = profile
        self._module = module

    def commands(self) -> Mapping[str, Sequence[str]]:
        return {
            part: [sys.executable, *self._profiled(part), "-m", self._module, "collect", "--only", part]
            for part in self._parts
        }

    def is_there(self) -> bool:
        return super().is_there() if "recorder" in self._parts else self.head() > 0

    def head(self) -> int:
        """Messages in the log."""
        try:
            with self.reader() as log:
                return log.head()
        except StoreUnavailable:
            return 0

    def _profiled(self, part: str) -> Sequence[str]:
        if self._profile is None:
            return ()
        return ("-m", "cProfile", "-o", str(self._profile / f"{part}-{self.client_id}.prof"))

    def environment(self) -> Mapping[str, str]:
        return self._database() | {
            "FILIERE_DATA_DIR": str(self.folder),
            "FILIERE_MQTT_HOST": self.broker.host,
            "FILIERE_MQTT_PORT": str(self.broker.port),
            "FILIERE_MQTT_CLIENT_ID": self.client_id,
            "FILIERE_LOG_LEVEL": "warning",
        }

    def _database(self) -> dict[str, str]:
        if self._influxdb is None:
            return {}
        return {
            "FILIERE_INFLUX_URL": self._influxdb.url,
            "FILIERE_INFLUX_TOKEN": self._influxdb.token,
            "FILIERE_INFLUX_ORG": self._influxdb.org,
            "FILIERE_INFLUX_BUCKET": self.bucket,
        }

    def reader(self) -> MessageLog:
        """The message log, for looking."""
        return MessageLog.open_reader(self.folder / "messages.sqlite")

    def bookmark(self) -> int:
        """Messages that are recorded."""
        try:
            return recorder_state(self.folder / "recorder.sqlite").bookmark
        except StoreUnavailable:
            return 0

    def closes(self) -> bool:
        """Whether the account of every device closes."""
        return all(account.closes for account in audit(self.folder / "recorder.sqlite"))


TELEGRAF = """
[agent]
  interval = "1s"
  flush_interval = "{flush_interval}"
  metric_batch_size = {metric_batch_size}
  metric_buffer_limit = {metric_buffer_limit}
  omit_hostname = true
  quiet = true
[[outputs.influxdb_v2]]
  urls = ["{url}"]
  token = "{token}"
  organization = "{org}"
  bucket = "{bucket}"
  content_encoding = "{content_encoding}"
  concurrent_writes = {concurrent_writes}
  timeout = "30s"
[[inputs.mqtt_consumer]]
  servers = ["tcp://{host}:{port}"]
  topics = ["filiere/v1/+/+/+/+/readings"]
  qos = 1
  persistent_session = true
  client_id = "{client_id}"
  max_undelivered_messages = {max_undelivered_messages}
{parser}
"""
JSON = """
  data_format = "json"
  json_time_key = "t"
  json_time_format = "unix_ms"
  fieldexclude = ["seq"]
"""
JSON_V2 = """
  data_format = "json_v2"
  [[inputs.mqtt_consumer.json_v2]]
    timestamp_path = "t"
    timestamp_format = "unix_ms"
    [[inputs.mqtt_consumer.json_v2.object]]
      path = "v"
"""
TELEGRAF_BEST: Mapping[str, str | int] = {
    "flush_interval": "100ms",
    "metric_batch_size": 10_000,
    "metric_buffer_limit": 200_000,
    "max_undelivered_messages": 20_000,
    "content_encoding": "identity",
    "concurrent_writes": 2,
}
"""None of those that `python -m tests.bench.bench_telegraf` tries is clearly faster. It acknowledges what InfluxDB has,
so its window must be larger than a batch: with 2,000 undelivered it reached less than half."""


class Telegraf(Consumer):
    """The peer, each row acknowledged to the broker when InfluxDB has it."""

    name = "Telegraf"

    def __init__(
        self,
        *,
        broker: Mosquitto,
        influxdb: InfluxDB,
        folder: Path,
        parser: str = JSON,
        settings: Mapping[str, str | int] = TELEGRAF_BEST,
    ) -> None:
        self._program = find_program(
            "telegraf",
            get="run tests/telegraf/build.sh (Go; a minute or two, once)",
            also=[PROJECT / ".cache/telegraf/telegraf"],
        )
        super().__init__(broker=broker, influxdb=influxdb, folder=folder)
        prefix = "v_" if parser is JSON else ""
        self.count_query = f'SELECT count("{prefix}{SIGNAL}") FROM "mqtt_consumer"'
        self.probe_query = f'SELECT count("{prefix}moisture") FROM "mqtt_consumer"'
        (folder / "telegraf.conf").write_text(
            TELEGRAF.format(
                **{
                    **settings,
                    "parser": parser,
                    "url": influxdb.url,
                    "token": influxdb.token,
                    "org": influxdb.org,
                    "bucket": self.bucket,
                    "host": broker.host,
                    "port": broker.port,
                    "client_id": self.client_id,
                }
            )
        )

    def commands(self) -> Mapping[str, Sequence[str]]:
        return {"telegraf": [str(self._program), "--config", str(self.folder / "telegraf.conf")]}


class _Probe:
    def topic(self, _number: int) -> str:
        return PROBE_TOPIC

    def payload(self, _number: int) -> bytes:
        return PROBE


def cpu_s(pid: int) -> float:
    """Processor time of a process, user and system, s (proc(5): fields 14 and 15, counted after the name)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def resident_mb(pid: int) -> float:
    """Memory of a process that is in RAM, MB (proc(5): VmRSS, kB)."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def drop_bucket(influxdb: InfluxDB, name: str) -> None:
    """Delete a bucket, so that the server does not go on compacting it while the next one is measured."""
    for bucket in influxdb.call("GET", f"/api/v2/buckets?name={name}")["buckets"]:
        influxdb.call("DELETE", f"/api/v2/buckets/{bucket['id']}")
