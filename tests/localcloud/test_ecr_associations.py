"""Associations and attached VBRs through the official SDKs: made by A on what B granted, settling in cloud time."""

from typing import Any

import pytest
from alibabacloud_expressconnectrouter20230901 import models as ecr
from alibabacloud_vpc20160428 import models as vpc

from tests.localcloud.conftest import RunCloud
from tests.localcloud.harness import HANGZHOU, LocalCloud, Stage, allow, refused, stage, user


def grant(cloud: LocalCloud, at: Stage, **change: Any) -> None:
    """B grants its VPC to A's ECR."""
    request = ecr.GrantInstanceToExpressConnectRouterRequest(**{**at.vpc_grant, **change})
    cloud.ecr(at.b).grant_instance_to_express_connect_router(request)


def associate(cloud: LocalCloud, at: Stage, **change: Any) -> str:
    """A associates B's VPC; the association's id."""
    asked = {
        "ecr_id": at.ecr_id,
        "association_region_id": HANGZHOU,
        "vpc_id": at.vpc_id,
        "vpc_owner_id": int(at.spoke),
        **change,
    }
    request = ecr.CreateExpressConnectRouterAssociationRequest(**asked)
    association_id: str = cloud.ecr(at.a).create_express_connect_router_association(request).body.association_id
    return association_id


def dissociate(cloud: LocalCloud, at: Stage, association_id: str, **change: Any) -> None:
    """A ends an association."""
    request = ecr.DeleteExpressConnectRouterAssociationRequest(
        **{"ecr_id": at.ecr_id, "association_id": association_id, **change}
    )
    cloud.ecr(at.a).delete_express_connect_router_association(request)


def modify(cloud: LocalCloud, at: Stage, association_id: str, **more: Any) -> None:
    """A replaces the allowed prefixes."""
    request = ecr.ModifyExpressConnectRouterAssociationAllowedPrefixRequest(
        ecr_id=at.ecr_id, association_id=association_id, **more
    )
    cloud.ecr(at.a).modify_express_connect_router_association_allowed_prefix(request)


def associations(cloud: LocalCloud, at: Stage, **more: Any) -> Any:
    """What A sees associated."""
    request = ecr.DescribeExpressConnectRouterAssociationRequest(**{"ecr_id": at.ecr_id, **more})
    return cloud.ecr(at.a).describe_express_connect_router_association(request).body


def attach(cloud: LocalCloud, at: Stage, **change: Any) -> None:
    """A attaches B's VBR."""
    asked = {
        "ecr_id": at.ecr_id,
        "child_instance_id": at.vbr_id,
        "child_instance_type": "VBR",
        "child_instance_region_id": HANGZHOU,
        "child_instance_owner_id": int(at.spoke),
        **change,
    }
    cloud.ecr(at.a).attach_express_connect_router_child_instance(
        ecr.AttachExpressConnectRouterChildInstanceRequest(**asked)
    )


def detach(cloud: LocalCloud, at: Stage, **change: Any) -> None:
    """A detaches B's VBR."""
    asked = {"ecr_id": at.ecr_id, "child_instance_id": at.vbr_id, "child_instance_type": "VBR", **change}
    cloud.ecr(at.a).detach_express_connect_router_child_instance(
        ecr.DetachExpressConnectRouterChildInstanceRequest(**asked)
    )


def children(cloud: LocalCloud, at: Stage, **more: Any) -> Any:
    """What A sees attached."""
    request = ecr.DescribeExpressConnectRouterChildInstanceRequest(ecr_id=at.ecr_id, **more)
    return cloud.ecr(at.a).describe_express_connect_router_child_instance(request).body


def sources(cloud: LocalCloud, at: Stage) -> list[tuple[str, str, int, str, bool]]:
    """What B sees associated with its VPC."""
    request = vpc.DescribeVpcAttributeRequest(region_id=HANGZHOU, vpc_id=at.vpc_id)
    found = cloud.vpc(at.b).describe_vpc_attribute(request).body.associated_propagation_sources
    return [
        (item.source_type, item.source_instance_id, item.source_owner_id, item.status, item.route_propagated)
        for item in found.associated_propagation_sources
    ]


