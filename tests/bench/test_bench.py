"""The benchmarks' runner: finds what there is, says what it measures, leaves nothing out in silence."""

import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from filiere.plant_file import load_plant
from tests.bench import Bench, Measurement, __main__, from_values, measured
from tests.bench.bench_simulators import every_second, growth
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


def test_one_that_fails_is_named_and_the_rest_is_measured(monkeypatch: pytest.MonkeyPatch):
    def bench_that_fails(_bench: Bench) -> Iterator[Measurement]:
        """Finds that rows are lost."""
        yield from_values("before", "rows/s", [1.0])
        raise RuntimeError("got 99 rows, expected 100")

    monkeypatch.setattr(__main__, "benchmarks", lambda _parts: [("bench_that_fails", bench_that_fails)])
    rows, missing = __main__.run([], Console(file=io.StringIO()))
    assert [row.name for row in rows] == ["before"]
    assert missing == ["bench_that_fails failed: got 99 rows, expected 100"]


@pytest.mark.parametrize(
    ("values", "goals", "met", "text"),
    [
        ([1.0, 3.0, 2.0], {}, None, ""),
        ([1.0, 3.0, 2.0], {"at_least": 2.0}, True, "≥ 2.00"),
        ([1.0, 3.0, 2.0], {"at_least": 2.1}, False, "≥ 2.10"),
        ([1.0, 3.0, 2.0], {"at_most": 2.0}, True, "≤ 2.00"),
        ([0.0, 0.0, 1.0], {"at_most": 0.0}, True, "≤ 0.00"),
        ([1.0, 1.0, 0.0], {"at_most": 0.0}, False, "≤ 0.00"),
    ],
)
def test_a_goal_is_met_by_the_median(values, goals, met, text):
    row = from_values("x", "rows/s", values, **goals)
    assert row.met is met
    assert __main__.goal(row) == text


def test_the_page_has_the_same_rows():
    rows = [from_values("x", "rows/s", [1.0, 3.0, 2.0], remark="y", at_least=2.0), from_values("z", "rows", [0.0])]
    assert list(__main__.markdown(rows))[2:] == [
        "| x | 2.00 | 1.00 … 3.00 | rows/s | ≥ 2.00 | yes | y |",
        "| z | 0.00 |  | rows |  |  |  |",
    ]


def test_the_long_ones_take_as_long_as_they_are_told():
    assert Bench().minutes == 2.0
    assert Bench(minutes=30).minutes == 30


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


@pytest.mark.parametrize(
    ("resident", "percent"), [([9.0, 100.0, 100.0, 110.0], 10.0), ([100.0] * 40, 0.0), ([5.0, 5.0], 0.0)]
)
def test_growth_is_the_last_quarter_over_the_second(resident: list[float], percent: float):
    assert growth(resident) == pytest.approx(percent)


def test_the_plant_of_the_simulated_day_has_forty_signals_once_a_second():
    line = every_second(load_plant("caux")).line("caux/textile/t1")
    periods = {signal.key: signal.period_s for signal in line.signals}
    assert {period for key, period in periods.items() if not key.startswith("laboratory.")} == {1.0}
    assert sum(len(line.signals) for line in load_plant("caux").lines) >= 40
