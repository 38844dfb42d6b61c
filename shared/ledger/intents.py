"""Intents: writes to the cloud that are committed to before they are made, and what looks say became of them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from shared.ledger.record import Event, append, fresh_name
from shared.ledger.rows import about_work, mine, work_of
from shared.ledger.tables import intents, sides
from shared.ledger.transactions import locked
from shared.ledger.work import read_work
from shared.messages.completion import EventKind, Served
from shared.rules.facts import Intent, IntentResult, Mode, Operation, Seen, Work
from shared.rules.leases import Timing


def intend(
    connection: Connection,
    work: Work,
    operation: Operation,
    now: int,
    timing: Timing,
    mode: Mode = Mode.FULL,
    prefixes: tuple[str, ...] | None = None,
) -> Intent | None:
    """Commit to one write before it is made. None when the leases, the other side, the mode or the holds changed meanwhile, or
    time did: nothing is made past the end of what was approved. ``prefixes``: what an association is to allow; None: what is
    wanted.

    Until its call is known to be over it may have been made as late as the worker's claim lasts: a worker can be
    stopped for long between this and its call, and die after it.
    """
    fresh = read_work(connection, work.grant_id, work.mine.side, now, timing, mode)
    if fresh is None or (fresh.generation, fresh.wanted, fresh.stops) != (work.generation, work.wanted, work.stops):
        return None
    if fresh.other_pending is not None or fresh.my_intents:
        return None
    if operation.creates and not fresh.wanted.up:
        return None  # whatever the caller thought: past its end nothing is made
    asked = work.wanted.prefixes if prefixes is None else prefixes
    until = connection.execute(sql.select(sides.c.claimed_until).where(*mine(work))).scalar_one()
    intent = Intent(uuid.uuid4().hex, operation, work.generation, max(now, until or now), asked)
    values = asdict(intent) | {"prefixes": json.dumps(intent.prefixes), "matters": True}
    connection.execute(intents.insert().values(**values, grant_id=work.grant_id, side=work.mine.side))
    connection.execute(sides.update().where(*mine(work)).values(unsettled=True))
    return intent


def carried_out(connection: Connection, intent: Intent, served: Sequence[Served], now: int, *, refused: bool) -> None:
    """Note the call that an intent became. ``refused``: the platform certainly did not execute it."""
    values: dict[str, Any] = {"made_at": now, "served": json.dumps([one.model_dump() for one in served])}
    if refused:
        values |= {"result": IntentResult.REFUSED, "resolved_at": now, "matters": False}
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


def give_up_others(connection: Connection, work: Work, now: int, timing: Timing) -> bool:
    """Give up the writes of the other side that nobody looks after any more, since account A's own automation took over.

    They may have landed: what account B itself sees counts from then on. False when one of them may still land.
    """
    locked(connection, work.grant_id)
    of_other = intents.c.grant_id == work.grant_id, intents.c.side == work.other.side
    others = *of_other, intents.c.matters, intents.c.result.is_(None)
    connection.execute(
        intents.update()
        .where(*others, intents.c.made_at + timing.settle <= now)
        .values(result=IntentResult.LOST, resolved_at=now, matters=False)
    )
    left = connection.execute(sql.select(sql.func.count()).select_from(intents).where(*others)).scalar_one()
    return not left


def saw(
    connection: Connection,
    work: Work,
    seen: Seen,
    now: int,
    mode: Mode = Mode.FULL,
    *,
    landed: Iterable[Intent] = (),
    lost: Iterable[Intent] = (),
) -> Work:
    """Keep what was read on the cloud, together with what that says about our writes: one fact, one transaction.

    ``seen.ours`` None: nothing is there. False: we did not make it; it stays ours when it was, or has just been adopted.
    Returns the work as it is now.
    """
    before = connection.execute(sql.select(sides.c.ours, sides.c.seen_at).where(*mine(work)).with_for_update()).one()
    ours = bool(before.ours) if seen.ours is False else seen.ours
    resolve(connection, landed, lost, now)
    connection.execute(
        sides.update()
        .where(*mine(work))
        .values(
            state=seen.state,
            ours=ours,
            association_id=seen.association_id,
            prefixes=None if seen.prefixes is None else json.dumps(seen.prefixes),
            since=seen.since,
            seen_at=now,
        )
    )
    fresh = work_of(connection, work.grant_id, work.mine.side, mode=mode)
    if ours != before.ours:
        append(connection, now, ownership(connection, fresh, ours, now))
    return fresh


def ownership(connection: Connection, work: Work, ours: bool | None, now: int) -> Event:
    """The fact whose it is what stands on a side: it decides whether we may take it down."""
    name = fresh_name(connection, EventKind.OWNERSHIP, work.grant_id, work.mine.side)
    facts = {"grant_id": work.grant_id, "side": work.mine.side, "ours": ours, "at": now}
    return Event(name, EventKind.OWNERSHIP, about_work(work), facts=facts)
