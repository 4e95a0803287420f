"""Judged again, after a rewind or out of the quarantine: same points, same accounts, what was mended is moved."""

import os
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.accounts.audit import audit
from collector.codec import encode_state, topic_text
from collector.recorder import judging
from collector.recorder.seen import NEW_BOOTS_OF_DEVICE_MAX
from filiere.clock import NS_PER_S
from filiere.errors import MessageRefused
from tests.chain_events import closed, portion, received, started, two_steps
from tests.collector.builders import (
    EXTRUDER,
    LINE,
    NOON_NS,
    TERMINAL_TOPIC,
    TOPIC,
    Rig,
    event,
    readings,
    signal,
    with_signals,
)

OVEN_TOPIC = topic_text(LINE, "oven", "readings")


@pytest.fixture
def rig(tmp_path):
    with Rig(tmp_path) as rig:
        yield rig


def account(rig, device=EXTRUDER):
    (found,) = [account for account in audit(rig.book_path) if account.device == device]
    return found


def quarantined(rig):
    return [(each.offset, each.reason, each.rows, each.boot, each.seq) for each in rig.book.quarantine()]


def outcome(rig):
    return rig.everything_stored(), audit(rig.book_path), quarantined(rig)


def eventful(rig):
    """Some of everything that can arrive."""
    rig.arrive(readings(seq=0, rows=5), readings(seq=0, boot="two", time_ns=NOON_NS - 60 * NS_PER_S))
    rig.arrive(readings(seq=3, rows=4, melt_temp=99), readings(seq=0, rows=2, melt_temp=77))
    rig.arrive(
        b"hello", readings(seq=7, colour=3, rows=2), readings(seq=7, colour=3, rows=3), readings(seq=10, melt_temp=999)
    )
    rig.arrive(readings(seq=11, time_ns=0), readings(seq=13), readings(seq=12, time_ns=NOON_NS - NS_PER_S))
    rig.arrive(readings(seq=0), topic=OVEN_TOPIC)
    rig.arrive(encode_state("online"), b"?", topic=topic_text(LINE, "extruder", "state"))
    late_start = started("R9", "S9", portion("B2", "5"), at=1.5)
    rig.arrive(*(event(seq, each) for seq, each in enumerate([*two_steps(), late_start])), topic=TERMINAL_TOPIC)
    rig.arrive(event(9, received("B1", "7", event_id="urn:test:again")), event(3, received("B7")), topic=TERMINAL_TOPIC)
    rig.arrive(event(10, started("R5", "S5", portion("B8"))), event(11, started(recipe="secret")), topic=TERMINAL_TOPIC)
    rig.record()


@pytest.mark.parametrize("empty", [False, True], ids=["into the same store", "into an empty store"])
@pytest.mark.parametrize("offset", [1, 4, 9, 20])
def test_a_rewind_brings_the_same_points_back_and_leaves_the_accounts_as_they_were(rig, offset, empty):
    eventful(rig)
    before = outcome(rig)
    rig.rewind(offset if not empty else 1, empty=empty)
    assert outcome(rig) == before
    rig.restart()
    rig.record(readings(seq=14))
    assert rig.book.progress().again == 0
    assert (account(rig).published, account(rig).closes) == (18, True)


def test_a_rewind_without_the_pruned_beginning_brings_back_what_the_log_keeps(rig):
    eventful(rig)
    before = outcome(rig)
    assert rig.log.prune(before=3, limit=2) == 2
    rig.rewind(1, empty=True)
    (rows, marks), accounts, refused = outcome(rig)
    assert (marks, accounts, refused) == (before[0][1], *before[1:])
    pruned = {NOON_NS + seq * (NS_PER_S + 1) for seq in range(5)} | {NOON_NS - 60 * NS_PER_S}
    assert rows == [row for row in before[0][0] if row[2] not in pruned]
    assert rows


def test_a_late_duplicate_with_other_content_does_not_win_the_second_time(rig):
    rig.record(readings(seq=0, melt_temp=230), readings(seq=0, melt_temp=111))
    rig.rewind(empty=True)
    rig.rewind(2)
    assert [value for _, value, _ in rig.stored()] == [230.0]
    assert (account(rig).stored, account(rig).duplicates) == (1, 1)


def test_what_arrives_during_a_rewind_is_recorded_after_it(rig, monkeypatch):
    monkeypatch.setattr("collector.recorder.recorder.CHUNK_MESSAGES_MAX", 2)
    monkeypatch.setattr("collector.recorder.recorder.READ_MESSAGES", 2)
    rig.record(*(readings(seq=seq) for seq in range(7)))
    rig.recorder.rewind(1)
    rig.arrive(readings(seq=7))
    assert [rig.recorder.step() for _ in range(6)] == [2, 2, 2, 1, 1, 0]
    assert (account(rig).stored, account(rig).duplicates, account(rig).closes) == (8, 0, True)


