"""A simulation in files: whole or not there, the same in every format, the same every time."""

import errno
import hashlib
import io
import json
import signal
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from collector.codec import decode_readings, parse_topic
from collector.log.lines import chunks_of
from filiere.clock import parse_time
from filiere.errors import SettingsError
from filiere.message_log import Message
from filiere.settings import load_settings
from simulators.line.simulation import simulate
from simulators.output import folder as folder_module
from simulators.output.files import ABOUT_FILE, EVENTS_FILE, MESSAGES_FILE, ParquetFile, new_folder
from simulators.output.folder import run_to_folder
from simulators.output.format import Format
from simulators.output.frame import frames
from simulators.output.order import Order
from simulators.output.pieces import PUBLICATIONS_MAX, pieces
from simulators.output.progress import Progress
from simulators.output.simulation import START_NS, anew
from simulators.output.table import TIME
from simulators.scenarios.scenario import Scenario
from simulators.scenarios.scenario_file import parse_scenario
from tests.simulators.builders import FLAX, TEXTILE, caux

BAD_NETWORK = b"""\
scenario: 1
id: bad-network
label: {fr: "Mauvais lien", en: "Bad link"}
summary: {fr: "Doublons, pertes, retards.", en: "Twice, lost, late."}
days: 0.12
faults:
  - {kind: duplicate, line: caux/textile/t1, onset: 20 min, duration: 1 h, severity: 0.3}
  - {kind: dropped, line: caux/textile/t1, target: extruder, onset: 20 min, duration: 1 h, severity: 0.3}
  - {kind: outage, line: caux/flax/f1, onset: 30 min, duration: 40 min}
"""


@cache
def bad_network() -> Scenario:
    return parse_scenario(BAD_NETWORK, "bad-network.yaml", caux())


def written(folder: Path, form: Format = Format.PARQUET, **order: object) -> dict[str, object]:
    """Simulate into `folder`; a tenth of a day unless asked otherwise."""
    usual = {"days": 0.1, "to": folder, "form": form}
    return run_to_folder(load_settings(), Order(**(usual | order)))


@pytest.fixture(scope="module")
def bad_link(tmp_path_factory: pytest.TempPathFactory) -> dict[Format, Path]:
    """The same scenario in each format."""
    base = tmp_path_factory.mktemp("bad-link")
    (base / "bad.yaml").write_bytes(BAD_NETWORK)
    for form in Format:
        written(base / form, form, days=None, scenario=str(base / "bad.yaml"))
    return {form: base / form for form in Format}


def messages(folder: Path, name: str) -> list[Message]:
    with (folder / name).open("rb") as file:
        return [message for chunk in chunks_of(file, folder / name) for message in chunk]


# --------------------------------------------------------------------------------------------------------- contents


@pytest.mark.parametrize("form", [Format.PARQUET, Format.CSV])
def test_a_table_has_every_row_that_arrived_in_the_order_of_arrival(bad_link: dict[Format, Path], form: Format):
    published = [
        (message.seq + row, time_ns, message.values["melt_pressure"][row])  # noqa: PD011 - no frame
        for each in messages(bad_link[Format.JSONL], MESSAGES_FILE)
        if each.topic == b"filiere/v1/caux/textile/t1/extruder/readings"
        for message in [decode_readings(each.payload)]
        for row, time_ns in enumerate(message.time_ns)
    ]
    path = bad_link[form] / f"caux-textile-t1-extruder.{form}"
    table = pq.read_table(path) if form is Format.PARQUET else csv.read_csv(path)
    found = zip(
        table["seq"].to_pylist(),
        table["event_time"].cast(TIME).cast("int64").to_pylist(),
        table["melt_pressure"].to_pylist(),
        strict=True,
    )
    assert list(found) == published
    numbers = [number for number, *_ in published]
    assert len(set(numbers)) < len(numbers)  # twice
    assert len(set(numbers)) < max(numbers) + 1  # lost


def test_frames_have_what_the_files_have(bad_link: dict[Format, Path]):
    found = frames(bad_network())
    for line in caux().lines:
        for unit in line.units:
            path = bad_link[Format.PARQUET] / f"{line.path.replace('/', '-')}-{unit.id}.parquet"
            stored = pq.read_table(path).to_pandas().set_index("event_time")
            pd.testing.assert_frame_equal(found[f"{line.path}/{unit.id}"], stored, check_dtype=False)


