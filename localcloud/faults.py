"""Planned trouble: what goes wrong, for whom, and how often.

A fault waits until calls match it, lets the first ``after`` of them pass, then strikes ``times`` times. It comes from
the world file or the admin API. Kinds:

* throttle -- refused as over a quota (``retry_after`` in milliseconds adds the header some services send)
* error -- refused with ``status``, ``code``, ``message``; server_error -- 5xx with ``body`` json, html or empty
* slow -- ``seconds`` of real time pass first
* cut_before, cut_after -- the connection is cut, without or with the effect
* late -- the connection is cut now, the effect lands ``seconds`` of cloud time later
* lag -- a read answers from the state of ``seconds`` of cloud time ago
* expire_token -- the session token that was used is expired from this call on
* duplicate, reorder -- deliveries of queues and batches of triggers
* wrong_token -- an ID token is wrong in the way that ``wrong`` says
* kill_before, kill_after, kill_reply -- the worker process that made the call dies before its effect, after the effect
  but without a reply, or once the reply was sent
"""

import fnmatch
import random
from collections.abc import Iterable
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from localcloud.call import Call

Kind = Literal[
    "throttle",
    "error",
    "server_error",
    "slow",
    "cut_before",
    "cut_after",
    "late",
    "lag",
    "expire_token",
    "duplicate",
    "reorder",
    "wrong_token",
    "kill_before",
    "kill_after",
    "kill_reply",
]
ASKED_KINDS = frozenset({"duplicate", "reorder", "wrong_token"})
"""Kinds that a service asks for itself; the kernel strikes all others."""
KILLING_KINDS = frozenset({"kill_before", "kill_after", "kill_reply"})
Wrong = Literal["issuer", "audience", "nonce", "expired", "early", "unsigned", "hmac", "signature", "rotated"]
LAGGING_SERVICES = frozenset({"ecr", "vpc"})
"""Services whose reads can answer from the past."""


