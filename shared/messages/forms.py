"""The forms that every message is made of: ids, times, prefixes, and what makes two grants the same grant.

Strict with ours. Uids are strings: 18-digit ones do not survive JSON readers that use doubles
(openapi-ecr-vpc-sts.md section 6).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import IPv4Network, ip_network
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    StringConstraints,
)
from pydantic_core import core_schema


@dataclass(frozen=True)
class Form:
    """A text of this form. The fault says what it must be in words; a regular expression helps nobody at two at night."""

    pattern: str
    must: str

    def _check(self, value: str) -> str:
        if re.fullmatch(self.pattern, value) is None:
            raise ValueError(self.must)
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return handler(schema) | {"pattern": f"^({self.pattern})$"}


# The forms are ours, wide enough for every sample (openapi-ecr-vpc-sts.md section 6).
AccountId = Annotated[str, Form(r"[0-9]{15,20}", "must be an account uid: a text of 15 to 20 digits")]
EcrId = Annotated[str, Form(r"ecr-[a-z0-9]{6,32}", "must be the id of a router, such as ecr-7vrbqv9lcgvzqbwwkm")]
RegionId = Annotated[str, Form(r"[a-z]{2}-[a-z]+(-[a-z0-9]+)*", "must be a region id, such as cn-hangzhou")]
InstanceId = Annotated[
    str,
    Form(r"(vpc|vbr)-[a-z0-9]{1,60}", "must be the id of a VPC or VBR: vpc- or vbr-, then small letters and digits"),
]
RequestId = Annotated[
    str,
    Form(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", "must be 1 to 128 letters, digits or . _ : - and not start with a sign"),
]
Issuer = Annotated[
    str, Form(r"[a-z0-9][a-z0-9._-]{0,63}", "must be the name of a system: 1 to 64 small letters, digits or . _ -")
]
Person = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]


class InstanceType(StrEnum):
    """What kind of instance is granted. The platform's own words."""

    VPC = "VPC"
    VBR = "VBR"


def _instant(value: object) -> datetime:
    """A moment in UTC. A time without a zone could mean either of two days, so it is refused."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        if isinstance(moment, datetime) and moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError("must be an ISO 8601 time with its zone, such as 2026-01-31T12:00:00Z")


Instant = Annotated[
    AwareDatetime,
    BeforeValidator(_instant),
    PlainSerializer(lambda value: value.isoformat().replace("+00:00", "Z"), return_type=str, when_used="json"),
]


def _prefix(value: str) -> str:
    network = ip_network(value)  # refuses host bits and nonsense with a readable ValueError
    if not isinstance(network, IPv4Network):
        raise ValueError("must be an IPv4 prefix")  # noqa: TRY004  # pydantic turns only ValueError into a fault
    return str(network)


Prefix = Annotated[str, AfterValidator(_prefix)]


class Message(BaseModel):
    """Strict: no unknown field, no silent conversion of a number into text."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


@dataclass(frozen=True)
class GrantKey:
    """What makes two grants the same grant (openapi-ecr-vpc-sts.md section 1.8), plus the instance's owner."""

    ecr_id: str
    ecr_owner_uid: str
    instance_type: InstanceType
    instance_id: str
    instance_region: str
    instance_owner_uid: str

    @property
    def grant_id(self) -> str:
        """A short name that says the same thing."""
        text = "|".join(astuple(self))
        return "g-" + hashlib.sha256(text.encode()).hexdigest()[:24]
