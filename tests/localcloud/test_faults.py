"""Planned trouble: each kind happens to exactly the calls it was planned for, and leaves the state it promises."""

from pathlib import Path
from typing import Any

import pytest
from alibabacloud_expressconnectrouter20230901 import models as ecr
from Tea.exceptions import TeaException

from localcloud.call import Call, Caller
from localcloud.client import AdminError
from localcloud.faults import Faults, Plan
from tests.functional.waiting import until
from tests.localcloud.conftest import RunCloud
from tests.localcloud.fc_harness import Functions, function
from tests.localcloud.harness import HANGZHOU, LocalCloud, Stage, allow, refused, stage, trust

GRANT = "GrantInstanceToExpressConnectRouter"


def grant(cloud: LocalCloud, at: Stage, **more: Any) -> Any:
    """B grants its VPC to A's ECR."""
    request = ecr.GrantInstanceToExpressConnectRouterRequest(**{**at.vpc_grant, **more})
    return cloud.ecr(at.b).grant_instance_to_express_connect_router(request)


def granted(cloud: LocalCloud, at: Stage) -> int:
    """How many grants A sees on its ECR."""
    request = ecr.DescribeInstanceGrantedToExpressConnectRouterRequest(ecr_id=at.ecr_id)
    total: int = cloud.ecr(at.a).describe_instance_granted_to_express_connect_router(request).body.total_count
    return total


def failure(cloud: LocalCloud, at: Stage) -> tuple[str, Any]:
    """The kind of exception a grant ends in, and the exception."""
    with pytest.raises(TeaException) as caught:
        grant(cloud, at)
    return type(caught.value).__name__, caught.value


def test_throttling_with_and_without_the_header(run_cloud: RunCloud) -> None:
    """Planned throttling has no effect; with the header the SDK knows how long to wait, without it only the code says."""
    at = stage()
    cloud = run_cloud(at.world)

    cloud.admin.plan(kind="throttle", service="ecr", operation=GRANT)
    assert refused(lambda: grant(cloud, at)) == (400, "Throttling.User")
    cloud.admin.plan(kind="throttle", service="ecr", operation=GRANT, retry_after=250)
    name, error = failure(cloud, at)
    assert (name, error.retry_after, error.code) == ("ThrottlingException", 250, "Throttling.User")
    assert granted(cloud, at) == 0

    grant(cloud, at)
    assert granted(cloud, at) == 1


def test_an_error_of_ones_choice(run_cloud: RunCloud) -> None:
    """Any documented refusal can be planned, for a preview that is not open or a downstream that says no."""
    at = stage()
    cloud = run_cloud(at.world)
    cloud.admin.plan(
        kind="error", service="ecr", status=400, code="OperationFailed.UserNotInWhiteList", message="Not yet.", times=2
    )

    for _ in range(2):
        assert refused(lambda: grant(cloud, at)) == (400, "OperationFailed.UserNotInWhiteList")
    grant(cloud, at)


@pytest.mark.parametrize(
    ("plan", "exception"),
    [
        ({"body": "json"}, "ServerException"),
        ({"body": "html"}, "UnretryableException"),
        ({"body": "empty", "status": 500}, "UnretryableException"),
    ],
)
def test_server_errors_in_three_dresses(run_cloud: RunCloud, plan: dict[str, Any], exception: str) -> None:
    """A 5xx with JSON, with HTML and with nothing end in the SDK exceptions they end in on the real service."""
    at = stage()
    cloud = run_cloud(at.world)
    cloud.admin.plan(kind="server_error", service="ecr", operation=GRANT, **plan)

    assert failure(cloud, at)[0] == exception
    assert granted(cloud, at) == 0


def test_a_connection_cut_before_and_after(run_cloud: RunCloud) -> None:
    """The client sees the same in both cases; the state tells which it was."""
    at = stage()
    cloud = run_cloud(at.world)

    cloud.admin.plan(kind="cut_before", operation=GRANT)
    assert failure(cloud, at)[0] == "UnretryableException"
    assert granted(cloud, at) == 0
    cloud.admin.plan(kind="cut_after", operation=GRANT)
    assert failure(cloud, at)[0] == "UnretryableException"
    assert granted(cloud, at) == 1
    cuts = [(entry["code"], entry["effect"]) for entry in cloud.journal(operation=GRANT)]
    assert cuts == [("Cut", False), ("Cut", True)]


