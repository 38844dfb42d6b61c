"""Requests on the page: the list, and one with everything that was said, seen and is to be decided about it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Form, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from shared.desk.api import Id, count_unseen, requests_listing, view_of, visible
from shared.desk.pages import After, some
from shared.ledger.consent import RequestsAsked
from shared.loop.asking import Answer
from shared.messages.consent import RequestKind, Voice
from shared.messages.forms import Digest, GrantId
from shared.page.viewer import Looking, Viewer, on_to
from shared.rules.consent import Speaker, Stage, Standing, reviewers, speakers
from shared.rules.facts import Side

routes = APIRouter()


@routes.get("/requests")
def requests(
    viewer: Looking,
    stage: Stage | None = None,
    batch: Annotated[str | None, Query(max_length=128)] = None,
    mine: bool = False,
    grant: GrantId | None = None,
    after: After = None,
) -> Response:
    """What they asked for or may see, newest first."""
    asked = RequestsAsked(stage, batch, viewer.person if mine else None, grant)
    listing = requests_listing(viewer.parts, viewer.scope, asked)
    lines, further = some(listing, viewer.parts.seals, after)
    filters = {"stage": stage, "batch": batch, "mine": "true" if mine else None, "grant": grant}
    return viewer.page("requests.html", lines=lines, further=further, filters=filters, stages=tuple(Stage))


@routes.get("/requests/{request_id}")
def request(viewer: Looking, request_id: Id) -> Response:
    """One request. Looking decides nothing."""
    return _shown(viewer, request_id, "request.html")


@routes.get("/requests/{request_id}/now")
def request_now(viewer: Looking, request_id: Id) -> Response:
    """The part of it that changes by itself, for a page that waits."""
    return _shown(viewer, request_id, "request_now.html")


class DecisionForm(BaseModel):
    """A word for a side, about what was shown."""

    model_config = ConfigDict(extra="forbid")
    side: Side
    word: Annotated[str, Field(pattern="^(yes|no)$")]
    snapshot: Digest
    reason: Annotated[str, Field(max_length=1000)] = ""


@routes.post("/requests/{request_id}/decision")
def decide(viewer: Looking, request_id: Id, said: Annotated[DecisionForm, Form()]) -> Response:
    """Say yes or no for a side."""
    visible(viewer.parts, viewer.scope, request_id)
    answer = viewer.parts.desk().decide(
        viewer.by, request_id, said.side, said.snapshot, agrees=said.word == "yes", reason=said.reason
    )
    return _after(viewer, answer)


class ReasonForm(BaseModel):
    """Why."""

    model_config = ConfigDict(extra="forbid")
    reason: Annotated[str, Field(max_length=1000)] = ""


@routes.post("/requests/{request_id}/withdrawal")
def withdraw(viewer: Looking, request_id: Id, said: Annotated[ReasonForm, Form()]) -> Response:
    """Ask no more."""
    visible(viewer.parts, viewer.scope, request_id)
    return _after(viewer, viewer.parts.desk().withdraw(viewer.by, request_id, said.reason))


@routes.post("/requests/{request_id}/look")
def look_again(viewer: Looking, request_id: Id) -> Response:
    """Have preflight look again."""
    found = visible(viewer.parts, viewer.scope, request_id)
    count_unseen(viewer.parts, viewer.by, [found.asked.wish.instance.owner_uid])
    return _after(viewer, viewer.parts.desk().look_again(viewer.by, request_id))


class ReviewForm(BaseModel):
    """What a review found."""

    model_config = ConfigDict(extra="forbid")
    word: Annotated[str, Field(pattern="^(in-order|not-in-order)$")]
    reason: Annotated[str, Field(max_length=1000)]


@routes.post("/requests/{request_id}/review")
def review(viewer: Looking, request_id: Id, said: Annotated[ReviewForm, Form()]) -> Response:
    """Close the review of an emergency."""
    visible(viewer.parts, viewer.scope, request_id)
    in_order = said.word == "in-order"
    return _after(viewer, viewer.parts.desk().review(viewer.by, request_id, in_order=in_order, reason=said.reason))


def _after(viewer: Viewer, answer: Answer) -> Response:
    if answer.said:
        viewer.parts.wake()
    return on_to(f"/requests/{answer.standing.request_id}")


def _shown(viewer: Viewer, request_id: str, template: str) -> Response:
    standing = visible(viewer.parts, viewer.scope, request_id)
    shown = view_of(viewer.parts, viewer.by)(Answer(standing))
    now = viewer.parts.now()
    inventory, people = viewer.configuration.inventory, viewer.configuration.people
    asked = standing.asked
    grant = asked.wish.grant
    deciders = {side: speakers(side, grant, asked.by.person, now, inventory, people) for side in Side}
    return viewer.page(
        template,
        request=shown,
        wish=asked.wish,
        grant=grant,
        kinds=RequestKind,
        deciders=deciders,
        mine=_mine(standing, viewer.by, deciders, now),
        reviewers=reviewers(standing, now, inventory, people) if shown.review_until is not None else [],
        waits=standing.stage is Stage.OPEN and not standing.lapsed(now),
    )


def _mine(standing: Standing, by: Voice, deciders: dict[Side, list[Speaker]], now: datetime) -> list[Side]:
    """The sides that whoever looks may say a word for now, of an open request that was looked at."""
    if standing.stage is not Stage.OPEN or standing.lapsed(now) or standing.looked is None:
        return []
    return [side for side, who in deciders.items() if any(one.person == by.person for one in who)]
