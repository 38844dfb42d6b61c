"""Hearing: what people said becomes events of the record, is told to whom it concerns, and moves how a request stands.

The record commits to the consent chain by this: each fact's place and hash are in its event.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from shared.errors import PermanentError, Superseded
from shared.ledger.admission import Admission, Asked, admit_all
from shared.ledger.configuration import newest_number
from shared.ledger.consent import Kept, add_facts, facts_of, note_standing
from shared.ledger.decisions import note_decisions
from shared.ledger.record import Event, append, name_of
from shared.ledger.tables import consent, operations, requests, settings
from shared.ledger.transactions import insert_or_ignore
from shared.messages.approval import DESK
from shared.messages.completion import EventKind, Reason, ReasonCode, Request
from shared.messages.consent import Amounted, AnyFact, Lapsed
from shared.rules.consent import Stage, Standing, fold, told
from shared.rules.leases import Timing

_CURSOR = "consent"
"""The setting with the place of the consent chain up to which everything was heard."""
_WEIGHED = "weighed"
"""The setting with the number of the configuration by which every open request was weighed last."""

_KINDS = {
    "asked": EventKind.ASKED,
    "looked": EventKind.LOOKED,
    "look-asked": EventKind.ASKED,  # again: what wakes preflight
    "decided": EventKind.DECIDED,
    "withdrawn": EventKind.WITHDRAWN,
    "lapsed": EventKind.LAPSED,
    "reviewed": EventKind.REVIEWED,
}

Told = Callable[[Standing, AnyFact | None], Sequence[str]]
"""Whom a fact concerns, by their names; None: a reminder."""


@dataclass(frozen=True)
class Heard:
    """What is new of a request: how it stands, and its last fact."""

    standing: Standing
    last: int


def heard_until(connection: Connection) -> int:
    """The place of the consent chain up to which everything was heard: 0 where no number says so, since hearing once more adds
    nothing.
    """
    return _number(connection, _CURSOR)


def weighed_by(connection: Connection) -> int:
    """The number of the configuration by which every open request was weighed last; 0 where none could be believed since."""
    return _number(connection, _WEIGHED)


def _number(connection: Connection, name: str) -> int:
    said = connection.execute(sql.select(settings.c.value).where(settings.c.name == name)).scalar_one_or_none()
    return int(said) if said is not None and said.isdecimal() else 0


def anything_said(connection: Connection, now: int) -> bool:
    """Whether people said anything that was not heard yet, time does something to what they asked for, or another configuration
    than they were weighed by may let it.
    """
    said = sql.select(consent.c.seq).where(consent.c.seq > heard_until(connection)).limit(1)
    is_open = sql.select(requests.c.request_id).where(requests.c.due_at.is_not(None)).limit(1)
    waits = is_open.where(requests.c.due_at <= now)
    word = sql.select(operations.c.operation_id).where(operations.c.carried_out_at.is_(None)).limit(1)
    if any(connection.execute(query).first() is not None for query in (said, waits, word)):
        return True
    newer = weighed_by(connection) != newest_number(connection)
    return newer and connection.execute(is_open).first() is not None


def note_heard(connection: Connection, seq: int, now: int) -> None:
    """Everything up to that place was heard."""
    _note(connection, _CURSOR, seq, now)


def note_weighed(connection: Connection, number: int, now: int) -> None:
    """Every open request was weighed by the configuration with that number; 0: the newest one cannot be believed."""
    _note(connection, _WEIGHED, number, now)


def _note(connection: Connection, name: str, number: int, now: int) -> None:
    if not insert_or_ignore(connection, settings, {"name": name, "value": str(number), "changed_at": now}):
        connection.execute(settings.update().where(settings.c.name == name).values(value=str(number), changed_at=now))


def hear(connection: Connection, request_id: str, whom: Told, now: int) -> Heard | None:
    """Record what was said of a request and not heard yet. None for one that has no row: nobody asked. Raises BadInput for facts
    that are not what was recorded.
    """
    row = connection.execute(
        sql.select(requests).where(requests.c.request_id == request_id).with_for_update()
    ).one_or_none()
    if row is None:
        return None
    facts = facts_of(connection, request_id)
    standing = fold(one.fact for one in facts)
    last, news = row.heard, list[Event]()
    for number, one in enumerate(facts):
        if one.seq > row.heard:
            then = fold(each.fact for each in facts[: number + 1])
            news.append(_event(one, then, whom(then, one.fact)))
            last = one.seq
    if news:
        note_standing(connection, standing, last, row.reminded)
        note_decisions(connection, standing.asked, [one for one in facts if one.seq > row.heard])
        append(connection, now, *news)
    return Heard(standing, last)


def remind(connection: Connection, request_id: str, whom: Told, now: int) -> None:
    """Tell those who may decide that a request waits for them; preflight, where it has not looked yet. Where anything was said
    that nobody has heard yet, not before that was heard.
    """
    row = connection.execute(
        sql.select(requests).where(requests.c.request_id == request_id).with_for_update()
    ).one_or_none()
    if row is None or row.due_at is None or row.due_at > now:
        return
    facts = facts_of(connection, request_id)
    if facts[-1].seq > row.heard:
        return
    standing = fold(one.fact for one in facts)
    note_standing(connection, standing, row.heard, row.reminded + 1)
    if standing.looked is None:
        kind, text, people = EventKind.ASKED, f"{request_id} still waits for preflight to look", list[str]()
    elif row.reminded == 0:
        return
    else:
        kind, text, people = EventKind.REMINDED, f"{request_id} waits to be decided", list(whom(standing, None))
    reason = Reason(code=ReasonCode.WAITS, text=text)
    name = name_of(EventKind.REMINDED, request_id, str(row.reminded))
    append(connection, now, Event(name, kind, **_about(standing), reason=reason, people=people))


def say_lapsed(connection: Connection, request_id: str, fact: Lapsed) -> None:
    """Nobody decided in time: said once, and only while it is open."""

    def say(standing: Standing | None) -> list[AnyFact]:
        return [] if standing is None or standing.stage is not Stage.OPEN else [fact]

    add_facts(connection, request_id, say)


def amount(
    connection: Connection, heard: Heard, asked: Asked | None, fact: Amounted, now: int, timing: Timing
) -> Admission | PermanentError | None:
    """Say what a request amounts to, and admit its approval where it has one, in one transaction.

    Raises Superseded where something was said meanwhile, or another version of the configuration is the newest: nothing was
    written then. Returns why the approval was not admitted, if it was not.
    """
    admission: Admission | PermanentError | None = None
    if asked is not None:
        (admission,) = admit_all(connection, [asked], now, timing)
    elif newest_number(connection) != fact.configuration:
        raise Superseded("another configuration is the newest now")
    if isinstance(admission, PermanentError):
        fact = fact.model_copy(update={"approval": None, "reason": str(admission)[:1000]})
    request_id = heard.standing.request_id

    def say(standing: Standing | None) -> list[AnyFact]:
        if standing is None or standing != heard.standing:
            raise Superseded(f"something was said of {request_id} meanwhile")
        return [fact]

    add_facts(connection, request_id, say)
    return admission


def _event(one: Kept, then: Standing, people: Sequence[str]) -> Event:
    fact = one.fact
    kind = _KINDS.get(fact.fact)
    digest = ""
    if isinstance(fact, Amounted):
        kind = EventKind.REFUSED if fact.approval is None else EventKind.APPROVED
        digest = fact.approval or ""
    assert kind is not None  # noqa: S101  # each kind of fact has one
    return Event(
        name_of(kind, fact.request_id, str(one.seq)),
        kind,
        **_about(then, digest),
        reason=Reason(code=ReasonCode.SAID, text=told(fact, then)),
        people=people,
        facts={"consent": one.seq, "hash": one.hash},
    )


def _about(standing: Standing, digest: str = "") -> dict[str, Any]:
    request = Request(issuer=DESK, request_id=standing.request_id, digest=digest)
    return {"request": request, "key": standing.asked.wish.grant}
