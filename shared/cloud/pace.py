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


@dataclass
class _Budget:
    taken: deque[float] = field(default_factory=deque)
    lowered_until: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


# A call counts when it arrives, a little after it was let go: the window is kept a little longer than it is.
_MARGIN_SECONDS = 0.05
_MARGIN = 1.02


class Pace:
    """Budgets by (account, region, API). Thread-safe. ``patience``: the longest wait inside one call, in seconds."""

    def __init__(
        self,
        *,
        window_seconds: float,
        patience: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._write = Quota(120, window_seconds)
        self._read = Quota(300, window_seconds)
        self._assume = Quota(100, window_seconds / 60)
        self._patience = patience
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._budgets: dict[tuple[str, str, str], _Budget] = {}

    def quota(self, operation: str) -> Quota:
        """The published quota of an operation."""
        if operation == "AssumeRole":
            return self._assume
        return self._read if operation.startswith("Describe") else self._write

    def take(self, account: str, region: str, operation: str) -> None:
        """Wait for a place in the budget. Raises Throttled, with the time to wait, where that is too long for one call."""
        quota, budget = self.quota(operation), self._budget(account, region, operation)
        span = quota.seconds * _MARGIN + _MARGIN_SECONDS
        while True:
            with budget.lock:
                now = self._clock()
                while budget.taken and budget.taken[0] <= now - span:
                    budget.taken.popleft()
                calls = quota.calls // 2 if now < budget.lowered_until else quota.calls
                if len(budget.taken) < calls:
                    budget.taken.append(now)
                    return
                wait = budget.taken[len(budget.taken) - calls] + span - now
            if wait > self._patience:
                text = (
                    f"{operation} in account {account}: our budget of {calls} calls in {quota.seconds:g} s is used up"
                )
                paced = Throttled(text, code="Paced")
                paced.retry_after = wait
                raise paced
            self._sleep(max(wait, 0.001))

    def throttled(self, account: str, region: str, operation: str) -> None:
        """The platform refused for its quota: somebody else spends it too. Take half for two windows."""
        budget = self._budget(account, region, operation)
        with budget.lock:
            budget.lowered_until = self._clock() + 2 * self.quota(operation).seconds

    def _budget(self, account: str, region: str, operation: str) -> _Budget:
        with self._lock:
            return self._budgets.setdefault((account, region, operation), _Budget())
