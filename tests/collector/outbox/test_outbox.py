"""The outbox as a file: durable, bounded, and it lets go of nothing that a receipt does not cover."""

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from collector.codec import Identity, decode_event, decode_readings
from collector.outbox import (
    Numbered,
    Outbox,
    OutboxError,
    OutboxFull,
    OutboxUnusable,
    Receipt,
    Refused,
    RowRefused,
    wire,
)
from collector.outbox.file import status_of
from collector.outbox.wire import body_of, read_receipt
from collector.receipts.receipt import Refusal, encode_receipt, numbers_of, receipt_of

DEVICE = "caux/textile/t1/extruder"
OTHER = "caux/textile/t1/dryer"
EVENT = {"type": "ObjectEvent", "eventID": "urn:uuid:1"}


def row(number=0, t=1_795_425_247_250, **units):
    made = {"t": t + number, "v": {"melt_temp": 200.0 + number}}
    return {**made, "u": units} if units else made


def numbered(seq, rows=1, boot="sim", device=DEVICE):
    payload = json.dumps({"boot": boot, "seq": seq, "t": list(range(rows)), "v": {"a": [1.0] * rows}}).encode()
    return Numbered(device=device, kind="readings", boot=boot, seq=seq, rows=rows, payload=payload)


def receipt(boot, *spans, device=DEVICE):
    return Receipt(device=device, boot=boot, spans=spans)


def spans(outbox, boot=None):
    """(first, last) of all that is kept, or of one boot."""
    found = [
        (identity.boot, identity.seq, identity.seq + identity.rows - 1)
        for topic, payload in payloads(outbox)
        for _, identity in [numbers_of(topic.encode(), payload)]
    ]
    return sorted((first, last) for of, first, last in found if boot in (None, of))


def payloads(outbox):
    """(topic, payload) in the order in which they were put."""
    return [outbox.publication(message) for message, _ in outbox.after(0, 10**6)]


@pytest.fixture
def outbox(tmp_path):
    with Outbox.open(tmp_path / "outbox.sqlite") as outbox:
        yield outbox


