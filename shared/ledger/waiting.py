"""Who waits: the requests that are dead with their grant, for whoever has to tell a person about it."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from shared.ledger.tables import approvals
from shared.messages.completion import EventKind


def dead_requests(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    """The approvals that wait for a dead grant, as they were sent, by grant id; the oldest first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in connection.execute(
        sql.select(approvals.c.grant_id, approvals.c.content)
        .where(approvals.c.waits, approvals.c.outcome == EventKind.DEAD)
        .order_by(approvals.c.admitted_at, approvals.c.approval_id)
    ):
        found.setdefault(row.grant_id, []).append(json.loads(row.content))
    return found
