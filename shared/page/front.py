"""The front page: what waits for whoever looks, what became of what they asked, what ends, and what needs an operator."""

from __future__ import annotations

from fastapi import APIRouter, Response

from shared.desk.api import requests_listing
from shared.desk.finding_api import ends_listing, waits_line
from shared.desk.operating_api import drift_listing, work_listing
from shared.desk.pages import some
from shared.ledger.consent import RequestsAsked
from shared.ledger.operating_seen import WorkState
from shared.loop.waiting import waiting
from shared.page.viewer import Looking

routes = APIRouter()

_FEW = 5
_DAYS = 7


@routes.get("/")
def front(viewer: Looking) -> Response:
    """A little of everything that is open, each with the way to all of it."""
    parts, scope = viewer.parts, viewer.scope
    waits, _ = waiting(parts.ledger, viewer.configuration, viewer.person, parts.now())
    open_now = [one for one in waits if one.sides]
    mine, more_of_mine = some(
        requests_listing(parts, scope, RequestsAsked(requester=viewer.person)), parts.seals, None, _FEW
    )
    ends, more_ends = some(ends_listing(parts, scope, _DAYS), parts.seals, None, _FEW)
    overdue, more_overdue = some(ends_listing(parts, scope, None), parts.seals, None, _FEW)
    dead, more_dead = some(work_listing(parts, scope, WorkState.DEAD), parts.seals, None, _FEW)
    drift, more_drift = some(drift_listing(parts, scope), parts.seals, None, _FEW)
    return viewer.page(
        "front.html",
        waits=[waits_line(one) for one in open_now[:_FEW]],
        waiting=len(open_now),
        mine=mine,
        more_of_mine=more_of_mine,
        ends=ends,
        more_ends=more_ends,
        overdue=overdue,
        more_overdue=more_overdue,
        dead=dead,
        more_dead=more_dead,
        drift=drift,
        more_drift=more_drift,
        days=_DAYS,
    )
