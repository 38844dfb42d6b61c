"""VPC 2016-04-28: what B's side looks at (openapi-ecr-vpc-sts.md section 2). Reads only."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from localcloud.call import Call, Caller
from localcloud.clock import iso, milliseconds
from localcloud.kernel import Cloud
from localcloud.network import Grant, Link
from localcloud.operations import Product, Reply, Work, token_page
from localcloud.params import Params
from localcloud.refusal import Refusal, not_emulated
from localcloud.worldfile import REGIONS, RouteSourceSpec, VbrSpec, VpcSpec

_SETTLED = {"ACTIVE": "Attached", "INACTIVE": "Attached", "UPDATING": "Attached"}
_ON_THE_WAY = {
    "CREATING": "Attaching",
    "ASSOCIATING": "Attaching",
    "DISSOCIATING": "Detaching",
    "DELETING": "Detaching",
}
ATTACHMENT: Mapping[str, str] = {**_SETTLED, **_ON_THE_WAY}
"""How the instance's side shows the state of an association (sections 2.2 and 2.3)."""


def _region(params: Params) -> str:
    region = params.required("RegionId", r"[a-z0-9-]{1,64}")
    if region not in REGIONS:
        raise Refusal(404, "InvalidRegionId.NotFound", "The RegionId provided does not exist in our records.")
    return region


def _refuse_unknown_effects(params: Params, *names: str) -> None:
    """Parameters that would change the answer in a way that is not emulated."""
    for name in names:
        if params.text(name):
            raise not_emulated(f"the parameter {name}")


def _numbered_page(params: Params) -> tuple[int, int]:
    number = params.integer("PageNumber", 1, 2**31 - 1)
    size = params.integer("PageSize", 1, 50)
    return number or 1, size or 10


def _paged(items: Sequence[Any], page: tuple[int, int]) -> tuple[list[Any], Reply]:
    number, size = page
    shown = list(items[(number - 1) * size : number * size])
    return shown, {"PageNumber": number, "PageSize": size, "TotalCount": len(items)}


def describe_vpcs(cloud: Cloud, caller: Caller, params: Params) -> Work:
    """The caller's VPCs in a region; an unknown id is simply not in the list (section 2.1)."""
    region = _region(params)
    ids = [item for item in params.text("VpcId").split(",") if item]
    if len(ids) > 20:
        raise Refusal(400, "InvalidVpcIdNumber.NotSupported", "The number of vpcIds exceeds the limit.")
    name, owner, tags = params.text("VpcName"), params.uid("VpcOwnerId"), params.tags("Tag")
    wants_default, wants_ipv6 = params.flag("IsDefault"), params.flag("EnableIpv6")
    page = _numbered_page(params)
    _refuse_unknown_effects(params, "ResourceGroupId", "DhcpOptionsSetId")

    def look(call: Call) -> Reply:  # noqa: ARG001
        found: Sequence[VpcSpec] = cloud.network.vpcs_in.get((caller.account, region), ())
        if ids or name or owner or tags or wants_default or wants_ipv6:
            found = [
                vpc
                for vpc in found
                if (not ids or vpc.id in ids)
                and (not name or vpc.name == name)
                and (not owner or owner == caller.account)
                and all(vpc.tags.get(key) == value for key, value in tags)
                and not wants_default
                and not wants_ipv6
            ]
        shown, counts = _paged(found, page)
        return {**counts, "Vpcs": {"Vpc": [_vpc(cloud, caller.account, vpc) for vpc in shown]}}

    return Work([("vpc:DescribeVpcs", f"acs:vpc:{region}:{caller.account}:vpc/*")], look=look, region=region)


