"""Intents: writes to the cloud that are committed to before they are made, and what looks say became of them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from shared.ledger.rows import mine, work_of
from shared.ledger.tables import intents, sides
from shared.ledger.transactions import locked
from shared.messages.completion import Served
from shared.rules.facts import Intent, IntentResult, Operation, Work


def intend(connection: Connection, work: Work, operation: Operation, now: int) -> Intent | None:
    """Commit to one write before it is made. None when the leases or the other side changed meanwhile.

    Until its call is known to be over it may have been made as late as the worker's claim lasts: a worker can be
    stopped for long between this and its call, and die after it.
    """
    locked(connection, work.grant_id)
    fresh = work_of(connection, work.grant_id, work.mine.side)
    if (fresh.generation, fresh.wanted) != (work.generation, work.wanted):
        return None
    if fresh.other_pending or fresh.my_intents:
        return None
    until = connection.execute(sql.select(sides.c.claimed_until).where(*mine(work))).scalar_one()
    intent = Intent(uuid.uuid4().hex, operation, work.generation, max(now, until or now), work.wanted.prefixes)
    values = asdict(intent) | {"prefixes": json.dumps(intent.prefixes)}
    connection.execute(intents.insert().values(**values, grant_id=work.grant_id, side=work.mine.side))
    return intent


def carried_out(connection: Connection, intent: Intent, served: Sequence[Served], now: int, *, refused: bool) -> None:
    """Note the call that an intent became. ``refused``: the platform certainly did not execute it."""
    values: dict[str, Any] = {"made_at": now, "served": json.dumps([one.model_dump() for one in served])}
    if refused:
        values |= {"result": IntentResult.REFUSED, "resolved_at": now}
    connection.execute(intents.update().where(intents.c.intent_id == intent.intent_id).values(**values))


def resolve(connection: Connection, landed: Iterable[Intent], lost: Iterable[Intent], now: int) -> None:
    """Close the question what became of these intents."""
    for result, which in ((IntentResult.LANDED, landed), (IntentResult.LOST, lost)):
        for intent in which:
            connection.execute(
                intents.update()
                .where(intents.c.intent_id == intent.intent_id, intents.c.result.is_(None))
                .values(result=result, resolved_at=now)
            )


def saw(
    connection: Connection,
    work: Work,
    state: str,
    ours: bool | None,
    association_id: str | None,
    now: int,
    *,
    landed: Iterable[Intent] = (),
    lost: Iterable[Intent] = (),
) -> Work:
    """Keep what was read on the cloud, together with what that says about our writes: one fact, one transaction.

    ``ours`` None: nothing is there. False: we did not make it; it stays ours when it was, or has just been adopted.
    Returns the work as it is now.
    """
    kept = sql.func.coalesce(sides.c.ours, sql.false()) if ours is False else ours
    resolve(connection, landed, lost, now)
    connection.execute(
        sides.update().where(*mine(work)).values(state=state, ours=kept, association_id=association_id, seen_at=now)
    )
    return work_of(connection, work.grant_id, work.mine.side)


def served_by(connection: Connection, work: Work) -> list[Served]:
    """The writes of this side and generation: what a person looks for in the account's audit log."""
    rows = connection.execute(
        sql.select(intents.c.served).where(
            intents.c.grant_id == work.grant_id,
            intents.c.side == work.mine.side,
            intents.c.generation == work.generation,
            intents.c.served.is_not(None),
        )
    )
    return [Served.model_validate(one) for row in rows for one in json.loads(row.served)]


def anything_landed(connection: Connection, work: Work) -> bool:
    """Whether a write of ours, on either side, took effect for the present leases."""
    count = connection.execute(
        sql.select(sql.func.count())
        .select_from(intents)
        .where(
            intents.c.grant_id == work.grant_id,
            intents.c.generation == work.generation,
            intents.c.result == IntentResult.LANDED,
        )
    ).scalar_one()
    return bool(count)
