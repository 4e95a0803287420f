"""The recorder's book: a book of the first version goes on, and what only rewinds need goes with the log."""

import sqlite3

import pytest

from collector.accounts.audit import audit
from collector.foreign.births import BIRTHS_MAX
from collector.recorder.book import ChunkRecord, ForeignKey, RecordBook
from filiere.clock import NS_PER_S
from filiere.errors import StoreUnavailable
from tests.chain_events import portion, received, started
from tests.collector.book_by_hand import progress
from tests.collector.builders import EXTRUDER, LINE, NOON_NS, TERMINAL_TOPIC, TOPIC, Rig, event, readings

VERSION_1 = """
CREATE TABLE progress (
  id INTEGER PRIMARY KEY CHECK (id = 1), bookmark INTEGER NOT NULL, bookmark_ns INTEGER NOT NULL,
  log_head INTEGER NOT NULL, ledger_position INTEGER NOT NULL, store_problem TEXT, updated_ns INTEGER NOT NULL
);
CREATE TABLE numbers (
  device TEXT NOT NULL, boot TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  PRIMARY KEY (device, boot, first)
) WITHOUT ROWID;
CREATE TABLE counts (
  device TEXT PRIMARY KEY, stored INTEGER NOT NULL DEFAULT 0, duplicates INTEGER NOT NULL DEFAULT 0,
  late INTEGER NOT NULL DEFAULT 0, clock_suspect INTEGER NOT NULL DEFAULT 0, out_of_range INTEGER NOT NULL DEFAULT 0,
  last_event_ns INTEGER NOT NULL DEFAULT 0, last_record_ns INTEGER NOT NULL DEFAULT 0,
  skew_ns INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE TABLE quarantine (
  "offset" INTEGER PRIMARY KEY, device TEXT NOT NULL, topic BLOB NOT NULL, payload BLOB NOT NULL,
  reason TEXT NOT NULL, message TEXT NOT NULL, record_time_ns INTEGER NOT NULL,
  rows INTEGER NOT NULL, numbered INTEGER
);
CREATE TABLE waiting ("offset" INTEGER PRIMARY KEY, device TEXT NOT NULL, event_id TEXT NOT NULL);
PRAGMA application_id = 1181303345;
PRAGMA user_version = 1;
"""


@pytest.fixture
def rig(tmp_path):
    with Rig(tmp_path) as rig:
        yield rig


def as_version_1(rig):
    """What an earlier version left of a book that has neither repeats nor foreign rows; its connection is closed."""
    rig.book.close()
    new, old = rig.book_path, rig.folder / "old.sqlite"
    with sqlite3.connect(old) as connection:
        connection.executescript(VERSION_1)
        connection.execute("ATTACH ? AS book", (str(new),))
        connection.execute(
            "INSERT INTO progress SELECT id, bookmark, recorded_ns, log_head, ledger_position, store_problem,"
            " updated_ns FROM book.progress"
        )
        for table in ("numbers", "counts", "quarantine", "waiting"):
            columns = ", ".join(f'"{row[1]}"' for row in connection.execute(f"PRAGMA main.table_info({table})"))
            connection.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM book.{table}")
        connection.commit()
        connection.execute("DETACH book")
    connection.close()
    for file in rig.folder.glob("recorder.sqlite*"):
        file.unlink()
    old.rename(new)


def test_a_book_of_version_1_goes_on_where_it_was(rig):
    rig.arrive(readings(seq=0, rows=3), readings(seq=1), readings(seq=3, colour=1, rows=2), b"hello")
    rig.record(event(0, started("R1", "S1", portion("B1", "900"))), event(1, received("B2")), topic=TERMINAL_TOPIC)
    before = audit(rig.book_path)
    as_version_1(rig)
    with pytest.raises(StoreUnavailable, match="brings it up to date"):
        RecordBook.open_reader(rig.book_path)
    rig.restart()
    assert audit(rig.book_path) == before
    rig.record(readings(seq=5), readings(seq=2))
    rig.record(event(2, received("B1")), topic=TERMINAL_TOPIC)  # the event that waited is refused, with its bytes
    extruder, terminal = audit(rig.book_path)
    assert (extruder.stored, extruder.duplicates, extruder.quarantined, extruder.closes) == (4, 2, 3, True)
    assert (terminal.stored, terminal.quarantined, terminal.closes) == (2, 1, True)
    assert rig.retry().left == 3
    assert audit(rig.book_path) == (extruder, terminal)


def test_what_version_1_recorded_is_not_rewound(rig):
    rig.record(readings(seq=0), readings(seq=1))
    as_version_1(rig)
    rig.restart()
    rig.record(readings(seq=2))
    assert "expected 3 or later" in rig.recorder.rewind(1).problem
    assert rig.recorder.rewind(3).problem is None


