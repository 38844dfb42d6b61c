"""A deployed function: its description, its instances, its log, and how it is called from anywhere."""

import uuid
from dataclasses import dataclass
from typing import Any

from localcloud.clock import iso
from localcloud.fc.custom_instances import CustomInstance
from localcloud.fc.instances import Instance, Surroundings
from localcloud.fc.invocations import Invocation, Outcome
from localcloud.fc.logs import FunctionLog
from localcloud.fc.pool import Capacity, Pool
from localcloud.fc.python_instances import PythonInstance
from localcloud.fc.template.load import FunctionSpec
from localcloud.fc.template.props import Props


@dataclass(frozen=True)
class Identity:
    """The role a function runs as; empty name for none."""

    role: str
    role_arn: str


class Function:
    """One function of the deployment account."""

    def __init__(
        self, spec: FunctionSpec, identity: Identity, log: FunctionLog, around: Surroundings, capacity: Capacity
    ) -> None:
        self.spec = spec
        self.identity = identity
        self.log = log
        self.around = around
        self.created = around.clock.now()
        self.remarks: list[str] = []
        """What Function Compute would notice about it and let pass."""
        self.id = str(uuid.uuid4())
        self.pool = Pool(
            self._make,
            capacity,
            spec.props.reserved_concurrency,
            spec.props.instance_concurrency,
            kept=spec.props.scaling_config.min_instances,
            remark=lambda text: log.write("", "", "runtime", text),
        )

    def _make(self) -> Instance:
        kind = CustomInstance if self.props.custom else PythonInstance
        return kind(self.props, self.spec.code, self.identity.role, self.log, self.around)

    @property
    def props(self) -> Props:
        """What the template says."""
        return self.spec.props

    @property
    def name(self) -> str:
        """Its name; ``service$function`` for one of the older generation."""
        return self.spec.name

    @property
    def arn(self) -> str:
        """As destinations and policies name it."""
        return f"acs:fc:{self.around.region}:{self.around.account}:functions/{self.name}"

    async def run(self, invocation: Invocation) -> Outcome:
        """Invoke it, whoever asks; raises Refusal when no instance may be started. A failure leaves a line in the log."""
        outcome = await self.pool.run(invocation)
        if outcome.fate not in {"returned", "raised"}:
            self.log.write(outcome.instance_id, invocation.request_id, "runtime", f"{outcome.fate}: {outcome.message}")
        return outcome

    def snapshot(self) -> dict[str, Any]:
        """For people and tests."""
        return {
            "name": self.name,
            "arn": self.arn,
            "runtime": self.props.runtime,
            "handler": self.props.handler,
            "code": str(self.spec.code),
            "timeout": self.props.timeout,
            "role": self.identity.role_arn,
            "created": iso(self.created),
            "reserved_concurrency": self.props.reserved_concurrency,
            "min_instances": self.props.scaling_config.min_instances,
            "remarks": list(self.remarks),
            "instances": [instance.snapshot() for instance in self.pool.instances],
        }
