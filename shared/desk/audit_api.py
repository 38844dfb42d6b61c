"""What an auditor asks, over the desk's API: who decided what."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from shared.desk.api import Calling, Here, scope_of
from shared.desk.pages import TABLE, After, HowAnswered, Listing, answered
from shared.desk.parts import Parts
from shared.desk.problems import ANY, documented
from shared.desk.shown import moment
from shared.ledger.decisions import DecisionsAsked, list_decisions
from shared.ledger.seeing import Scope
from shared.messages.consent import Strength
from shared.messages.forms import AccountId, GrantId, Instant, RequestId
from shared.rules.facts import Side

audit = APIRouter(prefix="/api/v1", responses=ANY)

SEEN = documented(401, 403, 422)


class DecisionLine(BaseModel):
    """One person's word for one side of a request, as the grant function has heard it."""

    at: datetime
    person: str
    instead_of: str | None = Field(description="who delegated it to them")
    agrees: bool
    side: Side
    request_id: str
    grant_id: str
    ecr_owner_uid: str
    instance_owner_uid: str
    requester: str
    reason: str
    strength: Strength
    relay: str | None = Field(description="the system that it came through")


class DecisionsPage(BaseModel):
    """So many words, the newest first, and where the next ones begin."""

    decisions: list[DecisionLine]
    next: str | None


@audit.get("/decisions", response_model=DecisionsPage, responses=TABLE | SEEN)
def decisions(
    parts: Here,
    caller: Calling,
    how: HowAnswered,
    person: Annotated[str | None, Query(max_length=200, description="only what this person said")] = None,
    account: Annotated[AccountId | None, Query(description="only about this account, as either side")] = None,
    grant: Annotated[GrantId | None, Query(description="only about this grant")] = None,
    request: Annotated[RequestId | None, Query(description="only about this request")] = None,
    side: Annotated[Side | None, Query(description="only for this side")] = None,
    since: Annotated[Instant | None, Query(description="from then on")] = None,
    until: Annotated[Instant | None, Query(description="before then")] = None,
    after: After = None,
) -> Response:
    """Who decided what about requests that may be seen, the newest first. Systems decide nothing, and what they sealed is no
    decision of the desk: their approvals are leases.
    """
    scope = scope_of(parts, caller)
    asked = DecisionsAsked(person, account, grant, request, side, _millis(since), _millis(until))
    return answered(decisions_listing(parts, scope, asked), DecisionsPage, parts.seals, after, how)


def decisions_listing(parts: Parts, scope: Scope, asked: DecisionsAsked) -> Listing:
    """Words about what whoever has this scope may see, the newest first."""
    return Listing(
        of={"list": "decisions", "person": scope.person, "asked": vars(asked)},
        fetch=lambda behind, limit: parts.ledger.glance(list_decisions, scope, asked, behind, limit),
        place=lambda row: (row.at, row.seq),
        line=_line,
    )


def _line(row: Any) -> DecisionLine:
    facts = {name: getattr(row, name) for name in DecisionLine.model_fields if name != "at"}
    return DecisionLine(**facts, at=moment(row.at))


def _millis(at: datetime | None) -> int | None:
    return None if at is None else round(at.timestamp() * 1000)
