"""Whether what people said is whole: the consent chain, and each request's row by its facts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Row

from shared.errors import BadInput
from shared.ledger.consent import OPERATED, Kept, asked_columns, kept, kept_any, maybe_millis, millis
from shared.ledger.record import START_OF_CHAIN
from shared.ledger.tables import consent, requests
from shared.rules.consent import due, fold, review_due


@dataclass
class Recorded:
    """What the record has of people's words: the hashes of the facts that were heard, by their places in the consent chain, and
    the last place of each request.
    """

    hashes: dict[int, str] = field(default_factory=dict)
    last: dict[str, int] = field(default_factory=dict)

    def take(self, page: Sequence[Row[Any]]) -> None:
        """Take note of these events."""
        for event in page:
            facts = json.loads(event.facts) if event.facts and '"consent"' in event.facts else {}
            if isinstance(facts, dict) and isinstance(facts.get("consent"), int):
                self.hashes[facts["consent"]] = str(facts.get("hash"))
                request = json.loads(event.body).get("request")  # an operator's word is about none
                if request is not None:
                    self.last[request["request_id"]] = facts["consent"]


def chain_fault(connection: Connection, recorded: Recorded, until: int) -> str | None:
    """The first thing that is wrong with the facts, as a sentence; None when all is well. ``until``: the place up to which
    everything is said to have been heard.
    """
    left, last, previous, passed = dict(recorded.hashes), 0, START_OF_CHAIN, ""
    with connection.execute(sql.select(consent).order_by(consent.c.seq).execution_options(yield_per=500)) as rows:
        for row in rows:
            if row.seq != last + 1:
                return f"fact {last + 1} of the consent chain is missing"
            if row.seq <= until and row.seq not in left:
                passed = passed or f"fact {row.seq} of request {row.request_id} was passed over: nobody has heard it"
            if row.previous != previous or left.pop(row.seq, row.hash) != row.hash:
                return f"fact {row.seq} of request {row.request_id} is not what was recorded"
            try:
                kept_any(row)
            except BadInput as error:
                return str(error)
            last, previous = row.seq, row.hash
    if left:
        return f"fact {min(left)} of the consent chain is missing: the record has heard it"
    if until > last:
        return f"fact {last + 1} of the consent chain is missing: everything up to {until} is said to have been heard"
    return passed or None


def request_fault(connection: Connection, recorded: Recorded) -> str | None:
    """The first request whose row is not what its facts come to, as far as they were heard; as a sentence. None when all are."""
    query = (
        sql.select(consent, *(column.label(f"row_{column.name}") for column in requests.c))
        .select_from(requests.outerjoin(consent, consent.c.request_id == requests.c.request_id))
        .order_by(requests.c.request_id, consent.c.seq)
    )
    with connection.execute(query.execution_options(yield_per=500)) as found:
        for request_id, together in groupby(found, key=lambda row: row.row_request_id):
            rows = list(together)
            facts = [kept(row) for row in rows if row.seq is not None]
            try:
                wrong = _wrong_row(rows[0], facts, recorded.last.get(request_id, 0))
            except BadInput as error:
                return str(error)
            if wrong is not None:
                return f"the request {request_id} {wrong}"
    nobodys = sql.select(consent.c.request_id).where(~sql.exists().where(requests.c.request_id == consent.c.request_id))
    nobodys = nobodys.where(consent.c.kind != OPERATED)
    row = connection.execute(nobodys.order_by(consent.c.seq).limit(1)).first()
    return None if row is None else f"something was said of the request {row.request_id}, which has no row"


def _wrong_row(row: Any, facts: Sequence[Kept], last: int) -> str | None:
    """What of a request's row is not what its facts come to. ``last``: the place up to which the record has heard them.

    Raises BadInput where they do not begin with its being asked.
    """
    if not facts:
        return "has a row, and nobody asked"
    standing = fold([facts[0].fact, *(one.fact for one in facts[1:] if one.seq <= last)])
    ended = None if standing.ended is None else millis(standing.ended.at)
    waits = None if ended is not None else millis(due(standing.asked, row.row_reminded))
    expected = {
        **asked_columns(standing.asked),
        "heard": last,
        "stage": str(standing.stage),
        "round": standing.round,
        "ended_at": ended,
        "review_at": maybe_millis(review_due(standing)),
        "due_at": waits,
    }
    for name, value in expected.items():
        if getattr(row, f"row_{name}") != value:
            return f"has {name} {getattr(row, f'row_{name}')!r}, what was said comes to {value!r}"
    reminded = row.row_reminded
    if reminded < 0 or (reminded > 0 and due(standing.asked, reminded - 1) >= standing.asked.lapses_at):
        return f"was never reminded of {reminded} times"
    return None
