"""The truth folder: what a simulation leaves in it, and what is wrong with one that is not whole."""

import json
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from filiere.clock import NS_PER_S
from filiere.errors import NotFound, StoreRefused, StoreUnavailable
from simulators.faults.fault import Fault
from simulators.line.cycle import Cycle
from simulators.line.simulation import line_cycles
from simulators.line.truth import LotTruth
from simulators.scenarios.scenario import NORMAL
from simulators.truth.folder import TruthWriter, read_truth
from simulators.truth.records import CycleTruth, FlowTruth, StockTruth, encode
from tests.simulators.builders import FLAX, TEXTILE, caux, cycles, scenario, state
from tests.simulators.builders import fault as make_fault
from tests.simulators.truth.builders import at, cycle, fault, write_truth


def written(folder: Path, *made: Cycle) -> Path:
    writer = TruthWriter(folder, caux(), NORMAL, seed=1)
    for each in made:
        writer.write(each)
    return folder


def cycle_of(line: str, number: int = 0) -> Cycle:
    return cycles(line, 2)[number][0]


# ------------------------------------------------------------------------------------------------------- a real one


@pytest.mark.parametrize("line", [TEXTILE, FLAX])
def test_the_record_is_conserved_to_the_gram(tmp_path: Path, line: str) -> None:
    (record,) = read_truth(written(tmp_path, cycle_of(line))).cycles
    for run in record.runs:
        dry_out_g = sum(flow.dry_g for flow in run.outputs)
        water_g = sum(flow.water_g for flow in run.inputs) - sum(flow.water_g for flow in run.outputs)
        assert run.feed_dry_g == dry_out_g
        assert run.air_water_g == water_g


def grams(lots: Iterable[StockTruth | LotTruth | FlowTruth]) -> NDArray[np.int64]:
    """Dry and water."""
    return np.array([(lot.dry_g, lot.water_g) for lot in lots], np.int64).reshape(-1, 2).sum(axis=0)


STARVED = make_fault("feeder_starve", "feeders.fibre_feed", line=FLAX, lot=1, step="compounding", severity=0.4)
RAIN = make_fault("wet_feed", "dryer", lot=1, step="extrusion", severity=5.0)


@pytest.mark.parametrize(("line", "faults"), [(TEXTILE, ()), (FLAX, ()), (FLAX, (STARVED,)), (TEXTILE, (RAIN,))])
def test_from_cycle_to_cycle_the_records_add_up_to_the_gram(
    tmp_path: Path, line: str, faults: tuple[Fault, ...]
) -> None:
    made = islice(line_cycles(caux(), state(), line, scenario=scenario(*faults)), 2)
    before_g = np.zeros(2, np.int64)
    for record in read_truth(written(tmp_path, *made)).cycles:
        inputs = [flow for run in record.runs for flow in run.inputs]
        outputs = [flow for run in record.runs for flow in run.outputs]
        used = {flow.lot for flow in inputs}
        air_g = np.array([0, sum(flow.taken_up_g for flow in inputs) - sum(run.air_water_g for run in record.runs)])
        in_g = before_g + grams(lot for lot in record.lots if not lot.run) + air_g
        out_g = grams(flow for flow in outputs if flow.lot not in used)
        assert (in_g == out_g + grams(record.stock) + grams(record.set_aside)).all()
        before_g = grams(record.stock) - np.array([0, record.store_air_g])


def test_the_record_names_plant_scenario_and_seed(tmp_path: Path) -> None:
    truth = read_truth(written(tmp_path, cycle_of(TEXTILE)))
    record = truth.cycles[0]
    assert (record.plant, record.scenario, record.seed, record.number) == (caux().digest, "normal-day", 1, 0)
    assert truth.span_ns(TEXTILE) == (record.start_ns, record.stop_ns)


def test_every_lot_says_what_it_is_made_of(tmp_path: Path) -> None:
    (record,) = read_truth(written(tmp_path, cycle_of(TEXTILE))).cycles
    made = {lot.lot: lot for lot in record.lots}
    for run in record.runs:
        assert {flow.lot for flow in run.outputs} <= made.keys()
    for lot in made.values():
        assert sum(lot.composition.values()) == pytest.approx(1.0)
        assert sum(lot.origin.values()) == pytest.approx(1.0)


def test_the_readings_are_those_of_the_cycle(tmp_path: Path) -> None:
    made = cycle_of(FLAX)
    truth = read_truth(written(tmp_path, made))
    found = {(each.device, each.signal): each for each in truth.signals(truth.cycles[0])}
    for rows in made.devices:
        for signal, column in rows.true.items():
            measured = ~(column != column)  # noqa: PLR0124  # NaN alone is not itself
            if measured.any():
                assert found[rows.device, signal].true.tolist() == column[measured].tolist()


