"""The outbox: completions that were recorded and are still to be published. What is published once too often changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from shared.ledger.tables import events, outbox

_FREE = (
    sql.select(outbox.c.seq)
    .where(
        sql.or_(outbox.c.taken_until.is_(None), outbox.c.taken_until <= sql.bindparam("now")),
    )
    .order_by(outbox.c.seq)
    .limit(sql.bindparam("most"))
    .with_for_update(skip_locked=True)
)
_TAKE = (
    outbox.update()
    .where(outbox.c.seq.in_(_FREE.scalar_subquery()))
    .values(taken_until=sql.bindparam("until"))
    .returning(outbox.c.seq)
)
_ENTRIES = (
    sql.select(events.c.seq, events.c.kind, events.c.body, events.c.grant_id)
    .where(events.c.seq.in_(sql.bindparam("seqs", expanding=True)))
    .order_by(events.c.seq)
)


@dataclass(frozen=True)
class OutboxEntry:
    """A completion that waits to be published."""

    seq: int
    tag: str
    body: str
    grant_id: str | None


def waiting_entries(connection: Connection, limit: int) -> list[OutboxEntry]:
    """The oldest completions that are still to be published."""
    rows = connection.execute(
        sql.select(events.c.seq, events.c.kind, events.c.body, events.c.grant_id)
        .join(outbox, outbox.c.seq == events.c.seq)
        .order_by(events.c.seq)
        .limit(limit)
    )
    return [OutboxEntry(*row) for row in rows]


def take_entries(connection: Connection, limit: int, now: int, until: int) -> list[OutboxEntry]:
    """The oldest entries that nobody else is publishing, taken until then: several functions share one outbox."""
    seqs = list(connection.execute(_TAKE, {"now": now, "most": limit, "until": until}).scalars())
    if not seqs:
        return []
    return [OutboxEntry(*row) for row in connection.execute(_ENTRIES, {"seqs": seqs})]


def give_back(connection: Connection, seqs: Sequence[int]) -> None:
    """These could not be published: the next one who comes may try."""
    connection.execute(outbox.update().where(outbox.c.seq.in_(seqs)).values(taken_until=None))


def mark_published(connection: Connection, seqs: Sequence[int]) -> None:
    """These completions are out: nothing of them waits any more."""
    connection.execute(outbox.delete().where(outbox.c.seq.in_(seqs)))