def test_what_only_a_rewind_needs_goes_with_the_beginning_of_the_log(rig):
    rig.record(readings(seq=0), readings(seq=0), readings(seq=1), readings(seq=1))
    assert set(rig.book.earlier([1, 2, 3, 4])) == {2, 4}
    rig.log.prune(before=4, limit=3)
    rig.clock_ns += 120 * NS_PER_S
    rig.recorder._each_minute()
    assert set(rig.book.earlier([1, 2, 3, 4])) == {4}
    rig.rewind(1)
    assert rig.stored() == [(NOON_NS, 230.0, 0), (NOON_NS + NS_PER_S + 1, 230.0, 0)]


def test_of_births_the_newest_are_kept(tmp_path):
    with RecordBook.open(tmp_path / "recorder.sqlite") as book:
        record = ChunkRecord(progress=progress())
        record.births += [(b"g/n", offset, b"%d" % offset) for offset in range(BIRTHS_MAX + 10)] + [(b"g/m", 3, b"m")]
        book.commit(record)
        assert [offset for offset, _ in book.births(b"g/n")] == list(range(10, BIRTHS_MAX + 10))
        assert list(book.births(b"g/m")) == [(3, b"m")]


def test_pages_of_the_quarantine_go_from_the_oldest_to_the_newest(rig):
    rig.record(*(b"%d?" % number for number in range(7)))
    pages, after = [], 0
    while page := [each.offset for each in rig.book.quarantine(after=after, limit=3)]:
        pages.append(page)
        after = page[-1]
    assert pages == [[1, 2, 3], [4, 5, 6], [7]]
    assert [each.offset for each in rig.book.quarantine(limit=2)] == [7, 6]
    assert [each.offset for each in rig.book.quarantine(offsets=[2, 5, 9])] == [5, 2]
    assert rig.book.quarantined_messages(reason="not_json", device=EXTRUDER) == 7
    assert rig.book.quarantined_messages(device=f"{LINE}/oven") == 0


def test_a_key_of_a_foreign_row_is_known_until_it_is_forgotten(tmp_path):
    with RecordBook.open(tmp_path / "recorder.sqlite") as book:
        record = ChunkRecord(progress=progress())
        record.foreign.append(ForeignKey(key=b"k" * 16, offset=5, device=EXTRUDER))
        book.commit(record)
        assert (book.foreign_offset(b"k" * 16), book.foreign_offset(b"x" * 16)) == (5, None)
        book.forget_before(6)
        assert book.foreign_offset(b"k" * 16) is None


def test_a_log_whose_recorded_beginning_is_pruned_is_the_same_log(rig):
    rig.record(*(readings(seq=seq) for seq in range(5)))
    rig.log.prune(before=100, limit=100)
    rig.restart()
    rig.rewind(1)
    rig.restart()
    rig.recorder._refuse_other_files()
    rig.record(readings(seq=5))
    assert len(rig.stored()) == 6


def test_a_log_that_was_made_anew_goes_on_behind_what_was_lost(rig):
    rig.record(*(readings(seq=seq) for seq in range(5)))
    rig.log.close()
    for file in rig.folder.glob("messages.sqlite*"):
        file.unlink()
    rig.log = type(rig.log).open(rig.folder / "messages.sqlite")
    rig._stack.callback(rig.log.close)
    rig.log.close_gaps(1, 7)
    rig.restart()
    rig.recorder._begin()
    rig.record(readings(seq=5))
    assert rig.book.progress().bookmark == 8
    assert len(rig.stored()) == 6


def test_numbers_are_read_from_the_book_when_they_are_not_in_memory(rig, monkeypatch):
    monkeypatch.setattr("collector.recorder.seen.BOOTS_KEPT", 2)
    for number in range(6):
        rig.record(readings(seq=0, boot=f"b{number}"))
    assert len(rig.recorder._seen._numbers) == 2
    rig.record(*(readings(seq=0, boot=f"b{number}") for number in range(6)))
    (account,) = audit(rig.book_path)
    assert (account.stored, account.duplicates) == (6, 6)


def test_a_device_that_leaves_out_numbers_on_purpose_fills_neither_memory_nor_book(rig, monkeypatch):
    monkeypatch.setattr("collector.recorder.seen.SPANS_MAX", 10)
    rig.record(*(readings(seq=2 * number) for number in range(15)))
    assert [(each.reason, each.seq) for each in rig.book.quarantine()][-1] == ("too_many_gaps", 20)
    rig.record(*(readings(seq=2 * number + 1) for number in range(4)), topic=TOPIC)
    assert rig.retry().left == 0
    (account,) = audit(rig.book_path)
    assert (account.stored, account.missing) == (19, 10)
