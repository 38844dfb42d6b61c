"""Problem details (RFC 9457): every answer that is no success says what is wrong, by a stable code, in one form.

No text of an exception that is not ours reaches a caller: it may show what only the log may have.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from shared import words
from shared.errors import BadInput, GrantError, LedgerError, NotAllowed, TemporaryError, Throttled
from shared.messages.texts import fault

MEDIA = "application/problem+json"
_FAULTS = 20
_CONFLICTS = frozenset(
    {"RequestEnded", "NotLookedYet", "SnapshotChanged", "EmergencyOpen", "NameUsedAgain", "NoReview"}
)
_MISSING = frozenset({"NoSuchRequest", "NoSuchGrant"})


class Problem(BaseModel):
    """What an answer that is no success says. ``code`` is one of docs/errors.md; ``fields`` names what was wrong, one by one."""

    title: str
    status: int
    code: str
    detail: str
    fields: list[str] = []  # pydantic copies it


class NotSignedIn(GrantError):
    """Nobody knows who is calling."""

    code = "NotSignedIn"


class Unusable(GrantError):
    """The call itself is not one that is taken here. ``status`` as HTTP has it."""

    code = "CallRefused"

    def __init__(self, text: str, status: int, *, code: str | None = None) -> None:
        super().__init__(text, code=code)
        self.status = status


def answer(problem: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The problem as a response."""
    return JSONResponse(problem.model_dump(), problem.status, headers=dict(headers or {}), media_type=MEDIA)


def status_of(error: GrantError) -> int:
    """What HTTP calls it."""
    if isinstance(error, Unusable):
        return error.status
    if isinstance(error, NotSignedIn):
        return 401
    if error.code in _CONFLICTS:
        return 409
    if error.code in _MISSING:
        return 404
    if isinstance(error, BadInput):
        return 422
    if isinstance(error, NotAllowed):
        return 403
    if isinstance(error, Throttled):
        return 429
    return 503 if isinstance(error, TemporaryError) else 500


def problem_of(error: GrantError) -> Problem:
    """An error of ours as a problem: its text is for people, whoever reads it."""
    titles = {401: "sign in", 403: "not allowed", 404: "not here", 409: "not as it stands", 422: "bad input"}
    status = status_of(error)
    return Problem(title=titles.get(status, "not now"), status=status, code=error.code, detail=str(error))


def install(app: FastAPI) -> None:
    """Make every failure of an app a problem."""

    @app.exception_handler(GrantError)
    async def ours(_request: Request, error: Exception) -> Response:
        assert isinstance(error, GrantError)  # noqa: S101  # registered for it
        found = problem_of(error)
        headers = {"Retry-After": str(int(error.retry_after or 1))} if isinstance(error, Throttled) else {}
        if found.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return answer(found, headers)

    @app.exception_handler(LedgerError)
    async def away(_request: Request, error: Exception) -> Response:
        words.ledger_away(grant=None, reason=str(error))
        text = "the ledger does not answer: nothing was recorded, try again"
        return answer(Problem(title="not now", status=503, code="LedgerAway", detail=text), {"Retry-After": "5"})

    @app.exception_handler(RequestValidationError)
    async def unfit(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101  # registered for it
        told = [fault({**one, "loc": one["loc"][1:] or one["loc"]}) for one in error.errors()[:_FAULTS]]
        return answer(Problem(title="bad input", status=422, code="BadInput", detail="; ".join(told), fields=told))

    @app.exception_handler(HTTPException)
    async def theirs(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101  # registered for it
        detail = {404: "there is nothing at this address", 405: "this address takes no such call"}
        text = detail.get(error.status_code, "the call cannot be read")
        found = Problem(title="call refused", status=error.status_code, code="CallRefused", detail=text)
        return answer(found, error.headers)


async def guarded(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Whatever nobody has thought of is said in the log, and to the caller only that it happened."""
    try:
        return await call_next(request)
    except Exception:  # noqa: BLE001  # the last door before the caller
        words.desk_failed(call=f"{request.method} {request.url.path}"[:200])
        return answer(
            Problem(title="not now", status=500, code="Unexpected", detail="it failed, and the log has the rest")
        )


DOCUMENTED: dict[int | str, dict[str, Any]] = {
    code: {"model": Problem, "content": {MEDIA: {}}, "description": text}
    for code, text in {
        401: "nobody knows who is calling",
        403: "policy, or a rule of ours, does not let this caller",
        404: "there is no such thing, or this caller may not see it",
        409: "it stands otherwise by now",
        413: "the body is too large",
        422: "a field is wrong; each is named",
        429: "too many calls",
        503: "nothing was recorded, try again",
    }.items()
}
