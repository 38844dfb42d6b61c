"""Configurations: each version is admitted once, as the successor of the one before it, and is an event.

The ledger keeps what was signed as it came. Whether it may be believed is decided by whoever reads it, from the keys in its own
environment: a row that somebody wrote here is worth nothing without them.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from shared.errors import NotTheSuccessor
from shared.ledger.record import Event, append, name_of
from shared.ledger.revision import GATED
from shared.ledger.snapshot import version_in
from shared.ledger.tables import accepts, configurations, events, settings
from shared.ledger.transactions import alone_with_words, insert_or_ignore
from shared.messages.completion import EventKind, Reason, ReasonCode

_NUMBER = "configuration"
_DEPLOYMENT = "deployment"
_SAID = sql.select(settings.c.value).where(settings.c.name == sql.bindparam("named"))


@dataclass(frozen=True)
class Kept:
    """A version as the ledger keeps it. ``applied_at`` in epoch milliseconds; ``bundle`` as it was signed."""

    number: int
    digest: str
    previous: str
    bundle: str
    applied_at: int
    applied_by: str


@dataclass(frozen=True)
class Stored:
    """What the ledger says of configurations. ``taken_back``: it has the record of a newer version than the newest one."""

    number: int
    deployment: str | None
    versions: list[Kept]
    taken_back: bool = False


def newest_number(connection: Connection) -> int:
    """The number of the newest version; 0 where there is none. Behind a grant's lock it stays so until the end."""
    return version_in(connection.execute(_SAID, {"named": _NUMBER}).scalar_one_or_none())


def deployment_id(connection: Connection) -> str | None:
    """What seals are addressed to, written once with the first version; None before that."""
    return connection.execute(_SAID, {"named": _DEPLOYMENT}).scalar_one_or_none()


def newest_versions(connection: Connection, after: int) -> tuple[int, str | None, list[Kept]]:
    """What the newest number is, what the deployment is called, and the versions behind ``after``, oldest first; without any
    (0) only the newest and the one before it.
    """
    number = newest_number(connection)
    start = after or max(0, number - 2)
    found = connection.execute(
        sql.select(configurations).where(configurations.c.number > start).order_by(configurations.c.number)
    )
    return number, deployment_id(connection), [Kept(**row._mapping) for row in found]  # noqa: SLF001  # SQLAlchemy's way


