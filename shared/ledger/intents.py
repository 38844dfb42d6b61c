"""Intents: writes to the cloud that are committed to before they are made, and what looks say became of them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from shared.ledger.record import Event, name_of
from shared.ledger.rows import Held, about_work, held_rows, keep, news_in, staged, staged_in, work_from
from shared.ledger.snapshot import Rows
from shared.ledger.tables import intents
from shared.ledger.transactions import lock_all, locked
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
    fresh = _fresh(connection, work, now, timing, mode)
    if fresh is None or (fresh.generation, fresh.wanted, fresh.stops) != (work.generation, work.wanted, work.stops):
        return None
    if fresh.other_pending is not None or fresh.my_intents:
        return None
    if operation.creates and not fresh.wanted.up:
        return None  # whatever the caller thought: past its end nothing is made
    assert fresh.rows is not None  # noqa: S101  # it was read behind the lock
    asked = work.wanted.prefixes if prefixes is None else prefixes
    until = fresh.rows.sides[work.mine.side].claimed_until
    intent = Intent(uuid.uuid4().hex, operation, work.generation, max(now, until or now), asked)
    values = asdict(intent) | {"prefixes": json.dumps(intent.prefixes), "matters": True}
    values |= {"configuration": fresh.rows.configuration}
    connection.execute(intents.insert().values(**values, grant_id=work.grant_id, side=work.mine.side))
    unsettled = {} if fresh.rows.sides[work.mine.side].unsettled else {"unsettled": True}
    keep(
        connection,
        staged(replace(fresh, staged=staged_in(connection, work), news=news_in(connection, work)), unsettled),
        now,
    )
    return intent


def _fresh(connection: Connection, work: Work, now: int, timing: Timing, mode: Mode) -> Held | None:
    """The work behind the grant's lock, with time passed: as this very transaction has read it already, or read now."""
    if isinstance(work, Held) and work.rows is not None and work.rows is held_rows(connection, work):
        return work_from(work.rows, work.mine.side, mode)
    return read_work(connection, work.grant_id, work.mine.side, now, timing, mode)


@dataclass(frozen=True)
class Carried:
    """The call that an intent became. ``refused``: the platform certainly did not execute it."""

    intent: Intent
    served: Sequence[Served]
    at: int
    refused: bool

    @property
    def values(self) -> dict[str, Any]:
        """What the intent's row says then."""
        found: dict[str, Any] = {"made_at": self.at, "served": json.dumps([one.model_dump() for one in self.served])}
        if self.refused:
            found |= {"result": IntentResult.REFUSED, "resolved_at": self.at, "matters": False}
        return found


def carried_out(connection: Connection, intent: Intent, served: Sequence[Served], now: int, *, refused: bool) -> None:
    """Note the call that an intent became, on its own. ``refused``: the platform certainly did not execute it."""
    _lock_of(connection, [intent])
    values = Carried(intent, served, now, refused).values
    connection.execute(intents.update().where(intents.c.intent_id == intent.intent_id).values(**values))


def carried(_connection: Connection, work: Held, call: Carried) -> Held:
    """The same for work that is held. What it says of the intent is written by ``saw``, with what was seen."""
    assert work.rows is not None  # noqa: S101  # that is what makes it held
    rows = work.rows.with_intents({call.intent.intent_id: call.values})
    fresh = work_from(rows, work.mine.side, Mode.FULL)
    return replace(work, rows=rows, writes=fresh.writes, my_intents=fresh.my_intents)


def resolve(connection: Connection, landed: Iterable[Intent], lost: Iterable[Intent], now: int) -> None:
    """Close the question what became of these intents."""
    landed, lost = list(landed), list(lost)
    _lock_of(connection, [*landed, *lost])
    for result, which in ((IntentResult.LANDED, landed), (IntentResult.LOST, lost)):
        for intent in which:
            connection.execute(
                intents.update()
                .where(intents.c.intent_id == intent.intent_id, intents.c.result.is_(None))
                .values(result=result, resolved_at=now)
            )


def _lock_of(connection: Connection, which: Sequence[Intent]) -> None:
    """Lock the grants of some intents."""
    named = [intent.intent_id for intent in which]
    if named:
        found = connection.execute(sql.select(intents.c.grant_id).where(intents.c.intent_id.in_(named)).distinct())
        lock_all(connection, list(found.scalars()))


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
    call: Carried | None = None,
    later: bool = False,
) -> Held:
    """Keep what was read on the cloud, together with what that says about our writes: one fact, one transaction.

    ``seen.ours`` None: nothing is there. False: we did not make it; it stays ours when it was, or has just been adopted.
    ``call``: what a write of ours became. ``later``: somebody writes in this transaction all the same, so what was seen is
    staged. Returns the work as it is now.
    """
    rows, side = held_rows(connection, work), work.mine.side
    before = rows.sides[side]
    ours = bool(before.ours) if seen.ours is False else seen.ours
    rows = _became(connection, rows, landed, lost, call, now)
    values = {
        "state": seen.state,
        "ours": ours,
        "association_id": seen.association_id,
        "prefixes": None if seen.prefixes is None else json.dumps(seen.prefixes),
        "since": seen.since,
        "seen_at": now,
    }
    staged_before, news = staged_in(connection, work), news_in(connection, work)
    fresh = staged(replace(work_from(rows, side, mode), staged=staged_before, news=news), values)
    if ours != before.ours:
        fresh = replace(fresh, news=(*news, ownership(fresh, ours, now)))
    if later:
        return fresh
    keep(connection, fresh, now)
    return replace(fresh, staged={}, news=())


def _became(
    connection: Connection,
    rows: Rows,
    landed: Iterable[Intent],
    lost: Iterable[Intent],
    call: Carried | None,
    now: int,
) -> Rows:
    """Write what became of some intents, one statement for each."""
    changed: dict[str, dict[str, Any]] = {}
    if call is not None:
        changed[call.intent.intent_id] = call.values
    still_open = {one.intent_id for one in rows.intents if one.result is None}
    for result, which in ((IntentResult.LANDED, landed), (IntentResult.LOST, lost)):
        for intent in which:
            if intent.intent_id in still_open:
                changed.setdefault(intent.intent_id, {}).update(result=result, resolved_at=now)
    for name, values in changed.items():
        new = {f"new_{column}": value for column, value in values.items()}
        connection.execute(_write_intent(tuple(sorted(values))), {"of_intent": name, **new})
    return rows.with_intents(changed)


@cache
def _write_intent(names: tuple[str, ...]) -> sql.Update:
    """The statement that writes these columns of an intent, built once for each set of them."""
    new: dict[str, Any] = {name: sql.bindparam(f"new_{name}") for name in names}
    return intents.update().where(intents.c.intent_id == sql.bindparam("of_intent")).values(new)


def ownership(work: Work, ours: bool | None, now: int) -> Event:  # what it is about
    """The fact whose it is what stands on a side: it decides whether we may take it down."""
    facts = {"grant_id": work.grant_id, "side": work.mine.side, "ours": ours, "at": now}
    name = name_of(EventKind.OWNERSHIP, work.grant_id, work.mine.side)
    return Event(name, EventKind.OWNERSHIP, about_work(work), facts=facts, again=True)
