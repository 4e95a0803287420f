"""What only the embedded store promises: one file, read by others while its writer writes, on the disk at once."""

from pathlib import Path

import pytest

from filiere.embedded_store import EmbeddedStore
from filiere.errors import StoreRefused, StoreUnavailable
from filiere.readings import STATE_RUNNING, Block, RunMark

LINE = "caux/textile/t1"
MARK = RunMark(line=LINE, time_ns=1, state=STATE_RUNNING, run="R1", lot="L1", recipe="pp")


def row(time_ns: int, *, signal: str = "melt_temp", value: float = 231.4) -> Block:
    return Block.one(line=LINE, device="extruder", time_ns=time_ns, values={signal: value})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "readings.sqlite"


@pytest.fixture
def store(path: Path):
    store = EmbeddedStore.open(path)
    yield store
    store.close()


def test_a_write_waits_for_the_disk(store):
    assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_others_open_and_read_while_the_writer_is_in_the_middle_of_a_write(store, path, monkeypatch):
    monkeypatch.setattr("filiere.sqlite_file.BUSY_TIMEOUT_S", 0.0)
    store.write([row(1)])
    store._connection.execute("BEGIN IMMEDIATE")
    store._insert([row(2)], (), ())
    reader = EmbeddedStore.open(path)
    (series,) = reader.window(LINE, ["extruder.melt_temp"], 0, 9)
    assert series.time_ns.tolist() == [1]
    assert [latest.time_ns for latest in reader.latest(LINE)] == [1]
    store._connection.execute("COMMIT")
    (series,) = reader.window(LINE, ["extruder.melt_temp"], 0, 9)
    assert series.time_ns.tolist() == [1, 2]
    reader.close()


def test_a_write_that_failed_leaves_nothing_and_the_next_one_is_whole(store):
    with pytest.raises(StoreRefused, match="got signal 'time'"):
        store.write([row(1, signal="new"), row(1, signal="time")])
    assert store.latest(LINE) == ()
    store.write([row(2, signal="other"), row(2, signal="new", value=5.0)])
    assert [(latest.key, latest.value) for latest in store.latest(LINE)] == [
        ("extruder.new", 5.0),
        ("extruder.other", 231.4),
    ]


def test_run_marks_are_kept_once(store):
    store.write([], [MARK, MARK])
    store.write([row(1)], [MARK])
    assert store._connection.execute("SELECT * FROM run_mark").fetchall() == [
        (LINE, 1, STATE_RUNNING, "R1", "L1", "pp"),
    ]


def test_a_store_that_another_process_holds_means_wait(store, path, monkeypatch):
    monkeypatch.setattr("filiere.sqlite_file.BUSY_TIMEOUT_S", 0.0)
    second = EmbeddedStore.open(path)
    store._connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match=r"readings\.sqlite: .*another process holds it"):
        second.write([row(1)])
    second.check()
    store._connection.execute("ROLLBACK")
    second.close()


def test_reopening_finds_everything(store, path):
    store.write([row(1)])
    store.close()
    again = EmbeddedStore.open(path)
    again.write([row(2)])
    (series,) = again.window(LINE, ["extruder.melt_temp"], 0, 9)
    assert series.time_ns.tolist() == [1, 2]
    again.close()


def test_a_torn_file_is_refused_with_its_name(store, path):
    store.write([row(n, signal=f"s{n % 9}") for n in range(5_000)])
    store.close()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreRefused, match=r"readings\.sqlite: got .*malformed"):
        EmbeddedStore.open(path).latest(LINE)
