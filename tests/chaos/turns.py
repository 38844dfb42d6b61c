"""Who acts when: a clock that is turned by hand, the trouble of the day, and workers that run only up to their next boundary.

A worker is one invocation of a function. It may be stopped, left for a while, or killed at every boundary: before a call to
the cloud, after its effect, before a transaction of the ledger, and before and after its commit. Only one thread runs at any
moment, so a schedule is repeated exactly by repeating its choices.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.chaos.reference import FIRST, Version

START = 1_800_000_000_000  # a Friday morning


class Died(BaseException):
    """The process of a worker ended here. Nothing catches it."""


class Violation(BaseException):  # not an Exception: the loop under test records those and goes on
    """Something happened that must never happen. ``trace``: what was done before."""

    trace: Sequence[str] = ()


@dataclass(frozen=True)
class Trouble:
    """How unkind the surroundings are: each a share of the calls that it befalls."""

    stale: float = 0.0  # reads that show an older state
    slow: float = 0.0  # calls that take some seconds
    late: float = 0.0  # writes that take effect after a while
    never: float = 0.0  # writes that were accepted and have no effect
    lost: float = 0.0  # writes without a usable answer
    refused: float = 0.0  # writes refused for now: throttled, locked
    failing: float = 0.0  # changes that come to nothing on their way
    unread: float = 0.0  # reads without an answer
    away: float = 0.0  # transactions that find no ledger
    unsent: float = 0.0  # messages that do not go out
    forbidden: frozenset[str] = frozenset()  # sides whose role lacks a permission


STORM = Trouble(
    stale=0.4, slow=0.3, late=0.3, never=0.1, lost=0.3, refused=0.15, failing=0.2, unread=0.1, away=0.01, unsent=0.1
)
TROUBLES = {
    "calm": Trouble(),
    "storm": STORM,
    "stale": Trouble(stale=0.6, slow=0.2),
    "late": Trouble(late=0.5, lost=0.3, slow=0.2),
    "lossy": Trouble(stale=0.3, never=0.3, lost=0.5, failing=0.4),
    "busy": Trouble(refused=0.6, unread=0.3, slow=0.3),
    "no-ledger": Trouble(away=0.05, stale=0.2, unsent=0.3),
    "no-grant-permission": Trouble(forbidden=frozenset({"grant"}), stale=0.2),
    "no-associate-permission": Trouble(forbidden=frozenset({"associate"}), stale=0.2),
}


@dataclass(frozen=True)
class Said:
    """What people say about acting: the mode, the holds as (kind, name, whether of everything), and the configuration."""

    mode: str = "full"
    holds: frozenset[tuple[str, str, bool]] = frozenset()
    version: Version = FIRST


class Luck:
    """Chances out of one number. Number 0 is the kindest luck of all, so a shrunk schedule has no needless trouble."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed) if seed else None  # noqa: S311  # a test's choices, not a secret

    def strikes(self, share: float) -> bool:
        """Whether something befalls this call that befalls such a share of them."""
        return self._random is not None and share > 0 and self._random.random() < share

    def between(self, low: int, high: int) -> int:
        """A number of that range; the lowest one when luck is kind."""
        return low if self._random is None else self._random.randint(low, high)


class Worker:
    """One invocation. It does nothing but what its thread is let do by ``go``."""

    def __init__(self, name: str, born: int, since: int, until: int, fuse: int | None) -> None:
        self.name = name
        self.born = born  # how many facts were known then
        self.since = since
        self.until = until  # the platform ends it then, wherever it is
        self.fuse = fuse  # boundaries that it still reaches alive
        self.done = False
        self.died_at: str | None = None
        self.committed: list[Callable[[], None]] = []  # called after the commit of its transaction
        self.said = Said()  # what people had said at its last commit
        self.knew = 0  # which version of the configuration was the newest when it began
        self.where = "start"
        self._doomed = False
        self._error: BaseException | None = None
        self._go = threading.Lock()
        self._back = threading.Lock()
        self._thread: threading.Thread | None = None

    def inline(self, body: Callable[[], None]) -> None:
        """Run from start to end without letting anybody else act."""
        try:
            body()
        except Died:
            self.died_at = self.where
        finally:
            self.done = True

    def start(self, body: Callable[[], None]) -> None:
        """Make the thread, stopped before its first step."""
        self._go.acquire()
        self._back.acquire()

        def run() -> None:
            self._go.acquire()
            try:
                if not self._doomed:
                    body()
            except Died:
                self.died_at = self.where
            except BaseException as error:  # noqa: BLE001  # raised again in the thread that let this one go
                self._error = error
            self.done = True
            self._back.release()

        self._thread = threading.Thread(target=run, name=self.name, daemon=True)
        self._thread.start()

    def go(self) -> None:
        """Up to the next boundary, or the end."""
        assert self._thread is not None
        self._go.release()
        self._back.acquire()
        if self.done:
            self._thread.join()
        if self._error is not None:
            raise self._error

    def kill(self) -> None:
        """End it where it stands. Nothing for one that has ended, perhaps with an error that was told already."""
        if not self.done:
            self._doomed = True
            self.go()

    def pause(self, where: str, now: Callable[[], int]) -> None:
        """A boundary, in the worker's own thread: others may act here, and it may be the end."""
        self.where = where
        if self._thread is not None and not self._doomed:
            self._back.release()
            self._go.acquire()
        self.live_on(where, now)

    def live_on(self, where: str, now: Callable[[], int]) -> None:
        """Raise Died when this worker's life ends here."""
        self.where = where
        if self.fuse is not None:
            self.fuse -= 1
            self._doomed = self._doomed or self.fuse < 0
        if self._doomed or now() >= self.until:
            self._doomed = True
            raise Died(where)


class Turns:
    """The surroundings that everything in one schedule shares."""

    def __init__(self, counts: Counter[str]) -> None:
        self.now = START
        self.luck = Luck(0)
        self.trouble = TROUBLES["calm"]
        self.said = Said()
        self.worker: Worker | None = None
        self.counts = counts
        self.on_time: Callable[[int], None] = lambda _: None

    def clock(self) -> int:
        """The present, in epoch milliseconds."""
        return self.now

    def turn(self, milliseconds: int) -> None:
        """Let time pass."""
        self.now += milliseconds
        self.on_time(self.now)

    def boundary(self, where: str) -> None:
        """Here the worker at work may be stopped or die."""
        if self.worker is not None:
            self.worker.pause(where, self.clock)

    def brink(self, where: str) -> None:
        """Here the worker at work may die, but nobody else can act: a transaction is open."""
        if self.worker is not None:
            self.worker.live_on(where, self.clock)

    def takes_time(self) -> None:
        """A call takes its time."""
        if self.luck.strikes(self.trouble.slow):
            self.turn(self.luck.between(1, 5_000))

    def run(self, worker: Worker, step: Callable[[], None]) -> None:
        """Let this worker act, and nobody else."""
        before, self.worker = self.worker, worker
        try:
            step()
        finally:
            self.worker = before
        if worker.died_at is not None:
            self.counts[f"died {worker.died_at}"] += 1
