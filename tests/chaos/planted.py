# ruff: noqa: ARG002  # a fault leaves out what the real thing reckons with
"""The faults that the model test must find: each is the real thing with one rule taken out.

Faults of the ledger are functions that workers run in place of the real ones (``parts.ModelLedger``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Row

from shared.cloud.calls import Trail
from shared.errors import GrantError, PermanentError
from shared.ledger.admission import Admission, Asked, admit_all
from shared.ledger.drift import note_drift
from shared.ledger.intents import intend, saw
from shared.ledger.outbox import OutboxEntry, mark_published, take_entries, waiting_entries
from shared.ledger.outcomes import mark_dead, refuse, settle
from shared.ledger.passing import pass_time_of
from shared.ledger.rows import Held, leases_of, raise_generation, work_of
from shared.ledger.tables import approvals, closes, events, grants, intents, marks, outbox, sides
from shared.ledger.work import Behind, read_work, take, unsettled_page
from shared.loop.drivers import HubDriver, Look, SpokeDriver
from shared.messages.approval import Action, Every, GrantApproval, RevokeApproval
from shared.messages.completion import EventKind, Reason
from shared.messages.forms import GrantKey
from shared.rules.facts import Drift, Intent, IntentResult, Mode, Operation, Seen, Side, SpokeSeen, State, Stops, Work
from shared.rules.leases import Level, Timing, Wanted, wanted
from shared.rules.steps import Step
from tests.chaos.model_cloud import ModelCloud
from tests.chaos.parts import Parts
from tests.chaos.planted_gate import AT_THE_GATE
from tests.chaos.planted_people import AMONG_PEOPLE

P = ParamSpec("P")
T = TypeVar("T")

_RAISED = ("unsettled", "attempts", "next_at", "waiting_since", "dead_at", "trouble")


A = TypeVar("A", GrantApproval, RevokeApproval)


def _new(
    asked: Sequence[Asked], found: Sequence[Admission | PermanentError], kind: type[A]
) -> Iterator[tuple[A, Admission]]:
    """The approvals of a kind that were admitted as news, and how."""
    for one, admission in zip(asked, found, strict=True):
        if isinstance(one.approval, kind) and isinstance(admission, Admission) and admission.new:
            yield one.approval, admission


def no_tombstone(
    connection: Connection, asked: Sequence[Asked], now: int, timing: Timing
) -> list[Admission | PermanentError]:
    """A close that comes before its open is forgotten."""
    found = admit_all(connection, asked, now, timing)
    known = sql.exists().where(
        approvals.c.issuer == closes.c.issuer,
        approvals.c.request_id == closes.c.request_id,
        approvals.c.action == Action.GRANT,
    )
    connection.execute(closes.delete().where(~known))
    return found


def mark_forgotten(
    connection: Connection, asked: Sequence[Asked], now: int, timing: Timing
) -> list[Admission | PermanentError]:
    """A revoke of all ends what is there, and is forgotten by what comes later."""
    found = admit_all(connection, asked, now, timing)
    connection.execute(marks.delete())
    return found


def close_of_any_grant(
    connection: Connection, asked: Sequence[Asked], now: int, timing: Timing
) -> list[Admission | PermanentError]:
    """A revoke closes leases of the same name on every grant, not on its own alone."""
    found = admit_all(connection, asked, now, timing)
    for approval, _ in _new(asked, found, RevokeApproval):
        if not isinstance(approval.closes, list):
            continue
        named = approvals.c.issuer == approval.issuer, approvals.c.request_id.in_(approval.closes)
        others = connection.execute(
            approvals.update()
            .where(*named, approvals.c.open)
            .values(live=False, open=False, early_until=None)
            .returning(approvals.c.grant_id)
        ).scalars()
        for grant_id in others.all():
            raise_generation(connection, grant_id)
    return found


def close_of_any_issuer(
    connection: Connection, asked: Sequence[Asked], now: int, timing: Timing
) -> list[Admission | PermanentError]:
    """A revoke of all closes the leases of every issuer."""
    found = admit_all(connection, asked, now, timing)
    for approval, _ in _new(asked, found, RevokeApproval):
        if approval.closes != Every.ALL:
            continue
        of_grant = approvals.c.grant_id == approval.grant.grant_id, approvals.c.action == Action.GRANT
        mark = min(int(approval.approved_at.timestamp() * 1000), now + timing.skew)
        connection.execute(
            approvals.update()
            .where(*of_grant, approvals.c.open, approvals.c.approved_at <= mark)
            .values(live=False, open=False, early_until=None, due_at=None)
        )
    return found


def revokes_wait_for_their_date(
    connection: Connection, asked: Sequence[Asked], now: int, timing: Timing
) -> list[Admission | PermanentError]:
    """A revoke of all reaches no further than now, however it is dated: its mark is made anew by each repetition."""
    before = now - 2 * timing.skew
    return [
        one
        for each in asked
        for one in admit_all(connection, [each], before if isinstance(each.approval, RevokeApproval) else now, timing)
    ]


def up_past_its_end(
    connection: Connection, grant_id: str, side: Side, now: int, timing: Timing, mode: Mode
) -> Work | None:
    """A lease past its end makes things, too."""
    work = read_work(connection, grant_id, side, now, timing, mode)
    return None if work is None else _as_before_its_end(work)


def _as_before_its_end(work: Work) -> Work:
    if work.wanted.level is not Level.KEEP:
        return work
    return replace(work, wanted=Wanted(Level.UP, work.wanted.may_stay))


def saw_past_its_end(connection: Connection, work: Work, *args: Any, **kwargs: Any) -> Work:
    """The same, after a look."""
    return _as_before_its_end(saw(connection, work, *args, **kwargs))


def intend_past_its_end(
    connection: Connection,
    work: Work,
    operation: Operation,
    now: int,
    timing: Timing,
    mode: Mode = Mode.FULL,
    prefixes: tuple[str, ...] | None = None,
) -> Intent | None:
    """The same, where the write is committed to."""
    asked = work.wanted.prefixes if prefixes is None else prefixes
    as_it_is = _as_it_is(connection, work)
    if not operation.creates or as_it_is.wanted.up:
        return intend(connection, as_it_is, operation, now, timing, mode, asked)
    intent = intend(connection, as_it_is, Operation.SET_PREFIXES, now, timing, mode, asked)  # which makes nothing
    if intent is None:
        return None
    connection.execute(intents.update().where(intents.c.intent_id == intent.intent_id).values(operation=operation))
    return replace(intent, operation=operation)


def settle_past_its_end(connection: Connection, work: Work, *args: Any, **kwargs: Any) -> bool:
    """The same, where the work comes to rest."""
    return settle(connection, _as_it_is(connection, work), *args, **kwargs)


def _as_it_is(connection: Connection, work: Work) -> Work:
    return replace(work, wanted=wanted(leases_of(connection, work.grant_id)))


def holds_ignored(
    connection: Connection, grant_id: str, side: Side, now: int, timing: Timing, mode: Mode
) -> Work | None:
    """What people say about acting is not heard."""
    work = read_work(connection, grant_id, side, now, timing, mode)
    return None if work is None else replace(work, stops=Stops())


def saw_whatever_is_said(connection: Connection, work: Work, *args: Any, **kwargs: Any) -> Work:
    """The same, after a look."""
    return replace(saw(connection, work, *args, **kwargs), stops=Stops())


def intend_whatever_is_said(
    connection: Connection,
    work: Work,
    operation: Operation,
    now: int,
    timing: Timing,
    mode: Mode = Mode.FULL,
    prefixes: tuple[str, ...] | None = None,
) -> Intent | None:
    """The same, where the write is committed to."""
    said = work_of(connection, work.grant_id, work.mine.side, mode=mode).stops
    return intend(connection, replace(work, stops=said), operation, now, timing, mode, prefixes)


def nobody_is_told(connection: Connection, work: Work, reason: Reason, now: int) -> bool:
    """Account B's side cannot be entered, and account A's side is not told that nobody wants the grant."""
    return mark_dead(connection, replace(work, wanted=Wanted(Level.KEEP)), reason, now)


def ends_raise_nothing(
    connection: Connection, grant_id: str, side: Side, now: int, timing: Timing, mode: Mode
) -> Work | None:
    """The end of a lease is recorded, and nobody looks because of it."""
    before = _standing(connection)
    if read_work(connection, grant_id, side, now, timing, mode) is None:
        return None
    _back_to(connection, before)
    return work_of(connection, grant_id, side)


def ends_go_unseen(connection: Connection, grant_id: str, now: int, timing: Timing) -> bool:
    """The same, when the timer is first to look."""
    before = _standing(connection)
    pass_time_of(connection, grant_id, now, timing)
    _back_to(connection, before)
    return False


def revokes_raise_nothing(
    connection: Connection, asked: Sequence[Asked], now: int, timing: Timing
) -> list[Admission | PermanentError]:
    """A revoke changes the leases, and nobody looks because of it."""
    before = _standing(connection)
    found = admit_all(connection, asked, now, timing)
    if all(one.approval.action is Action.REVOKE for one in asked):
        _back_to(connection, before)
    return found


Standing = tuple[list[Row[Any]], list[Row[Any]]]
"""What a change of the leases raises: grants and their sides, as they were before."""


def _standing(connection: Connection) -> Standing:
    return list(connection.execute(sql.select(grants))), list(connection.execute(sql.select(sides)))


def _back_to(connection: Connection, before: Standing) -> None:
    for grant in before[0]:
        was = {"generation": grant.generation, "shown": grant.shown}
        connection.execute(grants.update().where(grants.c.grant_id == grant.grant_id).values(**was))
    for one in before[1]:
        was = {name: getattr(one, name) for name in _RAISED}
        which = sides.c.grant_id == one.grant_id, sides.c.side == one.side
        connection.execute(sides.update().where(*which).values(**was))


def no_intent(
    connection: Connection,
    work: Work,
    operation: Operation,
    now: int,
    timing: Timing,
    mode: Mode = Mode.FULL,
    prefixes: tuple[str, ...] | None = None,
) -> Intent | None:
    """A write is made without a word of it before."""
    intent = intend(connection, work, operation, now, timing, mode, prefixes)
    if intent is not None:
        connection.execute(intents.delete().where(intents.c.intent_id == intent.intent_id))
    return intent


def everything_is_ours(connection: Connection, work: Work, seen: Seen, *args: Any, **kwargs: Any) -> Work:
    """What was there before us is taken for ours."""
    return saw(connection, work, replace(seen, ours=None if seen.ours is None else True), *args, **kwargs)


def lost_is_ours(connection: Connection, work: Work, seen: Seen, *args: Any, **kwargs: Any) -> Work:
    """Whatever turns up after a write that was given up as lost is taken for ours."""
    of_mine = intents.c.grant_id == work.grant_id, intents.c.side == work.mine.side
    lost = connection.execute(sql.select(intents.c.operation).where(*of_mine, intents.c.result == IntentResult.LOST))
    gave_up = any(Operation(operation).creates for operation in lost.scalars())
    mine = True if seen.ours is False and gave_up else seen.ours
    return saw(connection, work, replace(seen, ours=mine), *args, **kwargs)


def every_look_is_believed(
    connection: Connection, grant_id: str, side: Side, now: int, timing: Timing, mode: Mode
) -> Work | None:
    """A look is believed however soon after a write that it contradicts."""
    work = read_work(connection, grant_id, side, now, timing, mode)
    return None if work is None else replace(work, writes=work.my_intents)


def claims_never_expire(connection: Connection, work: Held, worker: str, now: int, until: int) -> Held | None:
    """The claim of a worker that died stays for ever."""
    return take(connection, work, worker, 0, until)


def rejections_unpublished(
    function: Callable[Concatenate[Connection, P], T],
) -> Callable[Concatenate[Connection, P], T]:
    """A rejection is recorded, and its entry of the outbox is not written."""

    def faulty(connection: Connection, /, *args: P.args, **kwargs: P.kwargs) -> T:
        last = connection.execute(sql.select(sql.func.max(events.c.seq))).scalar_one() or 0
        result = function(connection, *args, **kwargs)
        rejected = sql.select(events.c.seq).where(events.c.seq > last, events.c.kind == EventKind.REJECTED)
        connection.execute(outbox.delete().where(outbox.c.seq.in_(rejected)))
        return result

    return faulty


def entries_are_nobodys(connection: Connection, limit: int, now: int, until: int) -> list[OutboxEntry]:
    """Two functions may publish the same entry of the outbox."""
    return waiting_entries(connection, limit)


def entries_stay(connection: Connection, seqs: Sequence[int]) -> None:
    """What was published is not known as published."""


def every_date_is_believed(
    connection: Connection, asked: Sequence[Asked], now: int, timing: Timing
) -> list[Admission | PermanentError]:
    """An approval that is dated far ahead takes effect at once."""
    latest = max(int(one.approval.approved_at.timestamp() * 1000) for one in asked)
    return admit_all(connection, asked, max(now, latest), timing)


def timer_finds_nothing(connection: Connection, now: int, limit: int, after: Behind) -> list[tuple[str, Side, Behind]]:
    """What a lost wake left behind is found by nobody."""
    return []


def drift_is_only_reported(connection: Connection, drifts: Sequence[Drift], now: int, **kwargs: Any) -> list[Drift]:
    """What somebody else took away is reported, and not put up again."""
    return note_drift(connection, drifts, now, **{**kwargs, "repair": ()})


class HastySpoke(SpokeDriver):
    """A write without an answer is taken for one that was not executed."""

    def create(self, work: Work, intent: Intent, trail: Trail) -> None:
        _hasty(lambda: super(HastySpoke, self).create(work, intent, trail))

    def remove(self, work: Work, intent: Intent, trail: Trail) -> None:
        _hasty(lambda: super(HastySpoke, self).remove(work, intent, trail))


class HastyHub(HubDriver):
    """The same of account A's side."""

    def create(self, work: Work, intent: Intent, trail: Trail) -> None:
        _hasty(lambda: super(HastyHub, self).create(work, intent, trail))

    def remove(self, work: Work, intent: Intent, trail: Trail) -> None:
        _hasty(lambda: super(HastyHub, self).remove(work, intent, trail))


