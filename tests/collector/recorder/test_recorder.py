"""From the message log to the stores: once only, nothing lost, nothing that stops the stream."""

import json
import threading
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector import codec
from collector.accounts.audit import audit, recorder_state
from collector.codec import encode_event, encode_state, topic_text
from collector.patience import Stopped
from filiere.clock import NS_PER_S
from filiere.embedded_store import EmbeddedStore
from filiere.events import event_json
from filiere.ledger import Ledger
from filiere.message_log import MessageLog
from tests.chain_events import closed, portion, received, started, two_steps
from tests.collector.builders import EXTRUDER, LINE, NOON_NS, TERMINAL_TOPIC, TOPIC, Rig, event, readings


@pytest.fixture
def rig(tmp_path):
    with Rig(tmp_path) as rig:
        yield rig


def account(rig, device=EXTRUDER):
    (found,) = [account for account in audit(rig.book_path) if account.device == device]
    return found


def quarantined(rig):
    return [(message.reason, message.rows) for message in reversed(list(rig.book.quarantine()))]


def test_a_row_is_stored_under_its_own_time(rig):
    rig.record(readings(seq=41, time_ns=NOON_NS, melt_temp=230.5))
    assert rig.stored() == [(NOON_NS + 41, 230.5, 0)]


def test_a_message_sent_twice_is_stored_once(rig):
    rig.record(readings(seq=0), readings(seq=1), readings(seq=0), readings(seq=1), readings(seq=1))
    assert len(rig.stored()) == 2
    assert (account(rig).stored, account(rig).duplicates, account(rig).closes) == (2, 3, True)


def test_a_message_sent_again_after_a_restart_is_stored_once(rig):
    rig.record(readings(seq=0, rows=5))
    rig.restart()
    rig.record(readings(seq=0, rows=5), readings(seq=5))
    assert len(rig.stored()) == 6
    assert (account(rig).stored, account(rig).duplicates, account(rig).closes) == (6, 5, True)


def test_a_message_that_repeats_some_rows_adds_the_others(rig):
    rig.record(readings(seq=0, rows=3), readings(seq=2, time_ns=NOON_NS + 2 * NS_PER_S, rows=3))
    assert len(rig.stored()) == 5
    assert (account(rig).stored, account(rig).duplicates) == (5, 1)


def test_the_same_number_of_another_boot_is_another_row(rig):
    rig.record(readings(seq=0, boot="one"), readings(seq=0, boot="two", time_ns=NOON_NS + NS_PER_S))
    assert len(rig.stored()) == 2
    assert account(rig).published == 2


