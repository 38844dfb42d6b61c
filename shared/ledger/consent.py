"""What people said, as the ledger keeps it: facts that only grow, in a chain of their own, and how each request stands.

Whoever adds a fact sees all that were said of its request before, and nobody adds another meanwhile: so of two at once one is
first, and each is told the truth. The desk may add facts and the row of a new request, and nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Protocol

import sqlalchemy as sql
from pydantic import ValidationError
from sqlalchemy.engine import Connection, Row

from shared.errors import BadInput
from shared.ledger.record import START_OF_CHAIN, chained, name_of
from shared.ledger.seeing import Scope, first_of, own_requests
from shared.ledger.tables import consent, requests
from shared.messages.consent import FACTS, AnyFact, Asked
from shared.messages.texts import canonical, faults
from shared.rules.consent import Stage, Standing, due, fold

# Any number, as long as it is ours; each schema is a ledger of its own. It takes no right but to connect: the desk has no other.
_ALONE = sql.text("SELECT pg_advisory_xact_lock(20230904, hashtext(current_schema()))")
_END = sql.select(consent.c.seq, consent.c.hash).order_by(consent.c.seq.desc()).limit(1)
_OF_REQUEST = sql.select(consent).where(consent.c.request_id == sql.bindparam("of_request")).order_by(consent.c.seq)
_BEHIND = sql.select(consent).where(consent.c.seq > sql.bindparam("after")).order_by(consent.c.seq)


@dataclass(frozen=True)
class Kept:
    """A fact as the chain has it."""

    seq: int
    fact_id: str
    hash: str
    fact: AnyFact


def facts_of(connection: Connection, request_id: str) -> list[Kept]:
    """All that was said of a request, oldest first; nothing for one that nobody asked.

    Raises BadInput for what cannot be read.
    """
    return [kept(row) for row in connection.execute(_OF_REQUEST, {"of_request": request_id})]


def kept(row: Any) -> Kept:
    """A row's fact. Raises BadInput for one that is not what was added."""
    where = f"fact {row.seq} of request {row.request_id}"
    if row.hash != chained(row.previous, row.seq, _digest(row.body)):
        raise BadInput(f"{where} is not what was recorded")
    try:
        fact = FACTS.validate_json(row.body)
    except ValidationError as error:
        raise BadInput(f"{where}: {faults(error)}") from None
    if (fact.request_id, fact.fact, _millis(fact.at)) != (row.request_id, row.kind, row.at):
        raise BadInput(f"{where} is not the one that its row names")
    return Kept(row.seq, row.fact_id, row.hash, fact)


def add_facts(
    connection: Connection,
    request_id: str,
    say: Callable[[Standing | None], Sequence[AnyFact]],
    *,
    name: str | None = None,
) -> tuple[Standing, list[Kept]]:
    """Add what is to be said of a request, knowing how it stands; nobody else says anything meanwhile. Returns how it stands
    then, and what was added. To be asked last of all that is locked.

    ``say``: gets None for a request that nobody asked yet; whatever it raises adds nothing. ``name``: what was said once under
    this name is not said again.
    """
    if connection.dialect.name == "postgresql":  # SQLite's writers are alone anyway
        connection.execute(_ALONE)
    before = facts_of(connection, request_id)
    standing = fold(one.fact for one in before) if before else None
    if name is not None and standing is not None and any(one.fact_id == _fact_id(request_id, name) for one in before):
        return standing, []
    said = list(say(standing))
    end = connection.execute(_END).one_or_none()
    seq, previous = (0, START_OF_CHAIN) if end is None else end
    rows: list[dict[str, Any]] = []
    for number, fact in enumerate(said):
        seq += 1
        body = canonical(fact.model_dump(mode="json", by_alias=True)).decode()
        named = str(seq) if name is None else name if number == 0 else f"{name}/{number}"
        values = {"seq": seq, "fact_id": _fact_id(request_id, named), "request_id": request_id, "kind": fact.fact}
        hashed = chained(previous, seq, _digest(body))
        rows.append(values | {"at": _millis(fact.at), "body": body, "previous": previous, "hash": hashed})
        previous = hashed
    if rows:
        connection.execute(consent.insert(), rows)
    if standing is None and said and isinstance(said[0], Asked):
        connection.execute(requests.insert(), _request_row(said[0]))
    added = [Kept(row["seq"], row["fact_id"], row["hash"], fact) for row, fact in zip(rows, said, strict=True)]
    return fold([*(one.fact for one in before), *said]), added


def unheard(connection: Connection, after: int, limit: int) -> list[Kept | BadInput]:
    """The facts behind that place of the chain, oldest first; an error in place of one that cannot be read."""
    found: list[Kept | BadInput] = []
    for row in connection.execute(_BEHIND.limit(limit), {"after": after}):
        try:
            found.append(kept(row))
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


def open_requests(connection: Connection, grant_ids: Sequence[str]) -> list[str]:
    """The requests about these grants that have not ended, as far as the grant function has heard."""
    query = sql.select(requests.c.request_id).where(requests.c.grant_id.in_(grant_ids), requests.c.due_at.is_not(None))
    return list(connection.execute(query.order_by(requests.c.asked_at, requests.c.request_id)).scalars())


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
    requester: str
    asked_at: int
    stage: str
    round: int


def list_requests(
    connection: Connection,
    scope: Scope,
    stage: Stage | None,
    batch: str | None,
    behind: tuple[int, str] | None,
    limit: int,
) -> list[RequestRow]:
    """Requests as they were heard, newest first, a page behind (asked at, request id); of those that may be seen."""
    query = sql.select(requests)
    if stage is not None:
        query = query.where(requests.c.stage == stage)
    if batch is not None:
        query = query.where(requests.c.batch == batch)
    if behind is not None:
        query = query.where(sql.tuple_(requests.c.asked_at, requests.c.request_id) < sql.tuple_(*behind))
    found = first_of(query, scope.shape.ways(requests, own_requests()), ["asked_at", "request_id"], newest=True)
    return list(connection.execute(found, {**scope.values, "at_most": limit}))


