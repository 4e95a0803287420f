"""One writer a file, and children that live and die with their parent."""

import errno
import os
import subprocess
import sys
import threading
from random import Random

import pytest

from collector import processes, supervisor
from collector.patience import WAIT_S_MAX, Patience, Stopped, waits_s
from collector.processes import only_one
from collector.supervisor import RESTART_S_MAX, supervise
from filiere.errors import SettingsError, StoreRefused, StoreUnavailable
from tests.collector.mqtt import until

HOLD = """
import sys, threading
from pathlib import Path
from collector.processes import only_one
with only_one(Path(sys.argv[1]), threading.Event()):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "intake.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


@pytest.mark.usefixtures("holder")
def test_a_folder_in_use_is_refused_and_the_message_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "LOCK_S_MAX", 0.3)
    with (
        pytest.raises(SettingsError, match=r"another collector runs \(intake.lock is held\)"),
        only_one(tmp_path / "intake.lock", threading.Event()),
    ):
        raise AssertionError


@pytest.mark.usefixtures("holder")
def test_who_waits_for_a_folder_stops_when_asked(tmp_path):
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped), only_one(tmp_path / "intake.lock", stop):
        raise AssertionError


def test_a_folder_that_cannot_be_made_is_a_wrong_setting(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(SettingsError, match=r"FILIERE_DATA_DIR: got .*expected a folder that may be made and written"),
        only_one(tmp_path / "file" / "data" / "intake.lock", threading.Event()),
    ):
        raise AssertionError


def test_a_killed_holder_leaves_the_folder_free(tmp_path, holder):
    holder.kill()
    with only_one(tmp_path / "intake.lock", threading.Event()):
        pass


def test_a_dead_child_is_started_again_and_all_end_when_asked(tmp_path):
    trace = tmp_path / "starts"
    brief = f"open({str(trace)!r}, 'a').write('x')"
    long = "import sys; sys.stdin.read()"
    stop = threading.Event()
    commands = {"brief": [sys.executable, "-c", brief], "long": [sys.executable, "-c", long]}
    thread = threading.Thread(target=supervise, args=(commands,), kwargs={"stop": stop, "random": Random(1)})
    thread.start()
    try:
        until(lambda: trace.exists() and len(trace.read_text()) >= 2)
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()


class Hours:
    """Time that passes by itself, and children that die as soon as they are started, or cannot be."""

    def __init__(self, monkeypatch, hours, started):
        self.now_s, self._end_s, self._started = 0.0, hours * 3600, started
        self.starts = []
        monkeypatch.setattr(supervisor.time, "monotonic", lambda: self.now_s)
        monkeypatch.setattr(supervisor.subprocess, "Popen", self._start)

    def is_set(self):
        return self.now_s > self._end_s

    def wait(self, wait_s):
        self.now_s += wait_s

    def _start(self, command, **_):
        self.starts.append((command, self.now_s))
        return self._started(command)


class Dead:
    pid, returncode, stdin = 1, 2, None

    def poll(self):
        return self.returncode

    def wait(self, _=None):
        return self.returncode

    terminate = kill = wait


class Alive(Dead):
    returncode = None


def test_a_child_that_dies_at_once_again_and_again_is_started_ever_more_seldom(monkeypatch):
    hour = Hours(monkeypatch, 1, lambda _: Dead())
    supervise({"recorder": "r"}, stop=hour, random=Random(1))
    assert hour.starts[1][1] < 1.0
    assert 3600 / RESTART_S_MAX < len(hour.starts) < 200


def test_a_child_that_cannot_be_started_leaves_the_others_running(monkeypatch):
    def started(command):
        if command == "no memory":
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        return Alive()

    hour = Hours(monkeypatch, 1, started)
    supervise({"intake": "good", "recorder": "no memory"}, stop=hour, random=Random(1))
    tries = [at_s for command, at_s in hour.starts if command == "no memory"]
    assert len(hour.starts) - len(tries) == 1
    assert 3600 / RESTART_S_MAX < len(tries) < 200


@pytest.mark.parametrize(
    "wrong", [{"FILIERE_MQTT_LINES": "caux/textile/t9"}, {"FILIERE_MQTT_CA": "/none.pem"}], ids=["lines", "tls"]
)
def test_a_wrong_setting_of_the_intake_ends_the_whole_with_one_line(tmp_path, wrong):
    ended = subprocess.run(
        [sys.executable, "-m", "filiere", "collect"],
        env={**os.environ, "FILIERE_DATA_DIR": str(tmp_path), **wrong},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    ((name, value),) = wrong.items()
    assert ended.stderr.startswith(f"filiere: {name}: got")
    assert value in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_waits_grow_up_to_a_limit_and_are_never_in_step():
    waits = waits_s(Random(1))
    first = [next(waits) for _ in range(12)]
    assert all(WAIT_S_MAX / 2 <= wait <= WAIT_S_MAX for wait in first[-3:])
    assert first[0] < first[3] < first[-1]
    assert len(set(first)) == 12


def test_patience_says_why_it_waits_and_when_it_is_over():
    said = []
    answers = iter([StoreUnavailable("down"), StoreRefused("401"), "done"])

    def action():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    patience = Patience(stop=threading.Event(), random=Random(1), note=said.append)
    assert patience.until_done(action) == "done"
    assert said == ["down", "401", None]
