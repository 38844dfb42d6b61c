"""What people look at: grants with both sides, why they are not as wanted, their leases and what happened to them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Row

from shared.ledger.operating import read_holds
from shared.ledger.rows import key_of, lease_of, side_of
from shared.ledger.tables import approvals, events, grants, sides
from shared.messages.completion import Reason
from shared.messages.forms import GrantKey
from shared.rules.facts import Hold, HoldKind, Side, SideRecord
from shared.rules.leases import Lease, Wanted, wanted

_AT_ONCE = 500


@dataclass(frozen=True)
class SideView:
    """One side of a grant, for people. Times are epoch milliseconds."""

    row: SideRecord
    settled: bool
    why: Reason | None  # why it is not as wanted, or the last reason for looking again
    since: int | None  # since when it is not as wanted
    next_at: int | None
    made_at: int | None  # when what is there was made, as the platform says
    busy_until: int | None  # a worker is at it


@dataclass(frozen=True)
class LeaseView:
    """One lease, for people: with what was approved, by whom, and what became of it."""

    lease: Lease
    document: Mapping[str, Any]
    outcome: str | None
    closed_by: str | None
    early_until: int | None


@dataclass(frozen=True)
class GrantView:
    """One grant, for people."""

    grant_id: str
    key: GrantKey
    generation: int
    wanted: Wanted
    grant: SideView
    associate: SideView
    leases: tuple[LeaseView, ...]  # those that count, or will
    holds: tuple[Hold, ...]


def grant_ids(connection: Connection, *, history: bool) -> list[str]:
    """Which grants there are: those of which something is wanted, up, under way or found; with ``history`` all."""
    query = sql.select(grants.c.grant_id).order_by(grants.c.grant_id)
    return list(connection.execute(query if history else query.where(grants.c.shown)).scalars())


def view_grants(connection: Connection, ids: Sequence[str], *, past: bool = False) -> list[GrantView]:
    """These grants with everything that is open about them; ``past``: with the leases that are over, too."""
    found = []
    said = read_holds(connection)
    for start in range(0, len(ids), _AT_ONCE):
        chunk = ids[start : start + _AT_ONCE]
        rows = connection.execute(
            sql.select(grants).where(grants.c.grant_id.in_(chunk)).order_by(grants.c.grant_id)
        ).all()
        both: dict[str, dict[str, Row[Any]]] = {}
        for row in connection.execute(sql.select(sides).where(sides.c.grant_id.in_(chunk))):
            both.setdefault(row.grant_id, {})[row.side] = row
        leases = _leases(connection, chunk, past=past)
        found += [_view(row, both[row.grant_id], leases.get(row.grant_id, []), said) for row in rows]
    return found


def _leases(connection: Connection, ids: Sequence[str], *, past: bool) -> dict[str, list[LeaseView]]:
    query = sql.select(approvals).where(approvals.c.grant_id.in_(ids), approvals.c.action == "grant")
    if not past:
        query = query.where(approvals.c.open)
    found: dict[str, list[LeaseView]] = {}
    for row in connection.execute(query.order_by(approvals.c.admitted_at, approvals.c.approval_id)):
        view = LeaseView(lease_of(row), json.loads(row.content), row.outcome, row.closed_by, row.early_until)
        found.setdefault(row.grant_id, []).append(view)
    return found


def _view(row: Row[Any], both: Mapping[str, Row[Any]], leases: list[LeaseView], said: list[Hold]) -> GrantView:
    key = key_of(row)
    names = {
        (HoldKind.GRANT, row.grant_id),
        (HoldKind.ECR, key.ecr_id),
        (HoldKind.ACCOUNT, key.ecr_owner_uid),
        (HoldKind.ACCOUNT, key.instance_owner_uid),
    }
    return GrantView(
        grant_id=row.grant_id,
        key=key,
        generation=row.generation,
        wanted=wanted(one.lease for one in leases),
        grant=_side(both[Side.GRANT]),
        associate=_side(both[Side.ASSOCIATE]),
        leases=tuple(leases),
        holds=tuple(hold for hold in said if (hold.kind, hold.name) in names),
    )


def _side(row: Row[Any]) -> SideView:
    return SideView(
        row=side_of(row),
        settled=not row.unsettled,
        why=None if row.trouble is None else Reason.model_validate_json(row.trouble),
        since=row.waiting_since,
        next_at=row.next_at,
        made_at=row.since,
        busy_until=row.claimed_until,
    )


def history_of(connection: Connection, grant_id: str, limit: int = 200) -> list[Mapping[str, Any]]:
    """The last events of a grant that were published, the oldest first."""
    query = sql.select(events.c.body).where(events.c.grant_id == grant_id, events.c.number.is_not(None))
    rows = connection.execute(query.order_by(events.c.seq.desc()).limit(limit)).scalars().all()
    return [json.loads(body) for body in reversed(rows)]
