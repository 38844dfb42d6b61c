"""What operators look at over the desk: their words and what became of them, holds, work that stands still, drift, and what
reconcile found last.

As in ``looking``: every question passes through a ``Scope``, has a limit, and goes by an index; a statement is built once for
each shape. What is open is in indexes of its own, so what is read grows with it, not with the ledger.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Row

from shared.ledger.rows import key_of
from shared.ledger.seeing import Condition, Scope, Shape, first_of
from shared.ledger.tables import approvals, grants, holds, operations, sides, told
from shared.messages.forms import GrantKey
from shared.rules.facts import HoldKind

# Found by its id alone: whose a grant is, is asked in a way that no index of owners answers, so that no planner begins with all
# grants of an account where few sides are asked for.
_GRANT = sql.select(
    *(grants.c[name] for name in ("grant_id", "ecr_id", "instance_type", "instance_id", "instance_region")),
    *(sql.func.coalesce(grants.c[name], "").label(name) for name in ("ecr_owner_uid", "instance_owner_uid")),
).subquery("of_side")
_ON_IT = sides.join(_GRANT, _GRANT.c.grant_id == sides.c.grant_id)
_BEHIND: tuple[sql.BindParameter[Any], ...] = sql.bindparam("behind_at"), sql.bindparam("behind_id")
_OF_THREE: tuple[sql.BindParameter[Any], ...] = (*_BEHIND, sql.bindparam("behind_side"))
_MOST: sql.BindParameter[Any] = sql.bindparam("at_most", type_=sql.Integer)


class WorkState(StrEnum):
    """How work stands that is not as wanted."""

    DEAD = "dead"  # not tried any more, until somebody redrives it
    OPEN = "open"  # still tried, or waiting


def list_operations(
    connection: Connection, scope: Scope, open_only: bool, behind: tuple[int, str] | None, limit: int
) -> Sequence[Row[Any]]:
    """Operators' words, the newest first, a page behind (said at, operation id); one's own, and those about what one may see."""
    values = {} if behind is None else {"behind_at": behind[0], "behind_id": behind[1]}
    statement = _operations(scope.shape, open_only, behind is not None)
    return connection.execute(statement, {**scope.values, **values, "at_most": limit}).all()


@lru_cache(maxsize=200)
def _operations(shape: Shape, open_only: bool, behind: bool) -> sql.Select[Any]:
    query = sql.select(operations)
    if open_only:
        query = query.where(operations.c.carried_out_at.is_(None))
    if behind:
        query = query.where(sql.tuple_(operations.c.said_at, operations.c.operation_id) < sql.tuple_(*_BEHIND))
    return first_of(query, shape.ways(operations, _own()), ["said_at", "operation_id"], newest=True)


def seen_operation(connection: Connection, scope: Scope, operation_id: str) -> Row[Any] | None:
    """One word; None for one that nobody said, or that may not be seen."""
    may = scope.shape.condition(operations, _own())
    query = sql.select(operations).where(operations.c.operation_id == operation_id, may)
    return connection.execute(query, scope.values).one_or_none()


def _own() -> Condition:
    return operations.c.who == sql.bindparam("seen_by")


def key_seen(connection: Connection, scope: Scope, grant_id: str) -> GrantKey | None:
    """What names a grant; None for one that is not there, or of whose accounts none may be seen."""
    query = sql.select(grants).where(grants.c.grant_id == grant_id, scope.shape.condition(grants))
    row = connection.execute(query, scope.values).one_or_none()
    return None if row is None else key_of(row)


def list_holds(
    connection: Connection, scope: Scope, behind: tuple[int, str, str] | None, limit: int
) -> Sequence[Row[Any]]:
    """What is on hold and concerns something that may be seen, the oldest first, a page behind (at, kind, name)."""
    place = sql.tuple_(holds.c.at, holds.c.kind, holds.c.name)
    query = sql.select(holds).where(_concerns(scope))
    if behind is not None:
        query = query.where(place > sql.tuple_(*behind))
    query = query.order_by(holds.c.at, holds.c.kind, holds.c.name).limit(limit)
    return connection.execute(query, scope.values).all()


def _concerns(scope: Scope) -> Condition:
    """Holds of an account that may be seen, or under which a grant is that may be."""
    if scope.everything:
        return sql.true()
    seen = scope.shape.condition(grants)
    grant = sql.exists().where(grants.c.grant_id == holds.c.name, seen)
    ecr = sql.exists().where(grants.c.ecr_id == holds.c.name, seen)
    return sql.or_(
        sql.and_(holds.c.kind == HoldKind.ACCOUNT, holds.c.name.in_(sorted(scope.accounts))),
        sql.and_(holds.c.kind == HoldKind.GRANT, grant),
        sql.and_(holds.c.kind == HoldKind.ECR, ecr),
    )


def list_work(
    connection: Connection, scope: Scope, state: WorkState, behind: tuple[int, str, str] | None, limit: int
) -> Sequence[Row[Any]]:
    """Sides with their grants that are dead, or not as wanted: the longest first, a page behind (since, grant, side); with how
    many requests wait for each grant (``waiting``).
    """
    values = {} if behind is None else dict(zip(("behind_at", "behind_id", "behind_side"), behind, strict=True))
    statement = _work(scope.shape, state, behind is not None)
    return connection.execute(statement, {**scope.values, **values, "at_most": limit}).all()


@lru_cache(maxsize=200)
def _work(shape: Shape, state: WorkState, behind: bool) -> sql.Select[Any]:
    which: list[Condition] = [shape.condition(_GRANT)]
    since: sql.ColumnElement[Any]
    if state is WorkState.DEAD:
        which.append(sides.c.dead_at.is_not(None))
        since = sides.c.dead_at
    else:
        which += [sides.c.unsettled, sides.c.dead_at.is_(None)]
        since = sql.func.coalesce(sides.c.waiting_since, 0)
    waiting = (
        sql.select(sql.func.count())
        .select_from(approvals)
        .where(approvals.c.grant_id == sides.c.grant_id, approvals.c.waits)
        .scalar_subquery()
    )
    place = since, sides.c.grant_id, sides.c.side
    shown = (sides.c.side, sides.c.state, sides.c.trouble, sides.c.attempts, sides.c.next_at, sides.c.seen_at)
    query = sql.select(*_GRANT.c, *shown, since.label("since_at"), waiting.label("waiting"))
    query = query.select_from(_ON_IT).where(*which)
    if behind:
        query = query.where(sql.tuple_(*place) > sql.tuple_(*_OF_THREE))
    return query.order_by(*place).limit(_MOST)


def list_drift(connection: Connection, scope: Scope, behind: tuple[str, str] | None, limit: int) -> Sequence[Row[Any]]:
    """Sides with their grants at which something else was found than had settled, by grant and side, a page behind one."""
    values = {} if behind is None else {"behind_id": behind[0], "behind_side": behind[1]}
    statement = _drift(scope.shape, behind is not None)
    return connection.execute(statement, {**scope.values, **values, "at_most": limit}).all()


@lru_cache(maxsize=200)
def _drift(shape: Shape, behind: bool) -> sql.Select[Any]:
    shown = (
        sides.c.side,
        sides.c.state,
        sides.c.ours,
        sides.c.drift,
        sides.c.unsettled,
        sides.c.next_at,
        sides.c.seen_at,
    )
    query = sql.select(*_GRANT.c, *shown).select_from(_ON_IT)
    query = query.where(sides.c.drift.is_not(None), shape.condition(_GRANT))
    if behind:
        query = query.where(sql.tuple_(sides.c.grant_id, sides.c.side) > sql.tuple_(*_OF_THREE[1:]))
    return query.order_by(sides.c.grant_id, sides.c.side).limit(_MOST)


def say_found(connection: Connection, name: str, value: dict[str, Any], now: int) -> None:
    """What was found of the deployment last, in place of what was found before. Reconcile's words."""
    values = {"at": now, "value": json.dumps(value)}
    if not connection.execute(told.update().where(told.c.name == name).values(values)).rowcount:
        connection.execute(told.insert().values(name=name, **values))


def found_last(connection: Connection) -> list[tuple[str, int, dict[str, Any]]]:
    """What was found last: name, when, what."""
    return [
        (row.name, row.at, json.loads(row.value))
        for row in connection.execute(sql.select(told).order_by(told.c.name).limit(100))
    ]