def test_a_kill_before_the_commit_repeats_the_chunk_and_doubles_nothing(rig, monkeypatch):
    rig.arrive(readings(seq=0, rows=10), b"hello")
    with monkeypatch.context() as patch:
        patch.setattr(rig.book, "commit", lambda _record: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            rig.recorder.step()
    assert len(rig.stored()) == 10
    rig.restart()
    rig.record()
    assert len(rig.stored()) == 10
    assert quarantined(rig) == [("not_json", 1)]
    assert (account(rig).published, account(rig).stored, account(rig).duplicates) == (11, 10, 0)


@pytest.mark.parametrize(
    ("reason", "payload"),
    [
        ("not_json", b"hello"),
        ("not_json", b""),
        ("not_json", b"\xff" * 1000),
        ("unknown_signal", readings(seq=1, colour=3)),
        ("wrong_unit", readings(seq=1, melt_temp=230, units={"melt_temp": "kg"})),
        ("not_finite", b'{"boot":"9f2c","seq":1,"t":0,"v":{"melt_temp":NaN}}'),
        ("local_time", b'{"boot":"9f2c","seq":1,"t":"2026-03-11T12:00:01","v":{"melt_temp":230}}'),
        ("too_large", b"[" * 10_000_000),
    ],
    ids=["text", "empty", "binary", "signal", "unit", "nan", "local", "large"],
)
def test_a_bad_message_is_quarantined_with_its_reason_and_the_stream_goes_on(rig, reason, payload):
    rig.record(readings(seq=0), payload, readings(seq=2))
    assert len(rig.stored()) == 2
    (refused,) = rig.book.quarantine()
    assert (refused.reason, refused.payload, refused.topic) == (reason, payload, TOPIC.encode())
    assert "expected" in refused.message
    assert (account(rig).published, account(rig).quarantined, account(rig).closes) == (3, 1, True)


def test_a_bad_message_sent_again_is_quarantined_once(rig):
    rig.record(readings(seq=0, rows=3, colour=3), readings(seq=0, rows=3, colour=3))
    assert quarantined(rig) == [("unknown_signal", 3)]
    assert (account(rig).published, account(rig).duplicates, account(rig).closes) == (3, 3, True)


@pytest.mark.parametrize("topic", ["filiere/v1/caux", "filiere/v1/a/b/c/d/e/f", f"filiere/v1/{LINE}/extruder/receipt"])
def test_a_message_on_another_topic_is_quarantined(rig, topic):
    rig.record(readings(), topic=topic)
    assert quarantined(rig) == [("wrong_topic", 1)]
    assert account(rig, "?").closes


def test_a_number_that_never_came_leaves_the_account_open(rig):
    rig.record(readings(seq=0), readings(seq=3))
    assert (account(rig).published, account(rig).stored, account(rig).missing) == (4, 2, 2)
    assert not account(rig).closes


def test_the_first_numbers_of_a_boot_count_too(rig):
    rig.record(readings(seq=1))
    assert account(rig).missing == 1


def test_a_gap_that_is_filled_later_closes_the_account(rig):
    rig.record(readings(seq=0), readings(seq=2), readings(seq=1))
    assert account(rig).closes
    assert account(rig).late == 1


def test_a_state_that_is_refused_does_not_stand_for_a_missing_row(rig):
    rig.record(b"hello", topic=topic_text(LINE, "extruder", "state"))
    assert (account(rig).published, account(rig).quarantined, account(rig).closes) == (1, 1, True)
    rig.record(readings(seq=0), readings(seq=2))
    assert (account(rig).missing, account(rig).closes) == (1, False)


def test_a_message_with_two_numbers_takes_neither(rig):
    rig.record(readings(seq=0).replace(b'"seq":0', b'"seq":0,"seq":1'), readings(seq=0), readings(seq=1))
    assert len(rig.stored()) == 2
    assert quarantined(rig) == [("wrong_shape", 1)]
    assert account(rig).closes


def test_the_highest_numbers_of_many_boots_do_not_break_the_audit(rig):
    for number in range(1025):
        rig.clock_ns += 2 * NS_PER_S  # a start every two seconds is as many as are believed
        rig.arrive(readings(seq=2**53, boot=f"b{number}", time_ns=NOON_NS))
    rig.record()
    assert account(rig).missing == 1025 * 2**53


def test_late_rows_are_stored_and_counted(rig):
    rig.record(readings(seq=0, time_ns=NOON_NS))
    rig.restart()
    rig.record(readings(seq=1, time_ns=NOON_NS - NS_PER_S), readings(seq=2, time_ns=NOON_NS + NS_PER_S))
    assert len(rig.stored()) == 3
    assert account(rig).late == 1


def test_a_clock_at_1970_is_counted_and_makes_no_other_row_late(rig):
    rig.record(readings(seq=0, time_ns=0), readings(seq=1, time_ns=NOON_NS - 60 * NS_PER_S))
    assert (account(rig).clock_suspect, account(rig).late) == (1, 0)
    assert rig.stored()[-1] == (NOON_NS, 230.0, 2)
    assert account(rig).skew_s == 60.0


def test_the_state_of_a_device_is_kept_and_is_no_row(rig):
    rig.record(encode_state("online"), encode_state("offline"), topic=topic_text(LINE, "extruder", "state"))
    assert (account(rig).state, account(rig).published) == ("offline", 0)


def test_a_store_that_is_down_is_awaited_and_nothing_is_lost(rig):
    rig.store.down = True
    rig.arrive(*(readings(seq=seq) for seq in range(100)))
    recording = threading.Thread(target=rig.recorder.run)
    recording.start()
    try:
        until(lambda: recorder_state(rig.book_path).store_problem == "connection refused")
        rig.arrive(*(readings(seq=seq) for seq in range(100, 200)))
        rig.clock_ns += 10 * NS_PER_S
        until(lambda: recorder_state(rig.book_path).log_lag == 200)
        rig.store.down = False
        until(lambda: recorder_state(rig.book_path).log_lag == 0)
    finally:
        rig.stop.set()
        recording.join()
    assert recorder_state(rig.book_path).store_problem is None
    assert len(rig.stored()) == 200
    assert account(rig).closes


def until(true, seconds=30):
    waiting = threading.Event()
    for _ in range(seconds * 50):
        if true():
            return
        waiting.wait(0.02)
    raise AssertionError("not true in time")


@pytest.mark.parametrize("trouble", ["down", "locked"])
def test_a_recorder_that_waits_for_its_store_stops_when_asked(rig, trouble):
    setattr(rig.store, trouble, True)
    rig.stop.set()
    rig.arrive(readings())
    with pytest.raises(Stopped):
        rig.recorder.step()
    assert rig.book.progress().bookmark == 0
    assert rig.book.progress().store_problem is not None


def test_wrong_credentials_hold_everything_and_quarantine_nothing(rig):
    rig.store.locked = True
    rig.stop.set()
    rig.arrive(readings())
    with pytest.raises(Stopped):
        rig.recorder.step()
    assert "check the token" in recorder_state(rig.book_path).store_problem
    assert quarantined(rig) == []


def test_a_damaged_store_holds_everything_and_quarantines_nothing(rig):
    rig.clock_ns += 3600 * NS_PER_S
    rig.record(*(readings(seq=seq) for seq in range(1000)))
    rig.store.close()
    path = rig.folder / "readings.sqlite"
    whole = path.read_bytes()
    path.write_bytes(whole[: 4096 * 6] + b"\xff" * (len(whole) - 4096 * 6))
    rig.store.kept = EmbeddedStore.open(path)
    rig.stop.set()
    rig.arrive(*(readings(seq=seq) for seq in range(1000, 1010)))
    with pytest.raises(Stopped):
        rig.recorder.step()
    assert quarantined(rig) == []
    assert "restore it from a backup" in recorder_state(rig.book_path).store_problem
    rig.store.kept.close()
    path.write_bytes(whole)
    rig.store.kept = EmbeddedStore.open(path)
    rig.stop.clear()
    rig.restart()
    rig.record()
    assert (len(rig.stored()), account(rig).closes) == (1010, True)


def test_one_row_that_the_store_refuses_does_not_stop_the_others(rig):
    rig.store.poison = 13.0
    rig.record(*(readings(seq=seq, melt_temp=13 if seq == 7 else 230) for seq in range(50)))
    assert len(rig.stored()) == 49
    (refused,) = rig.book.quarantine()
    assert (refused.reason, refused.message) == ("store_refused", "422: field type conflict")
    assert refused.payload == readings(seq=7, melt_temp=13)
    assert (account(rig).stored, account(rig).quarantined, account(rig).closes) == (49, 1, True)


def test_a_chunk_of_poison_is_quarantined_whole(rig):
    rig.store.poison = 13.0
    rig.record(readings(seq=0, rows=8, melt_temp=13), readings(seq=8, rows=2, melt_temp=13))
    assert quarantined(rig) == [("store_refused", 8), ("store_refused", 2)]
    assert account(rig).closes


def test_a_run_mark_that_the_store_refuses_stops_neither_rows_nor_other_marks(rig):
    rig.store.poison_run = "R1"
    rig.arrive(readings(seq=0, rows=3))
    rig.record(*(event(seq, each) for seq, each in enumerate(two_steps())), topic=TERMINAL_TOPIC)
    assert len(rig.stored()) == 3
    assert [run for _, _, run, _ in rig.marks()] == ["R2", "R2"]
    assert quarantined(rig) == []


def test_a_run_mark_that_the_store_refuses_casts_no_doubt_on_a_lone_row(rig):
    rig.store.poison_run = "R1"
    rig.arrive(readings(seq=0))
    rig.record(event(0, received("B1")), event(1, started("R1", "S1")), topic=TERMINAL_TOPIC)
    assert len(rig.stored()) == 1
    assert quarantined(rig) == []


def test_who_sees_a_closing_finds_the_readings_that_were_sent_before_it(rig, monkeypatch):
    seen = []
    append = rig.ledger.append
    monkeypatch.setattr(rig.ledger, "append", lambda *a, **k: (seen.append(len(rig.stored())), append(*a, **k))[1])
    rig.arrive(event(0, received("B1")), event(1, started("R1", "S1")), topic=TERMINAL_TOPIC)
    rig.arrive(readings(seq=0, rows=3))
    rig.record(event(2, closed("R1")), topic=TERMINAL_TOPIC)
    assert seen[-1] == 3


def test_a_store_that_begins_to_refuse_all_while_rows_are_tried_one_by_one_condemns_none(rig, monkeypatch):
    write, rig.store.poison = rig.store.write, 13.0

    def write_then_lock(blocks, marks=()):
        if len(blocks) == 2:
            rig.store.locked = True
            rig.stop.set()
        write(blocks, marks)

    monkeypatch.setattr(rig.store, "write", write_then_lock)
    rig.arrive(*(readings(seq=seq, melt_temp=13 if seq == 7 else 230) for seq in range(8)))
    with pytest.raises(Stopped):
        rig.recorder.step()
    assert quarantined(rig) == []
    assert "check the token" in rig.book.progress().store_problem


def test_a_chunk_holds_a_bounded_number_of_rows(rig, monkeypatch):
    monkeypatch.setattr("collector.recorder.recorder.CHUNK_ROWS_MAX", 25)
    rig.arrive(*(readings(seq=10 * number, rows=10) for number in range(7)))
    assert [rig.recorder.step() for _ in range(4)] == [3, 3, 1, 0]
    assert len(rig.stored()) == 70
    assert account(rig).closes


def run_until_it_says(rig, words):
    recording = threading.Thread(target=rig.recorder.run)
    recording.start()
    try:
        until(lambda: words in (recorder_state(rig.book_path).store_problem or ""))
    finally:
        rig.stop.set()
        recording.join()


def replace_log(rig, *payloads):
    rig.log.close()
    for file in rig.folder.glob("messages.sqlite*"):
        file.unlink()
    rig.log = rig._stack.enter_context(MessageLog.open(rig.folder / "messages.sqlite"))
    rig.clock_ns += NS_PER_S
    rig.arrive(*payloads)


@pytest.mark.parametrize("messages", [0, 3, 20])
def test_another_message_log_in_the_place_of_the_recorded_one_is_not_skipped(rig, messages):
    rig.record(*(readings(seq=seq) for seq in range(10)))
    replace_log(rig, *(readings(seq=seq, boot="new") for seq in range(messages)))
    rig.restart()
    run_until_it_says(rig, "another message log")
    assert rig.book.progress().bookmark == 10


def test_another_ledger_in_the_place_of_the_recorded_one_is_not_taken_for_whole(rig):
    rig.record(event(0, received("B1")), event(1, received("B2")), topic=TERMINAL_TOPIC)
    rig.ledger.close()
    rig.ledger = Ledger.open(f"sqlite:///{rig.folder / 'another.sqlite'}")
    rig._stack.callback(rig.ledger.close)
    rig.restart()
    run_until_it_says(rig, "no event 2")


def test_the_runs_of_a_line_are_marked(rig):
    events = two_steps()
    rig.record(*(event(seq, each) for seq, each in enumerate(events)), topic=TERMINAL_TOPIC)
    assert [(state, run, lot) for _, state, run, lot in rig.marks()] == [
        ("running", "R1", "S1"),
        ("idle", "R1", ""),
        ("running", "R2", "G1"),
        ("idle", "R2", ""),
    ]
    assert account(rig, f"{LINE}/terminal").stored == len(events)
    assert account(rig, f"{LINE}/terminal").closes


def test_a_closing_that_leaves_another_run_under_way_marks_that_one(rig):
    events = [
        received("B1"),
        started("R1", "S1", portion("B1", "100")),
        started("R2", "S2", portion("B1", "100"), at=1.5),
        closed("R1", portion("S1", "100", "sorted_textile"), at=2),
        closed("R2", portion("S2", "100", "sorted_textile"), at=3),
    ]
    rig.record(*(event(seq, each) for seq, each in enumerate(events)), topic=TERMINAL_TOPIC)
    assert [(state, run) for _, state, run, _ in rig.marks()] == [
        ("running", "R1"),
        ("running", "R2"),
        ("running", "R2"),
        ("idle", "R2"),
    ]


def test_an_event_that_contradicts_the_ledger_is_quarantined(rig):
    again = received("B1", "400", event_id="urn:test:again")
    rig.record(event(0, received("B1")), event(1, again), event(2, received("B2")), topic=TERMINAL_TOPIC)
    assert quarantined(rig) == [("event_refused", 1)]
    assert account(rig, f"{LINE}/terminal").closes
    assert set(rig.ledger.chain().lots) == {"B1", "B2"}


def test_an_event_that_is_no_event_is_quarantined(rig):
    rig.record(b'{"boot":"b","seq":0,"event":{"type":"Nonsense"}}', b'{"boot":"b","seq":1}', topic=TERMINAL_TOPIC)
    assert quarantined(rig) == [("event_refused", 1), ("wrong_shape", 1)]
    assert account(rig, f"{LINE}/terminal").closes


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ("got material 'gold'", received("B9", "5", "gold")),
        ("got step 'melting'", started("R9", "S9", step="melting")),
        ("got recipe 'secret'", started("R9", "S9", recipe="secret")),
        ("got line 'caux/textile/t9'", closed("R9", line="caux/textile/t9")),
        ("got material 'gold'", closed("R9", portion("S9", "5", "gold"))),
    ],
)
def test_an_event_with_a_name_that_the_plant_lacks_is_quarantined(rig, words, wrong):
    rig.record(event(0, wrong), topic=TERMINAL_TOPIC)
    (kept,) = rig.book.quarantine()
    assert kept.reason == "unknown_name"
    assert words in kept.message
    assert list(rig.ledger.events()) == []
    assert account(rig, f"{LINE}/terminal").closes


