"""Lots judged twice: by the system, and by who knows the truth."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from collector.recorder.book import ChunkRecord, RecordBook
from filiere.chain import fold
from filiere.events import Event, RunClosed, RunStarted
from filiere.plant import Label
from processing.files import certificate_path, keep_refusal
from simulators.faults.fault import Layer
from simulators.line.truth import Parent
from simulators.truth.conclusion import Source
from simulators.truth.flaws import wrongly_told
from simulators.truth.records import FaultTruth
from simulators.truth.score import score
from simulators.truth.verdicts import Decision, LotScore, Outcome, judge_lots
from tests.processing.builders import LINE, two_step_events
from tests.simulators.truth.builders import (
    GOOD,
    at,
    devices,
    fault,
    lot_truth,
    progress,
    system,
    true_runs,
    with_output,
    write_truth,
)

COLD = GOOD | {"extruder.melt_temp": 180.0}


def judged(
    tmp_path: Path, *, stored: object = None, events: Sequence[Event] | None = None, **truth: object
) -> LotScore:
    """The one lot that is sold."""
    known = write_truth(tmp_path / "truth", **truth)  # type: ignore[arg-type]  # a builder
    (lot,), _ = judge_lots(known, system(tmp_path, measured=stored, events=events))  # type: ignore[arg-type]  # same
    return lot


def told(run: str = "R2", events: Sequence[Event] | None = None, **fields: object) -> list[str]:
    """What is said to be wrong with a run's books, when its product is told otherwise."""
    changed = events or with_output(two_step_events(), run, **fields)
    truth = next(each for each in true_runs(two_step_events()) if each.id == run)
    return [label.en for label in wrongly_told(truth, fold(changed).runs[run])]


# ------------------------------------------------------------------------------------------------------- decisions


def test_a_good_lot_that_is_released_is_right(tmp_path: Path) -> None:
    lot = judged(tmp_path)
    assert (lot.lot, lot.decision, lot.word, lot.outcome) == ("G1", Decision.RELEASED, "pass", Outcome.RIGHT)
    assert (lot.start_ns, lot.stop_ns) == (at(1), at(4))


def test_a_bad_lot_that_is_released_is_wrong(tmp_path: Path) -> None:
    lot = judged(tmp_path, measured=devices(COLD), stored=devices(GOOD))
    assert lot.outcome is Outcome.WRONGLY_RELEASED
    assert [flaw.en for flaw in lot.flaws] == ["R2, melt_temp (en): true mean 180 Cel, limits 215 to 240"]


def test_a_bad_lot_that_is_held_is_right(tmp_path: Path) -> None:
    lot = judged(tmp_path, measured=devices(COLD), stored=devices(COLD))
    assert (lot.decision, lot.word, lot.outcome) == (Decision.WITHHELD, "fail", Outcome.RIGHT)


def test_a_good_lot_that_fails_is_wrong_whatever_the_fault(tmp_path: Path) -> None:
    drift = fault(kind="sensor_drift", layer=Layer.SENSOR, target="extruder.melt_temp", start=3, stop=4)
    lot = judged(tmp_path, stored=devices(COLD), faults=(drift,))
    assert lot.outcome is Outcome.WRONGLY_HELD


WITHOUT_MELT = {key: level for key, level in GOOD.items() if key != "extruder.melt_temp"}


def scored(tmp_path: Path, *faults: FaultTruth, absorbed: bool = False, **events: object) -> LotScore:
    """The one lot that is sold, its melt temperature never stored, beside faults."""
    known = system(tmp_path, measured=devices(WITHOUT_MELT), **events)  # type: ignore[arg-type]  # a builder
    if absorbed:  # every row is in the book, though the lot is held
        path = tmp_path / "recorder.sqlite"
        with RecordBook.open(path) as book:
            spans = [(f"{LINE}/{device}", "b0", 0, 719) for device in ("sorter", "extruder")]
            book.commit(ChunkRecord(progress=progress(), spans=spans))
        known = replace(known, recorder_path=path)
    (lot,) = score(write_truth(tmp_path / "truth", faults=faults), known).lots
    return lot


def network(kind: str = "dropped", target: str = "extruder", **fields: object) -> FaultTruth:
    return fault(kind=kind, layer=Layer.NETWORK, target=target, start=3, stop=4, **fields)


def test_a_good_lot_whose_readings_are_missing_is_held_to_be_careful(tmp_path: Path) -> None:
    lot = scored(tmp_path, network())
    assert (lot.word, lot.outcome, lot.held_for) == ("hold", Outcome.CAUTIOUS, ("f",))


@pytest.mark.parametrize(
    "other",
    [
        network("duplicate"),
        network("out_of_order"),
        network(target="sorter"),
        fault(kind="sensor_drift", layer=Layer.SENSOR, target="sorter.fibre_ratio", start=2, stop=3),
        fault(kind="screen_clog", start=3, stop=4),
    ],
)
def test_a_fault_that_cannot_be_why_it_is_held_excuses_nothing(tmp_path: Path, other: FaultTruth) -> None:
    assert scored(tmp_path, other).outcome is Outcome.WRONGLY_HELD


