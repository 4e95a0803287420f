"""The buyer's page: what a certificate says, whether it is true, and how to check that without us."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from decimal import Decimal
from typing import Any

import msgspec
from markupsafe import Markup
from starlette.responses import HTMLResponse

from api import lots
from api.charts_svg import Figure, process_chart
from api.pages import Language, display, render, zone
from api.parts import Parts
from api.proof import Proof
from api.shelf import CertificateId
from filiere.chain import Chain, Lot, Run
from filiere.clock import parse_time
from filiere.errors import NotFound
from filiere.events import ORIGINS
from filiere.plant import Label, Limits
from filiere.readings import Series
from processing.release import WORDS
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
assert set(ORIGIN_NAMES) == set(ORIGINS)


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
    """A curve and its name."""

    title: str
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
    names = {lot.lot: lot.name for lot in statement.received}
    return {
        "shares": list(_shares(statement)),
        "custody": CUSTODY_NAMES.get(
            statement.claim.custody_model, Label(fr=statement.claim.custody_model, en=statement.claim.custody_model)
        ),
        "verdict": WORDS[statement.release.verdict],
        "origin_names": ORIGIN_NAMES,
        "runs": list(_runs(parts, proof, statement, language, where)),
        "material": lambda material: lots.material_name(parts.plant, material),
        "names": names,
    }


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
            yield Chart(title=figure.title, limited=_limited(each), svg=Markup(svg))  # noqa: S704  # every text in it was escaped


def _limited(stated: StatedStatistics | None) -> bool:
    return stated is not None and (stated.low is not None or stated.high is not None)


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


def absent_page(parts: Parts, lot_id: str, language: Language) -> HTMLResponse:
    """A lot without a certificate: why, in words a buyer understands, and what to do."""
    chain = parts.ledger.chain()
    reasons = parts.shelf.refusal(lot_id)
    try:
        found: Lot | Run | None = lots.entry(chain, lot_id)
    except NotFound:
        found = None
    case = "refused" if reasons is not None else _case(parts, chain, found)
    return render(
        "absent.html",
        language=language,
        status=409 if case == "refused" else 404,
        headers={"Cache-Control": "no-cache", "Vary": "Accept"},
        lot=lot_id,
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
