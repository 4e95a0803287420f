"""A score on a terminal, and as JSON."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from filiere.clock import to_text
from filiere.plant import Label
from filiere.terminal import Language, printable
from simulators.truth.conclusion import SOURCE_WORDS, Conclusion
from simulators.truth.matching import FaultScore, holds
from simulators.truth.score import Score
from simulators.truth.verdicts import LotScore, Outcome
from simulators.truth.words import (
    ABSORBED,
    DECISION_WORDS,
    LAYER_WORDS,
    MISSED,
    NO_TIME,
    OUTCOME_STYLES,
    OUTCOME_WORDS,
    decimals,
    duration,
    instant,
    kind_words,
)

FALSE_ALARMS_SHOWN = 20
"""Kinds of them, the most frequent first."""
FAULT_HEADINGS = (
    Label(fr="panne", en="fault"),
    Label(fr="genre", en="kind"),
    Label(fr="où", en="where"),
    Label(fr="début (UTC)", en="onset (UTC)"),
    Label(fr="délai", en="delay"),
    Label(fr="révélée par", en="revealed by"),
)
LOT_HEADINGS = (
    Label(fr="lot", en="lot"),
    Label(fr="en vérité", en="in truth"),
    Label(fr="le système", en="the system"),
    Label(fr="jugement", en="judgement"),
    Label(fr="pourquoi", en="why"),
)
ALARM_HEADINGS = (
    Label(fr="combien", en="how many"),
    Label(fr="la première (UTC)", en="the first (UTC)"),
    Label(fr="où", en="where"),
    Label(fr="par", en="by"),
    Label(fr="ce qu'il dit", en="what it says"),
)
NO_FAULTS = Label(fr="Aucune panne dans ce qui a été simulé.", en="No fault in what was simulated.")
NO_LOTS = Label(fr="Aucun lot fini dans ce qui a été simulé.", en="No finished lot in what was simulated.")
FALSE_ALARMS = Label(fr="Fausses alertes", en="False alarms")
MORE_ALARMS = Label(fr="… et {more} autres : --json", en="… and {more} more: --json")
PLAIN_LOTS = Label(fr="Lots conformes et libérés : {lots}.", en="Lots that conform and were released: {lots}.")
UNHEARD = Label(
    fr="{line} : le système n'a plus rien entendu après {stop} UTC ; {left} qui suivent ne sont pas jugées.",
    en="{line}: the system heard nothing more after {stop} UTC; the {left} behind it are not scored.",
)
CONFORMS = Label(fr="conforme", en="conforms")
FLAWED = Label(fr="non conforme", en="does not conform")
ROWS = (
    Label(fr="délai de détection", en="detection delay"),
    Label(fr="pannes manquées", en="missed faults"),
    Label(fr="fausses alertes", en="false alarms"),
    Label(fr="écart de bilan", en="balance error"),
    Label(fr="verdicts faux", en="wrong verdicts"),
)


def print_score(console: Console, score: Score, language: Language) -> None:
    """Headline, the five numbers, then faults, false alarms and lots."""
    console.print(headline(score, language))
    for each in score.lines:
        if each.unheard_s > 0.0:
            left = duration(each.unheard_s, language)
            console.print(UNHEARD.in_language(language).format(line=each.line, stop=instant(each.stop_ns), left=left))
    console.print(_summary(score, language))
    console.print(_faults(score, language) if score.faults else NO_FAULTS.in_language(language))
    if score.false_alarms:
        console.print(f"\n{FALSE_ALARMS.in_language(language)}")
        console.print(_alarms(score, language))
        more = len(alike(score.false_alarms)) - FALSE_ALARMS_SHOWN
        if more > 0:
            console.print(MORE_ALARMS.in_language(language).format(more=more))
    console.print(*_lots(score, language), sep="\n")


def headline(score: Score, language: Language) -> str:
    """What was simulated."""
    days, lines, lots = decimals(score.days, 2, language), len(score.lines), len(score.lots)
    name = printable(score.scenario)
    return Label(
        fr=f"Scénario {name}, graine {score.seed} : lignes {lines}, jours de marche {days}, lots {lots}",
        en=f"Scenario {name}, seed {score.seed}: lines {lines}, days of work {days}, lots {lots}",
    ).in_language(language)


def summary_words(score: Score, language: Language) -> tuple[str, ...]:
    """The five numbers in words, in the order of ROWS."""
    return tuple(
        label.in_language(language)
        for label in (
            _delay_words(score, language),
            _missed_words(score),
            _alarm_words(score, language),
            _balance_words(score, language),
            _verdict_words(score),
        )
    )


def _delay_words(score: Score, language: Language) -> Label:
    if score.median_delay_s is None:
        return Label(fr="–", en="–")
    middle, most = duration(score.median_delay_s, language), duration(score.delays_s[-1], language)
    return Label(fr=f"médiane {middle}, au plus {most}", en=f"median {middle}, at most {most}")


def _missed_words(score: Score) -> Label:
    absorbed = len(score.absorbed)
    if absorbed:
        return Label(
            fr=f"{len(score.missed)} sur {len(score.faults)} (absorbées sans perte : {absorbed})",
            en=f"{len(score.missed)} of {len(score.faults)} (absorbed without loss: {absorbed})",
        )
    return Label(fr=f"{len(score.missed)} sur {len(score.faults)}", en=f"{len(score.missed)} of {len(score.faults)}")


def _alarm_words(score: Score, language: Language) -> Label:
    rate, count = decimals(score.false_alarms_a_day, 2, language), score.false_calls
    return Label(
        fr=f"{rate} par jour de marche d'une ligne ({count} en tout)",
        en=f"{rate} a line's day of work ({count} in all)",
    )


def _balance_words(score: Score, language: Language) -> Label:
    mean_g, worst = score.mean_balance_error_g, score.worst_balance
    if mean_g is None or worst is None:
        return Label(fr="aucune opération close", en="no run is closed")
    mean, most = f"{mean_g:.0f} g", f"{abs(worst.error_g):.0f} g"
    share = decimals(abs(worst.error_percent), 3, language)
    return Label(
        fr=f"{mean} en moyenne, au plus {most} ({share} % de l'entrée, {worst.run})",
        en=f"{mean} on average, at most {most} ({share}% of the feed, {worst.run})",
    )


def _verdict_words(score: Score) -> Label:
    counts = score.outcomes
    released, held = counts[Outcome.WRONGLY_RELEASED], counts[Outcome.WRONGLY_HELD]
    careful = counts[Outcome.CAUTIOUS]
    return Label(
        fr=f"{released + held} sur {len(score.lots)} (libérés à tort {released}, retenus à tort {held} ; retenus par"
        f" prudence {careful})",
        en=f"{released + held} of {len(score.lots)} (wrongly released {released}, wrongly held {held}; held to be"
        f" careful {careful})",
    )


def _summary(score: Score, language: Language) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for heading, line in zip(ROWS, summary_words(score, language), strict=True):
        table.add_row(Text(heading.in_language(language), style="bold"), Text(line))
    return table


def _table(headings: tuple[Label, ...], language: Language) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for heading in headings:
        table.add_column(heading.in_language(language), overflow="fold")
    return table


def _faults(score: Score, language: Language) -> Table:
    table = _table(FAULT_HEADINGS, language)
    for each in score.faults:
        fault = each.fault
        kind = kind_words(fault.kind).in_language(language)
        table.add_row(
            Text(printable(fault.label)),
            Text(f"{kind} ({LAYER_WORDS[fault.layer].in_language(language)})"),
            Text(printable(place(fault.line, fault.target))),
            instant(fault.start_ns),
            _delay(each, language),
            Text(_revealed(each, language)),
        )
    return table


def place(line: str, target: str) -> str:
    """`caux/textile/t1/extruder.melt_temp`."""
    return f"{line}/{target}" if target else line


def _delay(each: FaultScore, language: Language) -> Text:
    if each.absorbed:
        return Text(ABSORBED.in_language(language))
    if not each.found:
        return Text(MISSED.in_language(language), style="bold red")
    if each.delay_s is None:
        return Text(NO_TIME.in_language(language))
    return Text(duration(each.delay_s, language))


def _revealed(each: FaultScore, language: Language) -> str:
    first = each.first
    if first is None:
        return ""
    words = printable(first.words.in_language(language))
    met = (target for target in first.targets if holds(each.fault.target, target) or holds(target, each.fault.target))
    where = next(met, first.lot or first.target)
    colon = ": " if language == "en" else " : "
    said = f"{SOURCE_WORDS[first.source].in_language(language)}{colon}{words}" + (f" ({where})" if where else "")
    more = len(each.conclusions) - 1
    return f"{said} +{more}" if more else said


def _alarms(score: Score, language: Language) -> Table:
    table = _table(ALARM_HEADINGS, language)
    for alarm, count in alike(score.false_alarms)[:FALSE_ALARMS_SHOWN]:
        table.add_row(
            str(count),
            instant(alarm.start_ns),
            Text(printable(place(alarm.line, alarm.target))),
            SOURCE_WORDS[alarm.source].in_language(language),
            Text(printable(alarm.words.in_language(language))),
        )
    return table


def alike(alarms: Sequence[Conclusion]) -> list[tuple[Conclusion, int]]:
    """The first alarm of each kind, and how often it called, the most frequent kind first."""
    kinds: dict[tuple[object, ...], list[Conclusion]] = {}
    for alarm in alarms:
        kinds.setdefault((alarm.source, alarm.line, alarm.targets, alarm.words), []).append(alarm)
    found = [(each[0], sum(alarm.calls for alarm in each)) for each in kinds.values()]
    return sorted(found, key=lambda kind: (-kind[1], kind[0].start_ns))


def _lots(score: Score, language: Language) -> Iterator[RenderableType]:
    """Those that somebody should look at; how many others there are."""
    if not score.lots:
        yield NO_LOTS.in_language(language)
        return
    plain = [lot for lot in score.lots if lot.conforms and lot.outcome is Outcome.RIGHT]
    if len(plain) < len(score.lots):
        yield _lot_table([lot for lot in score.lots if lot not in plain], language)
    if plain:
        yield PLAIN_LOTS.in_language(language).format(lots=len(plain))


def _lot_table(lots: Sequence[LotScore], language: Language) -> Table:
    table = _table(LOT_HEADINGS, language)
    for lot in lots:
        table.add_row(
            Text(printable(lot.lot)),
            (CONFORMS if lot.conforms else FLAWED).in_language(language),
            DECISION_WORDS[lot.decision].in_language(language),
            Text(OUTCOME_WORDS[lot.outcome].in_language(language), style=OUTCOME_STYLES[lot.outcome]),
            Text(printable(" ; ".join(_why(lot, language)))),
        )
    return table


def _why(lot: LotScore, language: Language) -> Iterator[str]:
    yield from (flaw.in_language(language) for flaw in lot.flaws)
    if lot.outcome in (Outcome.WRONGLY_HELD, Outcome.CAUTIOUS):
        yield from (reason.in_language(language) for reason in lot.reasons)


# ------------------------------------------------------------------------------------------------------------- JSON


def score_json(score: Score) -> dict[str, Any]:
    """All of a score; times are RFC 3339."""
    worst = score.worst_balance
    return {
        "scenario": score.scenario,
        "seed": score.seed,
        "lines": {
            each.line: {
                "start": to_text(each.start_ns),
                "stop": to_text(each.stop_ns),
                "work_s": each.work_s,
                "unheard_s": each.unheard_s,
            }
            for each in score.lines
        },
        "days_of_work": score.days,
        "grace_s": score.grace_s,
        "summary": {
            "faults": len(score.faults),
            "missed": len(score.missed),
            "absorbed": len(score.absorbed),
            "median_delay_s": score.median_delay_s,
            "largest_delay_s": score.delays_s[-1] if score.delays_s else None,
            "false_alarms": score.false_calls,
            "false_alarms_a_day_of_work": score.false_alarms_a_day,
            "false_alarms_by_source": _by_source(score),
            "mean_balance_error_g": score.mean_balance_error_g,
            "largest_balance_error_g": None if worst is None else worst.error_g,
            "largest_balance_error_percent": None if worst is None else worst.error_percent,
            "lots": len(score.lots),
            "verdicts": {outcome: score.outcomes[outcome] for outcome in Outcome},
        },
        "faults": [_fault_json(each) for each in score.faults],
        "false_alarms": [_conclusion_json(each) for each in score.false_alarms],
        "lots": [_lot_json(lot) for lot in score.lots],
        "balances": [
            {
                "run": each.run,
                "line": each.line,
                "feed_true_g": each.feed_true_g,
                "feed_error_g": each.feed_error_g,
                "product_error_g": each.product_error_g,
                "error_g": each.error_g,
                "error_percent": each.error_percent,
                "u_g": each.u_g,
                "balanced": each.balanced,
            }
            for each in score.balances
        ],
    }


def _by_source(score: Score) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for alarm in score.false_alarms:
        counts[alarm.source] += alarm.calls
    return dict(sorted(counts.items()))


def _fault_json(each: FaultScore) -> dict[str, Any]:
    fault = each.fault
    return {
        "label": fault.label,
        "kind": fault.kind,
        "layer": fault.layer,
        "line": fault.line,
        "target": fault.target,
        "severity": fault.severity,
        "start": to_text(fault.start_ns),
        "stop": None if fault.stop_ns is None else to_text(fault.stop_ns),
        "found": each.found,
        "absorbed": each.absorbed,
        "delay_s": each.delay_s,
        "conclusions": [_conclusion_json(conclusion) for conclusion in each.conclusions],
    }


def _conclusion_json(each: Conclusion) -> dict[str, Any]:
    return {
        "source": each.source,
        "line": each.line,
        "targets": list(each.targets),
        "lot": each.lot or None,
        "start": to_text(each.start_ns),
        "stop": to_text(each.stop_ns),
        "known": None if each.known_ns is None else to_text(each.known_ns),
        "fr": each.words.fr,
        "en": each.words.en,
        "alarm": each.alarm,
        "calls": each.calls,
    }


def _lot_json(lot: LotScore) -> dict[str, Any]:
    return {
        "lot": lot.lot,
        "line": lot.line,
        "stop": to_text(lot.stop_ns),
        "conforms": lot.conforms,
        "flaws": [{"fr": label.fr, "en": label.en} for label in lot.flaws],
        "decision": lot.decision,
        "verdict": lot.word,
        "reasons": [{"fr": label.fr, "en": label.en} for label in lot.reasons],
        "held_for": list(lot.held_for),
        "outcome": lot.outcome,
    }
