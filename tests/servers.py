"""Real servers for the tests: found, started on a free loopback port in a folder of their own, stopped by process id.

A server that is not installed raises ServerMissing, whose text is one line: what is missing and how to get it.
"""

import contextlib
import ctypes
import json
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, NoReturn, Self

import pytest

PROJECT = Path(__file__).parent.parent
HOST = "127.0.0.1"
SERVER_PORTS = 12_000, 32_000
START_S_MAX = 60.0
STOP_S_MAX = 20.0
POLL_S = 0.02
HTTP_S_MAX = 10.0
LOG_TAIL_LINES = 15
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)
REQUIRED = os.environ.get("FILIERE_REQUIRE_SERVICES") == "1"
"""Where it is set, a missing server is a failure. Read once, before tests/conftest.py clears the environment."""


class ServerMissing(Exception):
    """The program is not on this machine; the text says which and how to get it."""


class ServerFailed(Exception):
    """The program is here and did not come up; the text ends with the last lines of its log."""


def unavailable(reason: str) -> NoReturn:
    """End the test: skipped with the reason, or failed where servers are required."""
    if REQUIRED:
        pytest.fail(f"{reason} (FILIERE_REQUIRE_SERVICES=1)", pytrace=False)
    pytest.skip(reason)


def find_program(*names: str, get: str, also: Sequence[Path] = ()) -> Path:
    """Return the first of `names` on PATH, else the first of `also` that exists.

    Raises:
        ServerMissing: none is there; `get` says how to get it.
    """
    for name in names:
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    for path in also:
        if path.is_file() and os.access(path, os.X_OK):
            return path
    raise ServerMissing(f"{names[0]} not found: {get}")


def find_mosquitto() -> Path:
    """Debian keeps it in /usr/sbin, which is not on everybody's PATH."""
    return find_program(
        "mosquitto",
        get="install the Debian package mosquitto",
        also=[Path("/usr/sbin/mosquitto"), Path("/usr/local/sbin/mosquitto")],
    )


def find_influxd() -> Path:
    return find_program(
        "influxd",
        get="install InfluxDB 2, or run tests/influxd/build.sh (Go and Rust; about four minutes, once)",
        also=[PROJECT / ".cache/influxd/influxd"],
    )


def find_initdb() -> Path:
    """Debian keeps a folder a major version and puts none on PATH: take the newest."""

    def major(folder: Path) -> int:
        return int(re.sub(r"\D", "", folder.parent.parent.name) or 0)

    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=major, reverse=True)
    found = find_program("initdb", get="install the Debian package postgresql", also=versions)
    return found.resolve()


def find_chromium() -> Path:
    return find_program("chromium", "chromium-browser", "google-chrome", get="install the Debian package chromium")


def find_strace() -> Path:
    return find_program("strace", get="install the Debian package strace")


def free_port() -> int:
    """A port that nobody listens on, below those that the kernel lends to outgoing connections: a server that is down
    must not find its port taken by a client that calls it.
    """
    while True:
        port = random.SystemRandom().randrange(*SERVER_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port


def port_answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1.0):
        return True
    return False


