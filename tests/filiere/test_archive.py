"""A sealed run comes back to the last bit, and a file that is not one is refused with what is wrong."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filiere.archive import METADATA_KEY, SCHEMA, SealedRun, ordered_readings, read_run, same_run, write_run
from filiere.errors import NotAuthentic, NotFound, StoreRefused
from filiere.readings import QUALITIES, Series

T0 = 1_795_425_245_250_000_041


def series(key: str = "extruder.melt_temp", n: int = 100, *, step_ns: int = 2_000_000_000) -> Series:
    return Series(
        key=key,
        time_ns=T0 + np.arange(n, dtype=np.int64) * step_ns,
        value=np.round(231 + np.sin(np.arange(n)), 2),
        quality=(np.arange(n) % 7 == 3).astype(np.uint8),
    )


def sealed_run(*parts: Series, run: str = "T1-0007") -> SealedRun:
    parts = parts or (series("dryer.moisture", 3, step_ns=60_000_000_000), series())
    return SealedRun(
        run=run,
        line="caux/textile/t1",
        step="extrude",
        start_ns=T0,
        stop_ns=T0 + 10**12,
        keys=tuple(part.key for part in parts),
        series=parts,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "archive" / "T1-0007.parquet"


def test_a_run_comes_back_to_the_last_bit(path):
    run = sealed_run()
    write_run(path, run)
    assert same_run(read_run(path), run)


def test_of_two_processes_that_seal_at_once_the_first_one_stands(path, monkeypatch):
    first, second = sealed_run(), sealed_run(series("dryer.moisture", 4), series())
    write_run(path, first)
    monkeypatch.setattr(Path, "exists", lambda _: False)  # what both saw before they began to write
    write_run(path, first)
    with pytest.raises(StoreRefused, match="never overwritten"):
        write_run(path, second)
    assert same_run(read_run(path), first)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@st.composite
def runs(draw) -> SealedRun:
    parts = []
    for key in sorted(draw(st.sets(st.text(st.characters(codec="utf-8"), min_size=1, max_size=8), max_size=4))):
        times = sorted(draw(st.sets(st.integers(-(2**63), 2**63 - 1), max_size=20)))
        size = {"min_size": len(times), "max_size": len(times)}
        values = draw(st.lists(st.floats(allow_nan=False, allow_infinity=False), **size))
        quality = draw(st.lists(st.integers(0, len(QUALITIES) - 1), **size))
        parts.append(
            Series(
                key=key,
                time_ns=np.array(times, np.int64),
                value=np.array(values, np.float64),
                quality=np.array(quality, np.uint8),
            )
        )
    return SealedRun(
        run="r",
        line="a/b/c",
        step="s",
        start_ns=-1,
        stop_ns=2**62 + 1,
        keys=tuple(part.key for part in parts),
        series=tuple(parts),
    )


@settings(max_examples=100, deadline=None)
@given(run=runs())
def test_every_float64_every_ns_and_every_key_comes_back(tmp_path_factory, run):
    path = tmp_path_factory.mktemp("run") / "r.parquet"
    write_run(path, run)
    assert same_run(read_run(path), run)


def test_readings_are_ordered_by_time_then_key():
    readings = ordered_readings(sealed_run(series("a.x", 3), series("b.x", 2, step_ns=2_000_000_000)))
    assert [*zip(((readings.time_ns - T0) // 10**9).tolist(), readings.key_index.tolist(), strict=True)] == [
        (0, 0),
        (0, 1),
        (2, 0),
        (2, 1),
        (4, 0),
    ]


def test_a_signal_without_readings_is_kept_as_empty(path):
    write_run(path, sealed_run(series("a.empty", 0), series("b.x", 5), series("c.empty", 0)))
    assert [len(part.value) for part in read_run(path).series] == [0, 5, 0]


def test_the_same_run_makes_the_same_bytes(path):
    write_run(path, sealed_run())
    write_run(path.with_name("again.parquet"), sealed_run())
    assert path.read_bytes() == path.with_name("again.parquet").read_bytes()


def test_keeping_the_same_run_again_changes_nothing(path):
    write_run(path, sealed_run())
    before = path.stat()
    write_run(path, sealed_run())
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_another_run_never_overwrites_a_sealed_one(path):
    write_run(path, sealed_run())
    before = path.read_bytes()
    late = sealed_run(series("dryer.moisture", 4, step_ns=60_000_000_000), series())
    with pytest.raises(StoreRefused, match="got other readings of run T1-0007 than the sealed ones"):
        write_run(path, late)
    assert path.read_bytes() == before


def test_a_damaged_file_is_not_overwritten_either(path):
    path.parent.mkdir()
    path.write_bytes(b"half a file")
    with pytest.raises(StoreRefused, match="damaged; a sealed file is never overwritten"):
        write_run(path, sealed_run())
    assert path.read_bytes() == b"half a file"


def test_a_failed_write_leaves_nothing_behind(path, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("filiere.archive.pq.write_table", full)
    with pytest.raises(Exception, match="No space left on device; free space"):
        write_run(path, sealed_run())
    assert list(path.parent.iterdir()) == []


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "archive").write_text("")
    with pytest.raises(StoreRefused, match="expected a folder that may be written"):
        write_run(tmp_path / "archive" / "r.parquet", sealed_run())


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (sealed_run(series("b.x"), series("a.x")), "keys that are not sorted"),
        (sealed_run(series("a.x"), series("a.x")), "not unique"),
        (sealed_run(series(step_ns=0)), "out of order or twice"),
        (sealed_run(series(step_ns=-1)), "out of order or twice"),
    ],
)
def test_a_run_without_its_shape_is_not_kept(path, broken, words):
    with pytest.raises(StoreRefused, match=words):
        write_run(path, broken)
    assert not path.exists()


def test_no_file_is_not_found(path):
    with pytest.raises(NotFound, match=r"no such file; expected the sealed readings of a run"):
        read_run(path)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1PAR1", b"{}", b"\0" * 100, b"PAR1" + b"\xff" * 64 + b"PAR1"])
def test_what_is_not_parquet_is_refused(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(NotAuthentic, match=r"T1-0007\.parquet: got .* expected a whole Parquet file"):
        read_run(path)


def test_a_truncated_file_is_refused_wherever_it_is_cut(path):
    write_run(path, sealed_run())
    whole = path.read_bytes()
    path.chmod(0o644)
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        with pytest.raises(NotAuthentic):
            read_run(path)


def test_a_flipped_byte_is_refused_or_changes_no_reading(path):
    run = sealed_run()
    write_run(path, run)
    whole = bytearray(path.read_bytes())
    path.chmod(0o644)
    refused = 0
    for place in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        path.write_bytes(damaged)
        try:
            read = read_run(path)
        except NotAuthentic:
            refused += 1
        else:
            assert [part.key for part in read.series] == list(run.keys)
            for part, original in zip(read.series, run.series, strict=True):
                assert part.value.tobytes() == original.value.tobytes()
                assert part.time_ns.tobytes() == original.time_ns.tobytes()
    assert refused > len(whole) // 3 // 3


def table(**changed) -> pa.Table:
    columns = {
        "time_ns": pa.array([1, 2], pa.int64()),
        "key": pa.array(["a.x", "a.x"]).dictionary_encode(),
        "value": pa.array([1.0, 2.0]),
        "quality": pa.array([0, 0], pa.uint8()),
    } | changed
    header = (
        b'{"format":"filiere-run/1","keys":["a.x","b.x"],"line":"l","run":"r","start_ns":"0","step":"s","stop_ns":"9"}'
    )
    kinds = [pa.field(name, column.type, nullable=False) for name, column in columns.items()]
    return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(kinds, {METADATA_KEY: header}))


def test_a_file_by_another_program_in_the_same_form_is_read(path):
    path.parent.mkdir()
    pq.write_table(table(), path)
    assert [part.value.tolist() for part in read_run(path).series] == [[1.0, 2.0], []]


@pytest.mark.parametrize(
    ("forged", "words"),
    [
        (table(value=pa.array([1, 2])), "got columns .*value int64.*; expected .*value double"),
        (table(extra=pa.array([1, 2])), "got columns .*extra"),
        (table().drop_columns("quality"), "got columns "),
        (table().replace_schema_metadata({METADATA_KEY: b"{}"}), "got metadata b'{}'; expected the header"),
        (table().replace_schema_metadata({}), "got metadata b''"),
        (table().replace_schema_metadata({METADATA_KEY: b"[" * 100_000}), "got metadata"),
        (table(time_ns=pa.array([2, 1])), "got reading 1 out of order or twice"),
        (table(time_ns=pa.array([1, 1])), "got reading 1 out of order or twice"),
        (table(key=pa.array(["a.x", "z.x"]).dictionary_encode()), "got readings of 'z.x'"),
        (table(value=pa.array([1.0, float("nan")])), "a.x: got a value that is not finite"),
        (table(quality=pa.array([0, 9], pa.uint8())), "a.x: got quality 9; expected at most 3"),
    ],
)
def test_a_parquet_file_that_is_not_a_sealed_run_is_refused(path, forged, words):
    path.parent.mkdir()
    pq.write_table(forged, path)
    with pytest.raises(NotAuthentic, match=words):
        read_run(path)


def test_columns_are_the_documented_ones(path):
    write_run(path, sealed_run())
    file = pq.ParquetFile(path)
    assert file.schema_arrow.equals(SCHEMA)
    assert {file.metadata.row_group(0).column(n).compression for n in range(4)} == {"ZSTD"}
    file.close()


def test_a_million_readings_come_back(path):
    parts = tuple(series(f"extruder.s{n:02}", 40_000) for n in range(25))
    run = sealed_run(*parts)
    write_run(path, run)
    assert same_run(read_run(path), run)
