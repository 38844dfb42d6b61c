"""The world file: what exists in a local cloud when it starts, as YAML that people read and change.

Strict on purpose: an unknown key, a dangling name or a policy that means nothing is an error that names the path and
what was found, because a world that silently lacks a permission makes tests pass for the wrong reason.
"""

import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from localcloud.faults import Plan
from localcloud.quotas import PUBLISHED, Quota
from localcloud.ram import PolicyError, compile_policy
from localcloud.switches import Switches

REGIONS = frozenset(
    [
        "cn-qingdao",
        "cn-beijing",
        "cn-zhangjiakou",
        "cn-huhehaote",
        "cn-wulanchabu",
        "cn-hangzhou",
        "cn-shanghai",
        "cn-nanjing",
        "cn-fuzhou",
        "cn-shenzhen",
        "cn-heyuan",
        "cn-guangzhou",
        "cn-wuhan-lr",
        "cn-zhengzhou-jva",
        "cn-chengdu",
        "cn-hongkong",
        "ap-southeast-1",
        "ap-southeast-3",
        "ap-southeast-5",
        "ap-southeast-6",
        "ap-southeast-7",
        "ap-northeast-1",
        "ap-northeast-2",
        "eu-central-1",
        "eu-west-1",
        "us-east-1",
        "us-west-1",
        "me-central-1",
    ]
)
"""Regions with an ECR endpoint (openapi-ecr-vpc-sts.md section 6)."""


class WorldError(ValueError):
    """A world file that cannot be used: one line per problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Uid = Annotated[str, StringConstraints(pattern=r"^\d{15,20}$")]
VpcId = Annotated[str, StringConstraints(pattern=r"^vpc-[a-z0-9]+$")]
VbrId = Annotated[str, StringConstraints(pattern=r"^vbr-[a-z0-9]+$")]
EcrId = Annotated[str, StringConstraints(pattern=r"^ecr-[a-z0-9]{6,32}$")]
UserName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.@_-]{1,64}$")]
RoleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.-]{1,64}$")]
MnsName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,119}$")]
Policies = dict[str, dict[str, Any]]


class AccessKeySpec(_Spec):
    """A long-lived key pair."""

    id: str = Field(pattern=r"^[^\s,=:.]+$")
    secret: str = Field(min_length=1)
    status: Literal["Active", "Inactive"] = "Active"


class UserSpec(_Spec):
    """A RAM user."""

    access_key: AccessKeySpec
    policies: Policies = {}


class RoleSpec(_Spec):
    """A RAM role: who may assume it, and what its sessions may do."""

    trust: dict[str, Any]
    policies: Policies = {}
    max_session_seconds: int = Field(3600, ge=3600, le=43200)


class VpcSpec(_Spec):
    """A VPC."""

    id: VpcId
    region: str
    cidr: str
    name: str = ""
    description: str = ""
    status: Literal["Pending", "Available"] = "Available"
    secondary_cidrs: list[str] = []
    tags: dict[str, str] = {}


class VbrSpec(_Spec):
    """A virtual border router."""

    id: VbrId
    region: str
    name: str = ""
    description: str = ""
    status: Literal["unconfirmed", "active", "terminating", "terminated", "recovering", "deleting"] = "active"
    vlan_id: int = Field(1, ge=0, le=4094)
    physical_connection: str = ""
    bgp_asn: int | None = Field(None, description="ASN of its BGP group; when set it must equal the ECR's")
    mp_bgp: bool = True
    tags: dict[str, str] = {}


class EcrSpec(_Spec):
    """An Express Connect Router."""

    id: EcrId
    asn: int = Field(45104, ge=1, le=4294967294)
    name: str = ""
    description: str = ""
    status: Literal["ACTIVE", "UPDATING", "LOCKED_ATTACHING", "LOCKED_DETACHING", "RECLAIMING", "DELETING"] = "ACTIVE"
    tags: dict[str, str] = {}


class QueueDeadLetterSpec(_Spec):
    """Where a message goes that was received too often."""

    queue: MnsName
    max_receives: int = Field(16, ge=1, le=1000)


class QueueSpec(_Spec):
    """A queue; attribute names and ranges are those of the wire (mns.md section 2.1)."""

    VisibilityTimeout: int = Field(30, ge=1, le=43200)
    MaximumMessageSize: int = Field(65536, ge=1024, le=65536)
    MessageRetentionPeriod: int = Field(345600, ge=60, le=604800)
    DelaySeconds: int = Field(0, ge=0, le=604800)
    PollingWaitSeconds: int = Field(0, ge=0, le=30)
    LoggingEnabled: bool = False
    dead_letter: QueueDeadLetterSpec | None = None


class SubscriptionSpec(_Spec):
    """A topic's push into a queue of the same account."""

    queue: MnsName
    filter_tag: str | None = Field(None, min_length=1, max_length=16)
    format: Literal["XML", "JSON", "SIMPLIFIED"] = "XML"
    strategy: Literal["BACKOFF_RETRY", "EXPONENTIAL_DECAY_RETRY"] = "BACKOFF_RETRY"
    dead_letter: MnsName | None = Field(None, description="queue for what could not be delivered")