def test_an_effect_that_lands_late(run_cloud: RunCloud) -> None:
    """The caller is cut off, and the grant appears later in cloud time, under the request id of then."""
    at = stage()
    cloud = run_cloud(at.world)
    cloud.admin.plan(kind="late", operation=GRANT, seconds=600)

    assert failure(cloud, at)[0] == "UnretryableException"
    assert granted(cloud, at) == 0
    cloud.advance(601)
    until(lambda: granted(cloud, at), "the effect lands")

    first, second = cloud.journal(operation=GRANT)
    assert (first["code"], first["effect"]) == ("Cut", False)
    assert (second["code"], second["effect"], second["request_id"]) == ("Late", True, first["request_id"])


def test_a_late_effect_obeys_ram_and_tokens(run_cloud: RunCloud) -> None:
    """A retry with the same ClientToken that overtakes a late effect leaves one grant, made by the retry."""
    at = stage()
    cloud = run_cloud(at.world)
    cloud.admin.plan(kind="late", operation=GRANT, seconds=600)
    with pytest.raises(TeaException):
        grant(cloud, at, client_token="intent-1")

    retry = grant(cloud, at, client_token="intent-1").body
    cloud.advance(601)
    until(lambda: len(cloud.journal(operation=GRANT)) == 3, "the effect lands")

    assert [entry["effect"] for entry in cloud.journal(operation=GRANT)] == [False, True, False]
    assert cloud.admin.world()["grants"][0]["made_by"]["request_id"] == retry.request_id


def test_reads_lag_behind_writes(run_cloud: RunCloud) -> None:
    """A lagging describe answers from the past: the grant is not there yet, and a revoked one still is."""
    at = stage()
    cloud = run_cloud(at.world)
    cloud.admin.plan(kind="lag", operation="DescribeInstanceGrantedToExpressConnectRouter", seconds=30, times=None)

    grant(cloud, at)
    assert granted(cloud, at) == 0
    cloud.advance(31)
    assert granted(cloud, at) == 1
    request = ecr.RevokeInstanceFromExpressConnectRouterRequest(**at.vpc_grant)
    cloud.ecr(at.b).revoke_instance_from_express_connect_router(request)
    assert granted(cloud, at) == 1
    cloud.advance(31)
    assert granted(cloud, at) == 0


def test_slow_answers_outlast_the_client(run_cloud: RunCloud) -> None:
    """A client that gives up on a slow answer does not undo it: the effect comes nevertheless. Real time is the point."""
    at = stage()
    cloud = run_cloud(at.world)
    cloud.admin.plan(kind="slow", operation=GRANT, seconds=0.5)
    request = ecr.GrantInstanceToExpressConnectRouterRequest(**at.vpc_grant)

    with pytest.raises(TeaException):
        cloud.ecr(at.b, read_timeout=100).grant_instance_to_express_connect_router(request)

    until(lambda: granted(cloud, at), "the effect comes")


def test_a_token_that_expires_between_two_calls(run_cloud: RunCloud) -> None:
    """The session token expires with the call it is planned for, and stays expired; long-lived keys are not touched."""
    at = stage()
    at.world["accounts"][at.spoke]["roles"] = {
        "spoke": {"trust": trust(f"acs:ram::{at.hub}:root"), "policies": {"all": allow("*")}}
    }
    cloud = run_cloud(at.world)
    session = cloud.assume(at.a, f"acs:ram::{at.spoke}:role/spoke")
    cloud.admin.plan(kind="expire_token", service="sts", operation="GetCallerIdentity", after=1, times=None)
    client = cloud.sts(session)

    client.get_caller_identity()
    assert refused(client.get_caller_identity) == (400, "InvalidSecurityToken.Expired")
    cloud.admin.clear()
    assert refused(client.get_caller_identity) == (400, "InvalidSecurityToken.Expired")
    assert cloud.sts(at.a).get_caller_identity().body.account_id == at.hub


