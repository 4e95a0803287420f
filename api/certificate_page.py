"""The buyer's page: what a certificate says, whether it is true, and how to check that without us."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from decimal import ROUND_FLOOR, Decimal
from typing import Any

import msgspec
from markupsafe import Markup
from starlette.responses import HTMLResponse

from api import lots
from api.charts_svg import SAMPLES_MAX, Figure, process_chart
from api.pages import PLACES_MAX, Language, number, percent, places_for, places_of, render, zone
from api.parts import Parts
from api.proof import Proof
from api.shelf import CertificateId
from filiere.chain import Chain, Lot, Run
from filiere.clock import parse_time
from filiere.errors import NotFound
from filiere.events import ORIGINS
from filiere.plant import Label, Limits
from filiere.readings import Series
from filiere.units import display
from processing.release import COMPLETENESS_MIN, WORDS
from processing.statement import StatedRun, StatedStatistics, Statement

RUNS_DRAWN_MAX = 4
"""Curves of the lot's own run and of the nearest before it; of the others the sealed file is linked."""

ORIGIN_NAMES = {
    "post_consumer": Label(fr="recyclé post-consommation", en="recycled, post-consumer"),
    "pre_consumer": Label(fr="recyclé pré-consommation", en="recycled, pre-consumer"),
    "bio_based": Label(fr="biosourcé", en="bio-based"),
    "virgin": Label(fr="vierge", en="virgin"),
    "unevidenced": Label(fr="sans preuve", en="without evidence"),
}
CUSTODY_NAMES = {
    "identity_preserved": Label(fr="identité préservée", en="identity preserved"),
    "segregated": Label(fr="ségrégation", en="segregated"),
    "controlled_blending": Label(fr="mélange contrôlé", en="controlled blending"),
}
CUSTODY_MEANINGS = {
    "identity_preserved": Label(
        fr="tout vient d’un seul lot reçu, mêlé à aucun autre.",
        en="all of it comes from one received batch, mixed with no other.",
    ),
    "segregated": Label(
        fr="plusieurs lots reçus ont été réunis, tous de même contenu recyclé.",
        en="several received batches were put together, all with the same recycled content.",
    ),
    "controlled_blending": Label(
        fr="des matières de contenus recyclés différents ont été mêlées, et pesées. Le pourcentage est celui de ce"
        " mélange : aucun crédit n’a été déplacé d’un lot à l’autre (ce n’est pas le modèle « bilan massique »).",
        en="materials with different recycled contents were blended, and weighed. The percentage is that of this blend:"
        " no credit was moved from one batch to another (it is not the “mass balance” model).",
    ),
}
assert set(ORIGIN_NAMES) == set(ORIGINS)
assert set(CUSTODY_NAMES) == set(CUSTODY_MEANINGS)
_FR = {"mean": "moyenne", "outside": "hors limites", "complete": "mesures reçues", "none": "aucune mesure valable"}
_EN = {"mean": "mean", "outside": "beyond limits", "complete": "readings received", "none": "no good reading"}
RELEASED = frozenset({"pass", "conditional_pass"})
"""Verdicts of a lot that may go to a buyer; any other is told beside the word authentic, not only far below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One origin in the lot."""

    origin: str
    name: Label
    share: Decimal
    """Fraction of dry mass, 0..1."""
    x: float
    """Where its piece of the bar begins, 0..100."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """What the certificate states of a signal, and its curve."""

    title: str
    stated: str
    """Mean, time beyond the limits and completeness, in words; empty where there are no limits to judge by."""
    svg: Markup
    limited: bool
    """It has limits: the lot was judged by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnRun:
    """A run with its curves."""

    run: StatedRun
    line: Label
    charts: tuple[Chart, ...]
    sealed: bool
    """Its sealed readings lie on this server."""
    own: bool
    """It made the lot."""