def _vpc(cloud: Cloud, owner: str, vpc: VpcSpec) -> Reply:
    """One VPC with the wrapped lists of the wire, two of which repeat the outer name inside."""
    return {
        "VpcId": vpc.id,
        "VpcName": vpc.name,
        "Status": vpc.status,
        "OwnerId": int(owner),
        "RegionId": vpc.region,
        "CidrBlock": vpc.cidr,
        "CreationTime": iso(cloud.network.started),
        "IsDefault": False,
        "Description": vpc.description,
        "ResourceGroupId": "rg-default",
        "VRouterId": f"vrt-{vpc.id.removeprefix('vpc-')}",
        "DhcpOptionsSetId": "",
        "DhcpOptionsSetStatus": "",
        "DnsHostnameStatus": "DISABLED",
        "EnabledIpv6": False,
        "Ipv6CidrBlock": "",
        "VSwitchIds": {"VSwitchId": []},
        "SecondaryCidrBlocks": {"SecondaryCidrBlock": list(vpc.secondary_cidrs)},
        "UserCidrs": {"UserCidr": []},
        "RouterTableIds": {"RouterTableIds": [f"vtb-{vpc.id.removeprefix('vpc-')}"]},
        "NatGatewayIds": {"NatGatewayIds": []},
        "Tags": {"Tag": [{"Key": key, "Value": value} for key, value in vpc.tags.items()]},
        "Ipv6CidrBlocks": {"Ipv6CidrBlock": []},
    }


def describe_vpc_attribute(cloud: Cloud, caller: Caller, params: Params) -> Work:
    """One VPC, with the ECR it is associated with as its owner sees it (section 2.2)."""
    region = _region(params)
    vpc_id = params.required("VpcId", r"[A-Za-z0-9-]{1,64}")
    params.flag("IsDefault")

    def look(call: Call) -> Reply:
        owner, vpc = cloud.network.vpcs.get(vpc_id, ("", None))
        if vpc is None or owner != caller.account or vpc.region != region:
            raise _unknown_vpc(cloud)
        sources = [
            _source(link, call.seen) for link in cloud.network.links(call.seen, node_id=vpc_id) if link.kind == "VPC"
        ]
        sources += [_other_source(owner, source) for source in vpc.route_sources]
        return {
            **_vpc(cloud, owner, vpc),
            "ClassicLinkEnabled": False,
            "SupportIpv4Gateway": False,
            "Ipv4GatewayId": "",
            "AssociatedCens": {"AssociatedCen": []},
            "CloudResources": {"CloudResourceSetType": []},
            "AssociatedPropagationSources": {"AssociatedPropagationSources": sources},
        }

    resource = f"acs:vpc:{region}:{caller.account}:vpc/{vpc_id}"
    return Work([("vpc:DescribeVpcAttribute", resource)], look=look, region=region)


def _source(link: Link, when: float) -> Reply:
    status = ATTACHMENT[link.status(when)]
    return {
        "SourceType": "ECR",
        "SourceInstanceId": link.ecr_id,
        "SourceOwnerId": int(link.ecr_owner),
        "Status": status,
        "RoutePropagated": status == "Attached",
    }


def _other_source(owner: str, source: RouteSourceSpec) -> Reply:
    return {
        "SourceType": source.type,
        "SourceInstanceId": source.id,
        "SourceOwnerId": int(owner),
        "Status": source.status,
        "RoutePropagated": source.propagated,
    }


def _unknown_vpc(cloud: Cloud) -> Refusal:
    code = cloud.switches.unknown_vpc
    if code == "Forbidden.VpcNotFound":
        return Refusal(400, code, "Specified VPC can not found.")
    return Refusal(404, code, "Specified VPC does not exist.")


_FILTERS: Mapping[str, Callable[[VbrSpec], str]] = {
    "VbrId": lambda vbr: vbr.id,
    "Status": lambda vbr: vbr.status,
    "Name": lambda vbr: vbr.name,
    "PhysicalConnectionId": lambda vbr: vbr.physical_connection,
}


def describe_virtual_border_routers(cloud: Cloud, caller: Caller, params: Params) -> Work:
    """The caller's VBRs in a region, with the ECR each is attached to (section 2.3)."""
    region = _region(params)
    page = _numbered_page(params)
    filters = _filters(params)
    tags = params.tags("Tags")
    params.flag("IncludeCrossAccountVbr")
    _refuse_unknown_effects(params, "ResourceGroupId")

    def look(call: Call) -> Reply:
        found: Sequence[VbrSpec] = cloud.network.vbrs_in.get((caller.account, region), ())
        if filters or tags:
            found = [
                vbr
                for vbr in found
                if all(_FILTERS[key](vbr) in values for key, values in filters)
                and all(vbr.tags.get(key) == value for key, value in tags)
            ]
        shown, counts = _paged(found, page)
        return {
            **counts,
            "VirtualBorderRouterSet": {"VirtualBorderRouterType": [_vbr(cloud, vbr, call.seen) for vbr in shown]},
        }

    resource = f"acs:vpc:{region}:{caller.account}:virtualborderrouter/*"
    return Work([("vpc:DescribeVirtualBorderRouters", resource)], look=look, region=region)


