"""What the world file may say, key by key; what each key means is its description, for people and for the schema."""

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from localcloud.endpoints import push_kind
from localcloud.faults import Plan
from localcloud.mistakes import broken_rules
from localcloud.quotas import Quota

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


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


Uid = Annotated[str, StringConstraints(pattern=r"^\d{15,20}$")]
VpcId = Annotated[str, StringConstraints(pattern=r"^vpc-[a-z0-9]+$")]
VbrId = Annotated[str, StringConstraints(pattern=r"^vbr-[a-z0-9]+$")]
EcrId = Annotated[str, StringConstraints(pattern=r"^ecr-[a-z0-9]{6,32}$")]
UserName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.@_-]{1,64}$")]
RoleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.-]{1,64}$")]
MnsName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,119}$")]
SecretName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9/_+=.@-]{1,192}$")]
PersonName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")]
ClientId = Annotated[str, StringConstraints(pattern=r"^[0-9]{6,32}$")]
Policies = dict[str, dict[str, Any]]


class AccessKeySpec(_Spec):
    """A long-lived key pair."""

    id: str = Field(pattern=r"^[^\s,=:.]+$")
    """The AccessKey ID."""
    secret: str = Field(min_length=1)
    """The AccessKey secret; obviously fake."""
    status: Literal["Active", "Inactive"] = "Active"
    """An inactive key is refused."""


class UserSpec(_Spec):
    """A RAM user."""

    access_key: AccessKeySpec | None = Field(None, description="key pair that signs as this user; people need none")
    display_name: str = ""
    """What tokens of a sign-in call this user; the user's name when nothing is said."""
    policies: Policies = {}
    """Policy documents by name: what the user may do."""


class RoleSpec(_Spec):
    """A RAM role: who may assume it, and what its sessions may do."""

    trust: dict[str, Any]
    """Policy document that says who may assume the role."""
    policies: Policies = {}
    """Policy documents by name: what the role's sessions may do."""
    max_session_seconds: int = Field(3600, ge=3600, le=43200)
    """The longest session that may be asked for."""


class RouteSourceSpec(_Spec):
    """Something beside an ECR that a VPC gets routes from."""

    type: Literal["CEN", "VPN", "TR"]
    """What kind of instance it is."""
    id: str
    """Such as tr-0a1b2c."""
    status: Literal["Attaching", "Attached", "Detaching"] = "Attached"
    """Whether it is attached, or on the way to or from it."""
    propagated: bool = True
    """Whether the VPC learns its routes; a VPC that does cannot be associated with an ECR."""


class VpcSpec(_Spec):
    """A VPC."""

    id: VpcId
    """Such as vpc-0a1b2c; unique in the whole world."""
    region: str
    """The region it is in."""
    cidr: str
    """Its address range."""
    name: str = ""
    """Its display name."""
    description: str = ""
    """Its description."""
    status: Literal["Pending", "Available"] = "Available"
    """Only an Available VPC can be granted and associated."""
    secondary_cidrs: list[str] = []
    """Further address ranges."""
    route_sources: list[RouteSourceSpec] = []
    """What it gets routes from beside an ECR."""
    tags: dict[str, str] = {}
    """Tags by key."""


class VbrSpec(_Spec):
    """A virtual border router."""

    id: VbrId
    """Such as vbr-0a1b2c; unique in the whole world."""
    region: str
    """The region it is in."""
    name: str = ""
    """Its display name."""
    description: str = ""
    """Its description."""
    status: Literal["unconfirmed", "active", "terminating", "terminated", "recovering", "deleting"] = "active"
    """Only an active VBR can be attached."""
    vlan_id: int = Field(1, ge=0, le=4094)
    """Its VLAN."""
    physical_connection: str = ""
    """Id of the physical connection it is on."""
    bgp_asn: int | None = Field(None, description="ASN of its BGP group; when set it must equal the ECR's")
    mp_bgp: bool = True
    """Whether it speaks MP-BGP; without it cannot be attached."""
    tags: dict[str, str] = {}
    """Tags by key."""


