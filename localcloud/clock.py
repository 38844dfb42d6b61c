"""Cloud time: real time plus an offset that a test can turn, so that nobody has to sleep.

Tokens, visibility, retention, quota windows, timers and asynchronous states read this clock. Request signatures do
not: clients sign with their own real clocks.
"""

import asyncio
import functools
import heapq
import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any


class Alarm:
    """One callback waiting for its cloud time."""

    __slots__ = ("callback", "cancelled", "when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        """Forget the callback; cancelling a second time, or after it rang, does nothing."""
        self.cancelled = True


class Clock:
    """Cloud time: real time plus an offset that a test can turn. Request signatures stay on real time."""

    def __init__(self) -> None:
        # Monotonic underneath, so a machine whose wall clock is corrected does not make cloud time jump.
        self._offset = time.time() - time.monotonic()
        self._alarms: list[tuple[float, int, Alarm]] = []
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    def now(self) -> float:
        """Epoch seconds in cloud time."""
        return time.monotonic() + self._offset

    def advance(self, seconds: float) -> None:
        """Move cloud time forward and wake every sleeper whose time has come."""
        if not seconds >= 0:
            raise ValueError(f"the clock only turns forward, not by {seconds}")
        self._offset += seconds
        self._ring()

    def at(self, when: float, callback: Callable[[], None]) -> Alarm:
        """Call back at a cloud time (soon, when that has passed already)."""
        alarm = Alarm(when, callback)
        heapq.heappush(self._alarms, (when, next(self._order), alarm))
        if self._alarms[0][2] is alarm:
            self._wind()
        return alarm

    async def sleep(self, seconds: float) -> None:
        """Sleep for cloud seconds."""
        rung, alarm = self._rung_at(self.now() + seconds)
        try:
            await rung
        finally:
            alarm.cancel()

    async def wait_for(self, event: asyncio.Event, seconds: float) -> bool:
        """Wait for an event; True when it came, False when cloud time ran out first."""
        if event.is_set():
            return True
        # The time is set before anything is awaited: a clock that is turned meanwhile must not move the deadline.
        rung, alarm = self._rung_at(self.now() + seconds)
        waiting = asyncio.ensure_future(event.wait())
        either: set[asyncio.Future[Any]] = {waiting, rung}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            return event.is_set()
        finally:
            waiting.cancel()
            alarm.cancel()

    def _rung_at(self, when: float) -> tuple["asyncio.Future[None]", Alarm]:
        rung: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        return rung, self.at(when, lambda: None if rung.done() else rung.set_result(None))

    def _ring(self) -> None:
        now = self.now()
        while self._alarms and (self._alarms[0][2].cancelled or self._alarms[0][0] <= now):
            alarm = heapq.heappop(self._alarms)[2]
            if not alarm.cancelled:
                alarm.callback()
        self._wind()

    def _wind(self) -> None:
        """Ask the event loop to ring for the earliest alarm."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._alarms:
            loop = asyncio.get_running_loop()
            # A day at most: event loops do not take delays of years, and waking once a day costs nothing.
            delay = min(max(self._alarms[0][0] - self.now(), 0.0), 86_400.0)
            self._timer = loop.call_later(delay, self._ring)


def iso(seconds: float) -> str:
    """Epoch seconds as the services write times: UTC, whole seconds, trailing Z."""
    return _whole_second(int(seconds))


@functools.lru_cache(maxsize=256)
def _whole_second(second: int) -> str:
    """Many answers name the same second."""
    return datetime.fromtimestamp(second, UTC).isoformat()[:19] + "Z"


def iso_precise(seconds: float) -> str:
    """Epoch seconds with milliseconds, for the journal."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def milliseconds(seconds: float) -> str:
    """Epoch milliseconds as text, which some describe calls use."""
    return str(int(seconds * 1000))
