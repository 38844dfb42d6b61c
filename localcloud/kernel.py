"""The kernel: everything of one running local cloud, and the way every call goes through it.

Services parse their own wire, authenticate with ``signatures`` and ``World.authenticate``, build a ``Call`` and hand
it to ``Cloud.perform`` together with the change or look itself. The kernel then does the same for all of them:
quota, planned trouble, RAM, the deed, planned trouble again, the journal. It knows no service: what it needs of one,
the service registers here.
"""

import asyncio
import contextvars
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from localcloud.call import Call, Caller
from localcloud.clock import Clock, iso
from localcloud.faults import Faults, Plan
from localcloud.journal import Journal
from localcloud.network import Network
from localcloud.quotas import Quotas, throttled
from localcloud.ram import Decision, Lookup, access_denied_detail, evaluate
from localcloud.refusal import Cut, Denied, Refusal, Throttled
from localcloud.signatures import Nonces
from localcloud.switches import Switches
from localcloud.world import World, unauthenticated
from localcloud.worldfile import WorldFile

T = TypeVar("T")

AFTER_REPLY: contextvars.ContextVar[list[Callable[[], object]] | None] = contextvars.ContextVar(
    "after_reply", default=None
)
"""What the gateway does once the reply of the current request has been sent."""

_DENIALS = {
    "sts": ("NoPermission", "You are not authorized to do this action. You should be authorized by RAM."),
    "ecr": ("NoPermission", "You are not authorized to do this action. You should be authorized by RAM."),
    "vpc": (
        "Forbidden.RAM",
        "User not authorized to operate on the specified resource, or this API doesn't support RAM.",
    ),
    "kms": ("Forbidden.NoPermission", "This operation is forbidden by permission system."),
    "mns": ("AccessDenied", "The OwnerId that your Access Key Id associated to is forbidden for this operation."),
    "fc": ("AccessDenied", "the caller is not authorized to perform '{action}' on resource '{resource}'"),
}

_FAILURES = {
    "": "The request has failed due to a temporary failure of the server.",
    "mns": "Interal error.",  # the service's own spelling
}


class Workers(Protocol):
    """Whoever runs the worker processes that planned trouble kills."""

    def kill_origin(self, access_key_id: str) -> bool:
        """Kill the worker that was given this access key; whether there was one."""