def vbr(cloud: LocalCloud, at: Stage) -> tuple[str, str, str]:
    """What B sees attached to its VBR."""
    request = vpc.DescribeVirtualBorderRoutersRequest(region_id=HANGZHOU)
    found = cloud.vpc(at.b).describe_virtual_border_routers(request).body
    item = found.virtual_border_router_set.virtual_border_router_type[0]
    return item.ecr_id, item.ecr_owner_id, item.ecr_attatch_status


def status(cloud: LocalCloud, at: Stage) -> list[str]:
    """States of all associations."""
    return [item.status for item in associations(cloud, at).association_list]


def test_an_association_settles_and_both_sides_see_it(run_cloud: RunCloud) -> None:
    """CREATING, ASSOCIATING, ACTIVE for A; Attaching, Attached for B, who sees whose ECR it is."""
    at = stage()
    cloud = run_cloud(at.world)
    grant(cloud, at)

    association_id = associate(
        cloud,
        at,
        allowed_prefixes=["10.20.0.0/16", "10.21.0.0/16"],
        description="orders",
        allowed_prefixes_mode="IncrementalMode",
    )
    states = [status(cloud, at)[0]]
    assert sources(cloud, at) == [("ECR", at.ecr_id, int(at.hub), "Attaching", False)]
    for _ in range(2):
        cloud.advance(1)
        states.append(status(cloud, at)[0])

    assert states == ["CREATING", "ASSOCIATING", "ACTIVE"]
    assert sources(cloud, at) == [("ECR", at.ecr_id, int(at.hub), "Attached", True)]
    found = associations(cloud, at).association_list[0]
    assert (found.association_id, found.ecr_id, found.region_id) == (association_id, at.ecr_id, HANGZHOU)
    assert (found.owner_id, found.vpc_owner_id, found.vpc_id) == (int(at.hub), int(at.spoke), at.vpc_id)
    assert (found.vpc_name, found.association_node_type, found.description) == ("orders", "VPC", "orders")
    assert found.allowed_prefixes == ["10.20.0.0/16", "10.21.0.0/16"]
    assert found.allowed_prefixes_mode == "IncrementalMode"
    assert found.gmt_create.endswith("Z")


def test_an_association_ends_by_way_of_its_states(run_cloud: RunCloud) -> None:
    """DISSOCIATING, DELETING, then absent for A; Detaching, then nothing for B."""
    at = stage()
    cloud = run_cloud(at.world)
    grant(cloud, at)
    association_id = associate(cloud, at)
    cloud.advance(2)

    dissociate(cloud, at, association_id)
    states = [status(cloud, at)]
    assert [source[3] for source in sources(cloud, at)] == ["Detaching"]
    for _ in range(2):
        cloud.advance(1)
        states.append(status(cloud, at))

    assert states == [["DISSOCIATING"], ["DELETING"], []]
    assert sources(cloud, at) == []
    assert refused(lambda: dissociate(cloud, at, association_id)) == (404, "ResourceNotFound.AssociationId")


@pytest.mark.parametrize(
    ("there", "back"),
    [
        ({"association_path": "creating", "dissociation_path": "deleting"}, (["CREATING"], ["DELETING"])),
        ({"association_path": "associating", "dissociation_path": "dissociating"}, (["ASSOCIATING"], ["DISSOCIATING"])),
    ],
)
def test_the_path_of_states_is_a_switch(
    run_cloud: RunCloud, there: dict[str, str], back: tuple[list[str], list[str]]
) -> None:
    """Which states an association passes is undocumented, so it can be turned."""
    at = stage(switches=there)
    cloud = run_cloud(at.world)
    grant(cloud, at)

    association_id = associate(cloud, at)
    coming = status(cloud, at)
    cloud.advance(2)
    dissociate(cloud, at, association_id)

    assert (coming, status(cloud, at)) == back


@pytest.mark.parametrize("granted_to", [None, "another ECR", "another region"])
def test_nothing_is_associated_without_a_grant(run_cloud: RunCloud, granted_to: str | None) -> None:
    """Associating another account's VPC needs that account's grant to exactly this ECR."""
    at = stage()
    at.world["accounts"][at.hub]["ecrs"].append({"id": f"{at.ecr_id}b"})
    cloud = run_cloud(at.world)
    if granted_to == "another ECR":
        grant(cloud, at, ecr_id=f"{at.ecr_id}b")
    elif granted_to == "another region":
        grant(cloud, at)

    region = "cn-beijing" if granted_to == "another region" else HANGZHOU
    answer = refused(lambda: associate(cloud, at, association_region_id=region))

    assert answer == (400, "OperationDenied.NotGrantedByNodeOwner")
    assert cloud.admin.world()["associations"] == []


