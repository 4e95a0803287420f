from decimal import Decimal

import pytest

from api.lines import STALE_S_MIN, states
from api.models import LatestReading
from filiere.chain import Chain, fold
from filiere.clock import NS_PER_S
from filiere.plant_file import load_plant
from filiere.readings import OUT_OF_RANGE, Latest
from tests.api.workshop import F1, START_NS, T1, portion, received, started

PLANT = load_plant("caux")
MELT = "extruder.melt_temp"
NOW = START_NS + 3600 * NS_PER_S


def chain(*, running: bool) -> Chain:
    textile = portion("L", "sorted_textile", Decimal(500), "0.006")
    bale = received(textile, at_ns=START_NS, supplier="x", origin={"virgin": "1"}, evidence="")
    begun = started("R", line=T1, step="extrusion", recipe="pp-gris", lot="M", at_ns=START_NS, inputs=(textile,))
    return fold([bale, begun] if running else [bale])


def reading(key: str = MELT, *, value: float = 228.0, time_ns: int = NOW, quality: str = "") -> Latest:
    return Latest(key=key, time_ns=time_ns, value=value, quality=quality)


def judged(latest: list[Latest], *, key: str = MELT, running: bool = True, newest_ns: int = NOW) -> LatestReading:
    other = [reading("bagging.batch_weight", time_ns=newest_ns)]
    found = states(PLANT, chain(running=running), {T1: latest, F1: other})
    return next(signal for signal in found.lines[0].signals if signal.key == key)


@pytest.mark.parametrize(
    ("value", "status"), [(228.0, "ok"), (210.0, "ok"), (209.9, "low"), (245.0, "ok"), (245.1, "high")]
)
def test_a_reading_is_judged_by_the_recipe_of_the_open_run(value: float, status: str) -> None:
    signal = judged([reading(value=value)])
    assert (signal.low, signal.high, signal.status) == (210.0, 245.0, status)


def test_a_machine_that_is_not_part_of_the_step_is_not_judged() -> None:
    assert judged([reading("sorter.fibre_ratio", value=0.1)], key="sorter.fibre_ratio").status == "idle"


def test_an_idle_line_is_not_judged() -> None:
    assert judged([reading(value=20.0)], running=False).status == "idle"


def test_a_flagged_reading_is_suspect() -> None:
    assert judged([reading(value=900.0, quality=OUT_OF_RANGE)]).status == "suspect"


@pytest.mark.parametrize(("minutes", "status"), [(-1, "idle"), (1, "high")])
def test_a_sample_of_an_earlier_lot_does_not_judge_the_lot_under_way(minutes: int, status: str) -> None:
    sample = reading("laboratory.contaminants", value=61.0, time_ns=START_NS + minutes * 60 * NS_PER_S)
    assert judged([sample], key="laboratory.contaminants").status == status


def test_no_reading_is_said() -> None:
    signal = judged([])
    assert (signal.status, signal.value, signal.age_s) == ("none", None, None)


def test_a_signal_that_is_silent_while_others_speak_is_stale() -> None:
    late = NOW + round((STALE_S_MIN + 1) * NS_PER_S)
    signal = judged([reading()], newest_ns=late)
    assert (signal.status, signal.age_s) == ("stale", STALE_S_MIN + 1)


def test_a_replay_of_last_year_is_not_stale() -> None:
    old = NOW - 365 * 86_400 * NS_PER_S
    assert judged([reading(time_ns=old)], newest_ns=old).status == "ok"


def test_a_line_says_its_run_in_the_plants_words() -> None:
    found = states(PLANT, chain(running=True), {T1: [reading()], F1: []})
    run = found.lines[0].run
    assert run is not None
    assert (run.batch, run.step_name.fr, run.recipe_name.en) == ("M", "Extrusion et granulation", "Grey PP granulate")
    assert (found.lines[1].state, found.lines[1].age_s) == ("idle", None)
