"""Express Connect Router 2023-09-01 (openapi-ecr-vpc-sts.md section 1).

The owner of a VPC or VBR (B) grants; the owner of the ECR (A) associates or attaches. Transit routers are refused by
name.
"""

import ipaddress
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

from localcloud.call import Call, Caller
from localcloud.clock import iso, milliseconds
from localcloud.network import Ecr, Grant, GrantKey, Link, Trace, new_id
from localcloud.operations import Change, Product, Reply, Work, token_page
from localcloud.params import EcrParams, Params
from localcloud.refusal import Refusal, not_emulated
from localcloud.worldfile import REGIONS

if TYPE_CHECKING:
    from localcloud.kernel import Cloud

PRODUCT = Product("ecr", "ExpressConnectRouter", "2023-09-01", frozenset({"POST"}), form_only=True, params=EcrParams)

ECR_ID = r"ecr-[a-z0-9]{6,32}"
ASSOCIATION_ID = r"ecr-assoc-[a-z0-9]{6,40}"
REGION = r"[a-z0-9-]{1,64}"
DEFAULT_ASN, RESERVED_ASN = 45104, 65025
MOST_RESULTS = 2**31 - 1


class EcrRefusal(Refusal):
    """A business error of this product: HTTP 4xx, or Success:false inside 200, by switch."""


def _refuse(code: str, message: str, status: int = 400) -> EcrRefusal:
    return EcrRefusal(status, code, message)


def _ecr_not_found() -> EcrRefusal:
    return _refuse("ResourceNotFound.EcrId", "EcrId not found.", 404)


def _lock() -> EcrRefusal:
    return _refuse("Conflict.Lock", "There are other unfinished operations.")


def _calling_failed() -> EcrRefusal:
    return _refuse("OperationFailed.CallingVpcYaochi", "The system is abnormal. Please try again later.")


def _rejected(control_plane: Literal["Ec", "Vpc"]) -> EcrRefusal:
    return _refuse(f"OperationFailed.RejectedBy{control_plane}Yaochi", "The operation was rejected.")


def _not_granted() -> EcrRefusal:
    return _refuse("OperationDenied.NotGrantedByNodeOwner", "The node owner is not authorized.")


def _ecr_resource(caller: Caller, ecr_id: str) -> str:
    """The region of an ECR's resource name is empty: the product is global."""
    return f"acs:expressconnectrouter::{caller.account}:expressconnectrouter/{ecr_id}"


def _on_ecr(operation: str, caller: Caller, ecr_id: str) -> list[tuple[str, str]]:
    return [(f"expressconnectrouter:{operation}", _ecr_resource(caller, ecr_id))]


# Grants, made by the owner of the instance


def _grant_key(params: Params) -> GrantKey:
    instance_type = params.required("InstanceType")
    if instance_type not in {"VPC", "VBR"}:
        raise params.illegal("InstanceType")
    ecr_id = params.required("EcrId", ECR_ID)
    ecr_owner = params.required("EcrOwnerAliUid", r"[1-9][0-9]{14,18}")
    instance_id = params.required("InstanceId", rf"{instance_type.lower()}-[a-z0-9]+")
    region = params.required("InstanceRegionId", REGION)
    if region not in REGIONS:
        raise params.illegal("InstanceRegionId")
    return GrantKey(ecr_id, ecr_owner, instance_type, instance_id, region)


def _on_instance(operation: str, caller: Caller, key: GrantKey, check: Callable[[Call], Change]) -> Work:
    """The permission is on the instance; which ECR it is granted to cannot be pinned by RAM (section 1.2)."""
    product, kind = _RESOURCES[key.instance_type]
    resource = f"acs:{product}:{key.instance_region}:{caller.account}:{kind}/{key.instance_id}"
    return Work(
        [(f"expressconnectrouter:{operation}", resource)],
        check=check,
        conditions=_TYPE_CONDITIONS[key.instance_type],
        region=key.instance_region,
    )


