"""Admission: an approval becomes a row that only grows, and changes the leases of its grant."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Row

from shared.ledger.outbox import publish_again
from shared.ledger.outcomes import OVERTAKEN, finish, outcome_event
from shared.ledger.record import About, append, name_of
from shared.ledger.rows import about_grant, leases_of, raise_generation, watermark_of, work_of
from shared.ledger.tables import approvals, closes, grants, sides
from shared.ledger.transactions import insert_or_ignore, locked
from shared.messages.approval import ALL, Action, GrantApproval, OnEnd, RevokeApproval
from shared.messages.completion import EventKind, Reason, ReasonCode, Request
from shared.messages.forms import GrantKey
from shared.messages.texts import canonical
from shared.rules.facts import Side, State
from shared.rules.leases import Timing, live


@dataclass(frozen=True)
class Admission:
    """What became of an approval: the grants it touches, and whether it was news. ``early_until``: without effect until then."""

    touched: tuple[str, ...]
    new: bool
    early_until: int | None = None


def admit(
    connection: Connection, approval: GrantApproval | RevokeApproval, message_id: str, now: int, timing: Timing
) -> Admission:
    """Record an approval, once. A repeated one changes nothing; its recorded outcome is published again.

    One that is dated further ahead than clocks may differ is early: recorded, and without effect until then.
    """
    message_id = keepable(message_id)
    approval_id = name_of("approval", approval.issuer, approval.request_id, approval.digest)
    approved_at = int(approval.approved_at.timestamp() * 1000)
    early_until = approved_at - timing.skew if approved_at > now + timing.skew else None
    row = grant_row(connection, approval.grant, now)
    known = connection.execute(
        sql.select(approvals.c.approval_id, approvals.c.outcome, approvals.c.message_id).where(
            approvals.c.issuer == approval.issuer, approvals.c.request_id == approval.request_id
        )
    ).all()
    for other in known:
        if other.approval_id == approval_id:
            # The platform delivers at least once; only a message of its own is somebody asking again.
            if other.outcome is not None and other.message_id != message_id:
                publish_again(connection, outcome_event(approval_id, EventKind(other.outcome)))
            return Admission((row.grant_id,), new=False)
    about = about_grant(connection, row.grant_id)
    connection.execute(
        approvals.insert().values(
            approval_id=approval_id,
            issuer=approval.issuer,
            request_id=approval.request_id,
            digest=approval.digest,
            action=approval.action,
            grant_id=row.grant_id,
            approved_at=approved_at,
            content=canonical(approval.model_dump(mode="json", by_alias=True)).decode(),
            message_id=message_id,
            admitted_at=now,
            held_until=early_until,
            **_lease_columns(approval),
        )
    )
    _tell_admitted(
        connection, approval, approval_id, message_id, about, now, early=early_until is not None, others=len(known)
    )
    if early_until is not None:
        return Admission((), new=True, early_until=early_until)
    return Admission(take_effect(connection, approval_id, now, timing), new=True)


def _tell_admitted(
    connection: Connection,
    approval: GrantApproval | RevokeApproval,
    approval_id: str,
    message_id: str,
    about: About,
    now: int,
    *,
    early: bool,
    others: int,
) -> None:
    """The events of an admission. ``others``: other contents under the same issuer and request id."""
    request = Request(issuer=approval.issuer, request_id=approval.request_id, digest=approval.digest)
    kind = EventKind.HELD if early else EventKind.ADMITTED
    append(connection, name_of(kind, approval_id), kind, now, about=about, request=request, message_id=message_id)
    if others:
        text = f"{others} other content(s) were approved under the same issuer and request id"
        append(
            connection,
            name_of(EventKind.SECOND_DIGEST, approval_id),
            EventKind.SECOND_DIGEST,
            now,
            about=about,
            request=request,
            reason=Reason(code=ReasonCode.SECOND_DIGEST, text=text),
        )


def take_effect(connection: Connection, approval_id: str, now: int, timing: Timing) -> tuple[str, ...]:
    """Let an admitted approval change the leases. Returns the grants that somebody has to look at."""
    approval = connection.execute(sql.select(approvals).where(approvals.c.approval_id == approval_id)).one()
    if approval.action == Action.GRANT:
        leases = {lease.approval_id: lease for lease in leases_of(connection, approval.grant_id)}
        if not live(leases[approval_id], watermark_of(connection, approval.grant_id)):
            work = work_of(connection, approval.grant_id)
            finish(connection, approval, EventKind.REJECTED, OVERTAKEN, work, now)
            return ()
        touched = {approval.grant_id}
    else:
        touched = {approval.grant_id} | _close(connection, approval, now, timing)
    for grant_id in sorted(touched):
        raise_generation(connection, grant_id)
    return tuple(sorted(touched))


def _close(connection: Connection, approval: Row[Any], now: int, timing: Timing) -> set[str]:
    """Close what a revoke names. A close that comes before its open stands and waits for it."""
    named = json.loads(approval.content)["closes"]
    if named == ALL:
        mark = approval.approved_at + timing.skew
        connection.execute(
            grants.update()
            .where(grants.c.grant_id == approval.grant_id)
            .where(sql.func.coalesce(grants.c.watermark, 0) < mark)
            .values(watermark=mark)
        )
        return set()
    for request_id in named:
        close = {"issuer": approval.issuer, "request_id": request_id}
        insert_or_ignore(connection, closes, close | {"closed_by": approval.approval_id, "closed_at": now})
    rows = connection.execute(
        sql.select(approvals.c.grant_id).where(
            approvals.c.issuer == approval.issuer,
            approvals.c.request_id.in_(named),
            approvals.c.action == Action.GRANT,
        )
    )
    return {row.grant_id for row in rows}


def reject_message(
    connection: Connection, message_id: str, body: object, reason: Reason, now: int, *, request: Request | None = None
) -> None:
    """Record that a message was refused, once per message, with its completion."""
    text = body if isinstance(body, str) else canonical(body).decode()
    message_id = keepable(message_id)
    event_id = name_of("message", message_id, text)
    append(connection, event_id, EventKind.REJECTED, now, request=request, message_id=message_id, reason=reason)


def grant_row(connection: Connection, grant: GrantKey, now: int) -> Row[Any]:
    """The grant's row, locked; made when it is the first time."""
    found = locked(connection, grant.grant_id)
    if found is not None:
        return found
    values = {"grant_id": grant.grant_id, **asdict(grant), "generation": 0, "last_number": 0, "created_at": now}
    if insert_or_ignore(connection, grants, values):
        fresh = {
            "grant_id": grant.grant_id,
            "observed_generation": 0,
            "state": State.UNKNOWN,
            "attempts": 0,
            "knocks": 0,
        }
        connection.execute(sides.insert(), [fresh | {"side": side} for side in Side])
    row = locked(connection, grant.grant_id)
    assert row is not None  # noqa: S101  # it was just inserted, here or by another worker
    return row


def keepable(message_id: str) -> str:
    """A message id that every database can keep: its form is the platform's business, so it is taken as it comes."""
    return "".join(character if character.isprintable() else "?" for character in message_id)[:200]


def _lease_columns(approval: GrantApproval | RevokeApproval) -> dict[str, Any]:
    if isinstance(approval, RevokeApproval):
        return {"on_end": OnEnd.REPORT, "allowed_prefixes": "[]"}
    return {
        "ends_at": None if approval.ends_at is None else int(approval.ends_at.timestamp() * 1000),
        "on_end": approval.on_end,
        "allowed_prefixes": json.dumps(approval.allowed_prefixes),
    }
