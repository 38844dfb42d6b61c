"""What people look at over the desk, a page at a time: leases, grants, what is exposed to a router, and what happened.

Every question passes through a ``Scope``, has a limit, and goes by an index. Times are epoch milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Row

from shared.errors import BadInput
from shared.ledger.configuration import newest_number
from shared.ledger.operating import said_mode
from shared.ledger.seeing import Condition, Scope, first_of
from shared.ledger.tables import LEASES, approvals, configurations, events, grants, sides
from shared.ledger.views import GrantView, view_grants
from shared.rules.facts import NOTHING_UP, Mode, Side

_ADDRESS = re.compile(r"[0-9]{1,3}\.[0-9./]{0,15}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{2,127}")

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
_OPEN_OR_NOT = (True, False)


@dataclass(frozen=True)
class LeasesAsked:
    """Which leases; whatever is None does not matter. ``ends_before`` and ``ends_after`` leave out those without an end.

    ``text``: how an id begins (of the grant, the instance, the router or the request), or how a prefix does.
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

    def conditions(self) -> list[Condition]:
        """All but ``account``, ``open`` and ``text``."""
        said: list[tuple[object, Condition]] = [
            (self.grant, approvals.c.grant_id == self.grant),
            (self.ecr, grants.c.ecr_id == self.ecr),
            (self.instance, grants.c.instance_id == self.instance),
            (self.request, approvals.c.request_id == self.request),
            (self.ends_before, approvals.c.ends_at < self.ends_before),
            (self.ends_after, approvals.c.ends_at > self.ends_after),
        ]
        return [condition for value, condition in said if value is not None]


def list_leases(
    connection: Connection, scope: Scope, asked: LeasesAsked, behind: tuple[int, str] | None, limit: int
) -> Sequence[Row[Any]]:
    """Leases with their grants, the newest admission first, a page behind (admitted at, approval id); one statement.

    Raises BadInput, naming the field, for a text that no id and no prefix begins with.
    """
    query = (
        sql.select(*_LEASE, *_KEY)
        .join_from(approvals, grants, grants.c.grant_id == approvals.c.grant_id)
        .where(sql.text(LEASES), *asked.conditions())
    )
    if behind is not None:
        query = query.where(sql.tuple_(approvals.c.admitted_at, approvals.c.approval_id) < sql.tuple_(*behind))
    ways = scope.ways(approvals, scope.leases(), asked.account)
    if asked.text is not None:
        seen = sql.or_(*ways)
        ways = [sql.and_(one, seen) for one in _matching(connection, asked.text)]
    # The index has those that are open apart from the others, so that neither are passed over on the way to the other.
    wanted = _OPEN_OR_NOT if asked.open is None else (asked.open,)
    apart = [sql.and_(approvals.c.open == yes, one) for one in ways for yes in wanted]
    return connection.execute(first_of(query, apart, ["admitted_at", "approval_id"], limit, newest=True)).all()


def _matching(connection: Connection, text: str) -> list[Condition]:
    if _ADDRESS.fullmatch(text):
        return [approvals.c.allowed_prefixes.like(f'%"{text}%')]
    if not _ID.fullmatch(text):
        raise BadInput("text: must be how an id or a prefix begins: 3 to 128 letters, digits or . _ : -, or 10.20.")
    columns = (grants.c.instance_id, grants.c.ecr_id, approvals.c.request_id)
    return [approvals.c.grant_id == text, *(_begins(connection, column, text) for column in columns)]


def _begins(connection: Connection, column: sql.ColumnElement[str], text: str) -> Condition:
    """As each database answers it by an index."""
    if connection.dialect.name == "postgresql":
        return column.like(text.replace("_", r"\_") + "%")
    return sql.and_(column >= text, column < text + "\x7f")


_MINE, _THEIRS = sides.alias("grant_side"), sides.alias("associate_side")
_SHOWN_OF_SIDE = ("state", "unsettled", "trouble", "waiting_since", "next_at", "seen_at", "dead_at", "drift")


