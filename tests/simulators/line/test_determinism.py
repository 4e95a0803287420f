"""One seed, one stream of bytes: on every processor, Python and numpy, and whatever else is in the plant."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

from filiere.plant import Line, Plant
from simulators.line import thermal
from simulators.line.exact import exact, exact_noise, exact_number
from simulators.line.randomness import autoregressive, generator, token
from simulators.line.simulation import beginning, line_cycles
from simulators.scenarios.scenario_file import shipped
from tests.simulators.builders import FLAX, START_NS, TEXTILE, caux, cycles, first_cycle, plant_with
from tests.simulators.line.digests import GOLDEN, digest

NORMAL_LOTS = 2
"""Enough for a last bit that is fed back to show: without rounding, it does in the first one."""
UNIFORM = (0.5096417245534405, 0.8238403201843519, 0.2210143468096597)
NORMAL = (1.3168602418954602, 0.03920698855690713, -0.5033838124806402)
AUTOREGRESSIVE = (-2.697885247728634, -2.3939168627557477, -2.593365010163641)


def golden() -> dict[str, str]:
    return json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("name", shipped())
def test_a_scenario_sends_the_same_bytes_today_and_tomorrow(name: str):
    assert digest(name) == golden()[name], "if this was meant: python -m tests.simulators.line.digests --write"


def test_every_shipped_scenario_has_its_digest():
    assert sorted(golden()) == sorted(shipped())


def dispatched() -> str:
    """The features that can be switched off here: numpy warns of others."""
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__  # noqa: PLC0415  # where numpy keeps them

    return " ".join(name for name in __cpu_dispatch__ if __cpu_features__.get(name))


def printed(name: str, **environment: str) -> dict[str, str]:
    """The digest of a scenario as another process with another environment has it."""
    found = subprocess.run(
        [sys.executable, "-m", "tests.simulators.line.digests", name],
        env={**os.environ, **environment},
        capture_output=True,
        check=True,
        timeout=300,
    )
    return json.loads(found.stdout)


def test_a_processor_without_its_newer_instructions_sends_the_same_bytes():
    """Nor does another order of sets matter, or the hour of the place."""
    name = "clogged-screen"
    found = printed(name, NPY_DISABLE_CPU_FEATURES=dispatched(), PYTHONHASHSEED="4321", TZ="Pacific/Apia")
    assert found == {name: golden()[name]}


def test_the_last_bit_of_another_machine_does_not_show(monkeypatch: pytest.MonkeyPatch):
    """Libraries differ there in logarithms and exponentials, and controllers make much of little."""
    here = shown(NORMAL_LOTS)
    monkeypatch.setattr(thermal, "exp", lambda power: math.nextafter(math.exp(power), math.inf))
    monkeypatch.setattr(scipy.signal, "lfilter", one_bit_off)
    assert shown(NORMAL_LOTS) == here
    monkeypatch.setattr(thermal, "exp", lambda power: math.exp(power) * (1.0 + 1e-4))
    assert shown(NORMAL_LOTS) != here


def one_bit_off(*given: Any, zi: Any = None) -> Any:
    """What the filter says, one bit up."""
    if zi is None:
        return np.nextafter(lfilter(*given), np.inf)
    values, last = lfilter(*given, zi=zi)
    return np.nextafter(values, np.inf), last


def shown(lots: int) -> list[bytes]:
    """What the extruders show in their first lots."""
    columns: list[bytes] = []
    for line in (TEXTILE, FLAX):
        made = line_cycles(caux(), beginning(caux(), seed=1, start_ns=START_NS), line)
        for cycle in islice(made, lots):
            extruder = next(rows for rows in cycle.devices if rows.device == "extruder")
            columns += [column.tobytes() for column in extruder.shown.values()]
    return columns


@given(st.floats(-1e6, 1e6), st.integers(-30, 4))
def test_a_grid_forgets_the_last_bit_and_nothing_else(value: float, places: int):
    grid = 2.0**places
    rounded = exact_number(value, grid)
    assert rounded == exact(np.array([value]), grid)[0] or abs(rounded - value) == grid / 2
    assert abs(rounded - value) <= grid / 2
    assert rounded / grid == round(rounded / grid)
    assert exact_number(rounded, grid) == rounded


@given(st.floats(1e-9, 1e9))
def test_a_noise_keeps_a_millionth_of_its_size(sd: float):
    noise = sd * np.array([-3.0, -0.1, 0.0, 0.7, 5.0])
    assert exact_noise(noise, sd) == pytest.approx(noise, abs=1.1e-6 * sd)


def without(path: str, device: str) -> Plant:
    """The plant with one unit less."""

    def changed(line: Line) -> Line:
        steps = tuple(replace(step, units=tuple(unit for unit in step.units if unit != device)) for step in line.steps)
        return replace(line, units=tuple(unit for unit in line.units if unit.id != device), steps=steps)

    return plant_with(path, changed)


@pytest.mark.parametrize(("line", "device"), [(TEXTILE, "laboratory"), (FLAX, "pelletiser")])
def test_a_unit_more_or_less_does_not_change_the_chance_of_the_others(line: str, device: str):
    """What they measure may change where they share material or heat; these two give nothing on."""
    cycle = first_cycle(without(line, device), line)
    (whole, _), *_ = cycles(line)
    assert cycle.told == whole.told
    assert cycle.following.stock == whole.following.stock
    others = {rows.device: rows for rows in whole.devices if rows.device != device}
    assert {rows.device for rows in cycle.devices} == set(others)
    for rows in cycle.devices:
        assert rows.boots == others[rows.device].boots
        for name, column in rows.shown.items():
            same = np.array_equal(column, others[rows.device].shown[name], equal_nan=True)
            assert same, (rows.device, name)


def test_chance_draws_the_numbers_that_it_always_drew():
    assert generator(1, "a").random_sample(3).tolist() == pytest.approx(UNIFORM, abs=1e-15)
    assert generator(1, "a").standard_normal(3).tolist() == pytest.approx(NORMAL, abs=1e-6)
    assert autoregressive(generator(1, "a"), 3, phi=0.9, sd=2.0).tolist() == pytest.approx(AUTOREGRESSIVE, abs=1e-5)
    assert token(1, "a") == "b8acc721"
