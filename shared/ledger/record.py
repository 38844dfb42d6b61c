"""The record: an append-only chain of events, each tied to all before it by a hash.

An event is a completion, or a fact that only the record needs; both may carry facts that are not published. The chain makes an
edited, dropped or reordered event visible; signed heads, kept outside the database (``proof``), make a cut-off tail or a chain
hashed anew visible too. The chain hashes digests: a body may be pruned one day without breaking it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from shared.ledger.tables import chain, events, grants, outbox
from shared.messages.completion import COMPLETION, Completion, EventKind, GrantFields, Reason, Request, Served
from shared.messages.forms import GrantKey
from shared.messages.texts import canonical

_OF_NOTHING = hashlib.sha256(b"").hexdigest()
START_OF_CHAIN = "0" * 64

_NAMED = events.c.event_id.in_(sql.bindparam("named", expanding=True))
_END_LOCKED = sql.select(chain.c.seq).where(chain.c.name == "events").with_for_update()
_END_AND_KNOWN = (
    sql.select(chain.c.seq, chain.c.hash, events.c.event_id)
    .select_from(chain.outerjoin(events, _NAMED))
    .where(chain.c.name == "events")
    .with_for_update(of=chain)
)
_KNOWN = sql.select(events.c.event_id).where(_NAMED)
_MOVE_END = (
    chain.update().where(chain.c.name == "events").values(seq=sql.bindparam("to_seq"), hash=sql.bindparam("to_hash"))
)
_NEXT_NUMBERS = (
    grants.update()
    .where(grants.c.grant_id.in_(sql.bindparam("of_grants", expanding=True)))
    .values(last_number=grants.c.last_number + sql.bindparam("more"))
    .returning(grants.c.grant_id, grants.c.last_number)
)
_ADD_EVENTS = events.insert()
_ADD_ENTRIES = outbox.insert()


@dataclass(frozen=True)
class About:
    """What an event is about, as far as it is about a grant."""

    grant_id: str
    key: GrantKey
    generation: int
    prefixes: tuple[str, ...]


@dataclass(frozen=True)
class Event:
    """One fact to record. ``facts``: what only the record needs. Its kind says whether it is published.

    ``key``: the grant that is asked for, where nothing was opened on it; such an event is none of the grant's. ``people``: whom
    it concerns. ``operation``: which operator's word it is about. ``again``: it may happen again, also within the same
    millisecond; then it is told apart by where the record stands.
    """

    event_id: str
    kind: EventKind
    about: About | None = None
    request: Request | None = None
    message_id: str | None = None
    reason: Reason | None = None
    association_id: str | None = None
    served: Sequence[Served] = ()
    facts: Mapping[str, Any] | None = None
    again: bool = False
    key: GrantKey | None = None
    people: Sequence[str] = ()
    operation: str | None = None


def name_of(*parts: str) -> str:
    """An event's name, the same wherever and however often its fact is met: so it is recorded once."""
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:40]


def digest_of(body: str, facts: str | None) -> str:
    """What stands for an event's content in the chain."""
    of_facts = _OF_NOTHING if not facts else hashlib.sha256(facts.encode()).hexdigest()
    return hashlib.sha256(f"{hashlib.sha256(body.encode()).hexdigest()}\n{of_facts}".encode()).hexdigest()


def chained(previous: str, seq: int, digest: str) -> str:
    """The hash that ties an event to all before it."""
    return hashlib.sha256(f"{previous}\n{seq}\n{digest}".encode()).hexdigest()


def lock_end(connection: Connection) -> None:
    """Nobody else adds events before this transaction ends. To be asked last of all that is locked."""
    connection.execute(_END_LOCKED)


def append(connection: Connection, now: int, *news: Event) -> int:
    """Add events to the chain, and completions to the outbox, unless they are there already: the facts of one step, at once.

    Their content is fixed here. The caller has locked the grants that they are about, so that nobody else tells the same; here
    the end of the chain is locked, and nothing else after it. Returns how many were news.
    """
    by_name = {one.event_id: one for one in news}
    if not by_name:
        return 0
    found = connection.execute(_END_AND_KNOWN, {"named": list(by_name)}).all()
    end, known = found[0], {row.event_id for row in found}
    nobodys = [name for name, one in by_name.items() if one.about is None]
    if nobodys:  # behind no lock of a grant: asked again now that nobody else can tell them
        known |= set(connection.execute(_KNOWN, {"named": nobodys}).scalars())
    fresh = [one for name, one in by_name.items() if one.again or name not in known]
    if not fresh:
        return 0
    numbers = _numbers(connection, fresh)
    seq, previous = end.seq, end.hash
    rows, entries = [], []
    for told in fresh:
        one = replace(told, event_id=name_of(told.event_id, str(end.seq))) if told.again else told
        seq += 1
        number = next(numbers[one.about.grant_id]) if one.about is not None and one.kind.published else None
        body = _body(one, number, now)
        facts = None if one.facts is None else canonical(dict(one.facts)).decode()
        digest = digest_of(body, facts)
        hashed = chained(previous, seq, digest)
        rows.append(
            {
                "seq": seq,
                "event_id": one.event_id,
                "grant_id": None if one.about is None else one.about.grant_id,
                "number": number,
                "kind": one.kind,
                "at": now,
                "body": body,
                "facts": facts,
                "digest": digest,
                "previous": previous,
                "hash": hashed,
            }
        )
        if one.kind.published:
            entries.append({"seq": seq})
        previous = hashed
    connection.execute(_ADD_EVENTS, rows)
    if entries:
        connection.execute(_ADD_ENTRIES, entries)
    connection.execute(_MOVE_END, {"to_seq": seq, "to_hash": previous})
    return len(fresh)


def _numbers(connection: Connection, news: Sequence[Event]) -> dict[str, Any]:
    """The next numbers of each grant's completions: subscribers count them without gaps."""
    counted: dict[str, int] = {}
    for one in news:
        if one.about is not None and one.kind.published:
            counted[one.about.grant_id] = counted.get(one.about.grant_id, 0) + 1
    found = {}
    for more in sorted(set(counted.values())):
        same = [grant_id for grant_id, often in counted.items() if often == more]
        for row in connection.execute(_NEXT_NUMBERS, {"of_grants": same, "more": more}):
            found[row.grant_id] = iter(range(row.last_number - more + 1, row.last_number + 1))
    return found


def _body(one: Event, number: int | None, now: int) -> str:
    about = one.about
    key = one.key if about is None else about.key
    completion = Completion.model_validate(
        {
            "schema": COMPLETION,
            "id": one.event_id,
            "event": one.kind,
            "at": datetime.fromtimestamp(now / 1000, UTC),
            "grant": None if key is None else GrantFields(grant_id=key.grant_id, **asdict(key)),
            "number": number,
            "generation": None if about is None else about.generation,
            "association_id": one.association_id,
            "allowed_prefixes": None if about is None else list(about.prefixes),
            "request": one.request,
            "message_id": one.message_id or None,
            "reason": one.reason,
            "served": list(one.served),
            "people": list(one.people) or None,
            "operation": one.operation,
        }
    )
    return canonical(completion.model_dump(mode="json", by_alias=True, exclude_none=True)).decode()
