"""What the passing of time does to leases, recorded when somebody looks or the timer ticks."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Row

from shared.errors import Superseded, TemporaryError
from shared.ledger.admission import Judged, replace_others
from shared.ledger.configuration import newest_number
from shared.ledger.outcomes import ENDED, finish, request_of
from shared.ledger.record import About, Event, append, name_of
from shared.ledger.rows import about_grant, lease_of, leases_of, put_away, raise_generation
from shared.ledger.snapshot import Rows
from shared.ledger.tables import approvals
from shared.ledger.transactions import Ledger, locked
from shared.messages.completion import EventKind, Reason
from shared.rules.leases import Due, Lease, Timing, next_due, passing

_PAGE = 500

_KINDS = {
    Due.WARN: (EventKind.ENDING, "warned_at"),
    Due.OVERDUE: (EventKind.OVERDUE, "overdue_at"),
    Due.END: (EventKind.ENDED, "ended_at"),
}


def due_in(rows: Rows, now: int, timing: Timing) -> bool:
    """Whether time has done anything to a grant's leases that is not recorded yet."""
    return bool(passing(map(lease_of, rows.leases), now, timing))


def pass_time(connection: Connection, grant_id: str, now: int, timing: Timing) -> Sequence[Lease]:
    """Record what became due by itself: warnings, leases past their end, ended ones. Returns the leases that count after that.

    The caller has locked the grant.
    """
    leases = leases_of(connection, grant_id)
    due = passing(leases, now, timing)
    if not due:
        return leases
    changed = [(lease, due[lease.approval_id]) for lease in leases if lease.approval_id in due]
    for lease, what in changed:
        connection.execute(
            approvals.update()
            .where(approvals.c.approval_id == lease.approval_id)
            .values(_after(lease, what, now, timing))
        )
    if any(what is not Due.WARN for _, what in changed):
        raise_generation(connection, grant_id)
    about = about_grant(connection, grant_id)
    append(connection, now, *(_event(connection, lease, what, about, now, timing) for lease, what in changed))
    return leases_of(connection, grant_id)


def _after(lease: Lease, what: Due, now: int, timing: Timing) -> dict[str, object]:
    """What a lease's row says after something became due."""
    if what is Due.LAPSE:
        return {"live": False, "open": False, "due_at": None}
    column = _KINDS[what][1]
    after = replace(
        lease,
        warned=lease.warned or what is Due.WARN,
        overdue=lease.overdue or what is Due.OVERDUE,
        ended=lease.ended or what is Due.END,
    )
    counts = what is not Due.END
    return {column: now, "live": counts, "open": counts, "due_at": next_due(after, timing)}


def _event(connection: Connection, lease: Lease, what: Due, about: About, now: int, timing: Timing) -> Event:
    if what is Due.LAPSE:
        row = connection.execute(sql.select(approvals).where(approvals.c.approval_id == lease.approval_id)).one()
        return finish(connection, row, EventKind.REJECTED, ENDED, about, now)
    kind = _KINDS[what][0]
    facts = {"approval_id": lease.approval_id, "due_at": _after(lease, what, now, timing)["due_at"]}
    return Event(name_of(kind, lease.approval_id), kind, about, request_of(lease), facts=facts)


def _unjudged(_approval_id: str, seal: str) -> Judged:
    return Judged(seal)


def let_time_pass(ledger: Ledger, now: int, judge: Callable[[str, str], Judged] = _unjudged) -> list[str]:
    """Let time pass for everything that waits for it, a transaction each. Returns the grants whose leases changed by that.

    ``judge``: asked with the id and the seal of an early approval when its time has come. Raises Unconfigured where there is
    nothing to go by, or Superseded: such an approval stays early, and is asked about again.
    """
    touched: set[str] = set()
    after: tuple[int, str] = (-1, "")
    while page := ledger.read(due_leases, now, after):
        for approval_id, grant_id, seal, _ in page:
            if seal is None:
                if ledger.write(pass_time_of, grant_id, now, ledger.timing):
                    touched.add(grant_id)
                continue
            with suppress(TemporaryError):
                judged = judge(approval_id, seal)
                touched.update(ledger.write(take_effect, approval_id, judged, now, ledger.timing))
        after = page[-1][3], page[-1][0]
    return sorted(touched)


