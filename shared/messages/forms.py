"""The forms that every message is made of: ids, texts, times, prefixes, and what makes two grants the same grant.

Strict with ours. Uids are strings: 18-digit ones do not survive JSON readers that use doubles
(openapi-ecr-vpc-sts.md section 6). No form is longer than the column of the ledger that keeps it, and none lets a control
character through: one database would keep it, another would not.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import ip_address, ip_network
from typing import Annotated, Any

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic_core import core_schema


@dataclass(frozen=True)
class Form:
    """A text of this form. The fault says what it must be in words; a regular expression helps nobody at two at night."""

    pattern: str
    must: str
    longest: int

    def _check(self, value: str) -> str:
        # The length first: no pattern is tried on a text that is as long as a message can be.
        if len(value) > self.longest:
            raise ValueError(f"{self.must}; it has {len(value)} characters")
        if re.fullmatch(self.pattern, value) is None:
            raise ValueError(self.must)
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return handler(schema) | {"pattern": f"^({self.pattern})$", "maxLength": self.longest, "description": self.must}


# The forms are ours, wide enough for every sample (openapi-ecr-vpc-sts.md section 6).
AccountId = Annotated[str, Form(r"[0-9]{15,20}", "must be an account uid: a text of 15 to 20 digits", 20)]
EcrId = Annotated[str, Form(r"ecr-[a-z0-9]{6,32}", "must be the id of a router, such as ecr-7vrbqv9lcgvzqbwwkm", 36)]
RegionId = Annotated[str, Form(r"[a-z]{2}-[a-z]+(-[a-z0-9]+)*", "must be a region id, such as cn-hangzhou", 64)]
InstanceId = Annotated[
    str,
    Form(
        r"(vpc|vbr)-[a-z0-9]{1,60}", "must be the id of a VPC or VBR: vpc- or vbr-, then small letters and digits", 64
    ),
]
GrantId = Annotated[
    str, Form(r"g-[0-9a-f]{24}", "must be the id of a grant: g- and 24 of the digits 0-9 and a-f, in small letters", 26)
]
RequestId = Annotated[
    str,
    Form(
        r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}",
        "must be 1 to 128 letters, digits or . _ : - and not start with a sign",
        128,
    ),
]
Issuer = Annotated[
    str, Form(r"[a-z0-9][a-z0-9._-]{0,63}", "must be the name of a system: 1 to 64 small letters, digits or . _ -", 64)
]
Digest = Annotated[str, Form(r"([0-9a-f]{64})?", "must be a SHA-256 in hexadecimal digits, or empty", 64)]
OperationId = Annotated[
    str, Form(r"o-[0-9a-f]{20}", "must be the id of an operation, such as o-0123456789abcdef0123", 22)
]
EventId = Annotated[str, Form(r"[A-Za-z0-9._:-]{1,64}", "must be 1 to 64 letters, digits or . _ : -", 64)]
EventName = Annotated[
    str, Form(r"[a-z][a-z0-9-]{0,31}", "must be the name of an event: 1 to 32 small letters, digits or -", 32)
]
# Wide enough for the thumbprint of a key (RFC 7638), which many key stores use as its name.
KeyId = Annotated[
    str, Form(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}", "must be the name of a key: 1 to 64 letters, digits or . _ -", 64)
]
DeploymentId = Annotated[
    str,
    Form(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "must be the id of a deployment: 1 to 64 letters, digits or . _ -", 64),
]
# Base64 for URLs (RFC 4648 section 5) of so many bytes; the bits that the last letter has too many are zero.
PublicKey = Annotated[
    str,
    Form(
        r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]", "must be the x of an Ed25519 key: Base64 for URLs of its 32 bytes", 43
    ),
]
Signature = Annotated[
    str, Form(r"[A-Za-z0-9_-]{85}[AQgw]", "must be an Ed25519 signature: Base64 for URLs of its 64 bytes", 86)
]

# Whatever the cloud calls things is kept as it comes, as far as any database can.
Shown = Annotated[str, Form(r"[^\x00-\x1f\x7f-\x9f]{0,200}", "must be at most 200 characters, none a control", 200)]

_BLANKS = r"\t\n\r\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # beside the plain one
_CONTROLS = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
_TURNING = r"\u202a-\u202e\u2066-\u2069"  # a line with these reads differently from how it is written
_UNSEEN = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u2060-\u2065\u206a-\u206f"
    r"\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
)
_PLAIN = rf"[^{_CONTROLS}{_TURNING}{_UNSEEN}{_BLANKS}]"
_SEEN = rf"[^ {_CONTROLS}{_TURNING}{_UNSEEN}{_BLANKS}]"


@dataclass(frozen=True)
class Words(Form):
    """A text that people read: blanks around it do not count, and something of it can be seen."""

    def _check(self, value: str) -> str:
        return super()._check(value).strip()


# Who somebody is must not look like who somebody else is, so nothing unseen is in it, and no blank but the plain one.
Person = Annotated[
    str,
    Words(
        rf"[ {_BLANKS}]*{_SEEN}{_PLAIN}*[ {_BLANKS}]*",
        "must be 1 to 200 characters that can all be seen, with plain blanks at most",
        200,
    ),
]
Why = Annotated[
    str,
    Words(
        rf"[ {_BLANKS}{_UNSEEN}]*{_SEEN}[^{_CONTROLS}{_TURNING}]*",
        "must be 1 to 1000 characters, some of which can be seen, and none of which controls or turns the text",
        1000,
    ),
]
# A reason that nobody has to give.
Remark = Annotated[
    str,
    Words(
        rf"[^{_CONTROLS}{_TURNING}]*",
        "must be at most 1000 characters, none of which controls or turns the text",
        1000,
    ),
]


class InstanceType(StrEnum):
    """What kind of instance is granted. The platform's own words."""

    VPC = "VPC"
    VBR = "VBR"


