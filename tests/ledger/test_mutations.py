"""The record proves what decides: whatever is changed, removed or slipped in, in whichever table that decides anything, verify
finds it without any head, and its sentence names the row or the event that is the first to be wrong. So it is of what people
said, and of how their requests stand."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
import sqlalchemy as sql
from sqlalchemy import BigInteger, Boolean, Integer

from shared.ledger.hearing import heard_until
from shared.ledger.proof import first_fault
from shared.ledger.tables import (
    approvals,
    chain,
    closes,
    configurations,
    consent,
    events,
    grants,
    holds,
    marks,
    outbox,
    requests,
    settings,
    sides,
)
from shared.ledger.transactions import Ledger
from shared.messages.approval import OnEnd
from shared.messages.consent import RequestKind
from shared.messages.forms import InstanceType
from shared.rules.facts import Side
from tests.ledger.gated import Gated, apply
from tests.ledger.kit import NOW, Database, check_order, key
from tests.ledger.lives import live_everything
from tests.ledger.room import CLOSING, DAY, Room, at, people_decide, voice, wish

Row = dict[str, Any]
Columns = dict[sql.Table, tuple[str, ...]]

DECIDES: Columns = {
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
SAID: Columns = {
    consent: tuple(column.name for column in consent.columns),
    requests: tuple(column.name for column in requests.columns if column.name != "reminded"),
}
"""The same of what people said. How often they were reminded matters while a request is open, and is seen then."""


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


def mutations(database: Database, count: int, decides: Columns) -> Iterator[Mutation]:
    """So many, spread over all tables, columns and ways; each from its own seed."""
    with database.connected() as connection:
        rows = {table: [dict(row._mapping) for row in connection.execute(sql.select(table))] for table in decides}
    ways: list[tuple[sql.Table, str]] = [(table, name) for table, names in decides.items() for name in names]
    ways += [(table, "remove") for table in decides for _ in range(2)]
    ways += [(table, "slip in") for table in FORGED if table in decides for _ in range(2)]
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
    consent: lambda row, number, every: row | {"seq": len(every) + 1, "fact_id": f"forged-{number}"},
    requests: lambda row, number, _: row | {"request_id": f"FORGED-{number}"},
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
    if one.table is consent:
        return any(f"fact {row['seq']} " in sentence for row in touched)
    if one.table is requests:
        return any(f"the request {row['request_id']}" in sentence for row in touched)
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
    all_are_found(ledger, database, 1100 if database.kind == "sqlite" else 300, DECIDES, admitted_by)


def all_are_found(
    ledger: Ledger, database: Database, count: int, decides: Columns, admitted_by: dict[str, int] | None = None
) -> None:
    """Try so many mutations, one after the other: each is found and named, and nothing of it is left."""
    tried: Counter[tuple[str, str]] = Counter()
    missed = []
    for one in mutations(database, count, decides):
        with mutated(database, one) as made:
            if not made:
                continue
            found = ledger.read(first_fault, [], None)
        tried[one.table.name, one.how] += 1
        if found is None or not names(found, one, admitted_by or {}):
            missed.append((one.table.name, one.how, one.before, one.after, found))

    assert not missed, missed[:3]
    assert sum(tried.values()) >= 0.66 * count
    if database.kind == "sqlite":
        every = {(table.name, how) for table, columns in decides.items() for how in (*columns, "remove")}
        forged = {(table.name, "slip in") for table in FORGED if table in decides}
        assert every | forged == set(tried), "every column of every table"
    assert ledger.read(first_fault, [], None) is None, "and afterwards everything is as it was"


# -- what people said --------------------------------------------------------------------------------------------------


def speak(ledger: Ledger) -> Room:
    """Requests of every kind, in every stage, heard: open before and after preflight looked, in a second round, with a word that
    does not suffice, approved, reviewed, refused, withdrawn, lapsed.
    """
    apply(ledger, people_decide())
    room = Room(Gated(ledger))
    endless: dict[str, Any] = {"ends_at": None, "on_end": OnEnd.REPORT}
    late, _ = room.ready()
    room.hear()
    for part in (0.6, 0.9, 1):
        room.gated.now = NOW + int(7 * DAY * part)
        room.hear()
    assert room.desk.show(late).standing.ended is not None
    soon: dict[str, Any] = {"ends_at": at(room.gated.now + DAY // 2)}
    first, snapshot = room.ready(**soon)
    room.decide("owner", first, snapshot)
    room.hear()
    changed, snapshot = room.ready(kind=RequestKind.CHANGE, replaces=[first], **soon)
    room.decide("second-owner", changed, snapshot)
    urgent, snapshot = room.ready(emergency=True, **soon)
    room.decide("router-owner", urgent, snapshot, Side.ASSOCIATE)
    room.hear()
    room.desk.review(voice("owner"), urgent, in_order=True, reason="all was well")
    room.hear()
    room.ask("router-owner", **CLOSING)
    unreviewed, snapshot = room.ready(emergency=True, **soon)
    room.decide("router-owner", unreviewed, snapshot, Side.ASSOCIATE)
    room.ask(**soon)
    room.decide("owner", *room.ready(**endless))
    again, snapshot = room.ready(**endless)
    room.decide("owner", again, snapshot)
    room.look(again, seen={"cidrs": ["10.99.0.0/16"]})
    room.decide("lead", *room.ready(**soon), agrees=False)
    room.desk.withdraw(voice("requester"), room.ready(**soon)[0])
    room.desk.ask(voice("requester"), [wish(f"vpc-{number}", **endless) for number in range(3)], name="a batch")
    room.hear()
    room.hear()
    return room


def test_mutations_of_what_people_said_are_found_and_named(ledger: Ledger, database: Database) -> None:
    """Every column of every fact and of every request's row, removed ones and forged ones."""
    speak(ledger)
    stages = {row.stage for row in database.rows(sql.select(requests))}
    assert stages == {"open", "approved", "refused", "withdrawn", "lapsed"}
    assert ledger.read(first_fault, [], None) is None
    all_are_found(ledger, database, 460 if database.kind == "sqlite" else 130, SAID)


@pytest.mark.parametrize(
    ("further", "why"),
    [(1, "was passed over: nobody has heard it"), (1_000, "is said to have been heard")],
    ids=["over what was said last", "over what nobody has said yet"],
)
def test_nothing_is_passed_over_unseen(ledger: Ledger, database: Database, further: int, why: str) -> None:
    """A place up to which everything is said to have been heard, beyond what was: the grant function would never hear it."""
    room = speak(ledger)
    room.ask("router-owner", **CLOSING)
    assert ledger.read(first_fault, [], None) is None
    until = ledger.read(heard_until) + further
    with database.connected() as connection:
        connection.execute(settings.update().where(settings.c.name == "consent").values(value=str(until)))
    assert why in str(ledger.read(first_fault, [], None))


def test_what_is_said_to_have_been_heard_and_is_no_number_is_heard_again(ledger: Ledger, database: Database) -> None:
    """It adds nothing, and the place is known again."""
    room = speak(ledger)
    before = database.count(events)
    with database.connected() as connection:
        connection.execute(settings.update().where(settings.c.name == "consent").values(value="x"))
    room.hear()
    assert database.count(events) == before
    assert ledger.read(first_fault, [], None) is None