def test_units_and_names_stand_with_the_columns(bad_link: dict[Format, Path]):
    schema = pq.read_schema(bad_link[Format.PARQUET] / "caux-flax-f1-extruder.parquet")
    assert schema.field("melt_pressure").metadata == {
        b"unit": b"bar",
        b"label_fr": "Pression en filière".encode(),
        b"label_en": b"Die pressure",
    }
    assert json.loads(schema.metadata[b"filiere"]) == {"line": FLAX, "device": "extruder"}


def test_events_come_in_the_order_of_arrival_and_are_the_same_in_every_format(bad_link: dict[Format, Path]):
    found = messages(bad_link[Format.PARQUET], EVENTS_FILE)
    of_all = [each for each in messages(bad_link[Format.JSONL], MESSAGES_FILE) if each.topic.endswith(b"/events")]
    key = [(each.topic, each.payload, each.record_time_ns) for each in found]
    assert sorted(key) == sorted((each.topic, each.payload, each.record_time_ns) for each in of_all)
    assert [each.record_time_ns for each in found] == sorted(each.record_time_ns for each in found)
    assert [each.offset for each in found] == list(range(len(found)))
    assert (bad_link[Format.CSV] / EVENTS_FILE).read_bytes() == (bad_link[Format.PARQUET] / EVENTS_FILE).read_bytes()


def test_the_log_lines_hold_the_very_messages(tmp_path: Path):
    result = written(tmp_path / "out", Format.JSONL, days=0.02)
    stream = list(simulate(caux(), seed=1, start_ns=START_NS, lots=None, stop_ns=START_NS + 1728 * 10**9))
    found = messages(tmp_path / "out", MESSAGES_FILE)
    assert [(each.topic.decode(), each.payload, each.record_time_ns) for each in found] == [
        (each.topic, each.payload, each.time_ns) for each in stream
    ]
    summed = hashlib.sha256()
    for each in stream:
        summed.update(each.topic.encode() + b"\0" + each.payload + b"\n")
    assert result["sha256"] == summed.hexdigest()
    assert {parse_topic(each.topic).line_path for each in found} == {TEXTILE, FLAX}


def test_what_it_is_stands_beside_it(bad_link: dict[Format, Path]):
    about = json.loads((bad_link[Format.CSV] / ABOUT_FILE).read_bytes())
    assert (about["scenario"], about["scenario_sha256"]) == ("bad-network", bad_network().digest)
    assert (about["plant_sha256"], about["seed"], about["format"]) == (caux().digest, 1, "csv")
    assert parse_time(about["start"]) == START_NS
    assert about["messages"] == len(messages(bad_link[Format.JSONL], MESSAGES_FILE))


@pytest.mark.parametrize("form", Format)
def test_the_same_order_gives_the_same_bytes(tmp_path: Path, form: Format):
    for name in ("one", "two"):
        written(tmp_path / name, form, days=0.03, truth=tmp_path / name / "truth")
    one, two = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("one", "two")
    )
    assert one == two
    assert any(path.parts[0] == "truth" for path in one)


def test_a_piece_is_some_hours_of_one_line_however_long_the_simulation_is():
    simulation = anew(caux(), Order(days=0.8))
    starts = []
    for piece in pieces(simulation):
        assert piece.messages <= PUBLICATIONS_MAX
        assert {stretch.rows.line for stretch in piece.stretches} <= {piece.line}
        starts.append(piece.start_ns)
    assert len(starts) > 5
    assert starts == sorted(starts)


# ---------------------------------------------------------------------------------------------------- whole, or not


def test_nothing_is_under_its_name_before_all_of_it_is_written(tmp_path: Path):
    with new_folder(tmp_path / "deep" / "out", "--to") as temporary:
        (temporary / "a.txt").write_text("a")
        assert not (tmp_path / "deep" / "out").exists()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]
    assert (tmp_path / "deep" / "out" / "a.txt").read_text() == "a"


def test_an_error_leaves_nothing_behind(tmp_path: Path):
    def fail(into: Path) -> None:
        (into / "a.txt").write_text("a")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "out", "--to") as temporary:
        fail(temporary)
    assert list(tmp_path.iterdir()) == []


def test_a_signal_leaves_nothing_behind_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupt(_line: object, _progress: Progress) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(folder_module.ProgressLine, "show", interrupt)
    result = written(tmp_path / "out", truth=tmp_path / "truth")
    assert (result["ended"], result["asked_to_stop"]) == (False, True)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err == "arrêté : rien n'est écrit\n"


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path):
    full, new = tmp_path / "full", tmp_path / "new"
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    for option, order in (("to", {"folder": full}), ("truth", {"folder": new, "truth": full})):
        with pytest.raises(SettingsError, match=f"--{option}: got .* not empty; expected the name of a new folder"):
            written(**order)
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
    assert [path.name for path in full.iterdir()] == ["mine.txt"]
    with pytest.raises(SettingsError, match="not empty"):
        written(full / "mine.txt")


