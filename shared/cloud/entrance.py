"""Whether an account B lets us in and lets us do what it should, as far as that can be seen without changing anything there.

Every answer says what was seen. What cannot be proved safely is *unknown*, with why: a write is only ever asked with DryRun, on
an instance that is not granted, and afterwards it is read whether the platform kept to it (openapi-ecr-vpc-sts.md section 1: a
dry run changes nothing; what one that passed answers is not documented).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from alibabacloud_expressconnectrouter20230901 import models as ecr
from alibabacloud_vpc20160428 import models as vpc
from alibabacloud_vpc20160428.client import Client as VpcClient

from shared.cloud.calls import Calls, Trail
from shared.cloud.pages import READ_ONLY
from shared.cloud.spoke import Spoke
from shared.errors import GoneAlready, GrantError, PermissionMissing
from shared.messages.forms import GrantKey, InstanceType
from shared.rules.health import Check, Finding, Verdict
from shared.rules.inventory import Inventory

_ONE_PAGE = 10
_PASSED = "DryRunOperation"  # how VPC says that a dry run passed; whether ECR does, nobody documents


class Entrance:
    """An account B, looked at from outside."""

    def __init__(self, calls: Calls, inventory: Inventory, *, reads_only: bool) -> None:
        """``reads_only``: it is reconcile that looks; its sessions are narrowed to its reads, so nothing more can be proved."""
        self._calls = calls
        self._inventory = inventory
        self._reads_only = reads_only

    def examine(self, uid: str) -> list[Finding]:
        """Everything, in order. Raises NotAllowed for an account that is not listed."""
        account = self._inventory.account(uid, "account")
        entered = self._enter(uid)
        if entered.verdict is not Verdict.OK:
            return [entered, _found("everything else", Verdict.UNKNOWN, "the account could not be entered")]
        found = [entered, self._strangers(uid)]
        regions = account.regions or self._inventory.regions or [self._calls.settings.region]
        for region in regions:
            found += self._reads(uid, region)
        return found + self._writes(uid, regions)

    # -- the role ----------------------------------------------------------------------------------------------------

    def _enter(self, uid: str) -> Finding:
        def attempt() -> str:
            self._calls.enter(uid)
            return "the role lets us in with the listed external id"

        found = _tried("role", attempt)
        if found.verdict is Verdict.WRONG and not self._reads_only:
            why = "STS does not say whether the role is wrong, or only trusts others than whose keys these are"
            return _found(found.about, Verdict.UNKNOWN, f"{found.text}; {why}: the deployed reconcile can tell")
        return found

    def _strangers(self, uid: str) -> Finding:
        """The same role with another external id: it must be refused."""
        what = "external id"
        try:
            self._calls.enter(uid, external_id="ecr-grants:not-the-external-id")
        except PermissionMissing:
            return _found(what, Verdict.OK, "with another external id the role lets nobody in")
        except GrantError as error:
            return _found(what, Verdict.UNKNOWN, str(error))
        return _found(
            what, Verdict.WRONG, "the role lets us in with any external id: its trust policy does not ask for one"
        )

    # -- reads -------------------------------------------------------------------------------------------------------

    def _reads(self, uid: str, region: str) -> list[Finding]:
        vpcs = vpc.DescribeVpcsRequest(region_id=region, page_size=_ONE_PAGE)
        vbrs = vpc.DescribeVirtualBorderRoutersRequest(region_id=region, page_size=_ONE_PAGE)
        found = [
            self._read(uid, region, "DescribeVpcs", vpcs),
            self._read(uid, region, "DescribeVirtualBorderRouters", vbrs),
        ]
        for owner in (each for each, account in self._inventory.accounts.items() if account.ecrs):
            rules = vpc.DescribeVpcGrantRulesToEcrRequest(
                region_id=region, ecr_owner_id=int(owner), max_results=_ONE_PAGE
            )
            found.append(self._read(uid, region, "DescribeVpcGrantRulesToEcr", rules))
        found.append(self._read_one(uid, region, "DescribeVpcAttribute", "VPC", self._vpcs, _vpc_request))
        found.append(self._read_one(uid, region, "DescribeGrantRulesToEcr", "VBR", self._vbrs, _vbr_request))
        found.append(self._read_one(uid, region, "DescribeBgpGroups", "VBR", self._vbrs, _bgp_request))
        return found

    def _read(self, uid: str, region: str, operation: str, request: Any) -> Finding:
        def attempt() -> str:
            self._calls.read(operation, VpcClient, uid, region, request)
            return "allowed"

        return _tried(f"vpc:{operation} in {region}", attempt)

    def _read_one(
        self,
        uid: str,
        region: str,
        operation: str,
        kind: str,
        listed: Callable[[str, str], list[str]],
        request: Callable[[str, str], Any],
    ) -> Finding:
        """A read that wants an instance to be named."""
        what = f"vpc:{operation} in {region}"
        if self._reads_only and f"vpc:{operation}" not in json.loads(READ_ONLY)["Statement"][0]["Action"]:
            return _found(what, Verdict.UNKNOWN, "reconcile, which looked, never calls this")
        try:
            instances = listed(uid, region)
        except GrantError as error:
            return _found(what, Verdict.UNKNOWN, f"no {kind} could be looked for: {error}")
        if not instances:
            return _found(what, Verdict.UNKNOWN, f"there is no {kind} to try it on")
        return self._read(uid, region, operation, request(region, instances[0]))

    def _vpcs(self, uid: str, region: str) -> list[str]:
        request = vpc.DescribeVpcsRequest(region_id=region, page_size=_ONE_PAGE)
        body = self._calls.read("DescribeVpcs", VpcClient, uid, region, request)
        return [one.vpc_id for one in (body.vpcs.vpc if body.vpcs else None) or []]

    def _vbrs(self, uid: str, region: str) -> list[str]:
        request = vpc.DescribeVirtualBorderRoutersRequest(region_id=region, page_size=_ONE_PAGE)
        found = self._calls.read(
            "DescribeVirtualBorderRouters", VpcClient, uid, region, request
        ).virtual_border_router_set
        return [one.vbr_id for one in (found.virtual_border_router_type if found else None) or []]

    # -- writes ------------------------------------------------------------------------------------------------------

    def _writes(self, uid: str, regions: list[str]) -> list[Finding]:
        names = [
            f"expressconnectrouter:{name}InstanceToExpressConnectRouter".replace(
                "RevokeInstanceTo", "RevokeInstanceFrom"
            )
            for name in ("Grant", "Revoke")
        ]
        if self._reads_only:
            why = "reconcile, which looked, may only read; the first grant shows it"
            return [_found(name, Verdict.UNKNOWN, why) for name in names]
        try:
            key = self._free(uid, regions)
        except GrantError as error:
            return [_found(name, Verdict.UNKNOWN, f"no instance could be looked for: {error}") for name in names]
        if key is None:
            why = "there is no VPC that is not granted, or no router is listed, to try it on"
            return [_found(name, Verdict.UNKNOWN, why) for name in names]
        requests = ecr.GrantInstanceToExpressConnectRouterRequest, ecr.RevokeInstanceFromExpressConnectRouterRequest
        return [self._dry(name, key, request) for name, request in zip(names, requests, strict=True)]

    def _free(self, uid: str, regions: list[str]) -> GrantKey | None:
        """A VPC that is not granted to the first listed router."""
        owners = [
            (owner, next(iter(account.ecrs))) for owner, account in self._inventory.accounts.items() if account.ecrs
        ]
        for owner, router in owners[:1]:
            for region in regions:
                for instance in self._vpcs(uid, region):
                    key = GrantKey(router, owner, InstanceType.VPC, instance, region, uid)
                    if not Spoke(self._calls).look_at_spoke(key, Trail()).granted:
                        return key
        return None

    def _dry(self, what: str, key: GrantKey, kind: Callable[..., Any]) -> Finding:
        request = kind(
            ecr_id=key.ecr_id,
            ecr_owner_ali_uid=int(key.ecr_owner_uid),
            instance_id=key.instance_id,
            instance_type=key.instance_type,
            instance_region_id=key.instance_region,
            dry_run=True,
        )

        def attempt() -> str:
            try:
                self._calls.ecr(key, key.instance_owner_uid, what.partition(":")[2], request, Trail())
            except GoneAlready:
                return f"allowed: a dry run on {key.instance_id} found nothing to take back"
            except GrantError as error:
                if error.code != _PASSED:
                    raise
            return f"allowed: a dry run on {key.instance_id} passed"

        found = _tried(what, attempt)
        if Spoke(self._calls).look_at_spoke(key, Trail()).granted:
            text = f"{key.instance_id} is granted to {key.ecr_id} after a dry run: take that back by hand"
            return _found(what, Verdict.WRONG, text)
        return found


def _vpc_request(region: str, instance: str) -> Any:
    return vpc.DescribeVpcAttributeRequest(region_id=region, vpc_id=instance)


def _vbr_request(region: str, instance: str) -> Any:
    return vpc.DescribeGrantRulesToEcrRequest(
        region_id=region, instance_id=instance, page_number=1, page_size=_ONE_PAGE
    )


def _bgp_request(region: str, instance: str) -> Any:
    return vpc.DescribeBgpGroupsRequest(region_id=region, router_id=instance, page_size=_ONE_PAGE)


def _found(what: str, verdict: Verdict, text: str) -> Finding:
    return Finding(Check.ROLES, what, verdict, text)


def _tried(what: str, attempt: Callable[[], str]) -> Finding:
    """A refusal is wrong; whatever else happened proves nothing."""
    try:
        return _found(what, Verdict.OK, attempt())
    except PermissionMissing as error:
        return _found(what, Verdict.WRONG, str(error))
    except GrantError as error:
        return _found(what, Verdict.UNKNOWN, str(error))