def _filters(params: Params) -> list[tuple[str, list[str]]]:
    """Filter.N.Key with Filter.N.Value.M: values of one key are alternatives."""
    numbers = sorted(
        {int(found.group(1)) for key in params.values if (found := re.fullmatch(r"Filter\.([0-9]{1,4})\..+", key))}
    )
    if len(numbers) > 5:
        raise params.malformed("Filter")
    filters = []
    for number in numbers:
        key = params.required(f"Filter.{number}.Key")
        if key in {"AccessPointId", "eccId", "type"}:
            raise not_emulated(f"the filter key {key}")
        if key not in _FILTERS:
            raise Refusal(
                404,
                "InvalidFilterKey.ValueNotSupported",
                f"Specified filter key is not supported: Filter.{number}.key",
            )
        filters.append((key, params.many(f"Filter.{number}.Value")))
    return filters


def _vbr(cloud: Cloud, vbr: VbrSpec, when: float) -> Reply:
    """One VBR; CreationTime has no trailing Z and EcrAttatchStatus is the service's own spelling."""
    link = next((link for link in cloud.network.links(when, node_id=vbr.id) if link.kind == "VBR"), None)
    return {
        "VbrId": vbr.id,
        "Name": vbr.name,
        "Description": vbr.description,
        "Status": vbr.status,
        "Type": "basic",
        "PhysicalConnectionId": vbr.physical_connection,
        "PhysicalConnectionOwnerUid": cloud.network.vbrs[vbr.id][0],
        "VlanId": vbr.vlan_id,
        "CreationTime": iso(cloud.network.started).removesuffix("Z"),
        "Bandwidth": 0,
        "EcrId": link.ecr_id if link else "",
        "EcrOwnerId": link.ecr_owner if link else "",
        "EcrAttatchStatus": ATTACHMENT[link.status(when)] if link else "",
        "SitelinkEnable": False,
        "ResourceGroupId": "rg-default",
        "Tags": {"Tags": [{"Key": key, "Value": value} for key, value in vbr.tags.items()]},
        "AssociatedCens": {"AssociatedCen": []},
        "AssociatedPhysicalConnections": {"AssociatedPhysicalConnection": []},
    }


def describe_bgp_groups(cloud: Cloud, caller: Caller, params: Params) -> Work:
    """The BGP groups of the caller's VBRs; ``LocalAsn`` is the cloud's side (VPC OpenAPI, DescribeBgpGroups).

    A VBR whose world file names no ASN has none.
    """
    region = _region(params)
    router = params.text("RouterId", r"vbr-[a-z0-9]+")
    page = _numbered_page(params)
    _refuse_unknown_effects(params, "BgpGroupId")
    if params.flag("IsDefault"):
        raise not_emulated("the parameter IsDefault")

    def look(call: Call) -> Reply:  # noqa: ARG001
        found = [
            vbr
            for vbr in cloud.network.vbrs_in.get((caller.account, region), ())
            if vbr.bgp_asn is not None and router in {"", vbr.id}
        ]
        shown, counts = _paged(found, page)
        return {**counts, "BgpGroups": {"BgpGroup": [_bgp_group(vbr) for vbr in shown]}}

    resource = f"acs:vpc:{region}:{caller.account}:virtualborderrouter/{router or '*'}"
    return Work([("vpc:DescribeBgpGroups", resource)], look=look, region=region)


