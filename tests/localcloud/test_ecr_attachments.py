"""VBRs as child instances of an ECR: attached, detached, refused, found."""

from typing import Any

import pytest

from tests.localcloud.conftest import RunCloud
from tests.localcloud.ecr_kit import (
    associate,
    associations,
    attach,
    children,
    detach,
    grant,
    vbr,
)
from tests.localcloud.harness import refused, stage


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
