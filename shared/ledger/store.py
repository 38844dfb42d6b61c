"""The ledger: leases, grants (both sides as last read), intents, events and the outbox, in SQL.

Every fact and its event are one transaction, and no transaction spans a cloud call. SQLite and PostgreSQL run the same
code: SQLite takes its write lock when a transaction starts, PostgreSQL locks the grant's row.
"""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any, Literal

import sqlalchemy as sql
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy.engine import Connection, Row
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    NotSupportedError,
    TimeoutError,  # noqa: A004  # a connection of the pool did not come free
)

from shared.errors import LedgerError
from shared.lease import Lease, Timing, Wanted, live, passing, wanted
from shared.ledger import events
from shared.ledger.events import About, Head, Letter, append, name_of
from shared.ledger.tables import approvals, chain, closes, grants, intents, settings, sides
from shared.messages import GrantApproval, GrantKey, Reason, Request, RevokeApproval, Served, canonical

GRANT = "grant"
ASSOCIATE = "associate"
SIDES = (GRANT, ASSOCIATE)
CREATING = frozenset({"grant", "associate", "attach"})

# The statements of every step, built once: building one costs more than running it.
_GRANT = sql.select(grants).where(grants.c.grant_id == sql.bindparam("of_grant"))
_GRANT_LOCKED = _GRANT.with_for_update()
_SIDES = sql.select(sides).where(sides.c.grant_id == sql.bindparam("of_grant"))
_INTENTS = sql.select(intents).where(
    intents.c.grant_id == sql.bindparam("of_grant"), sql.func.coalesce(intents.c.result, "") != "refused"
)
_LEASES = sql.select(
    approvals,
    sql.exists()
    .where(closes.c.issuer == approvals.c.issuer, closes.c.request_id == approvals.c.request_id)
    .label("closed"),
).where(approvals.c.grant_id == sql.bindparam("of_grant"), approvals.c.action == "grant")
_FOREIGN = ("foreign-grant", "foreign-association")  # drift that is something there, not something missing
_WRITERS_IN_ORDER = sql.select(chain.c.seq).with_for_update()

Mode = Literal["observe", "pause-teardown", "pause-all", "full"]
MODES: tuple[Mode, ...] = ("observe", "pause-teardown", "pause-all", "full")


