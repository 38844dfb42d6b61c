"""A request as people are shown it: what was asked and said, and what preflight saw, as far as whoever looks may see it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, Field, JsonValue

from shared.loop.asking import Answer
from shared.messages.consent import Decided, Looked
from shared.rules.checked import NAMES_OTHERS, OF_ACCOUNT_A, CheckResult
from shared.rules.consent import Stage, Standing, how_it_ended, review_due
from shared.rules.facts import Side
from shared.rules.shown import differences

_LOOKED_AFTER = timedelta(minutes=1)
"""When whoever may not see account B is shown what was seen of account A: not by how long the look at B took."""
_OF_B: dict[str, JsonValue] = {
    "check": "account-b",
    "result": CheckResult.UNKNOWN,
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


def shown(answer: Answer, now: datetime, *, whole: bool) -> RequestShown:
    """How a request stands. ``whole``: whoever looks may see account B; anybody else is shown the same whatever is there, and as
    soon.
    """
    standing = answer.standing
    asked = standing.asked
    looked = standing.looked
    checks = [] if looked is None else looked.checks
    if not whole:
        checks = [*_of_account_a(looked, asked.at, now), _OF_B]
    return RequestShown(
        request_id=standing.request_id,
        batch=asked.batch,
        stage=standing.stage,
        round=standing.round if whole else 0,
        asked_by=asked.by.person,
        relay=asked.by.relay,
        asked_at=asked.at,
        lapses_at=asked.lapses_at,
        wish=asked.wish.content,
        snapshot=looked.snapshot if whole and looked is not None else None,
        checks=checks,
        failed=_many(checks, CheckResult.FAIL),
        unknown=_many(checks, CheckResult.UNKNOWN),
        changed=list(_changed(standing)) if whole else [],
        agreed=[_word(one) for one in standing.yes],
        void=[_word(one) for one in standing.void],
        ended=None if standing.stage is Stage.OPEN else how_it_ended(standing),
        review_until=review_due(standing),
        reviewed=None if standing.reviewed is None else standing.reviewed.by.person,
        takes=None if answer.needs is None else list(answer.needs.sides),
    )


def _of_account_a(looked: Looked | None, asked_at: datetime, now: datetime) -> list[JsonValue]:
    if looked is None or now < asked_at + _LOOKED_AFTER:
        return []
    told = OF_ACCOUNT_A - NAMES_OTHERS
    return [one for one in looked.checks if isinstance(one, dict) and one.get("check") in told]


def _many(checks: list[JsonValue], result: CheckResult) -> int:
    return sum(isinstance(one, dict) and one.get("result") == result for one in checks)


def _changed(standing: Standing) -> tuple[str, ...]:
    """What is not as it was in the round before, a sentence each."""
    if standing.before is None or standing.looked is None:
        return ()
    return differences(standing.before.content, standing.looked.content)


def _word(one: Decided) -> Word:
    return Word(person=one.by.person, side=Side(one.side), at=one.at, instead_of=one.instead_of, reason=one.reason)
