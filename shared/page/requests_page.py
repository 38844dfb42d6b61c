"""Requests on the page: the list, and one with everything that was said, seen and is to be decided about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Response
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from shared.desk.api import Id, RequestsText, count_unseen, requests_listing, said, view_of, visible
from shared.desk.conditions import tag_of
from shared.desk.deciding_shown import DecidingShown, deciding_shown, facts_shown
from shared.desk.effect_shown import EffectShown, effect_shown, seen_cidrs
from shared.desk.finding_api import RangeLine
from shared.desk.pages import After, some
from shared.desk.problems import Problem, problem_of, status_of
from shared.desk.requests_shown import RequestShown
from shared.desk.shown import HappenedLine, LeaseLine, happened_line, lease_line
from shared.errors import NotAllowed
from shared.ledger.consent import RequestsAsked
from shared.ledger.looking import LeasesAsked, history_seen, list_leases
from shared.loop.asking import Answer
from shared.messages.approval import DESK
from shared.messages.completion import EventKind
from shared.messages.consent import AnyFact
from shared.messages.forms import Digest, GrantId, Remark, Why
from shared.page.viewer import Looking, Viewer, on_to
from shared.rules.consent import Stage, Standing, fold
from shared.rules.facts import Side
from shared.rules.leases import LeaseState
from shared.rules.ranges import Change

routes = APIRouter()

_EVENTS = 100
"""Events of a grant among which those of one lease are found."""
_OF_GRANT = (EventKind.GRANTED, EventKind.ASSOCIATED)
"""What happens to a grant for whichever leases wait for it."""
_SOON, _LATER = 3, 15
"""Seconds until a page looks again: while the machine works, and while people are waited for."""
_STANDS = frozenset({LeaseState.WAITING, LeaseState.LIVE, LeaseState.EARLY, LeaseState.OVERDUE})


@routes.get("/requests")
def requests(
    viewer: Looking,
    stage: Stage | None = None,
    batch: Annotated[str | None, Query(max_length=128)] = None,
    mine: bool = False,
    grant: GrantId | None = None,
    person: Annotated[str | None, Query(max_length=200)] = None,
    review: bool = False,
    text: RequestsText = None,
    after: After = None,
) -> Response:
    """What they asked for or may see, newest first."""
    asked = RequestsAsked(stage, batch, viewer.person if mine else person, grant, review, text)
    listing = requests_listing(viewer.parts, viewer.scope, asked)
    lines, further = some(listing, viewer.parts.seals, after)
    filters = {"stage": stage, "batch": batch, "mine": "true" if mine else None, "grant": grant}
    filters |= {"person": person, "review": "true" if review else None, "text": text}
    return viewer.page("requests.html", lines=lines, further=further, filters=filters, stages=tuple(Stage))


@routes.get("/requests/{request_id}")
def request(viewer: Looking, request_id: Id) -> Response:
    """One request. Looking decides nothing."""
    return _shown(viewer, said(viewer.parts, viewer.scope, request_id))


Seen = Annotated[str, Query(max_length=100, description="what the page that asks has shown")]


@routes.get("/requests/{request_id}/now")
def request_now(viewer: Looking, request_id: Id, seen: Seen = "") -> Response:
    """Whether it is still as a page that waits has shown it; where it is not, the whole again, or for whoever may be typing that
    it changed.
    """
    facts = said(viewer.parts, viewer.scope, request_id)
    if seen == _mark(viewer, fold(facts)):
        return Response(status_code=204)
    return _shown(viewer, facts, "request_now.html")


@routes.get("/requests/{request_id}/changed")
def request_changed(viewer: Looking, request_id: Id, seen: Seen = "") -> Response:
    """The same for whoever may be typing: what they read is not taken from under their eyes, they are told."""
    facts = said(viewer.parts, viewer.scope, request_id)
    if seen == _mark(viewer, fold(facts)):
        return Response(status_code=204)
    return viewer.page("request_changed.html", to=f"/requests/{request_id}")


class DecisionForm(BaseModel):
    """A word for a side, about what was shown."""

    model_config = ConfigDict(extra="forbid")
    side: Side
    word: Annotated[str, Field(pattern="^(yes|no)$")]
    snapshot: Digest
    reason: Remark = ""


@routes.post("/requests/{request_id}/decision")
def decide(viewer: Looking, request_id: Id, form: Annotated[DecisionForm, Form()]) -> Response:
    """Say yes or no for a side. Where it is not taken, the page shows how the request stands, with what was typed."""
    facts = said(viewer.parts, viewer.scope, request_id)
    typed = {form.side: form.reason}
    if form.word == "no" and not form.reason.strip():
        return _shown(viewer, facts, status=422, typed=typed, reasonless=form.side)
    try:
        answer = viewer.parts.desk().decide(
            viewer.by, request_id, form.side, form.snapshot, agrees=form.word == "yes", reason=form.reason
        )
    except NotAllowed as error:
        facts = said(viewer.parts, viewer.scope, request_id)
        return _shown(viewer, facts, status=status_of(error), problem=problem_of(error), typed=typed)
    return _after(viewer, answer)


class ReasonForm(BaseModel):
    """Why."""

    model_config = ConfigDict(extra="forbid")
    reason: Remark = ""


@routes.post("/requests/{request_id}/withdrawal")
def withdraw(viewer: Looking, request_id: Id, form: Annotated[ReasonForm, Form()]) -> Response:
    """Ask no more."""
    visible(viewer.parts, viewer.scope, request_id)
    return _after(viewer, viewer.parts.desk().withdraw(viewer.by, request_id, form.reason))


@routes.post("/requests/{request_id}/look")
def look_again(viewer: Looking, request_id: Id) -> Response:
    """Have preflight look again."""
    found = visible(viewer.parts, viewer.scope, request_id)
    count_unseen(viewer.parts, viewer.by, [found.asked.wish.instance.owner_uid])
    return _after(viewer, viewer.parts.desk().look_again(viewer.by, request_id))


_REASON: TypeAdapter[str] = TypeAdapter(Why)


class ReviewForm(BaseModel):
    """What a review found."""

    model_config = ConfigDict(extra="forbid")
    word: Annotated[str, Field(pattern="^(in-order|not-in-order)$")]
    reason: Remark


@routes.post("/requests/{request_id}/review")
def review(viewer: Looking, request_id: Id, form: Annotated[ReviewForm, Form()]) -> Response:
    """Close the review of an emergency."""
    facts = said(viewer.parts, viewer.scope, request_id)
    try:
        reason = _REASON.validate_python(form.reason)
    except ValidationError:
        return _shown(viewer, facts, status=422, reasonless="review")
    in_order = form.word == "in-order"
    return _after(viewer, viewer.parts.desk().review(viewer.by, request_id, in_order=in_order, reason=reason))


def _after(viewer: Viewer, answer: Answer) -> Response:
    if answer.said:
        viewer.parts.wake()
    return on_to(f"/requests/{answer.standing.request_id}")


def _shown(
    viewer: Viewer,
    facts: Sequence[AnyFact],
    template: str = "request.html",
    *,
    status: int = 200,
    problem: Problem | None = None,
    typed: dict[Side, str] | None = None,
    reasonless: str = "",
) -> Response:
    standing = fold(facts)
    parts, scope, now = viewer.parts, viewer.scope, viewer.parts.now()
    open_ = standing.stage is Stage.OPEN and not standing.lapsed(now)
    effect = effect_shown(parts, scope, standing) if open_ else None
    lease, happened = _opened(viewer, standing)
    shown = view_of(parts, viewer.by)(Answer(standing))
    deciding = deciding_shown(parts, standing, viewer.by)
    return viewer.page(
        template,
        status=status,
        request=shown,
        by=standing.asked.by,
        wish=standing.asked.wish,
        cidrs=seen_cidrs(standing) if scope.sees(standing.asked.wish.instance.owner_uid) else (),
        deciding=deciding,
        waits_for_me=bool(
            {one.side for one in deciding.mine} - {one.side for one in standing.yes if one.by.person == viewer.person}
        ),
        effect=effect,
        near=_near(effect),
        facts=facts_shown(scope, facts, now).facts,
        lease=lease,
        stands=lease is not None and lease.state in _STANDS,
        happened=happened,
        open=open_,
        lapsed=standing.lapsed(now),
        every=_every(viewer, standing, lease, open_=open_),
        types=_types(viewer, deciding),
        mark=_marked(shown, None if lease is None else lease.state, lapsed=standing.lapsed(now)),
        problem=problem,
        typed=typed or {},
        reasonless=reasonless,
    )


def _types(viewer: Viewer, deciding: DecidingShown) -> bool:
    """Whether there is a form on the page that whoever looks may be typing into."""
    return bool(deciding.mine) or viewer.person in deciding.reviewers


def _opened(viewer: Viewer, standing: Standing) -> tuple[LeaseLine | None, list[HappenedLine]]:
    """The lease that a request came to, and what happened until its effect was seen, as far as both may be seen; three
    statements.
    """
    if standing.stage is not Stage.APPROVED or standing.ended is None:
        return None, []
    lease = _lease(viewer, standing)
    grant_id = standing.asked.wish.grant.grant_id
    rows = viewer.parts.ledger.read(history_seen, viewer.scope, grant_id, None, _EVENTS) or []
    lines = [happened_line(row) for row in rows]
    since, done, found = standing.ended.at, False, list[HappenedLine]()
    for one in reversed(lines):
        mine = (one.issuer, one.request_id) == (DESK, standing.request_id)
        if mine or (one.event in _OF_GRANT and one.at >= since and not done):
            found.append(one)
        done = done or (mine and one.event == EventKind.DONE)
    return lease, found


def _lease(viewer: Viewer, standing: Standing) -> LeaseLine | None:
    if standing.stage is not Stage.APPROVED or not standing.asked.wish.opens:
        return None
    asked = LeasesAsked(request=standing.request_id)
    rows: list[Any] = viewer.parts.ledger.glance(list_leases, viewer.scope, asked, None, 5)
    return next((lease_line(row) for row in rows if row.issuer == DESK), None)


def _near(effect: EffectShown | None) -> list[RangeLine]:
    """The ranges of a router's table that come or go, and those that overlap with them."""
    ranges = [] if effect is None else effect.ranges
    changing = [one for one in ranges if one.change is not Change.STAYS]
    beside = {other for one in changing for other in one.overlaps}
    return [one for one in ranges if one in changing or f"{one.prefix} of {one.instance_id}" in beside]


def _mark(viewer: Viewer, standing: Standing) -> str:
    """What a page shows of a request that can change by itself, as a short text: of what may be seen, and nothing else."""
    shown = view_of(viewer.parts, viewer.by)(Answer(standing))
    lease = _lease(viewer, standing)
    return _marked(shown, None if lease is None else lease.state, lapsed=standing.lapsed(viewer.parts.now()))


def _marked(shown: RequestShown, state: LeaseState | None, *, lapsed: bool) -> str:
    return tag_of(f"{shown.model_dump_json()} {state} {lapsed}").strip('"')


def _every(viewer: Viewer, standing: Standing, lease: LeaseLine | None, *, open_: bool) -> int | None:
    """After how many seconds a page looks whether something changed; None where nothing changes by itself any more."""
    grant = standing.asked.wish.grant
    if open_:
        sees = viewer.scope.sees(grant.ecr_owner_uid) or viewer.scope.sees(grant.instance_owner_uid)
        return _SOON if sees and standing.looked is None else _LATER
    if standing.stage is not Stage.APPROVED or not standing.asked.wish.opens:
        return None
    return _SOON if lease is None or lease.state is LeaseState.WAITING else None
