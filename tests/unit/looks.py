"""A healthy world as it was looked at, for tests of what is told and bound: pieces of it are replaced."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from shared.messages.consent import RequestKind
from shared.messages.forms import GrantKey, InstanceType
from shared.rules.looked import (
    Asked,
    EcrSeen,
    EcrUse,
    GranterSeen,
    GrantSeen,
    InstanceSeen,
    Limits,
    NeighbourSeen,
    Own,
    RoleSeen,
    Unread,
    World,
)

A, B, C = "1000000000000001", "2000000000000002", "3000000000000003"
ECR = "ecr-7vrbqv9lcgvzqbwwkm"
REGION = "cn-hangzhou"
NOW = 1_700_000_000_000
BLIND = Unread("the platform gave no usable answer")

VPC_KEY = GrantKey(ECR, A, InstanceType.VPC, "vpc-1", REGION, B)
VBR_KEY = replace(VPC_KEY, instance_type=InstanceType.VBR, instance_id="vbr-1")
VPC_ASKED, VBR_ASKED = Asked(RequestKind.GRANT, VPC_KEY), Asked(RequestKind.GRANT, VBR_KEY)

VPC_SEEN = InstanceSeen(B, REGION, "Available", ("10.20.0.0/16",))
VBR_SEEN = InstanceSeen(B, REGION, "active", asns=(45104,))
NEIGHBOUR = NeighbourSeen("VPC", "vpc-9", REGION, C, "ACTIVE", (), ("10.30.0.0/16",))
SEEN = World(
    role_a=RoleSeen(),
    role_b=RoleSeen(),
    instance=VPC_SEEN,
    grants=(),
    ecr=EcrSeen(A, "Active", "Normal", 45104),
    regions=(REGION,),
    use=EcrUse(
        (NEIGHBOUR,), (GranterSeen("vpc-9", REGION, C, "26842"), GranterSeen("vpc-2", REGION, B, "26842")), whole=True
    ),
    own=Own(NOW, frozenset({ECR}), False, False, Limits(10, 3), 60),
)


def seen(kind: InstanceType = InstanceType.VPC, **changes: Any) -> World:
    """A healthy world with some pieces replaced; ``instance_``, ``use_``, ``own_`` and ``ecr_`` change parts of these pieces."""
    base = SEEN if kind is InstanceType.VPC else replace(SEEN, instance=VBR_SEEN)
    for piece in ("instance", "use", "own", "ecr"):
        inside = {
            name.removeprefix(f"{piece}_"): changes.pop(name) for name in list(changes) if name.startswith(f"{piece}_")
        }
        if inside:
            base = replace(base, **{piece: replace(getattr(base, piece), **inside)})
    return replace(base, **changes)


def asking(**changes: Any) -> Asked:
    """The request for the VPC, changed."""
    return replace(VPC_ASKED, **changes)


def grants(ecr_id: str = ECR, owner: str = A) -> tuple[GrantSeen, ...]:
    """One grant."""
    return (GrantSeen(ecr_id, owner),)
