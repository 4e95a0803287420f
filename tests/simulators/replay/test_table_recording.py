"""What becomes of a historian's file: dirt of every kind beside good rows, and messages that are the same each time."""

import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.codec import decode_readings
from filiere.clock import NS_PER_S
from filiere.errors import ScenarioError
from simulators.replay import table_reading, tables
from simulators.replay.dirt import Dirt
from simulators.replay.recording import Lap
from tests.simulators.replay.builders import mapping, messages, recorded, values, written

HEADER = "t;z1"
WIDE = mapping("z1", "z2", "z3", "p")


def row(second: int, *cells: str, minute: int = 0) -> str:
    return ";".join((f"2026-03-11T10:{minute:02d}:{second:02d}Z", *cells))


def dirt(recording) -> dict[Dirt, int]:
    return {kind: found.count for kind, found in recording.findings.items()}


def test_a_clean_file_is_sent_as_it_stands(tmp_path: Path):
    recording = recorded(written(tmp_path, HEADER, row(1, "230,5"), row(3, "231")))
    (message,) = messages(recording)
    assert message.topic == b"filiere/v1/caux/textile/t1/extruder/readings"
    assert values([message]) == [("10:00:01", 230.5), ("10:00:03", 231.0)]
    assert (recording.count, recording.rows, dirt(recording)) == (1, 2, {})
    assert message.numbered is not None
    assert message.time_ns == message.shown_ns == recording.last_ns


def test_the_same_file_gives_the_same_bytes_and_another_file_another_boot(tmp_path: Path):
    path = written(tmp_path, HEADER, row(1, "230,5"), row(3, "231"))
    other = written(tmp_path, HEADER, row(1, "230,5"), row(3, "232"), name="other.csv")
    assert messages(recorded(path)) == messages(recorded(path))
    boots = {decode_readings(messages(recorded(each))[0].payload).boot for each in (path, other)}
    assert len(boots) == 2


def test_another_lap_has_other_boots_and_later_times(tmp_path: Path):
    recording = recorded(written(tmp_path, HEADER, row(1, "230,5"), row(3, "231")))
    first, second = (messages(recording, lap)[0] for lap in (Lap(), Lap(number=1, shift_ns=3600 * NS_PER_S)))
    assert values([second]) == [("11:00:01", 230.5), ("11:00:03", 231.0)]
    assert second.time_ns == first.time_ns + 3600 * NS_PER_S
    assert second.shown_ns == first.shown_ns
    assert decode_readings(first.payload).boot != decode_readings(second.payload).boot


def test_each_device_has_its_own_messages_and_its_rows_are_those_in_which_it_measured(tmp_path: Path):
    chosen = mapping("z1", "moisture")
    path = written(tmp_path, "t;z1;moisture", row(1, "230", "0,01"), row(3, "231", ""), row(5, "", "0,02"))
    sent = messages(recorded(path, chosen))
    assert values(sent, "barrel_temp_z1") == [("10:00:01", 230.0), ("10:00:03", 231.0)]
    assert values(sent, "moisture") == [("10:00:01", 0.01), ("10:00:05", 0.02)]


def test_a_message_holds_as_many_rows_as_asked_for_and_no_more_than_twenty_seconds(tmp_path: Path):
    path = written(
        tmp_path, HEADER, *(row(second, "230", minute=minute) for minute in (0, 1) for second in range(0, 60, 2))
    )
    for rows_max, most in ((1, 1), (4, 4), (1000, 10)):
        recording = recorded(path, rows_max=rows_max)
        lengths = [len(decode_readings(message.payload).time_ns) for message in messages(recording)]
        assert (max(lengths), sum(lengths), len(lengths)) == (most, 60, recording.count)


def test_values_come_in_the_signals_unit(tmp_path: Path):
    chosen = mapping("z1", z2=("caux/textile/t1/extruder.barrel_temp_z2", "[degF]"))
    sent = messages(recorded(written(tmp_path, "t;z1;z2", row(1, "230", "446")), chosen))
    assert [value for _, value in values(sent, "barrel_temp_z2")] == pytest.approx([230.0])


