"""A sealed run → the messages of its devices, so that another collector stores what was sealed.

A stored time is the device's own and, in its last three digits, what is left of the row's number after division by a
thousand. The numbers that are given here leave the same.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from filiere.archive import METADATA_KEY, read_run
from filiere.errors import NotAuthentic, NotFound, ScenarioError
from filiere.plant import Plant
from filiere.readings import SEQ_NS, Series, split_key
from simulators.replay.device_recording import NumberedRows
from simulators.replay.recording import boot_of


def is_sealed(path: Path) -> bool:
    """Whether a file is a sealed run, whole or not."""
    try:
        return path.suffix == ".parquet" and METADATA_KEY in (pq.read_schema(path).metadata or {})
    except (OSError, pa.ArrowException):
        return False  # who reads it says so


def read_sealed(path: Path, plant: Plant) -> Iterator[NumberedRows]:
    """The rows of each device of a run. Raises ScenarioError: damaged, or of another plant."""
    try:
        run = read_run(path)
        line = plant.line(run.line)
        by_device: dict[str, list[Series]] = {}
        for series in run.series:
            line.signal(series.key)
            if len(series.time_ns):
                by_device.setdefault(split_key(series.key)[0], []).append(series)
    except NotAuthentic as error:
        raise ScenarioError(str(error)) from None
    except NotFound as error:
        raise ScenarioError(f"{path}: {error}: replay it with the plant file that it was recorded with") from None
    for device, found in by_device.items():
        stored_ns = np.unique(np.concatenate([series.time_ns for series in found]))
        values = np.full((len(stored_ns), len(found)), np.nan)
        for place, series in enumerate(found):
            values[np.searchsorted(stored_ns, series.time_ns), place] = series.value
        left = stored_ns % SEQ_NS
        steps = (np.diff(left) - 1) % SEQ_NS + 1
        yield NumberedRows(
            line=run.line,
            device=device,
            signals=tuple(split_key(series.key)[1] for series in found),
            time_ns=stored_ns - left,
            boots=[boot_of("sealed", run.run, run.line, device)] * len(stored_ns),
            seqs=np.concatenate([left[:1], left[:1] + np.cumsum(steps)]),
            values=values,
        )
