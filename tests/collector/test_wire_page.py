"""The page for makers of devices says what the code does."""

import re
from pathlib import Path

from collector import codec, wire_time
from collector.codec import decode_event, decode_readings, decode_state
from collector.outbox.wire import read_receipt
from collector.receipts.receipt import REFUSALS_MAX, SPANS_MAX, decode_receipt
from collector.recorder import judging, seen, validation, writing

PAGE = (Path(__file__).parents[2] / "docs" / "wire.md").read_text(encoding="utf-8")


def test_every_example_is_read():
    row, columns, event = re.findall(r"```json\n(.*?)\n```", PAGE)
    assert decode_readings(row.encode()).identity.rows == 1
    assert decode_readings(columns.encode()).identity.rows == 2
    assert decode_readings(columns.encode()).time_ns[0] - decode_readings(row.encode()).time_ns[0] == 2_000_000_000
    assert decode_event(event.encode()).seq == 0
    assert [decode_state(state.encode()) for state in re.findall(r'`(\{"state":.*?)`', PAGE)] == ["online", "offline"]


def test_the_receipt_is_one_that_both_sides_read():
    (receipt,) = re.findall(r'^    (\{"boot".*"up_to".*)$', PAGE, re.MULTILINE)
    read = decode_receipt(receipt.encode())
    assert (read.up_to, read.spans, [each.seq for each in read.refused]) == (40, ((42, 50),), [3])
    assert read_receipt("caux/textile/t1/extruder", receipt.encode()).spans == ((0, 40), (42, 50))
    assert f"at most {SPANS_MAX}, the newest" in PAGE
    assert f"at most {REFUSALS_MAX}, and told" in PAGE


def test_every_reason_is_explained_and_no_other():
    named = {
        word for row in re.findall(r"^\| (`[a-z_`, ]+) \| ", PAGE, re.MULTILINE) for word in re.findall(r"`(\w+)`", row)
    }
    words = {
        *(codec.NOT_JSON, codec.WRONG_SHAPE, codec.WRONG_TOPIC, codec.TOO_LARGE),
        *(wire_time.LOCAL_TIME, wire_time.BAD_TIME, codec.NOT_FINITE),
        *(validation.UNKNOWN_DEVICE, validation.UNKNOWN_SIGNAL, validation.UNKNOWN_NAME, validation.WRONG_UNIT),
        *(validation.NOT_OWNER, seen.TOO_MANY_BOOTS, seen.TOO_MANY_GAPS),
        *(judging.EVENT_REFUSED, judging.INTERNAL_ERROR, writing.STORE_REFUSED),
    }
    assert named - {*codec.KINDS, "boot", "seq", "t", "v", "u"} == words


def test_the_limits_are_the_codec_s():
    assert f"{codec.PAYLOAD_BYTES_MAX // 1024} KiB and {codec.ROWS_MAX:,} rows" in PAGE
    assert f"{validation.AHEAD_NS_MAX // 60 // 10**9} minutes ahead" in PAGE
    assert f"the {seen.NEW_BOOTS_OF_DEVICE_MAX + 1}st of its device" in PAGE
    assert f"the {seen.NEW_BOOTS_MAX + 1:,}st of all devices" in PAGE
    assert f"{seen.SPANS_MAX:,} gaps" in PAGE