_RESOURCES = {"VPC": ("vpc", "vpc"), "VBR": ("expressconnect", "virtualborderrouter")}
_TYPE_CONDITIONS = {kind: {"InstanceType": kind, "expressconnectrouter:InstanceType": kind} for kind in ("VPC", "VBR")}


def _own_instance(cloud: "Cloud", caller: Caller, key: GrantKey) -> None:
    """The grant must be made by the account that owns the instance."""
    owner = cloud.network.instance_owner(key.instance_type, key.instance_id, key.instance_region)
    if owner != caller.account:
        if cloud.switches.foreign_instance == "calling_failed":
            raise _calling_failed()
        raise _refuse("IllegalParam.InstanceId", "The param of InstanceId is illegal.")


@PRODUCT.operation("GrantInstanceToExpressConnectRouter")
def grant_instance(cloud: "Cloud", caller: Caller, params: Params) -> Work:
    """B lets A's ECR reach a VPC or VBR (section 1.2); the answer does not carry the grant's id."""
    key = _grant_key(params)
    network = cloud.network

    def check(call: Call) -> Change:
        ecr = network.ecr(key.ecr_id, call.now)
        if ecr is None:
            raise _ecr_not_found()
        if ecr.owner != key.ecr_owner:
            raise _refuse("IllegalParam.EcrOwnerAliUid", "The Ecr instance account parameter is invalid.")
        _own_instance(cloud, caller, key)
        if key.instance_type == "VPC" and network.vpcs[key.instance_id][1].status != "Available":
            raise _refuse("IllegalParam.InstanceId", "The param of InstanceId is illegal.")
        if network.grant(key) is not None:
            if cloud.switches.grant_twice == "conflict":
                raise _lock()
            return dict

        def change() -> Reply:
            call.effect = True
            network.make_grant(key, caller.account, call)
            return {}

        return change

    return _on_instance("GrantInstanceToExpressConnectRouter", caller, key, check)


@PRODUCT.operation("RevokeInstanceFromExpressConnectRouter")
def revoke_instance(cloud: "Cloud", caller: Caller, params: Params) -> Work:
    """B takes a grant back (section 1.2); much of it is undocumented and therefore a switch (section 1.7)."""
    key = _grant_key(params)
    network = cloud.network

    def check(call: Call) -> Change:
        _own_instance(cloud, caller, key)
        if network.grant(key) is None:
            if cloud.switches.revoke_absent == "not_found":
                raise _refuse("EcGrantRelation.NotExist", "The grant relation does not exist.", 404)
            return dict
        if any(True for _ in network.links(call.now, ecr_id=key.ecr_id, node_id=key.instance_id)):
            if cloud.switches.revoke_while_associated == "conflict":
                raise _lock()
            if cloud.switches.revoke_while_associated == "calling_failed":
                raise _calling_failed()

        def change() -> Reply:
            call.effect = True
            network.end_grant(key, call)
            return {}

        return change

    return _on_instance("RevokeInstanceFromExpressConnectRouter", caller, key, check)


