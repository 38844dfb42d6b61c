"""What the ledger's tests share: approvals to admit, a way past the ledger into its database, and the order of its record."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sql

from shared.ledger.heads import head_of
from shared.ledger.outcomes import settle
from shared.ledger.proof import first_fault
from shared.ledger.rows import Held
from shared.ledger.tables import approvals, events, grants, intents, metadata, outbox, sides
from shared.ledger.transactions import Ledger
from shared.ledger.work import read_work
from shared.messages.approval import GrantApproval, RevokeApproval
from shared.messages.completion import EventKind, Reason
from shared.messages.forms import GrantKey
from shared.messages.seal import approval_from
from shared.rules.facts import Side

NOW = 1_780_000_000_000
"""When the tests take place, in epoch milliseconds: time is handed in everywhere."""
HOUR = 3_600_000
WAITING = Reason(code="Waiting", text="last seen: ASSOCIATING")

_COMMON = {
    "schema": "ecr-grants/approval/3",
    "ecr": {"id": "ecr-ledgertests", "owner_uid": "1000000000000001"},
    "requested_by": "requester@example.com",
    "approved_by": ["approver@example.com"],
    "reason": "A test of the ledger needs it",
}


def moment(milliseconds: int) -> str:
    """Epoch milliseconds as messages write them."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat()


def _document(action: str, request_id: str, vpc: str, issuer: str, approved_at: int) -> dict[str, Any]:
    instance = {"type": "VPC", "id": vpc, "region": "cn-hangzhou", "owner_uid": "2000000000000002"}
    names = {"action": action, "request_id": request_id, "issuer": issuer, "approved_at": moment(approved_at)}
    return {**_COMMON, **names, "instance": instance}


def opening(
    request_id: str = "REQ-1",
    vpc: str = "vpc-1",
    *,
    issuer: str = "tests",
    approved_at: int = NOW - HOUR,
    prefixes: tuple[str, ...] = ("10.20.0.0/16",),
    ends_at: int | None = None,
    on_end: str = "report",
) -> GrantApproval:
    """An approval that opens a lease."""
    document = _document("grant", request_id, vpc, issuer, approved_at)
    document |= {"allowed_prefixes": list(prefixes), "on_end": on_end}
    parsed = approval_from(document if ends_at is None else {**document, "ends_at": moment(ends_at)})
    assert isinstance(parsed, GrantApproval)
    return parsed


def closing(
    closes: str | list[str],
    request_id: str = "REQ-END",
    vpc: str = "vpc-1",
    *,
    issuer: str = "tests",
    approved_at: int = NOW - HOUR // 2,
) -> RevokeApproval:
    """An approval that closes leases."""
    parsed = approval_from({**_document("revoke", request_id, vpc, issuer, approved_at), "closes": closes})
    assert isinstance(parsed, RevokeApproval)
    return parsed


def key(vpc: str = "vpc-1") -> GrantKey:
    """The grant that approvals about this VPC are about."""
    return opening(vpc=vpc).grant


def grant_id(vpc: str = "vpc-1") -> str:
    """Its name."""
    return key(vpc).grant_id


class Database:
    """One database with or without a ledger in it, and a way into it past the ledger."""

    def __init__(self, kind: str, url: str) -> None:
        self.kind = kind
        self.url = url
        self._engine = sql.create_engine(url, pool_pre_ping=True)
        if kind == "sqlite":
            sql.event.listen(self._engine, "connect", _patient)

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    @contextmanager
    def connected(self) -> Iterator[sql.Connection]:
        """A connection that commits at the end."""
        with self._engine.begin() as connection:
            yield connection

    def rows(self, query: sql.Select[Any]) -> list[Any]:
        """What a query finds."""
        with self.connected() as connection:
            return list(connection.execute(query).all())

    def count(self, table: sql.Table, *conditions: sql.ColumnElement[bool]) -> int:
        """How many rows there are."""
        with self.connected() as connection:
            query = sql.select(sql.func.count()).select_from(table).where(*conditions)
            return int(connection.execute(query).scalar_one())

    def everything(self) -> dict[str, list[tuple[Any, ...]]]:
        """The content of every table of the ledger, to be compared with itself later."""
        with self.connected() as connection:
            return {
                table.name: sorted((tuple(row) for row in connection.execute(sql.select(table))), key=repr)
                for table in metadata.sorted_tables
            }

    def kinds(self, of: str | None = None) -> list[str]:
        """The kinds of all events, or of one grant's, in their order."""
        query = sql.select(events.c.kind).order_by(events.c.seq)
        if of is not None:
            query = query.where(events.c.grant_id == of)
        return [row.kind for row in self.rows(query)]


