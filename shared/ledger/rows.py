"""A grant's rows as values: its work, its leases, and the generation that every change of them raises.

Everything here reads what is open: past leases and past writes have left the indexes that are used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Row

from shared.ledger.record import About, Event, append
from shared.ledger.snapshot import Rows, rows_of
from shared.ledger.tables import approvals, grants, sides
from shared.ledger.transactions import locked
from shared.messages.approval import OnEnd
from shared.messages.completion import EventKind, ReasonCode
from shared.messages.forms import GrantKey, InstanceType
from shared.rules.facts import (
    NOTHING_UP,
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
_LEASES = sql.select(approvals).where(
    approvals.c.grant_id == sql.bindparam("of_grant"), approvals.c.open, approvals.c.live
)

_THESE: sql.BindParameter[Any] = sql.bindparam("of_grants", expanding=True)
_RAISE_GRANTS = (
    grants.update().where(grants.c.grant_id.in_(_THESE)).values(generation=grants.c.generation + 1, shown=True)
)
_RAISE_SIDES = (
    sides.update()
    .where(sides.c.grant_id.in_(_THESE))
    .values(unsettled=True, attempts=0, next_at=None, waiting_since=None, dead_at=None, trouble=None)
)

# Why a side looks again, in the cases in which any hint is worth a look.
_WAITING = (ReasonCode.OTHERS_TURN, ReasonCode.HELD)


@dataclass(frozen=True)
class Held(Work):
    """Work with the rows that it was read from: true until the end of that transaction, where it was read behind the lock.

    ``staged``: values of this side's row that are decided and not written yet. ``news``: events that are not recorded yet.
    Whoever writes next in the same transaction writes them, too, at once.
    """

    rows: Rows | None = field(default=None, compare=False, repr=False)
    staged: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    news: tuple[Event, ...] = field(default=(), compare=False, repr=False)


def work_of(
    connection: Connection,
    grant_id: str,
    side: Side = Side.GRANT,
    *,
    mode: Mode = Mode.FULL,
) -> Held:
    """The work as it stands, for a grant that is known. ``mode``: the deployment's, while nobody said any."""
    rows = rows_of(connection, grant_id)
    assert rows is not None  # noqa: S101  # grants are never deleted
    return work_from(rows, side, mode)


def work_from(rows: Rows, side: Side, mode: Mode = Mode.FULL) -> Held:
    """The work that a grant's rows come to, for one side."""
    key = key_of(rows.grant)
    both = {one.side: side_of(one) for one in rows.sides.values()}
    made = [intent for intent in rows.intents if intent.matters]
    mine = [intent for intent in made if intent.side == side]
    counting = [lease_of(row) for row in rows.leases]
    pending = [intent.made_at for intent in made if intent.side != side and intent.result is None]
    return Held(
        grant_id=rows.grant.grant_id,
        key=key,
        generation=rows.grant.generation,
        wanted=wanted(counting),
        mine=both[side],
        other=both[side.other],
        writes=tuple(intent_of(intent) for intent in mine if intent.result != IntentResult.REFUSED),
        my_intents=tuple(intent_of(intent) for intent in mine if intent.result is None),
        other_pending=max(pending, default=None),
        stops=_stops_on(key, rows, mode),
        waits=longest_waiting(counting),
        rows=rows,
    )


def held_rows(connection: Connection, work: Work) -> Rows:
    """The rows of a grant behind its lock: those that the work was made of, where this very transaction has read them."""
    if isinstance(work, Held) and work.rows is not None and work.rows.transaction is connection.get_transaction():
        return work.rows
    locked(connection, work.grant_id)
    rows = rows_of(connection, work.grant_id)
    assert rows is not None  # noqa: S101  # grants are never deleted
    return rows


def staged_in(connection: Connection, work: Work) -> Mapping[str, Any]:
    """What is decided about this side's row in this transaction and still to be written."""
    if isinstance(work, Held) and work.rows is not None and work.rows.transaction is connection.get_transaction():
        return work.staged
    return {}


