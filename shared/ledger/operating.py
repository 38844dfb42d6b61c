"""What an operator says: the mode, what is adopted, and what is dead and tried again."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from shared.ledger.record import append, name_of
from shared.ledger.rows import about_grant, about_work, key_of, of_side, raise_generation, work_of
from shared.ledger.tables import approvals, grants, settings, sides
from shared.ledger.transactions import insert_or_ignore, locked
from shared.messages.completion import EventKind, Reason, ReasonCode
from shared.messages.forms import GrantKey
from shared.rules.facts import Mode, Side


@dataclass(frozen=True)
class DeadRow:
    """One side of a grant that is not tried any more, until somebody redrives it. ``since`` in epoch milliseconds."""

    key: GrantKey
    side: Side
    since: int
    reason: Reason
    attempts: int
    waiting: int

    @property
    def name(self) -> str:
        """What redrive is told: grant and side."""
        return f"{self.key.grant_id}/{self.side}"


def dead_rows(connection: Connection) -> list[DeadRow]:
    """Everything that is dead: where, since when, why, and how many requests wait for it. Oldest first."""
    waiting = (
        sql.select(sql.func.count())
        .select_from(approvals)
        .where(approvals.c.grant_id == sides.c.grant_id, approvals.c.outcome == EventKind.DEAD)
        .scalar_subquery()
    )
    rows = connection.execute(
        sql.select(sides, grants, waiting.label("waiting"))
        .join(grants, grants.c.grant_id == sides.c.grant_id)
        .where(sides.c.dead_at.is_not(None))
        .order_by(sides.c.dead_at, sides.c.grant_id, sides.c.side)
    )
    return [
        DeadRow(
            key_of(row),
            Side(row.side),
            row.dead_at,
            Reason.model_validate_json(row.trouble),
            row.attempts,
            row.waiting,
        )
        for row in rows
    ]


def redrive(connection: Connection, grant_id: str, side: Side, who: str, now: int) -> bool:
    """Let a dead side be tried again, its waiting requests with it. False when it was not dead; so safe to repeat."""
    if locked(connection, grant_id) is None:
        return False
    died = connection.execute(sql.select(sides.c.dead_at).where(*of_side(grant_id, side))).scalar_one_or_none()
    if died is None:
        return False
    connection.execute(
        sides.update()
        .where(*of_side(grant_id, side))
        .values(dead_at=None, attempts=0, next_at=None, waiting_since=None, observed_wanted=None)
    )
    append(
        connection,
        name_of(EventKind.REDRIVEN, grant_id, side, str(died)),
        EventKind.REDRIVEN,
        now,
        about=about_grant(connection, grant_id),
        reason=Reason(code=ReasonCode.REDRIVEN, text=f"{who} redrove the {side} side"),
    )
    return True


def adopt(connection: Connection, grant_id: str, side: Side, now: int) -> bool:
    """Take what was there before us as ours, so that the end of its leases takes it down. Touches no cloud.

    False when there is nothing foreign on that side.
    """
    if locked(connection, grant_id) is None:
        return False
    work = work_of(connection, grant_id, side)
    if work.mine.nothing_up or work.mine.ours:
        return False
    connection.execute(sides.update().where(*of_side(grant_id, side)).values(ours=True, drift=None))
    raise_generation(connection, grant_id)
    append(
        connection,
        name_of(EventKind.ADOPTED, grant_id, side, str(now)),
        EventKind.ADOPTED,
        now,
        about=about_work(work),
        association_id=work.mine.association_id,
        reason=Reason(code=ReasonCode.ADOPTED, text=f"the {side} side is ours from now on"),
    )
    return True


def said_mode(connection: Connection) -> Mode | None:
    """What may act now, by the operator's word; None while nobody said anything."""
    said = connection.execute(sql.select(settings.c.value).where(settings.c.name == "mode")).scalar_one_or_none()
    return None if said is None else Mode(said)


def set_mode(connection: Connection, mode: Mode, who: str, now: int) -> None:
    """Say what may act; an event of its own. It holds from the next converge on."""
    if not insert_or_ignore(connection, settings, {"name": "mode", "value": mode, "changed_at": now}):
        connection.execute(settings.update().where(settings.c.name == "mode").values(value=mode, changed_at=now))
    append(
        connection,
        name_of(EventKind.MODE_CHANGED, mode, str(now)),
        EventKind.MODE_CHANGED,
        now,
        reason=Reason(code=ReasonCode.MODE_CHANGED, text=f"{who} set the mode to {mode}"),
    )
