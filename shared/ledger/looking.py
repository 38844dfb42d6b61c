"""What people look at over the desk, a page at a time: leases, grants, what is exposed to a router, and what happened.

Every question passes through a ``Scope``, has a limit, and goes by an index. Times are epoch milliseconds.
"""

from __future__ import annotations

import re
from collections import namedtuple
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Row

from shared.ledger.beginnings import begins, sought
from shared.ledger.configuration import newest_number
from shared.ledger.operating import said_mode
from shared.ledger.seeing import Condition, Scope, Shape, first_of, own_leases, with_own_leases
from shared.ledger.tables import LEASES, approvals, configurations, events, grants, sides
from shared.ledger.views import GrantView, view_grants
from shared.rules.facts import NOTHING_UP, Mode, Side

_ADDRESS = re.compile(r"[0-9]{1,3}\.[0-9./]{0,15}")

_KEY = (
    grants.c.ecr_id,
    grants.c.ecr_owner_uid,
    grants.c.instance_type,
    grants.c.instance_id,
    grants.c.instance_region,
    grants.c.instance_owner_uid,
)
_LEASE = [
    column for column in approvals.c if column.name not in ("content", "seal", "ecr_owner_uid", "instance_owner_uid")
]

# Plain tuples: a column of a row of SQLAlchemy's takes ten times as long to read.
LEASE_COLUMNS = (*_LEASE, *_KEY)
LeaseRow: Any = namedtuple("LeaseRow", [column.name for column in LEASE_COLUMNS])  # type: ignore[misc]  # noqa: PYI024  # made of columns


@dataclass(frozen=True)
class LeasesAsked:
    """Which leases; whatever is None does not matter. ``ends_before`` and ``ends_after`` leave out those without an end.

    ``text``: how an id begins (of the instance, the router or the request), a whole id of a grant, or how a prefix begins.
    """

    grant: str | None = None
    account: str | None = None
    ecr: str | None = None
    instance: str | None = None
    request: str | None = None
    ends_before: int | None = None
    ends_after: int | None = None
    open: bool | None = None
    text: str | None = None

    def values(self) -> dict[str, Any]:
        """The parameters of its statement. Raises BadInput for a text that no id and no prefix begins with."""
        found = {
            name: value for name, value in vars(self).items() if value is not None and name not in ("open", "text")
        }
        if self.text is None:
            return found
        if _ADDRESS.fullmatch(self.text):
            return {**found, "like": f'%"{self.text}%'}
        return found | sought(self.text)


_ASKED: dict[str, Callable[[sql.BindParameter[Any]], Condition]] = {
    "grant": lambda value: approvals.c.grant_id == value,
    "ecr": lambda value: grants.c.ecr_id == value,
    "instance": lambda value: grants.c.instance_id == value,
    "request": lambda value: approvals.c.request_id == value,
    "ends_before": lambda value: approvals.c.ends_at < value,
    "ends_after": lambda value: approvals.c.ends_at > value,
    "account": lambda value: sql.or_(approvals.c.ecr_owner_uid == value, approvals.c.instance_owner_uid == value),
}
_BEHIND: tuple[sql.BindParameter[Any], ...] = sql.bindparam("behind_at"), sql.bindparam("behind_id")


def list_leases(
    connection: Connection, scope: Scope, asked: LeasesAsked, behind: tuple[int, str] | None, limit: int
) -> list[Any]:
    """Leases with their grants, the newest admission first, a page behind (admitted at, approval id); one statement.

    Raises BadInput, naming the field, for a text that no id and no prefix begins with.
    """
    if asked.account is not None and scope.sees(asked.account):
        scope, asked = scope.only(asked.account), replace(asked, account=None)
    values = asked.values()
    shape = _LeasesShape(scope.shape, frozenset(values), asked.open, behind is not None, connection.dialect.name)
    if behind is not None:
        values |= {"behind_at": behind[0], "behind_id": behind[1]}
    found = connection.execute(_leases(shape), {**scope.values, **values, "at_most": limit})
    return [LeaseRow(*row) for row in found]


class _LeasesShape(NamedTuple):
    """What the statement depends on."""

    scope: Shape
    asked: frozenset[str]
    open: bool | None
    behind: bool
    dialect: str