def test_a_vpc_of_the_same_account_needs_no_grant(run_cloud: RunCloud) -> None:
    """VpcOwnerId defaults to the caller, whose own VPC needs no grant; a VPC that is not there is rejected."""
    at = stage()
    at.world["accounts"][at.hub]["vpcs"] = [{"id": f"vpc-own{at.hub}", "region": HANGZHOU, "cidr": "10.1.0.0/16"}]
    cloud = run_cloud(at.world)

    assert associate(cloud, at, vpc_id=f"vpc-own{at.hub}", vpc_owner_id=None)
    refusal = refused(lambda: associate(cloud, at, vpc_id="vpc-nowhere", vpc_owner_id=None))
    assert refusal == (400, "OperationFailed.RejectedByVpcYaochi")


def test_enterprises_do_not_mix(run_cloud: RunCloud) -> None:
    """Accounts of different enterprises are refused: CrossBidAssociating for a VPC, a rejection for a VBR."""
    at = stage()
    at.world["accounts"][at.spoke]["enterprise"] = "99999"
    cloud = run_cloud(at.world)
    grant(cloud, at)
    grant(cloud, at, **at.vbr_grant)

    assert refused(lambda: associate(cloud, at)) == (400, "OperationDenied.CrossBidAssociating")
    assert refused(lambda: attach(cloud, at)) == (400, "OperationFailed.RejectedByEcYaochi")


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"ecr_id": None}, (400, "MissingParam.EcrId")),
        ({"ecr_id": "ecr-doesnotexist"}, (404, "ResourceNotFound.EcrId")),
        ({"association_region_id": None}, (400, "MissingParam.AssociationRegionId")),
        ({"association_region_id": "cn-nowhere"}, (400, "UnsupportedRegion")),
        ({"vpc_id": None}, (400, "MissingParam.VpcId")),
        ({"vpc_id": "nonsense"}, (400, "IllegalParamFormat.VpcId")),
        ({"transit_router_id": "tr-1"}, (400, "ExclusiveParam.TransitRouterIdAndVpcId")),
        ({"vpc_id": None, "transit_router_id": "tr-1"}, (501, "NotEmulated")),
        ({"create_attachment": True}, (501, "NotEmulated")),
        ({"allowed_prefixes": ["10.20.0.1/16"]}, (400, "IllegalParamFormat.AllowedPrefixes")),
        ({"allowed_prefixes": ["10.0.0.0/16"] * 4}, (400, "IllegalParamSize.AllowedPrefixes")),
        ({"allowed_prefixes_mode": "Whatever"}, (400, "IllegalParam.AllowedPrefixesMode")),
        ({"description": "x" * 129}, (400, "IllegalParamFormat.Description")),
    ],
)
def test_an_association_that_cannot_be(run_cloud: RunCloud, change: dict[str, Any], answer: tuple[int, str]) -> None:
    """Every parameter that is missing, malformed or wrong has its code, and nothing is associated."""
    at = stage(limits={"allowed_prefixes": 3})
    cloud = run_cloud(at.world)
    grant(cloud, at)

    assert refused(lambda: associate(cloud, at, **change)) == answer
    assert cloud.admin.world()["associations"] == []


def test_an_ecr_is_busy_for_a_moment_after_each_change(run_cloud: RunCloud) -> None:
    """A second change on the same ECR right after the first meets Conflict.Lock; a moment later it goes through."""
    at = stage()
    at.world["accounts"][at.spoke]["vpcs"].append({"id": "vpc-second", "region": HANGZHOU, "cidr": "10.9.0.0/16"})
    at.world["settle"] = {"lock_seconds": 60}
    cloud = run_cloud(at.world)
    grant(cloud, at)
    grant(cloud, at, instance_id="vpc-second")
    associate(cloud, at)

    assert refused(lambda: associate(cloud, at, vpc_id="vpc-second")) == (400, "Conflict.Lock")
    request = ecr.DescribeExpressConnectRouterRequest(ecr_id=at.ecr_id)
    assert cloud.ecr(at.a).describe_express_connect_router(request).body.ecr_list[0].status == "ASSOCIATING"
    cloud.advance(61)
    assert associate(cloud, at, vpc_id="vpc-second")