def test_a_cycle_that_is_written_again_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    written(tmp_path, cycle_of(TEXTILE))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    written(tmp_path, cycle_of(TEXTILE))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_cycles_are_read_by_line_and_number(tmp_path: Path) -> None:
    truth = read_truth(written(tmp_path, cycle_of(TEXTILE, 1), cycle_of(FLAX), cycle_of(TEXTILE)))
    assert [(each.line, each.number) for each in truth.cycles] == [(FLAX, 0), (TEXTILE, 0), (TEXTILE, 1)]
    assert truth.lines == (FLAX, TEXTILE)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnavailable, match="--truth"):
        written(tmp_path / "file" / "truth", cycle_of(TEXTILE))


# --------------------------------------------------------------------------------------------------------- by hand


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    record = cycle(faults=(fault(), fault("open-ended", stop=None, severity=None)))
    write_truth(tmp_path, faults=record.faults)
    assert read_truth(tmp_path).cycles == (record,)


def test_a_fault_of_several_cycles_is_one_as_the_last_one_has_it(tmp_path: Path) -> None:
    write_truth(tmp_path, faults=(fault(start=5, stop=None),))
    later = {"number": 1, "start_ns": at(12), "stop_ns": at(24), "runs": ()}
    truth = write_truth(tmp_path, faults=(fault(start=5, stop=20), fault("g", start=13, stop=14)), **later)
    assert [(each.label, each.stop_ns) for each in truth.faults] == [("f", at(20)), ("g", at(14))]


def test_no_folder_and_an_empty_one_are_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such folder"):
        read_truth(tmp_path / "gone")
    with pytest.raises(NotFound, match="no record of a cycle"):
        read_truth(tmp_path)


def test_two_simulations_in_a_folder_are_told(tmp_path: Path) -> None:
    write_truth(tmp_path)
    with pytest.raises(StoreRefused, match="one simulation in a folder"):
        write_truth(tmp_path, number=1, seed=2)


def bad(record: CycleTruth, **fields: object) -> bytes:
    document = msgspec.json.decode(encode(record))
    return json.dumps(document | fields).encode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read"),
        (b"{", "cannot be read"),
        (b"[]", "cannot be read"),
        (b"null", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (encode(cycle())[:-40], "cannot be read"),
        (bad(cycle(), seed="one"), "cannot be read"),
        (bad(cycle(), start_ns=1.5), "cannot be read"),
        (bad(cycle(), faults=[{"label": "f"}]), "cannot be read"),
        (bad(cycle(), format="filiere-truth/9"), "got format"),
        (bad(cycle(), start_ns=2**70), "expected UTC ns"),
        (bad(cycle(), start_ns=-1), "expected UTC ns"),
        (bad(cycle(), stop_ns=2**63), "expected UTC ns"),
        (encode(cycle(stop_ns=at(-1))), "expected a later end"),
        (encode(cycle(faults=(fault(line="caux/flax/f1"),))), "fault f: got line 'caux/flax/f1'"),
        (encode(cycle(faults=(fault(start=6, stop=5),))), "fault f: got an end before its beginning"),
        (encode(cycle(runs=(replace(cycle().runs[0], stop_ns=at(0)),))), "run R1: got a stop before its start"),
        (encode(cycle(runs=(replace(cycle().runs[0], outputs=()),))), "990000 g dry in and 0 g out"),
    ],
)
def test_a_record_that_is_not_one_is_told_with_its_file(tmp_path: Path, content: bytes, said: str) -> None:
    write_truth(tmp_path)
    (path,) = tmp_path.glob("*.json")
    path.write_bytes(content)
    with pytest.raises(StoreRefused, match=r"caux-textile-t1-00000\.json: .*") as told:
        read_truth(tmp_path)
    assert said in str(told.value)
    assert "\n" not in str(told.value)


def test_a_copy_of_a_record_is_told(tmp_path: Path) -> None:
    write_truth(tmp_path)
    (path,) = tmp_path.glob("*.json")
    (tmp_path / "caux-textile-t1-00000 (1).json").write_bytes(path.read_bytes())
    with pytest.raises(StoreRefused, match="remove the copy"):
        read_truth(tmp_path)


def test_a_file_of_another_size_is_not_read(tmp_path: Path) -> None:
    write_truth(tmp_path)
    (path,) = tmp_path.glob("*.json")
    with path.open("r+b") as file:
        file.truncate(20 * 1024 * 1024)
    with pytest.raises(StoreRefused, match="expected the record of one cycle"):
        read_truth(tmp_path)


def test_a_number_of_years_is_a_time(tmp_path: Path) -> None:
    assert write_truth(tmp_path, start_ns=0, stop_ns=100 * 365 * 86_400 * NS_PER_S).span_ns("caux/textile/t1")[0] == 0
