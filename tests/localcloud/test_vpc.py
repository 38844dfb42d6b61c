"""VPC through the official SDK: what the owner of an instance can look at."""

from functools import partial
from typing import Any

import pytest
from alibabacloud_expressconnectrouter20230901 import models as ecr
from alibabacloud_vpc20160428 import models as vpc

from tests.localcloud.conftest import RunCloud
from tests.localcloud.harness import HANGZHOU, LocalCloud, Stage, allow, refused, send, signed_rpc, stage, user


def vpcs(cloud: LocalCloud, at: Stage, **more: Any) -> Any:
    """B's VPCs."""
    request = vpc.DescribeVpcsRequest(**{"region_id": HANGZHOU, **more})
    return cloud.vpc(at.b).describe_vpcs(request).body


def attribute(cloud: LocalCloud, at: Stage, **more: Any) -> Any:
    """One VPC of B's."""
    request = vpc.DescribeVpcAttributeRequest(**{"region_id": HANGZHOU, "vpc_id": at.vpc_id, **more})
    return cloud.vpc(at.b).describe_vpc_attribute(request).body


def vbrs(cloud: LocalCloud, at: Stage, **more: Any) -> Any:
    """B's VBRs."""
    request = vpc.DescribeVirtualBorderRoutersRequest(**{"region_id": HANGZHOU, **more})
    return cloud.vpc(at.b).describe_virtual_border_routers(request).body


def by(key: str, *values: str) -> vpc.DescribeVirtualBorderRoutersRequestFilter:
    """A filter of the VBR list."""
    return vpc.DescribeVirtualBorderRoutersRequestFilter(key=key, value=list(values))


def test_a_vpc_is_shown_to_its_owner(run_cloud: RunCloud) -> None:
    """The list shows the owner's VPC with the wrapped lists the SDK expects; to anybody else it is not there."""
    at = stage()
    at.world["accounts"][at.spoke]["vpcs"][0].update(
        {"tags": {"team": "orders"}, "secondary_cidrs": ["10.40.0.0/16"], "description": "the orders"}
    )
    cloud = run_cloud(at.world)

    found = vpcs(cloud, at).vpcs.vpc[0]
    foreign = cloud.vpc(at.a).describe_vpcs(vpc.DescribeVpcsRequest(region_id=HANGZHOU)).body

    assert (found.vpc_id, found.vpc_name, found.status) == (at.vpc_id, "orders", "Available")
    assert (found.owner_id, found.region_id, found.cidr_block) == (int(at.spoke), HANGZHOU, "10.20.0.0/16")
    assert (found.is_default, found.description) == (False, "the orders")
    assert found.creation_time.endswith("Z")
    assert found.secondary_cidr_blocks.secondary_cidr_block == ["10.40.0.0/16"]
    assert len(found.router_table_ids.router_table_ids) == 1
    assert [(tag.key, tag.value) for tag in found.tags.tag] == [("team", "orders")]
    assert (foreign.total_count, foreign.vpcs.vpc) == (0, [])


def test_vpcs_are_filtered(run_cloud: RunCloud) -> None:
    """Filters by id (many in one text), name, owner, tag, region; an unknown id is simply not in the list."""
    at = stage()
    at.world["accounts"][at.spoke]["vpcs"][0]["tags"] = {"team": "orders"}
    cloud = run_cloud(at.world)

    def total(**more: Any) -> int:
        count: int = vpcs(cloud, at, **more).total_count
        return count

    assert total(vpc_id=f"vpc-unknown,{at.vpc_id}") == 1
    assert total(vpc_id="vpc-unknown") == 0
    assert total(vpc_name="orders") == 1
    assert total(vpc_name="else") == 0
    assert total(vpc_owner_id=int(at.spoke)) == 1
    assert total(vpc_owner_id=int(at.hub)) == 0
    assert total(region_id="cn-beijing") == 0
    assert total(is_default=True) == 0
    assert total(enable_ipv_6=True) == 0
    assert total(tag=[vpc.DescribeVpcsRequestTag(key="team", value="orders")]) == 1
    assert total(tag=[vpc.DescribeVpcsRequestTag(key="team", value="else")]) == 0


