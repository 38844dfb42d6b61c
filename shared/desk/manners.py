"""The manners of every call and answer: a body has a size and a time, an answer has the headers that keep browsers from
guessing, and what nobody has thought of is a problem like any other.
"""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import words
from shared.desk.problems import Tell, Unusable, answer, failed, problem_of, told

LARGEST = 1_000_000
"""Bytes of a body: 200 requests have a quarter of it."""
BODY_SECONDS = 10.0
"""How long a body may take to arrive, to its last byte."""
_SECURITY = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
}
_API = "/api/"
_CLOSE = {"Connection": "close"}  # else the rest of the body would be waited for


class Mannered:
    """An ASGI app around another: a route is entered when the whole body is there."""

    def __init__(self, app: ASGIApp, tell: Tell | None = None) -> None:
        self._app, self._tell = app, tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def mannered(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY.items():
                    headers.setdefault(name, value)
            await send(message)

        scope = _filled(scope)
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            refused = Unusable("the address: must have no null character, which no database keeps in a text", 400)
            await told(self._tell, Request(scope), problem_of(refused))(scope, receive, mannered)
            return
        try:
            body = await _read(scope, receive)
        except Unusable as error:
            await answer(problem_of(error), _CLOSE)(scope, receive, mannered)
            return
        if body is None:
            return
        try:
            await self._app(scope, _again(body, receive), mannered)
        except Exception:
            words.desk_failed(call=f"{scope['method']} {scope['path']}"[:200])
            if begun:
                raise
            await told(self._tell, Request(scope), failed())(scope, receive, mannered)


def _filled(scope: Scope) -> Scope:
    """A call whose query has no blanks: a form sends every field that it has, and one that nobody filled in says nothing. What
    programs send is taken as they send it.
    """
    if scope["path"].startswith(_API):
        return scope
    said = [pair for pair in scope["query_string"].split(b"&") if pair.partition(b"=")[2]]
    return {**scope, "query_string": b"&".join(said)}


async def _read(scope: Scope, receive: Receive) -> bytes | None:
    """The whole body; None where the caller has gone. Raises Unusable for one that is too large or too slow."""
    told = Headers(scope=scope).get("content-length", "0")
    if not (told.isascii() and told.isdigit()) or int(told[:20]) > LARGEST:
        raise _too_large()
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                body += message.get("body", b"")
                if len(body) > LARGEST:
                    raise _too_large()
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise Unusable(f"the body: must arrive within {BODY_SECONDS:.0f} seconds", 408) from None


def _too_large() -> Unusable:
    return Unusable(f"the body: must have at most {LARGEST} bytes", 413)


def _again(body: bytes, receive: Receive) -> Receive:
    """What an app receives that reads a body which is there already."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again