def _hasty(write: Callable[[], None]) -> None:
    try:
        write()
    except GrantError as error:
        error.executed = False
        raise


class Impatient(SpokeDriver):
    """Revokes without waiting for account A to let go."""

    def look(self, work: Work, trail: Trail, before: Look | None) -> Look:
        look = super().look(work, trail, before)

        def step(work: Work, ours: bool) -> Step:
            alone = replace(work, other=replace(work.other, state=State.ABSENT), other_pending=None)
            found = look.step(alone, ours)
            return Step.REMOVE if found is Step.WAIT else found

        return replace(look, step=step)


class ReplyIsBelieved:
    """Account B's cloud, for somebody who takes the reply to a write for its effect and does not look again."""

    def __init__(self, cloud: ModelCloud) -> None:
        self._cloud = cloud
        self._granted: bool | None = None

    def look_at_spoke(self, key: GrantKey, trail: Trail, known: SpokeSeen | None = None) -> SpokeSeen:
        seen = self._cloud.look_at_spoke(key, trail, known)
        return seen if self._granted is None else replace(seen, granted=self._granted)

    def grant(self, key: GrantKey, token: str, trail: Trail) -> None:
        self._cloud.grant(key, token, trail)
        self._granted = True

    def revoke(self, key: GrantKey, token: str, trail: Trail) -> None:
        self._cloud.revoke(key, token, trail)
        self._granted = False


class OneTokenPerGrant:
    """Account B's cloud, for somebody who makes client tokens out of what is asked for."""

    def __init__(self, cloud: ModelCloud) -> None:
        self._cloud = cloud
        self.look_at_spoke = cloud.look_at_spoke

    def grant(self, key: GrantKey, token: str, trail: Trail) -> None:
        self._cloud.grant(key, f"grant-{key.grant_id}", trail)

    def revoke(self, key: GrantKey, token: str, trail: Trail) -> None:
        self._cloud.revoke(key, f"revoke-{key.grant_id}", trail)


ANSWERS: tuple[Callable[..., Any], ...] = (admit_all, settle, refuse, mark_dead)

PLANTED: dict[str, Parts] = {
    "no tombstone": Parts(instead={admit_all: no_tombstone}),
    "mark forgotten": Parts(instead={admit_all: mark_forgotten}),
    "closes are not confined to their grant": Parts(instead={admit_all: close_of_any_grant}),
    "closes are not confined to their issuer": Parts(instead={admit_all: close_of_any_issuer}),
    "a revoke reaches less than its date": Parts(instead={admit_all: revokes_wait_for_their_date}),
    "made past its end": Parts(
        instead={
            read_work: up_past_its_end,
            saw: saw_past_its_end,
            intend: intend_past_its_end,
            settle: settle_past_its_end,
        }
    ),
    "holds are ignored": Parts(
        instead={read_work: holds_ignored, saw: saw_whatever_is_said, intend: intend_whatever_is_said}
    ),
    "who cannot be entered tells nobody": Parts(instead={mark_dead: nobody_is_told}),
    "ends raise nothing": Parts(instead={read_work: ends_raise_nothing, pass_time_of: ends_go_unseen}),
    "revokes raise nothing": Parts(instead={admit_all: revokes_raise_nothing}),
    "no intent": Parts(instead={intend: no_intent}),
    "everything is ours": Parts(instead={saw: everything_is_ours}),
    "lost is ours": Parts(instead={saw: lost_is_ours}),
    "every look is believed": Parts(instead={read_work: every_look_is_believed}),
    "claims never expire": Parts(instead={take: claims_never_expire}),
    "outcomes are not published": Parts(instead={one: rejections_unpublished(one) for one in ANSWERS}),
    "outbox entries are nobody's": Parts(instead={take_entries: entries_are_nobodys}),
    "outbox entries stay": Parts(instead={mark_published: entries_stay}),
    "every date is believed": Parts(instead={admit_all: every_date_is_believed}),
    "the timer finds nothing": Parts(instead={unsettled_page: timer_finds_nothing}),
    "drift is only reported": Parts(instead={note_drift: drift_is_only_reported}),
    "lost is absent at once": Parts(spoke=HastySpoke, hub=HastyHub),
    "the other side's turn is ignored": Parts(spoke=Impatient),
    "the reply is believed": Parts(spoke=lambda cloud: SpokeDriver(ReplyIsBelieved(cloud))),
    "one token per grant": Parts(spoke=lambda cloud: SpokeDriver(OneTokenPerGrant(cloud))),
    **AT_THE_GATE,
    **AMONG_PEOPLE,
}
