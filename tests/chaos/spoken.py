"""What people said in the model test, and what it should amount to.

As `reference` does for approvals, it works that out from the design alone, and shares no code with what it judges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.model_world import written
from tests.chaos.reference import Document, Version

DESK = "desk"


@dataclass(frozen=True)
class Word:
    """One person's yes for one side, in the round in which it was said."""

    person: str
    instead_of: str | None
    side: str
    at: int


@dataclass
class Request:
    """What somebody asked for, as an approval says it, and what became of it. ``shown``: what deciders see now."""

    request_id: str
    requester: str
    approval: Document  # as it would be, without who approved it, and when
    emergency: bool
    asked_at: int
    lapses_at: int
    round: int = 0
    shown: str | None = None
    before: list[str] = field(default_factory=list)  # what was shown in earlier rounds
    failed: int = 0
    words: list[Word] = field(default_factory=list)
    void: list[Word] = field(default_factory=list)
    ended: str | None = None
    amounted: int = 0

    @property
    def opens(self) -> bool:
        """Whether it asks for a lease."""
        return str(self.approval["action"]) == "grant"

    def open_at(self, now: int) -> bool:
        """Whether anything can still be said of it."""
        return self.ended is None and now < self.lapses_at

    def show(self, snapshot: str, failed: int) -> None:
        """Preflight has looked: what changed voids what was said before."""
        self.failed = failed
        if snapshot == self.shown:
            return
        if self.shown is not None:
            self.before.append(self.shown)
        self.void += self.words
        self.words = []
        self.round += 1
        self.shown = snapshot

    def say(self, word: Word) -> bool:
        """Somebody agrees. Says whether that is news: whoever has agreed for a side has."""
        if any((one.person, one.side) == (word.person, word.side) for one in self.words):
            return False
        self.words.append(word)
        return True

    def document(self, words: list[Word]) -> Document:
        """The approval that these words come to."""
        at = max((one.at for one in words), default=self.asked_at)
        who = sorted({one.person for one in words}) or [self.requester]
        return {**self.approval, "approved_by": who, "approved_at": written(at)}


def speaks(person: str, side: str, requester: str, at: int, version: Version) -> tuple[bool, str | None]:
    """Whether a person may speak for a side at that time, and instead of whom."""
    owners = version.owners.get(side, frozenset()) if side == "associate" or version.listed else frozenset()
    if person == requester:
        return False, None
    if person in owners:
        return True, None
    for of, to, since, until in version.delegations:
        if to == person and of in owners and requester != of and since <= at < until:
            return True, of
    return False, None


def counted(request: Request, version: Version) -> list[Word]:
    """The words that count by a configuration: of who may speak, about what preflight found no fault in."""
    if request.failed:
        return []
    return [
        one
        for one in request.words
        if speaks(one.person, one.side, request.requester, one.at, version) == (True, one.instead_of)
    ]


def suffices(request: Request, version: Version, ends_at: int | None) -> Document | None:
    """The approval that a request comes to by a configuration; None where it does not."""
    words = counted(request, version)
    sides = {one.side for one in words}
    if not request.opens:
        sides |= {side for side in ("grant", "associate") if _owns(request.requester, side, version)}
        return request.document(words) if sides else None
    if not words or not version.listed or version.shut:
        return None
    last = max(one.at for one in words)
    endless = ends_at is None or request.approval["on_end"] == "report"
    if ends_at is not None and ends_at <= last:
        return None
    both = sides == {"grant", "associate"}
    b_side = "grant" in sides or (request.emergency and "associate" in sides)
    if not b_side or (endless and not both) or (version.strict and not request.emergency and not both):
        return None
    return request.document(words)


def _owns(person: str, side: str, version: Version) -> bool:
    return person in version.owners.get(side, frozenset()) and (side == "associate" or version.listed)


@dataclass
class Spoken:
    """All requests, by their ids."""

    requests: dict[str, Request] = field(default_factory=dict)
    documents: list[Document] = field(default_factory=list)  # of what was admitted

    def standing(self, now: int) -> Mapping[str, Any]:
        """Of those that can still be decided."""
        return {name: one for name, one in self.requests.items() if one.open_at(now)}
