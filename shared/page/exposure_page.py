"""What is exposed: routers, one router's ranges as table and as picture, and what ends soon."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Form, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from shared.desk.api import visible
from shared.desk.finding_api import MOST_RANGES, ends_listing, leases_on, routers_listing
from shared.desk.looking_api import exposure_listing
from shared.desk.pages import After, some
from shared.desk.shown import ExposedLine
from shared.errors import BadInput
from shared.loop.asking import MOST_AT_ONCE
from shared.messages.approval import DESK
from shared.messages.consent import renewed
from shared.messages.forms import EcrId, Instant, RequestId, Why
from shared.page.lines import prefixes_of
from shared.page.pictures import address_space
from shared.page.viewer import Looking, on_to
from shared.rules.ranges import Entry, outside, size_of, table, total

routes = APIRouter()

WITHIN = (7, 30, 90)
RENEWALS = (30, 60, 90)
"""Days from now on that a renewal may be asked for."""
MOST_NAMED = 8
"""Instances that are named for a prefix outside of a list."""


@routes.get("/routers")
def routers(viewer: Looking, after: After = None) -> Response:
    """The routers that they may see something on."""
    lines, further = some(routers_listing(viewer.parts, viewer.scope), viewer.parts.seals, after)
    return viewer.page("routers.html", lines=lines, further=further, filters={})


@routes.get("/exposure/{ecr_id}")
def exposure(
    viewer: Looking,
    ecr_id: Annotated[EcrId, Path()],
    allowed: Annotated[str, Query(max_length=2_000)] = "",
    after: After = None,
) -> Response:
    """What is exposed to a router. ``allowed``: a list of ranges; what is outside of it is told apart."""
    parts, scope = viewer.parts, viewer.scope
    lines, further = some(exposure_listing(parts, scope, ecr_id), parts.seals, after)
    leases, more = leases_on(parts, scope, ecr_id)
    entries = table(leases)
    listed = prefixes_of(allowed)
    unread = [one for one in listed if size_of(one) is None]
    by_account: dict[str, list[str]] = {}
    for entry in entries:
        by_account.setdefault(entry.account, []).append(entry.prefix)
    beyond = _beyond(entries, lines, listed)
    return viewer.page(
        "exposure.html",
        ecr=ecr_id,
        lines=lines,
        further=further,
        entries=entries,
        more=more,
        most=MOST_RANGES,
        accounts=[(uid, len(set(prefixes)), total(prefixes)) for uid, prefixes in by_account.items()],
        picture=address_space(viewer.t, [(viewer.account_name(uid), ranges) for uid, ranges in by_account.items()]),
        allowed=allowed,
        listed=listed,
        unread=unread,
        beyond=beyond,
        most_named=MOST_NAMED,
        filters={"allowed": allowed},
    )


@dataclass(frozen=True)
class Beyond:
    """A prefix outside of a list, and whose it is: ``grants`` as (id, instance). ``leased``: a lease lets it through; else it was
    read.
    """

    prefix: str
    size: int | None
    leased: bool
    grants: tuple[tuple[str, str], ...]


def _beyond(entries: Iterable[Entry], lines: Iterable[ExposedLine], listed: Sequence[str]) -> list[Beyond]:
    """What leases let through, and what was read, that is not inside of the list; by network. Nothing without a list."""
    leased: dict[str, dict[str, str]] = {}
    for entry in entries:
        leased.setdefault(entry.prefix, {})[entry.grant_id] = entry.instance_id
    found = {prefix: dict(grants) for prefix, grants in leased.items()}
    for line in lines:
        for prefix in line.prefixes:
            found.setdefault(prefix, {})[line.grant_id] = line.instance_id
    out = outside(found, listed) if listed else ()
    return [Beyond(one, size_of(one), one in leased, tuple(found[one].items())) for one in out]


@routes.get("/ends")
def ends(
    viewer: Looking,
    days: Annotated[int, Query(ge=1, le=366)] = 7,
    overdue: bool = False,
    after: After = None,
) -> Response:
    """Open leases by their end."""
    listing = ends_listing(viewer.parts, viewer.scope, None if overdue else days)
    lines, further = some(listing, viewer.parts.seals, after)
    filters = {"overdue": "true"} if overdue else {"days": days}
    now = viewer.parts.now().replace(microsecond=0)
    return viewer.page(
        "ends.html",
        lines=lines,
        further=further,
        filters=filters,
        days=days,
        overdue=overdue,
        within=WITHIN,
        desk=DESK,
        renewals=[(one, now + timedelta(days=one)) for one in RENEWALS],
        name=uuid.uuid4(),
    )


class RenewForm(BaseModel):
    """Leases of the desk, until when, and why. ``name``: of this very form, so that what is sent twice is asked once."""

    model_config = ConfigDict(extra="ignore")
    request_id: Annotated[list[RequestId], Field(max_length=MOST_AT_ONCE)] = Field(default=[])
    ends_at: Instant
    reason: Why
    name: Annotated[str, Field(max_length=64, pattern=r"^[0-9a-f-]*$")] = ""


@routes.post("/renewals")
def renew(viewer: Looking, said: Annotated[RenewForm, Form()]) -> Response:
    """Ask for another end of several leases together, in place of what their requests opened."""
    if not said.request_id:
        raise BadInput("request_id: must name at least one lease: tick it in the list")
    wishes = [
        renewed(visible(viewer.parts, viewer.scope, one).asked.wish, one, said.reason, said.ends_at)
        for one in said.request_id
    ]
    answers = viewer.parts.desk().ask(viewer.by, wishes, name=said.name or None)
    viewer.parts.wake()
    first = answers[0].standing
    return on_to(f"/batches/{first.asked.batch}" if first.asked.batch else f"/requests/{first.request_id}")
