"""Operators' words, from the desk's saying them to the grant function's carrying them out.

The desk adds a fact and its row, and nothing else. Whether a word was carried out is what the record says, not what the row
says: so it is done once, whoever wrote the row.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Row

from shared.errors import BadInput, NotAllowed, PermanentError, Superseded
from shared.ledger.configuration import newest_number
from shared.ledger.consent import OPERATED, KeptWord, extend, kept_any, millis, speak_alone
from shared.ledger.drift import known
from shared.ledger.operating import adopt, lift_hold, redrive, set_hold, set_mode
from shared.ledger.record import Event, append, name_of
from shared.ledger.rows import about_grant, raise_generation
from shared.ledger.tables import consent, events, operations
from shared.ledger.transactions import insert_or_ignore, locked
from shared.messages.completion import EventKind, Reason, ReasonCode
from shared.messages.consent import Operated, OperatingWord
from shared.rules.facts import Hold, HoldKind, Mode, Side
from shared.rules.operating import OperationOutcome, why_not_repaired, worded

Released = list[tuple[str, Side]]
"""(grant, side) of what may go on by a word: somebody should look there now."""
_NOT_YET: dict[str, Any] = dict.fromkeys(("carried_out_at", "outcome", "code", "text"))
_OF_OPERATION = sql.select(consent).where(consent.c.request_id == sql.bindparam("of_operation")).order_by(consent.c.seq)


@dataclass(frozen=True)
class CarriedOut:
    """What became of a word, as a code and a sentence, and what it may have released."""

    outcome: OperationOutcome
    code: str
    text: str
    released: Released = field(default_factory=list)


def say_operation(connection: Connection, fact: Operated) -> tuple[Operated, bool]:
    """Add an operator's word. Under an id that was used before it is answered by what was said then, and False.

    Raises NotAllowed (NameUsedAgain) where that was something else.
    """
    speak_alone(connection)
    before = word_of(connection, fact.operation_id)
    if before is not None:
        if before.fact.operation != fact.operation:
            raise NotAllowed(
                f"{fact.operation_id} was said before under this name, as something else", code="NameUsedAgain"
            )
        return before.fact, False
    extend(connection, fact.operation_id, [fact])
    connection.execute(operations.insert(), _row(fact))
    return fact, True


def word_of(connection: Connection, operation_id: str) -> KeptWord | None:
    """What was said under this id; None for nothing. Raises BadInput for what cannot be read."""
    row = connection.execute(_OF_OPERATION, {"of_operation": operation_id}).first()
    if row is None:
        return None
    found = kept_any(row)
    if not isinstance(found, KeptWord):
        raise BadInput(f"{operation_id} is a request, and no operator's word")
    return found


def open_operations(connection: Connection, behind: tuple[int, str], limit: int) -> list[Row[Any]]:
    """The words that are not carried out yet (said at, operation id), the oldest first, a page behind one of them."""
    place = sql.tuple_(operations.c.said_at, operations.c.operation_id)
    query = sql.select(operations.c.said_at, operations.c.operation_id).where(operations.c.carried_out_at.is_(None))
    query = query.where(place > sql.tuple_(*behind)).order_by(operations.c.said_at, operations.c.operation_id)
    return list(connection.execute(query.limit(limit)))


def hear_operation(connection: Connection, word: KeptWord, now: int) -> None:
    """Tell of a word that was not told yet, and have a row that says what it says. Once told, it adds nothing."""
    if _recorded(connection, EventKind.OPERATION_ASKED, word.fact.operation_id):
        return
    row = _row(word.fact)
    if not insert_or_ignore(connection, operations, row):
        connection.execute(operations.update().where(_named(word.fact.operation_id)).values(row | _NOT_YET))
    append(connection, now, _said(word))


def carry_out(
    connection: Connection, operation_id: str, refused: PermanentError | None, number: int | None, now: int
) -> CarriedOut | None:
    """Carry a word out, or say why it is refused; None where that was done before. ``number``: of the configuration that policy
    was asked under; None: it was not asked.

    Raises Superseded where another one is the newest: nothing was written then; BadInput for a word that cannot be read.
    """
    connection.execute(sql.select(operations.c.word).where(_named(operation_id)).with_for_update())
    if number is not None and newest_number(connection) != number:
        raise Superseded("another configuration is the newest now")
    if _recorded(connection, EventKind.OPERATED, operation_id):
        return None
    word = word_of(connection, operation_id)
    if word is None:
        raise BadInput(f"nobody said {operation_id}")
    fact = word.fact
    if refused is not None:
        done = CarriedOut(OperationOutcome.REFUSED, refused.code, str(refused))
    else:
        done = _done(connection, fact, now)
    values = {"outcome": done.outcome, "code": done.code, "text": done.text}
    connection.execute(operations.update().where(_named(operation_id)).values(carried_out_at=now, **values))
    grant_id = fact.operation.grant_id
    # The record's end may be locked by now: the grant is, too, or nobody else has one locked while holds and the mode are said.
    known_one = grant_id is not None and locked(connection, grant_id) is not None
    text = f"{fact.by.person} said: {worded(fact.operation)}; {done.text}"
    told = Event(
        name_of(EventKind.OPERATED, operation_id),
        EventKind.OPERATED,
        about_grant(connection, grant_id) if known_one and grant_id is not None else None,
        reason=Reason(code=done.code, text=text),
        people=[fact.by.person],
        operation=operation_id,
        facts={"operation": operation_id, **values},
    )
    append(connection, now, _said(word), told)
    return done


def _said(word: KeptWord) -> Event:
    fact = word.fact
    return Event(
        name_of(EventKind.OPERATION_ASKED, fact.operation_id),
        EventKind.OPERATION_ASKED,
        reason=Reason(
            code=ReasonCode.SAID, text=f"{fact.by.person} said: {worded(fact.operation)}: {fact.operation.reason}"
        ),
        people=[fact.by.person],
        operation=fact.operation_id,
        facts={"consent": word.seq, "hash": word.hash},
    )


def _done(connection: Connection, fact: Operated, now: int) -> CarriedOut:
    said, who = fact.operation, fact.by.person
    via = {"via": "desk", "operation": fact.operation_id}
    released: Released | None
    match said.word:
        case OperatingWord.HOLD:
            assert said.kind is not None  # noqa: S101  # it is said of a hold
            hold = Hold(HoldKind(said.kind), said.name, said.everything, who, said.reason, now)
            set_hold(connection, hold, now, via)
            return _carried("it is on hold")
        case OperatingWord.LIFT:
            assert said.kind is not None  # noqa: S101  # as above
            released = lift_hold(connection, HoldKind(said.kind), said.name, who, now, via)
            return _nothing("it is not on hold") if released is None else _carried("it is lifted", released)
        case OperatingWord.MODE:
            assert said.mode is not None  # noqa: S101  # as above
            mode = Mode(said.mode)
            released = set_mode(connection, mode, who, now, via)
            return _carried("it is set", [] if mode is Mode.OBSERVE else released)
        case OperatingWord.REDRIVE:
            assert said.side is not None  # noqa: S101  # as above
            side = Side(said.side)
            again = redrive(connection, said.name, side, who, now, via)
            return _carried("it is tried again", [(said.name, side)]) if again else _nothing("it is not dead")
        case OperatingWord.ADOPT:
            sides = [Side(said.side)] if said.side is not None else list(Side)
            adopted = [side for side in sides if adopt(connection, said.name, side, who, now, via)]
            if not adopted:
                return _nothing("nothing foreign is known there")
            return _carried(f"adopted: {', '.join(adopted)}", [(said.name, side) for side in Side])
        case OperatingWord.REPAIR:
            return _repaired(connection, said.name)


def _repaired(connection: Connection, grant_id: str) -> CarriedOut:
    """Both sides look again, and put right what differs from what the leases want, as after every change of them."""
    standing = known(connection, grant_id) if locked(connection, grant_id) is not None else None
    if standing is None:
        return _nothing("no such grant is known")
    why = why_not_repaired(standing)
    if why is not None:
        return _nothing(why)
    raise_generation(connection, grant_id)
    return _carried("both sides look again, and put right what differs", [(grant_id, side) for side in Side])


def _carried(text: str, released: Released | None = None) -> CarriedOut:
    return CarriedOut(OperationOutcome.DONE, ReasonCode.DONE, text, released or [])


def _nothing(text: str) -> CarriedOut:
    return CarriedOut(OperationOutcome.NOTHING, ReasonCode.NOTHING_TO_DO, text)


def _recorded(connection: Connection, kind: EventKind, operation_id: str) -> bool:
    query = sql.select(events.c.seq).where(events.c.event_id == name_of(kind, operation_id))
    return connection.execute(query).first() is not None


def _named(operation_id: str) -> sql.ColumnElement[bool]:
    return operations.c.operation_id == operation_id


def _row(fact: Operated) -> dict[str, Any]:
    """What of a row follows from what was said. ``accounts``: account A's first where both are known."""
    said = fact.operation
    return {
        "operation_id": fact.operation_id,
        "word": str(said.word),
        "kind": said.kind,
        "name": said.name,
        "side": said.side,
        "mode": said.mode,
        "everything": said.everything,
        "reason": said.reason,
        "who": fact.by.person,
        "said_at": millis(fact.at),
        "ecr_owner_uid": fact.accounts[0] if fact.accounts else None,
        "instance_owner_uid": fact.accounts[-1] if fact.accounts else None,
    }


