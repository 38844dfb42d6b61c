"""A long past for a ledger, made in bulk: one life of a lease was lived through the front door, its rows are copied.

What the copies say of themselves is true to what decides: they are closed and answered, their writes are resolved, each belongs
to generations of its own, nothing of them waits to be published. Not true are their events' bodies and hashes: a million are made
in a minute, nothing that is measured reads them, and only ``ecr-grants ledger verify`` would mind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from shared.ledger.tables import approvals, chain, closes, events, grants, intents, sides
from tests.ledger.kit import Database

_AT_ONCE = 20_000
_LEASES_A_GRANT = 10
_GENERATIONS = 2  # of one life: opened, closed

Values = Mapping[str, sql.ColumnElement[Any]]


@dataclass(frozen=True)
class Past:
    """How many leases, and how many events, a ledger has behind it."""

    leases: int
    events: int

    def part(self, parts: int) -> Past:
        """One of so many equal parts."""
        return Past(self.leases // parts, self.events // parts)


def live_on(database: Database, grant_id: str, past: Past, say: Callable[[int], None]) -> None:
    """Such a past on the very grant on which one life was lived."""
    _copy_leases(database, grant_id, past.leases, None, say)
    told = _copy_events(database, grant_id, past.events, None, say)
    with database.connected() as connection:
        more = _GENERATIONS * past.leases
        mine = grants.c.grant_id == grant_id
        later = {"generation": grants.c.generation + more, "last_number": grants.c.last_number + told}
        connection.execute(grants.update().where(mine).values(**later))
        seen = sides.c.observed_generation + more
        connection.execute(sides.update().where(sides.c.grant_id == grant_id).values(observed_generation=seen))


def live_elsewhere(database: Database, grant_id: str, past: Past, say: Callable[[int], None]) -> None:
    """Such a past on many grants that are history, each like the one on which one life was lived."""
    many = max(1, past.leases // _LEASES_A_GRANT)
    number, lives = _numbers(1, many)
    with database.connected() as connection:
        for table in (grants, sides):
            names = {"grant_id": _named(table.c.grant_id, number)}
            if table is grants:
                names["instance_id"] = _named(grants.c.instance_id, number)
            _insert(connection, table, lives, table.c.grant_id == grant_id, names)
    _copy_leases(database, grant_id, past.leases, many, say)
    _copy_events(database, grant_id, past.events, many, say)


def analyse(database: Database) -> None:
    """What PostgreSQL does by itself from time to time, and SQLite when it is told to."""
    with database.connected() as connection:
        connection.exec_driver_sql("ANALYZE")


def _copy_leases(database: Database, grant_id: str, count: int, many: int | None, say: Callable[[int], None]) -> None:
    """So many copies of a life's rows, except its events. ``many``: spread over so many grants."""
    lived = {
        table: _lived(database, table, column, grant_id)
        for table, column in (
            (approvals, approvals.c.approval_id),
            (closes, closes.c.request_id),
            (intents, intents.c.intent_id),
        )
    }
    for first in range(1, count + 1, _AT_ONCE):
        last = min(first + _AT_ONCE - 1, count)
        number, lives = _numbers(first, last)
        where = _where(number, many)
        earlier = number * 1_000
        changed: dict[sql.Table, Values] = {
            approvals: {
                "approval_id": _named(approvals.c.approval_id, number),
                "request_id": _named(approvals.c.request_id, number),
                "closed_by": _named(approvals.c.closed_by, number),
                "message_id": _named(approvals.c.message_id, number),
                "approved_at": approvals.c.approved_at - earlier,
                "admitted_at": approvals.c.admitted_at - earlier,
                "outcome_at": approvals.c.outcome_at - earlier,
                "mark": approvals.c.mark - earlier,
            },
            closes: {
                "request_id": _named(closes.c.request_id, number),
                "closed_by": _named(closes.c.closed_by, number),
                "closed_at": closes.c.closed_at - earlier,
            },
            intents: {
                "intent_id": _named(intents.c.intent_id, number),
                "generation": intents.c.generation + number * _GENERATIONS,
                "made_at": intents.c.made_at - earlier,
                "matters": sql.false(),
            },
        }
        with database.connected() as connection:
            for table, values in changed.items():
                place = {"grant_id": where(table.c.grant_id)}
                _insert(connection, table, lives, lived[table], {**values, **place})
        say(last - first + 1)


def _copy_events(database: Database, grant_id: str, count: int, many: int | None, say: Callable[[int], None]) -> int:
    """So many events behind all others, a life's one after the other. Returns how many of them are numbered."""
    lived = (
        sql.select(events, (sql.func.row_number().over(order_by=events.c.seq) - 1).label("place"))
        .where(_lived(database, events, events.c.seq, grant_id))
        .subquery("lived")
    )
    with database.connected() as connection:
        base: int = connection.execute(sql.select(chain.c.seq)).scalar_one()
        length, told = connection.execute(sql.select(sql.func.count(), sql.func.count(lived.c.number))).one()
    for first in range(0, count, _AT_ONCE):
        last = min(first + _AT_ONCE, count) - 1
        number, lives = _numbers(first, last)
        life = number // length
        values: Values = {
            "seq": number + (base + 1),
            "event_id": _named(lived.c.event_id, number),
            "grant_id": _where(life + 1, many)(lived.c.grant_id),
            "number": lived.c.number + (life + 1) * told,
            "body": sql.literal("{}"),
            "facts": sql.null(),
        }
        with database.connected() as connection:
            chosen = [values.get(column.name, lived.c[column.name]) for column in events.c]
            rows = sql.select(*chosen).select_from(lives).join(lived, lived.c.place == number % length)
            connection.execute(events.insert().from_select([column.name for column in events.c], rows))
        say(last - first + 1)
    with database.connected() as connection:
        connection.execute(chain.update().values(seq=base + count))
    return int(told * -(-count // length))


def _lived(
    database: Database, table: sql.Table, named_by: sql.ColumnElement[Any], grant_id: str
) -> sql.ColumnElement[bool]:
    """The condition that picks what was lived on a grant until now, and no copy of it."""
    of_grant = table.c.grant_id == grant_id
    return sql.and_(of_grant, named_by.in_([row[0] for row in database.rows(sql.select(named_by).where(of_grant))]))


def _numbers(first: int, last: int) -> tuple[sql.ColumnElement[int], sql.CTE]:
    """The numbers from one to another as a table, and its column."""
    start = sql.select(sql.literal(first, sql.Integer).label("number")).cte("numbers", recursive=True)
    everyone = start.union_all(sql.select(start.c.number + 1).where(start.c.number < last))
    return everyone.c.number, everyone


def _named(column: sql.ColumnElement[Any], number: sql.ColumnElement[int]) -> sql.ColumnElement[str]:
    """A name like that one, of its own for every number. Nobody's name stays nobody's."""
    return sql.func.substr(column, 1, 28) + sql.literal("-") + sql.cast(number, sql.String)


def _where(
    number: sql.ColumnElement[int], many: int | None
) -> Callable[[sql.ColumnElement[Any]], sql.ColumnElement[Any]]:
    """On which grant the copy with this number is."""
    return lambda column: column if many is None else _named(column, number % many + 1)


def _insert(
    connection: Connection, table: sql.Table, lives: sql.CTE, lived: sql.ColumnElement[bool], changed: Values
) -> None:
    """Every row that was lived, once for every number."""
    chosen = [changed.get(column.name, column) for column in table.c]
    rows = sql.select(*chosen).select_from(table).join(lives, sql.true()).where(lived)
    connection.execute(table.insert().from_select([column.name for column in table.c], rows))
