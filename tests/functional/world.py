"""The world of the functional tests: the example world, and beside it accounts that each test has for itself.

New accounts are made in the image of the example's: a spoke like account B, a hub like account A's network role. So what
the tests prove of them holds for the example too, whatever is changed there.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from shared.rules.configuration import Configuration
from tests.configured import configuration

ROOT = Path(__file__).parents[2]
EXAMPLE: dict[str, Any] = yaml.safe_load((ROOT / "examples" / "world.yaml").read_text("utf-8"))

REGION = "cn-hangzhou"
HUB = "1000000000000001"
HUB_ECR = "ecr-7vrbqv9lcgvzqbwwkm"
SPOKE = "2000000000000002"
HUB_ROLE = "ecr-grants-hub"
SPOKE_ROLE = "ecr-grants-spoke"
GRANT_FUNCTION = "ecr-grants-grant"
ASSOCIATE_FUNCTION = "ecr-grants-associate"
RECONCILE_FUNCTION = "ecr-grants-reconcile"
PREFLIGHT_FUNCTION = "ecr-grants-preflight"
DESK_FUNCTION = "ecr-grants-desk"

_ids = itertools.count(1)


@dataclass(frozen=True)
class Key:
    """An access key, with a token when it is a role session's."""

    id: str
    secret: str
    token: str = ""


TESTER = Key("LTAI-example-tester", "example-secret-of-the-tester")
"""Sends to and reads from every queue and topic of the hub."""


@dataclass
class Spoke:
    """An account B of the tests: instances nobody else uses, and an administrator who may do everything there."""

    uid: str
    admin: Key
    vpcs: Iterator[str]
    vbrs: Iterator[str]


@dataclass
class Hub:
    """An account A of the tests with a router of its own."""

    uid: str
    ecr_id: str
    admin: Key


