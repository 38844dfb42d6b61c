"""What counts once, or only so often, until a time: tokens that were shown, sessions that were ended, and how much a caller
has asked for.

Nothing here decides anything but whether a caller is heard now, so nothing of it is in the record.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from shared.ledger.tables import used


class Kind(StrEnum):
    """What is counted."""

    TOKEN = "token"  # noqa: S105  # shown by a system, by its id
    CALLER = "caller"  # within a window of time
    ADDRESS = "address"  # a stranger's, as one of so many buckets, within a window of time
    SESSION = "session"  # signed out of


def use_once(connection: Connection, kind: Kind, name: str, until: int, now: int) -> bool:
    """Whether this is its first use. It is forgotten at ``until`` (epoch milliseconds), when it is worth nothing any more."""
    return count(connection, kind, name, until, now) == 1


def count(connection: Connection, kind: Kind, name: str, until: int, now: int, times: int = 1) -> int:
    """How often it was used by now, these times included, since it was forgotten last; one statement. ``until``: when it is, if
    this is the first time.
    """
    values = {"kind": kind, "name": name[:200], "until": until, "now": now, "times": times}
    return int(connection.execute(_counting(connection.dialect.name), values).scalar_one())


@cache
def _counting(dialect: str) -> sql.UpdateBase:
    if dialect == "postgresql":
        from sqlalchemy.dialects.postgresql import insert  # noqa: PLC0415  # the dialect in use decides
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]  # noqa: PLC0415
    until = sql.bindparam("until", type_=used.c.until.type)
    times = sql.bindparam("times", type_=used.c.often.type)
    gone = used.c.until <= sql.bindparam("now", type_=used.c.until.type)
    again = {
        "often": sql.case((gone, times), else_=used.c.often + times),
        "until": sql.case((gone, until), else_=used.c.until),
    }
    first = insert(used).values(kind=sql.bindparam("kind"), name=sql.bindparam("name"), often=times, until=until)
    return first.on_conflict_do_update(index_elements=[used.c.kind, used.c.name], set_=again).returning(used.c.often)


def count_caller(connection: Connection, name: str, session: str, until: int, now: int) -> int | None:
    """How often this caller has called by now; None where the session was ended. ``session``: its id, or nothing for a caller
    without one.
    """
    if session:
        ended = sql.select(used.c.until).where(used.c.kind == Kind.SESSION, used.c.name == session)
        if (connection.execute(ended).scalar_one_or_none() or 0) > now:
            return None
    return count(connection, Kind.CALLER, name, until, now)


def forget(connection: Connection, now: int) -> int:
    """Take away what is forgotten. Returns how many there were."""
    return connection.execute(used.delete().where(used.c.until <= now)).rowcount