def test_an_event_of_another_line_is_refused_and_kept(rig):
    line = rig.plant.lines[0]
    other = replace(line, id="t2", path="caux/textile/t2")
    rig.plant = replace(rig.plant, workshops=(replace(rig.plant.workshops[0], lines=(line, other)),))
    rig.restart()
    rig.record(
        event(0, received("B1")), event(1, started("R1", "S1")), topic=topic_text(other.path, "terminal", "events")
    )
    (kept,) = rig.book.quarantine()
    assert (kept.reason, kept.seq) == ("not_owner", 1)
    assert f"got an event of line {LINE} from caux/textile/t2/terminal" in kept.message
    assert [each.event_id for each in rig.ledger.events()] == ["urn:test:receive-B1"]
    assert account(rig, "caux/textile/t2/terminal").closes


def test_strangers_share_one_account_and_fill_no_book(rig):
    for number in range(40):
        rig.arrive(readings(seq=number, boot=f"b{number}"), topic=topic_text(LINE, f"oven{number}", "readings"))
    rig.record()
    assert list(rig.book.counts()) == [""]
    assert rig.book._rows("SELECT count(*) AS n FROM numbers")[0]["n"] == 0
    assert (account(rig, "?").quarantined, account(rig, "?").closes) == (40, True)


def test_an_early_event_waits_and_is_marked_when_its_cause_arrives(rig):
    rig.record(event(0, started("R1", "S1", portion("B1"))), topic=TERMINAL_TOPIC)
    assert rig.marks() == []
    terminal = account(rig, f"{LINE}/terminal")
    assert (terminal.published, terminal.waiting, terminal.stored, terminal.closes) == (1, 1, 0, True)
    rig.restart()
    rig.record(event(1, received("B1")), topic=TERMINAL_TOPIC)
    assert [(state, run) for _, state, run, _ in rig.marks()] == [("running", "R1")]
    terminal = account(rig, f"{LINE}/terminal")
    assert (terminal.published, terminal.waiting, terminal.stored, terminal.closes) == (2, 0, 2, True)


