"""Closing leases by name, and what became of the names that a revoke gave: which it closed, and what else goes by one of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Row

from shared.ledger.tables import approvals, closes, grants
from shared.ledger.transactions import insert_or_ignore
from shared.messages.approval import Action
from shared.rules.answers import NotClosed

_REPLACES = approvals.c.content.contains('"replaces":["')  # canonical, and within a text a quote is written otherwise
_CLOSED = sql.select(approvals.c.request_id).where(approvals.c.closed_by == sql.bindparam("revoke"))


def close_named(
    connection: Connection, closer: str, grant_id: str, issuer: str, names: Iterable[str], now: int
) -> Sequence[Row[Any]]:
    """Close an issuer's leases of these names on a grant, for good: what comes later under one of them is closed, too.

    ``closer``: the revoke, or the lease that replaces them. Returns the rows of those that were open.
    """
    names = list(names)
    for request_id in names:
        close = {"grant_id": grant_id, "issuer": issuer, "request_id": request_id}
        insert_or_ignore(connection, closes, close | {"closed_by": closer, "closed_at": now})
    return close_all(connection, closer, grant_id, approvals.c.issuer == issuer, approvals.c.request_id.in_(names))


def close_all(
    connection: Connection, closer: str, grant_id: str, *which: sql.ColumnElement[bool]
) -> Sequence[Row[Any]]:
    """Close the open leases of a grant for which all this holds. Returns their rows.

    One that waits for its date and is to replace others does so then all the same: what it closes depends on no order.
    """
    early_until = sql.case((_REPLACES, approvals.c.early_until))
    return connection.execute(
        approvals.update()
        .where(approvals.c.grant_id == grant_id, approvals.c.action == Action.GRANT, approvals.c.open, *which)
        .values(closed_by=closer, live=False, open=False, early_until=early_until, due_at=early_until)
        .returning(approvals)
    ).all()


def not_closed(connection: Connection, revoke: Row[Any]) -> tuple[bool, list[NotClosed]]:
    """Whether a revoke closed a lease, now or before, and what goes by the names that it gave and that closed none.

    One that names no request ids needs to find none.
    """
    named = json.loads(revoke.content)["closes"]
    if isinstance(named, str):
        return True, []
    closed = set(connection.execute(_CLOSED, {"revoke": revoke.approval_id}).scalars())
    left = [request_id for request_id in named if request_id not in closed]
    return bool(closed), _named(connection, revoke, left) if left else []


def _named(connection: Connection, revoke: Row[Any], names: list[str]) -> list[NotClosed]:
    """What the same issuer's leases of these names are about: the grant of the revoke counts before others."""
    found = {name: NotClosed(name) for name in names}
    for row in connection.execute(
        sql.select(approvals.c.request_id, approvals.c.grant_id, grants.c.instance_id)
        .join(grants, grants.c.grant_id == approvals.c.grant_id)
        .where(
            approvals.c.issuer == revoke.issuer,
            approvals.c.request_id.in_(names),
            approvals.c.action == Action.GRANT,
        )
        .order_by(approvals.c.admitted_at, approvals.c.approval_id)
    ):
        if row.grant_id == revoke.grant_id:
            found[row.request_id] = NotClosed(row.request_id, over=True)
        elif found[row.request_id] == NotClosed(row.request_id):
            found[row.request_id] = NotClosed(row.request_id, of=f"{row.instance_id} ({row.grant_id})")
    return list(found.values())