def certificate_page(parts: Parts, certificate_id: CertificateId, language: Language) -> HTMLResponse:
    """The page of one certificate, verified now.

    Raises:
        NotFound: no such certificate on this server.
    """
    proof = parts.prover.prove(certificate_id)
    statement = proof.statement
    newest = parts.shelf.latest(certificate_id.lot)
    where = zone(parts.plant.timezone)
    return render(
        "certificate.html",
        language=language,
        id=str(certificate_id),
        proof=proof,
        word=proof.verification.word,
        statement=statement,
        failed=[check for check in proof.verification.checks if check.ok is False],
        newest=str(newest) if newest and newest != certificate_id else None,
        issuer=parts.plant.issuer,
        base_url=parts.settings.public_base_url,
        where=where,
        **(_content(parts, proof, statement, language, where) if statement else {}),
    )


def _content(parts: Parts, proof: Proof, statement: Statement, language: Language, where: tzinfo) -> dict[str, Any]:
    custody = statement.claim.custody_model
    return {
        "shares": list(_shares(statement)),
        "custody": CUSTODY_NAMES.get(custody, Label(fr=custody, en=custody)),
        "custody_means": CUSTODY_MEANINGS.get(custody),
        "verdict": WORDS[statement.release.verdict],
        "released": statement.release.verdict in RELEASED,
        "origin_names": ORIGIN_NAMES,
        "runs": list(_runs(parts, proof, statement, language, where)),
        "material": lambda material: lots.material_name(parts.plant, material),
        "used_kg": used_kg(statement),
    }


def used_kg(statement: Statement) -> dict[str, Decimal]:
    """Lot → what the runs behind the certified lot took of it (kg, as weighed): less than was received, often."""
    taken: dict[str, Decimal] = {}
    for run in statement.runs:
        for portion in run.inputs:
            taken[portion.lot] = taken.get(portion.lot, Decimal(0)) + Decimal(portion.mass_kg)
    return taken


def _shares(statement: Statement) -> Iterator[Share]:
    """The five origins, recycled first, those that are there."""
    claim = msgspec.to_builtins(statement.claim)
    x = Decimal(0)
    for origin, name in ORIGIN_NAMES.items():
        share = Decimal(claim[origin])
        if share > 0:
            yield Share(origin=origin, name=name, share=share, x=float(x * 100))
        x += share


def _runs(parts: Parts, proof: Proof, statement: Statement, language: Language, where: tzinfo) -> Iterator[DrawnRun]:
    """The lot's own run first, then backwards."""
    for index, run in enumerate(reversed(statement.runs)):
        curves = proof.curves.get(run.id, ())
        line = lots.line_model(parts.plant, run.line)
        yield DrawnRun(
            run=run,
            line=line.label if line else Label(fr=run.line, en=run.line),
            charts=tuple(_charts(run, curves, language, where)) if index < RUNS_DRAWN_MAX else (),
            sealed=run.id in proof.curves,
            own=run.lot == statement.lot.id,
        )


def _charts(run: StatedRun, curves: Sequence[Series], language: Language, where: tzinfo) -> Iterator[Chart]:
    """Signals with limits first: they are what the lot was judged by."""
    stated = {each.key: each for each in run.statistics}
    ordered = sorted(curves, key=lambda series: not _limited(stated.get(series.key)))
    for index, series in enumerate(ordered):
        each = stated.get(series.key)
        if each is not None:
            figure = _figure(f"c-{run.id}-{index}".replace(".", "-"), run, each, language)
            svg = process_chart(series, figure, language=language, where=where)
            yield Chart(
                title=figure.title,
                stated=_stated(each, series, language) if _limited(each) else "",
                limited=_limited(each),
                svg=Markup(svg),  # noqa: S704  # every text in it was escaped
            )


def _limited(stated: StatedStatistics | None) -> bool:
    return stated is not None and (stated.low is not None or stated.high is not None)


def _stated(stated: StatedStatistics, series: Series, language: Language) -> str:
    if len(series.value) <= SAMPLES_MAX and float(stated.completeness) >= COMPLETENESS_MIN:
        return samples_in_words(stated, series.value.tolist(), language)
    return stated_in_words(stated, language)


