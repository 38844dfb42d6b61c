"""What the deployment decides, read once per cold start, as types: the environment.

A stand-in cloud is an address, not a mode.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from shared.errors import SettingsError
from shared.messages.forms import RegionId
from shared.rules.facts import DriftKind, Mode
from shared.rules.leases import Timing, Window
from shared.setting_forms import (
    Address,
    Name,
    SecretName,
    cookie_keys_of,
    keys_of,
    private_key_of,
    window_of,
    words_of,
)

# The kinds of drift that can be mended. A deleted instance and an ECR that changed hands can only be reported.
Mendable = Literal[
    DriftKind.GRANT_MISSING,
    DriftKind.ASSOCIATION_MISSING,
    DriftKind.PREFIXES_DIFFER,
    DriftKind.FOREIGN_GRANT,
    DriftKind.FOREIGN_ASSOCIATION,
]
T = TypeVar("T", bound=BaseModel)
_A_YEAR = 366 * 86_400


GRANT, ASSOCIATE, PREFLIGHT, RECONCILE, DESK = FUNCTIONS = ("grant", "associate", "preflight", "reconcile", "desk")


_ACTING = (GRANT, ASSOCIATE, RECONCILE)
_ENTERING = (GRANT, ASSOCIATE, PREFLIGHT, RECONCILE)


class UsedBy:
    """Which functions go by a setting; without it all do."""

    def __init__(self, *functions: str) -> None:
        self.functions = functions


class EventSubject(StrEnum):
    """What an event without a subject means for an approval in it."""

    REQUIRED = "required"  # it is refused: nothing tells it from one that came in where approvals may not
    OPTIONAL = "optional"  # the function decides: the grant function takes it


class Settings(BaseModel):
    """Everything the environment decides. Addresses may hold ``{region}`` and ``{uid}``, filled in at the call."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True, extra="ignore")

    region: RegionId = Field(validation_alias="FC_REGION", description="the functions' region; the platform sets it")
    ledger_url: str = Field(
        validation_alias="LEDGER_URL",
        min_length=1,
        repr=False,
        description="the database: `postgresql+psycopg://…` or `sqlite:///…`",
    )
    # The name of a secret whose value is the password of ledger_url, which has none then.
    ledger_secret: SecretName | None = Field(
        default=None,
        validation_alias="LEDGER_SECRET",
        description="the name of a secret in KMS that holds the password, where it is not in `LEDGER_URL`: "
        "[secrets](secrets.md)",
    )
    config_keys: Annotated[Mapping[str, str], BeforeValidator(keys_of)] = Field(
        validation_alias="CONFIG_KEYS",
        description="the public keys that may sign a [configuration](configuration.md), `name:key,name:key`; "
        "`ecr-grants keys new` makes one",
    )
    config_quorum: int = Field(
        default=1,
        ge=1,
        validation_alias="CONFIG_QUORUM",
        description="how many of these keys must have signed a configuration",
    )
    mns_endpoint: Address = Field(
        default="https://{uid}.mns.{region}.aliyuncs.com",
        validation_alias="MNS_ENDPOINT",
        description="queues and topic",
    )
    sts_endpoint: Annotated[Address, UsedBy(*_ENTERING)] = Field(
        default="https://sts.{region}.aliyuncs.com",
        validation_alias="STS_ENDPOINT",
        description="where roles are assumed",
    )
    vpc_endpoint: Annotated[Address, UsedBy(GRANT, PREFLIGHT, RECONCILE)] = Field(
        default="https://vpc.{region}.aliyuncs.com", validation_alias="VPC_ENDPOINT", description="account B's side"
    )
    kms_endpoint: Address = Field(
        default="https://kms.{region}.aliyuncs.com",
        validation_alias="KMS_ENDPOINT",
        description="secrets by name; `https://kms-vpc.{region}.aliyuncs.com` from inside a VPC",
    )
    # One central endpoint serves every region; the SDK's rule names hosts that no list has (openapi-ecr-vpc-sts.md section 5).
    ecr_endpoint: Annotated[Address, UsedBy(*_ENTERING)] = Field(
        default="https://expressconnectrouter.cn-shanghai.aliyuncs.com",
        validation_alias="ECR_ENDPOINT",
        description="grants and associations; one address serves every region",
    )
    completions_topic: Annotated[Name, UsedBy(*_ACTING)] = Field(
        default="ecr-completions", validation_alias="COMPLETIONS_TOPIC", description="the topic of completions"
    )
    approvals_queue: Annotated[Name, UsedBy(GRANT)] = Field(
        default="ecr-approvals", validation_alias="APPROVALS_QUEUE", description="the queue of approvals"
    )
    wakes_queue: Annotated[Name, UsedBy(GRANT, PREFLIGHT, RECONCILE, DESK)] = Field(
        default="ecr-grants-wakes",
        validation_alias="WAKES_QUEUE",
        description="the grant function's queue of wakes and completions",
    )
    associations_queue: Annotated[Name, UsedBy(ASSOCIATE, RECONCILE)] = Field(
        default="ecr-associations",
        validation_alias="ASSOCIATIONS_QUEUE",
        description="the associate function's queue of wakes and completions",
    )
    # The trigger knows it; commands have to be told.
    asked_queue: Annotated[Name, UsedBy(PREFLIGHT)] = Field(
        default="ecr-asked",
        validation_alias="ASKED_QUEUE",
        description="the preflight function's queue of what people ask for",
    )
    # Whether an approval in an event that does not name its queue is refused. Nobody documents that every event names it.
    event_subject: Annotated[EventSubject, UsedBy(GRANT)] = Field(
        default=EventSubject.REQUIRED,
        validation_alias="EVENT_SUBJECT",
        description="whether an event must name its queue (`required`) or need not (`optional`): see "
        "[operating](operating.md#which-queue-a-message-came-from)",
    )
    mode: Annotated[Mode, UsedBy(GRANT, ASSOCIATE)] = Field(
        default=Mode.OBSERVE,
        validation_alias="MODE",
        description="the [mode](freeze.md#the-mode) until `ecr-grants mode` says another",
    )
    # A write whose answer was lost may land this much later, and a look may be this much older than it seems.
    settle_seconds: Annotated[float, UsedBy(*_ACTING)] = Field(
        default=60,
        gt=0,
        le=3600,
        validation_alias="SETTLE_SECONDS",
        description="how much later a write may land whose answer was lost, and how much older a look may be than it seems",
    )
    # The window of the published call quotas; shorter only where the other side's windows are shortened alike.
    quota_seconds: Annotated[float, UsedBy(*_ENTERING)] = Field(
        default=60,
        gt=0,
        le=60,
        validation_alias="QUOTA_SECONDS",
        description="the window of the published call quotas; shorter only against a stand-in whose windows are shortened "
        "alike",
    )
    clock_skew_seconds: Annotated[float, UsedBy(*_ACTING)] = Field(
        default=300,
        ge=0,
        le=3600,
        validation_alias="CLOCK_SKEW_SECONDS",
        description="how much clocks may differ; a grant dated further ahead is early",
    )
    warn_seconds: Annotated[float, UsedBy(*_ACTING)] = Field(
        default=86_400,
        ge=0,
        le=_A_YEAR,
        validation_alias="WARN_SECONDS",
        description="how long before a lease's end it is announced (`ending`)",
    )
    stuck_seconds: Annotated[float, UsedBy(GRANT, ASSOCIATE)] = Field(
        default=900,
        gt=0,
        le=_A_YEAR,
        validation_alias="STUCK_SECONDS",
        description="how long a side may be unsettled before it is reported (`stuck`)",
    )
    change_window: Annotated[Annotated[Window, BeforeValidator(window_of)] | None, UsedBy(*_ACTING)] = Field(
        default=None,
        validation_alias="CHANGE_WINDOW",
        description="when ended leases are taken down, in UTC: `Sat,Sun 22:00-04:00`, or without days. Longer than a minute; "
        "make it longer than reconcile's five",
    )
    # Which kinds of drift are mended without asking; the rest are only reported. To mend what is foreign is to take it down.
    drift_repair: Annotated[frozenset[Mendable], BeforeValidator(words_of), UsedBy(RECONCILE)] = Field(
        default=frozenset({DriftKind.GRANT_MISSING, DriftKind.ASSOCIATION_MISSING, DriftKind.PREFIXES_DIFFER}),
        validation_alias="DRIFT_REPAIR",
        description="which drift is mended without asking; `none` for none",
    )

    @model_validator(mode="after")
    def _one_password(self) -> Settings:
        if self.ledger_secret is not None and _has_password(self.ledger_url):
            raise ValueError("LEDGER_URL has a password and LEDGER_SECRET names one: leave one of them out")
        return self

    @property
    def timing(self) -> Timing:
        """The times that the rules of leases go by."""
        return Timing(
            skew=int(self.clock_skew_seconds * 1000),
            warn=int(self.warn_seconds * 1000),
            stuck=int(self.stuck_seconds * 1000),
            window=self.change_window,
        )