@PRODUCT.operation("DescribeInstanceGrantedToExpressConnectRouter")
def describe_granted(cloud: "Cloud", caller: Caller, params: Params) -> Work:
    """The grants to an ECR: all of them for its owner, B's own for B with CallerType=OTHER (section 1.3)."""
    ecr_id = params.required("EcrId", ECR_ID)
    wanted = (
        params.text("InstanceId"),
        params.text("InstanceRegionId", REGION),
        params.choice("InstanceType", "VPC", "VBR"),
        params.uid("InstanceOwnerId"),
    )
    allowed = ("sub", "parent") if cloud.switches.caller_type_other == "refused" else ("sub", "parent", "OTHER")
    caller_type = params.choice("CallerType", *allowed)
    _refuse_grouping(params)
    if params.tags("TagModels", "TagKey", "TagValue"):
        raise not_emulated("the parameter TagModels")
    page = token_page(params, "DescribeInstanceGrantedToExpressConnectRouter", 20, MOST_RESULTS)

    def look(call: Call) -> Reply:
        ecr = cloud.network.ecr(ecr_id, call.seen)
        as_owner = ecr is not None and ecr.owner == caller.account
        as_granter = caller_type == "OTHER" or (not as_owner and cloud.switches.caller_type_other == "optional")
        if ecr is None or not (as_owner or as_granter):
            if cloud.switches.granted_on_unknown_ecr == "empty":
                return {"EcrGrantedInstanceList": [], "TotalCount": 0, "MaxResults": page.size, "NextToken": ""}
            raise _ecr_not_found()
        found = [
            grant
            for grant in cloud.network.grants(call.seen)
            if grant.key.ecr_id == ecr_id
            and (not as_granter or grant.owner == caller.account)
            and all(
                not value or value == actual
                for value, actual in zip(
                    wanted,
                    (grant.key.instance_id, grant.key.instance_region, grant.key.instance_type, grant.owner),
                    strict=True,
                )
            )
        ]
        shown, token, total = page.cut(params, found, lambda grant: (grant.created, grant.grant_id))
        return {
            "EcrGrantedInstanceList": [_granted(cloud, grant) for grant in shown],
            "TotalCount": total,
            "MaxResults": page.size,
            "NextToken": token,
        }

    return Work(_on_ecr("DescribeInstanceGrantedToExpressConnectRouter", caller, ecr_id), look=look)


def _granted(cloud: "Cloud", grant: Grant) -> Reply:
    """One grant; its times are epoch milliseconds as text, unlike those of every other ECR object."""
    return {
        "GrantId": grant.grant_id,
        "Status": cloud.switches.grant_status,
        "EcrId": grant.key.ecr_id,
        "EcrOwnerAliUid": grant.key.ecr_owner,
        "NodeId": grant.key.instance_id,
        "NodeType": grant.key.instance_type,
        "NodeRegionId": grant.key.instance_region,
        "NodeOwnerUid": int(grant.owner),
        "NodeOwnerBid": cloud.network.enterprise[grant.owner],
        "GmtCreate": milliseconds(grant.created),
        "GmtModified": milliseconds(grant.created),
    }


def _refuse_grouping(params: Params) -> None:
    if params.text("ResourceGroupId"):
        raise not_emulated("the parameter ResourceGroupId")


# The ECR itself


@PRODUCT.operation("CreateExpressConnectRouter")
def create_ecr(cloud: "Cloud", caller: Caller, params: Params) -> Work:
    """A new ECR in the caller's account, active at once (section 1.4)."""
    asn = int(params.required("AlibabaSideAsn", r"[0-9]{1,10}"))
    if not (asn == DEFAULT_ASN or 64512 <= asn <= 65534 or 4200000000 <= asn <= 4294967294) or asn == RESERVED_ASN:
        raise _refuse("IllegalParam.AlibabaSideAsn", "The entered Bgp Asn is incorrect.")
    name = params.text("Name", longest=128)
    description = params.text("Description", longest=256)
    tags = tuple(params.tags("Tag"))
    _refuse_grouping(params)

    def check(call: Call) -> Change:
        most = cloud.network.limits.ecrs_per_account
        mine = [ecr for ecr in cloud.network.ecrs.values() if ecr.owner == caller.account and ecr.status(call.now)]
        if most is not None and len(mine) >= most:
            raise _refuse("QuotaExceeded.EcrCountPerUser", "ECR Quota Exceeded.")

        def change() -> Reply:
            call.effect = True
            return {"EcrId": cloud.network.create_ecr(caller.account, asn, name, description, tags, call.now).ecr_id}

        return change

    return Work(_on_ecr("CreateExpressConnectRouter", caller, "*"), check=check)


