"""What people look for over the desk beside plain lists: what waits for them, routers, what ends soon, ranges of a router.

As in ``looking``: every question passes through a ``Scope``, has a limit, and goes by an index. Times are epoch milliseconds.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Row

from shared.ledger.consent import RequestRow
from shared.ledger.looking import LEASE_COLUMNS, LeaseRow
from shared.ledger.seeing import Scope, Shape, first_of, own_leases, with_own_leases
from shared.ledger.tables import LEASES, approvals, grants, requests, sides
from shared.rules.facts import NOTHING_UP
from shared.rules.ranges import LeaseRange

COUNTED = 500
"""So far a router's grants are counted."""


def open_requests(connection: Connection, accounts: Collection[str], limit: int) -> Sequence[RequestRow]:
    """The open requests that have one of these accounts as a side, as they were heard, the oldest first."""
    if not accounts:
        return []
    listed = sorted(accounts)
    theirs = sql.or_(requests.c.instance_owner_uid.in_(listed), requests.c.ecr_owner_uid.in_(listed))
    query = sql.select(requests).where(requests.c.due_at.is_not(None), theirs)
    return list(connection.execute(query.order_by(requests.c.asked_at, requests.c.request_id).limit(limit)))


def waiting_reviews(connection: Connection, scope: Scope, limit: int) -> Sequence[RequestRow]:
    """The emergencies that wait for their review, the one that is due first before the others."""
    may = scope.shape.condition(requests)
    query = sql.select(requests).where(requests.c.review_at.is_not(None), may)
    return list(
        connection.execute(query.order_by(requests.c.review_at, requests.c.request_id).limit(limit), scope.values)
    )


# -- what ends -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EndsAsked:
    """Open leases with an end at or behind ``since``, and before ``until``."""

    since: int
    until: int


def list_ends(
    connection: Connection, scope: Scope, asked: EndsAsked, behind: tuple[int, str] | None, limit: int
) -> list[Any]:
    """Open leases by their end, the one that ends first before the others, a page behind (ends at, approval id)."""
    values: dict[str, Any] = {"since": asked.since, "until": asked.until, "at_most": limit}
    if behind is not None:
        values |= {"behind_at": behind[0], "behind_id": behind[1]}
    found = connection.execute(_ends(scope.shape, further=behind is not None), {**scope.values, **values})
    return [LeaseRow(*row) for row in found]


@lru_cache(maxsize=200)
def _ends(shape: Shape, *, further: bool) -> sql.Select[Any]:
    # Whatever is open is a lease. To say so here would lead SQLite to an index of leases, by one of two truths.
    found = sql.select(approvals.c.ends_at, approvals.c.approval_id).where(
        approvals.c.open,
        approvals.c.ends_at >= sql.bindparam("since"),
        approvals.c.ends_at < sql.bindparam("until"),
    )
    if further:
        behind: tuple[sql.BindParameter[Any], ...] = sql.bindparam("behind_at"), sql.bindparam("behind_id")
        found = found.where(sql.tuple_(approvals.c.ends_at, approvals.c.approval_id) > sql.tuple_(*behind))
    page = first_of(found, shape.ways(approvals, own_leases()), ["ends_at", "approval_id"]).subquery("page")
    rows = page.join(approvals, approvals.c.approval_id == page.c.approval_id)
    rows = rows.join(grants, grants.c.grant_id == approvals.c.grant_id)
    query = sql.select(*LEASE_COLUMNS).select_from(rows)
    return query.order_by(page.c.ends_at, page.c.approval_id)


# -- routers ---------------------------------------------------------------------------------------------------------


def list_routers(connection: Connection, scope: Scope, behind: str | None, limit: int) -> Sequence[Row[Any]]:
    """The routers that something is or was wanted on, as far as it may be seen, by id, a page behind one; and of each

    * ``shown``: its grants of which something is wanted, up, under way or found, and ``up``: those of which something was seen
      up; both are counted as far as ``COUNTED``,
    * ``next_end``: of its open leases the end that comes first,
    * ``drifted``: whether any of them was found to differ from what had settled.
    """
    values = {**scope.values, "at_most": limit, **({} if behind is None else {"behind": behind})}
    return connection.execute(_routers(scope.shape, further=behind is not None), values).all()


@lru_cache(maxsize=200)
def _routers(shape: Shape, *, further: bool) -> sql.Select[Any]:
    may = shape.condition(grants, with_own_leases(grants.c.grant_id))
    named = sql.select(grants.c.ecr_id, grants.c.ecr_owner_uid).where(grants.c.shown, may).distinct()
    if further:
        named = named.where(grants.c.ecr_id > sql.bindparam("behind"))
    most = sql.bindparam("at_most", type_=sql.Integer)
    page = named.order_by(grants.c.ecr_id).limit(most).subquery("page")
    there = grants.alias("there")
    seen = shape.condition(there, with_own_leases(there.c.grant_id))
    of_router = there.c.ecr_id == page.c.ecr_id, there.c.shown, seen
    side, lease = sides.alias("side"), approvals.alias("lease")
    is_up = sql.exists().where(side.c.grant_id == there.c.grant_id, side.c.state.not_in(NOTHING_UP))
    differs = sql.exists().where(side.c.grant_id == there.c.grant_id, side.c.drift.is_not(None))

    def counted(*more: sql.ColumnElement[bool]) -> sql.ScalarSelect[Any]:
        some = sql.select(there.c.grant_id).where(*of_router, *more).limit(COUNTED + 1).correlate(page).subquery()
        return sql.select(sql.func.count()).select_from(some).scalar_subquery()

    ends = (
        sql.select(lease.c.ends_at)
        .select_from(lease.join(there, there.c.grant_id == lease.c.grant_id))
        .where(*of_router, lease.c.open, lease.c.ends_at.is_not(None))
        .order_by(lease.c.ends_at)
        .limit(1)
        .correlate(page)
        .scalar_subquery()
    )
    return sql.select(
        page.c.ecr_id,
        page.c.ecr_owner_uid,
        counted().label("shown"),
        counted(is_up).label("up"),
        ends.label("next_end"),
        sql.exists(sql.select(there.c.grant_id).where(*of_router, differs).correlate(page)).label("drifted"),
    ).order_by(page.c.ecr_id)


# -- ranges ----------------------------------------------------------------------------------------------------------


def ranges_of(connection: Connection, scope: Scope, ecr: str, limit: int) -> list[LeaseRange]:
    """What the open leases on a router let through, by grant and admission; as far as they may be seen."""
    may = scope.shape.condition(approvals, own_leases())
    query = (
        sql.select(
            approvals.c.grant_id,
            grants.c.instance_id,
            grants.c.instance_owner_uid,
            approvals.c.issuer,
            approvals.c.request_id,
            approvals.c.allowed_prefixes,
            approvals.c.ends_at,
        )
        .select_from(grants.join(approvals, approvals.c.grant_id == grants.c.grant_id))
        .where(grants.c.ecr_id == ecr, approvals.c.open, sql.text(LEASES), may)
        .order_by(grants.c.grant_id, approvals.c.admitted_at, approvals.c.approval_id)
        .limit(limit)
    )
    return [
        LeaseRange(row[0], row[1], row[2], row[3], row[4], tuple(json.loads(row[5])), row[6])
        for row in connection.execute(query, scope.values)
    ]
