"""What counts once, or only so often, until a time: tokens that were shown, sessions that were ended, and how much a caller
has asked for.

Nothing here decides anything but whether a caller is heard now, so nothing of it is in the record.
"""

from __future__ import annotations

from enum import StrEnum

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from shared.ledger.tables import used
from shared.ledger.transactions import insert_or_ignore


class Kind(StrEnum):
    """What is counted."""

    TOKEN = "token"  # noqa: S105  # shown by a system, by its id
    CALLER = "caller"  # within a window of time
    ADDRESS = "address"  # a stranger's, as one of so many buckets, within a window of time
    SESSION = "session"  # signed out of


def use_once(connection: Connection, kind: Kind, name: str, until: int, now: int) -> bool:
    """Whether this is its first use. It is forgotten at ``until`` (epoch milliseconds), when it is worth nothing any more."""
    return _first(connection, kind, name, until) or _again(connection, kind, name, until, now) == 1


def count(connection: Connection, kind: Kind, name: str, until: int, now: int) -> int:
    """How often it was used by now, this time included, since it was forgotten last. ``until``: when it is, if this is the
    first time. One statement for what is there already, as most of what is counted is.
    """
    often = _again(connection, kind, name, until, now)
    if often is None:
        often = 1 if _first(connection, kind, name, until) else _again(connection, kind, name, until, now)
    return often or 1


def _first(connection: Connection, kind: Kind, name: str, until: int) -> bool:
    return insert_or_ignore(connection, used, {"kind": kind, "name": name[:200], "often": 1, "until": until})


def _again(connection: Connection, kind: Kind, name: str, until: int, now: int) -> int | None:
    """One more of what is there; None where nothing is."""
    gone = used.c.until <= now
    values = {
        "often": sql.case((gone, 1), else_=used.c.often + 1),
        "until": sql.case((gone, until), else_=used.c.until),
    }
    named = used.c.kind == kind, used.c.name == name[:200]
    return connection.execute(used.update().where(*named).values(values).returning(used.c.often)).scalar_one_or_none()


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