def _die_with_parent() -> None:
    """Ask Linux to end the server when the test run is killed, so that none is left behind."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Server(ABC):
    """One process with a port and a folder that outlive its restarts."""

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self) -> None:
        self.host = HOST
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"filiere-{self.name}-"))
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """What starts it."""

    def environment(self) -> Mapping[str, str]:
        return os.environ

    def is_ready(self) -> bool:
        return port_answers(self.port)

    def account(self) -> str | None:
        """The user to run as, or None for the one who runs the tests."""
        return None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} is not running: call .start()"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start on the same port and data as before; return when it answers. Does nothing when it runs."""
        if self.is_running:
            return self
        account = self.account()
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env=dict(self.environment()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                user=account,
                group=account and pwd.getpwnam(account).pw_gid,
                extra_groups=[] if account else None,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one system call, takes no lock
                start_new_session=True,
            )
        deadline = time.monotonic() + START_S_MAX
        while not self.is_ready():
            if not self.is_running:
                raise ServerFailed(f"{self.name} ended with code {self._process.poll()}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise ServerFailed(f"{self.name} did not answer in {START_S_MAX:.0f} s:\n{self.log_tail()}")
            time.sleep(POLL_S)
        return self

    def stop(self) -> None:
        """Ask it to end and wait; kill it when it does not. Does nothing when it is down."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP: it hangs, with its connections open, until `go_on`."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log_tail(self) -> str:
        lines = (self.folder / "server.log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S_MAX)


class Mosquitto(Server):
    """MQTT broker, anonymous, persistent, with room for a slow collector."""

    name = "mosquitto"

    def __init__(self) -> None:
        self._program = find_mosquitto()
        super().__init__()
        (self.folder / "mosquitto.conf").write_text(
            f"listener {self.port} {HOST}\n"
            "allow_anonymous true\n"
            # started as root it would become the user mosquitto, who may not write here
            f"user {pwd.getpwuid(os.geteuid()).pw_name}\n"
            "persistence true\n"
            f"persistence_location {self.folder}/\n"
            "autosave_interval 1\n"
            "max_inflight_messages 2000\n"
            "max_queued_messages 1000000\n"
            "max_packet_size 1048576\n"
        )

    def command(self) -> list[str]:
        return [str(self._program), "-c", str(self.folder / "mosquitto.conf")]


class InfluxDB(Server):
    """InfluxDB 2 with one organisation, one token, and a bucket a test."""

    name = "influxdb"
    org = "filiere"
    bucket = "filiere"
    token = "test-token-of-a-server-that-lives-for-minutes"

    def __init__(self) -> None:
        self._program = find_influxd()
        super().__init__()
        self.url = f"http://{HOST}:{self.port}"
        # a proxy in the environment must not see loopback calls
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def command(self) -> list[str]:
        return [
            str(self._program),
            f"--bolt-path={self.folder}/i.bolt",
            f"--engine-path={self.folder}/engine",
            f"--sqlite-path={self.folder}/i.sqlite",
            f"--http-bind-address={HOST}:{self.port}",
            "--reporting-disabled",
            "--ui-disabled",
            "--log-level=warn",
        ]

    def environment(self) -> Mapping[str, str]:
        return {**os.environ, "HOME": str(self.folder)}

    def is_ready(self) -> bool:
        try:
            return bool(self.call("GET", "/health")["status"] == "pass")
        except (OSError, urllib.error.HTTPError):
            return False

    def start(self) -> Self:
        super().start()
        if self.call("GET", "/api/v2/setup")["allowed"]:
            setup = {
                "username": "test",
                "password": "test-password",
                "org": self.org,
                "bucket": self.bucket,
                "token": self.token,
            }
            self.call("POST", "/api/v2/setup", setup)
        return self

    def new_bucket(self) -> str:
        """Make an empty bucket that keeps everything and return its name."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        orgs = self.call("GET", f"/api/v2/orgs?org={self.org}")["orgs"]
        self.call("POST", "/api/v2/buckets", {"name": name, "orgID": orgs[0]["id"], "retentionRules": []})
        return name

    def call(self, method: str, path: str, body: object = None) -> dict:
        """One call of the HTTP API; JSON in, JSON out.

        Raises:
            OSError: no answer, or a status of 400 and above (urllib's HTTPError is one).
        """
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Token {self.token}", "Content-Type": "application/json"},
        )
        with self._opener.open(request, timeout=HTTP_S_MAX) as answer:
            text = answer.read()
        return json.loads(text) if text else {}


class PostgreSQL(Server):
    """PostgreSQL with trust on loopback; it refuses to be root, so root lends it the account `postgres` or `nobody`."""

    name = "postgresql"
    stop_signal = signal.SIGINT  # "fast": sessions are ended, then the server

    def __init__(self) -> None:
        self._bin = find_initdb().parent
        super().__init__()
        account = self.account()
        if account is not None:
            shutil.chown(self.folder, account)
        self._cluster = self.folder / "cluster"
        made = subprocess.run(
            [
                self._bin / "initdb",
                "-D",
                self._cluster,
                *["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
            ],
            cwd=self.folder,
            user=account,
            group=account and pwd.getpwnam(account).pw_gid,
            extra_groups=[] if account else None,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise ServerFailed(f"initdb ended with code {made.returncode}:\n{made.stderr}")

    def account(self) -> str | None:
        if os.geteuid() != 0:
            return None
        known = {entry.pw_name for entry in pwd.getpwall()}
        return "postgres" if "postgres" in known else "nobody"

    def command(self) -> list[str]:
        return [
            str(self._bin / "postgres"),
            f"-D{self._cluster}",
            f"-p{self.port}",
            f"-clisten_addresses={HOST}",
            f"-cunix_socket_directories={self.folder}",
            "-cfsync=off",  # outlives a killed process, which is what tests do; not a power cut
        ]

    def is_ready(self) -> bool:
        asked = subprocess.run(
            [self._bin / "pg_isready", "-q", "-h", HOST, "-p", str(self.port)], check=False, timeout=STOP_S_MAX
        )
        return asked.returncode == 0

    def new_database(self) -> str:
        """Make an empty database and return its SQLAlchemy URL."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        self._client("createdb", name)
        return f"postgresql+psycopg://postgres@{HOST}:{self.port}/{name}"

    def drop_database(self, url: str) -> None:
        """Drop what `new_database` made, ending whoever is still connected."""
        self._client("dropdb", "--force", url.rpartition("/")[2])

    def _client(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._bin / program, "-h", HOST, "-p", str(self.port), "-U", "postgres", *arguments],
            check=True,
            capture_output=True,
            timeout=STOP_S_MAX,
        )