@PRODUCT.operation("DescribeExpressConnectRouter")
def describe_ecr(cloud: "Cloud", caller: Caller, params: Params) -> Work:
    """The caller's ECRs; an unknown id is an empty list (section 1.4)."""
    ecr_id = params.text("EcrId", ECR_ID)
    name = params.text("Name")
    tags = params.tags("Tag") + params.tags("TagModels", "TagKey", "TagValue")
    _refuse_grouping(params)
    page = token_page(params, "DescribeExpressConnectRouter", 20, MOST_RESULTS)

    def look(call: Call) -> Reply:
        found = [
            ecr
            for ecr in cloud.network.ecrs.values()
            if ecr.owner == caller.account
            and ecr.status(call.seen)
            and (not ecr_id or ecr.ecr_id == ecr_id)
            and (not name or ecr.name == name)
            and set(tags) <= set(ecr.tags)
        ]
        shown, token, total = page.cut(params, found, lambda ecr: (ecr.created, ecr.ecr_id))
        return {
            "EcrList": [_ecr(ecr, call.seen) for ecr in shown],
            "TotalCount": total,
            "MaxResults": page.size,
            "NextToken": token,
        }

    return Work(_on_ecr("DescribeExpressConnectRouter", caller, ecr_id or "*"), look=look)


def _ecr(ecr: Ecr, when: float) -> Reply:
    return {
        "EcrId": ecr.ecr_id,
        "OwnerId": int(ecr.owner),
        "Name": ecr.name,
        "Description": ecr.description,
        "AlibabaSideAsn": ecr.asn,
        "Status": ecr.status(when),
        "BizStatus": "Normal",
        "ResourceGroupId": "rg-default",
        "GmtCreate": iso(ecr.created),
        "GmtModified": iso(ecr.created),
        "Tags": [{"TagKey": key, "TagValue": value} for key, value in ecr.tags],
    }


@PRODUCT.operation("DeleteExpressConnectRouter")
def delete_ecr(cloud: "Cloud", caller: Caller, params: Params) -> Work:
    """The end of an ECR with nothing associated (section 1.4)."""
    ecr_id = params.required("EcrId", ECR_ID)
    network = cloud.network

    def check(call: Call) -> Change:
        ecr = _changeable(cloud, caller, ecr_id, call)
        if any(True for _ in network.links(call.now, ecr_id=ecr_id)):
            raise _refuse("ResourceInUse.Ecr", "The express connect router is currently in use.")
        outstanding = [grant.key for grant in network.grants(call.now) if grant.key.ecr_id == ecr_id]
        if outstanding and cloud.switches.delete_ecr_while_granted == "in_use":
            raise _refuse("ResourceInUse.Ecr", "The express connect router is currently in use.")

        def change() -> Reply:
            call.effect = True
            for key in outstanding:
                network.end_grant(key, call)
            network.delete_ecr(ecr, call.now)
            return {}

        return change

    return Work(_on_ecr("DeleteExpressConnectRouter", caller, ecr_id), check=check)


@PRODUCT.operation("ListExpressConnectRouterSupportedRegion")
def list_supported_regions(cloud: "Cloud", caller: Caller, params: Params) -> Work:  # noqa: ARG001
    """Where instances of a type can be reached (section 6)."""
    node_type = params.required("NodeType")
    if node_type == "TR":
        raise not_emulated("NodeType TR")
    if node_type not in {"VPC", "VBR"}:
        raise params.illegal("NodeType")

    def look(call: Call) -> Reply:  # noqa: ARG001
        return {"SupportedRegionIdList": sorted(REGIONS)}

    return Work(_on_ecr("ListExpressConnectRouterSupportedRegion", caller, "*"), look=look)


def _own_ecr(cloud: "Cloud", caller: Caller, ecr_id: str, when: float) -> Ecr:
    ecr = cloud.network.ecr(ecr_id, when)
    if ecr is None or ecr.owner != caller.account:
        raise _ecr_not_found()
    return ecr


def _changeable(cloud: "Cloud", caller: Caller, ecr_id: str, call: Call) -> Ecr:
    """The caller's ECR, when it may be changed: not while another change on it has just begun."""
    ecr = _own_ecr(cloud, caller, ecr_id, call.now)
    if call.now < ecr.locked_until:
        raise _lock()
    if ecr.status(call.now) != "ACTIVE":
        raise _refuse("IncorrectStatus.Ecr", "Ecr Status does not allow current operation.")
    return ecr


