"""The equation: published = stored + quarantined + waiting, for one book and for several together."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.accounts.audit import GAPS_LISTED, NO_DEVICE, DeviceAccount, Gap, audit, recorder_state
from collector.accounts.book import AccountBook
from collector.accounts.union import NumberedBook, overlaps, united
from collector.accounts.write_offs import add_write_offs, write_offs_path
from filiere.errors import StoreRefused, StoreUnavailable
from tests.collector.book_by_hand import DRYER, EXTRUDER, NOON_NS, Book


@pytest.fixture
def book(tmp_path):
    return Book(tmp_path / "recorder.sqlite")


@pytest.fixture
def other(tmp_path):
    (tmp_path / "south").mkdir()
    return Book(tmp_path / "south" / "recorder.sqlite")


def account(*books: Book, device: str = EXTRUDER) -> DeviceAccount:
    (found,) = [each for each in audit(*(book.write() for book in books)) if each.device == device]
    return found


def sides(found: DeviceAccount) -> tuple[int, int, int, int]:
    return found.published, found.stored, found.quarantined, found.waiting


# ---- one book


def test_what_arrived_whole_closes(book):
    found = account(book.stored(0, 39).refused(40, rows=2).waiting(42))
    assert sides(found) == (43, 40, 2, 1)
    assert (found.closes, found.missing, found.gaps) == (True, 0, ())


def test_what_never_arrived_leaves_the_account_open_and_is_named(book):
    found = account(book.stored(3, 4).stored(8).stored(2, boot="a"))
    assert (found.published, found.stored, found.missing, found.closes) == (12, 4, 8, False)
    assert found.gaps == (
        Gap(boot="9f2c", first=0, last=2),
        Gap(boot="9f2c", first=5, last=7),
        Gap(boot="a", first=0, last=1),
    )


def test_only_the_first_gaps_are_named_and_all_are_counted(book):
    for number in range(1, 101, 2):
        book.stored(number).stored(number, device=DRYER)
    found = account(book)
    assert len(found.gaps) == GAPS_LISTED
    assert found.missing == 50


def test_a_message_whose_number_cannot_be_read_stands_for_a_missing_one_or_for_itself(book):
    found = account(book.stored(0).stored(2).refused().refused())
    assert sides(found) == (4, 2, 2, 0)
    assert (found.closes, found.missing) == (True, 0)


def test_a_refused_state_takes_no_number(book):
    found = account(book.stored(0).stored(2).refused(numbered=None, reason="wrong_shape"))
    assert (found.published, found.missing, found.unnumbered, found.closes) == (4, 1, 1, False)


def test_rows_without_numbers_count_on_both_sides(book):
    found = account(book.foreign(b"a", b"b"), device=DRYER)
    assert (found.published, found.stored, found.unnumbered, found.missing, found.closes) == (2, 2, 2, 0, True)


@pytest.mark.parametrize("reason", ["unknown_device", "wrong_topic"])
def test_a_stray_message_in_the_name_of_a_stranger_leaves_no_account_open(book, reason):
    book.stored(0).refused(41, device="caux/textile/t1/extuder", reason=reason).refused(device="", reason=reason)
    accounts = audit(book.write())
    assert [each.device for each in accounts] == [EXTRUDER, NO_DEVICE]
    assert sides(accounts[1]) == (2, 0, 2, 0)
    assert all(each.closes for each in accounts)
    assert accounts[1].gaps == ()


def test_a_device_of_the_plant_that_was_refused_for_a_while_keeps_its_own_account(book):
    found = account(book.refused(0, reason="unknown_device").stored(1))
    assert (sides(found), found.closes) == ((2, 1, 1, 0), True)


def test_a_device_that_only_sends_nonsense_is_no_stranger(book):
    found = account(book.refused(41))
    assert (found.published, found.missing, found.closes) == (42, 41, False)


def test_numbers_as_large_as_the_wire_allows_add_up(book):
    for boot in range(2000):
        book.stored(2**53, boot=str(boot))
    assert account(book).published == 2000 * (2**53 + 1)


def test_a_hundred_thousand_gaps_are_counted(book):
    book.record.spans += [(EXTRUDER, "9f2c", 2 * n + 1, 2 * n + 1) for n in range(100_000)]
    book.record.device(EXTRUDER).stored = 100_000
    assert account(book).missing == 100_000


def test_no_book_and_a_file_that_is_none_are_told_apart(tmp_path):
    with pytest.raises(StoreUnavailable, match="start `filiere collect`"):
        audit(tmp_path / "recorder.sqlite")
    (tmp_path / "recorder.sqlite").write_bytes(b"hello" * 1000)
    with pytest.raises(StoreRefused):
        audit(tmp_path / "recorder.sqlite")
    with pytest.raises(StoreRefused):
        recorder_state(tmp_path / "recorder.sqlite")


def test_what_is_refused_is_told_in_messages_as_the_quarantine_lists_them(book):
    assert recorder_state(book.refused(0, rows=40).refused(40, rows=2).write()).quarantined == 2


# ---- what a person gave up


def give_up(book: Book, reason: str = "the switch burnt") -> None:
    path = book.write()
    with AccountBook.open_reader(path) as reader:
        add_write_offs(write_offs_path(path), reader.open_boots(), reason=reason, now_ns=NOON_NS)


def test_what_was_written_off_closes_the_account_and_stays_visible(book):
    give_up(book.stored(3, 4).stored(8))
    found = account(book)
    assert (found.published, found.stored, found.written_off, found.missing, found.closes) == (9, 3, 6, 0, True)
    assert len(found.gaps) == 2


def test_a_later_loss_opens_the_account_again(book):
    give_up(book.stored(1))
    found = account(book.stored(5).stored(2, boot="b"))
    assert (found.written_off, found.missing, found.closes) == (1, 5, False)
    give_up(book)
    assert (account(book).written_off, account(book).missing) == (6, 0)


def test_a_row_that_arrives_after_all_is_stored_and_written_off_no_more(book):
    give_up(book.stored(4))
    found = account(book.stored(0, 1))
    assert (found.stored, found.written_off, found.missing, found.closes) == (3, 2, 0, True)


def test_a_gap_that_an_unreadable_message_stands_for_is_not_given_up_twice(book):
    give_up(book.stored(4).refused(reason="not_json"))
    found = account(book)
    assert (found.published, found.quarantined, found.written_off, found.closes) == (5, 1, 3, True)


def test_what_one_collector_gave_up_and_another_has_is_not_lost(book, other):
    give_up(book.stored(0).stored(9))
    found = account(book, other.stored(1, 4))
    assert (found.stored, found.written_off, found.missing, found.closes) == (6, 4, 0, True)


def test_a_damaged_file_of_write_offs_is_said(book):
    path = book.stored(1).write()
    write_offs_path(path).write_bytes(b"[{")
    with pytest.raises(StoreRefused, match="written_off"):
        audit(path)


# ---- several books


def test_a_line_that_moved_closes_over_both_books_and_over_none_alone(book, other):
    book.stored(0, 50)
    other.stored(45, 99)
    assert not account(other).closes
    found = account(book, other)
    assert (sides(found), found.missing, found.duplicates, found.closes) == ((100, 100, 0, 0), 0, 6, True)


def test_what_both_refused_is_refused_once_and_what_one_stored_is_stored(book, other):
    book.stored(0, 3).refused(4).refused(5)
    other.refused(3).refused(4).stored(5, 6)
    found = account(book, other)
    assert (sides(found), found.duplicates, found.closes) == ((7, 6, 1, 0), 3, True)
    assert found.reasons == {"unknown_signal": 1}


def test_a_gap_of_one_that_the_other_has_is_none(book, other):
    found = account(book.stored(0, 3).stored(8, 9), other.stored(4, 6))
    assert (found.missing, found.gaps) == (1, (Gap(boot="9f2c", first=7, last=7),))


def test_what_only_one_heard_is_taken_from_that_one_and_the_newest_word_counts(book, other):
    book.stored(0).heard(5, skew_s=9.0, state="offline").stored(0, device=DRYER)
    other.stored(1).heard(60, skew_s=0.25, state="online")
    found = account(book, other)
    assert (found.skew_s, found.state, found.last_record_ns) == (0.25, "online", NOON_NS + 60 * 10**9)
    assert account(book, other, device=DRYER).closes


def test_a_row_without_a_number_that_both_took_is_one(book, other):
    found = account(book.foreign(b"a", b"b"), other.foreign(b"b", b"c"), device=DRYER)
    assert (sides(found), found.duplicates, found.unnumbered) == ((3, 3, 0, 0), 1, 3)


def test_strangers_of_all_books_are_one_account(book, other):
    book.refused(41, device="x/y/z/a", reason="unknown_device")
    other.refused(device="", reason="wrong_topic")
    found = account(book, other, device=NO_DEVICE)
    assert (sides(found), found.reasons) == ((2, 0, 2, 0), {"unknown_device": 1, "wrong_topic": 1})


@settings(max_examples=25)
@given(st.lists(st.sets(st.integers(0, 40)), min_size=1, max_size=4))
def test_an_account_closes_when_and_only_when_nothing_is_missing(tmp_path_factory, arrivals):
    """One book a set of numbers: what is in none of them is missing, whatever they share."""
    books = []
    for numbers in arrivals:
        books.append(Book(tmp_path_factory.mktemp("book") / "recorder.sqlite"))
        for number in numbers:
            books[-1].stored(number)
        books[-1].write()
    everywhere = set().union(*arrivals)
    accounts = audit(*(book.path for book in books))
    if not everywhere:
        assert accounts == ()
        return
    holes = set(range(max(everywhere))) - everywhere
    (found,) = accounts
    assert (found.stored, found.missing, found.closes) == (len(everywhere), len(holes), not holes)
    assert {number for gap in found.gaps for number in range(gap.first, gap.last + 1)} == holes


OUTCOMES = st.lists(
    st.dictionaries(st.integers(0, 30), st.sampled_from(["", "unknown_signal", "wrong_unit"])), max_size=4
)


@given(OUTCOMES)
def test_each_number_counts_once_however_many_books_have_it(books):
    numbered = [
        NumberedBook(
            seen={("d", "b"): [(number, number) for number in sorted(book)]},
            refused={("d", "b"): [((number, number), reason) for number, reason in book.items() if reason]},
        )
        for book in books
    ]
    everywhere = {number for book in books for number in book}
    total = Counter(reason for book in books for reason in book.values())
    surplus = overlaps(numbered).get("d")
    left = total - (Counter({"": surplus.stored}) + surplus.refused if surplus else Counter())
    stored = {number for book in books for number, reason in book.items() if not reason}
    assert left[""] == len(stored)
    assert left.total() == len(everywhere)
    together = united(numbered).get(("d", "b"))
    assert {n for first, last in (together.spans if together else ()) for n in range(first, last + 1)} == everywhere
