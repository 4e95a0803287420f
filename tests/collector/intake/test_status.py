"""The intake's own word, which others read: whole, prompt, and never in the intake's way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.intake.status import StatusFile, read_intake_status
from collector.status import STALE_NS, STATUS_BYTES, WRITE_EVERY_NS

START_NS = 1_795_425_247_000_000_000


class Clock:
    now_ns = START_NS

    def __call__(self):
        return self.now_ns


class Status:
    def __init__(self, folder):
        self.path, self.log_path, self.clock = folder / "intake.status", folder / "messages.sqlite", Clock()
        self.file = self.open()

    def open(self):
        return StatusFile(self.path, log_path=self.log_path, clock=self.clock)

    def read(self):
        return read_intake_status(self.path)


@pytest.fixture
def status(tmp_path):
    status = Status(tmp_path)
    yield status
    status.file.close()


def test_a_change_is_written_at_once_and_since_when_it_is_so(status):
    status.clock.now_ns += 1
    status.file.say(connected=True)
    assert status.read().connected
    status.clock.now_ns += 1
    status.file.say(problem="disk full")
    seen = status.read()
    assert (seen.connected, seen.problem, seen.since_ns) == (True, "disk full", START_NS + 2)
    status.clock.now_ns += 10**9
    status.file.say(problem="disk full")
    seen = status.read()
    assert (seen.since_ns, seen.updated_ns) == (START_NS + 2, START_NS + 2 + 10**9)


def test_counts_are_written_twice_a_second(status):
    status.file.count(5)
    assert status.read().acknowledged == 0
    status.clock.now_ns += WRITE_EVERY_NS
    status.file.count(7)
    assert status.read().acknowledged == 12


def test_a_clock_that_steps_back_does_not_stop_the_writing(status):
    status.clock.now_ns -= 3600 * 10**9
    status.file.count(1)
    assert status.read().acknowledged == 1


def test_the_count_goes_on_over_restarts_and_the_end_is_said(status):
    status.file.say(connected=True)
    status.file.count(3)
    status.file.close()
    assert not status.read().connected
    status.file = status.open()
    status.file.count(4)
    status.file.close()
    assert status.read().acknowledged == 7


def test_the_size_of_the_log_is_that_of_all_its_files(status):
    status.log_path.write_bytes(b"x" * 100)
    status.log_path.with_name("messages.sqlite-wal").write_bytes(b"x" * 20)
    status.file.say(connected=True)
    assert status.read().log_bytes == 120


@given(problem=st.text(max_size=3000))
def test_any_problem_fits(tmp_path_factory, problem):
    status = Status(tmp_path_factory.mktemp("status"))
    status.file.say(problem=problem)
    assert problem.startswith(status.read().problem)
    assert status.path.stat().st_size == STATUS_BYTES
    status.file.close()


def test_an_old_status_is_stale(status):
    seen = status.read()
    assert not seen.is_stale(START_NS + STALE_NS)
    assert seen.is_stale(START_NS + STALE_NS + 1)


@pytest.mark.parametrize("content", [b"", b"\0" * STATUS_BYTES, b"{", b'{"connected":1}', b"\xff\xfe", b" " * 5000])
def test_a_file_that_is_no_status_says_nothing(tmp_path, content):
    (tmp_path / "intake.status").write_bytes(content)
    assert read_intake_status(tmp_path / "intake.status") is None


def test_no_file_says_nothing(tmp_path):
    assert read_intake_status(tmp_path / "intake.status") is None


def test_a_status_that_cannot_be_written_stops_nobody(tmp_path):
    (tmp_path / "intake.status").mkdir()
    file = StatusFile(tmp_path / "intake.status", log_path=tmp_path / "m", clock=Clock())
    file.say(connected=True, problem="x")
    file.count(1)
    file.close()
