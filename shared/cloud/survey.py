"""Both accounts as they are looked at before people decide: one request's instance and router, and what is around them.

Reads only. Each raises GrantError for what could not be read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from alibabacloud_expressconnectrouter20230901 import models as ecr
from alibabacloud_expressconnectrouter20230901.client import Client as EcrClient
from alibabacloud_vpc20160428 import models as vpc
from alibabacloud_vpc20160428.client import Client as VpcClient

from shared.cloud.calls import Calls, reading
from shared.cloud.hub import as_shown, status_of
from shared.cloud.pages import Pages
from shared.cloud.spoke import NO_SUCH_VPC, ranges_of
from shared.errors import PermanentError
from shared.messages.forms import GrantKey, InstanceType
from shared.rules.leases import in_order
from shared.rules.looked import EcrSeen, EcrUse, GranterSeen, GrantSeen, InstanceSeen, NeighbourSeen, RouteSource

_PAGE = 100
_PAGES = 5  # of what is on one router: who has more is told that not everything was read
_IDS = 20  # ids in one look-up (DescribeVpcs)
_VBR_PAGE = 50
_ATTACHED = frozenset({"Attached", "Attaching", "Detaching"})

READS = {
    "expressconnectrouter": (
        "DescribeExpressConnectRouter",
        "DescribeExpressConnectRouterAssociation",
        "DescribeExpressConnectRouterChildInstance",
        "DescribeInstanceGrantedToExpressConnectRouter",
        "ListExpressConnectRouterSupportedRegion",
    ),
    "vpc": (
        "DescribeBgpGroups",
        "DescribeGrantRulesToEcr",
        "DescribeVirtualBorderRouters",
        "DescribeVpcAttribute",
        "DescribeVpcGrantRulesToEcr",
        "DescribeVpcs",
    ),
}
LOOK_ONLY = json.dumps(
    {
        "Version": "1",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": [f"{product}:{operation}" for product, names in READS.items() for operation in names],
                "Resource": ["*"],
            }
        ],
    }
)
"""The session policy of preflight: no more than the calls here, whatever more the role that it enters by may."""


class Survey:
    """The two accounts of a request, and the accounts around them."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._pages = Pages(calls)

    @reading
    def enter(self, account: str) -> None:
        """Assume the account's role anew. Raises PermissionMissing where it does not let us in."""
        self._calls.enter(account)

    # -- the instance ------------------------------------------------------------------------------------------------

    def instance(self, key: GrantKey) -> InstanceSeen | None:
        """The instance where it is asked for, without its BGP groups; None when account B has none by this id there."""
        return self._vpc(key) if key.instance_type is InstanceType.VPC else self._vbr(key)

    def has(self, account: str, region: str, instance: str) -> bool:
        """Whether an account has this VPC or VBR in a region."""
        return bool(self._pages.existing(account, region, [instance]))

    def asns(self, key: GrantKey) -> tuple[int, ...]:
        """The cloud's side of a VBR's BGP groups: ``LocalAsn`` (VPC OpenAPI, DescribeBgpGroups)."""
        request = vpc.DescribeBgpGroupsRequest(
            region_id=key.instance_region, router_id=key.instance_id, page_size=_VBR_PAGE
        )
        body = self._vpc_call("DescribeBgpGroups", key, request)
        groups = (body.bgp_groups.bgp_group if body.bgp_groups else None) or []
        return tuple(int(one.local_asn) for one in groups if str(one.local_asn or "").isdecimal())

    def grants(self, key: GrantKey) -> tuple[GrantSeen, ...]:
        """The routers that the instance is granted to, as account B sees them: of a VPC those of the asked owner."""
        if key.instance_type is InstanceType.VBR:
            asked = vpc.DescribeGrantRulesToEcrRequest(
                region_id=key.instance_region, instance_id=key.instance_id, page_number=1, page_size=_VBR_PAGE
            )
            rules = self._vpc_call("DescribeGrantRulesToEcr", key, asked).ecr_grant_rules or []
            return tuple(GrantSeen(as_shown(one.ecr_instance_id, "router"), _text(one.ecr_uid)) for one in rules)
        # Whether it may be left out whose routers are meant, two pages say differently (openapi-ecr-vpc-sts.md section 2.4).
        request = vpc.DescribeVpcGrantRulesToEcrRequest(
            region_id=key.instance_region,
            ecr_owner_id=int(key.ecr_owner_uid),
            instance_id=key.instance_id,
            instance_type=key.instance_type,
            max_results=_PAGE,
        )
        models = self._vpc_call("DescribeVpcGrantRulesToEcr", key, request).grant_rule_models or []
        return tuple(
            GrantSeen(as_shown(one.ecr_id, "router"), _text(one.ecr_owner_id))
            for one in models
            if one.instance_id == key.instance_id
        )

    def _vpc(self, key: GrantKey) -> InstanceSeen | None:
        request = vpc.DescribeVpcAttributeRequest(vpc_id=key.instance_id, region_id=key.instance_region)
        try:
            body = self._vpc_call("DescribeVpcAttribute", key, request)
        except PermanentError as error:
            if NO_SUCH_VPC.search(error.code):
                return None
            raise
        held = body.associated_propagation_sources
        sources = (held.associated_propagation_sources if held else None) or []
        return InstanceSeen(
            owner=_text(body.owner_id) or key.instance_owner_uid,
            region=body.region_id or key.instance_region,
            status=body.status,
            cidrs=ranges_of(body),
            sources=tuple(
                RouteSource(
                    as_shown(one.source_type, "kind"), as_shown(one.source_instance_id, "id"), one.route_propagated
                )
                for one in sources
            ),
            routers=tuple(
                GrantSeen(as_shown(one.source_instance_id, "router"), _text(one.source_owner_id))
                for one in sources
                if one.source_type == "ECR"
            ),
        )

    def _vbr(self, key: GrantKey) -> InstanceSeen | None:
        wanted = vpc.DescribeVirtualBorderRoutersRequestFilter(key="VbrId", value=[key.instance_id])
        request = vpc.DescribeVirtualBorderRoutersRequest(region_id=key.instance_region, filter=[wanted])
        held = self._vpc_call("DescribeVirtualBorderRouters", key, request).virtual_border_router_set
        for one in (held.virtual_border_router_type if held else None) or []:
            if one.vbr_id == key.instance_id:
                on = one.ecr_id and one.ecr_attatch_status in _ATTACHED  # the platform's own spelling
                routers = (GrantSeen(as_shown(one.ecr_id, "router"), _text(one.ecr_owner_id)),) if on else ()
                return InstanceSeen(key.instance_owner_uid, key.instance_region, one.status, routers=routers)
        return None

    # -- the router --------------------------------------------------------------------------------------------------

    def router(self, owner: str, ecr_id: str) -> EcrSeen | None:
        """The router as that account has it; None when it has none by this id."""
        body = self._ecr_call(
            "DescribeExpressConnectRouter", owner, ecr.DescribeExpressConnectRouterRequest(ecr_id=ecr_id)
        )
        for one in body.ecr_list or []:
            if one.ecr_id == ecr_id:
                asn = int(one.alibaba_side_asn) if one.alibaba_side_asn else None
                return EcrSeen(_text(one.owner_id) or owner, one.status, one.biz_status, asn)
        return None

    def regions(self, owner: str, kind: InstanceType) -> tuple[str, ...]:
        """Where an ECR reaches instances of this kind."""
        request = ecr.ListExpressConnectRouterSupportedRegionRequest(node_type=kind)
        return tuple(
            self._ecr_call("ListExpressConnectRouterSupportedRegion", owner, request).supported_region_id_list or ()
        )

    def use(self, owner: str, ecr_id: str) -> EcrUse:
        """What is on the router and granted to it: a few pages of each. The neighbours' own address ranges are not read."""
        neighbours: list[NeighbourSeen] = []
        granted: list[GranterSeen] = []
        whole = True
        for body in self._some("DescribeExpressConnectRouterAssociation", owner, ecr_id):
            neighbours += [_associated(one) for one in body.association_list or []]
            whole = not body.next_token
        ends = [whole]
        for body in self._some("DescribeExpressConnectRouterChildInstance", owner, ecr_id):
            neighbours += [_attached(one) for one in body.child_instance_list or []]
            whole = not body.next_token
        ends.append(whole)
        for body in self._some("DescribeInstanceGrantedToExpressConnectRouter", owner, ecr_id):
            granted += [
                GranterSeen(
                    as_shown(one.node_id, "instance"),
                    as_shown(one.node_region_id, "region"),
                    as_shown(one.node_owner_uid, "owner", 20),
                    one.node_owner_bid or "",
                )
                for one in body.ecr_granted_instance_list or []
            ]
        return EcrUse(tuple(neighbours), tuple(granted), all(ends))

    def _some(self, operation: str, owner: str, ecr_id: str) -> Iterator[Any]:
        """The first pages of a listing of one router."""
        kind = getattr(ecr, f"{operation}Request")
        token: str | None = None
        for _ in range(_PAGES):
            body = self._ecr_call(operation, owner, kind(ecr_id=ecr_id, max_results=_PAGE, next_token=token))
            yield body
            token = body.next_token
            if not token:
                return

    def ranges(self, account: str, region: str, vpcs: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        """The address ranges of an account's VPCs in a region, at most 20 of them; one that is not there is not in it."""
        request = vpc.DescribeVpcsRequest(region_id=region, vpc_id=",".join(vpcs[:_IDS]), page_size=50)
        body = self._calls.read("DescribeVpcs", VpcClient, account, region, request)
        return {one.vpc_id: ranges_of(one) for one in (body.vpcs.vpc if body.vpcs else None) or []}

    def _vpc_call(self, operation: str, key: GrantKey, request: Any) -> Any:
        return self._calls.read(operation, VpcClient, key.instance_owner_uid, key.instance_region, request)

    def _ecr_call(self, operation: str, owner: str, request: Any) -> Any:
        return self._calls.read(operation, EcrClient, owner, self._calls.settings.region, request)


def _text(value: object) -> str | None:
    return str(value) if value else None


def _associated(one: Any) -> NeighbourSeen:
    """An association: of a VPC or, where it names one, of a transit router."""
    is_vpc = bool(one.vpc_id)
    return NeighbourSeen(
        kind=InstanceType.VPC if is_vpc else "TR",
        name=as_shown(one.vpc_id or one.transit_router_id, "instance"),
        region=as_shown(one.region_id, "region"),
        owner=as_shown(one.vpc_owner_id if is_vpc else one.transit_router_owner_id, "owner", 20),
        status=status_of(one.status),
        prefixes=in_order(one.allowed_prefixes or ()),
    )


def _attached(one: Any) -> NeighbourSeen:
    return NeighbourSeen(
        kind=InstanceType.VBR,
        name=as_shown(one.child_instance_id, "instance"),
        region=as_shown(one.child_instance_region_id, "region"),
        owner=as_shown(one.child_instance_owner_id, "owner", 20),
        status=status_of(one.status),
    )
