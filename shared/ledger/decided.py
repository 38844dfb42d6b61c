"""What was decided, for whoever asks what another configuration would say: open leases, recorded questions, versions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Row

from shared.ledger.tables import approvals, events
from shared.messages.completion import EventKind

_AT_ONCE = 500
_ANSWERS = (EventKind.ADMITTED, EventKind.EARLY, EventKind.TOOK_EFFECT, EventKind.REJECTED)
"""Events that may hold a question, and what was answered to it."""


@dataclass(frozen=True)
class OpenLease:
    """A lease that counts, or will. ``seal``: its approval as it was sealed; ``admitted_at`` in epoch milliseconds."""

    grant_id: str
    issuer: str
    request_id: str
    seal: str
    admitted_at: int


@dataclass(frozen=True)
class Recorded:
    """An event of the record. ``at`` in epoch milliseconds; ``body`` as it was told, ``facts`` as only the record has them."""

    seq: int
    event_id: str
    kind: str
    at: int
    body: Mapping[str, Any]
    facts: Mapping[str, Any]

    @property
    def refused(self) -> bool:
        """Whether it tells of a refusal."""
        return self.kind == EventKind.REJECTED or bool(self.facts.get("refused"))


def open_leases(connection: Connection) -> list[OpenLease]:
    """All of them, oldest first."""
    columns = (approvals.c[name] for name in ("grant_id", "issuer", "request_id", "seal", "admitted_at"))
    query = sql.select(*columns).where(approvals.c.open).order_by(approvals.c.admitted_at, approvals.c.approval_id)
    return [OpenLease(**row._mapping) for row in connection.execute(query)]  # noqa: SLF001  # SQLAlchemy's way


def questions_since(connection: Connection, since: int, after: int) -> list[Recorded]:
    """Some events of ``since`` (epoch milliseconds) or later that hold a question, in their order; those behind ``after``."""
    query = sql.select(events).where(
        events.c.seq > after, events.c.at >= since, events.c.kind.in_(_ANSWERS), events.c.facts.contains('"question":')
    )
    return [_recorded(row) for row in connection.execute(query.order_by(events.c.seq).limit(_AT_ONCE))]


def event_named(connection: Connection, name: str) -> Recorded | None:
    """An event by its id, or by its number in the record."""
    number = int(name) if name.isascii() and name.isdigit() and len(name) < 10 else None
    which = events.c.event_id == name if number is None else events.c.seq == number
    row = connection.execute(sql.select(events).where(which)).one_or_none()
    return None if row is None else _recorded(row)


def applied_versions(connection: Connection) -> dict[int, Recorded]:
    """What was recorded when each version of the configuration was applied, by its number."""
    query = sql.select(events).where(events.c.kind == EventKind.CONFIGURED).order_by(events.c.seq)
    found = [_recorded(row) for row in connection.execute(query)]
    return {int(one.facts["number"]): one for one in found}


def _recorded(row: Row[Any]) -> Recorded:
    facts = {} if row.facts is None else json.loads(row.facts)
    return Recorded(row.seq, row.event_id, row.kind, row.at, json.loads(row.body), facts)