# Associations, made by the owner of the ECR


def _prefixes(cloud: "Cloud", params: Params) -> tuple[tuple[str, ...], str]:
    prefixes = tuple(params.many("AllowedPrefixes"))
    for prefix in prefixes:
        try:
            ipaddress.ip_network(prefix)
        except ValueError as error:
            raise params.malformed("AllowedPrefixes") from error
    most = cloud.network.limits.allowed_prefixes
    if most is not None and len(prefixes) > most:
        raise _refuse("IllegalParamSize.AllowedPrefixes", "The number of allowed prefixes exceeds the limit.")
    return prefixes, params.choice("AllowedPrefixesMode", "MatchMode", "IncrementalMode")


def _refuse_transit_routers(params: Params) -> None:
    for name in ("TransitRouterId", "TransitRouterOwnerId", "CenId", "CreateAttachment", "DeleteAttachment"):
        if params.text(name).lower() not in {"", "false"}:
            raise not_emulated(f"{name} (transit routers)")


@PRODUCT.operation("CreateExpressConnectRouterAssociation")
def create_association(cloud: "Cloud", caller: Caller, params: Params) -> Work:
    """A associates a VPC, of another account only when its owner granted it (section 1.5)."""
    ecr_id = params.required("EcrId", ECR_ID)
    region = params.required("AssociationRegionId", REGION)
    if params.text("VpcId") and params.text("TransitRouterId"):
        raise _refuse("ExclusiveParam.TransitRouterIdAndVpcId", "TransitRouterId and VpcId are exclusive.")
    _refuse_transit_routers(params)
    vpc_id = params.required("VpcId", r"vpc-[a-z0-9]+")
    vpc_owner = params.uid("VpcOwnerId") or caller.account
    prefixes, mode = _prefixes(cloud, params)
    description = params.text("Description", longest=128)
    tags = tuple(params.tags("Tag"))
    network = cloud.network

    def check(call: Call) -> Change:
        ecr = _own_ecr(cloud, caller, ecr_id, call.now)
        if region not in REGIONS:
            raise _refuse("UnsupportedRegion", "Feature not supported in specified region.")
        key = GrantKey(ecr_id, caller.account, "VPC", vpc_id, region)
        _granted_by(cloud, caller, key, vpc_owner, "Vpc", _not_granted())
        if network.enterprise[vpc_owner] != network.enterprise[caller.account]:
            raise _refuse(
                "OperationDenied.CrossBidAssociating",
                "Cross-border binding of resources is subject to compliance constraints.",
            )
        _changeable(cloud, caller, ecr_id, call)
        if network.vpcs[vpc_id][1].status != "Available":
            raise _rejected("Vpc")
        present = _present(cloud, call, key)
        if present is not None:
            return lambda: {"AssociationId": present.link_id}
        most = network.limits.vpcs_per_ecr
        if (
            most is not None
            and _count(link for link in network.links(call.now, ecr_id=ecr_id) if link.kind == "VPC") >= most
        ):
            raise _refuse("QuotaExceeded.VpcCountPerEcr", "The number of VPC bound to the ECR exceeds the quota.")

        def change() -> Reply:
            call.effect = True
            link = Link(
                link_id=new_id("ecr-assoc"),
                kind="VPC",
                ecr_id=ecr_id,
                ecr_owner=caller.account,
                node_id=vpc_id,
                node_region=region,
                node_owner=vpc_owner,
                description=description,
                created=call.now,
                made_by=Trace.of(call),
                tags=tags,
            )
            network.make_link(link, prefixes, mode or "MatchMode")
            network.occupy(ecr, "ASSOCIATING", call.now)
            return {"AssociationId": link.link_id}

        return change

    return Work(_on_ecr("CreateExpressConnectRouterAssociation", caller, ecr_id), check=check)


