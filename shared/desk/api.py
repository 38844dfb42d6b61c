"""The API of the desk, version 1: ask, look, decide, withdraw. Each route is a use case of ``shared.loop.asking``, no more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from shared.desk.admits import Admits
from shared.desk.callers import Caller, CallerKind
from shared.desk.conditions import ensure_matches, tag_of, unchanged
from shared.desk.pages import TABLE, After, HowAnswered, Listing, answered
from shared.desk.parts import Parts
from shared.desk.problems import ANY, Problem, documented, problem_of
from shared.desk.requests_shown import RequestShown, shown
from shared.errors import BadInput, NotAllowed
from shared.ledger.consent import RequestRow, RequestsAsked, list_requests, seen_facts
from shared.ledger.seeing import Scope
from shared.loop.asking import MOST_AT_ONCE, Answer
from shared.messages.consent import AnyFact, Voice, Wish
from shared.messages.forms import Digest, GrantId, Remark, RequestId, Why
from shared.rules.consent import Stage, Standing, fold
from shared.rules.facts import Side

api = APIRouter(prefix="/api/v1", responses=ANY)


async def _parts(request: Request) -> Parts:  # not in a thread: it waits for nothing
    parts: Parts = request.app.state.parts
    return parts


Here = Annotated[Parts, Depends(_parts)]
# Whom a route admits: each has one of these. Other kinds never enter it.
Anybody = Annotated[Caller, Depends(Admits(*CallerKind))]
Calling = Annotated[Caller, Depends(Admits(CallerKind.PERSON, CallerKind.SYSTEM))]
PersonCalling = Annotated[Caller, Depends(Admits(CallerKind.PERSON))]
IfMatch = Annotated[
    str | None, Header(max_length=1000, description="the ETag of what was shown: nothing is recorded where it changed")
]
Id = Annotated[RequestId, Field(description="the request's id")]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AskBody(_In):
    """One request, or up to 200 that are asked together."""

    wishes: Annotated[list[Wish], Field(min_length=1, max_length=MOST_AT_ONCE)]


class DecisionBody(_In):
    """A word for one side, about what was shown: the snapshot that the request has."""

    side: Side
    agrees: Annotated[bool, Field(strict=True)]
    snapshot: Digest
    reason: Remark = ""


class About(_In):
    """A request, and what was shown of it."""

    request_id: RequestId
    snapshot: Digest


class DecisionsBody(_In):
    """The same word for one side of many requests."""

    side: Side
    agrees: Annotated[bool, Field(strict=True)]
    about: Annotated[list[About], Field(min_length=1, max_length=MOST_AT_ONCE)]
    reason: Remark = ""


class DecisionAnswer(BaseModel):
    """What became of it for one request: how it stands, or why it was not taken."""

    request_id: str
    request: RequestShown | None = None
    problem: Problem | None = None


class Decisions(BaseModel):
    """The same for all of them, in the order of the call."""

    decisions: list[DecisionAnswer]


class ReviewBody(_In):
    """Whether an emergency was in order, and what was found."""

    in_order: Annotated[bool, Field(strict=True)]
    reason: Why


class WithdrawalBody(_In):
    """Why it is not asked any more."""

    reason: Remark = ""


class RequestLine(BaseModel):
    """A request in a list, as the grant function has heard it."""

    request_id: str
    batch: str | None
    kind: str
    grant_id: str
    ecr_id: str | None
    ecr_owner_uid: str
    instance_id: str | None
    instance_owner_uid: str
    requester: str
    asked_at: datetime
    stage: str
    round: int
    emergency: bool
    review_until: datetime | None = Field(description="of an emergency that waits for its review")


class RequestsPage(BaseModel):
    """So many requests, and where the next ones begin."""

    requests: list[RequestLine]
    next: str | None


class Asked(BaseModel):
    """What was asked, in the order of the wishes. ``said``: False where it was asked before, under the same key."""

    requests: list[RequestShown]
    said: bool


class Me(BaseModel):
    """Who is calling."""

    kind: CallerKind
    subject: str
    person: str | None
    groups: list[str]


@api.get("/me", responses=documented(401))
def me(parts: Here, caller: Calling) -> Me:
    """Who is calling, by the newest configuration."""
    people = parts.people()
    provider, _, name = caller.subject.partition(":")
    person = people.person(provider, name)
    groups = [group for group in sorted(people.groups) if person in people.members(group)]
    return Me(kind=caller.kind, subject=caller.subject, person=person, groups=groups)


NOT_NEW: dict[int | str, dict[str, Any]] = {304: {"description": "it is as `If-None-Match` says"}}
SAID_BEFORE: dict[int | str, dict[str, Any]] = {200: {"description": "it was said before: nothing is new"}}


@api.post("/requests", status_code=201, responses=SAID_BEFORE | documented(401, 403, 409, 422))
def ask(
    parts: Here,
    caller: Calling,
    body: AskBody,
    response: Response,
    idempotency_key: Annotated[str | None, Header(max_length=200, pattern=r"^[!-~]+$")] = None,
) -> Asked:
    """Ask. With an `Idempotency-Key`, asking again under it is answered by how the first stands."""
    by = voice_of(parts, caller)
    count_unseen(parts, by, [wish.instance.owner_uid for wish in body.wishes])
    answers = parts.desk().ask(by, body.wishes, name=idempotency_key)
    if answers[0].said:
        parts.wake()
    else:
        response.status_code = 200
    see = view_of(parts, by)
    return Asked(requests=[see(one) for one in answers], said=answers[0].said)


RequestsText = Annotated[
    str | None,
    Query(min_length=3, max_length=128, description="how an id begins, or a name of a person, batch or grant"),
]


@api.get("/requests", response_model=RequestsPage, responses=TABLE | documented(401, 403, 422))
def requests(
    parts: Here,
    caller: Calling,
    how: HowAnswered,
    stage: Stage | None = None,
    batch: Annotated[str | None, Query(max_length=128)] = None,
    mine: Annotated[bool, Query(description="only what this person asked for")] = False,
    grant: Annotated[GrantId | None, Query(description="only about this grant")] = None,
    person: Annotated[str | None, Query(max_length=200, description="only what this person asked for")] = None,
    review: Annotated[bool, Query(description="only emergencies that wait for their review")] = False,
    text: RequestsText = None,
    after: After = None,
) -> Response:
    """What this caller asked for or may see, newest first."""
    scope = scope_of(parts, caller)
    asked = RequestsAsked(stage, batch, scope.person if mine else person, grant, review, text)
    listing = requests_listing(parts, scope, asked)
    return answered(listing, RequestsPage, parts.seals, after, how)


def requests_listing(parts: Parts, scope: Scope, asked: RequestsAsked) -> Listing:
    """Requests for whoever has this scope, newest first."""
    return Listing(
        of={"list": "requests", "person": scope.person, **vars(asked)},
        fetch=lambda behind, limit: parts.ledger.glance(list_requests, scope, asked, behind, limit),
        place=lambda row: (row.asked_at, row.request_id),
        line=_line,
    )


@api.get(
    "/requests/{request_id}",
    response_model=RequestShown,
    responses=NOT_NEW | documented(401, 403, 404, 422),
)
def show(
    parts: Here,
    caller: Calling,
    request_id: Id,
    response: Response,
    if_none_match: Annotated[str | None, Header(max_length=1000)] = None,
) -> RequestShown | Response:
    """One request, as everything that was said makes it. The ETag changes with it."""
    by = voice_of(parts, caller)
    found = visible(parts, parts.scope(by.person), request_id)
    seen = view_of(parts, by)(Answer(found))
    tag = tag_of(seen.model_dump_json())
    if unchanged(if_none_match, tag):
        return Response(status_code=304, headers={"ETag": tag})
    response.headers["ETag"] = tag
    return seen


@api.post(
    "/requests/{request_id}/decisions",
    status_code=201,
    responses=SAID_BEFORE | documented(401, 403, 404, 409, 412, 422),
)
def decide(
    parts: Here,
    caller: PersonCalling,
    request_id: Id,
    body: DecisionBody,
    response: Response,
    if_match: IfMatch = None,
) -> RequestShown:
    """Say yes or no for a side. Saying the same again changes nothing."""
    by = voice_of(parts, caller)
    visible(parts, parts.scope(by.person), request_id)
    see = view_of(parts, by)
    answer = parts.desk().decide(
        by,
        request_id,
        body.side,
        body.snapshot,
        agrees=body.agrees,
        reason=body.reason,
        expected=_as_shown(if_match, see),
    )
    return _after_words(parts, see(answer), response, said=answer.said)


@api.post("/decisions", responses=documented(401, 403, 422))
def decide_many(parts: Here, caller: PersonCalling, body: DecisionsBody) -> Decisions:
    """Say the same for one side of many requests, each bound to what was shown of it. What is wrong with one stops no other."""
    by = voice_of(parts, caller)
    return Decisions(decisions=decide_each(parts, by, body))


def decide_each(parts: Parts, by: Voice, body: DecisionsBody) -> list[DecisionAnswer]:
    """What became of the word for each request, in the order in which they were named."""
    scope, see = parts.scope(by.person), view_of(parts, by)
    found, news = list[DecisionAnswer](), False
    for one in body.about:
        try:
            visible(parts, scope, one.request_id)
            told = parts.desk().decide(
                by, one.request_id, body.side, one.snapshot, agrees=body.agrees, reason=body.reason
            )
        except (BadInput, NotAllowed) as error:
            found.append(DecisionAnswer(request_id=one.request_id, problem=problem_of(error)))
            continue
        news = news or told.said
        found.append(DecisionAnswer(request_id=one.request_id, request=see(told)))
    if news:
        parts.wake()
    return found


@api.post(
    "/requests/{request_id}/withdrawal",
    status_code=201,
    responses=SAID_BEFORE | documented(401, 403, 404, 409, 412, 422),
)
def withdraw(
    parts: Here,
    caller: Calling,
    request_id: Id,
    body: WithdrawalBody,
    response: Response,
    if_match: IfMatch = None,
) -> RequestShown:
    """Ask no more."""
    by = voice_of(parts, caller)
    visible(parts, parts.scope(by.person), request_id)
    see = view_of(parts, by)
    answer = parts.desk().withdraw(by, request_id, body.reason, expected=_as_shown(if_match, see))
    return _after_words(parts, see(answer), response, said=answer.said)


@api.post("/requests/{request_id}/review", status_code=201, responses=SAID_BEFORE | documented(401, 403, 404, 409, 422))
def review(parts: Here, caller: PersonCalling, request_id: Id, body: ReviewBody, response: Response) -> RequestShown:
    """Close the review of an emergency. Saying the same again changes nothing."""
    by = voice_of(parts, caller)
    visible(parts, parts.scope(by.person), request_id)
    see = view_of(parts, by)
    answer = parts.desk().review(by, request_id, in_order=body.in_order, reason=body.reason)
    return _after_words(parts, see(answer), response, said=answer.said)


@api.post("/requests/{request_id}/looks", status_code=201, responses=documented(401, 403, 404, 409, 422))
def look_again(parts: Here, caller: Calling, request_id: Id, response: Response) -> RequestShown:
    """Have preflight look again."""
    by = voice_of(parts, caller)
    found = visible(parts, parts.scope(by.person), request_id)
    count_unseen(parts, by, [found.asked.wish.instance.owner_uid])
    see = view_of(parts, by)
    answer = parts.desk().look_again(by, request_id)
    return _after_words(parts, see(answer), response, said=answer.said)


def voice_of(parts: Parts, caller: Caller) -> Voice:
    """Whose word this is. Raises as ``Caller.voice`` does."""
    return caller.voice(parts.people(), parts.now())


def count_unseen(parts: Parts, by: Voice, accounts: Sequence[str]) -> None:
    """Looks into accounts that somebody may not see are few an hour, whatever they find. Raises Throttled."""
    scope = parts.scope(by.person)
    parts.limits.unseen(by.person, sum(not scope.sees(uid) for uid in accounts))


def _after_words(parts: Parts, seen: RequestShown, response: Response, *, said: bool) -> RequestShown:
    """What was said is heard soon; where it was said before, the answer is of no news."""
    if said:
        parts.wake()
    else:
        response.status_code = 200
    response.headers["ETag"] = tag_of(seen.model_dump_json())
    return seen


def _as_shown(if_match: str | None, see: Callable[[Answer], RequestShown]) -> Callable[[Standing], None]:
    """Raises NotAllowed (NotAsShown) for a request that does not stand as the caller was shown it."""
    return lambda standing: ensure_matches(if_match, tag_of(see(Answer(standing)).model_dump_json()))


def scope_of(parts: Parts, caller: Caller) -> Scope:
    """What a caller may see. Raises NotSignedIn and NotAllowed as whoever is nobody is told."""
    return parts.scope(voice_of(parts, caller).person)


def visible(parts: Parts, scope: Scope, request_id: str) -> Standing:
    """The request, for whoever may see it; to anybody else it is as if nobody had asked it."""
    return fold(said(parts, scope, request_id))


def said(parts: Parts, scope: Scope, request_id: str) -> list[AnyFact]:
    """All that was said of the request, for whoever may see it. Raises BadInput, NoSuchRequest, to anybody else."""
    found = parts.ledger.glance(seen_facts, scope, request_id)
    if not found:
        raise BadInput(f"request_id: there is no request {request_id} that you may see", code="NoSuchRequest")
    return found


def view_of(parts: Parts, by: Voice) -> Callable[[Answer], RequestShown]:
    """How this caller is shown requests now."""
    scope, now = parts.scope(by.person), parts.now()

    return lambda answer: shown(answer, scope, now)


def _line(row: RequestRow) -> RequestLine:
    times = {"asked_at": row.asked_at, "review_until": row.review_at}
    facts = {name: getattr(row, name) for name in RequestLine.model_fields if name not in times}
    told = {name: None if at is None else datetime.fromtimestamp(at / 1000, UTC) for name, at in times.items()}
    return RequestLine(**facts, **told)
