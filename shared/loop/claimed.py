"""One side of a grant during one visit: the first thing that is written claims it, the last gives it back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from shared.ledger.intents import Carried, carried, carried_out
from shared.ledger.rows import Held, keep
from shared.ledger.transactions import Ledger, Run
from shared.ledger.work import TimePassed, leave, read_work, see_work, take
from shared.loop.drivers import Driver
from shared.loop.gate import Gate
from shared.rules.facts import Mode, Side, Work
from shared.rules.inventory import Association

T = TypeVar("T")


@dataclass(frozen=True)
class Means:
    """What the loop for one side works with. Times in milliseconds."""

    ledger: Ledger
    driver: Driver
    gate: Gate
    worker: str
    mode: Mode  # the deployment's: it holds while no operator said any
    clock: Callable[[], int]
    settle_ms: int
    claim_ms: int

    def met(self, held: Held) -> None:
        """Go on by the configuration that was the newest when this was read. Raises LedgerError."""
        assert held.rows is not None  # noqa: S101  # that is what makes it held
        self.gate.met(held.rows.configuration)

    def theirs(self, work: Work) -> bool:
        """Whether account A's own automation associates."""
        return self.gate.inventory.association(work.key) is Association.THEIRS

    def is_theirs(self, work: Work) -> bool:
        """Whether this is account A's side where account A's own automation acts on our completions."""
        return self.driver.side is Side.ASSOCIATE and self.theirs(work)


class Busy(Exception):
    """Another worker is at it. ``until``: when its claim runs out."""

    def __init__(self, until: int) -> None:
        super().__init__()
        self.until = until


class Claimed:
    """The side, and what of it the ledger does not know yet."""

    def __init__(self, means: Means, grant_id: str) -> None:
        self.means = means
        self.claimed = False
        self.knocks = 0
        """As read before the last look: who knocked since then has news."""
        self.call: Carried | None = None
        """A write of ours that the ledger has only the intent of."""
        self._ledger, self._clock = means.ledger, means.clock
        self._grant_id, self._side = grant_id, means.driver.side
        self._unsure = False  # whether the claim was committed

    def read(self) -> Held | None:
        """The work as it is now; nothing is decided from it that is not read again behind the lock."""
        asked = self._grant_id, self._side, self._clock(), self._ledger.timing, self.means.mode
        try:
            found = self._ledger.glance(see_work, *asked)
        except TimePassed:
            found = self._ledger.write(read_work, *asked)
        if found is not None:
            self.knocks = found.mine.knocks
            self.means.met(found)
        return found

    def reread(self) -> Held:
        """The same of a grant that is known."""
        fresh = self.read()
        assert fresh is not None  # noqa: S101  # grants are never deleted
        return fresh

    @contextmanager
    def writing(self) -> Iterator[tuple[Run, Held]]:
        """A transaction in which the side is ours, and its work as it is behind the lock. Raises Busy when it is another's."""
        now, side, worker = self._clock(), self._side, self.means.worker
        until = now + self.means.claim_ms
        with self._ledger.writing() as run:
            work = run(read_work, self._grant_id, side, now, self._ledger.timing, self.means.mode)
            assert work is not None  # noqa: S101  # grants are never deleted
            ours = self.claimed or (self._unsure and work.rows is not None and _has(work, worker))
            mine = work if ours else run(take, work, worker, now, until)
            if mine is not None:
                self._unsure = True
                yield run, mine if self.call is None else run(carried, mine, self.call)
        if mine is None:
            raise Busy(until)
        self.claimed = True

    def alone(self) -> Held:
        """Claim the side, and have in the ledger what is known until now. Returns the work as it is."""
        with self.writing() as (run, held):
            self.note_call(run)
            run(keep, held, self._clock())
        self.call = None
        return held

    def note_call(self, run: Run) -> None:
        """Write what became of the last call, where no look says more about it."""
        if self.call is not None:
            call = self.call
            run(carried_out, call.intent, call.served, call.at, refused=call.refused)

    def leave(self, run: Run, held: Held) -> Held:
        """Give the side back with what is written next, unless somebody has news: then it is kept, to look once more."""
        left = run(leave, held, self.means.worker, self.knocks)
        return held if left is None else left

    def has_left(self, held: Held) -> None:
        """After the commit of such a transaction."""
        self.claimed = _has(held, self.means.worker)
        self.call = None

    def end(self, write: Callable[[Run], T]) -> T:
        """Write how the visit ends, and give the side back with it."""
        with self.writing() as (run, held):
            self.note_call(run)
            left = self.leave(run, held)
            run(keep, left, self._clock())
            result = write(run)
        self.has_left(left)
        return result

    def forget_call(self) -> None:
        """After a commit that wrote it."""
        self.call = None  # the ledger has it now


def _has(held: Held, worker: str) -> bool:
    assert held.rows is not None  # noqa: S101  # that is what makes it held
    return bool(held.rows.sides[held.mine.side].claimed_by == worker)
