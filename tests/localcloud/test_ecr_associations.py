"""Associations and attached VBRs through the official SDKs: made by A on what B granted, settling in cloud time."""

from typing import Any

import pytest
from alibabacloud_expressconnectrouter20230901 import models as ecr

from tests.localcloud.conftest import RunCloud
from tests.localcloud.ecr_kit import (
    associate,
    associations,
    attach,
    dissociate,
    grant,
    modify,
    sources,
    status,
)
from tests.localcloud.harness import HANGZHOU, allow, refused, stage, user


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
