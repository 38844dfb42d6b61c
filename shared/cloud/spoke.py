"""Account B's side of a grant, as the official SDKs show and change it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from alibabacloud_expressconnectrouter20230901 import models as ecr
from alibabacloud_vpc20160428 import models as vpc

from shared.cloud.calls import Calls, Trail, reading
from shared.errors import PermanentError
from shared.messages.forms import GrantKey, InstanceType
from shared.rules.facts import SpokeSeen

# The code for an unknown VPC is spelt in several ways across the product (VPC OpenAPI metadata; Terraform provider).
_NO_SUCH_VPC = re.compile(r"vpc(id)?\.?notfound", re.IGNORECASE)


class Spoke:
    """What account B has, and the grant that it gives."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    @reading
    def look_at_spoke(self, key: GrantKey, trail: Trail, known: SpokeSeen | None = None) -> SpokeSeen:
        """Whether B's instance is there, granted and associated. With ``known``, only the grant is read again."""
        if known is None:
            known = self._instance(key, trail)
            if not known.found:
                return known
        granted = (
            self._granted_vpc(key, trail) if key.instance_type is InstanceType.VPC else self._granted_vbr(key, trail)
        )
        return SpokeSeen(found=True, granted=granted, associated=known.associated)

    def _instance(self, key: GrantKey, trail: Trail) -> SpokeSeen:
        nothing = SpokeSeen(found=False, granted=False, associated=False)
        if key.instance_type is InstanceType.VPC:
            request = vpc.DescribeVpcAttributeRequest(vpc_id=key.instance_id, region_id=key.instance_region)
            try:
                body = self._calls.vpc(key, "DescribeVpcAttribute", request, trail)
            except PermanentError as error:
                if _NO_SUCH_VPC.search(error.code):
                    return nothing
                raise
            sources = body.associated_propagation_sources
            listed = (sources.associated_propagation_sources if sources else None) or []
            associated = any(
                source.source_type == "ECR" and source.source_instance_id == key.ecr_id for source in listed
            )
            right_place = not body.region_id or body.region_id == key.instance_region
            return SpokeSeen(found=right_place, granted=False, associated=associated)
        wanted_id = vpc.DescribeVirtualBorderRoutersRequestFilter(key="VbrId", value=[key.instance_id])
        lookup = vpc.DescribeVirtualBorderRoutersRequest(region_id=key.instance_region, filter=[wanted_id])
        body = self._calls.vpc(key, "DescribeVirtualBorderRouters", lookup, trail)
        found = body.virtual_border_router_set
        for router in (found.virtual_border_router_type if found else None) or []:
            if router.vbr_id == key.instance_id:
                # The status field's spelling is the platform's (VPC OpenAPI, DescribeVirtualBorderRouters).
                attached = router.ecr_id == key.ecr_id and (router.ecr_attatch_status or "") not in ("", "Detached")
                return SpokeSeen(found=True, granted=False, associated=attached)
        return nothing

    def _granted_vpc(self, key: GrantKey, trail: Trail) -> bool:
        token: str | None = None
        while True:
            request = vpc.DescribeVpcGrantRulesToEcrRequest(
                region_id=key.instance_region,
                ecr_owner_id=int(key.ecr_owner_uid),
                ecr_instance_id=key.ecr_id,
                instance_id=key.instance_id,
                instance_type=key.instance_type,
                next_token=token,
            )
            body = self._calls.vpc(key, "DescribeVpcGrantRulesToEcr", request, trail)
            for rule in body.grant_rule_models or []:
                if (rule.ecr_id, str(rule.ecr_owner_id), rule.instance_id) == (
                    key.ecr_id,
                    key.ecr_owner_uid,
                    key.instance_id,
                ):
                    return True
            token = body.next_token
            if not token:
                return False

    def _granted_vbr(self, key: GrantKey, trail: Trail) -> bool:
        page = 1
        while True:
            request = vpc.DescribeGrantRulesToEcrRequest(
                region_id=key.instance_region, instance_id=key.instance_id, page_number=page, page_size=50
            )
            body = self._calls.vpc(key, "DescribeGrantRulesToEcr", request, trail)
            rules = body.ecr_grant_rules or []
            if any((rule.ecr_instance_id, str(rule.ecr_uid)) == (key.ecr_id, key.ecr_owner_uid) for rule in rules):
                return True
            if page * 50 >= int(body.total_count or 0) or not rules:
                return False
            page += 1

    def grant(self, key: GrantKey, token: str, trail: Trail) -> None:
        """Ask for the grant, as account B. ``token`` makes a repetition of this very call harmless."""
        self._change_spoke(
            key, "GrantInstanceToExpressConnectRouter", ecr.GrantInstanceToExpressConnectRouterRequest, token, trail
        )

    def revoke(self, key: GrantKey, token: str, trail: Trail) -> None:
        """Take the grant back, as account B."""
        self._change_spoke(
            key,
            "RevokeInstanceFromExpressConnectRouter",
            ecr.RevokeInstanceFromExpressConnectRouterRequest,
            token,
            trail,
        )

    def _change_spoke(self, key: GrantKey, operation: str, kind: Callable[..., Any], token: str, trail: Trail) -> None:
        request = kind(
            ecr_id=key.ecr_id,
            ecr_owner_ali_uid=int(key.ecr_owner_uid),
            instance_id=key.instance_id,
            instance_type=key.instance_type,
            instance_region_id=key.instance_region,
            client_token=token,
        )
        self._calls.ecr(key, key.instance_owner_uid, operation, request, trail)
