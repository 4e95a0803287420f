"""What the message log said yes to is there, byte for byte, after a kill, for every reader."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filiere.errors import StoreRefused, StoreUnavailable
from filiere.message_log import LAYOUT, Message, MessageLog

TOPIC = b"filiere/v1/caux/textile/t1/extruder/readings"


def batch(n: int, *, start: int = 0) -> list[tuple[bytes, bytes, int]]:
    return [(TOPIC, b"payload %d" % i, 10**18 + i) for i in range(start, start + n)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "messages.sqlite"


@pytest.fixture
def log(path: Path):
    with MessageLog.open(path) as log:
        yield log


def test_a_fresh_log_is_empty(log):
    assert log.head() == 0
    assert log.read(0, 10) == []


def test_messages_come_back_in_the_order_of_arrival_with_offsets_from_one(log):
    assert log.append(batch(3)) == 3
    assert log.append(batch(2, start=3)) == 5
    assert log.head() == 5
    read = log.read(0, 100)
    assert [message.offset for message in read] == [1, 2, 3, 4, 5]
    assert [(message.topic, message.payload, message.record_time_ns) for message in read] == batch(5)


def test_a_reader_goes_on_after_its_bookmark_at_most_limit_at_a_time(log):
    log.append(batch(10))
    assert [message.offset for message in log.read(4, 3)] == [5, 6, 7]
    assert [message.offset for message in log.read(9, 3)] == [10]
    assert log.read(10, 3) == []


def test_an_empty_batch_adds_nothing(log):
    log.append(batch(2))
    assert log.append([]) == 2
    assert log.head() == 2


def test_a_commit_waits_for_the_disk(log):
    """synchronous=FULL (2) in WAL: less loses acknowledged messages at a power cut."""
    assert log._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert log._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert log._connection.execute("PRAGMA fullfsync").fetchone() == (1,)


def test_append_asks_the_disk_before_it_returns(strace, path, tmp_path):
    MessageLog.open(path).close()
    trace = tmp_path / "trace"
    program = (
        "import os, sys, pathlib; from filiere.message_log import MessageLog\n"
        "log = MessageLog.open(pathlib.Path(sys.argv[1]))\n"
        "os.write(2, b'BEFORE'); log.append([(b't', b'p', 1)]); os.write(2, b'AFTER'); log.close()"
    )
    subprocess.run(
        [strace, "-f", "-e", "trace=fsync,fdatasync,write", "-o", trace, sys.executable, "-c", program, path],
        check=True,
        capture_output=True,
    )
    during = trace.read_text().partition('"BEFORE"')[2].partition('"AFTER"')[0]
    assert "sync(" in during


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=st.lists(st.tuples(st.binary(), st.binary(), st.integers(0, 2**63 - 1)), max_size=20))
def test_any_bytes_come_back_as_they_were(log, messages):
    before = log.head()
    assert log.append(messages) == before + len(messages)
    read = log.read(before, len(messages) + 1)
    assert [(message.topic, message.payload, message.record_time_ns) for message in read] == messages
    assert all(type(message.topic) is bytes and type(message.payload) is bytes for message in read)


@pytest.mark.parametrize("raw", [b"", b"\0", b"a\0b", b"\xff\xfe", b"\xed\xa0\x80", b"'; DROP TABLE message; --"])
def test_nul_and_invalid_utf_8_are_kept_in_topic_and_payload(log, raw):
    offset = log.append([(raw, raw, 1)])
    (message,) = log.read(offset - 1, 1)
    assert (message.topic, message.payload) == (raw, raw)


def test_a_payload_of_many_mebibytes_is_kept(log):
    payload = os.urandom(1 << 20) * 16
    log.append([(TOPIC, payload, 1)])
    assert log.read(0, 1)[0].payload == payload


def test_a_batch_is_kept_whole_or_not_at_all(log):
    log.append(batch(1))
    with pytest.raises(StoreRefused):
        log.append([*batch(2), (TOPIC, None, 1)])  # type: ignore[list-item]  # a mistake of the caller
    assert log.head() == 1
    assert log.append(batch(1)) == 2


def test_reopening_goes_on_where_it_stopped(path):
    with MessageLog.open(path) as log:
        log.append(batch(3))
    with MessageLog.open(path) as log:
        assert log.head() == 3
        assert log.append(batch(1, start=3)) == 4
        assert [message.payload for message in log.read(0, 9)] == [b"payload %d" % i for i in range(4)]


WRITER = """
import itertools, pathlib, sys
from filiere.message_log import MessageLog
log = MessageLog.open(pathlib.Path(sys.argv[1]))
for i in itertools.count():
    print(log.append([(b"t", b"%d" % (7 * i + n), 1) for n in range(7)]), flush=True)
