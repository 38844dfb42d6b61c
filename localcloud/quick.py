"""Reads and writes what is small and complete without the detours of the HTTP library.

An HTTP library prepares every answer for everything an answer can be: streams, compression, ranges, cookies. Those of
the local cloud are a few headers and a few bytes, thousands of times a second, and preparing them costs more than
making them. Whatever is not that simple goes the library's own way.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import cast

from aiohttp import HttpVersion11, web

LARGEST = 64 * 1024
"""Larger bodies are written by the library, which waits for slow readers."""

_CLOSING = "Connection: close\r\n"
_REASONS = {status.value: status.phrase for status in HTTPStatus}


@dataclass(slots=True)
class Plain:
    """An answer that is simple from the start."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Written:
    """Stands for an answer that has been written: there is nothing left to do for the library."""

    __slots__ = ("keep_alive",)

    def __init__(self, *, keep_alive: bool) -> None:
        self.keep_alive = keep_alive

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing: the head is out."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing: the body is out."""


_KEPT = cast("web.StreamResponse", _Written(keep_alive=True))
_CLOSED = cast("web.StreamResponse", _Written(keep_alive=False))


def in_full(answer: Plain | web.StreamResponse) -> web.StreamResponse:
    """The answer as the library knows answers."""
    if isinstance(answer, Plain):
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)
    return answer


async def whole_body(request: web.BaseRequest) -> bytes:
    """The body of a request, without ado when it came together with the head, as most bodies do."""
    content = request.content
    if not content.is_eof():
        return await request.read()
    return content.read_nowait(-1)


class QuickWriter:
    """Writes answers of one server."""

    def __init__(self) -> None:
        self._second = 0
        self._date = ""

    def write(self, request: web.BaseRequest, answer: Plain | web.StreamResponse) -> web.StreamResponse:
        """Write the answer if it is simple; what the library gets to see in its place."""
        body = answer.body if type(answer) in {Plain, web.Response} else None  # type: ignore[union-attr]
        transport = request.transport
        if (
            not isinstance(body, bytes)
            or len(body) > LARGEST
            or answer.status in {204, 304}
            or transport is None
            or transport.is_closing()
            or request.method == "HEAD"
            or request.version != HttpVersion11
        ):
            return in_full(answer)
        headers = answer.headers
        fields = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        if fields.count("\n") != len(headers) or fields.count("\r") != len(headers) or "Content-Length" in headers:
            # Such as a header value with a line break in it: the library knows how to refuse that.
            return in_full(answer)
        keep_alive = request.keep_alive
        head = (
            f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, '')}\r\n{fields}Content-Length: {len(body)}\r\n"
            f"Date: {self._now()}\r\n{'' if keep_alive else _CLOSING}\r\n"
        )
        transport.write(head.encode() + body)
        return _KEPT if keep_alive else _CLOSED

    def _now(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._date = formatdate(second, usegmt=True)
        return self._date
