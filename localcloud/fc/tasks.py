"""Asynchronous invocations: accepted at once, run later, retried, and their results sent on.

Function-compute.md sections 3.5 and 6. A function that errs is retried ``maxAsyncRetryAttempts`` times; a full one is
waited for with growing pauses and no attempt is counted. How long FC pauses between attempts is not documented: here
1, 2, 4 ... seconds of cloud time.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from localcloud.call import Call, Caller
from localcloud.clock import milliseconds
from localcloud.fc.functions import Function
from localcloud.fc.invocations import Invocation, Outcome, new_request_id
from localcloud.fc.queues import Queues
from localcloud.fc.template.arns import Target, target
from localcloud.kernel import Cloud
from localcloud.ordered import Names
from localcloud.refusal import Cut, Refusal

PAYLOAD_LIMIT = 128 * 1024
MAX_DELAY = 3599
_KEPT = 10_000
_FULL_PAUSE, _LONGEST_PAUSE = 0.5, 300.0

Status = Literal[
    "Enqueued", "Dequeued", "Running", "Retrying", "Succeeded", "Failed", "Stopping", "Stopped", "Expired", "Invalid"
]
FINAL = frozenset({"Succeeded", "Failed", "Stopped", "Expired", "Invalid"})


@dataclass
class Task:
    """One asynchronous invocation and what became of it."""

    id: str
    function: str
    request_id: str
    payload: bytes
    tracked: bool
    """Whether the function keeps records of its tasks (``asyncTask``), so that ids are unique and can be asked for."""
    submitted: float
    status: Status = "Enqueued"
    ended: float | None = None
    retries: int = 0
    instance_id: str = ""
    duration: float = 0.0
    error: str = ""
    result: bytes = b""
    destination: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def given_up(self) -> bool:
        """Whether somebody asked for it to be stopped."""
        return self.status == "Stopping"

    def turn(self, status: Status, now: float, detail: str = "") -> None:
        """Enter another state."""
        self.status = status
        self.events.append(
            {
                "eventId": len(self.events) + 1,
                "status": status,
                "eventDetail": detail,
                "timestamp": int(milliseconds(now)),
            }
        )
        if status in FINAL:
            self.ended = now

    def snapshot(self) -> dict[str, Any]:
        """For people and tests."""
        return {
            "id": self.id,
            "function": self.function,
            "request_id": self.request_id,
            "status": self.status,
            "retries": self.retries,
            "error": self.error,
            "destination": self.destination,
        }


class Tasks:
    """All asynchronous invocations of the local cloud."""

    def __init__(self, cloud: Cloud, queues: Queues, find: Callable[[str], Function | None]) -> None:
        self._cloud = cloud
        self._queues = queues
        self._find = find
        self._tasks: dict[tuple[str, str], Task] = {}
        self._recorded: dict[str, Names[Task]] = {}
        """The tasks that are kept on record, by function and id."""

    def submit(
        self,
        function: Function,
        payload: bytes,
        *,
        request_id: str,
        task_id: str = "",
        tracked: bool | None = None,
        delay: float = 0.0,
    ) -> Task:
        """Accept an invocation; refuses a task id that is known already, which changes nothing."""
        if len(payload) > PAYLOAD_LIMIT:
            raise Refusal(400, "EntityTooLarge", f"payload size exceeds maximum allowed size ({PAYLOAD_LIMIT} bytes)")
        tracked = function.props.async_invoke_config.async_task if tracked is None else tracked
        name = task_id if tracked and task_id else request_id
        if (function.name, name) in self._tasks:
            raise Refusal(
                409,
                "StatefulAsyncInvocationAlreadyExists",
                f"the async task '{name}' of function '{function.name}' already exists",
            )
        task = Task(name, function.name, request_id, payload, tracked, self._cloud.clock.now())
        task.turn("Enqueued", task.submitted)
        self._tasks[function.name, name] = task
        if task.tracked:
            self._recorded.setdefault(function.name, Names())[name] = task
        if len(self._tasks) > _KEPT:
            self._forget_one()
        self._cloud.spawn(self._work(task, delay))
        return task

    def get(self, function: str, task_id: str) -> Task:
        """A task of a function that keeps records."""
        task = self._tasks.get((function, task_id))
        if task is None or not task.tracked:
            raise Refusal(
                404,
                "StatefulAsyncInvocationNotFound",
                f"the async task '{task_id}' of function '{function}' does not exist",
            )
        return task

    def of(self, function: str) -> Names[Task]:
        """The recorded tasks of a function by id."""
        return self._recorded.get(function) or Names()

    def stop(self, task: Task) -> None:
        """Ask for a task to be given up; what runs already runs to its end."""
        if task.status not in FINAL:
            task.turn("Stopping", self._cloud.clock.now())

    def snapshot(self) -> list[dict[str, Any]]:
        """For people and tests; the newest thousand."""
        return [task.snapshot() for task in list(self._tasks.values())[-1000:]]

    def _forget_one(self) -> None:
        done = next((key for key, task in self._tasks.items() if task.status in FINAL), None)
        if done is not None:
            del self._tasks[done]
            self._recorded.get(done[0], Names[Task]()).take(done[1])

    async def _work(self, task: Task, delay: float) -> None:
        clock = self._cloud.clock
        if delay:
            await clock.sleep(delay)
        pause = _FULL_PAUSE
        attempts = 0
        while True:
            now = clock.now()
            function = self._find(task.function)
            if task.given_up:
                task.turn("Stopped", now)
                return
            if function is None:
                task.turn("Invalid", now, "the function is gone")
                return
            config = function.props.async_invoke_config
            if now - task.submitted > delay + config.max_async_event_age_in_seconds:
                task.error = task.error or "MaximumEventAgeExceeded"
                task.turn("Expired", now)
                await self._send_on(task, function, None, "MaximumEventAgeExceeded", attempts)
                return
            try:
                if not attempts:
                    task.turn("Dequeued", now)
                task.turn("Running", now)
                outcome = await function.run(Invocation(task.request_id, task.payload, retry_count=attempts))
            except Refusal as full:
                # No attempt: the function is at its limit, and FC waits for room (up to the age of the event).
                task.turn("Retrying", clock.now(), full.message)
                await clock.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            attempts += 1
            task.instance_id, task.duration = outcome.instance_id, outcome.milliseconds
            task.retries = attempts - 1
            if outcome.fate == "returned":
                task.result, task.error = outcome.payload, ""
                task.turn("Succeeded", clock.now())
                await self._send_on(task, function, outcome, "", attempts)
                return
            task.error = outcome.message
            if attempts > config.max_async_retry_attempts:
                task.turn("Failed", clock.now(), outcome.message)
                await self._send_on(task, function, outcome, outcome.error_type, attempts)
                return
            if not task.given_up:
                task.turn("Retrying", clock.now(), outcome.message)
            await clock.sleep(2.0 ** (attempts - 1))

    async def _send_on(
        self, task: Task, function: Function, outcome: Outcome | None, condition: str, attempts: int
    ) -> None:
        """Tell the destination, as the function's role (section 3.5)."""
        config = function.props.async_invoke_config.destination_config
        chosen = config.on_failure if condition else config.on_success
        if chosen is None:
            return
        there = target(chosen.destination, function.around.region, function.around.account)
        body = json.dumps(
            {
                "timestamp": int(milliseconds(self._cloud.clock.now())),
                "requestContext": {
                    "requestId": task.request_id,
                    "functionArn": function.arn,
                    "condition": condition,
                    "approximateInvokeCount": attempts,
                },
                "requestPayload": _text(task.payload),
                "responseContext": {
                    "statusCode": 200 if outcome is not None else 400,
                    "functionError": outcome.error_type if outcome is not None else "",
                },
                "responsePayload": _text(outcome.payload) if outcome is not None else "",
            }
        )
        try:
            await self._deliver(there, body, function)
            task.destination = f"sent to {chosen.destination}"
        except (Refusal, Cut) as refused:
            task.destination = f"not sent to {chosen.destination}: {refused}"
            function.log.write("", task.request_id, "runtime", f"destination {task.destination}")

    async def _deliver(self, there: Target, body: str, function: Function) -> None:
        identity, around = function.identity, function.around
        caller = Caller(
            account=around.account,
            kind="role",
            name=identity.role,
            session="destination",
            arn=identity.role_arn,
            access_key_id="",
            origin="",
            function=function.name,
        )
        if there.kind == "function":
            await self._chain(there, body, caller)
            return
        path = f"/{there.kind}s/{there.name}/messages"
        operation = "SendMessage" if there.kind == "queue" else "PublishMessage"
        call = Call(
            service="mns",
            operation=operation,
            caller=caller,
            account=there.account,
            region=there.region,
            request_id=new_request_id(),
            permissions=((f"mns:{operation}", f"acs:mns:{there.region}:{there.account}:{path}"),),
            params={there.kind: there.name, "destination_of": function.name},
        )

        def send() -> None:
            if there.kind == "queue":
                self._queues.put(there.account, there.name, body)
            else:
                self._queues.publish(there.account, there.name, body)
            call.effect = True

        await self._cloud.perform(call, send)

    async def _chain(self, there: Target, body: str, caller: Caller) -> None:
        call = Call(
            service="fc",
            operation="InvokeFunction",
            caller=caller,
            account=there.account,
            region=there.region,
            request_id=new_request_id(),
            permissions=(("fc:InvokeFunction", f"acs:fc:{there.region}:{there.account}:functions/{there.name}"),),
            params={"function": there.name, "destination_of": caller.function},
        )

        def accept() -> None:
            function = self._find(there.name)
            if function is None:
                raise Refusal(404, "FunctionNotFound", f"function '{there.name}' does not exist.")
            self.submit(function, body.encode(), request_id=call.request_id)
            call.effect = True

        await self._cloud.perform(call, accept)


def _text(payload: bytes) -> str:
    """Bytes in JSON: as text when they are text."""
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return base64.b64encode(payload).decode()
