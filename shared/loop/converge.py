"""The loop that everything comes down to: read the leases, read the cloud, make one difference disappear, look again.

A message, a timer and a person all do nothing but start this loop for one side of one grant. It may be started any number
of times, by any number of workers, and be cut off anywhere.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from shared import words
from shared.cloud.calls import Trail
from shared.errors import (
    GrantError,
    InstanceNotFound,
    LedgerError,
    NeedsSomebody,
    NotAllowed,
    PermanentError,
    Throttled,
)
from shared.ledger.intents import carried_out, give_up_others, intend, resolve, saw
from shared.ledger.outcomes import gone_event, mark_dead, put_off, refuse, settle, tell_unwanted, up_event
from shared.ledger.transactions import Ledger
from shared.ledger.work import claim, read_work, release
from shared.log import bound
from shared.loop.drivers import Driver, Look
from shared.messages.completion import EventKind, Reason, ReasonCode
from shared.rules.facts import Intent, Mode, Operation, Side, State, Work
from shared.rules.inventory import Association, Inventory
from shared.rules.leases import counts_from
from shared.rules.steps import Step, allowed, believable

_STEPS_PER_VISIT = 12
_UNWOKEN_MS = 300_000  # when to look without being woken, in case the other side's completion got lost
_EARLY_MS = 1_000  # a delayed wake keeps the queue's time, not ours
_POLL_MS = 3_000
_LONGEST_WAIT_MS = 900_000
_ATTEMPTS = 20
# What is refused for the sum of several requests: the newest of them goes.
_SUMS = frozenset({"IllegalParamSize.AllowedPrefixes"})


class Outcome(StrEnum):
    """How a visit to one side of a grant can end."""

    SETTLED = "settled"  # nothing left to do
    WAITING = "waiting"  # it is the other side's turn
    HELD = "held"  # a person said so, by the mode
    LATER = "later"  # looked at again at a known time
    DEAD = "dead"  # not tried until somebody redrives it
    BUSY = "busy"  # another worker is at it


@dataclass(frozen=True)
class Visit:
    """How one visit to a grant ended, and when to look again."""

    outcome: Outcome
    next_at: int | None = None


class Converge:
    """The loop for one side, with what it needs handed in."""

    def __init__(
        self,
        ledger: Ledger,
        driver: Driver,
        inventory: Inventory,
        *,
        worker: str,
        mode: Mode,
        clock: Callable[[], int],
        settle_ms: int,
        claim_ms: int,
    ) -> None:
        self._ledger = ledger
        self._driver = driver
        self._inventory = inventory
        self._worker = worker
        self._mode = mode  # the deployment's: it holds while no operator said any
        self._clock = clock
        self._settle_ms = settle_ms
        self._claim_ms = claim_ms

    def visit(self, grant_id: str) -> Visit:
        """Bring this side of the grant as far as it goes now. Raises only LedgerError; everything else is recorded."""
        now = self._clock()
        first = self._read(grant_id, now)
        if first is None or first.settled or (self._is_theirs(first) and not first.my_intents):
            return Visit(Outcome.SETTLED)
        if first.mine.dead:
            return Visit(Outcome.DEAD)
        if first.mine.next_at is not None and not first.mine.waiting and now < first.mine.next_at - _EARLY_MS:
            return Visit(
                Outcome.LATER
            )  # whoever set the time has sent the wake for it; another one would only multiply
        until = now + self._claim_ms
        if not self._ledger.write(claim, grant_id, self._driver.side, self._worker, now, until):
            return Visit(Outcome.BUSY, until)
        visit = Visit(Outcome.SETTLED)
        while True:
            work = self._read(grant_id, self._clock())
            if work is None:
                return visit
            visit = self._work(work)
            if self._ledger.write(release, grant_id, self._driver.side, self._worker, work.mine.knocks):
                return visit

    def _is_theirs(self, work: Work) -> bool:
        """Whether this is account A's side where account A's own automation acts on our completions."""
        return self._driver.side is Side.ASSOCIATE and self._theirs(work)

    def _as_it_counts(self, work: Work) -> Work:
        """Where account A's own automation associates, nobody looks at its side: what account B itself sees counts."""
        if self._driver.side is Side.GRANT and self._theirs(work):
            return replace(work, other=replace(work.other, state=State.UNKNOWN))
        return work

    def _without_theirs(self, work: Work) -> Work:
        """Where account A's own automation took over while a write of ours was open, nobody looks what became of it."""
        if self._driver.side is Side.ASSOCIATE or not self._theirs(work) or work.other_pending is None:
            return work
        self._ledger.write(give_up_others, work, self._clock(), self._ledger.timing)
        return self._reread(work)

    def _theirs(self, work: Work) -> bool:
        return self._inventory.association(work.key) is Association.THEIRS

    def _work(self, work: Work) -> Visit:
        try:
            with bound(grant=work.grant_id, side=self._driver.side):
                if not work.wanted.down:
                    self._inventory.check(work.key)  # letting go needs no more than to be let in
                if work.stops.look and not work.my_intents:
                    return self._hold(work)
                return self._loop(work)
        except PermanentError as error:
            if isinstance(error, NotAllowed):
                error = _not_listed(work, error)
            reason = Reason.of(error)
            if self._ledger.write(refuse, work, reason, self._clock(), newest=error.code in _SUMS):
                words.request_rejected(grant=work.grant_id, code=error.code, reason=str(error))
                return self._work_again(work)
            return self._die(work, error)
        except NeedsSomebody as error:
            return self._die(work, error)
        except GrantError as error:
            return self._try_later(work, error)
        except LedgerError:
            # Perhaps only for a moment. If it still is away, there is nobody to tell but who called.
            reason = Reason(code=ReasonCode.LEDGER_AWAY, text="the ledger was away")
            return self._later(work, _POLL_MS, reason, attempt=False)
        except Exception as error:  # noqa: BLE001  # a bug in one grant's work must not stop its neighbours
            words.grant_failed(grant=work.grant_id, side=self._driver.side)
            return self._try_later(work, GrantError(f"unexpected {type(error).__name__}", code="Unexpected"))

    def _work_again(self, work: Work) -> Visit:
        """The waiting requests are refused and the leases changed: the grant is somebody else's, or nobody's, now."""
        fresh = self._read(work.grant_id, self._clock())
        return Visit(Outcome.SETTLED) if fresh is None else self._work(fresh)

    def _die(self, work: Work, error: GrantError) -> Visit:
        if not self._ledger.write(mark_dead, work, Reason.of(error), self._clock()):
            return self._leases_changed(work)
        words.grant_dead(grant=work.grant_id, side=self._driver.side, code=error.code, reason=str(error))
        return Visit(Outcome.DEAD)

    def _try_later(self, work: Work, error: GrantError) -> Visit:
        if error.code == "Paced" and isinstance(error, Throttled) and error.retry_after is not None:
            # Our own budget: no call was made, and a place in it is promised for that time.
            return self._later(work, int(error.retry_after * 1000), Reason.of(error), attempt=False)
        if work.mine.attempts + 1 >= _ATTEMPTS:
            return self._die(work, error)
        wait = min(_POLL_MS * 2**work.mine.attempts, _LONGEST_WAIT_MS)
        if isinstance(error, Throttled) and error.retry_after is not None:
            wait = max(wait, int(error.retry_after * 1000))
        spread = int(wait * random.uniform(1.0, 1.25))  # noqa: S311  # so that a crowd does not come back together
        return self._later(work, spread, Reason.of(error), attempt=True)

    def _later(self, work: Work, wait_ms: int, reason: Reason, *, attempt: bool) -> Visit:
        now = self._clock()
        if self._ledger.write(put_off, work, now + wait_ms, reason, now, self._ledger.timing, attempt=attempt):
            words.grant_stuck(grant=work.grant_id, side=self._driver.side, code=reason.code, reason=reason.text)
        words.grant_later(grant=work.grant_id, side=self._driver.side, code=reason.code, wait_seconds=wait_ms / 1000)
        return Visit(Outcome.LATER, now + wait_ms)

    def _loop(self, start: Work) -> Visit:
        start = self._without_theirs(start)
        trail = Trail()
        look: Look | None = None
        refused: GrantError | None = None
        for _ in range(_STEPS_PER_VISIT):
            work = start if look is None else self._reread(start)
            if work.settled:
                return Visit(Outcome.SETTLED)
            begun_at = self._clock()
            look = self._driver.look(work, trail, look)
            work, doubtful = self._note(work, look, begun_at)
            if self._is_theirs(work) and not work.my_intents:
                return Visit(Outcome.SETTLED)  # what we had asked for is known: the rest is account A's own
            step = Step.LATER if doubtful else self._step(work, look, begun_at)
            words.grant_step(step=step.value, state=look.seen.state)
            match step:
                case Step.SETTLE:
                    if self._settle(work, look, trail):
                        return Visit(Outcome.SETTLED)
                case Step.WAIT:
                    return self._wait(work, look)
                case Step.LATER:
                    reason = Reason(code=ReasonCode.UNDER_WAY, text=f"last seen: {look.seen.state}")
                    return self._later(work, self._pause(work), reason, attempt=False)
                case Step.REFUSE:
                    raise _refusal(work, look)
                case Step.HOLD:
                    return self._hold(work)
                case Step.CREATE | Step.REMOVE | Step.CHANGE:
                    if refused is not None:
                        raise refused
                    refused = self._act(step, work, look, trail)
                case unreachable:
                    assert_never(unreachable)
        return self._leases_changed(start)

    def _leases_changed(self, work: Work) -> Visit:
        reason = Reason(code=ReasonCode.BUSY, text="the leases keep changing")
        return self._later(work, _POLL_MS, reason, attempt=False)

    def _step(self, work: Work, look: Look, at: int) -> Step:
        """What to do about a look that can be trusted, begun at this time."""
        step = look.step(self._as_it_counts(work), bool(work.mine.ours))
        let_go_at = [work.other.seen_at] if work.other_gone and work.other.seen_at is not None else []
        trusted = believable(contradicted_at=let_go_at, at=at, settle=self._settle_ms)
        if step is Step.WAIT and look.in_use and not trusted:
            return Step.LATER  # account B may not see yet that account A has let go, and nobody would wake us
        return step

    def _wait(self, work: Work, look: Look) -> Visit:
        """It is the other side's turn, whose completion wakes this one."""
        why = "it is the other account's turn"
        if work.wanted.down:
            self._ledger.write(tell_unwanted, work, self._clock(), let_go=not look.in_use)
        self._until_woken(work, Reason(code=ReasonCode.OTHERS_TURN, text=why))
        words.grant_waiting(grant=work.grant_id, side=self._driver.side, why=why)
        return Visit(Outcome.WAITING)

    def _hold(self, work: Work) -> Visit:
        """A person said that nothing may be done."""
        why = (work.stops.remove if work.wanted.down else work.stops.create) or work.stops.remove or ""
        self._until_woken(work, Reason(code=ReasonCode.HELD, text=why))
        words.grant_held(grant=work.grant_id, side=self._driver.side, why=why)
        return Visit(Outcome.HELD)

    def _until_woken(self, work: Work, reason: Reason) -> None:
        now = self._clock()
        if self._ledger.write(put_off, work, now + _UNWOKEN_MS, reason, now, self._ledger.timing, attempt=False):
            words.grant_stuck(grant=work.grant_id, side=self._driver.side, code=reason.code, reason=reason.text)

    def _read(self, grant_id: str, now: int) -> Work | None:
        return self._ledger.write(read_work, grant_id, self._driver.side, now, self._ledger.timing, self._mode)

    def _reread(self, work: Work) -> Work:
        fresh = self._read(work.grant_id, self._clock())
        assert fresh is not None  # noqa: S101  # grants are never deleted
        return fresh

    def _note(self, work: Work, look: Look, begun_at: int) -> tuple[Work, bool]:
        """Keep what was seen and what it proves. Returns the work as it is now, and whether the look is doubtful.

        The time that counts is when the look began: what it shows may be older, and is never younger.
        """
        trusted = believable(
            contradicted_at=(write.made_at for write in work.writes if not _agree(write, look)),
            at=begun_at,
            settle=self._settle_ms,
        )
        landed, lost = [], []
        for intent in work.my_intents:
            if _shows(intent, look):
                landed += [intent] if trusted else []
            elif begun_at - intent.made_at >= self._settle_ms:
                lost.append(intent)
        if trusted:
            made_now = any(intent.operation.creates for intent in landed)
            seen = replace(look.seen, ours=made_now if look.there else None)
            now = self._clock()
            return self._ledger.write(saw, work, seen, now, self._mode, landed=landed, lost=lost), False
        if lost:
            self._ledger.write(resolve, [], lost, self._clock())
        return self._reread(work), True

    def _act(self, step: Step, work: Work, look: Look, trail: Trail) -> GrantError | None:
        """One write, between a committed intent and the next look. Returns the error, to be believed after that look."""
        operation, prefixes = self._driver.operation(step, work.key), work.wanted.prefixes
        if step is Step.CHANGE:
            prefixes = allowed(work.wanted, work.stops, look.seen.prefixes or ())
        intent = self._ledger.write(intend, work, operation, self._clock(), self._ledger.timing, self._mode, prefixes)
        if intent is None:
            return None  # something changed meanwhile: think again
        trail.take()
        error: GrantError | None = None
        try:
            {Step.CREATE: self._driver.create, Step.REMOVE: self._driver.remove, Step.CHANGE: self._driver.change}[
                step
            ](work, intent, trail)
        except GrantError as caught:
            error = caught
        served = trail.take()
        certainly_not = error is not None and not error.executed
        self._ledger.write(carried_out, intent, served, self._clock(), refused=certainly_not)
        if error is None:
            words.write_requested(write=intent.operation, api_request_id=served[-1].api_request_id if served else None)
        else:
            words.write_failed(write=intent.operation, code=error.code, reason=str(error))
        return error

    def _settle(self, work: Work, look: Look, trail: Trail) -> bool:
        # A side that never came to rest upwards may have had something up all the same, made by us or adopted: the other
        # side waits to hear of it.
        had_something = work.mine.observed_wanted is not None or any(
            write.operation.creates or write.generation == work.generation for write in work.writes
        )
        awaited = self._driver.side is Side.ASSOCIATE and not work.other_settled
        kind = None
        if look.there and not work.wanted.down:
            kind = up_event(self._driver.side)
        if not look.there and work.wanted.down and (had_something or awaited):
            kind = gone_event(self._driver.side)
        right = work.wanted.beside(look.seen.prefixes or ())
        settled = self._ledger.write(
            settle,
            work,
            kind,
            self._clock(),
            association_id=look.seen.association_id,
            served=trail.take(),
            both_sides=not self._theirs(work),
            prefixes=look.seen.prefixes,
            prefixes_differ=not work.wanted.down and look.seen.prefixes not in (None, right),
            timing=self._ledger.timing,
        )
        if settled:
            words.side_settled(
                event_kind=kind,
                generation=work.generation,
                ours=work.mine.ours,
                admitted_seconds=self._since_admission(work, kind),
            )
        return settled

    def _since_admission(self, work: Work, kind: EventKind | None) -> float | None:
        """How long the oldest approval that waited for this side to come up has waited; None where it was up, or went down."""
        before = work.mine.observed_wanted
        if kind is not up_event(self._driver.side) or work.waits is None or not (before is None or before.down):
            return None
        return (self._clock() - counts_from(work.waits, self._ledger.timing)) / 1000

    def _pause(self, work: Work) -> int:
        return min(self._settle_ms, _POLL_MS) if work.my_intents else _POLL_MS