def seen_request(connection: Connection, scope: Scope, request_id: str) -> Standing | None:
    """How a request stands by all that was said; None for one that nobody asked, or that may not be seen."""
    may = scope.shape.condition(requests, own_requests())
    query = sql.select(consent).join(requests, requests.c.request_id == consent.c.request_id)
    query = query.where(consent.c.request_id == request_id, may).order_by(consent.c.seq)
    rows = connection.execute(query, scope.values).all()
    return fold(kept(row).fact for row in rows) if rows else None


def note_standing(connection: Connection, standing: Standing, heard: int, reminded: int) -> None:
    """Write how a request stands, as heard up to that place of the chain, and after so many reminders."""
    ended = standing.stage is not Stage.OPEN
    values: dict[str, Any] = {"stage": standing.stage, "round": standing.round, "heard": heard, "reminded": reminded}
    values |= {"due_at": None if ended else _millis(due(standing.asked, reminded))}
    values |= {"ended_at": _millis(standing.ended.at)} if ended and standing.ended is not None else {}
    connection.execute(requests.update().where(requests.c.request_id == standing.request_id).values(values))


def chain_fault(connection: Connection, heard: Mapping[int, str]) -> str | None:
    """The first thing that is wrong with the facts, as a sentence; None when all is well. ``heard``: the hashes of those that the
    record has events of.
    """
    left, last, previous = dict(heard), 0, START_OF_CHAIN
    with connection.execute(sql.select(consent).order_by(consent.c.seq).execution_options(yield_per=500)) as rows:
        for row in rows:
            if row.seq != last + 1:
                return f"fact {last + 1} of the consent chain is missing"
            if row.previous != previous or left.pop(row.seq, row.hash) != row.hash:
                return f"fact {row.seq} of request {row.request_id} is not what was recorded"
            try:
                kept(row)
            except BadInput as error:
                return str(error)
            last, previous = row.seq, row.hash
    return f"fact {min(left)} of the consent chain is missing: the record has heard it" if left else None


def request_fault(connection: Connection) -> str | None:
    """The first request whose row is not what its facts come to, as far as they were heard; as a sentence. None when all are."""
    query = (
        sql.select(consent, *(column.label(f"row_{column.name}") for column in requests.c))
        .select_from(requests.outerjoin(consent, consent.c.request_id == requests.c.request_id))
        .order_by(requests.c.request_id, consent.c.seq)
    )
    with connection.execute(query.execution_options(yield_per=500)) as found:
        for request_id, together in groupby(found, key=lambda row: row.row_request_id):
            facts = list(together)
            heard = [kept(row).fact for row in facts if row.seq is not None and row.seq <= facts[0].row_heard]
            if wrong := _wrong_row(facts[0], heard):
                return f"the request {request_id} {wrong}"
    nobodys = sql.select(consent.c.request_id).where(~sql.exists().where(requests.c.request_id == consent.c.request_id))
    row = connection.execute(nobodys.order_by(consent.c.seq).limit(1)).first()
    return None if row is None else f"something was said of the request {row.request_id}, which has no row"


def _wrong_row(row: Any, heard: Sequence[AnyFact]) -> str | None:
    """What of a request's row is not what its facts come to."""
    standing = fold(heard) if heard else None
    ended = None if standing is None or standing.ended is None else _millis(standing.ended.at)
    expected: dict[str, Any] = {
        "stage": str(Stage.OPEN if standing is None else standing.stage),
        "round": 0 if standing is None else standing.round,
        "ended_at": ended,
    }
    expected |= {} if standing is None else _asked_columns(standing.asked)
    for name, value in expected.items():
        if getattr(row, f"row_{name}") != value:
            return f"has {name} {getattr(row, f'row_{name}')!r}, what was said comes to {value!r}"
    if (row.row_due_at is None) != (ended is not None):
        return "is waited for although it ended" if ended is not None else "is open, and nobody waits for it"
    return None


def heard_in(page: Sequence[Row[Any]]) -> dict[int, str]:
    """The hashes of the facts that these events are about, by their places in the consent chain."""
    found: dict[int, str] = {}
    for event in page:
        facts = json.loads(event.facts) if event.facts and '"consent"' in event.facts else {}
        if isinstance(facts, dict) and isinstance(facts.get("consent"), int):
            found[facts["consent"]] = str(facts.get("hash"))
    return found


def _request_row(asked: Asked) -> dict[str, Any]:
    return {
        "request_id": asked.request_id,
        **_asked_columns(asked),
        "stage": Stage.OPEN,
        "round": 0,
        "due_at": _millis(due(asked, 0)),
        "reminded": 0,
        "heard": 0,
    }


def _asked_columns(asked: Asked) -> dict[str, Any]:
    """What of a request's row never changes."""
    wish = asked.wish
    return {
        "batch": asked.batch,
        "grant_id": wish.grant.grant_id,
        "ecr_owner_uid": wish.ecr.owner_uid,
        "instance_owner_uid": wish.instance.owner_uid,
        "kind": str(wish.kind),
        "requester": asked.by.person,
        "asked_at": _millis(asked.at),
    }


def _fact_id(request_id: str, name: str) -> str:
    return name_of("fact", request_id, name)


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


def _millis(moment: datetime) -> int:
    """Epoch milliseconds; what is finer does not count, as in every message."""
    return round(moment.replace(microsecond=moment.microsecond // 1000 * 1000).timestamp() * 1000)
