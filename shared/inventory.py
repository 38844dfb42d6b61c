"""The accounts this deployment may enter: `accounts.yaml`. What is not listed is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from shared.errors import NotAllowed, SettingsError
from shared.messages import AccountId, EcrId, GrantKey, faults


class Ecr(BaseModel):
    """One Express Connect Router of an account A. ``association`` says whose hand makes the association."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    association: Literal["ours", "theirs"] = "ours"


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

    def association_is_ours(self, grant: GrantKey) -> bool:
        """Whether we make the association, or account A's own automation does."""
        return self.account(grant.ecr_owner_uid, "ecr.owner_uid").ecrs[grant.ecr_id].association == "ours"


def read_inventory(path: Path) -> Inventory:
    """Read the file. Raises SettingsError that names the file and every fault in it."""
    try:
        return Inventory.model_validate(yaml.safe_load(path.read_text("utf-8")))
    except OSError as error:
        raise SettingsError(f"ACCOUNTS_FILE={path}: cannot be read ({error.strerror})") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"ACCOUNTS_FILE={path}: is not YAML ({error})") from None
    except ValidationError as error:
        raise SettingsError(f"ACCOUNTS_FILE={path}: {faults(error)}") from None
