"""Leases and grants on the page, and one grant whole: both sides as last read, why, until when, and all that happened."""

from __future__ import annotations

from fastapi import APIRouter, Response

from shared.desk.api import requests_listing
from shared.desk.audit_api import proven
from shared.desk.looking_api import (
    Account,
    AskedLeases,
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
from shared.ledger.looking import GrantsAsked
from shared.messages.approval import DESK
from shared.messages.catalogue import find
from shared.page.viewer import Looking

routes = APIRouter()

_EVENTS = 25
_REQUESTS = 10


@routes.get("/leases")
def leases(viewer: Looking, asked: AskedLeases, after: After = None) -> Response:
    """Leases, the newest first, open and past."""
    lines, further = some(leases_listing(viewer.parts, viewer.scope, asked), viewer.parts.seals, after)
    said = {**vars(asked), "open": None if asked.open is None else str(asked.open).lower()}
    said |= {name: viewer.request.query_params.get(name) for name in ("ends_before", "ends_after")}
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