class TopicSpec(_Spec):
    """A topic with its subscriptions."""

    MaximumMessageSize: int = Field(65536, ge=1024, le=65536)
    LoggingEnabled: bool = False
    subscriptions: dict[MnsName, SubscriptionSpec] = {}


class AccountSpec(_Spec):
    """One main account and everything in it."""

    name: str = ""
    enterprise: str = Field("26842", description="the BID: accounts of different enterprises cannot associate")
    access_key: AccessKeySpec | None = Field(None, description="key of the account itself (root)")
    users: dict[UserName, UserSpec] = {}
    roles: dict[RoleName, RoleSpec] = {}
    vpcs: list[VpcSpec] = []
    vbrs: list[VbrSpec] = []
    ecrs: list[EcrSpec] = []
    queues: dict[MnsName, QueueSpec] = {}
    topics: dict[MnsName, TopicSpec] = {}


class DeploySpec(_Spec):
    """Where the functions of a template run."""

    account: Uid


class SettleSpec(_Spec):
    """How long asynchronous states last, in cloud seconds."""

    association_seconds: float = Field(2.0, ge=0)
    dissociation_seconds: float = Field(2.0, ge=0)
    modification_seconds: float = Field(2.0, ge=0)
    attachment_seconds: float = Field(2.0, ge=0)
    detachment_seconds: float = Field(2.0, ge=0)
    lock_seconds: float = Field(
        0.2, ge=0, description="how long a change on an ECR refuses the next one with Conflict.Lock"
    )


class LimitsSpec(_Spec):
    """Counts whose real numbers are not published; none means unlimited."""

    vpcs_per_ecr: int | None = Field(None, ge=0)
    ecrs_per_account: int | None = Field(None, ge=0)
    allowed_prefixes: int | None = Field(None, ge=0)


class WorldFile(_Spec):
    """The whole file."""

    version: Literal[1]
    region: str = "cn-hangzhou"
    deploy: DeploySpec | None = None
    accounts: dict[Uid, AccountSpec]
    switches: dict[str, str] = {}
    quotas: dict[str, Quota | None] = {}
    limits: LimitsSpec = LimitsSpec()
    settle: SettleSpec = SettleSpec()
    faults: list[Plan] = []


class _Loader(yaml.SafeLoader):
    """YAML in which a key may not be given twice."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    loader.flatten_mapping(node)
    mapping: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise WorldError([f"line {key_node.start_mark.line + 1}: the key {key!r} must be a string: quote it"])
        if key in mapping:
            raise WorldError([f"line {key_node.start_mark.line + 1}: the key {key!r} is given twice"])
        mapping[key] = loader.construct_object(value_node, deep=True)
    return mapping


def _word(loader: _Loader, node: yaml.ScalarNode) -> bool | str:
    """Only true and false are booleans: on and off are values of switches."""
    text = loader.construct_scalar(node)
    return {"true": True, "false": False}.get(str(text).lower(), str(text))


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.add_constructor("tag:yaml.org,2002:bool", _word)


def read_world(path: Path) -> WorldFile:
    """Read and check a world file; raises WorldError with every problem found."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WorldError([f"{path}: {error}"]) from error
    return parse_world(text)


def parse_world(text: str) -> WorldFile:
    """Check the text of a world file; raises WorldError with every problem found."""
    try:
        raw = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader with stricter mappings
    except yaml.YAMLError as error:
        raise WorldError([f"not YAML: {error}"]) from error
    return check_world(raw)


