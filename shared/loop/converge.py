"""The loop that everything comes down to: read the leases, read the cloud, make one difference disappear, look again.

A message, a timer and a person all do nothing but start this loop for one side of one grant. It may be started any number
of times, by any number of workers, and be cut off anywhere.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from shared import words
from shared.cloud.calls import Trail
from shared.errors import GrantError, LedgerError, NeedsSomebody, NotAllowed, PermanentError, Throttled, Unconfigured
from shared.ledger.intents import Carried, give_up_others
from shared.ledger.outcomes import mark_dead, put_off, refuse
from shared.ledger.rows import Held, keep
from shared.ledger.transactions import Ledger
from shared.ledger.work import see_all
from shared.log import bound
from shared.loop.after_look import POLL_MS, UNWOKEN_MS, AfterLook, Begun, held_by, is_held, put_off_until
from shared.loop.claimed import Busy, Claimed, Means
from shared.loop.drivers import Driver, Look
from shared.loop.gate import Gate
from shared.loop.visits import Outcome, Visit
from shared.messages.completion import Reason, ReasonCode
from shared.rules.facts import Mode, Side, Work
from shared.rules.steps import Step

_STEPS_PER_VISIT = 12
_EARLY_MS = 1_000  # a delayed wake keeps the queue's time, not ours
_LONGEST_WAIT_MS = 900_000
_ATTEMPTS = 20
_UNCONFIGURED_MS = 60_000  # until somebody looks whether the configuration can be believed again
# What is refused for the sum of several requests: the newest of them goes.
_SUMS = frozenset({"IllegalParamSize.AllowedPrefixes"})


class Converge:
    """The loop for one side, with what it needs handed in."""

    def __init__(
        self,
        ledger: Ledger,
        driver: Driver,
        gate: Gate,
        *,
        worker: str,
        mode: Mode,
        clock: Callable[[], int],
        settle_ms: int,
        claim_ms: int,
    ) -> None:
        """``mode``: the deployment's, which holds while no operator said any."""
        self._means = Means(ledger, driver, gate, worker, mode, clock, settle_ms, claim_ms)

    def visit(self, grant_id: str, first: Held | None = None) -> Visit:
        """Bring this side of the grant as far as it goes now. Raises only LedgerError; everything else is recorded.

        ``first``: the work as it was seen a moment ago, if it was.
        """
        return _Turn(self._means, grant_id).visit(first)

    def see(self, ids: Sequence[str]) -> dict[str, Held]:
        """The work on several grants as it is now, by id, as far as that is read at once."""
        means = self._means
        return means.ledger.glance(see_all, ids, means.driver.side, means.clock(), means.ledger.timing, means.mode)


