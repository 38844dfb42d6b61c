"""The instances of one function: reused when idle, started when needed, never more than allowed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field

from localcloud.fc.instances import Instance
from localcloud.fc.invocations import Invocation, Outcome, StartFailed, error_json
from localcloud.refusal import Refusal

ACCOUNT_INSTANCES = 100
"""Instances an account may have in a region; of the two documented figures the lower (function-compute.md section 4.4)."""


FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Real seconds before an instance that is to be kept, and did not start, is tried again: twice as long each time."""


@dataclass
class Capacity:
    """The account's instances: what functions reserve is taken from what the others share."""

    reserved: dict[str, int] = field(default_factory=dict)
    shared_in_use: int = 0

    @property
    def shared(self) -> int:
        """What functions without a reservation have between them."""
        return ACCOUNT_INSTANCES - sum(self.reserved.values())

    def planned(self, changes: Mapping[str, int | None]) -> dict[str, int]:
        """The reservations with these changes made; ValueError when the account has not that many."""
        kept = {name: share for name, share in self.reserved.items() if name not in changes}
        wanted = kept | {name: share for name, share in changes.items() if share is not None}
        if sum(wanted.values()) > ACCOUNT_INSTANCES:
            shares = ", ".join(f"{name} {share}" for name, share in wanted.items())
            raise ValueError(
                f"cannot be deployed: reservedConcurrency adds up to {sum(wanted.values())} of {ACCOUNT_INSTANCES} ({shares})"
            )
        return wanted


class Pool:
    """Finds an instance for each request."""

    def __init__(
        self,
        make: Callable[[], Instance],
        capacity: Capacity,
        reserved: int | None,
        slots: int,
        *,
        kept: int = 0,
        remark: Callable[[str], None],
    ) -> None:
        self._make = make
        self._capacity = capacity
        self._reserved = reserved
        self._slots = slots
        self._kept = kept
        """How many instances are there whether or not anybody asks."""
        self._remark = remark
        self._keeping: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()
        self._claimed: dict[Instance, int] = {}
        self._starts: dict[Instance, asyncio.Task[None]] = {}
        self._watchers: set[asyncio.Task[None]] = set()

    @property
    def instances(self) -> list[Instance]:
        """All there are, those that end included: they hold their place until they are gone."""
        return list(self._claimed)

    async def run(self, invocation: Invocation) -> Outcome:
        """Invoke on a free instance; raises Refusal when there is none and no more may be started."""
        try:
            async with self.instance() as instance:
                return await instance.invoke(invocation)
        except StartFailed as failed:
            return Outcome("not_started", failed.payload, "", 0.0)

    @contextlib.asynccontextmanager
    async def instance(self) -> AsyncIterator[Instance]:
        """A started instance with one of its slots taken; raises Refusal or StartFailed."""
        instance = self._claim()
        try:
            start = self._starts[instance]
            if not start.done():
                await asyncio.wait({start})
            if start.cancelled():
                raise StartFailed(error_json("the instance was taken down while it started"))
            start.result()
            yield instance
        finally:
            if instance in self._claimed:
                self._claimed[instance] -= 1

    def keep(self) -> None:
        """From now on there are as many instances as are to be kept: whoever ends is replaced, asked or not."""
        if self._kept and self._keeping is None:
            self._keeping = asyncio.get_running_loop().create_task(self._keep())

    async def stop(self) -> None:
        """End all instances in peace."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})
        for start in self._starts.values():
            start.cancel()
        if self._starts:
            await asyncio.wait(self._starts.values())
        await asyncio.gather(*(instance.stop() for instance in self.instances))
        if self._watchers:
            await asyncio.wait(self._watchers)

    def kill(self) -> int:
        """End all instances at once; how many there were."""
        for instance in self.instances:
            instance.kill()
        return len(self.instances)

    def _claim(self) -> Instance:
        free = [
            instance for instance, claimed in self._claimed.items() if claimed < self._slots and not instance.ending
        ]
        if free:
            # One that is up before one that still starts; of those the one used last, which is how caches stay warm.
            chosen = min(free, key=lambda instance: (not self._starts[instance].done(), self._claimed[instance]))
        else:
            chosen = self._begin()
        self._claimed[chosen] += 1
        return chosen

    def _begin(self) -> Instance:
        """Start one more; raises Refusal when there is no room for it."""
        self._room()
        made = self._make()
        self._claimed[made] = 0
        if self._reserved is None:
            self._capacity.shared_in_use += 1
        self._starts[made] = asyncio.get_running_loop().create_task(self._start(made))
        return made

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        while True:
            if sum(not instance.ending for instance in self._claimed) >= self._kept:
                self._gone.clear()
                await self._gone.wait()
                continue
            try:
                start = self._starts[self._begin()]
                await asyncio.wait({start})
                start.result()
            except (Refusal, StartFailed) as problem:
                self._remark(f"an instance that is to be kept did not start: {problem}")
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                pause = FIRST_PAUSE

    def _room(self) -> None:
        """Raise the documented refusal when no further instance may be started."""
        if self._reserved is None:
            full = self._capacity.shared_in_use >= self._capacity.shared
            limit = self._capacity.shared
        else:
            full = len(self._claimed) >= self._reserved
            limit = self._reserved
        if full:
            raise Refusal(429, "ResourceExhausted", f"the concurrency limit of {limit} instances is reached")

    async def _start(self, instance: Instance) -> None:
        try:
            await instance.start()
        except BaseException:
            instance.kill()
            if instance.process is None:
                self._forget(instance)
            raise
        finally:
            if instance.process is not None:
                watcher = asyncio.get_running_loop().create_task(self._watch(instance))
                self._watchers.add(watcher)
                watcher.add_done_callback(self._watchers.discard)
        if instance.ending:
            instance.kill()
            raise StartFailed(error_json("the instance was killed while it started"))

    async def _watch(self, instance: Instance) -> None:
        """Give the place free when the process is gone, whoever ended it."""
        if instance.process is not None:
            await instance.process.wait()
        instance.ending = True
        instance.release()
        self._forget(instance)

    def _forget(self, instance: Instance) -> None:
        if self._claimed.pop(instance, None) is not None and self._reserved is None:
            self._capacity.shared_in_use -= 1
        self._gone.set()
        start = self._starts.pop(instance, None)
        if start is not None and start.done() and not start.cancelled():
            start.exception()  # taken note of by whoever waited for it
