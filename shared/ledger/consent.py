"""What people said, as the ledger keeps it: facts that only grow, in a chain of their own, and how each request stands.

Whoever adds a fact sees all that were said of its request before, and nobody adds another meanwhile: so of two at once one is
first, and each is told the truth. The desk may add facts and the row of a new request, and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Protocol

import sqlalchemy as sql
from pydantic import ValidationError
from sqlalchemy.engine import Connection, Row

from shared.errors import BadInput
from shared.ledger.beginnings import begins, sought
from shared.ledger.record import START_OF_CHAIN, chained, name_of
from shared.ledger.seeing import Scope, Shape, first_of, own_requests
from shared.ledger.tables import consent, requests
from shared.messages.consent import FACTS, AnyFact, Asked, Operated
from shared.messages.texts import canonical, faults
from shared.rules.consent import Stage, Standing, due, fold, review_due

# Any number, as long as it is ours; each schema is a ledger of its own. It takes no right but to connect: the desk has no other.
_ALONE = sql.text("SELECT pg_advisory_xact_lock(20230904, hashtext(current_schema()))")
_END = sql.select(consent.c.seq, consent.c.hash).order_by(consent.c.seq.desc()).limit(1)
OPERATED = "operated"
"""The kind of fact that is an operator's word."""
_OF_REQUEST = sql.select(consent).where(consent.c.request_id == sql.bindparam("of_request")).order_by(consent.c.seq)
_BEHIND = sql.select(consent).where(consent.c.seq > sql.bindparam("after")).order_by(consent.c.seq)


@dataclass(frozen=True)
class Kept:
    """A fact as the chain has it."""

    seq: int
    fact_id: str
    hash: str
    fact: AnyFact


@dataclass(frozen=True)
class KeptWord:
    """An operator's word as the chain has it."""

    seq: int
    hash: str
    fact: Operated


def facts_of(connection: Connection, request_id: str) -> list[Kept]:
    """All that was said of a request, oldest first; nothing for one that nobody asked.

    Raises BadInput for what cannot be read.
    """
    return [kept(row) for row in connection.execute(_OF_REQUEST, {"of_request": request_id})]


def kept(row: Any) -> Kept:
    """A row's fact about a request. Raises BadInput for one that is not what was added."""
    found = kept_any(row)
    if isinstance(found, KeptWord):
        raise BadInput(f"fact {row.seq} is an operator's word, and none of a request")
    return found


def kept_any(row: Any) -> Kept | KeptWord:
    """A row's fact, an operator's word included. Raises BadInput for one that is not what was added."""
    where = f"fact {row.seq} of request {row.request_id}"
    if row.hash != chained(row.previous, row.seq, _digest(row.body)):
        raise BadInput(f"{where} is not what was recorded")
    try:
        fact = FACTS.validate_json(row.body)
    except ValidationError as error:
        raise BadInput(f"{where}: {faults(error)}") from None
    named = row.request_id, row.kind, row.at, row.fact_id
    about = fact.operation_id if isinstance(fact, Operated) else fact.request_id
    if (about, fact.fact, millis(fact.at), _fact_id(about, row.seq)) != named:
        raise BadInput(f"{where} is not the one that its row names")
    if isinstance(fact, Operated):
        return KeptWord(row.seq, row.hash, fact)
    return Kept(row.seq, row.fact_id, row.hash, fact)


def add_facts(
    connection: Connection, request_id: str, say: Callable[[Standing | None], Sequence[AnyFact]]
) -> tuple[Standing, list[Kept]]:
    """Add what is to be said of a request, knowing how it stands; nobody else says anything meanwhile. Returns how it stands
    then, and what was added. To be asked last of all that is locked.

    ``say``: gets None for a request that nobody asked yet; whatever it raises adds nothing.
    """
    speak_alone(connection)
    before = facts_of(connection, request_id)
    standing = fold(one.fact for one in before) if before else None
    said = list(say(standing))
    rows = extend(connection, request_id, said)
    if standing is None and said and isinstance(said[0], Asked):
        connection.execute(requests.insert(), _request_row(said[0]))
    added = [Kept(row["seq"], row["fact_id"], row["hash"], fact) for row, fact in zip(rows, said, strict=True)]
    return fold([*(one.fact for one in before), *said]), added


def speak_alone(connection: Connection) -> None:
    """Nobody else adds to the chain before this transaction ends."""
    if connection.dialect.name == "postgresql":  # SQLite's writers are alone anyway
        connection.execute(_ALONE)