def test_a_fault_of_the_network_that_lost_nothing_excuses_nothing(tmp_path: Path) -> None:
    assert scored(tmp_path, network("outage"), absorbed=True).outcome is Outcome.WRONGLY_HELD


def test_an_undecided_lot_is_excused_by_what_took_the_terminals_words(tmp_path: Path) -> None:
    still_open = two_step_events()[:-1]
    assert scored(tmp_path, network(target="terminal"), events=still_open).outcome is Outcome.CAUTIOUS


def test_an_undecided_lot_is_not_excused_by_what_took_readings(tmp_path: Path) -> None:
    assert scored(tmp_path, network(), events=two_step_events()[:-1]).outcome is Outcome.WRONGLY_HELD


def test_a_good_lot_that_is_held_for_nothing_is_wrong(tmp_path: Path) -> None:
    assert judged(tmp_path, stored=devices(WITHOUT_MELT)).outcome is Outcome.WRONGLY_HELD


def test_a_lot_whose_run_is_still_open_is_undecided(tmp_path: Path) -> None:
    lot = judged(tmp_path, events=two_step_events()[:-1])
    assert (lot.decision, lot.word) == (Decision.UNDECIDED, None)


def test_a_lot_of_which_nobody_heard_is_undecided(tmp_path: Path) -> None:
    assert judged(tmp_path, events=two_step_events()[:2]).decision is Decision.UNDECIDED


def test_a_lot_whose_books_cannot_be_added_up_is_withheld(tmp_path: Path) -> None:
    nothing = [
        replace(event, inputs=tuple(replace(portion, mass_kg=Decimal(0)) for portion in event.inputs))
        if isinstance(event, RunStarted) and event.run == "R2"
        else event
        for event in two_step_events()
    ]
    known = system(tmp_path)
    runs = dict(known.chain.runs)
    runs["R2"] = replace(runs["R2"], inputs=nothing[-2].inputs)  # type: ignore[union-attr]  # a start
    chain = known.chain
    chain.runs.update(runs)
    (lot,), _ = judge_lots(write_truth(tmp_path / "truth"), known)
    assert (lot.decision, lot.word) == (Decision.WITHHELD, None)
    assert "no dry mass in" in lot.reasons[0].en


def test_a_certificate_goes_before_a_verdict_that_is_computed_now(tmp_path: Path) -> None:
    known = replace(system(tmp_path, measured=devices(COLD)), certificates_dir=tmp_path)
    certificate_path(tmp_path, "G1").write_bytes(b"{}")
    (lot,), _ = judge_lots(write_truth(tmp_path / "truth"), known)
    assert lot.decision is Decision.RELEASED


def test_a_refusal_gives_its_reasons(tmp_path: Path) -> None:
    known = replace(system(tmp_path), certificates_dir=tmp_path)
    keep_refusal(tmp_path, known.chain.runs["R2"], mass_kg=Decimal(1), reasons=[Label(fr="non", en="no")])
    (lot,), (said,) = judge_lots(write_truth(tmp_path / "truth"), known)
    assert lot.decision is Decision.WITHHELD
    assert lot.reasons == (Label(fr="non", en="no"),)
    assert said.words.en == "lot: certificate refused"


@pytest.mark.parametrize(
    ("conforms", "decision", "word", "excused", "expected"),
    [
        (True, Decision.RELEASED, "pass", False, Outcome.RIGHT),
        (True, Decision.RELEASED, "pass", True, Outcome.RIGHT),
        (True, Decision.WITHHELD, "hold", True, Outcome.CAUTIOUS),
        (True, Decision.WITHHELD, "hold", False, Outcome.WRONGLY_HELD),
        (True, Decision.WITHHELD, "conditional_pass", True, Outcome.CAUTIOUS),
        (True, Decision.WITHHELD, "fail", True, Outcome.WRONGLY_HELD),
        (True, Decision.WITHHELD, "conditional_fail", True, Outcome.WRONGLY_HELD),
        (True, Decision.UNDECIDED, None, True, Outcome.CAUTIOUS),
        (True, Decision.UNDECIDED, None, False, Outcome.WRONGLY_HELD),
        (False, Decision.RELEASED, "pass", True, Outcome.WRONGLY_RELEASED),
        (False, Decision.RELEASED, "pass", False, Outcome.WRONGLY_RELEASED),
        (False, Decision.WITHHELD, "fail", False, Outcome.RIGHT),
        (False, Decision.WITHHELD, "hold", True, Outcome.RIGHT),
        (False, Decision.UNDECIDED, None, True, Outcome.RIGHT),
    ],
)
def test_every_decision_has_one_outcome(conforms, decision, word, excused, expected) -> None:
    lot = LotScore(
        lot="G1",
        line="l",
        start_ns=0,
        stop_ns=1,
        flaws=() if conforms else (Label(fr="mauvais", en="bad"),),
        decision=decision,
        word=word,
        reasons=(),
        held_for=("f",) if excused else (),
    )
    assert lot.outcome is expected


