"""Worlds to be looked at before anybody decides: healthy ones, and a generator that puts one fault into a healthy one.

All of them are accounts of one local cloud. What a world file cannot say (grants, associations) is prepared with the SDKs by
the accounts' administrators once it runs.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from alibabacloud_expressconnectrouter20230901 import models as ecr

from shared.messages.forms import GrantKey, InstanceType
from shared.rules.checked import PreflightCheck
from shared.rules.inventory import Inventory
from shared.rules.looked import Asked, Limits, Own, RequestKind
from tests.functional.world import GRANT_FUNCTION, HUB, HUB_ROLE, REGION, SPOKE_ROLE, Hub, Key, Spoke, Stage
from tests.localcloud.harness import Key as HarnessKey
from tests.localcloud.harness import LocalCloud

Json = dict[str, Any]
Link = tuple[Hub, Spoke, str, tuple[str, ...]]

FAR = "cn-shanghai"
NOT_REACHED = "cn-fuzhou"
"""A region that an ECR of the tests' local cloud does not reach."""
KINDS = (InstanceType.VPC, InstanceType.VBR)
VPC, VBR = KINDS


def now_ms() -> int:
    """The present moment."""
    return int(time.time() * 1000)


@dataclass
class World:
    """A request, and the accounts that it is about. ``expected``: the check that must fail; None: none may."""

    name: str
    stage: Stage
    kind: InstanceType
    hub: Hub
    spoke: Spoke
    expected: PreflightCheck | None = None
    seen: bool = True
    """Whether any documented read shows the fault."""
    request: RequestKind = RequestKind.GRANT
    prefixes: tuple[str, ...] = ()
    ends_at: int | None = None
    own: Json = field(default_factory=lambda: {"grant_ours": False, "association_ours": False, "ahead": 0})
    key: Json = field(default_factory=dict)
    """What the request says otherwise than what is so."""
    others: list[str] = field(default_factory=list)
    """Further accounts of the inventory."""
    routers: dict[str, list[str]] = field(default_factory=dict)
    """The routers that the inventory lists for an account otherwise than the stage."""
    granted: list[Link] = field(default_factory=list)
    linked: list[Link] = field(default_factory=list)

    @property
    def asked(self) -> Asked:
        """The request."""
        facts = {
            "ecr_id": self.hub.ecr_id,
            "ecr_owner_uid": self.hub.uid,
            "instance_type": self.kind,
            "instance_id": self.instance["id"],
            "instance_region": self.instance["region"],
            "instance_owner_uid": self.spoke.uid,
        }
        return Asked(self.request, GrantKey(**{**facts, **self.key}), self.prefixes, self.ends_at)

    @property
    def looking(self) -> Own:
        """What the ledger and an operator would say."""
        return Own(now=now_ms(), **self.own)

    @property
    def inventory(self) -> Inventory:
        """The accounts of this world alone."""
        listed = {uid: copy.deepcopy(self.stage.listed[uid]) for uid in (self.hub.uid, self.spoke.uid, *self.others)}
        for uid, names in self.routers.items():
            listed[uid]["ecrs"] = {name: {} for name in names}
        return Inventory.model_validate({"version": 1, "accounts": listed, "regions": [REGION, FAR, NOT_REACHED]})

    @property
    def instance(self) -> Json:
        """The instance as the world file has it, to be changed."""
        found: Json = self.account(self.spoke.uid)["vpcs" if self.kind is VPC else "vbrs"][0]
        return found

    @property
    def router(self) -> Json:
        """The router, likewise."""
        found: Json = self.account(self.hub.uid)["ecrs"][0]
        return found

    def account(self, uid: str) -> Json:
        """An account, likewise."""
        found: Json = self.stage.file["accounts"][uid]
        return found

    def neighbour(self, cidr: str = "", prefixes: tuple[str, ...] = (), *, listed: bool = True, at: int = 0) -> Spoke:
        """Another account whose VPC is on the router."""
        other = new_spoke(self.stage)
        mine = self.account(other.uid)["vpcs"][at]
        mine["cidr"] = cidr or mine["cidr"]
        self.linked.append((self.hub, other, mine["id"], prefixes))
        if listed:
            self.others.append(other.uid)
        return other

    def another_router(self, *, listed: bool = True) -> Hub:
        """One more account A."""
        other = new_hub(self.stage)
        if listed:
            self.others.append(other.uid)
        return other

    def one_more_router(self) -> str:
        """Account A has it beside its own, and the inventory does not list it."""
        name = f"{self.hub.ecr_id}b"
        self.account(self.hub.uid)["ecrs"].append({"id": name, "asn": 45104})
        return name

    def prepare(self, cloud: LocalCloud) -> None:
        """Make the grants and associations."""
        for hub, spoke, instance, _ in self.granted:
            _grant(cloud, hub, spoke, instance, self._region(spoke, instance))
        for hub, spoke, instance, prefixes in self.linked:
            region = self._region(spoke, instance)
            _grant(cloud, hub, spoke, instance, region)
            _link(cloud, hub, spoke, instance, region, prefixes)

    def _region(self, spoke: Spoke, instance: str) -> str:
        account = self.account(spoke.uid)
        return str(next(one["region"] for one in (*account["vpcs"], *account["vbrs"]) if one["id"] == instance))


