"""Operating, over the desk's API: an operator's word is recorded, and what there is to operate on is shown.

Nothing is carried out here. Each line says the words that would help, as they are posted to `/operations`, all but their reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query, Response
from pydantic import BaseModel, Field, JsonValue

from shared.desk.api import SAID_BEFORE, Calling, Here, PersonCalling, scope_of
from shared.desk.pages import TABLE, After, HowAnswered, Listing, Place, answered
from shared.desk.parts import Parts
from shared.desk.problems import ANY, documented
from shared.desk.shown import GrantNamed, maybe, moment
from shared.errors import BadInput
from shared.ledger.operating_seen import (
    WorkState,
    found_last,
    list_drift,
    list_holds,
    list_operations,
    list_work,
    seen_operation,
)
from shared.ledger.rows import finding_of
from shared.ledger.seeing import Scope
from shared.messages.completion import Reason
from shared.messages.consent import OperatingWord, Operation
from shared.messages.forms import OperationId
from shared.rules.facts import DriftKind, HoldKind, Side
from shared.rules.operating import OperationOutcome

operating = APIRouter(prefix="/api/v1", responses=ANY)


class Word(BaseModel):
    """A word that can be said, without its reason."""

    word: OperatingWord
    kind: HoldKind | None = None
    name: str
    side: Side | None = None


class OperationShown(BaseModel):
    """What an operator said, and what became of it; no ``outcome``: it waits to be carried out."""

    operation_id: str
    word: OperatingWord
    kind: HoldKind | None
    name: str
    side: Side | None
    mode: Literal["observe", "pause-teardown", "pause-all", "full"] | None
    everything: bool
    reason: str
    who: str
    said_at: datetime
    carried_out_at: datetime | None
    outcome: OperationOutcome | None
    code: str | None
    text: str | None


class OperationsPage(BaseModel):
    """So many words, the newest first, and where the next ones begin."""

    operations: list[OperationShown]
    next: str | None


class HoldLine(BaseModel):
    """Something on hold. ``everything``: nothing is taken down either."""

    kind: HoldKind
    name: str
    everything: bool
    who: str
    reason: str
    at: datetime
    words: list[Word]


class HoldsPage(BaseModel):
    """So many holds, the oldest first, and where the next ones begin."""

    holds: list[HoldLine]
    next: str | None


class WorkLine(GrantNamed):
    """A side that is not as wanted. ``since``: of dead work when it died; none where nobody has looked at it yet.

    ``waiting``: requests that wait for this grant.
    """

    side: Side
    state: str
    dead: bool
    since: datetime | None
    code: str | None
    why: str | None
    attempts: int
    next_look: datetime | None
    read_at: datetime | None
    waiting: int
    words: list[Word]


class WorkPage(BaseModel):
    """So much work, the longest first, and where the next begins."""

    work: list[WorkLine]
    next: str | None


class DriftLine(GrantNamed):
    """A side at which something else was found than had settled. ``settled``: nobody is at it."""

    side: Side
    state: str
    ours: bool | None
    drift: DriftKind
    text: str
    since: datetime
    settled: bool
    next_look: datetime | None
    read_at: datetime | None
    words: list[Word]


class DriftPage(BaseModel):
    """So much drift, by grant, and where the next begins."""

    drift: list[DriftLine]
    next: str | None


class Finding(BaseModel):
    """What was found of the deployment last, and when."""

    name: str
    at: datetime
    value: dict[str, JsonValue] | None = Field(description="for whoever may see everything")


class Findings(BaseModel):
    """What was found last, each thing once."""

    findings: list[Finding]


@operating.post(
    "/operations",
    status_code=201,
    responses=SAID_BEFORE | documented(401, 403, 404, 409, 422),
)
def operate(
    parts: Here,
    caller: PersonCalling,
    body: Operation,
    response: Response,
    idempotency_key: Annotated[str | None, Header(max_length=200, pattern=r"^[!-~]+$")] = None,
) -> OperationShown:
    """Say an operator's word: it is recorded, and soon carried out where policy lets it. With an `Idempotency-Key`, saying it
    again under it is answered by what became of the first.
    """
    by = caller.voice(parts.people(), parts.now())
    scope = parts.scope(by.person)
    said = parts.operators().say(by, scope, body, name=idempotency_key)
    if said.news:
        parts.wake()
    else:
        response.status_code = 200
    return _seen(parts, scope, said.fact.operation_id)


@operating.get("/operations", response_model=OperationsPage, responses=TABLE | documented(401, 403, 422))
def operations(
    parts: Here,
    caller: Calling,
    how: HowAnswered,
    waiting: Annotated[bool, Query(description="only those that are not carried out yet")] = False,
    after: After = None,
) -> Response:
    """What operators said, the newest first: one's own words, and those about what one may see."""
    listing = operations_listing(parts, scope_of(parts, caller), waiting)
    return answered(listing, OperationsPage, parts.seals, after, how)


@operating.get("/operations/{operation_id}", responses=documented(401, 403, 404, 422))
def operation(
    parts: Here, caller: Calling, operation_id: Annotated[OperationId, Path(description="the operation's id")]
) -> OperationShown:
    """What an operator said, and what became of it."""
    return _seen(parts, scope_of(parts, caller), operation_id)


@operating.get("/holds", response_model=HoldsPage, responses=TABLE | documented(401, 403, 422))
def holds(parts: Here, caller: Calling, how: HowAnswered, after: After = None) -> Response:
    """What is on hold, the oldest first."""
    return answered(holds_listing(parts, scope_of(parts, caller)), HoldsPage, parts.seals, after, how)


