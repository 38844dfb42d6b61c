"""The API of the desk, version 1: ask, look, decide, withdraw. Each route is a use case of ``shared.loop.asking``, no more."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from shared.desk.callers import Caller, CallerKind
from shared.desk.pages import TABLE, After, HowAnswered, Listing, answered
from shared.desk.parts import Parts
from shared.desk.problems import DOCUMENTED, NotSignedIn
from shared.errors import BadInput
from shared.ledger.consent import RequestRow, list_requests, seen_request
from shared.ledger.seeing import Scope
from shared.loop.asking import Answer
from shared.messages.consent import Voice, Wish
from shared.messages.forms import Digest, RequestId
from shared.rules.checked import CheckResult, may_be_told
from shared.rules.consent import Stage, Standing, how_it_ended
from shared.rules.facts import Side

api = APIRouter(prefix="/api/v1", responses=DOCUMENTED)


async def _parts(request: Request) -> Parts:  # not in a thread: it waits for nothing
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
    answers = parts.desk().ask(by, body.wishes, name=idempotency_key)
    _after_words(parts, answers[0], response)
    scope = parts.scope(by.person)
    return Asked(requests=[_shown(one, scope) for one in answers], said=answers[0].said)


@api.get("/requests", response_model=RequestsPage, responses=TABLE)
def requests(
    parts: Here,
    caller: Calling,
    how: HowAnswered,
    stage: Stage | None = None,
    batch: Annotated[str | None, Query(max_length=128)] = None,
    after: After = None,
) -> Response:
    """What this caller asked for or may see, newest first."""
    scope = scope_of(parts, caller)
    listing = Listing(
        of={"list": "requests", "person": scope.person, "stage": stage, "batch": batch},
        fetch=lambda behind, limit: parts.ledger.glance(list_requests, scope, stage, batch, behind, limit),
        place=lambda row: (row.asked_at, row.request_id),
        line=_line,
    )
    return answered(listing, RequestsPage, parts.seals, after, how)


@api.get("/requests/{request_id}")
def show(parts: Here, caller: Calling, request_id: Id, response: Response) -> RequestShown:
    """One request, as everything that was said makes it. The ETag changes with it."""
    scope = scope_of(parts, caller)
    shown = _shown(Answer(visible(parts, scope, request_id)), scope)
    tag = hashlib.sha256(shown.model_dump_json().encode()).hexdigest()[:32]
    response.headers["ETag"] = f'"{tag}"'
    return shown


@api.post("/requests/{request_id}/decisions", status_code=201)
def decide(parts: Here, caller: Calling, request_id: Id, body: DecisionBody, response: Response) -> RequestShown:
    """Say yes or no for a side. Saying the same again changes nothing."""
    caller.person_only()
    by = _voice(parts, caller)
    scope = parts.scope(by.person)
    visible(parts, scope, request_id)
    answer = parts.desk().decide(by, request_id, body.side, body.snapshot, agrees=body.agrees, reason=body.reason)
    _after_words(parts, answer, response)
    return _shown(answer, scope)


@api.post("/requests/{request_id}/withdrawal", status_code=201)
def withdraw(parts: Here, caller: Calling, request_id: Id, body: WithdrawalBody, response: Response) -> RequestShown:
    """Ask no more."""
    by = _voice(parts, caller)
    scope = parts.scope(by.person)
    visible(parts, scope, request_id)
    answer = parts.desk().withdraw(by, request_id, body.reason)
    _after_words(parts, answer, response)
    return _shown(answer, scope)


def _voice(parts: Parts, caller: Caller) -> Voice:
    return caller.voice(parts.people(), parts.now())


def _after_words(parts: Parts, answer: Answer, response: Response) -> None:
    """What was said is heard soon; where it was said before, the answer is of no news."""
    if answer.said:
        parts.wake()
    else:
        response.status_code = 200


def scope_of(parts: Parts, caller: Caller) -> Scope:
    """What a caller may see. Raises NotSignedIn and NotAllowed as whoever is nobody is told."""
    return parts.scope(_voice(parts, caller).person)


def visible(parts: Parts, scope: Scope, request_id: str) -> Standing:
    """The request, for whoever may see it; to anybody else it is as if nobody had asked it."""
    found = parts.ledger.glance(seen_request, scope, request_id)
    if found is None:
        raise BadInput(f"request_id: there is no request {request_id} that you may see", code="NoSuchRequest")
    return found


def told(scope: Scope, standing: Standing) -> tuple[list[Mapping[str, Any]], int, int, bool]:
    """What preflight saw last, as far as it may be told: checks, how many failed or are unknown, and whether that is all."""
    looked, grant = standing.looked, standing.asked.wish.grant
    if looked is None:
        return [], 0, 0, True
    checks, whole = may_be_told(
        [one for one in looked.checks if isinstance(one, dict)],
        grant=scope.sees(grant.instance_owner_uid),
        associate=scope.sees(grant.ecr_owner_uid),
    )
    if whole or scope.sees(grant.instance_owner_uid) or scope.sees(grant.ecr_owner_uid):
        return checks, looked.failed, looked.unknown, whole
    results = [one.get("result") for one in checks]
    return checks, results.count(CheckResult.FAIL), results.count(CheckResult.UNKNOWN), whole


def _shown(answer: Answer, scope: Scope) -> RequestShown:
    standing = answer.standing
    asked, looked = standing.asked, standing.looked
    checks, failed, unknown, _ = told(scope, standing)
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
        checks=[dict(one) for one in checks],
        failed=failed,
        unknown=unknown,
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
