"""The pages around: home, problems, the API's own description drawn offline."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import HTMLResponse

from api.edge import DOCS_POLICY
from api.pages import language_of, render
from api.parts import PartsOf
from api.problems import KINDS

router = APIRouter(include_in_schema=False)

Lang = Annotated[str | None, Query(max_length=8)]


@router.get("/", response_class=HTMLResponse)
def home(parts: PartsOf, lang: Lang = None) -> HTMLResponse:
    """Where to go."""
    return render("home.html", language=language_of(lang), headers={"Cache-Control": "no-cache"}, plant=parts.plant)


@router.get("/problems", response_class=HTMLResponse)
def problems(lang: Lang = None) -> HTMLResponse:
    """What each problem type means: its paragraph is what `type` links to."""
    return render("problems.html", language=language_of(lang), headers={"Cache-Control": "no-cache"}, kinds=KINDS)


@router.get("/docs", response_class=HTMLResponse)
def docs() -> HTMLResponse:
    """Swagger UI from this server's own files."""
    return render(
        "docs.html",
        language="en",
        headers={"Cache-Control": "no-cache", "Content-Security-Policy": DOCS_POLICY},
    )