def _patient(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA busy_timeout=30000")
    connection.execute("PRAGMA synchronous=OFF")


def check_order(ledger: Ledger, database: Database) -> None:
    """What must be true of every record, whatever was done at the same time as what."""
    assert ledger.read(first_fault, [ledger.read(head_of, NOW)], None) is None
    found = database.rows(sql.select(events).order_by(events.c.seq))
    assert [row.seq for row in found] == list(range(1, len(found) + 1)), "events are numbered without a gap"
    published = [row for row in found if EventKind(row.kind).published]
    waiting = {row.seq for row in database.rows(sql.select(outbox))}
    assert waiting <= {row.seq for row in published}, "only what is told to others waits to be published"
    numbers: dict[str, list[int]] = {}
    for row in found:
        told = json.loads(row.body)
        assert (told["id"], told["event"], told.get("number")) == (row.event_id, row.kind, row.number)
        if row.grant_id is not None and row in published:
            numbers.setdefault(row.grant_id, []).append(row.number)
        else:
            assert row.number is None, "only completions of a grant are counted"
    for row in database.rows(sql.select(grants)):
        mine = numbers.pop(row.grant_id, [])
        assert mine == list(range(1, row.last_number + 1)), "each grant's completions are numbered without a gap"
    assert not numbers, "every event of a grant has its grant"
    _check_outcomes(database, found)
    pairs = database.rows(sql.select(sides.c.grant_id, sql.func.count().label("sides")).group_by(sides.c.grant_id))
    assert all(row.sides == 2 for row in pairs)


def _check_outcomes(database: Database, found: list[Any]) -> None:
    """Every approval was admitted once, and has one outcome at most (after each time it was dead, one more).

    An answer that is given again has no facts: the outcome stays what it was.
    """
    said: dict[tuple[str, str, str], list[str]] = {}
    for row in found:
        told = json.loads(row.body)
        decides = row.facts is not None and "approval_id" in json.loads(row.facts)
        if row.kind in ("admitted", "early", "done", "rejected", "dead") and decides:
            request = told["request"]
            said.setdefault((request["issuer"], request["request_id"], request["digest"]), []).append(row.kind)
    for row in database.rows(sql.select(approvals)):
        kinds = said.pop((row.issuer, row.request_id, row.digest))
        first, outcomes = kinds[0], kinds[1:]
        assert first in ("admitted", "early")
        assert "done" not in outcomes[:-1], outcomes
        assert "rejected" not in outcomes[:-1], outcomes
        assert row.outcome == (outcomes[-1] if outcomes else None)
    assert not said, "no outcome without its approval"


def read(ledger: Ledger, side: Side = Side.GRANT, now: int = NOW, vpc: str = "vpc-1") -> Held:
    """What a side knows now."""
    work = ledger.write(read_work, grant_id(vpc), side, now, ledger.timing)
    assert work is not None
    return work


def settle_side(
    ledger: Ledger,
    side: Side,
    kind: EventKind | None,
    *,
    now: int = NOW,
    both_sides: bool = True,
    vpc: str = "vpc-1",
) -> bool:
    """Settle a side as it is wanted now."""
    return ledger.write(
        settle, read(ledger, side, now, vpc), kind, now, association_id=None, served=[], both_sides=both_sides
    )


def outcomes(database: Database) -> list[tuple[str, str]]:
    """(request, outcome) of every answer, in order."""
    found = database.rows(
        sql.select(events.c.body).where(events.c.kind.in_(["done", "rejected", "dead"])).order_by(events.c.seq)
    )
    told = [json.loads(row.body) for row in found]
    return [(one["request"]["request_id"], one["event"]) for one in told]


def open_intents(database: Database, of: str) -> list[str]:
    """The writes to the cloud that may still land."""
    return [
        row.operation
        for row in database.rows(
            sql.select(intents.c.operation).where(intents.c.grant_id == of, intents.c.result.is_(None))
        )
    ]
