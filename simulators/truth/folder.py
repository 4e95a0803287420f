"""The truth folder: two files a line and cycle, `caux-textile-t1-00007.json` and the same with `.readings.parquet`.

They are written apart from all that is published: no message says what is in them. A cycle that is written again, since
a fault came into it while it ran, takes the place of what was there.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filiere.errors import NotFound, StoreRefused, StoreUnavailable
from filiere.plant import Plant
from filiere.whole_file import whole_file
from simulators.line.cycle import Cycle
from simulators.scenarios.scenario import Scenario
from simulators.truth.readings import RowTimes, SignalTruth, read_numbers, read_signals, write_readings
from simulators.truth.records import CycleTruth, FaultTruth, RunTruth, cycle_truth, decode, encode

FILE_MODE = 0o644
RECORD_SUFFIX, READINGS_SUFFIX = ".json", ".readings.parquet"
RECORD_BYTES_MAX = 16 * 1024 * 1024
"""Hundreds of times what a cycle needs: a file of that size is another one."""


def stem(line: str, number: int) -> str:
    """`caux/textile/t1`, 7 → `caux-textile-t1-00007`."""
    return f"{line.replace('/', '-')}-{number:05d}"


class TruthWriter:
    """Writes the truth of each cycle as it is computed."""

    def __init__(self, folder: Path, plant: Plant, scenario: Scenario, *, seed: int) -> None:
        self.folder = folder
        self._plant = plant
        self._scenario = scenario
        self._seed = seed

    def write(self, cycle: Cycle) -> None:
        """Keep what is true of a cycle: both files are whole and on the disk when it returns.

        Raises:
            StoreUnavailable: the folder cannot be written, or the disk is full.
        """
        truth = cycle_truth(
            cycle,
            plant=self._plant.digest,
            scenario=self._scenario.id,
            scenario_digest=self._scenario.digest,
            seed=self._seed,
        )
        base = self.folder / stem(truth.line, truth.number)
        try:
            # the record last: where it is, the readings are
            with whole_file(_beside(base, READINGS_SUFFIX), mode=FILE_MODE, replace=True) as temporary:
                write_readings(temporary, cycle.devices, cycle.active)
            with whole_file(_beside(base, RECORD_SUFFIX), mode=FILE_MODE, replace=True) as temporary:
                temporary.write_bytes(encode(truth))
        except OSError as error:
            raise StoreUnavailable(
                f"{base}: {error.strerror or error}; free space or make the folder of --truth writable, then try again"
            ) from error


def _beside(base: Path, suffix: str) -> Path:
    return base.with_name(base.name + suffix)


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """A truth folder, its readings still on the disk."""

    folder: Path
    cycles: tuple[CycleTruth, ...]
    """By line, then by number."""

    @property
    def plant(self) -> str:
        """SHA-256 of the plant file."""
        return self.cycles[0].plant

    @property
    def lines(self) -> tuple[str, ...]:
        """Line paths, in alphabetical order."""
        return tuple(dict.fromkeys(cycle.line for cycle in self.cycles))

    @property
    def runs(self) -> Mapping[str, RunTruth]:
        """Run id → run, of all lines."""
        return {run.id: run for cycle in self.cycles for run in cycle.runs}

    @property
    def faults(self) -> tuple[FaultTruth, ...]:
        """Each fault once, as the last cycle that speaks of it has it, by line and onset."""
        by_label = {(fault.line, fault.label): fault for cycle in self.cycles for fault in cycle.faults}
        return tuple(sorted(by_label.values(), key=lambda fault: (fault.line, fault.start_ns, fault.label)))

    def of_line(self, line: str) -> tuple[CycleTruth, ...]:
        """The cycles of one line."""
        return tuple(cycle for cycle in self.cycles if cycle.line == line)

    def span_ns(self, line: str) -> tuple[int, int]:
        """From the beginning of a line's first cycle to the end of its last."""
        cycles = self.of_line(line)
        return min(cycle.start_ns for cycle in cycles), max(cycle.stop_ns for cycle in cycles)

    def signals(self, cycle: CycleTruth, keys: Sequence[str] | None = None) -> Iterator[SignalTruth]:
        """What was true of a cycle's readings. Raises NotFound, StoreRefused."""
        return read_signals(self._readings(cycle), keys)

    def numbers(self, cycle: CycleTruth) -> Mapping[tuple[str, str], RowTimes]:
        """(device, boot) → the numbers of a cycle's rows. Raises NotFound, StoreRefused."""
        return read_numbers(self._readings(cycle))

    def _readings(self, cycle: CycleTruth) -> Path:
        return _beside(self.folder / stem(cycle.line, cycle.number), READINGS_SUFFIX)


def read_truth(folder: Path) -> Truth:
    """All records of a truth folder.

    Raises:
        NotFound: there is no such folder, or no record in it.
        StoreRefused: a record is damaged, or they are not of one simulation.
    """
    if not folder.is_dir():
        raise NotFound(f"{folder}: no such folder; expected one that `filiere simulate --truth` wrote")
    paths = sorted(path for path in folder.glob(f"*{RECORD_SUFFIX}") if not path.name.startswith("."))
    if not paths:
        raise NotFound(f"{folder}: no record of a cycle in it; expected a folder that `filiere simulate --truth` wrote")
    cycles = [_read(path) for path in paths]
    first = cycles[0]
    for path, cycle in zip(paths, cycles, strict=True):
        if path.name != stem(cycle.line, cycle.number) + RECORD_SUFFIX:
            raise StoreRefused(
                f"{path}: got the record of {stem(cycle.line, cycle.number)}; expected it under that name alone: remove"
                " the copy"
            )
        if (cycle.plant, cycle.seed) != (first.plant, first.seed):
            raise StoreRefused(
                f"{path}: got another plant file or seed than {paths[0].name}; expected one simulation in a folder:"
                " simulate each into a folder of its own"
            )
    return Truth(folder=folder, cycles=tuple(sorted(cycles, key=lambda cycle: (cycle.line, cycle.number))))


def _read(path: Path) -> CycleTruth:
    try:
        with path.open("rb") as file:
            content = file.read(RECORD_BYTES_MAX + 1)
    except OSError as error:
        raise StoreRefused(f"{path}: {error.strerror}; expected a file that may be read") from None
    if len(content) > RECORD_BYTES_MAX:
        raise StoreRefused(f"{path}: got more than {RECORD_BYTES_MAX} bytes; expected the record of one cycle")
    return decode(path, content)