def new_spoke(stage: Stage) -> Spoke:
    """An account B whose role may look at everything that preflight reads."""
    spoke = stage.new_spoke()
    for statement in stage.role(spoke.uid, SPOKE_ROLE)["policies"]["ecr-grants-spoke"]["Statement"]:
        if "vpc:DescribeVpcs" in statement["Action"]:
            statement["Action"].append("vpc:DescribeBgpGroups")
    return spoke


def new_hub(stage: Stage) -> Hub:
    """An account A, likewise."""
    hub = stage.new_hub()
    stage.role(hub.uid, HUB_ROLE)["policies"]["look"] = {
        "Version": "1",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["expressconnectrouter:ListExpressConnectRouterSupportedRegion"],
                "Resource": [f"acs:expressconnectrouter:*:{hub.uid}:expressconnectrouter/*"],
            }
        ],
    }
    return hub


def healthy(stage: Stage, kind: InstanceType, name: str) -> World:
    """Nothing stands in the way of this one."""
    return World(name, stage, kind, new_hub(stage), new_spoke(stage))


# -- faults ------------------------------------------------------------------------------------------------------------


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


def _state(**facts: Any) -> Callable[[World], None]:
    return lambda world: world.instance.update(facts)


def _router(**facts: Any) -> Callable[[World], None]:
    return lambda world: world.router.update(facts)


def _says(**facts: str) -> Callable[[World], None]:
    return lambda world: world.key.update(facts)


def _misspelt(world: World) -> None:
    world.key.update(instance_id=f"{world.instance['id']}0")


def _of_somebody_else(world: World) -> None:
    owner = new_spoke(world.stage)
    world.others.append(owner.uid)
    kind = "vpcs" if world.kind is VPC else "vbrs"
    world.key.update(instance_id=world.account(owner.uid)[kind][0]["id"])


def _of_somebody_else_who_granted(world: World) -> None:
    """Whose account the inventory does not even list: account A's view names it."""
    owner = new_spoke(world.stage)
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
    Fault("the VPC is being made", C.INSTANCE_USABLE, _state(status="Pending"), (VPC,)),
    *[
        Fault(f"the VBR is {status}", C.INSTANCE_USABLE, _state(status=status), (VBR,))
        for status in ("unconfirmed", "terminating", "terminated", "recovering", "deleting")
    ],
    Fault("the router's id is misspelt", C.ECR_EXISTS, _says(ecr_id="ecr-nobodyhasthis")),
    Fault("the router was deleted", C.ECR_EXISTS, _deleted_router),
    Fault("the router is another account's", C.ECR_OWNER, _router_of_another),
    *[
        Fault(f"the router is {status}", C.ECR_USABLE, _router(status=status), (VPC,))
        for status in ("LOCKED_ATTACHING", "LOCKED_DETACHING", "RECLAIMING", "DELETING")
    ],
    Fault("the router's owner is in arrears", C.ECR_USABLE, _router(biz_status="FinancialLocked")),
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
    Fault("the VBR has another ASN", C.VBR_ASN, _state(bgp_asn=64999), (VBR,)),
    Fault("the router has another ASN", C.VBR_ASN, _router(asn=64999), (VBR,)),
    Fault("the accounts are of two enterprises", C.CROSS_ACCOUNT, _other_enterprise),
    Fault("two enterprises, and nothing shows it", C.CROSS_ACCOUNT, _other_enterprise_unseen, (VPC,), seen=False),
    Fault("the VBR has no MP-BGP", C.VBR_MP_BGP, _state(mp_bgp=False), (VBR,), seen=False),
]


def generated(stage: Stage) -> Iterator[World]:
    """A healthy world for every fault and kind, with that one fault."""
    for fault in FAULTS:
        for kind in fault.kinds:
            world = healthy(stage, kind, f"{kind}: {fault.name}")
            world.expected, world.seen = fault.expected, fault.seen
            fault.put(world)
            yield world


# -- healthy worlds ----------------------------------------------------------------------------------------------------


def _ours(world: World) -> None:
    world.own.update(grant_ours=True, association_ours=True)
    world.linked.append((world.hub, world.spoke, world.instance["id"], ()))


def _grant_ours(world: World) -> None:
    world.own.update(grant_ours=True)
    world.granted.append((world.hub, world.spoke, world.instance["id"], ()))


def _asks(kind: RequestKind) -> Callable[[World], None]:
    def put(world: World) -> None:
        world.request = kind
        world.linked.append((world.hub, world.spoke, world.instance["id"], ()))

    return put


def _prefixed(world: World) -> None:
    world.instance["secondary_cidrs"] = ["172.20.0.0/16"]
    world.prefixes = (world.instance["cidr"], "172.20.128.0/17")


