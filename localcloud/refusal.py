"""How a call ends badly, sorted by what the gateway does next.

* Exception
  + Refusal              -- answered with a status, a code and a message in the service's own error format
    - Unauthenticated    -- the key or its token is no good; ``reason`` lets each service use its own code
    - Denied             -- RAM says no; carries the decision
    - Throttled          -- over a quota, or planned
  + Cut                  -- planned trouble: the connection is dropped without an answer
"""

from collections.abc import Mapping
from typing import Any


class Refusal(Exception):
    """The answer is no, with a reason; nothing was changed."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        details: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        body: tuple[str, bytes] | None = None,
        note: str = "",
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.details: Mapping[str, Any] = details or {}
        """Extra members of the error body, such as AccessDeniedDetail."""
        self.headers: Mapping[str, str] = headers or {}
        self.body = body
        """Content type and bytes that replace the usual error body: a planned 5xx in HTML, or with nothing in it."""
        self.note = note
        """What the journal adds where the service's own text does not tell; never on the wire."""

    @property
    def explained(self) -> str:
        """The message with the note behind it, for the journal."""
        return f"{self.message} {self.note}".rstrip()


class Unauthenticated(Refusal):
    """The access key or its session token is not accepted.

    ``reason`` is one of: unknown_key, inactive_key, missing_token, unexpected_token, malformed_token, mismatched_token,
    expired_token.
    """

    def __init__(self, reason: str, status: int, code: str, message: str) -> None:
        super().__init__(status, code, message)
        self.reason = reason


class Denied(Refusal):
    """RAM refused; the journal says why in full even where the wire does not."""


class Throttled(Refusal):
    """Too many calls, by quota or by plan."""


class Cut(Exception):
    """Planned trouble: drop the TCP connection without an answer."""


def not_emulated(what: str) -> Refusal:
    """What is not there says so by name."""
    return Refusal(501, "NotEmulated", f"{what} is not emulated by this local cloud.")
