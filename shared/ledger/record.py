"""The record: an append-only chain of events, each tied to all before it by a hash.

The chain makes an edited, dropped or reordered event visible; signed heads, kept outside the database (``proof``), make a
cut-off tail or a chain hashed anew visible too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from shared.ledger.tables import chain, events, grants, outbox
from shared.messages.completion import COMPLETION, Completion, EventKind, GrantFields, Reason, Request, Served
from shared.messages.forms import GrantKey
from shared.messages.texts import canonical

START_OF_CHAIN = "0" * 64

_END_LOCKED = sql.select(chain).where(chain.c.name == "events").with_for_update()
_EVENT = sql.select(events.c.seq).where(events.c.event_id == sql.bindparam("named"))
_MOVE_END = (
    chain.update().where(chain.c.name == "events").values(seq=sql.bindparam("to_seq"), hash=sql.bindparam("to_hash"))
)
_NEXT_NUMBER = (
    grants.update()
    .where(grants.c.grant_id == sql.bindparam("of_grant"))
    .values(last_number=grants.c.last_number + 1)
    .returning(grants.c.last_number)
)


@dataclass(frozen=True)
class About:
    """What an event is about, as far as it is about a grant."""

    grant_id: str
    key: GrantKey
    generation: int
    prefixes: tuple[str, ...]


def name_of(*parts: str) -> str:
    """An event's name, the same wherever and however often its fact is met: so it is recorded once."""
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:40]


def chained(previous: str, seq: int, body: str) -> str:
    """The hash that ties an event to all before it."""
    return hashlib.sha256(f"{previous}\n{seq}\n{body}".encode()).hexdigest()


def append(
    connection: Connection,
    event_id: str,
    kind: EventKind,
    now: int,
    *,
    about: About | None = None,
    request: Request | None = None,
    message_id: str | None = None,
    reason: Reason | None = None,
    association_id: str | None = None,
    served: Sequence[Served] = (),
) -> None:
    """Add one event to the chain and to the outbox, unless it is there already. Its completion is fixed here."""
    end = connection.execute(_END_LOCKED).one()
    if connection.execute(_EVENT, {"named": event_id}).first() is not None:
        return
    seq, previous = end.seq + 1, end.hash
    number = None
    if about is not None:
        number = connection.execute(_NEXT_NUMBER, {"of_grant": about.grant_id}).scalar_one()
    completion = Completion.model_validate(
        {
            "schema": COMPLETION,
            "id": event_id,
            "event": kind,
            "at": datetime.fromtimestamp(now / 1000, UTC),
            "grant": None if about is None else GrantFields(grant_id=about.grant_id, **asdict(about.key)),
            "number": number,
            "generation": None if about is None else about.generation,
            "association_id": association_id,
            "allowed_prefixes": None if about is None else list(about.prefixes),
            "request": request,
            "message_id": message_id or None,
            "reason": reason,
            "served": list(served),
        }
    )
    body = canonical(completion.model_dump(mode="json", by_alias=True, exclude_none=True)).decode()
    fingerprint = chained(previous, seq, body)
    connection.execute(
        events.insert().values(
            seq=seq,
            event_id=event_id,
            grant_id=None if about is None else about.grant_id,
            number=number,
            kind=kind,
            at=now,
            body=body,
            previous=previous,
            hash=fingerprint,
        )
    )
    connection.execute(_MOVE_END, {"to_seq": seq, "to_hash": fingerprint})
    connection.execute(outbox.insert().values(seq=seq))
