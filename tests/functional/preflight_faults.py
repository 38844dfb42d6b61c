"""The generator of misconfigured worlds: one fault is put into a healthy one, and the check that must tell it is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from shared.messages.forms import InstanceType
from shared.rules.checked import PreflightCheck
from shared.rules.looked import Limits
from tests.functional.preflight_worlds import (
    FAR,
    KINDS,
    NOT_REACHED,
    VBR,
    VPC,
    World,
    healthy,
    now_ms,
    router,
    state,
)
from tests.functional.world import GRANT_FUNCTION, HUB, HUB_ROLE, SPOKE_ROLE, Hub, Stage


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, and the check that must say so. ``seen`` False: no documented read shows it."""

    name: str
    expected: PreflightCheck
    put: Callable[[World], None]
    kinds: tuple[InstanceType, ...] = KINDS
    seen: bool = True


def _role(side: str, change: Callable[[World, str, str], None]) -> Callable[[World], None]:
    def put(world: World) -> None:
        uid, role = (world.hub.uid, HUB_ROLE) if side == "A" else (world.spoke.uid, SPOKE_ROLE)
        change(world, uid, role)

    return put


def _distrusts(world: World, uid: str, role: str) -> None:
    statement = world.stage.role(uid, role)["trust"]["Statement"][0]
    statement.update({"Principal": {"RAM": [f"acs:ram::{HUB}:role/{GRANT_FUNCTION}"]}})


def _other_external_id(world: World, uid: str, role: str) -> None:
    statement = world.stage.role(uid, role)["trust"]["Statement"][0]
    statement.update({"Condition": {"StringEquals": {"sts:ExternalId": "of-another-deployment"}}})


def _no_role(world: World, uid: str, role: str) -> None:
    world.account(uid)["roles"].pop(role)


def _lacks(action: str) -> Callable[[World, str, str], None]:
    return lambda world, uid, role: world.stage.take_away(uid, role, action)


def _says(**facts: str) -> Callable[[World], None]:
    return lambda world: world.key.update(facts)


def _misspelt(world: World) -> None:
    world.key.update(instance_id=f"{world.instance['id']}0")


def _of_somebody_else(world: World) -> None:
    owner = world.stage.new_spoke()
    world.others.append(owner.uid)
    kind = "vpcs" if world.kind is VPC else "vbrs"
    world.key.update(instance_id=world.account(owner.uid)[kind][0]["id"])


def _of_somebody_else_who_granted(world: World) -> None:
    """Whose account the inventory does not even list: account A's view names it."""
    owner = world.stage.new_spoke()
    kind = "vpcs" if world.kind is VPC else "vbrs"
    name = world.account(owner.uid)[kind][0]["id"]
    world.granted.append((world.hub, owner, name, ()))
    world.key.update(instance_id=name)


def _deleted_router(world: World) -> None:
    """It is listed still, and the account does not have it any more."""
    world.routers[world.hub.uid] = [world.hub.ecr_id]
    world.router.update(id=f"{world.hub.ecr_id}x")


def _router_of_another(world: World) -> None:
    other = world.another_router()
    world.key.update(ecr_id=other.ecr_id)


def _not_reached(world: World) -> None:
    world.instance.update(region=NOT_REACHED)


def _foreign_grant(world: World) -> None:
    world.granted.append((world.hub, world.spoke, world.instance["id"], ()))


def _foreign_link(world: World) -> None:
    world.own["grant_ours"] = True
    world.linked.append((world.hub, world.spoke, world.instance["id"], ()))


def _on_another(world: World) -> None:
    world.linked.append((world.another_router(), world.spoke, world.instance["id"], ()))


def _granted_to_a_stranger(world: World) -> None:
    name = world.one_more_router()
    stranger = Hub(world.hub.uid, name, world.hub.admin)
    world.granted.append((stranger, world.spoke, world.instance["id"], ()))


def _learns(kind: str) -> Callable[[World], None]:
    name = f"{kind.lower()}-0a1b2c"
    return lambda world: world.instance.update(route_sources=[{"type": kind, "id": name, "propagated": True}])


def _same_range(world: World) -> None:
    world.neighbour(world.instance["cidr"])


def _wider_neighbour(world: World) -> None:
    world.neighbour("10.0.0.0/8")


def _second_range(world: World) -> None:
    world.instance["secondary_cidrs"] = ["172.20.0.0/16"]
    world.neighbour("172.20.9.0/24")


def _same_prefixes(world: World) -> None:
    """The neighbour's account is not listed, so only what account A shows of it is read."""
    world.neighbour("192.168.0.0/16", (world.instance["cidr"],), listed=False)


def _outside(*prefixes: str) -> Callable[[World], None]:
    def put(world: World) -> None:
        world.prefixes = prefixes or (world.instance["cidr"].replace(".0/24", ".0/23").replace(".1.0/", ".0.0/"),)

    return put


def _full(world: World) -> None:
    world.own["limits"] = Limits(vpcs_per_ecr=1)
    world.neighbour()


def _too_many_prefixes(world: World) -> None:
    world.own["limits"] = Limits(prefixes=1)
    base = world.instance["cidr"].removesuffix(".0/24")
    world.prefixes = (f"{base}.0/26", f"{base}.64/26")


def _ends_soon(world: World) -> None:
    world.ends_at = now_ms() + 60_000


def _ends_before_the_queue_is_through(world: World) -> None:
    world.own["ahead"] = 1_200
    world.ends_at = now_ms() + 600_000


