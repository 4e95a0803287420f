"""What the system concluded of readings."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from filiere.readings import CLOCK_SUSPECT, OUT_OF_RANGE
from simulators.truth.conclusion import Conclusion, Source
from simulators.truth.watched import of_readings
from tests.simulators.truth.builders import GOOD, at, block, devices, rows, system, write_truth

MELT = "extruder.melt_temp"


def melt(changes: Mapping[tuple[float, float], float]) -> list[float]:
    """A row a minute at 228 °C, but for [from, to) in hours."""
    values = np.full(720, 228.0)
    for (start, stop), value in changes.items():
        values[round(start * 60) : round(stop * 60)] = value
    return values.tolist()


def measured(changes: Mapping[tuple[float, float], float]) -> tuple:  # type: ignore[type-arg]  # of rows
    others = {key: level for key, level in GOOD.items() if not key.startswith("extruder.")}
    return (*devices(others), rows("extruder", {"melt_temp": melt(changes), "current": 40.0}))


def found(tmp_path: Path, changes: Mapping[tuple[float, float], float]) -> list[Conclusion]:
    shown = measured(changes)
    return of_readings(write_truth(tmp_path / "truth", measured=shown), system(tmp_path, measured=shown))


def test_nothing_is_concluded_of_good_readings(tmp_path: Path) -> None:
    assert found(tmp_path, {}) == []


def test_readings_beyond_the_recipes_limit_during_a_run_are_one_alarm(tmp_path: Path) -> None:
    (alarm,) = found(tmp_path, {(3.25, 3.5): 250.0})
    assert (alarm.source, alarm.target, alarm.words.en) == (Source.LIMITS, MELT, "above the limit")
    assert (alarm.start_ns, alarm.stop_ns) == (at(3.25), at(3.5 - 1 / 60))


def test_the_side_is_told(tmp_path: Path) -> None:
    (alarm,) = found(tmp_path, {(3.25, 3.5): 100.0})
    assert alarm.words.en == "below the limit"


def test_a_cold_machine_between_runs_is_no_alarm(tmp_path: Path) -> None:
    assert found(tmp_path, {(4.0, 8.0): 20.0}) == []


def test_an_alarm_is_known_when_it_has_lasted(tmp_path: Path) -> None:
    values = np.full(720 * 30, 228.0)
    values[3 * 1800 + 30 : 3 * 1800 + 30 + 60] = 250.0  # two minutes, a row each 2 s
    shown = (rows("extruder", {"melt_temp": values.tolist(), "current": 40.0}, step_s=2.0),)
    fast = system(tmp_path, measured=shown)
    line = fast.plant.lines[0]
    units = [replace(unit, signals=tuple(replace(each, period_s=2.0) for each in unit.signals)) for unit in line.units]
    workshop = replace(fast.plant.workshops[0], lines=(replace(line, units=tuple(units)),))
    fast = replace(fast, plant=replace(fast.plant, workshops=(workshop,)))
    (alarm,) = of_readings(write_truth(tmp_path / "truth", measured=shown), fast)
    assert alarm.known_ns == alarm.start_ns + 58 * 10**9


def test_two_crossings_far_apart_are_two_alarms(tmp_path: Path) -> None:
    assert len(found(tmp_path, {(3.1, 3.2): 250.0, (3.6, 3.7): 250.0})) == 2


def test_two_crossings_close_together_are_one_alarm(tmp_path: Path) -> None:
    assert len(found(tmp_path, {(3.1, 3.2): 250.0, (3.25, 3.35): 250.0})) == 1


def test_flagged_readings_are_one_alarm_with_their_reason(tmp_path: Path) -> None:
    shown = measured({(5.0, 5.5): -175.0})
    empty = system(tmp_path, measured=[shown[0]])
    flags = dict.fromkeys(range(300, 330), OUT_OF_RANGE)
    empty.store.write([block(shown[1], {"melt_temp": flags, "current": {600: CLOCK_SUSPECT}})])
    range_, clock = of_readings(write_truth(tmp_path / "truth", measured=shown), empty)
    assert (range_.source, range_.target, range_.words.en) == (Source.QUALITY, MELT, "outside the sensor's range")
    assert (range_.start_ns, range_.stop_ns, range_.known_ns) == (at(5), at(5.5 - 1 / 60), at(5))
    assert (clock.target, clock.words.en, clock.start_ns) == ("extruder.current", "clock suspect", at(10))


def test_what_is_flagged_is_not_judged_by_the_limits_too(tmp_path: Path) -> None:
    shown = measured({(3.25, 3.5): 250.0})
    stored = system(tmp_path, measured=[shown[0]])
    stored.store.write([block(shown[1], {"melt_temp": dict.fromkeys(range(195, 210), OUT_OF_RANGE)})])
    (alarm,) = of_readings(write_truth(tmp_path / "truth", measured=shown), stored)
    assert alarm.source is Source.QUALITY


def test_progress_is_told_for_each_cycle(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    of_readings(write_truth(tmp_path / "truth"), system(tmp_path), note=lambda *step: told.append(step))
    assert told == [(0, 1)]