@lru_cache(maxsize=500)
def _leases(shape: _LeasesShape) -> sql.Select[Any]:
    ways = shape.scope.ways(approvals, own_leases())
    if "like" in shape.asked:
        seen = sql.or_(*ways)
        ways = [sql.and_(one, seen) for one in _matching(shape)]
    # The index has those that are open apart from the others, so that neither are passed over on the way to the other.
    wanted = (True, False) if shape.open is None else (shape.open,)
    apart = [sql.and_(approvals.c.open == yes, one) for one in ways for yes in wanted]
    of_grant = {"ecr", "instance", "text"} & shape.asked
    source = approvals.join(grants, grants.c.grant_id == approvals.c.grant_id) if of_grant else approvals
    found = sql.select(approvals.c.admitted_at, approvals.c.approval_id).select_from(source).where(sql.text(LEASES))
    found = found.where(*(_ASKED[name](sql.bindparam(name)) for name in sorted(shape.asked & _ASKED.keys())))
    if shape.behind:
        found = found.where(sql.tuple_(approvals.c.admitted_at, approvals.c.approval_id) < sql.tuple_(*_BEHIND))
    page = first_of(found, apart, ["admitted_at", "approval_id"], newest=True).subquery("page")
    rows = page.join(approvals, approvals.c.approval_id == page.c.approval_id)
    rows = rows.join(grants, grants.c.grant_id == approvals.c.grant_id)
    query = sql.select(*LEASE_COLUMNS).select_from(rows)
    return query.order_by(page.c.admitted_at.desc(), page.c.approval_id.desc())


def _matching(shape: _LeasesShape) -> list[Condition]:
    if "text" not in shape.asked:
        return [approvals.c.allowed_prefixes.like(sql.bindparam("like"))]
    columns = (grants.c.instance_id, grants.c.ecr_id, approvals.c.request_id)
    whole = approvals.c.grant_id == sql.bindparam("text")
    return [whole, *(begins(column, shape.dialect) for column in columns)]


_MINE, _THEIRS = sides.alias("grant_side"), sides.alias("associate_side")
_SHOWN_OF_SIDE = ("state", "unsettled", "trouble", "waiting_since", "next_at", "dead_at", "drift")


@dataclass(frozen=True)
class GrantsAsked:
    """Which grants; whatever is None does not matter. ``history``: those, too, of which nothing is wanted, up, under way or found
    any more.
    """

    account: str | None = None
    ecr: str | None = None
    instance: str | None = None
    history: bool = False


_OF_GRANT: dict[str, Callable[[sql.BindParameter[Any]], Condition]] = {
    "account": lambda value: sql.or_(grants.c.ecr_owner_uid == value, grants.c.instance_owner_uid == value),
    "behind": lambda value: grants.c.grant_id > value,
    "ecr": lambda value: grants.c.ecr_id == value,
    "instance": lambda value: grants.c.instance_id == value,
}


def list_grants(
    connection: Connection, scope: Scope, asked: GrantsAsked, behind: str | None, limit: int
) -> Sequence[Row[Any]]:
    """Grants with both sides (columns ``grant_…`` and ``associate_…``), by id, a page behind one; one statement."""
    if asked.account is not None and scope.sees(asked.account):
        scope, asked = scope.only(asked.account), replace(asked, account=None)
    said = {**vars(asked), "history": None, "behind": behind}
    values = {name: value for name, value in said.items() if value is not None}
    statement = _grants(scope.shape, frozenset(values), history=asked.history)
    return connection.execute(statement, {**scope.values, **values, "at_most": limit}).all()


@lru_cache(maxsize=500)
def _grants(shape: Shape, asked: frozenset[str], *, history: bool) -> sql.Select[Any]:
    found = sql.select(grants.c.grant_id).where(*(_OF_GRANT[name](sql.bindparam(name)) for name in sorted(asked)))
    found = found if history else found.where(grants.c.shown)
    page = first_of(found, shape.ways(grants, with_own_leases(grants.c.grant_id)), ["grant_id"]).subquery("page")
    return _with_sides(page).order_by(page.c.grant_id)


