"""What an auditor asks, over the desk's API: who decided what, who may what, and how far the record is proven."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from shared.desk.api import Calling, Here, scope_of
from shared.desk.looking_api import GrantNamed, no_grant
from shared.desk.pages import TABLE, After, HowAnswered, Listing, Place, answered
from shared.desk.parts import Parts
from shared.desk.problems import ANY, documented
from shared.desk.shown import maybe, moment
from shared.ledger.decisions import DecisionsAsked, list_decisions
from shared.ledger.heads import covered, record_end
from shared.ledger.looking import history_seen
from shared.ledger.seeing import Scope
from shared.loop.rights import Right, rights
from shared.messages.consent import Strength
from shared.messages.forms import AccountId, GrantId, Instant, RequestId
from shared.rules.facts import Side
from shared.rules.questions import Command

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


MOST_EVENTS = 500
"""Events of a grant that are compared with their hashes."""


class ProofShown(BaseModel):
    """How far the record of a grant is proven, as far as is cheap to say; `ecr-grants ledger verify` proves all of it."""

    grant_id: str
    events: int = Field(description=f"its last events that were compared with their hashes, at most {MOST_EVENTS}")
    fault: int | None = Field(description="the first of them that is not what was recorded")
    last: int | None = Field(description="the number of its last event in the record")
    end: int = Field(description="the number of the record's last event")
    head: int | None = Field(description="the event of the last signed head that was put out of the database's reach")
    head_at: datetime | None
    covered: bool = Field(description="whether a signed head was put out since its last event")


@audit.get("/grants/{grant_id}/proof", responses=documented(401, 403, 404, 422))
def proof(parts: Here, caller: Calling, grant_id: GrantNamed) -> ProofShown:
    """How far the record of a grant is proven, for whoever may see one of its accounts."""
    return proof_of(parts, scope_of(parts, caller), grant_id)


def proof_of(parts: Parts, scope: Scope, grant_id: str) -> ProofShown:
    """The same. Raises BadInput (NoSuchGrant) for a grant that is not there, or may not be seen. Four statements."""
    if parts.ledger.read(history_seen, scope, grant_id, None, 0) is None:
        raise no_grant(grant_id)
    return proven(parts, grant_id)


def proven(parts: Parts, grant_id: str) -> ProofShown:
    """The same, for whoever was found to see one of its accounts already. Two statements."""
    found = parts.ledger.read(covered, grant_id, MOST_EVENTS)
    facts = {name: value for name, value in vars(found).items() if name != "head_at"}
    return ProofShown(grant_id=grant_id, **facts, head_at=maybe(found.head_at), covered=found.covered)


class RecordShown(BaseModel):
    """How far the record goes, and how far it was signed: what `ecr-grants ledger verify --heads` proves it by."""

    end: int = Field(description="the number of its last event")
    end_hash: str
    head: int | None = Field(description="the event of the last signed head that was put out of the database's reach")
    head_hash: str | None = Field(description="of that event as the record has it: the head itself has to say the same")
    head_at: datetime | None


@audit.get("/record", responses=documented(401, 403))
def record(parts: Here, caller: Calling) -> RecordShown:
    """How far the record goes, and how far it was signed."""
    scope_of(parts, caller)
    return record_of(parts)


def record_of(parts: Parts) -> RecordShown:
    """The same. Two statements."""
    found = parts.ledger.read(record_end)
    return RecordShown(
        end=found.seq,
        end_hash=found.hash,
        head=found.head,
        head_hash=found.head_hash,
        head_at=maybe(found.head_at),
    )


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


class RightLine(BaseModel):
    """What one person may on one account, as policy answers it now."""

    person: str
    account: str
    account_name: str
    environment: str
    owner: str = Field(description="the group that owns it")
    sees: bool
    asks: bool = Field(description="for a new grant on it")
    decides: list[Side] = Field(
        description="the sides of it that they may say yes for: freshly signed in, of what somebody else asked for"
    )
    instead_of: list[str] = Field(description="who delegated that to them")
    leads: bool
    operates: list[Command] = Field(description="the commands that they may give about it")


class RightsPage(BaseModel):
    """So many of them, by account and person, and where the next ones begin."""

    rights: list[RightLine]
    next: str | None


@audit.get("/rights", response_model=RightsPage, responses=TABLE | SEEN)
def who_may_what(
    parts: Here,
    caller: Calling,
    how: HowAnswered,
    person: Annotated[str | None, Query(max_length=200, description="what this person may")] = None,
    account: Annotated[AccountId | None, Query(description="who may what on this account")] = None,
    after: After = None,
) -> Response:
    """Who may what, on listed accounts that whoever calls may see. Without a person and an account: what they may themselves."""
    scope = scope_of(parts, caller)
    person = person or (scope.person if account is None else None)
    return answered(rights_listing(parts, scope, person, account), RightsPage, parts.seals, after, how)


def rights_listing(parts: Parts, scope: Scope, person: str | None, account: str | None) -> Listing:
    """What a person may, or who may what on an account; no statement is made for it."""
    standing, now = parts.standing(), parts.now()
    assert standing.version is not None  # noqa: S101  # it stands
    configuration = standing.version.configuration
    accounts = configuration.inventory.accounts
    uids = sorted(uid for uid in accounts if scope.sees(uid) and account in (None, uid))
    names = sorted(configuration.people.persons) if person is None else [person]

    def line(found: Right) -> RightLine:
        listed = accounts[found.account]
        more = {"account_name": listed.name, "environment": listed.environment, "owner": listed.owner}
        return RightLine(**vars(found), **more)

    def fetch(behind: Place | None, limit: int) -> list[Right]:
        pairs = ((name, uid) for uid in uids for name in names if behind is None or (uid, name) > tuple(behind))
        return list(islice(rights(standing, pairs, now), limit))

    of = {"list": "rights", "person": scope.person, "whose": person, "account": account}
    return Listing(of, fetch, place=lambda found: (found.account, found.person), line=line)


def _line(row: Any) -> DecisionLine:
    facts = {name: getattr(row, name) for name in DecisionLine.model_fields if name != "at"}
    return DecisionLine(**facts, at=moment(row.at))


def _millis(at: datetime | None) -> int | None:
    return None if at is None else round(at.timestamp() * 1000)