def news_in(connection: Connection, work: Work) -> tuple[Event, ...]:
    """The events of this transaction that are still to be recorded."""
    if isinstance(work, Held) and work.rows is not None and work.rows.transaction is connection.get_transaction():
        return work.news
    return ()


def staged(work: Held, values: Mapping[str, Any]) -> Held:
    """The same work with other values in its side's row, still to be written."""
    assert work.rows is not None  # noqa: S101  # that is what makes it held
    side = work.mine.side
    rows = work.rows.with_side(side, values)
    return replace(work, rows=rows, mine=side_of(rows.sides[side]), staged={**work.staged, **values})


def keep(connection: Connection, work: Work, now: int) -> None:
    """Write and record what this transaction has decided until now."""
    values = staged_in(connection, work)
    if values:
        write_mine(connection, work, values)
    append(connection, now, *news_in(connection, work))


def _stops_on(key: GrantKey, rows: Rows, mode: Mode) -> Stops:
    """What people say must not be done about a grant. Behind the grant's lock nobody says otherwise before it is let go."""
    names = {
        (HoldKind.GRANT, rows.grant.grant_id),
        (HoldKind.ECR, key.ecr_id),
        (HoldKind.ACCOUNT, key.ecr_owner_uid),
        (HoldKind.ACCOUNT, key.instance_owner_uid),
    }
    found = [hold for hold in map(hold_of, rows.holds) if (hold.kind, hold.name) in names]
    return stops(mode if rows.mode is None else Mode(rows.mode), found)


@cache
def _write_side(names: tuple[str, ...]) -> sql.Update:
    """The statement that writes these columns of a side's row, built once for each set of them."""
    named = sides.c.grant_id == sql.bindparam("of_grant"), sides.c.side == sql.bindparam("of_side")
    return sides.update().where(*named).values({name: sql.bindparam(f"new_{name}") for name in names})


def write_mine(connection: Connection, work: Work, values: Mapping[str, Any]) -> None:
    """Write values into the row of the side that the work is about."""
    new = {f"new_{name}": value for name, value in values.items()}
    named = {"of_grant": work.grant_id, "of_side": work.mine.side}
    connection.execute(_write_side(tuple(sorted(values))), {**named, **new})


def about_work(work: Work) -> About:
    """What events of this work are about."""
    return About(work.grant_id, work.key, work.generation, work.wanted.beside(work.wanted.may_stay))


def about_grant(connection: Connection, grant_id: str) -> About:
    """What events of a grant are about, as it stands."""
    return about_work(work_of(connection, grant_id))


def leases_of(connection: Connection, grant_id: str) -> list[Lease]:
    """The leases of a grant that count."""
    return [lease_of(row) for row in connection.execute(_LEASES, {"of_grant": grant_id})]


def raise_generation(connection: Connection, grant_id: str) -> None:
    """The leases changed: both sides have to look again, and earlier trouble is no reason not to."""
    raise_generations(connection, [grant_id])


def raise_generations(connection: Connection, ids: Sequence[str]) -> None:
    """The same for several grants."""
    connection.execute(_RAISE_GRANTS, {"of_grants": ids})
    connection.execute(_RAISE_SIDES, {"of_grants": ids})


def put_away(connection: Connection, grant_id: str) -> None:
    """A grant of which nothing is wanted, up, under way or found any more is history: it leaves the lists."""
    rows = rows_of(connection, grant_id)
    assert rows is not None  # noqa: S101  # grants are never deleted
    put_away_rows(connection, rows)


def put_away_rows(connection: Connection, rows: Rows) -> None:
    """The same for a grant whose rows are these."""
    rest = any(row.state not in NOTHING_UP or row.drift is not None or row.unsettled for row in rows.sides.values())
    shown = rest or any(row.open for row in rows.approvals)
    if shown != rows.grant.shown:
        connection.execute(grants.update().where(grants.c.grant_id == rows.grant.grant_id).values(shown=shown))


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
        claimed_until=row.claimed_until,
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


def intent_of(row: Row[Any]) -> Intent:
    """A row of ``intents``."""
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
