"""Figures: what the timer counts at every pass, the most of each hour; and what the ledger's rows say of the days before.

Nothing is decided by them. What is read goes by an index on time, and is a bounded number of rows, the newest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from shared.ledger.ages import Open
from shared.ledger.heads import note_head
from shared.ledger.seeing import Scope, Shape
from shared.ledger.tables import LEASES, approvals, events, figures, intents, requests, sides
from shared.messages.approval import DESK
from shared.rules.figures import DAY, Figure, Taken

HOUR = 3_600_000
KEPT = 90 * DAY
"""How long they are kept."""
MOST_LEASES, MOST_REQUESTS = 5_000, 20_000
"""So many of the newest are reckoned with."""
_COUNTED = 10_000


# -- written by the timer ------------------------------------------------------------------------------------------------


def note_pass(connection: Connection, found: Open, head: int | None, now: int) -> None:
    """Keep what a pass has counted, and how far the record is signed. ``head``: the event of the signed head that was put out."""
    age = 0 if found.unsettled_since is None else now - found.unsettled_since
    counted = {
        Figure.UNSETTLED: found.unsettled,
        Figure.UNSETTLED_AGE: age,
        Figure.DEAD: found.dead,
        Figure.OUTBOX: found.outbox,
    }
    note_figures(connection, {**counted, **_counted(connection, now)}, now)
    if head is not None:
        note_head(connection, head, now)


def note_figures(connection: Connection, found: Mapping[Figure, int], now: int) -> None:
    """Keep the most of this hour of each, and forget what is old."""
    hour = now // HOUR * HOUR
    rows = [{"at": hour, "name": str(name), "value": value} for name, value in found.items()]
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert  # noqa: PLC0415  # the dialect in use decides
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]  # noqa: PLC0415
    new = insert(figures).values(rows)
    more = sql.case((new.excluded.value > figures.c.value, new.excluded.value), else_=figures.c.value)
    keys = [figures.c.at, figures.c.name]
    connection.execute(new.on_conflict_do_update(index_elements=keys, set_={"value": more}))
    connection.execute(figures.delete().where(figures.c.at < now - KEPT))


def _counted(connection: Connection, now: int) -> dict[Figure, int]:
    drifted = sql.select(sides.c.drift).where(sides.c.drift.is_not(None)).limit(_COUNTED)
    ages = [now - int(json.loads(text)["at"]) for text in connection.execute(drifted).scalars()]
    open_ = sql.select(requests.c.request_id).where(requests.c.due_at.is_not(None)).limit(_COUNTED).subquery()
    since = (now // HOUR * HOUR, now)
    made = sql.select(intents.c.made_at).where(intents.c.made_at.between(*since)).limit(_COUNTED).subquery()
    minute = made.c.made_at // 60_000
    minutes = sql.select(sql.func.count().label("many")).select_from(made).group_by(minute).subquery()
    return {
        Figure.DRIFT: len(ages),
        Figure.DRIFT_AGE: max(ages, default=0),
        Figure.REQUESTS: connection.execute(sql.select(sql.func.count()).select_from(open_)).scalar_one(),
        Figure.WRITES: connection.execute(sql.select(sql.func.max(minutes.c.many))).scalar_one() or 0,
    }


# -- read by the desk ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Counted:
    """What is counted, and whether there was more than was reckoned with."""

    found: Mapping[Any, int]
    cut: bool


def hourly(connection: Connection, since: int) -> dict[tuple[int, str], int]:
    """What the timer counted, the most of each day; by day and figure."""
    day = (figures.c.at // DAY).label("day")
    query = sql.select(day, figures.c.name, sql.func.max(figures.c.value).label("most"))
    query = query.where(figures.c.at >= since).group_by(day, figures.c.name)
    return {(row.day, row.name): row.most for row in connection.execute(query)}


def taken_since(connection: Connection, scope: Scope, since: int) -> tuple[list[Taken], bool]:
    """How long leases took that were done since then, the newest of all; those that may be seen. One statement."""
    values = {**scope.values, "since": since}
    rows = connection.execute(_taken(scope.shape), values).all()
    found = [Taken(row.outcome_at, row.granted, row.active) for row in rows]
    return found, bool(rows and rows[0].reckoned > MOST_LEASES)


@lru_cache(maxsize=200)
def _taken(shape: Shape) -> sql.Select[Any]:
    names = ("grant_id", "admitted_at", "outcome_at", "issuer", "request_id", "ecr_owner_uid", "instance_owner_uid")
    done = sql.select(*(approvals.c[name] for name in names)).where(
        sql.text(f"outcome = 'done' AND {LEASES}"), approvals.c.outcome_at >= sql.bindparam("since")
    )
    newest = done.order_by(approvals.c.outcome_at.desc()).limit(MOST_LEASES + 1).cte("newest")
    granted = (
        sql.select(sql.func.min(events.c.at))
        .where(
            events.c.grant_id == newest.c.grant_id,
            sql.text("events.kind = 'granted'"),
            events.c.at.between(newest.c.admitted_at, newest.c.outcome_at),
        )
        .correlate(newest)
        .scalar_subquery()
    )
    mine = sql.select(requests.c.request_id).where(requests.c.requester == sql.bindparam("seen_by"))
    own = sql.and_(newest.c.issuer == DESK, newest.c.request_id.in_(mine))
    return (
        sql.select(
            newest.c.outcome_at,
            (granted - newest.c.admitted_at).label("granted"),
            (newest.c.outcome_at - newest.c.admitted_at).label("active"),
            _many(newest).label("reckoned"),
        )
        .where(shape.condition(newest, own))
        .limit(MOST_LEASES)
    )


def asked_since(connection: Connection, scope: Scope, since: int) -> Counted:
    """How many requests were asked, by day; those that may be seen. One statement."""
    rows = connection.execute(_per_day(scope.shape, "asked_at"), {**scope.values, "since": since}).all()
    return Counted({row.day: row.many for row in rows}, bool(rows and rows[0].reckoned > MOST_REQUESTS))


def ended_since(connection: Connection, scope: Scope, since: int) -> Counted:
    """How many requests ended, by day and stage."""
    rows = connection.execute(_per_day(scope.shape, "ended_at"), {**scope.values, "since": since}).all()
    return Counted({(row.day, row.stage): row.many for row in rows}, bool(rows and rows[0].reckoned > MOST_REQUESTS))


@lru_cache(maxsize=200)
def _per_day(shape: Shape, which: str) -> sql.Select[Any]:
    names = (which, "stage", "requester", "ecr_owner_uid", "instance_owner_uid")
    at = requests.c[which]
    some = sql.select(*(requests.c[name] for name in names)).where(at.is_not(None), at >= sql.bindparam("since"))
    newest = some.order_by(at.desc()).limit(MOST_REQUESTS + 1).cte("newest")
    keys: list[sql.ColumnElement[Any]] = [(newest.c[which] // DAY).label("day")]
    if which == "ended_at":
        keys.append(newest.c.stage)
    query = sql.select(*keys, sql.func.count().label("many"), _many(newest).label("reckoned"))
    return query.where(shape.condition(newest, newest.c.requester == sql.bindparam("seen_by"))).group_by(*keys)


def _many(rows: sql.CTE) -> sql.ScalarSelect[Any]:
    again = rows.alias("again")
    return sql.select(sql.func.count()).select_from(again).scalar_subquery()