def list_grants(
    connection: Connection,
    scope: Scope,
    *,
    account: str | None = None,
    ecr: str | None = None,
    instance: str | None = None,
    history: bool = False,
    behind: str | None = None,
    limit: int,
) -> Sequence[Row[Any]]:
    """Grants with both sides (columns ``grant_…`` and ``associate_…``), by id, a page behind one; one statement. ``history``:
    those, too, of which nothing is wanted, up, under way or found any more.
    """
    query = _with_sides()
    for value, condition in (
        (ecr, grants.c.ecr_id == ecr),
        (instance, grants.c.instance_id == instance),
        (behind, grants.c.grant_id > behind),
        (None if history else True, grants.c.shown),
    ):
        if value is not None:
            query = query.where(condition)
    ways = scope.ways(grants, scope.grants(grants.c.grant_id), account)
    return connection.execute(first_of(query, ways, ["grant_id"], limit)).all()


def _with_sides() -> sql.Select[Any]:
    """Every grant has both sides: told apart by names, in one row."""
    columns = [
        side.c[name].label(f"{word}_{name}")
        for word, side in (("grant", _MINE), ("associate", _THEIRS))
        for name in _SHOWN_OF_SIDE
    ]
    both = grants
    for word, side in ((Side.GRANT, _MINE), (Side.ASSOCIATE, _THEIRS)):
        both = both.join(side, sql.and_(side.c.grant_id == grants.c.grant_id, side.c.side == word))  # type: ignore[assignment]
    more = (_THEIRS.c.association_id, _THEIRS.c.prefixes)
    return sql.select(grants.c.grant_id, *_KEY, *columns, *more).select_from(both)


def list_exposed(
    connection: Connection, scope: Scope, ecr: str, behind: str | None, limit: int
) -> tuple[Sequence[Row[Any]], dict[str, list[Row[Any]]]]:
    """The grants on a router of which something was seen up, by id, a page behind one; and their leases that are open, by grant.

    Two statements. Of a router that nobody has, and of one that may not be seen, there is nothing.
    """
    seen = scope.condition(grants, scope.grants(grants.c.grant_id))
    up = sql.or_(_MINE.c.state.not_in(NOTHING_UP), _THEIRS.c.state.not_in(NOTHING_UP))
    query = _with_sides().where(grants.c.ecr_id == ecr, up, seen)
    if behind is not None:
        query = query.where(grants.c.grant_id > behind)
    found = connection.execute(query.order_by(grants.c.grant_id).limit(limit)).all()
    leases: dict[str, list[Row[Any]]] = {}
    ids = [row.grant_id for row in found]
    mine = scope.condition(approvals, scope.leases())
    asked = sql.select(*_LEASE).where(approvals.c.grant_id.in_(ids), approvals.c.open, mine)
    for row in connection.execute(asked.order_by(approvals.c.admitted_at, approvals.c.approval_id)) if ids else ():
        leases.setdefault(row.grant_id, []).append(row)
    return found, leases


def seen_grant(connection: Connection, scope: Scope, grant_id: str) -> GrantView | None:
    """One grant whole, with its open leases as far as they may be seen; None for one that is not there, or may not be seen."""
    may = scope.condition(grants, scope.grants(grants.c.grant_id))
    if connection.execute(sql.select(grants.c.grant_id).where(grants.c.grant_id == grant_id, may)).first() is None:
        return None
    (view,) = view_grants(connection, [grant_id])
    mine = scope.condition(approvals, scope.leases())
    query = sql.select(approvals.c.approval_id).where(approvals.c.grant_id == grant_id, approvals.c.open, mine)
    ids = set(connection.execute(query).scalars())
    return replace(view, leases=tuple(one for one in view.leases if one.lease.approval_id in ids))


def history_seen(
    connection: Connection, scope: Scope, grant_id: str, behind: int | None, limit: int
) -> list[Row[Any]] | None:
    """What happened to a grant, as it was published, the newest first, a page behind an event's place; None for a grant that is
    not there, or of whose accounts none may be seen: an event may be about somebody else's request.
    """
    may = scope.condition(grants)
    if connection.execute(sql.select(grants.c.grant_id).where(grants.c.grant_id == grant_id, may)).first() is None:
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