class Signing(BaseModel):
    """What only the function that signs heads reads, and only its environment has."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True, extra="ignore")

    head_key: Annotated[Annotated[Ed25519PrivateKey, BeforeValidator(private_key_of)] | None, UsedBy(RECONCILE)] = (
        Field(
            default=None,
            validation_alias="HEAD_KEY",
            repr=False,
            description="Base64 of the 32-byte Ed25519 private key that heads are signed with",
        )
    )
    # The name of a secret whose value is written as HEAD_KEY is.
    head_key_secret: Annotated[SecretName | None, UsedBy(RECONCILE)] = Field(
        default=None,
        validation_alias="HEAD_KEY_SECRET",
        description="the name of a secret in KMS that holds it instead",
    )

    @model_validator(mode="after")
    def _one_key(self) -> Signing:
        if self.head_key is not None and self.head_key_secret is not None:
            raise ValueError("HEAD_KEY is a key and HEAD_KEY_SECRET names one: leave one of them out")
        return self


_ALIBABA = "ram"


class SignedInBy(StrEnum):
    """The claim of an ID token that says when somebody signed in."""

    AUTH_TIME = "auth_time"
    IAT = "iat"


class DeskSettings(BaseModel):
    """What only the desk reads: whom people sign in with, and the keys of its own tokens."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    desk_address: Annotated[Address, UsedBy(DESK)] = Field(
        validation_alias="DESK_ADDRESS", description="where people reach the desk, such as https://grants.example.com"
    )
    desk_issuer: Annotated[Address, UsedBy(DESK)] = Field(
        default="https://oauth.aliyun.com",
        validation_alias="DESK_ISSUER",
        description="the OpenID provider: its issuer, letter by letter",
    )
    desk_provider: Annotated[Name, UsedBy(DESK)] = Field(
        default="ram",
        validation_alias="DESK_PROVIDER",
        description="what `people.yaml` calls that provider, before the colon",
    )
    desk_client_id: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,200}$"), UsedBy(DESK)] = Field(
        validation_alias="DESK_CLIENT_ID", description="the desk's own id at the provider"
    )
    desk_client_secret: Annotated[str | None, UsedBy(DESK)] = Field(
        default=None, validation_alias="DESK_CLIENT_SECRET", repr=False, description="its secret there"
    )
    desk_client_secret_name: Annotated[SecretName | None, UsedBy(DESK)] = Field(
        default=None,
        validation_alias="DESK_CLIENT_SECRET_NAME",
        description="the name of a secret in KMS that holds it instead",
    )
    desk_scope: Annotated[str, StringConstraints(pattern=r"^openid( [a-z_]{1,40}){0,9}$"), UsedBy(DESK)] = Field(
        default="openid aliuid profile", validation_alias="DESK_SCOPE", description="what the provider is asked for"
    )
    # What a provider can say of a sign-in differs. Alibaba Cloud's documents neither nonce nor auth_time, nor a way to ask for
    # either (channels.md sections 1.2 and 1.3); every other provider must have both, unless it is said that it has not.
    desk_without_nonce: Annotated[bool | None, UsedBy(DESK)] = Field(
        default=None,
        validation_alias="DESK_WITHOUT_NONCE",
        description="whether an ID token without a nonce is taken; without it, only from Alibaba Cloud (the provider `ram`), "
        "which documents none",
    )
    desk_signed_in_by: Annotated[SignedInBy | None, UsedBy(DESK)] = Field(
        default=None,
        validation_alias="DESK_SIGNED_IN_BY",
        description="what says when somebody signed in: `auth_time`, which is asked for, or `iat`, the time of the ID token, "
        "where a provider has no more to say and may have remembered somebody; without it, `iat` for the provider `ram`, "
        "else `auth_time`",
    )
    desk_source_header: Annotated[str, StringConstraints(pattern=r"^[A-Za-z-]{1,40}$"), UsedBy(DESK)] = Field(
        default="X-Forwarded-For",
        validation_alias="DESK_SOURCE_HEADER",
        description="the header to which the platform adds the caller's address behind a comma, by which strangers are "
        "counted; `none` where it adds none: then all of one connection's other end are one",
    )
    desk_calls: Annotated[int, Field(ge=10, le=1_000_000), UsedBy(DESK)] = Field(
        default=300,
        validation_alias="DESK_CALLS",
        description="how many calls a minute are taken from one caller, and from strangers of one address",
    )
    desk_role_sessions: Annotated[bool, UsedBy(DESK)] = Field(
        default=False,
        validation_alias="DESK_ROLE_SESSIONS",
        description="whether each session name of a RAM role is somebody of their own; else all of a role are one",
    )
    desk_keys: Annotated[tuple[bytes, ...], BeforeValidator(cookie_keys_of), UsedBy(DESK)] = Field(
        validation_alias="DESK_KEYS",
        repr=False,
        description="Base64 of 32 bytes each, with commas, the newest first: what the desk's own tokens are encrypted with",
    )
    lapse_days: Annotated[int, Field(ge=1, le=90), UsedBy(DESK)] = Field(
        default=7, validation_alias="LAPSE_DAYS", description="so long a request can be decided"
    )

    @property
    def takes_no_nonce(self) -> bool:
        """Whether an ID token without a nonce is taken."""
        return self.desk_provider == _ALIBABA if self.desk_without_nonce is None else self.desk_without_nonce

    @property
    def signed_in_by(self) -> SignedInBy:
        """Which claim says when somebody signed in."""
        usual = SignedInBy.IAT if self.desk_provider == _ALIBABA else SignedInBy.AUTH_TIME
        return self.desk_signed_in_by or usual

    @model_validator(mode="after")
    def _one_secret(self) -> DeskSettings:
        if (self.desk_client_secret is None) == (self.desk_client_secret_name is None):
            raise ValueError("one of DESK_CLIENT_SECRET and DESK_CLIENT_SECRET_NAME must be given")
        return self