# ------------------------------------------------------------------------------------------------------------- dirt


def test_sentinels_are_not_measured(tmp_path: Path):
    chosen = mapping("z1", "p", more="sentinels: [-175, 65532]")
    path = written(tmp_path, "t;z1;p", row(1, "230", "-175"), row(3, "65532", "44"), row(5, "-175", "65532"))
    recording = recorded(path, chosen)
    assert values(messages(recording)) == [("10:00:01", 230.0), ("10:00:03", None)]
    assert dirt(recording) == {Dirt.SENTINEL: 4}


def test_without_the_mapping_saying_so_no_number_is_a_sentinel(tmp_path: Path):
    sent = messages(recorded(written(tmp_path, HEADER, row(1, "-175"))))
    assert values(sent) == [("10:00:01", -175.0)]


HALVED = (row(1, "115", "114", "113", "22"), row(3, "230", "228", "226", "45"), row(5, "230", "228", "226", "44"))


def test_first_rows_that_are_halved_are_left_out(tmp_path: Path):
    recording = recorded(written(tmp_path, "t;z1;z2;z3;p", *HALVED), WIDE)
    assert [value for _, value in values(messages(recording))] == [230.0, 230.0]
    assert dirt(recording) == {Dirt.HALVED_ROW: 1}


def test_halved_rows_after_a_gap_are_found_too_and_all_of_them(tmp_path: Path):
    later = [each.replace("T10:00", "T11:00") for each in (HALVED[0], HALVED[0].replace(":01Z", ":02Z"), *HALVED[1:])]
    recording = recorded(written(tmp_path, "t;z1;z2;z3;p", *HALVED[1:], *later), WIDE)
    assert [value for _, value in values(messages(recording))] == [230.0] * 4
    assert dirt(recording) == {Dirt.HALVED_ROW: 2, Dirt.GAP: 1}


def test_a_machine_that_speeds_up_is_not_taken_for_a_halved_row(tmp_path: Path):
    rows = (row(1, "228", "226", "224", "22"), row(3, "230", "228", "226", "45"))
    assert dirt(recorded(written(tmp_path, "t;z1;z2;z3;p", *rows), WIDE)) == {}


def test_a_single_signal_that_doubles_is_believed(tmp_path: Path):
    assert len(values(messages(recorded(written(tmp_path, HEADER, row(1, "20"), row(3, "40")))))) == 2


def test_what_is_half_in_the_files_unit_is_halved(tmp_path: Path):
    keys = {f"f{zone}": (f"caux/textile/t1/extruder.barrel_temp_z{zone}", "[degF]") for zone in (1, 2, 3)}
    path = written(tmp_path, "t;f1;f2;f3", row(1, "223", "222", "221"), row(3, "446", "444", "442"))
    recording = recorded(path, mapping(no_default=True, **keys))
    assert [value for _, value in values(messages(recording))] == pytest.approx([230.0])
    assert dirt(recording) == {Dirt.HALVED_ROW: 1}


def test_halved_rows_are_kept_when_the_mapping_says_so(tmp_path: Path):
    chosen = mapping("z1", "z2", "z3", "p", more="clean: {halved_rows: keep}")
    assert len(values(messages(recorded(written(tmp_path, "t;z1;z2;z3;p", *HALVED), chosen)))) == 3


def test_rows_out_of_order_are_put_in_their_place(tmp_path: Path):
    recording = recorded(written(tmp_path, HEADER, row(5, "3"), row(1, "1"), row(3, "2"), row(7, "4")))
    assert [value for _, value in values(messages(recording))] == [1.0, 2.0, 3.0, 4.0]
    assert dirt(recording) == {Dirt.BACKWARD: 2}


def test_rows_out_of_order_stay_so_when_the_mapping_says_so(tmp_path: Path):
    chosen = mapping(more="clean: {backward_rows: keep}")
    recording = recorded(written(tmp_path, HEADER, row(5, "3"), row(1, "1"), row(7, "4")), chosen, rows_max=1)
    sent = messages(recording)
    assert [value for _, value in values(sent)] == [3.0, 1.0, 4.0]
    assert [message.time_ns for message in sent] == sorted(message.time_ns for message in sent)


