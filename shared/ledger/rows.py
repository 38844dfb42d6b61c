"""A grant's rows as values: its work, its leases, and the generation that every change of them raises."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Row

from shared.ledger.record import About
from shared.ledger.tables import approvals, closes, grants, intents, sides
from shared.messages.approval import Action, OnEnd
from shared.messages.completion import EventKind, ReasonCode
from shared.messages.forms import GrantKey, InstanceType
from shared.rules.facts import Intent, IntentResult, Operation, Side, SideRecord, Work
from shared.rules.leases import Lease, Wanted, wanted

# The statements of every step, built once: building one costs more than running it.
_GRANT = sql.select(grants).where(grants.c.grant_id == sql.bindparam("of_grant"))
_SIDES = sql.select(sides).where(sides.c.grant_id == sql.bindparam("of_grant"))
_INTENTS = sql.select(intents).where(
    intents.c.grant_id == sql.bindparam("of_grant"), sql.func.coalesce(intents.c.result, "") != IntentResult.REFUSED
)
_LEASES = sql.select(
    approvals,
    sql.exists()
    .where(closes.c.issuer == approvals.c.issuer, closes.c.request_id == approvals.c.request_id)
    .label("closed"),
).where(approvals.c.grant_id == sql.bindparam("of_grant"), approvals.c.action == Action.GRANT)

# Why a side looks again, in the cases in which any hint is worth a look.
_WAITING = (ReasonCode.OTHERS_TURN, ReasonCode.PAUSED)


def work_of(
    connection: Connection, grant_id: str, side: Side = Side.GRANT, leases: Sequence[Lease] | None = None
) -> Work:
    """The work as it stands. ``leases``: where they have just been read."""
    of_grant = {"of_grant": grant_id}
    row = connection.execute(_GRANT, of_grant).one()
    rows = {one.side: side_of(one) for one in connection.execute(_SIDES, of_grant)}
    made = connection.execute(_INTENTS, of_grant).all()
    mine = [intent for intent in made if intent.side == side]
    return Work(
        grant_id=grant_id,
        key=key_of(row),
        generation=row.generation,
        wanted=wanted(leases_of(connection, grant_id) if leases is None else leases, row.watermark),
        mine=rows[side],
        other=rows[side.other],
        writes=tuple(_intent_of(intent) for intent in mine),
        my_intents=tuple(_intent_of(intent) for intent in mine if intent.result is None),
        other_pending=any(intent.side != side and intent.result is None for intent in made),
    )


def about_work(work: Work) -> About:
    """What events of this work are about."""
    return About(work.grant_id, work.key, work.generation, work.wanted.prefixes)


def about_grant(connection: Connection, grant_id: str) -> About:
    """What events of a grant are about, as it stands."""
    return about_work(work_of(connection, grant_id))


def leases_of(connection: Connection, grant_id: str) -> list[Lease]:
    """All leases that a grant ever had."""
    return [_lease_of(row) for row in connection.execute(_LEASES, {"of_grant": grant_id})]


def watermark_of(connection: Connection, grant_id: str) -> int | None:
    """Leases of the grant that were approved at or before it are closed."""
    mark: int | None = connection.execute(_GRANT, {"of_grant": grant_id}).one().watermark
    return mark


def raise_generation(connection: Connection, grant_id: str) -> None:
    """The leases changed: both sides have to look again, and earlier trouble is no reason not to."""
    connection.execute(grants.update().where(grants.c.grant_id == grant_id).values(generation=grants.c.generation + 1))
    connection.execute(
        sides.update()
        .where(sides.c.grant_id == grant_id)
        .values(attempts=0, next_at=None, waiting_since=None, dead_at=None, trouble=None)
    )


def of_side(grant_id: str, side: Side) -> tuple[sql.ColumnExpressionArgument[bool], ...]:
    """The condition that picks one side's row."""
    return sides.c.grant_id == grant_id, sides.c.side == side


def mine(work: Work) -> tuple[sql.ColumnExpressionArgument[bool], ...]:
    """The condition that picks the row of the side that the work is about."""
    return of_side(work.grant_id, work.mine.side)


def key_of(row: Row[Any]) -> GrantKey:
    """What names the grant of a row of ``grants``."""
    return GrantKey(
        ecr_id=row.ecr_id,
        ecr_owner_uid=row.ecr_owner_uid,
        instance_type=InstanceType(row.instance_type),
        instance_id=row.instance_id,
        instance_region=row.instance_region,
        instance_owner_uid=row.instance_owner_uid,
    )


def side_of(row: Row[Any]) -> SideRecord:
    """A row of ``sides``."""
    seen = None if row.observed_wanted is None else json.loads(row.observed_wanted)
    return SideRecord(
        side=Side(row.side),
        observed_generation=row.observed_generation,
        observed_wanted=None if seen is None else Wanted(up=seen["up"], prefixes=tuple(seen["prefixes"])),
        state=row.state,
        ours=row.ours,
        association_id=row.association_id,
        seen_at=row.seen_at,
        attempts=row.attempts,
        next_at=row.next_at,
        waiting_since=row.waiting_since,
        waiting=row.trouble is not None and json.loads(row.trouble)["code"] in _WAITING,
        dead=row.dead_at is not None,
        drift=row.drift,
        knocks=row.knocks,
    )


def _intent_of(row: Row[Any]) -> Intent:
    prefixes = tuple(json.loads(row.prefixes))
    return Intent(row.intent_id, Operation(row.operation), row.generation, row.made_at, prefixes)


def _lease_of(row: Row[Any]) -> Lease:
    return Lease(
        approval_id=row.approval_id,
        issuer=row.issuer,
        request_id=row.request_id,
        digest=row.digest,
        approved_at=row.approved_at,
        ends_at=row.ends_at,
        on_end=OnEnd(row.on_end),
        allowed_prefixes=tuple(json.loads(row.allowed_prefixes)),
        closed=bool(row.closed),
        rejected=row.outcome == EventKind.REJECTED,
        early=row.held_until is not None,
        warned=row.warned_at is not None,
        overdue=row.overdue_at is not None,
        ended=row.ended_at is not None,
    )
