"""Outcomes: how work on a side ends, for now or for good, and what the requests that waited for it are told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Row

from shared.ledger.intents import anything_landed, served_by
from shared.ledger.record import append, name_of
from shared.ledger.rows import about_work, leases_of, mine, of_side, raise_generation, watermark_of, work_of
from shared.ledger.tables import approvals, sides
from shared.ledger.transactions import locked
from shared.messages.approval import Action
from shared.messages.completion import EventKind, Reason, ReasonCode, Request, Served
from shared.rules.facts import DriftKind, Side, Work
from shared.rules.leases import Timing, Wanted, live

OVERTAKEN = Reason(code=ReasonCode.CLOSED, text="closed, ended or superseded by a revoke before it took effect")


def settle(
    connection: Connection,
    work: Work,
    kind: EventKind | None,
    now: int,
    *,
    association_id: str | None,
    served: Sequence[Served],
    both_sides: bool,
    prefixes_differ: bool = False,
) -> bool:
    """Record that this side is as wanted, publish it as ``kind``, and answer the requests that waited for it.

    False when the leases changed meanwhile. ``both_sides``: whether account A's side is ours to wait for.
    ``prefixes_differ``: what the leases rest on is not ours to change, and allows other prefixes than they do.
    """
    locked(connection, work.grant_id)
    fresh = work_of(connection, work.grant_id, work.mine.side)
    if (fresh.generation, fresh.wanted) != (work.generation, work.wanted):
        return False
    found = None if fresh.mine.drift is None else json.loads(fresh.mine.drift)
    if found is not None and prefixes_differ and found["class"] == DriftKind.PREFIXES_DIFFER:
        found = None  # it stays
    drift = {} if found is None else {"drift": None}
    connection.execute(sides.update().where(*mine(work)).values(**_at_rest(work), **drift))
    if kind is not None:
        append(
            connection,
            name_of("grant", work.grant_id, str(work.generation), kind),
            kind,
            now,
            about=about_work(fresh),
            association_id=association_id,
            served=[*served_by(connection, work), *served],
        )
    if found is not None:
        append(
            connection,
            name_of(EventKind.DRIFT_REPAIRED, work.grant_id, work.mine.side, str(found["at"])),
            EventKind.DRIFT_REPAIRED,
            now,
            about=about_work(fresh),
            reason=Reason(code=found["class"], text=f"repaired: {found['text']}"),
        )
    other_has_nothing_to_do = not work.wanted.up and not fresh.other_settled and fresh.other_gone
    if other_has_nothing_to_do:
        _settle_other(connection, fresh, now)
    if other_has_nothing_to_do or fresh.other_settled or not both_sides:
        _answer(connection, fresh, now, both_sides=both_sides)
    return True


def _at_rest(work: Work) -> dict[str, Any]:
    """What a side's row says when it has settled."""
    return {
        "observed_generation": work.generation,
        "observed_wanted": json.dumps(asdict(work.wanted)),
        "attempts": 0,
        "next_at": None,
        "waiting_since": None,
        "trouble": None,
        "dead_at": None,
    }


def _settle_other(connection: Connection, work: Work, now: int) -> None:
    """Nothing is up on the other side and nothing may land there: it has nothing to do, and need not be asked."""
    connection.execute(sides.update().where(*of_side(work.grant_id, work.other.side)).values(**_at_rest(work)))
    was = work.other.observed_wanted
    if was is not None and was.up:  # it has come down, and nobody has told that yet
        gone = gone_event(work.other.side)
        name = name_of("grant", work.grant_id, str(work.generation), gone)
        append(connection, name, gone, now, about=about_work(work))


def up_event(side: Side) -> EventKind:
    """What is told when a side has come up."""
    return EventKind.GRANTED if side is Side.GRANT else EventKind.ASSOCIATED


def gone_event(side: Side) -> EventKind:
    """What is told when a side has come down."""
    return EventKind.REVOKED if side is Side.GRANT else EventKind.DISSOCIATED


def put_off(
    connection: Connection, work: Work, next_at: int, reason: Reason, now: int, timing: Timing, *, attempt: bool
) -> None:
    """Look again at ``next_at``. ``attempt``: this was a try that failed, not a wait for something under way.

    What has been waiting for longer than the limit is reported as stuck, once, with what was last seen.
    """
    since = connection.execute(
        sides.update()
        .where(*mine(work))
        .values(
            next_at=next_at,
            attempts=sides.c.attempts + (1 if attempt else 0),
            trouble=reason.model_dump_json(),
            waiting_since=sql.func.coalesce(sides.c.waiting_since, now),
        )
        .returning(sides.c.waiting_since)
    ).scalar_one()
    if now - since >= timing.stuck and reason.code != ReasonCode.PAUSED:
        append(
            connection,
            name_of(EventKind.STUCK, work.grant_id, work.mine.side, str(work.generation)),
            EventKind.STUCK,
            now,
            about=about_work(work),
            reason=reason,
        )