def _granted_by(
    cloud: "Cloud",
    caller: Caller,
    key: GrantKey,
    owner: str,
    control_plane: Literal["Ec", "Vpc"],
    ungranted: EcrRefusal,
) -> None:
    """The instance is the caller's own, or its owner granted it to this ECR."""
    if owner != caller.account:
        grant = cloud.network.grant(key)
        if grant is None or grant.owner != owner:
            raise ungranted
    elif cloud.network.instance_owner(key.instance_type, key.instance_id, key.instance_region) != owner:
        raise _rejected(control_plane)


def _present(cloud: "Cloud", call: Call, key: GrantKey) -> Link | None:
    """What an instance is linked to already: it can have one ECR only. None when it is free."""
    link = next((link for link in cloud.network.links(call.now, node_id=key.instance_id)), None)
    if link is None:
        return None
    if link.ecr_id == key.ecr_id:
        if link.ended_by is not None or cloud.switches.associate_twice == "conflict":
            raise _lock()
        if cloud.switches.associate_twice == "success":
            return link
    raise _rejected("Vpc" if key.instance_type == "VPC" else "Ec")


def _count(items: Iterable[object]) -> int:
    return sum(1 for _ in items)


def _association(cloud: "Cloud", caller: Caller, params: Params, call: Call) -> tuple[Ecr, Link]:
    """The caller's association named by EcrId and AssociationId, when it is at rest and may be changed."""
    ecr = _own_ecr(cloud, caller, params.text("EcrId"), call.now)
    wanted = params.text("AssociationId")
    link = next(
        (
            link
            for link in cloud.network.links(call.now, ecr_id=ecr.ecr_id)
            if link.link_id == wanted and link.kind == "VPC"
        ),
        None,
    )
    if link is None:
        raise _refuse("ResourceNotFound.AssociationId", "EcrAssociationId not found.", 404)
    if link.status(call.now) != "ACTIVE":
        raise _refuse("IncorrectStatus.EcrAssociation", "The status of the association does not allow the operation.")
    _changeable(cloud, caller, ecr.ecr_id, call)
    return ecr, link


@PRODUCT.operation("DeleteExpressConnectRouterAssociation")
def delete_association(cloud: "Cloud", caller: Caller, params: Params) -> Work:
    """A ends an association; it passes transitional states and is then absent (section 1.5)."""
    ecr_id = params.required("EcrId", ECR_ID)
    params.required("AssociationId", ASSOCIATION_ID)
    _refuse_transit_routers(params)

    def check(call: Call) -> Change:
        ecr, link = _association(cloud, caller, params, call)

        def change() -> Reply:
            call.effect = True
            cloud.network.end_link(link, call)
            cloud.network.occupy(ecr, "DISSOCIATING", call.now)
            return {}

        return change

    return Work(_on_ecr("DeleteExpressConnectRouterAssociation", caller, ecr_id), check=check)


@PRODUCT.operation("ModifyExpressConnectRouterAssociationAllowedPrefix")
def modify_allowed_prefixes(cloud: "Cloud", caller: Caller, params: Params) -> Work:
    """A replaces the allowed prefixes of an association: UPDATING, then ACTIVE."""
    ecr_id = params.required("EcrId", ECR_ID)
    params.required("AssociationId", ASSOCIATION_ID)
    prefixes, mode = _prefixes(cloud, params)

    def check(call: Call) -> Change:
        ecr, link = _association(cloud, caller, params, call)
        phase = link.timeline.at(call.now)
        kept_mode = phase.prefixes_mode if phase else ""

        def change() -> Reply:
            call.effect = True
            cloud.network.modify_link(link, prefixes, mode or kept_mode, call)
            cloud.network.occupy(ecr, "UPDATING", call.now)
            return {}

        return change

    return Work(_on_ecr("ModifyExpressConnectRouterAssociationAllowedPrefix", caller, ecr_id), check=check)