def test_an_early_event_that_proves_wrong_ends_in_quarantine(rig):
    early = event(0, started("R1", "S1", portion("B1", "900")))
    rig.record(early, event(1, received("B1", "500")), topic=TERMINAL_TOPIC)
    (refused,) = rig.book.quarantine()
    assert (refused.reason, refused.payload) == ("event_refused", early)
    terminal = account(rig, f"{LINE}/terminal")
    assert (terminal.waiting, terminal.stored, terminal.quarantined, terminal.closes) == (0, 1, 1, True)


def kill(*_args, **_kwargs):
    raise SystemExit


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", ["ledger.append", "ledger.events", "store.write", "book.commit"])
def test_a_kill_at_any_step_loses_nothing_and_doubles_nothing(rig, monkeypatch, step, after):
    rig.arrive(readings(seq=0, rows=3), b"hello")
    rig.arrive(event(0, received("B1")), event(1, started("R1", "S1")), event(2, closed()), topic=TERMINAL_TOPIC)
    rig.arrive(event(3, received("B1", "7", event_id="urn:test:again")), topic=TERMINAL_TOPIC)
    part, name = step.split(".")
    real = getattr(getattr(rig, part), name)

    def do_and_die(*args, **kwargs):
        real(*args, **kwargs)
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(getattr(rig, part), name, do_and_die if after else kill)
        with pytest.raises(SystemExit):
            rig.recorder.step()
    rig.restart()
    rig.record()
    assert len(rig.stored()) == 3
    assert [(state, run) for _, state, run, _ in rig.marks()] == [("running", "R1"), ("idle", "R1")]
    assert quarantined(rig) == [("not_json", 1), ("event_refused", 1)]
    assert [(each.published, each.stored, each.duplicates, each.closes) for each in audit(rig.book_path)] == [
        (4, 3, 0, True),
        (4, 3, 0, True),
    ]


