"""Admission: an approval becomes a row that only grows, and changes the leases of its grant."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Row

from shared.errors import PermanentError, Superseded
from shared.ledger.closing import close_all, close_named
from shared.ledger.configuration import newest_number
from shared.ledger.known import grant_rows
from shared.ledger.outcomes import ENDED, answer_again, closed_reason, finish, request_of
from shared.ledger.record import About, Event, append, lock_end, name_of
from shared.ledger.rows import about_grant, lease_of, raise_generation, raise_generations
from shared.ledger.snapshot import made_row
from shared.ledger.tables import EVERYONE, approvals, closes, grants, marks
from shared.ledger.transactions import insert_or_ignore
from shared.messages.approval import Every, GrantApproval, OnEnd, RevokeApproval
from shared.messages.completion import EventKind, Reason, ReasonCode, Request
from shared.messages.texts import canonical
from shared.rules.leases import Timing, next_due


@dataclass(frozen=True)
class Admission:
    """What became of an approval: the grants it touches, and whether it was news. ``early_until``: without effect until then."""

    touched: tuple[str, ...]
    new: bool
    early_until: int | None = None


@dataclass(frozen=True)
class Judged:
    """What the gate made of an approval: its seal as it came, and the answer under one version of the configuration.

    ``refused``: why it is not admitted, if it is news. ``facts``: the question and what decided it, for the record.
    ``anyway``: it stands although a newer version does; closing does not wait for one that cannot be believed.
    """

    seal: str = ""
    configuration: int = 0
    refused: PermanentError | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    anyway: bool = False

    @property
    def recorded(self) -> dict[str, Any]:
        """What the record keeps of it: enough to see that the seal is still the one that was opened, and to ask again."""
        seal = hashlib.sha256(self.seal.encode()).hexdigest()
        return {"seal": seal, "configuration": self.configuration, **self.facts}


_UNJUDGED = Judged()


@dataclass(frozen=True)
class Asked:
    """An approval as it came, the message that brought it, and what the gate made of it."""

    approval: GrantApproval | RevokeApproval
    message_id: str
    judged: Judged = _UNJUDGED


def admit(
    connection: Connection,
    approval: GrantApproval | RevokeApproval,
    message_id: str,
    now: int,
    timing: Timing,
    judged: Judged = _UNJUDGED,
) -> Admission:
    """Record an approval, once. A repeated one changes nothing, and is answered again from what holds then.

    A grant that is dated further ahead than clocks may differ is early: recorded, and without effect until then. A revoke is
    believed at once, however it is dated, and recorded whatever is listed: closing is the safe direction. Raises PermanentError
    where it is news and was refused, and Superseded where it was judged under another version than the newest.
    """
    (found,) = admit_all(connection, [Asked(approval, message_id, judged)], now, timing)
    if isinstance(found, PermanentError):
        raise found
    return found


def admit_all(
    connection: Connection,
    asked: Sequence[Asked],
    now: int,
    timing: Timing,
) -> list[Admission | PermanentError]:
    """The same for several approvals at once, each of another grant and name; what is refused stops nothing but itself."""
    refused = {one.approval.grant.grant_id for one in asked if one.judged.refused is not None}
    _, made = grant_rows(connection, [one.approval.grant for one in asked], now, only_known=refused)
    newest = newest_number(connection)
    if any(one.judged.configuration != newest and not one.judged.anyway for one in asked):
        raise Superseded(f"configuration {newest} is the newest")
    ids = [_id_of(one.approval) for one in asked]
    before = connection.execute(sql.select(approvals).where(approvals.c.approval_id.in_(ids)))
    known = {row.approval_id: row for row in before}
    news, found = _News(connection, now, timing), list[Admission | PermanentError]()
    for one in asked:
        grant_id = one.approval.grant.grant_id
        try:
            found.append(_admit(news, one, known.get(_id_of(one.approval)), fresh=grant_id in made))
        except PermanentError as error:
            found.append(error)
    news.write()
    return found


class _News:
    """What several admissions come to, written at once."""

    def __init__(self, connection: Connection, now: int, timing: Timing) -> None:
        self.connection, self.now, self.timing = connection, now, timing
        self.opened: list[dict[str, Any]] = []
        self.raised: list[str] = []
        self.events: list[Event] = []
        self.named: dict[tuple[str, str], tuple[str, About, Request]] = {}

    def write(self) -> None:
        """Leases, then what they raise, then the record."""
        if self.opened:
            self.connection.execute(approvals.insert(), self.opened)
        if self.raised:
            raise_generations(self.connection, self.raised)
        append(self.connection, self.now, *self.events, *self._second_digests())

    def _second_digests(self) -> Iterator[Event]:
        """What was admitted under a name that was used before, on whichever grant: asked when nobody else can admit anything."""
        if not self.named:
            return
        lock_end(self.connection)
        same_name = sql.tuple_(approvals.c.issuer, approvals.c.request_id).in_(list(self.named))
        query = sql.select(approvals.c.approval_id, approvals.c.issuer, approvals.c.request_id).where(same_name)
        others = Counter[tuple[str, str]]()
        for row in self.connection.execute(query):
            name = row.issuer, row.request_id
            others[name] += row.approval_id != self.named[name][0]
        for name, (approval_id, about, request) in self.named.items():
            if others[name]:
                text = f"{others[name]} other content(s) were approved under the same issuer and request id"
                reason = Reason(code=ReasonCode.SECOND_DIGEST, text=text)
                event = name_of(EventKind.SECOND_DIGEST, approval_id)
                yield Event(event, EventKind.SECOND_DIGEST, about, request, reason=reason)


def _id_of(approval: GrantApproval | RevokeApproval) -> str:
    return name_of("approval", approval.issuer, approval.request_id, approval.digest)


def _admit(
    news: _News,
    one: Asked,
    known: Row[Any] | None,
    *,
    fresh: bool,
) -> Admission:
    """One approval, on a grant that is locked. ``known``: it was admitted before. ``fresh``: the grant is new."""
    approval, message_id = one.approval, keepable(one.message_id)
    approval_id, grant_id = _id_of(approval), approval.grant.grant_id
    if known is not None:
        # The platform delivers at least once; only a message of its own is somebody asking again.
        if known.outcome is not None and known.message_id != message_id:
            news.events += answer_again(news.connection, known, message_id, news.now)
        return Admission((grant_id,), new=False)
    if one.judged.refused is not None:
        raise one.judged.refused
    about = About(grant_id, approval.grant, 0, ()) if fresh else about_grant(news.connection, grant_id)
    entry = _Entry(approval_id, message_id, about, one.judged)
    if isinstance(approval, RevokeApproval):
        news.events += _revoke(news, approval, entry)
        early_until, counts = None, True
    else:
        early_until, counts = _open(news, approval, entry, fresh=fresh)
    news.named[approval.issuer, approval.request_id] = approval_id, about, request_of(approval)
    return Admission((grant_id,) if counts else (), new=True, early_until=early_until)


@dataclass(frozen=True)
class _Entry:
    """What an approval is admitted as: under which id, by which message, on which grant, judged how."""

    approval_id: str
    message_id: str
    about: About
    judged: Judged


def _open(news: _News, approval: GrantApproval, entry: _Entry, *, fresh: bool) -> tuple[int | None, bool]:
    """Open a lease, unless it was closed before it came or comes after its own end. Returns until when it is early, and
    whether it counts."""
    connection, now, timing, about = news.connection, news.now, news.timing, entry.about
    approved_at = _millis(approval.approved_at)
    early_until = approved_at - timing.skew if approved_at > now + timing.skew else None
    named = approval.issuer, approval.request_id, approved_at
    closer = None if fresh else closed_by(connection, about.grant_id, *named)
    ends_at = None if approval.ends_at is None else _millis(approval.ends_at)
    refused = closed_reason(connection, closer) if closer is not None else None
    if refused is None and ends_at is not None and ends_at <= now:
        refused = ENDED
    counts = refused is None and early_until is None
    early = early_until if refused is None or approval.replaces else None
    values = _values(approval, entry, now) | {
        "ends_at": ends_at,
        "on_end": approval.on_end,
        "allowed_prefixes": json.dumps(approval.allowed_prefixes),
        "early_until": early,
        "closed_by": closer,
        "live": counts,
        "open": refused is None,
    }
    due = early if early is not None else None if refused is not None else next_due(lease_of(made_row(values)), timing)
    kind, reason = EventKind.ADMITTED, None
    if early is not None and refused is None:
        kind = EventKind.EARLY
        text = (
            f"dated {approval.approved_at.isoformat()}, further ahead than clocks may differ: without effect until then"
        )
        reason = Reason(code=ReasonCode.EARLY, text=text)
    facts: dict[str, Any] = {"early_until": early, "due_at": due}
    replaces = early_until is None and bool(approval.replaces)
    news.events.append(_admitted(approval, entry, kind, facts | ({"replaces": True} if replaces else {}), reason))
    if replaces:
        news.events += replace_others(connection, values | {"replaces": approval.replaces}, about, now)
        news.raised += [] if counts else [about.grant_id]
    if refused is not None:
        row = connection.execute(approvals.insert().values(values).returning(approvals)).one()
        news.events.append(finish(connection, row, EventKind.REJECTED, refused, about, now))
        return early, counts
    news.opened.append(values | {"due_at": due})
    if counts:
        news.raised.append(about.grant_id)
    else:  # early: somebody waits for it
        connection.execute(grants.update().where(grants.c.grant_id == about.grant_id).values(shown=True))
    return early, counts


def replace_others(connection: Connection, values: Mapping[str, Any], about: About, now: int) -> list[Event]:
    """Close what a lease replaces, of its own issuer and on its own grant, in the same moment: a change without a gap.

    It closes whether or not the lease still counts, once that is not early any more: so no order of messages matters.
    """
    named = values["issuer"], values["replaces"]
    closed = close_named(connection, values["approval_id"], about.grant_id, *named, now)
    text = f"replaced by the request {values['request_id']} of {values['issuer']}"
    return _overtaken(connection, closed, Reason(code=ReasonCode.CLOSED, text=text), about, now)


def _overtaken(
    connection: Connection, closed: Sequence[Row[Any]], reason: Reason, about: About, now: int
) -> list[Event]:
    """The answers of leases that were closed before they had one."""
    unanswered = [row for row in closed if row.outcome in (None, EventKind.DEAD)]
    return [finish(connection, row, EventKind.REJECTED, reason, about, now) for row in unanswered]


def _revoke(news: _News, approval: RevokeApproval, entry: _Entry) -> list[Event]:
    """Close what a revoke names, on its own grant and of its own issuer. What comes later under that name is closed too."""
    connection, now, timing, about, approval_id = news.connection, news.now, news.timing, entry.about, entry.approval_id
    mark = min(_millis(approval.approved_at), now + timing.skew)
    named, facts = approval.closes, {"mark": mark}
    until = mark + timing.skew if named == Every.EVERYONE else mark
    values = _values(approval, entry, now) | {"on_end": OnEnd.REPORT, "mark": until}
    connection.execute(approvals.insert().values(values))
    if isinstance(named, str):
        everyone = named == Every.EVERYONE
        facts["until"] = until
        _raise_mark(connection, about.grant_id, EVERYONE if everyone else approval.issuer, until, approval_id)
        whose = sql.true() if everyone else approvals.c.issuer == approval.issuer
        # Whoever says all means those, too, that are known and wait for their date.
        which = sql.or_(approvals.c.approved_at <= until, approvals.c.early_until > now)
        closed = close_all(connection, approval_id, about.grant_id, whose, which)
    else:
        closed = close_named(connection, approval_id, about.grant_id, approval.issuer, named, now)
    events = [_admitted(approval, entry, EventKind.ADMITTED, facts, None)]
    events += _overtaken(connection, closed, closed_reason(connection, approval_id), about, now)
    raise_generation(connection, about.grant_id)
    return events


def _values(approval: GrantApproval | RevokeApproval, entry: _Entry, now: int) -> dict[str, Any]:
    """The row of an approval, but for what its kind adds."""
    return {
        "approval_id": entry.approval_id,
        "issuer": approval.issuer,
        "request_id": approval.request_id,
        "digest": approval.digest,
        "action": approval.action,
        "grant_id": entry.about.grant_id,
        "approved_at": _millis(approval.approved_at),
        "content": canonical(approval.model_dump(mode="json", by_alias=True)).decode(),
        "message_id": entry.message_id,
        "admitted_at": now,
        "allowed_prefixes": "[]",
        "live": False,
        "open": False,
        "waits": True,
        "seal": entry.judged.seal,
        "configuration": entry.judged.configuration,
        "ecr_owner_uid": approval.grant.ecr_owner_uid,
        "instance_owner_uid": approval.grant.instance_owner_uid,
    }


def _admitted(
    approval: GrantApproval | RevokeApproval,
    entry: _Entry,
    kind: EventKind,
    facts: dict[str, Any],
    reason: Reason | None,
) -> Event:
    return Event(
        name_of(EventKind.ADMITTED, entry.approval_id),
        kind,
        entry.about,
        request_of(approval),
        message_id=entry.message_id,
        reason=reason,
        facts={"approval_id": entry.approval_id, **facts, **entry.judged.recorded},
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


def reject_message(
    connection: Connection,
    message_id: str,
    body: object,
    reason: Reason,
    now: int,
    *,
    request: Request | None = None,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Record that a message was refused, once per message, with its completion. ``facts``: what it was judged by, if it was."""
    text = body if isinstance(body, str) else canonical(body).decode()
    message_id = keepable(message_id)
    event_id = name_of("message", message_id, text)
    event = Event(event_id, EventKind.REJECTED, request=request, message_id=message_id, reason=reason, facts=facts)
    append(connection, now, event)


def keepable(message_id: str) -> str:
    """A message id that every database can keep: its form is the platform's business, so it is taken as it comes."""
    return "".join(character if character.isprintable() else "?" for character in message_id)[:200]


def _millis(moment: Any) -> int:
    return int(moment.timestamp() * 1000)