def _has_password(url: str) -> bool:
    try:
        return urlsplit(url).password is not None
    except ValueError:  # no address at all, which the ledger says
        return False


def described() -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    """(variable, default, meaning, functions that go by it) of every setting, in the order in which they are declared."""
    for kind in (Settings, Signing, DeskSettings):
        for field in kind.model_fields.values():
            used_by = next((one.functions for one in field.metadata if isinstance(one, UsedBy)), FUNCTIONS)
            default = "must be given" if field.is_required() else _default(field.default)
            yield str(field.validation_alias), default, field.description or "", used_by


def _default(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(sorted(value)) if isinstance(value, frozenset) else str(value)


def read_settings() -> Settings:
    """Read the environment. Raises SettingsError that lists every missing or bad variable by name."""
    return _read(Settings)


def read_signing() -> Signing:
    """The key that signs heads, or where it is kept. Raises SettingsError when it is none."""
    return _read(Signing)


def read_desk() -> DeskSettings:
    """What only the desk reads. Raises SettingsError that lists every missing or bad variable by name."""
    return _read(DeskSettings)


def examined(region: str) -> tuple[Settings, dict[str, str]]:
    """The settings of functions in a region, as this environment has them, and what is wrong with which variable.

    In place of a variable that cannot be used stands its default; in place of an address of the ledger, nothing. No value is in
    what is told: a secret may stand in the wrong variable.
    """
    given: dict[str, Any] = {"FC_REGION": region}
    told: dict[str, str] = {}
    try:
        return Settings.model_validate(_environment() | given), told
    except ValidationError as error:
        for fault in error.errors():
            variable = str(fault["loc"][0]) if fault["loc"] else "LEDGER_URL"  # between variables: it and LEDGER_SECRET
            told[variable] = "is missing" if fault["type"] == "missing" else f"is not usable ({fault['msg']})"
    defaults = {str(one.validation_alias): one.default for one in Settings.model_fields.values()}
    instead: dict[str, Any] = {"FC_REGION": "cn-hangzhou", "LEDGER_URL": "nowhere", "CONFIG_KEYS": {}}
    usable = {name: instead.get(name, defaults[name]) for name in told}
    settings = Settings.model_validate(_environment() | given | usable)
    return settings.model_copy(update={"ledger_url": ""}) if "LEDGER_URL" in told else settings, told


def setting_names(*, required: bool = False) -> set[str]:
    """The variables that functions read; or those of them that a deployment has to give."""
    fields = [field for kind in (Settings, Signing, DeskSettings) for field in kind.model_fields.values()]
    names = {str(one.validation_alias) for one in fields if one.is_required() or not required}
    return names - {"FC_REGION"} if required else names  # the platform gives that one


def _environment() -> dict[str, Any]:
    """The variables that say something: an empty one says nothing."""
    return {variable: value for variable, value in os.environ.items() if value}


def _read(kind: type[T]) -> T:
    try:
        return kind.model_validate(_environment())
    except ValidationError as error:
        raise SettingsError("the environment is not usable: " + _faults(error)) from None


def _faults(error: ValidationError) -> str:
    """Each variable and its fault, without the value of one that may carry a password."""
    found = []
    for fault in error.errors():
        if not fault["loc"]:  # between variables, which its words name
            found.append(str(fault["msg"]).removeprefix("Value error, "))
            continue
        variable = str(fault["loc"][0])
        if fault["type"] == "missing":
            found.append(f"{variable} is missing")
        elif variable in ("LEDGER_URL", "HEAD_KEY", "DESK_CLIENT_SECRET", "DESK_KEYS"):
            found.append(f"{variable} is not usable ({fault['msg']})")
        else:
            found.append(f"{variable}={fault['input']!r} ({fault['msg']})")
    return "; ".join(sorted(found))
