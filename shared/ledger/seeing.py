"""What somebody may see, as conditions of a query: every list, count, search and export passes through here, and so does
whoever names one thing.
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

    def asked(self) -> Condition:
        """Requests of their own."""
        return requests.c.requester == self.person

    def leases(self) -> Condition:
        """Leases that their own requests have come to."""
        mine = sql.select(requests.c.request_id).where(self.asked())
        return sql.and_(approvals.c.issuer == sql.literal_column(f"'{DESK}'"), approvals.c.request_id.in_(mine))

    def grants(self, grant_id: sql.ColumnElement[str]) -> Condition:
        """Grants that such a lease is on."""
        return grant_id.in_(sql.select(approvals.c.grant_id).where(sql.text(LEASES), self.leases()))

    def condition(self, table: sql.FromClause, own: Condition | None = None) -> Condition:
        """All of it as one condition on a table that has both owners, for what is named. ``own``: what else may be seen there."""
        return sql.true() if self.everything else sql.or_(*self._ways(table, own, self.accounts, one_by_one=False))

    def ways(self, table: sql.FromClause, own: Condition, account: str | None = None) -> list[Condition]:
        """The same as several conditions, each of which an index answers in the order of a list. ``account``: only what has this
        one as either side.
        """
        if account is not None and self.sees(account):
            return self._ways(table, None, [account], one_by_one=True)
        found: list[Condition] = [sql.true()]
        if not self.everything:
            found = self._ways(table, own, self.accounts, one_by_one=True)
        if account is None:
            return found
        side = sql.or_(table.c.ecr_owner_uid == account, table.c.instance_owner_uid == account)
        return [sql.and_(one, side) for one in found]

    @staticmethod
    def _ways(
        table: sql.FromClause, own: Condition | None, accounts: Sequence[str] | frozenset[str], *, one_by_one: bool
    ) -> list[Condition]:
        listed, sides = sorted(accounts), (table.c.ecr_owner_uid, table.c.instance_owner_uid)
        if one_by_one and len(listed) <= _ONE_BY_ONE:
            found: list[Condition] = [side == uid for uid in listed for side in sides]
        else:
            found = [side.in_(listed) for side in sides]
        return found if own is None else [own, *found]


def first_of(
    query: sql.Select[Any], ways: Sequence[Condition], order: Sequence[str], limit: int, *, newest: bool = False
) -> sql.Select[Any]:
    """The first so many rows of a query in the order of these columns of it, each once, however many ways lead to it.

    Each way is asked for as many rows as are wanted in all, by an index of its own that has them in order: so what is read
    grows with the page, not with the ledger.
    """

    def ordered(rows: sql.Select[Any]) -> sql.Select[Any]:
        columns = [rows.selected_columns[name] for name in order]
        return rows.order_by(*(one.desc() if newest else one for one in columns)).limit(limit)

    parts = [ordered(query.where(one)) for one in ways]
    if len(parts) == 1:
        return parts[0]
    return ordered(sql.select(sql.union(*(sql.select(one.subquery()) for one in parts)).subquery()))