def take_effect(connection: Connection, approval_id: str, judged: Judged, now: int, timing: Timing) -> tuple[str, ...]:
    """An early lease is early no more: it counts from now on, unless it is refused now or was closed, and closes what it
    replaces. Returns the grants to look at.

    Raises Superseded where it was judged under another version of the configuration than the newest.
    """
    named = approvals.c.approval_id == approval_id
    grant_id = connection.execute(sql.select(approvals.c.grant_id).where(named)).scalar_one()
    locked(connection, grant_id)
    row = connection.execute(sql.select(approvals).where(named)).one()  # only now: it may have been closed meanwhile
    if row.early_until is None or row.early_until > now:
        return ()
    if judged.configuration != newest_number(connection):
        raise Superseded("another configuration is the newest now")
    refused = None if judged.refused is None else Reason.of(judged.refused)
    if refused is None and row.ends_at is not None and row.ends_at <= now:
        refused = ENDED
    was_open, counts = row.open, row.open and refused is None
    row = connection.execute(
        approvals.update()
        .where(approvals.c.approval_id == approval_id)
        .values(early_until=None, live=counts, open=counts, due_at=None)
        .returning(approvals)
    ).one()
    about = about_grant(connection, row.grant_id)
    facts: dict[str, Any] = {"approval_id": approval_id, "due_at": None, "configuration": judged.configuration}
    facts |= {**judged.facts, **({} if judged.refused is None else {"refused": True})}
    replaces = [] if judged.refused is not None else json.loads(row.content).get("replaces", [])
    if counts:
        facts["due_at"] = _set_due(connection, row, None, timing)
    events = [Event(name_of(EventKind.TOOK_EFFECT, approval_id), EventKind.TOOK_EFFECT, about, facts=facts)]
    if replaces:
        events += replace_others(connection, {**row._mapping, "replaces": replaces}, about, now)  # noqa: SLF001  # SQLAlchemy's way
    if counts or replaces:
        raise_generation(connection, row.grant_id)
    if was_open and refused is not None:
        events.append(finish(connection, row, EventKind.REJECTED, refused, about, now))
        put_away(connection, row.grant_id)
    append(connection, now, *events)
    return (str(row.grant_id),) if counts or replaces else ()


def _set_due(connection: Connection, row: Row[Any], early_until: int | None, timing: Timing) -> int | None:
    due = early_until if early_until is not None else next_due(lease_of(row), timing)
    if due is not None:
        connection.execute(approvals.update().where(approvals.c.approval_id == row.approval_id).values(due_at=due))
    return due


def due_leases(connection: Connection, now: int, after: tuple[int, str]) -> list[tuple[str, str, str | None, int]]:
    """(approval, grant, seal of an early one, due at) of what time does something to, a page behind ``after``."""
    behind = sql.or_(
        approvals.c.due_at > after[0],
        sql.and_(approvals.c.due_at == after[0], approvals.c.approval_id > after[1]),
    )
    rows = connection.execute(
        sql.select(
            approvals.c.approval_id,
            approvals.c.grant_id,
            approvals.c.seal,
            approvals.c.early_until,
            approvals.c.due_at,
        )
        .where(approvals.c.due_at <= now, approvals.c.due_at.is_not(None), behind)
        .order_by(approvals.c.due_at, approvals.c.approval_id)
        .limit(_PAGE)
    )
    return [(row.approval_id, row.grant_id, None if row.early_until is None else row.seal, row.due_at) for row in rows]


def pass_time_of(connection: Connection, grant_id: str, now: int, timing: Timing) -> bool:
    """The same for one grant on its own. True when its leases changed by that."""
    before = locked(connection, grant_id)
    pass_time(connection, grant_id, now, timing)
    after = locked(connection, grant_id)
    return before is not None and after is not None and before.generation != after.generation
