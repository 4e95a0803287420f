"""Which files need a mapping and which do not; tables that a simulation wrote."""

import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
import pytest

from collector.codec import decode_readings
from collector.log.lines import line_of
from filiere.clock import NS_PER_S
from filiere.errors import ScenarioError, SettingsError
from filiere.message_log import Message
from simulators.output.table import BOOT, EVENT_TIME, SEQ, TIME
from simulators.replay import tables
from simulators.replay.device_recording import Several
from simulators.replay.dirt import Dirt
from simulators.replay.opening import is_own, open_recording
from simulators.replay.recording import Lap, lap_ns
from tests.collector.builders import NOON_NS, TERMINAL_TOPIC
from tests.simulators.builders import caux
from tests.simulators.replay.builders import NOW_NS, mapping, values, written

START_MS = NOON_NS // 10**6


def table(*, count: int = 30, boots: tuple[str, ...] = ("b1",), first: int = 7, device: str = "dryer") -> pa.Table:
    """Rows a second apart, as a simulation writes them; the last is sent twice, and late."""
    order = [*range(count - 1), 3, count - 1]
    return pa.Table.from_arrays(
        [
            pa.array([(START_MS + 1000 * place) * 10**6 for place in order], pa.int64()).cast(TIME),
            pa.array([boots[place * len(boots) // count] for place in order]),
            pa.array([first + place for place in order], pa.int64()),
            pa.array([None if place % 3 else place / 1000 for place in order], pa.float64()),
        ],
        schema=pa.schema(
            [(EVENT_TIME, TIME), (BOOT, pa.string()), (SEQ, pa.int64()), ("moisture", pa.float64())],
            metadata={"filiere": f'{{"line": "caux/textile/t1", "device": "{device}"}}'},
        ),
    )


def kept(folder: Path, made: pa.Table, name: str = "caux-textile-t1-dryer.parquet") -> Path:
    path = folder / name
    if path.suffix == ".csv":
        pcsv.write_csv(made, path)
    else:
        pq.write_table(made, path)
    return path


def rows(path: Path) -> list[tuple[str, int, int, float | None]]:
    """Boot, number, time and value of each row, in the order of sending."""
    found = []
    for message in open_recording([path], caux(), clock=lambda: NOW_NS).lap(Lap()):
        read = decode_readings(message.payload)
        for place, time_ns in enumerate(read.time_ns):
            found.append((read.boot, read.seq + place, time_ns, read.values["moisture"][place]))
    return found


@pytest.mark.parametrize("name", ["caux-textile-t1-dryer.parquet", "caux-textile-t1-dryer.csv"])
def test_a_simulations_table_is_replayed_row_for_row_with_its_own_numbers(tmp_path: Path, name: str):
    made = table(boots=("b1", "b2"))
    path = kept(tmp_path, made, name)
    times = made[EVENT_TIME].cast(pa.int64()).to_pylist()
    expected = list(
        zip(made[BOOT].to_pylist(), made[SEQ].to_pylist(), times, made["moisture"].to_pylist(), strict=True)
    )
    assert is_own(path, caux())
    # a message of which nothing was measured is none
    assert [row for row in rows(path) if row[3] is not None] == [row for row in expected if row[3] is not None]


def test_times_of_any_fineness_and_none_that_no_message_holds(tmp_path: Path):
    times = pa.array([NOON_NS + 999 + place * NS_PER_S for place in range(31)], pa.int64()).cast(TIME)
    path = kept(tmp_path, table().set_column(0, EVENT_TIME, times))
    assert {time_ns % 1000 for _, _, time_ns, _ in rows(path)} == {0}
    with pytest.raises(ScenarioError, match=r"got a damaged row .bad_time"):
        rows(kept(tmp_path, table().set_column(0, EVENT_TIME, pa.array([2**63 - 1] * 31, pa.int64()).cast(TIME))))


def test_a_folder_is_one_recording_in_the_order_of_sending(tmp_path: Path):
    kept(tmp_path, table())
    line = line_of(
        Message(offset=1, topic=TERMINAL_TOPIC.encode(), payload=b"{}", record_time_ns=NOON_NS + 12 * NS_PER_S)
    )
    (tmp_path / "events.jsonl").write_bytes(line + b"\n")
    recording = open_recording([tmp_path], caux(), clock=lambda: NOW_NS)
    assert isinstance(recording, Several)
    sent = list(recording.lap(Lap()))
    assert len(sent) == recording.count
    assert [each.time_ns for each in sent] == sorted(each.time_ns for each in sent)
    assert {each.topic.rpartition(b"/")[2] for each in sent} == {b"readings", b"events"}
    assert recording.findings.items() == []


def test_what_is_wrong_with_the_parts_of_a_folder_is_added_up(tmp_path: Path):
    for name in ("a.parquet", "b.parquet"):
        kept(tmp_path, table(), name)
    recording = open_recording([tmp_path], caux(), clock=lambda: NOON_NS + 25 * NS_PER_S)
    assert recording.findings.count(Dirt.FUTURE) == 2 * 4


def test_another_lap_of_a_table_has_other_boots(tmp_path: Path):
    recording = open_recording([kept(tmp_path, table())], caux(), clock=lambda: NOW_NS)
    boots = defaultdict(set)
    for number in (0, 1):
        for message in recording.lap(Lap(number=number, shift_ns=number * lap_ns(recording))):
            boots[number].add(decode_readings(message.payload).boot)
    assert boots[0] == {"b1"}
    assert not boots[0] & boots[1]


@pytest.mark.parametrize(
    ("made", "name", "words"),
    [
        (
            table(device="oven"),
            "x.parquet",
            "no unit 'oven'; .*replay it with the plant file that it was recorded with",
        ),
        (table(), "dryer.csv", "a name of no device"),
        (
            table().rename_columns([EVENT_TIME, BOOT, SEQ, "damp"]),
            "caux-textile-t1-dryer.csv",
            "got signal 'damp'; expected those of",
        ),
        (table(boots=("b é",)), "x.parquet", "got no boot; expected 1 to 32 of"),
        (table(first=-9), "x.parquet", "got no number of a row"),
        (table().replace_schema_metadata(None), "x.parquet", "got no line and device"),
    ],
)
def test_a_table_that_is_not_of_this_plant_or_not_whole_is_refused(
    tmp_path: Path, made: pa.Table, name: str, words: str
):
    with pytest.raises(ScenarioError, match=words):
        open_recording([kept(tmp_path, made, name)], caux())


def test_a_damaged_row_of_an_own_table_is_refused(tmp_path: Path):
    path = kept(tmp_path, table(), "caux-textile-t1-dryer.csv")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ScenarioError, match="got a damaged row"):
        open_recording([path], caux())


def test_a_foreign_file_needs_a_mapping_and_is_told_how_to_get_one(tmp_path: Path):
    path = written(tmp_path, "t;z1", "2026-03-11 10:00:00;230")
    with pytest.raises(ScenarioError, match=r"inspect .*plant\.csv -o mapping\.yaml` proposes one"):
        open_recording([path], caux())
    recording = open_recording([path], caux(), mapping=mapping(), zone="Europe/Paris", clock=lambda: NOW_NS)
    assert values(recording.lap(Lap())) == [("09:00:00", 230.0)]


def test_the_zone_that_is_named_goes_before_the_mappings(tmp_path: Path):
    path = written(tmp_path, "t;z1", "2026-03-11 10:00:00;230")
    chosen = mapping(time="{columns: [t], format: year_first, zone: Europe/Paris}")
    recording = open_recording([path], caux(), mapping=chosen, zone="Asia/Tokyo", clock=lambda: NOW_NS)
    assert values(recording.lap(Lap())) == [("01:00:00", 230.0)]


def test_a_zone_that_is_none_is_refused(tmp_path: Path):
    with pytest.raises(SettingsError, match="zone: got 'Paris'"):
        open_recording([tmp_path], caux(), zone="Paris")


@pytest.mark.parametrize("body", [b"", b"{", b"PAR1", b"\x00" * 100, b"[1]\n", b"a,b\n1,2\n"])
@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.parquet"])
def test_what_is_no_recording_is_refused_in_words(tmp_path: Path, body: bytes, name: str):
    (tmp_path / name).write_bytes(body)
    with pytest.raises(ScenarioError, match="expected"):
        open_recording([tmp_path / name], caux())


def test_a_device_that_sent_nothing_is_part_of_a_folder(tmp_path: Path):
    kept(tmp_path, table().slice(0, 0))
    with pytest.raises(ScenarioError, match="got tables without a row"):
        open_recording([tmp_path], caux())
    kept(tmp_path, table(), "other.parquet")
    assert open_recording([tmp_path], caux()).rows == 31


def test_who_asks_is_told_how_many_bytes_were_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tables, "CHUNK_ROWS", 4)
    rows = [f"2026-03-11 10:00:{second:02d}Z;230" for second in range(60)] * 300
    sizes = []
    for path, chosen in (
        (written(tmp_path, "t;z1", *rows), mapping()),
        (kept(tmp_path, table()), None),
        (written(tmp_path, line_of(Message(1, b"a", b"{}", NOON_NS)).decode(), name="x.jsonl"), None),
    ):
        told: list[int] = []
        open_recording([path], caux(), mapping=chosen, read=told.append)
        sizes.append((sum(told), path.stat().st_size))
    assert all(0 < told <= size for told, size in sizes)
    assert sizes[0][0] > 0.9 * sizes[0][1]


def test_an_empty_folder_and_one_that_is_not_there_are_refused(tmp_path: Path):
    with pytest.raises(ScenarioError, match="a folder without"):
        open_recording([tmp_path], caux())
    with pytest.raises(ScenarioError, match="No such file"):
        open_recording([tmp_path / "none"], caux())


def test_a_pipe_is_refused_for_it_is_read_more_than_once(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(ScenarioError, match="got no file of a disk"):
        open_recording([tmp_path / "pipe.csv"], caux())


def test_an_own_table_holds_no_value_that_is_not_finite(tmp_path: Path):
    made = table().set_column(3, "moisture", pa.array(np.full(31, np.inf)))
    with pytest.raises(ScenarioError, match="damaged row"):
        open_recording([kept(tmp_path, made)], caux())
