"""Quotas: the published limits hold, per account and API, in windows of cloud time that can be changed."""

from typing import Any

import pytest
from alibabacloud_expressconnectrouter20230901 import models as ecr
from alibabacloud_vpc20160428 import models as vpc

from localcloud.call import Call, Caller
from localcloud.clock import Clock
from localcloud.quotas import PUBLISHED, Quota, Quotas
from localcloud.refusal import Throttled
from tests.localcloud.conftest import RunCloud
from tests.localcloud.harness import HANGZHOU, LocalCloud, Stage, refused, stage


def grant(cloud: LocalCloud, at: Stage) -> object:
    """B grants its VPC to A's ECR."""
    request = ecr.GrantInstanceToExpressConnectRouterRequest(**at.vpc_grant)
    return cloud.ecr(at.b).grant_instance_to_express_connect_router(request)


def test_the_published_limit_is_in_force(run_cloud: RunCloud) -> None:
    """The 121st grant within a minute is refused with HTTP 400 Throttling.User; the next minute is free again."""
    at = stage()
    cloud = run_cloud(at.world)
    # Into the beginning of a window, so that no minute ends between two calls.
    cloud.advance(60 - cloud.inside(lambda c: c.clock.now()) % 60)

    for _ in range(120):
        grant(cloud, at)
    assert refused(lambda: grant(cloud, at)) == (400, "Throttling.User")
    # Another API of the same account has a budget of its own.
    cloud.vpc(at.b).describe_vpcs(vpc.DescribeVpcsRequest(region_id=HANGZHOU))
    cloud.advance(60)
    grant(cloud, at)


def test_sts_has_a_code_of_its_own(run_cloud: RunCloud) -> None:
    """Too many STS calls are Throttling.Api."""
    at = stage(quotas={"sts:GetCallerIdentity": {"limit": 1, "seconds": 3600}})
    cloud = run_cloud(at.world)
    client = cloud.sts(at.a)

    client.get_caller_identity()
    assert refused(client.get_caller_identity) == (400, "Throttling.Api")
    # Accounts do not share a budget.
    assert cloud.sts(at.b).get_caller_identity().body.account_id == at.spoke


def test_a_refused_call_has_no_effect_and_is_in_the_journal(run_cloud: RunCloud) -> None:
    """What is over the quota changes nothing."""
    at = stage()
    cloud = run_cloud(at.world)
    name = "ecr:GrantInstanceToExpressConnectRouter"
    cloud.admin.quota(**{name: {"limit": 1, "seconds": 3600}})
    request = ecr.RevokeInstanceFromExpressConnectRouterRequest(**at.vpc_grant)

    grant(cloud, at)
    cloud.ecr(at.b).revoke_instance_from_express_connect_router(request)
    assert refused(lambda: grant(cloud, at)) == (400, "Throttling.User")

    assert cloud.admin.world()["grants"] == []
    assert (cloud.journal()[-1]["code"], cloud.journal()[-1]["effect"]) == ("Throttling.User", False)
    cloud.admin.quota(**{name: None})
    grant(cloud, at)


def call(operation: str = "GrantInstanceToExpressConnectRouter", *, service: str = "ecr", **more: Any) -> Call:
    """A call as quotas see it."""
    caller = Caller("1000000000000001", "user", "u", None, "arn", "key", "key")
    return Call(service, operation, caller, caller.account, HANGZHOU, "R", **more)


def admitted(quotas: Quotas, asked: Call) -> bool:
    """Whether there was room."""
    try:
        quotas.spend(asked)
    except Throttled:
        return False
    return True


@pytest.mark.parametrize(("window", "after_half"), [("fixed", 2), ("sliding", 1)])
def test_windows_are_fixed_or_sliding(window: Any, after_half: int) -> None:
    """A fixed window forgets all at its end, a sliding one forgets each call when it is old enough."""
    clock = Clock()
    quotas = Quotas(clock, {"ecr:GrantInstanceToExpressConnectRouter": Quota(limit=2, seconds=100, window=window)})
    # One call 60 s before the end of a fixed window, one 10 s before, and then 50 s into the next.
    clock._offset += 100 - clock.now() % 100 + 40
    assert admitted(quotas, call())
    clock._offset += 50
    assert admitted(quotas, call())
    assert not admitted(quotas, call())
    clock._offset += 60

    assert [admitted(quotas, call()) for _ in range(3)].count(True) == after_half


def test_a_batch_costs_what_it_carries() -> None:
    """A batch that does not fit is refused whole and costs nothing."""
    quotas = Quotas(Clock(), {"mns:data": Quota(limit=10, seconds=10**9)})

    assert admitted(quotas, call("BatchSendMessage", service="mns", weight=8))
    assert not admitted(quotas, call("BatchSendMessage", service="mns", weight=3))
    assert admitted(quotas, call("PublishMessage", service="mns", weight=2))
    assert not admitted(quotas, call("ReceiveMessage", service="mns"))
    assert admitted(quotas, call("CreateQueue", service="mns"))


@pytest.mark.parametrize(
    ("service", "answer"),
    [("mns", (429, "TooManyRequests")), ("ecr", (400, "Throttling.User")), ("sts", (400, "Throttling.Api"))],
)
def test_each_service_says_it_in_its_own_way(service: str, answer: tuple[int, str]) -> None:
    """Throttling is 429 for queues and 400 for the others, as published."""
    names = {"mns": "mns:data", "ecr": "ecr:DescribeExpressConnectRouter", "sts": "sts:AssumeRole"}
    operations = {"mns": "SendMessage", "ecr": "DescribeExpressConnectRouter", "sts": "AssumeRole"}
    quotas = Quotas(Clock(), {names[service]: Quota(limit=1, seconds=10**9)})
    quotas.spend(call(operations[service], service=service))

    with pytest.raises(Throttled) as caught:
        quotas.spend(call(operations[service], service=service))

    assert (caught.value.status, caught.value.code) == answer


def test_regions_share_the_budget_of_a_central_product() -> None:
    """ECR has one endpoint for all regions, VPC one in each."""
    clock = Clock()
    for service, operation, shared in (("ecr", "DescribeExpressConnectRouter", True), ("vpc", "DescribeVpcs", False)):
        quotas = Quotas(clock, {f"{service}:{operation}": Quota(limit=1, seconds=10**9)})
        first, second = call(operation, service=service), call(operation, service=service)
        second.region = "cn-beijing"

        assert (admitted(quotas, first), admitted(quotas, second)) == (True, not shared)


def test_the_published_table() -> None:
    """The figures of the reference."""
    assert PUBLISHED["ecr:GrantInstanceToExpressConnectRouter"] == Quota(limit=120, seconds=60)
    assert PUBLISHED["ecr:AttachExpressConnectRouterChildInstance"] == Quota(limit=120, seconds=60)
    assert PUBLISHED["ecr:DescribeExpressConnectRouterAssociation"] == Quota(limit=300, seconds=60)
    assert PUBLISHED["sts:AssumeRole"] == Quota(limit=100, seconds=1)
    assert PUBLISHED["mns:data"] == Quota(limit=20_000, seconds=1)
