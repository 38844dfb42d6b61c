"""Events and the outbox: an append-only, hash-chained record, and what of it is still to be published.

The chain makes an edited, dropped or reordered event visible; signed heads, kept outside the database, make a cut-off
tail or a chain hashed anew visible too.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sql
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy.engine import Connection, Row

from shared.ledger.tables import chain, events, grants, outbox
from shared.messages import Completion, GrantFields, GrantKey, Reason, Request, Served, canonical

START_OF_CHAIN = "0" * 64
_EVENTS_AT_ONCE = 500  # a record grows for years; nobody needs it in memory as a whole

_END_LOCKED = sql.select(chain).where(chain.c.name == "events").with_for_update()
_EVENT = sql.select(events.c.seq).where(events.c.event_id == sql.bindparam("named"))
_MOVE_END = (
    chain.update().where(chain.c.name == "events").values(seq=sql.bindparam("to_seq"), hash=sql.bindparam("to_hash"))
)
_NEXT_NUMBER = (
    grants.update()
    .where(grants.c.grant_id == sql.bindparam("of_grant"))
    .values(last_number=grants.c.last_number + 1)
    .returning(grants.c.last_number)
)


@dataclass(frozen=True)
class Letter:
    """A completion that waits to be published."""

    seq: int
    tag: str
    body: str


@dataclass(frozen=True)
class About:
    """What an event is about, as far as it is about a grant."""

    grant_id: str
    key: GrantKey
    generation: int
    prefixes: tuple[str, ...]


def name_of(*parts: str) -> str:
    """An event's name, the same wherever and however often its fact is met: so it is recorded once."""
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:40]


def chained(previous: str, seq: int, body: str) -> str:
    """The hash that ties an event to all before it."""
    return hashlib.sha256(f"{previous}\n{seq}\n{body}".encode()).hexdigest()


def append(
    connection: Connection,
    event_id: str,
    kind: str,
    now: int,
    *,
    about: About | None = None,
    request: Request | None = None,
    message_id: str | None = None,
    reason: Reason | None = None,
    association_id: str | None = None,
    served: Sequence[Served] = (),
) -> None:
    """Add one event to the chain and to the outbox, unless it is there already. Its completion is fixed here."""
    end = connection.execute(_END_LOCKED).one()
    if connection.execute(_EVENT, {"named": event_id}).first() is not None:
        return
    seq, previous = end.seq + 1, end.hash
    number = None
    if about is not None:
        number = connection.execute(_NEXT_NUMBER, {"of_grant": about.grant_id}).scalar_one()
    completion = Completion.model_validate(
        {
            "schema": "ecr-grants/completion/1",
            "id": event_id,
            "event": kind,
            "at": datetime.fromtimestamp(now / 1000, UTC),
            "grant": None if about is None else GrantFields(grant_id=about.grant_id, **asdict(about.key)),
            "number": number,
            "generation": None if about is None else about.generation,
            "association_id": association_id,
            "allowed_prefixes": None if about is None else list(about.prefixes),
            "request": request,
            "message_id": message_id or None,
            "reason": reason,
            "served": list(served),
        }
    )
    body = canonical(completion.model_dump(mode="json", by_alias=True, exclude_none=True)).decode()
    fingerprint = chained(previous, seq, body)
    connection.execute(
        events.insert().values(
            seq=seq,
            event_id=event_id,
            grant_id=None if about is None else about.grant_id,
            number=number,
            kind=kind,
            at=now,
            body=body,
            previous=previous,
            hash=fingerprint,
        )
    )
    connection.execute(_MOVE_END, {"to_seq": seq, "to_hash": fingerprint})
    connection.execute(outbox.insert().values(seq=seq))


def publish_again(connection: Connection, event_id: str) -> None:
    """Put a recorded completion back into the outbox: somebody asked again. Its content does not change."""
    which = sql.select(events.c.seq).where(events.c.event_id == event_id).scalar_subquery()
    connection.execute(outbox.update().where(outbox.c.seq == which).values(published_at=None, taken_until=None))


def waiting_letters(connection: Connection, limit: int) -> list[Letter]:
    """The oldest completions that are still to be published."""
    rows = connection.execute(
        sql.select(events.c.seq, events.c.kind, events.c.body)
        .join(outbox, outbox.c.seq == events.c.seq)
        .where(outbox.c.published_at.is_(None))
        .order_by(events.c.seq)
        .limit(limit)
    )
    return [Letter(row.seq, row.kind, row.body) for row in rows]


