"""EventBridge between a queue and a function: takes messages, delivers them in batches, retries, buries.

Function-compute.md sections 2.3 and 3.1. A message leaves the queue only when its batch was delivered or given up;
until then it stays invisible there. Lanes are what ``concurrency`` allows in parallel; a batch that is retried
holds its lane.
"""

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from localcloud.call import Call, Caller
from localcloud.fc import events
from localcloud.fc.functions import Function
from localcloud.fc.invocations import Invocation, Outcome, new_request_id
from localcloud.fc.queues import Queues
from localcloud.fc.tasks import PAYLOAD_LIMIT, Tasks
from localcloud.fc.template.arns import target
from localcloud.fc.template.triggers import EventBridgeTrigger
from localcloud.kernel import Cloud
from localcloud.mns.platform import Delivered
from localcloud.refusal import Cut, Refusal

SYNC_LIMIT = 32 * 1024 * 1024
LONGEST_RUN = 300.0
"""Seconds a function may run for an event of these triggers."""
_HELD = 2 * 86_400.0
"""How long taken messages stay invisible: longer than the longest retry strategy lasts."""
_POLL = 30.0
_EB_ROLE = "AliyunServiceRoleForEventBridgeSendToFC"


def pauses(strategy: str, chance: random.Random) -> Iterator[float]:
    """The cloud seconds before each retry, as the two strategies prescribe."""
    if strategy == "BACKOFF_RETRY":
        for _ in range(3):
            yield chance.uniform(10.0, 20.0)
    else:
        for exponent in range(9):
            yield float(2**exponent)
        for _ in range(167):
            yield 512.0


@dataclass(frozen=True)
class Batch:
    """Messages on their way to the function, each written down as it will be delivered."""

    messages: tuple[Delivered, ...]
    items: tuple[bytes, ...]
    shape: events.Shape


