"""What the desk's routes work with: one for each process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request

from shared import words
from shared.desk.callers import STRANGER, Caller, CallerKind, moment
from shared.desk.limits import Limits
from shared.desk.problems import NotSignedIn, Unusable
from shared.desk.signin import SignIn
from shared.desk.tokens import SESSION, SHORT, Seals, Use, system_of
from shared.errors import GrantError, NotAllowed, Unconfigured
from shared.ledger.seeing import Scope
from shared.ledger.transactions import Ledger
from shared.ledger.used import Kind, use_once
from shared.loop.asking import Desk
from shared.loop.gate import Gate, Standing
from shared.loop.operating import Operators, Rights
from shared.loop.seeing import Sight
from shared.rules.inventory import Inventory
from shared.rules.people import People
from shared.settings import DeskSettings

COOKIE = "__Host-desk"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


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
        self.limits = Limits(settings, ledger, clock)
        self._sight = Sight(self.standing)
        self.rights = Rights(self.standing)

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

    def inventory(self) -> Inventory:
        """Which accounts there are, by the newest configuration."""
        version = self.standing().version
        assert version is not None  # noqa: S101  # it stands
        return version.configuration.inventory

    def desk(self) -> Desk:
        """The use cases."""
        self.gate.look()
        return Desk(self.ledger, self.gate, self._clock, lapse=timedelta(days=self.settings.lapse_days))

    def operators(self) -> Operators:
        """The use case of operators."""
        return Operators(self.ledger, self.gate, self._clock)

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

    def admitted(self, request: Request, kinds: frozenset[CallerKind]) -> Caller:
        """Who calls, counted. Where strangers are admitted nobody is asked who they are, so that whoever has a sign-in that ran
        out is let through to sign in anew.

        Raises NotSignedIn for strangers, and for what pretends to be a sign-in and is none; NotAllowed (PeopleDecide) for a
        system where people are meant; Throttled for too many calls.
        """
        if CallerKind.STRANGER in kinds:
            self.limits.stranger(request)
            return STRANGER
        try:
            found = self._known(request)
        except NotSignedIn:
            self.limits.stranger(request)
            raise
        self.limits.caller(found)
        if found.kind is CallerKind.PERSON:
            self.gate.overtaken()  # who is who, and may do what, is what the newest configuration says
        if found.kind not in kinds:
            raise NotAllowed(f"{found.system} is a system: it may ask, and people decide", code="PeopleDecide")
        return found

    def leave(self, request: Request) -> None:
        """End the session that a call comes with; whatever else it comes with is none, and needs no end."""
        try:
            found = self._known(request)
        except NotSignedIn:
            return
        if found.session:
            self.ledger.write(use_once, Kind.SESSION, found.session, _millis(self.now() + SESSION), self._clock())

    def _known(self, request: Request) -> Caller:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return self._bearer(token.strip())
        if scheme:
            raise NotSignedIn("Authorization: only Bearer is taken here")
        cookie = request.cookies.get(COOKIE)
        if not cookie:
            raise NotSignedIn("sign in first: `ecr-grants login`, or /sign-in in a browser")
        if request.method not in _SAFE:
            self._same_site(request)
        return _person(self.seals.read(Use.SESSION, cookie))

    def _bearer(self, token: str) -> Caller:
        if token.count(".") == 4:  # JWE: ours
            return _person(self.seals.read(Use.BEARER, token))
        self.gate.overtaken()  # as are the keys of systems
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


def _person(said: dict[str, Any]) -> Caller:
    at = said["at"]
    return Caller(
        kind=CallerKind.PERSON,
        subject=said["subject"],
        signed_in=None if at is None else moment(at),
        session=said["session"],
    )


def _millis(at: datetime) -> int:
    return round(at.timestamp() * 1000)
