from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiere.chain import Chain, fold
from filiere.errors import BalanceError, NotFound
from filiere.events import ORIGINS, RESIDUE, Event, Portion
from processing.claims import claim
from processing.genealogy import trace
from tests.processing.builders import portion, received, run, two_step_chain, two_step_events

EXACT = {"moisture": Decimal(0), "u_moisture": Decimal(0)}
VIRGIN = {"virgin": Decimal(1)}


def blend(*inputs: Portion, extra: tuple[Event, ...] = ()) -> Chain:
    """The inputs blended into lot G; B is virgin, everything else post-consumer."""
    lots = {each.lot for each in inputs}
    out_kg = sum(each.dry_kg for each in inputs)
    return fold(
        (
            *(received(lot, 1000, origin=VIRGIN) if lot == "B" else received(lot, 1000) for lot in sorted(lots)),
            *extra,
            *run("R", inputs, [portion("G", str(out_kg), **EXACT)], start=10, stop=11),
        )
    )


def test_recycled_content_is_recycled_dry_mass_over_dry_mass() -> None:
    made = claim(blend(portion("A", 300, **EXACT), portion("B", 700, **EXACT)), "G")
    assert made.recycled == Decimal("0.3")
    assert made.origin == {
        "post_consumer": Decimal("0.3"),
        "pre_consumer": Decimal(0),
        "virgin": Decimal("0.7"),
        "bio_based": Decimal(0),
        "unevidenced": Decimal(0),
    }


def test_water_is_not_material() -> None:
    wet = portion("A", 400, moisture=Decimal("0.25"), u_moisture=Decimal(0))
    assert claim(blend(wet, portion("B", 700, **EXACT)), "G").recycled == Decimal("0.3")


def test_a_lot_without_evidence_does_not_count_and_stays_in_the_denominator() -> None:
    made = claim(two_step_chain(evidence=""), "G1")
    assert made.recycled == Decimal("0.5")
    assert made.origin["unevidenced"] == Decimal("0.5")


def test_flax_is_bio_based_and_never_recycled() -> None:
    chain = fold(
        (
            received("F", 300, origin={"bio_based": Decimal(1)}),
            *run("R", [portion("F", 300)], [portion("G", 300)], start=1, stop=2),
        )
    )
    assert claim(chain, "G").recycled == 0
    assert claim(chain, "G").origin["bio_based"] == 1


def test_post_and_pre_consumer_are_kept_apart_and_add_up() -> None:
    chain = fold(
        (
            received("A", 300, origin={"post_consumer": Decimal("0.6"), "pre_consumer": Decimal("0.4")}),
            *run("R", [portion("A", 300)], [portion("G", 300)], start=1, stop=2),
        )
    )
    made = claim(chain, "G")
    assert (made.origin["post_consumer"], made.origin["pre_consumer"]) == (Decimal("0.6"), Decimal("0.4"))
    assert made.recycled == 1


def test_residues_leave_with_the_same_mix() -> None:
    without = claim(blend(portion("A", 300), portion("B", 700)), "G")
    chain = fold(
        (
            received("A", 1000),
            received("B", 1000, origin=VIRGIN),
            *run(
                "R",
                [portion("A", 300), portion("B", 700)],
                [portion("G", 600), portion("X", 400, role=RESIDUE)],
                start=1,
                stop=2,
            ),
        )
    )
    assert claim(chain, "G").origin == without.origin
    assert claim(chain, "X").origin == without.origin


def test_a_received_lot_claims_what_its_evidence_proves() -> None:
    made = claim(two_step_chain(), "A")
    assert (made.recycled, made.u95, made.custody_model) == (Decimal(1), Decimal(0), "identity_preserved")


@pytest.mark.parametrize(
    ("lots", "model"),
    [(("A",), "identity_preserved"), (("A", "C"), "segregated"), (("A", "B"), "controlled_blending")],
)
def test_custody_model_only_degrades(lots: tuple[str, ...], model: str) -> None:
    assert claim(blend(*(portion(lot, 100) for lot in lots)), "G").custody_model == model


