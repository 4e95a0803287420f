"""A damaged log: all that can be read is kept at its offset, what is lost is named, and nothing is made up."""

import os
import shutil
import sqlite3
import struct
from contextlib import suppress
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filiere.errors import StoreRefused, StoreUnavailable
from filiere.log_repair import messages_of_pages, repair
from filiere.message_log import Message, MessageLog, Unreadable

MESSAGES = 6_000
PAGE = 4096
INTERIOR = 5
FIRST_TABLE_PAGE = 2
"""Counted from 0: page 1 is the header, page 2 the map of pages, page 3 the root of the messages."""


def message(offset):
    """Mostly small ones; some fill several pages."""
    size = 10_000 if offset % 500 == 7 else 100
    return Message(offset, b"topic %d" % (offset % 7), (b"%d " % offset * size)[:size], 10**18 + offset)


def filled(path, messages=MESSAGES):
    with MessageLog.open(path) as log:
        for start in range(1, messages + 1, 500):
            some = [message(offset) for offset in range(start, start + 500)]
            log.append([(each.topic, each.payload, each.record_time_ns) for each in some])
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return filled(tmp_path_factory.mktemp("whole") / "messages.sqlite")


@pytest.fixture
def path(whole, tmp_path):
    (tmp_path / "data").mkdir()
    return shutil.copy(whole, tmp_path / "data" / "messages.sqlite")


def overwrite(path, *pages, content=None):
    with path.open("r+b") as file:
        for page in pages:
            file.seek(page * PAGE)
            file.write(os.urandom(PAGE) if content is None else content)


def repaired(path, head=MESSAGES):
    return repair(path, head=head, suffix="damaged", note=lambda _: None)


def assert_true(path, lost):
    """All that is kept is as it was, all that is not is named, and offsets go on above."""
    gone = {offset for span in lost for offset in range(span.first, span.last + 1)}
    with MessageLog.open(path) as log:
        kept = [each for part in log.walk() for each in part]
        assert kept == [message(offset) for offset in range(1, MESSAGES + 1) if offset not in gone]
        assert log.lost() == lost
        assert log.append([(b"t", b"p", 1)]) == MESSAGES + 1
        assert log.append([(b"t", b"p", 1)] * 2) == MESSAGES + 3


def test_a_log_in_order_loses_nothing(path):
    done = repaired(path)
    assert (done.kept, done.lost) == (MESSAGES, ())
    assert_true(path, ())
    assert sorted(each.name for each in path.parent.iterdir()) == ["messages.damaged.sqlite", "messages.sqlite"]


def test_damaged_pages_lose_their_own_messages_and_no_others(path):
    overwrite(path, 50, 51, 120)
    done = repaired(path)
    assert 2 <= len(done.lost) <= 3
    assert MESSAGES - 200 < done.kept < MESSAGES
    assert_true(path, done.lost)


