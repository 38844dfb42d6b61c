"""What counts once, or only so often, until a time: tokens that were shown, and how much a caller has asked for.

Nothing here decides anything but whether a caller is heard now, so nothing of it is in the record.
"""

from __future__ import annotations

from enum import StrEnum

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from shared.ledger.tables import used


class Kind(StrEnum):
    """What is counted."""

    TOKEN = "token"  # noqa: S105  # shown by a system, by its id
    CALLER = "caller"  # within a window of time


def use_once(connection: Connection, kind: Kind, name: str, until: int, now: int) -> bool:
    """Whether this is its first use. It is forgotten at ``until`` (epoch milliseconds), when it is worth nothing any more."""
    return count(connection, kind, name, until, now) == 1


def count(connection: Connection, kind: Kind, name: str, until: int, now: int) -> int:
    """How often it was used by now, this time included, since it was forgotten last; one statement. ``until``: when it is, if
    this is the first time.
    """
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert  # noqa: PLC0415  # the dialect in use decides
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]  # noqa: PLC0415
    gone = used.c.until <= now
    again = {
        "often": sql.case((gone, 1), else_=used.c.often + 1),
        "until": sql.case((gone, until), else_=used.c.until),
    }
    first = insert(used).values(kind=kind, name=name[:200], often=1, until=until)
    said = first.on_conflict_do_update(index_elements=[used.c.kind, used.c.name], set_=again).returning(used.c.often)
    return int(connection.execute(said).scalar_one())


def forget(connection: Connection, now: int) -> int:
    """Take away what is forgotten. Returns how many there were."""
    return connection.execute(used.delete().where(used.c.until <= now)).rowcount