def test_equal_origins_leave_nothing_uncertain() -> None:
    assert claim(blend(portion("A", 300), portion("C", 700)), "G").u95 == 0


def test_u95_of_a_blend_is_the_textbook_one() -> None:
    # x = a/(a + b), u(a) = 3, u(b) = 4: u = √((b·u_a)² + (a·u_b)²)/(a + b)²
    chain = blend(portion("A", 300, u_kg=Decimal(3), **EXACT), portion("B", 700, u_kg=Decimal(4), **EXACT))
    expected = 2 * ((700 * 3) ** 2 + (300 * 4) ** 2) ** 0.5 / 1000**2
    assert float(claim(chain, "G").u95) == pytest.approx(expected, abs=6e-7)


def test_a_lot_used_twice_is_correlated() -> None:
    """Its one moisture moves both uses together: more uncertain than two lots measured apart."""
    uncertain = {"u_kg": Decimal(0), "moisture": Decimal("0.1"), "u_moisture": Decimal("0.02")}
    sure = {"u_kg": Decimal(0), **EXACT}

    def twice(second: str) -> Chain:
        return fold(
            (
                received("A", 1000),
                received("C", 1000),
                received("B", 1000, origin=VIRGIN),
                *run("R1", [portion("A", 200, **uncertain)], [portion("M", 180, **sure)], start=1, stop=2),
                *run(
                    "R2",
                    [portion("A", 200, **uncertain), portion(second, 200, **uncertain), portion("B", 500, **sure)],
                    [portion("G", 860, **sure)],
                    start=3,
                    stop=4,
                ),
            )
        )

    assert claim(twice("A"), "G").u95 > claim(twice("C"), "G").u95


@given(st.permutations(two_step_events(evidence="")))
def test_the_claim_does_not_depend_on_the_order_of_arrival(events: list[Event]) -> None:
    assert claim(fold(events), "G1") == claim(two_step_chain(evidence=""), "G1")


def test_an_unknown_lot_and_a_feed_of_water_are_said() -> None:
    with pytest.raises(NotFound):
        claim(two_step_chain(), "Z")
    water = fold(
        (
            received("A", 100),
            *run("R", [portion("A", 100, moisture=Decimal(1))], [portion("G", 0)], start=1, stop=2),
        )
    )
    with pytest.raises(BalanceError, match="no dry mass"):
        claim(water, "G")


# --- sensitivities against central differences, on any graph -------------------------------------------------------

origins = st.lists(st.integers(min_value=0, max_value=20), min_size=5, max_size=5).filter(any)
tenths = st.integers(min_value=1, max_value=10)


