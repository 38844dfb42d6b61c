"""From a checked template to functions at work: what must exist, must exist, and every function must start.

On the real platform some of these mistakes show only when the first message is lost. Here a deployment that cannot
work is refused as a whole, with a line for each reason, and what was deployed before goes on.
"""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from localcloud.fc.errors import DeployError, FunctionError
from localcloud.fc.functions import Function, Identity
from localcloud.fc.invocations import StartFailed
from localcloud.fc.streams import Stream
from localcloud.fc.template.arns import target
from localcloud.fc.template.load import FunctionSpec
from localcloud.fc.template.triggers import EventBridgeTrigger
from localcloud.fc.timers import Timer
from localcloud.fc.web import Front
from localcloud.ram import evaluate_trust
from localcloud.world import World
from localcloud.yamlfile import Place, dotted

_FC = "fc.aliyuncs.com"


@dataclass
class Deployed:
    """A function and what sets it off."""

    function: Function
    streams: list[Stream] = field(default_factory=list)
    timers: list[Timer] = field(default_factory=list)
    front: Front | None = None

    @property
    def url(self) -> str:
        """Where its HTTP trigger listens; empty without one."""
        return self.front.url if self.front is not None else ""

    @property
    def pullers(self) -> list[Stream | Timer]:
        """The triggers that act by themselves."""
        return [*self.streams, *self.timers]

    def start(self) -> None:
        """Let the triggers pull, and keep the instances that are to be kept."""
        self.function.pool.keep()
        for trigger in self.pullers:
            trigger.start()

    async def stop(self) -> None:
        """No more triggers, then no more instances."""
        await asyncio.gather(*(trigger.stop() for trigger in self.pullers))
        if self.front is not None:
            await self.front.stop()
        await self.function.pool.stop()

    def snapshot(self) -> dict[str, Any]:
        """For people and tests."""
        triggers = [trigger.snapshot() for trigger in self.pullers]
        if self.front is not None:
            triggers.append(self.front.snapshot())
        return {**self.function.snapshot(), "url": self.url, "triggers": triggers}


Missing = tuple[Place, str]
"""Something that a function names and that is not there."""


class Existing(Protocol):
    """Whoever knows which queues and topics there are."""

    def exists(self, kind: str, account: str, name: str) -> bool:
        """Whether there is such a queue or topic."""


