"""What auditors ask, on the page: who may what, who decided what, what is exposed, and how all of it is proven."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from shared.desk.audit_api import RightLine, decisions_listing, record_of, rights_listing
from shared.desk.pages import After, some
from shared.ledger.decisions import DecisionsAsked
from shared.messages.forms import AccountId, GrantId, RequestId
from shared.page.viewer import Looking, Viewer
from shared.rules.facts import Side

routes = APIRouter()

_FEW = 5
_ROWS = 50
_NAMED = 200
"""People and accounts that a form names."""
Person = Annotated[str | None, Query(max_length=200)]


@routes.get("/audit")
def audit(viewer: Looking, person: Person = None, account: AccountId | None = None, after: After = None) -> Response:
    """The questions; and what one person may, or who may what on one account, where that is asked: policy answers it anew."""
    parts, scope = viewer.parts, viewer.scope
    rights: list[RightLine] = []
    further = None
    if person or account:
        rights, further = some(rights_listing(parts, scope, person, account), parts.seals, after, _ROWS)
    asked = DecisionsAsked(None, None, None, None, None, None, None)
    decided, more = some(decisions_listing(parts, scope, asked), parts.seals, None, _FEW)
    return viewer.page(
        "audit.html",
        rights=rights,
        further=further,
        filters={"person": person, "account": account},
        decided=decided,
        more=more,
        record=record_of(parts),
        **_named(viewer),
    )


@routes.get("/decisions")
def decisions(
    viewer: Looking,
    person: Person = None,
    account: AccountId | None = None,
    grant: GrantId | None = None,
    request: RequestId | None = None,
    side: Side | None = None,
    since: date | None = None,
    until: date | None = None,
    after: After = None,
) -> Response:
    """Who decided what, the newest first. ``since`` and ``until`` are days, UTC, both within."""
    from_, to = _begin(since), _begin(until, timedelta(days=1))
    asked = DecisionsAsked(person, account, grant, request, side, _millis(from_), _millis(to))
    lines, further = some(decisions_listing(viewer.parts, viewer.scope, asked), viewer.parts.seals, after)
    filters = {"person": person, "account": account, "grant": grant, "request": request, "side": side}
    return viewer.page(
        "decisions.html",
        lines=lines,
        further=further,
        filters={**filters, "since": since, "until": until},
        in_api={**filters, "since": _said(from_), "until": _said(to), "format": "csv"},
        sides=tuple(Side),
        **_named(viewer),
    )


def _named(viewer: Viewer) -> dict[str, Any]:
    """Whom and what a form may suggest: accounts that may be seen, and people to whoever may see everything."""
    accounts = [uid for uid in viewer.configuration.inventory.accounts if viewer.scope.sees(uid)]
    people = sorted(viewer.configuration.people.persons) if viewer.scope.everything else [viewer.person]
    return {"accounts": accounts[:_NAMED], "people": people[:_NAMED]}


def _begin(day: date | None, more: timedelta = timedelta(0)) -> datetime | None:
    """The first moment of a day, UTC. The last day that there is has none after it."""
    if day is None or day == date.max:
        return None
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + more


def _millis(at: datetime | None) -> int | None:
    return None if at is None else round(at.timestamp() * 1000)


def _said(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")