def test_numbers_count_on_over_restarts_readings_and_events_together(tmp_path):
    for start in (0, 5):
        with Outbox.open(tmp_path / "outbox.sqlite") as outbox:
            boot = outbox.boot
            assert outbox.put(DEVICE, row()) == start
            assert outbox.put_many(DEVICE, [row(), EVENT, row(), row()]) == range(start + 1, start + 5)
            assert outbox.put(OTHER, row()) == start // 5
            assert (outbox.messages, outbox.status().rows) == (6 * (1 + start // 5), 6 * (1 + start // 5))
    with Outbox.open(tmp_path / "outbox.sqlite") as outbox:
        assert outbox.boot == boot
    with Outbox.open(tmp_path / "another.sqlite") as outbox:
        assert outbox.boot != boot


def test_what_is_sent_is_what_the_collector_reads(outbox):
    outbox.put_many(DEVICE, [row(), EVENT, {"v": {"melt_temp": 1, "melt_pressure": None}}])
    (first, event, without_time) = payloads(outbox)
    assert decode_readings(first[1]).values == {"melt_temp": (200.0,)}
    assert json.loads(decode_event(event[1]).body) == EVENT
    assert event[0] == f"filiere/v1/{DEVICE}/events"
    assert decode_readings(without_time[1]).seq == 2


UNITS = st.sampled_from([None, "Cel", "K"])
ROWS = st.lists(
    st.builds(
        lambda t, values, unit: {"t": t, "v": values, **({"u": {next(iter(values)): unit}} if unit else {})},
        st.one_of(st.integers(0, 2**41), st.just("2026-11-23T09:14:05.250Z"), st.just("2026-11-23T10:14:05+01:00")),
        st.dictionaries(st.sampled_from("abcd"), st.floats(allow_nan=False, allow_infinity=False), min_size=1),
        UNITS,
    ),
    min_size=1,
    max_size=20,
)


@settings(max_examples=40)  # each one makes a file
@given(rows=ROWS)
def test_the_rows_that_are_sent_are_the_rows_that_were_put(rows, tmp_path_factory):
    with Outbox.open(tmp_path_factory.mktemp("outbox") / "outbox.sqlite") as outbox:
        outbox.put_many(DEVICE, rows)
        sent = [json.loads(payload) for _, payload in payloads(outbox)]
        assert sent == [{"boot": outbox.boot, "seq": seq, **row} for seq, row in enumerate(rows)]
        for _, payload in payloads(outbox):
            decode_readings(payload)


BAD_ROWS = [
    {},
    [1],
    "v",
    {"t": 1},
    {"v": {"a": float("nan")}},
    {"v": {"a": float("inf")}},
    {"v": {"a": b"1"}},
    {"v": {"a\ud800": 1}},
    {"v": {"a": 1}, "t": [1, 2]},
    {"v": {"a": 1}, "t": None},
    {"v": {"a": 1}, "seq": 3},
    {"v": {"a": 1}, "boot": "b"},
    {"v": {f"signal_{n}": 1.0 for n in range(20_000)}},
    {"type": "ObjectEvent", "x": float("nan")},
    {"type": "ObjectEvent", "x": "\ud800"},
    {"type": "ObjectEvent", "x": "x" * 300_000},
]
"""What could not be sent, or whose number the collector could not read: it would wait for a receipt for ever."""


@pytest.mark.parametrize("bad", BAD_ROWS, ids=range(len(BAD_ROWS)))
def test_what_could_have_no_receipt_is_refused_at_once_and_takes_no_number(outbox, bad):
    with pytest.raises(RowRefused, match="expected"):
        outbox.put_many(DEVICE, [row(), bad])
    assert outbox.messages == 0
    assert outbox.put(DEVICE, row()) == 0


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["seq", "boot", "t", 'a"b', "a\\b", "melt_temp"]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=5
)


@settings(max_examples=200)
@given(v=st.dictionaries(NAMES, JSON, max_size=4) | JSON, t=st.integers() | st.text(), u=JSON, event=st.booleans())
@example(v={"a": 10**400}, t=0, u=None, event=False)
def test_of_whatever_is_taken_the_collector_can_read_the_number(v, t, u, event):
    """Else it would never be receipted, and be sent for ever."""
    row = {"type": "ObjectEvent", "seq": 1, "boot": "b", "a": v} if event else {"v": v, "t": t, "u": u}
    try:
        kind, body = body_of(row, 0)
    except RowRefused:
        return
    topic = f"filiere/v1/{DEVICE}/{kind}".encode()
    assert numbers_of(topic, wire.numbered("b-1", 7, body)) == (DEVICE, Identity(boot="b-1", seq=7, rows=1))


@pytest.mark.parametrize("device", ["", "a/b/c", "a/b/c/d/e", "a/b/c/+", "a/b/c/#", "A/b/c/d", "a/b/c/é", "a/b/c/d\0"])
def test_a_name_that_is_no_device_is_refused(outbox, device):
    with pytest.raises(RowRefused, match="expected site/workshop/line/device"):
        outbox.put(device, row())


@pytest.mark.parametrize(
    "bad",
    [
        {"boot": "é"},
        {"seq": -1},
        {"seq": 2**53 + 1},
        {"rows": 0},
        {"rows": 1001},
        {"kind": "state"},
        {"payload": b"x" * 2**19},
    ],
)
def test_a_message_whose_numbers_cannot_be_is_refused(outbox, bad):
    message = {"device": DEVICE, "kind": "readings", "boot": "b", "seq": 0, "rows": 1, "payload": b"{}"}
    with pytest.raises(RowRefused, match="expected"):
        outbox.put_numbered([numbered(0), Numbered(**{**message, **bad})])
    assert outbox.messages == 0


def test_a_numbered_message_that_is_put_twice_is_kept_once(outbox):
    outbox.put_numbered([numbered(0, 10), numbered(10, 10)])
    outbox.put_numbered([numbered(10, 10), numbered(20, 10)])
    assert spans(outbox) == [(0, 9), (10, 19), (20, 29)]
    outbox.put_numbered([numbered(20, 20)])  # as a restart with longer messages does: no row of it may be lost
    assert spans(outbox) == [(0, 9), (10, 19), (20, 29), (20, 39)]


@st.composite
def stories(draw):
    """Puts and receipts of one boot, in any order."""
    step = st.one_of(
        st.integers(1, 7),
        st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=4),
    )
    return draw(st.lists(step, max_size=25))


