"""What a certificate's numbers must hold: each check computes one thing again and names the first that differs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from filiere.archive import SealedRun
from filiere.chain import Chain
from filiere.clock import NS_PER_S, parse_time
from filiere.errors import BalanceError, NotAuthentic
from filiere.plant import Label
from filiere.readings import Series
from processing.balance import MassBalance, mass_balance
from processing.claims import Claim, claim
from processing.compose import (
    limits_of_stated,
    measured_texts,
    received_facts,
    run_facts,
    stated_balance,
    stated_claim,
    stated_lot,
    verdict_of,
)
from processing.exact import SIGNIFICANT_DIGITS, number_text, rounded, time_text
from processing.facts import facts
from processing.genealogy import Trace, trace
from processing.release import WORDS, comma
from processing.seal import seal
from processing.statement import (
    NotBelieved,
    StatedRun,
    StatedStatistics,
    Statement,
    label_of,
    replaced_id,
    to_json,
)
from processing.statistics import signal_statistics

_SHOWN = 120
_MEASURED = ("mean", "sd", "u95", "minutes_outside", "completeness")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    """form, key, signature, chain, lot, claim, balance, statistics, release, readings."""
    ok: bool | None
    """None = could not be looked at: what it needs was not given."""
    label: Label


def recomputed_checks(statement: Statement) -> Iterator[Check]:
    """Everything that follows from the weighings and receipts that the statement discloses."""
    try:
        chain = facts(statement)
        behind = _chain_behind(statement, chain)
        balances = {run.id: mass_balance(run) for run in behind.runs}
        made = claim(chain, statement.lot.id)
    except NotBelieved as error:
        yield _contradiction(error.label)
        return
    except BalanceError as error:
        yield _contradiction(Label(fr=f"{error} (en anglais)", en=str(error)))
        return
    lots, runs = len(behind.received), len(behind.runs)
    yield Check(
        name="chain",
        ok=True,
        label=Label(
            fr=f"Chaîne cohérente : {lots} lot(s) reçu(s), {runs} opération(s), rien pris au-delà de ce qui existait",
            en=f"Chain holds: {lots} received lot(s), {runs} run(s), nothing drawn beyond what there was",
        ),
    )
    yield _lot_check(statement, chain)
    yield _claim_check(statement, made)
    yield _balance_check(statement, balances)
    yield _statistics_check(statement)
    yield _release_check(statement, balances)


def _contradiction(why: Label) -> Check:
    label = Label(
        fr=f"La chaîne des lots se contredit : {why.fr}", en=f"The chain of lots contradicts itself: {why.en}"
    )
    return Check(name="chain", ok=False, label=label)


def _chain_behind(statement: Statement, chain: Chain) -> Trace:
    """The genealogy of the lot, which must be exactly what is stated. Raises NotBelieved."""
    lot = chain.lots.get(statement.lot.id)
    if lot is None or lot.run is None:
        raise NotBelieved(
            Label(
                fr=f"lot {statement.lot.id} : aucune opération ne le produit",
                en=f"lot {statement.lot.id}: got no run that makes it; expected one",
            )
        )
    behind = trace(chain, lot.id, "back")
    _refuse_difference("runs", [run.id for run in statement.runs], [run.id for run in behind.runs])
    _refuse_difference("received", [each.lot for each in statement.received], [each.id for each in behind.received])
    for stated, run in zip(statement.runs, behind.runs, strict=True):
        _refuse_difference(
            f"runs.{run.id}", to_json(stated), to_json(msgspec.structs.replace(stated, **run_facts(run)))
        )
    for stated_received, each in zip(statement.received, behind.received, strict=True):
        restated = msgspec.structs.replace(stated_received, **received_facts(each))
        _refuse_difference(f"received.{each.id}", to_json(stated_received), to_json(restated))
    return behind


def _refuse_difference(path: str, stated: object, computed: object) -> None:
    found = difference(path, stated, computed)
    if found is not None:
        raise NotBelieved(found.label())


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first place where two JSON values differ."""

    path: str
    stated: str
    computed: str

    def label(self) -> Label:
        """For people."""
        return Label(
            fr=f"{self.path} : annoncé {self.stated}, recalculé {self.computed}",
            en=f"{self.path}: stated {self.stated}, recomputed {self.computed}",
        )


