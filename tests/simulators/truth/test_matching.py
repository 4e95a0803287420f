"""Which conclusion reveals which fault."""

from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.faults.fault import Layer
from simulators.truth import matching
from simulators.truth.conclusion import Source, episodes
from simulators.truth.matching import GRACE_S
from tests.processing.builders import LINE
from tests.simulators.truth.builders import conclusion, fault

MINUTE = 1 / 60
ROUTES = {LINE: ["sorter", "dryer", "extruder", "pelletiser", "bagging"]}
reveals = partial(matching.reveals, routes=ROUTES)
match = partial(matching.match, routes=ROUTES)


def sensor(**fields: object):  # type: ignore[no-untyped-def]  # a builder
    return fault(**{"kind": "sensor_drift", "layer": Layer.SENSOR, "target": "extruder.melt_temp"} | fields)


def network(**fields: object):  # type: ignore[no-untyped-def]  # a builder
    return fault(**{"kind": "duplicate", "layer": Layer.NETWORK, "target": "extruder"} | fields)


def operator(**fields: object):  # type: ignore[no-untyped-def]  # a builder
    return fault(**{"kind": "label_swap", "layer": Layer.OPERATOR, "target": ""} | fields)


def held(**fields: object):  # type: ignore[no-untyped-def]  # a builder
    values = {"source": Source.RELEASE, "targets": (), "lot": "G1", "start": 3.0, "stop": 8.0, "known": 8.0}
    return conclusion(**values | fields)


def counted(*kinds: str, **fields: object):  # type: ignore[no-untyped-def]  # a builder
    values = {
        "source": Source.ACCOUNTS,
        "targets": ("extruder",),
        "start": 0.0,
        "stop": 12.0,
        "known": None,
        "alarm": False,
        "kinds": frozenset(kinds),
    }
    return conclusion(**values | fields)


# --------------------------------------------------------------------------------------------------------- place


def test_a_machines_fault_shows_there_and_behind_it_on_the_line() -> None:
    heater = fault(target="extruder.barrel_temp_z1")
    assert reveals(conclusion(targets=("extruder.barrel_temp_z3",)), heater)
    assert reveals(conclusion(targets=("pelletiser.water_temp",)), heater)
    assert not reveals(conclusion(targets=("dryer.moisture",)), heater)


def test_a_fault_of_the_whole_line_shows_anywhere_on_it() -> None:
    assert reveals(conclusion(targets=("sorter.fibre_ratio",)), fault(target=""))


def test_nothing_on_another_line_reveals_it() -> None:
    assert not reveals(conclusion(line="caux/flax/f1"), fault())


def test_a_sensors_fault_shows_on_its_own_signal_alone() -> None:
    assert reveals(conclusion(targets=("extruder.melt_temp",)), sensor())
    assert not reveals(conclusion(targets=("extruder.melt_pressure",)), sensor())


def test_what_is_said_of_a_device_is_said_of_its_signals() -> None:
    assert reveals(conclusion(source=Source.QUARANTINE, targets=("extruder",)), sensor())
    assert not reveals(conclusion(source=Source.QUARANTINE, targets=("dryer",)), sensor())


def test_an_operators_fault_does_not_show_in_readings() -> None:
    assert not reveals(conclusion(), operator())
    assert reveals(conclusion(source=Source.QUARANTINE, targets=("terminal",)), operator())
    assert reveals(held(), operator())


# ---------------------------------------------------------------------------------------------------------- time


def test_what_was_there_before_the_onset_is_not_the_faults_work() -> None:
    assert not reveals(conclusion(start=5.0 - MINUTE, stop=5.5), fault(start=5.0))
    assert reveals(conclusion(start=5.0), fault(start=5.0))


def test_a_faults_traces_are_its_own_for_a_while_after_its_end() -> None:
    grace_h = GRACE_S / 3600
    assert reveals(conclusion(start=6.0 + grace_h - MINUTE), fault(stop=6.0))
    assert not reveals(conclusion(start=6.0 + grace_h), fault(stop=6.0))
    assert reveals(conclusion(start=6.0 + grace_h), fault(stop=6.0), grace_s=GRACE_S + 60)


def test_a_fault_without_an_end_is_revealed_at_any_time_after_its_onset() -> None:
    assert reveals(conclusion(start=11.9), fault(start=1.0, stop=None))


def test_a_held_lot_is_evidence_of_all_that_happened_since_its_first_run_began() -> None:
    assert reveals(held(start=3.0, stop=8.0, known=8.0), sensor(start=4.0, stop=4.1))
    assert not reveals(held(start=3.0, stop=8.0, known=8.0), sensor(start=8.5, stop=9.0))


def test_a_lot_that_is_held_for_one_signal_reveals_no_sensor_of_another() -> None:
    for_melt = held(targets=("extruder.melt_temp",))
    assert reveals(for_melt, sensor(target="extruder.melt_temp"))
    assert not reveals(for_melt, sensor(target="sorter.fibre_ratio"))
    assert reveals(for_melt, fault(target="sorter"))