def _refusal(work: Work, look: Look) -> PermanentError:
    """Why account B's instance can never be as wanted."""
    what = f"instance.id: {work.key.instance_type} {work.key.instance_id}"
    if look.elsewhere is not None:
        text = f"{what} hangs on another router, {look.elsewhere}: it has to let go of that one first"
        return NotAllowed(text, code="OnAnotherRouter")
    where = f"account {work.key.instance_owner_uid}, region {work.key.instance_region}"
    return InstanceNotFound(f"{what} not found in {where}")


def _not_listed(work: Work, error: NotAllowed) -> NotAllowed:
    """An account or router that is not listed: with what was last seen up there, which nobody may take down now."""
    if error.code != NotAllowed.code or not work.wanted.down:
        return error
    up = [f"{row.side}: {row.state}" for row in (work.mine, work.other) if not row.nothing_up]
    return NotAllowed(f"{error}; last seen up: {', '.join(up) or 'nothing'}", code="NotListed")


def _shows(intent: Intent, look: Look) -> bool:
    """Whether a look shows what an intent asked for."""
    if intent.operation is Operation.SET_PREFIXES:
        return look.there and look.seen.prefixes == intent.prefixes
    return look.there is intent.operation.creates


def _agree(write: Intent, look: Look) -> bool:
    """Whether a look can come from after a write. An association that is gone has no prefixes to speak against any."""
    return _shows(write, look) or (write.operation is Operation.SET_PREFIXES and not look.there)