def _origin(parts: list[int]) -> Mapping[str, Decimal]:
    """Parts in twentieths of whatever they sum to, as decimals that sum to exactly 1."""
    total = sum(parts)
    shares = [Decimal(part * 1000 // total) / 1000 for part in parts[:-1]]
    return dict(zip(ORIGINS, [*shares, 1 - sum(shares, Decimal(0))], strict=True))


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    """Two to four received lots, then up to four runs that blend whatever exists, each 60 times smaller than the last.

    So a lot is never drawn beyond what there is, even by every later run.
    """
    events: list[Event] = []
    lots: list[str] = []
    moisture: dict[str, dict[str, Any]] = {}
    for i in range(draw(st.integers(min_value=2, max_value=4))):
        evidence = draw(st.sampled_from(["", "BL"]))
        events.append(received(f"A{i}", 100_000, origin=_origin(draw(origins)), evidence=evidence))
        lots.append(f"A{i}")
    for r in range(draw(st.integers(min_value=1, max_value=4))):
        used = draw(st.lists(st.sampled_from(lots), min_size=1, max_size=4))
        inputs = []
        unit_kg = Decimal(216) / 60**r
        for lot in used:
            measured = moisture.setdefault(
                lot, {"moisture": Decimal(draw(tenths)) / 50, "u_moisture": Decimal(draw(tenths)) / 1000}
            )
            kg, u_kg = draw(tenths) * unit_kg, draw(tenths) * unit_kg / 100
            inputs.append(portion(lot, str(kg), u_kg=u_kg, **measured))
        made = f"G{r}"
        out_kg = sum((each.dry_kg for each in inputs), Decimal(0))
        events += run(f"R{r}", inputs, [portion(made, str(out_kg), **EXACT)], start=10 * r + 1, stop=10 * r + 2)
        lots.append(made)
    return fold(events)


def _recycled_with(chain: Chain, lot: str, shift: Mapping[tuple[str, ...], Fraction]) -> Fraction:
    """Recycled content, exact, with some measurements moved: forwards, with no sensitivity anywhere."""
    content: dict[str, Fraction] = {}
    for each in chain.lots.values():
        if each.received is not None:
            proven = bool(each.received.evidence)
            recycled = sum(each.received.origin.get(name, Decimal(0)) for name in ("post_consumer", "pre_consumer"))
            content[each.id] = Fraction(recycled) if proven else Fraction(0)
    for each_run in trace(chain, lot, "back").runs:
        top = bottom = Fraction(0)
        for i, p in enumerate(each_run.inputs):
            kg = Fraction(p.mass_kg) + shift.get(("mass", each_run.id, str(i)), Fraction(0))
            w = Fraction(p.moisture) + shift.get(("moisture", p.lot, str(p.moisture), str(p.u_moisture)), Fraction(0))
            top += kg * (1 - w) * content[p.lot]
            bottom += kg * (1 - w)
        for p in each_run.outputs:
            content[p.lot] = top / bottom
    return content[lot]


@given(chains())
def test_sensitivities_agree_with_central_differences(chain: Chain) -> None:
    lot = max(chain.runs.values(), key=lambda each: each.start_ns).lot
    sizes: dict[tuple[str, ...], Fraction] = defaultdict(Fraction)
    for each_run in trace(chain, lot, "back").runs:
        for i, p in enumerate(each_run.inputs):
            sizes[("mass", each_run.id, str(i))] = Fraction(p.u_kg)
            sizes[("moisture", p.lot, str(p.moisture), str(p.u_moisture))] = Fraction(p.u_moisture)
    step = Fraction(1, 10**9)
    variance = Fraction(0)
    for name, u in sizes.items():
        rise = _recycled_with(chain, lot, {name: step}) - _recycled_with(chain, lot, {name: -step})
        variance += (rise / (2 * step) * u) ** 2
    assert float(claim(chain, lot).u95) == pytest.approx(2 * float(variance) ** 0.5, abs=2e-6)


@given(chains())
def test_origins_sum_to_exactly_one_and_recycled_is_post_plus_pre(chain: Chain) -> None:
    for lot in chain.lots:
        made = claim(chain, lot)
        assert sum(made.origin.values(), Decimal(0)) == 1
        assert made.recycled == made.origin["post_consumer"] + made.origin["pre_consumer"]
        assert abs(Fraction(made.recycled) - _recycled_with(chain, lot, {})) <= Fraction(2, 10**6)


def test_two_portions_that_state_one_moisture_share_it_even_in_one_run() -> None:
    weighed = {"u_kg": Decimal(0), "u_moisture": Decimal("0.01")}
    sure = portion("B", 500, u_kg=Decimal(0), **EXACT)
    split = claim(blend(portion("A", 250, **weighed), portion("A", 250, **weighed), sure), "G")
    whole = claim(blend(portion("A", 500, **weighed), sure), "G")
    remeasured = replace(portion("A", 250, **weighed), u_moisture=Decimal("0.0100001"))
    apart = claim(blend(portion("A", 250, **weighed), remeasured, sure), "G")
    assert split.u95 == whole.u95 > apart.u95