@PRODUCT.operation("DescribeExpressConnectRouterAssociation")
def describe_associations(cloud: "Cloud", caller: Caller, params: Params) -> Work:
    """The associations of one of the caller's ECRs (section 1.5)."""
    ecr_id = params.required("EcrId", ECR_ID)
    wanted = (
        params.text("AssociationId"),
        params.text("AssociationRegionId", REGION),
        params.text("VpcId"),
    )
    node_type = params.choice("AssociationNodeType", "VPC", "TR")
    _refuse_transit_routers(params)
    tags = params.tags("Tag")
    page = token_page(params, "DescribeExpressConnectRouterAssociation", 20, MOST_RESULTS)

    def look(call: Call) -> Reply:
        _own_ecr(cloud, caller, ecr_id, call.seen)
        found = [
            link
            for link in cloud.network.links(call.seen, ecr_id=ecr_id, node_id=wanted[2] or None)
            if link.kind == "VPC"
            and node_type != "TR"
            and (not wanted[0] or link.link_id == wanted[0])
            and (not wanted[1] or link.node_region == wanted[1])
            and set(tags) <= set(link.tags)
        ]
        shown, token, total = page.cut(params, found, lambda link: (link.created, link.link_id))
        return {
            "AssociationList": [_associated(cloud, link, call.seen) for link in shown],
            "TotalCount": total,
            "MaxResults": page.size,
            "NextToken": token,
        }

    return Work(_on_ecr("DescribeExpressConnectRouterAssociation", caller, ecr_id), look=look)


def _associated(cloud: "Cloud", link: Link, when: float) -> Reply:
    phase = link.timeline.at(when)
    return {
        "AssociationId": link.link_id,
        "EcrId": link.ecr_id,
        "RegionId": link.node_region,
        "OwnerId": int(link.ecr_owner),
        "Status": link.status(when),
        "AssociationNodeType": "VPC",
        "VpcId": link.node_id,
        "VpcName": cloud.network.vpcs[link.node_id][1].name,
        "VpcOwnerId": int(link.node_owner),
        "AllowedPrefixes": list(phase.allowed_prefixes) if phase else [],
        "AllowedPrefixesMode": phase.prefixes_mode if phase else "",
        "Description": link.description,
        "Tags": [{"Key": key, "Value": value} for key, value in link.tags],
        "GmtCreate": iso(link.created),
        "GmtModified": iso(link.modified),
    }


# Child instances (VBRs), attached by the owner of the ECR


def _child(params: Params) -> tuple[str, str]:
    ecr_id = params.required("EcrId", ECR_ID)
    if params.required("ChildInstanceType") != "VBR":
        raise params.illegal("ChildInstanceType")
    return ecr_id, params.required("ChildInstanceId", r"vbr-[a-z0-9]+")


@PRODUCT.operation("AttachExpressConnectRouterChildInstance")
def attach_child(cloud: "Cloud", caller: Caller, params: Params) -> Work:
    """A attaches a VBR, of another account only when its owner granted it (section 1.6)."""
    ecr_id, vbr_id = _child(params)
    region = params.required("ChildInstanceRegionId", REGION)
    owner = params.uid("ChildInstanceOwnerId") or caller.account
    description = params.text("Description", longest=128)
    network = cloud.network

    def check(call: Call) -> Change:
        ecr = _own_ecr(cloud, caller, ecr_id, call.now)
        if region not in REGIONS:
            raise _refuse("UnsupportedRegion", "Feature not supported in specified region.")
        key = GrantKey(ecr_id, caller.account, "VBR", vbr_id, region)
        ungranted = _rejected("Ec") if cloud.switches.attach_ungranted == "rejected" else _not_granted()
        _granted_by(cloud, caller, key, owner, "Ec", ungranted)
        vbr = network.vbrs[vbr_id][1]
        _changeable(cloud, caller, ecr_id, call)
        if network.enterprise[owner] != network.enterprise[caller.account] or vbr.status != "active":
            raise _rejected("Ec")
        if not vbr.mp_bgp:
            raise _refuse("OperationDenied.VbrDoesNotSupportMpbgp", "The VBR does not support MP-BGP.")
        if vbr.bgp_asn is not None and vbr.bgp_asn != ecr.asn:
            raise _refuse("Conflict.ASNOfVBR", "The ASN of the VBR conflicts with that of the ECR.")
        if _present(cloud, call, key) is not None:
            return dict

        def change() -> Reply:
            call.effect = True
            link = Link(
                link_id=new_id("ecr-assoc"),
                kind="VBR",
                ecr_id=ecr_id,
                ecr_owner=caller.account,
                node_id=vbr_id,
                node_region=region,
                node_owner=owner,
                description=description,
                created=call.now,
                made_by=Trace.of(call),
            )
            network.make_link(link, (), "")
            network.occupy(ecr, "ASSOCIATING", call.now)
            return {}

        return change

    return Work(_on_ecr("AttachExpressConnectRouterChildInstance", caller, ecr_id), check=check)