@pytest.mark.parametrize(
    ("offset", "words"), [(0, "expected"), (-5, "expected"), (4, "at most 3"), (2**70, "at most 3")]
)
def test_a_rewind_to_where_nothing_was_recorded_is_refused(rig, offset, words):
    rig.record(*(readings(seq=seq) for seq in range(3)))
    assert words in rig.recorder.rewind(offset).problem
    assert rig.book.progress().bookmark == 3


def test_a_new_signal_brings_its_quarantined_messages_to_the_store(rig):
    rig.record(readings(seq=0), readings(seq=1, colour=3, rows=2), readings(seq=3, smell=1), b"hello")
    rig.plant = with_signals(signal("colour", unit="1"))
    rig.restart()
    asked = rig.retry(reason="unknown_signal")
    assert (asked.done, asked.total, asked.moved, asked.left, asked.problem) == (True, 2, 1, 1, None)
    assert rig.stored("extruder.colour") == [(NOON_NS + seq * NS_PER_S + seq, 3.0, 0) for seq in (1, 2)]
    assert [(each.reason, each.rows) for each in rig.book.quarantine()] == [("not_json", 1), ("unknown_signal", 1)]
    assert (account(rig).stored, account(rig).quarantined, account(rig).closes) == (3, 2, True)


def test_a_retry_takes_only_what_is_chosen(rig):
    for seq in range(4):
        rig.arrive(readings(seq=seq, colour=3))
    rig.record(readings(seq=0), topic=OVEN_TOPIC)
    rig.plant = with_signals(signal("colour", unit="1"))
    rig.restart()
    assert rig.retry(offsets=(2, 3, 99)).total == 2
    assert [offset for offset, *_ in quarantined(rig)] == [5, 4, 1]
    assert rig.retry(device="").total == 1
    assert rig.retry(reason="not_json").total == 0
    assert rig.retry().moved == 2
    assert (account(rig).stored, account(rig).quarantined) == (4, 0)


def test_a_message_that_repeated_some_rows_moves_the_others_only(rig):
    rig.record(readings(seq=0, rows=2), readings(seq=1, rows=3, melt_temp=9, colour=3))
    assert quarantined(rig) == [(2, "unknown_signal", 2, "9f2c", 2)]
    rig.plant = with_signals(signal("colour", unit="1"))
    rig.restart()
    rig.retry()
    assert [value for _, value, _ in rig.stored()] == [230.0, 230.0, 9.0, 9.0]
    assert (account(rig).stored, account(rig).duplicates, account(rig).closes) == (4, 1, True)


def test_what_is_in_quarantine_outlives_the_log_with_all_that_is_known_of_it(rig):
    rig.record(readings(seq=0, rows=2), readings(seq=1, rows=3, melt_temp=9, colour=3), readings(seq=4))
    forget_all_but_the_last(rig)
    before = outcome(rig)
    rig.retry()
    assert outcome(rig) == before
    rig.plant = with_signals(signal("colour", unit="1"))
    rig.restart()
    rig.retry()
    assert [value for _, value, _ in rig.stored()] == [230.0, 230.0, 9.0, 9.0, 230.0]
    assert (account(rig).stored, account(rig).duplicates, account(rig).closes) == (5, 1, True)


def forget_all_but_the_last(rig):
    """As when the retention is over, a minute later."""
    rig.log.prune(before=rig.log.head(), limit=100)
    rig.clock_ns += 60 * NS_PER_S
    rig.recorder._each_minute()
    assert not rig.book._rows('SELECT * FROM repeats WHERE "offset" NOT IN (SELECT "offset" FROM quarantine)')


def test_a_codec_that_is_mended_reads_what_it_could_not(rig, monkeypatch):
    def broken(payload):
        raise MessageRefused("wrong_shape", f"expected other bytes than {payload[:9]!r}")

    with monkeypatch.context() as patch:
        patch.setattr(judging, "decode_columns", broken)
        patch.setattr(judging, "peek_identity", lambda *_: None)
        rig.record(readings(seq=0, rows=2), readings(seq=0, rows=2), readings(seq=2))
    assert [rows for _, _, rows, _, _ in quarantined(rig)] == [1, 1, 1]
    rig.record(readings(seq=2), readings(seq=3))
    assert rig.retry().moved == 3
    assert len(rig.stored()) == 4
    assert (account(rig).stored, account(rig).duplicates, account(rig).quarantined) == (4, 3, 0)
    assert account(rig).closes
    before = outcome(rig)
    rig.rewind(empty=True)
    assert outcome(rig) == before