def extend(connection: Connection, name: str, said: Sequence[AnyFact | Operated]) -> list[dict[str, Any]]:
    """Add facts at the end of the chain, for whoever speaks alone. ``name``: the request's id, or the operation's. Returns the
    rows.
    """
    end = connection.execute(_END).one_or_none()
    seq, previous = (0, START_OF_CHAIN) if end is None else end
    rows: list[dict[str, Any]] = []
    for fact in said:
        seq += 1
        body = canonical(fact.model_dump(mode="json", by_alias=True)).decode()
        values = {"seq": seq, "fact_id": _fact_id(name, seq), "request_id": name, "kind": fact.fact}
        hashed = chained(previous, seq, _digest(body))
        rows.append(values | {"at": millis(fact.at), "body": body, "previous": previous, "hash": hashed})
        previous = hashed
    if rows:
        connection.execute(consent.insert(), rows)
    return rows


def unheard(connection: Connection, after: int, limit: int) -> list[Kept | KeptWord | BadInput]:
    """The facts behind that place of the chain, oldest first; an error in place of one that cannot be read."""
    found: list[Kept | KeptWord | BadInput] = []
    for row in connection.execute(_BEHIND.limit(limit), {"after": after}):
        try:
            found.append(kept_any(row))
        except BadInput as error:
            found.append(error)
    return found


def standings(connection: Connection, ids: Sequence[str]) -> dict[str, Standing]:
    """How these requests stand by all that was said, in one statement; without those that nobody asked."""
    query = sql.select(consent).where(consent.c.request_id.in_(ids)).order_by(consent.c.seq)
    by_request: dict[str, list[AnyFact]] = {}
    for row in connection.execute(query):
        by_request.setdefault(row.request_id, []).append(kept(row).fact)
    return {request_id: fold(facts) for request_id, facts in by_request.items()}


def _emergencies(connection: Connection, grant_id: str, person: str, now: int) -> list[RequestRow]:
    """The emergencies that stand in the way of another one of this person on this grant, oldest first: theirs that are open
    there, those there that wait for their review, and theirs anywhere whose review is overdue.
    """
    there, waits = requests.c.grant_id == grant_id, requests.c.review_at.is_not(None)
    theirs = requests.c.requester == person
    found: dict[str, Any] = {}
    for which in (
        (requests.c.due_at.is_not(None), there, theirs, requests.c.emergency),
        (waits, there),
        (waits, theirs, requests.c.review_at <= now),
    ):
        found |= {row.request_id: row for row in connection.execute(sql.select(requests).where(*which))}
    return sorted(found.values(), key=lambda row: (row.asked_at, row.request_id))


def in_the_way(connection: Connection, asked: Asked, now: int) -> str | None:
    """Why an emergency cannot be, as a sentence: another one of the same person on the grant is open and was asked first, or one
    waits for its review. Of one that is asked just now any is first.
    """
    mine = millis(asked.at), asked.request_id
    found = _emergencies(connection, asked.wish.grant.grant_id, asked.by.person, now)
    asked_now = all(row.request_id != asked.request_id for row in found)
    for row in found:
        if row.review_at is not None:
            until = datetime.fromtimestamp(row.review_at / 1000, UTC).isoformat(timespec="seconds")
            return (
                f"emergency: {row.request_id} is to be reviewed first, until {until}, by somebody who did not take part"
            )
        if asked_now or (row.asked_at, row.request_id) < mine:
            return f"emergency: {row.request_id} of {row.requester} is open on this grant"
    return None


def overdue_reviews(connection: Connection, now: int, limit: int) -> list[RequestRow]:
    """The emergencies whose review is overdue, the longest first."""
    late = requests.c.review_at.is_not(None), requests.c.review_at <= now
    return list(connection.execute(sql.select(requests).where(*late).order_by(requests.c.review_at).limit(limit)))


def due_requests(connection: Connection, now: int, after: tuple[int, str], limit: int) -> list[Row[Any]]:
    """The requests that time does something to, a page behind (due at, request id)."""
    behind = sql.tuple_(requests.c.due_at, requests.c.request_id) > sql.tuple_(*after)
    query = sql.select(requests).where(requests.c.due_at.is_not(None), requests.c.due_at <= now, behind)
    return list(connection.execute(query.order_by(requests.c.due_at, requests.c.request_id).limit(limit)))


class RequestRow(Protocol):
    """A row of ``requests``."""

    request_id: str
    batch: str | None
    kind: str
    grant_id: str
    ecr_id: str | None
    ecr_owner_uid: str
    instance_id: str | None
    instance_owner_uid: str
    requester: str
    asked_at: int
    stage: str
    round: int
    emergency: bool
    review_at: int | None


_EQUAL = ("stage", "batch", "requester", "grant_id")


@dataclass(frozen=True)
class RequestsAsked:
    """Which requests; whatever is None does not matter. ``review``: emergencies that wait for their review.

    ``text``: how an id begins (of the request or the instance), or a whole name of a person, a batch or a grant.
    """

    stage: Stage | None = None
    batch: str | None = None
    requester: str | None = None
    grant_id: str | None = None
    review: bool = False
    text: str | None = None

    def values(self) -> dict[str, Any]:
        """The parameters of its statement. Raises BadInput for a text that no id begins with."""
        found = {name: value for name, value in vars(self).items() if name in _EQUAL and value is not None}
        return found if self.text is None else found | sought(self.text)