@dataclass
class RecordedOperations:
    """What the record has of words that were carried out: when, and what became of them, by their ids."""

    outcomes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def take(self, page: Sequence[Row[Any]]) -> None:
        """Take note of these events."""
        for event in page:
            if event.kind == EventKind.OPERATED:
                facts = json.loads(event.facts)
                values = {name: facts[name] for name in ("outcome", "code", "text")}
                self.outcomes[facts["operation"]] = values | {"carried_out_at": event.at}


def operation_fault(connection: Connection, recorded: RecordedOperations) -> str | None:
    """The first operator's word whose row is not what was said and what became of it; as a sentence. None when all are."""
    query = (
        sql.select(consent, *(column.label(f"row_{column.name}") for column in operations.c))
        .select_from(operations.outerjoin(consent, consent.c.request_id == operations.c.operation_id))
        .order_by(operations.c.operation_id, consent.c.seq)
    )
    with connection.execute(query.execution_options(yield_per=500)) as found:
        for operation_id, together in groupby(found, key=lambda row: row.row_operation_id):
            row, *more = together
            if row.seq is None:
                return f"the operation {operation_id} has a row, and nobody said it"
            word = kept_any(row)
            if more or not isinstance(word, KeptWord):
                return f"the operation {operation_id} is not one word of an operator"
            expected = _row(word.fact) | _NOT_YET | recorded.outcomes.get(operation_id, {})
            for name, value in expected.items():
                if getattr(row, f"row_{name}") != value:
                    what = getattr(row, f"row_{name}")
                    return (
                        f"the operation {operation_id} has {name} {what!r}, what was said and done comes to {value!r}"
                    )
    rowless = ~sql.exists().where(operations.c.operation_id == consent.c.request_id)
    said = sql.select(consent.c.request_id).where(consent.c.kind == OPERATED, rowless).order_by(consent.c.seq)
    lost = connection.execute(said.limit(1)).scalar_one_or_none()
    return None if lost is None else f"the operation {lost} was said, and has no row"
