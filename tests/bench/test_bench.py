"""The benchmarks' runner: finds what there is, says what it measures, leaves nothing out in silence."""

import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from tests.bench import Bench, Measurement, __main__, from_values, measured
from tests.servers import ServerMissing


def test_every_benchmark_says_what_it_measures():
    found = dict(__main__.benchmarks([]))
    assert "bench_message_log" in found
    assert all(benchmark.__doc__ for benchmark in found.values())


def test_one_part_can_be_asked_for():
    parts = {benchmark.__module__ for _, benchmark in __main__.benchmarks(["storage"])}
    assert parts == {"tests.bench.bench_storage"}


def test_the_first_call_warms_up_and_does_not_count():
    values = iter([1000.0, 3.0, 1.0, 2.0])
    row = measured("x", "rows/s", lambda: next(values), repeats=3)
    assert (row.median, row.low, row.high, row.repeats) == (2.0, 1.0, 3.0, 3)


def test_a_missing_server_is_named_and_the_rest_is_measured(monkeypatch: pytest.MonkeyPatch):
    def bench_with_a_server(_bench: Bench) -> Iterator[Measurement]:
        """Needs what is not here."""
        yield from_values("before", "rows/s", [1.0])
        raise ServerMissing("influxd not found: build it")

    def bench_without(_bench: Bench) -> Iterator[Measurement]:
        """Needs nothing."""
        yield from_values("after", "rows/s", [2.0])

    found = [("bench_with_a_server", bench_with_a_server), ("bench_without", bench_without)]
    monkeypatch.setattr(__main__, "benchmarks", lambda _parts: found)
    rows, missing = __main__.run([], Console(file=io.StringIO()))
    assert [row.name for row in rows] == ["before", "after"]
    assert missing == ["bench_with_a_server left out: influxd not found: build it"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (512_852.4, "512 852"),
        (2_108_397.0, "2 108 397"),
        (5.678, "5.68"),
        (56.78, "56.8"),
        (0.1234, "0.12"),
        (0, "0.00"),
    ],
)
def test_numbers_are_short_enough_to_compare(value: float, text: str):
    assert __main__.shown(value) == text
