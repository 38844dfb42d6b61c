"""Both accounts by page: everything that is granted and associated, for comparing it with the ledger."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from sys import intern

from alibabacloud_expressconnectrouter20230901 import models as ecr
from alibabacloud_expressconnectrouter20230901.client import Client as EcrClient
from alibabacloud_vpc20160428 import models as vpc
from alibabacloud_vpc20160428.client import Client as VpcClient

from shared.cloud.calls import Calls
from shared.cloud.hub import as_shown, status_of
from shared.cloud.pace import Busiest
from shared.messages.forms import GrantKey, InstanceType
from shared.rules.facts import AssociationSeen
from shared.rules.leases import in_order

_PAGE = 100  # the most that the VPC side gives in one page (DescribeVpcGrantRulesToEcr)
_IDS = 20  # ids in one look-up (DescribeVpcs)

_READS = {
    "expressconnectrouter": (
        "DescribeExpressConnectRouter",
        "DescribeExpressConnectRouterAssociation",
        "DescribeExpressConnectRouterChildInstance",
        "DescribeInstanceGrantedToExpressConnectRouter",
    ),
    "vpc": ("DescribeVirtualBorderRouters", "DescribeVpcGrantRulesToEcr", "DescribeVpcs"),
}
READ_ONLY = json.dumps(
    {
        "Version": "1",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": [f"{product}:{operation}" for product, names in _READS.items() for operation in names],
                "Resource": ["*"],
            }
        ],
    }
)
"""The session policy of whoever only looks: no more than the calls here, whatever more the role it enters by may."""


class Pages:
    """The cloud by page, as both accounts show it."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    @property
    def calls(self) -> int:
        """How many calls were made so far."""
        return self._calls.made

    def busiest(self) -> Busiest:
        """The budget that came closest to its ceiling since this was asked last."""
        return self._calls.busiest()

    def grants_on_ecr(self, owner: str, ecr_id: str) -> Iterator[GrantKey]:
        """Everything that is granted to an ECR, as account A sees it."""
        for body in self._calls.pages(
            owner,
            "DescribeInstanceGrantedToExpressConnectRouter",
            lambda token: ecr.DescribeInstanceGrantedToExpressConnectRouterRequest(
                ecr_id=ecr_id, max_results=_PAGE, next_token=token
            ),
        ):
            for found in body.ecr_granted_instance_list or []:
                if found.node_type in tuple(InstanceType):
                    place = found.node_id, found.node_region_id, found.node_owner_uid
                    yield _key(ecr_id, owner, InstanceType(found.node_type), *place)

    def associations_on_ecr(self, owner: str, ecr_id: str) -> Iterator[tuple[GrantKey, AssociationSeen]]:
        """Every VPC association and VBR attachment of an ECR, as account A sees them."""
        for body in self._calls.pages(
            owner,
            "DescribeExpressConnectRouterAssociation",
            lambda token: ecr.DescribeExpressConnectRouterAssociationRequest(
                ecr_id=ecr_id, association_node_type="VPC", max_results=_PAGE, next_token=token
            ),
        ):
            for one in body.association_list or []:
                key = _key(ecr_id, owner, InstanceType.VPC, one.vpc_id, one.region_id, one.vpc_owner_id)
                yield key, _association(status_of(one.status), tuple(one.allowed_prefixes or ()))
        for body in self._calls.pages(
            owner,
            "DescribeExpressConnectRouterChildInstance",
            lambda token: ecr.DescribeExpressConnectRouterChildInstanceRequest(
                ecr_id=ecr_id, child_instance_type="VBR", max_results=_PAGE, next_token=token
            ),
        ):
            for one in body.child_instance_list or []:
                place = one.child_instance_id, one.child_instance_region_id, one.child_instance_owner_id
                key = _key(ecr_id, owner, InstanceType.VBR, *place)
                yield key, _association(status_of(one.status), ())

    def owns_ecr(self, owner: str, ecr_id: str) -> bool:
        """Whether the account still has this ECR."""
        request = ecr.DescribeExpressConnectRouterRequest(ecr_id=ecr_id)
        body = self._calls.read("DescribeExpressConnectRouter", EcrClient, owner, self._calls.settings.region, request)
        return any(found.ecr_id == ecr_id for found in body.ecr_list or [])

    def grants_of_account(self, account: str, region: str, ecr_owner: str) -> Iterator[GrantKey]:
        """What an account B has granted to the ECRs of one account A in one region, as account B sees it."""
        for body in self._calls.pages(
            account,
            "DescribeVpcGrantRulesToEcr",
            lambda token: vpc.DescribeVpcGrantRulesToEcrRequest(
                region_id=region, ecr_owner_id=int(ecr_owner), max_results=_PAGE, next_token=token
            ),
            region=region,
        ):
            for rule in body.grant_rule_models or []:
                kind = InstanceType.VBR if str(rule.instance_id).startswith("vbr-") else InstanceType.VPC
                yield _key(rule.ecr_id, rule.ecr_owner_id, kind, rule.instance_id, region, account)

    def existing(self, account: str, region: str, instances: Sequence[str]) -> set[str]:
        """Which of these VPCs and VBRs an account B still has in a region."""
        found: set[str] = set()
        vpcs = [one for one in instances if one.startswith("vpc-")]
        vbrs = [one for one in instances if one.startswith("vbr-")]
        for chunk in (vpcs[start : start + _IDS] for start in range(0, len(vpcs), _IDS)):
            listing = vpc.DescribeVpcsRequest(region_id=region, vpc_id=",".join(chunk), page_size=50)
            body = self._calls.read("DescribeVpcs", VpcClient, account, region, listing)
            found |= {one.vpc_id for one in (body.vpcs.vpc if body.vpcs else None) or []}
        for chunk in (vbrs[start : start + _IDS] for start in range(0, len(vbrs), _IDS)):
            chosen = vpc.DescribeVirtualBorderRoutersRequestFilter(key="VbrId", value=chunk)
            routers = vpc.DescribeVirtualBorderRoutersRequest(region_id=region, filter=[chosen], page_size=50)
            body = self._calls.read("DescribeVirtualBorderRouters", VpcClient, account, region, routers)
            routers_found = body.virtual_border_router_set
            found |= {one.vbr_id for one in (routers_found.virtual_border_router_type if routers_found else None) or []}
        return found


@lru_cache(maxsize=10_000)
def _association(status: str, prefixes: tuple[str, ...]) -> AssociationSeen:
    """How an association is, without its id: the same few a hundred thousand times over, so each is kept once."""
    return AssociationSeen(status, None, in_order(prefixes))


def _key(
    ecr: object, ecr_owner: object, kind: InstanceType, instance: object, region: object, owner: object
) -> GrantKey:
    """The grant that a row is about, as far as the cloud says; a row that leaves something out is still shown."""
    # The same few names a hundred thousand times over: each is kept once.
    return GrantKey(
        intern(as_shown(ecr, "router")),
        intern(as_shown(ecr_owner, "owner", 20)),
        kind,
        intern(as_shown(instance, "instance")),
        intern(as_shown(region, "region")),
        intern(as_shown(owner, "owner", 20)),
    )
