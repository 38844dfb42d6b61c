"""Admission: an approval becomes a row that only grows, and changes the leases of its grant."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Row

from shared.ledger.outcomes import ENDED, answer_again, closed_reason, finish, put_away, request_of
from shared.ledger.record import About, Event, append, name_of
from shared.ledger.rows import about_grant, lease_of, raise_generation
from shared.ledger.tables import EVERYONE, approvals, closes, grants, marks, sides
from shared.ledger.transactions import insert_or_ignore, locked
from shared.messages.approval import Action, Every, GrantApproval, OnEnd, RevokeApproval
from shared.messages.completion import EventKind, Reason, ReasonCode, Request
from shared.messages.forms import GrantKey
from shared.messages.texts import canonical
from shared.rules.facts import Side, State
from shared.rules.leases import Timing, next_due


@dataclass(frozen=True)
class Admission:
    """What became of an approval: the grants it touches, and whether it was news. ``early_until``: without effect until then."""

    touched: tuple[str, ...]
    new: bool
    early_until: int | None = None


def admit(
    connection: Connection,
    approval: GrantApproval | RevokeApproval,
    message_id: str,
    now: int,
    timing: Timing,
    allowed: Callable[[GrantApproval | RevokeApproval], None] = lambda _: None,
) -> Admission:
    """Record an approval, once. A repeated one changes nothing, and is answered again from what holds then.

    A grant that is dated further ahead than clocks may differ is early: recorded, and without effect until then. A revoke is
    believed at once, however it is dated, and recorded whatever is listed: closing is the safe direction. ``allowed`` is asked
    about what is news, and raises PermanentError where it is not.
    """
    message_id = keepable(message_id)
    approval_id = name_of("approval", approval.issuer, approval.request_id, approval.digest)
    row = grant_row(connection, approval.grant, now)
    known = connection.execute(
        sql.select(approvals).where(
            approvals.c.issuer == approval.issuer, approvals.c.request_id == approval.request_id
        )
    ).all()
    for other in known:
        if other.approval_id == approval_id:
            # The platform delivers at least once; only a message of its own is somebody asking again.
            if other.outcome is not None and other.message_id != message_id:
                answer_again(connection, other, message_id, now)
            return Admission((row.grant_id,), new=False)
    allowed(approval)
    about = about_grant(connection, row.grant_id)
    if isinstance(approval, RevokeApproval):
        events = _revoke(connection, approval, approval_id, message_id, about, now, timing)
        early_until, counts = None, True
    else:
        events, early_until, counts = _open(connection, approval, approval_id, message_id, about, now, timing)
    if known:
        text = f"{len(known)} other content(s) were approved under the same issuer and request id"
        reason = Reason(code=ReasonCode.SECOND_DIGEST, text=text)
        name = name_of(EventKind.SECOND_DIGEST, approval_id)
        events.append(Event(name, EventKind.SECOND_DIGEST, about, request_of(approval), reason=reason))
    append(connection, now, *events)
    return Admission((row.grant_id,) if counts else (), new=True, early_until=early_until)


def _open(
    connection: Connection,
    approval: GrantApproval,
    approval_id: str,
    message_id: str,
    about: About,
    now: int,
    timing: Timing,
) -> tuple[list[Event], int | None, bool]:
    """Open a lease, unless it was closed before it came or comes after its own end. Returns events, until when it is early,
    and whether it counts."""
    approved_at = _millis(approval.approved_at)
    early_until = approved_at - timing.skew if approved_at > now + timing.skew else None
    closer = closed_by(connection, about.grant_id, approval.issuer, approval.request_id, approved_at)
    ends_at = None if approval.ends_at is None else _millis(approval.ends_at)
    refused = closed_reason(connection, closer) if closer is not None else None
    if refused is None and ends_at is not None and ends_at <= now:
        refused = ENDED
    counts = refused is None and early_until is None
    early = early_until if refused is None else None
    row = _insert(
        connection,
        approval,
        approval_id,
        message_id,
        about.grant_id,
        now,
        ends_at=ends_at,
        on_end=approval.on_end,
        allowed_prefixes=json.dumps(approval.allowed_prefixes),
        early_until=early,
        closed_by=closer,
        live=counts,
        open=refused is None,
    )
    due = _set_due(connection, row, early, timing) if refused is None else None
    kind = EventKind.EARLY if early is not None else EventKind.ADMITTED
    reason = None
    if early is not None:
        text = (
            f"dated {approval.approved_at.isoformat()}, further ahead than clocks may differ: without effect until then"
        )
        reason = Reason(code=ReasonCode.EARLY, text=text)
    events = [_admitted(approval, approval_id, message_id, about, kind, {"early_until": early, "due_at": due}, reason)]
    if refused is not None:
        events.append(finish(connection, row, EventKind.REJECTED, refused, about, now))
    elif counts:
        raise_generation(connection, about.grant_id)
    else:  # early: somebody waits for it
        connection.execute(grants.update().where(grants.c.grant_id == about.grant_id).values(shown=True))
    return events, early, counts


def _revoke(
    connection: Connection,
    approval: RevokeApproval,
    approval_id: str,
    message_id: str,
    about: About,
    now: int,
    timing: Timing,
) -> list[Event]:
    """Close what a revoke names, on its own grant and of its own issuer. What comes later under that name is closed too."""
    mark = min(_millis(approval.approved_at), now + timing.skew)
    named, facts = approval.closes, {"mark": mark}
    until = mark + timing.skew if named == Every.EVERYONE else mark
    _insert(connection, approval, approval_id, message_id, about.grant_id, now, on_end=OnEnd.REPORT, mark=until)
    of_grant = approvals.c.grant_id == about.grant_id, approvals.c.action == Action.GRANT
    if isinstance(named, str):
        everyone = named == Every.EVERYONE
        facts["until"] = until
        _raise_mark(connection, about.grant_id, EVERYONE if everyone else approval.issuer, until, approval_id)
        whose = sql.true() if everyone else approvals.c.issuer == approval.issuer
        # Whoever says all means those, too, that are known and wait for their date.
        which = whose, sql.or_(approvals.c.approved_at <= until, approvals.c.early_until > now)
    else:
        for request_id in named:
            close = {"grant_id": about.grant_id, "issuer": approval.issuer, "request_id": request_id}
            insert_or_ignore(connection, closes, close | {"closed_by": approval_id, "closed_at": now})
        which = approvals.c.issuer == approval.issuer, approvals.c.request_id.in_(named)
    closed = connection.execute(
        approvals.update()
        .where(*of_grant, approvals.c.open, *which)
        .values(closed_by=approval_id, live=False, open=False, early_until=None, due_at=None)
        .returning(approvals)
    ).all()
    events = [_admitted(approval, approval_id, message_id, about, EventKind.ADMITTED, facts, None)]
    unanswered = [row for row in closed if row.outcome in (None, EventKind.DEAD)]
    overtaken = closed_reason(connection, approval_id)
    events += [finish(connection, row, EventKind.REJECTED, overtaken, about, now) for row in unanswered]
    raise_generation(connection, about.grant_id)
    return events


def _insert(
    connection: Connection,
    approval: GrantApproval | RevokeApproval,
    approval_id: str,
    message_id: str,
    grant_id: str,
    now: int,
    **more: Any,
) -> Row[Any]:
    values = {
        "approval_id": approval_id,
        "issuer": approval.issuer,
        "request_id": approval.request_id,
        "digest": approval.digest,
        "action": approval.action,
        "grant_id": grant_id,
        "approved_at": _millis(approval.approved_at),
        "content": canonical(approval.model_dump(mode="json", by_alias=True)).decode(),
        "message_id": message_id,
        "admitted_at": now,
        "allowed_prefixes": "[]",
        "live": False,
        "open": False,
        "waits": True,
        **more,
    }
    return connection.execute(approvals.insert().values(values).returning(approvals)).one()


def _set_due(connection: Connection, row: Row[Any], early_until: int | None, timing: Timing) -> int | None:
    due = early_until if early_until is not None else next_due(lease_of(row), timing)
    if due is not None:
        connection.execute(approvals.update().where(approvals.c.approval_id == row.approval_id).values(due_at=due))
    return due


def _admitted(
    approval: GrantApproval | RevokeApproval,
    approval_id: str,
    message_id: str,
    about: About,
    kind: EventKind,
    facts: dict[str, Any],
    reason: Reason | None,
) -> Event:
    return Event(
        name_of(EventKind.ADMITTED, approval_id),
        kind,
        about,
        request_of(approval),
        message_id=message_id,
        reason=reason,
        facts={"approval_id": approval_id, **facts},
    )


def _raise_mark(connection: Connection, grant_id: str, issuer: str, mark: int, approval_id: str) -> None:
    """Marks only grow."""
    named = {"grant_id": grant_id, "issuer": issuer}
    if not insert_or_ignore(connection, marks, named | {"mark": mark, "set_by": approval_id}):
        connection.execute(
            marks.update()
            .where(marks.c.grant_id == grant_id, marks.c.issuer == issuer, marks.c.mark < mark)
            .values(mark=mark, set_by=approval_id)
        )


def closed_by(connection: Connection, grant_id: str, issuer: str, request_id: str, approved_at: int) -> str | None:
    """The revoke that closed such a lease before it came, if any did."""
    close = connection.execute(
        sql.select(closes.c.closed_by).where(
            closes.c.grant_id == grant_id, closes.c.issuer == issuer, closes.c.request_id == request_id
        )
    ).scalar_one_or_none()
    if close is not None:
        return str(close)
    mark = connection.execute(
        sql.select(marks.c.set_by)
        .where(marks.c.grant_id == grant_id, marks.c.issuer.in_([issuer, EVERYONE]), marks.c.mark >= approved_at)
        .order_by((marks.c.issuer == EVERYONE).desc())
    ).first()
    return None if mark is None else str(mark.set_by)


def take_effect(
    connection: Connection, approval_id: str, refused: Reason | None, now: int, timing: Timing
) -> tuple[str, ...]:
    """An early lease is early no more: it counts from now on, unless it is ``refused`` now. Returns the grants to look at."""
    row = connection.execute(sql.select(approvals).where(approvals.c.approval_id == approval_id)).one()
    if locked(connection, row.grant_id) is None or row.early_until is None or row.early_until > now:
        return ()
    if refused is None and row.ends_at is not None and row.ends_at <= now:
        refused = ENDED
    row = connection.execute(
        approvals.update()
        .where(approvals.c.approval_id == approval_id)
        .values(early_until=None, live=refused is None, open=refused is None, due_at=None)
        .returning(approvals)
    ).one()
    about = about_grant(connection, row.grant_id)
    facts: dict[str, Any] = {"approval_id": approval_id, "due_at": None}
    if refused is None:
        facts["due_at"] = _set_due(connection, row, None, timing)
        raise_generation(connection, row.grant_id)
    events = [Event(name_of(EventKind.TOOK_EFFECT, approval_id), EventKind.TOOK_EFFECT, about, facts=facts)]
    if refused is not None:
        events.append(finish(connection, row, EventKind.REJECTED, refused, about, now))
        put_away(connection, row.grant_id)
    append(connection, now, *events)
    return () if refused is not None else (str(row.grant_id),)


def reject_message(
    connection: Connection, message_id: str, body: object, reason: Reason, now: int, *, request: Request | None = None
) -> None:
    """Record that a message was refused, once per message, with its completion."""
    text = body if isinstance(body, str) else canonical(body).decode()
    message_id = keepable(message_id)
    event_id = name_of("message", message_id, text)
    append(connection, now, Event(event_id, EventKind.REJECTED, request=request, message_id=message_id, reason=reason))


def grant_row(connection: Connection, grant: GrantKey, now: int) -> Row[Any]:
    """The grant's row, locked; made when it is the first time."""
    found = locked(connection, grant.grant_id)
    if found is not None:
        return found
    fresh = {"generation": 0, "last_number": 0, "created_at": now, "shown": False}
    if insert_or_ignore(connection, grants, {"grant_id": grant.grant_id, **asdict(grant), **fresh}):
        side_row = {
            "grant_id": grant.grant_id,
            "observed_generation": 0,
            "state": State.UNKNOWN,
            "unsettled": False,
            "attempts": 0,
            "knocks": 0,
        }
        connection.execute(sides.insert(), [side_row | {"side": side} for side in Side])
    row = locked(connection, grant.grant_id)
    assert row is not None  # noqa: S101  # it was just inserted, here or by another worker
    return row


def keepable(message_id: str) -> str:
    """A message id that every database can keep: its form is the platform's business, so it is taken as it comes."""
    return "".join(character if character.isprintable() else "?" for character in message_id)[:200]


def _millis(moment: Any) -> int:
    return int(moment.timestamp() * 1000)