def test_associating_twice(run_cloud: RunCloud) -> None:
    """A VPC that is associated already is rejected, locked or answered with what is there, by switch; never doubled."""
    at = stage(settle={"lock_seconds": 0})
    at.world["accounts"][at.hub]["ecrs"].append({"id": f"{at.ecr_id}b"})
    cloud = run_cloud(at.world)
    grant(cloud, at)
    grant(cloud, at, ecr_id=f"{at.ecr_id}b")
    first = associate(cloud, at)

    assert refused(lambda: associate(cloud, at)) == (400, "OperationFailed.RejectedByVpcYaochi")
    cloud.admin.switch(associate_twice="conflict")
    assert refused(lambda: associate(cloud, at)) == (400, "Conflict.Lock")
    cloud.admin.switch(associate_twice="success")
    assert associate(cloud, at) == first
    elsewhere = refused(lambda: associate(cloud, at, ecr_id=f"{at.ecr_id}b"))
    assert elsewhere == (400, "OperationFailed.RejectedByVpcYaochi")
    assert len(cloud.admin.world()["associations"]) == 1


def test_what_leaves_cannot_be_changed(run_cloud: RunCloud) -> None:
    """While an association settles, deleting and modifying are refused; while it leaves, so is associating anew."""
    at = stage(settle={"lock_seconds": 0})
    cloud = run_cloud(at.world)
    grant(cloud, at)
    association_id = associate(cloud, at)

    assert refused(lambda: dissociate(cloud, at, association_id)) == (400, "IncorrectStatus.EcrAssociation")
    cloud.advance(2)
    dissociate(cloud, at, association_id)
    assert refused(lambda: modify(cloud, at, association_id)) == (400, "IncorrectStatus.EcrAssociation")
    assert refused(lambda: associate(cloud, at)) == (400, "Conflict.Lock")


def test_allowed_prefixes_can_be_replaced(run_cloud: RunCloud) -> None:
    """Modifying passes UPDATING and ends ACTIVE with the new prefixes; B sees it attached all the time."""
    at = stage()
    cloud = run_cloud(at.world)
    grant(cloud, at)
    association_id = associate(cloud, at, allowed_prefixes=["10.20.0.0/16"], allowed_prefixes_mode="MatchMode")
    cloud.advance(2)

    modify(cloud, at, association_id, allowed_prefixes=["10.22.0.0/16"])
    assert (status(cloud, at), sources(cloud, at)[0][3]) == (["UPDATING"], "Attached")
    cloud.advance(2)

    found = associations(cloud, at).association_list[0]
    assert (found.status, found.allowed_prefixes) == ("ACTIVE", ["10.22.0.0/16"])
    assert found.allowed_prefixes_mode == "MatchMode"
    unknown = refused(lambda: modify(cloud, at, "ecr-assoc-123456"))
    assert unknown == (404, "ResourceNotFound.AssociationId")


def test_associations_are_filtered_and_paged(run_cloud: RunCloud) -> None:
    """Filters and pages of the association list, which is A's alone."""
    at = stage(settle={"lock_seconds": 0})
    more = [{"id": f"vpc-more{i}", "region": HANGZHOU, "cidr": "10.0.0.0/16"} for i in range(3)]
    at.world["accounts"][at.spoke]["vpcs"] += more
    cloud = run_cloud(at.world)
    ids = []
    for vpc_id in [item["id"] for item in more]:
        grant(cloud, at, instance_id=vpc_id)
        ids.append(associate(cloud, at, vpc_id=vpc_id))

    page = associations(cloud, at, max_results=2)
    rest = associations(cloud, at, max_results=2, next_token=page.next_token)

    assert [item.association_id for item in page.association_list + rest.association_list] == ids
    assert (page.total_count, rest.next_token) == (3, "")
    assert associations(cloud, at, association_id=ids[1]).association_list[0].vpc_id == "vpc-more1"
    assert associations(cloud, at, vpc_id="vpc-more2").total_count == 1
    assert associations(cloud, at, association_region_id="cn-beijing").total_count == 0
    assert associations(cloud, at, association_node_type="TR").total_count == 0
    request = ecr.DescribeExpressConnectRouterAssociationRequest(ecr_id=at.ecr_id)
    by_b = refused(lambda: cloud.ecr(at.b).describe_express_connect_router_association(request))
    assert by_b == (404, "ResourceNotFound.EcrId")


