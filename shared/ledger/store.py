"""The ledger: leases, grants, intents, events and the outbox, in SQL.

Every fact and its event are one transaction, and no transaction spans a cloud call. SQLite and PostgreSQL run the same
code: SQLite takes its write lock when a transaction starts, PostgreSQL locks the grant's row.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Row, make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from shared.errors import LedgerError
from shared.lease import Lease, Wanted, live, wanted
from shared.ledger.tables import approvals, chain, closes, events, grants, intents, outbox, sides
from shared.messages import (
    Approval,
    Completion,
    GrantFields,
    GrantKey,
    Reason,
    Request,
    Served,
    canonical,
)

GRANT = "grant"
ASSOCIATE = "associate"
SIDES = (GRANT, ASSOCIATE)


def now_ms() -> int:
    """The present in epoch milliseconds, the ledger's unit of time."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Intent:
    """A write to the cloud that was decided and may land at any time until it is resolved. Its id is the client token."""

    intent_id: str
    operation: str
    generation: int
    made_at: int


@dataclass(frozen=True)
class SideRow:
    """One side of a grant as last read."""

    side: str
    observed_generation: int
    observed_wanted: Wanted | None
    state: str
    ours: bool | None
    association_id: str | None
    attempts: int
    next_at: int | None
    dead: bool
    knocks: int


@dataclass(frozen=True)
class Work:
    """Everything the ledger knows about one grant, as one side needs it."""

    grant_id: str
    key: GrantKey
    generation: int
    wanted: Wanted
    mine: SideRow
    other: SideRow
    my_intents: tuple[Intent, ...]
    other_pending: bool
    last_created_at: int | None
    last_removed_at: int | None
    created_but_lost: bool

    @property
    def settled(self) -> bool:
        """Whether this side has nothing left to do: what was observed is what is wanted now."""
        return (
            self.mine.observed_generation == self.generation
            and self.mine.observed_wanted == self.wanted
            and not self.my_intents
        )

    @property
    def other_settled(self) -> bool:
        """Whether the other side has nothing left to do for these leases."""
        return self.other.observed_generation == self.generation and self.other.observed_wanted == self.wanted


@dataclass(frozen=True)
class Admission:
    """What became of an approval at the door: the grant it is about, and whether it was news."""

    grant_id: str
    new: bool


@dataclass(frozen=True)
class Letter:
    """A completion that waits to be published."""

    seq: int
    tag: str
    body: str


