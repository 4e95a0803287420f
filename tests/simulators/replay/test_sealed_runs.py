"""The sealed readings of a run, replayed into an empty collector."""

from pathlib import Path

import pytest

from filiere.archive import SealedRun, write_run
from filiere.errors import ScenarioError
from simulators.replay.opening import is_own, open_recording
from simulators.replay.recording import Lap
from tests.collector.builders import NOON_NS, Rig
from tests.simulators.builders import caux
from tests.simulators.replay.builders import NOW_NS, stored_by
from tests.simulators.replay.test_log_recording import simulation

LINE = "caux/textile/t1"


def sealed(folder: Path, line: str = LINE, more: tuple[str, ...] = ()) -> tuple[Path, list[tuple[object, ...]]]:
    """A sealed run of all that a simulated line sent, and the readings in it."""
    (folder / "one").mkdir()
    keys = tuple(sorted((*(signal.key for signal in caux().line(LINE).signals), *more)))
    with Rig(folder / "one", plant=caux()) as rig:
        stored = stored_by(rig, [(each.topic, each.payload, each.record_time_ns) for each in simulation()])
        series = tuple(rig.store.kept.window(LINE, list(keys), 0, 2**62))
    times = [int(edge) for each in series if len(each.time_ns) for edge in (each.time_ns[0], each.time_ns[-1])]
    run = SealedRun(
        run="r1", line=line, step="extrusion", start_ns=min(times), stop_ns=max(times), keys=keys, series=series
    )
    write_run(folder / "r1.parquet", run)
    return folder / "r1.parquet", [row for row in stored if row[0] == LINE]


def test_a_sealed_run_gives_the_readings_that_were_sealed(tmp_path: Path):
    path, readings = sealed(tmp_path)
    recording = open_recording([path], caux(), clock=lambda: NOW_NS)
    (tmp_path / "other").mkdir()
    with Rig(tmp_path / "other", plant=caux()) as rig:
        again = stored_by(rig, [(each.topic, each.payload, NOON_NS * 2) for each in recording.lap(Lap())])
    assert is_own(path, caux())
    assert again == readings
    assert len(again) > 1_000


def test_a_damaged_run_is_refused_as_it_is_when_it_is_verified(tmp_path: Path):
    path, _ = sealed(tmp_path)
    path.chmod(0o644)
    body = bytearray(path.read_bytes())
    body[200] ^= 0xFF
    path.write_bytes(body)
    with pytest.raises(ScenarioError, match="expected a whole Parquet file"):
        open_recording([path], caux())


@pytest.mark.parametrize(("line", "more"), [("caux/textile/t9", ()), (LINE, ("oven.heat",))])
def test_a_run_of_another_plant_is_refused(tmp_path: Path, line: str, more: tuple[str, ...]):
    path, _ = sealed(tmp_path, line, more)
    with pytest.raises(ScenarioError, match="replay it with the plant file that it was recorded with"):
        open_recording([path], caux())
