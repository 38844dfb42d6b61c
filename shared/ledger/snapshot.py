"""Everything that is open about one grant, in one statement: what is far away is asked once.

The rows of all tables come as text in one list, each told apart by its table's place, and are made into rows again here.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from shared.ledger.tables import approvals, consent, grants, holds, intents, settings, sides
from shared.messages.approval import DESK
from shared.rules.facts import Side

_THESE: sql.BindParameter[Any] = sql.bindparam("of_grants", expanding=True)
_PRESENT = intents.join(
    grants, (intents.c.grant_id == grants.c.grant_id) & (intents.c.generation == grants.c.generation)
)
_SAID = consent.join(approvals, consent.c.request_id == approvals.c.request_id)
_PARTS: tuple[tuple[sql.Table, sql.FromClause, tuple[sql.ColumnElement[bool], ...]], ...] = (
    (grants, grants, (grants.c.grant_id.in_(_THESE),)),
    (sides, sides, (sides.c.grant_id.in_(_THESE),)),
    (intents, intents, (intents.c.grant_id.in_(_THESE), intents.c.matters)),
    (intents, _PRESENT, (grants.c.grant_id.in_(_THESE), ~intents.c.matters)),
    (approvals, approvals, (approvals.c.grant_id.in_(_THESE), approvals.c.open)),
    (approvals, approvals, (approvals.c.grant_id.in_(_THESE), approvals.c.waits, ~approvals.c.open)),
    (settings, settings, (settings.c.name.in_(("mode", "configuration")),)),
    (holds, holds, ()),
    (consent, _SAID, (approvals.c.grant_id.in_(_THESE), approvals.c.open, approvals.c.issuer == DESK)),
)
"""What is read and from where, each part by an index that holds the open rows and no past ones."""

_WIDTH = max(len(table.c) for table, *_ in _PARTS)


def _part(
    place: int, table: sql.Table, source: sql.FromClause, conditions: tuple[sql.ColumnElement[bool], ...]
) -> sql.Select[Any]:
    nothing = sql.cast(sql.null(), sql.Text)
    columns: list[sql.ColumnElement[Any]] = [sql.cast(column, sql.Text) for column in table.c]
    columns += [nothing] * (_WIDTH - len(columns))
    named = [column.label(f"c{number}") for number, column in enumerate(columns)]
    return sql.select(sql.literal_column(str(place)).label("part"), *named).where(*conditions).select_from(source)


_EVERYTHING = sql.union_all(*(_part(place, *each) for place, each in enumerate(_PARTS)))


def _as_read(column: sql.Column[Any]) -> Callable[[str], Any] | None:
    """How a column's value is made out of its text; None where it is text."""
    if isinstance(column.type, sql.Boolean):
        return lambda text: text in ("true", "1")
    return int if isinstance(column.type, sql.Integer) else None


_READERS = {table: [_as_read(column) for column in table.c] for table, *_ in _PARTS}
_KINDS: dict[sql.Table, Any] = {table: namedtuple(table.name, table.c.keys()) for table, *_ in _PARTS}  # noqa: PYI024  # made of columns


def _row(table: sql.Table, texts: Sequence[str | None]) -> Any:
    values = (
        text if text is None or reader is None else reader(text)
        for text, reader in zip(texts, _READERS[table], strict=False)
    )
    return _KINDS[table](*values)


@dataclass(frozen=True)
class Rows:
    """A grant's rows, with the columns of their tables. ``transaction``: in which they were read."""

    transaction: object
    grant: Any
    sides: Mapping[str, Any]
    intents: tuple[Any, ...]
    """Those that matter, and all of the present generation."""
    approvals: tuple[Any, ...]
    """Those that are open or wait for an answer, in the order of their admission."""
    mode: str | None
    holds: tuple[Any, ...]
    facts: tuple[Any, ...]
    """What people said of the requests that its open leases of the desk come from, oldest first."""
    configuration: int
    """The number of the newest version; 0 where there is none."""

    def with_side(self, side: Side, values: Mapping[str, Any]) -> Rows:
        """The same, with other values in one side's row."""
        return replace(self, sides={**self.sides, side: self.sides[side]._replace(**values)})

    def with_intents(self, changed: Mapping[str, Mapping[str, Any]]) -> Rows:
        """The same, with other values in some intents, by id."""
        return replace(self, intents=tuple(one._replace(**changed.get(one.intent_id, {})) for one in self.intents))

    @property
    def leases(self) -> list[Any]:
        """The approvals that count."""
        return [one for one in self.approvals if one.open and one.live]

    def waiting(self, *, settled: bool = False) -> list[Any]:
        """The requests that have no final outcome yet. ``settled``: with those that are dead or were sent again."""
        found = [one for one in self.approvals if one.waits and one.early_until is None]
        return found if settled else [one for one in found if one.outcome is None]


def rows_of(connection: Connection, grant_id: str) -> Rows | None:
    """What there is about a grant now, in one statement; None for a grant that nobody ever asked for."""
    return rows_of_all(connection, [grant_id]).get(grant_id)


def rows_of_all(connection: Connection, ids: Sequence[str]) -> dict[str, Rows]:
    """The same of several grants by id, in one statement; without those that nobody ever asked for."""
    of_all: list[Any] = [[] for _ in _PARTS]
    for place, *texts in connection.execute(_EVERYTHING, {"of_grants": ids}):
        of_all[place].append(_row(_PARTS[place][0], texts))
    found, both, mattering, others, opened, waiting, said, held, facts = of_all
    said = {row.name: row.value for row in said}
    by_id: dict[str, tuple[list[Any], list[Any], list[Any]]] = {row.grant_id: ([], [], []) for row in found}
    for kind, rows in enumerate((both, [*mattering, *others], [*opened, *waiting])):
        for row in rows:
            by_id[row.grant_id][kind].append(row)
    return {
        row.grant_id: Rows(
            transaction=connection.get_transaction(),
            grant=row,
            sides={side.side: side for side in by_id[row.grant_id][0]},
            intents=tuple(by_id[row.grant_id][1]),
            approvals=_in_order(by_id[row.grant_id][2]),
            mode=said.get("mode"),
            holds=tuple(held),
            facts=_of_requests(facts, by_id[row.grant_id][2]),
            configuration=version_in(said.get("configuration")),
        )
        for row in found
    }


def _of_requests(facts: Sequence[Any], leases: Sequence[Any]) -> tuple[Any, ...]:
    if not facts:
        return ()
    asked = {one.request_id for one in leases if one.issuer == DESK}
    return tuple(sorted((one for one in facts if one.request_id in asked), key=lambda one: one.seq))


def version_in(said: str | None) -> int:
    """The number of the newest version, as a setting has it: 0 where none was applied, and -1, which none has, where somebody
    wrote something else there.
    """
    if said is None:
        return 0
    return int(said) if said.isascii() and said.isdigit() and len(said) < 10 else -1


def made_row(values: Mapping[str, Any]) -> Any:
    """A row of ``approvals`` with these values, before it is written."""
    return _KINDS[approvals](**{**dict.fromkeys(approvals.c.keys()), **values})


def _in_order(found: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(sorted(found, key=lambda row: (row.admitted_at, row.approval_id)))