def _bgp_group(vbr: VbrSpec) -> Reply:
    return {
        "BgpGroupId": f"bgpg-{vbr.id.removeprefix('vbr-')}",
        "Name": "",
        "Description": "",
        "RouterId": vbr.id,
        "RegionId": vbr.region,
        "Status": "Available",
        "LocalAsn": str(vbr.bgp_asn),
        "PeerAsn": "64512",
        "IpVersion": "IPv4",
        "IsFake": "false",
    }


def describe_vpc_grant_rules_to_ecr(cloud: Cloud, caller: Caller, params: Params) -> Work:
    """The grants on the caller's instances in a region; presence means granted (section 2.4)."""
    region = _region(params)
    wanted = (
        params.uid("EcrOwnerId"),
        params.text("InstanceId"),
        params.choice("InstanceType", "VPC", "VBR"),
        params.text("EcrInstanceId"),
    )
    page = token_page(params, "DescribeVpcGrantRulesToEcr", 100, 100)
    _refuse_unknown_effects(params, "ResourceGroupId")
    if params.tags("Tags"):
        raise not_emulated("the parameter Tags")

    def look(call: Call) -> Reply:
        def matches(grant: Grant) -> bool:
            return all(
                not value or value == actual
                for value, actual in zip(
                    wanted,
                    (grant.key.ecr_owner, grant.key.instance_id, grant.key.instance_type, grant.key.ecr_id),
                    strict=True,
                )
            )

        shelf = cloud.network.grants_of(caller.account, call, region)
        place = lambda grant: (grant.created, grant.grant_id)  # noqa: E731 - the order of pages
        shown, token, total = page.cut(params, shelf, place, matches if any(wanted) else None)
        return {
            "TotalCount": str(total),
            "NextToken": token,
            "GrantRuleModels": [
                {
                    "EcrId": grant.key.ecr_id,
                    "EcrOwnerId": int(grant.key.ecr_owner),
                    "InstanceId": grant.key.instance_id,
                    "InstanceUid": int(grant.owner),
                    "RegionNo": grant.key.instance_region,
                    "Type": grant.key.instance_type,
                    "CreationTime": milliseconds(grant.created),
                }
                for grant in shown
            ],
        }

    resource = f"acs:vpc:{region}:{caller.account}:vpc/{wanted[1] or '*'}"
    return Work([("vpc:DescribeVpcGrantRulesToEcr", resource)], look=look, region=region)


def describe_grant_rules_to_ecr(cloud: Cloud, caller: Caller, params: Params) -> Work:
    """The grants on one of the caller's VBRs (section 2.5)."""
    region = _region(params)
    vbr_id = params.required("InstanceId", r"vbr-[a-z0-9]+")
    page = _numbered_page(params)
    _refuse_unknown_effects(params, "ResourceGroupId")
    if params.tags("Tags"):
        raise not_emulated("the parameter Tags")

    def look(call: Call) -> Reply:
        found = [
            grant
            for grant in cloud.network.grants_of(caller.account, call, region)
            if grant.key.instance_type == "VBR" and grant.key.instance_id == vbr_id
        ]
        shown, counts = _paged(found, page)
        return {
            **counts,
            "Count": len(shown),
            "EcrGrantRules": [
                {
                    "EcrInstanceId": grant.key.ecr_id,
                    "EcrUid": int(grant.key.ecr_owner),
                    "CreateTime": iso(grant.created),
                }
                for grant in shown
            ],
        }

    # The VBR's resource name has the product code vpc here, and expressconnect when its grant is revoked.
    resource = f"acs:vpc:{region}:{caller.account}:virtualborderrouter/{vbr_id}"
    return Work([("vpc:DescribeGrantRulesToEcr", resource)], look=look, region=region)


PRODUCT = Product(
    "vpc",
    "Vpc",
    "2016-04-28",
    frozenset({"GET", "POST"}),
    operations={
        "DescribeVpcs": describe_vpcs,
        "DescribeVpcAttribute": describe_vpc_attribute,
        "DescribeVirtualBorderRouters": describe_virtual_border_routers,
        "DescribeBgpGroups": describe_bgp_groups,
        "DescribeVpcGrantRulesToEcr": describe_vpc_grant_rules_to_ecr,
        "DescribeGrantRulesToEcr": describe_grant_rules_to_ecr,
    },
    dry_run="error",
)
