"""Express Connect Routers themselves: made, described, deleted, limited; what is not emulated."""

from typing import Any

import pytest
from alibabacloud_expressconnectrouter20230901 import models as ecr

from tests.localcloud.conftest import RunCloud
from tests.localcloud.ecr_kit import (
    associate,
    associations,
    dissociate,
    grant,
)
from tests.localcloud.harness import HANGZHOU, refused, stage


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