def _side_by_side(world: World) -> None:
    """Two ranges that touch are one to a prefix over both."""
    base = world.instance["cidr"].removesuffix(".0.0/24")
    world.instance["cidr"], world.instance["secondary_cidrs"] = f"{base}.8.0/24", [f"{base}.9.0/24"]
    world.prefixes = (f"{base}.8.0/23",)


def _many_neighbours(world: World) -> None:
    other = world.neighbour("172.31.0.0/24")
    more = [{"id": f"vpc-{other.uid}x{one}", "region": REGION, "cidr": f"172.30.{one}.0/24"} for one in range(25)]
    world.account(other.uid)["vpcs"] += more
    world.linked += [(world.hub, other, one["id"], ()) for one in more]
    world.neighbour()


def _room_left(world: World) -> None:
    world.own["limits"] = Limits(vpcs_per_ecr=2, prefixes=3)
    world.prefixes = (world.instance["cidr"],)
    world.neighbour()


def _source(kind: str, *, propagated: bool) -> Callable[[World], None]:
    name = f"{kind.lower()}-0a1b2c"
    return lambda world: world.instance.update(route_sources=[{"type": kind, "id": name, "propagated": propagated}])


def _both(world: World) -> None:
    other = world.another_router()
    world.granted.append((other, world.spoke, world.instance["id"], ()))


def _vbr_beside(world: World) -> None:
    second = world.account(world.spoke.uid)["vbrs"][1]["id"]
    world.linked.append((world.hub, world.spoke, second, ()))


def _ends_in_time(world: World) -> None:
    world.ends_at = now_ms() + 86_400_000
    world.own["ahead"] = 500


def _nothing_known(world: World) -> None:
    world.own.clear()


HEALTHY: list[tuple[str, tuple[InstanceType, ...], Callable[[World], None]]] = [
    ("plain", KINDS, lambda _: None),
    ("in another region", KINDS, _state(region=FAR)),
    ("granted and associated by us", KINDS, _ours),
    ("granted by us", KINDS, _grant_ours),
    ("a change of what stands", (VPC,), _asks(RequestKind.CHANGE)),
    ("a revoke of what stands", KINDS, _asks(RequestKind.REVOKE)),
    ("prefixes in both ranges", (VPC,), _prefixed),
    ("a prefix over two ranges side by side", (VPC,), _side_by_side),
    ("many neighbours", (VPC,), _many_neighbours),
    ("one place left", (VPC,), _room_left),
    ("a transit router whose routes it does not learn", (VPC,), _source("TR", propagated=False)),
    ("a VPN beside it", (VPC,), _source("VPN", propagated=True)),
    ("granted to another listed router too", KINDS, _both),
    ("the router busy with another change", KINDS, _router(status="UPDATING")),
    ("another VBR of the account attached", (VBR,), _vbr_beside),
    ("a VBR without a BGP group", (VBR,), _state(bgp_asn=None)),
    ("an end that is far enough", KINDS, _ends_in_time),
    ("nothing known of the ledger", KINDS, _nothing_known),
]


def sound(stage: Stage) -> Iterator[World]:
    """Healthy worlds of many kinds."""
    for name, kinds, put in HEALTHY:
        for kind in kinds:
            world = healthy(stage, kind, f"{kind}: {name}")
            put(world)
            yield world


# -- what administrators do --------------------------------------------------------------------------------------------


def _key(key: Key) -> HarnessKey:
    return HarnessKey(key.id, key.secret)


def _grant(cloud: LocalCloud, hub: Hub, spoke: Spoke, instance: str, region: str) -> None:
    request = ecr.GrantInstanceToExpressConnectRouterRequest(
        ecr_id=hub.ecr_id,
        ecr_owner_ali_uid=int(hub.uid),
        instance_id=instance,
        instance_type="VPC" if instance.startswith("vpc-") else "VBR",
        instance_region_id=region,
    )
    cloud.ecr(_key(spoke.admin)).grant_instance_to_express_connect_router(request)


def _link(cloud: LocalCloud, hub: Hub, spoke: Spoke, instance: str, region: str, prefixes: tuple[str, ...]) -> None:
    client = cloud.ecr(_key(hub.admin))
    if instance.startswith("vpc-"):
        request = ecr.CreateExpressConnectRouterAssociationRequest(
            ecr_id=hub.ecr_id,
            association_region_id=region,
            vpc_id=instance,
            vpc_owner_id=int(spoke.uid),
            allowed_prefixes=list(prefixes) or None,
        )
        client.create_express_connect_router_association(request)
        return
    attach = ecr.AttachExpressConnectRouterChildInstanceRequest(
        ecr_id=hub.ecr_id,
        child_instance_id=instance,
        child_instance_type="VBR",
        child_instance_region_id=region,
        child_instance_owner_id=int(spoke.uid),
    )
    client.attach_express_connect_router_child_instance(attach)
