"""Receiving, with and without patience: planned trouble and switches decide how messages are handed out."""

import asyncio
import random
from collections.abc import Callable
from typing import Final

from localcloud.call import Call
from localcloud.kernel import Cloud
from localcloud.mns.messages import Receipt
from localcloud.mns.queues import Queue
from localcloud.mns.store import Store
from localcloud.mns.visibility import ORDERLY, Manner

SLICES: Final = 4
"""Parts of a queue when the switch ``queue_slices`` is on."""


class Receiver:
    """Takes messages from the queues of one local cloud."""

    def __init__(self, cloud: Cloud, store: Store, chance: random.Random) -> None:
        self._cloud = cloud
        self._store = store
        self._chance = chance

    def try_receive(
        self, call: Call, account: str, name: str, count: int, visibility_seconds: float | None = None
    ) -> list[Receipt]:
        """What can be had right now."""
        now_ms = int(self._cloud.clock.now() * 1_000)
        manner = self._manner(call, self._store.queue(account, name), now_ms)
        return self._store.receive(account, name, count, now_ms, visibility_seconds=visibility_seconds, manner=manner)

    async def poll(
        self,
        call: Call,
        account: str,
        name: str,
        *,
        count: int,
        seconds: float,
        gone: Callable[[], bool] = lambda: False,
        visibility_seconds: float | None = None,
    ) -> list[Receipt]:
        """Wait in cloud time until there is something: a send, a lapsed visibility, the end of a delay."""
        clock = self._cloud.clock
        deadline = clock.now() + seconds
        while (left := deadline - clock.now()) > 0:
            queue = self._store.queue(account, name)
            change_ms = queue.next_change_ms()
            if change_ms is not None:
                # A moment later than the change, so that rounding cannot wake us just before it.
                left = min(left, max(0.0, change_ms / 1_000 + 0.001 - clock.now()))
            bell = asyncio.Event()
            queue.wait(bell)
            try:
                await clock.wait_for(bell, left)
            except asyncio.CancelledError:
                self._pass_on(queue, bell)
                raise
            if gone():
                self._pass_on(queue, bell)
                return []
            queue.stop_waiting(bell)
            receipts = self.try_receive(call, account, name, count, visibility_seconds)
            if receipts:
                return receipts
        return []

    @staticmethod
    def _pass_on(queue: Queue, bell: asyncio.Event) -> None:
        """Whoever leaves after its bell was rung wakes the next one, or a message would lie there unseen."""
        if not queue.stop_waiting(bell):
            queue.ring(1)

    def _manner(self, call: Call, queue: Queue, now_ms: int) -> Manner:
        """How messages are handed out this time: switches and planned trouble decide."""
        faults = self._cloud.faults
        scattered = self._cloud.switches.queue_slices == "on"
        if not (scattered or faults.planned) or not queue.has_active(now_ms):
            return ORDERLY
        duplicate = faults.asked("duplicate", call) is not None
        reorder = faults.asked("reorder", call) is not None
        if not (scattered or duplicate or reorder):
            return ORDERLY
        return Manner(duplicate, self._chance if scattered or reorder else None, SLICES if scattered else 1)
