"""Every error that leaves the API, mapped in one place to a status and an RFC 9457 problem document.

A client that asks for JSON, or for nothing in particular, gets `application/problem+json`; a browser gets a page.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Mount

from api.negotiation import prefers_html
from api.pages import language_of, render
from filiere.errors import (
    BalanceError,
    EventEarly,
    EventRefused,
    FiliereError,
    MessageRefused,
    NotAuthentic,
    NotFound,
    PolicyRefused,
    ScenarioError,
    StoreRefused,
    StoreUnavailable,
)
from filiere.plant import Label

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5
SHOWN_CHARACTERS_MAX = 200
"""Nothing a caller sent is repeated to them beyond this length."""
FIELD_ERRORS_MAX = 20
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

log = structlog.get_logger("api")


class BadRequest(FiliereError):
    """The request cannot be understood: the message says what was got and expected."""


class Busy(FiliereError):
    """A limit of this server is reached; trying again later is right."""


class NotYours(FiliereError):
    """The request is right, and not for whoever sent it: the message says from where it is taken."""


class NotNow(FiliereError):
    """The request is right, and cannot be done as things are: the message says what must be so first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One type of problem. `slug` is its stable name: clients compare `type`, never the title."""

    slug: str
    status: int
    title: Label
    advice: Label
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def type(self) -> str:
        """A relative reference to its paragraph on the page `/problems`."""
        return f"/problems#{self.slug}"


_AGAIN = {"Retry-After": str(RETRY_AFTER_S)}


def _kind(slug: str, status: int, titles: tuple[str, str], advice: tuple[str, str], **more: Any) -> Kind:
    return Kind(
        slug=slug,
        status=status,
        title=Label(fr=titles[0], en=titles[1]),
        advice=Label(fr=advice[0], en=advice[1]),
        **more,
    )


BAD_REQUEST = _kind(
    "bad-request",
    400,
    ("Demande incompréhensible", "Request not understood"),
    (
        "Reprendre la valeur telle que le serveur l’a donnée, ou recommencer sans elle.",
        "Use the value as the server gave it, or start again without it.",
    ),
)
FORBIDDEN = _kind(
    "forbidden",
    403,
    ("Demande réservée", "Not for everybody"),
    ("Refaire la demande depuis l’endroit que nomme le détail.", "Ask again from the place that the detail names."),
)
NOT_FOUND = _kind(
    "not-found",
    404,
    ("Introuvable", "Not found"),
    (
        "Vérifier le numéro, lettre par lettre, sur l’étiquette du sac.",
        "Check the number, letter by letter, on the label of the bag.",
    ),
)
NO_METHOD = _kind(
    "method-not-allowed",
    405,
    ("Méthode non permise", "Method not allowed"),
    ("Employer une méthode que nomme l’en-tête `Allow`.", "Use a method that the `Allow` header names."),
)
CONFLICT = _kind(
    "conflict",
    409,
    ("Impossible dans l’état actuel", "Not possible in the present state"),
    ("Corriger ce que dit le détail, puis recommencer.", "Correct what the detail says, then try again."),
)
REFUSED = _kind(
    "certificate-refused",
    409,
    ("Certificat refusé", "Certificate refused"),
    ("Chaque raison est donnée dans `reasons`.", "Every reason is listed in `reasons`."),
)
INVALID = _kind(
    "invalid-parameter",
    422,
    ("Paramètre non valide", "Invalid parameter"),
    ("Corriger les paramètres nommés dans `errors`.", "Correct the parameters named in `errors`."),
)
NOT_AUTHENTIC = _kind(
    "not-authentic",
    500,
    ("Fichier altéré", "Altered file"),
    (
        "Ne pas se fier à ce fichier ; demander l’original à l’atelier.",
        "Do not rely on this file; ask the workshop for the original.",
    ),
)
INTERNAL = _kind(
    "internal-error",
    500,
    ("Erreur du serveur", "Server error"),
    (
        "Réessayer ; si l’erreur revient, donner le numéro d’incident à l’atelier.",
        "Try again; if it comes back, give the incident number to the workshop.",
    ),
)
STORE_REFUSED = _kind(
    "store-refused",
    502,
    ("Base de données mal réglée", "Store refused"),
    (
        "L’exploitant doit vérifier le jeton et le nom de la base (voir /readyz).",
        "The operator must check the token and the bucket name (see /readyz).",
    ),
)
UNAVAILABLE = _kind(
    "store-unavailable",
    503,
    ("Base de données injoignable", "Store unavailable"),
    ("Rien n’est perdu : réessayer dans un instant.", "Nothing is lost: try again in a moment."),
    headers=_AGAIN,
)
BUSY = _kind(
    "busy",
    503,
    ("Trop de monde", "Busy"),
    ("Réessayer dans un instant.", "Try again in a moment."),
    headers=_AGAIN,
)

KINDS = (
    BAD_REQUEST,
    FORBIDDEN,
    NOT_FOUND,
    NO_METHOD,
    CONFLICT,
    REFUSED,
    INVALID,
    NOT_AUTHENTIC,
    INTERNAL,
    STORE_REFUSED,
    UNAVAILABLE,
    BUSY,
)
BY_ERROR: tuple[tuple[type[FiliereError], Kind], ...] = (
    (BadRequest, BAD_REQUEST),
    (Busy, BUSY),
    (NotNow, CONFLICT),
    (NotYours, FORBIDDEN),
    (ScenarioError, INVALID),
    (NotFound, NOT_FOUND),
    (PolicyRefused, REFUSED),
    (NotAuthentic, NOT_AUTHENTIC),
    (StoreUnavailable, UNAVAILABLE),
    (StoreRefused, STORE_REFUSED),
    (MessageRefused, INVALID),
    (EventRefused, INVALID),
    (EventEarly, CONFLICT),
    (BalanceError, CONFLICT),
)
"""What is not listed (a wrong plant file, a wrong setting) is the server's own fault: INTERNAL."""
BY_STATUS = {400: BAD_REQUEST, 404: NOT_FOUND, 405: NO_METHOD, 422: INVALID}