_TIME = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?"
    r"([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
)


def _instant(value: object) -> datetime:
    """A moment in UTC: RFC 3339 and nothing else.

    A time without a zone could mean either of two days, a week date or a number needs a calendar or a guess at its unit.
    The ledger keeps milliseconds, so what is finer does not count.
    """
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)  # our own, on the way into a completion
    try:
        if isinstance(value, str) and re.fullmatch(_TIME, value) is not None:
            moment = datetime.fromisoformat(value.upper()).astimezone(UTC)
            return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    except (ValueError, OverflowError):
        pass
    raise ValueError(
        "must be an ISO 8601 time with its zone, such as 2026-01-31T12:00:00Z or 2026-01-31T20:00:00+08:00: "
        "date, T, hours, minutes and seconds (RFC 3339)"
    )


Instant = Annotated[
    AwareDatetime,
    BeforeValidator(_instant),
    PlainSerializer(lambda value: value.isoformat().replace("+00:00", "Z"), return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": f"^{_TIME}$"}),
]

_OCTET = r"(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_ADDRESS = rf"{_OCTET}(\.{_OCTET}){{3}}"
_LENGTH = r"(3[0-2]|[12]?[0-9])"
_A_PREFIX = (
    "must be an IPv4 prefix, such as 10.20.0.0/16: four numbers, a slash, a length, without leading zeros or blanks"
)


@dataclass(frozen=True)
class PrefixForm(Form):
    """An IPv4 prefix as it is routed: four numbers, a slash, a length; no other way to write one is guessed at."""

    def _check(self, value: str) -> str:
        if len(value) > self.longest or re.fullmatch(self.pattern, value) is None:
            raise ValueError(_unlike_a_prefix(value))
        return str(ip_network(value))  # refuses host bits with a readable ValueError


def _unlike_a_prefix(value: str) -> str:
    """What is wrong with it, where that can be said."""
    address, slash, mask = value.partition("/")
    try:
        version = ip_address(address).version if value.isascii() else 0
    except ValueError:
        version = 0
    if version == 6:
        return "must be an IPv4 prefix, such as 10.20.0.0/16, not an IPv6 one"
    if version == 4 and not slash:
        return f"has no mask: for this one address write {address}/32, else the prefix that is meant"
    if version == 4 and re.fullmatch(r"[0-9]+(\.[0-9]+){3}", mask):
        return "must end in the length of the prefix, such as /24, not in a netmask or hostmask"
    return (
        "must be an IPv4 prefix, such as 10.20.0.0/16: four numbers, a slash, a length, without leading zeros or blanks"
    )


Prefix = Annotated[str, PrefixForm(rf"{_ADDRESS}/{_LENGTH}", _A_PREFIX, 18)]


class Message(BaseModel):
    """Strict: no unknown field, no silent conversion of a number into text."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


@dataclass(frozen=True, slots=True)
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
        kind, instance = self.instance_type, self.instance_id
        text = f"{self.ecr_id}|{self.ecr_owner_uid}|{kind}|{instance}|{self.instance_region}|{self.instance_owner_uid}"
        return "g-" + hashlib.sha256(text.encode()).hexdigest()[:24]
