"""Drift: what the timer compares with the cloud, and what it found to differ."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from shared.ledger.admission import grant_row
from shared.ledger.record import append, name_of
from shared.ledger.rows import about_grant, key_of, of_side, side_of
from shared.ledger.tables import grants, intents, sides
from shared.ledger.transactions import locked
from shared.messages.completion import EventKind, Reason
from shared.rules.facts import Drift, DriftKind, Side, SideRecord, Standing, State


def read_standing(connection: Connection) -> list[Standing]:
    """Every grant that anybody ever asked for or that was found on the cloud, with both sides, in two queries."""
    rows = connection.execute(sql.select(grants).order_by(grants.c.grant_id)).all()
    found: dict[str, dict[str, SideRecord]] = {}
    for row in connection.execute(sql.select(sides)):
        found.setdefault(row.grant_id, {})[row.side] = side_of(row)
    return [
        Standing(key_of(row), row.generation, found[row.grant_id][Side.GRANT], found[row.grant_id][Side.ASSOCIATE])
        for row in rows
    ]


def note_drift(
    connection: Connection,
    drift: Drift,
    now: int,
    *,
    generation: int,
    quiet_since: int,
    repair: bool,
    state: str | None = None,
) -> bool:
    """Record that the cloud is not as it had settled. True when that is news. ``repair``: let converge mend it.

    What was compared may be overtaken: nothing is recorded when the leases have changed from ``generation``, when a
    worker is at it, or when we wrote after ``quiet_since``, since the look may be older than that write.
    """
    row = grant_row(connection, drift.key, now)
    mine = of_side(row.grant_id, drift.side)
    there = connection.execute(sql.select(sides.c.drift, sides.c.claimed_until).where(*mine)).one()
    wrote = connection.execute(
        sql.select(sql.func.max(intents.c.made_at)).where(intents.c.grant_id == row.grant_id)
    ).scalar_one()
    busy = there.claimed_until is not None and there.claimed_until > now
    if busy or row.generation != generation or (wrote is not None and wrote > quiet_since):
        return False
    if there.drift is not None and json.loads(there.drift)["class"] == drift.kind:
        return False
    values: dict[str, Any] = {"drift": json.dumps({"class": drift.kind, "text": drift.text, "at": now})}
    if drift.kind.foreign:
        values |= {"state": state or State.PRESENT, "ours": False}
    if repair:
        values |= {"observed_wanted": None, "attempts": 0, "next_at": None, "dead_at": None}
    connection.execute(sides.update().where(*mine).values(**values))
    append(
        connection,
        name_of(EventKind.DRIFT_FOUND, row.grant_id, drift.side, drift.kind, str(now)),
        EventKind.DRIFT_FOUND,
        now,
        about=about_grant(connection, row.grant_id),
        reason=Reason(code=drift.kind, text=drift.text),
    )
    return True


def note_drift_gone(connection: Connection, grant_id: str, side: Side, now: int) -> bool:
    """What was reported is no longer so, by somebody else's doing. True when it had been reported."""
    row = locked(connection, grant_id)
    before = connection.execute(sql.select(sides.c.drift).where(*of_side(grant_id, side))).scalar_one()
    if before is None or row is None:
        return False
    found = json.loads(before)
    gone = {"state": State.ABSENT, "ours": None} if DriftKind(found["class"]).foreign else {}
    connection.execute(sides.update().where(*of_side(grant_id, side)).values(drift=None, **gone))
    append(
        connection,
        name_of(EventKind.DRIFT_REPAIRED, grant_id, side, str(found["at"])),
        EventKind.DRIFT_REPAIRED,
        now,
        about=about_grant(connection, grant_id),
        reason=Reason(code=found["class"], text=f"no longer so: {found['text']}"),
    )
    return True
