"""Requests and what people say of them, for the tests of what that amounts to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import JsonValue

from shared.messages.approval import Ecr, Every, Instance
from shared.messages.consent import (
    Amounted,
    Asked,
    Decided,
    Lapsed,
    Looked,
    RequestKind,
    Strength,
    Voice,
    Wish,
    Withdrawn,
    snapshot_of,
)
from shared.messages.forms import InstanceType
from shared.rules.facts import Side
from shared.rules.people import People
from shared.rules.policy import Policy
from shared.rules.shipped import POLICY
from tests.unit.issuing import A, B

START = datetime(2026, 3, 1, 8, tzinfo=UTC)
HOUR = timedelta(hours=1)
SHIPPED = Policy(POLICY)
ROUND_1: dict[str, JsonValue] = {"cidrs": ["10.20.0.0/16"]}
ROUND_2: dict[str, JsonValue] = {"cidrs": ["10.30.0.0/16"]}
PEOPLE = People.model_validate(
    {
        "version": 1,
        "persons": {
            name: {"subjects": [f"oidc:{name}"]} for name in ("req", "own-b", "own-b2", "own-a", "deputy", "other")
        },
        "groups": {"orders": ["own-b", "own-b2"], "network": ["own-a"]},
        "delegations": [
            {"of": "own-b", "to": "deputy", "from": START.isoformat(), "until": (START + 10 * HOUR).isoformat()},
            {"of": "own-b", "to": "own-b2", "from": START.isoformat(), "until": (START + 10 * HOUR).isoformat()},
        ],
    }
)


def wish(**changes: Any) -> Wish:
    """A lease of ten days on a VPC."""
    usual: dict[str, Any] = {
        "kind": RequestKind.GRANT,
        "ecr": Ecr(id="ecr-7vrbqv9lcgvzqbwwkm", owner_uid=A),
        "instance": Instance(type=InstanceType.VPC, id="vpc-1", region="cn-hangzhou", owner_uid=B),
        "allowed_prefixes": ["10.20.0.0/16"],
        "ends_at": START + timedelta(days=10),
        "reason": "Orders go to the hub",
    }
    return Wish(**(usual | changes))


CLOSING: dict[str, Any] = {"kind": RequestKind.REVOKE, "closes": Every.ALL, "allowed_prefixes": [], "ends_at": None}


def voice(person: str = "req", **more: Any) -> Voice:
    """Somebody who signed in."""
    return Voice(person=person, subject=f"oidc:{person}", **{"strength": Strength.SIGNED_IN, **more})


def asked(**changes: Any) -> Asked:
    """The first fact."""
    by = changes.pop("by", voice())
    return Asked(
        request_id="r-1", at=START, wish=wish(**changes), by=by, lapses_at=START + timedelta(days=7), configuration=1
    )


def looked(content: Any = ROUND_1, at: datetime = START, **more: Any) -> Looked:
    """What preflight saw."""
    return Looked(request_id="r-1", at=at, snapshot=snapshot_of(content), content=content, **more)


def said(person: str, side: Side = Side.GRANT, *, agrees: bool = True, content: Any = ROUND_1, **more: Any) -> Decided:
    """A word."""
    return Decided(
        request_id="r-1",
        at=more.pop("at", START + HOUR),
        side=side.value,
        agrees=agrees,
        by=voice(person),
        snapshot=snapshot_of(content),
        configuration=1,
        **more,
    )


def withdrawn(at: datetime = START + HOUR) -> Withdrawn:
    """Asked no more."""
    return Withdrawn(request_id="r-1", at=at, by=voice())


LAPSED = Lapsed(request_id="r-1", at=START + timedelta(days=7), reason="nobody decided in time")
APPROVED = Amounted(request_id="r-1", at=START + 2 * HOUR, approval="a" * 64, reason="policy lets it", configuration=1)
REFUSED = APPROVED.model_copy(update={"approval": None, "reason": "it is not listed any more"})