"""


def test_a_kill_loses_nothing_that_was_committed(path):
    """Whole batches only, none that was said yes to is missing, in order; five times over on one log."""
    for _ in range(5):
        with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            said = [int(writer.stdout.readline()) for _ in range(20)]
            writer.send_signal(signal.SIGKILL)
            said += [int(line) for line in writer.stdout if line.endswith(b"\n")]
        with MessageLog.open(path) as log:
            assert log.head() >= said[-1]
            assert log.head() % 7 == 0
            read = log.read(said[0] - 7, 10**6)
            assert [message.payload for message in read] == [b"%d" % n for n in range(len(read))]


def test_a_reader_sees_what_was_committed_while_the_writer_goes_on(path, log):
    log.append(batch(1))
    seen: list[int] = []

    def follow() -> None:
        with MessageLog.open_reader(path) as reader:
            while not seen or seen[-1] < 500:
                seen.extend(message.offset for message in reader.read(seen[-1] if seen else 0, 100))

    follower = threading.Thread(target=follow)
    follower.start()
    for start in range(1, 500, 7):
        log.append(batch(7, start=start))
    follower.join(60)
    assert not follower.is_alive()
    assert seen[:500] == list(range(1, 501))


def test_a_reader_cannot_write(path, log):
    with MessageLog.open_reader(path) as reader, pytest.raises(StoreRefused, match="readonly"):
        reader.append(batch(1))
    assert log.head() == 0


def test_a_reader_of_a_log_that_is_not_made_yet_is_told_to_wait(path):
    with pytest.raises(StoreUnavailable, match="no message log yet; start `filiere collect`"):
        MessageLog.open_reader(path)
    assert not path.exists()


def test_a_reader_of_a_log_that_is_being_made_is_told_to_wait(path):
    path.parent.mkdir()
    path.touch()
    with pytest.raises(StoreUnavailable, match="is being made; try again"):
        MessageLog.open_reader(path)


def test_a_second_writer_is_told_that_the_log_is_held(path, log, monkeypatch):
    monkeypatch.setattr("filiere.sqlite_file.BUSY_TIMEOUT_S", 0.0)
    log._connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="another process holds it: only one may write"):
        MessageLog.open(path)
    log._connection.execute("ROLLBACK")


def test_a_full_disk_is_said_and_nothing_is_half_added(log):
    log.append(batch(1))
    (pages,) = log._connection.execute("PRAGMA page_count").fetchone()
    log._connection.execute(f"PRAGMA max_page_count={pages + 2}")
    with pytest.raises(StoreUnavailable, match=r"disk is full.*free space on this disk"):
        log.append([(TOPIC, bytes(100_000), 1)])
    assert log.head() == 1
    log._connection.execute("PRAGMA max_page_count=1000000")
    assert log.append([(TOPIC, bytes(100_000), 1)]) == 2


@pytest.mark.parametrize("opened", [MessageLog.open, MessageLog.open_reader])
def test_a_file_that_is_no_database_is_refused(path, opened):
    path.parent.mkdir()
    path.write_bytes(b"this is a text " * 100)
    with pytest.raises(
        StoreRefused, match=r"messages\.sqlite: got .*not a database.*; stop .* and run `filiere log repair`"
    ):
        opened(path)
    assert path.read_bytes() == b"this is a text " * 100


@pytest.mark.parametrize("opened", [MessageLog.open, MessageLog.open_reader])
def test_a_database_of_another_kind_is_refused_and_left_alone(path, opened):
    path.parent.mkdir()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE customers (name TEXT)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreRefused, match="another kind; expected a message log"):
        opened(path)
    assert path.read_bytes() == before


def test_a_log_of_a_newer_version_is_refused(path):
    with MessageLog.open(path) as log:
        log._connection.execute(f"PRAGMA user_version={LAYOUT.version + 1}")
    with pytest.raises(StoreRefused, match="of version 2; expected 1: use the program that made it"):
        MessageLog.open(path)


def test_a_torn_file_is_refused_with_its_name(path):
    with MessageLog.open(path) as log:
        log.append([(TOPIC, bytes(4_000), 1)] * 200)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with (
        pytest.raises(StoreRefused, match=r"messages\.sqlite: got .*malformed.*run `filiere log repair`"),
        MessageLog.open(path) as log,
    ):
        log.read(0, 1_000)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "data").write_text("")
    with pytest.raises(StoreRefused, match="expected a folder that may be written"):
        MessageLog.open(tmp_path / "data" / "messages.sqlite")


def test_a_folder_name_with_special_signs_is_only_a_name(tmp_path):
    path = tmp_path / "a?mode=ro&x#é 100%" / "messages.sqlite"
    with MessageLog.open(path) as log:
        log.append(batch(1))
    assert path.is_file()
    with MessageLog.open_reader(path) as log:
        assert log.head() == 1


def test_closing_twice_is_harmless(path):
    log = MessageLog.open(path)
    log.close()
    log.close()


def test_the_oldest_message_is_known(log):
    assert log.first() == 0
    log.append(batch(5))
    assert log.first() == 1
    log.prune(3, 100)
    assert log.first() == 3


def test_pruning_takes_the_oldest_below_an_offset_a_few_at_a_time(log):
    log.append(batch(20))
    assert log.prune(11, 4) == 4
    assert [message.offset for message in log.read(0, 3)] == [5, 6, 7]
    assert log.prune(11, 100) == 6
    assert log.prune(11, 100) == 0
    assert [message.payload for message in log.read(0, 100)] == [b"payload %d" % i for i in range(10, 20)]


def test_the_last_message_is_never_pruned_so_that_offsets_do_not_start_again(path, log):
    log.append(batch(5))
    assert log.prune(1_000, 1_000) == 4
    assert log.prune(1_000, 1_000) == 0
    log.close()
    with MessageLog.open(path) as again:
        assert (again.first(), again.head()) == (5, 5)
        assert again.append(batch(1)) == 6


def test_pruning_stops_at_what_is_younger(log):
    log.append([(TOPIC, b"", time_ns) for time_ns in (1, 2, 3, 10, 11, 12)])
    assert log.prune(100, 100, older_than_ns=10) == 3
    assert log.prune(100, 100, older_than_ns=10) == 0


def test_one_message_from_a_clock_that_ran_ahead_does_not_stop_the_pruning(log):
    log.append([(TOPIC, b"", time_ns) for time_ns in (10**18, 2, 3, 10, 11)])
    assert log.prune(100, 100, older_than_ns=10) == 3


def test_pruning_large_messages_is_limited_by_their_bytes(log):
    log.append([(TOPIC, bytes(200_000), 1)] * 20)
    pruned = [log.prune(1_000, 1_000) for _ in range(5)]
    assert pruned == [6, 6, 6, 1, 0]


def test_a_pruned_log_gives_its_space_back(path, log):
    log.append([(TOPIC, bytes(4_000), 1)] * 5_000)
    log.prune(5_000, 10**6)
    while log.prune(5_000, 10**6):
        pass
    full = path.stat().st_size
    while log.give_back(500):
        pass
    log.append(batch(1))
    log.close()
    assert path.stat().st_size < full / 3
    with MessageLog.open(path) as again:
        assert [message.offset for message in again.read(0, 9)] == [5_000, 5_001]


def test_a_log_that_an_older_program_made_is_pruned_and_keeps_its_size(path):
    path.parent.mkdir()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(LAYOUT.tables[0])
    connection.execute(f"PRAGMA application_id={LAYOUT.application_id}")
    connection.execute("PRAGMA user_version=1")
    connection.close()
    with MessageLog.open(path) as log:
        log.append([(TOPIC, bytes(4_000), 1)] * 3_000)
        while log.prune(3_000, 10**6):
            pass
        assert log.give_back(500) == 0
        assert log.first() == 3_000
        assert log.lost() == ()
        assert log.append(batch(2)) == 3_002


@pytest.mark.parametrize(("time_ns", "offset"), [(0, 4), (30, 4), (31, 5), (40, 5), (45, 6), (60, 7), (61, 8)])
def test_the_message_of_a_time_is_found(log, time_ns, offset):
    log.append([(TOPIC, b"", time_ns) for time_ns in (1, 2, 3, 30, 40, 50, 60)])
    log.prune(4, 100)
    assert log.offset_at(time_ns) == offset


def test_an_empty_log_has_no_message_of_any_time(log):
    assert log.offset_at(0) == log.offset_at(10**18) == 1


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 60), st.integers(1, 9)), max_size=12))
def test_pruned_and_appended_in_any_order_what_remains_is_as_it_was(tmp_path_factory, steps):
    with MessageLog.open(tmp_path_factory.mktemp("log") / "messages.sqlite") as log:
        head = 0
        for count, before, limit in steps:
            head = log.append(batch(count, start=head)) if count else head
            log.prune(before, limit)
            log.give_back(limit)
            kept = log.read(0, 1_000)
            assert [message.offset for message in kept] == list(range(log.first(), head + 1)) or not head
            assert all(message.payload == b"payload %d" % (message.offset - 1) for message in kept)


def test_what_lies_before_a_damaged_place_is_read_and_the_damage_is_named(path):
    with MessageLog.open(path) as log:
        for start in range(0, 4_000, 400):
            log.append(batch(400, start=start))
    damage(path, page=40)
    read: list[Message] = []
    told = ""
    with MessageLog.open_reader(path) as log:
        while not told:
            try:
                read += log.read(len(read), 4_000)
            except StoreRefused as refused:
                told = str(refused)
    assert re.search(r"messages \d+ to \d+ cannot be read; stop .*filiere log repair", told)
    assert [message.payload for message in read] == [b"payload %d" % n for n in range(len(read))]
    assert len(read) > 1_000
    assert f"messages {len(read) + 1} to" in told


def damage(path, *, page, pages=1):
    whole = bytearray(path.read_bytes())
    whole[page * 4096 : (page + pages) * 4096] = bytes(pages * 4096)
    path.write_bytes(whole)
