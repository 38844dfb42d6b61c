"""After a look: what was seen is kept, and what follows from it is done in the ledger, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import assert_never

from shared import words
from shared.cloud.calls import Trail
from shared.errors import (
    GrantError,
    InstanceNotFound,
    NotAllowed,
    PermanentError,
    ProofBroken,
    Superseded,
)
from shared.ledger.intents import intend, resolve, saw
from shared.ledger.outcomes import gone_event, put_off, refuse, settle, tell_unwanted, up_event
from shared.ledger.rows import Held, keep
from shared.ledger.transactions import Run
from shared.loop.claimed import Claimed
from shared.loop.drivers import Look
from shared.loop.visits import Outcome, Visit
from shared.messages.completion import EventKind, Reason, ReasonCode
from shared.rules.facts import Intent, Operation, Side, State, Work
from shared.rules.leases import Wanted, counts_from
from shared.rules.steps import Step, allowed, believable

UNWOKEN_MS = 300_000  # when to look without being woken, in case the other side's completion got lost
POLL_MS = 3_000


@dataclass(frozen=True)
class Begun:
    """A write that is committed to, and not made yet."""

    work: Held
    step: Step
    intent: Intent


class AfterLook:
    """One look at one side, and what becomes of it. ``claimed``: whether the side was ours already when it began.

    The time that counts is when the look began: what it shows may be older, and is never younger.
    """

    def __init__(self, side: Claimed, work: Work, look: Look, begun_at: int, trail: Trail, *, claimed: bool) -> None:
        self._side, self._means = side, side.means
        self._work, self._look, self._begun_at, self._trail = work, look, begun_at, trail
        self._claimed_before = claimed
        self._now = side.means.clock()

    def decide(self, refused: GrantError | None) -> Visit | Begun | None:
        """How the visit ends by it, or the write that is to be made; None: think again. ``refused``: the last write's error."""
        with self._side.writing() as (run, held):
            after = self._follow(run, held, refused)
        return after()

    def _follow(self, run: Run, held: Held, refused: GrantError | None) -> Callable[[], Visit | Begun | None]:
        """The same inside the transaction. Returns what is to be done after its commit."""
        look, now = self._look, self._now
        if not self._claimed_before and _changed(self._work, held):  # it was somebody else's while we looked
            return self._think_again(run, held)
        trusted, landed, lost = self._proven(held)
        if trusted:
            made_now = any(intent.operation.creates for intent in landed)
            seen = replace(look.seen, ours=made_now if look.there else None)
            mode, call = self._means.mode, self._side.call
            fresh = run(saw, held, seen, now, mode, landed=landed, lost=lost, call=call, later=True)
        else:
            self._side.note_call(run)
            run(resolve, [], lost, now)
            fresh = replace(held, my_intents=tuple(one for one in held.my_intents if one not in lost))
        if self._means.is_theirs(fresh) and not fresh.my_intents:
            fresh = self._side.leave(run, fresh)
            run(keep, fresh, self._now)
            return lambda: self._ended(fresh, lambda: Visit(Outcome.SETTLED))  # the rest is account A's own
        step = self._step(fresh) if trusted else Step.LATER
        words.grant_step(step=step.value, state=look.seen.state)
        match step:
            case Step.SETTLE:
                return self._settle(run, fresh)
            case Step.WAIT:
                return self._wait(run, fresh)
            case Step.LATER:
                reason = Reason(code=ReasonCode.UNDER_WAY, text=f"last seen: {look.seen.state}")
                wait = self._pause(fresh)
                return self._stop(run, fresh, wait, reason, partial(put_off_until, fresh, wait, reason, now))
            case Step.HOLD:
                reason = held_by(fresh)
                return self._stop(run, fresh, UNWOKEN_MS, reason, partial(is_held, fresh, reason))
            case Step.REFUSE:
                return self._raise(run, fresh, _refusal(fresh, look))
            case Step.CREATE | Step.REMOVE | Step.CHANGE:
                return self._make(run, fresh, step) if refused is None else self._raise(run, fresh, refused)
            case unreachable:
                assert_never(unreachable)

    def _proven(self, held: Held) -> tuple[bool, list[Intent], list[Intent]]:
        """Whether a look can be trusted, and which writes of ours landed or got lost by it."""
        look, begun_at = self._look, self._begun_at
        trusted = believable(
            contradicted_at=(write.made_at for write in held.writes if not _agree(write, look)),
            at=begun_at,
            settle=self._means.settle_ms,
        )
        landed, lost = [], []
        for intent in held.my_intents:
            if _shows(intent, look):
                landed += [intent] if trusted else []
            elif begun_at - intent.made_at >= self._means.settle_ms:
                lost.append(intent)
        return trusted, landed, lost

    def _ended(self, held: Held, then: Callable[[], Visit]) -> Visit:
        self._side.has_left(held)
        return then()

    def _think_again(self, run: Run, held: Held) -> Callable[[], None]:
        run(keep, held, self._now)
        return self._side.forget_call

    def _raise(self, run: Run, held: Held, error: GrantError) -> Callable[[], Visit]:
        run(keep, held, self._now)

        def after() -> Visit:
            self._side.forget_call()
            raise error

        return after

    def _stop(
        self, run: Run, held: Held, wait_ms: int, reason: Reason, then: Callable[..., Visit]
    ) -> Callable[[], Visit]:
        """Look again after a while."""
        held = self._side.leave(run, held)
        now = self._now
        stuck = run(put_off, held, now + wait_ms, reason, now, self._means.ledger.timing, attempt=False)
        return lambda: self._ended(held, partial(then, stuck=stuck))

    def _wait(self, run: Run, held: Held) -> Callable[[], Visit]:
        """It is the other side's turn, whose completion wakes this one."""
        why = "it is the other account's turn"
        if held.wanted.down:
            run(tell_unwanted, held, self._now, let_go=not self._look.in_use)
        reason = Reason(code=ReasonCode.OTHERS_TURN, text=why)

        def then(*, stuck: bool) -> Visit:
            say_stuck(held, reason, stuck=stuck)
            words.grant_waiting(grant=held.grant_id, side=self._means.driver.side, why=why)
            return Visit(Outcome.WAITING)

        return self._stop(run, held, UNWOKEN_MS, reason, then)

    def _step(self, work: Work) -> Step:
        """What to do about a look that can be trusted, begun at this time."""
        look, at = self._look, self._begun_at
        step = look.step(self._as_it_counts(work), bool(work.mine.ours))
        let_go_at = [work.other.seen_at] if work.other_gone and work.other.seen_at is not None else []
        trusted = believable(contradicted_at=let_go_at, at=at, settle=self._means.settle_ms)
        if step is Step.WAIT and look.in_use and not trusted:
            return Step.LATER  # account B may not see yet that account A has let go, and nobody would wake us
        return step

    def _adds(self, work: Work) -> bool:
        """Whether a change would allow something that does not stand."""
        standing = self._look.seen.prefixes or ()
        return not set(allowed(work.wanted, work.stops, standing)) <= set(standing)

    def _as_it_counts(self, work: Work) -> Work:
        """Where account A's own automation associates, nobody looks at its side: what account B itself sees counts."""
        if self._means.driver.side is Side.GRANT and self._means.theirs(work):
            return replace(work, other=replace(work.other, state=State.UNKNOWN))
        return work

    def _make(self, run: Run, held: Held, step: Step) -> Callable[[], Visit | Begun | None]:
        """Commit to one write. What makes something is for what is proven, and decided under the newest configuration."""
        if step is Step.REMOVE or (step is Step.CHANGE and not self._adds(held)):
            return self._intend(run, held, step, held.wanted)
        try:
            proven, why = self._means.gate.proven(held)
        except Superseded:
            return self._think_again(run, held)
        if why is not None and self._step(proven) is not step:
            if isinstance(why, ProofBroken):
                words.proof_broken(grant=held.grant_id, side=self._means.driver.side, reason=str(why))
            return self._raise(run, held, why)
        changed = self._means.gate.changed(held, self._look.cidrs) if step is Step.CREATE else {}
        return self._lapse(run, held, changed) if changed else self._intend(run, held, step, proven.wanted)

    def _lapse(self, run: Run, held: Held, changed: Mapping[str, str]) -> Callable[[], None]:
        """People decided about something else than is there. Those who were shown the same are told at once; of others thought
        again.
        """
        difference = next(iter(changed.values()))
        told = {approval_id for approval_id, why in changed.items() if why == difference}
        error = NotAllowed(f"it lapsed, nobody decided about what is there now: {difference}", code="WorldChanged")
        run(keep, held, self._now)
        run(refuse, held, Reason.of(error), self._now, only=told)
        words.request_rejected(grant=held.grant_id, code=error.code, reason=str(error))
        return self._side.forget_call

    def _intend(self, run: Run, held: Held, step: Step, wanted: Wanted) -> Callable[[], Begun | None]:
        """Commit to one write."""
        operation, prefixes = self._means.driver.operation(step, held.key), wanted.prefixes
        if step is Step.CHANGE:
            prefixes = allowed(wanted, held.stops, self._look.seen.prefixes or ())
        intent = run(intend, held, operation, self._now, self._means.ledger.timing, self._means.mode, prefixes)
        if intent is None:
            return self._think_again(run, held)

        def after() -> Begun:
            self._side.forget_call()
            self._side.knocks = held.mine.knocks
            return Begun(held, step, intent)

        return after

    def _settle(self, run: Run, work: Held) -> Callable[[], Visit | None]:
        # A side that never came to rest upwards, or was redriven since, may have had something up all the same, made by us or
        # adopted: the other side waits to hear of it.
        look = self._look
        had_something = work.mine.observed_wanted is not None or bool(work.writes)
        awaited = self._means.driver.side is Side.ASSOCIATE and not work.other_settled
        kind = None
        if look.there and not work.wanted.down:
            kind = up_event(self._means.driver.side)
        if not look.there and work.wanted.down and (had_something or awaited):
            kind = gone_event(self._means.driver.side)
        right = work.wanted.beside(look.seen.prefixes or ())
        left = self._side.leave(run, work)
        settled = run(
            settle,
            left,
            kind,
            self._now,
            association_id=look.seen.association_id,
            served=self._trail.take(),
            both_sides=not self._means.theirs(work),
            prefixes=look.seen.prefixes,
            prefixes_differ=not work.wanted.down and look.seen.prefixes not in (None, right),
            timing=self._means.ledger.timing,
        )
        if not settled:
            return self._think_again(run, work)

        def then() -> Visit:
            words.side_settled(
                event_kind=kind,
                generation=work.generation,
                ours=work.mine.ours,
                admitted_seconds=self._since_admission(work, kind),
            )
            return Visit(Outcome.SETTLED)

        return lambda: self._ended(left, then)

    def _since_admission(self, work: Work, kind: EventKind | None) -> float | None:
        """How long the oldest approval that waited for this side to come up has waited; None where it was up, or went down."""
        before = work.mine.observed_wanted
        if kind is not up_event(self._means.driver.side) or work.waits is None or not (before is None or before.down):
            return None
        return (self._now - counts_from(work.waits, self._means.ledger.timing)) / 1000

    def _pause(self, work: Work) -> int:
        return min(self._means.settle_ms, POLL_MS) if work.my_intents else POLL_MS


