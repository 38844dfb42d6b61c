"""What has a name that somebody types: grants, instances, routers, batches, leases by their requests, people by what they said.

As in ``looking``: every question passes through a ``Scope``, has a limit, and goes by an index.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Row

from shared.ledger.beginnings import begins, sought
from shared.ledger.seeing import Scope, Shape, own_leases, own_requests, with_own_leases
from shared.ledger.tables import LEASES, approvals, decisions, grants, requests
from shared.messages.approval import DESK

LAST = 200
"""So many of the last words of a person are looked at for one that may be seen."""


class Named(NamedTuple):
    """Which of these a text names exactly, as far as they may be seen."""

    grant: tuple[str, str, str] | None  # id, instance, router
    router: tuple[str, str] | None  # id, its owner
    batch: str | None


def named_exactly(connection: Connection, scope: Scope, text: str) -> Named:
    """What has this very name. One statement."""
    found = connection.execute(_exactly(scope.shape), {**scope.values, "text": text}).all()
    by_kind = {row.kind: row for row in found}
    grant, router, batch = (by_kind.get(kind) for kind in ("grant", "router", "batch"))
    return Named(
        None if grant is None else (grant.id, grant.first, grant.second),
        None if router is None else (router.id, router.first),
        None if batch is None else batch.id,
    )


@lru_cache(maxsize=200)
def _exactly(shape: Shape) -> sql.CompoundSelect[Any]:
    text = sql.bindparam("text", type_=sql.String)
    may = shape.condition(grants, with_own_leases(grants.c.grant_id))

    def one(kind: str, query: sql.Select[Any]) -> sql.Select[Any]:
        found = query.limit(1).subquery()
        return sql.select(sql.literal_column(f"'{kind}'").label("kind"), found)

    def columns(*named: sql.ColumnElement[Any]) -> list[sql.ColumnElement[Any]]:
        return [column.label(name) for name, column in zip(("id", "first", "second"), named, strict=True)]

    by_id = sql.select(*columns(grants.c.grant_id, grants.c.instance_id, grants.c.ecr_id))
    on_router = sql.select(*columns(grants.c.ecr_id, grants.c.ecr_owner_uid, grants.c.ecr_id))
    together = sql.select(*columns(requests.c.batch, requests.c.batch, requests.c.batch))
    return sql.union_all(
        one("grant", by_id.where(grants.c.grant_id == text, may)),
        one("router", on_router.where(grants.c.ecr_id == text, may)),
        one("batch", together.where(requests.c.batch == text, shape.condition(requests, own_requests()))),
    )


def instances_beginning(connection: Connection, scope: Scope, text: str, limit: int) -> Sequence[Row[Any]]:
    """Grants whose instance's id begins so, those where it is the whole id before the others; in no other order.

    Raises BadInput for what no id begins with.
    """
    values = {**scope.values, **sought(text), "at_most": limit}
    return connection.execute(_instances(scope.shape, connection.dialect.name), values).all()


@lru_cache(maxsize=200)
def _instances(shape: Shape, dialect: str) -> sql.CompoundSelect[Any]:
    may = shape.condition(grants, with_own_leases(grants.c.grant_id))
    names = ("instance_id", "instance_type", "instance_region", "instance_owner_uid")
    query = sql.select(*(grants.c[name] for name in names)).where(may)
    return _whole_first(query, grants.c.instance_id, dialect)


def leases_beginning(connection: Connection, scope: Scope, text: str, limit: int) -> Sequence[Row[Any]]:
    """Leases that systems sealed, by how the id of their request begins, in the same way."""
    values = {**scope.values, **sought(text), "at_most": limit}
    return connection.execute(_leases(scope.shape, connection.dialect.name), values).all()


@lru_cache(maxsize=200)
def _leases(shape: Shape, dialect: str) -> sql.CompoundSelect[Any]:
    there = approvals.join(grants, grants.c.grant_id == approvals.c.grant_id)
    names = (approvals.c.request_id, approvals.c.issuer, approvals.c.open, grants.c.instance_id, grants.c.ecr_id)
    query = sql.select(*names).select_from(there)
    query = query.where(sql.text(LEASES), approvals.c.issuer != DESK, shape.condition(approvals, own_leases()))
    return _whole_first(query, approvals.c.request_id, dialect)


def _whole_first(query: sql.Select[Any], column: sql.ColumnElement[str], dialect: str) -> sql.CompoundSelect[Any]:
    """The rows of a query whose column is the text, then those where it begins with it; so many of each at most."""
    most, text = sql.bindparam("at_most", type_=sql.Integer), sql.bindparam("text", type_=sql.String)
    parts = (query.where(column == text), query.where(begins(column, dialect), column != text))
    return sql.union_all(*(sql.select(part.limit(most).subquery()) for part in parts))


def people_seen(connection: Connection, scope: Scope, people: Sequence[str]) -> dict[str, tuple[bool, bool]]:
    """Of each of these persons, whether they asked for something, and decided about something, that may be seen; among the last
    of what they said. One statement.
    """
    if not people:
        return {}
    values = {f"person_{number}": person for number, person in enumerate(people)}
    found = connection.execute(_people(scope.shape, len(people)), {**scope.values, **values})
    return {row.person: (bool(row.asked), bool(row.decided)) for row in found}


@lru_cache(maxsize=200)
def _people(shape: Shape, many: int) -> sql.CompoundSelect[Any]:
    def some(table: sql.Table, column: sql.ColumnElement[str], at: sql.ColumnElement[int], number: int) -> Any:
        names = ("requester", "ecr_owner_uid", "instance_owner_uid")
        last = sql.select(*(table.c[name] for name in names)).where(column == sql.bindparam(f"person_{number}"))
        rows = last.order_by(at.desc()).limit(LAST).subquery()
        seen = shape.condition(rows, rows.c.requester == sql.bindparam("seen_by"))
        return sql.exists(sql.select(rows.c.requester).where(seen))

    return sql.union_all(
        *(
            sql.select(
                sql.bindparam(f"person_{number}", type_=sql.String).label("person"),
                some(requests, requests.c.requester, requests.c.asked_at, number).label("asked"),
                some(decisions, decisions.c.person, decisions.c.at, number).label("decided"),
            )
            for number in range(many)
        )
    )
