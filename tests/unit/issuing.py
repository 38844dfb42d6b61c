"""An issuer and what it approves, for the tests of what it may: times count from the example approval."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from shared.messages.approval import RevokeApproval
from shared.rules.issuers import IssuerRights
from tests.unit.conftest import EXAMPLE, varied

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