class Check:
    """Everything a template names must be there."""

    def __init__(self, world: World, queues: Existing, names: set[str]) -> None:
        self._world = world
        self._account = world.deploy_account
        self._queues = queues
        self._names = names
        """Functions that will exist: those of this template and those deployed before."""

    def identities(self, specs: list[FunctionSpec]) -> dict[str, Identity]:
        """The role of each function; a DeployError lists all that is missing."""
        problems: list[str] = []
        identities: dict[str, Identity] = {}
        for spec in specs:
            identities[spec.name], found = self.examine(spec)
            problems += [f"function {spec.name} ({spec.where}): {problem}" for _, problem in found]
        if problems:
            raise DeployError("\n  ".join(["cannot be deployed:", *problems]))
        return identities

    def examine(self, spec: FunctionSpec) -> tuple[Identity, list[Missing]]:
        """The role of one function, and everything it names that is not there, with its place in the props."""
        found: list[Missing] = []
        if spec.props.region != self._world.region:
            text = f"region: {spec.props.region!r} is not this local cloud's region {self._world.region!r}"
            found.append((("region",), text))
        identity = self._role(spec, found)
        self._destinations(spec, found)
        for at, trigger in enumerate(spec.props.triggers):
            if isinstance(trigger, EventBridgeTrigger):
                self._stream(spec, trigger, ("triggers", at), found)
        return identity, found

    def _role(self, spec: FunctionSpec, found: list[Missing]) -> Identity:
        if not spec.props.role:
            return Identity("", "")
        try:
            name = spec.props.role_name(self._account)
        except ValueError as problem:
            found.append((("role",), f"role: {problem}"))
            return Identity("", "")
        role = self._world.roles.get((self._account, name))
        if role is None:
            there = ", ".join(sorted(other for account, other in self._world.roles if account == self._account))
            text = f"role: account {self._account} has no role {name!r} (it has: {there or 'none'})"
            found.append((("role",), text))
            return Identity("", "")
        trusted = evaluate_trust(role.trust, role.arn, (), _FC, lambda _key: None)
        if not trusted.allowed:
            found.append((("role",), f"role: {trusted.why}"))
        return Identity(name, role.arn)

    def _destinations(self, spec: FunctionSpec, found: list[Missing]) -> None:
        config = spec.props.async_invoke_config.destination_config
        for name, chosen in (("onSuccess", config.on_success), ("onFailure", config.on_failure)):
            if chosen is None:
                continue
            place: Place = ("asyncInvokeConfig", "destinationConfig", name)
            where = dotted(place)
            self._exists(chosen.destination, where, place, found)
            if not spec.props.role:
                found.append((place, f"{where}: the function needs a role that may send there"))

    def _stream(self, spec: FunctionSpec, trigger: EventBridgeTrigger, place: Place, found: list[Missing]) -> None:
        config = trigger.trigger_config
        where = f"trigger {trigger.trigger_name}"
        source_place = ("triggerConfig", "eventSourceConfig", "eventSourceParameters", "sourceMNSParameters")
        named: Place = (*place, *source_place)
        source = config.event_source_config.event_source_parameters.source_mns
        if source.region_id != self._world.region:
            text = f"{where}: queue and function must share the region; RegionId is {source.region_id!r}"
            found.append(((*named, "RegionId"), text))
        if not self._queues.exists("queue", self._account, source.queue_name):
            text = f"{where}: account {self._account} has no queue {source.queue_name!r}"
            found.append(((*named, "QueueName"), text))
        dead_letters = config.run_options.dead_letter_queue
        if dead_letters is not None:
            dead: Place = (*place, "triggerConfig", "runOptions", "deadLetterQueue", "Arn")
            self._exists(dead_letters.arn, f"{where}, deadLetterQueue", dead, found)
            there = target(dead_letters.arn, self._world.region, self._account)
            if (there.account, there.name) == (self._account, source.queue_name):
                found.append((dead, f"{where}: the queue cannot be its own dead-letter queue"))
        if config.run_options.mode == "event-driven" and "source" in config.pattern:
            bus = f"MNS-{spec.name}-{trigger.trigger_name}"
            if bus not in config.pattern["source"]:
                text = f"{where}: the filter lets nothing through; events come from {bus!r}"
                found.append(((*place, "triggerConfig", "eventRuleFilterPattern"), text))

    def _exists(self, arn: str, where: str, place: Place, found: list[Missing]) -> None:
        there = target(arn, self._world.region, self._account)
        if there.region != self._world.region:
            found.append((place, f"{where}: {arn} is in another region, which this local cloud does not have"))
        elif there.kind == "function":
            if there.account != self._account or there.name not in self._names:
                found.append((place, f"{where}: there is no function {there.name!r}"))
        elif not self._queues.exists(there.kind, there.account, there.name):
            found.append((place, f"{where}: account {there.account} has no {there.kind} {there.name!r}"))


async def warm_up(functions: list[Function]) -> None:
    """Start one instance of each, so that what cannot start is known now; the first failure is raised."""

    async def start(function: Function) -> None:
        if function.props.reserved_concurrency == 0:
            return
        try:
            async with function.pool.instance():
                pass
        except StartFailed as failed:
            raise FunctionError(function.name, _explained(failed.payload)) from None

    results = await asyncio.gather(*(start(function) for function in functions), return_exceptions=True)
    failures = [result for result in results if isinstance(result, BaseException)]
    if failures:
        told = [str(failure) for failure in failures if isinstance(failure, DeployError)]
        if len(told) == len(failures):
            raise DeployError("\n".join(told))
        raise next(failure for failure in failures if not isinstance(failure, DeployError))


def _explained(payload: bytes) -> str:
    """A worker's own error, readable: type, message and where it happened."""
    error: Mapping[str, Any] = {}
    with contextlib.suppress(ValueError):
        error = json.loads(payload)
    kind = f"{error['errorType']}: " if error.get("errorType") else ""
    text = f"did not start: {kind}{error.get('errorMessage', payload.decode(errors='replace'))}"
    for file, line, name, _ in error.get("stackTrace", [])[-3:]:
        text += f"\n    at {file}:{line} in {name}"
    return text
