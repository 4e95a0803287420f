"""Release of a lot: is it within specification, given what the measurements are worth.

ILAC-G8:09/2019, 4.2.3, and JCGM 106:2012, 8.3: with a tolerance limit TL and the U95 of the lot mean, the acceptance
limit is TL ∓ U95. Inside it: pass. Between it and TL: conditional pass. Beyond TL by at most U95: conditional fail.
Further: fail. Before that, the numbers must hold: every balance within its uncertainty, and every critical signal at
least 99 % complete; else the lot is on hold, whatever the means say.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from filiere.plant import Label, Limits, Signal
from filiere.units import display
from processing.balance import MassBalance
from processing.exact import SIGNIFICANT_DIGITS, decimal_text, number_text, rounded
from processing.statistics import SignalStatistics

Word = Literal["pass", "conditional_pass", "conditional_fail", "fail", "hold"]
SEVERITY: tuple[Word, ...] = ("pass", "conditional_pass", "conditional_fail", "fail", "hold")
"""From best to worst: the worst of all findings is the verdict."""
COMPLETENESS_MIN = 0.99
LIMIT_DIGITS = 12
"""Significant digits of a limit in words: all that were given, and not what multiplying adds."""
WORDS: Mapping[Word, Label] = {
    "pass": Label(fr="conforme", en="pass"),
    "conditional_pass": Label(fr="conforme sous réserve", en="conditional pass"),
    "conditional_fail": Label(fr="non conforme sous réserve", en="conditional fail"),
    "fail": Label(fr="non conforme", en="fail"),
    "hold": Label(fr="bloqué", en="hold"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedSignal:
    """A critical signal of one run, as the release sees it: in its unit, every number as a certificate prints it."""

    run: str
    label: Label
    unit: str
    mean: float | None
    u95: float | None
    limits: Limits
    completeness: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The result, with a reason for each thing that was looked at and not plainly right; all is well says so too."""

    word: Word
    reasons: tuple[Label, ...]


def judged(run: str, signal: Signal, statistics: SignalStatistics) -> JudgedSignal:
    """A signal's statistics, rounded to the 6 significant digits that are printed.

    So whoever holds the certificate alone comes to the same verdict as whoever holds the readings.
    """
    return JudgedSignal(
        run=run,
        label=signal.label,
        unit=signal.unit,
        mean=None if statistics.mean is None else rounded(statistics.mean),
        u95=None if statistics.u95 is None else rounded(statistics.u95),
        limits=statistics.limits,
        completeness=rounded(statistics.completeness),
    )


def release(*, balances: Mapping[str, MassBalance], critical: Sequence[JudgedSignal]) -> Verdict:
    """Judge a lot by the balance of every run behind it and every critical signal of those runs.

    `balances`: run id → balance, in the order in which the reasons are given.
    """
    findings = [*_balance_findings(balances), *_signal_findings(critical)]
    word: Word = max((word for word, _ in findings), key=SEVERITY.index, default="pass")
    return Verdict(word=word, reasons=tuple(label for _, label in findings) or (_all_well(balances, critical),))


def _all_well(balances: Mapping[str, MassBalance], critical: Sequence[JudgedSignal]) -> Label:
    runs, signals = len(balances), len(critical)
    closed = "1 bilan matière bouclé" if runs == 1 else f"{runs} bilans matière bouclés"
    complete = (
        "1 signal critique complet et conforme"
        if signals == 1
        else f"{signals} signaux critiques complets et conformes"
    )
    return Label(
        fr=f"{closed} ; {complete}",
        en=f"mass balances closed: {runs}; critical signals complete and within their limits: {signals}",
    )


def _balance_findings(balances: Mapping[str, MassBalance]) -> Iterator[tuple[Word, Label]]:
    if not balances:
        yield "hold", Label(fr="Aucun bilan matière", en="No mass balance")
    for run, balance in balances.items():
        if not balance.balanced:
            yield "hold", unbalanced(run, balance)


def unbalanced(run: str, balance: MassBalance) -> Label:
    """Why a balance that does not close holds the lot."""
    difference, allowed = decimal_text(balance.difference_kg), decimal_text(balance.k * balance.u_kg)
    return Label(
        fr=f"Opération {run} : écart de bilan {comma(difference)} kg, au-delà de {comma(allowed)} kg"
        f" (k = {balance.k}) : peser à nouveau",
        en=f"Run {run}: balance difference {difference} kg, beyond {allowed} kg (k = {balance.k}): weigh again",
    )


def _signal_findings(critical: Sequence[JudgedSignal]) -> Iterator[tuple[Word, Label]]:
    for signal in critical:
        if signal.completeness < COMPLETENESS_MIN or signal.mean is None or signal.u95 is None:
            yield "hold", _incomplete(signal)
            continue
        word = judge(signal.mean, u95=signal.u95, limits=signal.limits)
        if word != "pass":
            yield word, _out_of_limits(signal, signal.mean, signal.u95, word)


def judge(mean: float, *, u95: float, limits: Limits) -> Word:
    """One mean against its limits (see the rule at the top). No limits: pass."""
    inside = min(
        (mean - limits.low) if limits.low is not None else float("inf"),
        (limits.high - mean) if limits.high is not None else float("inf"),
    )
    if inside >= u95:
        return "pass"
    if inside >= 0:
        return "conditional_pass"
    return "conditional_fail" if inside >= -u95 else "fail"


def _incomplete(signal: JudgedSignal) -> Label:
    share = number_text(signal.completeness * 100, digits=4)
    return Label(
        fr=f"Opération {signal.run}, {signal.label.fr} : mesures complètes à {comma(share)} %, 99 % attendus",
        en=f"Run {signal.run}, {signal.label.en}: readings {share} % complete, 99 % expected",
    )


def _out_of_limits(signal: JudgedSignal, mean_value: float, u95_value: float, word: Word) -> Label:
    (scale, sign), (_, sign_en) = display(signal.unit, "fr"), display(signal.unit, "en")
    mean, u95 = _mean_and_margin(mean_value * scale, u95_value * scale)
    limits = limits_label(signal.limits, scale=scale)
    return Label(
        fr=f"Opération {signal.run}, {signal.label.fr} : moyenne {comma(mean)} ± {comma(u95)} {sign}, limites"
        f" {limits.fr} : {WORDS[word].fr}",
        en=f"Run {signal.run}, {signal.label.en}: mean {mean} ± {u95} {sign_en}, limits {limits.en}: {WORDS[word].en}",
    )


def _mean_and_margin(mean: float, u95: float) -> tuple[str, str]:
    """The margin with two significant digits, the mean to the last of them."""
    margin = number_text(u95, digits=2)
    if u95 == 0.0:
        return number_text(mean, digits=SIGNIFICANT_DIGITS), margin
    places = len(margin.partition(".")[2])
    return decimal_text(Decimal(f"{mean:.{places}f}")), margin


def limits_label(limits: Limits, *, scale: float = 1.0) -> Label:
    """`187 à 203`, `≤ 200`, `≥ 0,9`, or a dash; times `scale`, 100 for a fraction that is read in %."""
    low = None if limits.low is None else number_text(limits.low * scale, digits=LIMIT_DIGITS)
    high = None if limits.high is None else number_text(limits.high * scale, digits=LIMIT_DIGITS)
    if low is not None and high is not None:
        return Label(fr=f"{comma(low)} à {comma(high)}", en=f"{low} to {high}")
    text = f"≥ {low}" if low is not None else f"≤ {high}" if high is not None else "–"
    return Label(fr=comma(text), en=text)


def comma(text: str) -> str:
    """A decimal as French writes it."""
    return text.replace(".", ",")