def test_the_number_of_vpcs_can_be_limited(run_cloud: RunCloud) -> None:
    """A world can set the unpublished number of VPCs per ECR."""
    at = stage(limits={"vpcs_per_ecr": 0})
    cloud = run_cloud(at.world)
    grant(cloud, at)

    assert refused(lambda: associate(cloud, at)) == (400, "QuotaExceeded.VpcCountPerEcr")


def test_associating_needs_permission_on_the_ecr(run_cloud: RunCloud) -> None:
    """RAM decides on the ECR's resource name, whose region is empty; * matches it."""
    at = stage()
    documents = allow("expressconnectrouter:*", f"acs:expressconnectrouter:*:{at.hub}:expressconnectrouter/ecr-other")
    limited, key = user("limited", documents)
    at.world["accounts"][at.hub]["users"]["limited"] = limited
    cloud = run_cloud(at.world)
    request = ecr.DescribeExpressConnectRouterAssociationRequest(ecr_id=at.ecr_id)
    other = ecr.DescribeExpressConnectRouterAssociationRequest(ecr_id="ecr-otherone")

    denied = refused(lambda: cloud.ecr(key).describe_express_connect_router_association(request))
    assert denied == (403, "NoPermission")
    resource = cloud.journal()[-1]["decision"]["resource"]
    assert resource == f"acs:expressconnectrouter::{at.hub}:expressconnectrouter/{at.ecr_id}"
    allowed = refused(lambda: cloud.ecr(key).describe_express_connect_router_association(other))
    assert allowed == (403, "NoPermission")


def test_a_vbr_is_attached_and_detached(run_cloud: RunCloud) -> None:
    """Attach and detach pass their states for A; B sees Attaching, Attached, Detaching on its VBR."""
    at = stage()
    cloud = run_cloud(at.world)
    grant(cloud, at, **at.vbr_grant)
    assert vbr(cloud, at) == ("", "", "")

    attach(cloud, at, description="line 1")
    assert vbr(cloud, at) == (at.ecr_id, at.hub, "Attaching")
    cloud.advance(2)
    assert vbr(cloud, at) == (at.ecr_id, at.hub, "Attached")
    found = children(cloud, at).child_instance_list[0]
    assert (found.status, found.child_instance_id, found.child_instance_type) == ("ACTIVE", at.vbr_id, "VBR")
    assert (found.child_instance_owner_id, found.owner_id) == (int(at.spoke), int(at.hub))
    assert (found.child_instance_name, found.description) == ("line", "line 1")
    assert found.association_id.startswith("ecr-assoc-")

    detach(cloud, at)
    assert vbr(cloud, at) == (at.ecr_id, at.hub, "Detaching")
    assert refused(lambda: detach(cloud, at)) == (400, "IncorrectStatus.EcrAssociation")
    cloud.advance(2)
    assert (children(cloud, at).total_count, vbr(cloud, at)) == (0, ("", "", ""))
    assert refused(lambda: detach(cloud, at)) == (404, "ResourceNotFound.ChildInstanceId")


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"child_instance_type": "VPC"}, (400, "IllegalParam.ChildInstanceType")),
        ({"child_instance_type": None}, (400, "MissingParam.ChildInstanceType")),
        ({"child_instance_id": None}, (400, "MissingParam.ChildInstanceId")),
        ({"child_instance_region_id": None}, (400, "MissingParam.ChildInstanceRegionId")),
        ({"child_instance_region_id": "cn-nowhere"}, (400, "UnsupportedRegion")),
        ({"ecr_id": "ecr-doesnotexist"}, (404, "ResourceNotFound.EcrId")),
        ({"child_instance_owner_id": None}, (400, "OperationFailed.RejectedByEcYaochi")),
        ({"child_instance_id": "vbr-other"}, (400, "OperationDenied.NotGrantedByNodeOwner")),
    ],
)
def test_an_attachment_that_cannot_be(run_cloud: RunCloud, change: dict[str, Any], answer: tuple[int, str]) -> None:
    """Every parameter that is missing, malformed or wrong has its code, and nothing is attached."""
    at = stage()
    cloud = run_cloud(at.world)
    grant(cloud, at, **at.vbr_grant)

    assert refused(lambda: attach(cloud, at, **change)) == answer
    assert cloud.admin.world()["child_instances"] == []


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ({"mp_bgp": False}, "OperationDenied.VbrDoesNotSupportMpbgp"),
        ({"bgp_asn": 64512}, "Conflict.ASNOfVBR"),
        ({"status": "terminated"}, "OperationFailed.RejectedByEcYaochi"),
    ],
)
def test_a_vbr_must_fit(run_cloud: RunCloud, spec: dict[str, Any], code: str) -> None:
    """A VBR without MP-BGP, with another ASN, or that is not active cannot be attached."""
    at = stage()
    at.world["accounts"][at.spoke]["vbrs"][0].update(spec)
    cloud = run_cloud(at.world)
    grant(cloud, at, **at.vbr_grant)

    assert refused(lambda: attach(cloud, at)) == (400, code)


