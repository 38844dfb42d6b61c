"""Worlds to be looked at before anybody decides, and healthy ones of many kinds.

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

from shared.messages.consent import RequestKind
from shared.messages.forms import GrantKey, InstanceType
from shared.rules.checked import PreflightCheck
from shared.rules.inventory import Inventory
from shared.rules.looked import Asked, Limits, Own
from tests.functional.world import REGION, Hub, Key, Spoke, Stage
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
        other = self.stage.new_spoke()
        mine = self.account(other.uid)["vpcs"][at]
        mine["cidr"] = cidr or mine["cidr"]
        self.linked.append((self.hub, other, mine["id"], prefixes))
        if listed:
            self.others.append(other.uid)
        return other

    def another_router(self, *, listed: bool = True) -> Hub:
        """One more account A."""
        other = self.stage.new_hub()
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


def healthy(stage: Stage, kind: InstanceType, name: str) -> World:
    """Nothing stands in the way of this one."""
    return World(name, stage, kind, stage.new_hub(), stage.new_spoke())


# -- healthy worlds ----------------------------------------------------------------------------------------------------


def state(**facts: Any) -> Callable[[World], None]:
    """The instance shows these facts."""
    return lambda world: world.instance.update(facts)


def router(**facts: Any) -> Callable[[World], None]:
    """So does the router."""
    return lambda world: world.router.update(facts)


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
    ("in another region", KINDS, state(region=FAR)),
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
    ("the router busy with another change", KINDS, router(status="UPDATING")),
    ("another VBR of the account attached", (VBR,), _vbr_beside),
    ("a VBR without a BGP group", (VBR,), state(bgp_asn=None)),
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