def difference(path: str, stated: object, computed: object) -> Difference | None:
    """The first difference of two JSON values, depth first; None when they are equal."""
    if isinstance(stated, dict) and isinstance(computed, dict):
        for name in sorted(stated.keys() | computed.keys()):
            found = difference(f"{path}.{name}", stated.get(name), computed.get(name))
            if found is not None:
                return found
        return None
    if isinstance(stated, list | tuple) and isinstance(computed, list | tuple) and len(stated) == len(computed):
        pairs = zip(stated, computed, strict=True)
        found_all = (difference(f"{path}[{i}]", left, right) for i, (left, right) in enumerate(pairs))
        return next((found for found in found_all if found is not None), None)
    if type(stated) is type(computed) and stated == computed:
        return None
    return Difference(path=path, stated=_shown(stated), computed=_shown(computed))


def _shown(value: object) -> str:
    return "–" if value is None else str(value)[:_SHOWN]


def _result(name: str, found: Difference | None, well: Label) -> Check:
    return Check(name=name, ok=found is None, label=well if found is None else found.label())


def _lot_check(statement: Statement, chain: Chain) -> Check:
    lot = chain.lots[statement.lot.id]
    run = chain.runs[str(lot.run)]
    assert run.stop_ns is not None
    stated = statement.lot
    restated = stated_lot(lot, name=label_of(stated.name), line=run.line, line_name=label_of(stated.line_name))
    found = (
        difference("lot", to_json(stated), to_json(restated))
        or difference("date", statement.date, time_text(run.stop_ns))
        or difference("issuer.site", statement.issuer.site, statement.plant.site)
        or difference("replaces", statement.replaces, replaced_id(stated.id, statement.revision))
    )
    return _result(
        "lot",
        found,
        Label(
            fr=f"Lot {stated.id} : {comma(stated.mass_kg)} kg, comme pesé à la sortie de l'opération {run.id}",
            en=f"Lot {stated.id}: {stated.mass_kg} kg, as weighed when run {run.id} ended",
        ),
    )


def _claim_check(statement: Statement, made: Claim) -> Check:
    stated = statement.claim
    # The method's words may be bettered without a new format; what they describe may not change.
    restated = msgspec.structs.replace(stated_claim(made), method=stated.method)
    return _result(
        "claim",
        difference("claim", to_json(stated), to_json(restated)),
        Label(
            fr=f"Contenu recyclé recalculé : {comma(stated.recycled_content)} ± {comma(stated.u95)}",
            en=f"Recycled content recomputed: {stated.recycled_content} ± {stated.u95}",
        ),
    )


def _balance_check(statement: Statement, balances: Mapping[str, MassBalance]) -> Check:
    stated = {run.id: to_json(run.balance) for run in statement.runs}
    restated = {run: to_json(stated_balance(balance)) for run, balance in balances.items()}
    return _result(
        "balance",
        difference("balance", stated, restated),
        Label(
            fr=f"{len(balances)} bilan(s) matière recalculé(s)",
            en=f"{len(balances)} mass balance(s) recomputed",
        ),
    )


def _statistics_check(statement: Statement) -> Check:
    """What any statistics must hold, whatever the readings were: seen without them."""
    found = next((found for run in statement.runs for found in _impossible(run)), None)
    signals = sum(len(run.statistics) for run in statement.runs)
    well = Label(
        fr=f"Statistiques plausibles (signaux : {signals})",
        en=f"Statistics plausible (signals: {signals})",
    )
    return Check(name="statistics", ok=found is None, label=well if found is None else found)


def _impossible(run: StatedRun) -> Iterator[Label]:
    keys = [each.key for each in run.statistics]
    where = f"runs.{run.id}.statistics"
    if keys != sorted(set(keys)):
        yield Label(fr=f"{where} : attendu chaque signal une fois, trié", en=f"{where}: expected each once, sorted")
    readings, total = run.seal.leaves - 1, sum(each.n for each in run.statistics)
    if total > readings:
        yield Label(
            fr=f"{where} : {total} bonnes mesures ; le sceau en couvre {readings}",
            en=f"{where}: got {total} good readings; expected at most {readings}, those under the seal",
        )
    minutes = (parse_time(run.stop) - parse_time(run.start)) / NS_PER_S / 60
    for each in run.statistics:
        yield from _impossible_signal(f"{where}.{each.key}", each, minutes_max=rounded(minutes))


def _impossible_signal(where: str, stated: StatedStatistics, *, minutes_max: float) -> Iterator[Label]:
    values = {name: getattr(stated, name) for name in _MEASURED}
    for name in ("mean", "sd", "u95"):
        if (values[name] is None) != (stated.n == 0):
            yield _impossible_value(where, name, values[name], Label(fr="rien quand n = 0", en="null when n = 0, only"))
    for name, text in values.items():
        canonical = None if text is None else number_text(float(text), digits=SIGNIFICANT_DIGITS)
        if text != canonical:
            yield _impossible_value(where, name, text, Label(fr=f"l'écriture {canonical}", en=f"the text {canonical}"))
    bounds = {"period_s": None, "resolution": None, "sd": None, "u95": None, "completeness": 1.0}
    for name, high in {**bounds, "minutes_outside": minutes_max}.items():
        text = getattr(stated, name)
        if text is not None and float(text) < 0:
            yield _impossible_value(where, name, text, Label(fr="0 au moins", en="at least 0"))
        if text is not None and high is not None and float(text) > high:
            most = number_text(high, digits=SIGNIFICANT_DIGITS)
            yield _impossible_value(where, name, text, Label(fr=f"{most} au plus", en=f"at most {most}"))