def samples_in_words(stated: StatedStatistics, values: Sequence[float], language: Language) -> str:
    """`2 prélèvements : 10,4 · 10,6 g/10 min`: of so few, each is told."""
    scale, sign = display(stated.unit, language)
    places = places_of(float(stated.resolution) * scale)
    told = " · ".join(number(value * scale, language, places) for value in values)
    words = ("sample", ": ") if language == "en" else ("prélèvement", " : ")
    return f"{len(values)} {words[0]}{'s' if len(values) > 1 else ''}{words[1]}{told} {sign}"


def stated_in_words(stated: StatedStatistics, language: Language) -> str:
    """`moyenne 195,00 ± 0,21 °C · hors limites 0,0 min · mesures reçues 100,0 %`."""
    scale, sign = display(stated.unit, language)
    unit = f"\N{NO-BREAK SPACE}{sign}" if sign else ""
    words = _EN if language == "en" else _FR
    if stated.mean is None or stated.u95 is None:
        return words["none"]
    mean, u95 = (Decimal(value) * Decimal(str(scale)) for value in (stated.mean, stated.u95))
    places = places_for(u95, places_max=PLACES_MAX)
    # Rounded down: what is not whole is never called 100 %.
    complete = Decimal(stated.completeness).quantize(Decimal("0.001"), rounding=ROUND_FLOOR)
    return " · ".join(
        (
            f"{words['mean']} {number(mean, language, places)} ± {number(u95, language, places)}{unit}",
            f"{words['outside']} {number(stated.minutes_outside, language, 1)}\N{NO-BREAK SPACE}min",
            f"{words['complete']} {percent(complete, language, 1)}",
        )
    )


def _figure(figure_id: str, run: StatedRun, stated: StatedStatistics, language: Language) -> Figure:
    scale, sign = display(stated.unit, language)
    return Figure(
        id=figure_id,
        title=(stated.name.en if language == "en" else stated.name.fr) + (f" ({sign})" if sign else ""),
        unit=sign,
        limits=Limits(
            low=float(stated.low) * scale if stated.low is not None else None,
            high=float(stated.high) * scale if stated.high is not None else None,
        ),
        start_ns=parse_time(run.start),
        stop_ns=parse_time(run.stop),
        scale=scale,
    )


def absent_page(parts: Parts, lot_id: str, language: Language, *, asked: CertificateId | None = None) -> HTMLResponse:
    """A lot without a certificate: why, in words a buyer understands, and what to do.

    `asked`: the certificate that was asked for by its own number, when the lot has others.
    """
    chain = parts.ledger.chain()
    reasons = parts.shelf.refusal(lot_id)
    try:
        found: Lot | Run | None = lots.entry(chain, lot_id)
    except NotFound:
        found = None
    meant = CertificateId.typed(lot_id)
    newest = parts.shelf.latest(lot_id) if asked is not None else None
    if newest is not None:
        case = "revision"
    elif reasons is not None:
        case = "refused"
    else:
        case = _case(parts, chain, found)
    return render(
        "absent.html",
        language=language,
        status=409 if case == "refused" else 404,
        headers={"Cache-Control": "no-cache", "Vary": "Accept"},
        lot=str(asked) if asked is not None else lot_id,
        newest=str(newest) if newest is not None else None,
        meant=str(meant) if meant is not None and newest is None and parts.shelf.has(meant) else None,
        case=case,
        reasons=reasons or (),
        issuer=parts.plant.issuer,
        name=lots.material_name(parts.plant, lots.material_of(parts.plant, found)) if found is not None else None,
    )


def _case(parts: Parts, chain: Chain, found: Lot | Run | None) -> str:
    """unknown, in_progress, received, awaited or not_certified."""
    if found is None:
        return "unknown"
    if isinstance(found, Run):
        return "in_progress"
    if found.run is None:
        return "received"
    run = chain.runs[found.run]
    step = lots.step_of(parts.plant, run)
    return "awaited" if step is not None and step.certified and run.lot == found.id else "not_certified"
