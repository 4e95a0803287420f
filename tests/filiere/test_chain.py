import random
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiere.chain import Chain, fold
from filiere.errors import EventEarly, EventRefused
from filiere.events import RESIDUE, Event
from tests.chain_events import closed, portion, received, started, two_steps


def chain_of(*events: Event) -> Chain:
    return fold(events)


def refuse(chain: Chain, event: Event, match: str) -> None:
    """The event is refused with the words, and the chain is as it was."""
    before = deepcopy((chain.lots, chain.runs))
    with pytest.raises(EventRefused, match=match):
        chain.admit(event)
    assert (chain.lots, chain.runs) == before


def test_more_mass_out_than_in_is_refused():
    chain = chain_of(received(), started())
    refuse(chain, closed("R1", portion("S1", "600", "sorted_textile")), r"got 600\.0 kg dry out of 500\.0 kg dry in")


def test_a_gain_within_two_percent_is_recorded_for_the_release_to_judge():
    chain = chain_of(received(), started())
    assert chain.admit(closed("R1", portion("S1", "509", "sorted_textile")))


def test_water_gained_by_flax_is_not_a_gain_of_matter():
    chain = chain_of(received(), started())
    assert chain.admit(closed("R1", portion("S1", "560", "sorted_textile", moisture="0.11")))


def test_a_lot_used_before_it_exists_is_refused():
    chain = chain_of(received(at=5))
    refuse(chain, started(at=1), "before it existed")


def test_a_lot_that_nobody_knows_makes_the_event_wait():
    chain = Chain()
    with pytest.raises(EventEarly, match="lot B1 is not known yet"):
        chain.admit(started())
    assert not chain.runs


def test_a_second_closing_is_refused():
    chain = chain_of(received(), started(), closed())
    refuse(chain, closed("R1", portion("S9", "10"), at=3, event_id="urn:test:again"), "second closing")


def test_a_second_start_of_a_run_is_refused():
    chain = chain_of(received(), started())
    refuse(chain, started("R1", "S2", event_id="urn:test:again"), "second start")


def test_a_lot_made_out_of_itself_is_refused():
    chain = chain_of(received())
    refuse(chain, started("R1", "S1", portion("S1")), "out of itself")


def test_a_circle_through_a_lot_that_exists_is_refused():
    chain = chain_of(received(), started(), closed())
    refuse(chain, started("R2", "B1", portion("S1", "450", "sorted_textile"), at=3), "lot B1: it exists since")


def test_more_taken_from_a_lot_than_is_left_is_refused():
    chain = chain_of(received("B1", "500"), started("R1", "S1", portion("B1", "300")))
    refuse(chain, started("R2", "S2", portion("B1", "201"), at=2), "expected at most the 200 kg left")


def test_a_residue_is_not_an_input():
    chain = chain_of(received(), started(), closed())
    again = started("R2", "S2", portion("S1-reject", "50", "sorting_reject"), at=3)
    refuse(chain, again, "residue S1-reject as an input")


def test_another_material_than_the_lot_is_made_of_is_refused():
    chain = chain_of(received())
    refuse(chain, started("R1", "S1", portion("B1", "500", "virgin_pp")), "expected textile_bale")


def test_a_closing_before_the_start_is_refused():
    chain = chain_of(received(), started(at=4))
    refuse(chain, closed(at=3), "expected one after its start")


def test_a_closing_on_another_line_is_refused():
    chain = chain_of(received(), started())
    refuse(chain, closed(line="caux/flax/f1"), "expected caux/textile/t1")


def test_a_closing_without_the_lot_named_at_the_start_is_refused():
    chain = chain_of(received(), started())
    refuse(chain, closed("R1", portion("S1", "450", role=RESIDUE)), "no product S1")


def test_a_lot_twice_among_the_outputs_is_refused():
    chain = chain_of(received(), started())
    refuse(chain, closed("R1", portion("S1", "200"), portion("S1", "200")), "twice among the outputs")


def test_a_lot_received_twice_is_refused():
    chain = chain_of(received())
    refuse(chain, received(event_id="urn:test:again"), "it exists since")


def test_a_lot_that_a_run_is_making_is_not_received():
    chain = chain_of(received(), started("R1", "S1"))
    refuse(chain, received("S1", "10"), "lot S1: run R1 makes it")
    assert chain.admit(closed())


def test_a_lot_that_a_run_is_making_does_not_come_out_of_another():
    chain = chain_of(received(), started("R1", "S1", portion("B1", "200")), started("R2", "S2", portion("B1", "200")))
    other = closed("R2", portion("S2", "100", "sorted_textile"), portion("S1", "50", "sorting_reject", role=RESIDUE))
    refuse(chain, other, "lot S1: run R1 makes it")


def test_a_closing_that_was_refused_is_sent_again_corrected():
    chain = chain_of(received(), started())
    refuse(chain, closed("R1", portion("S1", "900", "sorted_textile")), "expected at most 2%")
    assert chain.admit(closed(event_id="urn:test:corrected"))


def test_the_same_event_again_changes_nothing():
    chain = chain_of(received())
    assert not chain.admit(received())


def test_another_event_under_a_known_id_is_refused():
    chain = chain_of(received("B1"))
    refuse(chain, received("B2", event_id="urn:test:receive-B1"), "got another event with eventID")


def test_stock_is_what_was_weighed_less_what_was_taken():
    chain = chain_of(received("B1", "500"), started("R1", "S1", portion("B1", "120.5")))
    assert str(chain.stock_kg("B1")) == "379.5"


def test_the_open_run_is_the_line_s_own():
    chain = chain_of(received(), started())
    assert chain.open_run("caux/textile/t1") is chain.runs["R1"]
    assert chain.open_run("caux/flax/f1") is None


@given(st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(order: random.Random):
    events = two_steps()
    straight = fold(events)
    order.shuffle(events)
    shuffled = fold(events)
    assert shuffled.lots == straight.lots
    assert shuffled.runs == straight.runs
    assert {lot: shuffled.users(lot) for lot in straight.lots} == {lot: straight.users(lot) for lot in straight.lots}


def test_folding_a_set_with_a_hole_says_what_is_missing():
    with pytest.raises(EventEarly, match="lot B1"):
        fold([started()])