def test_attaching_without_a_grant(run_cloud: RunCloud) -> None:
    """An ungranted VBR is refused by one of the two codes that fit, by switch."""
    at = stage()
    cloud = run_cloud(at.world)

    assert refused(lambda: attach(cloud, at)) == (400, "OperationDenied.NotGrantedByNodeOwner")
    cloud.admin.switch(attach_ungranted="rejected")
    assert refused(lambda: attach(cloud, at)) == (400, "OperationFailed.RejectedByEcYaochi")


def test_children_are_filtered(run_cloud: RunCloud) -> None:
    """Filters of the child instance list; VPC associations are not in it."""
    at = stage(settle={"lock_seconds": 0})
    cloud = run_cloud(at.world)
    grant(cloud, at)
    grant(cloud, at, **at.vbr_grant)
    associate(cloud, at)
    attach(cloud, at)

    assert children(cloud, at).total_count == 1
    assert children(cloud, at, child_instance_id="vbr-other").total_count == 0
    assert children(cloud, at, child_instance_region_id="cn-beijing").total_count == 0
    assert children(cloud, at, association_id="ecr-assoc-123456").total_count == 0
    assert associations(cloud, at).total_count == 1


def test_dry_runs_and_tokens_hold_for_associations(run_cloud: RunCloud) -> None:
    """A dry run associates nothing; the same token again answers with the association it made."""
    at = stage()
    cloud = run_cloud(at.world)
    grant(cloud, at)

    assert associate(cloud, at, dry_run=True) is None
    first = associate(cloud, at, client_token="intent-7")
    assert associate(cloud, at, client_token="intent-7") == first
    effects = [entry["effect"] for entry in cloud.journal(operation="CreateExpressConnectRouterAssociation")]
    assert effects == [False, True, False]


def test_ecrs_are_created_described_and_deleted(run_cloud: RunCloud) -> None:
    """The life of an ECR: active at once, listed by page, name and tag, in use while anything hangs on it, then gone."""
    at = stage()
    cloud = run_cloud(at.world)
    client = cloud.ecr(at.a)
    tag = ecr.CreateExpressConnectRouterRequestTag(key="env", value="test")

    created = client.create_express_connect_router(
        ecr.CreateExpressConnectRouterRequest(alibaba_side_asn=64512, name="second", tag=[tag])
    ).body.ecr_id
    by_name = client.describe_express_connect_router(ecr.DescribeExpressConnectRouterRequest(name="second")).body
    asked_tag = ecr.DescribeExpressConnectRouterRequestTag(key="env", value="test")
    by_tag = client.describe_express_connect_router(ecr.DescribeExpressConnectRouterRequest(tag=[asked_tag])).body
    page = client.describe_express_connect_router(ecr.DescribeExpressConnectRouterRequest(max_results=1)).body

    found = by_name.ecr_list[0]
    assert (found.ecr_id, found.owner_id, found.alibaba_side_asn) == (created, int(at.hub), 64512)
    assert (found.status, found.biz_status) == ("ACTIVE", "Normal")
    assert [item.ecr_id for item in by_tag.ecr_list] == [created]
    assert (page.total_count, page.ecr_list[0].ecr_id) == (2, at.ecr_id)
    grant(cloud, at, ecr_id=created)
    associate(cloud, at, ecr_id=created)
    cloud.advance(2)
    delete = ecr.DeleteExpressConnectRouterRequest(ecr_id=created)
    assert refused(lambda: client.delete_express_connect_router(delete)) == (400, "ResourceInUse.Ecr")
    dissociate(cloud, at, associations(cloud, at, ecr_id=created).association_list[0].association_id, ecr_id=created)
    cloud.advance(2)
    cloud.admin.switch(delete_ecr_while_granted="in_use")
    assert refused(lambda: client.delete_express_connect_router(delete)) == (400, "ResourceInUse.Ecr")
    cloud.admin.switch(delete_ecr_while_granted="success")
    client.delete_express_connect_router(delete)
    unknown = client.describe_express_connect_router(ecr.DescribeExpressConnectRouterRequest(ecr_id=created)).body
    assert unknown.total_count == 0
    assert refused(lambda: client.delete_express_connect_router(delete)) == (404, "ResourceNotFound.EcrId")
    assert cloud.admin.world()["grants"] == []


