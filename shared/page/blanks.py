"""Fields of a form that nobody filled in."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class WithoutBlanks:
    """An ASGI app around the page's: what a form sends empty counts as not sent.

    Browsers send every field of a form, those that are empty too (HTML, "constructing the entry list"). A page with filters would
    refuse each that nobody filled in; the API, whose callers say what they mean, still does.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One call."""
        if scope["type"] == "http" and scope["method"] == "GET" and not scope["path"].startswith("/api/"):
            said = scope["query_string"].split(b"&")
            scope = {**scope, "query_string": b"&".join(one for one in said if one.partition(b"=")[2])}
        await self._app(scope, receive, send)
