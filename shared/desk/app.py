"""The desk as an ASGI app: its routes, its manners, and signing in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated
from urllib.parse import urlencode

from authlib.oauth2.rfc7636 import create_s256_code_challenge
from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import PlainTextResponse, RedirectResponse
from pydantic import BaseModel, ConfigDict, Field

from shared.desk.api import Here, api
from shared.desk.looking_api import looking
from shared.desk.parts import COOKIE, Parts
from shared.desk.problems import NotSignedIn, Problem, answer, guarded, install
from shared.desk.signin import local_path
from shared.desk.tokens import SESSION, SHORT, Use
from shared.errors import BadInput

LARGEST = 1_000_000
"""Bytes of a body: 200 requests have a quarter of it."""
_SECURITY = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
}
_BEGUN = "__Host-desk-begun"
_Next = Callable[[Request], Awaitable[Response]]


class CodeBody(BaseModel):
    """What the command line was sent back with."""

    model_config = ConfigDict(extra="forbid")
    code: Annotated[str, Field(max_length=8000)]
    verifier: Annotated[str, Field(pattern=r"^[A-Za-z0-9._~-]{43,128}$")]


class Bearer(BaseModel):
    """A token to show in ``Authorization: Bearer``."""

    token: str
    seconds: int


def make(parts: Parts) -> FastAPI:
    """The app over these parts."""
    app = FastAPI(
        title="ECR Grants: the desk", version="1", docs_url=None, redoc_url=None, openapi_url="/api/v1/openapi.json"
    )
    app.state.parts = parts
    install(app)
    app.include_router(api)
    app.include_router(looking)
    _sign_in(app)
    app.middleware("http")(guarded)
    app.middleware("http")(_mannered)  # outside of it: what failed has the headers, too
    return app


async def _mannered(request: Request, call_next: _Next) -> Response:
    """Bodies of a size that can be read, and headers that keep browsers from guessing."""
    length = request.headers.get("content-length", "0")
    if request.headers.get("transfer-encoding") or not length.isdigit() or int(length) > LARGEST:
        large = Problem(
            title="call refused", status=413, code="CallRefused", detail=f"a body has at most {LARGEST} bytes"
        )
        response: Response = answer(large)
    else:
        response = await call_next(request)
    for name, value in _SECURITY.items():
        response.headers.setdefault(name, value)
    return response


def _sign_in(app: FastAPI) -> None:
    @app.get("/sign-in", include_in_schema=False)
    def begin(
        parts: Here,
        to: Annotated[str, Query(max_length=500)] = "/",
        port: Annotated[int | None, Query(ge=1024, le=65535)] = None,
        challenge: Annotated[str, Query(pattern=r"^([A-Za-z0-9_-]{43})?$")] = "",
        mark: Annotated[str, Query(pattern=r"^[A-Za-z0-9_-]{0,100}$")] = "",
    ) -> Response:
        """Off to the provider. ``port``: where a command line on the same machine waits; what it is sent back there is worth
        nothing without the verifier of its ``challenge`` (RFC 7636), and comes with its ``mark``.
        """
        if port is not None and not challenge:
            raise BadInput("challenge: must be given with a port")
        begun = parts.sign_in.begin()
        kept = {**begun.kept, "to": local_path(to), "port": str(port or ""), "challenge": challenge, "mark": mark}
        response = RedirectResponse(begun.address, 303)
        _put(response, _BEGUN, parts.seals.make(Use.STATE, kept, SHORT), int(SHORT.total_seconds()))
        return response

    @app.get("/sign-in/back", include_in_schema=False)
    def back(
        request: Request,
        parts: Here,
        state: Annotated[str, Query(max_length=200)] = "",
        code: Annotated[str, Query(max_length=4000)] = "",
    ) -> Response:
        """And back: whoever signed in gets a session, or the command line a code."""
        kept = parts.seals.read(Use.STATE, request.cookies.get(_BEGUN, ""))
        subject, at = parts.sign_in.finish(code, state, kept)
        said = {"subject": subject, "at": at.timestamp()}
        if kept["port"]:
            given = parts.seals.make(Use.CODE, {**said, "challenge": kept["challenge"]}, SHORT)
            address = f"http://127.0.0.1:{kept['port']}/?" + urlencode({"code": given, "mark": kept["mark"]})
            response: Response = RedirectResponse(address, 303)
        else:
            response = RedirectResponse(kept["to"], 303)
            _put(response, COOKIE, parts.seals.make(Use.SESSION, said, SESSION), int(SESSION.total_seconds()))
        response.delete_cookie(_BEGUN, secure=True, httponly=True, samesite="lax")
        return response

    @app.post("/sign-out", include_in_schema=False)
    def out() -> Response:
        """The browser forgets."""
        response = PlainTextResponse("signed out\n")
        response.delete_cookie(COOKIE, secure=True, httponly=True, samesite="lax")
        return response

    @app.post("/api/v1/tokens", responses={401: {"model": Problem}, 422: {"model": Problem}})
    def exchange(parts: Here, body: CodeBody) -> Bearer:
        """A code that the command line was sent back with, for a bearer token; it can be exchanged once."""
        said = parts.seals.read(Use.CODE, body.code)
        if create_s256_code_challenge(body.verifier) != said.pop("challenge"):
            raise NotSignedIn("verifier: the code belongs to another sign-in")
        parts.spend(body.code)
        token = parts.seals.make(Use.BEARER, said, SESSION)
        return Bearer(token=token, seconds=int(SESSION.total_seconds()))


def _put(response: Response, name: str, value: str, seconds: int) -> None:
    response.set_cookie(name, value, max_age=seconds, secure=True, httponly=True, samesite="lax", path="/")
