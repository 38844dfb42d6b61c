"""The page as a face of the desk: its routes, and how it tells people what went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import RedirectResponse

from shared.desk.app import Face
from shared.desk.parts import Parts
from shared.desk.problems import NotSignedIn, Problem, problem_of
from shared.desk.signin import local_path
from shared.errors import LedgerError, Unconfigured
from shared.messages.catalogue import find
from shared.page import (
    ask_page,
    audit_page,
    batches_page,
    configuration_page,
    decide_page,
    exposure_page,
    figures_page,
    front,
    grants_page,
    operate_page,
    requests_page,
    search_page,
)
from shared.page.rendering import LANGUAGE, rendered, with_query
from shared.page.statics import statics
from shared.page.texts import Language

_API = "/api/"
_YEAR = 365 * 24 * 3600

routes = APIRouter(include_in_schema=False)


@routes.get("/language/{language}")
async def choose(
    language: Annotated[Language, Path()], to: Annotated[str, Query(max_length=500)] = "/"
) -> RedirectResponse:
    """Speak this language from now on. Anybody may choose; nothing else is kept."""
    response = RedirectResponse(local_path(to), 303)
    response.set_cookie(LANGUAGE, language, max_age=_YEAR, secure=True, httponly=True, samesite="lax", path="/")
    return response


routes.include_router(statics)
routes.include_router(front.routes)
routes.include_router(requests_page.routes)
routes.include_router(ask_page.routes)
routes.include_router(grants_page.routes)
routes.include_router(exposure_page.routes)
routes.include_router(search_page.routes)
routes.include_router(decide_page.routes)
routes.include_router(operate_page.routes)
routes.include_router(configuration_page.routes)
routes.include_router(figures_page.routes)
routes.include_router(audit_page.routes)
routes.include_router(batches_page.routes)


def tell(request: Request, problem: Problem, headers: Mapping[str, str]) -> Response | None:
    """A problem as a page, for whoever looks at one; None where the API's form is right."""
    if request.url.path.startswith(_API) or "text/html" not in request.headers.get("accept", ""):
        return None
    if problem.code == NotSignedIn.code:
        problem = _unconfigured(request) or problem
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    asked = request.method == "GET"
    entry = find(problem.code)
    values = {
        "problem": problem,
        "meaning": entry,
        "back": _back(request),
        "sign_in": with_query("/sign-in", to=here if asked else _back(request)),
        "anew": with_query("/sign-in", to=here if asked else _back(request), anew="true"),
    }
    template = {"NotSignedIn": "welcome.html", "Unconfigured": "first_run.html"}.get(problem.code, "problem.html")
    shown = rendered(request, template, values, status=problem.status)
    shown.headers.update(headers)
    return shown


def _unconfigured(request: Request) -> Problem | None:
    """Without a configuration nobody can sign in: whoever comes is told how to begin. Asks the ledger while there is none."""
    parts: Parts = request.app.state.parts
    try:
        parts.standing()
    except Unconfigured as error:
        return problem_of(error)
    except LedgerError:
        return None
    return None


def _back(request: Request) -> str:
    """The page that they came from, where it was one of ours; else the front page."""
    came = request.headers.get("referer", "")
    own = f"{request.url.scheme}://{request.url.netloc}"
    return local_path(came.removeprefix(own)) if came.startswith(own + "/") else "/"


PAGE = Face(routes, tell)