def test_trouble_counts_only_what_it_matches(run_cloud: RunCloud) -> None:
    """``after`` and ``times`` count matching calls; other operations, accounts and resources pass by."""
    at = stage()
    cloud = run_cloud(at.world)
    number = cloud.admin.plan(kind="cut_before", operation=GRANT, resource=f"*{at.vbr_id}", after=1, times=1)["number"]

    grant(cloud, at)
    grant(cloud, at, **at.vbr_grant)
    grant(cloud, at)
    with pytest.raises(TeaException):
        grant(cloud, at, **at.vbr_grant)
    grant(cloud, at, **at.vbr_grant)

    fault = cloud.admin.faults()[0]
    assert (fault["number"], fault["matched"], fault["struck"]) == (number, 2, 1)


def test_trouble_is_not_used_up_by_calls_it_cannot_happen_to(run_cloud: RunCloud) -> None:
    """A user's key has no token to expire, its owner is no worker to kill, and STS has no reads that lag."""
    at = stage()
    cloud = run_cloud(at.world)
    for plan in ({"kind": "expire_token"}, {"kind": "kill_before"}, {"kind": "lag", "seconds": 5}):
        cloud.admin.plan(**plan)

    assert cloud.sts(at.a).get_caller_identity().body.account_id == at.hub
    assert [fault["matched"] for fault in cloud.admin.faults()] == [0, 0, 0]
    with pytest.raises(AdminError, match="reads of mns cannot lag"):
        cloud.admin.plan(kind="lag", service="mns", seconds=5)


def test_chance_is_repeatable() -> None:
    """A probability strikes a share of the calls, and the same ones for the same seed."""

    def struck(seed: int) -> list[bool]:
        faults = Faults([Plan(kind="throttle", probability=0.3, seed=seed, times=None)])
        caller = Caller("1000000000000001", "user", "u", None, "arn", "key", "key")
        return [bool(faults.strike(Call("sts", "X", caller, "1", HANGZHOU, "R"))) for _ in range(200)]

    assert struck(1) == struck(1) != struck(2)
    assert 30 <= sum(struck(1)) <= 90


def test_trouble_can_stand_in_the_world_file(run_cloud: RunCloud) -> None:
    """What is planned in the file is in force from the start."""
    at = stage(faults=[{"kind": "throttle", "service": "ecr", "operation": GRANT}])
    cloud = run_cloud(at.world)

    assert refused(lambda: grant(cloud, at)) == (400, "Throttling.User")
    assert cloud.admin.clear() == 1
    grant(cloud, at)


FUNCTION = """
import os, time
from alibabacloud_expressconnectrouter20230901.client import Client
from alibabacloud_expressconnectrouter20230901.models import CreateExpressConnectRouterRequest
from alibabacloud_tea_openapi.models import Config

def handler(event, context):
    config = Config(
        access_key_id=os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"],
        access_key_secret=os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"],
        security_token=os.environ["ALIBABA_CLOUD_SECURITY_TOKEN"],
        endpoint=os.environ["ECR_ENDPOINT"], protocol="http",
    )
    Client(config).create_express_connect_router(CreateExpressConnectRouterRequest(alibaba_side_asn=45104))
    if event == b"linger":
        time.sleep(600)  # never to its end: it is killed
"""
CREATE = "CreateExpressConnectRouter"


@pytest.mark.parametrize(
    ("kind", "made", "code"), [("kill_before", 0, "Cut"), ("kill_after", 1, "Cut"), ("kill_reply", 1, "")]
)
def test_a_worker_is_killed_around_its_call(
    run_cloud: RunCloud, tmp_path: Path, kind: str, made: int, code: str
) -> None:
    """The worker that made the call dies before the effect, after it without a reply, or once the reply was sent."""
    (tmp_path / "index.py").write_text(FUNCTION)
    functions = Functions(run_cloud, tmp_path)
    cloud = functions.cloud
    environment = {"ECR_ENDPOINT": cloud.address}
    functions.deploy(function("creating", code=str(tmp_path), environmentVariables=environment))
    cloud.admin.plan(kind=kind, operation=CREATE, function="creating", after=1)

    assert functions.invoke("creating").error_type == ""
    killed = functions.invoke("creating", b"linger")
    assert functions.invoke("creating").error_type == ""

    assert killed.error_type != ""
    assert len(cloud.admin.world()["ecrs"]) == 2 + made
    entries = cloud.journal(operation=CREATE)
    assert [(entry["code"], entry["effect"]) for entry in entries] == [("", True), (code, bool(made)), ("", True)]
    assert len({entry["caller"]["origin"] for entry in entries}) == 2
