"""Who is calling: a person who signed in, a system with a token of its own, or nobody that is known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from shared.desk.problems import NotSignedIn
from shared.errors import NotAllowed
from shared.messages.consent import Strength, Voice
from shared.rules.people import People

FRESH = timedelta(minutes=15)
"""So long after signing in somebody counts as just signed in."""


class CallerKind(StrEnum):
    """What kind of caller it is."""

    PERSON = "person"
    SYSTEM = "system"
    STRANGER = "stranger"


class Caller(BaseModel):
    """Whoever calls. ``subject``: ``provider:name``, as the provider says; ``signed_in``: when a person did, where the provider
    says so; ``session``: the id of a sign-in, by which it can be ended; ``system``: an issuer that asks for ``subject``.
    """

    model_config = ConfigDict(frozen=True)
    kind: CallerKind
    subject: str = ""
    signed_in: datetime | None = None
    session: str = ""
    system: str | None = None

    def voice(self, people: People, now: datetime) -> Voice:
        """Whose word this is. Raises NotSignedIn for a stranger, NotAllowed for a subject that `people.yaml` does not list."""
        if self.kind is CallerKind.STRANGER:
            raise NotSignedIn("sign in first: `ecr-grants login`, or /sign-in in a browser")
        provider, _, name = self.subject.partition(":")
        person = people.person(provider, name)
        if person is None:
            raise NotAllowed(
                f"people.yaml lists nobody with the subject {self.subject}: ask an operator to add it",
                code="UnknownPerson",
            )
        return Voice(person=person, subject=self.subject, relay=self.system, strength=self.strength(now))

    def strength(self, now: datetime) -> Strength:
        """How sure it is."""
        if self.kind is CallerKind.SYSTEM:
            return Strength.RELAYED
        fresh = self.signed_in is not None and now - self.signed_in < FRESH
        return Strength.FRESH if fresh else Strength.SIGNED_IN


STRANGER = Caller(kind=CallerKind.STRANGER)


def moment(seconds: float) -> datetime:
    """A time in epoch seconds."""
    return datetime.fromtimestamp(seconds, UTC)