def now_ms() -> int:
    """The present in epoch milliseconds, the ledger's unit of time."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Intent:
    """A write to the cloud that was decided; until it is resolved it may land. Its id is the client token.

    ``made_at``: the latest moment at which the call can have been made. ``prefixes``: what an association was asked for.
    """

    intent_id: str
    operation: str
    generation: int
    made_at: int
    prefixes: tuple[str, ...]


@dataclass(frozen=True)
class SideRow:
    """One side of a grant as last read. ``held``: it waits for the other side or the mode, so any hint is worth a look."""

    side: str
    observed_generation: int
    observed_wanted: Wanted | None
    state: str
    ours: bool | None
    association_id: str | None
    seen_at: int | None
    attempts: int
    next_at: int | None
    waiting_since: int | None
    held: bool
    dead: bool
    drift: str | None
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
    writes: tuple[Intent, ...]  # all of this side, but those that were refused
    my_intents: tuple[Intent, ...]  # those that may still land
    other_pending: bool

    @property
    def settled(self) -> bool:
        """Whether this side has nothing left to do: what was observed is what is wanted now."""
        return self._settled(self.mine) and not self.my_intents

    @property
    def other_settled(self) -> bool:
        """Whether the other side has nothing left to do for these leases."""
        return self._settled(self.other) and not self.other_pending

    @property
    def other_gone(self) -> bool:
        """Whether the other side certainly has nothing up: nothing was seen there, and nothing may still land."""
        return self.other.state in ("absent", "unknown") and not self.other_pending

    @property
    def about(self) -> About:
        """What events of this work are about."""
        return About(self.grant_id, self.key, self.generation, self.wanted.prefixes)

    def _settled(self, row: SideRow) -> bool:
        return row.observed_generation == self.generation and row.observed_wanted == self.wanted


@dataclass(frozen=True)
class Standing:
    """One grant as the ledger has it, without its leases: enough to compare it with the cloud."""

    key: GrantKey
    generation: int
    grant: SideRow
    associate: SideRow

    @property
    def settled(self) -> bool:
        """Whether both sides have come to rest for the present leases."""
        return all(
            row.observed_generation == self.generation and row.observed_wanted is not None
            for row in (self.grant, self.associate)
        )


@dataclass(frozen=True)
class Drift:
    """One way in which the cloud is not as it had settled. ``kind`` is the class that policy speaks of."""

    key: GrantKey
    side: str
    kind: str
    text: str


@dataclass(frozen=True)
class DeadRow:
    """One side of a grant that is not tried any more, until somebody redrives it. ``since`` in epoch milliseconds."""

    key: GrantKey
    side: str
    since: int
    reason: Reason
    attempts: int
    waiting: int

    @property
    def name(self) -> str:
        """What redrive is told: grant and side."""
        return f"{self.key.grant_id}/{self.side}"


@dataclass(frozen=True)
class Admission:
    """What became of an approval at the door: the grants it touches, and whether it was news."""

    touched: tuple[str, ...]
    new: bool
    held_until: int | None = None


class Ledger:
    """One ledger at one address (a SQLAlchemy URL). Safe to share between threads."""

    def __init__(self, url: str, timing: Timing | None = None) -> None:
        """Raises LedgerError when the address is not one; does not connect yet."""
        self.timing = timing or Timing()
        try:
            limits = {"connect_timeout": 10} if sql.make_url(url).get_backend_name() == "postgresql" else {}
            self.engine = sql.create_engine(url, pool_pre_ping=True, connect_args=limits)
        except (ArgumentError, ImportError):  # no address, or of a database whose driver is not installed
            raise LedgerError(
                "LEDGER_URL is not a database address such as postgresql+psycopg://… or sqlite:///…"
            ) from None
        if self.engine.dialect.name == "postgresql":
            sql.event.listen(self.engine, "connect", _prepare_postgresql)
        if self.engine.dialect.name == "sqlite":
            sql.event.listen(self.engine, "connect", _prepare_sqlite)
            sql.event.listen(self.engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """A transaction that may write. Writers go one after another, in both databases: nothing can deadlock, and what
        one has read no other changes. They are short, and the cloud's quota of calls is the far tighter limit.
        """
        with self._reading() as connection:
            if self.engine.dialect.name == "postgresql":  # SQLite has taken its write lock when the transaction started
                connection.execute(_WRITERS_IN_ORDER)
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        try:
            with self.engine.begin() as connection:
                yield connection
        except (IntegrityError, DataError, NotSupportedError):
            raise  # a defect of ours, not of the database
        except (DatabaseError, InterfaceError, TimeoutError) as error:
            found = str(getattr(error, "orig", error)).strip().splitlines()
            raise LedgerError(f"the ledger is away: {found[0] if found else type(error).__name__}") from error

    # -- admission -------------------------------------------------------------------------------------------------

    def admit(self, approval: GrantApproval | RevokeApproval, message_id: str, now: int) -> Admission:
        """Record an approval, once. A repeated one changes nothing; its recorded outcome is published again.

        One that is dated further ahead than clocks may differ is held: recorded, and without effect until then.
        """
        message_id = keepable(message_id)
        approval_id = name_of("approval", approval.issuer, approval.request_id, approval.digest)
        approved_at = int(approval.approved_at.timestamp() * 1000)
        held_until = approved_at - self.timing.skew if approved_at > now + self.timing.skew else None
        request = Request(issuer=approval.issuer, request_id=approval.request_id, digest=approval.digest)
        with self._transaction() as connection:
            row = self._grant_row(connection, approval.grant, now)
            known = connection.execute(
                sql.select(approvals.c.approval_id, approvals.c.outcome, approvals.c.message_id).where(
                    approvals.c.issuer == approval.issuer, approvals.c.request_id == approval.request_id
                )
            ).all()
            for other in known:
                if other.approval_id == approval_id:
                    # The platform delivers at least once; only a message of its own is somebody asking again.
                    if other.outcome is not None and other.message_id != message_id:
                        events.publish_again(connection, _outcome_event(approval_id, other.outcome))
                    return Admission((row.grant_id,), new=False)
            about = self._about(connection, row)
            connection.execute(
                approvals.insert().values(
                    approval_id=approval_id,
                    issuer=approval.issuer,
                    request_id=approval.request_id,
                    digest=approval.digest,
                    action=approval.action,
                    grant_id=row.grant_id,
                    approved_at=approved_at,
                    content=canonical(approval.model_dump(mode="json", by_alias=True)).decode(),
                    message_id=message_id,
                    admitted_at=now,
                    held_until=held_until,
                    **_lease_columns(approval),
                )
            )
            kind = "admitted" if held_until is None else "held"
            append(
                connection,
                name_of(kind, approval_id),
                kind,
                now,
                about=about,
                request=request,
                message_id=message_id,
            )
            if known:
                text = f"{len(known)} other content(s) were approved under the same issuer and request id"
                append(
                    connection,
                    name_of("second-digest", approval_id),
                    "second-digest",
                    now,
                    about=about,
                    request=request,
                    reason=Reason(code="SecondDigest", text=text),
                )
            if held_until is not None:
                return Admission((), new=True, held_until=held_until)
            return Admission(self._take_effect(connection, approval_id, now), new=True)

    def _take_effect(self, connection: Connection, approval_id: str, now: int) -> tuple[str, ...]:
        """Let an admitted approval change the leases. Returns the grants that somebody has to look at."""
        approval = connection.execute(sql.select(approvals).where(approvals.c.approval_id == approval_id)).one()
        if approval.action == "grant":
            leases = {lease.approval_id: lease for lease in self._leases(connection, approval.grant_id)}
            watermark = self._watermark(connection, approval.grant_id)
            if not live(leases[approval_id], watermark):
                self._finish(
                    connection, approval, "rejected", _OVERTAKEN, self._work(connection, approval.grant_id), now
                )
                return ()
            touched = {approval.grant_id}
        else:
            touched = {approval.grant_id} | self._close(connection, approval, now)
        for grant_id in sorted(touched):
            self._raise_generation(connection, grant_id)
        return tuple(sorted(touched))

    def _close(self, connection: Connection, approval: Row[Any], now: int) -> set[str]:
        """Close what a revoke names. A close that comes before its open stands and waits for it."""
        named = json.loads(approval.content)["closes"]
        if named == "all":
            mark = approval.approved_at + self.timing.skew
            connection.execute(
                grants.update()
                .where(grants.c.grant_id == approval.grant_id)
                .where(sql.func.coalesce(grants.c.watermark, 0) < mark)
                .values(watermark=mark)
            )
            return set()
        for request_id in named:
            close = {"issuer": approval.issuer, "request_id": request_id}
            self._insert_or_ignore(connection, closes, close | {"closed_by": approval.approval_id, "closed_at": now})
        rows = connection.execute(
            sql.select(approvals.c.grant_id).where(
                approvals.c.issuer == approval.issuer,
                approvals.c.request_id.in_(named),
                approvals.c.action == "grant",
            )
        )
        return {row.grant_id for row in rows}

    def reject_message(
        self, message_id: str, body: object, reason: Reason, now: int, *, request: Request | None = None
    ) -> None:
        """Record that a message was refused at the door, once per message, with its completion."""
        text = body if isinstance(body, str) else canonical(body).decode()
        message_id = keepable(message_id)
        event_id = name_of("message", message_id, text)
        with self._transaction() as connection:
            append(connection, event_id, "rejected", now, request=request, message_id=message_id, reason=reason)

    def _grant_row(self, connection: Connection, grant: GrantKey, now: int) -> Row[Any]:
        """The grant's row, locked; made when it is the first time."""
        found = self._locked(connection, grant.grant_id)
        if found is not None:
            return found
        values = {"grant_id": grant.grant_id, **asdict(grant), "generation": 0, "last_number": 0, "created_at": now}
        if self._insert_or_ignore(connection, grants, values):
            fresh = {
                "grant_id": grant.grant_id,
                "observed_generation": 0,
                "state": "unknown",
                "attempts": 0,
                "knocks": 0,
            }
            connection.execute(sides.insert(), [fresh | {"side": side} for side in SIDES])
        row = self._locked(connection, grant.grant_id)
        assert row is not None  # noqa: S101  # it was just inserted, here or by another worker
        return row

    def _locked(self, connection: Connection, grant_id: str) -> Row[Any] | None:
        return connection.execute(_GRANT_LOCKED, {"of_grant": grant_id}).one_or_none()

    def _insert_or_ignore(self, connection: Connection, table: sql.Table, values: dict[str, Any]) -> bool:
        """Two workers may meet the same new row: the second insert gives way."""
        if self.engine.dialect.name == "postgresql":
            from sqlalchemy.dialects.postgresql import insert  # noqa: PLC0415  # the dialect in use decides
        else:
            from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]  # noqa: PLC0415
        statement = insert(table).values(values).on_conflict_do_nothing()
        # Without being asked SQLAlchemy does not keep the row count of an insert on psycopg.
        return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount == 1

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

    # -- claims ----------------------------------------------------------------------------------------------------

    def claim(self, grant_id: str, side: str, worker: str, now: int, until: int) -> bool:
        """Take one side of a grant for a while. False when somebody else has it: they are told that there is news."""
        mine = sides.c.grant_id == grant_id, sides.c.side == side
        with self._transaction() as connection:
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
        mine = sides.c.grant_id == grant_id, sides.c.side == side, sides.c.claimed_by == worker
        with self._transaction() as connection:
            released = connection.execute(
                sides.update().where(*mine, sides.c.knocks == knocks).values(claimed_by=None, claimed_until=None)
            ).rowcount
            if released:
                return True
            held = connection.execute(sql.select(sides.c.knocks).where(*mine)).one_or_none()
            return held is None  # the claim ran out and is somebody else's: nothing of ours to keep

    def give_up(self, grant_id: str, side: str, worker: str, now: int) -> None:
        """Give a side back that a worker could not, since the ledger was away. It works no more, so its calls are over."""
        mine = sides.c.grant_id == grant_id, sides.c.side == side, sides.c.claimed_by == worker
        with self._transaction() as connection:
            self._locked(connection, grant_id)
            held = connection.execute(sides.update().where(*mine).values(claimed_by=None, claimed_until=None)).rowcount
            if held:
                open_ones = intents.c.grant_id == grant_id, intents.c.side == side, intents.c.result.is_(None)
                connection.execute(intents.update().where(*open_ones, intents.c.made_at > now).values(made_at=now))

    # -- reading ---------------------------------------------------------------------------------------------------

    def read(self, grant_id: str, side: str, now: int) -> Work | None:
        """What one side of a grant needs to know, or None for a grant that nobody ever asked for.

        What time has done to the leases is recorded first, so what is wanted is what is wanted now.
        """
        with self._transaction() as connection:
            if self._locked(connection, grant_id) is None:
                return None
            leases = self._pass_time(connection, grant_id, now)
            return self._work(connection, grant_id, side, leases)

    def _work(
        self, connection: Connection, grant_id: str, side: str = GRANT, leases: Sequence[Lease] | None = None
    ) -> Work:
        """The work as it stands. ``leases``: where they have just been read."""
        of_grant = {"of_grant": grant_id}
        row = connection.execute(_GRANT, of_grant).one()
        rows = {one.side: _side_row(one) for one in connection.execute(_SIDES, of_grant)}
        made = connection.execute(_INTENTS, of_grant).all()
        mine = [intent for intent in made if intent.side == side]
        return Work(
            grant_id=grant_id,
            key=_key(row),
            generation=row.generation,
            wanted=wanted(self._leases(connection, grant_id) if leases is None else leases, row.watermark),
            mine=rows[side],
            other=rows[ASSOCIATE if side == GRANT else GRANT],
            writes=tuple(_intent(intent) for intent in mine),
            my_intents=tuple(_intent(intent) for intent in mine if intent.result is None),
            other_pending=any(intent.side != side and intent.result is None for intent in made),
        )

    def _about(self, connection: Connection, row: Row[Any]) -> About:
        return self._work(connection, row.grant_id).about

    def _watermark(self, connection: Connection, grant_id: str) -> int | None:
        mark: int | None = connection.execute(_GRANT, {"of_grant": grant_id}).one().watermark
        return mark

    def _leases(self, connection: Connection, grant_id: str) -> list[Lease]:
        return [_lease(row) for row in connection.execute(_LEASES, {"of_grant": grant_id})]

    def _pass_time(self, connection: Connection, grant_id: str, now: int) -> Sequence[Lease]:
        """Record what became due by itself: warnings, overdue leases, ended leases. Returns the leases after that."""
        leases = self._leases(connection, grant_id)
        dated = [lease for lease in leases if lease.ends_at is not None]
        if not dated:
            return leases
        passed, watermark = False, self._watermark(connection, grant_id)
        for lease in dated:
            due = passing(lease, watermark, now, self.timing)
            for kind, column, happens in (
                ("ending", "warned_at", due.warn),
                ("overdue", "overdue_at", due.overdue),
                ("ended", "ended_at", due.end),
            ):
                if not happens:
                    continue
                passed = True
                connection.execute(
                    approvals.update().where(approvals.c.approval_id == lease.approval_id).values({column: now})
                )
                if due.end:
                    self._raise_generation(connection, grant_id)
                append(
                    connection,
                    name_of(kind, lease.approval_id),
                    kind,
                    now,
                    about=self._work(connection, grant_id).about,
                    request=Request(issuer=lease.issuer, request_id=lease.request_id, digest=lease.digest),
                )
        return self._leases(connection, grant_id) if passed else leases

    def due(self, now: int) -> list[str]:
        """Let time pass for everything that waits for it. Returns the grants whose leases changed by that."""
        touched: set[str] = set()
        with self._reading() as connection:
            held = connection.execute(
                sql.select(approvals.c.approval_id, approvals.c.grant_id)
                .where(approvals.c.held_until <= now)
                .order_by(approvals.c.held_until, approvals.c.approval_id)
            ).all()
        for row in held:
            with self._transaction() as connection:
                self._locked(connection, row.grant_id)
                released = connection.execute(
                    approvals.update()
                    .where(approvals.c.approval_id == row.approval_id, approvals.c.held_until.is_not(None))
                    .values(held_until=None)
                ).rowcount
                if released:
                    touched.update(self._take_effect(connection, row.approval_id, now))
        ending = sql.or_(approvals.c.warned_at.is_(None), approvals.c.overdue_at.is_(None))
        with self._reading() as connection:
            rows = connection.execute(
                sql.select(approvals.c.grant_id)
                .distinct()
                .where(approvals.c.ends_at <= now + self.timing.warn, approvals.c.ended_at.is_(None), ending)
            )
            dated = sorted(row.grant_id for row in rows)
        for grant_id in dated:
            with self._transaction() as connection:
                before = self._locked(connection, grant_id)
                self._pass_time(connection, grant_id, now)
                after = self._locked(connection, grant_id)
                if before is not None and after is not None and before.generation != after.generation:
                    touched.add(grant_id)
        return sorted(touched)

    def unsettled(self, now: int, limit: int) -> list[tuple[str, str]]:
        """(grant, side) of everything that is not as wanted and whose next time has come, longest waiting first."""
        open_intent = sql.exists().where(
            intents.c.grant_id == sides.c.grant_id, intents.c.side == sides.c.side, intents.c.result.is_(None)
        )
        with self._reading() as connection:
            rows = connection.execute(
                sql.select(sides.c.grant_id, sides.c.side)
                .join(grants, grants.c.grant_id == sides.c.grant_id)
                .where(
                    sides.c.dead_at.is_(None),
                    grants.c.generation > 0,
                    sql.or_(
                        sides.c.observed_generation != grants.c.generation,
                        sides.c.observed_wanted.is_(None),
                        open_intent,
                    ),
                    sql.or_(sides.c.next_at.is_(None), sides.c.next_at <= now),
                    sql.or_(sides.c.claimed_until.is_(None), sides.c.claimed_until <= now),
                )
                .order_by(sql.func.coalesce(sides.c.waiting_since, 0), sides.c.grant_id, sides.c.side)
                .limit(limit)
            )
            return [(row.grant_id, row.side) for row in rows]

    # -- writing what was decided, seen and reached ------------------------------------------------------------------

    def intend(self, work: Work, operation: str, now: int) -> Intent | None:
        """Commit to one write before it is made. None when the leases or the other side changed meanwhile.

        Until its call is known to be over it may have been made as late as the worker's claim lasts: a worker can be
        stopped for long between this and its call, and die after it.
        """
        with self._transaction() as connection:
            self._locked(connection, work.grant_id)
            fresh = self._work(connection, work.grant_id, work.mine.side)
            if (fresh.generation, fresh.wanted) != (work.generation, work.wanted):
                return None
            if fresh.other_pending or fresh.my_intents:
                return None
            until = connection.execute(sql.select(sides.c.claimed_until).where(*_is(work))).scalar_one()
            made_at = max(now, until or now)
            intent = Intent(uuid.uuid4().hex, operation, work.generation, made_at, work.wanted.prefixes)
            values = asdict(intent) | {"prefixes": json.dumps(intent.prefixes)}
            connection.execute(intents.insert().values(**values, grant_id=work.grant_id, side=work.mine.side))
            return intent

    def carried_out(self, intent: Intent, served: Sequence[Served], now: int, *, refused: bool) -> None:
        """Note the call that an intent became. ``refused``: the platform certainly did not execute it."""
        values: dict[str, Any] = {"made_at": now, "served": json.dumps([one.model_dump() for one in served])}
        if refused:
            values |= {"result": "refused", "resolved_at": now}
        with self._transaction() as connection:
            connection.execute(intents.update().where(intents.c.intent_id == intent.intent_id).values(**values))

    def resolve(self, landed: Iterable[Intent], lost: Iterable[Intent], now: int) -> None:
        """Close the question what became of these intents."""
        with self._transaction() as connection:
            self._resolve(connection, landed, lost, now)

    def _resolve(self, connection: Connection, landed: Iterable[Intent], lost: Iterable[Intent], now: int) -> None:
        for result, which in (("landed", landed), ("lost", lost)):
            for intent in which:
                connection.execute(
                    intents.update()
                    .where(intents.c.intent_id == intent.intent_id, intents.c.result.is_(None))
                    .values(result=result, resolved_at=now)
                )

    def saw(
        self,
        work: Work,
        state: str,
        ours: bool | None,
        association_id: str | None,
        now: int,
        *,
        landed: Iterable[Intent] = (),
        lost: Iterable[Intent] = (),
    ) -> Work:
        """Keep what was read on the cloud, together with what that says about our writes: one fact, one transaction.

        ``ours`` None: nothing is there. False: we did not make it; it stays ours when it was, or has just been adopted.
        Returns the work as it is now.
        """
        kept = sql.func.coalesce(sides.c.ours, sql.false()) if ours is False else ours
        with self._transaction() as connection:
            self._resolve(connection, landed, lost, now)
            connection.execute(
                sides.update()
                .where(*_is(work))
                .values(state=state, ours=kept, association_id=association_id, seen_at=now)
            )
            return self._work(connection, work.grant_id, work.mine.side)

    def settle(
        self,
        work: Work,
        kind: str | None,
        now: int,
        *,
        association_id: str | None,
        served: Sequence[Served],
        both_sides: bool,
        prefixes_differ: bool = False,
    ) -> bool:
        """Record that this side is as wanted, publish it as ``kind``, and answer the requests that waited for it.

        False when the leases changed meanwhile. ``both_sides``: whether account A's side is ours to wait for.
        ``prefixes_differ``: what the leases rest on is not ours to change, and allows other prefixes than they do.
        """
        with self._transaction() as connection:
            self._locked(connection, work.grant_id)
            fresh = self._work(connection, work.grant_id, work.mine.side)
            if (fresh.generation, fresh.wanted) != (work.generation, work.wanted):
                return False
            settled = {
                "observed_generation": work.generation,
                "observed_wanted": json.dumps(asdict(work.wanted)),
                "attempts": 0,
                "next_at": None,
                "waiting_since": None,
                "trouble": None,
                "dead_at": None,
            }
            found = None if fresh.mine.drift is None else json.loads(fresh.mine.drift)
            over = found is not None and not (prefixes_differ and found["class"] == "prefixes-differ")
            connection.execute(sides.update().where(*_is(work)).values(**settled, **({"drift": None} if over else {})))
            if kind is not None:
                append(
                    connection,
                    name_of("grant", work.grant_id, str(work.generation), kind),
                    kind,
                    now,
                    about=fresh.about,
                    association_id=association_id,
                    served=[*self._served(connection, work), *served],
                )
            if found is not None and over:
                append(
                    connection,
                    name_of("drift-repaired", work.grant_id, work.mine.side, str(found["at"])),
                    "drift-repaired",
                    now,
                    about=fresh.about,
                    reason=Reason(code=found["class"], text=f"repaired: {found['text']}"),
                )
            if not work.wanted.up and not fresh.other_settled and fresh.other_gone:
                # Nothing is up on the other side and nothing may land there: it has nothing to do, and need not be asked.
                other = sides.c.grant_id == work.grant_id, sides.c.side == work.other.side
                connection.execute(sides.update().where(*other).values(**settled))
                was = fresh.other.observed_wanted
                if was is not None and was.up:  # it has come down, and nobody has told that yet
                    gone = "dissociated" if work.other.side == ASSOCIATE else "revoked"
                    name = name_of("grant", work.grant_id, str(work.generation), gone)
                    append(connection, name, gone, now, about=fresh.about)
                self._answer(connection, fresh, now, both_sides=both_sides)
            elif fresh.other_settled or not both_sides:
                self._answer(connection, fresh, now, both_sides=both_sides)
            return True

    def later(self, work: Work, next_at: int, reason: Reason, now: int, *, attempt: bool) -> None:
        """Look again at ``next_at``. ``attempt``: this was a try that failed, not a wait for something under way.

        What has been waiting for longer than the limit is reported as stuck, once, with what was last seen.
        """
        with self._transaction() as connection:
            since = connection.execute(
                sides.update()
                .where(*_is(work))
                .values(
                    next_at=next_at,
                    attempts=sides.c.attempts + (1 if attempt else 0),
                    trouble=reason.model_dump_json(),
                    waiting_since=sql.func.coalesce(sides.c.waiting_since, now),
                )
                .returning(sides.c.waiting_since)
            ).scalar_one()
            if now - since >= self.timing.stuck and reason.code != "Paused":
                append(
                    connection,
                    name_of("stuck", work.grant_id, work.mine.side, str(work.generation)),
                    "stuck",
                    now,
                    about=work.about,
                    reason=reason,
                )

    def unwanted(self, work: Work, now: int, *, let_go: bool) -> None:
        """Tell account A's side that nobody wants the grant any more: it has to let go first.

        ``let_go``: the instance no longer hangs on the ECR. Where account A's side had settled with what was not ours, it
        looks again: another hand took that down, and the grant waits for nothing else.
        """
        with self._transaction() as connection:
            if let_go and work.other_settled:
                other = sides.c.grant_id == work.grant_id, sides.c.side == work.other.side
                as_seen = sides.c.observed_generation == work.generation, sides.c.ours.is_(False)
                connection.execute(sides.update().where(*other, *as_seen).values(observed_wanted=None))
            append(
                connection,
                name_of("grant", work.grant_id, str(work.generation), "unwanted"),
                "unwanted",
                now,
                about=work.about,
            )

    def refuse(self, work: Work, reason: Reason, now: int) -> bool:
        """Reject every grant request that still waits on this grant. False when none did."""
        with self._transaction() as connection:
            self._locked(connection, work.grant_id)
            waiting = [row for row in self._waiting(connection, work.grant_id) if row.action == "grant"]
            for approval in waiting:
                self._finish(connection, approval, "rejected", reason, work, now)
            if waiting:
                self._raise_generation(connection, work.grant_id)
            return bool(waiting)

    def dead(self, work: Work, reason: Reason, now: int) -> None:
        """Stop trying until somebody redrives, and tell everybody who waits."""
        with self._transaction() as connection:
            self._locked(connection, work.grant_id)
            connection.execute(
                sides.update().where(*_is(work)).values(dead_at=now, next_at=None, trouble=reason.model_dump_json())
            )
            for approval in self._waiting(connection, work.grant_id):
                self._finish(connection, approval, "dead", reason, work, now)

    def dead_rows(self) -> list[DeadRow]:
        """Everything that is dead: where, since when, why, and how many requests wait for it. Oldest first."""
        waiting = (
            sql.select(sql.func.count())
            .select_from(approvals)
            .where(approvals.c.grant_id == sides.c.grant_id, approvals.c.outcome == "dead")
            .scalar_subquery()
        )
        with self._reading() as connection:
            rows = connection.execute(
                sql.select(sides, grants, waiting.label("waiting"))
                .join(grants, grants.c.grant_id == sides.c.grant_id)
                .where(sides.c.dead_at.is_not(None))
                .order_by(sides.c.dead_at, sides.c.grant_id, sides.c.side)
            )
            return [
                DeadRow(
                    _key(row), row.side, row.dead_at, Reason.model_validate_json(row.trouble), row.attempts, row.waiting
                )
                for row in rows
            ]

    def redrive(self, grant_id: str, side: str, who: str, now: int) -> bool:
        """Let a dead side be tried again, its waiting requests with it. False when it was not dead; so safe to repeat."""
        with self._transaction() as connection:
            if self._locked(connection, grant_id) is None:
                return False
            mine = sides.c.grant_id == grant_id, sides.c.side == side
            died = connection.execute(sql.select(sides.c.dead_at).where(*mine)).scalar_one_or_none()
            if died is None:
                return False
            connection.execute(
                sides.update()
                .where(*mine)
                .values(dead_at=None, attempts=0, next_at=None, waiting_since=None, observed_wanted=None)
            )
            append(
                connection,
                name_of("redriven", grant_id, side, str(died)),
                "redriven",
                now,
                about=self._work(connection, grant_id, side).about,
                reason=Reason(code="Redriven", text=f"{who} redrove the {side} side"),
            )
            return True

    def _answer(self, connection: Connection, work: Work, now: int, *, both_sides: bool) -> None:
        """Both sides are as wanted: every request that waited is done, or was overtaken."""
        watermark = self._watermark(connection, work.grant_id)
        leases = {lease.approval_id: lease for lease in self._leases(connection, work.grant_id)}
        wrote = connection.execute(
            sql.select(sql.func.count())
            .select_from(intents)
            .where(
                intents.c.grant_id == work.grant_id,
                intents.c.generation == work.generation,
                intents.c.result == "landed",
            )
        ).scalar_one()
        for approval in self._waiting(connection, work.grant_id, dead_too=True):
            lease = leases.get(approval.approval_id)
            if lease is not None and not live(lease, watermark):
                self._finish(connection, approval, "rejected", _OVERTAKEN, work, now)
                continue
            text = _done_text(approval.action, work.wanted, wrote=bool(wrote), both_sides=both_sides)
            self._finish(connection, approval, "done", Reason(code="Done", text=text), work, now)

    def _waiting(self, connection: Connection, grant_id: str, *, dead_too: bool = False) -> Sequence[Row[Any]]:
        """The requests on a grant that have no final outcome yet."""
        query = sql.select(approvals).where(
            approvals.c.grant_id == grant_id,
            approvals.c.held_until.is_(None),
            sql.func.coalesce(approvals.c.outcome, "").in_(["", "dead"] if dead_too else [""]),
        )
        return connection.execute(query.order_by(approvals.c.admitted_at, approvals.c.approval_id)).all()

    def _finish(
        self, connection: Connection, approval: Row[Any], outcome: str, reason: Reason, work: Work, now: int
    ) -> None:
        connection.execute(
            approvals.update().where(approvals.c.approval_id == approval.approval_id).values(outcome=outcome)
        )
        append(
            connection,
            _outcome_event(approval.approval_id, outcome),
            outcome,
            now,
            about=work.about,
            request=Request(issuer=approval.issuer, request_id=approval.request_id, digest=approval.digest),
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

    # -- drift, adoption and the mode --------------------------------------------------------------------------------

    def standing(self) -> list[Standing]:
        """Every grant that anybody ever asked for or that was found on the cloud, with both sides, in two queries."""
        with self._reading() as connection:
            rows = connection.execute(sql.select(grants).order_by(grants.c.grant_id)).all()
            found: dict[str, dict[str, SideRow]] = {}
            for row in connection.execute(sql.select(sides)):
                found.setdefault(row.grant_id, {})[row.side] = _side_row(row)
        return [
            Standing(_key(row), row.generation, found[row.grant_id][GRANT], found[row.grant_id][ASSOCIATE])
            for row in rows
        ]

    def drifted(
        self, drift: Drift, now: int, *, generation: int, quiet_since: int, repair: bool, state: str | None = None
    ) -> bool:
        """Record that the cloud is not as it had settled. True when that is news. ``repair``: let converge mend it.

        What was compared may be overtaken: nothing is recorded when the leases have changed from ``generation``, when a
        worker is at it, or when we wrote after ``quiet_since``, since the look may be older than that write.
        """
        kind, side, text = drift.kind, drift.side, drift.text
        with self._transaction() as connection:
            row = self._grant_row(connection, drift.key, now)
            mine = sides.c.grant_id == row.grant_id, sides.c.side == side
            there = connection.execute(sql.select(sides.c.drift, sides.c.claimed_until).where(*mine)).one()
            wrote = connection.execute(
                sql.select(sql.func.max(intents.c.made_at)).where(intents.c.grant_id == row.grant_id)
            ).scalar_one()
            busy = there.claimed_until is not None and there.claimed_until > now
            if busy or row.generation != generation or (wrote is not None and wrote > quiet_since):
                return False
            before = there.drift
            if before is not None and json.loads(before)["class"] == kind:
                return False
            found = {"class": kind, "text": text, "at": now}
            values: dict[str, Any] = {"drift": json.dumps(found)}
            if kind in _FOREIGN:
                values |= {"state": state or "present", "ours": False}
            if repair:
                values |= {"observed_wanted": None, "attempts": 0, "next_at": None, "dead_at": None}
            connection.execute(sides.update().where(*mine).values(**values))
            append(
                connection,
                name_of("drift-found", row.grant_id, side, kind, str(now)),
                "drift-found",
                now,
                about=self._about(connection, row),
                reason=Reason(code=kind, text=text),
            )
            return True

    def drift_gone(self, grant_id: str, side: str, now: int) -> bool:
        """What was reported is no longer so, by somebody else's hand. True when it had been reported."""
        with self._transaction() as connection:
            row = self._locked(connection, grant_id)
            mine = sides.c.grant_id == grant_id, sides.c.side == side
            before = connection.execute(sql.select(sides.c.drift).where(*mine)).scalar_one()
            if before is None or row is None:
                return False
            found = json.loads(before)
            gone = {"state": "absent", "ours": None} if found["class"] in _FOREIGN else {}
            connection.execute(sides.update().where(*mine).values(drift=None, **gone))
            append(
                connection,
                name_of("drift-repaired", grant_id, side, str(found["at"])),
                "drift-repaired",
                now,
                about=self._about(connection, row),
                reason=Reason(code=found["class"], text=f"no longer so: {found['text']}"),
            )
            return True

    def adopt(self, grant_id: str, side: str, now: int) -> bool:
        """Take what was there before us as ours, so that the end of its leases takes it down. Touches no cloud.

        False when there is nothing foreign on that side.
        """
        with self._transaction() as connection:
            if self._locked(connection, grant_id) is None:
                return False
            work = self._work(connection, grant_id, side)
            if work.mine.state in ("absent", "unknown") or work.mine.ours:
                return False
            connection.execute(sides.update().where(*_is(work)).values(ours=True, drift=None))
            self._raise_generation(connection, grant_id)
            append(
                connection,
                name_of("adopted", grant_id, side, str(now)),
                "adopted",
                now,
                about=work.about,
                association_id=work.mine.association_id,
                reason=Reason(code="Adopted", text=f"the {side} side is ours from now on"),
            )
            return True

    def said_mode(self) -> Mode | None:
        """What may act now, by the operator's word; None while nobody said anything."""
        with self._reading() as connection:
            said: Mode | None = connection.execute(
                sql.select(settings.c.value).where(settings.c.name == "mode")
            ).scalar_one_or_none()
            return said

    def set_mode(self, mode: Mode, who: str, now: int) -> None:
        """Say what may act; an event of its own. It holds from the next converge on."""
        with self._transaction() as connection:
            if not self._insert_or_ignore(connection, settings, {"name": "mode", "value": mode, "changed_at": now}):
                connection.execute(
                    settings.update().where(settings.c.name == "mode").values(value=mode, changed_at=now)
                )
            append(
                connection,
                name_of("mode-changed", mode, str(now)),
                "mode-changed",
                now,
                reason=Reason(code="ModeChanged", text=f"{who} set the mode to {mode}"),
            )

    # -- the outbox and the record -----------------------------------------------------------------------------------

    def waiting_letters(self, limit: int) -> list[Letter]:
        """The oldest completions that were recorded and not published yet."""
        with self._reading() as connection:
            return events.waiting_letters(connection, limit)

    def take_letters(self, limit: int, now: int, until: int) -> list[Letter]:
        """The oldest completions to publish that nobody else is publishing; they are the caller's until then."""
        with self._transaction() as connection:
            return events.take_letters(connection, limit, now, until)

    def give_back(self, seqs: Sequence[int]) -> None:
        """Leave taken completions to the next one who comes."""
        with self._transaction() as connection:
            events.give_back(connection, seqs)

    def published(self, seq: int, now: int) -> None:
        """The completion is out."""
        with self._transaction() as connection:
            events.published(connection, seq, now)

    def first_fault(self, heads: Iterable[Head], key: Ed25519PublicKey | None) -> str | None:
        """The first thing that is wrong with the record, as a sentence that names the event; None when it is intact."""
        with self._reading() as connection:
            return events.first_fault(connection, heads, key)

    def head(self, now: int) -> Head:
        """The present end of the record, to be signed and kept elsewhere."""
        with self._reading() as connection:
            return events.head(connection, now)


_OVERTAKEN = Reason(code="Closed", text="closed, ended or superseded by a revoke before it took effect")


def _done_text(action: str, wanted_now: Wanted, *, wrote: bool, both_sides: bool) -> str:
    if action == "revoke":
        if wanted_now.up:
            return "closed; other leases keep the grant up"
        return "dissociated and revoked" if wrote else "closed; nothing of ours was up any more"
    up = "granted and associated" if both_sides else "granted; the association is account A's to make"
    return up if wrote else f"already {up}"


def keepable(message_id: str) -> str:
    """A message id that every database can keep: its form is the platform's business, so it is taken as it comes."""
    return "".join(letter if letter.isprintable() else "?" for letter in message_id)[:200]


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Write-ahead log and a patient lock: several worker processes share the file."""
    connection.isolation_level = None  # our own BEGIN IMMEDIATE instead of the driver's late BEGIN
    for pragma in ("busy_timeout=30000", "foreign_keys=ON", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}")
    # Refused at once while another connection switches a new file; then the file is switched, which is all we want.
    with suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode=WAL")


def _prepare_postgresql(connection: Any, _record: object) -> None:
    """Limits on the server's side: a worker that is frozen inside a transaction must not stop everybody else."""
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '30s'")
        cursor.execute("SET idle_in_transaction_session_timeout = '30s'")
        cursor.execute("SET statement_timeout = '60s'")
    connection.commit()


def _outcome_event(approval_id: str, outcome: str) -> str:
    return name_of("outcome", approval_id, outcome)


def _is(work: Work) -> tuple[sql.ColumnExpressionArgument[bool], ...]:
    return sides.c.grant_id == work.grant_id, sides.c.side == work.mine.side


def _lease_columns(approval: GrantApproval | RevokeApproval) -> dict[str, Any]:
    if isinstance(approval, RevokeApproval):
        return {"on_end": "report", "allowed_prefixes": "[]"}
    return {
        "ends_at": None if approval.ends_at is None else int(approval.ends_at.timestamp() * 1000),
        "on_end": approval.on_end,
        "allowed_prefixes": json.dumps(approval.allowed_prefixes),
    }


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
        seen_at=row.seen_at,
        attempts=row.attempts,
        next_at=row.next_at,
        waiting_since=row.waiting_since,
        held=row.trouble is not None and json.loads(row.trouble)["code"] in ("Held", "Paused"),
        dead=row.dead_at is not None,
        drift=row.drift,
        knocks=row.knocks,
    )


def _intent(row: Row[Any]) -> Intent:
    prefixes = tuple(json.loads(row.prefixes))
    return Intent(row.intent_id, row.operation, row.generation, row.made_at, prefixes)


def _lease(row: Row[Any]) -> Lease:
    return Lease(
        approval_id=row.approval_id,
        issuer=row.issuer,
        request_id=row.request_id,
        digest=row.digest,
        approved_at=row.approved_at,
        ends_at=row.ends_at,
        on_end=row.on_end,
        allowed_prefixes=tuple(json.loads(row.allowed_prefixes)),
        closed=bool(row.closed),
        rejected=row.outcome == "rejected",
        held=row.held_until is not None,
        warned=row.warned_at is not None,
        overdue=row.overdue_at is not None,
        ended=row.ended_at is not None,
    )
