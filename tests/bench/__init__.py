"""Benchmarks: what this machine can do, measured on the product's own code with real servers.

A benchmark is a function `bench_…(bench: Bench) -> Iterator[Measurement]` in a module `tests/bench/bench_*.py`; the
runner (`python -m tests.bench`) finds it by its name. It says what it measures in its docstring's first line. What has
a goal carries it, and the runner says whether it is met.
"""

import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.servers import InfluxDB, Mosquitto

REPEATS = 5
MINUTES = 2.0
BROKER_WINDOW = 20_000
"""Messages that the broker sends ahead of the acknowledgements. The peer needs more than the shipped 2000."""


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
    at_least: float | None = None
    """The goal, for the median; None = there is none of this kind."""
    at_most: float | None = None
    """The same, from above."""

    @property
    def met(self) -> bool | None:
        """Whether the median meets the goal; None = it has none."""
        if self.at_least is None and self.at_most is None:
            return None
        return (self.at_least is None or self.median >= self.at_least) and (
            self.at_most is None or self.median <= self.at_most
        )


def measured(
    name: str, unit: str, once: Callable[[], float], *, repeats: int = REPEATS, remark: str = ""
) -> Measurement:
    """Call `once` (which returns the value in `unit`) a first time to warm up, then `repeats` times that count."""
    once()
    values = [once() for _ in range(repeats)]
    return from_values(name, unit, values, remark=remark)


def from_values(
    name: str,
    unit: str,
    values: Sequence[float],
    *,
    remark: str = "",
    at_least: float | None = None,
    at_most: float | None = None,
) -> Measurement:
    """The row of values that were measured elsewhere."""
    return Measurement(
        name=name,
        unit=unit,
        median=statistics.median(values),
        low=min(values),
        high=max(values),
        repeats=len(values),
        remark=remark,
        at_least=at_least,
        at_most=at_most,
    )


class BenchMosquitto(Mosquitto):
    """The shipped broker's settings, with a wider window; anonymous."""

    def __init__(self) -> None:
        super().__init__()
        path = self.folder / "mosquitto.conf"
        text = path.read_text()
        text = text.replace("max_inflight_messages 2000", f"max_inflight_messages {BROKER_WINDOW}")
        path.write_text(text.replace("autosave_interval 1\n", "autosave_interval 5\n"))


class Bench:
    """What a benchmark may use: empty folders, and servers that start at first use. All is gone at the end."""

    def __init__(self, *, minutes: float = MINUTES, profile: Path | None = None) -> None:
        self.minutes = minutes
        """How long the long ones last."""
        self.profile = profile
        """Where the collector's processes leave their profiles; None = they run at full speed."""
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
            self._mosquitto = BenchMosquitto()
            self._stack.callback(self._mosquitto.remove)
        return self._mosquitto.start()

    def influxdb(self) -> InfluxDB:
        """InfluxDB 2. Raises ServerMissing, which the runner shows in place of the rows."""
        if self._influxdb is None:
            self._influxdb = InfluxDB()
            self._stack.callback(self._influxdb.remove)
        return self._influxdb.start()


Benchmark = Callable[[Bench], Iterator[Measurement]]