class FieldProblem(BaseModel):
    """One parameter that is wrong."""

    where: str = Field(description="Where it stood: `query.limit`, `path.batch_id`.", examples=["query.limit"])
    detail: str = Field(description="What was expected.", examples=["Input should be less than or equal to 200"])


class Problem(BaseModel):
    """RFC 9457 problem details. `type` is stable; `detail` is for people."""

    type: str = Field(description="Stable name of the problem, a link to its paragraph.", examples=[NOT_FOUND.type])
    title: str = Field(description="The same for every problem of this type.", examples=["Not found"])
    status: int = Field(description="HTTP status.", examples=[404])
    detail: str = Field(
        description="What was got, what was expected, what to do next.",
        examples=["no lot 'T1-0042' in the ledger; check the number on the bag"],
    )
    instance: str = Field(description="Path of the request.", examples=["/batches/T1-0042"])
    errors: list[FieldProblem] | None = Field(default=None, description="Each wrong parameter (422 only).")
    reasons: list[Any] | None = Field(default=None, description="Why a certificate was refused, each reason.")
    incident: str | None = Field(default=None, description="Number to give to the operator (500 only).")


Responses = dict[int | str, dict[str, Any]]


def responses(*statuses: int) -> Responses:
    """OpenAPI entries of the problems an operation answers with."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": _described(status), "content": {MEDIA_TYPE: {"schema": schema}}} for status in statuses
    }


def _described(status: int) -> str:
    return " / ".join(kind.title.en for kind in KINDS if kind.status == status) or HTTPStatus(status).phrase


def problem_response(request: Request, kind: Kind, detail: str, **more: Any) -> Response:
    """One problem, as JSON or as a page, after the client's Accept."""
    headers = {**kind.headers, "Cache-Control": "no-store", "Vary": "Accept"}
    if prefers_html(request.headers.get("accept", "")):
        return render(
            "problem.html",
            language=language_of(request.query_params.get("lang")),
            status=kind.status,
            headers=headers,
            kind=kind,
            detail=detail,
            errors=more.get("errors"),
            reasons=more.get("reasons"),
            incident=more.get("incident"),
        )
    body = {
        "type": kind.type,
        "title": kind.title.en,
        "status": kind.status,
        "detail": detail,
        "instance": request.url.path[:SHOWN_CHARACTERS_MAX],
        **more,
    }
    return JSONResponse(jsonable_encoder(body), status_code=kind.status, media_type=MEDIA_TYPE, headers=headers)


def internal_error(request: Request, error: Exception) -> Response:
    """500 that tells a stranger nothing; the log has the rest under the same incident number."""
    incident = secrets.token_hex(4)
    log.error("request failed", incident=incident, path=request.url.path, exc_info=error)
    return problem_response(
        request, INTERNAL, "something went wrong here; it was logged under the incident number", incident=incident
    )


def kind_of(error: FiliereError) -> Kind:
    """The first entry of BY_ERROR that fits."""
    return next((kind for error_type, kind in BY_ERROR if isinstance(error, error_type)), INTERNAL)


def _allowed(request: Request) -> tuple[str, ...]:
    """The methods that an address answers to; HEAD wherever GET is, see `api.edge`. Files are only read."""
    routes = [route for route in request.app.routes if not isinstance(route, Mount)]
    found = [
        method
        for method in METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    ]
    return ("GET", "HEAD", *found[1:]) if found[:1] in ([], ["GET"]) else tuple(found)


def install(app: FastAPI) -> None:
    """Register the handlers: the only place where an error becomes a status."""

    async def domain(request: Request, error: Exception) -> Response:
        assert isinstance(error, FiliereError)
        kind = kind_of(error)
        if kind is INTERNAL:
            return internal_error(request, error)
        if kind in (UNAVAILABLE, STORE_REFUSED):
            log.warning("store failed", path=request.url.path, problem=str(error))
            return problem_response(request, kind, "a store cannot be read now; /readyz says which one and what to do")
        more = {"reasons": list(error.reasons)} if isinstance(error, PolicyRefused) else {}
        return problem_response(request, kind, str(error), **more)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        kind = BY_STATUS.get(error.status_code)
        if kind is None:
            return internal_error(request, error)
        allowed = _allowed(request) if error.status_code == 405 else ()
        detail = {
            404: "there is nothing at this address; the list of addresses is at /docs",
            405: f"got {request.method[:20]}; expected {' or '.join(allowed)}",
        }.get(error.status_code, str(error.detail)[:SHOWN_CHARACTERS_MAX])
        response = problem_response(request, kind, detail)
        response.headers.update(error.headers or {})
        if allowed:
            response.headers["Allow"] = ", ".join(allowed)
        return response

    async def validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        errors = [
            FieldProblem(where=".".join(str(part) for part in entry["loc"]), detail=str(entry["msg"]))
            for entry in error.errors()[:FIELD_ERRORS_MAX]
        ]
        wrong = "; ".join(f"{problem.where}: {problem.detail}" for problem in errors)
        return problem_response(request, INVALID, wrong, errors=[problem.model_dump() for problem in errors])

    app.add_exception_handler(FiliereError, domain)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, validation)