class Cloud:
    """Everything of one running local cloud."""

    def __init__(self, file: WorldFile, *, state_directory: Path | None = None) -> None:
        self.file = file
        self.state_directory = state_directory
        self.clock = Clock()
        self.world = World(file, self.clock)
        self.switches = Switches.model_validate(file.switches)
        self.faults = Faults(file.faults)
        self.quotas = Quotas(self.clock, file.quotas)
        self.journal = Journal(state_directory / "journal.jsonl" if state_directory else None)
        self.network = Network(file, self.clock, self.switches)
        self.nonces = Nonces()
        self.address = ""
        """host:port, once the server listens."""
        self._workers: list[Workers] = []
        self._tasks: set[asyncio.Task[Any]] = set()

    def register_workers(self, workers: Workers) -> None:
        """Let planned trouble reach the processes of a service that runs some."""
        self._workers.append(workers)

    def authenticate(self, access_key_id: str, security_token: str | None) -> Caller:
        """Who signed with this key; raises Unauthenticated, whose ``reason`` services map to their own codes."""
        return self.world.authenticate(access_key_id, security_token)

    async def perform(self, call: Call, execute: Callable[[], T | Awaitable[T]]) -> T:
        """Let one call happen: quota, planned trouble, RAM, the deed, planned trouble again, journal.

        ``execute`` raises Refusal for business errors and is atomic: when it raises, nothing was changed. Raises
        Refusal or Cut.
        """
        started = time.perf_counter()
        call.now = call.seen = self.clock.now()
        strikes = self.faults.strike(call) if self.faults.planned else ()
        try:
            self.quotas.spend(call)
            if strikes:
                await self._trouble_before(call, strikes, execute)
            self._check(call)
            answer = execute()
            if hasattr(answer, "__await__"):
                answer = await answer
            if strikes:
                self._trouble_after(call, strikes)
        except Refusal as refusal:
            self._note(call, refusal.status, refusal.code, refusal.explained, started)
            raise
        except Cut as cut:
            self._note(call, 0, "Cut", str(cut), started)
            raise
        except asyncio.CancelledError:
            self._note(call, 0, "Abandoned", "the local cloud stopped", started)
            raise
        self._note(call, call.status, "", "", started)
        return cast("T", answer)

    def turned_away(
        self, service: str, operation: str, refusal: Refusal, *, request_id: str, access_key_id: str = ""
    ) -> None:
        """Record a request that was refused before there was a Call to perform."""
        self.journal.note_refused(
            self.clock.now(),
            service,
            operation,
            access_key_id,
            request_id,
            refusal.status,
            refusal.code,
            refusal.explained,
        )

    def decide(self, call: Call) -> Decision | None:
        """What RAM says to a call: the first refusal, or the last allowance; None when nothing needs permission."""
        decision: Decision | None = None
        for action, resource in call.permissions:
            decision = self._decide_one(call, action, resource)
            if not decision.allowed:
                break
        return decision

    def spawn(self, coroutine: Coroutine[Any, Any, object]) -> asyncio.Task[Any]:
        """Run a background task: cancelled and awaited at shutdown, an exception in it is printed, never silent."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    async def stop_tasks(self) -> None:
        """Cancel and await whatever was spawned."""
        while self._tasks:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._tasks.difference_update(tasks)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            traceback.print_exception(error, file=sys.stderr)

    def _check(self, call: Call) -> None:
        call.decision = decision = self.decide(call)
        if decision is not None and not decision.allowed:
            raise denied(call, decision)

    def _decide_one(self, call: Call, action: str, resource: str) -> Decision:
        caller = call.caller
        # STS decides about roles of other accounts by their trust policies. Everything else is refused across
        # accounts: no resource-based policy could allow it.
        owner = resource.split(":", 4)[3]
        if owner != caller.account and call.service != "sts":
            why = f"{resource} belongs to account {owner}, the caller to {caller.account}"
            return Decision(False, action, resource, why, "ImplicitDeny", "AccountLevelIdentityBasedPolicy")
        if caller.kind == "root":
            return Decision(True, action, resource, "the account itself may do everything")
        lookup = self.condition_lookup(call)
        session_policy = self.world.session_policy_of(caller)
        if session_policy is not None:
            narrowed = evaluate((session_policy,), action, resource, lookup, "SessionPolicy")
            if not narrowed.allowed:
                return narrowed
        return evaluate(self.world.policies_of(caller), action, resource, lookup, "AccountLevelIdentityBasedPolicy")

    def condition_lookup(self, call: Call) -> Lookup:
        """The condition keys a call carries; worked out only when a policy asks."""

        def lookup(key: str) -> str | None:
            if key == "acs:sourceip":
                return call.source_ip
            if key == "acs:currenttime":
                return iso(call.now)
            if key == "acs:securetransport":
                return self.switches.secure_transport
            if key == "acs:mfapresent":
                return "false"
            return next((value for name, value in call.conditions.items() if name.lower() == key), None)

        return lookup

    async def _trouble_before(self, call: Call, strikes: Sequence[Plan], execute: Callable[[], Any]) -> None:
        for plan in strikes:
            if plan.kind == "slow":
                await asyncio.sleep(plan.seconds or 0)
                call.now = call.seen = self.clock.now()
            elif plan.kind == "lag":
                call.seen = call.now - (plan.seconds or 0)
            elif plan.kind == "throttle":
                raise _planned_throttle(call, plan)
            elif plan.kind == "error":
                raise Refusal(plan.status or 400, plan.code or "", plan.message or "Planned trouble.")
            elif plan.kind == "server_error":
                raise _planned_server_error(call, plan)
            elif plan.kind == "expire_token":
                self.world.expire(call.caller.access_key_id)
                raise unauthenticated("expired_token")
            elif plan.kind == "cut_before":
                raise Cut("planned: cut before the effect")
            elif plan.kind == "kill_before":
                self._kill_origin(call)
                raise Cut("planned: the worker was killed before the effect")
            elif plan.kind == "late":
                self._check(call)
                self.spawn(self._land_late(call, execute, plan.seconds or 0))
                raise Cut(f"planned: cut now, the effect lands {plan.seconds} s later")

    def _trouble_after(self, call: Call, strikes: Sequence[Plan]) -> None:
        for plan in strikes:
            if plan.kind == "cut_after":
                raise Cut("planned: cut after the effect")
            if plan.kind == "kill_after":
                self._kill_origin(call)
                raise Cut("planned: the worker was killed after the effect, before the reply")
            if plan.kind == "kill_reply":
                hooks = AFTER_REPLY.get()
                if hooks is not None:
                    hooks.append(lambda: self._kill_origin(call))

    def _kill_origin(self, call: Call) -> None:
        for workers in self._workers:
            workers.kill_origin(call.caller.origin)

    async def _land_late(self, call: Call, execute: Callable[[], Any], seconds: float) -> None:
        """The effect of a call whose caller gave up long ago; journalled once more when it lands."""
        await self.clock.sleep(seconds)
        started = time.perf_counter()
        call.now = call.seen = self.clock.now()
        try:
            answer = execute()
            if hasattr(answer, "__await__"):
                await answer
        except Refusal as refusal:
            self._note(call, refusal.status, refusal.code, refusal.explained, started)
        else:
            self._note(call, call.status, "Late", "the effect of a call that was cut", started)

    def _note(self, call: Call, status: int, code: str, message: str, started: float) -> None:
        self.journal.note(call, status, code, message, (time.perf_counter() - started) * 1000)


def denied(call: Call, decision: Decision) -> Denied:
    """The answer of a service when RAM refuses (sections 1.2 and 4.5).

    STS does not say which half failed, so its answer carries no detail; the journal does. The others name action and
    resource.
    """
    code, message = _DENIALS[call.service]
    if call.service == "sts":
        return Denied(403, code, message)
    if call.service == "mns":
        # Those are the words for a stranger to the account; to the account's own people a policy is named as well.
        stranger = decision.resource.split(":", 4)[3] != call.caller.account
        named = "" if stranger else f" {decision.action} on {decision.resource} is not allowed by RAM."
        return Denied(403, code, f"{message}{named}")
    if call.service == "fc":
        return Denied(403, code, message.format(action=decision.action, resource=decision.resource))
    caller = call.caller
    name = f"{caller.name}:{caller.session}" if caller.session else caller.name
    detail = access_denied_detail(decision, caller.kind, caller.account, name)
    text = f"{message} (action {decision.action}, resource {decision.resource})"
    return Denied(403, code, text, {"AccessDeniedDetail": detail})


def _planned_throttle(call: Call, plan: Plan) -> Throttled:
    usual = throttled(call.service)
    headers = {"x-acs-retry-after": str(plan.retry_after)} if plan.retry_after is not None else {}
    return Throttled(
        plan.status or usual.status, plan.code or usual.code, plan.message or usual.message, headers=headers
    )


def _planned_server_error(call: Call, plan: Plan) -> Refusal:
    status = plan.status or 503
    code = plan.code or ("InternalError" if status == 500 or call.service in {"mns", "fc"} else "ServiceUnavailable")
    message = plan.message or _FAILURES.get(call.service, _FAILURES[""])
    body: tuple[str, bytes] | None = None
    if plan.body == "html":
        page = (
            f"<html><head><title>{status}</title></head><body><h1>{status} Temporarily Unavailable</h1></body></html>"
        )
        body = ("text/html", page.encode())
    elif plan.body == "empty":
        body = ("application/octet-stream", b"")
    return Refusal(status, code, message, body=body)