@settings(max_examples=60)  # each one makes a file
@given(story=stories())
def test_no_order_of_puts_and_receipts_lets_go_of_a_row_that_is_not_covered(story, tmp_path_factory):
    kept, following = set(), 0
    with Outbox.open(tmp_path_factory.mktemp("outbox") / "outbox.sqlite") as outbox:
        for step in story:
            if isinstance(step, int):
                outbox.put_numbered([numbered(following, step), numbered(0, 1, boot="other")])
                kept.add((following, following + step - 1))
                following += step
            else:
                covered = sorted({number for first, more in step for number in range(first, first + more + 1)})
                outbox.settle([receipt("sim", *as_spans(covered)), receipt("sim", (0, 10**6), device=OTHER)])
                kept = {(first, last) for first, last in kept if not set(range(first, last + 1)) <= set(covered)}
            assert set(spans(outbox, "sim")) == kept
            assert outbox.messages == len(spans(outbox))
            assert outbox.status().rows == sum(last - first + 1 for first, last in spans(outbox))
        assert outbox.status() == status_of(outbox.path)


def as_spans(numbers):
    made = []
    for number in numbers:
        if made and made[-1][1] + 1 == number:
            made[-1] = (made[-1][0], number)
        else:
            made.append((number, number))
    return made


def test_a_receipt_of_another_boot_or_device_lets_go_of_nothing(outbox):
    outbox.put_numbered([numbered(0, boot="sim"), numbered(0, boot="sim", device=OTHER)])
    another = receipt("sim", (0, 100), device="caux/flax/f1/dryer")
    assert outbox.settle([receipt("other", (0, 100)), another]) == []
    assert len(outbox.settle([receipt("sim", (0, 100))])) == 1
    assert outbox.messages == 1


def test_when_it_is_full_new_rows_are_refused_and_nothing_is_lost(tmp_path):
    limit = 200_000
    with Outbox.open(tmp_path / "outbox.sqlite", bytes_max=limit) as outbox:
        with suppress(OutboxFull):
            while True:
                outbox.put_many(DEVICE, [row()] * 50)
        kept = outbox.status().rows
        assert kept > 300
        assert limit / 2 < outbox.status().bytes <= limit
        assert spans(outbox) == [(number, number) for number in range(kept)]
        with pytest.raises(OutboxFull, match="expected room"):
            outbox.put_many(DEVICE, [row()] * 50)
        outbox.settle([receipt(outbox.boot, (0, 99))])
        assert outbox.put_many(DEVICE, [row()] * 50).start == kept
        outbox.settle([receipt(outbox.boot, (0, kept + 49))])
        assert outbox.messages == 0
        outbox.put_many(DEVICE, [row()] * 300)
    assert outbox.path.stat().st_size <= limit


def test_one_process_has_it(outbox):
    with pytest.raises(OutboxUnusable, match="another process has"):
        Outbox.open(outbox.path)
    assert status_of(outbox.path).messages == 0


def test_an_older_copy_of_itself_is_noticed_before_a_number_means_two_rows(tmp_path):
    path, copy = tmp_path / "outbox.sqlite", tmp_path / "copy.sqlite"
    with Outbox.open(path) as outbox:
        outbox.put_many(DEVICE, [row()] * 3)
    shutil.copy(path, copy)
    with Outbox.open(path) as outbox:
        outbox.put_many(DEVICE, [row()] * 3)
        outbox.settle([receipt(outbox.boot, (0, 5))])
    with Outbox.open(copy) as outbox:
        outbox.put(DEVICE, row())
        with pytest.raises(OutboxUnusable, match="older copy"):
            outbox.settle([receipt(outbox.boot, (0, 5))])
        assert outbox.status().rows == 4


@pytest.mark.parametrize(
    "content", [b"not a database at all" * 100, b"\0" * 4096, b"SQLite format 3\0" + b"\xff" * 8000]
)
def test_a_file_that_is_none_says_so(tmp_path, content):
    path = tmp_path / "outbox.sqlite"
    path.write_bytes(content)
    with pytest.raises(OutboxUnusable, match=r"expected"):
        Outbox.open(path)
    assert path.read_bytes() == content


