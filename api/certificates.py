"""Certificates: the file's exact bytes for programs, a page for buyers, the sealed readings for who recomputes."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import FileResponse, RedirectResponse, Response

from api import lots
from api.certificate_page import absent_page, certificate_page
from api.models import LotId
from api.negotiation import is_known, prefers_html, strong_etag
from api.pages import language_of
from api.parts import Parts, PartsOf
from api.problems import Responses, responses
from api.shelf import CertificateId
from filiere.chain import Run
from filiere.errors import NotFound, PolicyRefused
from filiere.events import ID_PATTERN
from processing.certificate import verify

FOREVER = "public, max-age=31536000, immutable"
REVALIDATE = "no-cache"
PARQUET = "application/vnd.apache.parquet"
PEM = "application/x-pem-file"

CertificatePath = Annotated[
    str,
    Path(
        description="LOT-rN: number of the batch and revision",
        pattern=f"^{ID_PATTERN.pattern}-r[1-9][0-9]{{0,3}}$",
        max_length=70,
        examples=["T1-0042-r1"],
    ),
]
Lang = Annotated[str | None, Query(max_length=8, description="Language of the page: fr or en")]
_KNOWN: Responses = {304: {"description": "The client has these bytes (If-None-Match)"}}
_FILE: Responses = {
    200: {
        "description": "The certificate file, byte for byte (RFC 8785); or a page, when the client prefers text/html",
        "content": {"application/json": {"schema": {"type": "object"}}, "text/html": {}},
    },
    **_KNOWN,
}

router = APIRouter(tags=["certificates"])


@router.get(
    "/batches/{batch_id}/certificate",
    operation_id="getBatchCertificate",
    summary="Newest certificate of a batch",
    response_class=Response,
    responses={**_FILE, **responses(404, 409, 422, 503)},
)
def get_batch_certificate(request: Request, parts: PartsOf, batch_id: LotId, lang: Lang = None) -> Response:
    """The file's exact bytes, or the buyer's page, after Accept. A later revision may replace it: not immutable."""
    found = parts.shelf.latest(batch_id)
    if found is not None:
        return _certificate(request, parts, found, lang, newest=True)
    if prefers_html(request.headers.get("accept", "")):
        return absent_page(parts, batch_id, language_of(lang))
    raise _absence(parts, batch_id)


def _absence(parts: Parts, lot_id: str) -> Exception:
    reasons = parts.shelf.refusal(lot_id)
    if reasons is not None:
        return PolicyRefused(tuple(reason.en for reason in reasons))
    found = lots.entry(parts.ledger.chain(), lot_id)
    if isinstance(found, Run):
        return NotFound(f"batch {lot_id} is being made by run {found.id}; its certificate follows when that closes")
    return NotFound(f"batch {lot_id} has no certificate: it is not a certified product, or its readings are awaited")


@router.get("/certificates", include_in_schema=False)
def find_certificate(parts: PartsOf, lot: Annotated[str, Query(max_length=80)], lang: Lang = None) -> Response:
    """The form of the home page: a number typed from a bag, or the certificate's own. Spaces and case are forgiven."""
    wanted = lot.strip()
    if not ID_PATTERN.fullmatch(wanted):
        raise NotFound(f"no lot {wanted!r}; expected letters, digits, dots or hyphens, as printed on the bag")
    suffix = "?lang=en" if language_of(lang) == "en" else ""
    known = [lots.id_of(found) for _, found in lots.entries(parts.ledger.chain())]
    certificate = CertificateId.typed(wanted)
    if wanted not in known and certificate is not None:
        certificate = replace(certificate, lot=_as_written(certificate.lot, known) or certificate.lot)
        if parts.shelf.has(certificate):
            return RedirectResponse(f"/certificates/{certificate}{suffix}", status_code=303)
    return RedirectResponse(f"/batches/{_as_written(wanted, known) or wanted}/certificate{suffix}", status_code=303)


def _as_written(typed: str, known: Sequence[str]) -> str | None:
    """The lot's number as it is written: the same, else the only one that differs in nothing but case."""
    if typed in known:
        return typed
    alike = [lot for lot in known if lot.casefold() == typed.casefold()]
    return alike[0] if len(alike) == 1 else None


@router.get("/certificates/{certificate_id}.json", include_in_schema=False)
def download_certificate(request: Request, parts: PartsOf, certificate_id: CertificatePath) -> Response:
    """The same bytes as a download, whatever the client accepts."""
    name = CertificateId.parse(certificate_id)
    body = parts.shelf.certificate(name)
    return _bytes(request, body, _lasting(parts, body), attachment=f"{name}.json")


