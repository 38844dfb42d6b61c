"""Finding, over the desk's API: what waits for whoever calls, routers, what ends soon, the ranges of a router.

As with ``looking_api``: each route asks once what its caller may see, and nothing is read but through that.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, Field

from shared.desk.api import Calling, Here, PersonCalling, scope_of
from shared.desk.pages import TABLE, After, HowAnswered, Listing, Place, answered
from shared.desk.parts import Parts
from shared.desk.problems import ANY, documented
from shared.desk.shown import LeasesPage, lease_line, maybe
from shared.ledger.finding import COUNTED, EndsAsked, list_ends, list_routers, ranges_of
from shared.ledger.seeing import Scope
from shared.loop.waiting import Waits, waiting
from shared.messages.forms import EcrId
from shared.rules.facts import Side
from shared.rules.ranges import Change, Entry, LeaseRange, table

finding = APIRouter(prefix="/api/v1", responses=ANY)

SEEN = documented(401, 403, 422)
MOST_RANGES = 1_000
"""Leases of a router that its table of ranges is made of."""
OVERDUE = timedelta(days=3650)
"""How far back an end is looked for that has come, and is kept."""


class WaitsLine(BaseModel):
    """An open request that somebody may decide. ``sides``: for which they have not agreed; ``looked``: it can be decided now."""

    request_id: str
    batch: str | None
    kind: str
    instance_id: str
    instance_owner_uid: str
    ecr_id: str
    ecr_owner_uid: str
    requester: str
    reason: str
    emergency: bool
    asked_at: datetime
    lapses_at: datetime
    looked: bool
    failed: int
    unknown: int
    sides: list[Side]
    said: list[Side] = Field(description="the sides that they have agreed for")


class WaitingShown(BaseModel):
    """What waits for whoever calls, the oldest first. ``more``: there is more than was looked through."""

    waiting: list[WaitsLine]
    more: bool


class RouterLine(BaseModel):
    """A router. ``grants``: of which something is wanted, up or found; ``up``: of which something was seen up."""

    ecr_id: str
    ecr_owner_uid: str
    grants: int = Field(description=f"as far as {COUNTED}; {COUNTED + 1} stands for more")
    up: int = Field(description="counted as far as `grants` is")
    next_end: datetime | None = Field(description="of its open leases, the end that comes first, or is overdue")
    drifted: bool = Field(description="something on it was found to differ from what had settled")


class RoutersPage(BaseModel):
    """So many routers, by id, and where the next begins."""

    routers: list[RouterLine]
    next: str | None


class RangeLine(BaseModel):
    """A prefix that is let through for a grant. ``addresses``: how many it has; ``overlaps``: with which of other grants."""

    prefix: str
    addresses: int | None
    grant_id: str
    instance_id: str
    instance_owner_uid: str
    requests: list[str]
    ends_at: datetime | None
    endless: bool
    overlaps: list[str]
    change: Change


class RangesShown(BaseModel):
    """The table of a router, by network. ``more``: there are more leases than it was made of."""

    ranges: list[RangeLine]
    more: bool


@finding.get("/waiting", responses=documented(401, 403))
def waits(parts: Here, caller: PersonCalling) -> WaitingShown:
    """What waits for whoever calls to decide it, the oldest first."""
    scope = scope_of(parts, caller)
    version = parts.standing().version
    assert version is not None  # noqa: S101  # it stands
    found, more = waiting(parts.ledger, version.configuration, scope.person, parts.now())
    return WaitingShown(waiting=[waits_line(one) for one in found], more=more)


@finding.get("/ends", response_model=LeasesPage, responses=TABLE | SEEN)
def ends(
    parts: Here,
    caller: Calling,
    how: HowAnswered,
    days: Annotated[int, Query(ge=1, le=366, description="how many days ahead")] = 30,
    overdue: Annotated[bool, Query(description="instead, those whose end has come and that still stand")] = False,
    after: After = None,
) -> Response:
    """Open leases by their end, the one that ends first before the others."""
    listing = ends_listing(parts, scope_of(parts, caller), None if overdue else days)
    return answered(listing, LeasesPage, parts.seals, after, how)


def ends_listing(parts: Parts, scope: Scope, days: int | None) -> Listing:
    """Open leases that end in so many days; those that are overdue where none are said."""
    now = parts.now()
    since, until = (now - OVERDUE, now) if days is None else (now, now + timedelta(days=days))
    asked = EndsAsked(_millis(since), _millis(until))
    return Listing(
        of={"list": "ends", "person": scope.person, "days": days},
        fetch=lambda behind, limit: parts.ledger.glance(list_ends, scope, asked, behind, limit),
        place=lambda row: (row.ends_at, row.approval_id),
        line=lease_line,
    )


@finding.get("/routers", response_model=RoutersPage, responses=TABLE | SEEN)
def routers(parts: Here, caller: Calling, how: HowAnswered, after: After = None) -> Response:
    """Routers that something is or was wanted on, by id."""
    return answered(routers_listing(parts, scope_of(parts, caller)), RoutersPage, parts.seals, after, how)


def routers_listing(parts: Parts, scope: Scope) -> Listing:
    """The routers that whoever has this scope may see something on."""

    def fetch(behind: Place | None, limit: int) -> Sequence[Any]:
        return parts.ledger.glance(list_routers, scope, None if behind is None else str(behind[0]), limit)

    of = {"list": "routers", "person": scope.person}
    return Listing(of, fetch, place=lambda row: (row.ecr_id,), line=_router)


@finding.get("/exposure/{ecr_id}/ranges", responses=SEEN)
def ranges(parts: Here, caller: Calling, ecr_id: Annotated[EcrId, Path(description="the router")]) -> RangesShown:
    """What the open leases on a router let through, prefix by prefix."""
    leases, more = leases_on(parts, scope_of(parts, caller), ecr_id)
    return RangesShown(ranges=[range_line(one) for one in table(leases)], more=more)


def leases_on(parts: Parts, scope: Scope, ecr_id: str) -> tuple[list[LeaseRange], bool]:
    """The open leases on a router, as far as they may be seen; and whether there are more. One statement."""
    found = parts.ledger.glance(ranges_of, scope, ecr_id, MOST_RANGES + 1)
    return found[:MOST_RANGES], len(found) > MOST_RANGES


def range_line(entry: Entry) -> RangeLine:
    """An entry of a table."""
    return RangeLine(
        prefix=entry.prefix,
        addresses=entry.size,
        grant_id=entry.grant_id,
        instance_id=entry.instance_id,
        instance_owner_uid=entry.account,
        requests=list(entry.requests),
        ends_at=maybe(entry.ends_at),
        endless=entry.endless,
        overlaps=[f"{prefix} of {instance}" for prefix, instance in entry.overlaps],
        change=entry.change,
    )


def waits_line(one: Waits) -> WaitsLine:
    """An open request that waits for somebody."""
    standing = one.standing
    asked, looked = standing.asked, standing.looked
    grant = asked.wish.grant
    return WaitsLine(
        request_id=standing.request_id,
        batch=asked.batch,
        kind=asked.wish.kind,
        instance_id=grant.instance_id,
        instance_owner_uid=grant.instance_owner_uid,
        ecr_id=grant.ecr_id,
        ecr_owner_uid=grant.ecr_owner_uid,
        requester=asked.by.person,
        reason=asked.wish.reason,
        emergency=asked.wish.emergency,
        asked_at=asked.at,
        lapses_at=asked.lapses_at,
        looked=looked is not None,
        failed=0 if looked is None else looked.failed,
        unknown=0 if looked is None else looked.unknown,
        sides=list(one.sides),
        said=list(one.said),
    )


def _router(row: Any) -> RouterLine:
    return RouterLine(
        ecr_id=row.ecr_id,
        ecr_owner_uid=row.ecr_owner_uid,
        grants=row.shown,
        up=row.up,
        next_end=maybe(row.next_end),
        drifted=bool(row.drifted),
    )


def _millis(at: datetime) -> int:
    return round(at.timestamp() * 1000)