def list_requests(
    connection: Connection, scope: Scope, asked: RequestsAsked, behind: tuple[int, str] | None, limit: int
) -> list[RequestRow]:
    """Requests as they were heard, newest first, a page behind (asked at, request id); of those that may be seen.

    Raises BadInput, naming the field, for a text that no id begins with.
    """
    values = asked.values()
    shape = _Requests(
        scope.shape, frozenset(values), review=asked.review, further=behind is not None, dialect=connection.dialect.name
    )
    if behind is not None:
        values |= {"behind_at": behind[0], "behind_id": behind[1]}
    return list(connection.execute(_requests(shape), {**scope.values, **values, "at_most": limit}))


@dataclass(frozen=True)
class _Requests:
    """What the statement depends on."""

    scope: Shape
    asked: frozenset[str]
    review: bool
    further: bool
    dialect: str


@lru_cache(maxsize=200)
def _requests(shape: _Requests) -> sql.Select[Any]:
    equal = sorted(shape.asked.intersection(_EQUAL))
    query = sql.select(requests).where(*(requests.c[name] == sql.bindparam(name) for name in equal))
    if shape.review:
        query = query.where(requests.c.review_at.is_not(None))
    if shape.further:
        place: tuple[sql.BindParameter[Any], ...] = sql.bindparam("behind_at"), sql.bindparam("behind_id")
        query = query.where(sql.tuple_(requests.c.asked_at, requests.c.request_id) < sql.tuple_(*place))
    ways = shape.scope.ways(requests, own_requests())
    if "text" in shape.asked:
        text, seen = sql.bindparam("text", type_=sql.String), sql.or_(*ways)
        whole = [requests.c[name] == text for name in ("requester", "batch", "grant_id")]
        some = [begins(column, shape.dialect) for column in (requests.c.request_id, requests.c.instance_id)]
        ways = [sql.and_(one, seen) for one in (*whole, *some)]
    return first_of(query, ways, ["asked_at", "request_id"], newest=True)


def seen_facts(connection: Connection, scope: Scope, request_id: str) -> list[AnyFact]:
    """All that was said of a request, oldest first; nothing for one that nobody asked, or that may not be seen."""
    may = scope.shape.condition(requests, own_requests())
    query = sql.select(consent).join(requests, requests.c.request_id == consent.c.request_id)
    query = query.where(consent.c.request_id == request_id, may).order_by(consent.c.seq)
    return [kept(row).fact for row in connection.execute(query, scope.values)]


def note_standing(connection: Connection, standing: Standing, heard: int, reminded: int) -> None:
    """Write how a request stands, as heard up to that place of the chain, and after so many reminders."""
    ended = standing.stage is not Stage.OPEN
    values: dict[str, Any] = {"stage": standing.stage, "round": standing.round, "heard": heard, "reminded": reminded}
    values |= {"due_at": None if ended else millis(due(standing.asked, reminded))}
    values |= {"ended_at": millis(standing.ended.at)} if ended and standing.ended is not None else {}
    values |= {"review_at": maybe_millis(review_due(standing))} if standing.asked.wish.emergency else {}
    connection.execute(requests.update().where(requests.c.request_id == standing.request_id).values(values))


def _request_row(asked: Asked) -> dict[str, Any]:
    return {
        "request_id": asked.request_id,
        **asked_columns(asked),
        "stage": Stage.OPEN,
        "round": 0,
        "due_at": millis(due(asked, 0)),
        "reminded": 0,
        "heard": 0,
    }


def asked_columns(asked: Asked) -> dict[str, Any]:
    """What of a request's row never changes."""
    wish = asked.wish
    return {
        "batch": asked.batch,
        "grant_id": wish.grant.grant_id,
        "ecr_owner_uid": wish.ecr.owner_uid,
        "instance_owner_uid": wish.instance.owner_uid,
        "ecr_id": wish.ecr.id,
        "instance_id": wish.instance.id,
        "kind": str(wish.kind),
        "requester": asked.by.person,
        "asked_at": millis(asked.at),
        "emergency": wish.emergency,
    }


def _fact_id(request_id: str, seq: int) -> str:
    return name_of("fact", request_id, str(seq))


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


def maybe_millis(moment: datetime | None) -> int | None:
    """The same of a time that may not be."""
    return None if moment is None else millis(moment)


def millis(moment: datetime) -> int:
    """Epoch milliseconds; what is finer does not count, as in every message."""
    return round(moment.replace(microsecond=moment.microsecond // 1000 * 1000).timestamp() * 1000)
