"""The outbox between a device and a real collector: whoever is killed, each row that was put is stored once."""

import json
import os
import signal
import subprocess
import sys
import threading
from random import Random

import pytest

from collector.outbox import Outbox, Sender
from collector.outbox.file import status_of
from filiere.embedded_store import EmbeddedStore
from filiere.readings import SEQ_NS
from tests.collector.mqtt import until
from tests.e2e.collecting import START_NS, STEP_NS, T1, value

DEVICE = f"{T1}/extruder"
KILLS = 8
VICTIMS = ("outbox", "broker", "receipts", "outbox", "intake", "collect")
PUT_S = 0.004
GAP = 100
"""Rows of another start have other times: one that was put and not yet said is not put again under another number."""

DEVICE_PROGRAM = """
import sys, time
from pathlib import Path
from collector.outbox import Outbox, Sender
from tests.e2e.test_outbox import DEVICE, PUT_S, row
path, port, number = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
with Outbox.open(path) as outbox, Sender(outbox, host="127.0.0.1", port=port):
    while True:
        outbox.put(DEVICE, row(number))
        print(number, flush=True)  # it is on the disk
        number += 1
        time.sleep(PUT_S)
"""


def row(number):
    return {"t": (START_NS + number * STEP_NS) // 10**6, "v": {"melt_temp": value(number)}}


@pytest.fixture
def collector(collector):
    """With the embedded store: what is tested here is before it."""
    collector.environment["FILIERE_INFLUX_URL"] = ""
    return collector


def stored(collector):
    """Numbers of the rows in the store, each as often as it is there."""
    store = EmbeddedStore.open(collector.folder / "readings.sqlite")
    (series,) = store.window(T1, ["extruder.melt_temp"], START_NS, START_NS + 10**15)
    store.close()
    found = []
    for time_ns, measured in zip(series.time_ns.tolist(), series.value.tolist(), strict=True):
        number, rest = divmod(time_ns - START_NS, STEP_NS)
        assert rest < SEQ_NS
        assert measured == value(number)
        found.append(number)
    return found


def command(collector, path, *arguments, device=DEVICE):
    port = str(collector.mosquitto.port)
    return [
        sys.executable,
        "-m",
        "collector.outbox",
        "--device",
        device,
        "--file",
        str(path),
        "--port",
        port,
        *arguments,
    ]


def lines(numbers):
    return "".join(json.dumps(row(number)) + "\n" for number in numbers).encode()


def drained(collector, path, content=b"", *arguments):
    """Let the command send what is given and what is kept; its result."""
    done = subprocess.run(
        command(collector, path, "--drain", "--json", *arguments),
        input=content,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert b"Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr.decode()


def test_what_was_put_before_there_was_a_collector_is_stored_once(collector, tmp_path):
    path = tmp_path / "outbox.sqlite"
    status, said, words = drained(collector, path, lines(range(500)), "--timeout", "2")
    assert (status, said["kept"], said["outbox"]["rows"]) == (3, 500, 500)
    assert "nobody listens" in words
    collector.start()
    status, said, _ = drained(collector, path, lines(range(500, 1500)))
    assert (status, said["kept"], said["outbox"]["rows"]) == (0, 1000, 0)
    until(collector.recorded, why=lambda: collector.words)
    assert stored(collector) == list(range(1500))
    account = collector.accounts()[DEVICE]
    assert (account.published, account.stored, account.quarantined) == (1500, 1500, 0)
    assert collector.stop() == 0


def test_what_the_collector_refuses_is_told_to_the_device_and_kept_there(collector, tmp_path):
    path = tmp_path / "outbox.sqlite"
    collector.start()
    bad = (
        b'{"v":{"no_such_signal":1}}\nnot json\n{"v":{}}\n\n{"t":"2026-01-01T00:00:00","v":{"melt_temp":1}}\n'
        b'{"v":{"melt_temp":1,"melt_temp":2}}\n{"v":{"melt_temp":NaN}}\n{"melt_temp":1}\n'
    )
    status, said, words = drained(collector, path, lines(range(3)) + bad, "--lang", "en")
    assert (said["read"], said["kept"], said["refused_here"], said["outbox"]["rows"]) == (11, 6, 4, 0)
    assert status == 1
    for line in ("line 5 refused: got what is not JSON", "line 9 refused: got a name twice", "line 10 ", "line 11 "):
        assert line in words
    until(collector.recorded, why=lambda: collector.words)
    assert collector.accounts()[DEVICE].reasons == {"unknown_signal": 1, "wrong_shape": 1, "local_time": 1}
    told = []
    with (
        Outbox.open(path) as outbox,
        Sender(outbox, host="127.0.0.1", port=collector.mosquitto.port, on_refused=told.append) as sender,
    ):
        while len(told) < 3:
            outbox.put(DEVICE, row(4))
            assert sender.flush(20)
    assert {(each.seq, each.reason) for each in told} == {(3, "unknown_signal"), (4, "wrong_shape"), (5, "local_time")}
    assert collector.run("audit").returncode == 0
    assert collector.stop() == 0


@pytest.mark.timeout(300)
def test_kills_of_device_broker_and_collector_lose_nothing_that_was_put_and_double_nothing(
    collector, mosquitto, tmp_path
):
    random = Random(20260311)
    collector.start()
    device = Device(tmp_path / "outbox.sqlite", mosquitto.port)
    try:
        for kill in range(KILLS):
            device.until_it_put(random.randrange(20, 80))
            victim = VICTIMS[kill % len(VICTIMS)]
            if victim == "outbox":
                device.kill()
            elif victim == "broker":
                mosquitto.kill()
                mosquitto.start()
            else:
                collector.kill(victim)
                if victim == "collect":
                    collector.start()
        device.until_it_put(20)
    finally:
        device.kill(again=False)
    status, said, words = drained(collector, device.path, b"", "--timeout", "100")
    assert (status, said["outbox"]["messages"]) == (0, 0), words
    until(collector.recorded, why=lambda: collector.words)
    found = stored(collector)
    assert len(found) == len(set(found))
    assert set(device.put) <= set(found)
    assert len(set(found) - set(device.put)) <= device.kills  # put, and killed before it could say so
    account = collector.accounts()[DEVICE]
    assert (account.published, account.stored, account.missing) == (len(found), len(found), 0)
    assert collector.run("audit").returncode == 0
    assert collector.stop() == 0


class Device:
    """A program that puts rows as fast as PUT_S lets it, and says each one once it is on the disk."""

    def __init__(self, path, port):
        self.path = path
        self.put = []
        self.kills = 0
        self._port = port
        self._start()

    def _start(self):
        number = self.put[-1] + GAP if self.put else 0
        arguments = [sys.executable, "-c", DEVICE_PROGRAM, str(self.path), str(self._port), str(number)]
        self._process = subprocess.Popen(arguments, stdout=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,))
        self._reader.start()

    def _read(self, stream):
        for line in stream:
            if line.endswith(b"\n"):
                self.put.append(int(line))

    def until_it_put(self, more):
        wanted = len(self.put) + more
        until(lambda: len(self.put) >= wanted)

    def kill(self, *, again=True):
        self.kills += 1
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._process.stdout.close()
        if again:
            self._start()


def test_status_says_what_waits_while_another_process_has_it(collector, tmp_path):
    path = tmp_path / "outbox.sqlite"
    with subprocess.Popen(command(collector, path), stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdin.write(lines(range(7)))
        process.stdin.flush()
        until(lambda: path.exists() and kept(path) == 7)
        said = subprocess.run([*command(collector, path), "--status", "--lang", "en"], capture_output=True, check=True)
        assert said.stdout.startswith(b"7 rows waiting")
        second = subprocess.run(command(collector, path), input=b"", capture_output=True, check=False)
        assert second.returncode == 2
        assert b"another process" in second.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert b"Traceback" not in process.stderr.read()
    assert kept(path) == 7


def test_a_full_outbox_reads_no_further_and_says_at_the_end_what_it_could_not_keep(collector, tmp_path):
    path, content = tmp_path / "outbox.sqlite", tmp_path / "lines"
    content.write_bytes(lines(range(20_000)))
    arguments = command(collector, path, "--max-mib", "1", "--json", "--lang", "en")
    with (
        content.open("rb") as given,
        subprocess.Popen(arguments, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process,
    ):
        assert b"the outbox is full" in first_line_with(process.stderr, b"full")
        process.send_signal(signal.SIGTERM)
        said, words = process.communicate(timeout=20)
    count = json.loads(said)
    assert process.returncode == 1
    assert 2_000 < count["kept"] == kept(path)
    assert count["kept"] + count["not_kept"] == count["read"] < 20_000
    assert b"found no room" in words
    assert path.stat().st_size <= 2**20


def first_line_with(stream, word):
    return next(line for line in stream if word in line)


def kept(path):
    try:
        return status_of(path).rows
    except Exception:  # noqa: BLE001 - it is being made
        return 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--device", "a/b"], "expected site/workshop/line/device"),
        ([], "expected site/workshop/line/device"),
        (["--device", DEVICE, "--password-file", "/nowhere"], "/nowhere"),
        (["--device", DEVICE, "--ca", "/nowhere"], "No such file"),
        (["--status"], "expected an outbox"),
    ],
)
def test_what_cannot_work_is_said_without_a_traceback(tmp_path, arguments, words):
    done = subprocess.run(
        [sys.executable, "-m", "collector.outbox", "--file", str(tmp_path / "o.sqlite"), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=dict(os.environ),
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
