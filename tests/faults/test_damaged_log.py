"""A damaged message log: nothing is acknowledged that it could not keep, people are told what to do, and that helps."""

import os
import subprocess
import sys

import pytest

from collector.intake.status import read_intake_status
from collector.recorder.book import RecordBook
from filiere.message_log import MessageLog
from tests.collector.mqtt import Publisher, session, until
from tests.faults.real_intake import environment, intake, words

PAGE = 4096
TOPIC = "filiere/v1/caux/textile/t1/extruder/readings"
MESSAGES = 3_000


def fill(folder):
    with MessageLog.open(folder / "messages.sqlite") as log:
        log.append([(TOPIC.encode(), b"payload %d".ljust(120) % n, n) for n in range(MESSAGES)])


def damage(folder, page):
    """Zeros in the place of a page; -1 = the last one."""
    with (folder / "messages.sqlite").open("r+b") as file:
        file.seek(page * PAGE, os.SEEK_SET if page >= 0 else os.SEEK_END)
        file.write(bytes(PAGE))


def filiere(folder, mosquitto, client_id, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "filiere", *arguments],
        env=environment(folder, mosquitto, client_id),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_an_intake_on_a_damaged_log_holds_until_it_is_repaired_and_loses_nothing(mosquitto, tmp_path):
    folder = tmp_path / "data"
    fill(folder)

    def status():
        return read_intake_status(folder / "intake.status")

    def head():
        with MessageLog.open_reader(folder / "messages.sqlite") as log:
            return log.head()

    with session(mosquitto) as client_id, Publisher(mosquitto) as publisher:
        with intake(folder, mosquitto, client_id):  # so that the broker has its session
            until(lambda: (now := status()) and now.connected, why=lambda: words(folder))
        damage(folder, 0)
        with intake(folder, mosquitto, client_id):
            until(lambda: (now := status()) and now.problem, why=lambda: words(folder))
            assert "filiere log repair" in status().problem
            for number in range(20):
                publisher.publish(TOPIC, b"kept by the broker %d" % number)
            publisher.flush()
            refused = filiere(folder, mosquitto, client_id, "log", "repair", "--yes")
            assert refused.returncode == 2
            assert "stop that `filiere collect` first" in refused.stderr
        repaired = filiere(folder, mosquitto, client_id, "log", "repair", "--yes", "--lang", "en")
        assert repaired.returncode == 0, repaired.stderr
        assert "Nothing is lost." in repaired.stdout
        with intake(folder, mosquitto, client_id):
            until(lambda: head() >= MESSAGES + 20, why=lambda: words(folder))
    with MessageLog.open_reader(folder / "messages.sqlite") as log:
        assert [each.payload for each in log.read(MESSAGES, 100)] == [b"kept by the broker %d" % n for n in range(20)]


@pytest.mark.parametrize(("page", "first_lost"), [(60, range(1_000, 2_000)), (-1, range(MESSAGES - 40, MESSAGES + 1))])
def test_a_recorder_that_meets_damage_says_which_messages_and_goes_on_behind_them_after_a_repair(
    mosquitto, tmp_path, page, first_lost
):
    folder = tmp_path / "data"
    fill(folder)
    damage(folder, page)
    with session(mosquitto) as client_id:
        stopped = filiere(folder, mosquitto, client_id, "collect", "--only", "recorder")
        assert stopped.returncode == 2
        assert "cannot be read; stop `filiere collect` and run `filiere log repair`" in stopped.stderr
        with RecordBook.open_reader(folder / "recorder.sqlite") as book:
            assert book.progress().bookmark + 1 in first_lost
        assert filiere(folder, mosquitto, client_id, "log", "repair", "--yes").returncode == 1
        assert filiere(folder, mosquitto, client_id, "log", "rewind", "--start", "--yes").returncode == 0
