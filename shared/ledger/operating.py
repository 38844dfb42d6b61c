"""What an operator says: the mode, holds, what is adopted, and what is dead and tried again. Each event names the person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from shared.ledger.intents import ownership
from shared.ledger.record import Event, append, name_of
from shared.ledger.rows import about_grant, about_work, hold_of, key_of, of_side, raise_generation, work_of
from shared.ledger.tables import approvals, grants, holds, settings, sides
from shared.ledger.transactions import alone_with_words, insert_or_ignore, locked
from shared.messages.completion import EventKind, Reason, ReasonCode
from shared.messages.forms import GrantKey
from shared.rules.facts import Hold, HoldKind, Mode, Side

VIA = {"via": "ledger"}
"""How whoever says these words says them: with the ledger open, as its administrator. No decision is made so."""


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
        .where(approvals.c.grant_id == sides.c.grant_id, approvals.c.waits, approvals.c.outcome == EventKind.DEAD)
        .scalar_subquery()
    )
    rows = connection.execute(
        sql.select(sides, grants, waiting.label("waiting"))
        .outerjoin(grants, grants.c.grant_id == sides.c.grant_id)  # each has one: so that no planner begins with these
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


def redrive(
    connection: Connection, grant_id: str, side: Side, who: str, now: int, via: Mapping[str, str] = VIA
) -> bool:
    """Let a dead side be tried again, its waiting requests with it. False when it was not dead; so safe to repeat."""
    if locked(connection, grant_id) is None:
        return False
    died = connection.execute(sql.select(sides.c.dead_at).where(*of_side(grant_id, side))).scalar_one_or_none()
    if died is None:
        return False
    connection.execute(
        sides.update()
        .where(*of_side(grant_id, side))
        .values(
            dead_at=None,
            attempts=0,
            next_at=None,
            waiting_since=None,
            observed_wanted=None,
            unsettled=True,
            trouble=None,
        )
    )
    name = name_of(EventKind.REDRIVEN, grant_id, side, str(died))
    reason = Reason(code=ReasonCode.REDRIVEN, text=f"{who} redrove the {side} side")
    about = about_grant(connection, grant_id)
    append(connection, now, Event(name, EventKind.REDRIVEN, about, reason=reason, facts={"who": who, **via}))
    return True


def adopt(connection: Connection, grant_id: str, side: Side, who: str, now: int, via: Mapping[str, str] = VIA) -> bool:
    """Take what was there before us as ours, so that the end of its leases takes it down. Touches no cloud.

    False when there is nothing foreign on that side. ``via``: how it was said.
    """
    if locked(connection, grant_id) is None:
        return False
    work = work_of(connection, grant_id, side)
    if work.mine.nothing_up or work.mine.ours:
        return False
    connection.execute(sides.update().where(*of_side(grant_id, side)).values(ours=True, drift=None))
    raise_generation(connection, grant_id)
    reason = Reason(code=ReasonCode.ADOPTED, text=f"{who} adopted the {side} side: it is ours from now on")
    name = name_of(EventKind.ADOPTED, grant_id, side)
    about, association_id = about_work(work), work.mine.association_id
    facts = {"who": who, **via}
    adopted = Event(
        name, EventKind.ADOPTED, about, association_id=association_id, reason=reason, facts=facts, again=True
    )
    append(connection, now, adopted, ownership(work, True, now))
    return True


def said_mode(connection: Connection) -> Mode | None:
    """What may act now, by the operator's word; None while nobody said anything."""
    said = connection.execute(sql.select(settings.c.value).where(settings.c.name == "mode")).scalar_one_or_none()
    return None if said is None else Mode(said)


def set_mode(
    connection: Connection, mode: Mode, who: str, now: int, via: Mapping[str, str] = VIA
) -> list[tuple[str, Side]]:
    """Say what may act; an event of its own. It holds for every write that is not committed to yet.

    Returns the (grant, side) of what it may release: somebody should look there now.
    """
    alone_with_words(connection)
    if not insert_or_ignore(connection, settings, {"name": "mode", "value": mode, "changed_at": now}):
        connection.execute(settings.update().where(settings.c.name == "mode").values(value=mode, changed_at=now))
    reason = Reason(code=ReasonCode.MODE_CHANGED, text=f"{who} set the mode to {mode}")
    name = name_of(EventKind.MODE_CHANGED, mode)
    facts = {"mode": mode, "who": who, **via}
    append(connection, now, Event(name, EventKind.MODE_CHANGED, reason=reason, facts=facts, again=True))
    return _released(connection)


def read_holds(connection: Connection) -> list[Hold]:
    """Everything that is on hold, oldest first."""
    return [
        hold_of(row) for row in connection.execute(sql.select(holds).order_by(holds.c.at, holds.c.kind, holds.c.name))
    ]


def touches_anything(connection: Connection, kind: HoldKind, name: str) -> bool:
    """Whether any grant that the ledger knows would be on hold with that."""
    named = {
        HoldKind.ECR: grants.c.ecr_id == name,
        HoldKind.ACCOUNT: sql.or_(grants.c.ecr_owner_uid == name, grants.c.instance_owner_uid == name),
        HoldKind.GRANT: grants.c.grant_id == name,
    }
    return connection.execute(sql.select(grants.c.grant_id).where(named[kind]).limit(1)).first() is not None


def set_hold(connection: Connection, hold: Hold, now: int, via: Mapping[str, str] = VIA) -> None:
    """Put an ECR, an account or a grant on hold, or say anew what is held about it."""
    alone_with_words(connection)
    named = holds.c.kind == hold.kind, holds.c.name == hold.name
    connection.execute(holds.delete().where(*named))
    connection.execute(
        holds.insert().values(
            kind=hold.kind, name=hold.name, everything=hold.everything, who=hold.who, reason=hold.reason, at=hold.at
        )
    )
    facts = {"kind": hold.kind, "name": hold.name, "everything": hold.everything, "who": hold.who, **via}
    facts |= {"reason": hold.reason, "at": hold.at}
    name = name_of(EventKind.HOLD_SET, hold.kind, hold.name)
    reason = Reason(code=ReasonCode.HOLD_SET, text=hold.text)
    append(connection, now, Event(name, EventKind.HOLD_SET, reason=reason, facts=facts, again=True))


def lift_hold(
    connection: Connection, kind: HoldKind, name: str, who: str, now: int, via: Mapping[str, str] = VIA
) -> list[tuple[str, Side]] | None:
    """Lift a hold. None when there was none; else the (grant, side) of what it may release."""
    alone_with_words(connection)
    if not connection.execute(holds.delete().where(holds.c.kind == kind, holds.c.name == name)).rowcount:
        return None
    reason = Reason(code=ReasonCode.HOLD_LIFTED, text=f"{who} lifted the hold of the {kind} {name}")
    event = name_of(EventKind.HOLD_LIFTED, kind, name)
    facts = {"kind": kind, "name": name, "who": who, **via}
    append(connection, now, Event(event, EventKind.HOLD_LIFTED, reason=reason, facts=facts, again=True))
    return _released(connection)


def _released(connection: Connection) -> list[tuple[str, Side]]:
    """What a person had stopped is looked at by whoever comes next; who still may not act says so again."""
    stopped = sides.c.unsettled, sides.c.trouble.like(f'%"code":"{ReasonCode.HELD}"%')
    rows = connection.execute(
        sides.update().where(*stopped).values(next_at=None).returning(sides.c.grant_id, sides.c.side)
    )
    return [(row.grant_id, Side(row.side)) for row in rows]
