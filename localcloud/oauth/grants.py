"""What was given out and still counts: authorization codes, access tokens, refresh tokens. They live by the cloud's clock."""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Generic, TypeVar

from localcloud.clock import Clock
from localcloud.oauth.people import Application, Person

CODE_SECONDS = 300.0
"""How long a code can be exchanged; the vendor publishes no figure."""
MOST_KEPT = 10_000
METHODS = ("plain", "S256")
"""How a code challenge may be made, as the discovery document says."""

T = TypeVar("T")


@dataclass(frozen=True)
class Grant:
    """That a person let an application know who they are."""

    application: Application
    person: Person
    scopes: frozenset[str]
    offline: bool
    """Whether a refresh token was asked for."""
    nonce: str


@dataclass(frozen=True)
class Code:
    """A grant on its way back through the browser, and what whoever brings it must know."""

    grant: Grant
    redirect_uri: str
    challenge: str
    method: str

    def proven_by(self, verifier: str) -> bool:
        """Whether this is what the challenge was made from; without a challenge there is nothing to prove (RFC 7636)."""
        if not self.challenge:
            return not verifier
        made = verifier
        if self.method == "S256":
            made = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        return hmac.compare_digest(made.encode(), self.challenge.encode())


class Tokens(Generic[T]):
    """Random texts that stand for something until their time is over."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[str, tuple[float, T]] = {}

    def issue(self, value: T, seconds: float) -> str:
        """A new one."""
        now = self._clock.now()
        if len(self._kept) >= MOST_KEPT:
            self._kept = {token: kept for token, kept in self._kept.items() if kept[0] > now}
        token = secrets.token_urlsafe(48)
        self._kept[token] = (now + seconds, value)
        return token

    def read(self, token: str) -> T | None:
        """What it stands for; None when it does not count, or no more."""
        until, value = self._kept.get(token, (0.0, None))
        return value if until > self._clock.now() else None

    def take(self, token: str) -> T | None:
        """The same, and never again."""
        value = self.read(token)
        self._kept.pop(token, None)
        return value
