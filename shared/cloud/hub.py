"""Account A's side of a grant, as the official SDK shows and changes it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from alibabacloud_expressconnectrouter20230901 import models as ecr

from shared.cloud.calls import Calls, Trail, hub_of, reading
from shared.cloud.gathering import Listed
from shared.messages.forms import GrantKey, InstanceType
from shared.rules.facts import AssociationSeen
from shared.rules.leases import in_order

_PAGE = 100


def status_of(status: str | None) -> str:
    """A status as it is compared; one that the platform left out is known as that, and never taken for another."""
    return as_shown(status, "status", 32).upper()[:32]


def as_shown(text: object, what: str, longest: int = 64) -> str:
    """A name as the cloud shows it and the ledger can keep it: what is left out, or is no text that a column takes, stays
    visible as that, and is never taken for what it is not.
    """
    written = "" if text is None else str(text)
    kept = "".join(each if each.isprintable() else "?" for each in written) or f"no {what}"
    return kept if len(kept) <= longest else kept[: longest - 1] + "…"


def id_of(text: str | None) -> str | None:
    """An id that the ledger can keep; one that is like none of the platform's is not taken for one."""
    return text if text is not None and text.isascii() and text.isprintable() and 0 < len(text) <= 64 else None


class Hub:
    """What account A has on its ECRs: the association of a VPC, the attachment of a VBR."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    @reading
    def look_at_association(self, key: GrantKey, trail: Trail) -> AssociationSeen:
        """What account A has for this instance on this ECR."""
        if key.instance_type is InstanceType.VPC:
            name = key.instance_id
            listed = self._calls.gathering.ask(hub_of(key), name, lambda names: self._listed(key, names))
            if listed is not None and (listed.whole or name in listed.found):
                trail.calls += listed.calls
                return listed.found.get(name) or AssociationSeen(None, None, ())
        token: str | None = None
        while True:
            if key.instance_type is InstanceType.VPC:
                body = self._calls.ecr(
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
                        return AssociationSeen(status_of(found.status), id_of(found.association_id), prefixes)
            else:
                body = self._calls.ecr(
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
                        return AssociationSeen(status_of(child.status), id_of(child.association_id), ())
            token = body.next_token
            if not token:
                return AssociationSeen(None, None, ())

    def _listed(self, key: GrantKey, names: set[Hashable]) -> Listed[Any]:
        """The VPC associations of an ECR: as many pages as are worth it for so many."""
        found: dict[Hashable, Any] = {}
        trail, token = Trail(), None
        for _ in range(max(1, len(names) // 2)):
            request = ecr.DescribeExpressConnectRouterAssociationRequest(
                ecr_id=key.ecr_id, association_node_type="VPC", max_results=_PAGE, next_token=token
            )
            operation = "DescribeExpressConnectRouterAssociation"
            body = self._calls.ecr(key, key.ecr_owner_uid, operation, request, trail)
            for one in body.association_list or []:
                seen = AssociationSeen(
                    status_of(one.status), id_of(one.association_id), in_order(one.allowed_prefixes or ())
                )
                found[one.vpc_id] = seen
            token = body.next_token
            if not token or names <= found.keys():
                break
        return Listed(found, not token, trail.calls)

    def associate(self, key: GrantKey, prefixes: tuple[str, ...], token: str, trail: Trail) -> None:
        """Start the association (VPC) or attachment (VBR), as account A. It becomes ACTIVE later, or does not."""
        if key.instance_type is InstanceType.VPC:
            self._calls.ecr(
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
            self._calls.ecr(
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
        if key.instance_type is InstanceType.VPC:
            self._calls.ecr(
                key,
                key.ecr_owner_uid,
                "DeleteExpressConnectRouterAssociation",
                ecr.DeleteExpressConnectRouterAssociationRequest(
                    ecr_id=key.ecr_id, association_id=association_id, client_token=token
                ),
                trail,
            )
        else:
            self._calls.ecr(
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
        self._calls.ecr(
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
