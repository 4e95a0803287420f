"""Truth beside what the system concluded: a case by hand for each number."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console

from filiere.chain import fold
from filiere.errors import SettingsError
from filiere.plant import Label
from filiere.readings import CLOCK_SUSPECT
from simulators.faults.catalogue import KINDS
from simulators.faults.fault import Layer
from simulators.truth.conclusion import Conclusion, Source
from simulators.truth.display import alike, print_score, score_json
from simulators.truth.score import Score, score
from simulators.truth.verdicts import Outcome
from tests.processing.builders import LINE, two_step_events
from tests.simulators.truth.builders import (
    GOOD,
    at,
    block,
    conclusion,
    devices,
    fault,
    rows,
    system,
    with_output,
    write_truth,
)

HOT = (
    *devices({"sorter.fibre_ratio": 0.95}),
    rows("extruder", {"melt_temp": [228.0] * 200 + [241.0] * 3 + [228.0] * 517}),
)


def scored(tmp_path: Path, *, stored: object = None, events: object = None, **truth: object) -> Score:
    known = write_truth(tmp_path / "truth", **truth)  # type: ignore[arg-type]  # a builder
    return score(known, system(tmp_path, measured=stored, events=events))  # type: ignore[arg-type]  # same


def printed(result: Score, language: str = "fr") -> str:
    console = Console(width=200, record=True, quiet=False, force_terminal=False, file=None)
    with console.capture() as captured:
        print_score(console, result, language)  # type: ignore[arg-type]  # one of two words
    return captured.get()


def test_a_simulation_without_fault_and_alarm_is_perfect(tmp_path: Path) -> None:
    result = scored(tmp_path)
    assert (result.faults, result.false_alarms, result.wrong_verdicts) == ((), (), ())
    assert result.median_delay_s is None
    assert result.outcomes == {Outcome.RIGHT: 1}


def test_the_delay_is_from_the_onset_to_the_first_alarm(tmp_path: Path) -> None:
    clog = fault(start=3.0, stop=4.0)
    result = scored(tmp_path, stored=HOT, measured=devices(GOOD), faults=(clog,))
    assert result.delays_s == (20 * 60.0,)  # beyond the limit from 3 h 20 min on
    assert result.missed == ()
    assert result.false_alarms == ()


def test_a_fault_that_shows_nowhere_is_missed(tmp_path: Path) -> None:
    stuck = fault("stuck", kind="sensor_stuck", layer=Layer.SENSOR, target="sorter.fibre_ratio", start=1, stop=2)
    result = scored(tmp_path, stored=HOT, measured=devices(GOOD), faults=(stuck,))
    assert result.missed == (stuck,)
    assert len(result.false_alarms) == 1


def test_false_alarms_are_counted_over_the_simulated_days(tmp_path: Path) -> None:
    result = scored(tmp_path, stored=HOT, measured=devices(GOOD))
    assert result.days == 0.5
    assert result.false_alarms_a_day == 2.0


def test_an_alarm_that_is_never_off_calls_every_hour_and_reveals_nothing(tmp_path: Path) -> None:
    always = conclusion(start=0.0, stop=12.0)
    truth = write_truth(tmp_path / "truth", faults=(fault(start=3.0, stop=4.0),))
    result = score(truth, system(tmp_path), further=[lambda *_: [always]])
    assert len(result.missed) == 1
    assert result.false_alarms_a_day == 13 / 0.5
    assert score_json(result)["summary"]["false_alarms"] == 13


def test_a_lot_that_is_held_calls_once_however_long_it_took() -> None:
    assert conclusion(source=Source.RELEASE, lot="G1", start=0.0, stop=12.0, known=12.0).calls == 1


def test_a_system_that_heard_nothing_misses_everything(tmp_path: Path) -> None:
    faults = tuple(
        fault(kind, kind=kind, layer=each.layer, target="", start=3.0, stop=4.0) for kind, each in KINDS.items()
    )
    silent = replace(system(tmp_path, measured=()), chain=fold(()))  # nobody told it anything either
    result = score(write_truth(tmp_path / "truth", faults=faults), silent)
    assert (len(result.missed), result.false_alarms) == (len(faults), ())
    assert result.outcomes == {Outcome.CAUTIOUS: 1}


def test_a_night_in_which_the_line_is_off_is_no_day_of_work(tmp_path: Path) -> None:
    write_truth(tmp_path / "truth")
    next_day = {"number": 1, "start_ns": at(24), "stop_ns": at(36), "runs": ()}
    both_days = (*devices(), *(replace(each, time_ms=each.time_ms + 86_400_000) for each in devices()))
    result = scored(tmp_path, stored=both_days, **next_day)
    assert result.days == 1.0
    assert result.lines[0].stop_ns == at(36)


def test_the_balance_error_is_what_the_books_cannot_account_for(tmp_path: Path) -> None:
    result = scored(tmp_path, events=with_output(two_step_events(), "R2", mass_kg=Decimal(761)))
    first, second = result.balances
    assert (first.error_g, first.balanced) == (0.0, True)
    assert second.feed_true_g == 782_100
    assert second.error_g == pytest.approx(-990.0)  # 1 kg too much, 1 % of it water
    assert second.product_error_g == pytest.approx(990.0)
    assert second.feed_error_g == 0.0
    assert second.error_percent == pytest.approx(-100 * 990 / 782_100)
    assert result.mean_balance_error_g == pytest.approx(495.0)
    assert result.worst_balance == second


def test_a_wrong_verdict_is_counted(tmp_path: Path) -> None:
    result = scored(tmp_path, measured=devices(GOOD | {"extruder.melt_temp": 180.0}), stored=devices(GOOD))
    assert [lot.outcome for lot in result.wrong_verdicts] == [Outcome.WRONGLY_RELEASED]


def test_a_fault_that_did_not_begin_in_time_is_not_in_the_score(tmp_path: Path) -> None:
    assert scored(tmp_path, faults=(fault(start=12.0, stop=13.0),)).faults == ()


def test_what_is_not_published_yet_is_neither_missed_nor_wrong(tmp_path: Path) -> None:
    half = tuple(replace(each, time_ms=each.time_ms[:180]) for each in devices())  # three hours
    known = system(tmp_path, measured=())
    known.store.write(
        [block(replace(each, shown={name: column[:180] for name, column in each.shown.items()})) for each in half]
    )
    result = score(write_truth(tmp_path / "truth", faults=(fault(start=2.0), fault("later", start=3.5))), known)
    assert [each.fault.label for each in result.faults] == ["f"]
    assert result.lots == ()
    assert result.days == pytest.approx(3 / 24)


def test_a_system_that_stopped_listening_is_said_to_have(tmp_path: Path) -> None:
    write_truth(tmp_path / "truth")
    result = scored(tmp_path, stored=devices(), number=1, start_ns=at(24), stop_ns=at(36), runs=())
    assert result.lines[0].unheard_s == pytest.approx(12 * 3600.0, abs=60.0)
    assert "12,0 h qui suivent ne sont pas jugées" in printed(result)


def test_a_row_that_is_dated_by_its_arrival_does_not_say_how_far_the_simulation_is(tmp_path: Path) -> None:
    sorter, extruder = devices()
    three_hours = replace(
        sorter, time_ms=sorter.time_ms[:180], shown={"fibre_ratio": sorter.shown["fibre_ratio"][:180]}
    )
    known = system(tmp_path, measured=(three_hours,))
    suspect = dict.fromkeys(range(720), CLOCK_SUSPECT)
    known.store.write([block(extruder, {"melt_temp": suspect, "current": suspect})])
    result = score(write_truth(tmp_path / "truth", faults=(fault("later", start=3.5),)), known)
    assert result.faults == ()


def test_a_line_of_which_nothing_came_is_scored_whole(tmp_path: Path) -> None:
    truth = write_truth(tmp_path / "truth", faults=(fault(),))
    result = score(truth, system(tmp_path, measured=()))
    assert len(result.missed) == 1
    assert result.days == 0.5


def test_a_further_part_of_the_system_may_conclude_too(tmp_path: Path) -> None:
    clog = fault(start=3.0, stop=4.0)
    alarm = conclusion(start=3.1)

    def alarms(*_: object) -> list[Conclusion]:
        return [alarm]

    result = score(write_truth(tmp_path / "truth", faults=(clog,)), system(tmp_path), further=[alarms])
    assert result.faults[0].first == alarm
    assert result.conclusions == (alarm,)


def test_the_truth_of_another_plant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="FILIERE_PLANT"):
        scored(tmp_path, plant="ff" * 32)


def test_two_thirds_of_the_work_are_told_as_such(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    score(write_truth(tmp_path / "truth"), system(tmp_path), note=lambda *step: told.append(step))
    assert told == [(0, 2), (1, 2)]


# --------------------------------------------------------------------------------------------------------- shown


def all_of_it(tmp_path: Path) -> Score:
    """A fault that was found, one that was missed, one without a time, a false alarm, a wrong verdict."""
    faults = (
        fault("clog", start=3.0, stop=4.0),
        fault("stuck", kind="sensor_stuck", layer=Layer.SENSOR, target="sorter.fibre_ratio", start=1, stop=2),
        fault("twice", kind="duplicate", layer=Layer.NETWORK, start=5, stop=6),
    )
    count = conclusion(
        source=Source.ACCOUNTS,
        start=0,
        stop=12,
        known=None,
        targets=("extruder",),
        alarm=False,
        kinds=frozenset({"duplicate"}),
        words=Label(fr="7 en double", en="7 twice"),
    )
    known = write_truth(tmp_path / "truth", measured=devices(GOOD | {"extruder.melt_temp": 180.0}), faults=faults)
    lone = conclusion(start=9.0, words=Label(fr="pour rien\x1b[2J", en="for nothing"))
    return score(known, system(tmp_path, measured=HOT), further=[lambda *_: [count, lone]])


def test_the_table_says_the_five_numbers_in_french(tmp_path: Path) -> None:
    text = printed(all_of_it(tmp_path))
    for words in (
        "Scénario by-hand, graine 1 : lignes 1, jours de marche 0,50, lots 1",
        "médiane 20 min, au plus 20 min",
        "1 sur 3",
        "2,00 par jour de marche d'une ligne (1 en tout)",
        "0 g en moyenne, au plus 0 g",
        "1 sur 1 (libérés à tort 1, retenus à tort 0 ; retenus par prudence 0)",
        "MANQUÉE",
        "sans date",
        "Filtre qui se colmate (procédé)",
        "libéré à tort",
    ):
        assert words in text


def test_the_table_speaks_english_when_asked(tmp_path: Path) -> None:
    text = printed(all_of_it(tmp_path), "en")
    for words in ("median 20 min", "1 of 3", "2.00 a line's day of work", "MISSED", "no time", "wrongly released"):
        assert words in text


def test_nothing_in_the_table_moves_the_cursor(tmp_path: Path) -> None:
    assert "\x1b[2J" not in printed(all_of_it(tmp_path))


def test_many_kinds_of_false_alarms_are_not_all_shown(tmp_path: Path) -> None:
    alarms = [conclusion(start=9 + place / 100, targets=(f"d{place}.s",)) for place in range(30)]
    result = replace(scored(tmp_path), false_alarms=tuple(alarms))
    assert "… et 10 autres : --json" in printed(result)


def test_false_alarms_that_say_the_same_are_counted_together() -> None:
    alarms = (conclusion(start=1), conclusion(start=9, targets=("d.s",)), *(conclusion(start=hour) for hour in (2, 3)))
    assert [(each.start_ns, count) for each, count in alike(alarms)] == [(at(1), 3), (at(9), 1)]


def test_lots_that_are_plainly_right_are_only_counted(tmp_path: Path) -> None:
    text = printed(scored(tmp_path))
    assert "Lots conformes et libérés : 1." in text
    assert "G1" not in text


def test_json_has_all_of_it_and_is_json(tmp_path: Path) -> None:
    document = json.loads(json.dumps(score_json(all_of_it(tmp_path)), allow_nan=False))
    assert document["summary"] == {
        "faults": 3,
        "missed": 1,
        "absorbed": 0,
        "median_delay_s": 1200.0,
        "largest_delay_s": 1200.0,
        "false_alarms": 1,
        "false_alarms_a_day_of_work": 2.0,
        "false_alarms_by_source": {"limits": 1},
        "mean_balance_error_g": 0.0,
        "largest_balance_error_g": 0.0,
        "largest_balance_error_percent": 0.0,
        "lots": 1,
        "verdicts": {"right": 0, "cautious": 0, "wrongly_released": 1, "wrongly_held": 0},
    }
    assert [each["label"] for each in document["faults"]] == ["stuck", "clog", "twice"]
    assert document["faults"][1]["delay_s"] == 1200.0
    assert document["lines"][LINE]["stop"] == "2026-09-22T02:13:20.000Z"
    assert document["lots"][0]["outcome"] == "wrongly_released"
    assert at(12) == 1_790_043_200 * 10**9
