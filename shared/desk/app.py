"""The desk as an ASGI app: its routes, its manners, and signing in."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from authlib.oauth2.rfc7636 import create_s256_code_challenge
from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse
from pydantic import BaseModel, ConfigDict, Field

from shared.desk.admits import unmet
from shared.desk.api import Anybody, Here, api
from shared.desk.audit_api import audit
from shared.desk.checking_api import checking
from shared.desk.configuration_api import configurations
from shared.desk.deciding_api import deciding
from shared.desk.describing import completed
from shared.desk.figures_api import figures
from shared.desk.finding_api import finding
from shared.desk.looking_api import looking
from shared.desk.manners import Mannered
from shared.desk.operating_api import operating
from shared.desk.parts import COOKIE, Parts
from shared.desk.problems import ANY, NotSignedIn, Tell, documented, install
from shared.desk.search_api import searching
from shared.desk.signin import Back, local_path
from shared.desk.tokens import SESSION, SHORT, Use
from shared.errors import BadInput

_BEGUN = "__Host-desk-begun"


class CodeBody(BaseModel):
    """What the command line was sent back with."""

    model_config = ConfigDict(extra="forbid")
    code: Annotated[str, Field(max_length=8000)]
    verifier: Annotated[str, Field(pattern=r"^[A-Za-z0-9._~-]{43,128}$")]


class Bearer(BaseModel):
    """A token to show in ``Authorization: Bearer``."""

    token: str
    seconds: int


class DeskApp(FastAPI):
    """The app, which describes itself whole."""

    def openapi(self) -> dict[str, Any]:
        """As OpenAPI 3.1."""
        if not self.openapi_schema:
            self.openapi_schema = completed(super().openapi(), self.routes)
        return self.openapi_schema


@dataclass(frozen=True)
class Face:
    """What else the desk shows than its API: routes of its own, and how it tells a problem to whoever looks at them."""

    routes: APIRouter
    tell: Tell


def make(parts: Parts | None = None, face: Face | None = None) -> DeskApp:
    """The app over these parts; without them it only describes itself."""
    app = DeskApp(
        title="ECR Grants: the desk",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # it would send to wherever the Host header says
    )
    app.state.parts = parts
    tell = None if face is None else face.tell
    install(app, unmet, tell)
    app.include_router(api)
    app.include_router(looking)
    app.include_router(configurations)
    app.include_router(finding)
    app.include_router(checking)
    app.include_router(deciding)
    app.include_router(operating)
    app.include_router(audit)
    app.include_router(searching)
    app.include_router(figures)
    _sign_in(app)
    _sessions(app)

    @app.get("/api/v1/openapi.json", include_in_schema=False)
    def document(_caller: Anybody) -> JSONResponse:
        """This API, as OpenAPI."""
        return JSONResponse(app.openapi())

    if face is not None:
        app.include_router(face.routes)
    app.add_middleware(Mannered, tell=tell)
    return app


def _sign_in(app: FastAPI) -> None:
    @app.get("/sign-in", include_in_schema=False)
    def begin(
        parts: Here,
        _caller: Anybody,
        to: Annotated[str, Query(max_length=500)] = "/",
        port: Annotated[int | None, Query(ge=1024, le=65535)] = None,
        challenge: Annotated[str, Query(pattern=r"^([A-Za-z0-9_-]{43})?$")] = "",
        mark: Annotated[str, Query(pattern=r"^[A-Za-z0-9_-]{0,100}$")] = "",
        anew: Annotated[bool, Query()] = False,
    ) -> Response:
        """Off to the provider; ``anew``: to sign in there again, where it can be asked for that. ``port``: where a command line
        on the same machine waits; what it is sent back there is worth nothing without the verifier of its ``challenge``
        (RFC 7636), and comes with its ``mark``.
        """
        if port is not None and not challenge:
            raise BadInput("challenge: must be given with a port")
        begun = parts.sign_in.begin(anew=anew)
        kept = {**begun.kept, "to": local_path(to), "port": str(port or ""), "challenge": challenge, "mark": mark}
        response = RedirectResponse(begun.address, 303)
        _put(response, _BEGUN, parts.seals.make(Use.STATE, kept, SHORT), int(SHORT.total_seconds()))
        return response

    @app.get("/sign-in/back", include_in_schema=False)
    def back(
        request: Request,
        parts: Here,
        _caller: Anybody,
        state: Annotated[str, Query(max_length=200)] = "",
        code: Annotated[str, Query(max_length=4000)] = "",
        error: Annotated[str, Query(max_length=200)] = "",
        iss: Annotated[str, Query(max_length=500)] = "",
    ) -> Response:
        """And back: whoever signed in gets a session, or the command line a code."""
        kept = parts.seals.read(Use.STATE, request.cookies.get(_BEGUN, ""))
        subject, at = parts.sign_in.finish(Back(state=state, code=code, error=error, iss=iss), kept)
        session = secrets.token_urlsafe(16)
        said = {"subject": subject, "at": None if at is None else at.timestamp(), "session": session}
        if kept["port"]:
            given = parts.seals.make(Use.CODE, {**said, "challenge": kept["challenge"]}, SHORT)
            address = f"http://127.0.0.1:{kept['port']}/?" + urlencode({"code": given, "mark": kept["mark"]})
            response: Response = RedirectResponse(address, 303)
        else:
            response = RedirectResponse(kept["to"], 303)
            _put(response, COOKIE, parts.seals.make(Use.SESSION, said, SESSION), int(SESSION.total_seconds()))
        response.delete_cookie(_BEGUN, secure=True, httponly=True, samesite="lax")
        return response


def _sessions(app: FastAPI) -> None:
    @app.post("/sign-out", include_in_schema=False)
    def out(request: Request, parts: Here, _caller: Anybody) -> Response:
        """The session is good no more, whoever kept its cookie or its token; and the browser forgets."""
        parts.leave(request)
        response: Response = PlainTextResponse("signed out\n")
        if "text/html" in request.headers.get("accept", ""):
            response = RedirectResponse("/", 303)
        response.delete_cookie(COOKIE, secure=True, httponly=True, samesite="lax")
        return response

    @app.post("/api/v1/tokens", responses=ANY | documented(401, 422))
    def exchange(parts: Here, _caller: Anybody, body: CodeBody) -> Bearer:
        """A code that the command line was sent back with, for a bearer token; it can be exchanged once."""
        said = parts.seals.read(Use.CODE, body.code)
        if create_s256_code_challenge(body.verifier) != said.pop("challenge"):
            raise NotSignedIn("verifier: the code belongs to another sign-in")
        parts.spend(body.code)
        token = parts.seals.make(Use.BEARER, said, SESSION)
        return Bearer(token=token, seconds=int(SESSION.total_seconds()))


def _put(response: Response, name: str, value: str, seconds: int) -> None:
    response.set_cookie(name, value, max_age=seconds, secure=True, httponly=True, samesite="lax", path="/")