def _other_enterprise(world: World) -> None:
    """Somebody of account A's enterprise works on the router; account B, of another, has granted something of its own."""
    world.neighbour()
    world.account(world.spoke.uid)["enterprise"] = "99999"
    second = world.account(world.spoke.uid)["vpcs"][1]["id"]
    world.granted.append((world.hub, world.spoke, second, ()))


def _other_enterprise_unseen(world: World) -> None:
    world.account(world.spoke.uid)["enterprise"] = "99999"


_A_READS = (
    "DescribeExpressConnectRouter",
    "DescribeExpressConnectRouterAssociation",
    "DescribeExpressConnectRouterChildInstance",
    "DescribeInstanceGrantedToExpressConnectRouter",
    "ListExpressConnectRouterSupportedRegion",
)
_B_READS = {
    "DescribeVpcAttribute": (VPC,),
    "DescribeVpcGrantRulesToEcr": (VPC,),
    "DescribeVirtualBorderRouters": (VBR,),
    "DescribeGrantRulesToEcr": (VBR,),
    "DescribeBgpGroups": (VBR,),
}
C = PreflightCheck
FAULTS = [
    *[
        Fault(f"role {side} {what}", check, _role(side, change))
        for side, check in (("A", C.ROLE_A), ("B", C.ROLE_B))
        for what, change in (
            ("trusts another function", _distrusts),
            ("wants another external id", _other_external_id),
            ("does not exist", _no_role),
        )
    ],
    *[
        Fault(f"role A lacks {read}", C.ROLE_A, _role("A", _lacks(f"expressconnectrouter:{read}")), (VPC,))
        for read in _A_READS
    ],
    *[
        Fault(f"role B lacks {read}", C.ROLE_B, _role("B", _lacks(f"vpc:{read}")), kinds)
        for read, kinds in _B_READS.items()
    ],
    Fault("the instance's id is misspelt", C.INSTANCE_EXISTS, _misspelt),
    Fault("the instance is somebody else's", C.INSTANCE_OWNER, _of_somebody_else),
    Fault("the instance is a stranger's, who granted it", C.INSTANCE_OWNER, _of_somebody_else_who_granted),
    Fault("the instance is in another region", C.INSTANCE_REGION, _says(instance_region=FAR)),
    Fault("the VPC is being made", C.INSTANCE_USABLE, state(status="Pending"), (VPC,)),
    *[
        Fault(f"the VBR is {status}", C.INSTANCE_USABLE, state(status=status), (VBR,))
        for status in ("unconfirmed", "terminating", "terminated", "recovering", "deleting")
    ],
    Fault("the router's id is misspelt", C.ECR_EXISTS, _says(ecr_id="ecr-nobodyhasthis")),
    Fault("the router was deleted", C.ECR_EXISTS, _deleted_router),
    Fault("the router is another account's", C.ECR_OWNER, _router_of_another),
    *[
        Fault(f"the router is {status}", C.ECR_USABLE, router(status=status), (VPC,))
        for status in ("LOCKED_ATTACHING", "LOCKED_DETACHING", "RECLAIMING", "DELETING")
    ],
    Fault("the router's owner is in arrears", C.ECR_USABLE, router(biz_status="FinancialLocked")),
    Fault("no router reaches the region", C.ECR_REGION, _not_reached),
    Fault("somebody granted it", C.GRANTED, _foreign_grant),
    Fault("somebody associated it", C.ASSOCIATED, _foreign_link),
    Fault("it is on another router", C.ELSEWHERE, _on_another),
    Fault("it is granted to a router that is not listed", C.ELSEWHERE, _granted_to_a_stranger),
    Fault("the VPC learns routes from a transit router", C.ROUTE_SOURCE, _learns("TR"), (VPC,)),
    Fault("the VPC learns routes from a CEN", C.ROUTE_SOURCE, _learns("CEN"), (VPC,)),
    Fault("a neighbour has the same addresses", C.OVERLAP, _same_range, (VPC,)),
    Fault("a neighbour has a wider range", C.OVERLAP, _wider_neighbour, (VPC,)),
    Fault("a neighbour has some of the second range", C.OVERLAP, _second_range, (VPC,)),
    Fault("an unlisted neighbour has the same prefixes", C.OVERLAP, _same_prefixes, (VPC,)),
    Fault("a prefix is elsewhere", C.PREFIXES, _outside("192.168.7.0/24"), (VPC,)),
    Fault("a prefix is wider than the VPC", C.PREFIXES, _outside(), (VPC,)),
    Fault("the router is full", C.QUOTA, _full, (VPC,)),
    Fault("there are too many prefixes", C.QUOTA, _too_many_prefixes, (VPC,)),
    Fault("the end comes too soon", C.TIME, _ends_soon),
    Fault("the end comes before the queue is through", C.TIME, _ends_before_the_queue_is_through, (VPC,)),
    Fault("the VBR has another ASN", C.VBR_ASN, state(bgp_asn=64999), (VBR,)),
    Fault("the router has another ASN", C.VBR_ASN, router(asn=64999), (VBR,)),
    Fault("the accounts are of two enterprises", C.CROSS_ACCOUNT, _other_enterprise),
    Fault("two enterprises, and nothing shows it", C.CROSS_ACCOUNT, _other_enterprise_unseen, (VPC,), seen=False),
    Fault("the VBR has no MP-BGP", C.VBR_MP_BGP, state(mp_bgp=False), (VBR,), seen=False),
]


def generated(stage: Stage) -> Iterator[World]:
    """A healthy world for every fault and kind, with that one fault."""
    for fault in FAULTS:
        for kind in fault.kinds:
            world = healthy(stage, kind, f"{kind}: {fault.name}")
            world.expected, world.seen = fault.expected, fault.seen
            fault.put(world)
            yield world
