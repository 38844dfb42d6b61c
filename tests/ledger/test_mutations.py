"""The record proves what decides: whatever is changed, removed or slipped in, in whichever table that decides anything, verify
finds it without any head, and its sentence names the row or the event that is the first to be wrong."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sql
from sqlalchemy import BigInteger, Boolean, Integer

from shared.ledger.proof import first_fault
from shared.ledger.tables import (
    approvals,
    chain,
    closes,
    configurations,
    events,
    grants,
    holds,
    marks,
    outbox,
    settings,
    sides,
)
from shared.ledger.transactions import Ledger
from shared.messages.forms import InstanceType
from tests.ledger.gated import apply
from tests.ledger.kit import Database, check_order, key
from tests.ledger.lives import live_everything

Row = dict[str, Any]

DECIDES: dict[sql.Table, tuple[str, ...]] = {
    approvals: tuple(column.name for column in approvals.columns if column.name != "asked_again"),
    closes: tuple(column.name for column in closes.columns),
    marks: tuple(column.name for column in marks.columns),
    holds: tuple(column.name for column in holds.columns),
    settings: ("name", "value"),
    configurations: tuple(column.name for column in configurations.columns),
    sides: ("grant_id", "side", "ours"),
    grants: (
        "grant_id",
        "ecr_id",
        "ecr_owner_uid",
        "instance_type",
        "instance_id",
        "instance_region",
        "instance_owner_uid",
        "last_number",
    ),
    events: tuple(column.name for column in events.columns),
    chain: ("name", "seq", "hash"),
}
"""Every column that decides anything, or proves it. What is not here is work: it is looked at again, not believed."""


@dataclass(frozen=True)
class Mutation:
    """One thing done to one row; ``before`` and ``after`` are that row, None where there is none."""

    table: sql.Table
    how: str
    before: Row | None
    after: Row | None


def another(column: sql.Column[Any], value: object, chance: random.Random) -> object:
    """Another value that the column can keep."""
    if column.nullable and value is not None and chance.random() < 0.2:
        return None
    if isinstance(column.type, Boolean):
        return not value
    if isinstance(column.type, Integer | BigInteger):
        return (value or 0) + chance.choice([-1, 1, 1000])  # type: ignore[operator]
    text, longest = str(value or ""), getattr(column.type, "length", None) or 10_000
    if text.startswith(("{", "[")) and chance.random() < 0.5:
        return chance.choice(["{}", "[]", '["0.0.0.0/0"]', text[:-1], text + " "])
    return chance.choice(["x" + text[1:], text + "x", text[:-1], "*"])[:longest] if text else "x"


def mutations(database: Database, count: int) -> Iterator[Mutation]:
    """So many, spread over all tables, columns and ways; each from its own seed."""
    with database.connected() as connection:
        rows = {table: [dict(row._mapping) for row in connection.execute(sql.select(table))] for table in DECIDES}
    ways: list[tuple[sql.Table, str]] = [(table, name) for table, names in DECIDES.items() for name in names]
    ways += [(table, "remove") for table in DECIDES for _ in range(2)]
    ways += [(table, "slip in") for table in FORGED for _ in range(2)]
    for number in range(count):
        chance = random.Random(number)  # noqa: S311  # so that a failure can be seen again
        table, how = ways[number % len(ways)]
        row = chance.choice(rows[table])
        if how == "remove":
            yield Mutation(table, how, row, None)
        elif how == "slip in":
            yield Mutation(table, how, None, FORGED[table](row, number, rows[table]))
        else:
            value = another(table.c[how], row[how], chance)
            if value != row[how]:
                yield Mutation(table, how, row, row | {how: value})


def _forged_grant(row: Row, number: int, _: list[Row]) -> Row:
    other = replace(key(f"vpc-forged{number}"), instance_type=InstanceType.VPC)
    return row | {"grant_id": other.grant_id, "instance_id": other.instance_id, "last_number": 0}


def _forged_event(row: Row, number: int, every: list[Row]) -> Row:
    told = json.loads(row["body"]) | {"id": f"forged-{number}"}
    return row | {"seq": len(every) + 1, "event_id": f"forged-{number}", "body": json.dumps(told)}


FORGED: dict[sql.Table, Callable[[Row, int, list[Row]], Row]] = {
    approvals: lambda row, number, _: row | {"approval_id": f"forged-{number}", "request_id": f"FORGED-{number}"},
    closes: lambda row, number, _: row | {"request_id": f"FORGED-{number}"},
    marks: lambda row, number, _: row | {"issuer": f"forged-{number}"},
    configurations: lambda row, number, _: row | {"number": 100 + number},
    holds: lambda row, number, _: row | {"name": f"forged-{number}"},
    sides: lambda row, number, _: row | {"side": f"forged-{number}"},
    grants: _forged_grant,
    events: _forged_event,
}
"""A row that nobody recorded, as like the true ones as can be."""


@contextmanager
def mutated(database: Database, one: Mutation) -> Iterator[bool]:
    """The database with one mutation, and without it afterwards. False where the database itself refuses such a row."""
    keys = list(one.table.primary_key)

    def is_row(row: Row) -> list[sql.ColumnElement[bool]]:
        return [column == row[column.name] for column in keys]

    def put(away: Row | None, there: Row | None) -> None:
        with database.connected() as connection:
            if database.kind == "postgresql":
                connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
            if away is not None:
                assert connection.execute(one.table.delete().where(*is_row(away))).rowcount == 1
            if there is not None:
                connection.execute(one.table.insert().values(there))

    try:
        put(one.before, one.after)
    except sql.exc.IntegrityError:
        yield False
        return
    try:
        yield True
    finally:
        put(one.after, one.before)


SETTINGS = {
    "mode": "the mode is",
    "configuration": "the newest configuration is",
    "deployment": "the deployment is called",
}


def names(sentence: str, one: Mutation, admitted_by: dict[str, int]) -> bool:
    """Whether a sentence of verify leads to the row that was touched."""
    touched = [row for row in (one.before, one.after) if row is not None]
    if one.table is approvals:
        events_of = [admitted_by.get(row["approval_id"]) for row in touched]
        return any(repr(row["request_id"]) in sentence for row in touched) or any(
            sentence.endswith(f"event {seq} is missing") or f"(event {seq})" in sentence for seq in events_of if seq
        )
    if one.table is events:
        return any(f"event {row['seq']} " in sentence or f"to {row['seq']} " in sentence for row in touched)
    if one.table is chain:
        return "the chain" in sentence or "was cut off" in sentence
    if one.table is settings:
        return any(SETTINGS[row["name"]] in sentence for row in touched if row["name"] in SETTINGS)
    if one.table is configurations:
        return any(f"configuration {row['number']} " in sentence for row in touched)
    if one.table is sides:
        return any(row["grant_id"] in sentence and row["side"] in sentence for row in touched)
    if one.table is grants:
        return any(row["grant_id"] in sentence for row in touched)
    where = [f"{one.table.name} of {', '.join(str(row[c.name]) for c in one.table.primary_key)}" for row in touched]
    return any(sentence.startswith(place) for place in where)


def test_a_thousand_mutations_of_what_decides_are_found_and_named(ledger: Ledger, database: Database) -> None:
    """Without heads: updates of every deciding column, removed rows and forged ones, on a ledger that has lived."""
    live_everything(ledger)
    for _ in range(2):
        apply(ledger)
    check_order(ledger, database)
    with database.connected() as connection:
        connection.execute(outbox.delete())  # in the way of whoever tampers with events
    admitted_by = {
        json.loads(row.facts)["approval_id"]: row.seq
        for row in database.rows(sql.select(events).where(events.c.kind.in_(["admitted", "early"])))
    }
    tried: Counter[tuple[str, str]] = Counter()
    missed = []
    for one in mutations(database, 1100 if database.kind == "sqlite" else 300):
        with mutated(database, one) as made:
            if not made:
                continue
            found = ledger.read(first_fault, [], None)
        tried[one.table.name, one.how] += 1
        if found is None or not names(found, one, admitted_by):
            missed.append((one.table.name, one.how, one.before, one.after, found))

    assert not missed, missed[:3]
    assert sum(tried.values()) >= (1000 if database.kind == "sqlite" else 200)
    if database.kind == "sqlite":
        every = {(table.name, how) for table, columns in DECIDES.items() for how in (*columns, "remove")}
        assert every | {(table.name, "slip in") for table in FORGED} == set(tried), "every column of every table"
    assert ledger.read(first_fault, [], None) is None, "and afterwards everything is as it was"