# ----------------------------------------------------------------------------------------------------- conclusions


def test_a_lot_that_is_not_released_is_a_conclusion_on_all_its_runs(tmp_path: Path) -> None:
    _, (said,) = judge_lots(write_truth(tmp_path / "truth"), system(tmp_path, measured=devices(COLD)))
    assert (said.source, said.lot, said.words.en) == (Source.RELEASE, "G1", "lot: fail")
    assert (said.start_ns, said.stop_ns, said.known_ns) == (at(1), at(4), at(4))


def test_a_released_lot_is_no_conclusion(tmp_path: Path) -> None:
    _, said = judge_lots(write_truth(tmp_path / "truth"), system(tmp_path))
    assert said == []


# ----------------------------------------------------------------------------------------------------------- flaws


def test_what_was_told_as_it_was_has_no_flaw() -> None:
    assert told() == []


def test_a_weighing_within_its_uncertainty_is_honest() -> None:
    assert told(mass_kg=Decimal(762)) == []


def test_a_padded_weight_is_a_flaw() -> None:
    assert told(mass_kg=Decimal(770)) == ["R2, outputs: G1 told +9.9 kg off its true dry mass"]


def test_another_lot_than_was_written_down_is_a_flaw() -> None:
    swapped = [
        replace(event, inputs=(replace(event.inputs[0], lot="A"), *event.inputs[1:]))
        if isinstance(event, RunStarted) and event.run == "R2"
        else event
        for event in two_step_events()
    ]
    truth = next(each for each in true_runs(two_step_events()) if each.id == "R2")
    run = replace(fold(two_step_events()).runs["R2"], inputs=swapped[-2].inputs)  # type: ignore[union-attr]  # a start
    assert [label.en for label in wrongly_told(truth, run)] == ["R2, inputs: other lots than were written down (A, S1)"]


def test_a_run_that_was_told_an_hour_late_is_a_flaw() -> None:
    late = [
        replace(event, event_time_ns=at(5)) if isinstance(event, RunClosed) and event.run == "R2" else event
        for event in two_step_events()
    ]
    assert told(events=late) == ["R2: times told 3600 s off"]


def test_an_origin_that_is_not_true_is_a_flaw(tmp_path: Path) -> None:
    lot = judged(tmp_path, lots=(lot_truth("G1", run="R2", origin={"post_consumer": 0.5, "virgin": 0.5}),))
    assert [flaw.en for flaw in lot.flaws] == ["G1: recycled content claimed 100.0%, true 50.0%"]
    assert lot.outcome is Outcome.WRONGLY_RELEASED


def test_a_substance_that_no_lot_brought_is_a_flaw(tmp_path: Path) -> None:
    made_of = (Parent(lot="S1", dry_g=782_100, water_g=0),)
    lots = (
        lot_truth("S1", composition={"pp": 0.95, "pet": 0.05}),
        lot_truth("G1", run="R2", composition={"pp": 0.70, "pet": 0.30}, parents=made_of),
    )
    lot = judged(tmp_path, lots=lots)
    assert [flaw.en for flaw in lot.flaws] == ["G1: 25.0% of 'pet' that its lots did not have"]


def test_sorting_enriches_and_is_no_flaw(tmp_path: Path) -> None:
    made_of = (Parent(lot="A", dry_g=495_000, water_g=0), Parent(lot="B", dry_g=495_000, water_g=0))
    bale = {"pp": 0.80, "cotton": 0.20}
    sorted_ = lot_truth("S1", run="R1", composition={"pp": 0.96, "cotton": 0.04}, parents=made_of)
    lot = judged(tmp_path, lots=(lot_truth("A", composition=bale), lot_truth("B", composition=bale), sorted_))
    assert lot.conforms


def test_what_was_there_before_the_truth_began_is_not_judged(tmp_path: Path) -> None:
    of_old = lot_truth("G1", run="R2", composition={"pet": 1.0}, parents=(Parent(lot="OLD", dry_g=1, water_g=0),))
    assert judged(tmp_path, lots=(of_old,)).conforms


def test_less_than_is_true_may_be_claimed(tmp_path: Path) -> None:
    lot = judged(tmp_path, events=two_step_events(evidence=""), lots=(lot_truth("G1", run="R2"),))
    assert lot.conforms


def test_a_document_of_another_delivery_is_a_flaw(tmp_path: Path) -> None:
    reused = fault(kind="reused_document", layer=Layer.OPERATOR, target="", start=0.2, stop=0.8)
    lot = judged(tmp_path, faults=(reused,), lots=(lot_truth("A", hours=0.1), lot_truth("B", hours=0.5)))
    assert [flaw.en for flaw in lot.flaws] == ["B: the document is of another delivery"]
