"""The API of the desk, version 1: ask, look, decide, withdraw. Each route is a use case of ``shared.loop.asking``, no more."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from shared.desk.callers import Caller, CallerKind
from shared.desk.parts import Parts
from shared.desk.problems import DOCUMENTED, NotSignedIn, Problem, problem_of
from shared.desk.shown import RequestShown, shown
from shared.errors import BadInput, NotAllowed
from shared.ledger.consent import RequestRow, list_requests, standings
from shared.loop.asking import MOST_AT_ONCE, Answer
from shared.loop.consent import may_see
from shared.messages.consent import Voice, Wish
from shared.messages.forms import Digest, RequestId, Why
from shared.rules.consent import Stage, Standing
from shared.rules.facts import Side

PAGE = 100
UNSEEN_AN_HOUR = 60
"""Requests that one person may ask in an hour about accounts that they may not see."""
api = APIRouter(prefix="/api/v1", responses=DOCUMENTED)


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


def _caller(request: Request, parts: Annotated[Parts, Depends(_parts)]) -> Caller:
    return parts.caller(request)


Here = Annotated[Parts, Depends(_parts)]
Calling = Annotated[Caller, Depends(_caller)]
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
    reason: Annotated[str, Field(max_length=1000)] = ""


class About(_In):
    """A request, and what was shown of it."""

    request_id: RequestId
    snapshot: Digest


class DecisionsBody(_In):
    """The same word for one side of many requests."""

    side: Side
    agrees: Annotated[bool, Field(strict=True)]
    about: Annotated[list[About], Field(min_length=1, max_length=MOST_AT_ONCE)]
    reason: Annotated[str, Field(max_length=1000)] = ""


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

    reason: Annotated[str, Field(max_length=1000)] = ""


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


@api.get("/health", responses={})
def health(parts: Here) -> dict[str, str]:
    """Whether the desk can record anything now."""
    parts.gate.look()
    return {"status": "ok" if parts.gate.standing.fault is None else "no configuration can be believed"}


@api.get("/me")
def me(parts: Here, caller: Calling) -> Me:
    """Who is calling, by the newest configuration."""
    if caller.kind is CallerKind.STRANGER:
        raise NotSignedIn("sign in first")
    people = parts.people()
    provider, _, name = caller.subject.partition(":")
    person = people.person(provider, name)
    groups = [group for group in sorted(people.groups) if person in people.members(group)]
    return Me(kind=caller.kind, subject=caller.subject, person=person, groups=groups)


@api.post("/requests", status_code=201)
def ask(
    parts: Here,
    caller: Calling,
    body: AskBody,
    response: Response,
    idempotency_key: Annotated[str | None, Header(max_length=200, pattern=r"^[!-~]+$")] = None,
) -> Asked:
    """Ask. With an `Idempotency-Key`, asking again under it is answered by how the first stands."""
    by = _voice(parts, caller)
    _count_unseen(parts, by, [wish.instance.owner_uid for wish in body.wishes])
    answers = parts.desk().ask(by, body.wishes, name=idempotency_key)
    _after_words(parts, answers[0], response)
    return Asked(requests=[_shown(parts, by, one) for one in answers], said=answers[0].said)


@api.get("/requests")
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


@api.get("/requests/{request_id}")
def show(parts: Here, caller: Calling, request_id: Id, response: Response) -> RequestShown:
    """One request, as everything that was said makes it. The ETag changes with it."""
    by = _voice(parts, caller)
    found = _visible(parts, by, request_id)
    shown = _shown(parts, by, Answer(found))
    tag = hashlib.sha256(shown.model_dump_json().encode()).hexdigest()[:32]
    response.headers["ETag"] = f'"{tag}"'
    return shown


@api.post("/requests/{request_id}/decisions", status_code=201)
def decide(parts: Here, caller: Calling, request_id: Id, body: DecisionBody, response: Response) -> RequestShown:
    """Say yes or no for a side. Saying the same again changes nothing."""
    caller.person_only()
    by = _voice(parts, caller)
    _visible(parts, by, request_id)
    answer = parts.desk().decide(by, request_id, body.side, body.snapshot, agrees=body.agrees, reason=body.reason)
    _after_words(parts, answer, response)
    return _shown(parts, by, answer)


@api.post("/decisions")
def decide_many(parts: Here, caller: Calling, body: DecisionsBody) -> Decisions:
    """Say the same for one side of many requests, each bound to what was shown of it. What is wrong with one stops no other."""
    caller.person_only()
    by = _voice(parts, caller)
    found, news = list[DecisionAnswer](), False
    for one in body.about:
        try:
            _visible(parts, by, one.request_id)
            told = parts.desk().decide(
                by, one.request_id, body.side, one.snapshot, agrees=body.agrees, reason=body.reason
            )
        except (BadInput, NotAllowed) as error:
            found.append(DecisionAnswer(request_id=one.request_id, problem=problem_of(error)))
            continue
        news = news or told.said
        found.append(DecisionAnswer(request_id=one.request_id, request=_shown(parts, by, told)))
    if news:
        parts.wake()
    return Decisions(decisions=found)


@api.post("/requests/{request_id}/withdrawal", status_code=201)
def withdraw(parts: Here, caller: Calling, request_id: Id, body: WithdrawalBody, response: Response) -> RequestShown:
    """Ask no more."""
    by = _voice(parts, caller)
    _visible(parts, by, request_id)
    answer = parts.desk().withdraw(by, request_id, body.reason)
    _after_words(parts, answer, response)
    return _shown(parts, by, answer)


@api.post("/requests/{request_id}/review", status_code=201)
def review(parts: Here, caller: Calling, request_id: Id, body: ReviewBody, response: Response) -> RequestShown:
    """Close the review of an emergency. Saying the same again changes nothing."""
    caller.person_only()
    by = _voice(parts, caller)
    _visible(parts, by, request_id)
    answer = parts.desk().review(by, request_id, in_order=body.in_order, reason=body.reason)
    _after_words(parts, answer, response)
    return _shown(parts, by, answer)


@api.post("/requests/{request_id}/looks", status_code=201)
def look_again(parts: Here, caller: Calling, request_id: Id, response: Response) -> RequestShown:
    """Have preflight look again."""
    by = _voice(parts, caller)
    found = _visible(parts, by, request_id)
    _count_unseen(parts, by, [found.asked.wish.instance.owner_uid])
    answer = parts.desk().look_again(by, request_id)
    _after_words(parts, answer, response)
    return _shown(parts, by, answer)


def _voice(parts: Parts, caller: Caller) -> Voice:
    return caller.voice(parts.people(), parts.now())


def _count_unseen(parts: Parts, by: Voice, accounts: Sequence[str]) -> None:
    """Looks into accounts that somebody may not see are few an hour, whatever they find. Raises Throttled."""
    owned = parts.scope(by.person).accounts
    for _ in [uid for uid in accounts if uid not in owned][: UNSEEN_AN_HOUR + 1]:
        parts.count(f"unseen {by.person}", UNSEEN_AN_HOUR, timedelta(hours=1), "requests about accounts of others")


def _after_words(parts: Parts, answer: Answer, response: Response) -> None:
    """What was said is heard soon; where it was said before, the answer is of no news."""
    if answer.said:
        parts.wake()
    else:
        response.status_code = 200


def _visible(parts: Parts, by: Voice, request_id: str) -> Standing:
    """The request, for whoever may see it; to anybody else it is as if nobody had asked it."""
    found = parts.ledger.read(standings, [request_id]).get(request_id)
    if found is None or not may_see(parts.standing(), found, by.person, parts.now()):
        raise BadInput(f"request_id: there is no request {request_id} that you may see", code="NoSuchRequest")
    return found


def _shown(parts: Parts, by: Voice, answer: Answer) -> RequestShown:
    grant = answer.standing.asked.wish.grant
    owned = parts.scope(by.person).accounts
    return shown(answer, parts.now(), whole=not owned.isdisjoint((grant.instance_owner_uid, grant.ecr_owner_uid)))


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