def say_stuck(work: Work, reason: Reason, *, stuck: bool) -> None:
    """Tell whoever reads the log, too."""
    if stuck:
        words.grant_stuck(grant=work.grant_id, side=work.mine.side, code=reason.code, reason=reason.text)


def put_off_until(work: Work, wait_ms: int, reason: Reason, now: int, *, stuck: bool) -> Visit:
    """It was put off: it is looked at again at a known time."""
    say_stuck(work, reason, stuck=stuck)
    words.grant_later(grant=work.grant_id, side=work.mine.side, code=reason.code, wait_seconds=wait_ms / 1000)
    return Visit(Outcome.LATER, now + wait_ms)


def is_held(work: Work, reason: Reason, *, stuck: bool) -> Visit:
    """A person said that nothing may be done."""
    say_stuck(work, reason, stuck=stuck)
    words.grant_held(grant=work.grant_id, side=work.mine.side, why=reason.text)
    return Visit(Outcome.HELD)


def _changed(before: Work, held: Held) -> bool:
    """Whether somebody else was at this side between a look and its claim."""
    was, is_now = (replace(one.mine, claimed_until=None, knocks=0) for one in (before, held))
    return (was, before.writes) != (is_now, held.writes)


def held_by(work: Work) -> Reason:
    """Whose word it is that nothing may be done."""
    why = (work.stops.remove if work.wanted.down else work.stops.create) or work.stops.remove or ""
    return Reason(code=ReasonCode.HELD, text=why)


def _refusal(work: Work, look: Look) -> PermanentError:
    """Why account B's instance can never be as wanted."""
    what = f"instance.id: {work.key.instance_type} {work.key.instance_id}"
    if look.elsewhere is not None:
        text = f"{what} hangs on another router, {look.elsewhere}: it has to let go of that one first"
        return NotAllowed(text, code="OnAnotherRouter")
    where = f"account {work.key.instance_owner_uid}, region {work.key.instance_region}"
    return InstanceNotFound(f"{what} not found in {where}")


def _shows(intent: Intent, look: Look) -> bool:
    """Whether a look shows what an intent asked for."""
    if intent.operation is Operation.SET_PREFIXES:
        return look.there and look.seen.prefixes == intent.prefixes
    return look.there is intent.operation.creates


def _agree(write: Intent, look: Look) -> bool:
    """Whether a look can come from after a write. An association that is gone has no prefixes to speak against any."""
    return _shows(write, look) or (write.operation is Operation.SET_PREFIXES and not look.there)
