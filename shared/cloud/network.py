"""Account B's and account A's side of a grant, as the official SDKs show and change them.

Every method returns what it did or saw together with the API calls that served it. Reads are retried in place, a little;
writes never: after one, look.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import stamina
import structlog
from alibabacloud_expressconnectrouter20230901 import models as ecr
from alibabacloud_expressconnectrouter20230901.client import Client as EcrClient
from alibabacloud_vpc20160428 import models as vpc
from alibabacloud_vpc20160428.client import Client as VpcClient

from shared.cloud.clients import config, drop_connections, runtime
from shared.cloud.errors import check_envelope, translated
from shared.cloud.pace import Pace
from shared.cloud.sessions import Keys, Sessions
from shared.errors import Locked, PermanentError, TemporaryError, Throttled
from shared.inventory import Inventory
from shared.lease import in_order
from shared.messages import GrantKey, InstanceType, Served
from shared.settings import Settings

log = structlog.get_logger()


def _may_pass_soon(error: Exception) -> bool:
    """Trouble worth another try in place. Waiting for our own budget is not: it already was waited for."""
    return isinstance(error, TemporaryError) and error.code != "Paced"


# How often and how long reads are tried again in place; whatever lasts longer is the ledger's business.
reading = stamina.retry(on=_may_pass_soon, attempts=3, timeout=10.0, wait_initial=0.2, wait_max=2.0)

# A busy ECR has certainly not executed the write, so asking again with the same client token is no second write.
busy = stamina.retry(on=Locked, attempts=6, timeout=8.0, wait_initial=0.15, wait_max=2.0)

_IDLE_SECONDS = 15.0  # gateways and address translation keep idle connections for longer than this
_PAGE = 100  # the most that the VPC side gives in one page (DescribeVpcGrantRulesToEcr)
_IDS = 20  # ids in one look-up (DescribeVpcs)

# The words that steps and intents have for the writes.
_WRITES = {
    "grant": "GrantInstanceToExpressConnectRouter",
    "revoke": "RevokeInstanceFromExpressConnectRouter",
    "associate": "CreateExpressConnectRouterAssociation",
    "dissociate": "DeleteExpressConnectRouterAssociation",
    "set_prefixes": "ModifyExpressConnectRouterAssociationAllowedPrefix",
    "attach": "AttachExpressConnectRouterChildInstance",
    "detach": "DetachExpressConnectRouterChildInstance",
}

# The code for an unknown VPC is spelt in several ways across the product (VPC OpenAPI metadata; Terraform provider).
_NO_SUCH_VPC = re.compile(r"vpc(id)?\.?notfound", re.IGNORECASE)


@dataclass(frozen=True)
class SpokeSeen:
    """Account B's view. ``associated``: B's instance says that it hangs on this ECR, or is on its way to or from it."""

    found: bool
    granted: bool
    associated: bool


@dataclass(frozen=True)
class AssociationSeen:
    """Account A's view: the association of a VPC, or the child instance of a VBR. ``status`` None: there is none."""

    status: str | None
    association_id: str | None
    prefixes: tuple[str, ...]


class Trail:
    """The API calls that served one piece of work."""

    def __init__(self) -> None:
        self.calls: list[Served] = []

    def take(self) -> list[Served]:
        """What was noted since the last taking."""
        taken, self.calls = self.calls, []
        return taken


