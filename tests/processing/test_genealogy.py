from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiere.chain import Chain, fold
from filiere.errors import NotFound
from filiere.events import RESIDUE, Event
from processing.genealogy import INPUT, OUTPUT, in_order, trace
from tests.processing.builders import portion, received, run, two_step_chain


def diamond(levels: int) -> tuple[Event, ...]:
    """Each level: one lot split into two runs, both used by the next."""
    events: list[Event] = [received("L0", 10_000)]
    for level in range(levels):
        at = 10 * (level + 1)
        kg = 2_000 // 2**level
        for side in "ab":
            name = f"L{level}{side}"
            events += run(f"R-{name}", [portion(f"L{level}", kg)], [portion(name, kg)], start=at, stop=at + 1)
        below = [portion(f"L{level}{side}", kg) for side in "ab"]
        joined = f"L{level + 1}"
        events += run(f"R-{joined}", below, [portion(joined, 2 * kg)], start=at + 2, stop=at + 3)
    return tuple(events)


def names(chain: Chain, lot: str, direction: str) -> tuple[set[str], list[str]]:
    found = trace(chain, lot, direction)  # type: ignore[arg-type]  # a parameter of the test
    return {each.id for each in found.lots}, [each.id for each in found.runs]


def test_back_finds_what_lies_behind_and_nothing_beside() -> None:
    lots, runs = names(two_step_chain(), "G1", "back")
    assert lots == {"A", "B", "S1", "G1"}
    assert runs == ["R1", "R2"]


def test_forward_finds_products_and_residues() -> None:
    lots, runs = names(two_step_chain(), "A", "forward")
    assert lots == {"A", "S1", "X1", "G1", "P1"}
    assert runs == ["R1", "R2"]


def test_edges_carry_the_masses_that_passed() -> None:
    edges = {(edge.kind, edge.run, edge.lot): edge.mass_kg for edge in trace(two_step_chain(), "G1", "back").edges}
    assert edges == {
        (INPUT, "R1", "A"): Decimal(500),
        (INPUT, "R1", "B"): Decimal(500),
        (OUTPUT, "R1", "S1"): Decimal(800),
        (INPUT, "R2", "S1"): Decimal(790),
        (OUTPUT, "R2", "G1"): Decimal(760),
    }


def test_a_diamond_counts_each_lot_and_run_once() -> None:
    chain = fold(diamond(8))
    lots, runs = names(chain, "L8", "back")
    assert len(lots) == len(chain.lots)
    assert len(runs) == len(set(runs)) == 24
    forward, _ = names(chain, "L0", "forward")
    assert forward == lots


def test_a_received_lot_has_nothing_behind_it() -> None:
    found = trace(two_step_chain(), "A", "back")
    assert ([lot.id for lot in found.lots], found.runs, found.edges) == (["A"], (), ())


def test_a_residue_has_nothing_ahead_of_it() -> None:
    assert trace(two_step_chain(), "X1", "forward").runs == ()


def test_an_unknown_lot_is_said() -> None:
    with pytest.raises(NotFound, match="no lot 'Z'"):
        trace(two_step_chain(), "Z", "back")


def test_what_is_back_of_one_is_forward_of_the_other() -> None:
    chain = fold(diamond(3))
    for one in chain.lots:
        for other in names(chain, one, "back")[0]:
            assert one in names(chain, other, "forward")[0]


@given(st.permutations(diamond(3)))
def test_runs_stand_after_those_that_feed_them_whatever_the_order_of_arrival(events: list[Event]) -> None:
    chain = fold(events)
    ordered = [each.id for each in in_order(chain.runs.values())]
    assert ordered == [each.id for each in trace(fold(diamond(3)), "L3", "back").runs]
    seen: set[str] = set()
    for each in ordered:
        makers = {chain.lots[p.lot].run for p in chain.runs[each].inputs} - {None}
        assert makers <= seen
        seen.add(each)


def test_runs_that_begin_and_end_at_one_instant_still_stand_in_their_order() -> None:
    chain = fold(
        (
            received("A"),
            *run("Z", [portion("A", 100)], [portion("M", 100)], start=1, stop=1),
            *run("B", [portion("M", 100)], [portion("N", 99), portion("X", 1, role=RESIDUE)], start=1, stop=1),
        )
    )
    assert [each.id for each in trace(chain, "N", "back").runs] == ["Z", "B"]


def test_runs_that_do_not_feed_each_other_stand_by_their_start_not_their_name() -> None:
    chain = fold(
        (
            received("A"),
            received("B"),
            *run("R9", [portion("A", 500)], [portion("S9", 500, material="sorted")], start=1, stop=2),
            *run("R1", [portion("B", 500)], [portion("S1", 500, material="sorted")], start=1.5, stop=2),
            *run(
                "R2",
                [portion("S9", 500, material="sorted"), portion("S1", 500, material="sorted")],
                [portion("G1", 1000)],
                start=3,
                stop=4,
            ),
        )
    )
    assert [each.id for each in trace(chain, "G1", "back").runs] == ["R9", "R1", "R2"]
