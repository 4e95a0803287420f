from pathlib import Path

import pytest

from filiere.errors import FiliereError, ScenarioError
from simulators.replay.mapping import Cleaning, Kind
from simulators.replay.mapping_file import load_mapping, parse_mapping
from simulators.replay.times import TimeFormat
from tests.simulators.builders import caux
from tests.simulators.replay.builders import EXTRUDER, mapping_text


def parsed(text: str):
    return parse_mapping(text.encode(), "mapping.yaml", caux())


def test_a_mapping_is_read_whole():
    found = parsed(
        mapping_text(
            "z1", "p", file='{kind: csv, separator: "\\t", encoding: utf-16, decimal: ",", header_line: 3}',
            time="{columns: [Date, Heure], format: day_first, zone: Europe/Paris}",
            more="sentinels: [-175, 65532]\nclean: {halved_rows: keep, repeated_rows: keep, backward_rows: keep}",
        )
    )  # fmt: skip
    assert (found.layout.kind, found.layout.separator, found.layout.encoding) == (Kind.CSV, "\t", "utf-16")
    assert (found.layout.decimal, found.layout.header_line) == (",", 3)
    assert (found.time.columns, found.time.format) == (("Date", "Heure"), TimeFormat.DAY_FIRST)
    assert found.sentinels == {-175.0, 65532.0}
    assert found.cleaning == Cleaning(leave_out_halved=False, leave_out_repeated=False, sort=False)
    assert {name: source.signal.key for name, source in found.by_name.items()} == {
        "z1": "extruder.barrel_temp_z1", "p": "extruder.melt_pressure"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("replay: 1", "replay: 2", r":1: mapping.replay: got '2'; expected 1, the version"),
        ("kind: csv", "kind: xlsx", r":2: mapping.file.kind: got 'xlsx'; expected one of csv, jsonl, parquet"),
        ('";"', '";;"', r":2: mapping.file.separator: got ';;'; expected one character"),
        ('";"', "'5'", r":2: mapping.file.separator: got '5'; expected one character"),
        ('decimal: ","', "decimal: ';'", r":2: mapping.file.decimal: got ';'; expected one of ., ,"),
        ("kind: csv", "kind: csv, encoding: base64", r":2: mapping.file.encoding: got 'base64'; expected utf-8"),
        ("kind: csv", "kind: csv, encoding: klingon", r":2: mapping.file.encoding: got 'klingon'; expected utf-8"),
        ("kind: csv", "kind: csv, header_line: 0", r":2: mapping.file.header_line: got '0'; expected a number from 1"),
        ("[t]", "[]", r":3: mapping.time.columns: got an empty list"),
        ("year_first", "iso", r":3: mapping.time.format: got 'iso'; expected one of year_first, day_first"),
        ("year_first", "timestamp", r":3: mapping.time.format: got timestamp; expected how the text is written"),
        ("year_first", "year_first, zone: Paris", r":3: mapping.time.zone: got 'Paris'; expected a zone"),
        (f"{EXTRUDER}.barrel_temp_z1", "'?'", r":6: mapping.columns.z1.signal: got signal '\?'; expected one of"),
        (f"{EXTRUDER}.barrel_temp_z1", f"{EXTRUDER}.z1", r":6: .*got signal '.*z1'; expected .*barrel_temp_z1"),
        ("'Cel'", "'bar'", r":6: mapping.columns.z1.unit: got unit 'bar'; expected 'Cel', or one that converts"),
        ("'Cel'", "'Cel', scale: 0", r":6: mapping.columns.z1.scale: got 0"),
        ("'Cel'", "'Cel', scale: .inf", r":6: mapping.columns.z1.scale: got '.inf'; expected a number"),
        ("\ncolumns:", "\ncolumns: {}\nmore:", r":7: mapping.more: got this field"),
        ("columns:\n", "columns: {}\n#", r"mapping.columns: got no column"),
        ("\ncolumns:", "\nsentinels: [x]\ncolumns:", r":5: mapping.sentinels\[0\]: got 'x'; expected a number"),
        ("\ncolumns:", "\nlong: {name: a, value: b, good: [c]}\ncolumns:", r":5: mapping.long: got one of quality"),
        ("\ncolumns:", "\nclean: {gaps: fill}\ncolumns:", r":5: mapping.clean.gaps: got this field; expected one"),
    ],
)  # fmt: skip
def test_a_wrong_mapping_is_refused_with_its_line(old: str, new: str, words: str):
    text = mapping_text()
    assert old in text
    with pytest.raises(ScenarioError, match=f"^mapping.yaml{words}" if words.startswith(":") else words):
        parsed(text.replace(old, new))


def test_two_columns_of_one_signal_are_refused():
    with pytest.raises(ScenarioError, match=r":7: mapping.columns.again: got signal .*, which column 'z1' is already"):
        parsed(mapping_text("z1", again=(f"{EXTRUDER}.barrel_temp_z1", "Cel")))


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"a: [", b"- 1", b"x" * 5_000_000, b"[" * 500, b"a: &x 1\nb: *x\n"])
def test_what_is_no_mapping_is_refused_in_words(body: bytes):
    with pytest.raises(FiliereError, match=r"mapping\.yaml"):
        parse_mapping(body, "mapping.yaml", caux())


def test_a_mapping_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(ScenarioError, match="inspect FILE` proposes one"):
        load_mapping(tmp_path / "none.yaml", caux())
