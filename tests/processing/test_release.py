from decimal import Decimal
from typing import Any

import pytest

from filiere.plant import Label, Limits
from processing.balance import MassBalance
from processing.release import JudgedSignal, Verdict, judge, release
from tests.processing.builders import label


def balance(*, balanced: bool = True) -> MassBalance:
    return MassBalance(
        feed_dry_kg=Decimal(100),
        product_dry_kg=Decimal(90),
        residue_dry_kg=Decimal(5),
        water_in_kg=Decimal(1),
        water_out_kg=Decimal(1),
        difference_kg=Decimal(5),
        u_kg=Decimal("1.5"),
        k=2,
        closure=Decimal("0.95"),
        balanced=balanced,
    )


def melt_temp(**fields: Any) -> JudgedSignal:
    values: dict[str, Any] = {
        "run": "R1",
        "label": label("Température"),
        "unit": "Cel",
        "mean": 200.0,
        "u95": 1.0,
        "limits": Limits(low=190, high=210),
        "completeness": 1.0,
    }
    return JudgedSignal(**(values | fields))


def verdict(*signals: JudgedSignal, balanced: bool = True) -> Verdict:
    return release(balances={"R1": balance(balanced=balanced)}, critical=signals)


@pytest.mark.parametrize(
    ("mean", "word"),
    [
        (200.0, "pass"),
        (209.0, "pass"),  # on the acceptance limit, 210 − U95
        (209.5, "conditional_pass"),
        (210.0, "conditional_pass"),
        (210.5, "conditional_fail"),
        (211.0, "conditional_fail"),
        (211.5, "fail"),
        (191.0, "pass"),
        (190.5, "conditional_pass"),
        (189.5, "conditional_fail"),
        (188.5, "fail"),
    ],
)
def test_the_guard_band_decides(mean: float, word: str) -> None:
    assert judge(mean, u95=1.0, limits=Limits(low=190, high=210)) == word
    assert verdict(melt_temp(mean=mean)).word == word


def test_one_sided_and_missing_limits() -> None:
    assert judge(500.0, u95=1.0, limits=Limits(low=190)) == "pass"
    assert judge(190.5, u95=1.0, limits=Limits(low=190)) == "conditional_pass"
    assert judge(1e9, u95=1.0, limits=Limits()) == "pass"


def test_an_uncertainty_wider_than_the_limits_never_passes() -> None:
    assert judge(200.0, u95=11.0, limits=Limits(low=190, high=210)) == "conditional_pass"


def test_a_balance_that_does_not_close_holds_the_lot() -> None:
    made = verdict(melt_temp(), balanced=False)
    assert made.word == "hold"
    assert made.reasons[0].fr == "Opération R1 : écart de bilan 5 kg, au-delà de 3 kg (k = 2) : peser à nouveau"


@pytest.mark.parametrize("completeness", [0.0, 0.5, 0.98999])
def test_readings_less_than_99_percent_complete_hold_the_lot(completeness: float) -> None:
    made = verdict(melt_temp(completeness=completeness))
    assert made.word == "hold"
    assert "99 % attendus" in made.reasons[0].fr
    assert "99 % expected" in made.reasons[0].en


def test_99_percent_is_enough() -> None:
    assert verdict(melt_temp(completeness=0.99)).word == "pass"


def test_a_critical_signal_without_readings_holds_the_lot() -> None:
    assert verdict(melt_temp(mean=None, u95=None, completeness=0.0)).word == "hold"


def test_the_worst_finding_is_the_verdict_and_every_one_is_told() -> None:
    made = verdict(melt_temp(mean=209.5), melt_temp(mean=250.0), melt_temp())
    assert made.word == "fail"
    assert len(made.reasons) == 2
    assert made.reasons[1].fr == ("Opération R1, Température : moyenne 250 ± 1 °C, limites 190 à 210 : non conforme")


def test_a_reason_is_in_the_unit_that_people_read_and_no_finer_than_its_margin() -> None:
    wet = {"unit": "1", "mean": 0.0251167, "u95": 0.0037, "limits": Limits(high=0.015)}
    (reason,) = verdict(melt_temp(**wet, label=label("Humidité"))).reasons
    assert reason.fr == "Opération R1, Humidité : moyenne 2,51 ± 0,37 %, limites ≤ 1,5 : non conforme"
    narrow = {"unit": "1", "mean": 0.2849, "u95": 0.0, "limits": Limits(low=0.285, high=0.315)}
    (reason,) = verdict(melt_temp(**narrow)).reasons
    assert "28,49 ± 0 %, limites 28,5 à 31,5" in reason.fr


def test_a_hold_hides_no_failure() -> None:
    made = verdict(melt_temp(mean=250.0), balanced=False)
    assert made.word == "hold"
    assert len(made.reasons) == 2


def test_nothing_weighed_is_nothing_released() -> None:
    assert release(balances={}, critical=()).word == "hold"


def test_a_pass_says_what_was_looked_at() -> None:
    assert verdict(melt_temp()).reasons == (
        Label(
            fr="1 bilan matière bouclé ; 1 signal critique complet et conforme",
            en="mass balances closed: 1; critical signals complete and within their limits: 1",
        ),
    )