_FREE = (
    sql.select(outbox.c.seq)
    .where(
        outbox.c.published_at.is_(None),
        sql.or_(outbox.c.taken_until.is_(None), outbox.c.taken_until <= sql.bindparam("now")),
    )
    .order_by(outbox.c.seq)
    .limit(sql.bindparam("most"))
    .with_for_update(skip_locked=True)
)


def take_letters(connection: Connection, limit: int, now: int, until: int) -> list[Letter]:
    """The oldest letters that nobody else is publishing, taken until then: several functions share one outbox."""
    seqs = list(connection.execute(_FREE, {"now": now, "most": limit}).scalars())
    if not seqs:
        return []
    connection.execute(outbox.update().where(outbox.c.seq.in_(seqs)).values(taken_until=until))
    rows = connection.execute(
        sql.select(events.c.seq, events.c.kind, events.c.body).where(events.c.seq.in_(seqs)).order_by(events.c.seq)
    )
    return [Letter(row.seq, row.kind, row.body) for row in rows]


def give_back(connection: Connection, seqs: Sequence[int]) -> None:
    """These could not be published: the next one who comes may try."""
    connection.execute(outbox.update().where(outbox.c.seq.in_(seqs)).values(taken_until=None))


def published(connection: Connection, seq: int, now: int) -> None:
    """The completion is out."""
    connection.execute(outbox.update().where(outbox.c.seq == seq).values(published_at=now))


# -- proving the record ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Head:
    """The end of the chain at some moment, signed, to be kept where nobody who can write the database can write."""

    seq: int
    hash: str
    at: int
    signature: str = ""

    @property
    def _signed(self) -> bytes:
        return canonical({"seq": self.seq, "hash": self.hash, "at": self.at})

    def sign(self, key: Ed25519PrivateKey) -> Head:
        """The same head with its signature (Base64 of Ed25519 over the canonical JSON of the rest)."""
        return Head(self.seq, self.hash, self.at, base64.b64encode(key.sign(self._signed)).decode())

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


def head(connection: Connection, now: int) -> Head:
    """The present end of the chain, unsigned."""
    end = connection.execute(sql.select(chain).where(chain.c.name == "events")).one()
    return Head(end.seq, end.hash, now)


def first_fault(connection: Connection, heads: Iterable[Head], key: Ed25519PublicKey | None) -> str | None:
    """The first thing that is wrong with the record, as a sentence that names the event; None when all is well.

    Walks the chain from its start. An event that contradicts its own hash, or is missing between two others, is named
    exactly. Where events were hashed anew each of them is consistent, and the first head after them disagrees: then the
    sentence names every event since the last head that agreed, and the first bad one is among them. So heads as dense as
    events name it exactly, and what was recorded after the last head is only as sure as the database itself.
    """
    signed: dict[int, set[str]] = {}
    for one in sorted(heads, key=lambda one: one.seq):
        if key is not None and not one.signed_by(key):
            return f"the head of event {one.seq} is not signed by this key"
        signed.setdefault(one.seq, set()).add(one.hash)
    if signed.pop(0, {START_OF_CHAIN}) != {START_OF_CHAIN}:
        return "the head of event 0 is not the start of a record"
    walk = _Walk(signed)
    while True:
        start = walk.last
        newer = events.c.seq > start if start else sql.true()
        read = sql.select(events).where(newer).order_by(events.c.seq).execution_options(yield_per=_EVENTS_AT_ONCE)
        with connection.execute(read) as rows:
            for row in rows:
                fault = walk.fault_of(row)
                if fault is not None:
                    return fault
        end = connection.execute(sql.select(chain).where(chain.c.name == "events")).one_or_none()
        if end is None:
            return f"the end of the chain is missing; its events go to {walk.last}"
        if end.seq <= walk.last or walk.last == start:  # else more was recorded while we read
            return walk.fault_of_end(end.seq, end.hash)


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
        if row.hash != chained(row.previous, row.seq, row.body) or not _as_told(row):
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
    try:
        told = json.loads(row.body)
        at = round(datetime.fromisoformat(told["at"]).timestamp() * 1000)
        said = told["id"], told["event"], told.get("grant", {}).get("grant_id"), told.get("number"), at
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return False
    return said == (row.event_id, row.kind, row.grant_id, row.number, row.at)
