"""Everything that decides, recomputed from the events alone, and compared with the tables that are its projection.

What an approval says is in its content, which the events name by its digest; what became of it is in the events.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Row

from shared.ledger import configuration
from shared.ledger.record import name_of
from shared.ledger.rows import key_of
from shared.ledger.tables import EVERYONE, approvals, closes, grants, holds, marks, settings, sides
from shared.messages.approval import Action, Every, OnEnd
from shared.messages.completion import EventKind
from shared.rules.facts import Side

Difference = str

_UNSEALED = hashlib.sha256(b"").hexdigest()  # what was admitted before there were seals


@dataclass
class _Approval:
    """What the events say of one approval."""

    grant_id: str
    action: Action
    issuer: str
    request_id: str
    approved_at: int
    admitted_at: int
    message_id: str
    mark: int | None = None
    early_until: int | None = None
    closed_by: str | None = None
    live: bool = False
    due_at: int | None = None
    warned_at: int | None = None
    overdue_at: int | None = None
    ended_at: int | None = None
    outcome: str | None = None
    outcome_at: int | None = None
    configuration: int = 0
    replaces: tuple[str, ...] = ()

    @property
    def open(self) -> bool:
        """Whether a revoke can close it."""
        return self.live or (self.early_until is not None and self.closed_by is None)

    def close(self, closer: str) -> None:
        """Something closes it. Where it waits for its date and is to replace others, it does so then all the same."""
        self.closed_by, self.live = closer, False
        self.early_until = self.early_until if self.replaces else None
        self.due_at = self.early_until


@dataclass
class Replay:
    """The state that the events come to."""

    approvals: dict[str, _Approval] = field(default_factory=dict)
    open: dict[str, set[str]] = field(default_factory=dict)  # approvals that may be closed, by grant
    closes: dict[tuple[str, str, str], tuple[str, int]] = field(default_factory=dict)
    marks: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    ours: dict[tuple[str, str], bool | None] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    mode: str | None = None
    holds: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    configurations: dict[int, tuple[int, dict[str, Any]]] = field(default_factory=dict)

    def take(self, connection: Connection, page: Sequence[Row[Any]]) -> Difference | None:
        """Take the next events. Returns what is wrong with an approval that they admit."""
        told = [(event, _facts(event)) for event in page]
        ids = {facts["approval_id"] for _, facts in told if isinstance(facts.get("approval_id"), str)}
        found = connection.execute(sql.select(approvals).where(approvals.c.approval_id.in_(ids)))
        rows = {row.approval_id: row for row in found}
        for event, facts in told:
            if event.grant_id is not None:
                before = self.numbers.get(event.grant_id, 0)
                self.numbers[event.grant_id] = before if event.number is None else event.number
            try:
                wrong = self._apply(EventKind(event.kind), event, facts, rows.get(facts.get("approval_id")))
            except (KeyError, ValueError, TypeError, AttributeError):
                wrong = f"event {event.seq} says what no {event.kind} can say"
            if wrong is not None:
                return wrong
        return None

    def _apply(
        self, kind: EventKind, event: Row[Any], facts: dict[str, Any], row: Row[Any] | None
    ) -> Difference | None:
        match kind:
            case EventKind.ADMITTED | EventKind.EARLY:
                return self._admit(event, facts, row)
            case EventKind.OWNERSHIP:
                self.ours[(facts["grant_id"], facts["side"])] = facts["ours"]
            case EventKind.MODE_CHANGED:
                self.mode = facts["mode"]
            case EventKind.HOLD_SET:
                self.holds[(facts["kind"], facts["name"])] = facts
            case EventKind.HOLD_LIFTED:
                self.holds.pop((facts["kind"], facts["name"]), None)
            case EventKind.CONFIGURED:
                self.configurations[facts["number"]] = event.at, facts
            case _ if "approval_id" in facts:
                one = self.approvals.get(facts["approval_id"])
                if one is None:
                    asked = json.loads(event.body).get("request", {})
                    named = f"the approval {asked.get('request_id')!r} of {asked.get('issuer')!r} on {event.grant_id}"
                    return f"{named} was never admitted (event {event.seq})"
                self._change(kind, one, facts, event.at)
                self._sort(facts["approval_id"])
                if kind is EventKind.TOOK_EFFECT and not facts.get("refused"):
                    self._replace(facts["approval_id"], one, event.at)
            case _:
                pass  # a fact that decides nothing
        return None

    def _admit(self, event: Row[Any], facts: dict[str, Any], row: Row[Any] | None) -> Difference | None:
        approval_id = facts["approval_id"]
        if row is None:
            return f"the approval of event {event.seq} is missing"
        content, wrong = _content(row)
        told = json.loads(event.body)
        request = told["request"]
        said = (request["issuer"], request["request_id"], request["digest"])
        if wrong is None and said != (row.issuer, row.request_id, row.digest):
            wrong = "is not the one of its event"
        if wrong is None and hashlib.sha256(row.seal.encode()).hexdigest() != facts.get("seal", _UNSEALED):
            wrong = "has another seal than it came with"
        if wrong is not None or content is None:
            return f"{_named(row)} {wrong} (event {event.seq})"
        one = _Approval(
            grant_id=event.grant_id,
            action=Action(content["action"]),
            issuer=content["issuer"],
            request_id=content["request_id"],
            approved_at=row.approved_at,
            admitted_at=event.at,
            message_id=told.get("message_id", ""),
            mark=facts.get("until", facts.get("mark")),
            due_at=facts.get("due_at"),
            configuration=facts.get("configuration", 0),
            replaces=tuple(content.get("replaces", ())),
        )
        self.approvals[approval_id] = one
        if one.action is Action.REVOKE:
            self._close(approval_id, one, content["closes"], facts)
            return None
        one.closed_by = self._closer(one)
        one.early_until = facts.get("early_until")
        past = row.ends_at is not None and row.ends_at <= event.at
        one.live = one.closed_by is None and one.early_until is None and not past
        self._sort(approval_id)
        if facts.get("replaces"):
            self._replace(approval_id, one, event.at)
        return None

    def _replace(self, approval_id: str, one: _Approval, at: int) -> None:
        """What a lease replaces is closed, on its grant and of its issuer."""
        for request_id in one.replaces:
            self.closes.setdefault((one.grant_id, one.issuer, request_id), (approval_id, at))
        for other_id in list(self.open.get(one.grant_id, ())):
            other = self.approvals[other_id]
            if other.issuer == one.issuer and other.request_id in one.replaces:
                other.close(approval_id)
                self._sort(other_id)

    def _close(self, approval_id: str, revoke: _Approval, named: object, facts: dict[str, Any]) -> None:
        everyone = named == Every.EVERYONE
        if isinstance(named, str):
            issuer, until = (EVERYONE if everyone else revoke.issuer), facts["until"]
            before = self.marks.get((revoke.grant_id, issuer))
            if before is None or before[0] < until:
                self.marks[(revoke.grant_id, issuer)] = until, approval_id
        else:
            for request_id in named if isinstance(named, list) else ():
                key = revoke.grant_id, revoke.issuer, request_id
                self.closes.setdefault(key, (approval_id, revoke.admitted_at))
        for one_id in list(self.open.get(revoke.grant_id, ())):
            one = self.approvals[one_id]
            mine = everyone or one.issuer == revoke.issuer
            early = isinstance(named, str) and one.early_until is not None and one.early_until > revoke.admitted_at
            if mine and (early or self._closer(one) is not None):
                one.close(approval_id)
                self._sort(one_id)

    def _closer(self, one: _Approval) -> str | None:
        close = self.closes.get((one.grant_id, one.issuer, one.request_id))
        if close is not None:
            return close[0]
        for issuer in (EVERYONE, one.issuer):
            mark = self.marks.get((one.grant_id, issuer))
            if mark is not None and mark[0] >= one.approved_at:
                return mark[1]
        return None

    @staticmethod
    def _change(kind: EventKind, one: _Approval, facts: dict[str, Any], at: int) -> None:
        match kind:
            case EventKind.TOOK_EFFECT:
                one.early_until, one.live, one.due_at = None, one.closed_by is None, facts.get("due_at")
            case EventKind.ENDING:
                one.warned_at, one.due_at = at, facts.get("due_at")
            case EventKind.OVERDUE:
                one.overdue_at, one.due_at = at, facts.get("due_at")
            case EventKind.ENDED:
                one.ended_at, one.live, one.due_at = at, False, None
            case EventKind.DONE | EventKind.DEAD:
                one.outcome, one.outcome_at = kind, at
            case EventKind.REJECTED:
                one.outcome, one.outcome_at = kind, at
                one.live, one.due_at = False, one.early_until
            case _:
                pass

    def _sort(self, approval_id: str) -> None:
        one = self.approvals[approval_id]
        of_grant = self.open.setdefault(one.grant_id, set())
        (of_grant.add if one.open else of_grant.discard)(approval_id)

    # -- comparing ---------------------------------------------------------------------------------------------------

    def first_difference(self, connection: Connection) -> Difference | None:
        """The first row that is not what the events come to, as a sentence; None when all are."""
        with closing(self._differences(connection)) as found:
            return next(found, None)

    def _differences(self, connection: Connection) -> Generator[Difference, None, None]:
        yield from self._of_approvals(connection)
        for table, expected in (
            (closes, {key: {"closed_by": by, "closed_at": at} for key, (by, at) in self.closes.items()}),
            (marks, {key: {"mark": mark, "set_by": by} for key, (mark, by) in self.marks.items()}),
            (holds, self.holds),
        ):
            yield from _rows_differ(connection, table, expected)
        said = connection.execute(sql.select(settings.c.value).where(settings.c.name == "mode")).scalar_one_or_none()
        if said != self.mode:
            yield f"the mode is {said}, the record says {self.mode}"
        yield from configuration.differences(connection, self.configurations)
        yield from self._of_grants(connection)

    def _of_approvals(self, connection: Connection) -> Iterator[Difference]:
        seen = 0
        query = sql.select(approvals).order_by(approvals.c.admitted_at, approvals.c.approval_id)
        for row in _streamed(connection, query):
            one = self.approvals.get(row.approval_id)
            if one is None:
                yield f"{_named(row)} was never admitted"
                continue
            seen += 1
            waits = one.outcome in (None, EventKind.DEAD) or row.asked_again is not None
            expected = *_decided(one), one.open, waits
            if _kept(row) == expected:
                continue
            for name, found, value in zip(_KEPT, _kept(row), expected, strict=True):
                if found != value:
                    yield f"{_named(row)}: {name} is {found!r}, the record says {value!r}"
        if seen < len(self.approvals):
            yield "an approval that was admitted is missing"

    def _of_grants(self, connection: Connection) -> Iterator[Difference]:
        left = dict(self.numbers)
        for row in _streamed(connection, sql.select(grants).order_by(grants.c.grant_id)):
            if _key(row) != row.grant_id:
                yield f"the grant {row.grant_id} is not the one that its id names"
            last = left.pop(row.grant_id, None)
            if last is None:
                yield f"the grant {row.grant_id} is not in the record"
            elif row.last_number != last:
                yield f"the grant {row.grant_id} counts {row.last_number} completions, not {last}"
        for grant_id in sorted(left):
            yield f"the grant {grant_id} is missing"
        expected = {
            (grant_id, side): self.ours.pop((grant_id, side), None) for grant_id in self.numbers for side in Side
        }
        query = sql.select(sides.c.grant_id, sides.c.side, sides.c.ours).order_by(sides.c.grant_id, sides.c.side)
        for row in _streamed(connection, query):
            if (row.grant_id, row.side) not in expected:
                yield f"the {row.side} side of {row.grant_id} is not in the record"
                continue
            ours = expected.pop((row.grant_id, Side(row.side)))
            if row.ours != ours:
                yield f"the {row.side} side of {row.grant_id} is {_whose(row.ours)}, the record says {_whose(ours)}"
        for grant_id, side in sorted([*expected, *self.ours]):
            yield f"the {side} side of {grant_id} is missing"


_DECIDING = (
    "configuration",
    "grant_id",
    "action",
    "issuer",
    "request_id",
    "approved_at",
    "admitted_at",
    "message_id",
    "mark",
    "early_until",
    "closed_by",
    "live",
    "due_at",
    "warned_at",
    "overdue_at",
    "ended_at",
    "outcome",
    "outcome_at",
)
_KEPT = (*_DECIDING, "open", "waits")
_decided, _kept = attrgetter(*_DECIDING), attrgetter(*_KEPT)


def _streamed(connection: Connection, query: sql.Select[Any]) -> Iterator[Row[Any]]:
    """Rows as they come, some at a time; the cursor is closed also when nobody wants the rest."""
    with connection.execute(query.execution_options(yield_per=500)) as found:
        yield from found


def _facts(event: Row[Any]) -> dict[str, Any]:
    """What only the record needs of an event; nothing where somebody wrote something else there."""
    if event.facts is None:
        return {}
    try:
        found = json.loads(event.facts)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _key(row: Row[Any]) -> str | None:
    """The id that a row of ``grants`` should have; None where it names no grant at all."""
    try:
        return key_of(row).grant_id
    except ValueError:
        return None


def _named(row: Row[Any]) -> str:
    return f"the approval {row.request_id!r} of {row.issuer!r} on {row.grant_id}"


def _whose(ours: bool | None) -> str:
    return "nobody's" if ours is None else "ours" if ours else "not ours"


def _content(row: Row[Any]) -> tuple[dict[str, Any] | None, str | None]:
    """An approval's content, and what of its row is not what it says."""
    if hashlib.sha256(row.content.encode()).hexdigest() != row.digest:
        return None, "has another content than was approved"
    content = json.loads(row.content)
    ends_at = content.get("ends_at")
    said = {
        "approval_id": name_of("approval", content["issuer"], content["request_id"], row.digest),
        "issuer": content["issuer"],
        "request_id": content["request_id"],
        "action": content["action"],
        "approved_at": _millis(content["approved_at"]),
        "ends_at": None if ends_at is None else _millis(ends_at),
        "on_end": content.get("on_end", OnEnd.REPORT),
        "allowed_prefixes": json.dumps(content.get("allowed_prefixes", [])),
    }
    said |= {f"{name}_owner_uid": content[name]["owner_uid"] for name in ("ecr", "instance")}
    for name, value in said.items():
        found = getattr(row, name)
        if found != value:
            return content, f"has {name} {found!r}, approved is {value!r}"
    return content, None


def _millis(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def _rows_differ(connection: Connection, table: sql.Table, expected: dict[Any, dict[str, Any]]) -> Iterator[Difference]:
    names = [column.name for column in table.primary_key]
    left = dict(expected)
    for row in connection.execute(sql.select(table).order_by(*table.primary_key)).mappings():
        key = tuple(row[name] for name in names)
        values = left.pop(key, None)
        where = f"{table.name} of {', '.join(map(str, key))}"
        if values is None:
            yield f"{where}: nobody recorded it"
            continue
        for name, value in values.items():
            if name in row and row[name] != value:
                yield f"{where}: {name} is {row[name]!r}, the record says {value!r}"
    for key in sorted(left):
        yield f"{table.name} of {', '.join(map(str, key))} is missing"
