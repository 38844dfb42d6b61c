"""Pacing: how fast we may call, so that nobody is throttled.

One acting instance per function (reservedConcurrency 1) makes a budget in memory the whole truth. Windows slide here, which
also keeps within windows that are fixed. Published quotas: 120 writes and 300 reads in 60 s per account, region and API,
AssumeRole 100 in 1 s (API quota pages of Express Connect Router, Express Connect and STS).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from shared.errors import Throttled


@dataclass(frozen=True)
class Quota:
    """So many calls in so many seconds."""

    calls: int
    seconds: float


@dataclass(frozen=True)
class Busiest:
    """The most calls that were in one window of one budget, of how many that may hold, and which API in which account."""

    used: int = 0
    calls: int = 0
    what: str = ""


@dataclass
class _Budget:
    """One budget: when calls were let go, who is about to call, and which places were promised to those sent away."""

    taken: deque[float] = field(default_factory=deque)
    coming: deque[float] = field(default_factory=deque)
    promised: deque[float] = field(default_factory=deque)
    lowered_to: int = 0
    lowered_until: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


# A call counts when it arrives, a little after it was let go: the window is kept a little longer than it is.
_MARGIN_SECONDS = 0.05
_MARGIN = 1.02
# Who was promised a place comes back this much before it, and waits the rest: a place that nobody waits for is lost.
_EARLY_SECONDS = 1.0


class Pace:
    """Budgets by (account, region, API). Thread-safe. ``patience``: the longest wait inside one call, in seconds."""

    def __init__(
        self,
        *,
        window_seconds: float,
        patience: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._write = Quota(120, window_seconds)
        self._read = Quota(300, window_seconds)
        self._assume = Quota(100, window_seconds / 60)
        self._patience = patience
        self._clock = clock
        self._sleep = sleep
        self._crowded_until = float("-inf")
        self._lock = threading.Lock()
        self._busiest = Busiest()
        self._budgets: dict[tuple[str, str, str], _Budget] = {}

    def quota(self, operation: str) -> Quota:
        """The published quota of an operation."""
        if operation == "AssumeRole":
            return self._assume
        return self._read if operation.startswith("Describe") else self._write

    def take(self, account: str, region: str, operation: str) -> None:
        """Wait for a place in the budget. Raises Throttled, with the time to wait, where that is too long for one call."""
        budget = self._budget(account, region, operation)
        while True:
            with budget.lock:
                now = self._now(budget, operation)
                wait = self._wait(budget, operation, now)
                if wait <= 0:
                    budget.taken.append(now)
                    calls = self._calls(budget, operation, now)
                    self._note(Busiest(len(budget.taken), calls, f"{operation} in {account}"))
                    if len(budget.taken) >= calls:
                        self._crowded_until = max(self._crowded_until, now + self._span(operation))
                    if budget.coming:
                        budget.coming.popleft()
                    if budget.promised and budget.promised[0] <= now + _EARLY_SECONDS:
                        budget.promised.popleft()
                    return
                if wait > self._patience:
                    raise self._sent_away(budget, account, operation, now)
            self._sleep(max(wait, 0.001))

    @property
    def crowded(self) -> bool:
        """Whether any budget was used up lately, so that it is worth asking before anything is spent."""
        return self._clock() < self._crowded_until

    def busiest(self) -> Busiest:
        """The budget that came closest to its ceiling since this was asked last."""
        with self._lock:
            found, self._busiest = self._busiest, Busiest()
            return found

    def _note(self, one: Busiest) -> None:
        with self._lock:
            if one.used * max(self._busiest.calls, 1) > self._busiest.used * one.calls:
                self._busiest = one

    def expect(self, account: str, region: str, operation: str) -> None:
        """Announce a call. Raises what ``take`` would raise if it would be sent away, before anything is spent on it."""
        budget = self._budget(account, region, operation)
        with budget.lock:
            now = self._now(budget, operation)
            if self._wait(budget, operation, now, len(budget.coming)) > self._patience:
                raise self._sent_away(budget, account, operation, now)
            budget.coming.append(now)

    def throttled(self, account: str, region: str, operation: str) -> None:
        """The platform refused for its quota: somebody else spends it too. For two windows, take less than what fitted."""
        quota, budget = self.quota(operation), self._budget(account, region, operation)
        with budget.lock:
            now = self._clock()
            fitted = sum(moment > now - quota.seconds for moment in budget.taken) - 1
            lowered = max(quota.calls // 2, fitted * 19 // 20)
            budget.lowered_to = min(self._calls(budget, operation, now), lowered)
            budget.lowered_until = now + 2 * quota.seconds

    def _calls(self, budget: _Budget, operation: str, now: float) -> int:
        """How many calls a window may hold at present."""
        return budget.lowered_to if now < budget.lowered_until else self.quota(operation).calls

    def _span(self, operation: str) -> float:
        return self.quota(operation).seconds * _MARGIN + _MARGIN_SECONDS

    def _now(self, budget: _Budget, operation: str) -> float:
        """The time; what is over by then is forgotten."""
        now = self._clock()
        for times, over in (
            (budget.taken, now - self._span(operation)),
            (budget.coming, now - self._patience - _EARLY_SECONDS),
            (budget.promised, now - _EARLY_SECONDS),
        ):
            while times and times[0] <= over:
                times.popleft()
        return now

    def _wait(self, budget: _Budget, operation: str, now: float, ahead: int = 0) -> float:
        """Seconds until there is a place behind so many who go ahead."""
        left = self._calls(budget, operation, now) - ahead - len(budget.taken)
        if left > 0:
            return 0.0
        # Those who go ahead take the places of the oldest calls; when there are more of them, a whole window has to pass.
        return (budget.taken[-left] if -left < len(budget.taken) else now) + self._span(operation) - now

    def _sent_away(self, budget: _Budget, account: str, operation: str, now: float) -> Throttled:
        """Promise the next place that is not promised yet: so a crowd comes back one by one, and each finds room."""
        calls = self._calls(budget, operation, now)
        ahead = [*budget.taken, *budget.promised]
        place = (ahead[-calls] if len(ahead) >= calls else now) + self._span(operation)
        if budget.promised:
            place = max(place, budget.promised[-1])
        budget.promised.append(place)
        self._crowded_until = max(self._crowded_until, place)
        text = (
            f"{operation} in account {account}: our budget of {calls} calls in {self.quota(operation).seconds:g} s is "
            f"used up; there is room in about {place - now:.0f} s"
        )
        paced = Throttled(text, code="Paced")
        paced.retry_after = max(place - now - _EARLY_SECONDS, 0.0)
        return paced

    def _budget(self, account: str, region: str, operation: str) -> _Budget:
        with self._lock:
            return self._budgets.setdefault((account, region, operation), _Budget())