def _impossible_value(where: str, name: str, text: str | None, expected: Label) -> Label:
    return Label(
        fr=f"{where}.{name} : annoncé {_shown(text)}, attendu {expected.fr[:_SHOWN]}",
        en=f"{where}.{name}: stated {_shown(text)}, expected {expected.en[:_SHOWN]}",
    )


def _release_check(statement: Statement, balances: Mapping[str, MassBalance]) -> Check:
    verdict = verdict_of(statement.runs, balances)
    stated = statement.release.verdict
    return _result(
        "release",
        difference("release.verdict", stated, verdict.word),
        Label(fr=f"Verdict recalculé : {WORDS[verdict.word].fr}", en=f"Verdict recomputed: {WORDS[verdict.word].en}"),
    )


def sealed_checks(statement: Statement, readings: Sequence[SealedRun]) -> Iterator[Check]:
    """The Merkle root and the statistics of each run whose readings are given."""
    stated = {run.id: run for run in statement.runs}
    for sealed in readings:
        run = stated.get(sealed.run)
        if run is None:
            yield Check(
                name="readings",
                ok=False,
                label=Label(
                    fr=f"Mesures de l'opération {sealed.run} : elle n'est pas dans ce certificat",
                    en=f"Readings of run {sealed.run}: it is not in this certificate",
                ),
            )
            continue
        yield _sealed_check(run, sealed)
    missing = sorted(stated.keys() - {sealed.run for sealed in readings})
    if missing:
        names = ", ".join(missing)
        yield Check(
            name="readings",
            ok=None,
            label=Label(
                fr=f"Mesures non fournies, sceau non recalculé : {names} (--readings FICHIER.parquet)",
                en=f"Readings not given, seal not recomputed: {names} (--readings FILE.parquet)",
            ),
        )


def _sealed_check(run: StatedRun, sealed: SealedRun) -> Check:
    try:
        found = _header_difference(run, sealed) or _seal_difference(run, sealed) or _statistics_difference(run, sealed)
    except (NotAuthentic, ValueError, OverflowError) as error:  # a time that is none, a period beyond all time
        wrong = Label(fr=f"Mesures de l'opération {run.id} : {error}", en=f"Readings of run {run.id}: {error}")
        return Check(name="readings", ok=False, label=wrong)
    return _result(
        "readings",
        found,
        Label(
            fr=f"Opération {run.id} : sceau et statistiques recalculés sur {run.seal.leaves - 1} mesures",
            en=f"Run {run.id}: seal and statistics recomputed over {run.seal.leaves - 1} readings",
        ),
    )


def _header_difference(run: StatedRun, sealed: SealedRun) -> Difference | None:
    stated = {
        "line": run.line,
        "step": run.step,
        "start_ns": parse_time(run.start),
        "stop_ns": parse_time(run.stop),
        "keys": [each.key for each in run.statistics],
    }
    given = {
        "line": sealed.line,
        "step": sealed.step,
        "start_ns": sealed.start_ns,
        "stop_ns": sealed.stop_ns,
        "keys": list(sealed.keys),
    }
    return difference(f"runs.{run.id}", stated, given)


def _seal_difference(run: StatedRun, sealed: SealedRun) -> Difference | None:
    made = seal(sealed)
    return difference(f"runs.{run.id}.seal", to_json(run.seal), {"root": made.root, "leaves": made.leaves})


def _statistics_difference(run: StatedRun, sealed: SealedRun) -> Difference | None:
    for stated, series in zip(run.statistics, sealed.series, strict=True):
        restated = msgspec.structs.replace(stated, **_recomputed(stated, series, sealed))
        found = difference(f"runs.{run.id}.statistics.{stated.key}", to_json(stated), to_json(restated))
        if found is not None:
            return found
    return None


def _recomputed(stated: StatedStatistics, series: Series, sealed: SealedRun) -> dict[str, object]:
    return measured_texts(
        signal_statistics(
            series,
            limits=limits_of_stated(stated),
            period_s=float(stated.period_s),
            resolution=float(stated.resolution),
            start_ns=sealed.start_ns,
            stop_ns=sealed.stop_ns,
        )
    )