class Plan(BaseModel):
    """One planned trouble as people write it."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    kind: Kind
    """What happens."""
    service: Literal["sts", "vpc", "ecr", "kms", "mns", "fc", "oauth"] | None = None
    """Only calls of this service."""
    operation: str | None = None
    """Only calls of this operation, such as AssumeRole."""
    account: str | None = Field(None, description="uid of the caller or of the resource's owner")
    resource: str | None = Field(None, description="wildcard pattern over the resource ARNs and parameter values")
    role: str | None = Field(None, description="name of the role (or user) that calls")
    function: str | None = Field(None, description="name of the function whose worker calls, roles in between or not")
    after: int = Field(0, ge=0)
    """So many matching calls pass first."""
    times: int | None = Field(1, ge=1, description="null: until it is cleared")
    probability: float = Field(1.0, gt=0, le=1)
    """How likely it strikes a matching call."""
    seed: int = 0
    """Makes chance repeatable."""

    seconds: float | None = Field(None, ge=0, le=1e9)
    """How long, for slow, late and lag."""
    status: int | None = Field(None, ge=400, le=599)
    """HTTP status of the refusal."""
    code: str | None = Field(None, min_length=1)
    """Error code of the refusal."""
    message: str | None = None
    """Text of the refusal."""
    retry_after: int | None = Field(None, ge=1)
    """Milliseconds in the header some services send when they throttle."""
    body: Literal["json", "html", "empty"] = "json"
    """What a server_error carries."""
    wrong: Wrong | None = Field(
        None,
        description="what a wrong_token has: another issuer, audience or nonce, times that are over or yet to come, no "
        "signature, one made with the public key as a secret, one of another key; rotated: a key that is new, in place "
        "of those before",
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        problems = []
        if self.kind in {"slow", "late", "lag"} and self.seconds is None:
            problems.append(f"a {self.kind} fault needs seconds")
        if self.kind == "error" and (self.status is None or self.code is None):
            problems.append("an error fault needs status and code")
        if (self.kind == "wrong_token") != (self.wrong is not None):
            problems.append("wrong_token and what is wrong with it go together")
        if self.kind == "lag" and self.service not in LAGGING_SERVICES | {None}:
            problems.append(f"reads of {self.service} cannot lag; those of ecr and vpc can")
        if self.kind == "server_error" and self.status is not None and self.status < 500:
            problems.append(f"a server_error has a status of 500 or more, not {self.status}")
        if problems:
            raise ValueError("; ".join(problems))
        return self


class Fault:
    """One planned trouble on the watch."""

    def __init__(self, number: int, plan: Plan) -> None:
        self.number = number
        self.plan = plan
        self.matched = 0
        self.struck = 0
        self._random = random.Random(plan.seed)  # noqa: S311 - repeatable trouble, not a secret

    @property
    def spent(self) -> bool:
        """Whether it has struck as often as it should."""
        return self.plan.times is not None and self.struck >= self.plan.times

    def meets(self, call: Call) -> bool:
        """Whether this call is one of those it waits for."""
        plan, caller = self.plan, call.caller
        return (
            self._possible(call)
            and (plan.service is None or plan.service == call.service)
            and (plan.operation is None or plan.operation == call.operation)
            and (plan.account is None or plan.account in {caller.account, call.account})
            and (plan.role is None or plan.role == caller.name)
            and (plan.function is None or plan.function == caller.function)
            and (plan.resource is None or self._concerns(call, plan.resource))
        )

    def _possible(self, call: Call) -> bool:
        """Some trouble can only happen to some calls, and must not be used up by others."""
        kind = self.plan.kind
        if kind in KILLING_KINDS:
            return bool(call.caller.function)
        if kind == "expire_token":
            return call.caller.kind == "role"
        if kind == "wrong_token":
            return call.service == "oauth"
        return kind != "lag" or call.service in LAGGING_SERVICES

    @staticmethod
    def _concerns(call: Call, pattern: str) -> bool:
        named = [resource for _, resource in call.permissions] + [str(value) for value in call.params.values()]
        return any(fnmatch.fnmatchcase(text, pattern) for text in named)

    def strikes(self, call: Call) -> bool:
        """Count a call; True when the trouble happens to it."""
        if self.spent or not self.meets(call):
            return False
        self.matched += 1
        if self.matched <= self.plan.after or self._random.random() >= self.plan.probability:
            return False
        self.struck += 1
        return True

    def to_json(self) -> dict[str, Any]:
        """As the admin API lists it."""
        return {
            "number": self.number,
            **self.plan.model_dump(exclude_none=True),
            "times": self.plan.times,
            "matched": self.matched,
            "struck": self.struck,
        }


class Faults:
    """All planned trouble of one local cloud."""

    def __init__(self, plans: Iterable[Plan] = ()) -> None:
        self._faults: list[Fault] = []
        self._numbers = 0
        for plan in plans:
            self.plan(plan)

    @property
    def planned(self) -> bool:
        """Whether anything may strike; when not, calls do not even look."""
        return bool(self._faults)

    def plan(self, plan: Plan) -> Fault:
        """Put one more on the watch."""
        self._numbers += 1
        fault = Fault(self._numbers, plan)
        self._faults.append(fault)
        return fault

    def clear(self, number: int | None = None) -> int:
        """Forget one, or all; how many were forgotten."""
        kept = [fault for fault in self._faults if number is not None and fault.number != number]
        forgotten = len(self._faults) - len(kept)
        self._faults = kept
        return forgotten

    def strike(self, call: Call) -> list[Plan]:
        """The trouble that happens to this call, but for the kinds that services ask for."""
        return [fault.plan for fault in self._faults if fault.plan.kind not in ASKED_KINDS and fault.strikes(call)]

    def asked(self, kind: Literal["duplicate", "reorder", "wrong_token"], call: Call) -> Plan | None:
        """For services: the planned trouble of this kind that happens to a call, or a delivery described as one."""
        for fault in self._faults:
            if fault.plan.kind == kind and fault.strikes(call):
                return fault.plan
        return None

    def list(self) -> list[dict[str, Any]]:
        """All, spent ones included, JSON-able."""
        return [fault.to_json() for fault in self._faults]