def test_files_that_overlap_send_each_row_once(tmp_path: Path):
    one = written(tmp_path, HEADER, row(1, "1"), row(3, "2"), row(5, "3"), name="a.csv")
    other = written(tmp_path, HEADER, row(3, "2"), row(5, "3"), row(7, "4"), name="b.csv")
    recording = recorded([one, other])
    assert [value for _, value in values(messages(recording))] == [1.0, 2.0, 3.0, 4.0]
    assert dirt(recording) == {Dirt.BACKWARD: 1, Dirt.REPEATED_ROW: 2}
    assert recording.findings.by_kind[Dirt.REPEATED_ROW].first == "b.csv:2"


def test_other_values_of_one_time_are_all_sent(tmp_path: Path):
    recording = recorded(written(tmp_path, HEADER, row(1, "1"), row(1, "2"), row(1, "1"), row(3, "3")))
    assert values(messages(recording)) == [("10:00:01", 1.0), ("10:00:01", 2.0), ("10:00:03", 3.0)]
    assert dirt(recording) == {Dirt.REPEATED_ROW: 1, Dirt.SAME_TIME: 1}


def test_gaps_are_counted_and_nothing_is_made_up(tmp_path: Path):
    rows = [row(second, "230") for second in (0, 2, 4, 6)] + [row(48, "230", minute=2)] + [row(50, "230", minute=2)]
    recording = recorded(written(tmp_path, HEADER, *rows))
    assert dirt(recording) == {Dirt.GAP: 1}
    assert recording.findings.by_kind[Dirt.GAP].first == "162 s, 2026-03-11T10:00:06.000Z"
    assert recording.rows == 6


def test_cells_that_are_no_numbers_cost_their_cell_alone(tmp_path: Path):
    path = written(
        tmp_path, "t;z1;p", row(1, "Bad Input", "44"), row(3, "1.234", "44"), row(5, "inf", ""), row(7, "230.5", "44,1")
    )
    recording = recorded(path, mapping("z1", "p"))
    assert values(messages(recording)) == [("10:00:01", None), ("10:00:03", None), ("10:00:07", 230.5)]
    assert dirt(recording) == {
        Dirt.NOT_A_NUMBER: 1, Dirt.AMBIGUOUS: 1, Dirt.NOT_FINITE: 1, Dirt.EMPTY: 1, Dirt.OTHER_DECIMAL: 1
    }  # fmt: skip


def test_a_broken_row_is_named_by_its_line_and_the_others_are_sent(tmp_path: Path):
    path = written(
        tmp_path,
        HEADER,
        row(1, "1"),
        "\0\0\0\0",
        row(3, "2", "9"),
        'x;"',
        HEADER,
        row(5, "3"),
        row(7, "4;;"),
        row(9, "5"),
    )
    recording = recorded(path)
    assert [value for _, value in values(messages(recording))] == [1.0, 3.0, 4.0, 5.0]
    assert dirt(recording) == {Dirt.BROKEN_ROW: 3, Dirt.REPEATED_HEADER: 1}
    assert recording.findings.by_kind[Dirt.BROKEN_ROW].first.startswith("plant.csv:3: ")


def test_a_file_that_was_cut_ends_with_a_broken_row_or_a_warning(tmp_path: Path):
    cut = written(tmp_path, HEADER, row(1, "1"), row(3, "2"), "2026-03-11T10:00:05Z", end="\n")
    cut.write_bytes(cut.read_bytes().removesuffix(b"\n"))
    assert dirt(recorded(cut)) == {Dirt.BROKEN_ROW: 1}
    cut.write_bytes(cut.read_bytes() + b";23")
    assert dirt(recorded(cut)) == {Dirt.UNENDED: 1}


def test_a_time_that_cannot_be_read_costs_its_row(tmp_path: Path):
    recording = recorded(written(tmp_path, HEADER, "never;1", row(1, "2"), row(3, "3")))
    assert [value for _, value in values(messages(recording))] == [2.0, 3.0]
    assert dirt(recording) == {Dirt.BAD_TIME: 1}


