"""Resource types of ROS that are emulated: their properties, their attributes, and what each becomes in a world file.

Property names are ROS's; ranges are the world file's own, which are those of the products.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Raw = dict[str, Any]
_QUEUE_ENDPOINT = re.compile(r"acs:mns:([^:]*):([^:]*):queues/([^/]+)")
"""Without a slash before queues, unlike resource names in policies."""


class _Properties(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class QueueDeadLetter(_Properties):
    """Where a queue's messages go that were received too often."""

    Enabled: Literal[True]
    DeadLetterTargetQueue: str
    MaxReceiveCount: int


class Queue(_Properties):
    """A queue."""

    QueueName: str
    VisibilityTimeout: int = 30
    MessageRetentionPeriod: int = 345_600
    PollingWaitSeconds: int = 0
    DelaySeconds: int = 0
    MaximumMessageSize: int = 65_536
    DlqPolicy: QueueDeadLetter | None = None


class Topic(_Properties):
    """A topic."""

    TopicName: str
    MaximumMessageSize: int = 65_536


class SubscriptionDeadLetter(_Properties):
    """Where notifications go that could not be delivered."""

    Enabled: Literal[True]
    DeadLetterTargetQueue: str


class Subscription(_Properties):
    """A topic's push into a queue of the same account."""

    TopicName: str
    SubscriptionName: str
    Endpoint: str
    PushType: Literal["queue"]
    FilterTag: str | None = None
    NotifyContentFormat: str = "XML"
    NotifyStrategy: str = "BACKOFF_RETRY"
    DlqPolicy: SubscriptionDeadLetter | None = None


class RolePolicy(_Properties):
    """A policy that comes with a role. Its name is one of the account's, not of the role's."""

    PolicyName: str
    PolicyDocument: Raw


class Role(_Properties):
    """A role with its policies."""

    RoleName: str
    Description: str = ""
    AssumeRolePolicyDocument: Raw
    Policies: list[RolePolicy] = Field(default_factory=list)
    MaxSessionDuration: int = 3600


class ManagedPolicy(_Properties):
    """A policy of the account, attached to roles here and to users by whoever applies the template."""

    PolicyName: str
    PolicyDocument: Raw
    Description: str = ""
    Roles: list[str] = Field(default_factory=list)


@dataclass
class Made:
    """What stacks make in one account, as the world file has it."""

    account: str
    roles: dict[str, Raw] = field(default_factory=dict)
    queues: dict[str, Raw] = field(default_factory=dict)
    topics: dict[str, Raw] = field(default_factory=dict)
    subscriptions: dict[str, dict[str, Raw]] = field(default_factory=dict)
    """By topic."""
    policies: dict[str, Raw] = field(default_factory=dict)
    """Every policy document by its name."""
    attached: list[tuple[str, str]] = field(default_factory=list)
    """Managed policies and the roles they are attached to."""


class Refused(ValueError):
    """A resource that cannot be made."""


def _once(made: dict[str, Any], name: str, what: Any, kind: str) -> None:
    if name in made:
        raise Refused(f"there is a {kind} {name} already: names of an account are shared by all its stacks")
    made[name] = what


def _queue(one: Queue, made: Made, region: str) -> None:
    del region
    raw: Raw = one.model_dump(exclude={"QueueName", "DlqPolicy"})
    if one.DlqPolicy is not None:
        dead = one.DlqPolicy
        raw["dead_letter"] = {"queue": dead.DeadLetterTargetQueue, "max_receives": dead.MaxReceiveCount}
    _once(made.queues, one.QueueName, raw, "queue")


def _topic(one: Topic, made: Made, region: str) -> None:
    del region
    _once(made.topics, one.TopicName, {"MaximumMessageSize": one.MaximumMessageSize}, "topic")


def _subscription(one: Subscription, made: Made, region: str) -> None:
    matched = _QUEUE_ENDPOINT.fullmatch(one.Endpoint)
    if matched is None or matched[1] != region or matched[2] != made.account:
        wanted = f"acs:mns:{region}:{made.account}:queues/NAME"
        raise Refused(f"Endpoint: a queue of this account and region is wanted ({wanted}), found {one.Endpoint!r}")
    raw = {
        "queue": matched[3],
        "filter_tag": one.FilterTag,
        "format": one.NotifyContentFormat,
        "strategy": one.NotifyStrategy,
        "dead_letter": one.DlqPolicy.DeadLetterTargetQueue if one.DlqPolicy is not None else None,
    }
    _once(made.subscriptions.setdefault(one.TopicName, {}), one.SubscriptionName, raw, "subscription")


def _role(one: Role, made: Made, region: str) -> None:
    del region
    for policy in one.Policies:
        _once(made.policies, policy.PolicyName, policy.PolicyDocument, "policy")
    raw = {
        "trust": one.AssumeRolePolicyDocument,
        "policies": {policy.PolicyName: policy.PolicyDocument for policy in one.Policies},
        "max_session_seconds": one.MaxSessionDuration,
    }
    _once(made.roles, one.RoleName, raw, "role")


def _managed_policy(one: ManagedPolicy, made: Made, region: str) -> None:
    del region
    _once(made.policies, one.PolicyName, one.PolicyDocument, "policy")
    made.attached += [(one.PolicyName, role) for role in one.Roles]


Properties = TypeVar("Properties", bound=BaseModel)


@dataclass(frozen=True)
class Kind(Generic[Properties]):
    """One resource type."""

    model: type[Properties]
    make: Callable[[Properties, Made, str], None]
    """Raises Refused."""
    attributes: Mapping[str, str]
    """What each attribute comes to, with ``{Property}`` and ``{account}`` in it."""


KINDS: Mapping[str, Kind[Any]] = {
    "ALIYUN::MNS::Queue": Kind(Queue, _queue, {"QueueName": "{QueueName}"}),
    "ALIYUN::MNS::Topic": Kind(Topic, _topic, {"TopicName": "{TopicName}"}),
    "ALIYUN::MNS::Subscription": Kind(Subscription, _subscription, {"SubscriptionName": "{SubscriptionName}"}),
    "ALIYUN::RAM::Role": Kind(Role, _role, {"RoleName": "{RoleName}", "Arn": "acs:ram::{account}:role/{RoleName}"}),
    "ALIYUN::RAM::ManagedPolicy": Kind(ManagedPolicy, _managed_policy, {"PolicyName": "{PolicyName}"}),
}
LEFT_OUT: Mapping[str, tuple[str, Mapping[str, str]]] = {
    kind: ("the local cloud keeps the functions' logs itself", attributes)
    for kind, attributes in (
        ("ALIYUN::SLS::Project", {"Name": "{Name}"}),
        ("ALIYUN::SLS::Logstore", {"LogstoreName": "{LogstoreName}", "ProjectName": "{ProjectName}"}),
        ("ALIYUN::SLS::Index", {}),
    )
}
"""Types that nothing is made of, why, and their attributes; it is said for each resource. Every other type is refused."""


def attributes(kind: str) -> Mapping[str, str] | None:
    """A type's attributes; None for a type that is refused."""
    if kind in KINDS:
        return KINDS[kind].attributes
    return LEFT_OUT[kind][1] if kind in LEFT_OUT else None


def dangling(made: Made) -> Iterator[str]:
    """What a stack names that no stack makes."""
    for topic, subscriptions in made.subscriptions.items():
        if topic not in made.topics:
            yield f"no such topic: {topic}, of the subscriptions {', '.join(subscriptions)}"
    for policy, role in made.attached:
        if role not in made.roles:
            yield f"no such role: {role}, which the policy {policy} is attached to"
