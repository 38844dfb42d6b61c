"""Writes of ours in the past: what they were served by, whether they took effect, and when they no longer matter."""

from __future__ import annotations

import json

from sqlalchemy.engine import Connection

from shared.ledger.snapshot import Rows
from shared.ledger.tables import intents
from shared.messages.completion import Served
from shared.rules.facts import IntentResult, Work
from shared.rules.leases import Timing


def past_writes(connection: Connection, rows: Rows, work: Work, now: int, timing: Timing) -> None:
    """A side came to rest: writes that no look can contradict any more leave the work."""
    past = [
        one.intent_id
        for one in rows.intents
        if one.side == work.mine.side and one.matters and one.result is not None and one.made_at + timing.settle < now
    ]
    if past:
        connection.execute(intents.update().where(intents.c.intent_id.in_(past)).values(matters=False))


def served_by(rows: Rows, work: Work) -> list[Served]:
    """The writes of this side and generation: what a person looks for in the account's audit log."""
    mine = (one for one in rows.intents if one.side == work.mine.side and one.generation == work.generation)
    return [Served.model_validate(one) for row in mine if row.served is not None for one in json.loads(row.served)]


def anything_landed(rows: Rows, work: Work) -> bool:
    """Whether a write of ours, on either side, took effect for the present leases."""
    return any(one.generation == work.generation and one.result == IntentResult.LANDED for one in rows.intents)