def test_a_folder_that_cannot_be_put_in_the_place_of_another_is_refused_before_anything_is_simulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(folder_module, "_tables", pytest.fail)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=r"expected a new folder in it, such as .*/simulation"):
        written(Path())
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path / "volume")
    (tmp_path / "volume").mkdir()
    with pytest.raises(
        SettingsError, match=r"got .*/volume; expected a new folder in it, such as .*/volume/simulation"
    ):
        written(tmp_path / "volume")


def test_a_link_to_an_empty_folder_stays_and_the_folder_is_filled(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    written(tmp_path / "link", days=0.01)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "empty" / ABOUT_FILE).exists()


def test_a_truth_beside_the_files_is_whole_or_not_there_however_its_path_is_written(tmp_path: Path):
    def stopped(*_: object) -> None:
        raise SettingsError("stopped")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder_module, "_go_on", stopped)
        with pytest.raises(SettingsError, match="stopped"):
            written(tmp_path / "out", truth=tmp_path / "out" / ".." / "truth")
    assert list(tmp_path.iterdir()) == []
    for around in (tmp_path / "out" / "..", tmp_path / "out", tmp_path / "x" / ".." / "out"):
        with pytest.raises(SettingsError, match=r"--truth: got .*, where the folder of --to is; expected another one"):
            written(tmp_path / "out", truth=around)


def test_a_folder_that_cannot_be_made_is_told_in_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"--to: got .*/file/out \(.*\); expected a new folder"):
        written(tmp_path / "file" / "out")
    with pytest.raises(SettingsError, match="--to: got"):
        written(tmp_path / ("x" * 300))


def test_a_full_disk_is_told_in_one_line_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(_file: ParquetFile, _table: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ParquetFile, "write", full)
    with pytest.raises(SettingsError, match=r"--to: got .*out \(No space left on device\); expected a new folder"):
        written(tmp_path / "out", days=0.01)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_as_good_as_none(tmp_path: Path):
    assert written(tmp_path, days=0.01)["ended"] is True
    assert (tmp_path / ABOUT_FILE).exists()


# ----------------------------------------------------------------------------------------------------------- frames


def test_a_frame_has_the_truth_beside_what_was_shown():
    found = frames("dirty-data", days=0.12, true=True)[f"{TEXTILE}/extruder"]
    hours = (found.index - found.index[0]).total_seconds() / 3600
    broken = found[(hours > 2.01) & (hours < 2.15)]  # `open-thermocouple`
    assert (broken["barrel_temp_z2"] == -175.0).all()
    assert broken["barrel_temp_z2.true"].between(100.0, 260.0).all()
    assert found.attrs["units"]["melt_pressure"] == "bar"
    assert str(found.index.dtype) == "datetime64[ns, UTC]"


def test_grams_are_taken_for_kilograms_while_something_is_on_the_scale():
    scale = frames("dirty-data", days=0.48)[f"{TEXTILE}/bagging"]["batch_weight"]
    hours = (scale.index - scale.index[0]).total_seconds() / 3600
    assert (scale[(hours > 11.01) & (hours < 11.5)] > 10_000.0).all()  # `grams-for-kilograms`, from 11 h on
    assert (scale[hours < 10.99] < 2000.0).all()


def test_one_seed_is_one_simulation_and_another_seed_another():
    one, again, other = (frames(days=0.1, seed=seed)[f"{FLAX}/feeders"] for seed in (4, 4, 5))
    pd.testing.assert_frame_equal(one, again)
    assert not np.array_equal(one["hopper_weight"], other["hopper_weight"])


def test_frames_need_an_end():
    with pytest.raises(SettingsError, match="without an end"):
        frames()


def test_a_csv_is_plain_utf_8_with_one_line_of_names(bad_link: dict[Format, Path]):
    text = (bad_link[Format.CSV] / "caux-textile-t1-dryer.csv").read_text("utf-8")
    head, first, *_ = io.StringIO(text).readlines()
    assert head == "event_time,boot,seq,moisture\n"
    assert first.startswith("2026-03-02T05:0")
    assert first.split(",")[0].endswith("Z")
    assert '"' not in text
