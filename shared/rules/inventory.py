"""The accounts this deployment may enter, as `accounts.yaml` lists them. What is not listed is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from ipaddress import IPv4Network
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from shared.errors import NotAllowed
from shared.messages.approval import GrantApproval, OnEnd, RevokeApproval
from shared.messages.forms import AccountId, EcrId, GrantKey, Prefix, RegionId

# Addresses that name no single machine elsewhere (RFC 6890). Whoever routes them, alone or in a wider prefix, seldom means it.
SPECIAL = {
    IPv4Network("0.0.0.0/8"): "this network",
    IPv4Network("127.0.0.0/8"): "loopback",
    IPv4Network("169.254.0.0/16"): "link-local",
    IPv4Network("224.0.0.0/4"): "multicast",
    IPv4Network("240.0.0.0/4"): "reserved",
}


class Association(StrEnum):
    """Whose automation makes the association: this deployment's, or account A's own."""

    OURS = "ours"
    THEIRS = "theirs"


class Ecr(BaseModel):
    """One Express Connect Router of an account A."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    association: Association = Association.OURS


class Template(BaseModel):
    """What the form of somebody who asks begins with."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    ecr: EcrId
    region: RegionId | None = None
    prefixes: list[Prefix] = Field(default_factory=list)
    # How long it lasts; None: without an end.
    days: Annotated[int, Field(ge=1, le=3650)] | None = 30
    on_end: OnEnd = Field(default=OnEnd.TEARDOWN, strict=False)
    reason: Annotated[str, Field(max_length=1000)] = ""


class Account(BaseModel):
    """How an account is entered, and whose it is. Values as RAM wants them (openapi-ecr-vpc-sts.md section 3.1)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = Field(min_length=1)
    owner: str = Field(min_length=1)
    # The group whose word counts where an account's lead must agree; None: nobody's does.
    lead: Annotated[str, Field(min_length=1)] | None = None
    # The group that decides where the owners have nobody who could; None: nobody does.
    fallback: Annotated[str, Field(min_length=1)] | None = None
    environment: str = Field(min_length=1)
    role: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.-]{1,64}$")]
    external_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+=,.@:/-]+$", min_length=2, max_length=1224)]
    ecrs: dict[EcrId, Ecr] = Field(default_factory=dict)
    # Of an account B. Where its instances may be; None: wherever the inventory as a whole says.
    regions: Annotated[list[RegionId], Field(min_length=1)] | None = None
    # Of an account B. What may be approved for its VPCs, exactly so, although it holds special addresses.
    special_prefixes: list[Prefix] = Field(default_factory=list)
    # Of an account B. The ranges that its VPCs' addresses are taken from; empty: not known.
    supernets: list[Prefix] = Field(default_factory=list)
    # Of an account B. By name, what its owners begin with when they ask.
    templates: dict[Annotated[str, Field(min_length=1, max_length=100)], Template] = Field(default_factory=dict)


class Inventory(BaseModel):
    """All accounts by uid, and where instances may be."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    version: Literal[1]
    accounts: dict[AccountId, Account]
    regions: Annotated[list[RegionId], Field(min_length=1)] | None = None

    @field_validator("accounts")
    @classmethod
    def _a_router_has_one_owner(cls, accounts: dict[str, Account]) -> dict[str, Account]:
        counted = Counter(ecr_id for account in accounts.values() for ecr_id in account.ecrs)
        twice = [
            f"{ecr_id} is listed under {' and '.join(uid for uid, account in accounts.items() if ecr_id in account.ecrs)}"
            for ecr_id, times in counted.items()
            if times > 1
        ]
        if twice:
            raise ValueError(f"each router has one owner: {', '.join(twice)}")
        return accounts

    def account(self, uid: str, field: str) -> Account:
        """The account with that uid. Raises NotAllowed that names the field it came from."""
        found = self.accounts.get(uid)
        if found is None:
            raise NotAllowed(f"{field}: account {uid} is not listed in the inventory")
        return found

    def check(self, grant: GrantKey) -> None:
        """Raise NotAllowed unless both accounts and the ECR are listed."""
        self.account(grant.instance_owner_uid, "instance.owner_uid")
        if grant.ecr_id not in self.account(grant.ecr_owner_uid, "ecr.owner_uid").ecrs:
            raise NotAllowed(f"ecr.id: {grant.ecr_id} is not listed in the inventory for account {grant.ecr_owner_uid}")

    def check_region(self, grant: GrantKey) -> None:
        """Raise NotAllowed where the inventory lists regions and the instance's is not among them.

        Only for what opens a lease: a misspelt region is asked for in vain, for hours, and closing is never refused for it.
        """
        account = self.account(grant.instance_owner_uid, "instance.owner_uid")
        listed, where = account.regions, f" for account {grant.instance_owner_uid}"
        if listed is None:
            listed, where = self.regions, ""
        if listed is not None and grant.instance_region not in listed:
            raise NotAllowed(
                f"instance.region: {grant.instance_region} is not among the regions that the inventory lists{where}: "
                + ", ".join(listed)
            )

    def check_prefixes(self, grant: GrantKey, prefixes: Iterable[str]) -> None:
        """Raise NotAllowed for prefixes that hold special addresses, unless account B's entry lists them exactly so."""
        uid = grant.instance_owner_uid
        allowed = self.account(uid, "instance.owner_uid").special_prefixes
        refused = [
            f"{prefix} holds {held}" for prefix in prefixes if prefix not in allowed and (held := _special(prefix))
        ]
        if refused:
            raise NotAllowed(
                f"allowed_prefixes: {'; '.join(refused)}; the inventory has to list it under special_prefixes of account {uid}"
            )

    def allow(self, approval: GrantApproval | RevokeApproval) -> None:
        """Raise NotAllowed, naming the field, for an approval that opens what nothing here permits.

        Of a revoke nothing is asked: closing is the safe direction.
        """
        if isinstance(approval, RevokeApproval):
            return
        self.check(approval.grant)
        self.check_region(approval.grant)
        self.check_prefixes(approval.grant, approval.allowed_prefixes)

    def association(self, grant: GrantKey) -> Association | None:
        """Whose automation makes the association; None for a router that is not listed."""
        owner = self.accounts.get(grant.ecr_owner_uid)
        ecr = None if owner is None else owner.ecrs.get(grant.ecr_id)
        return None if ecr is None else ecr.association


def _special(prefix: str) -> str:
    """The kinds of special addresses in a prefix; empty where there are none."""
    network = IPv4Network(prefix)
    return ", ".join(f"{kind} addresses ({range_})" for range_, kind in SPECIAL.items() if network.overlaps(range_))
