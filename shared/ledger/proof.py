"""Proving the record: walking the chain from its start, and recomputing from it everything that decides."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import sqlalchemy as sql
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy.engine import Connection, Row

from shared.ledger.consent_proof import Recorded, chain_fault, request_fault
from shared.ledger.decisions import decision_fault
from shared.ledger.heads import Head
from shared.ledger.hearing import heard_until
from shared.ledger.operations import RecordedOperations, operation_fault
from shared.ledger.record import START_OF_CHAIN, chained, digest_of
from shared.ledger.replay import Replay
from shared.ledger.tables import chain, events

_EVENTS_AT_ONCE = 500  # a record grows for years; nobody needs it in memory as a whole


def first_fault(connection: Connection, heads: Iterable[Head], key: Ed25519PublicKey | None) -> str | None:
    """The first thing that is wrong with the record, as a sentence that names the event or the row; None when all is well.

    Walks the chain from its start. An event that contradicts its own hash, or is missing between two others, is named
    exactly. Where events were hashed anew each of them is consistent, and the first head after them disagrees: then the
    sentence names every event since the last head that agreed, and the first bad one is among them. So heads as dense as
    events name it exactly, and what was recorded after the last head is only as sure as the database itself.

    Then everything that decides must be what follows from the events: leases, closes, marks, whose a side is, mode and holds; and
    what people said must be what the events have heard.
    Reads one state of the database; nobody waits for it.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sql.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
    signed: dict[int, set[str]] = {}
    for one in sorted(heads, key=lambda one: one.seq):
        if key is not None and not one.signed_by(key):
            return f"the head of event {one.seq} is not signed by this key"
        signed.setdefault(one.seq, set()).add(one.hash)
    if signed.pop(0, {START_OF_CHAIN}) != {START_OF_CHAIN}:
        return "the head of event 0 is not the start of a record"
    walk, replay = _Walk(signed), Replay()
    people, operators = Recorded(), RecordedOperations()
    wrong: str | None = None  # told last: what the chain itself says about an event is more exact
    while page := _page(connection, walk.last):
        for row in page:
            fault = walk.fault_of(row)
            if fault is not None:
                return fault
        wrong = wrong or replay.take(connection, page)
        people.take(page)
        operators.take(page)
    end = connection.execute(sql.select(chain).where(chain.c.name == "events")).one_or_none()
    if end is None:
        return f"the end of the chain is missing; its events go to {walk.last}"
    return (
        walk.fault_of_end(end.seq, end.hash)
        or wrong
        or replay.first_difference(connection)
        or chain_fault(connection, people, heard_until(connection))
        or request_fault(connection, people)
        or operation_fault(connection, operators)
        or decision_fault(connection, people)
    )


def _page(connection: Connection, after: int) -> list[Row[Any]]:
    query = sql.select(events).where(events.c.seq > after) if after else sql.select(events)
    return list(connection.execute(query.order_by(events.c.seq).limit(_EVENTS_AT_ONCE)))


class _Walk:
    """How far the record was read, and how far a head has proven it."""

    def __init__(self, signed: dict[int, set[str]]) -> None:
        self._signed = signed
        self.last = 0
        self._hash = START_OF_CHAIN
        self._proven = 0

    def fault_of(self, row: Row[Any]) -> str | None:
        """What is wrong with the next event."""
        if row.seq != self.last + 1:
            return f"event {self.last + 1} is missing (found {row.seq} in its place)"
        if row.hash != chained(row.previous, row.seq, row.digest) or not _as_told(row):
            return f"event {row.seq} is not what was recorded"
        if row.previous != self._hash:
            return self._one_of(row.seq, "recorded")
        hashes = self._signed.pop(row.seq, None)
        if hashes is not None:
            if hashes != {row.hash}:
                return self._one_of(row.seq, "signed")
            self._proven = row.seq
        self.last, self._hash = row.seq, row.hash
        return None

    def fault_of_end(self, seq: int, hashed: str) -> str | None:
        """What is wrong with the end: where the chain says that it is, and what is signed beyond it."""
        beyond = f"a head of event {min(self._signed)} exists" if self._signed else f"the chain goes on to {seq}"
        if self._signed or seq > self.last:
            unproven = (
                "" if self._proven == self.last else f"; no head proves the events {self._proven + 1} to {self.last}"
            )
            return f"event {self.last + 1} is missing: the record was cut off after {self.last}, {beyond}{unproven}"
        if self._proven <= seq < self.last:
            return f"event {seq + 1} is not what was recorded: the chain ends with {seq}"
        if (seq, hashed) == (self.last, self._hash):
            return None
        if self._proven == self.last:
            return (
                f"the end of the chain is not what was recorded: a head of event {self.last} agrees, and it says {seq}"
            )
        return f"{self._one_of(self.last, 'recorded')}, or the end of the chain is not"

    def _one_of(self, seq: int, was: str) -> str:
        """All that may be the first bad event, when only this one shows that there is one."""
        first = self._proven + 1
        if first == seq:
            return f"event {seq} is not what was {was}"
        return f"one of the events {first} to {seq} is not what was {was}, and what follows it was hashed anew"


def _as_told(row: Row[Any]) -> bool:
    """Whether an event's columns say what its body says."""
    if row.digest != digest_of(row.body, row.facts):
        return False
    try:
        told = json.loads(row.body)
        at = round(datetime.fromisoformat(told["at"]).timestamp() * 1000)
        # Without a generation it only names the grant that somebody asks for, and is none of that grant's.
        grant_id = told.get("grant", {}).get("grant_id") if "generation" in told else None
        said = told["id"], told["event"], grant_id, told.get("number"), at
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return False
    return said == (row.event_id, row.kind, row.grant_id, row.number, row.at)
