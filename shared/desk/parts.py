"""What the desk's routes work with: one for each process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from fastapi import Request

from shared import words
from shared.desk.callers import STRANGER, Caller, CallerKind, moment
from shared.desk.problems import NotSignedIn, Unusable
from shared.desk.signin import SignIn
from shared.desk.tokens import SHORT, Seals, Use, system_of
from shared.errors import GrantError, Throttled, Unconfigured
from shared.ledger.seeing import Scope
from shared.ledger.transactions import Ledger
from shared.ledger.used import Kind, count, use_once
from shared.loop.asking import Desk
from shared.loop.gate import Gate, Standing
from shared.loop.seeing import Sight
from shared.rules.people import People
from shared.settings import DeskSettings

COOKIE = "__Host-desk"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_WINDOW = timedelta(minutes=1)
CALLS = 300
"""Calls of one caller in a minute."""


class Parts:
    """The ledger, the gate, who signs in and how, and the way to wake the grant function."""

    def __init__(
        self,
        settings: DeskSettings,
        ledger: Ledger,
        gate: Gate,
        sign_in: SignIn,
        send_wake: Callable[[], None],
        clock: Callable[[], int],
    ) -> None:
        """``clock``: epoch milliseconds."""
        self.settings, self.ledger, self.gate, self.sign_in = settings, ledger, gate, sign_in
        self._send_wake, self._clock = send_wake, clock
        self.seals = Seals(settings.desk_keys, self.now)
        self._sight = Sight(self.standing)

    def now(self) -> datetime:
        """The time."""
        return datetime.fromtimestamp(self._clock() / 1000, UTC)

    def standing(self) -> Standing:
        """The configuration that is believed. Raises Unconfigured where none is."""
        self.gate.look()
        standing = self.gate.standing
        if standing.version is None or standing.fault is not None:
            raise Unconfigured(standing.fault or "")
        return standing

    def people(self) -> People:
        """Who there is, by the newest configuration."""
        version = self.standing().version
        assert version is not None  # noqa: S101  # it stands
        return version.configuration.people

    def desk(self) -> Desk:
        """The use cases."""
        return Desk(self.ledger, self.gate, self._clock, lapse=timedelta(days=self.settings.lapse_days))

    def scope(self, person: str) -> Scope:
        """What somebody may see, as lists are narrowed to it."""
        return self._sight.scope(person, self.now())

    def wake(self) -> None:
        """Have the grant function hear what was said. Where it cannot be told now, the timer finds it."""
        try:
            self._send_wake()
        except GrantError as error:
            words.wake_lost(grant=None, code=error.code, reason=str(error))

    # -- who calls ---------------------------------------------------------------------------------------------------

    def caller(self, request: Request) -> Caller:
        """Who calls. Raises NotSignedIn for what pretends to be a sign-in and is none, Throttled for too many calls."""
        self.gate.overtaken()  # whoever left a group meanwhile is not in it any more
        found = self._known(request)
        if found.kind is not CallerKind.STRANGER:
            self._count(found)
        return found

    def _known(self, request: Request) -> Caller:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return self._bearer(token.strip())
        if scheme:
            raise NotSignedIn("Authorization: only Bearer is taken here")
        cookie = request.cookies.get(COOKIE)
        if not cookie:
            return STRANGER
        if request.method not in _SAFE:
            self._same_site(request)
        return _person(self.seals.read(Use.SESSION, cookie))

    def _bearer(self, token: str) -> Caller:
        if token.count(".") == 4:  # JWE: ours
            return _person(self.seals.read(Use.BEARER, token))
        standing = self.standing()
        return system_of(token, standing.keys, standing.deployment or "", self.now(), self._once)

    def _once(self, name: str, until: datetime) -> bool:
        return self.ledger.write(use_once, Kind.TOKEN, name, _millis(until), self._clock())

    def spend(self, code: str) -> None:
        """A code is good once. Raises NotSignedIn the second time."""
        name = f"code {hashlib.sha256(code.encode()).hexdigest()}"
        if not self._once(name, self.now() + SHORT):
            raise NotSignedIn("the code was exchanged before: sign in again")

    def _same_site(self, request: Request) -> None:
        """What goes by a cookie and changes something comes from our own pages. Raises Unusable (403)."""
        origin = request.headers.get("origin")
        own = urlsplit(self.settings.desk_address)
        if origin is not None and origin == f"{own.scheme}://{own.netloc}":
            return
        if origin is None and request.headers.get("sec-fetch-site") == "same-origin":
            return
        raise Unusable("Origin: this call changes something, and comes from another site", 403, code="CrossSite")

    def _count(self, caller: Caller) -> None:
        now, window = self._clock(), int(_WINDOW.total_seconds() * 1000)
        until = now - now % window + window
        often = self.ledger.write(count, Kind.CALLER, caller.system or caller.subject, until, now)
        if often > CALLS:
            error = Throttled(f"at most {CALLS} calls a minute are taken from one caller")
            error.retry_after = (until - now) / 1000
            raise error


def _person(said: dict[str, object]) -> Caller:
    return Caller(kind=CallerKind.PERSON, subject=str(said["subject"]), signed_in=moment(float(str(said["at"]))))


def _millis(at: datetime) -> int:
    return round(at.timestamp() * 1000)