@router.get(
    "/certificates/{certificate_id}",
    operation_id="getCertificate",
    summary="One certificate",
    response_class=Response,
    responses={**_FILE, **responses(404, 422, 503)},
)
def get_certificate(request: Request, parts: PartsOf, certificate_id: CertificatePath, lang: Lang = None) -> Response:
    """The file's exact bytes, or the buyer's page, after Accept. The bytes never change; the page is verified anew."""
    return _certificate(request, parts, CertificateId.parse(certificate_id), lang)


@router.get(
    "/certificates/{certificate_id}/readings/{run_id}.parquet",
    operation_id="getSealedReadings",
    summary="Sealed readings of a run behind a certificate",
    response_class=FileResponse,
    responses={
        200: {"description": "time_ns, key, value, quality; ordered by time, then key", "content": {PARQUET: {}}},
        **_KNOWN,
        **responses(404, 422),
    },
)
def get_sealed_readings(
    request: Request,
    parts: PartsOf,
    certificate_id: CertificatePath,
    run_id: Annotated[
        str, Path(description="A run of the certificate", pattern=f"^{ID_PATTERN.pattern}$", max_length=64)
    ],
) -> Response:
    """Parquet, one file a run: give it to `filiere certificate verify FILE --readings FILE.parquet`."""
    proof = parts.prover.prove(CertificateId.parse(certificate_id))
    stated = proof.verification.statement
    if stated is None or all(run.id != run_id for run in stated.runs):
        raise NotFound(f"certificate {certificate_id} names no run {run_id!r}; its runs are listed on its page")
    path = parts.shelf.sealed_run(run_id)
    with path.open("rb") as stream:
        etag = f'"{hashlib.file_digest(stream, "sha256").hexdigest()}"'
    headers = {"ETag": etag, "Cache-Control": REVALIDATE}
    if is_known(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    return FileResponse(path, media_type=PARQUET, filename=f"{run_id}.parquet", headers=headers)


@router.get(
    "/keys/issuer.pub.pem",
    operation_id="getIssuerKey",
    summary="The issuer's public key",
    response_class=Response,
    responses={200: {"description": "Ed25519 public key, PEM", "content": {PEM: {}}}, **_KNOWN, **responses(404)},
)
def get_issuer_key(request: Request, parts: PartsOf) -> Response:
    """Compare its id with one that you have from another source than this server."""
    path = parts.settings.signing_key_path
    public = path.with_name(f"{path.stem}.pub.pem")
    if not public.is_file():
        raise NotFound("no key yet: it is made with the first certificate")
    body = public.read_bytes()
    etag = strong_etag(body)
    headers = {"ETag": etag, "Cache-Control": REVALIDATE}
    if is_known(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=PEM, headers=headers)


def _certificate(
    request: Request, parts: Parts, certificate_id: CertificateId, lang: str | None, *, newest: bool = False
) -> Response:
    if not prefers_html(request.headers.get("accept", "")):
        body = parts.shelf.certificate(certificate_id)
        cache = REVALIDATE if newest else _lasting(parts, body)
        return _bytes(request, body, cache, location=f"/certificates/{certificate_id}")
    if not parts.shelf.has(certificate_id):
        return absent_page(parts, certificate_id.lot, language_of(lang), asked=certificate_id)
    page = certificate_page(parts, certificate_id, language_of(lang))
    etag = strong_etag(bytes(page.body))
    page.headers.update({"ETag": etag, "Cache-Control": REVALIDATE, "Vary": "Accept"})
    if is_known(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=dict(page.headers) | {"Content-Length": "0"})
    return page


def _lasting(parts: Parts, body: bytes) -> str:
    """A certificate that is authentic never changes. A damaged file may be put right: nobody keeps it for a year."""
    return FOREVER if verify(body, trusted=parts.shelf.trusted_keys()).authentic else REVALIDATE


def _bytes(
    request: Request, body: bytes, cache: str, *, attachment: str | None = None, location: str | None = None
) -> Response:
    etag = strong_etag(body)
    headers = {"ETag": etag, "Cache-Control": cache, "Vary": "Accept"}
    if location is not None:
        headers["Content-Location"] = location
    if attachment is not None:
        headers["Content-Disposition"] = f'attachment; filename="{attachment}"'
    if is_known(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)
