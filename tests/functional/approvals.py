"""What tests send: approvals and revokes about the example's router, and wakes."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.functional.world import HUB, HUB_ECR, REGION

Json = dict[str, Any]

_numbers = itertools.count(1)


def now(**ago: float) -> str:
    """The present as messages write it, or so long ago."""
    moment = datetime.now(UTC) - timedelta(**ago)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def request_id() -> str:
    """A request id that no other test uses."""
    return f"REQ-{next(_numbers):05d}"


def approval(spoke: str, instance_id: str, **changes: Any) -> Json:
    """An approval to grant one of a spoke's instances to the example's router; keyword arguments replace fields."""
    kind = instance_id.partition("-")[0].upper()
    document: Json = {
        "schema": "ecr-grants/approval/3",
        "issuer": "self-service",
        "request_id": request_id(),
        "action": "grant",
        "ecr": {"id": HUB_ECR, "owner_uid": HUB},
        "instance": {"type": kind, "id": instance_id, "region": REGION, "owner_uid": spoke},
        "allowed_prefixes": ["10.20.0.0/16"] if kind == "VPC" else [],
        "requested_by": "requester@example.com",
        "approved_by": ["approver@example.com"],
        "approved_at": now(hours=1),
        "reason": "A functional test needs it",
    }
    return {**document, **changes}


def revocation(of: Json, closes: Any, **changes: Any) -> Json:
    """An approval to close leases on the grant that another approval is about."""
    document = {
        **{name: value for name, value in of.items() if name not in ("allowed_prefixes", "ends_at", "on_end")},
        "request_id": request_id(),
        "action": "revoke",
        "closes": closes,
        "approved_at": now(minutes=1),
    }
    return {**document, **changes}


def wake(grant_id: str | None = "g-000000000000000000000000") -> Json:
    """A wake; one for a grant that nobody has is harmless, and one for none has it heard what people said."""
    return {"schema": "ecr-grants/wake/1"} | ({} if grant_id is None else {"grant_id": grant_id})