def test_vpcs_come_in_numbered_pages(run_cloud: RunCloud) -> None:
    """PageNumber and PageSize cut the list; TotalCount counts all of it."""
    at = stage()
    more = [{"id": f"vpc-page{i}", "region": HANGZHOU, "cidr": "10.0.0.0/16"} for i in range(11)]
    at.world["accounts"][at.spoke]["vpcs"] += more
    cloud = run_cloud(at.world)

    first, last = vpcs(cloud, at), vpcs(cloud, at, page_number=3, page_size=5)

    assert (first.page_number, first.page_size, first.total_count, len(first.vpcs.vpc)) == (1, 10, 12, 10)
    assert [item.vpc_id for item in last.vpcs.vpc] == ["vpc-page9", "vpc-page10"]
    assert vpcs(cloud, at, page_number=9).vpcs.vpc == []


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"region_id": None}, (400, "MissingRegionId")),
        ({"region_id": "cn-nowhere"}, (404, "InvalidRegionId.NotFound")),
        ({"page_size": 51}, (400, "InvalidParameter.PageSize")),
        ({"page_number": 0}, (400, "InvalidParameter.PageNumber")),
        ({"vpc_id": ",".join(f"vpc-{i}" for i in range(21))}, (400, "InvalidVpcIdNumber.NotSupported")),
        ({"resource_group_id": "rg-1"}, (501, "NotEmulated")),
        ({"dry_run": True}, (400, "DryRunOperation")),
    ],
)
def test_a_list_that_cannot_be(run_cloud: RunCloud, change: dict[str, Any], answer: tuple[int, str]) -> None:
    """Bad parameters of DescribeVpcs, and its documented answer to a dry run that passes."""
    at = stage()
    cloud = run_cloud(at.world)

    assert refused(lambda: vpcs(cloud, at, **change)) == answer


def test_one_vpc_in_full(run_cloud: RunCloud) -> None:
    """DescribeVpcAttribute is flat and has what the list has not."""
    at = stage()
    cloud = run_cloud(at.world)

    found = attribute(cloud, at)

    assert (found.vpc_id, found.status, found.owner_id) == (at.vpc_id, "Available", int(at.spoke))
    assert found.classic_link_enabled is False
    assert found.associated_propagation_sources.associated_propagation_sources == []
    assert found.associated_cens.associated_cen == []


def test_a_vpc_that_is_not_there(run_cloud: RunCloud) -> None:
    """Unknown, another account's, or in another region: not found, in each of the spellings the product has."""
    at = stage()
    cloud = run_cloud(at.world)

    def codes() -> set[tuple[int, str]]:
        request = vpc.DescribeVpcAttributeRequest(region_id=HANGZHOU, vpc_id=at.vpc_id)
        return {
            refused(lambda: attribute(cloud, at, vpc_id="vpc-unknown")),
            refused(lambda: attribute(cloud, at, region_id="cn-beijing")),
            refused(lambda: cloud.vpc(at.a).describe_vpc_attribute(request)),
        }

    assert codes() == {(404, "InvalidVpcId.NotFound")}
    cloud.admin.switch(unknown_vpc="InvalidVpcID.NotFound")
    assert codes() == {(404, "InvalidVpcID.NotFound")}
    cloud.admin.switch(unknown_vpc="Forbidden.VpcNotFound")
    assert codes() == {(400, "Forbidden.VpcNotFound")}


def test_vbrs_are_filtered_and_paged(run_cloud: RunCloud) -> None:
    """Filters are keys with alternative values; unknown keys are refused, known ones that are not emulated by name."""
    at = stage()
    more = {
        "id": "vbr-second",
        "region": HANGZHOU,
        "name": "spare",
        "status": "recovering",
        "physical_connection": "pc-1",
    }
    at.world["accounts"][at.spoke]["vbrs"].append(more)
    cloud = run_cloud(at.world)

    def ids(*filters: Any) -> list[str]:
        found = vbrs(cloud, at, filter=list(filters)).virtual_border_router_set.virtual_border_router_type
        return [item.vbr_id for item in found]

    assert ids() == [at.vbr_id, "vbr-second"]
    assert ids(by("VbrId", at.vbr_id, "vbr-other")) == [at.vbr_id]
    assert ids(by("Status", "recovering")) == ["vbr-second"]
    assert ids(by("Name", "spare"), by("Status", "active")) == []
    assert ids(by("PhysicalConnectionId", "pc-1")) == ["vbr-second"]
    assert refused(lambda: ids(by("Colour", "blue"))) == (404, "InvalidFilterKey.ValueNotSupported")
    assert refused(lambda: ids(by("eccId", "x"))) == (501, "NotEmulated")
    assert refused(lambda: ids(*[by("Name", "x")] * 6)) == (400, "InvalidParameter.Filter")
    page = vbrs(cloud, at, page_size=1, page_number=2)
    found = page.virtual_border_router_set.virtual_border_router_type[0]
    assert (page.total_count, found.vbr_id, found.vlan_id) == (2, "vbr-second", 1)
    assert not found.creation_time.endswith("Z")


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"instance_id": None}, (400, "MissingInstanceId")),
        ({"instance_id": "vpc-1"}, (400, "InvalidParameter.InstanceId")),
        ({"region_id": None}, (400, "MissingRegionId")),
        ({"page_size": 100}, (400, "InvalidParameter.PageSize")),
    ],
)
def test_grant_rules_of_a_vbr_need_one(run_cloud: RunCloud, change: dict[str, Any], answer: tuple[int, str]) -> None:
    """DescribeGrantRulesToEcr is about exactly one VBR."""
    at = stage()
    cloud = run_cloud(at.world)
    request = vpc.DescribeGrantRulesToEcrRequest(**{"region_id": HANGZHOU, "instance_id": at.vbr_id, **change})

    assert refused(lambda: cloud.vpc(at.b).describe_grant_rules_to_ecr(request)) == answer