def test_times_that_no_collector_believes_are_said(tmp_path: Path):
    recording = recorded(written(tmp_path, HEADER, "2017-01-01T00:00:00Z;1", row(1, "2"), "2031-01-01T00:00:00Z;3"))
    assert {Dirt.OLD, Dirt.FUTURE} <= dirt(recording).keys()


def test_a_value_that_becomes_too_large_is_not_sent(tmp_path: Path):
    chosen = mapping("z1", z9=("caux/textile/t1/extruder.throughput", "t/h"))
    path = written(tmp_path, "t;z1;z9", row(1, "230", "1e308"), row(3, "230", "0,4"))
    recording = recorded(path, chosen)
    assert [value for _, value in values(messages(recording), "throughput")] == [None, 400.0]
    assert dirt(recording) == {Dirt.NOT_FINITE: 1}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_file_is_read_in_its_encoding(tmp_path: Path, encoding: str):
    chosen = mapping(
        file=f'{{kind: csv, separator: ";", decimal: ",", encoding: {encoding}}}',
        **{"'été'": ("caux/textile/t1/extruder.barrel_temp_z2", "Cel")},
    )
    path = written(tmp_path, "t;z1;été", row(1, "230", "231"), encoding=encoding, end="\r\n")
    assert values(messages(recorded(path, chosen)), "barrel_temp_z2") == [("10:00:01", 231.0)]


def test_bytes_that_are_no_letters_are_counted(tmp_path: Path):
    path = written(tmp_path, "t;z1;note", row(1, "230", "é"), encoding="cp1252")
    recording = recorded(path)
    assert len(values(messages(recording))) == 1
    assert dirt(recording) == {Dirt.BAD_LETTER: 1}


# ------------------------------------------------------------------------------------------- long, JSONL, Parquet

LONG = mapping(
    "z1", "z2", "moisture", file="{kind: csv}", more="long: {name: tag, value: value, quality: q, good: ['192', Good]}"
)


def long_row(second: int, tag: str, value: str, quality: str = "192") -> str:
    return f"2026-03-11T10:00:{second:02d}Z,{tag},{value},{quality}"


def test_a_long_file_becomes_rows_of_what_has_one_time(tmp_path: Path):
    path = written(
        tmp_path, "t,tag,value,q", long_row(1, "z1", "230"), long_row(1, "z2", "231"), long_row(3, "z1", "232"),
        long_row(3, "moisture", "0.01"),
    )  # fmt: skip
    sent = messages(recorded(path, LONG))
    assert values(sent, "barrel_temp_z1") == [("10:00:01", 230.0), ("10:00:03", 232.0)]
    assert values(sent, "barrel_temp_z2") == [("10:00:01", 231.0), ("10:00:03", None)]
    assert values(sent, "moisture") == [("10:00:03", 0.01)]


def test_a_long_file_may_be_sorted_by_name(tmp_path: Path):
    path = written(
        tmp_path, "t,tag,value,q", long_row(1, "z1", "1"), long_row(3, "z1", "2"), long_row(1, "z2", "3"),
        long_row(3, "z2", "4"), long_row(1, "moisture", "0"),
    )  # fmt: skip
    recording = recorded(path, LONG)
    assert dirt(recording) == {}
    assert values(messages(recording), "barrel_temp_z2") == [("10:00:01", 3.0), ("10:00:03", 4.0)]


def test_dirt_in_a_long_file_is_found_too(tmp_path: Path):
    path = written(
        tmp_path, "t,tag,value,q", long_row(3, "z1", "1"), long_row(1, "z1", "2"), long_row(1, "z1", "2"),
        long_row(1, "z1", "9"), long_row(5, "z1", "3", "0"), long_row(5, "unheard", "4"), long_row(5, "z2", "oops"),
        long_row(7, "z2", "1"), long_row(7, "moisture", "0"),
    )  # fmt: skip
    recording = recorded(path, LONG)
    assert values(messages(recording)) == [("10:00:01", 2.0), ("10:00:01", 9.0), ("10:00:03", 1.0), ("10:00:07", None)]
    assert dirt(recording) == {
        Dirt.UNKNOWN_NAME: 1, Dirt.BAD_QUALITY: 1, Dirt.NOT_A_NUMBER: 1, Dirt.BACKWARD: 3, Dirt.REPEATED_ROW: 1,
        Dirt.SAME_TIME: 1,
    }  # fmt: skip


