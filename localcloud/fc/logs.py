"""What functions print, kept so that a person can follow it and a test can look into it."""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

from localcloud.clock import iso_precise

KEPT = 20_000
"""Lines kept of one function."""
TAIL = 4096
"""Bytes of a request's log that the answer carries when it is asked to."""


class FunctionLog:
    """The lines of one function, numbered, newest last."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lines: deque[tuple[int, float, str, str, str, str]] = deque(maxlen=KEPT)
        self._next = 1
        self._readers: set[asyncio.Future[None]] = set()

    def write(self, instance: str, request_id: str, stream: str, text: str) -> None:
        """Add a line; ``stream`` is stdout, stderr or runtime (the platform's own remarks)."""
        self._lines.append((self._next, self._now(), instance, request_id, stream, text))
        self._next += 1
        for reader in self._readers:
            if not reader.done():
                reader.set_result(None)

    def read(self, after: int = 0) -> list[dict[str, Any]]:
        """The lines numbered above ``after``."""
        return [
            {
                "number": number,
                "time": iso_precise(moment),
                "instance": instance,
                "request_id": request_id,
                "stream": stream,
                "text": text,
            }
            for number, moment, instance, request_id, stream, text in self._behind(after)
        ]

    def _behind(self, after: int) -> list[tuple[int, float, str, str, str, str]]:
        """The newest lines, from the end, since most readers have seen the others."""
        found = list(itertools.islice(reversed(self._lines), max(0, self._next - 1 - after)))
        found.reverse()
        return found

    async def wait(self, after: int, seconds: float) -> None:
        """Until there is a line above ``after``, or so many real seconds."""
        if self._next - 1 > after or seconds <= 0:
            return
        reader: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._readers.add(reader)
        try:
            async with asyncio.timeout(seconds):
                await reader
        except TimeoutError:
            pass
        finally:
            self._readers.discard(reader)

    def tail(self, request_id: str) -> bytes:
        """The end of what one request printed."""
        parts: list[bytes] = []
        size = 0
        for _, _, _, owner, _, text in reversed(self._lines):
            if owner == request_id:
                parts.append(text.encode() + b"\n")
                size += len(parts[-1])
                if size >= TAIL:
                    break
        return b"".join(reversed(parts))[-TAIL:]

    def last_words(self, instance: str, lines: int = 12) -> str:
        """The last lines of one instance that it wrote itself, for messages about its end."""
        own = [text for _, _, owner, _, stream, text in self._lines if owner == instance and stream != "runtime"]
        return "\n".join(own[-lines:])
