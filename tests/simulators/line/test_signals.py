"""Scales, near-infrared, laboratory and screen: what they show follows from what is there."""

import numpy as np
import pytest

from simulators.line.cycle import Cycle
from tests.simulators.builders import FLAX, TEXTILE, caux, cycles, fault, first_cycle, with_faults, with_parameters
from tests.simulators.line.machine_readings import plateau, seconds, shown, true, warm

LOTS = 6
WEIGHT = "bagging.batch_weight"
PERFECT = {"tare_walk_per_h": 0.0, "batch_weight_sd": 0.0, "creep": 0.0, "swing": 0.0}
"""A scale that adds nothing."""


@pytest.mark.parametrize("line", [TEXTILE, FLAX])
def test_every_display_shows_whole_steps_of_its_resolution(line: str):
    for signal in caux().line(line).signals:
        steps = shown(warm(line), signal.key) / signal.resolution
        assert steps == pytest.approx(np.round(steps), abs=1e-6, nan_ok=True), signal.key


def test_a_screen_is_changed_when_it_is_clogged_and_the_pressure_falls_back():
    given = caux().line(TEXTILE).unit("extruder").simulator
    changes = 0
    for cycle, _ in cycles(TEXTILE, LOTS):
        key = "extruder.melt_pressure"
        inside = plateau(cycle, key)
        drop = (true(cycle, key) - true(cycle, "extruder.melt_pressure_after"))[inside]
        changed = np.flatnonzero(np.diff(drop) < -0.5 * given["screen_change_bar"])
        assert drop[changed] == pytest.approx(given["screen_change_bar"], rel=0.1)
        assert drop[changed + 1] == pytest.approx(given["screen_clean_bar"], rel=0.1)
        changes += len(changed)
    assert changes


def test_near_infrared_sees_what_the_lot_is_made_of():
    for cycle, _ in cycles(TEXTILE, LOTS):
        stage, at = cycle.plan.stages[0], seconds(cycle, "sorter")
        passing = (at > stage.feed_start_s) & (at < stage.feed_stop_s)
        seen = float(np.mean(shown(cycle, "sorter.fibre_ratio")[passing]))
        assert seen == pytest.approx(stage.outputs[0].composition["pp"], abs=0.004)


def test_the_laboratory_counts_contaminants_by_the_root_of_the_dirt():
    key = "laboratory.contaminants"
    dirty = with_faults(fault("screen_clog", "extruder", lot=1, step="extrusion", severity=9.0))[0]
    (usual, _), *_ = cycles(TEXTILE)
    assert true(dirty, key) == pytest.approx(3.0 * true(usual, key), rel=0.01)


def bag(**changed: float) -> tuple[Cycle, np.ndarray]:
    """A lot on a scale that adds what is changed and nothing else, and what it adds."""
    cycle = first_cycle(with_parameters(TEXTILE, "bagging", **(PERFECT | changed)), TEXTILE)
    return cycle, shown(cycle, WEIGHT) - true(cycle, WEIGHT)


def filling(cycle: Cycle, *, last_s: float) -> np.ndarray:
    """A mask of the time in which the bag was filled, or of its end."""
    stage, at = cycle.plan.stages[-1], seconds(cycle, "bagging")
    return np.asarray((at > stage.feed_stop_s - last_s) & (at < stage.feed_stop_s))


def test_a_perfect_scale_shows_what_lies_on_it():
    cycle, error = bag()
    assert np.abs(error[filling(cycle, last_s=3600.0)]).max() <= 0.1 + 1e-9  # half a step


def test_a_load_cell_creeps_by_a_share_of_its_load_in_some_minutes():
    cycle, error = bag(creep=0.01)
    full = filling(cycle, last_s=600.0)
    assert 0.006 < np.mean(error[full] / true(cycle, WEIGHT)[full]) < 0.01


def test_a_platform_that_is_relieved_swings_for_less_than_a_minute():
    cycle, swinging = bag(swing=0.03)
    _, still = bag()
    since_s = seconds(cycle, "bagging")[swinging != still] - cycle.plan.stages[-1].stop_s
    assert len(since_s)
    assert since_s.min() > 0.0
    assert np.ptp(since_s) < 60.0
