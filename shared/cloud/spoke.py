"""Account B's side of a grant, as the official SDKs show and change it."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from dataclasses import replace
from datetime import datetime
from typing import Any

from alibabacloud_expressconnectrouter20230901 import models as ecr
from alibabacloud_vpc20160428 import models as vpc

from shared.cloud.calls import Calls, Trail, reading, spoke_of
from shared.cloud.gathering import Listed
from shared.errors import PermanentError
from shared.messages.forms import GrantKey, InstanceType
from shared.rules.facts import SpokeSeen
from shared.rules.leases import in_order

# The code for an unknown VPC is spelt in several ways across the product (VPC OpenAPI metadata; Terraform provider).
NO_SUCH_VPC = re.compile(r"vpc(id)?\.?notfound", re.IGNORECASE)


_PAGE = 100  # the most that DescribeVpcGrantRulesToEcr gives in one page


def _name(key: GrantKey) -> tuple[str, str, str]:
    return key.ecr_id, key.ecr_owner_uid, key.instance_id


def _named(rule: Any) -> tuple[Any, str, Any]:
    return rule.ecr_id, str(rule.ecr_owner_id), rule.instance_id


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
        is_vpc = key.instance_type is InstanceType.VPC
        granted, since = self._granted_vpc(key, trail) if is_vpc else self._granted_vbr(key, trail)
        return replace(known, found=True, granted=granted, since=since)

    def _instance(self, key: GrantKey, trail: Trail) -> SpokeSeen:
        nothing = SpokeSeen(found=False, granted=False, associated=False)
        if key.instance_type is InstanceType.VPC:
            request = vpc.DescribeVpcAttributeRequest(vpc_id=key.instance_id, region_id=key.instance_region)
            try:
                body = self._calls.vpc(key, "DescribeVpcAttribute", request, trail)
            except PermanentError as error:
                if NO_SUCH_VPC.search(error.code):
                    return nothing
                raise
            sources = body.associated_propagation_sources
            listed = (sources.associated_propagation_sources if sources else None) or []
            routers = [source.source_instance_id for source in listed if source.source_type == "ECR"]
            elsewhere = next((router for router in routers if router != key.ecr_id), None)
            right_place = not body.region_id or body.region_id == key.instance_region
            return SpokeSeen(right_place, False, key.ecr_id in routers, elsewhere, cidrs=ranges_of(body))
        wanted_id = vpc.DescribeVirtualBorderRoutersRequestFilter(key="VbrId", value=[key.instance_id])
        lookup = vpc.DescribeVirtualBorderRoutersRequest(region_id=key.instance_region, filter=[wanted_id])
        body = self._calls.vpc(key, "DescribeVirtualBorderRouters", lookup, trail)
        found = body.virtual_border_router_set
        for router in (found.virtual_border_router_type if found else None) or []:
            if router.vbr_id == key.instance_id:
                # The status field's spelling is the platform's (VPC OpenAPI, DescribeVirtualBorderRouters).
                attached = router.ecr_id and (router.ecr_attatch_status or "") not in ("", "Detached")
                here = router.ecr_id == key.ecr_id
                return SpokeSeen(True, False, bool(attached and here), router.ecr_id if attached and not here else None)
        return nothing

    def _granted_vpc(self, key: GrantKey, trail: Trail) -> tuple[bool, int | None]:
        listed = self._calls.gathering.ask(spoke_of(key), _name(key), lambda names: self._listed(key, names))
        if listed is not None and (listed.whole or _name(key) in listed.found):
            trail.calls += listed.calls
            since = listed.found.get(_name(key))
            return (False, None) if since is None else (True, _moment(since))
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
                if _named(rule) == _name(key):
                    return True, _moment(rule.creation_time)
            token = body.next_token
            if not token:
                return False, None

    def _listed(self, key: GrantKey, names: set[Hashable]) -> Listed[Any]:
        """What an account B has granted in a region to the ECRs of one account A: as many pages as are worth it for so many."""
        found: dict[Hashable, Any] = {}
        trail, token = Trail(), None
        for _ in range(max(1, len(names) // 2)):
            request = vpc.DescribeVpcGrantRulesToEcrRequest(
                region_id=key.instance_region,
                ecr_owner_id=int(key.ecr_owner_uid),
                instance_type=InstanceType.VPC,
                max_results=_PAGE,
                next_token=token,
            )
            body = self._calls.vpc(key, "DescribeVpcGrantRulesToEcr", request, trail)
            found |= {_named(rule): rule.creation_time or "" for rule in body.grant_rule_models or []}
            token = body.next_token
            if not token or names <= found.keys():
                break
        return Listed(found, not token, trail.calls)

    def _granted_vbr(self, key: GrantKey, trail: Trail) -> tuple[bool, int | None]:
        page = 1
        while True:
            request = vpc.DescribeGrantRulesToEcrRequest(
                region_id=key.instance_region, instance_id=key.instance_id, page_number=page, page_size=50
            )
            body = self._calls.vpc(key, "DescribeGrantRulesToEcr", request, trail)
            rules = body.ecr_grant_rules or []
            for rule in rules:
                if (rule.ecr_instance_id, str(rule.ecr_uid)) == (key.ecr_id, key.ecr_owner_uid):
                    return True, _moment(rule.create_time)
            if page * 50 >= int(body.total_count or 0) or not rules:
                return False, None
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


def ranges_of(one: Any) -> tuple[str, ...]:
    """The IPv4 ranges of a VPC, as DescribeVpcs and DescribeVpcAttribute show them alike."""
    held = one.secondary_cidr_blocks
    more = (held.secondary_cidr_block if held else None) or []
    return in_order(text for text in (one.cidr_block, *more) if text)


def _moment(text: object) -> int | None:
    """A time as the platform writes it, in epoch milliseconds: as such a number, or ISO 8601 (openapi-ecr-vpc-sts.md section 2).

    None for anything else: it is only shown.
    """
    written = str(text or "")
    if written.isdecimal():
        return int(written)
    try:
        return int(datetime.fromisoformat(written).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
