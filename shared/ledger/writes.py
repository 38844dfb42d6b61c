"""Writes of ours in the past: what they were served by, whether they took effect, and when they no longer matter."""

from __future__ import annotations

import json

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from shared.ledger.tables import intents
from shared.messages.completion import Served
from shared.rules.facts import IntentResult, Work
from shared.rules.leases import Timing


def past_writes(connection: Connection, work: Work, now: int, timing: Timing) -> None:
    """A side came to rest: writes that no look can contradict any more leave the work."""
    connection.execute(
        intents.update()
        .where(
            intents.c.grant_id == work.grant_id,
            intents.c.side == work.mine.side,
            intents.c.matters,
            intents.c.result.is_not(None),
            intents.c.made_at + timing.settle < now,
        )
        .values(matters=False)
    )


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