def overwrite_end(path, content):
    """The second half of the page that has the last messages."""
    pages = path.read_bytes()
    page = FIRST_TABLE_PAGE * PAGE
    while pages[page] == INTERIOR:
        (number,) = struct.unpack_from(">I", pages, page + 8)
        page = (number - 1) * PAGE
    with path.open("r+b") as file:
        file.seek(page + PAGE // 2)
        file.write(content)


TORN = pytest.mark.parametrize("seed", [None, 1, 2, 3], ids=["zeros", "noise", "more noise", "other noise"])


def torn(seed):
    return bytes(PAGE // 2) if seed is None else Random(seed).randbytes(PAGE // 2)


@TORN
def test_behind_a_torn_end_nothing_is_appended_where_nobody_would_find_it(path, seed):
    overwrite_end(path, torn(seed))
    for opened in (MessageLog.open, MessageLog.open_reader):
        with pytest.raises(StoreRefused, match="filiere log repair"), opened(path) as log:
            log.head()


def test_an_end_that_is_torn_while_the_log_is_open_takes_nothing_more(path):
    with MessageLog.open(path) as log:
        overwrite_end(path, torn(None))
        log._connection.execute("PRAGMA shrink_memory")  # as when other pages take the place of this one
        with pytest.raises(StoreRefused, match="filiere log repair"):
            log.append([(b"t", b"p", 1)])
        assert log.read(0, 1) == [message(1)]


@TORN
def test_what_was_at_an_end_that_nobody_has_seen_is_said_to_be_lost(path, seed):
    overwrite_end(path, torn(seed))
    done = repaired(path, head=0)
    assert done.lost == (Unreadable(first=done.kept + 1, last=None),)
    with MessageLog.open(path) as log:
        assert log.append([(b"t", b"p", 1)]) == done.kept + 1


@TORN
def test_a_torn_end_is_read_up_to_where_it_is_torn(path, seed):
    overwrite_end(path, torn(seed))
    with MessageLog.open_damaged(path) as log:
        *readable, lost = log.walk()
        read = [each for part in readable for each in part]
        assert read == [message(offset) for offset in range(1, len(read) + 1)]
        assert MESSAGES - 30 < len(read) < MESSAGES
        assert lost == Unreadable(first=len(read) + 1, last=None)
        with pytest.raises(StoreRefused, match=f"messages {len(read) + 1} to the end cannot be read"):
            log.read(len(read), 10)


def test_messages_that_are_missing_in_the_middle_of_a_page_are_not_passed_over(path):
    with MessageLog.open(path) as log:
        log._connection.execute('DELETE FROM message WHERE "offset" IN (70, 71, 200)')
    with MessageLog.open_reader(path) as log:
        assert [each.offset for each in log.read(0, 1_000)][-1] < 70
        with pytest.raises(StoreRefused, match="messages 70 to 71 cannot be read"):
            log.read(69, 1_000)
    assert repaired(path).lost == (Unreadable(first=70, last=71), Unreadable(first=200, last=200))
    with MessageLog.open_reader(path) as log:
        assert [each.offset for each in log.read(69, 2)] == [72, 73]
        assert [each.offset for each in log.read(70, 2)] == [72, 73]


@TORN
def test_a_torn_end_is_not_taken_for_another_log(path, seed):
    overwrite_end(path, torn(seed))
    recorded = (MESSAGES, message(MESSAGES).record_time_ns)
    done = repair(path, head=MESSAGES, suffix="damaged", note=lambda _: None, recorded=recorded)
    assert MESSAGES - 30 < done.kept < MESSAGES
    assert_true(path, done.lost)


def test_a_file_that_was_cut_off_keeps_what_is_left_of_it(path):
    os.truncate(path, path.stat().st_size // 2 // PAGE * PAGE + 700)
    done = repaired(path)
    assert done.kept > MESSAGES / 3
    assert done.lost[-1].last == MESSAGES
    assert_true(path, done.lost)


@pytest.mark.parametrize("page", [0, 1, FIRST_TABLE_PAGE], ids=["header", "map of pages", "root of the messages"])
@pytest.mark.parametrize("content", [bytes(PAGE), None], ids=["zeros", "noise"])
def test_the_pages_that_everything_hangs_on_lose_nothing(path, page, content):
    overwrite(path, page, content=content)
    done = repaired(path)
    assert done.lost == ()
    assert_true(path, ())


@pytest.fixture(params=[(0, bytes(PAGE)), (16, b"\x20\x00")], ids=["no header", "another page size"])
def with_wal(path, request):
    """Killed with a full -wal, and the header of the file is damaged: with another page size SQLite can use neither."""
    place, damage = request.param
    copy = path.parent / "killed.sqlite"
    with MessageLog.open(path) as log:
        log.append([(b"late", b"in the -wal alone", 5)])
        shutil.copy(path, copy)
        shutil.copy(f"{path}-wal", f"{copy}-wal")
    with copy.open("r+b") as file:
        file.seek(place)
        file.write(damage)
    return copy


def assert_has_what_was_in_the_wal(path, done):
    assert (done.kept, done.lost) == (MESSAGES + 1, ())
    with MessageLog.open_reader(path) as log:
        assert log.read(MESSAGES, 9) == [Message(MESSAGES + 1, b"late", b"in the -wal alone", 5)]


def test_what_was_committed_and_not_yet_in_the_file_is_kept_too(with_wal):
    with pytest.raises(StoreRefused, match="run `filiere log repair`"):
        MessageLog.open(with_wal)
    assert_has_what_was_in_the_wal(with_wal, repaired(with_wal))


@pytest.mark.parametrize("call", ["os.link", "pathlib.Path.rename", "pathlib.Path.replace"])
def test_a_repair_that_is_killed_while_it_puts_the_files_in_place_is_done_again(with_wal, monkeypatch, call):
    class Kill(BaseException):
        pass

    def kill(*_):
        raise Kill

    with monkeypatch.context() as patch, suppress(Kill):  # no rename where there is no -wal any more
        patch.setattr(call, kill)
        repaired(with_wal)
    assert_has_what_was_in_the_wal(with_wal, repair(with_wal, head=MESSAGES, suffix="again", note=lambda _: None))


def test_offsets_that_were_lost_at_the_end_are_not_given_again(path):
    os.truncate(path, 100 * PAGE)
    done = repaired(path, head=MESSAGES + 40)
    assert done.lost[-1].last == MESSAGES + 40
    for _ in range(2):
        with MessageLog.open(path) as log:
            assert log.append([(b"t", b"p", 1)] * 3) in (MESSAGES + 43, MESSAGES + 46)


def test_a_repair_that_was_broken_off_is_done_again(path):
    overwrite(path, 50)
    path.with_suffix(".repaired").write_bytes(b"half")
    done = repaired(path)
    assert_true(path, done.lost)


def test_a_second_repair_keeps_what_the_first_one_wrote_down(path):
    overwrite(path, 50)
    first = repaired(path)
    second = repair(path, head=MESSAGES, suffix="again", note=lambda _: None)
    assert second.lost == first.lost


def test_there_is_nothing_to_repair_where_there_is_no_log(tmp_path):
    with pytest.raises(StoreUnavailable, match="no message log there"):
        repaired(tmp_path / "messages.sqlite")


def test_walking_names_each_damaged_part(path):
    overwrite(path, 50, 120)
    with MessageLog.open_damaged(path) as log:
        parts = list(log.walk())
    unreadable = [part for part in parts if isinstance(part, Unreadable)]
    read = [each for part in parts if isinstance(part, list) for each in part]
    gone = {offset for span in unreadable for offset in range(span.first, span.last + 1)}
    assert len(unreadable) == 2
    assert read == [message(offset) for offset in range(1, MESSAGES + 1) if offset not in gone]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_whatever_is_damaged_nothing_that_is_kept_was_never_sent(tmp_path_factory, whole, data, seed):
    noise = Random(seed)
    path = shutil.copy(whole, tmp_path_factory.mktemp("damaged") / "messages.sqlite")
    pages = path.stat().st_size // PAGE
    for page in data.draw(st.lists(st.integers(0, pages - 1), min_size=1, max_size=6)):
        overwrite(path, page, content=noise.randbytes(PAGE))
    done = repaired(path)
    gone = {offset for span in done.lost for offset in range(span.first, span.last + 1)}
    with MessageLog.open_reader(path) as log:
        for part in log.walk():
            for each in part:
                assert each.offset in range(1, MESSAGES + 1)
                # a page in the middle of a large payload has no mark of its own: its noise is taken for payload
                assert each == message(each.offset) or len(each.payload) == 10_000
        assert log.count() == MESSAGES - len(gone)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.binary(max_size=80), st.integers(0, 20_000), st.integers(-(2**63), 2**63 - 1)), max_size=20)
)
def test_pages_read_by_themselves_give_what_sqlite_gives(tmp_path_factory, messages):
    path = tmp_path_factory.mktemp("pages") / "messages.sqlite"
    with MessageLog.open(path) as log:
        log.append([(topic, b"x" * size, time_ns) for topic, size, time_ns in messages])
        expected = log.read(0, 100)
    assert sorted(messages_of_pages(path), key=lambda each: each.offset) == expected


def test_a_file_of_another_kind_gives_no_messages(tmp_path):
    path = tmp_path / "other.sqlite"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE customers (name TEXT, age INTEGER)")
    other.executemany("INSERT INTO customers VALUES (?, ?)", [("a", 1), ("b", 2)])
    other.commit()
    other.close()
    assert list(messages_of_pages(path)) == []
