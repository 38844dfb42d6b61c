"""What somebody may see, as conditions of a query: every list, count, search and export passes through here, and so does
whoever names one thing.

Statements are built once for a shape of a scope, since building one costs more than running it; who and what are parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql

from shared.ledger.tables import LEASES, approvals, requests
from shared.messages.approval import DESK

Condition = sql.ColumnElement[bool]
_ONE_BY_ONE = 25
"""Accounts that are asked for one by one. Whoever sees more sees so much that what is newest is soon found among all."""


@dataclass(frozen=True)
class Scope:
    """What a person may see, as policy said for this call: what they asked for themselves, and whatever has one of these accounts
    as either side. ``everything``: also what has to do with no account that is listed.
    """

    person: str
    accounts: frozenset[str]
    everything: bool = False

    def sees(self, account: str) -> bool:
        """Whether an account is one that they may see."""
        return self.everything or account in self.accounts

    def only(self, account: str) -> Scope:
        """The part that one account is a side of. To be asked only for one that they may see."""
        return Scope(self.person, frozenset({account}))

    @property
    def shape(self) -> Shape:
        """What a statement has to be built for."""
        return Shape(None if self.everything else min(len(self.accounts), _ONE_BY_ONE + 1))

    @property
    def values(self) -> dict[str, Any]:
        """The parameters of a statement of that shape."""
        if self.everything:
            return {}
        listed = sorted(self.accounts)
        if len(listed) > _ONE_BY_ONE:
            return {"seen_by": self.person, "seen": listed}
        return {"seen_by": self.person, **{f"seen_{number}": uid for number, uid in enumerate(listed)}}


@dataclass(frozen=True)
class Shape:
    """What of a scope its statements depend on. ``accounts``: how many there are; None: everything may be seen."""

    accounts: int | None

    def condition(self, table: sql.FromClause, own: Condition | None = None) -> Condition:
        """All of it as one condition on a table that has both owners. ``own``: what else may be seen there."""
        return sql.or_(sql.false(), *self.ways(table, own))

    def ways(self, table: sql.FromClause, own: Condition | None = None) -> list[Condition]:
        """The same as several conditions, each of which an index answers in the order of a list."""
        if self.accounts is None:
            return [sql.true()]
        sides = (table.c.ecr_owner_uid, table.c.instance_owner_uid)
        found: list[Condition]
        if self.accounts > _ONE_BY_ONE:
            found = [side.in_(sql.bindparam("seen", expanding=True)) for side in sides]
        else:
            found = [side == sql.bindparam(f"seen_{number}") for number in range(self.accounts) for side in sides]
        return found if own is None else [own, *found]


def own_requests() -> Condition:
    """Those that whoever looks has asked for."""
    return requests.c.requester == sql.bindparam("seen_by")


def own_leases() -> Condition:
    """Those that their own requests have come to."""
    mine = sql.select(requests.c.request_id).where(own_requests())
    return sql.and_(approvals.c.issuer == sql.literal_column(f"'{DESK}'"), approvals.c.request_id.in_(mine))


def with_own_leases(grant_id: sql.ColumnElement[str]) -> Condition:
    """Grants that such a lease is on."""
    return grant_id.in_(sql.select(approvals.c.grant_id).where(sql.text(LEASES), own_leases()))


def first_of(
    query: sql.Select[Any], ways: Sequence[Condition], order: Sequence[str], *, newest: bool = False
) -> sql.Select[Any]:
    """The first rows of a query in the order of these columns of it, each once, however many ways lead to it; as many as the
    parameter ``at_most`` says.

    Each way is asked for as many rows as are wanted in all, by an index of its own that has them in order: so what is read
    grows with the page, not with the ledger.
    """

    def ordered(rows: sql.Select[Any]) -> sql.Select[Any]:
        columns = [rows.selected_columns[name] for name in order]
        most = sql.bindparam("at_most", type_=sql.Integer)
        return rows.order_by(*(one.desc() if newest else one for one in columns)).limit(most)

    parts = [ordered(query.where(one)) for one in ways]
    if len(parts) == 1:
        return parts[0]
    return ordered(sql.select(sql.union(*(sql.select(one.subquery()) for one in parts)).subquery()))
