"""The accounts this deployment may enter, as `accounts.yaml` lists them. What is not listed is refused."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from shared.errors import NotAllowed
from shared.messages.approval import GrantApproval
from shared.messages.forms import AccountId, EcrId, GrantKey


class Association(StrEnum):
    """Whose automation makes the association: this deployment's, or account A's own."""

    OURS = "ours"
    THEIRS = "theirs"


class Ecr(BaseModel):
    """One Express Connect Router of an account A."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    association: Association = Association.OURS


class Account(BaseModel):
    """How an account is entered, and whose it is. Values as RAM wants them (openapi-ecr-vpc-sts.md section 3.1)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = Field(min_length=1)
    owner: str = Field(min_length=1)
    environment: str = Field(min_length=1)
    role: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.-]{1,64}$")]
    external_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+=,.@:/-]+$", min_length=2, max_length=1224)]
    ecrs: dict[EcrId, Ecr] = Field(default_factory=dict)


class Inventory(BaseModel):
    """All accounts by uid."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    version: Literal[1]
    accounts: dict[AccountId, Account]

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

    def allow(self, approval: GrantApproval) -> None:
        """Raise NotAllowed, naming the field, for an approval that opens what nothing here permits."""
        self.check(approval.grant)

    def association(self, grant: GrantKey) -> Association | None:
        """Whose automation makes the association; None for a router that is not listed."""
        owner = self.accounts.get(grant.ecr_owner_uid)
        ecr = None if owner is None else owner.ecrs.get(grant.ecr_id)
        return None if ecr is None else ecr.association
