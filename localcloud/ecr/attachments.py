"""Child instances (VBRs), attached by the owner of the ECR (openapi-ecr-vpc-sts.md section 1.6)."""

from localcloud.call import Call, Caller
from localcloud.clock import iso
from localcloud.ecr.common import ECR_ID, MOST_RESULTS, REGION, changeable, on_ecr, own_ecr, refuse
from localcloud.ecr.links import granted_by, not_granted, present_link, rejected
from localcloud.kernel import Cloud
from localcloud.network import GrantKey, Link, Trace, new_id
from localcloud.operations import Change, Reply, Work, token_page
from localcloud.params import Params


def _child(params: Params) -> tuple[str, str]:
    ecr_id = params.required("EcrId", ECR_ID)
    if params.required("ChildInstanceType") != "VBR":
        raise params.illegal("ChildInstanceType")
    return ecr_id, params.required("ChildInstanceId", r"vbr-[a-z0-9]+")


def attach_child(cloud: Cloud, caller: Caller, params: Params) -> Work:
    """A attaches a VBR, of another account only when its owner granted it (section 1.6)."""
    ecr_id, vbr_id = _child(params)
    region = params.required("ChildInstanceRegionId", REGION)
    owner = params.uid("ChildInstanceOwnerId") or caller.account
    description = params.text("Description", longest=128)
    network = cloud.network

    def check(call: Call) -> Change:
        ecr = own_ecr(cloud, caller, ecr_id, call.now)
        if region not in network.ecr_regions:
            raise refuse("UnsupportedRegion", "Feature not supported in specified region.")
        key = GrantKey(ecr_id, caller.account, "VBR", vbr_id, region)
        ungranted = rejected("Ec") if cloud.switches.attach_ungranted == "rejected" else not_granted()
        granted_by(cloud, caller, key, owner, "Ec", ungranted)
        vbr = network.vbrs[vbr_id][1]
        changeable(cloud, caller, ecr_id, call)
        if network.enterprise[owner] != network.enterprise[caller.account] or vbr.status != "active":
            raise rejected("Ec")
        if not vbr.mp_bgp:
            raise refuse("OperationDenied.VbrDoesNotSupportMpbgp", "The VBR does not support MP-BGP.")
        if vbr.bgp_asn is not None and vbr.bgp_asn != ecr.asn:
            raise refuse("Conflict.ASNOfVBR", "The ASN of the VBR conflicts with that of the ECR.")
        if present_link(cloud, call, key) is not None:
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

    return Work(on_ecr("AttachExpressConnectRouterChildInstance", caller, ecr_id), check=check)


def detach_child(cloud: Cloud, caller: Caller, params: Params) -> Work:
    """A detaches a VBR; it passes transitional states and is then absent (section 1.6)."""
    ecr_id, vbr_id = _child(params)

    def check(call: Call) -> Change:
        ecr = own_ecr(cloud, caller, ecr_id, call.now)
        link = next(
            (link for link in cloud.network.links(call.now, ecr_id=ecr_id, node_id=vbr_id) if link.kind == "VBR"), None
        )
        if link is None:
            raise refuse("ResourceNotFound.ChildInstanceId", "ChildInstanceId not found.", 404)
        if link.status(call.now) != "ACTIVE":
            raise refuse(
                "IncorrectStatus.EcrAssociation", "The status of the association does not allow the operation."
            )
        changeable(cloud, caller, ecr_id, call)

        def change() -> Reply:
            call.effect = True
            cloud.network.end_link(link, call)
            cloud.network.occupy(ecr, "DISSOCIATING", call.now)
            return {}

        return change

    return Work(on_ecr("DetachExpressConnectRouterChildInstance", caller, ecr_id), check=check)


def describe_children(cloud: Cloud, caller: Caller, params: Params) -> Work:
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
        own_ecr(cloud, caller, ecr_id, call.seen)

        def matches(link: Link) -> bool:
            return all(
                not value or value == actual
                for value, actual in zip(wanted, (link.link_id, link.node_id, link.node_region), strict=True)
            )

        shelf = cloud.network.links_of("VBR", ecr_id, call)
        place = lambda link: (link.created, link.link_id)  # noqa: E731 - the order of pages
        shown, token, total = page.cut(params, shelf, place, matches if any(wanted) else None)
        return {
            "ChildInstanceList": [_attached(cloud, link, call.seen) for link in shown],
            "TotalCount": total,
            "MaxResults": page.size,
            "NextToken": token,
        }

    return Work(on_ecr("DescribeExpressConnectRouterChildInstance", caller, ecr_id), look=look)


def _attached(cloud: Cloud, link: Link, when: float) -> Reply:
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
