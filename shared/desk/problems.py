"""Problem details (RFC 9457): every answer that is no success says what is wrong, by a stable code, in one form.

No text of an exception that is not ours reaches a caller, and of what is our trouble none at all: it may show what only the log
may have.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from shared import words
from shared.errors import BadInput, GrantError, LedgerError, NotAllowed, TemporaryError, Throttled
from shared.messages.catalogue import find
from shared.messages.texts import fault, name

MEDIA = "application/problem+json"
_FAULTS = 20
_CONFLICTS = frozenset(
    {"RequestEnded", "NotLookedYet", "SnapshotChanged", "EmergencyOpen", "NameUsedAgain", "NoReview"}
)
_MISSING = frozenset({"NoSuchRequest", "NoSuchGrant", "NoSuchTarget"})
_FAILED, _LEDGER_AWAY = "Unexpected", "LedgerAway"
_FIELD = re.compile(r"(?:(wishes\[\d+\]) \([^)]*\): )?([A-Za-z_][\w.\[\]-]*): ")


class Problem(BaseModel):
    """What an answer that is no success says."""

    type: str = Field(default="about:blank", description="what `status` and `code` say is all there is to it")
    title: str
    status: int
    code: str = Field(description="one of docs/errors.md")
    detail: str = Field(description="for people")
    field: str | None = Field(default=None, description="the field or header that is wrong, of several the first")
    fields: list[str] = Field(default=[], description="every field that is wrong, each with what was found in it")
    rule: list[str] = Field(default=[], description="the rules of the policy that decided")
    advice: list[str] = Field(default=[], description="what those say is to be done about it")


class NotSignedIn(GrantError):
    """Nobody knows who is calling."""

    code = "NotSignedIn"


class ProviderTrouble(TemporaryError):
    """The provider of sign-ins gave no usable answer. The text is for the log."""

    code = "ProviderAway"


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
    if error.code == "NotAsShown":
        return 412
    if error.code in _MISSING:
        return 404
    if isinstance(error, BadInput):
        return 422
    if isinstance(error, NotAllowed):
        return 403
    if isinstance(error, Throttled):
        return 429
    return 503 if isinstance(error, TemporaryError) else 500


_TITLES = {
    401: "sign in",
    403: "not allowed",
    404: "not here",
    408: "call refused",
    409: "not as it stands",
    412: "not as it stands",
    413: "call refused",
    422: "bad input",
}


def problem_of(error: GrantError) -> Problem:
    """An error of ours as a problem. Where the caller can do something, its text is for them; where it is trouble, what the
    catalogue says of its code.
    """
    status = status_of(error)
    title = _TITLES.get(status, "not now")
    if status >= 500:
        return Problem(title=title, status=status, code=error.code, detail=_meaning(error.code))
    found = _FIELD.match(str(error))
    field = ".".join(filter(None, found.groups())) if found else None
    told = error if isinstance(error, NotAllowed) else NotAllowed("")
    return Problem(
        title=title,
        status=status,
        code=error.code,
        detail=str(error),
        field=field,
        rule=list(told.rules),
        advice=list(told.advice),
    )


def failed() -> Problem:
    """What nobody has thought of."""
    return Problem(title="not now", status=500, code=_FAILED, detail="it failed, and the log has the rest")


def _meaning(code: str) -> str:
    entry = find(code)
    return failed().detail if entry is None else entry.en


Tell = Callable[[Request, Problem, Mapping[str, str]], Response | None]
"""How another face than the API tells a problem, with these headers; None where the API's form is right."""


def told(tell: Tell | None, request: Request, problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """A problem in the form of whoever called."""
    shown = None if tell is None else tell(request, problem, headers or {})
    return answer(problem, headers) if shown is None else shown


def install(app: FastAPI, unmet: Callable[[Request], None], tell: Tell | None = None) -> None:
    """Make every failure of an app a problem. ``unmet``: is told of calls that failed before any route was entered, and raises
    Throttled where that is too often. ``tell``: another form than the API's.
    """

    async def counted(request: Request, found: Response) -> Response:
        try:
            await run_in_threadpool(unmet, request)
        except GrantError as error:
            return await ours(request, error)
        except LedgerError as error:
            return await away(request, error)
        return found

    @app.exception_handler(GrantError)
    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, GrantError)  # noqa: S101  # registered for it
        found = problem_of(error)
        headers = {}
        if isinstance(error, Throttled):
            headers["Retry-After"] = str(int(error.retry_after or 1) + 1)
        elif found.status >= 500:
            words.desk_unable(call=call_of(request), code=error.code, reason=str(error))
            headers["Retry-After"] = "5"
        elif found.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return told(tell, request, found, headers)

    @app.exception_handler(LedgerError)
    async def away(request: Request, error: Exception) -> Response:
        words.ledger_away(grant=None, reason=str(error))
        found = Problem(title="not now", status=503, code=_LEDGER_AWAY, detail=_meaning(_LEDGER_AWAY))
        return told(tell, request, found, {"Retry-After": "5"})

    @app.exception_handler(RequestValidationError)
    async def unfit(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101  # registered for it
        return await counted(request, told(tell, request, _unfit(error.errors())))

    @app.exception_handler(HTTPException)
    async def theirs(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101  # registered for it
        detail = {404: "there is nothing at this address", 405: "this address takes no such call"}
        text = detail.get(error.status_code, "the call cannot be read")
        found = Problem(title="call refused", status=error.status_code, code="CallRefused", detail=text)
        return await counted(request, told(tell, request, found, error.headers))


def call_of(request: Request) -> str:
    """The call, as the log names it: no query, which may have a code in it."""
    return f"{request.method} {request.url.path}"[:200]


def _unfit(found: Sequence[Any]) -> Problem:
    """What does not fit, field by field; where it stood (body, query, header) is no part of a field's name."""
    first = found[:_FAULTS]
    told = [fault({**one, "loc": one["loc"][1:] or one["loc"]}) for one in first]
    field = ".".join(name(str(part)) for part in first[0]["loc"][1:]) if first else ""
    return Problem(
        title="bad input", status=422, code="BadInput", detail="; ".join(told), field=field or None, fields=told
    )


_TEXTS = {
    400: "the call cannot be read",
    401: "nobody knows who is calling",
    403: "policy, or a rule of ours, does not let this caller",
    404: "there is no such thing, or this caller may not see it",
    408: "the body did not arrive in time",
    409: "it stands otherwise by now",
    412: "it does not stand any more as `If-Match` says",
    413: "the body is too large",
    422: "a field is wrong; each is named",
    429: "too many calls; `Retry-After` says when to call again",
    500: "it failed, and the log has the rest",
    503: "nothing was recorded, try again",
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Problems that a route may answer with, as OpenAPI describes them."""
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {one: {"description": _TEXTS[one], "content": {MEDIA: schema}} for one in statuses}


ANY = documented(400, 408, 413, 429, 500, 503)
"""What every route may answer with."""
