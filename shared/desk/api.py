"""The API of the desk, version 1: ask, look, decide, withdraw. Each route is a use case of ``shared.loop.asking``, no more."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from shared.desk.admits import Admits
from shared.desk.callers import Caller, CallerKind
from shared.desk.conditions import ensure_matches, tag_of, unchanged
from shared.desk.parts import Parts
from shared.desk.problems import ANY, documented
from shared.errors import BadInput
from shared.ledger.consent import RequestRow, list_requests, standings
from shared.loop.asking import Answer
from shared.loop.consent import may_see
from shared.messages.consent import Voice, Wish
from shared.messages.forms import Digest, RequestId
from shared.rules.consent import Stage, Standing, how_it_ended
from shared.rules.facts import Side

PAGE = 100
api = APIRouter(prefix="/api/v1", responses=ANY)


def _parts(request: Request) -> Parts:
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

    wishes: Annotated[list[Wish], Field(min_length=1, max_length=200)]


class DecisionBody(_In):
    """A word for one side, about what was shown: the snapshot that the request has."""

    side: Side
    agrees: Annotated[bool, Field(strict=True)]
    snapshot: Digest
    reason: Annotated[str, Field(max_length=1000)] = ""


class WithdrawalBody(_In):
    """Why it is not asked any more."""

    reason: Annotated[str, Field(max_length=1000)] = ""


class Word(BaseModel):
    """One person's word that counts."""

    person: str
    side: Side
    at: datetime
    instead_of: str | None
    reason: str


class RequestShown(BaseModel):
    """A request as it stands. ``snapshot``: what a decision binds; without one preflight has not looked yet."""

    request_id: str
    batch: str | None
    stage: Stage
    round: int
    asked_by: str
    relay: str | None
    asked_at: datetime
    lapses_at: datetime
    wish: dict[str, Any]
    snapshot: str | None
    checks: list[JsonValue]
    failed: int
    unknown: int
    agreed: list[Word]
    void: list[Word]
    ended: str | None
    takes: list[Side] | None = Field(description="the sides whose yes it takes at least, where that was just reckoned")


class RequestLine(BaseModel):
    """A request in a list, as the grant function has heard it."""

    request_id: str
    batch: str | None
    kind: str
    grant_id: str
    requester: str
    asked_at: datetime
    stage: str
    round: int


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


class Health(BaseModel):
    """Whether the desk can record anything now."""

    status: str


@api.get("/health")
def health(parts: Here, _caller: Anybody) -> Health:
    """Whether the desk can record anything now."""
    parts.gate.look()
    return Health(status="ok" if parts.gate.standing.fault is None else "no configuration can be believed")


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
    by = _voice(parts, caller)
    answers = parts.desk().ask(by, body.wishes, name=idempotency_key)
    if answers[0].said:
        parts.wake()
    else:
        response.status_code = 200
    return Asked(requests=[_shown(one) for one in answers], said=answers[0].said)


@api.get("/requests", responses=documented(401, 403, 422))
def requests(
    parts: Here,
    caller: Calling,
    stage: Stage | None = None,
    batch: Annotated[str | None, Query(max_length=128)] = None,
    after: Annotated[str | None, Query(max_length=200)] = None,
) -> RequestsPage:
    """What this caller asked for or may decide about, newest first."""
    by = _voice(parts, caller)
    rows = parts.ledger.read(list_requests, parts.scope(by.person), stage, batch, _behind(after), PAGE + 1)
    more = len(rows) > PAGE
    rows = rows[:PAGE]
    return RequestsPage(requests=[_line(row) for row in rows], next=_after(rows[-1]) if more else None)


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
    by = _voice(parts, caller)
    found = _visible(parts, by, request_id)
    tag = _tag(found)
    if unchanged(if_none_match, tag):
        return Response(status_code=304, headers={"ETag": tag})
    response.headers["ETag"] = tag
    return _shown(Answer(found))


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
    by = _voice(parts, caller)
    _visible(parts, by, request_id)
    answer = parts.desk().decide(
        by,
        request_id,
        body.side,
        body.snapshot,
        agrees=body.agrees,
        reason=body.reason,
        expected=lambda standing: ensure_matches(if_match, _tag(standing)),
    )
    _after_words(parts, answer, response)
    return _shown(answer)


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
    by = _voice(parts, caller)
    _visible(parts, by, request_id)
    answer = parts.desk().withdraw(
        by, request_id, body.reason, expected=lambda standing: ensure_matches(if_match, _tag(standing))
    )
    _after_words(parts, answer, response)
    return _shown(answer)


def _voice(parts: Parts, caller: Caller) -> Voice:
    return caller.voice(parts.people(), parts.now())


def _after_words(parts: Parts, answer: Answer, response: Response) -> None:
    """What was said is heard soon; where it was said before, the answer is of no news."""
    if answer.said:
        parts.wake()
    else:
        response.status_code = 200
    response.headers["ETag"] = _tag(answer.standing)


def _tag(standing: Standing) -> str:
    """The ETag of a request that stands so."""
    return tag_of(_shown(Answer(standing)).model_dump_json())


def _visible(parts: Parts, by: Voice, request_id: str) -> Standing:
    """The request, for whoever may see it; to anybody else it is as if nobody had asked it."""
    found = parts.ledger.read(standings, [request_id]).get(request_id)
    if found is None or not may_see(parts.standing(), found, by.person, parts.now()):
        raise BadInput(f"request_id: there is no request {request_id} that you may see", code="NoSuchRequest")
    return found


def _shown(answer: Answer) -> RequestShown:
    standing = answer.standing
    asked, looked = standing.asked, standing.looked
    return RequestShown(
        request_id=standing.request_id,
        batch=asked.batch,
        stage=standing.stage,
        round=standing.round,
        asked_by=asked.by.person,
        relay=asked.by.relay,
        asked_at=asked.at,
        lapses_at=asked.lapses_at,
        wish=asked.wish.content,
        snapshot=None if looked is None else looked.snapshot,
        checks=[] if looked is None else looked.checks,
        failed=0 if looked is None else looked.failed,
        unknown=0 if looked is None else looked.unknown,
        agreed=[_word(one) for one in standing.yes],
        void=[_word(one) for one in standing.void],
        ended=None if standing.stage is Stage.OPEN else how_it_ended(standing),
        takes=None if answer.needs is None else list(answer.needs.sides),
    )


def _word(one: Any) -> Word:
    return Word(person=one.by.person, side=one.side, at=one.at, instead_of=one.instead_of, reason=one.reason)


def _line(row: RequestRow) -> RequestLine:
    facts = {name: getattr(row, name) for name in RequestLine.model_fields if name != "asked_at"}
    return RequestLine(**facts, asked_at=datetime.fromtimestamp(row.asked_at / 1000, UTC))


def _after(row: RequestRow) -> str:
    return f"{row.asked_at}.{row.request_id}"


def _behind(after: str | None) -> tuple[int, str] | None:
    if after is None:
        return None
    at, _, request_id = after.partition(".")
    if not (at.isascii() and at.isdigit() and len(at) < 16 and request_id):
        raise BadInput("after: is not one that a page was answered with")
    return int(at), request_id