def _with_sides(page: sql.Subquery) -> sql.Select[Any]:
    """The grants of a page, each with both its sides, told apart by names, in one row."""
    columns = [
        side.c[name].label(f"{word}_{name}")
        for word, side in (("grant", _MINE), ("associate", _THEIRS))
        for name in _SHOWN_OF_SIDE
    ]
    both = page.join(grants, grants.c.grant_id == page.c.grant_id)
    for word, side in ((Side.GRANT, _MINE), (Side.ASSOCIATE, _THEIRS)):
        both = both.join(side, sql.and_(side.c.grant_id == page.c.grant_id, side.c.side == word))
    more = (_THEIRS.c.association_id, _THEIRS.c.prefixes)
    return sql.select(grants.c.grant_id, *_KEY, *columns, *more).select_from(both)


def list_exposed(
    connection: Connection, scope: Scope, ecr: str, behind: str | None, limit: int
) -> tuple[Sequence[Row[Any]], dict[str, list[Row[Any]]]]:
    """The grants on a router of which something was seen up, by id, a page behind one; and their leases that are open, by grant.

    Two statements. Of a router that nobody has, and of one that may not be seen, there is nothing.
    """
    seen = scope.shape.condition(grants, with_own_leases(grants.c.grant_id))
    up = sql.exists().where(sides.c.grant_id == grants.c.grant_id, sides.c.state.not_in(NOTHING_UP))
    query = sql.select(grants.c.grant_id).where(grants.c.ecr_id == ecr, up, seen)
    if behind is not None:
        query = query.where(grants.c.grant_id > behind)
    page = query.order_by(grants.c.grant_id).limit(limit).subquery("page")
    found = connection.execute(_with_sides(page).order_by(page.c.grant_id), scope.values).all()
    leases: dict[str, list[Row[Any]]] = {}
    ids = [row.grant_id for row in found]
    mine = scope.shape.condition(approvals, own_leases())
    asked = sql.select(*_LEASE).where(approvals.c.grant_id.in_(ids), approvals.c.open, mine)
    asked = asked.order_by(approvals.c.admitted_at, approvals.c.approval_id)
    for row in connection.execute(asked, scope.values) if ids else ():
        leases.setdefault(row.grant_id, []).append(row)
    return found, leases


def seen_grant(connection: Connection, scope: Scope, grant_id: str) -> GrantView | None:
    """One grant whole, with its open leases as far as they may be seen; None for one that is not there, or may not be seen."""
    may = scope.shape.condition(grants, with_own_leases(grants.c.grant_id))
    named = sql.select(grants.c.grant_id).where(grants.c.grant_id == grant_id, may)
    if connection.execute(named, scope.values).first() is None:
        return None
    (view,) = view_grants(connection, [grant_id])
    mine = scope.shape.condition(approvals, own_leases())
    query = sql.select(approvals.c.approval_id).where(approvals.c.grant_id == grant_id, approvals.c.open, mine)
    ids = set(connection.execute(query, scope.values).scalars())
    return replace(view, leases=tuple(one for one in view.leases if one.lease.approval_id in ids))


def history_seen(
    connection: Connection, scope: Scope, grant_id: str, behind: int | None, limit: int
) -> list[Row[Any]] | None:
    """What happened to a grant, as it was published, the newest first, a page behind an event's place; None for a grant that is
    not there, or of whose accounts none may be seen: an event may be about somebody else's request.
    """
    named = sql.select(grants.c.grant_id).where(grants.c.grant_id == grant_id, scope.shape.condition(grants))
    if connection.execute(named, scope.values).first() is None:
        return None
    query = sql.select(events.c.seq, events.c.body).where(events.c.grant_id == grant_id, events.c.number.is_not(None))
    if behind is not None:
        query = query.where(events.c.seq < behind)
    return list(connection.execute(query.order_by(events.c.seq.desc()).limit(limit)))


@dataclass(frozen=True)
class Applied:
    """The newest configuration's place in the ledger, and what may act by an operator's word; None where nobody said any."""

    number: int
    applied_at: int | None
    mode: Mode | None


def applied(connection: Connection) -> Applied:
    """Which configuration is the newest, since when, and the mode."""
    number = newest_number(connection)
    at = connection.execute(
        sql.select(configurations.c.applied_at).where(configurations.c.number == number)
    ).scalar_one_or_none()
    return Applied(number, at, said_mode(connection))