def test_a_long_file_without_one_of_the_names_is_refused(tmp_path: Path):
    path = written(tmp_path, "t,tag,value,q", long_row(1, "z1", "1"), long_row(1, "moisture", "0"))
    with pytest.raises(ScenarioError, match=r"mapping.yaml:\d+: columns: got 'z2', which .* does not have"):
        recorded(path, LONG)


def test_json_lines_are_columns_of_their_names(tmp_path: Path):
    chosen = mapping(
        file="{kind: jsonl}", time="{columns: [ts], format: unix_ms}",
        **{"ext.z2": ("caux/textile/t1/extruder.barrel_temp_z2", "Cel")},
    )  # fmt: skip
    lines = [
        {"ts": 1773223201000, "z1": 230.5, "ext": {"z2": "231"}},
        {"ts": 1773223203000, "z1": None, "ext": {"z2": 232}},
    ]
    path = written(
        tmp_path,
        *map(json.dumps, lines),
        "[1]",
        "{",
        '{"ts": 1' + ', "a": {"a":' * 50,
        json.dumps(lines[0] | {"ts": 1773223205000}),
    )
    recording = recorded(path, chosen)
    assert values(messages(recording), "barrel_temp_z2") == [
        ("10:00:01", 231.0),
        ("10:00:03", 232.0),
        ("10:00:05", 231.0),
    ]
    assert dirt(recording) == {Dirt.BROKEN_ROW: 3, Dirt.EMPTY: 1}


def test_a_json_line_without_a_name_is_not_measured_and_one_without_any_is_refused(tmp_path: Path):
    path = written(tmp_path, '{"t":"2026-03-11T10:00:01Z","z1":230}', '{"t":"2026-03-11T10:00:03Z","z2":231}')
    recording = recorded(path, mapping("z1", "z2", file="{kind: jsonl}"))
    assert dirt(recording) == {}
    assert values(messages(recording), "barrel_temp_z2") == [("10:00:01", None), ("10:00:03", 231.0)]
    with pytest.raises(ScenarioError, match=r"columns: got 'p', which .* does not have; expected one .*'z1'"):
        recorded(path, mapping("z1", "p", file="{kind: jsonl}"))


PARQUET = {"file": "{kind: parquet}", "time": "{columns: [t], format: timestamp, zone: Europe/Paris}"}


def parquet(folder: Path, **columns: pa.Array) -> Path:
    pq.write_table(pa.table(columns), folder / "plant.parquet", row_group_size=2)
    return folder / "plant.parquet"


@pytest.mark.parametrize(("tz", "hour"), [("UTC", 10), (None, 9), ("Europe/Paris", 10)])
def test_a_parquet_file_brings_its_own_times(tmp_path: Path, tz: str | None, hour: int):
    times = pa.array([1773223201000, 1773223203000, None], pa.timestamp("ms", tz=tz))
    path = parquet(tmp_path, t=times, z1=pa.array([230.5, None, 1.0]), z2=pa.array(["231", "x", None]))
    recording = recorded(path, mapping("z1", "z2", **PARQUET))
    assert values(messages(recording)) == [(f"{hour:02d}:00:01", 230.5)]
    assert values(messages(recording), "barrel_temp_z2") == [(f"{hour:02d}:00:01", 231.0)]
    assert dirt(recording) == {Dirt.BAD_TIME: 1, Dirt.EMPTY: 2, Dirt.NOT_A_NUMBER: 1}


def test_integers_truth_values_decimals_and_dictionaries_of_parquet_are_numbers(tmp_path: Path):
    path = parquet(
        tmp_path, t=pa.array([1773223201000], pa.timestamp("ms", tz="UTC")), z1=pa.array([230]), z2=pa.array([True]),
        z3=pa.array(["226,5"]).dictionary_encode(), p=pa.array([Decimal("44.0")]),
    )  # fmt: skip
    (message,) = messages(recorded(path, mapping("z1", "z2", "z3", "p", **PARQUET)))
    assert {name: column[0] for name, column in decode_readings(message.payload).values.items()} == {
        "barrel_temp_z1": 230.0, "barrel_temp_z2": 1.0, "barrel_temp_z3": 226.5, "melt_pressure": 44.0
    }  # fmt: skip


