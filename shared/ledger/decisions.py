"""Who decided what: each word that somebody said for a side, as a row, so that it is found by person, account, grant and time.

The rows are a projection of the consent chain. Only hearing writes them, in the transaction that records the word as heard; so
the desk, which reads them, can add none, and ``ledger verify`` recomputes each from its fact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Row

from shared.ledger.consent import Kept, kept
from shared.ledger.consent_proof import Recorded
from shared.ledger.seeing import Scope, Shape, first_of
from shared.ledger.tables import consent, decisions, requests
from shared.messages.consent import Asked, Decided
from shared.rules.facts import Side


def note_decisions(connection: Connection, asked: Asked, words: Sequence[Kept]) -> None:
    """Write the words among these facts of a request, which were just heard, as rows."""
    about = {
        "grant_id": asked.wish.grant.grant_id,
        "ecr_owner_uid": asked.wish.ecr.owner_uid,
        "instance_owner_uid": asked.wish.instance.owner_uid,
        "requester": asked.by.person,
    }
    rows = [about | _said(one.fact, one.seq) for one in words if isinstance(one.fact, Decided)]
    if rows:
        connection.execute(decisions.insert(), rows)


def _said(fact: Decided, seq: int) -> dict[str, Any]:
    """What of a row its fact says. Times as the chain has them."""
    return {
        "seq": seq,
        "at": int(fact.at.timestamp()) * 1000 + fact.at.microsecond // 1000,
        "request_id": fact.request_id,
        "side": fact.side,
        "person": fact.by.person,
        "instead_of": fact.instead_of,
        "agrees": fact.agrees,
        "reason": fact.reason.replace("\0", "\ufffd"),  # one of the databases keeps no text with it
        "strength": str(fact.by.strength),
        "relay": fact.by.relay,
    }


@dataclass(frozen=True)
class DecisionsAsked:
    """Which words; whatever is None does not matter. ``since`` counts, ``until`` does not (epoch milliseconds)."""

    person: str | None = None
    account: str | None = None
    grant: str | None = None
    request: str | None = None
    side: Side | None = None
    since: int | None = None
    until: int | None = None


_ASKED: dict[str, sql.ColumnElement[bool]] = {
    "person": decisions.c.person == sql.bindparam("person"),
    "grant": decisions.c.grant_id == sql.bindparam("grant"),
    "request": decisions.c.request_id == sql.bindparam("request"),
    "side": decisions.c.side == sql.bindparam("side"),
    "since": decisions.c.at >= sql.bindparam("since"),
    "until": decisions.c.at < sql.bindparam("until"),
    "account": sql.or_(
        decisions.c.ecr_owner_uid == sql.bindparam("account"),
        decisions.c.instance_owner_uid == sql.bindparam("account"),
    ),
}


def list_decisions(
    connection: Connection, scope: Scope, asked: DecisionsAsked, behind: tuple[int, int] | None, limit: int
) -> Sequence[Row[Any]]:
    """Words, the newest first, a page behind (at, seq); those about whatever may be seen. One statement."""
    if asked.account is not None and scope.sees(asked.account):
        scope, asked = scope.only(asked.account), replace(asked, account=None)
    values = {name: value for name, value in vars(asked).items() if value is not None}
    query = _decisions(scope.shape, frozenset(values), further=behind is not None)
    if behind is not None:
        values |= {"behind_at": behind[0], "behind_seq": behind[1]}
    return connection.execute(query, {**scope.values, **values, "at_most": limit}).all()


@lru_cache(maxsize=500)
def _decisions(shape: Shape, asked: frozenset[str], *, further: bool) -> sql.Select[Any]:
    query = sql.select(decisions).where(*(_ASKED[name] for name in sorted(asked)))
    if further:
        behind: tuple[sql.BindParameter[Any], ...] = sql.bindparam("behind_at"), sql.bindparam("behind_seq")
        query = query.where(sql.tuple_(decisions.c.at, decisions.c.seq) < sql.tuple_(*behind))
    mine = decisions.c.requester == sql.bindparam("seen_by")
    return first_of(query, shape.ways(decisions, mine), ["at", "seq"], newest=True)


def decision_fault(connection: Connection, recorded: Recorded) -> str | None:
    """The first row that is not what its fact says, or that is missing, or too much; as a sentence. None when all are right.

    To be asked when the facts and the rows of their requests are proven.
    """
    about = ("grant_id", "ecr_owner_uid", "instance_owner_uid", "requester")
    query = (
        sql.select(
            consent,
            *(requests.c[name].label(f"of_{name}") for name in about),
            *(column.label(f"row_{column.name}") for column in decisions.c),
        )
        .select_from(
            consent.join(requests, requests.c.request_id == consent.c.request_id).outerjoin(
                decisions, decisions.c.seq == consent.c.seq
            )
        )
        .where(consent.c.kind == "decided")
        .order_by(consent.c.seq)
    )
    with connection.execute(query.execution_options(yield_per=500)) as rows:
        for row in rows:
            where = f"the decision of fact {row.seq} of request {row.request_id}"
            if row.row_seq is None:
                if row.seq in recorded.hashes:
                    return f"{where} was heard and has no row"
                continue
            if row.seq not in recorded.hashes:
                return f"{where} has a row, and nobody has heard it"
            fact = kept(row).fact
            assert isinstance(fact, Decided)  # noqa: S101  # its kind says so
            expected = _said(fact, row.seq) | {name: getattr(row, f"of_{name}") for name in about}
            for name, value in expected.items():
                if getattr(row, f"row_{name}") != value:
                    return f"{where} has {name} {getattr(row, f'row_{name}')!r}, what was said is {value!r}"
    said = sql.exists().where(consent.c.seq == decisions.c.seq, consent.c.kind == "decided")
    extra = connection.execute(sql.select(decisions.c.seq).where(~said).order_by(decisions.c.seq).limit(1)).first()
    return None if extra is None else f"a decision has a row as fact {extra.seq} of the consent chain, which is none"
