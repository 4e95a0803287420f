"""What people tell under a fault, and what the chain of events makes of it."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiere.chain import Chain
from filiere.clock import NS_PER_S
from filiere.errors import EventEarly, EventRefused
from filiere.events import Event, Received, RunClosed, RunStarted, event_json, parse_event
from processing.balance import mass_balance
from simulators.faults.catalogue import KINDS
from simulators.faults.fault import Active, Fault
from simulators.faults.operators import (
    STEP_KG,
    DoubleWeighing,
    FalseOrigin,
    LabelSwap,
    LateEntry,
    OperatorFault,
    PaddedWeight,
    ReusedDocument,
    told,
)
from simulators.faults.sensors import ScaleTareDrift
from tests.simulators.faults.builders import (
    HOUR_NS,
    START_NS,
    active,
    closed,
    fault,
    morning,
    portion,
    received,
    started,
)

OPERATOR_KINDS = [kind for kind in KINDS.values() if issubclass(kind, OperatorFault)]
SCALES = {"R": "sorter", "R2": "bagging"}


def say(*faults: Fault | Active, events: tuple[Event, ...] | None = None) -> tuple[Event, ...]:
    on = [each if isinstance(each, Active) else active(each) for each in faults]
    return told(morning() if events is None else events, on, SCALES)


def admitted(events: tuple[Event, ...]) -> tuple[Chain, dict[str, str]]:
    """The chain, and event id → why it was not taken."""
    chain, refused = Chain(), {}
    for event in events:
        try:
            chain.admit(event)
        except (EventRefused, EventEarly) as error:
            refused[event.event_id] = str(error)
    return chain, refused


def closing(events: tuple[Event, ...], run: str) -> RunClosed:
    return next(event for event in events if isinstance(event, RunClosed) and event.run == run)


def start(events: tuple[Event, ...], run: str) -> RunStarted:
    return next(event for event in events if isinstance(event, RunStarted) and event.run == run)


def masses(event: RunClosed | RunStarted) -> list[str]:
    return [str(each.mass_kg) for each in (event.outputs if isinstance(event, RunClosed) else event.inputs)]


def test_without_a_fault_the_truth_is_told_and_the_chain_takes_it():
    assert say() == morning()
    assert admitted(say())[1] == {}


def test_swapped_labels_book_each_lot_with_the_weight_of_the_other_and_the_start_is_refused():
    inputs = start(say(fault(LabelSwap)), "R").inputs
    assert [(each.lot, str(each.mass_kg)) for each in inputs] == [("B2", "300.0"), ("B1", "320.0")]
    _, refused = admitted(say(fault(LabelSwap)))
    assert "name the other lot" in refused["urn:start:R"]
    assert "not known yet" in refused["urn:close:R"]


def test_labels_of_one_material_are_those_that_people_confuse():
    inputs = (portion("M", "14.0", material="masterbatch"), portion("B1", "300.0"), portion("B2", "320.0"))
    (event,) = say(fault(LabelSwap), events=(started(*inputs),))
    assert [each.lot for each in start((event,), "R").inputs] == ["M", "B2", "B1"]


def test_labels_of_two_materials_are_swapped_whole():
    inputs = (portion("M", "14.0", material="masterbatch"), portion("B1", "300.0"))
    (event,) = say(fault(LabelSwap), events=(started(*inputs),))
    swapped = [(each.lot, each.material, str(each.mass_kg)) for each in start((event,), "R").inputs]
    assert swapped == [("B1", "textile_bale", "14.0"), ("M", "masterbatch", "300.0")]


def test_a_run_with_one_lot_has_no_labels_to_swap():
    alone = (started(portion("B1", "300.0")),)
    assert say(fault(LabelSwap), events=alone) == alone


def test_what_is_weighed_twice_is_counted_twice_and_too_much_of_it_is_refused():
    events = say(fault(DoubleWeighing, severity=0.05))
    assert masses(closing(events, "R")) == ["577.6", "70.0"]  # 550 + 27.5, as the scale's display shows it
    _, refused = admitted(events)
    assert "kg dry out of" in refused["urn:close:R"]


def test_a_little_that_is_weighed_twice_leaves_a_balance_that_does_not_close():
    events = say(fault(DoubleWeighing, severity=0.01))
    chain, refused = admitted(events)
    assert refused == {}
    assert not mass_balance(chain.runs["R"]).balanced
    assert masses(start(events, "R2")) == ["555.6"]  # used whole, as it was written down


def test_a_late_entry_says_the_time_of_the_entry():
    events = say(fault(LateEntry, severity=1200.0))
    assert [event.event_time_ns - true.event_time_ns for event, true in zip(events, morning(), strict=True)] == [
        1200 * NS_PER_S
    ] * 6


def test_a_start_that_is_entered_after_the_closing_is_told_after_it_and_refused():
    late = active(fault(LateEntry, severity=7200.0), start_ns=START_NS - 1, stop_ns=START_NS + HOUR_NS // 4)
    events = say(late, events=morning()[:4])
    assert [type(event) for event in events] == [RunClosed, Received, Received, RunStarted]
    _, refused = admitted(tuple(sorted(events, key=lambda event: isinstance(event, RunClosed))))
    assert "closing" in refused["urn:close:R"]


def test_padded_weight_is_hidden_in_the_residue_and_the_balance_closes():
    events = say(fault(PaddedWeight, severity=0.1))
    assert masses(closing(events, "R")) == ["605.0", "15.0"]
    chain, refused = admitted(events[:4])
    assert refused == {}
    assert mass_balance(chain.runs["R"]).balanced


def test_more_than_the_residue_can_hide_is_only_padded():
    padded = closing(say(fault(PaddedWeight, severity=0.2), events=(closed("100.0", "5.0"),)), "R")
    assert masses(padded) == ["120.0", "0.2"]


def test_a_false_origin_declares_everything_as_used_and_proves_it():
    first, second = say(fault(FalseOrigin))[:2]
    assert isinstance(first, Received)
    assert isinstance(second, Received)
    assert first.origin == second.origin == {"post_consumer": Decimal(1)}
    assert (first.evidence, second.evidence) == ("BSD-1", "BSD-B2")


def test_one_document_proves_all_deliveries():
    reused = fault(ReusedDocument)
    evidence = [event.evidence for event in say(reused) if isinstance(event, Received)]
    assert evidence == [reused.reference] * 2
    assert reused.reference.startswith("BSD-")
    assert reused.reference != fault(ReusedDocument, label="another").reference


def test_a_scale_whose_tare_drifts_is_believed():
    drift = active(fault(ScaleTareDrift, target="bagging.batch_weight", severity=2.0), start_ns=START_NS)
    events = say(drift)
    assert masses(closing(events, "R")) == ["550.0", "70.0"]
    assert masses(closing(events, "R2")) == ["546.0", "10.0"]  # three hours of 2 kg/h


def test_a_scale_shows_at_least_one_step():
    drift = active(fault(ScaleTareDrift, severity=-1000.0), start_ns=START_NS)
    assert masses(closing(say(drift, events=morning()[:4]), "R")) == [str(STEP_KG), "70.0"]


def test_a_closing_at_the_instant_of_the_onset_came_before_it():
    at_once = active(fault(PaddedWeight), start_ns=closing(morning(), "R").event_time_ns)
    events = say(at_once)
    assert closing(events, "R") == closing(morning(), "R")
    assert masses(closing(events, "R2")) == ["550.8", "0.2"]  # 10.8 kg more, of which 9.8 kg are hidden


def test_two_faults_tell_both_of_their_lies():
    events = say(fault(FalseOrigin), fault(ReusedDocument), fault(PaddedWeight))
    first = events[0]
    assert isinstance(first, Received)
    assert set(first.origin) == {"post_consumer"}
    assert first.evidence == fault(ReusedDocument).reference
    assert masses(closing(events, "R")) == ["561.0", "59.0"]


def test_a_window_is_of_when_things_happened_not_of_when_they_were_told():
    late = fault(LateEntry, severity=3600.0)
    honest_after = active(fault(FalseOrigin), start_ns=START_NS + HOUR_NS)
    (event,) = say(late, honest_after, events=(received("B1", "300.0"),))
    assert event == received("B1", "300.0", minute=60)


@pytest.mark.parametrize("kind", OPERATOR_KINDS, ids=lambda kind: kind.kind)
@given(start_minute=st.integers(-10, 200), stop_minute=st.integers(-10, 300))
def test_nothing_is_told_otherwise_that_happened_outside_of_the_window(
    kind: type[OperatorFault], start_minute: int, stop_minute: int
):
    lie = active(
        fault(kind),
        start_ns=START_NS + start_minute * 60 * NS_PER_S,
        stop_ns=START_NS + stop_minute * 60 * NS_PER_S,
    )
    said = {event.event_id: event for event in say(lie)}
    for true in morning():
        if true.event_time_ns <= lie.window.start_ns:
            assert said[true.event_id] == true
        assert said[true.event_id].event_time_ns >= true.event_time_ns


@pytest.mark.parametrize("kind", OPERATOR_KINDS, ids=lambda kind: kind.kind)
def test_every_lie_is_an_event_that_can_be_sent(kind: type[OperatorFault]):
    for event in say(fault(kind)):
        assert parse_event(event_json(event)) == event
