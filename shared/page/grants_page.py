"""Leases and grants on the page, and one grant whole: both sides as last read, why, until when, and all that happened."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from shared.desk.api import requests_listing
from shared.desk.audit_api import proven
from shared.desk.looking_api import (
    Account,
    Ecr,
    GrantNamed,
    Instance,
    grant_of,
    grants_listing,
    history_listing,
    leases_listing,
)
from shared.desk.pages import After, some
from shared.errors import BadInput
from shared.ledger.consent import RequestsAsked
from shared.ledger.looking import GrantsAsked, LeasesAsked
from shared.messages.approval import DESK
from shared.messages.catalogue import find
from shared.messages.forms import GrantId, Instant, RequestId
from shared.page.viewer import Looking

routes = APIRouter()

_EVENTS = 25
_REQUESTS = 10


@routes.get("/leases")
def leases(
    viewer: Looking,
    grant: GrantId | None = None,
    account: Account = None,
    ecr: Ecr = None,
    instance: Instance = None,
    request: RequestId | None = None,
    ends_before: Instant | None = None,
    ends_after: Instant | None = None,
    open: bool | None = None,  # noqa: A002  # its name in the API
    text: Annotated[str | None, Query(min_length=3, max_length=128)] = None,
    after: After = None,
) -> Response:
    """Leases, the newest first, open and past."""
    asked = LeasesAsked(
        grant,
        account,
        ecr,
        instance,
        request,
        None if ends_before is None else round(ends_before.timestamp() * 1000),
        None if ends_after is None else round(ends_after.timestamp() * 1000),
        open,
        text,
    )
    lines, further = some(leases_listing(viewer.parts, viewer.scope, asked), viewer.parts.seals, after)
    said = {"grant": grant, "account": account, "ecr": ecr, "instance": instance, "request": request, "text": text}
    said |= {name: viewer.request.query_params.get(name) for name in ("ends_before", "ends_after")}
    said["open"] = None if open is None else str(open).lower()
    return viewer.page("leases.html", lines=lines, further=further, filters=said, desk=DESK)


@routes.get("/grants")
def grants(
    viewer: Looking,
    account: Account = None,
    ecr: Ecr = None,
    instance: Instance = None,
    history: bool = False,
    after: After = None,
) -> Response:
    """Grants with both sides as last read."""
    asked = GrantsAsked(account, ecr, instance, history)
    lines, further = some(grants_listing(viewer.parts, viewer.scope, asked), viewer.parts.seals, after)
    filters = {"account": account, "ecr": ecr, "instance": instance, "history": "true" if history else None}
    return viewer.page("grants.html", lines=lines, further=further, filters=filters)


@routes.get("/grants/{grant_id}")
def grant(viewer: Looking, grant_id: GrantNamed, after: After = None) -> Response:
    """One grant."""
    parts, scope = viewer.parts, viewer.scope
    found = grant_of(parts, scope, grant_id)
    try:
        events, further = some(history_listing(parts, scope, grant_id), parts.seals, after, _EVENTS)
        told = True
    except BadInput as error:
        if error.code != "NoSuchGrant":
            raise
        events, further, told = [], None, False  # they see their own lease there, and neither account
    asked = requests_listing(parts, scope, RequestsAsked(grant_id=grant_id))
    requests, _ = some(asked, parts.seals, None, _REQUESTS)
    return viewer.page(
        "grant.html",
        grant=found,
        events=events,
        further=further,
        told=told,
        proof=proven(parts, grant_id) if told else None,
        requests=requests,
        desk=DESK,
        meaning=find,
        filters={},
    )