@pytest.mark.parametrize(
    ("action", "resource", "call"),
    [
        ("vpc:DescribeVpcs", "vpc/*", lambda c, _: c.describe_vpcs(vpc.DescribeVpcsRequest(region_id=HANGZHOU))),
        (
            "vpc:DescribeVpcAttribute",
            "vpc/{vpc}",
            lambda c, at: c.describe_vpc_attribute(
                vpc.DescribeVpcAttributeRequest(region_id=HANGZHOU, vpc_id=at.vpc_id)
            ),
        ),
        (
            "vpc:DescribeVirtualBorderRouters",
            "virtualborderrouter/*",
            lambda c, _: c.describe_virtual_border_routers(vpc.DescribeVirtualBorderRoutersRequest(region_id=HANGZHOU)),
        ),
        (
            "vpc:DescribeBgpGroups",
            "virtualborderrouter/{vbr}",
            lambda c, at: c.describe_bgp_groups(vpc.DescribeBgpGroupsRequest(region_id=HANGZHOU, router_id=at.vbr_id)),
        ),
        (
            "vpc:DescribeVpcGrantRulesToEcr",
            "vpc/{vpc}",
            lambda c, at: c.describe_vpc_grant_rules_to_ecr(
                vpc.DescribeVpcGrantRulesToEcrRequest(region_id=HANGZHOU, instance_id=at.vpc_id)
            ),
        ),
        (
            "vpc:DescribeGrantRulesToEcr",
            "virtualborderrouter/{vbr}",
            lambda c, at: c.describe_grant_rules_to_ecr(
                vpc.DescribeGrantRulesToEcrRequest(region_id=HANGZHOU, instance_id=at.vbr_id)
            ),
        ),
    ],
)
def test_each_call_needs_its_permission(run_cloud: RunCloud, action: str, resource: str, call: Any) -> None:
    """Each operation is allowed by exactly its action on its resource, and refused 403 Forbidden.RAM without."""
    at = stage()
    name = f"acs:vpc:{HANGZHOU}:{at.spoke}:{resource.format(vpc=at.vpc_id, vbr=at.vbr_id)}"
    allowed, allowed_key = user("allowed", allow(action, name))
    other, other_key = user("other", allow(action, name.replace(at.spoke, at.hub)), allow("vpc:Describe", "*"))
    at.world["accounts"][at.spoke]["users"].update({"allowed": allowed, "other": other})
    cloud = run_cloud(at.world)

    call(cloud.vpc(allowed_key), at)
    assert refused(lambda: call(cloud.vpc(other_key), at)) == (403, "Forbidden.RAM")
    assert cloud.journal()[-1]["decision"]["resource"] == name


def test_get_and_the_body_work_too(run_cloud: RunCloud) -> None:
    """VPC is declared for GET and POST, with parameters in the query or in a form."""
    at = stage()
    cloud = run_cloud(at.world)
    asked = {"RegionId": HANGZHOU}

    by_get = send(cloud, *signed_rpc(cloud, at.b, "DescribeVpcs", "2016-04-28", method="GET", query=asked))
    by_form = send(cloud, *signed_rpc(cloud, at.b, "DescribeVpcs", "2016-04-28", form=asked))

    assert [by_get.json["TotalCount"], by_form.json["TotalCount"]] == [1, 1]


def test_a_parameter_is_given_once(run_cloud: RunCloud) -> None:
    """A parameter twice in the query, or in query and form, is refused rather than guessed at."""
    at = stage()
    cloud = run_cloud(at.world)
    asked = {"RegionId": HANGZHOU}

    both = send(cloud, *signed_rpc(cloud, at.b, "DescribeVpcs", "2016-04-28", query=asked, form=asked))
    method, target, headers, body = signed_rpc(cloud, at.b, "DescribeVpcs", "2016-04-28", query=asked)
    twice = send(cloud, method, f"{target}&RegionId=cn-beijing", headers, body)

    assert [(answer.status, answer.json["Code"]) for answer in (both, twice)] == [(400, "InvalidParameter")] * 2