def stored_versions(connection: Connection, after: int) -> Stored:
    """The same, and whether somebody put an older one back. To be asked first of all in a transaction: it reads one state."""
    if connection.dialect.name == "postgresql":
        connection.execute(sql.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
    found = Stored(*newest_versions(connection, after))
    next_one = name_of(EventKind.CONFIGURED, str(found.number + 1))
    recorded = connection.execute(sql.select(events.c.seq).where(events.c.event_id == next_one)).first()
    return replace(found, taken_back=recorded is not None)


def last_versions(connection: Connection, most: int) -> list[Kept]:
    """The last few versions that are there, oldest first, whatever is said to be the newest."""
    newest_first = sql.select(configurations).order_by(configurations.c.number.desc()).limit(most)
    return [Kept(**row._mapping) for row in reversed(connection.execute(newest_first).all())]  # noqa: SLF001


def history(connection: Connection) -> list[Kept]:
    """Every version, oldest first."""
    return [
        Kept(**row._mapping)  # noqa: SLF001
        for row in connection.execute(sql.select(configurations).order_by(configurations.c.number))
    ]


@dataclass(frozen=True)
class AppliedVersion:
    """A version without what is in it. ``facts``: what the record has of its being applied: signers, difference, digest of the
    bundle; nothing where it has none. ``applied_at`` in epoch milliseconds.
    """

    number: int
    digest: str
    previous: str
    applied_at: int
    applied_by: str
    facts: Mapping[str, Any]


def list_versions(connection: Connection, behind: int | None, limit: int) -> list[AppliedVersion]:
    """Versions, the newest first, a page behind one, as they were applied. Two statements."""
    query = sql.select(*(configurations.c[name] for name in _OF_APPLIED)).order_by(configurations.c.number.desc())
    if behind is not None:
        query = query.where(configurations.c.number < behind)
    rows = connection.execute(query.limit(limit)).all()
    facts = _recorded(connection, [row.number for row in rows])
    return [AppliedVersion(**row._mapping, facts=facts.get(row.number, {})) for row in rows]  # noqa: SLF001


def kept_version(connection: Connection, number: int) -> tuple[Kept, Mapping[str, Any]] | None:
    """One version as the ledger keeps it, and what the record has of its being applied; None where there is none."""
    row = connection.execute(sql.select(configurations).where(configurations.c.number == number)).one_or_none()
    if row is None:
        return None
    return Kept(**row._mapping), _recorded(connection, [number]).get(number, {})  # noqa: SLF001


_OF_APPLIED = ("number", "digest", "previous", "applied_at", "applied_by")


def _recorded(connection: Connection, numbers: Sequence[int]) -> dict[int, Mapping[str, Any]]:
    """The facts of the events of these versions, by number."""
    names = {name_of(EventKind.CONFIGURED, str(number)): number for number in numbers}
    query = sql.select(events.c.event_id, events.c.facts).where(events.c.event_id.in_(names))
    return {names[row.event_id]: json.loads(row.facts) for row in connection.execute(query) if row.facts is not None}


def apply_version(
    connection: Connection,
    version: Kept,
    *,
    signers: Sequence[str],
    difference: Sequence[str],
    deployment: str | None = None,
) -> str:
    """Admit a version whose signatures were verified, as the successor of the newest one. Returns the deployment's id.

    ``difference``: what it changes, in words. ``deployment``: what the deployment is to be called, where it has no id yet; None:
    a name that nobody else has. From now on the ledger accepts no code that knows no configuration. Raises
    NotTheSuccessor where another version has that number, or this one was made for another before it.
    """
    alone_with_words(connection)
    number = newest_number(connection)
    before = connection.execute(
        sql.select(configurations.c.digest).where(configurations.c.number == number)
    ).scalar_one_or_none()
    if (version.number, version.previous) != (number + 1, before or ""):
        newest = f"version {number} with the digest {before}" if number else "none"
        raise NotTheSuccessor(
            f"number: the newest version is {newest}; this is number {version.number} after {version.previous or 'none'}:"
            " make it anew from what holds now"
        )
    connection.execute(configurations.insert().values(**vars(version)))
    _say(connection, _NUMBER, str(version.number), version.applied_at)
    insert_or_ignore(
        connection,
        settings,
        {
            "name": _DEPLOYMENT,
            "value": deployment or f"ecr-grants-{uuid.uuid4().hex[:12]}",
            "changed_at": version.applied_at,
        },
    )
    connection.execute(accepts.update().where(accepts.c.name == "code", accepts.c.oldest < GATED).values(oldest=GATED))
    named = str(deployment_id(connection))
    facts = {
        "number": version.number,
        "digest": version.digest,
        "bundle": hashlib.sha256(version.bundle.encode()).hexdigest(),
        "signers": list(signers),
        "who": version.applied_by,
        "via": "ledger",
        "difference": list(difference),
        "deployment": named,
    }
    text = f"{version.applied_by} applied configuration {version.number}, signed by {', '.join(signers)}"
    reason = Reason(code=ReasonCode.CONFIGURED, text=text)
    kind = EventKind.CONFIGURED
    append(connection, version.applied_at, Event(name_of(kind, str(version.number)), kind, reason=reason, facts=facts))
    return named


def differences(connection: Connection, applied: Mapping[int, tuple[int, Mapping[str, Any]]]) -> Iterator[str]:
    """What of configurations is not as their events have it, a sentence each. ``applied``: when, and the facts, by number."""
    newest, last = newest_number(connection), max(applied, default=0)
    if newest != last:
        yield f"the newest configuration is {newest}, the record says {last}"
    left = dict(applied)
    for version in history(connection):
        at, facts = left.pop(version.number, (0, {}))
        _, before = applied.get(version.number - 1, (0, {}))
        found = {
            "digest": (version.digest, facts.get("digest")),
            "previous": (version.previous, before.get("digest", "")),
            "bundle": (hashlib.sha256(version.bundle.encode()).hexdigest(), facts.get("bundle")),
            "applied_at": (version.applied_at, at),
            "applied_by": (version.applied_by, facts.get("who")),
        }
        wrong = [name for name, (is_now, was) in found.items() if is_now != was]
        if not facts:
            yield f"configuration {version.number} was never applied"
        elif wrong:
            yield f"configuration {version.number} is not the one that was applied: it has another {' and '.join(wrong)}"
    for number in sorted(left):
        yield f"configuration {number} is missing"
    named, was_named = deployment_id(connection), applied[1][1].get("deployment") if 1 in applied else None
    if named != was_named:
        yield f"the deployment is called {named}, the record says {was_named}"


def _say(connection: Connection, name: str, value: str, now: int) -> None:
    if not insert_or_ignore(connection, settings, {"name": name, "value": value, "changed_at": now}):
        connection.execute(settings.update().where(settings.c.name == name).values(value=value, changed_at=now))