class Ledger:
    """One ledger at one address (a SQLAlchemy URL). Safe to share between threads."""

    def __init__(self, url: str) -> None:
        """Raises LedgerError when the address is not one; does not connect yet."""
        try:
            address = make_url(url)
        except ArgumentError:
            raise LedgerError(
                "LEDGER_URL is not a database address such as postgresql+psycopg://… or sqlite:///…"
            ) from None
        self.engine = sql.create_engine(address, pool_pre_ping=True)
        if self.engine.dialect.name == "sqlite":
            sql.event.listen(self.engine, "connect", _prepare_sqlite)
            sql.event.listen(self.engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self.engine.begin() as connection:
                yield connection
        except OperationalError as error:
            raise LedgerError(f"the ledger is away: {type(error.orig).__name__}") from error

    # -- admission ---------------------------------------------------------------------------------------------

    def admit(self, approval: Approval, message_id: str, now: int) -> Admission:
        """Record an approval once. A repeated one changes nothing; its recorded outcome is published again."""
        approval_id = _digest("approval", approval.issuer, approval.request_id, approval.digest)
        grant = approval.grant
        with self._transaction() as connection:
            row = self._grant_row(connection, grant, now)
            known = connection.execute(
                sql.select(approvals.c.outcome).where(approvals.c.approval_id == approval_id)
            ).one_or_none()
            if known is not None:
                if known.outcome is not None:
                    self._publish_again(connection, _outcome_event(approval_id, known.outcome))
                return Admission(grant.grant_id, new=False)
            generation = row.generation + 1
            connection.execute(
                approvals.insert().values(
                    approval_id=approval_id,
                    issuer=approval.issuer,
                    request_id=approval.request_id,
                    digest=approval.digest,
                    action=approval.action,
                    grant_id=grant.grant_id,
                    approved_at=_ms(approval.approved_at),
                    ends_at=None if approval.ends_at is None else _ms(approval.ends_at),
                    on_end=approval.on_end,
                    allowed_prefixes=json.dumps(approval.allowed_prefixes),
                    content=canonical(approval.model_dump(mode="json", by_alias=True)).decode(),
                    message_id=message_id,
                    admitted_at=now,
                    generation=generation,
                )
            )
            self._raise_generation(connection, grant.grant_id)
            return Admission(grant.grant_id, new=True)

    def reject_message(self, message_id: str, body: object, reason: Reason, now: int, request: Request | None) -> None:
        """Record that a message was refused at the door, once per message, with its completion."""
        event_id = _digest("message", message_id, canonical(body if isinstance(body, str) else repr(body)).decode())
        with self._transaction() as connection:
            if self._event_exists(connection, event_id):
                self._publish_again(connection, event_id)
                return
            self._append(
                connection, event_id, "rejected", now, request=request, message_id=message_id or None, reason=reason
            )

    def _grant_row(self, connection: Connection, grant: GrantKey, now: int) -> Row[Any]:
        """The grant's row, locked; made when it is the first time."""
        found = self._locked(connection, grant.grant_id)
        if found is not None:
            return found
        values = {"grant_id": grant.grant_id, **asdict(grant), "generation": 0, "last_number": 0, "created_at": now}
        fresh = self._insert_or_ignore(connection, grants, values)
        if fresh:
            connection.execute(
                sides.insert(),
                [
                    {"grant_id": grant.grant_id, "side": side, "observed_generation": 0, "state": "unknown"}
                    | {"attempts": 0, "knocks": 0}
                    for side in SIDES
                ],
            )
        row = self._locked(connection, grant.grant_id)
        assert row is not None  # noqa: S101  # it was just inserted, or another worker was first
        return row

    def _locked(self, connection: Connection, grant_id: str) -> Row[Any] | None:
        return connection.execute(
            sql.select(grants).where(grants.c.grant_id == grant_id).with_for_update()
        ).one_or_none()

    def _insert_or_ignore(self, connection: Connection, table: sql.Table, values: dict[str, Any]) -> bool:
        """Two workers may meet the same new grant: the second insert gives way."""
        if self.engine.dialect.name == "postgresql":
            from sqlalchemy.dialects.postgresql import insert as dialect_insert  # noqa: PLC0415  # one of the two
        else:
            from sqlalchemy.dialects.sqlite import insert as dialect_insert  # type: ignore[assignment]  # noqa: PLC0415
        statement = dialect_insert(table).values(values).on_conflict_do_nothing()
        return connection.execute(statement).rowcount == 1

    def _raise_generation(self, connection: Connection, grant_id: str) -> None:
        """The leases changed: both sides have to look again, and earlier trouble is no reason not to."""
        connection.execute(
            grants.update().where(grants.c.grant_id == grant_id).values(generation=grants.c.generation + 1)
        )
        connection.execute(
            sides.update()
            .where(sides.c.grant_id == grant_id)
            .values(attempts=0, next_at=None, waiting_since=None, dead_at=None, trouble=None)
        )

    # -- claims ------------------------------------------------------------------------------------------------

    def claim(self, grant_id: str, side: str, worker: str, now: int, until: int) -> bool:
        """Take one side of a grant for a while. False when somebody else has it: they are told that there is news."""
        with self._transaction() as connection:
            mine = sides.c.grant_id == grant_id, sides.c.side == side
            taken = connection.execute(
                sides.update()
                .where(*mine, sql.or_(sides.c.claimed_by.is_(None), sides.c.claimed_until <= now))
                .values(claimed_by=worker, claimed_until=until)
            ).rowcount
            if not taken:
                connection.execute(sides.update().where(*mine).values(knocks=sides.c.knocks + 1))
            return bool(taken)

    def release(self, grant_id: str, side: str, worker: str, knocks: int) -> bool:
        """Give a side back. False, and it is kept, when somebody knocked since ``knocks`` was read: look once more."""
        with self._transaction() as connection:
            mine = sides.c.grant_id == grant_id, sides.c.side == side, sides.c.claimed_by == worker
            released = connection.execute(
                sides.update().where(*mine, sides.c.knocks == knocks).values(claimed_by=None, claimed_until=None)
            ).rowcount
            if released:
                return True
            held = connection.execute(sql.select(sides.c.knocks).where(*mine)).one_or_none()
            return held is None  # the claim ran out and is somebody else's: nothing of ours to keep

    # -- reading -----------------------------------------------------------------------------------------------

    def read(self, grant_id: str, side: str, now: int) -> Work | None:
        """What one side of a grant needs to know, or None for a grant that nobody ever asked for."""
        with self._transaction() as connection:
            return self._read(connection, grant_id, side, now)

    def _read(self, connection: Connection, grant_id: str, side: str, now: int) -> Work | None:
        row = self._locked(connection, grant_id)
        if row is None:
            return None
        rows = {
            found.side: _side_row(found)
            for found in connection.execute(sql.select(sides).where(sides.c.grant_id == grant_id))
        }
        made = connection.execute(
            sql.select(intents).where(intents.c.grant_id == grant_id).order_by(intents.c.made_at)
        ).all()
        mine = [intent for intent in made if intent.side == side]
        creating = [intent for intent in mine if intent.operation in CREATING and intent.result != "refused"]
        removing = [intent for intent in mine if intent.operation in REMOVING and intent.result != "refused"]
        last_removed = max((intent.made_at for intent in removing), default=None)
        return Work(
            grant_id=grant_id,
            key=_key(row),
            generation=row.generation,
            wanted=wanted(self._leases(connection, grant_id), row.watermark, now),
            mine=rows[side],
            other=rows[ASSOCIATE if side == GRANT else GRANT],
            my_intents=tuple(_intent(intent) for intent in mine if intent.result is None),
            other_pending=any(intent.side != side and intent.result is None for intent in made),
            last_created_at=max((intent.made_at for intent in creating), default=None),
            last_removed_at=last_removed,
            created_but_lost=any(
                intent.result == "lost" and (last_removed is None or intent.made_at > last_removed)
                for intent in creating
            ),
        )

    def _leases(self, connection: Connection, grant_id: str) -> list[Lease]:
        closed = sql.exists().where(
            closes.c.issuer == approvals.c.issuer, closes.c.request_id == approvals.c.request_id
        )
        rows = connection.execute(
            sql.select(approvals, closed.label("closed")).where(
                approvals.c.grant_id == grant_id, approvals.c.action == "grant"
            )
        )
        return [_lease(row) for row in rows]

    # -- writing what was decided, seen and reached --------------------------------------------------------------

    def intend(self, work: Work, operation: str, now: int) -> Intent | None:
        """Commit to one write before it is made. None when the leases or the other side changed meanwhile."""
        with self._transaction() as connection:
            fresh = self._read(connection, work.grant_id, work.mine.side, now)
            if (
                fresh is None
                or fresh.generation != work.generation
                or fresh.wanted != work.wanted
                or fresh.other_pending
                or fresh.my_intents
            ):
                return None
            intent = Intent(uuid.uuid4().hex, operation, work.generation, now)
            connection.execute(intents.insert().values(**asdict(intent), grant_id=work.grant_id, side=work.mine.side))
            return intent

    def carried_out(self, intent: Intent, served: Sequence[Served], now: int, *, refused: bool) -> None:
        """Note the call that an intent became. ``refused``: the platform certainly did not execute it."""
        values: dict[str, Any] = {"made_at": now, "served": json.dumps([one.model_dump() for one in served])}
        if refused:
            values |= {"result": "refused", "resolved_at": now}
        with self._transaction() as connection:
            connection.execute(intents.update().where(intents.c.intent_id == intent.intent_id).values(**values))

    def resolve(self, work: Work, landed: Iterable[Intent], lost: Iterable[Intent], now: int) -> None:
        """Close the question what became of these intents."""
        with self._transaction() as connection:
            for result, which in (("landed", landed), ("lost", lost)):
                for intent in which:
                    connection.execute(
                        intents.update()
                        .where(intents.c.intent_id == intent.intent_id, intents.c.result.is_(None))
                        .values(result=result, resolved_at=now)
                    )

    def saw(self, work: Work, state: str, ours: bool | None, association_id: str | None, now: int) -> None:
        """Keep what was read on the cloud."""
        with self._transaction() as connection:
            connection.execute(
                sides.update()
                .where(*_is(work))
                .values(state=state, ours=ours, association_id=association_id, seen_at=now)
            )

    def settle(
        self,
        work: Work,
        kind: str | None,
        now: int,
        *,
        association_id: str | None,
        served: Sequence[Served],
        both_sides: bool,
    ) -> bool:
        """Record that this side is as wanted, publish it as ``kind``, and answer the requests that waited for it.

        False when the leases changed meanwhile. ``both_sides``: whether account A's side is ours to wait for.
        """
        with self._transaction() as connection:
            fresh = self._read(connection, work.grant_id, work.mine.side, now)
            if fresh is None or fresh.generation != work.generation or fresh.wanted != work.wanted:
                return False
            connection.execute(
                sides.update()
                .where(*_is(work))
                .values(
                    observed_generation=work.generation,
                    observed_wanted=json.dumps(asdict(work.wanted)),
                    attempts=0,
                    next_at=None,
                    waiting_since=None,
                    trouble=None,
                    dead_at=None,
                )
            )
            writes = self._served(connection, work)
            if kind is not None:
                self._append(
                    connection,
                    _digest("grant", work.grant_id, str(work.generation), kind),
                    kind,
                    now,
                    work=fresh,
                    association_id=association_id,
                    served=[*writes, *served],
                )
            if fresh.other_settled or not both_sides:
                self._answer(connection, fresh, now)
            return True

    def later(self, work: Work, next_at: int, reason: Reason, *, attempt: bool, now: int) -> None:
        """Look again at ``next_at``. ``attempt``: this was a try that failed, not a wait for something under way."""
        with self._transaction() as connection:
            connection.execute(
                sides.update()
                .where(*_is(work))
                .values(
                    next_at=next_at,
                    attempts=sides.c.attempts + (1 if attempt else 0),
                    trouble=reason.model_dump_json(),
                    waiting_since=sql.func.coalesce(sides.c.waiting_since, now),
                )
            )

    def refuse(self, work: Work, reason: Reason, now: int) -> bool:
        """Reject every grant request that still waits on this grant. False when none did."""
        with self._transaction() as connection:
            waiting = self._waiting(connection, work.grant_id, "grant")
            for approval in waiting:
                self._finish(connection, approval, "rejected", reason, work, now)
            if waiting:
                self._raise_generation(connection, work.grant_id)
            return bool(waiting)

    def dead(self, work: Work, reason: Reason, now: int) -> None:
        """Stop trying until somebody redrives, and tell everybody who waits."""
        with self._transaction() as connection:
            connection.execute(
                sides.update().where(*_is(work)).values(dead_at=now, next_at=None, trouble=reason.model_dump_json())
            )
            for approval in self._waiting(connection, work.grant_id):
                self._finish(connection, approval, "dead", reason, work, now)

    def _answer(self, connection: Connection, work: Work, now: int) -> None:
        """Both sides are as wanted: every request that waited is done, or was overtaken."""
        watermark = connection.execute(
            sql.select(grants.c.watermark).where(grants.c.grant_id == work.grant_id)
        ).scalar_one()
        leases = {lease.approval_id: lease for lease in self._leases(connection, work.grant_id)}
        for approval in self._waiting(connection, work.grant_id, dead_too=True):
            lease = leases.get(approval.approval_id)
            if lease is None or live(lease, watermark, now):
                text = self._done_text(connection, work)
                self._finish(connection, approval, "done", Reason(code="Done", text=text), work, now)
            else:
                overtaken = Reason(code="Closed", text="closed or ended before it took effect")
                self._finish(connection, approval, "rejected", overtaken, work, now)

    def _done_text(self, connection: Connection, work: Work) -> str:
        wrote = connection.execute(
            sql.select(sql.func.count())
            .select_from(intents)
            .where(intents.c.grant_id == work.grant_id, intents.c.generation == work.generation)
        ).scalar_one()
        return "granted and associated" if wrote else "already granted and associated"

    def _waiting(
        self, connection: Connection, grant_id: str, action: str | None = None, *, dead_too: bool = False
    ) -> Sequence[Row[Any]]:
        waiting = sql.func.coalesce(approvals.c.outcome, "").in_(["", "dead"] if dead_too else [""])
        query = sql.select(approvals).where(approvals.c.grant_id == grant_id, waiting)
        if action is not None:
            query = query.where(approvals.c.action == action)
        return connection.execute(query.order_by(approvals.c.admitted_at, approvals.c.approval_id)).all()

    def _finish(
        self, connection: Connection, approval: Row[Any], outcome: str, reason: Reason, work: Work, now: int
    ) -> None:
        connection.execute(
            approvals.update().where(approvals.c.approval_id == approval.approval_id).values(outcome=outcome)
        )
        request = Request(issuer=approval.issuer, request_id=approval.request_id, digest=approval.digest)
        event_id = _outcome_event(approval.approval_id, outcome)
        if self._event_exists(connection, event_id):
            self._publish_again(connection, event_id)
            return
        self._append(
            connection,
            event_id,
            outcome,
            now,
            work=work,
            request=request,
            reason=reason,
            message_id=approval.message_id,
        )

    def _served(self, connection: Connection, work: Work) -> list[Served]:
        """The writes of this side and generation: what a person looks for in the account's audit log."""
        rows = connection.execute(
            sql.select(intents.c.served).where(
                intents.c.grant_id == work.grant_id,
                intents.c.side == work.mine.side,
                intents.c.generation == work.generation,
                intents.c.served.is_not(None),
            )
        )
        return [Served.model_validate(one) for row in rows for one in json.loads(row.served)]

    # -- events and the outbox -----------------------------------------------------------------------------------

    def _event_exists(self, connection: Connection, event_id: str) -> bool:
        return connection.execute(sql.select(events.c.seq).where(events.c.event_id == event_id)).first() is not None

    def _append(
        self,
        connection: Connection,
        event_id: str,
        kind: str,
        now: int,
        *,
        work: Work | None = None,
        request: Request | None = None,
        message_id: str | None = None,
        reason: Reason | None = None,
        association_id: str | None = None,
        served: Sequence[Served] = (),
    ) -> None:
        """Add one event to the chain and to the outbox. Its completion is fixed here, id included."""
        end = connection.execute(sql.select(chain).where(chain.c.name == "events").with_for_update()).one()
        seq, previous = end.seq + 1, end.hash
        number = None
        if work is not None:
            number = connection.execute(
                grants.update()
                .where(grants.c.grant_id == work.grant_id)
                .values(last_number=grants.c.last_number + 1)
                .returning(grants.c.last_number)
            ).scalar_one()
        completion = Completion.model_validate(
            {
                "schema": "ecr-grants/completion/1",
                "id": event_id,
                "event": kind,
                "at": datetime.fromtimestamp(now / 1000, UTC),
                "grant": None if work is None else GrantFields(grant_id=work.grant_id, **asdict(work.key)),
                "number": number,
                "generation": None if work is None else work.generation,
                "association_id": association_id,
                "allowed_prefixes": None if work is None else list(work.wanted.prefixes),
                "request": request,
                "message_id": message_id,
                "reason": reason,
                "served": list(served),
            }
        )
        body = canonical(completion.model_dump(mode="json", by_alias=True, exclude_none=True)).decode()
        fingerprint = chained(previous, seq, body)
        connection.execute(
            events.insert().values(
                seq=seq,
                event_id=event_id,
                grant_id=None if work is None else work.grant_id,
                number=number,
                kind=kind,
                at=now,
                body=body,
                previous=previous,
                hash=fingerprint,
            )
        )
        connection.execute(chain.update().where(chain.c.name == "events").values(seq=seq, hash=fingerprint))
        connection.execute(outbox.insert().values(seq=seq))

    def _publish_again(self, connection: Connection, event_id: str) -> None:
        which = sql.select(events.c.seq).where(events.c.event_id == event_id).scalar_subquery()
        connection.execute(outbox.update().where(outbox.c.seq == which).values(published_at=None))

    def waiting_letters(self, limit: int) -> list[Letter]:
        """The oldest completions that were recorded and not published yet."""
        with self._transaction() as connection:
            rows = connection.execute(
                sql.select(events.c.seq, events.c.kind, events.c.body)
                .join(outbox, outbox.c.seq == events.c.seq)
                .where(outbox.c.published_at.is_(None))
                .order_by(events.c.seq)
                .limit(limit)
            )
            return [Letter(row.seq, row.kind, row.body) for row in rows]

    def published(self, seq: int, now: int) -> None:
        """The completion is out."""
        with self._transaction() as connection:
            connection.execute(outbox.update().where(outbox.c.seq == seq).values(published_at=now))


CREATING = frozenset({"grant", "associate", "attach"})
REMOVING = frozenset({"revoke", "dissociate", "detach"})


def chained(previous: str, seq: int, body: str) -> str:
    """The hash that ties an event to all before it."""
    return hashlib.sha256(f"{previous}\n{seq}\n{body}".encode()).hexdigest()


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Write-ahead log and a patient lock: several worker processes share the file."""
    connection.isolation_level = None  # our own BEGIN IMMEDIATE instead of the driver's late BEGIN
    for pragma in ("journal_mode=WAL", "busy_timeout=30000", "foreign_keys=ON", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _outcome_event(approval_id: str, outcome: str) -> str:
    return _digest("outcome", approval_id, outcome)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:40]


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _is(work: Work) -> tuple[sql.ColumnElement[bool], sql.ColumnElement[bool]]:
    return sides.c.grant_id == work.grant_id, sides.c.side == work.mine.side


def _key(row: Row[Any]) -> GrantKey:
    return GrantKey(
        ecr_id=row.ecr_id,
        ecr_owner_uid=row.ecr_owner_uid,
        instance_type=row.instance_type,
        instance_id=row.instance_id,
        instance_region=row.instance_region,
        instance_owner_uid=row.instance_owner_uid,
    )


def _side_row(row: Row[Any]) -> SideRow:
    seen = None if row.observed_wanted is None else json.loads(row.observed_wanted)
    return SideRow(
        side=row.side,
        observed_generation=row.observed_generation,
        observed_wanted=None if seen is None else Wanted(up=seen["up"], prefixes=tuple(seen["prefixes"])),
        state=row.state,
        ours=row.ours,
        association_id=row.association_id,
        attempts=row.attempts,
        next_at=row.next_at,
        dead=row.dead_at is not None,
        knocks=row.knocks,
    )


def _intent(row: Row[Any]) -> Intent:
    return Intent(row.intent_id, row.operation, row.generation, row.made_at)


def _lease(row: Row[Any]) -> Lease:
    return Lease(
        approval_id=row.approval_id,
        issuer=row.issuer,
        request_id=row.request_id,
        approved_at=row.approved_at,
        ends_at=row.ends_at,
        on_end=row.on_end,
        allowed_prefixes=tuple(json.loads(row.allowed_prefixes)),
        closed=bool(row.closed),
        rejected=row.outcome == "rejected",
    )