def tell_unwanted(connection: Connection, work: Work, now: int, *, let_go: bool) -> None:
    """Tell account A's side that nobody wants the grant any more: it has to let go first.

    ``let_go``: the instance no longer hangs on the ECR. Where account A's side had settled with what was not ours, it
    looks again: it was taken down by somebody else, and the grant waits for nothing else.
    """
    if let_go and work.other_settled:
        as_seen = sides.c.observed_generation == work.generation, sides.c.ours.is_(False)
        connection.execute(
            sides.update().where(*of_side(work.grant_id, work.other.side), *as_seen).values(observed_wanted=None)
        )
    name = name_of("grant", work.grant_id, str(work.generation), EventKind.UNWANTED)
    append(connection, name, EventKind.UNWANTED, now, about=about_work(work))


def refuse(connection: Connection, work: Work, reason: Reason, now: int) -> bool:
    """Reject every grant request that still waits on this grant. False when none did."""
    locked(connection, work.grant_id)
    waiting = [row for row in _waiting(connection, work.grant_id) if row.action == Action.GRANT]
    for approval in waiting:
        finish(connection, approval, EventKind.REJECTED, reason, work, now)
    if waiting:
        raise_generation(connection, work.grant_id)
    return bool(waiting)


def mark_dead(connection: Connection, work: Work, reason: Reason, now: int) -> None:
    """Stop trying until somebody redrives, and tell everybody who waits."""
    locked(connection, work.grant_id)
    connection.execute(
        sides.update().where(*mine(work)).values(dead_at=now, next_at=None, trouble=reason.model_dump_json())
    )
    for approval in _waiting(connection, work.grant_id):
        finish(connection, approval, EventKind.DEAD, reason, work, now)


def finish(
    connection: Connection, approval: Row[Any], outcome: EventKind, reason: Reason, work: Work, now: int
) -> None:
    """Give a request its outcome: done, rejected or dead."""
    connection.execute(
        approvals.update().where(approvals.c.approval_id == approval.approval_id).values(outcome=outcome)
    )
    append(
        connection,
        outcome_event(approval.approval_id, outcome),
        outcome,
        now,
        about=about_work(work),
        request=Request(issuer=approval.issuer, request_id=approval.request_id, digest=approval.digest),
        reason=reason,
        message_id=approval.message_id,
    )


def outcome_event(approval_id: str, outcome: EventKind) -> str:
    """The name of the event that tells a request's outcome."""
    return name_of("outcome", approval_id, outcome)


def _answer(connection: Connection, work: Work, now: int, *, both_sides: bool) -> None:
    """Both sides are as wanted: every request that waited is done, or was overtaken."""
    watermark = watermark_of(connection, work.grant_id)
    leases = {lease.approval_id: lease for lease in leases_of(connection, work.grant_id)}
    wrote = anything_landed(connection, work)
    for approval in _waiting(connection, work.grant_id, dead_too=True):
        lease = leases.get(approval.approval_id)
        if lease is not None and not live(lease, watermark):
            finish(connection, approval, EventKind.REJECTED, OVERTAKEN, work, now)
            continue
        text = _done_text(Action(approval.action), work.wanted, wrote=wrote, both_sides=both_sides)
        finish(connection, approval, EventKind.DONE, Reason(code=ReasonCode.DONE, text=text), work, now)


def _waiting(connection: Connection, grant_id: str, *, dead_too: bool = False) -> Sequence[Row[Any]]:
    """The requests on a grant that have no final outcome yet."""
    query = sql.select(approvals).where(
        approvals.c.grant_id == grant_id,
        approvals.c.held_until.is_(None),
        sql.func.coalesce(approvals.c.outcome, "").in_(["", EventKind.DEAD] if dead_too else [""]),
    )
    return connection.execute(query.order_by(approvals.c.admitted_at, approvals.c.approval_id)).all()


def _done_text(action: Action, wanted_now: Wanted, *, wrote: bool, both_sides: bool) -> str:
    if action is Action.REVOKE:
        if wanted_now.up:
            return "closed; other leases keep the grant up"
        return "dissociated and revoked" if wrote else "closed; nothing of ours was up any more"
    up = "granted and associated" if both_sides else "granted; the association is account A's to make"
    return up if wrote else f"already {up}"
