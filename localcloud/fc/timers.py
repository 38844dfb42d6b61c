"""Timer triggers: an asynchronous invocation whenever the schedule says so, in cloud time (section 3.3).

A clock that was turned past several firings gives one: what a test skips did not happen.
"""

import asyncio
import json
from typing import Any

from localcloud.call import Call, Caller
from localcloud.clock import iso
from localcloud.fc import cron
from localcloud.fc.functions import Function
from localcloud.fc.invocations import new_request_id
from localcloud.fc.tasks import Tasks
from localcloud.fc.template.triggers import TimerTrigger
from localcloud.kernel import Cloud
from localcloud.refusal import Cut, Refusal


class Timer:
    """One timer trigger at work."""

    def __init__(self, cloud: Cloud, function: Function, trigger: TimerTrigger, tasks: Tasks) -> None:
        self._cloud = cloud
        self._function = function
        self._config = trigger.trigger_config
        self._tasks = tasks
        self._task: asyncio.Task[Any] | None = None
        self.name = trigger.trigger_name
        self.fired = 0
        self.next: float | None = None
        self.last_failure = ""

    def start(self) -> None:
        """Begin to watch the clock, when the trigger is enabled."""
        if self._config.enable:
            self._task = self._cloud.spawn(self._run())

    async def stop(self) -> None:
        """Fire no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self.next = None

    def snapshot(self) -> dict[str, Any]:
        """For people and tests."""
        return {
            "trigger": self.name,
            "type": "timer",
            "schedule": self._config.cron_expression,
            "state": "Stopped" if self.next is None else "Running",
            "fired": self.fired,
            "next": None if self.next is None else iso(self.next),
            "last_failure": self.last_failure,
        }

    async def _run(self) -> None:
        clock = self._cloud.clock
        schedule = cron.parse(self._config.cron_expression)
        while True:
            self.next = schedule.after(clock.now())
            await clock.sleep(self.next - clock.now())
            await self._fire(self.next)

    async def _fire(self, moment: float) -> None:
        event = {"triggerTime": iso(moment), "triggerName": self.name, "payload": self._config.payload}
        around = self._function.around
        call = Call(
            service="fc",
            operation="InvokeFunction",
            caller=Caller(
                account=around.account,
                kind="role",
                name="aliyunserviceroleforfc",
                session="timer",
                arn=f"acs:ram::{around.account}:role/AliyunServiceRoleForFC",
                access_key_id="",
                origin="",
            ),
            account=around.account,
            region=around.region,
            request_id=new_request_id(),
            status=202,
            params={"function": self._function.name, "trigger": self.name},
        )

        def accept() -> None:
            self._tasks.submit(self._function, json.dumps(event).encode(), request_id=call.request_id)
            call.effect = True

        try:
            await self._cloud.perform(call, accept)
            self.fired += 1
        except (Refusal, Cut) as trouble:
            self.last_failure = str(trouble)
