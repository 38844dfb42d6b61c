"""Grants that the ledger knows: the row of one, made when somebody speaks of it for the first time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy.engine import Connection, Row

from shared.ledger.tables import grants, sides
from shared.ledger.transactions import insert_all_or_ignore, lock_all
from shared.messages.forms import GrantKey
from shared.rules.facts import Side, State


def grant_row(connection: Connection, grant: GrantKey, now: int) -> Row[Any]:
    """The grant's row, locked; made when it is the first time."""
    return grant_rows(connection, [grant], now)[0][grant.grant_id]


def grant_rows(
    connection: Connection, keys: Sequence[GrantKey], now: int, *, only_known: Collection[str] = ()
) -> tuple[dict[str, Row[Any]], set[str]]:
    """The rows of some grants by id, locked; those that are missing are made. With the ids of those that were made here.

    ``only_known``: ids of grants that are not made, since nothing is admitted for them.
    """
    named = {key.grant_id: key for key in keys}
    rows = lock_all(connection, named)
    missing = sorted(named.keys() - rows.keys() - set(only_known))
    if not missing:
        return rows, set()
    values = {"generation": 0, "last_number": 0, "created_at": now, "shown": False}
    made = {
        row.grant_id: row
        for row in insert_all_or_ignore(
            connection, grants, [{"grant_id": one, **asdict(named[one]), **values} for one in missing]
        )
    }
    side_row = {
        "observed_generation": 0,
        "state": State.UNKNOWN,
        "unsettled": False,
        "attempts": 0,
        "knocks": 0,
    }
    if made:
        connection.execute(
            sides.insert(), [side_row | {"grant_id": one, "side": side} for one in made for side in Side]
        )
    rows |= made
    if len(made) < len(missing):  # another worker made them meanwhile
        rows |= lock_all(connection, missing)
    return rows, set(made)
