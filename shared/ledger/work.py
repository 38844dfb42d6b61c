"""Work and claims: what a side has to do, who is at it, and which sides nobody has brought to rest."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from shared.ledger.passing import due_in, pass_time
from shared.ledger.rows import Held, keep, mine, of_side, staged, work_from, work_of
from shared.ledger.snapshot import rows_of, rows_of_all
from shared.ledger.tables import intents, sides
from shared.ledger.transactions import locked
from shared.rules.facts import Mode, Side
from shared.rules.leases import Timing


def read_work(
    connection: Connection, grant_id: str, side: Side, now: int, timing: Timing, mode: Mode = Mode.FULL
) -> Held | None:
    """What one side of a grant needs to know, or None for a grant that nobody ever asked for.

    What time has done to the leases is recorded first, so what is wanted is what is wanted now. ``mode``: the deployment's,
    which holds while nobody said any.
    """
    if locked(connection, grant_id) is None:
        return None
    rows = rows_of(connection, grant_id)
    if rows is not None and due_in(rows, now, timing):
        pass_time(connection, grant_id, now, timing)
        rows = rows_of(connection, grant_id)
    return None if rows is None else work_from(rows, side, mode)


def see_work(
    connection: Connection, grant_id: str, side: Side, now: int, timing: Timing, mode: Mode = Mode.FULL
) -> Held | None:
    """The same as it just was, in one statement and without a lock: to be thought about, and read again before anything is
    decided. Raises TimePassed where time has done something that has to be recorded first.
    """
    rows = rows_of(connection, grant_id)
    if rows is None:
        return None
    if due_in(rows, now, timing):
        raise TimePassed
    return work_from(rows, side, mode)


def see_all(
    connection: Connection, ids: Sequence[str], side: Side, now: int, timing: Timing, mode: Mode = Mode.FULL
) -> dict[str, Held]:
    """The same of several grants, by id; without those that are unknown, or for which time has done something."""
    found = rows_of_all(connection, ids)
    return {name: work_from(rows, side, mode) for name, rows in found.items() if not due_in(rows, now, timing)}


class TimePassed(Exception):
    """Something became due by itself."""


def claim(connection: Connection, grant_id: str, side: Side, worker: str, now: int, until: int) -> bool:
    """Take one side of a grant for a while. False when somebody else has it: they are told that there is news."""
    if locked(connection, grant_id) is None:
        return False
    work = work_of(connection, grant_id, side)
    taken = take(connection, work, worker, now, until)
    if taken is not None:
        keep(connection, taken, now)
    return taken is not None


def take(connection: Connection, work: Held, worker: str, now: int, until: int) -> Held | None:
    """The same for work that is held; what it says of the side's row is staged. None when somebody else has it."""
    assert work.rows is not None  # noqa: S101  # that is what makes it held
    row = work.rows.sides[work.mine.side]
    if row.claimed_by is not None and row.claimed_until > now:
        connection.execute(sides.update().where(*mine(work)).values(knocks=sides.c.knocks + 1))
        return None
    return staged(work, {"claimed_by": worker, "claimed_until": until})


def release(connection: Connection, grant_id: str, side: Side, worker: str, knocks: int) -> bool:
    """Give a side back. False, and it is kept, when somebody knocked since ``knocks`` was read: look once more."""
    if locked(connection, grant_id) is None:
        return True
    work = work_of(connection, grant_id, side)
    left = leave(connection, work, worker, knocks)
    if left is None:
        return False
    keep(connection, left, 0)
    return True


def leave(connection: Connection, work: Held, worker: str, knocks: int) -> Held | None:  # noqa: ARG001  # run like the others
    """The same for work that is held; what it says of the side's row is staged."""
    assert work.rows is not None  # noqa: S101  # that is what makes it held
    row = work.rows.sides[work.mine.side]
    if row.claimed_by != worker:
        return work  # the claim ran out and is somebody else's: nothing of ours to give back
    return None if row.knocks != knocks else staged(work, {"claimed_by": None, "claimed_until": None})


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
