"""fsync says EIO: nothing is acknowledged by it, and the pages that the system then forgets are written again."""

import signal

import pytest

from tests.faults.commit_path import BATCHES
from tests.faults.disk import traced
from tests.faults.promises import assert_holds
from tests.faults.test_power_loss import check_images

SYNCS = 20
"""Failed syncs in a normal run; the commit path has about as many."""
IMAGES = 8


def failing(strace, folder, when, **options):
    return traced(strace, folder, "-e", f"inject=fdatasync:error=EIO:when={when}", **options)


def syncs(calls):
    return [call for call in calls if call.name == "fdatasync"]


@pytest.fixture(scope="module")
def opening(strace, tmp_path_factory):
    """Syncs until the log is open, and in all: opening a file has no second try in this program."""
    _, calls = traced(strace, tmp_path_factory.mktemp("syncs") / "run")
    first = next(place for place, call in enumerate(calls) if call.name == "write")
    return len(syncs(calls[:first])), len(syncs(calls))


def some_syncs(opening):
    first, last = opening
    return range(first + 1, last + 1, -(-(last - first) // SYNCS))


def test_after_a_failed_fsync_all_that_was_acknowledged_survives_a_power_cut(strace, tmp_path, opening):
    """Also the batches after it, which the same file descriptor would have called durable."""
    for when in some_syncs(opening):
        ran, calls = failing(strace, tmp_path / f"run-{when}", when)
        assert any(call.failed for call in syncs(calls))
        assert ran.returncode == 0, ran.stderr.decode()
        assert ran.stdout.endswith(f"acked {sum(BATCHES)}\n".encode())
        (images := tmp_path / f"images-{when}").mkdir()
        assert check_images(calls, images, IMAGES, seed=when) == 0


def test_killed_after_a_failed_fsync_the_next_one_does_not_build_on_what_never_reached_the_disk(
    strace, tmp_path, opening
):
    """The next process reads the batch that failed from memory, as if it were there, and goes on behind it."""
    killed = 0
    for when in some_syncs(opening):
        folder = tmp_path / f"run-{when}"
        ran, calls = failing(strace, folder, when, program_options=["--dies"])
        if ran.returncode == -signal.SIGKILL:
            killed += 1
            ran, more = traced(strace, folder)
            assert ran.returncode == 0, ran.stderr.decode()
            (images := tmp_path / f"images-{when}").mkdir()
            assert check_images([*calls, *more], images, IMAGES, seed=when) == 0
    assert killed > SYNCS // 3


def test_after_a_failed_fsync_the_file_is_opened_anew_before_the_next_promise(strace, tmp_path, opening):
    ran, calls = failing(strace, tmp_path / "run", opening[0] + 2)
    assert b"refused" in ran.stdout
    failed = next(place for place, call in enumerate(calls) if call.failed and call.name == "fdatasync")
    promises = [place for place, call in enumerate(calls) if place > failed and b"acked" in call.content]
    assert {"messages.sqlite", "messages.sqlite-wal"} <= {
        call.path for call in calls[failed : promises[0]] if call.name == "openat"
    }


def test_a_disk_whose_every_fsync_fails_acknowledges_nothing(strace, tmp_path, opening):
    ran, _ = failing(strace, tmp_path / "run", f"{opening[0] + 1}+")
    assert ran.returncode == 1
    assert b"acked" not in ran.stdout
    assert_holds(tmp_path / "run" / "messages.sqlite", 0)
