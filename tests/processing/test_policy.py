from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal

import pytest

from filiere.chain import Chain, fold
from filiere.errors import PolicyRefused
from processing.issue import make_candidate, run_that_makes, runs_behind
from processing.policy import (
    ISSUE_POLICY,
    AllOf,
    BalancesHold,
    Candidate,
    ChainIsComplete,
    IssueRefused,
    OriginsSumToOne,
    Policy,
    ReadingsAreSealed,
    RunIsClosed,
    VerdictIsPass,
)
from processing.quality import fetch_run, run_statistics
from processing.release import Verdict
from tests.processing.builders import MemoryStore, label, plant, portion, received, run, two_step_chain


def candidate(chain: Chain | None = None, lot: str = "G1") -> Candidate:
    chain = chain or two_step_chain()
    making = run_that_makes(chain, lot)
    sealed = {each.id: fetch_run(plant(), MemoryStore(), each) for each in runs_behind(chain, making) if each.closed}
    statistics = {each: run_statistics(plant(), chain.runs[each], readings) for each, readings in sealed.items()}
    return make_candidate(plant(), chain, making, sealed=sealed, statistics=statistics)


def still_open() -> Candidate:
    return candidate(fold((received("A"), *run("R", [portion("A", 500)], [portion("G1", 500)], start=1, stop=None))))


def test_a_good_lot_passes() -> None:
    ISSUE_POLICY.check(candidate())


def test_an_empty_policy_is_refused() -> None:
    with pytest.raises(PolicyRefused, match="No issue policy"):
        AllOf(()).check(candidate())


Change = Callable[[Candidate], Candidate]


@pytest.mark.parametrize(
    ("policy", "change", "said"),
    [
        (RunIsClosed(), lambda _: still_open(), "still open"),
        (ChainIsComplete(), lambda c: replace(c, behind=(replace(c.behind[0], stop_ns=None), c.run)), "R1"),
        (ChainIsComplete(), lambda c: replace(c, behind=()), "upstream"),
        (
            BalancesHold(),
            lambda _: candidate(two_step_chain(granulate_kg="700")),
            "R2: balance difference 59.4 kg, beyond .* kg",
        ),
        (BalancesHold(), lambda c: replace(c, balances={}), "no mass balance"),
        (OriginsSumToOne(), lambda c: replace(c, claim=None), "sum to 1 but to 0"),
        (
            OriginsSumToOne(),
            lambda c: replace(c, claim=replace(c.claim, origin={"virgin": Decimal("0.999999")})),  # type: ignore[type-var]  # not None here
            "to 0.999999",
        ),
        (VerdictIsPass(), lambda c: replace(c, verdict=None), "No release verdict"),
        (
            VerdictIsPass(),
            lambda c: replace(c, verdict=Verdict(word="conditional_pass", reasons=(label("trop chaud"),))),
            "Lot: conditional pass; trop chaud",
        ),
        (ReadingsAreSealed(), lambda c: replace(c, sealed={}), "R1: the readings"),
        (
            ReadingsAreSealed(),
            lambda c: replace(c, sealed={**c.sealed, "R1": replace(c.sealed["R1"], keys=())}),
            "R1: the readings of all its signals",
        ),
        (
            ReadingsAreSealed(),
            lambda c: replace(c, sealed={**c.sealed, "R2": replace(c.sealed["R2"], stop_ns=1)}),
            "R2: the sealed readings cover another",
        ),
    ],
)
def test_each_rule_refuses_what_it_is_for(policy: Policy, change: Change, said: str) -> None:
    policy.check(candidate())
    with pytest.raises(IssueRefused, match=said) as refused:
        policy.check(change(candidate()))
    assert all(each.fr and each.en for each in refused.value.labels)
    with pytest.raises(IssueRefused):
        ISSUE_POLICY.check(change(candidate()))


@dataclass(frozen=True)
class Refuses:
    why: str

    def check(self, candidate: Candidate) -> None:
        raise IssueRefused((label(f"{candidate.lot} {self.why}"),))


def test_all_reasons_are_told_at_once_and_each_once() -> None:
    nested = AllOf((Refuses("a"), AllOf((Refuses("b"), Refuses("a")))))
    with pytest.raises(PolicyRefused) as refused:
        nested.check(candidate())
    assert refused.value.reasons == ("G1 a (en)", "G1 b (en)")


def test_an_empty_policy_inside_another_still_refuses() -> None:
    with pytest.raises(PolicyRefused):
        AllOf((RunIsClosed(), AllOf(()))).check(candidate())