# ----------------------------------------------------------------------------------------- refused as a whole


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "got an empty file"),
        ([HEADER], "got no row"),
        (["a;b", "1;2"], r"got column 't', which .* does not have; expected one of its names: 'a', 'b'"),
        (["t;z2", row(1, "2")], "mapping.yaml:6: columns: got 'z1', which .* does not have; expected one"),
        ([HEADER, row(1, "")], "got no value of the signals in mapping.yaml"),
        ([HEADER, "11/03/2026;1", "12/03/2026;2"], "got 2 of 2 times that cannot be read"),
        ([HEADER, "a,b", "c,d", row(1, "2")], "got 2 rows that cannot be read, of 3 .*plant.csv:2: 'a,b'"),
        ([HEADER, "x" * 2_000_000], "a line of 1048576 characters and more"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_refused_as_a_whole(tmp_path: Path, lines: list[str], words: str):
    path = written(tmp_path, *lines, end="\n" if lines else "")
    with pytest.raises(ScenarioError, match=words):
        recorded(path)


@pytest.mark.parametrize("encoding", ["utf-32", "idna", "undefined"])
def test_a_file_of_another_encoding_is_refused(tmp_path: Path, encoding: str):
    chosen = mapping(file=f"{{kind: csv, encoding: {encoding}}}")
    with pytest.raises(ScenarioError, match="expected the encoding that the mapping names"):
        recorded(written(tmp_path, HEADER, row(1, "230")), chosen)


def test_a_truncated_parquet_file_is_refused(tmp_path: Path):
    path = parquet(tmp_path, t=pa.array([1773223201000], pa.timestamp("ms", tz="UTC")), z1=pa.array([230]))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ScenarioError, match="truncated or damaged"):
        recorded(path, mapping(**PARQUET))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(ScenarioError, match="No such file"):
        recorded(tmp_path / "none.csv")


def test_a_column_of_times_is_no_signal(tmp_path: Path):
    times = pa.array([1773223201000], pa.timestamp("ms", tz="UTC"))
    with pytest.raises(ScenarioError, match="'z1', a column of times"):
        recorded(parquet(tmp_path, t=times, z1=times), mapping(**PARQUET))


def test_more_values_than_memory_holds_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(table_reading, "VALUES_MAX", 1)
    with pytest.raises(ScenarioError, match="more than 1 values; expected less: replay it in parts"):
        recorded(written(tmp_path, HEADER, row(1, "1"), row(3, "2")))


# --------------------------------------------------------------------------------------------------- properties


@given(st.lists(st.tuples(st.integers(0, 59), st.integers(1, 400)), min_size=1, max_size=40), st.integers(1, 7))
def test_every_different_row_is_sent_once_whatever_the_order_and_the_chunks(tmp_path_factory, rows, chunk):
    path = written(tmp_path_factory.mktemp("rows"), HEADER, *(row(second, str(value)) for second, value in rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "CHUNK_ROWS", chunk)
        recording = recorded(path)
    sent = values(messages(recording))
    assert sorted(sent) == sorted({(f"10:00:{second:02d}", float(value)) for second, value in rows})
    assert [time for time, _ in sent] == sorted(time for time, _ in sent)
    assert recording.rows + recording.findings.count(Dirt.REPEATED_ROW) == len(rows)


@given(st.binary(max_size=400))
def test_bytes_of_any_kind_are_read_or_refused_in_words(tmp_path_factory, body):
    path = tmp_path_factory.mktemp("bytes") / "plant.csv"
    path.write_bytes(b"t;z1\n2026-03-11T10:00:01Z;1\n" + body)
    try:
        sent = messages(recorded(path))
    except ScenarioError:
        return
    assert all(np.isfinite(value) for _, value in values(sent) if value is not None)
