"""Approvals: what a system vouches for. One opens a lease on a grant, or closes some."""

from __future__ import annotations

import hashlib
from datetime import datetime
from enum import StrEnum
from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, TypeAdapter, ValidationInfo, field_validator

from shared.messages.forms import (
    AccountId,
    EcrId,
    GrantKey,
    InstanceId,
    InstanceType,
    Instant,
    Issuer,
    Message,
    Person,
    Prefix,
    RegionId,
    RequestId,
    Why,
)
from shared.messages.texts import canonical

APPROVAL = "ecr-grants/approval/3"
DESK = "desk"
"""The issuer of what people decide. It is built in: no key seals for it, so no file may list it."""


class Action(StrEnum):
    """What an approval does to the leases of its grant."""

    GRANT = "grant"
    REVOKE = "revoke"


class OnEnd(StrEnum):
    """What happens when a lease's end comes."""

    REPORT = "report"
    TEARDOWN = "teardown"


class Every(StrEnum):
    """A revoke that names no request ids."""

    ALL = "all"  # every lease of the same issuer on the grant
    EVERYONE = "everyone"  # of every issuer


def _in_order(values: list[str]) -> list[str]:
    """What is a set, written in the one way that its digest is taken of."""
    return sorted(set(values))


class Ecr(Message):
    """The router of account A."""

    id: EcrId
    owner_uid: AccountId


class Instance(Message):
    """The network instance of account B."""

    type: Annotated[InstanceType, Field(strict=False)]  # a text is what it is, however the JSON was read
    id: InstanceId
    region: RegionId
    owner_uid: AccountId

    @field_validator("id")
    @classmethod
    def _id_fits_type(cls, value: str, info: ValidationInfo) -> str:
        kind = info.data.get("type")
        if kind is not None and not value.startswith(kind.lower() + "-"):
            raise ValueError(f"is not the id of a {kind}")
        return value


def grant_key(ecr: Ecr, instance: Instance) -> GrantKey:
    """The grant of this instance to this router."""
    return GrantKey(
        ecr_id=ecr.id,
        ecr_owner_uid=ecr.owner_uid,
        instance_type=instance.type,
        instance_id=instance.id,
        instance_region=instance.region,
        instance_owner_uid=instance.owner_uid,
    )


class _Approved(Message):
    """What every approval says: on one grant, for a reason, by somebody, vouched for by a system."""

    schema_: Literal["ecr-grants/approval/3"] = Field(alias="schema")
    issuer: Issuer
    request_id: RequestId
    ecr: Ecr
    instance: Instance
    requested_by: Person
    approved_by: Annotated[list[Person], Field(min_length=1, max_length=20), AfterValidator(_in_order)]
    approved_at: Instant
    reason: Why

    @property
    def grant(self) -> GrantKey:
        """The grant that this approval is about."""
        return grant_key(self.ecr, self.instance)

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical content: what was approved is what is executed."""
        return hashlib.sha256(canonical(self.model_dump(mode="json", by_alias=True))).hexdigest()


class GrantApproval(_Approved):
    """Opens a lease on the grant, named by (issuer, request id, digest of the whole content); perhaps until a time.

    ``replaces``: request ids of the same issuer on the same grant, whose leases are closed when this one opens.
    """

    action: Literal[Action.GRANT]
    allowed_prefixes: Annotated[list[Prefix], Field(max_length=100, validate_default=True)] = Field(default=[])
    ends_at: Instant | None = None
    on_end: OnEnd = OnEnd.REPORT
    replaces: Annotated[list[RequestId], Field(max_length=100), AfterValidator(_in_order)] = Field(default=[])

    @field_validator("ends_at")
    @classmethod
    def _ends_after_approval(cls, value: datetime | None, info: ValidationInfo) -> datetime | None:
        approved_at = info.data.get("approved_at")
        if value is not None and approved_at is not None and value <= approved_at:
            raise ValueError("must be later than approved_at")
        return value

    @field_validator("replaces")
    @classmethod
    def _replaces_others(cls, value: list[str], info: ValidationInfo) -> list[str]:
        if info.data.get("request_id") in value:
            raise ValueError("must name other requests than this one")
        return value

    @field_validator("allowed_prefixes", mode="after")
    @classmethod
    def _prefixes_are_for_vpcs(cls, value: list[str], info: ValidationInfo) -> list[str]:
        instance = info.data.get("instance")
        if instance is not None and instance.type is InstanceType.VPC and not value:
            raise ValueError("must name at least one prefix for a VPC: what account A routes is part of the approval")
        if instance is not None and instance.type is not InstanceType.VPC and value:
            raise ValueError("must be left out: only the association of a VPC takes allowed prefixes")
        return sorted(set(value), key=ip_network)


class RevokeApproval(_Approved):
    """Closes leases on the grant: the same issuer's by their request ids or all of them, or everyone's."""

    action: Literal[Action.REVOKE]
    closes: (
        Literal[Every.ALL, Every.EVERYONE]
        | Annotated[list[RequestId], Field(min_length=1, max_length=100), AfterValidator(_in_order)]
    )


Approval = Annotated[GrantApproval | RevokeApproval, Field(discriminator="action")]

APPROVALS: TypeAdapter[GrantApproval | RevokeApproval] = TypeAdapter(Approval)
"""Reads either of them."""