def test_other_operations_of_the_product_are_refused_by_name(run_cloud: RunCloud) -> None:
    """Whatever else the SDK can call is NotEmulated."""
    at = stage()
    cloud = run_cloud(at.world)

    def call() -> object:
        return cloud.vpc(at.b).describe_vswitches(vpc.DescribeVSwitchesRequest(region_id=HANGZHOU))

    assert refused(call) == (501, "NotEmulated")
    assert "DescribeVSwitches" in cloud.journal()[-1]["message"]


def test_a_vbr_shows_its_bgp_group(run_cloud: RunCloud) -> None:
    """The cloud's ASN is the one that the world file names; a VBR for which it names none has no group."""
    at = stage()
    owned = at.world["accounts"][at.spoke]["vbrs"]
    owned[0]["bgp_asn"] = 45104
    owned.append({"id": "vbr-withoutbgp", "region": HANGZHOU})
    cloud = run_cloud(at.world)

    def groups(key: Any, **more: Any) -> list[tuple[str, str, str]]:
        request = vpc.DescribeBgpGroupsRequest(region_id=HANGZHOU, **more)
        found = cloud.vpc(key).describe_bgp_groups(request).body.bgp_groups.bgp_group
        return [(one.router_id, one.local_asn, one.status) for one in found]

    assert groups(at.b) == groups(at.b, router_id=at.vbr_id) == [(at.vbr_id, "45104", "Available")]
    assert groups(at.b, router_id="vbr-withoutbgp") == groups(at.a) == []


def test_a_vpc_that_learns_routes_elsewhere_is_shown_and_not_associated(run_cloud: RunCloud) -> None:
    """One dynamic source per VPC: a transit router's routes stand in the way, unless the VPC does not learn them."""
    at = stage()
    source = {"type": "TR", "id": "tr-0a1b2c", "propagated": True}
    at.world["accounts"][at.spoke]["vpcs"][0]["route_sources"] = [source]
    at.world["accounts"][at.spoke]["vpcs"].append(
        {
            "id": "vpc-quiet",
            "region": HANGZHOU,
            "cidr": "10.50.0.0/16",
            "route_sources": [{**source, "propagated": False}],
        }
    )
    cloud = run_cloud(at.world)

    held = attribute(cloud, at).associated_propagation_sources.associated_propagation_sources
    assert [(one.source_type, one.source_instance_id, one.status, one.route_propagated) for one in held] == [
        ("TR", "tr-0a1b2c", "Attached", True)
    ]
    for vpc_id, answer in ((at.vpc_id, "OperationFailed.RejectedByVpcYaochi"), ("vpc-quiet", "")):
        cloud.ecr(at.b).grant_instance_to_express_connect_router(
            ecr.GrantInstanceToExpressConnectRouterRequest(**{**at.vpc_grant, "instance_id": vpc_id})
        )
        request = ecr.CreateExpressConnectRouterAssociationRequest(
            ecr_id=at.ecr_id, association_region_id=HANGZHOU, vpc_id=vpc_id, vpc_owner_id=int(at.spoke)
        )
        attempt = partial(cloud.ecr(at.a).create_express_connect_router_association, request)
        if answer:
            assert refused(attempt) == (400, answer)
        else:
            assert attempt().body.success


def test_the_regions_that_an_ecr_reaches_are_the_worlds(run_cloud: RunCloud) -> None:
    """Where none are named it is all of them; elsewhere nothing is associated. Arrears of its owner are shown."""
    at = stage()
    at.world["accounts"][at.hub]["ecrs"][0]["biz_status"] = "FinancialLocked"
    cloud = run_cloud({**at.world, "ecr_regions": ["cn-shanghai"]})
    client = cloud.ecr(at.a)

    regions = client.list_express_connect_router_supported_region(
        ecr.ListExpressConnectRouterSupportedRegionRequest(node_type="VPC")
    )
    assert regions.body.supported_region_id_list == ["cn-shanghai"]
    cloud.ecr(at.b).grant_instance_to_express_connect_router(
        ecr.GrantInstanceToExpressConnectRouterRequest(**at.vpc_grant)
    )
    request = ecr.CreateExpressConnectRouterAssociationRequest(
        ecr_id=at.ecr_id, association_region_id=HANGZHOU, vpc_id=at.vpc_id, vpc_owner_id=int(at.spoke)
    )
    assert refused(lambda: client.create_express_connect_router_association(request)) == (400, "UnsupportedRegion")
    [shown] = client.describe_express_connect_router(ecr.DescribeExpressConnectRouterRequest()).body.ecr_list
    assert shown.biz_status == "FinancialLocked"
