"""How much is open in the ledger, and since when: one statement over what is open, however much there ever was."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from shared.ledger.tables import events, outbox, sides


@dataclass(frozen=True)
class Open:
    """Times in epoch milliseconds; None where there is none.

    ``unsettled``: sides that are not as wanted and not dead. ``dead``: those that wait to be redriven. ``outbox``: completions
    that are not out yet.
    """

    unsettled: int
    unsettled_since: int | None
    dead: int
    outbox: int
    outbox_since: int | None


# A side that nobody has visited since it became unsettled has no time of its own: what made it so is its grant's last event.
_last = (
    sql.select(events.c.at)
    .where(events.c.grant_id == sides.c.grant_id)
    .order_by(events.c.seq.desc())
    .limit(1)
    .correlate(sides)
    .scalar_subquery()
)
_since = sql.func.coalesce(sides.c.waiting_since, _last)
_unsettled = sql.select(sql.func.count().label("many"), sql.func.min(_since).label("since")).where(
    sides.c.unsettled, sides.c.dead_at.is_(None)
)
_dead = sql.select(sql.func.count().label("many")).where(sides.c.dead_at.is_not(None))
# The oldest by its place: a join would let a planner that knows nothing of an empty outbox begin with all events there ever were.
_oldest = sql.select(sql.func.min(outbox.c.seq)).scalar_subquery()
_outbox = sql.select(
    sql.func.count().label("many"),
    sql.select(events.c.at).where(events.c.seq == _oldest).scalar_subquery().label("since"),
).select_from(outbox)


_first, _dead_ones, _waiting = _unsettled.subquery(), _dead.subquery(), _outbox.subquery()
_OPEN = sql.select(
    _first.c.many.label("unsettled"),
    _first.c.since.label("unsettled_since"),
    _dead_ones.c.many.label("dead"),
    _waiting.c.many.label("outbox"),
    _waiting.c.since.label("outbox_since"),
).select_from(_first.join(_dead_ones, sql.true()).join(_waiting, sql.true()))  # one row each


def read_open(connection: Connection) -> Open:
    """What is open now."""
    row = connection.execute(_OPEN).one()
    return Open(row.unsettled, row.unsettled_since, row.dead, row.outbox, row.outbox_since)