class Cloud:
    """Both accounts of every grant, entered by role. One object lives as long as the function instance."""

    def __init__(
        self,
        settings: Settings,
        inventory: Inventory,
        keys: Keys,
        patience: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``patience``: how many seconds a call may wait for its place in the budget."""
        self._clock = clock
        self._called_at = clock()
        self._settings = settings
        self._inventory = inventory
        self._keys = keys
        self._session_name = "ecr-grants"
        self._pace = Pace(window_seconds=settings.quota_seconds, patience=patience)
        self._sessions = Sessions(settings, lambda: self._keys, self._pace)
        self._ecrs: dict[str, threading.Lock] = {}
        self._ecrs_lock = threading.Lock()
        self.calls = 0

    def arrive(self, keys: Keys, invocation: str) -> None:
        """A new invocation: fresh keys, and a name that leads from the other account's audit log to our log.

        Between invocations a function is frozen: connections that rested for long are not trusted.
        """
        if self._clock() - self._called_at > _IDLE_SECONDS:
            drop_connections()
        self._keys = keys
        self._session_name = ("ecr-grants-" + re.sub(r"[^A-Za-z0-9.@_-]", "-", invocation))[:64]

    @property
    def crowded(self) -> bool:
        """Whether a budget was used up lately, so that ``expect`` is worth asking."""
        return self._pace.crowded

    def expect(self, key: GrantKey, word: str) -> None:
        """Raise Throttled when the write that a step's word stands for would have to wait for long, before any call is made.

        A look that leads to no write is a call wasted, and reads have a quota too.
        """
        account = key.instance_owner_uid if word in ("grant", "revoke") else key.ecr_owner_uid
        self._pace.expect(account, "", _WRITES[word])

    # -- account B -----------------------------------------------------------------------------------------------

    @reading
    def look_at_spoke(self, key: GrantKey, trail: Trail, known: SpokeSeen | None = None) -> SpokeSeen:
        """Whether B's instance is there, granted and associated. With ``known``, only the grant is read again."""
        if known is None:
            known = self._instance(key, trail)
            if not known.found:
                return known
        granted = self._granted_vpc(key, trail) if key.instance_type == "VPC" else self._granted_vbr(key, trail)
        return SpokeSeen(found=True, granted=granted, associated=known.associated)

    def _instance(self, key: GrantKey, trail: Trail) -> SpokeSeen:
        nothing = SpokeSeen(found=False, granted=False, associated=False)
        if key.instance_type == "VPC":
            request = vpc.DescribeVpcAttributeRequest(vpc_id=key.instance_id, region_id=key.instance_region)
            try:
                body = self._vpc(key, "DescribeVpcAttribute", request, trail)
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
        body = self._vpc(key, "DescribeVirtualBorderRouters", lookup, trail)
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
            body = self._vpc(key, "DescribeVpcGrantRulesToEcr", request, trail)
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
            body = self._vpc(key, "DescribeGrantRulesToEcr", request, trail)
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
        self._ecr(key, key.instance_owner_uid, operation, request, trail)

    # -- account A -----------------------------------------------------------------------------------------------

    @reading
    def look_at_association(self, key: GrantKey, trail: Trail) -> AssociationSeen:
        """What account A has for this instance on this ECR."""
        token: str | None = None
        while True:
            if key.instance_type == "VPC":
                body = self._ecr(
                    key,
                    key.ecr_owner_uid,
                    "DescribeExpressConnectRouterAssociation",
                    ecr.DescribeExpressConnectRouterAssociationRequest(
                        ecr_id=key.ecr_id,
                        vpc_id=key.instance_id,
                        association_region_id=key.instance_region,
                        association_node_type="VPC",
                        next_token=token,
                    ),
                    trail,
                )
                for found in body.association_list or []:
                    if found.vpc_id == key.instance_id:
                        prefixes = in_order(found.allowed_prefixes or ())
                        return AssociationSeen(found.status.upper(), found.association_id, prefixes)
            else:
                body = self._ecr(
                    key,
                    key.ecr_owner_uid,
                    "DescribeExpressConnectRouterChildInstance",
                    ecr.DescribeExpressConnectRouterChildInstanceRequest(
                        ecr_id=key.ecr_id,
                        child_instance_id=key.instance_id,
                        child_instance_type="VBR",
                        child_instance_region_id=key.instance_region,
                        next_token=token,
                    ),
                    trail,
                )
                for child in body.child_instance_list or []:
                    if child.child_instance_id == key.instance_id:
                        return AssociationSeen(child.status.upper(), child.association_id, ())
            token = body.next_token
            if not token:
                return AssociationSeen(None, None, ())

    def associate(self, key: GrantKey, prefixes: tuple[str, ...], token: str, trail: Trail) -> None:
        """Start the association (VPC) or attachment (VBR), as account A. It becomes ACTIVE later, or does not."""
        if key.instance_type == "VPC":
            self._ecr(
                key,
                key.ecr_owner_uid,
                "CreateExpressConnectRouterAssociation",
                ecr.CreateExpressConnectRouterAssociationRequest(
                    ecr_id=key.ecr_id,
                    association_region_id=key.instance_region,
                    vpc_id=key.instance_id,
                    vpc_owner_id=int(key.instance_owner_uid),
                    allowed_prefixes=list(prefixes) or None,
                    client_token=token,
                ),
                trail,
            )
        else:
            self._ecr(
                key,
                key.ecr_owner_uid,
                "AttachExpressConnectRouterChildInstance",
                ecr.AttachExpressConnectRouterChildInstanceRequest(
                    ecr_id=key.ecr_id,
                    child_instance_id=key.instance_id,
                    child_instance_type="VBR",
                    child_instance_region_id=key.instance_region,
                    child_instance_owner_id=int(key.instance_owner_uid),
                    client_token=token,
                ),
                trail,
            )

    def dissociate(self, key: GrantKey, association_id: str | None, token: str, trail: Trail) -> None:
        """Start taking the association or attachment away, as account A."""
        if key.instance_type == "VPC":
            self._ecr(
                key,
                key.ecr_owner_uid,
                "DeleteExpressConnectRouterAssociation",
                ecr.DeleteExpressConnectRouterAssociationRequest(
                    ecr_id=key.ecr_id, association_id=association_id, client_token=token
                ),
                trail,
            )
        else:
            self._ecr(
                key,
                key.ecr_owner_uid,
                "DetachExpressConnectRouterChildInstance",
                ecr.DetachExpressConnectRouterChildInstanceRequest(
                    ecr_id=key.ecr_id,
                    child_instance_id=key.instance_id,
                    child_instance_type="VBR",
                    client_token=token,
                ),
                trail,
            )

    def set_prefixes(
        self, key: GrantKey, association_id: str | None, prefixes: tuple[str, ...], token: str, trail: Trail
    ) -> None:
        """Change the allowed prefixes of a standing association, as account A, without taking it away first."""
        self._ecr(
            key,
            key.ecr_owner_uid,
            "ModifyExpressConnectRouterAssociationAllowedPrefix",
            ecr.ModifyExpressConnectRouterAssociationAllowedPrefixRequest(
                ecr_id=key.ecr_id,
                association_id=association_id,
                allowed_prefixes=list(prefixes),
                client_token=token,
            ),
            trail,
        )

    # -- many at once, by page -----------------------------------------------------------------------------------------

    def grants_on_ecr(self, owner: str, ecr_id: str) -> Iterator[GrantKey]:
        """Everything that is granted to an ECR, as account A sees it."""
        for body in self._pages(
            owner,
            "DescribeInstanceGrantedToExpressConnectRouter",
            lambda token: ecr.DescribeInstanceGrantedToExpressConnectRouterRequest(
                ecr_id=ecr_id, max_results=_PAGE, next_token=token
            ),
        ):
            for found in body.ecr_granted_instance_list or []:
                if found.node_type in ("VPC", "VBR"):
                    yield GrantKey(
                        ecr_id, owner, found.node_type, found.node_id, found.node_region_id, str(found.node_owner_uid)
                    )

    def associations_on_ecr(self, owner: str, ecr_id: str) -> Iterator[tuple[GrantKey, AssociationSeen]]:
        """Every VPC association and VBR attachment of an ECR, as account A sees them."""
        for body in self._pages(
            owner,
            "DescribeExpressConnectRouterAssociation",
            lambda token: ecr.DescribeExpressConnectRouterAssociationRequest(
                ecr_id=ecr_id, association_node_type="VPC", max_results=_PAGE, next_token=token
            ),
        ):
            for one in body.association_list or []:
                key = GrantKey(ecr_id, owner, "VPC", one.vpc_id, one.region_id, str(one.vpc_owner_id))
                yield key, AssociationSeen(one.status.upper(), one.association_id, in_order(one.allowed_prefixes or ()))
        for body in self._pages(
            owner,
            "DescribeExpressConnectRouterChildInstance",
            lambda token: ecr.DescribeExpressConnectRouterChildInstanceRequest(
                ecr_id=ecr_id, child_instance_type="VBR", max_results=_PAGE, next_token=token
            ),
        ):
            for one in body.child_instance_list or []:
                place = one.child_instance_region_id, str(one.child_instance_owner_id)
                key = GrantKey(ecr_id, owner, "VBR", one.child_instance_id, *place)
                yield key, AssociationSeen(one.status.upper(), one.association_id, ())

    def owns_ecr(self, owner: str, ecr_id: str) -> bool:
        """Whether the account still has this ECR."""
        request = ecr.DescribeExpressConnectRouterRequest(ecr_id=ecr_id)
        body = self._read("DescribeExpressConnectRouter", EcrClient, owner, self._settings.region, request)
        return any(found.ecr_id == ecr_id for found in body.ecr_list or [])

    def grants_of_account(self, account: str, region: str, ecr_owner: str) -> Iterator[GrantKey]:
        """What an account B has granted to the ECRs of one account A in one region, as account B sees it."""
        for body in self._pages(
            account,
            "DescribeVpcGrantRulesToEcr",
            lambda token: vpc.DescribeVpcGrantRulesToEcrRequest(
                region_id=region, ecr_owner_id=int(ecr_owner), max_results=_PAGE, next_token=token
            ),
            region=region,
        ):
            for rule in body.grant_rule_models or []:
                kind: InstanceType = "VBR" if rule.instance_id.startswith("vbr-") else "VPC"
                yield GrantKey(rule.ecr_id, str(rule.ecr_owner_id), kind, rule.instance_id, region, account)

    def existing(self, account: str, region: str, instances: Sequence[str]) -> set[str]:
        """Which of these VPCs and VBRs an account B still has in a region."""
        found: set[str] = set()
        vpcs = [one for one in instances if one.startswith("vpc-")]
        vbrs = [one for one in instances if one.startswith("vbr-")]
        for chunk in (vpcs[start : start + _IDS] for start in range(0, len(vpcs), _IDS)):
            listing = vpc.DescribeVpcsRequest(region_id=region, vpc_id=",".join(chunk), page_size=50)
            body = self._read("DescribeVpcs", VpcClient, account, region, listing)
            found |= {one.vpc_id for one in (body.vpcs.vpc if body.vpcs else None) or []}
        for chunk in (vbrs[start : start + _IDS] for start in range(0, len(vbrs), _IDS)):
            chosen = vpc.DescribeVirtualBorderRoutersRequestFilter(key="VbrId", value=chunk)
            routers = vpc.DescribeVirtualBorderRoutersRequest(region_id=region, filter=[chosen], page_size=50)
            body = self._read("DescribeVirtualBorderRouters", VpcClient, account, region, routers)
            routers_found = body.virtual_border_router_set
            found |= {one.vbr_id for one in (routers_found.virtual_border_router_type if routers_found else None) or []}
        return found

    def _pages(
        self, account: str, operation: str, request: Callable[[str | None], Any], region: str | None = None
    ) -> Iterator[Any]:
        """Page by page until the platform says that there is no next one."""
        client = EcrClient if region is None else VpcClient
        token: str | None = None
        while True:
            body = self._read(operation, client, account, region or self._settings.region, request(token))
            yield body
            token = body.next_token
            if not token:
                return

    @reading
    def _read(self, operation: str, client: Callable[[Any], Any], account: str, region: str, request: Any) -> Any:
        body = self._call(client, region, account, "account", operation, request, Trail())
        if client is EcrClient:
            check_envelope(operation, account, body)
        return body

    # -- calls ---------------------------------------------------------------------------------------------------------

    def _vpc(self, key: GrantKey, operation: str, request: Any, trail: Trail) -> Any:
        """One VPC call in account B."""
        account, field = key.instance_owner_uid, "instance.owner_uid"
        return self._call(VpcClient, key.instance_region, account, field, operation, request, trail)

    def _ecr(self, key: GrantKey, account: str, operation: str, request: Any, trail: Trail) -> Any:
        """One ECR call in either account."""
        field = "ecr.owner_uid" if account == key.ecr_owner_uid else "instance.owner_uid"
        if operation.startswith("Describe"):
            return self._checked(key.instance_region, account, field, operation, request, trail)
        with self._one_at_a_time(key.ecr_id):
            return self._write(key.instance_region, account, field, operation, request, trail)

    @busy
    def _write(self, region: str, account: str, field: str, operation: str, request: Any, trail: Trail) -> Any:
        return self._checked(region, account, field, operation, request, trail)

    def _checked(self, region: str, account: str, field: str, operation: str, request: Any, trail: Trail) -> Any:
        body = self._call(EcrClient, region, account, field, operation, request, trail)
        check_envelope(operation, account, body)
        return body

    def _one_at_a_time(self, ecr_id: str) -> threading.Lock:
        """Writes on one ECR go in order: the platform answers Conflict.Lock to the second of two."""
        with self._ecrs_lock:
            return self._ecrs.setdefault(ecr_id, threading.Lock())

    def _call(
        self,
        client: Callable[[Any], Any],
        region: str,
        uid: str,
        field: str,
        operation: str,
        request: Any,
        trail: Trail,
    ) -> Any:
        account = self._inventory.account(uid, field)
        endpoint = self._settings.ecr_endpoint if client is EcrClient else self._settings.vpc_endpoint
        session = self._sessions.enter(uid, account.role, account.external_id, self._session_name)
        place = "" if client is EcrClient else region  # ECR has one central endpoint for all regions
        self._pace.take(uid, place, operation)
        self.calls += 1
        self._called_at = self._clock()
        method = re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower() + "_with_options"  # as the SDKs name them
        try:
            with translated(operation, uid):
                ready = client(config(endpoint, region, session.keys))
                body = getattr(ready, method)(request, runtime()).body
        except Throttled:
            self._pace.throttled(uid, place, operation)
            raise
        except TemporaryError as error:
            if error.code.startswith("InvalidSecurityToken"):
                self._sessions.forget(uid)
            raise
        trail.calls.append(
            Served(operation=operation, account=uid, session=session.name, api_request_id=body.request_id)
        )
        log.info("cloud.called", operation=operation, account=uid, session=session.name, api_request_id=body.request_id)
        return body
