"""What the passing of time does to leases, recorded when somebody looks or the timer ticks."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from shared.ledger.admission import take_effect
from shared.ledger.record import append, name_of
from shared.ledger.rows import about_grant, leases_of, raise_generation, watermark_of
from shared.ledger.tables import approvals
from shared.ledger.transactions import Ledger, locked
from shared.messages.completion import EventKind, Request
from shared.rules.leases import Lease, Timing, passing


def pass_time(connection: Connection, grant_id: str, now: int, timing: Timing) -> Sequence[Lease]:
    """Record what became due by itself: warnings, overdue leases, ended leases. Returns the leases after that.

    The caller has locked the grant.
    """
    leases = leases_of(connection, grant_id)
    dated = [lease for lease in leases if lease.ends_at is not None]
    if not dated:
        return leases
    passed, watermark = False, watermark_of(connection, grant_id)
    for lease in dated:
        due = passing(lease, watermark, now, timing)
        for kind, column, happens in (
            (EventKind.ENDING, "warned_at", due.warn),
            (EventKind.OVERDUE, "overdue_at", due.overdue),
            (EventKind.ENDED, "ended_at", due.end),
        ):
            if not happens:
                continue
            passed = True
            connection.execute(
                approvals.update().where(approvals.c.approval_id == lease.approval_id).values({column: now})
            )
            if due.end:
                raise_generation(connection, grant_id)
            append(
                connection,
                name_of(kind, lease.approval_id),
                kind,
                now,
                about=about_grant(connection, grant_id),
                request=Request(issuer=lease.issuer, request_id=lease.request_id, digest=lease.digest),
            )
    return leases_of(connection, grant_id) if passed else leases


def let_time_pass(ledger: Ledger, now: int) -> list[str]:
    """Let time pass for everything that waits for it, a transaction each. Returns the grants whose leases changed by that."""
    touched: set[str] = set()
    for approval_id, grant_id in ledger.read(_early, now):
        touched.update(ledger.write(_no_longer_early, approval_id, grant_id, now, ledger.timing))
    for grant_id in ledger.read(_dated, now, ledger.timing):
        if ledger.write(pass_time_of, grant_id, now, ledger.timing):
            touched.add(grant_id)
    return sorted(touched)


def _early(connection: Connection, now: int) -> list[tuple[str, str]]:
    """(approval, grant) of what was early and is not any more."""
    rows = connection.execute(
        sql.select(approvals.c.approval_id, approvals.c.grant_id)
        .where(approvals.c.held_until <= now)
        .order_by(approvals.c.held_until, approvals.c.approval_id)
    )
    return [(row.approval_id, row.grant_id) for row in rows]


def _no_longer_early(
    connection: Connection, approval_id: str, grant_id: str, now: int, timing: Timing
) -> tuple[str, ...]:
    locked(connection, grant_id)
    released = connection.execute(
        approvals.update()
        .where(approvals.c.approval_id == approval_id, approvals.c.held_until.is_not(None))
        .values(held_until=None)
    ).rowcount
    return take_effect(connection, approval_id, now, timing) if released else ()


def _dated(connection: Connection, now: int, timing: Timing) -> list[str]:
    """The grants of leases that have something ahead of them which has come."""
    ahead = sql.or_(approvals.c.warned_at.is_(None), approvals.c.overdue_at.is_(None))
    rows = connection.execute(
        sql.select(approvals.c.grant_id)
        .distinct()
        .where(approvals.c.ends_at <= now + timing.warn, approvals.c.ended_at.is_(None), ahead)
    )
    return sorted(row.grant_id for row in rows)


def pass_time_of(connection: Connection, grant_id: str, now: int, timing: Timing) -> bool:
    """The same for one grant on its own. True when its leases changed by that."""
    before = locked(connection, grant_id)
    pass_time(connection, grant_id, now, timing)
    after = locked(connection, grant_id)
    return before is not None and after is not None and before.generation != after.generation