class _Turn:
    """One visit. The first thing that it writes claims the side, the last gives it back: whatever is decided after a look is one
    transaction with what was seen.
    """

    def __init__(self, means: Means, grant_id: str) -> None:
        self._means = means
        self._ledger, self._driver, self._gate = means.ledger, means.driver, means.gate
        self._clock = means.clock
        self._side = Claimed(means, grant_id)

    def visit(self, first: Held | None) -> Visit:
        """See ``Converge.visit``."""
        now = self._clock()
        if first is None:
            first = self._side.read()
        else:
            self._side.knocks = first.mine.knocks
            self._means.met(first)
        if first is None or first.settled or (self._means.is_theirs(first) and not first.my_intents):
            return Visit(Outcome.SETTLED)
        if first.mine.dead:
            return Visit(Outcome.DEAD)
        if first.mine.next_at is not None and not first.mine.waiting and now < first.mine.next_at - _EARLY_MS:
            return Visit(
                Outcome.LATER
            )  # whoever set the time has sent the wake for it; another one would only multiply
        try:
            if first.mine.claimed_until is not None and first.mine.claimed_until > now:
                self._side.alone()  # or else whoever has it is told that there is news
            work: Work | None = first
            while work is not None:
                visit = self._work(work)
                if not self._side.claimed:
                    return visit
                work = self._side.read()
        except Busy as busy:
            return Visit(Outcome.BUSY, busy.until)
        return visit

    def _without_theirs(self, work: Work) -> Work:
        """Where account A's own automation took over while a write of ours was open, nobody looks what became of it."""
        if self._driver.side is Side.ASSOCIATE or not self._means.theirs(work) or work.other_pending is None:
            return work
        with self._side.writing() as (run, held):
            run(keep, held, self._clock())
            run(give_up_others, held, self._clock(), self._ledger.timing)
        return self._side.reread()

    def _work(self, work: Work) -> Visit:
        try:
            with bound(grant=work.grant_id, side=self._driver.side):
                if not work.wanted.down:
                    self._gate.check(work.key)  # letting go needs no more than to be let in
                if work.stops.look and not work.my_intents:
                    return self._hold(work)
                return self._steps(work)
        except PermanentError as error:
            if isinstance(error, NotAllowed):
                error = _not_listed(work, error)
            return self._refused(work, error)
        except NeedsSomebody as error:
            return self._die(work, error)
        except Unconfigured as error:
            return self._later(work, _UNCONFIGURED_MS, Reason.of(error), attempt=False)
        except GrantError as error:
            return self._try_later(work, error)
        except LedgerError:
            # Perhaps only for a moment. If it still is away, there is nobody to tell but who called.
            reason = Reason(code=ReasonCode.LEDGER_AWAY, text="the ledger was away")
            return self._later(work, POLL_MS, reason, attempt=False)
        except Busy:
            raise
        except Exception as error:  # noqa: BLE001  # a bug in one grant's work must not stop its neighbours
            words.grant_failed(grant=work.grant_id, side=self._driver.side)
            return self._try_later(work, GrantError(f"unexpected {type(error).__name__}", code="Unexpected"))

    def _refused(self, work: Work, error: PermanentError) -> Visit:
        """What waits is refused for good, unless another configuration stands by now that may permit it."""
        again, newest = False, error.code in _SUMS
        with self._side.writing() as (run, held):
            self._side.note_call(run)
            run(keep, held, self._clock())
            if isinstance(error, NotAllowed) and self._gate.outdated(held):
                again = True
            elif run(refuse, work, Reason.of(error), self._clock(), newest=newest):
                words.request_rejected(grant=work.grant_id, code=error.code, reason=str(error))
                again = True
        self._side.call = None
        return self._work_again() if again else self._die(work, error)

    def _work_again(self) -> Visit:
        """The waiting requests are refused and the leases changed, or what is listed did: it is somebody else's turn now, or
        nobody's.
        """
        fresh = self._side.read()
        return Visit(Outcome.SETTLED) if fresh is None else self._work(fresh)

    def _die(self, work: Work, error: GrantError) -> Visit:
        if not self._side.end(lambda run: run(mark_dead, work, Reason.of(error), self._clock())):
            return self._leases_changed(work)
        words.grant_dead(grant=work.grant_id, side=self._driver.side, code=error.code, reason=str(error))
        return Visit(Outcome.DEAD)

    def _try_later(self, work: Work, error: GrantError) -> Visit:
        if error.code == "Paced" and isinstance(error, Throttled) and error.retry_after is not None:
            # Our own budget: no call was made, and a place in it is promised for that time.
            return self._later(work, int(error.retry_after * 1000), Reason.of(error), attempt=False)
        if work.mine.attempts + 1 >= _ATTEMPTS:
            return self._die(work, error)
        wait = min(POLL_MS * 2**work.mine.attempts, _LONGEST_WAIT_MS)
        if isinstance(error, Throttled) and error.retry_after is not None:
            wait = max(wait, int(error.retry_after * 1000))
        spread = int(wait * random.uniform(1.0, 1.25))  # noqa: S311  # so that a crowd does not come back together
        return self._later(work, spread, Reason.of(error), attempt=True)

    def _later(self, work: Work, wait_ms: int, reason: Reason, *, attempt: bool) -> Visit:
        now = self._clock()
        next_at, timing = now + wait_ms, self._ledger.timing
        stuck = self._side.end(lambda run: run(put_off, work, next_at, reason, now, timing, attempt=attempt))
        return put_off_until(work, wait_ms, reason, now, stuck=stuck)

    def _leases_changed(self, work: Work) -> Visit:
        reason = Reason(code=ReasonCode.BUSY, text="the leases keep changing")
        return self._later(work, POLL_MS, reason, attempt=False)

    def _hold(self, work: Work) -> Visit:
        """A person said that nothing may be done."""
        now, reason = self._clock(), held_by(work)
        next_at, timing = now + UNWOKEN_MS, self._ledger.timing
        stuck = self._side.end(lambda run: run(put_off, work, next_at, reason, now, timing, attempt=False))
        return is_held(work, reason, stuck=stuck)

    def _steps(self, start: Work) -> Visit:
        work = self._without_theirs(start)
        trail = Trail()
        look: Look | None = None
        refused: GrantError | None = None
        for _ in range(_STEPS_PER_VISIT):
            if work.settled:
                return self._at_rest()
            begun_at, claimed = self._clock(), self._side.claimed
            look = self._driver.look(work, trail, look)
            found = AfterLook(self._side, work, look, begun_at, trail, claimed=claimed).decide(refused)
            if isinstance(found, Visit):
                return found
            if isinstance(found, Begun):
                refused = self._act(found, trail)
                work = found.work
            else:
                work, look = self._side.reread(), None  # others were at it, or the leases changed: think again
        return self._leases_changed(start)

    def _at_rest(self) -> Visit:
        """Nothing is left to do, and nothing was done."""
        if self._side.claimed:
            with self._side.writing() as (run, held):
                self._side.note_call(run)
                left = self._side.leave(run, held)
                run(keep, left, self._clock())
            self._side.has_left(left)
        return Visit(Outcome.SETTLED)

    def _act(self, begun: Begun, trail: Trail) -> GrantError | None:
        """One write, between a committed intent and the next look. Returns the error, to be believed after that look."""
        work, intent, error = begun.work, begun.intent, None
        trail.take()
        make = {Step.CREATE: self._driver.create, Step.REMOVE: self._driver.remove, Step.CHANGE: self._driver.change}
        try:
            make[begun.step](work, intent, trail)
        except GrantError as caught:
            error = caught
        served = trail.take()
        certainly_not = error is not None and not error.executed
        self._side.call = Carried(intent, served, self._clock(), certainly_not)
        if error is None:
            words.write_requested(write=intent.operation, api_request_id=served[-1].api_request_id if served else None)
        else:
            words.write_failed(write=intent.operation, code=error.code, reason=str(error))
        return error


def _not_listed(work: Work, error: NotAllowed) -> NotAllowed:
    """An account or router that is not listed: with what was last seen up there, which nobody may take down now."""
    if error.code != NotAllowed.code or not work.wanted.down:
        return error
    up = [f"{row.side}: {row.state}" for row in (work.mine, work.other) if not row.nothing_up]
    return NotAllowed(f"{error}; last seen up: {', '.join(up) or 'nothing'}", code="NotListed")
