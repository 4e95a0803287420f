"""The application: parts in, FastAPI out. Nothing is opened here; whoever calls opens and closes the stores."""

from collections.abc import Sequence
from pathlib import Path

from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry
from starlette.staticfiles import StaticFiles

from api import batches, certificates, health, lines, live, problems, quality, site
from api.edge import Edge, RequestCounts
from api.metrics import PathMetrics
from api.parts import Parts
from api.problems import Problem
from api.proof import Prover
from api.shelf import Shelf
from filiere.clock import Clock
from filiere.ledger import Ledger
from filiere.plant import Plant
from filiere.readings_store import ReadingsStore
from filiere.settings import Settings

VERSION = "0.1.0"
_DESCRIPTION = """Follow a recycled material from the bale to the buyer.

Masses are in kg, as decimal texts; fractions are 0..1; times are RFC 3339 in UTC; units are UCUM. Every error is an
RFC 9457 document (`application/problem+json`) whose `type` is a stable link to `/problems`. Addresses that have a page
give it to clients that prefer `text/html`, in French or, with `?lang=en`, in English.
"""
_TAGS = [
    {"name": "batches", "description": "Lots of material: what they came from, their readings, their quality."},
    {"name": "certificates", "description": "Signed certificates and what it takes to check them without this server."},
    {"name": "lines", "description": "Production lines now."},
    {"name": "live", "description": "The wall screen's stream."},
    {"name": "health", "description": "Is it alive, is it ready, how much of what."},
]


def create_app(
    *,
    settings: Settings,
    plant: Plant,
    store: ReadingsStore,
    ledger: Ledger,
    clock: Clock,
    extra_routers: Sequence[APIRouter] = (),
) -> FastAPI:
    """Build the API. `store` and `ledger` are open, and stay the caller's to close.

    `extra_routers` bring operations that are not part of the product, such as the demo's.
    """
    shelf = Shelf.of(settings)
    parts = Parts(
        settings=settings,
        plant=plant,
        store=store,
        ledger=ledger,
        clock=clock,
        shelf=shelf,
        prover=Prover(shelf),
        remembered=quality.Memory(),
    )
    registry = CollectorRegistry()
    registry.register(PathMetrics(parts))
    app = FastAPI(
        title="Filière",
        version=VERSION,
        summary="Lots, readings, quality and certificates of the workshops.",
        description=_DESCRIPTION,
        openapi_tags=[*_TAGS, *({"name": tag} for router in extra_routers for tag in router.tags)],
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    app.state.parts = parts
    app.state.registry = registry
    app.state.board = live.Board(parts)
    app.add_middleware(Edge, counts=RequestCounts(registry))
    problems.install(app)
    for part in (site, batches, quality, certificates, lines, live, health):
        app.include_router(part.router)
    for router in extra_routers:
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
    _describe_problems(app)
    return app


def _describe_problems(app: FastAPI) -> None:
    """Put the problem schema in the description, and take out FastAPI's own form of a 422, which is never sent."""
    made = app.openapi()
    schemas = made["components"]["schemas"]
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    own = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(own.pop("$defs", {}))
    schemas["Problem"] = own
    app.openapi_schema = made