class EcrSpec(_Spec):
    """An Express Connect Router."""

    id: EcrId
    """Such as ecr-0a1b2c; unique in the whole world."""
    asn: int = Field(45104, ge=1, le=4294967294)
    """Its autonomous system number."""
    name: str = ""
    """Its display name."""
    description: str = ""
    """Its description."""
    status: Literal["ACTIVE", "UPDATING", "LOCKED_ATTACHING", "LOCKED_DETACHING", "RECLAIMING", "DELETING"] = "ACTIVE"
    """Only an ACTIVE one can be changed."""
    biz_status: Literal["Normal", "FinancialLocked"] = "Normal"
    """Whether its owner is in arrears; kept and shown."""
    tags: dict[str, str] = {}
    """Tags by key."""


class QueueDeadLetterSpec(_Spec):
    """Where a message goes that was received too often."""

    queue: MnsName
    """A queue of the same account."""
    max_receives: int = Field(16, ge=1, le=1000)
    """A message received more often moves there."""


class QueueSpec(_Spec):
    """A queue; attribute names and ranges are those of the wire (mns.md section 2.1)."""

    VisibilityTimeout: int = Field(30, ge=1, le=43200)
    """Seconds a received message stays hidden."""
    MaximumMessageSize: int = Field(65536, ge=1024, le=65536)
    """Bytes a message may have."""
    MessageRetentionPeriod: int = Field(345600, ge=60, le=604800)
    """Seconds a message is kept."""
    DelaySeconds: int = Field(0, ge=0, le=604800)
    """Seconds before a sent message is visible."""
    PollingWaitSeconds: int = Field(0, ge=0, le=30)
    """Seconds an empty receive waits."""
    LoggingEnabled: bool = False
    """Kept and shown; nothing is logged."""
    dead_letter: QueueDeadLetterSpec | None = None
    """Where messages go that were received too often."""


class SubscriptionSpec(_Spec):
    """A topic's push into a queue of the same account, or to an endpoint outside, which is kept and never reached."""

    queue: MnsName | None = None
    """A queue of the same account; either this or endpoint."""
    endpoint: str | None = None
    """An http, https, mail or SMS endpoint as Subscribe takes it."""
    filter_tag: str | None = Field(None, min_length=1, max_length=16)
    """Only messages with exactly this tag are pushed."""
    format: Literal["XML", "JSON", "SIMPLIFIED"] = "XML"
    """How a notification is written."""
    strategy: Literal["BACKOFF_RETRY", "EXPONENTIAL_DECAY_RETRY"] = "BACKOFF_RETRY"
    """How failed deliveries are tried again."""
    dead_letter: MnsName | None = Field(None, description="queue for what could not be delivered")

    @field_validator("endpoint")
    @classmethod
    def _outside(cls, value: str | None) -> str | None:
        if value is not None and push_kind(value) is None:
            raise ValueError("no http://, https://, mail:directmail: or sms:directsms: endpoint; queues stand in queue")
        return value

    @model_validator(mode="after")
    def _one_target(self) -> "SubscriptionSpec":
        if (self.queue is None) == (self.endpoint is None):
            found = "neither" if self.queue is None else "both"
            raise broken_rules([(("queue", "endpoint"), f"either queue or endpoint is wanted, found {found}")])
        return self


class TopicSpec(_Spec):
    """A topic with its subscriptions."""

    MaximumMessageSize: int = Field(65536, ge=1024, le=65536)
    """Bytes a message may have."""
    LoggingEnabled: bool = False
    """Kept and shown; nothing is logged."""
    subscriptions: dict[MnsName, SubscriptionSpec] = {}
    """Subscriptions by name."""


class SecretSpec(_Spec):
    """A generic secret of Secrets Manager."""

    value: str = Field(min_length=1, max_length=30720, repr=False)
    """What it holds at the start, as text; obviously fake. The admin API changes it."""