@operating.get("/work", response_model=WorkPage, responses=TABLE | documented(401, 403, 422))
def work(
    parts: Here,
    caller: Calling,
    how: HowAnswered,
    state: Annotated[WorkState, Query(description="dead, or still tried or waiting")] = WorkState.DEAD,
    after: After = None,
) -> Response:
    """Work that is dead, or not done yet, the longest first, with why."""
    return answered(work_listing(parts, scope_of(parts, caller), state), WorkPage, parts.seals, after, how)


@operating.get("/drift", response_model=DriftPage, responses=TABLE | documented(401, 403, 422))
def drift(parts: Here, caller: Calling, how: HowAnswered, after: After = None) -> Response:
    """Where the cloud was found to be otherwise than had settled, by grant."""
    return answered(drift_listing(parts, scope_of(parts, caller)), DriftPage, parts.seals, after, how)


@operating.get("/health/findings", responses=documented(401, 403))
def findings(parts: Here, caller: Calling) -> Findings:
    """What reconcile found last, and when; what it was for whoever may see everything."""
    scope = scope_of(parts, caller)
    return Findings(findings=findings_seen(parts, scope))


def operations_listing(parts: Parts, scope: Scope, waiting: bool) -> Listing:
    """Operators' words for whoever has this scope."""
    return Listing(
        of={"list": "operations", "person": scope.person, "waiting": waiting},
        fetch=lambda behind, limit: parts.ledger.glance(list_operations, scope, waiting, behind, limit),
        place=lambda row: (row.said_at, row.operation_id),
        line=operation_shown,
    )


def holds_listing(parts: Parts, scope: Scope) -> Listing:
    """Holds for whoever has this scope."""
    return Listing(
        of={"list": "holds", "person": scope.person},
        fetch=lambda behind, limit: parts.ledger.glance(list_holds, scope, behind, limit),
        place=lambda row: (row.at, row.kind, row.name),
        line=hold_line,
    )


def work_listing(parts: Parts, scope: Scope, state: WorkState) -> Listing:
    """Work that is not as wanted, for whoever has this scope."""
    return Listing(
        of={"list": "work", "person": scope.person, "state": state},
        fetch=lambda behind, limit: parts.ledger.glance(list_work, scope, state, behind, limit),
        place=lambda row: (row.since_at, row.grant_id, row.side),
        line=lambda row: work_line(row, state),
    )


def drift_listing(parts: Parts, scope: Scope) -> Listing:
    """Drift for whoever has this scope."""

    def fetch(behind: Place | None, limit: int) -> Sequence[Any]:
        last = None if behind is None else (str(behind[0]), str(behind[1]))
        return parts.ledger.glance(list_drift, scope, last, limit)

    of = {"list": "drift", "person": scope.person}
    return Listing(of, fetch, place=lambda row: (row.grant_id, row.side), line=drift_line)


def findings_seen(parts: Parts, scope: Scope) -> list[Finding]:
    """What was found last, for whoever has this scope."""
    return [
        Finding(name=name, at=moment(at), value=value if scope.everything else None)
        for name, at, value in parts.ledger.glance(found_last)
    ]


def _seen(parts: Parts, scope: Scope, operation_id: str) -> OperationShown:
    row = parts.ledger.glance(seen_operation, scope, operation_id)
    if row is None:
        raise BadInput(f"operation_id: there is no operation {operation_id} that you may see", code="NoSuchTarget")
    return operation_shown(row)


def operation_shown(row: Any) -> OperationShown:
    """A row of ``operations``."""
    facts = {name: getattr(row, name) for name in OperationShown.model_fields if not name.endswith("_at")}
    return OperationShown(**facts, said_at=moment(row.said_at), carried_out_at=maybe(row.carried_out_at))


def hold_line(row: Any) -> HoldLine:
    """A row of ``holds``, and the word that lifts it."""
    kind = HoldKind(row.kind)
    return HoldLine(
        kind=kind,
        name=row.name,
        everything=row.everything,
        who=row.who,
        reason=row.reason,
        at=moment(row.at),
        words=[Word(word=OperatingWord.LIFT, kind=kind, name=row.name)],
    )


def work_line(row: Any, state: WorkState) -> WorkLine:
    """A row of ``list_work``, and the word that has dead work tried again."""
    why = None if row.trouble is None else Reason.model_validate_json(row.trouble)
    dead, side = state is WorkState.DEAD, Side(row.side)
    return WorkLine(
        **_named(row),
        side=side,
        state=row.state,
        dead=dead,
        since=maybe(row.since_at or None),
        code=None if why is None else why.code,
        why=None if why is None else why.text,
        attempts=row.attempts,
        next_look=None if dead else maybe(row.next_at),
        read_at=maybe(row.seen_at),
        waiting=row.waiting,
        words=[Word(word=OperatingWord.REDRIVE, name=row.grant_id, side=side)] if dead else [],
    )


def drift_line(row: Any) -> DriftLine:
    """A row of ``list_drift``, and the word that ends it: what is not ours is adopted, what is ours is repaired."""
    found, side = finding_of(row.drift), Side(row.side)
    assert found is not None  # noqa: S101  # that is what is asked for
    word = Word(word=OperatingWord.REPAIR, name=row.grant_id)
    if found.kind.foreign or (found.kind is DriftKind.PREFIXES_DIFFER and not row.ours):
        word = Word(word=OperatingWord.ADOPT, name=row.grant_id, side=side)
    return DriftLine(
        **_named(row),
        side=side,
        state=row.state,
        ours=row.ours,
        drift=found.kind,
        text=found.text,
        since=moment(found.at),
        settled=not row.unsettled,
        next_look=maybe(row.next_at),
        read_at=maybe(row.seen_at),
        words=[word],
    )


def _named(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in GrantNamed.model_fields}