def test_an_operators_fault_shows_in_what_was_weighed_and_a_late_entry_in_any_signal() -> None:
    assert reveals(held(targets=("bagging.batch_weight",)), operator())
    assert not reveals(held(targets=("extruder.melt_temp",)), operator())
    assert reveals(held(targets=("extruder.melt_temp",)), operator(kind="late_entry"))


def test_a_lot_held_for_missing_readings_says_nothing_about_a_machine() -> None:
    missing = held(source=Source.INCOMPLETE, targets=("extruder.melt_temp",))
    assert not reveals(missing, fault())
    assert reveals(missing, network(kind="outage"))


# ---------------------------------------------------------------------------------------------------------- kind


def test_a_message_that_came_twice_says_nothing_about_a_heater() -> None:
    assert not reveals(counted("duplicate"), fault())


def test_a_count_reveals_only_what_it_counts() -> None:
    assert reveals(counted("duplicate"), network())
    assert not reveals(counted("late"), network())


def test_what_takes_nothing_away_is_shown_by_counts_alone() -> None:
    missing = held(source=Source.INCOMPLETE, targets=("extruder.melt_temp",))
    assert not reveals(missing, network(kind="duplicate"))
    assert reveals(missing, network(kind="dropped"))


def test_a_limit_crossed_says_nothing_about_the_network() -> None:
    assert not reveals(conclusion(targets=("extruder.melt_temp",)), network())


# --------------------------------------------------------------------------------------------------------- score


def test_the_delay_runs_from_the_onset_to_the_first_that_is_known() -> None:
    (scored,), _ = match([fault(start=5.0)], [held(), conclusion(start=5.2, known=5.25), conclusion(start=5.5)])
    assert scored.delay_s == pytest.approx(900.0)
    assert scored.first == conclusion(start=5.2, known=5.25)
    assert len(scored.conclusions) == 3


def test_a_fault_that_nothing_reveals_is_missed() -> None:
    (scored,), _ = match([sensor()], [conclusion(targets=("dryer.moisture",))])
    assert not scored.found
    assert scored.delay_s is None


def test_a_count_finds_a_fault_without_a_delay() -> None:
    (scored,), false = match([network()], [counted("duplicate")])
    assert scored.found
    assert scored.delay_s is None
    assert false == ()


def test_an_alarm_for_nothing_is_false_and_a_count_never_is() -> None:
    alarm = conclusion(start=1.0)
    _, false = match([fault()], [alarm, counted("late")])
    assert false == (alarm,)


def test_one_alarm_may_reveal_two_faults_that_overlap() -> None:
    scored, false = match([fault("a"), fault("b", start=5.2)], [conclusion(start=5.5)])
    assert [each.found for each in scored] == [True, True]
    assert false == ()


@given(
    st.lists(st.tuples(st.floats(0, 11), st.floats(0.01, 3), st.sampled_from([sensor, network, fault, operator]))),
    st.lists(
        st.tuples(
            st.floats(0, 12),
            st.sampled_from(["extruder.melt_temp", "dryer.moisture", "terminal"]),
            st.sampled_from(list(Source)),
        )
    ),
    st.randoms(use_true_random=False),
)
def test_every_alarm_is_evidence_or_false_whatever_the_order(faults, alarms, random) -> None:
    made = [make(label=str(place), start=start, stop=start + long) for place, (start, long, make) in enumerate(faults)]
    said = [conclusion(start=start, targets=(target,), source=source) for start, target, source in alarms]
    scored, false = match(made, said)
    evidence = {id(each) for score in scored for each in score.conclusions}
    assert {id(each) for each in false} == {id(each) for each in said} - evidence
    shuffled = random.sample(said, len(said))
    again, _ = match(made, shuffled)
    assert [each.delay_s for each in again] == [each.delay_s for each in scored]


# ------------------------------------------------------------------------------------------------------ episodes


def test_what_says_the_same_close_together_is_one_alarm() -> None:
    merged = episodes(conclusion(start=5 + minute / 60) for minute in (0, 1, 2, 30))
    assert [(each.start_ns, each.stop_ns) for each in merged] == [
        (conclusion(start=5.0).start_ns, conclusion(start=5 + 2 / 60).stop_ns),
        (conclusion(start=5.5).start_ns, conclusion(start=5.5).stop_ns),
    ]


def test_what_says_something_else_stays_apart() -> None:
    one = conclusion()
    others = [replace(one, targets=("extruder.current",)), replace(one, source=Source.QUALITY), replace(one, lot="G1")]
    assert len(episodes([one, *others], gap_s=1e6)) == 4


def test_a_count_is_never_merged() -> None:
    assert len(episodes([counted("late"), counted("late")], gap_s=1e6)) == 2