class ApplicationSpec(_Spec):
    """An OAuth application of RAM, version 2.0: what may ask people to sign in."""

    name: str
    """What people see when they sign in."""
    type: Literal["WebApp", "NativeApp"] = "WebApp"
    """A WebApp has a secret, a NativeApp has none; a ServerApp signs nobody in."""
    secret: str | None = Field(None, min_length=1, repr=False, description="the client secret; obviously fake")
    redirect_uris: list[str] = Field(min_length=1)
    """Where people may be sent back to, compared character by character."""
    scopes: list[Literal["openid", "aliuid", "profile"]] = Field(["openid", "aliuid", "profile"], min_length=1)
    """What it may ask for; all of it when it asks for nothing by name."""
    installed_in: list[Uid] = []
    """Other accounts whose people may use it; those of its own account always may."""
    roles: bool = True
    """Whether sessions of roles may use it: applications made before 2024-09-10 do not let them."""
    access_token_seconds: int = Field(3600, ge=900, le=10800)
    """How long an access token is good for."""
    refresh_token_seconds: int = Field(2592000, ge=7200, le=31536000)
    """How long a refresh token is good for."""

    @field_validator("redirect_uris")
    @classmethod
    def _addresses(cls, value: list[str]) -> list[str]:
        for address in value:
            if re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s#/][^\s#]*", address) is None:
                raise ValueError(f"{address!r} is no absolute address without a fragment")
        return value

    @model_validator(mode="after")
    def _secrecy(self) -> "ApplicationSpec":
        if (self.type == "WebApp") != (self.secret is not None):
            found = "has none" if self.secret is None else "has one"
            wanted = "a WebApp needs a secret" if self.secret is None else "a NativeApp cannot keep a secret"
            raise broken_rules([(("type", "secret"), f"{wanted}, this one {found}")])
        return self


class PersonSpec(_Spec):
    """Somebody to be chosen when an application asks for a sign-in: one of root, user, role with session."""

    root: str | None = Field(None, min_length=1, description="the account itself, by its login name")
    user: UserName | None = None
    """A RAM user of this account."""
    role: RoleName | None = None
    """A RAM role of this account ..."""
    session: str | None = Field(None, pattern=r"^[A-Za-z0-9.@_-]{2,64}$", description="... and the session's name")
    sub: str | None = Field(
        None,
        min_length=1,
        max_length=255,
        description="how tokens name them; made from account and name when not given",
    )

    @model_validator(mode="after")
    def _one_of(self) -> "PersonSpec":
        given = [name for name in ("root", "user", "role") if getattr(self, name) is not None]
        rules = [
            (
                ("root", "user", "role"),
                len(given) != 1,
                f"one of root, user and role is wanted, found {' and '.join(given) or 'none'}",
            ),
            (("role", "session"), (self.role is None) != (self.session is None), "a role and a session go together"),
            (
                ("role", "sub"),
                self.role is not None and self.sub is not None,
                "the sub of a role's session is always RoleId:RoleSessionName",
            ),
        ]
        broken = [(fields, text) for fields, wrong, text in rules if wrong]
        if broken:
            raise broken_rules(broken)
        return self


class AccountSpec(_Spec):
    """One main account and everything in it."""

    name: str = ""
    """For people."""
    enterprise: str = Field("26842", description="the BID: accounts of different enterprises cannot associate")
    access_key: AccessKeySpec | None = Field(None, description="key of the account itself (root)")
    users: dict[UserName, UserSpec] = {}
    """RAM users by name."""
    roles: dict[RoleName, RoleSpec] = {}
    """RAM roles by name."""
    vpcs: list[VpcSpec] = []
    """VPCs that the account owns."""
    vbrs: list[VbrSpec] = []
    """Virtual border routers that the account owns."""
    ecrs: list[EcrSpec] = []
    """Express Connect Routers that the account owns."""
    queues: dict[MnsName, QueueSpec] = {}
    """Queues by name."""
    topics: dict[MnsName, TopicSpec] = {}
    """Topics by name."""
    secrets: dict[SecretName, SecretSpec] = {}
    """Secrets by name."""
    people: dict[PersonName, PersonSpec] = {}
    """Who signs in at web pages, by a name that no other person in the world has."""
    oauth_applications: dict[ClientId, ApplicationSpec] = {}
    """OAuth applications of RAM by client id; quote the id."""


