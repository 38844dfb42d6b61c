"""Heads: the end of the record, signed, to be kept where nobody who can write the database can write."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import sqlalchemy as sql
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy.engine import Connection

from shared.ledger.configuration import newest_number
from shared.ledger.record import chained, digest_of
from shared.ledger.tables import chain, events, settings
from shared.ledger.transactions import insert_or_ignore
from shared.messages.texts import canonical
from shared.words import ledger_head

HEAD_EVENT = ledger_head.name
"""The log word of a line that holds a head."""

_TRIES, _DEEPEST = 100, 4  # braces in one text, fields in fields: logs put no more around a line


@dataclass(frozen=True)
class Head:
    """The end of the chain at some moment, signed, to be kept where nobody who can write the database can write."""

    seq: int
    hash: str
    at: int
    configuration: int  # the number of the newest version
    signature: str = ""

    @property
    def _signed(self) -> bytes:
        return canonical({"seq": self.seq, "hash": self.hash, "at": self.at, "configuration": self.configuration})

    def sign(self, key: Ed25519PrivateKey) -> Head:
        """The same head with its signature (Base64 of Ed25519 over the canonical JSON of the rest)."""
        return replace(self, signature=base64.b64encode(key.sign(self._signed)).decode())

    def signed_by(self, key: Ed25519PublicKey) -> bool:
        """Whether the signature is this key's."""
        try:
            key.verify(base64.b64decode(self.signature, validate=True), self._signed)
        except (InvalidSignature, binascii.Error, ValueError):
            return False
        return True

    def line(self) -> str:
        """One line of a heads file."""
        return json.dumps(asdict(self), sort_keys=True)


def head_of(connection: Connection, now: int) -> Head:
    """The present end of the chain, unsigned."""
    end = connection.execute(sql.select(chain).where(chain.c.name == "events")).one()
    return Head(end.seq, end.hash, now, newest_number(connection))


_NOTED = "head"
"""The setting with the number of the last event that a signed head was put out for."""


def note_head(connection: Connection, seq: int, now: int) -> None:
    """A signed head of that event was put where the database cannot reach. That it is good is proven there, and not here."""
    values = {"value": str(seq), "changed_at": now}
    if not insert_or_ignore(connection, settings, {"name": _NOTED, **values}):
        connection.execute(settings.update().where(settings.c.name == _NOTED).values(values))


@dataclass(frozen=True)
class Covered:
    """How far the record of one grant is proven, as far as is cheap to say: ``ledger verify`` proves it.

    ``events``: so many of its last events were compared with their hashes; ``fault``: the first that is not what was recorded.
    ``last``: its last event in the record, ``end``: the record's own; ``head``: the event of the last signed head, put out at
    ``head_at``; None where none was.
    """

    events: int
    fault: int | None
    last: int | None
    end: int
    head: int | None
    head_at: int | None

    @property
    def covered(self) -> bool:
        """Whether a signed head was put out since its last event."""
        return self.head is not None and (self.last is None or self.last <= self.head)


def covered(connection: Connection, grant_id: str, limit: int) -> Covered:
    """How far the record of a grant is proven, from so many of its last events. Two statements."""
    ends = sql.select(chain.c.seq, settings.c.value, settings.c.changed_at)
    joined = chain.outerjoin(settings, settings.c.name == _NOTED)
    end = connection.execute(ends.select_from(joined).where(chain.c.name == "events")).one()
    query = sql.select(events).where(events.c.grant_id == grant_id).order_by(events.c.seq.desc()).limit(limit)
    rows = connection.execute(query).all()
    wrong = [
        row.seq
        for row in rows
        if row.hash != chained(row.previous, row.seq, row.digest) or row.digest != digest_of(row.body, row.facts)
    ]
    head = int(end.value) if end.value is not None and end.value.isdecimal() else None
    last = rows[0].seq if rows else None
    return Covered(
        len(rows), min(wrong, default=None), last, end.seq, head, end.changed_at if head is not None else None
    )


@dataclass(frozen=True)
class RecordEnd:
    """The record's last event, and the one of the last signed head that was put out, with their hashes; ``head_at``: when, in
    epoch milliseconds. None where no signed head was put out.
    """

    seq: int
    hash: str
    head: int | None
    head_hash: str | None
    head_at: int | None


def record_end(connection: Connection) -> RecordEnd:
    """How far the record goes, and how far it is signed. Two statements."""
    ends = sql.select(chain.c.seq, chain.c.hash, settings.c.value, settings.c.changed_at)
    joined = chain.outerjoin(settings, settings.c.name == _NOTED)
    end = connection.execute(ends.select_from(joined).where(chain.c.name == "events")).one()
    if end.value is None or not end.value.isdecimal():
        return RecordEnd(end.seq, end.hash, None, None, None)
    head = int(end.value)
    hashed = connection.execute(sql.select(events.c.hash).where(events.c.seq == head)).scalar_one_or_none()
    return RecordEnd(end.seq, end.hash, head, hashed, end.changed_at)


def heads_in(lines: Iterable[str]) -> Iterator[Head]:
    """The heads in log lines as they come: bare, behind a prefix, or inside a field of another JSON object.

    Everything else is passed over. Raises ValueError with the line's number for a head that lacks something.
    """
    for number, line in enumerate(lines, 1):
        for fact in _objects(line):
            if fact.get("event", HEAD_EVENT) != HEAD_EVENT or not {"seq", "hash"} <= fact.keys():
                continue
            try:
                seq, at, configuration = (int(fact[name]) for name in ("seq", "at", "configuration"))
                yield Head(seq, str(fact["hash"]), at, configuration, str(fact["signature"]))
            except (ValueError, KeyError, TypeError):
                raise ValueError(f"line {number} is not a whole head") from None


def _objects(text: str, depth: int = 0) -> Iterator[dict[str, Any]]:
    """The JSON objects in a line, those in fields of others included. What is in braces and is no JSON is passed over."""
    start = -1
    for _ in range(_TRIES):
        start = text.find("{", start + 1)
        if start < 0:
            return
        try:
            found, end = json.JSONDecoder().raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        yield from _within(found, depth)
        start = end - 1


def _within(value: Any, depth: int) -> Iterator[dict[str, Any]]:
    if depth > _DEEPEST:
        return
    if isinstance(value, str):
        yield from _objects(value, depth)
    elif isinstance(value, dict):
        yield value
        for each in value.values():
            yield from _within(each, depth + 1)