def test_a_mistake_in_the_program_costs_one_message_and_not_the_stream(rig, monkeypatch):
    def mistake(payload):
        if b'"seq":1' in payload:
            raise ZeroDivisionError("float division by zero")
        return codec.decode_columns(payload)

    monkeypatch.setattr("collector.recorder.judging.decode_columns", mistake)
    rig.record(readings(seq=0), readings(seq=1), readings(seq=2))
    assert len(rig.stored()) == 2
    assert quarantined(rig) == [("internal_error", 1)]
    assert account(rig).closes


def test_an_event_of_the_year_9999_does_not_stop_the_stream(rig):
    far = event_json(started("R1", "S1")).replace(b"2026-03-11", b"9999-03-11")
    rig.record(event(0, received("B1")), encode_event("9f2c", 1, far), topic=TERMINAL_TOPIC)
    assert account(rig, f"{LINE}/terminal").closes


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_whatever_is_sent_is_stored_or_quarantined_or_waits(tmp_path_factory, data):
    with Rig(tmp_path_factory.mktemp("rig")) as rig:
        for seq, each in enumerate(two_steps()):
            document = json.loads(event_json(each))
            place = data.draw(st.sampled_from(sorted(document)))
            document[place] = data.draw(st.just(document[place]) | JSON)
            rig.record(encode_event("9f2c", seq, json.dumps(document).encode()), topic=TERMINAL_TOPIC)
        document = json.loads(readings(seq=0, melt_temp=230))
        document[data.draw(st.sampled_from(sorted(document)))] = data.draw(JSON)
        rig.record(json.dumps(document).encode(), data.draw(st.binary(max_size=40)))
        assert all(each.closes or each.missing for each in audit(rig.book_path))
        assert not [refused for refused in rig.book.quarantine() if refused.reason == "internal_error"]