class DeploySpec(_Spec):
    """Where the functions of a template run."""

    account: Uid
    """The account that functions run in; the first one when nothing is said."""
    http_ports: dict[str, Annotated[int, Field(ge=1024, le=65535)]] = {}
    """Ports of HTTP triggers by function, where an address has to be known beforehand; any free one otherwise."""
    custom_domains: dict[str, str] = {}
    """Domains by function that were made apart from the template; the port of its HTTP trigger stands for that domain then."""

    @field_validator("http_ports")
    @classmethod
    def _distinct(cls, value: dict[str, int]) -> dict[str, int]:
        ports = list(value.values())
        for name, port in value.items():
            if ports.count(port) > 1:
                raise ValueError(f"port {port} of {name!r} is given to another function too")
        return value


class SettleSpec(_Spec):
    """How long asynchronous states last, in cloud seconds."""

    association_seconds: float = Field(2.0, ge=0)
    """From CREATING to ACTIVE."""
    dissociation_seconds: float = Field(2.0, ge=0)
    """From DISSOCIATING to gone."""
    modification_seconds: float = Field(2.0, ge=0)
    """UPDATING, when prefixes change."""
    attachment_seconds: float = Field(2.0, ge=0)
    """From attaching a VBR to ACTIVE."""
    detachment_seconds: float = Field(2.0, ge=0)
    """From detaching a VBR to gone."""
    lock_seconds: float = Field(
        0.2, ge=0, description="how long a change on an ECR refuses the next one with Conflict.Lock"
    )


class LimitsSpec(_Spec):
    """Counts whose real numbers are not published; none means unlimited."""

    vpcs_per_ecr: int | None = Field(None, ge=0)
    """VPCs that an ECR may be associated with."""
    ecrs_per_account: int | None = Field(None, ge=0)
    """ECRs that an account may have."""
    allowed_prefixes: int | None = Field(None, ge=0)
    """Prefixes that an association may have."""


class WorldFile(_Spec):
    """The whole file."""

    version: Literal[1]
    """Always 1."""
    region: str = "cn-hangzhou"
    """The region that this local cloud is."""
    deploy: DeploySpec | None = None
    """Where the functions of a template run."""
    ecr_regions: list[str] | None = None
    """Regions whose instances an ECR reaches; none means all."""
    accounts: dict[Uid, AccountSpec]
    """Main accounts by uid; quote the uid."""
    switches: dict[str, str] = {}
    """Settings for undocumented behaviour, by name."""
    quotas: dict[str, Quota | None] = {}
    """Limits by name that differ from the published ones; null lifts one."""
    limits: LimitsSpec = LimitsSpec()
    """Counts whose real numbers are not published."""
    settle: SettleSpec = Field(SettleSpec(), description="How long asynchronous states last, in cloud seconds.")
    faults: list[Plan] = []
    """Trouble that is planned from the start."""


def keys_at(place: tuple[str | int, ...]) -> list[str]:
    """The keys that may stand at a place of the file; none where any may, or the place is not known."""
    model: Any = WorldFile
    for step in place:
        if isinstance(model, type) and issubclass(model, BaseModel):
            field = model.model_fields.get(str(step))
            # What is no field is the name or the position of one of many.
            model = _inner(field.annotation) if field is not None else model
    model = _inner(model)
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def _inner(annotation: Any) -> Any:
    """The part that a field holds, one or many of it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in reversed(get_args(annotation)) if (found := _inner(inner)) is not None), None)