@pytest.mark.parametrize(
    ("asn", "code"),
    [
        (None, "MissingParam.AlibabaSideAsn"),
        (1, "IllegalParam.AlibabaSideAsn"),
        (65025, "IllegalParam.AlibabaSideAsn"),
        (65534, None),
        (4294967294, None),
    ],
)
def test_the_asn_of_an_ecr(run_cloud: RunCloud, asn: int | None, code: str | None) -> None:
    """Which ASNs an ECR can have."""
    at = stage()
    cloud = run_cloud(at.world)

    def create() -> object:
        request = ecr.CreateExpressConnectRouterRequest(alibaba_side_asn=asn)
        return cloud.ecr(at.a).create_express_connect_router(request)

    if code is None:
        create()
    else:
        assert refused(create) == (400, code)


def test_the_number_of_ecrs_can_be_limited(run_cloud: RunCloud) -> None:
    """A world can set the unpublished number of ECRs per account."""
    at = stage(limits={"ecrs_per_account": 1})
    cloud = run_cloud(at.world)
    request = ecr.CreateExpressConnectRouterRequest(alibaba_side_asn=45104)

    answer = refused(lambda: cloud.ecr(at.a).create_express_connect_router(request))

    assert answer == (400, "QuotaExceeded.EcrCountPerUser")


def test_an_ecr_in_the_wrong_state_refuses_changes(run_cloud: RunCloud) -> None:
    """An ECR that something outside locks refuses associations with IncorrectStatus.Ecr."""
    at = stage()
    at.world["accounts"][at.hub]["ecrs"][0]["status"] = "LOCKED_ATTACHING"
    cloud = run_cloud(at.world)
    grant(cloud, at)

    assert refused(lambda: associate(cloud, at)) == (400, "IncorrectStatus.Ecr")


def test_supported_regions(run_cloud: RunCloud) -> None:
    """The product's own list of regions; transit routers are refused by name."""
    at = stage()
    cloud = run_cloud(at.world)

    def regions(node_type: str) -> list[str]:
        request = ecr.ListExpressConnectRouterSupportedRegionRequest(node_type=node_type)
        found: list[str] = (
            cloud.ecr(at.a).list_express_connect_router_supported_region(request).body.supported_region_id_list
        )
        return found

    assert HANGZHOU in regions("VPC")
    assert refused(lambda: regions("TR")) == (501, "NotEmulated")
    assert refused(lambda: regions("X")) == (400, "IllegalParam.NodeType")


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.force_delete_express_connect_router(
            ecr.ForceDeleteExpressConnectRouterRequest(ecr_id="ecr-aaaaaa")
        ),
        lambda c: c.modify_express_connect_router(ecr.ModifyExpressConnectRouterRequest(ecr_id="ecr-aaaaaa")),
        lambda c: c.describe_express_connect_router_region(
            ecr.DescribeExpressConnectRouterRegionRequest(ecr_id="ecr-aaaaaa")
        ),
    ],
)
def test_what_is_not_emulated_is_refused_by_name(run_cloud: RunCloud, call: Any) -> None:
    """The SDK's other operations answer NotEmulated with the operation's name, and the journal has them."""
    at = stage()
    cloud = run_cloud(at.world)

    assert refused(lambda: call(cloud.ecr(at.a))) == (501, "NotEmulated")
    entry = cloud.journal()[-1]
    assert (entry["service"], entry["code"]) == ("ecr", "NotEmulated")
    assert entry["operation"] in entry["message"]
