"""What was true of every reading, written and read back."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from filiere.errors import NotFound, StoreRefused
from simulators.faults.fault import Active
from simulators.line.rows import DeviceRows
from simulators.truth.readings import read_numbers, read_signals, write_readings
from tests.simulators.truth.builders import active, at, devices, rows


def written(tmp_path: Path, *measured: DeviceRows, under: tuple[Active, ...] = ()) -> Path:
    path = tmp_path / "t.readings.parquet"
    write_readings(path, measured or devices(), under)
    return path


def labels(path: Path, signal: str) -> dict[str, int]:
    """Labels → rows of a signal."""
    table = pq.read_table(path).to_pandas()
    return dict(table[table.signal == signal].labels.astype(str).value_counts())


def test_true_and_shown_come_back_as_they_were(tmp_path: Path) -> None:
    measured = rows("extruder", {"melt_temp": [228.5] * 720}, true={"melt_temp": 228.123456789})
    (found,) = read_signals(written(tmp_path, measured))
    assert (found.device, found.signal) == ("extruder", "melt_temp")
    assert np.array_equal(found.time_ns, measured.time_ms * 1_000_000)
    assert np.array_equal(found.true, measured.true["melt_temp"])
    assert np.array_equal(found.shown, measured.shown["melt_temp"])


def test_what_a_broken_sensor_did_not_show_is_there_all_the_same(tmp_path: Path) -> None:
    measured = rows("extruder", {"melt_temp": [np.nan] * 720}, true={"melt_temp": 228.0})
    (found,) = read_signals(written(tmp_path, measured))
    assert np.isnan(found.shown).all()
    assert (found.true == 228.0).all()


def test_a_signal_that_was_not_measured_in_a_row_has_no_reading(tmp_path: Path) -> None:
    measured = rows("extruder", {"melt_temp": 228.0})
    slow = measured.true["melt_temp"].copy()
    slow[1::2] = np.nan
    (found,) = read_signals(written(tmp_path, replace(measured, true={"melt_temp": slow}, shown={"melt_temp": slow})))
    assert len(found.time_ns) == 360


def test_each_reading_names_the_faults_that_are_on_it(tmp_path: Path) -> None:
    under = (
        active("screen_clog", label="clog", start=2, stop=4),
        active("sensor_stuck", label="stuck", target="extruder.melt_temp", start=3, stop=5),
    )
    path = written(tmp_path, under=under)
    assert labels(path, "melt_temp") == {"": 540, "clog": 60, "clog stuck": 60, "stuck": 60}
    assert labels(path, "current") == {"": 600, "clog": 120}
    assert labels(path, "fibre_ratio") == {"": 720}


def test_only_the_signals_that_are_asked_for_are_read(tmp_path: Path) -> None:
    found = read_signals(written(tmp_path), ["extruder.melt_temp", "extruder.nothing"])
    assert [each.signal for each in found] == ["melt_temp"]


def test_a_row_is_found_by_its_number(tmp_path: Path) -> None:
    numbers = read_numbers(written(tmp_path))["extruder", "b0"]
    assert numbers.time_of(60) == at(1)
    assert numbers.time_of(720) is None
    assert numbers.time_of(-1) is None


def test_the_same_readings_make_the_same_bytes(tmp_path: Path) -> None:
    first = written(tmp_path).read_bytes()
    assert written(tmp_path).read_bytes() == first


def test_a_line_that_measured_nothing_has_a_readable_file(tmp_path: Path) -> None:
    nothing = rows("extruder", {"melt_temp": [np.nan] * 720})
    path = written(tmp_path, nothing)
    assert list(read_signals(path)) == []
    assert read_numbers(path) == {}


@pytest.mark.parametrize("keep", [0, 4, 100, -4])
def test_a_truncated_file_is_told_and_not_a_traceback(tmp_path: Path, keep: int) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(StoreRefused, match="expected a whole Parquet file"):
        list(read_signals(path))


def test_a_file_of_another_kind_is_told_by_its_columns(tmp_path: Path) -> None:
    path = written(tmp_path)
    pq.write_table(pq.read_table(path).drop_columns(["true"]), path)
    with pytest.raises(StoreRefused, match="got columns device, signal, boot"):
        list(read_signals(path))


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file"):
        read_numbers(tmp_path / "gone.readings.parquet")