def test_a_device_that_is_added_to_the_plant_gets_the_account_of_what_it_sent(rig):
    rig.record(readings(seq=0, rows=3), readings(seq=0, rows=3), readings(seq=3), topic=OVEN_TOPIC)
    assert account(rig, "?").quarantined == 7
    rig.plant = with_signals(signal("melt_temp", device="oven"), unit="oven")
    rig.restart()
    assert rig.retry().moved == 3
    assert (account(rig, f"{LINE}/oven").stored, account(rig, f"{LINE}/oven").duplicates) == (4, 3)
    assert account(rig, f"{LINE}/oven").closes
    assert len(rig.stored("oven.melt_temp")) == 4


def test_a_rewind_by_a_plant_without_the_signal_moves_its_rows_to_quarantine_and_back(rig):
    rig.plant = with_signals(signal("colour", unit="1"))
    rig.restart()
    rig.record(readings(seq=0), readings(seq=1, colour=3, rows=2), readings(seq=2, colour=3))
    before = outcome(rig)
    rig.plant = with_signals()
    rig.restart()
    rig.rewind(empty=True)
    assert quarantined(rig) == [(2, "unknown_signal", 2, "9f2c", 1)]
    assert (account(rig).stored, account(rig).quarantined, account(rig).closes) == (1, 2, True)
    rig.plant = with_signals(signal("colour", unit="1"))
    rig.restart()
    rig.rewind(empty=True)
    assert outcome(rig) == before


def test_a_rewind_by_a_plant_without_the_device_keeps_its_account(rig):
    rig.plant = with_signals(signal("melt_temp", device="oven"), unit="oven")
    rig.restart()
    rig.record(readings(seq=0, rows=3), readings(seq=1), topic=OVEN_TOPIC)
    rig.plant = with_signals()
    rig.restart()
    rig.rewind(empty=True)
    oven = account(rig, f"{LINE}/oven")
    assert (oven.stored, oven.quarantined, oven.duplicates, oven.closes) == (0, 3, 1, True)
    rig.plant = with_signals(signal("melt_temp", device="oven"), unit="oven")
    rig.restart()
    assert rig.retry().moved == 1
    assert (account(rig, f"{LINE}/oven").stored, len(rig.stored("oven.melt_temp"))) == (3, 3)


def test_rows_that_the_store_refused_are_stored_once_it_takes_them(rig):
    rig.store.poison = 13.0
    rig.arrive(readings(seq=0, rows=3), readings(seq=3, rows=2, melt_temp=13), readings(seq=5))
    rig.record()
    assert quarantined(rig) == [(2, "store_refused", 2, "9f2c", 3)]
    rig.store.poison = None
    assert rig.retry().moved == 1
    assert len(rig.stored()) == 6
    assert (account(rig).stored, account(rig).quarantined, account(rig).closes) == (6, 0, True)


def test_a_store_that_takes_less_the_second_time_says_so_in_the_account(rig):
    rig.record(readings(seq=0, rows=3), readings(seq=3, rows=2, melt_temp=13))
    rig.store.poison = 13.0
    rig.rewind(empty=True)
    assert (account(rig).stored, account(rig).quarantined, account(rig).closes) == (3, 2, True)


def test_an_event_with_a_name_that_is_added_to_the_plant_goes_to_the_ledger(rig):
    rig.record(event(0, received("B1")), event(1, started(recipe="secret")), topic=TERMINAL_TOPIC)
    line = rig.plant.lines[0]
    steps = tuple(replace(step, recipes=(*step.recipes, replace(step.recipes[0], id="secret"))) for step in line.steps)
    workshop = replace(rig.plant.workshops[0], lines=(replace(line, steps=steps),))
    rig.plant = replace(rig.plant, workshops=(workshop,))
    rig.restart()
    assert rig.retry().moved == 1
    assert [(state, run) for _, state, run, _ in rig.marks()] == [("running", "R1")]
    assert account(rig, f"{LINE}/terminal").closes


def test_an_event_that_waits_waits_after_a_rewind_and_is_counted_once(rig):
    rig.record(event(0, started("R1", "S1", portion("B1"))), topic=TERMINAL_TOPIC)
    rig.rewind()
    assert account(rig, f"{LINE}/terminal").waiting == 1
    rig.record(event(1, received("B1")), topic=TERMINAL_TOPIC)
    rig.rewind()
    terminal = account(rig, f"{LINE}/terminal")
    assert (terminal.published, terminal.waiting, terminal.stored, terminal.closes) == (2, 0, 2, True)


def test_an_event_that_waited_longer_than_the_log_keeps_it_is_quarantined_with_its_bytes(rig):
    early = event(0, started("R1", "S1", portion("B1", "900")))
    rig.record(early, event(1, received("B2")), topic=TERMINAL_TOPIC)
    rig.log.prune(before=2, limit=1)
    rig.record(event(2, received("B1", "500")), topic=TERMINAL_TOPIC)
    (refused,) = rig.book.quarantine()
    assert (refused.offset, refused.payload, refused.seq) == (1, early, 0)


