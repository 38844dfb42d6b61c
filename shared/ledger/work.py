"""Work and claims: what a side has to do, who is at it, and which sides nobody has brought to rest."""

from __future__ import annotations

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from shared.ledger.passing import pass_time
from shared.ledger.rows import of_side, work_of
from shared.ledger.tables import intents, sides
from shared.ledger.transactions import locked
from shared.rules.facts import Mode, Side, Work
from shared.rules.leases import Timing


def read_work(
    connection: Connection, grant_id: str, side: Side, now: int, timing: Timing, mode: Mode = Mode.FULL
) -> Work | None:
    """What one side of a grant needs to know, or None for a grant that nobody ever asked for.

    What time has done to the leases is recorded first, so what is wanted is what is wanted now. ``mode``: the deployment's,
    which holds while nobody said any.
    """
    if locked(connection, grant_id) is None:
        return None
    return work_of(connection, grant_id, side, pass_time(connection, grant_id, now, timing), mode=mode)


def claim(connection: Connection, grant_id: str, side: Side, worker: str, now: int, until: int) -> bool:
    """Take one side of a grant for a while. False when somebody else has it: they are told that there is news."""
    taken = connection.execute(
        sides.update()
        .where(*of_side(grant_id, side), sql.or_(sides.c.claimed_by.is_(None), sides.c.claimed_until <= now))
        .values(claimed_by=worker, claimed_until=until)
    ).rowcount
    if not taken:
        connection.execute(sides.update().where(*of_side(grant_id, side)).values(knocks=sides.c.knocks + 1))
    return bool(taken)


def release(connection: Connection, grant_id: str, side: Side, worker: str, knocks: int) -> bool:
    """Give a side back. False, and it is kept, when somebody knocked since ``knocks`` was read: look once more."""
    claimed = *of_side(grant_id, side), sides.c.claimed_by == worker
    released = connection.execute(
        sides.update().where(*claimed, sides.c.knocks == knocks).values(claimed_by=None, claimed_until=None)
    ).rowcount
    if released:
        return True
    kept = connection.execute(sql.select(sides.c.knocks).where(*claimed)).one_or_none()
    return kept is None  # the claim ran out and is somebody else's: nothing of ours to keep


def give_up(connection: Connection, grant_id: str, side: Side, worker: str, now: int) -> None:
    """Give a side back that a worker could not, since the ledger was away. It works no more, so its calls are over."""
    locked(connection, grant_id)
    claimed = *of_side(grant_id, side), sides.c.claimed_by == worker
    if connection.execute(sides.update().where(*claimed).values(claimed_by=None, claimed_until=None)).rowcount:
        of_mine = intents.c.grant_id == grant_id, intents.c.side == side
        open_ones = *of_mine, intents.c.matters, intents.c.result.is_(None)
        connection.execute(intents.update().where(*open_ones, intents.c.made_at > now).values(made_at=now))


Behind = tuple[int, str, str]
"""Where a page of unsettled sides ended: waiting since, grant, side."""


def unsettled(connection: Connection, now: int, limit: int) -> list[tuple[str, Side]]:
    """(grant, side) of what is not as wanted and whose next time has come, longest waiting first."""
    return [(grant_id, side) for grant_id, side, _ in unsettled_page(connection, now, limit, (-1, "", ""))]


def unsettled_page(connection: Connection, now: int, limit: int, after: Behind) -> list[tuple[str, Side, Behind]]:
    """(grant, side, place) of everything that is not as wanted and whose next time has come, longest waiting first.

    A page: ask again with the last place for what comes behind it.
    """
    since = sql.func.coalesce(sides.c.waiting_since, 0)
    rows = connection.execute(
        sql.select(sides.c.grant_id, sides.c.side, since.label("since"))
        .where(
            sides.c.unsettled,
            sides.c.dead_at.is_(None),
            sql.or_(sides.c.next_at.is_(None), sides.c.next_at <= now),
            sql.or_(sides.c.claimed_until.is_(None), sides.c.claimed_until <= now),
            sql.tuple_(since, sides.c.grant_id, sides.c.side) > sql.tuple_(*(sql.literal(part) for part in after)),
        )
        .order_by(since, sides.c.grant_id, sides.c.side)
        .limit(limit)
    )
    return [(row.grant_id, Side(row.side), (row.since, row.grant_id, row.side)) for row in rows]
