"""A request as people are shown it: what was asked and said, and what preflight saw, as far as whoever looks may see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, Field, JsonValue

from shared.ledger.seeing import Scope
from shared.loop.asking import Answer
from shared.messages.consent import Decided
from shared.rules.checked import CheckResult, may_be_told
from shared.rules.consent import Stage, Standing, how_it_ended, review_due
from shared.rules.facts import Side
from shared.rules.shown import differences

_LOOKED_AFTER = timedelta(minutes=1)
"""When whoever may not see account B is shown what was seen of account A: not by how long the look at B took."""
_OF_B: dict[str, Any] = {
    "check": "account-b",
    "result": str(CheckResult.UNKNOWN),
    "found": "what account B has is shown to its owners, and to those of the router",
    "advice": "Ask an owner of account B what they see.",
}


class Word(BaseModel):
    """One person's word that counts."""

    person: str
    side: Side
    at: datetime
    instead_of: str | None
    reason: str


class RequestShown(BaseModel):
    """A request as it stands. ``snapshot``: what a decision binds; without one preflight has not looked yet."""

    request_id: str
    batch: str | None
    stage: Stage
    round: int
    asked_by: str
    relay: str | None
    asked_at: datetime
    lapses_at: datetime
    wish: dict[str, Any]
    snapshot: str | None
    checks: list[JsonValue]
    failed: int
    unknown: int
    changed: list[str] = Field(description="what is not as it was shown in the round before")
    agreed: list[Word]
    void: list[Word]
    ended: str | None
    review_until: datetime | None
    reviewed: str | None
    takes: list[Side] | None = Field(description="the sides whose yes it takes at least, where that was just reckoned")


def shown(answer: Answer, scope: Scope, now: datetime) -> RequestShown:
    """How a request stands, as far as whoever looks may see it. Who sees neither account is shown the same of account B whatever
    is there, and as soon.
    """
    standing = answer.standing
    asked, told = standing.asked, preflight_told(scope, standing, now)
    return RequestShown(
        request_id=standing.request_id,
        batch=asked.batch,
        stage=standing.stage,
        round=told.round,
        asked_by=asked.by.person,
        relay=asked.by.relay,
        asked_at=asked.at,
        lapses_at=asked.lapses_at,
        wish=asked.wish.content,
        snapshot=told.snapshot,
        checks=[dict(one) for one in told.checks],
        failed=told.failed,
        unknown=told.unknown,
        changed=list(_changed(standing)) if told.sees else [],
        agreed=[word_shown(one) for one in standing.yes],
        void=[word_shown(one) for one in standing.void],
        ended=None if standing.stage is Stage.OPEN else how_it_ended(standing),
        review_until=review_due(standing),
        reviewed=None if standing.reviewed is None else standing.reviewed.by.person,
        takes=None if answer.needs is None else list(answer.needs.sides),
    )


@dataclass(frozen=True)
class Told:
    """What preflight saw last, as far as somebody may be told. ``sees``: they may see one of the accounts; ``whole``: that is all
    of it.
    """

    sees: bool
    whole: bool
    checks: Sequence[Mapping[str, Any]]
    failed: int
    unknown: int
    round: int
    snapshot: str | None
    looked_at: datetime | None


def preflight_told(scope: Scope, standing: Standing, now: datetime) -> Told:
    """What preflight saw of a request, for whoever has this scope."""
    looked, grant = standing.looked, standing.asked.wish.grant
    sees_b, sees_a = scope.sees(grant.instance_owner_uid), scope.sees(grant.ecr_owner_uid)
    if sees_a or sees_b:
        seen = [] if looked is None else [one for one in looked.checks if isinstance(one, dict)]
        checks, whole = may_be_told(seen, grant=sees_b, associate=sees_a)
        if looked is None:
            return Told(True, True, [], 0, 0, 0, None, None)
        return Told(True, whole, checks, looked.failed, looked.unknown, standing.round, looked.snapshot, looked.at)
    early = looked is None or now < standing.asked.at + _LOOKED_AFTER
    seen = [] if early or looked is None else [one for one in looked.checks if isinstance(one, dict)]
    checks, _ = may_be_told(seen, grant=False, associate=False)
    checks = [*checks, _OF_B]
    results = [one.get("result") for one in checks]
    failed, unknown = results.count(CheckResult.FAIL), results.count(CheckResult.UNKNOWN)
    return Told(False, False, checks, failed, unknown, 0, None, None)


def _changed(standing: Standing) -> tuple[str, ...]:
    """What is not as it was in the round before, a sentence each."""
    if standing.before is None or standing.looked is None:
        return ()
    return differences(standing.before.content, standing.looked.content)


def word_shown(one: Decided) -> Word:
    """A word."""
    return Word(person=one.by.person, side=Side(one.side), at=one.at, instead_of=one.instead_of, reason=one.reason)