def test_a_late_event_draws_the_marks_after_it_again(rig):
    bales = [received("B1"), received("B2")]
    first = [
        started("R1", "S1", portion("B1", "100"), at=1),
        closed("R1", portion("S1", "100", "sorted_textile"), at=3),
    ]
    late = started("R2", "S2", portion("B2", "100"), at=2)
    rig.record(*(event(seq, each) for seq, each in enumerate([*bales, *first, late])), topic=TERMINAL_TOPIC)
    assert [(state, run) for _, state, run, _ in rig.marks()] == [
        ("running", "R1"),
        ("running", "R2"),
        ("running", "R2"),
    ]


def test_boots_that_were_too_many_stay_refused_until_somebody_asks_for_them(rig):
    sent = [readings(seq=0, boot=f"b{number}") for number in range(NEW_BOOTS_OF_DEVICE_MAX + 5)]
    rig.record(*sent)
    assert [reason for _, reason, *_ in quarantined(rig)] == ["too_many_boots"] * 5
    assert (account(rig).stored, account(rig).quarantined, account(rig).closes) == (60, 5, True)
    before = outcome(rig)
    rig.rewind(empty=True)
    assert outcome(rig) == before
    rig.clock_ns += 60 * NS_PER_S
    rig.restart()
    assert rig.retry().moved == 5
    assert (account(rig).stored, account(rig).closes) == (65, True)


def test_the_limit_of_new_boots_outlives_a_restart(rig):
    for number in range(NEW_BOOTS_OF_DEVICE_MAX + 5):
        rig.restart()
        rig.record(readings(seq=0, boot=f"b{number}"))
    assert len(quarantined(rig)) == 5


def test_a_request_that_is_no_request_is_answered_and_gone(rig):
    folder = rig.folder / "requests"
    folder.mkdir()
    deep = b'{"x":' + b"[" * 1_000_000
    wrong = (b"", b"[]", b'{"type":"Retry","colour":1}', b'{"type":"Rewind","offset":"1"}', deep)
    for number, nonsense in enumerate(wrong):
        (folder / f"{number}.request.json").write_bytes(nonsense)
    (folder / "folder.request.json").mkdir()
    os.mkfifo(folder / "pipe.request.json")
    rig.recorder.answer_requests()
    assert not [path for path in folder.glob("*.request.json") if path.is_file()]
    assert all("expected a request" in rig.requests.outcome(str(number)).problem for number in range(len(wrong)))


ARRIVALS = st.lists(
    st.one_of(
        st.builds(
            lambda seq, rows, boot, value, early: (
                TOPIC,
                readings(seq=seq, rows=rows, boot=boot, melt_temp=value, time_ns=NOON_NS - early * NS_PER_S),
            ),
            st.integers(0, 9),
            st.integers(1, 4),
            st.sampled_from("ab"),
            st.sampled_from([1, 2, 13, 999]),
            st.integers(0, 9),
        ),
        st.builds(
            lambda seq, rows: (TOPIC, readings(seq=seq, rows=rows, colour=1)), st.integers(0, 9), st.integers(1, 3)
        ),
        st.sampled_from([(TOPIC, b"hello"), (OVEN_TOPIC, readings(seq=0, rows=2))]),
        st.builds(
            lambda seq, which: (TERMINAL_TOPIC, event(seq, which)),
            st.integers(0, 5),
            st.sampled_from([*two_steps(), received("B1", "7", event_id="urn:test:again")]),
        ),
    ),
    max_size=20,
)


@settings(max_examples=20, deadline=None)
@given(
    arrivals=ARRIVALS,
    rewinds=st.lists(st.tuples(st.integers(0, 20), st.integers(1, 20)), max_size=4),
    chunk=st.integers(1, 7),
)
def test_rewinds_anywhere_leave_what_one_pass_leaves(tmp_path_factory, arrivals, rewinds, chunk):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("collector.recorder.recorder.CHUNK_MESSAGES_MAX", chunk)
        patch.setattr("collector.recorder.recorder.READ_MESSAGES", chunk)
        with Rig(tmp_path_factory.mktemp("straight")) as straight, Rig(tmp_path_factory.mktemp("rewound")) as rewound:
            for rig in (straight, rewound):
                rig.store.poison = 13.0
            for place, (topic, payload) in enumerate(arrivals):
                straight.record(payload, topic=topic)
                rewound.record(payload, topic=topic)
                for _, offset in (each for each in rewinds if each[0] == place):
                    rewound.recorder.rewind(offset)
                    rewound.recorder.step()
            rewound.rewind(1, empty=True)
            assert outcome(rewound) == outcome(straight)
