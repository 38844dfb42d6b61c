"""Associations with VPCs, made by the owner of the ECR (openapi-ecr-vpc-sts.md section 1.5)."""

import ipaddress
from collections.abc import Iterable

from localcloud.call import Call, Caller
from localcloud.clock import iso
from localcloud.ecr.common import ECR_ID, MOST_RESULTS, REGION, changeable, on_ecr, own_ecr, refuse
from localcloud.ecr.links import granted_by, not_granted, present_link, rejected
from localcloud.kernel import Cloud
from localcloud.network import Ecr, GrantKey, Link, Trace, new_id
from localcloud.operations import Change, Reply, Work, token_page
from localcloud.params import Params
from localcloud.refusal import not_emulated
from localcloud.worldfile import VpcSpec

ASSOCIATION_ID = r"ecr-assoc-[a-z0-9]{6,40}"


def _prefixes(cloud: Cloud, params: Params) -> tuple[tuple[str, ...], str]:
    prefixes = tuple(params.many("AllowedPrefixes"))
    for prefix in prefixes:
        try:
            ipaddress.ip_network(prefix)
        except ValueError as error:
            raise params.malformed("AllowedPrefixes") from error
    most = cloud.network.limits.allowed_prefixes
    if most is not None and len(prefixes) > most:
        raise refuse("IllegalParamSize.AllowedPrefixes", "The number of allowed prefixes exceeds the limit.")
    return prefixes, params.choice("AllowedPrefixesMode", "MatchMode", "IncrementalMode")


def _refuse_transit_routers(params: Params) -> None:
    for name in ("TransitRouterId", "TransitRouterOwnerId", "CenId", "CreateAttachment", "DeleteAttachment"):
        if params.text(name).lower() not in {"", "false"}:
            raise not_emulated(f"{name} (transit routers)")


def create_association(cloud: Cloud, caller: Caller, params: Params) -> Work:
    """A associates a VPC, of another account only when its owner granted it (section 1.5)."""
    ecr_id = params.required("EcrId", ECR_ID)
    region = params.required("AssociationRegionId", REGION)
    if params.text("VpcId") and params.text("TransitRouterId"):
        raise refuse("ExclusiveParam.TransitRouterIdAndVpcId", "TransitRouterId and VpcId are exclusive.")
    _refuse_transit_routers(params)
    vpc_id = params.required("VpcId", r"vpc-[a-z0-9]+")
    vpc_owner = params.uid("VpcOwnerId") or caller.account
    prefixes, mode = _prefixes(cloud, params)
    description = params.text("Description", longest=128)
    tags = tuple(params.tags("Tag"))
    network = cloud.network

    def check(call: Call) -> Change:
        ecr = own_ecr(cloud, caller, ecr_id, call.now)
        if region not in network.ecr_regions:
            raise refuse("UnsupportedRegion", "Feature not supported in specified region.")
        key = GrantKey(ecr_id, caller.account, "VPC", vpc_id, region)
        granted_by(cloud, caller, key, vpc_owner, "Vpc", not_granted())
        if network.enterprise[vpc_owner] != network.enterprise[caller.account]:
            raise refuse(
                "OperationDenied.CrossBidAssociating",
                "Cross-border binding of resources is subject to compliance constraints.",
            )
        changeable(cloud, caller, ecr_id, call)
        if not _takes_routes(network.vpcs[vpc_id][1]):
            raise rejected("Vpc")
        present = present_link(cloud, call, key)
        if present is not None:
            return lambda: {"AssociationId": present.link_id}
        most = network.limits.vpcs_per_ecr
        if (
            most is not None
            and _count(link for link in network.links(call.now, ecr_id=ecr_id) if link.kind == "VPC") >= most
        ):
            raise refuse("QuotaExceeded.VpcCountPerEcr", "The number of VPC bound to the ECR exceeds the quota.")

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

    return Work(on_ecr("CreateExpressConnectRouterAssociation", caller, ecr_id), check=check)


def _takes_routes(vpc: VpcSpec) -> bool:
    """A VPC has one dynamic source of routes (section 7); how another one is refused is not documented."""
    learns = any(source.propagated and source.type != "VPN" for source in vpc.route_sources)
    return vpc.status == "Available" and not learns


def _count(items: Iterable[object]) -> int:
    return sum(1 for _ in items)


def _association(cloud: Cloud, caller: Caller, params: Params, call: Call) -> tuple[Ecr, Link]:
    """The caller's association named by EcrId and AssociationId, when it is at rest and may be changed."""
    ecr = own_ecr(cloud, caller, params.text("EcrId"), call.now)
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
        raise refuse("ResourceNotFound.AssociationId", "EcrAssociationId not found.", 404)
    if link.status(call.now) != "ACTIVE":
        raise refuse("IncorrectStatus.EcrAssociation", "The status of the association does not allow the operation.")
    changeable(cloud, caller, ecr.ecr_id, call)
    return ecr, link


def delete_association(cloud: Cloud, caller: Caller, params: Params) -> Work:
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

    return Work(on_ecr("DeleteExpressConnectRouterAssociation", caller, ecr_id), check=check)


def modify_allowed_prefixes(cloud: Cloud, caller: Caller, params: Params) -> Work:
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

    return Work(on_ecr("ModifyExpressConnectRouterAssociationAllowedPrefix", caller, ecr_id), check=check)


def describe_associations(cloud: Cloud, caller: Caller, params: Params) -> Work:
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
        own_ecr(cloud, caller, ecr_id, call.seen)

        def matches(link: Link) -> bool:
            return (
                node_type != "TR"
                and (not wanted[0] or link.link_id == wanted[0])
                and (not wanted[1] or link.node_region == wanted[1])
                and (not wanted[2] or link.node_id == wanted[2])
                and set(tags) <= set(link.tags)
            )

        shelf = cloud.network.links_of("VPC", ecr_id, call)
        every = node_type != "TR" and not any(wanted) and not tags
        shown, token, total = page.cut(
            params, shelf, lambda link: (link.created, link.link_id), None if every else matches
        )
        return {
            "AssociationList": [_associated(cloud, link, call.seen) for link in shown],
            "TotalCount": total,
            "MaxResults": page.size,
            "NextToken": token,
        }

    return Work(on_ecr("DescribeExpressConnectRouterAssociation", caller, ecr_id), look=look)


def _associated(cloud: Cloud, link: Link, when: float) -> Reply:
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