def check_world(raw: object) -> WorldFile:
    """Check a world given as plain data; raises WorldError with every problem found."""
    try:
        world = WorldFile.model_validate(raw)
    except ValidationError as error:
        raise WorldError([_line(problem) for problem in error.errors()]) from error
    problems = list(_problems(world))
    if problems:
        raise WorldError(problems)
    return world


def _line(problem: Any) -> str:
    path = ".".join(str(part) for part in problem["loc"] if part != "[key]") or "(the file)"
    if problem["type"] == "extra_forbidden":
        return f"{path}: unknown key (value {problem['input']!r})"
    if problem["type"] == "missing":
        return f"{path}: is missing"
    return f"{path}: {problem['msg']}; found {problem['input']!r}"


def _problems(world: WorldFile) -> Iterator[str]:
    """What the shapes alone do not show."""
    if world.region not in REGIONS:
        yield f"region: unknown region {world.region!r}"
    if world.deploy is not None and world.deploy.account not in world.accounts:
        yield f"deploy.account: no such account {world.deploy.account!r}"
    try:
        Switches.model_validate(world.switches)
    except ValidationError as error:
        yield from (f"switches.{_line(problem)}" for problem in error.errors())
    for name in world.quotas:
        if name not in PUBLISHED:
            yield f"quotas.{name}: unknown quota; known: {', '.join(PUBLISHED)}"
    yield from _duplicates(world)
    for uid, account in world.accounts.items():
        yield from _account_problems(f"accounts.{uid}", account)


def _duplicates(world: WorldFile) -> Iterator[str]:
    seen: dict[str, str] = {}
    for uid, account in world.accounts.items():
        named = [(f"users.{name}.access_key", user.access_key.id) for name, user in account.users.items()]
        if account.access_key is not None:
            named.append(("access_key", account.access_key.id))
        named += [(f"vpcs.{vpc.id}", vpc.id) for vpc in account.vpcs]
        named += [(f"vbrs.{vbr.id}", vbr.id) for vbr in account.vbrs]
        named += [(f"ecrs.{ecr.id}", ecr.id) for ecr in account.ecrs]
        for where, identity in named:
            if identity in seen:
                yield f"accounts.{uid}.{where}: {identity!r} is used at {seen[identity]} already"
            seen[identity] = f"accounts.{uid}.{where}"


def _account_problems(where: str, account: AccountSpec) -> Iterator[str]:
    for user_name, user in account.users.items():
        yield from _policy_problems(f"{where}.users.{user_name}.policies", user.policies)
    for role_name, role in account.roles.items():
        yield from _policy_problems(f"{where}.roles.{role_name}.policies", role.policies)
        try:
            compile_policy(role.trust, f"{where}.roles.{role_name}.trust", trust=True)
        except PolicyError as error:
            yield str(error)
    yield from _instance_problems(where, account)
    yield from _message_problems(where, account)


def _instance_problems(where: str, account: AccountSpec) -> Iterator[str]:
    for instance_id, region in [(vpc.id, vpc.region) for vpc in account.vpcs] + [
        (vbr.id, vbr.region) for vbr in account.vbrs
    ]:
        if region not in REGIONS:
            yield f"{where}.{instance_id}.region: unknown region {region!r}"
    for vpc in account.vpcs:
        for cidr in [vpc.cidr, *vpc.secondary_cidrs]:
            try:
                ipaddress.ip_network(cidr)
            except ValueError as error:
                yield f"{where}.vpcs.{vpc.id}.cidr: {error}"


def _message_problems(where: str, account: AccountSpec) -> Iterator[str]:
    for queue_name, queue in account.queues.items():
        if queue.dead_letter is not None and queue.dead_letter.queue not in account.queues:
            yield f"{where}.queues.{queue_name}.dead_letter.queue: no queue {queue.dead_letter.queue!r} in this account"
    for topic_name, topic in account.topics.items():
        for name, subscription in topic.subscriptions.items():
            for key, target in (("queue", subscription.queue), ("dead_letter", subscription.dead_letter)):
                if target is not None and target not in account.queues:
                    yield f"{where}.topics.{topic_name}.subscriptions.{name}.{key}: no queue {target!r} in this account"


def _policy_problems(where: str, policies: Policies) -> Iterator[str]:
    for name, document in policies.items():
        try:
            compile_policy(document, f"{where}.{name}")
        except PolicyError as error:
            yield str(error)
