"""Looking, over the desk's API: leases, grants, what happened, what is exposed, preflight, health.

Each route asks once what its caller may see, and nothing is read but through that. What somebody may not see is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response

from shared.desk import shown
from shared.desk.api import Anybody, Calling, Here, Id, scope_of, visible
from shared.desk.pages import TABLE, After, HowAnswered, Listing, Place, answered
from shared.desk.parts import Parts
from shared.desk.problems import ANY, documented
from shared.desk.requests_shown import preflight_told
from shared.errors import BadInput
from shared.ledger.configuration import newest_number
from shared.ledger.looking import (
    GrantsAsked,
    LeasesAsked,
    history_seen,
    list_exposed,
    list_grants,
    list_leases,
    seen_grant,
)
from shared.ledger.seeing import Scope
from shared.messages.forms import AccountId, EcrId, GrantId, InstanceId, Instant, RequestId
from shared.rules.checked import CheckResult

looking = APIRouter(prefix="/api/v1", responses=ANY)

SEEN = documented(401, 403, 404, 422)

Account = Annotated[AccountId | None, Query(description="an account, as either side")]
Ecr = Annotated[EcrId | None, Query(description="a router")]
Instance = Annotated[InstanceId | None, Query(description="a VPC or VBR")]
GrantNamed = Annotated[GrantId, Path(description="the grant's id")]


async def _leases_asked(
    grant: Annotated[GrantId | None, Query(description="a grant")] = None,
    account: Account = None,
    ecr: Ecr = None,
    instance: Instance = None,
    request: Annotated[RequestId | None, Query(description="the request that a lease comes from")] = None,
    ends_before: Annotated[Instant | None, Query(description="leases with an end, before this")] = None,
    ends_after: Annotated[Instant | None, Query(description="leases with an end, after this")] = None,
    open: Annotated[bool | None, Query(description="whether it counts, or will")] = None,  # noqa: A002  # its name in the API
    text: Annotated[str | None, Query(min_length=3, max_length=128, description="how an id or a prefix begins")] = None,
) -> LeasesAsked:
    """Which leases, as an address says it: of the API and of the page."""
    return LeasesAsked(grant, account, ecr, instance, request, _millis(ends_before), _millis(ends_after), open, text)


AskedLeases = Annotated[LeasesAsked, Depends(_leases_asked)]


@looking.get("/leases", response_model=shown.LeasesPage, responses=TABLE | SEEN)
def leases(parts: Here, caller: Calling, how: HowAnswered, asked: AskedLeases, after: After = None) -> Response:
    """Leases, the newest first, open and past."""
    listing = leases_listing(parts, scope_of(parts, caller), asked)
    return answered(listing, shown.LeasesPage, parts.seals, after, how)


def leases_listing(parts: Parts, scope: Scope, asked: LeasesAsked) -> Listing:
    """Leases for whoever has this scope, newest first."""
    return Listing(
        of={"list": "leases", "person": scope.person, **vars(asked)},
        fetch=lambda behind, limit: parts.ledger.glance(list_leases, scope, asked, behind, limit),
        place=lambda row: (row.admitted_at, row.approval_id),
        line=shown.lease_line,
    )


@looking.get("/grants", response_model=shown.GrantsPage, responses=TABLE | SEEN)
def grants(
    parts: Here,
    caller: Calling,
    how: HowAnswered,
    account: Account = None,
    ecr: Ecr = None,
    instance: Instance = None,
    history: Annotated[bool, Query(description="those that are long gone, too")] = False,
    after: After = None,
) -> Response:
    """Grants with both sides as last read, by id."""
    asked = GrantsAsked(account, ecr, instance, history)
    listing = grants_listing(parts, scope_of(parts, caller), asked)
    return answered(listing, shown.GrantsPage, parts.seals, after, how)


def grants_listing(parts: Parts, scope: Scope, asked: GrantsAsked) -> Listing:
    """Grants for whoever has this scope, by id."""

    def fetch(behind: Place | None, limit: int) -> Sequence[Any]:
        last = None if behind is None else str(behind[0])
        return parts.ledger.glance(list_grants, scope, asked, last, limit)

    of = {"list": "grants", "person": scope.person, **vars(asked)}
    return Listing(of, fetch, place=lambda row: (row.grant_id,), line=shown.grant_line)


@looking.get("/grants/{grant_id}", responses=SEEN)
def grant(parts: Here, caller: Calling, grant_id: GrantNamed) -> shown.GrantShown:
    """One grant: both sides as last read, why they are not as wanted, open leases and holds."""
    return grant_of(parts, scope_of(parts, caller), grant_id)


def grant_of(parts: Parts, scope: Scope, grant_id: str) -> shown.GrantShown:
    """One grant, for whoever may see it. Raises BadInput (NoSuchGrant)."""
    found = parts.ledger.read(seen_grant, scope, grant_id)
    if found is None:
        raise no_grant(grant_id)
    return shown.grant_shown(found)


@looking.get("/grants/{grant_id}/history", response_model=shown.HistoryPage, responses=TABLE | SEEN)
def history(parts: Here, caller: Calling, how: HowAnswered, grant_id: GrantNamed, after: After = None) -> Response:
    """What happened to a grant, the newest first, for whoever may see one of its accounts."""
    listing = history_listing(parts, scope_of(parts, caller), grant_id)
    return answered(listing, shown.HistoryPage, parts.seals, after, how)


def history_listing(parts: Parts, scope: Scope, grant_id: str) -> Listing:
    """What happened to a grant. Asked for, it raises BadInput (NoSuchGrant) where none of its accounts may be seen."""

    def fetch(behind: Place | None, limit: int) -> Sequence[Any]:
        found = parts.ledger.read(history_seen, scope, grant_id, None if behind is None else int(behind[0]), limit)
        if found is None:
            raise no_grant(grant_id)
        return found

    of = {"list": "history", "person": scope.person, "grant": grant_id}
    return Listing(of, fetch, place=lambda row: (row.seq,), line=shown.happened_line)


@looking.get("/exposure/{ecr_id}", response_model=shown.ExposurePage, responses=TABLE | SEEN)
def exposure(
    parts: Here,
    caller: Calling,
    how: HowAnswered,
    ecr_id: Annotated[EcrId, Path(description="the router")],
    after: After = None,
) -> Response:
    """What is exposed to a router: accounts, prefixes, ends. Of a router that one may not see it is nothing."""
    listing = exposure_listing(parts, scope_of(parts, caller), ecr_id)
    return answered(listing, shown.ExposurePage, parts.seals, after, how)


def exposure_listing(parts: Parts, scope: Scope, ecr_id: str) -> Listing:
    """What is exposed to a router, as far as whoever has this scope may see it."""

    def fetch(behind: Place | None, limit: int) -> Sequence[Any]:
        last = None if behind is None else str(behind[0])
        found, open_ = parts.ledger.read(list_exposed, scope, ecr_id, last, limit)
        return [shown.exposed_line(row, open_.get(row.grant_id, [])) for row in found]

    of = {"list": "exposure", "person": scope.person, "ecr": ecr_id}
    return Listing(of, fetch, place=lambda line: (line.grant_id,), line=lambda line: line)


@looking.get("/requests/{request_id}/preflight", responses=SEEN)
def preflight(parts: Here, caller: Calling, request_id: Id) -> shown.PreflightShown:
    """What preflight saw of a request last, check by check."""
    scope = scope_of(parts, caller)
    standing = visible(parts, scope, request_id)
    told, looked = preflight_told(scope, standing, parts.now()), standing.looked
    return shown.PreflightShown(
        request_id=request_id,
        round=told.round,
        looked_at=told.looked_at,
        snapshot=told.snapshot,
        whole=told.whole,
        failed=told.failed,
        unknown=told.unknown,
        checks=[
            shown.CheckShown(
                check=str(one.get("check", "")),
                result=CheckResult(one.get("result", CheckResult.UNKNOWN)),
                found=str(one.get("found", "")),
                advice=str(one.get("advice", "")),
            )
            for one in told.checks
        ],
        content=looked.content if told.sees and looked is not None else None,
    )


@looking.get("/health")
def health(parts: Here, _caller: Anybody) -> shown.Health:
    """Whether the desk can record anything now: the ledger answers, and a configuration is believed."""
    parts.gate.met(parts.ledger.glance(newest_number))
    parts.gate.look()
    fault = parts.gate.standing.fault
    return shown.Health(status="ok" if fault is None else "no configuration can be believed")


def no_grant(grant_id: str) -> BadInput:
    """What is told of a grant that is not there, or may not be seen."""
    return BadInput(f"grant_id: there is no grant {grant_id} that you may see", code="NoSuchGrant")


def _millis(at: datetime | None) -> int | None:
    return None if at is None else round(at.timestamp() * 1000)
