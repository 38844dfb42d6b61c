"""An issuer, what it approves, and who there is, for the tests of what it may. Times count from the example approval."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from shared.messages.approval import RevokeApproval
from shared.rules.inventory import Inventory
from shared.rules.issuers import IssuerRights
from shared.rules.people import People
from tests.unit.conftest import EXAMPLE, varied

ISSUER = "self-service"
A, B = "1000000000000001", "2000000000000002"
APPROVED = datetime.fromisoformat(EXAMPLE["approved_at"])


def at(hours: float = 0) -> int:
    """So many hours after the example was approved, in epoch milliseconds."""
    return round((APPROVED + timedelta(hours=hours)).timestamp() * 1000)


def later(**time: float) -> str:
    """So long after the example was approved, as an approval writes it."""
    return (APPROVED + timedelta(**time)).isoformat()


def rights(**changes: Any) -> IssuerRights:
    """An issuer that may vouch for everything of account B's side."""
    scope: dict[str, Any] = {
        "keys": {"keys": []},
        "accounts": "any",
        "ecrs": "any",
        "kinds": ["VPC", "VBR"],
        "longest_days": None,
    }
    return IssuerRights.model_validate(scope | changes)


def revoke(**changes: Any) -> RevokeApproval:
    """An approval that closes leases."""
    document = varied(action="revoke", **({"closes": "all"} | changes))
    del document["allowed_prefixes"]
    return RevokeApproval.model_validate_json(json.dumps(document))


def account(**changes: Any) -> dict[str, Any]:
    """An account of the inventory."""
    return {
        "name": "one",
        "owner": "network",
        "environment": "demo",
        "role": "ecr-grants",
        "external_id": "ecr-grants:demo",
        **changes,
    }


def inventory(**of_b: Any) -> Inventory:
    """Accounts A and B, each with a lead; the example's prefix is inside of what B has."""
    b = {"owner": "orders", "environment": "live", "lead": "b-leads", "supernets": ["10.16.0.0/12"]}
    return Inventory.model_validate({"version": 1, "accounts": {A: account(lead="a-leads"), B: account(**(b | of_b))}})


PEOPLE = People.model_validate(
    {
        "version": 1,
        "persons": {
            "req": {"subjects": [f"{ISSUER}:requester@example.com", f"{ISSUER}:req2", "login:req"]},
            "app": {"subjects": [f"{ISSUER}:approver@example.com", "desk:approver@example.com"]},
            "lead-a": {"subjects": [f"{ISSUER}:lead-a"]},
            "lead-b": {"subjects": [f"{ISSUER}:lead-b"]},
        },
        "groups": {"all": ["req", "app", "lead-a"], "a-leads": ["lead-a", "req"], "b-leads": ["lead-b"]},
        "delegations": [
            {"of": "lead-a", "to": "app", "from": later(hours=0), "until": later(hours=1)},
            {"of": "lead-b", "to": "app", "from": later(hours=-1), "until": later(hours=0)},
            {"of": "req", "to": "lead-b", "from": later(hours=-1), "until": later(hours=1)},
        ],
    }
)