@dataclass
class Stage:
    """A world file in the making, and the inventory that goes with it."""

    file: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(EXAMPLE))
    listed: dict[str, Any] = field(default_factory=dict)
    issuers: dict[str, Any] = field(default_factory=dict)
    """What some issuers may do beyond what every issuer may."""

    def __post_init__(self) -> None:
        """List the example's accounts A and B, make states settle at once, and let the tests into every queue.

        They do so as a user of their own: what the operator's commands do, they do with the rights of the operator who ships.
        """
        self.file["settle"] = {
            f"{name}_seconds": 0
            for name in ("association", "dissociation", "attachment", "detachment", "modification", "lock")
        }
        self.list_hub(HUB, [HUB_ECR])
        self.list_spoke(SPOKE)
        everything = {"Effect": "Allow", "Action": ["mns:*"], "Resource": [f"acs:mns:*:{HUB}:*"]}
        self.hub["users"]["tester"] = {
            "access_key": {"id": TESTER.id, "secret": TESTER.secret},
            "policies": {"messages": {"Version": "1", "Statement": [everything]}},
        }

    @property
    def hub(self) -> dict[str, Any]:
        """The account in which the functions run."""
        found: dict[str, Any] = self.file["accounts"][HUB]
        return found

    def role(self, uid: str, name: str) -> dict[str, Any]:
        """A role as the world file has it, to be changed."""
        found: dict[str, Any] = self.file["accounts"][uid]["roles"][name]
        return found

    def new_spoke(self) -> Spoke:
        """An account like B, with instances of its own."""
        number = next(_ids)
        uid = f"22{number:014d}"
        account: dict[str, Any] = json.loads(json.dumps(EXAMPLE["accounts"][SPOKE]).replace(SPOKE, uid))
        admin = Key(f"LTAI-example-spoke-{number}", f"example-secret-of-spoke-{number}")
        account["name"] = f"spoke-{number}"
        account["users"] = {"admin": {"access_key": {"id": admin.id, "secret": admin.secret}, "policies": _ADMIN}}
        account["vpcs"] = [
            {"id": f"vpc-spoke{number}x{each}", "region": REGION, "cidr": f"10.{number % 200}.{each}.0/24"}
            for each in range(4)
        ]
        account["vbrs"] = [{"id": f"vbr-spoke{number}x{each}", "region": REGION, "bgp_asn": 45104} for each in range(3)]
        self.file["accounts"][uid] = account
        self._let_enter(uid, SPOKE_ROLE, GRANT_FUNCTION, PREFLIGHT_FUNCTION, RECONCILE_FUNCTION)
        self.list_spoke(uid)
        vpcs, vbrs = (iter([one["id"] for one in account[kind]]) for kind in ("vpcs", "vbrs"))
        return Spoke(uid, admin, vpcs, vbrs)

    def new_hub(self, *, association: str = "ours") -> Hub:
        """An account like A, with a router of its own and the role that our function enters."""
        number = next(_ids)
        uid, ecr_id = f"11{number:014d}", f"ecr-hub{number:07d}"
        text = json.dumps(EXAMPLE["accounts"][HUB]["roles"][HUB_ROLE]).replace(HUB_ECR, ecr_id).replace(HUB, uid)
        entering = (ASSOCIATE_FUNCTION, PREFLIGHT_FUNCTION, RECONCILE_FUNCTION)
        for function in entering:  # those stay where they are
            text = text.replace(f"acs:ram::{uid}:role/{function}", f"acs:ram::{HUB}:role/{function}")
        admin = Key(f"LTAI-example-hub-{number}", f"example-secret-of-hub-{number}")
        self.file["accounts"][uid] = {
            "name": f"hub-{number}",
            "enterprise": EXAMPLE["accounts"][HUB]["enterprise"],
            "ecrs": [{"id": ecr_id, "asn": 45104}],
            "roles": {HUB_ROLE: json.loads(text)},
            "users": {"admin": {"access_key": {"id": admin.id, "secret": admin.secret}, "policies": _ADMIN}},
        }
        self._let_enter(uid, HUB_ROLE, *entering)
        self.list_hub(uid, [ecr_id], association=association)
        return Hub(uid, ecr_id, admin)

    def list_spoke(self, uid: str) -> None:
        """Put an account B into the inventory."""
        self.listed[uid] = _listed(uid, SPOKE_ROLE)

    def list_hub(self, uid: str, ecrs: list[str], *, association: str = "ours") -> None:
        """Put an account A into the inventory."""
        routers = {ecr: {"association": association} for ecr in ecrs}
        self.listed[uid] = {**_listed(uid, HUB_ROLE), "ecrs": routers}

    def take_away(self, uid: str, role: str, action: str) -> None:
        """Remove one action from every policy of a role."""
        for document in self.role(uid, role)["policies"].values():
            for statement in document["Statement"]:
                statement["Action"] = [each for each in statement["Action"] if each != action]
            document["Statement"] = [each for each in document["Statement"] if each["Action"]]
        policies = self.role(uid, role)["policies"]
        self.role(uid, role)["policies"] = {name: one for name, one in policies.items() if one["Statement"]}

    @property
    def configuration(self) -> Configuration:
        """What an operator decides about it."""
        return configuration(self.listed, issuers=self.issuers)

    def write(self, folder: Path) -> tuple[Path, Path]:
        """The world file and the inventory, as files."""
        world, accounts = folder / "world.yaml", folder / "accounts.yaml"
        world.write_text(yaml.safe_dump(self.file, sort_keys=False), "utf-8")
        inventory = {"version": 1, "accounts": self.listed}
        accounts.write_text(yaml.safe_dump(inventory, sort_keys=False), "utf-8")
        return world, accounts

    def _let_enter(self, uid: str, role: str, *functions: str) -> None:
        """Allow the roles of some functions to assume a role of a new account."""
        for function in functions:
            fresh = {"Effect": "Allow", "Action": ["sts:AssumeRole"], "Resource": []}
            policies = self.role(HUB, function)["policies"]
            document = policies.setdefault("enter-test-accounts", {"Version": "1", "Statement": [fresh]})
            document["Statement"][0]["Resource"].append(f"acs:ram::{uid}:role/{role}")


_ADMIN = {
    "everything": {
        "Version": "1",
        "Statement": [{"Effect": "Allow", "Action": ["vpc:*", "expressconnectrouter:*"], "Resource": ["*"]}],
    }
}


def actions_of(role: dict[str, Any]) -> list[str]:
    """Every action that a role's policies allow, in order."""
    return [
        action
        for document in role["policies"].values()
        for statement in document["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    ]


def example_actions(uid: str, role: str) -> list[str]:
    """Every action that a role of the example world allows."""
    return actions_of(EXAMPLE["accounts"][uid]["roles"][role])


def _listed(uid: str, role: str) -> dict[str, Any]:
    return {
        "name": f"account-{uid}",
        "owner": "owners@example.com",
        "environment": "test",
        "role": role,
        "external_id": f"ecr-grants:demo:{uid}",
    }
