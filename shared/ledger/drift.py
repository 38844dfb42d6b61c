"""Drift: what the timer compares with the cloud, and what it found to differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Row

from shared.ledger.intents import ownership
from shared.ledger.known import grant_row
from shared.ledger.record import Event, append, name_of
from shared.ledger.rows import (
    about_grant,
    finding_of,
    finding_text,
    key_of,
    of_side,
    put_away,
    raise_generation,
    side_of,
    work_of,
)
from shared.ledger.tables import grants, intents, sides
from shared.ledger.transactions import Ledger, locked
from shared.messages.completion import EventKind, Reason
from shared.messages.forms import GrantKey
from shared.rules.facts import Drift, DriftFound, DriftKind, Side, SideRecord, Standing, State

_PAGE = 1_000


def read_standing(ledger: Ledger) -> Iterator[Standing]:
    """Every grant of which something is wanted, up, under way or found, with both sides, by pages."""
    after = ""
    while page := ledger.read(_standing, after):
        yield from page
        after = page[-1].key.grant_id


def read_keys(ledger: Ledger) -> Iterator[GrantKey]:
    """What names each of those grants, by pages."""
    after = ""
    while page := ledger.read(_shown, after):
        yield from map(key_of, page)
        after = page[-1].grant_id


def _shown(connection: Connection, after: str) -> Sequence[Row[Any]]:
    query = sql.select(grants).where(grants.c.shown, grants.c.grant_id > after).order_by(grants.c.grant_id).limit(_PAGE)
    return connection.execute(query).all()


def _standing(connection: Connection, after: str) -> list[Standing]:
    return _with_sides(connection, _shown(connection, after))


def known_among(connection: Connection, keys: Sequence[GrantKey]) -> list[Standing]:
    """Those of these grants that the ledger knows, also as history."""
    ids = [key.grant_id for key in keys]
    return _with_sides(connection, connection.execute(sql.select(grants).where(grants.c.grant_id.in_(ids))).all())


def known(connection: Connection, grant_id: str) -> Standing | None:
    """One grant with both sides; None for one that the ledger does not know."""
    rows = connection.execute(sql.select(grants).where(grants.c.grant_id == grant_id)).all()
    return next(iter(_with_sides(connection, rows)), None)


def _with_sides(connection: Connection, rows: Sequence[Row[Any]]) -> list[Standing]:
    found: dict[str, dict[str, SideRecord]] = {}
    ids = [row.grant_id for row in rows]
    for row in connection.execute(sql.select(sides).where(sides.c.grant_id.in_(ids))):
        found.setdefault(row.grant_id, {})[row.side] = side_of(row)
    return [
        Standing(key_of(row), row.generation, found[row.grant_id][Side.GRANT], found[row.grant_id][Side.ASSOCIATE])
        for row in rows
    ]


def note_drift(
    connection: Connection,
    drifts: Sequence[Drift],
    now: int,
    *,
    generation: int,
    quiet_since: int,
    repair: Iterable[DriftKind],
    state: str | None = None,
) -> list[Drift]:
    """Record how the cloud is not as one grant had settled. Returns what of it is news. ``repair``: what converge is to mend.

    What was compared may be overtaken: nothing is recorded when the leases have changed from ``generation``, when a
    worker is at it, or when we wrote after ``quiet_since``, since the look may be older than that write. What is to be mended,
    also where it was found before, raises the generation: both sides look again, and tell again what they come to.
    """
    row = grant_row(connection, drifts[0].key, now)
    there = {
        one.side: one for one in connection.execute(sql.select(sides).where(sides.c.grant_id == row.grant_id)).all()
    }
    wrote = connection.execute(
        sql.select(sql.func.max(intents.c.made_at)).where(intents.c.grant_id == row.grant_id, intents.c.matters)
    ).scalar_one()
    busy = any(one.claimed_until is not None and one.claimed_until > now for one in there.values())
    if busy or row.generation != generation or (wrote is not None and wrote > quiet_since):
        return []
    known = {(side, found.kind) for side, one in there.items() if (found := finding_of(one.drift)) is not None}
    news = [one for one in drifts if (one.side, one.kind) not in known]
    about, events, mend = about_grant(connection, row.grant_id), [], frozenset(repair)
    for one in news:
        values: dict[str, Any] = {"drift": finding_text(DriftFound(one.kind, one.text, now))}
        if one.kind.foreign or one.kind.missing:
            # What is missing now and there again later, without a write of ours, is somebody else's.
            seen, ours = (state or State.PRESENT, False) if one.kind.foreign else (State.ABSENT, None)
            values |= {"state": seen, "ours": ours}
            if there[one.side].ours is not ours:
                events.append(ownership(work_of(connection, row.grant_id, one.side), ours, now))
        connection.execute(sides.update().where(*of_side(row.grant_id, one.side)).values(**values))
        name = name_of(EventKind.DRIFT_FOUND, row.grant_id, one.side, one.kind, str(now))
        events.append(Event(name, EventKind.DRIFT_FOUND, about, reason=Reason(code=one.kind, text=one.text)))
    if news:
        connection.execute(grants.update().where(grants.c.grant_id == row.grant_id).values(shown=True))
    # What was found before, and is at rest, was found when nobody wanted it mended.
    to_mend = [one for one in drifts if one in news or not there[one.side].unsettled]
    if any(one.kind in mend and not one.kind.foreign for one in to_mend):
        raise_generation(connection, row.grant_id)
    append(connection, now, *events)
    return news


def note_drift_gone(connection: Connection, grant_id: str, side: Side, now: int) -> bool:
    """What was reported is no longer so, by somebody else's doing. True when it had been reported."""
    row = locked(connection, grant_id)
    before = connection.execute(sql.select(sides.c.drift, sides.c.ours).where(*of_side(grant_id, side))).one()
    found = finding_of(before.drift)
    if found is None or row is None:
        return False
    gone = {"state": State.ABSENT, "ours": None} if found.kind.foreign else {}
    connection.execute(sides.update().where(*of_side(grant_id, side)).values(drift=None, **gone))
    about = about_grant(connection, grant_id)
    name = name_of(EventKind.DRIFT_REPAIRED, grant_id, side, str(found.at))
    reason = Reason(code=found.kind, text=f"no longer so: {found.text}")
    events = [Event(name, EventKind.DRIFT_REPAIRED, about, reason=reason)]
    if gone and before.ours is not None:
        events.append(ownership(work_of(connection, grant_id, side), None, now))
    append(connection, now, *events)
    put_away(connection, grant_id)
    return True


def note_absent(connection: Connection, grant_id: str, side: Side, generation: int, now: int) -> bool:
    """What was there before us, and was left alone, is not there any more. True when that is news."""
    row = locked(connection, grant_id)
    before = connection.execute(sql.select(sides).where(*of_side(grant_id, side))).one()
    if row is None or row.generation != generation or side_of(before).nothing_up or before.unsettled:
        return False
    connection.execute(sides.update().where(*of_side(grant_id, side)).values(state=State.ABSENT, ours=None))
    if before.ours is not None:
        append(connection, now, ownership(work_of(connection, grant_id, side), None, now))
    put_away(connection, grant_id)
    return True
