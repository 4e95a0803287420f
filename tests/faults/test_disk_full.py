"""The disk is full: the real intake acknowledges nothing more, says so, and goes on as soon as there is room."""

import json
import subprocess
from contextlib import suppress

import pytest

from collector.intake.status import read_intake_status
from filiere.errors import StoreUnavailable
from filiere.message_log import MessageLog
from tests.collector.mqtt import Publisher, session, until
from tests.faults.real_intake import intake
from tests.faults.real_intake import words as words_of
from tests.servers import unavailable

DISK_BYTES, FILLER_BYTES = 24 * 1024 * 1024, 18 * 1024 * 1024
MESSAGES, MESSAGE_BYTES = 3_000, 4_000
TOPIC = "filiere/v1/caux/textile/t1/extruder/readings"
ROOM_S_MAX = 5.0
"""How soon after there is room messages are acknowledged again."""


@pytest.fixture
def small_disk(tmp_path):
    """A file system of DISK_BYTES."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        unavailable("small disk not found: mounting a tmpfs needs root")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def payload(number):
    return json.dumps({"number": number}).encode().ljust(MESSAGE_BYTES)


def kept(folder):
    """Numbers of the messages in the log, in order, the first of each."""
    numbers, after = {}, 0
    with suppress(StoreUnavailable), MessageLog.open_reader(folder / "messages.sqlite") as log:
        while messages := log.read(after, 1_000):
            after = messages[-1].offset
            for message in messages:
                number = json.loads(message.payload)["number"]
                assert message.payload == payload(number)
                numbers[number] = None
    return list(numbers)


def head(folder):
    try:
        with MessageLog.open_reader(folder / "messages.sqlite") as log:
            return log.head()
    except StoreUnavailable:
        return 0


def test_a_full_disk_stops_the_acknowledgements_and_room_starts_them_again(mosquitto, small_disk):
    filler, status_path = small_disk / "filler", small_disk / "intake.status"

    def status():
        return read_intake_status(status_path)

    def words():
        return f"{status()}\n{words_of(small_disk)}"

    with session(mosquitto) as client_id, Publisher(mosquitto) as publisher:
        with intake(small_disk, mosquitto, client_id):
            until(lambda: (now := status()) and now.connected, why=words)
            filler.write_bytes(bytes(FILLER_BYTES))
            for number in range(MESSAGES):
                publisher.publish(TOPIC, payload(number), name=number)
            publisher.flush()  # the broker has them all, and keeps what the intake does not acknowledge
            until(lambda: status().problem is not None, why=words)
            assert "free space on this disk" in status().problem
            assert "nothing is acknowledged" in words()
            before = kept(small_disk)
            assert before == list(range(len(before)))
            assert 0 < len(before) < MESSAGES
            assert status().acknowledged <= head(small_disk)
        with intake(small_disk, mosquitto, client_id):  # killed and started again, there is still no room
            until(lambda: status().problem is not None, why=words)
            assert set(before) <= set(kept(small_disk))
            stood = head(small_disk)
            filler.unlink()
            until(lambda: head(small_disk) > stood, seconds=ROOM_S_MAX, why=words)
            until(lambda: len(kept(small_disk)) == MESSAGES, why=words)
            until(lambda: status().problem is None, why=words)
    assert publisher.acknowledged == list(range(MESSAGES))
    assert sorted(kept(small_disk)) == list(range(MESSAGES))