class Stream:
    """One eventbridge trigger at work."""

    def __init__(
        self, cloud: Cloud, function: Function, trigger: EventBridgeTrigger, queues: Queues, tasks: Tasks
    ) -> None:
        self._cloud = cloud
        self._function = function
        self._queues = queues
        self._tasks = tasks
        self._config = trigger.trigger_config
        self._options = trigger.trigger_config.run_options
        delivery = trigger.trigger_config.event_sink_config.delivery_option
        around = function.around
        source = trigger.trigger_config.event_source_config.event_source_parameters.source_mns
        self._source = events.Source(
            region=around.region,
            account=around.account,
            queue=source.queue_name,
            function=function.name,
            trigger=trigger.trigger_name,
            decode=source.is_base64_decode,
            raw=delivery.event_schema == "RawData",
        )
        self._pattern = self._config.pattern
        self._lanes_allowed = delivery.concurrency
        self._lanes: list[asyncio.Task[Any]] = []
        self._chance = random.Random()  # noqa: S311 - spreads retries
        self._caller = Caller(
            account=around.account,
            kind="role",
            name=_EB_ROLE.lower(),
            session="eventbridge",
            arn=f"acs:ram::{around.account}:role/{_EB_ROLE}",
            access_key_id="",
            origin="",
        )
        self.name = trigger.trigger_name
        self.state = "Stopped"
        """Running; Ready when retries ran out under errorsTolerance NONE; Stopped when not enabled."""
        self.delivered = 0
        self.failures = 0
        self.buried = 0
        self.discarded = 0
        self.last_failure = ""

    @property
    def streaming(self) -> bool:
        """Whether runOptions act: in event-streaming mode only."""
        return self._options.mode == "event-streaming"

    def start(self) -> None:
        """Begin to take messages, when the trigger is enabled."""
        if self._config.trigger_enable and not self._lanes:
            self.state = "Running"
            self._lanes = [self._cloud.spawn(self._lane()) for _ in range(self._lanes_allowed)]

    async def stop(self) -> None:
        """Take no more; what is under way goes back to the queue."""
        lanes, self._lanes = self._lanes, []
        for lane in lanes:
            lane.cancel()
        await asyncio.gather(*lanes, return_exceptions=True)
        self.state = "Stopped"

    def snapshot(self) -> dict[str, Any]:
        """For people and tests."""
        return {
            "trigger": self.name,
            "type": "eventbridge",
            "mode": self._options.mode,
            "queue": self._source.queue,
            "state": self.state,
            "delivered": self.delivered,
            "failures": self.failures,
            "buried": self.buried,
            "discarded": self.discarded,
            "last_failure": self.last_failure,
        }

    async def _lane(self) -> None:
        left: list[Delivered] = []
        try:
            while True:
                try:
                    batch, left = await self._collect(left)
                except Refusal as gone:  # the queue was deleted; it may come back
                    self.last_failure = gone.message
                    await self._cloud.clock.sleep(_POLL)
                    continue
                if batch.messages and not await self._settle(batch):
                    self._block()
                    return
        finally:
            self._release(left)

    async def _settle(self, batch: Batch) -> bool:
        """See one batch to its end; what is not settled goes back to the queue. False when the stream has to stop."""
        settled = False
        try:
            settled = await self._deliver(batch)
        finally:
            if not settled:
                self._release(batch.messages)
        return settled

    def _block(self) -> None:
        """errorsTolerance NONE: nothing more is delivered until somebody deploys again."""
        here = asyncio.current_task()
        for lane in self._lanes:
            if lane is not here:
                lane.cancel()
        self._lanes = []
        self.state = "Ready"

    # Collecting

    async def _collect(self, left: list[Delivered]) -> tuple[Batch, list[Delivered]]:
        """The next batch: until the count is reached, the time is over or the body is full; and what did not fit."""
        shape = self._cloud.switches.event_shape if self.streaming else "single"
        window = self._options.batch_window
        most = window.count_based_window if self.streaming and shape != "single" else 1
        messages, rest = left[:most], left[most:]
        if not messages:
            messages = await self._take(most, _POLL)
        if self.streaming:
            deadline = self._cloud.clock.now() + window.time_based_window
            try:
                while messages and len(messages) < most and (remaining := deadline - self._cloud.clock.now()) > 0:
                    messages += await self._take(most - len(messages), remaining)
            except BaseException:
                self._release(messages)
                raise
        return self._fill(messages, rest, shape)

    def _fill(
        self, messages: list[Delivered], rest: list[Delivered], shape: events.Shape
    ) -> tuple[Batch, list[Delivered]]:
        limit = PAYLOAD_LIMIT if self._config.async_invocation_type else SYNC_LIMIT
        request_id = new_request_id()
        fitting: list[Delivered] = []
        items: list[bytes] = []
        size = 2
        for position, message in enumerate(messages):
            item = self._item(message, request_id, shape)
            if item is None:
                self._queues.delete(self._source.account, self._source.queue, [message])
                continue
            if items and size + len(item) + 1 > limit:
                return Batch(tuple(fitting), tuple(items), shape), [*messages[position:], *rest]
            fitting.append(message)
            items.append(item)
            size += len(item) + 1
        return Batch(tuple(fitting), tuple(items), shape), rest

    def _item(self, message: Delivered, request_id: str, shape: events.Shape) -> bytes | None:
        """A message as it will be delivered; None when the filter of the event bus does not let it through."""
        source, enqueued = self._source, message.enqueue_time_ms
        if self.streaming:
            return events.item(events.streamed(source, message.message_id, message.body, enqueued, request_id), shape)
        event = events.driven(source, message.message_id, message.body, enqueued, self._cloud.clock.now())
        if not events.wanted(event, self._pattern):
            return None
        return events.item(event["data"] if source.raw else event, shape)

    async def _take(self, count: int, wait: float) -> list[Delivered]:
        source = self._source
        return await self._queues.take(
            source.account, source.queue, count=count, wait_seconds=wait, visibility_seconds=_HELD
        )

    def _release(self, messages: Sequence[Delivered]) -> None:
        if messages:
            self._queues.release(self._source.account, self._source.queue, messages)

    # Delivering

    async def _deliver(self, batch: Batch) -> bool:
        """Push until it works or retries run out; False when the stream has to stop."""
        strategy = self._options.retry_strategy.push_retry_strategy if self.streaming else "BACKOFF_RETRY"
        retries = pauses(strategy, self._chance)
        attempt = 0
        while (failure := await self._push(batch, attempt)) is not None:
            self.failures += 1
            self.last_failure = failure
            attempt += 1
            pause = next(retries, None)
            if pause is None:
                return self._give_up(batch)
            await self._cloud.clock.sleep(pause)
        self.delivered += len(batch.messages)
        self._queues.delete(self._source.account, self._source.queue, batch.messages)
        return True

    def _give_up(self, batch: Batch) -> bool:
        """Retries ran out: bury, discard, or stop (``errorsTolerance``)."""
        if self.streaming and self._options.errors_tolerance == "NONE":
            return False
        dead_letters = self._options.dead_letter_queue if self.streaming else None
        for message in batch.messages:
            if dead_letters is not None and self._bury(dead_letters.arn, message):
                self.buried += 1
            else:
                self.discarded += 1
        self._queues.delete(self._source.account, self._source.queue, batch.messages)
        return True

    def _bury(self, dead_letters: str, message: Delivered) -> bool:
        there = target(dead_letters, self._source.region, self._source.account)
        try:
            self._queues.put(there.account, there.name, message.body)
        except Refusal as refused:
            self.last_failure = f"a dead letter could not be kept: {refused.message}"
            return False
        return True

    async def _push(self, batch: Batch, attempt: int) -> str | None:
        """One delivery; None when it counts as done, else what went wrong."""
        call = self._call(batch, attempt)
        faults = self._cloud.faults
        items = list(batch.items)
        if faults.planned and faults.asked("reorder", call) is not None:
            items.reverse()
        payload = events.batch(items, batch.shape)
        twice = faults.planned and faults.asked("duplicate", call) is not None
        failure = await self._invoke(call, payload)
        if failure is None and twice:
            await self._invoke(self._call(batch, attempt), payload)  # how a duplicate ends changes nothing
        return failure

    def _call(self, batch: Batch, attempt: int) -> Call:
        function = self._function
        return Call(
            service="fc",
            operation="InvokeFunction",
            caller=self._caller,
            account=self._source.account,
            region=self._source.region,
            request_id=new_request_id() if self.streaming else batch.messages[0].message_id,
            params={
                "function": function.name,
                "trigger": self.name,
                "attempt": attempt,
                "messages": [message.message_id for message in batch.messages[:100]],
            },
        )

    async def _invoke(self, call: Call, payload: bytes) -> str | None:
        async def run() -> Outcome | None:
            call.effect = True
            if self._config.async_invocation_type:
                self._tasks.submit(self._function, payload, request_id=call.request_id)
                call.status = 202
                return None
            outcome = await self._function.run(Invocation(call.request_id, payload, timeout=LONGEST_RUN))
            call.params = {**call.params, "outcome": outcome.fate}
            return outcome

        try:
            outcome: Outcome | None = await self._cloud.perform(call, run)
        except Refusal as refused:
            return f"{refused.code}: {refused.message}"
        except Cut as cut:
            return str(cut)
        if outcome is None or outcome.fate == "returned":
            return None
        if outcome.fate == "raised" and self._cloud.switches.raised_exception == "acknowledge":
            return None
        return f"{outcome.fate}: {outcome.message}"