def test_a_book_that_is_thrown_away_is_rebuilt_from_the_log(rig):
    rig.record(readings(seq=0, rows=5), b"hello", readings(seq=5))
    rig.record(event(0, received("B1")), event(1, started("R1", "S1")), topic=TERMINAL_TOPIC)
    before, marks, stored = audit(rig.book_path), rig.marks(), rig.stored()
    rig.book.close()
    for file in rig.folder.glob("recorder.sqlite*"):
        file.unlink()
    rig.restart()
    rig.record()
    assert audit(rig.book_path) == before
    assert (rig.marks(), rig.stored()) == (marks, stored)


@settings(max_examples=25, deadline=None)
@given(
    order=st.lists(st.integers(0, 11), max_size=30),
    cuts=st.lists(st.integers(0, 30), max_size=4),
    bad=st.sets(st.integers(0, 11), max_size=3),
)
def test_the_account_closes_however_messages_are_repeated_shuffled_and_cut_by_restarts(
    tmp_path_factory, order, cuts, bad
):
    with Rig(tmp_path_factory.mktemp("rig")) as rig:
        for place, seq in enumerate([*order, *range(12)]):
            if place in cuts:
                rig.restart()
            rig.record(readings(seq=seq, **({"colour": 1} if seq in bad else {"melt_temp": seq})))
        expected = [(NOON_NS + seq * NS_PER_S + seq, float(seq), 0) for seq in range(12) if seq not in bad]
        assert rig.stored() == expected
        assert (account(rig).published, account(rig).quarantined) == (12, len(bad))
        assert account(rig).closes
        assert account(rig).duplicates == len(order)