@PRODUCT.operation("DetachExpressConnectRouterChildInstance")
def detach_child(cloud: "Cloud", caller: Caller, params: Params) -> Work:
    """A detaches a VBR; it passes transitional states and is then absent (section 1.6)."""
    ecr_id, vbr_id = _child(params)

    def check(call: Call) -> Change:
        ecr = _own_ecr(cloud, caller, ecr_id, call.now)
        link = next(
            (link for link in cloud.network.links(call.now, ecr_id=ecr_id, node_id=vbr_id) if link.kind == "VBR"), None
        )
        if link is None:
            raise _refuse("ResourceNotFound.ChildInstanceId", "ChildInstanceId not found.", 404)
        if link.status(call.now) != "ACTIVE":
            raise _refuse(
                "IncorrectStatus.EcrAssociation", "The status of the association does not allow the operation."
            )
        _changeable(cloud, caller, ecr_id, call)

        def change() -> Reply:
            call.effect = True
            cloud.network.end_link(link, call)
            cloud.network.occupy(ecr, "DISSOCIATING", call.now)
            return {}

        return change

    return Work(_on_ecr("DetachExpressConnectRouterChildInstance", caller, ecr_id), check=check)


@PRODUCT.operation("DescribeExpressConnectRouterChildInstance")
def describe_children(cloud: "Cloud", caller: Caller, params: Params) -> Work:
    """The VBRs attached to one of the caller's ECRs (section 1.6)."""
    ecr_id = params.required("EcrId", ECR_ID)
    wanted = (
        params.text("AssociationId"),
        params.text("ChildInstanceId"),
        params.text("ChildInstanceRegionId", REGION),
    )
    params.choice("ChildInstanceType", "VBR")
    page = token_page(params, "DescribeExpressConnectRouterChildInstance", 20, MOST_RESULTS)

    def look(call: Call) -> Reply:
        _own_ecr(cloud, caller, ecr_id, call.seen)
        found = [
            link
            for link in cloud.network.links(call.seen, ecr_id=ecr_id, node_id=wanted[1] or None)
            if link.kind == "VBR"
            and (not wanted[0] or link.link_id == wanted[0])
            and (not wanted[2] or link.node_region == wanted[2])
        ]
        shown, token, total = page.cut(params, found, lambda link: (link.created, link.link_id))
        return {
            "ChildInstanceList": [_attached(cloud, link, call.seen) for link in shown],
            "TotalCount": total,
            "MaxResults": page.size,
            "NextToken": token,
        }

    return Work(_on_ecr("DescribeExpressConnectRouterChildInstance", caller, ecr_id), look=look)


def _attached(cloud: "Cloud", link: Link, when: float) -> Reply:
    return {
        "EcrId": link.ecr_id,
        "AssociationId": link.link_id,
        "ChildInstanceId": link.node_id,
        "ChildInstanceName": cloud.network.vbrs[link.node_id][1].name,
        "ChildInstanceType": "VBR",
        "ChildInstanceRegionId": link.node_region,
        "ChildInstanceOwnerId": int(link.node_owner),
        "OwnerId": int(link.ecr_owner),
        "RegionId": link.node_region,
        "Description": link.description,
        "Status": link.status(when),
        "GmtCreate": iso(link.created),
        "GmtModified": iso(link.modified),
    }
