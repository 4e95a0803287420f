"""Benchmarks: what this machine can do, measured on the product's own code with real servers.

A benchmark is a function `bench_…(bench: Bench) -> Iterator[Measurement]` in a module `tests/bench/bench_*.py`; the
runner (`python -m tests.bench`) finds it by its name. It says what it measures in its docstring's first line.
"""

import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.servers import InfluxDB, Mosquitto

REPEATS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One line of the table."""

    name: str
    unit: str
    median: float
    low: float
    high: float
    repeats: int
    remark: str = ""
    """What was fixed: sizes, batch, payload."""


def measured(
    name: str, unit: str, once: Callable[[], float], *, repeats: int = REPEATS, remark: str = ""
) -> Measurement:
    """Call `once` (which returns the value in `unit`) a first time to warm up, then `repeats` times that count."""
    once()
    values = [once() for _ in range(repeats)]
    return from_values(name, unit, values, remark=remark)


def from_values(name: str, unit: str, values: list[float], *, remark: str = "") -> Measurement:
    """The row of values that were measured elsewhere."""
    return Measurement(
        name=name,
        unit=unit,
        median=statistics.median(values),
        low=min(values),
        high=max(values),
        repeats=len(values),
        remark=remark,
    )


class Bench:
    """What a benchmark may use: empty folders, and servers that start at first use. All is gone at the end."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._mosquitto: Mosquitto | None = None
        self._influxdb: InfluxDB | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def folder(self) -> Path:
        """A new empty folder on the disk that holds temporary files."""
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="filiere-bench-")))

    def mosquitto(self) -> Mosquitto:
        """The broker. Raises ServerMissing, which the runner shows in place of the rows."""
        if self._mosquitto is None:
            self._mosquitto = Mosquitto()
            self._stack.callback(self._mosquitto.remove)
        return self._mosquitto.start()

    def influxdb(self) -> InfluxDB:
        """InfluxDB 2. Raises ServerMissing, which the runner shows in place of the rows."""
        if self._influxdb is None:
            self._influxdb = InfluxDB()
            self._stack.callback(self._influxdb.remove)
        return self._influxdb.start()


Benchmark = Callable[[Bench], Iterator[Measurement]]
