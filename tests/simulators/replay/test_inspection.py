"""What is proposed for files of other historians: a draft that fits, and question marks where a person must look."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from filiere.errors import NotFound, ScenarioError
from simulators.replay.dirt import Dirt
from simulators.replay.inspection import inspect
from simulators.replay.mapping import Kind
from simulators.replay.recording import Lap
from simulators.replay.times import TimeFormat
from tests.simulators.builders import caux
from tests.simulators.replay.builders import values, written

T1 = "caux/textile/t1/extruder"


def proposed(path: Path, **more: str):
    return inspect([path], caux(), **more)


def signals(seen) -> dict[str, str]:
    return {guess.name: f"{guess.line}/{guess.signal.key}" for guess in seen.signals if guess.signal is not None}


def test_a_french_file_is_understood_as_a_whole(tmp_path: Path):
    path = written(
        tmp_path, "Exporté le 23/11/2025",
        "Date;Heure;T zone 1 (°C);T matière (°C);Pression avant filtre (bar);Opérateur",
        *(f"23/11/2025;10:14:{s:02d};230,{s % 10};231,5;{'-175' if s == 4 else '44,2'};JD" for s in range(30)),
        encoding="cp1252", end="\r\n",
    )  # fmt: skip
    seen = proposed(path)
    assert (seen.layout.kind, seen.layout.encoding) == (Kind.CSV, "cp1252")
    assert (seen.layout.separator, seen.layout.decimal, seen.layout.header_line) == (";", ",", 2)
    assert (seen.time.columns, seen.time.format, seen.time.local) == (("Date", "Heure"), TimeFormat.DAY_FIRST, True)
    assert signals(seen) == {
        "T zone 1 (°C)": f"{T1}.barrel_temp_z1",
        "T matière (°C)": f"{T1}.melt_temp",
        "Pression avant filtre (bar)": f"{T1}.melt_pressure",
    }
    assert "zone: Europe/Paris}  # local time: zone?" in seen.yaml
    assert "sentinels: [-175]" in seen.yaml
    assert '# "Opérateur": {signal: "?", unit: "?"}' in seen.yaml
    assert seen.recording is not None
    assert seen.recording.findings.count(Dirt.SENTINEL) == 1
    assert values(seen.recording.lap(Lap()))[0] == ("09:14:00", 230.0)


def test_an_american_file_has_its_month_first(tmp_path: Path):
    path = written(tmp_path, "Time,Screw speed (rpm)", "11/23/2025 9:14:05 AM,40.5", "11/23/2025 9:14:07 AM,40.6")
    seen = proposed(path, zone="America/Chicago")
    assert (seen.layout.separator, seen.layout.decimal) == (",", ".")
    assert seen.time.format is TimeFormat.MONTH_FIRST
    assert "zone: America/Chicago" in seen.yaml
    assert signals(seen) == {"Screw speed (rpm)": f"{T1}.screw_speed"}


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-8-sig"])
def test_an_encoding_is_known_with_and_without_its_mark(tmp_path: Path, encoding: str):
    seen = proposed(written(tmp_path, "time|melt_temp", "2026-03-11T10:00:00Z|190", encoding=encoding))
    assert (seen.layout.encoding, seen.layout.separator) == (encoding.removesuffix("-sig"), "|")
    assert signals(seen) == {"melt_temp": f"{T1}.melt_temp"}


ROWS = [f"2026-03-11 10:00:{s:02d}+00;231,5;{s % 7},25" for s in range(30)]


def test_cells_in_quotation_marks_may_hold_the_separator(tmp_path: Path):
    rows = [",".join(f'"{cell}"' for cell in row.split(";")) for row in ROWS]
    seen = proposed(written(tmp_path, '"time","melt_temp","melt_pressure (bar)"', *rows))
    assert (seen.layout.separator, seen.layout.decimal, seen.layout.header_line) == (",", ",", 1)
    assert not seen.time.local
    assert seen.recording is not None
    assert values(seen.recording.lap(Lap()), "melt_temp")[0] == ("10:00:00", 231.5)


def test_a_title_that_a_spreadsheet_filled_up_is_not_the_line_of_names(tmp_path: Path):
    seen = proposed(written(tmp_path, "Export;;", "Line T1;;", ";;", "time;melt_temp;melt_pressure", *ROWS))
    assert seen.layout.header_line == 4
    assert seen.recording is not None


def test_a_hole_that_a_disk_left_is_not_an_encoding(tmp_path: Path):
    seen = proposed(written(tmp_path, "time;melt_temp;melt_pressure", *ROWS[:9], "\0" * 2000, *ROWS[9:]))
    assert seen.layout.encoding == "utf-8"
    assert seen.recording is not None
    assert seen.recording.findings.count(Dirt.BROKEN_ROW) == 1


def test_a_few_torn_bytes_do_not_change_the_encoding(tmp_path: Path):
    path = written(tmp_path, "time;T matière (°C);melt_pressure", *ROWS)
    path.write_bytes(path.read_bytes() + b"2026-03-11 10:00:31+00;231,\xff;44\n")
    seen = proposed(path)
    assert seen.layout.encoding == "utf-8"
    assert signals(seen)["T matière (°C)"] == f"{T1}.melt_temp"
    assert seen.recording is not None
    assert seen.recording.findings.count(Dirt.BAD_LETTER) == 1


def test_a_second_column_of_one_signal_is_left_to_a_person(tmp_path: Path):
    seen = proposed(written(tmp_path, "time;T zone 1;T zone 1", *ROWS))
    assert signals(seen) == {"T zone 1": f"{T1}.barrel_temp_z1"}


def test_a_month_may_have_its_name(tmp_path: Path):
    seen = proposed(written(tmp_path, "time;melt_temp", "03-Apr-26 10:00:00;230", "03-Apr-26 10:00:02;231"))
    assert (seen.time.format, seen.time.day_unsure) == (TimeFormat.DAY_FIRST, False)
    assert seen.recording is not None
    assert values(seen.recording.lap(Lap()), "melt_temp")[0] == ("08:00:00", 230.0)


def test_days_of_a_spreadsheet_are_a_time_where_the_name_says_so(tmp_path: Path):
    rows = [f"{46092.25 + s / 86_400:.8f};231.5".replace(".", ",") for s in range(30)]
    seen = proposed(written(tmp_path, "Horodatage;melt_temp", *rows))
    assert (seen.time.format, seen.time.local) == (TimeFormat.EXCEL_DAYS, True)
    assert seen.recording is not None
    assert values(seen.recording.lap(Lap()), "melt_temp")[-1] == ("05:00:29", 231.5)
    with pytest.raises(ScenarioError, match="can be a time"):
        proposed(written(tmp_path, "energy;melt_temp", *rows))


def test_where_day_and_month_cannot_be_told_apart_it_asks(tmp_path: Path):
    seen = proposed(written(tmp_path, "time;melt_temp", "03/04/2026 10:00:00;230", "03/04/2026 10:00:02;231"))
    assert seen.time.day_unsure
    assert "day or month first?" in seen.yaml


def test_a_long_file_with_a_quality_is_known(tmp_path: Path):
    lines = [
        f"{1763889247000 + 1000 * second}\t{tag}\t{value}\t{0 if second == 7 else 192}"
        for second in range(30) for tag, value in (("T1.BarrelTempZ1", 230.5), ("T1.melt_pressure", 44))
    ]  # fmt: skip
    seen = proposed(written(tmp_path, "ts\ttag\tvalue\tquality", *lines, encoding="utf-16"))
    assert seen.long is not None
    assert (seen.long.name, seen.long.value, seen.long.quality, seen.long.good) == ("tag", "value", "quality", {"192"})
    assert seen.time.format is TimeFormat.UNIX_MS
    assert signals(seen) == {"T1.BarrelTempZ1": f"{T1}.barrel_temp_z1", "T1.melt_pressure": f"{T1}.melt_pressure"}
    assert seen.recording is not None
    assert seen.recording.findings.count(Dirt.BAD_QUALITY) == 2


def test_columns_of_one_name_on_two_lines_go_to_the_line_of_the_others(tmp_path: Path):
    path = written(tmp_path, "ts;melt_temp;fibre_feed;polymer_feed", "2026-03-11T10:00:00Z;190;90;210")
    assert signals(proposed(path))["melt_temp"] == "caux/flax/f1/extruder.melt_temp"
    assert signals(proposed(path, line="caux/textile/t1")) == {"melt_temp": f"{T1}.melt_temp"}


def test_a_unit_in_the_name_rules_out_signals_of_another_quantity(tmp_path: Path):
    seen = proposed(written(tmp_path, "ts;melt (bar);temp z1 [°F]", "2026-03-11T10:00:00Z;40;446"))
    assert signals(seen) == {"melt (bar)": f"{T1}.melt_pressure", "temp z1 [°F]": f"{T1}.barrel_temp_z1"}
    assert 'unit: "[degF]"' in seen.yaml
    assert seen.recording is not None
    assert values(seen.recording.lap(Lap())) == [("10:00:00", pytest.approx(230.0))]


def test_json_lines_and_parquet_are_looked_at_too(tmp_path: Path):
    lines = [json.dumps({"time": f"2026-03-11T10:00:{s:02d}+01:00", "ext": {"melt_temp": 230 + s}}) for s in range(9)]
    seen = proposed(written(tmp_path, *lines, name="x.jsonl"))
    assert (seen.layout.kind, seen.time.local, signals(seen)) == (
        Kind.JSONL,
        False,
        {"ext.melt_temp": f"{T1}.melt_temp"},
    )
    times = pa.array([1773223201000, 1773223203000], pa.timestamp("ms"))
    pq.write_table(pa.table({"when": times, "melt_temp": [230.5, 231.0], "note": ["a", "b"]}), tmp_path / "x.parquet")
    seen = proposed(tmp_path / "x.parquet")
    assert (seen.layout.kind, seen.time.format, seen.time.local) == (Kind.PARQUET, TimeFormat.TIMESTAMP, True)
    assert signals(seen) == {"melt_temp": f"{T1}.melt_temp"}


def test_a_file_in_which_nothing_is_known_is_proposed_with_question_marks(tmp_path: Path):
    seen = proposed(written(tmp_path, "ts;AI_0017", "2026-03-11T10:00:00Z;190"))
    assert seen.recording is None
    assert '\n  "AI_0017": {signal: "?", unit: "?"}  # 190 … 190' in seen.yaml
    assert "the proposed mapping:6: mapping.columns.AI_0017.signal: got signal '?'" in seen.problem


def test_names_that_are_no_names_stay_text(tmp_path: Path):
    """Somebody else's names reach YAML, comments and terminals: nothing in them may act there."""
    name = 'melt_temp": {x: "\u202e # \x1b[31m {signal'
    seen = proposed(
        written(tmp_path, f'ts|"{name.replace(chr(34), chr(34) * 2)}"', "2026-03-11T10:00:00Z|190", name="a\u202eb.csv")
    )
    assert [guess.name for guess in seen.signals] == [name]
    assert all(sign.isprintable() or sign == "\n" for sign in seen.yaml)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["a;b", "1;2"], "no column that can be a time; expected one among 'a', 'b'"),
        (["time;b"], "got no row; expected at least one below the names"),
        ([" "], "got an empty file"),
        (["\x1c\x85\x1c"], "got blank lines"),
    ],
)
def test_what_cannot_be_a_recording_is_refused(tmp_path: Path, lines: list[str], words: str):
    with pytest.raises(ScenarioError, match=words):
        proposed(written(tmp_path, *lines))


def test_a_line_that_the_plant_does_not_have_is_refused(tmp_path: Path):
    with pytest.raises(NotFound):
        proposed(written(tmp_path, "time;b", "2026-03-11T10:00:00Z;1"), line="caux/textile/t9")
