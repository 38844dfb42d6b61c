"""A grant's rows as values: its work, its leases, and the generation that every change of them raises.

Everything here reads what is open: past leases and past writes have left the indexes that are used.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Row

from shared.ledger.record import About
from shared.ledger.tables import approvals, grants, holds, intents, settings, sides
from shared.messages.approval import OnEnd
from shared.messages.completion import EventKind, ReasonCode
from shared.messages.forms import GrantKey, InstanceType
from shared.rules.facts import (
    DriftFound,
    DriftKind,
    Hold,
    HoldKind,
    Intent,
    IntentResult,
    Mode,
    Operation,
    Side,
    SideRecord,
    Stops,
    Work,
)
from shared.rules.leases import Lease, Level, Wanted, longest_waiting, wanted
from shared.rules.steps import stops

# The statements of every step, built once: building one costs more than running it.
_GRANT = sql.select(grants).where(grants.c.grant_id == sql.bindparam("of_grant"))
_SIDES = sql.select(sides).where(sides.c.grant_id == sql.bindparam("of_grant"))
_INTENTS = sql.select(intents).where(intents.c.grant_id == sql.bindparam("of_grant"), intents.c.matters)
_LEASES = sql.select(approvals).where(
    approvals.c.grant_id == sql.bindparam("of_grant"), approvals.c.open, approvals.c.live
)
_MODE = sql.select(settings.c.value).where(settings.c.name == "mode").with_for_update(read=True)
_HOLDS = sql.select(holds).with_for_update(read=True)

# Why a side looks again, in the cases in which any hint is worth a look.
_WAITING = (ReasonCode.OTHERS_TURN, ReasonCode.HELD)


def work_of(
    connection: Connection,
    grant_id: str,
    side: Side = Side.GRANT,
    leases: Sequence[Lease] | None = None,
    *,
    mode: Mode = Mode.FULL,
) -> Work:
    """The work as it stands. ``leases``: where they have just been read. ``mode``: the deployment's, while nobody said any."""
    of_grant = {"of_grant": grant_id}
    row = connection.execute(_GRANT, of_grant).one()
    key = key_of(row)
    rows = {one.side: side_of(one) for one in connection.execute(_SIDES, of_grant)}
    made = connection.execute(_INTENTS, of_grant).all()
    mine = [intent for intent in made if intent.side == side]
    counting = leases_of(connection, grant_id) if leases is None else leases
    pending = [intent.made_at for intent in made if intent.side != side and intent.result is None]
    return Work(
        grant_id=grant_id,
        key=key,
        generation=row.generation,
        wanted=wanted(counting),
        mine=rows[side],
        other=rows[side.other],
        writes=tuple(_intent_of(intent) for intent in mine if intent.result != IntentResult.REFUSED),
        my_intents=tuple(_intent_of(intent) for intent in mine if intent.result is None),
        other_pending=max(pending, default=None),
        stops=stops_on(connection, grant_id, key, mode),
        waits=longest_waiting(counting),
    )


def stops_on(connection: Connection, grant_id: str, key: GrantKey, mode: Mode) -> Stops:
    """What people say must not be done about a grant, read so that nobody says otherwise before this transaction ends."""
    said = connection.execute(_MODE).scalar_one_or_none()
    names = {
        (HoldKind.GRANT, grant_id),
        (HoldKind.ECR, key.ecr_id),
        (HoldKind.ACCOUNT, key.ecr_owner_uid),
        (HoldKind.ACCOUNT, key.instance_owner_uid),
    }
    found = [hold for hold in map(hold_of, connection.execute(_HOLDS)) if (hold.kind, hold.name) in names]
    return stops(mode if said is None else Mode(said), found)


def about_work(work: Work) -> About:
    """What events of this work are about."""
    return About(work.grant_id, work.key, work.generation, work.wanted.beside(work.wanted.may_stay))


def about_grant(connection: Connection, grant_id: str) -> About:
    """What events of a grant are about, as it stands."""
    row = connection.execute(_GRANT, {"of_grant": grant_id}).one()
    now_wanted = wanted(leases_of(connection, grant_id))
    return About(grant_id, key_of(row), row.generation, now_wanted.beside(now_wanted.may_stay))


def leases_of(connection: Connection, grant_id: str) -> list[Lease]:
    """The leases of a grant that count."""
    return [lease_of(row) for row in connection.execute(_LEASES, {"of_grant": grant_id})]


def raise_generation(connection: Connection, grant_id: str) -> None:
    """The leases changed: both sides have to look again, and earlier trouble is no reason not to."""
    connection.execute(
        grants.update().where(grants.c.grant_id == grant_id).values(generation=grants.c.generation + 1, shown=True)
    )
    connection.execute(
        sides.update()
        .where(sides.c.grant_id == grant_id)
        .values(unsettled=True, attempts=0, next_at=None, waiting_since=None, dead_at=None, trouble=None)
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


def wanted_of(text: str | None) -> Wanted | None:
    """What ``wanted_text`` wrote."""
    if text is None:
        return None
    found = json.loads(text)
    return Wanted(Level(found["level"]), tuple(found["prefixes"]), tuple(found["may_stay"]))


def wanted_text(value: Wanted) -> str:
    """What was wanted, as a side's row keeps it."""
    return json.dumps({"level": value.level, "prefixes": value.prefixes, "may_stay": value.may_stay})


def side_of(row: Row[Any]) -> SideRecord:
    """A row of ``sides``."""
    return SideRecord(
        side=Side(row.side),
        observed_generation=row.observed_generation,
        observed_wanted=wanted_of(row.observed_wanted),
        state=row.state,
        ours=row.ours,
        association_id=row.association_id,
        prefixes=tuple(json.loads(row.prefixes)) if row.prefixes is not None else (),
        seen_at=row.seen_at,
        attempts=row.attempts,
        next_at=row.next_at,
        waiting_since=row.waiting_since,
        waiting=row.trouble is not None and json.loads(row.trouble)["code"] in _WAITING,
        dead=row.dead_at is not None,
        drift=finding_of(row.drift),
        knocks=row.knocks,
    )


def finding_of(text: str | None) -> DriftFound | None:
    """What a side's row says was found on the cloud."""
    found = None if text is None else json.loads(text)
    return None if found is None else DriftFound(DriftKind(found["class"]), found["text"], found["at"])


def finding_text(found: DriftFound) -> str:
    """A finding, as a side's row keeps it."""
    return json.dumps({"class": found.kind, "text": found.text, "at": found.at})


def hold_of(row: Row[Any]) -> Hold:
    """A row of ``holds``."""
    return Hold(HoldKind(row.kind), row.name, row.everything, row.who, row.reason, row.at)


def _intent_of(row: Row[Any]) -> Intent:
    prefixes = tuple(json.loads(row.prefixes))
    return Intent(row.intent_id, Operation(row.operation), row.generation, row.made_at, prefixes)


def lease_of(row: Row[Any]) -> Lease:
    """A row of ``approvals`` that is a lease."""
    return Lease(
        approval_id=row.approval_id,
        issuer=row.issuer,
        request_id=row.request_id,
        digest=row.digest,
        approved_at=row.approved_at,
        ends_at=row.ends_at,
        on_end=OnEnd(row.on_end),
        allowed_prefixes=tuple(json.loads(row.allowed_prefixes)),
        admitted_at=row.admitted_at,
        closed=row.closed_by is not None,
        rejected=row.outcome == EventKind.REJECTED,
        early=row.early_until is not None,
        done=row.outcome == EventKind.DONE,
        warned=row.warned_at is not None,
        overdue=row.overdue_at is not None,
        ended=row.ended_at is not None,
    )