def test_another_kind_of_database_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "other.sqlite") as other:
        other.execute("CREATE TABLE t (a)")
    other.close()
    with pytest.raises(OutboxUnusable, match="another kind"):
        Outbox.open(tmp_path / "other.sqlite")


def test_a_damaged_page_is_said_with_what_to_do(tmp_path):
    path = tmp_path / "outbox.sqlite"
    with Outbox.open(path) as outbox:
        outbox.put_many(DEVICE, [row(n) for n in range(1000)])
    content = bytearray(path.read_bytes())
    content[5 * 4096 : 8 * 4096] = b"\x5a" * (3 * 4096)
    path.write_bytes(content)
    with pytest.raises(OutboxUnusable, match="If it is damaged, move it aside"):
        Outbox.open(path)


def test_a_torn_end_of_the_journal_costs_only_what_was_never_confirmed(tmp_path):
    path, torn = tmp_path / "outbox.sqlite", tmp_path / "torn.sqlite"
    with Outbox.open(path) as outbox:
        outbox.put_many(DEVICE, [row(n) for n in range(20)])
        wal = Path(f"{path}-wal").read_bytes()
        shutil.copy(path, torn)
        outbox.put_many(DEVICE, [row(n) for n in range(20)])
        whole = Path(f"{path}-wal").read_bytes()
        for cut in (len(wal), len(wal) + 1000, len(whole) - 1):
            Path(f"{torn}-wal").write_bytes(whole[:cut])
            with Outbox.open(torn) as other:
                assert other.status().rows in (20, 40) if cut == len(whole) - 1 else other.status().rows == 20
            shutil.copy(path, torn)


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutboxUnusable, match="expected a folder"):
        Outbox.open(tmp_path / "file" / "below" / "outbox.sqlite")


SPANS = st.lists(st.integers(1, 50), max_size=20).map(
    lambda steps: [(sum(steps[: 2 * n + 1]) + 2 * n, sum(steps[: 2 * n + 2]) + 2 * n) for n in range(len(steps) // 2)]
)


@given(whole=st.integers(-1, 5), beyond=SPANS, words=st.text(max_size=300))
def test_it_reads_every_receipt_that_the_collector_writes(whole, beyond, words):
    told = [(0, whole)] if whole >= 0 else []
    told += [(first + 10, last + 10) for first, last in beyond]
    refusal = Refusal(seq=3, rows=2, reason="wrong_unit", message=words)
    read = read_receipt(DEVICE, encode_receipt(receipt_of("b-1", told, [refusal])))
    assert read.boot == "b-1"
    assert read.spans == tuple(told)
    assert read.refused == (
        Refused(device=DEVICE, boot="b-1", seq=3, rows=2, reason="wrong_unit", message=words[:200]),
    )


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b"{}",
        b'{"boot":"b"}',
        b'{"boot":1,"up_to":1}',
        b'{"boot":"b","up_to":true}',
        b'{"boot":"b","up_to":1.0}',
        b'{"boot":"b","up_to":-2}',
        b'{"boot":"b","up_to":9007199254740993}',
        b'{"boot":"b","up_to":1e308}',
        b'{"boot":"b","up_to":5,"spans":[["7","9"]]}',
        b'{"boot":"b","up_to":5,"spans":[[9]]}',
        b'{"boot":"b","up_to":5,"spans":{"9":1}}',
        b'{"boot":"b","up_to":5,"refused":[{"seq":1}]}',
        b'{"boot":"b","up_to":5,"refused":7}',
        b'{"boot":"b","up_to":5' + b" " * 10**6 + b"}",
    ],
)
def test_a_receipt_that_cannot_be_read_is_said_and_lets_go_of_nothing(bad):
    with pytest.raises(OutboxError, match="got a receipt that cannot be read"):
        read_receipt(DEVICE, bad)


def test_the_folder_stands_alone(tmp_path):
    shutil.copytree(Path(__file__).parents[3] / "collector" / "outbox", tmp_path / "outbox")
    ours = "[name for name in sys.modules if name.split('.')[0] in ('filiere', 'collector')]"
    code = f"import sys, outbox; outbox.Outbox; print({ours})"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    for language in ("fr", "en"):
        command = [sys.executable, "-m", "outbox", "--help", "--lang", language]
        assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout
