"""Outcomes: how work on a side ends, for now or for good, and what the requests that waited for it are told."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Row

from shared.ledger.closing import not_closed
from shared.ledger.record import About, Event, append, name_of
from shared.ledger.rows import (
    about_work,
    held_rows,
    lease_of,
    news_in,
    of_side,
    put_away_rows,
    raise_generation,
    staged_in,
    wanted_text,
    work_from,
    work_of,
    write_mine,
)
from shared.ledger.snapshot import Rows
from shared.ledger.tables import EVERYONE, approvals, events, marks, sides
from shared.ledger.writes import anything_landed, past_writes, served_by
from shared.messages.approval import DESK, Action, Every, GrantApproval, RevokeApproval
from shared.messages.completion import EventKind, Reason, ReasonCode, Request, Served
from shared.rules.answers import done_text
from shared.rules.drift import how_it_ended, still_so
from shared.rules.facts import Side, State, Work
from shared.rules.leases import Due, Lease, Timing, passing

ENDED = Reason(code=ReasonCode.ENDED, text="its approved end came before it was granted and associated")


def closed_reason(connection: Connection, closer: str, *, was_up: bool = False) -> Reason:
    """Why a lease does not count: what closed it, a revoke or the lease that replaces it. ``was_up``: it had taken effect
    before.
    """
    row = connection.execute(sql.select(approvals).where(approvals.c.approval_id == closer)).one()
    before = "" if was_up else " before it took effect"
    if row.action == Action.GRANT:
        text = f"replaced by the request {row.request_id} of {row.issuer}{before}"
        return Reason(code=ReasonCode.CLOSED, text=text)
    text = f"closed by the revoke {row.request_id} of {row.issuer}{before}{_from_when(connection, row)}"
    return Reason(code=ReasonCode.CLOSED, text=text)


def _from_when(connection: Connection, revoke: Row[Any]) -> str:
    """From when a new approval counts, of a revoke that names no request ids."""
    named = json.loads(revoke.content)["closes"]
    if not isinstance(named, str):
        return ""
    until = revoke.mark
    if named == Every.EVERYONE:
        of_all = marks.c.grant_id == revoke.grant_id, marks.c.issuer == EVERYONE
        until = connection.execute(sql.select(marks.c.mark).where(*of_all)).scalar_one()
    return f"; it closes what was approved until {_moment(until)}: a later approval counts"


def settle(
    connection: Connection,
    work: Work,
    kind: EventKind | None,
    now: int,
    *,
    association_id: str | None,
    served: Sequence[Served],
    both_sides: bool,
    prefixes: tuple[str, ...] | None = None,
    prefixes_differ: bool = False,
    timing: Timing | None = None,
) -> bool:
    """Record that this side is as wanted, publish it as ``kind``, and answer the requests that waited for it.

    False when the leases changed meanwhile, or one of them came to its end. ``both_sides``: whether account A's side is ours to
    wait for. ``prefixes``: as seen, of an association. ``prefixes_differ``: what the leases rest on is not ours to change, and
    allows other prefixes than they do.
    """
    timing = timing or Timing()
    rows = held_rows(connection, work)
    fresh = work_from(rows, work.mine.side)
    if (fresh.generation, fresh.wanted) != (work.generation, work.wanted):
        return False
    if any(what is not Due.WARN for what in passing(map(lease_of, rows.leases), now, timing).values()):
        return False  # what was never done before its end is not done after it
    found = fresh.mine.drift
    if found is not None and still_so(found.kind, fresh.mine, fresh.wanted, prefixes_differ=prefixes_differ):
        found = None  # it stays
    rest = _at_rest(work) | ({} if found is None else {"drift": None})
    write_mine(connection, work, {**staged_in(connection, work), **rest})
    rows = rows.with_side(work.mine.side, rest)
    past_writes(connection, rows, work, now, timing)
    about = about_work(fresh)
    news = list(news_in(connection, work))
    if kind is not None:
        seen = about if prefixes is None else replace(about, prefixes=prefixes)
        name = name_of("grant", work.grant_id, str(work.generation), kind)
        calls = [*served_by(rows, work), *served]
        news.append(Event(name, kind, seen, association_id=association_id, served=calls))
    if found is not None:
        name = name_of(EventKind.DRIFT_REPAIRED, work.grant_id, work.mine.side, str(found.at))
        reason = Reason(code=found.kind, text=f"{how_it_ended(found.kind, fresh.wanted)}: {found.text}")
        news.append(Event(name, EventKind.DRIFT_REPAIRED, about, reason=reason))
    if not both_sides and rows.sides[Side.ASSOCIATE].unsettled:
        connection.execute(sides.update().where(*of_side(work.grant_id, Side.ASSOCIATE)).values(unsettled=False))
        rows = rows.with_side(Side.ASSOCIATE, {"unsettled": False})
    other_has_nothing_to_do = work.wanted.down and not fresh.other_settled and fresh.other_gone
    if other_has_nothing_to_do:
        news += _settle_other(connection, fresh)
        rows = rows.with_side(fresh.other.side, _at_rest(fresh))
    if other_has_nothing_to_do or fresh.other_settled or not both_sides:
        news += _answers(connection, fresh, rows, about, now, both_sides=both_sides)
        put_away_rows(connection, rows)
    elif work.wanted.down and work.mine.side is Side.GRANT:
        news.append(unwanted_event(work))  # nothing is left to do here, and account A has not heard of it yet
    append(connection, now, *news)
    return True


def _at_rest(work: Work) -> dict[str, Any]:
    """What a side's row says when it has settled."""
    return {
        "observed_generation": work.generation,
        "observed_wanted": wanted_text(work.wanted),
        "unsettled": False,
        "attempts": 0,
        "next_at": None,
        "waiting_since": None,
        "trouble": None,
        "dead_at": None,
    }


def _settle_other(connection: Connection, work: Work) -> list[Event]:
    """Nothing is up on the other side and nothing may land there: it has nothing to do, and need not be asked."""
    connection.execute(sides.update().where(*of_side(work.grant_id, work.other.side)).values(**_at_rest(work)))
    was = work.other.observed_wanted
    if was is None or was.down:
        return []
    gone = gone_event(work.other.side)  # it has come down, and nobody has told that yet
    return [Event(name_of("grant", work.grant_id, str(work.generation), gone), gone, about_work(work))]


def up_event(side: Side) -> EventKind:
    """What is told when a side has come up."""
    return EventKind.GRANTED if side is Side.GRANT else EventKind.ASSOCIATED


def gone_event(side: Side) -> EventKind:
    """What is told when a side has come down."""
    return EventKind.REVOKED if side is Side.GRANT else EventKind.DISSOCIATED


def put_off(
    connection: Connection, work: Work, next_at: int, reason: Reason, now: int, timing: Timing, *, attempt: bool
) -> bool:
    """Look again at ``next_at``. ``attempt``: this was a try that failed, not a wait for something under way.

    What has been waiting for longer than the limit is reported as stuck, once, with what was last seen: returns whether it was
    now. Requests to take down what a person keeps up are told so, once.
    """
    rows = held_rows(connection, work)
    row = rows.sides[work.mine.side]
    since = now if row.waiting_since is None else row.waiting_since
    values = {
        "next_at": next_at,
        "attempts": row.attempts + (1 if attempt else 0),
        "trouble": reason.model_dump_json(),
        "waiting_since": since,
    }
    write_mine(connection, work, {**staged_in(connection, work), **values})
    news, before = list[Event](), news_in(connection, work)
    if reason.code == ReasonCode.HELD:
        about = about_work(work)
        news = [_held(row, about, reason) for row in rows.waiting()]
    elif now - since >= timing.stuck:
        name = name_of(EventKind.STUCK, work.grant_id, work.mine.side, str(work.generation))
        stuck = Event(name, EventKind.STUCK, about_work(work), reason=reason)
        return append(connection, now, *before, stuck) > len(before)
    append(connection, now, *before, *news)
    return False


def _held(approval: Row[Any], about: About, reason: Reason) -> Event:
    name = name_of(EventKind.HELD, approval.approval_id, reason.text)
    return Event(name, EventKind.HELD, about, request_of(approval), approval.message_id, reason)


def unwanted_event(work: Work) -> Event:
    """Nobody wants the grant any more: account A's side has to let go first."""
    name = name_of("grant", work.grant_id, str(work.generation), EventKind.UNWANTED)
    return Event(name, EventKind.UNWANTED, about_work(work))


def tell_unwanted(connection: Connection, work: Work, now: int, *, let_go: bool) -> None:
    """Tell account A's side that nobody wants the grant any more.

    ``let_go``: the instance no longer hangs on the ECR. Where account A's side had settled with what was not ours, it
    looks again: it was taken down by somebody else, and the grant waits for nothing else.
    """
    held_rows(connection, work)
    if let_go and work.other_settled:
        as_seen = sides.c.observed_generation == work.generation, sides.c.ours.is_(False)
        connection.execute(
            sides.update()
            .where(*of_side(work.grant_id, work.other.side), *as_seen)
            .values(observed_wanted=None, unsettled=True)
        )
    append(connection, now, unwanted_event(work))


def refuse(
    connection: Connection,
    work: Work,
    reason: Reason,
    now: int,
    *,
    newest: bool = False,
    only: Collection[str] | None = None,
) -> bool:
    """Reject the grant requests that still wait on this grant. False when none did.

    ``newest``: only the one that was approved last, where it is their sum that cannot be had. ``only``: of these alone, by the
    ids of their approvals.
    """
    rows = held_rows(connection, work)
    waiting = [row for row in rows.waiting() if row.action == Action.GRANT]
    if only is not None:
        waiting = [row for row in waiting if row.approval_id in only]
    if newest and waiting:
        waiting = [max(waiting, key=lambda row: (row.approved_at, row.admitted_at, row.approval_id))]
    about = about_work(work)
    append(connection, now, *(finish(connection, row, EventKind.REJECTED, reason, about, now) for row in waiting))
    if waiting:
        raise_generation(connection, work.grant_id)
        _keep_granted(connection, work, rows.grant.generation)
    return bool(waiting)


def _keep_granted(connection: Connection, work: Work, generation: int) -> None:
    """Where account A's side refused a request and others want the grant up, account B's side has nothing to do for them, and
    account A's has no way to wake it: as it came to rest before, so it rests for what is left.
    """
    if work.mine.side is not Side.ASSOCIATE or not work.wanted.up:
        return
    left = work_of(connection, work.grant_id, work.mine.side)
    if not left.wanted.up:
        return
    at_rest = sides.c.observed_generation == generation, sides.c.observed_wanted.is_not(None)
    connection.execute(
        sides.update()
        .where(*of_side(work.grant_id, Side.GRANT), *at_rest, sides.c.state == State.PRESENT)
        .values(observed_generation=left.generation, observed_wanted=wanted_text(left.wanted), unsettled=False)
    )


def mark_dead(connection: Connection, work: Work, reason: Reason, now: int) -> bool:
    """Stop trying until somebody redrives, and tell everybody who waits; the other side goes on.

    False when the leases changed meanwhile: what was tried is not what is asked for now.
    """
    rows = held_rows(connection, work)
    if rows.grant.generation != work.generation:
        return False
    write_mine(connection, work, {"dead_at": now, "next_at": None, "trouble": reason.model_dump_json()})
    about = about_work(work)
    news = []
    for row in rows.waiting(settled=True):
        if row.asked_again is not None and row.outcome is not None:
            news.append(_again(connection, row, EventKind.DEAD, reason, about))
        elif row.outcome in (None, EventKind.DEAD):  # dead again: it was tried once more, in vain
            news.append(finish(connection, row, EventKind.DEAD, reason, about, now))
    if work.wanted.down and work.mine.side is Side.GRANT:
        news.append(unwanted_event(work))
    append(connection, now, *news)
    return True


def finish(
    connection: Connection, approval: Row[Any], outcome: EventKind, reason: Reason, about: About, now: int
) -> Event:
    """Give a request its outcome: done, rejected or dead. Returns the event that tells it. What is rejected is no lease."""
    over: dict[str, Any] = {"waits": True} if outcome is EventKind.DEAD else {"waits": False, "asked_again": None}
    if outcome is EventKind.REJECTED:
        over |= {"live": False, "open": False, "due_at": approval.early_until}  # when it still closes what it replaces
    connection.execute(
        approvals.update()
        .where(approvals.c.approval_id == approval.approval_id)
        .values(outcome=outcome, outcome_at=now, **over)
    )
    return Event(
        outcome_event(approval.approval_id, outcome),
        outcome,
        about,
        request_of(approval),
        message_id=approval.message_id,
        reason=reason,
        facts={"approval_id": approval.approval_id},
        people=_people(approval),
        again=outcome is EventKind.DEAD and approval.outcome == EventKind.DEAD,
    )


def _people(approval: Row[Any]) -> list[str]:
    """Whom the outcome of a request of people concerns: whoever asked, and whoever agreed."""
    if approval.issuer != DESK:
        return []
    said = json.loads(approval.content)
    return list(dict.fromkeys([said["requested_by"], *said["approved_by"]]))


def request_of(approval: Row[Any] | Lease | GrantApproval | RevokeApproval) -> Request:
    """Which request an approval is: as it came, its row of ``approvals``, or its lease."""
    return Request(issuer=approval.issuer, request_id=approval.request_id, digest=approval.digest)


def outcome_event(approval_id: str, outcome: EventKind) -> str:
    """The name of the event that tells a request's outcome."""
    return name_of("outcome", approval_id, outcome)


def answer_again(connection: Connection, approval: Row[Any], message_id: str, now: int) -> list[Event]:
    """Somebody sent a request again that had its answer: it is answered from what holds now, or when it has come to rest.

    Returns the events that tell it, to be recorded by the caller.
    """
    row = connection.execute(
        approvals.update()
        .where(approvals.c.approval_id == approval.approval_id)
        .values(asked_again=message_id, waits=True)
        .returning(approvals)
    ).one()
    work = work_of(connection, approval.grant_id)
    assert work.rows is not None  # noqa: S101  # it was just read
    about = about_work(work)
    if row.action == Action.GRANT and not row.open:  # it never counts again, whatever still is under way
        return [_again(connection, row, EventKind.REJECTED, _no_longer(connection, row), about)]
    dead = [side for _, side in sorted(work.rows.sides.items()) if side.dead_at is not None]
    trouble = dead[0].trouble if dead else None
    if trouble is not None:  # nothing happens before somebody redrives it
        return [_again(connection, row, EventKind.DEAD, Reason.model_validate_json(trouble), about)]
    theirs_settled = not work.rows.sides[Side.ASSOCIATE].unsettled
    if work.settled and (work.other_settled or theirs_settled):
        both = work.other_settled
        return _answers(connection, work, work.rows, about, now, both_sides=both)
    return []


def _answers(
    connection: Connection, work: Work, rows: Rows, about: About, now: int, *, both_sides: bool
) -> list[Event]:
    """Both sides are as wanted: every request that waited is done, or was overtaken."""
    landed = anything_landed(rows, work)
    spoke, hub = (work.mine, work.other) if work.mine.side is Side.GRANT else (work.other, work.mine)
    news = []
    for row in rows.waiting(settled=True):
        action = Action(row.action)
        if action is Action.GRANT and not row.live:
            news.append(_again(connection, row, EventKind.REJECTED, _no_longer(connection, row), about))
            continue
        closed, missed = (True, []) if action is Action.GRANT else not_closed(connection, row)
        so = {"wrote": landed and row.asked_again is None, "theirs": not both_sides, "closed": closed}
        text = done_text(action, work.wanted, spoke, hub, **so, missed=missed)
        if action is Action.REVOKE and json.loads(row.content)["closes"] == Every.EVERYONE:
            text += _from_when(connection, row)
        reason = Reason(code=ReasonCode.DONE, text=text)
        if row.asked_again is not None and row.outcome == EventKind.DONE:
            news.append(_again(connection, row, EventKind.DONE, reason, about))
        else:
            news.append(finish(connection, row, EventKind.DONE, reason, about, now))
    return news


def _again(connection: Connection, row: Row[Any], kind: EventKind, reason: Reason, about: About) -> Event:
    """The answer to a request that was sent again. Its outcome stays what it was."""
    connection.execute(
        approvals.update()
        .where(approvals.c.approval_id == row.approval_id)
        .values(asked_again=None, waits=row.outcome == EventKind.DEAD)
    )
    text = f"{reason.text}; this very request was answered at {_moment(row.outcome_at)}"
    name = name_of("again", row.approval_id, row.asked_again)
    return Event(name, kind, about, request_of(row), row.asked_again, reason.model_copy(update={"text": text}))


def _no_longer(connection: Connection, row: Row[Any]) -> Reason:
    """Why a lease that was sent again does not count any more: as it was rejected, or what befell it since."""
    if row.outcome == EventKind.REJECTED:
        named = events.c.event_id == outcome_event(row.approval_id, EventKind.REJECTED)
        body = connection.execute(sql.select(events.c.body).where(named)).scalar_one()
        return Reason.model_validate(json.loads(body)["reason"])
    if row.closed_by is not None:
        return closed_reason(connection, row.closed_by, was_up=True)
    return Reason(code=ReasonCode.ENDED, text=f"its approved end came: it ended at {_moment(row.ended_at)}")


def _moment(at: int | None) -> str:
    if at is None:
        return "an unknown time"
    precise = "milliseconds" if at % 1000 else "seconds"
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec=precise).replace("+00:00", "Z")
