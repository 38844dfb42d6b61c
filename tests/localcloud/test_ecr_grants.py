"""Grants through the official SDKs: made and taken back by B, seen from both sides, and refused for every reason."""

from typing import Any

import pytest
from alibabacloud_expressconnectrouter20230901 import models as ecr
from alibabacloud_vpc20160428 import models as vpc

from tests.localcloud.conftest import RunCloud
from tests.localcloud.harness import (
    HANGZHOU,
    LocalCloud,
    Stage,
    allow,
    new_account,
    refused,
    send,
    signed_rpc,
    stage,
    user,
)


def grant(cloud: LocalCloud, at: Stage, **change: Any) -> Any:
    """B grants its VPC to A's ECR."""
    request = ecr.GrantInstanceToExpressConnectRouterRequest(**{**at.vpc_grant, **change})
    return cloud.ecr(at.b).grant_instance_to_express_connect_router(request).body


def revoke(cloud: LocalCloud, at: Stage, **change: Any) -> Any:
    """B takes the grant of its VPC back."""
    request = ecr.RevokeInstanceFromExpressConnectRouterRequest(**{**at.vpc_grant, **change})
    return cloud.ecr(at.b).revoke_instance_from_express_connect_router(request).body


def granted(cloud: LocalCloud, at: Stage, **more: Any) -> Any:
    """What A sees granted to its ECR."""
    request = ecr.DescribeInstanceGrantedToExpressConnectRouterRequest(ecr_id=at.ecr_id, **more)
    return cloud.ecr(at.a).describe_instance_granted_to_express_connect_router(request).body


def rules(cloud: LocalCloud, at: Stage, **more: Any) -> Any:
    """What B sees granted on its instances."""
    request = vpc.DescribeVpcGrantRulesToEcrRequest(region_id=HANGZHOU, **more)
    return cloud.vpc(at.b).describe_vpc_grant_rules_to_ecr(request).body


def effects(cloud: LocalCloud) -> list[str]:
    """Operations that changed something."""
    return [entry["operation"] for entry in cloud.journal() if entry["effect"]]


def test_a_grant_is_seen_from_both_sides(run_cloud: RunCloud) -> None:
    """A grant exists once for A (by ECR) and for B (by instance), with each API's own spelling of the same facts."""
    at = stage()
    cloud = run_cloud(at.world)

    answer = grant(cloud, at)
    seen = granted(cloud, at).ecr_granted_instance_list[0]
    rule = rules(cloud, at, ecr_owner_id=int(at.hub)).grant_rule_models[0]

    assert (answer.success, answer.code, answer.http_status_code) == (True, "200", 200)
    assert answer.access_denied_detail is None
    assert (seen.ecr_id, seen.ecr_owner_ali_uid, seen.status) == (at.ecr_id, at.hub, "Active")
    assert (seen.node_id, seen.node_type, seen.node_region_id) == (at.vpc_id, "VPC", HANGZHOU)
    assert (seen.node_owner_uid, seen.node_owner_bid) == (int(at.spoke), "26842")
    assert seen.gmt_create.isdigit()
    assert (rule.ecr_id, rule.ecr_owner_id, rule.instance_id) == (at.ecr_id, int(at.hub), at.vpc_id)
    assert (rule.instance_uid, rule.region_no, rule.type) == (int(at.spoke), HANGZHOU, "VPC")
    snapshot = cloud.admin.world()["grants"][0]
    assert (snapshot["grant_id"], snapshot["made_by"]["request_id"]) == (seen.grant_id, answer.request_id)


def test_a_vbr_grant_is_seen_by_its_own_call(run_cloud: RunCloud) -> None:
    """The grant of a VBR shows in DescribeGrantRulesToEcr, and in the VPC-side list under its type."""
    at = stage()
    cloud = run_cloud(at.world)

    grant(cloud, at, **at.vbr_grant)
    request = vpc.DescribeGrantRulesToEcrRequest(region_id=HANGZHOU, instance_id=at.vbr_id)
    body = cloud.vpc(at.b).describe_grant_rules_to_ecr(request).body

    assert (body.total_count, body.count, body.page_number, body.page_size) == (1, 1, 1, 10)
    assert (body.ecr_grant_rules[0].ecr_instance_id, body.ecr_grant_rules[0].ecr_uid) == (at.ecr_id, int(at.hub))
    assert body.ecr_grant_rules[0].create_time.endswith("Z")
    assert [rule.type for rule in rules(cloud, at, instance_type="VBR").grant_rule_models] == ["VBR"]
    assert rules(cloud, at, instance_type="VPC").grant_rule_models == []


def test_a_revoked_grant_is_gone_from_both_sides(run_cloud: RunCloud) -> None:
    """After a revoke neither side sees the grant, and granting again makes a new one."""
    at = stage()
    cloud = run_cloud(at.world)
    grant(cloud, at)
    first = granted(cloud, at).ecr_granted_instance_list[0].grant_id

    revoke(cloud, at)
    assert (granted(cloud, at).total_count, rules(cloud, at).total_count) == (0, "0")

    grant(cloud, at)
    assert granted(cloud, at).ecr_granted_instance_list[0].grant_id != first


def test_the_same_grant_twice(run_cloud: RunCloud) -> None:
    """The second identical grant changes nothing; by switch it succeeds or answers Conflict.Lock."""
    at = stage()
    cloud = run_cloud(at.world)
    grant(cloud, at)
    first = granted(cloud, at).ecr_granted_instance_list[0].grant_id

    grant(cloud, at)
    cloud.admin.switch(grant_twice="conflict")
    assert refused(lambda: grant(cloud, at)) == (400, "Conflict.Lock")

    assert [item.grant_id for item in granted(cloud, at).ecr_granted_instance_list] == [first]
    assert effects(cloud) == ["GrantInstanceToExpressConnectRouter"]


def test_revoking_what_is_not_granted(run_cloud: RunCloud) -> None:
    """Revoking nothing changes nothing; by switch it succeeds or answers 404."""
    at = stage()
    cloud = run_cloud(at.world)

    assert revoke(cloud, at).success
    cloud.admin.switch(revoke_absent="not_found")
    assert refused(lambda: revoke(cloud, at)) == (404, "EcGrantRelation.NotExist")
    assert effects(cloud) == []


@pytest.mark.parametrize(
    ("setting", "answer"),
    [
        ("success_kept", None),
        ("conflict", (400, "Conflict.Lock")),
        ("calling_failed", (400, "OperationFailed.CallingVpcYaochi")),
    ],
)
def test_revoking_under_a_live_association(run_cloud: RunCloud, setting: str, answer: tuple[int, str] | None) -> None:
    """Revoking while the VPC is associated either leaves the association, or is refused; never half of it."""
    at = stage(switches={"revoke_while_associated": setting})
    cloud = run_cloud(at.world)
    grant(cloud, at)
    cloud.ecr(at.a).create_express_connect_router_association(
        ecr.CreateExpressConnectRouterAssociationRequest(
            ecr_id=at.ecr_id, association_region_id=HANGZHOU, vpc_id=at.vpc_id, vpc_owner_id=int(at.spoke)
        )
    )

    if answer is None:
        assert revoke(cloud, at).success
    else:
        assert refused(lambda: revoke(cloud, at)) == answer

    world = cloud.admin.world()
    assert len(world["associations"]) == 1
    assert len(world["grants"]) == (0 if answer is None else 1)


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"ecr_id": "ecr-doesnotexist"}, (404, "ResourceNotFound.EcrId")),
        ({"ecr_id": None}, (400, "MissingParam.EcrId")),
        ({"ecr_id": "ecr-assoc-123456"}, (400, "IllegalParamFormat.EcrId")),
        ({"ecr_owner_ali_uid": None}, (400, "MissingParam.EcrOwnerAliUid")),
        ({"ecr_owner_ali_uid": 12}, (400, "IllegalParamFormat.EcrOwnerAliUid")),
        ({"ecr_owner_ali_uid": 9999999999999999}, (400, "IllegalParam.EcrOwnerAliUid")),
        ({"instance_id": None}, (400, "MissingParam.InstanceId")),
        ({"instance_id": "vbr-123"}, (400, "IllegalParamFormat.InstanceId")),
        ({"instance_id": "vpc-unknown"}, (400, "IllegalParam.InstanceId")),
        ({"instance_type": "TR"}, (400, "IllegalParam.InstanceType")),
        ({"instance_type": None}, (400, "MissingParam.InstanceType")),
        ({"instance_region_id": None}, (400, "MissingParam.InstanceRegionId")),
        ({"instance_region_id": "Nowhere!"}, (400, "IllegalParamFormat.InstanceRegionId")),
        ({"instance_region_id": "cn-nowhere"}, (400, "IllegalParam.InstanceRegionId")),
        ({"instance_region_id": "cn-beijing"}, (400, "IllegalParam.InstanceId")),
    ],
)
def test_a_grant_that_cannot_be(run_cloud: RunCloud, change: dict[str, Any], answer: tuple[int, str]) -> None:
    """Every parameter that is missing, malformed or wrong has its documented code, and nothing is granted."""
    at = stage()
    cloud = run_cloud(at.world)

    assert refused(lambda: grant(cloud, at, **change)) == answer
    assert effects(cloud) == []


def test_only_the_owner_of_the_instance_can_grant_it(run_cloud: RunCloud) -> None:
    """An administrator of another account is refused, by one of the two codes that fit."""
    at = stage()
    other, third = new_account(), user("admin", allow("*"))
    at.world["accounts"][other] = {"users": {"admin": third[0]}}
    cloud = run_cloud(at.world)
    request = ecr.GrantInstanceToExpressConnectRouterRequest(**at.vpc_grant)

    def steal() -> object:
        return cloud.ecr(third[1]).grant_instance_to_express_connect_router(request)

    assert refused(steal) == (400, "IllegalParam.InstanceId")
    cloud.admin.switch(foreign_instance="calling_failed")
    assert refused(steal) == (400, "OperationFailed.CallingVpcYaochi")
    assert effects(cloud) == []


def test_a_vpc_that_is_not_available_cannot_be_granted(run_cloud: RunCloud) -> None:
    """A pending VPC is refused."""
    at = stage()
    at.world["accounts"][at.spoke]["vpcs"][0]["status"] = "Pending"
    cloud = run_cloud(at.world)

    assert refused(lambda: grant(cloud, at)) == (400, "IllegalParam.InstanceId")


def test_permission_to_grant_is_on_the_instance(run_cloud: RunCloud) -> None:
    """RAM decides on the instance's resource name (two product codes) and can ask for the instance type."""
    at = stage()
    documents = [
        allow("expressconnectrouter:Grant*", f"acs:vpc:*:{at.spoke}:vpc/{at.vpc_id}"),
        allow(
            "expressconnectrouter:GrantInstanceToExpressConnectRouter",
            f"acs:expressconnect:{HANGZHOU}:{at.spoke}:virtualborderrouter/*",
            Condition={"StringEquals": {"expressconnectrouter:InstanceType": "VPC"}},
        ),
    ]
    limited, key = user("limited", *documents)
    at.world["accounts"][at.spoke]["users"]["limited"] = limited
    cloud = run_cloud(at.world)

    def by_limited(**asked: Any) -> object:
        request = ecr.GrantInstanceToExpressConnectRouterRequest(**asked)
        return cloud.ecr(key).grant_instance_to_express_connect_router(request)

    by_limited(**at.vpc_grant)
    assert refused(lambda: by_limited(**at.vbr_grant)) == (403, "NoPermission")
    assert "the call carries 'VBR'" in cloud.journal()[-1]["decision"]["why"]


def test_a_refusal_names_action_and_resource(run_cloud: RunCloud) -> None:
    """A RAM refusal carries AccessDeniedDetail as an object and a message that names what was missing."""
    at = stage()
    powerless, key = user("powerless")
    at.world["accounts"][at.spoke]["users"]["powerless"] = powerless
    cloud = run_cloud(at.world)
    request = ecr.GrantInstanceToExpressConnectRouterRequest(**at.vpc_grant)

    with pytest.raises(Exception, match="GrantInstanceToExpressConnectRouter") as caught:
        cloud.ecr(key).grant_instance_to_express_connect_router(request)

    error: Any = caught.value
    detail = error.access_denied_detail
    assert f"acs:vpc:{HANGZHOU}:{at.spoke}:vpc/{at.vpc_id}" in error.message
    assert detail["AuthAction"] == "expressconnectrouter:GrantInstanceToExpressConnectRouter"
    assert (detail["AuthPrincipalType"], detail["AuthPrincipalOwnerId"]) == ("SubUser", at.spoke)
    assert (detail["NoPermissionType"], detail["AuthPrincipalDisplayName"]) == ("ImplicitDeny", "powerless")


def test_b_reads_its_grants_on_a_foreign_ecr_with_caller_type(run_cloud: RunCloud) -> None:
    """B sees its own grants on A's ECR with CallerType=OTHER; without it, and under each switch, as documented there."""
    at = stage()
    cloud = run_cloud(at.world)
    grant(cloud, at)

    def by_b(**more: Any) -> int:
        request = ecr.DescribeInstanceGrantedToExpressConnectRouterRequest(ecr_id=at.ecr_id, **more)
        total: int = cloud.ecr(at.b).describe_instance_granted_to_express_connect_router(request).body.total_count
        return total

    assert by_b(caller_type="OTHER") == 1
    assert refused(by_b) == (404, "ResourceNotFound.EcrId")
    cloud.admin.switch(granted_on_unknown_ecr="empty")
    assert by_b() == 0
    cloud.admin.switch(caller_type_other="optional")
    assert by_b() == 1
    cloud.admin.switch(caller_type_other="refused")
    assert refused(lambda: by_b(caller_type="OTHER")) == (400, "IllegalParam.CallerType")
    assert granted(cloud, at, caller_type="parent").total_count == 1


def test_grants_are_filtered_and_paged(run_cloud: RunCloud) -> None:
    """Filters narrow the list, pages cover it without gap or repetition while it changes, and a token fits one question."""
    at = stage()
    many = [{"id": f"vpc-{at.spoke}n{i}", "region": HANGZHOU, "cidr": "10.0.0.0/16"} for i in range(5)]
    at.world["accounts"][at.spoke]["vpcs"] += many
    cloud = run_cloud(at.world)
    for instance in many:
        grant(cloud, at, instance_id=instance["id"])
    grant(cloud, at, **at.vbr_grant)

    assert granted(cloud, at, instance_type="VBR").total_count == 1
    assert granted(cloud, at, instance_id=many[1]["id"]).total_count == 1
    assert granted(cloud, at, instance_owner_id=int(at.hub)).total_count == 0
    assert granted(cloud, at, instance_region_id="cn-beijing").total_count == 0

    first = granted(cloud, at, max_results=2)
    assert (first.total_count, first.max_results, len(first.ecr_granted_instance_list)) == (6, 2, 2)
    revoke(cloud, at, instance_id=first.ecr_granted_instance_list[0].node_id)
    seen, token = [item.node_id for item in first.ecr_granted_instance_list], first.next_token
    while token:
        page = granted(cloud, at, max_results=2, next_token=token)
        seen += [item.node_id for item in page.ecr_granted_instance_list]
        token = page.next_token
    assert seen == [item["id"] for item in many] + [at.vbr_id]

    assert refused(lambda: granted(cloud, at, next_token="nonsense")) == (400, "IllegalParam.NextToken")
    other_question = {"instance_type": "VPC", "next_token": first.next_token}
    assert refused(lambda: granted(cloud, at, **other_question)) == (400, "IllegalParam.NextToken")
    assert refused(lambda: granted(cloud, at, max_results=0)) == (400, "IllegalParam.MaxResults")

    page = rules(cloud, at, max_results=3)
    rest = rules(cloud, at, max_results=3, next_token=page.next_token)
    assert (page.total_count, len(page.grant_rule_models), len(rest.grant_rule_models)) == ("5", 3, 2)
    assert rest.next_token == ""


def test_a_client_token_makes_a_grant_happen_once(run_cloud: RunCloud) -> None:
    """The same token with the same parameters replays the answer, even after the grant was taken back."""
    at = stage()
    cloud = run_cloud(at.world)

    grant(cloud, at, client_token="intent-1")
    revoke(cloud, at)
    grant(cloud, at, client_token="intent-1")
    assert granted(cloud, at).total_count == 0

    assert refused(lambda: grant(cloud, at, client_token="intent-1", **at.vbr_grant)) == (
        400,
        "IdempotentParameterMismatch",
    )
    cloud.admin.switch(idempotency_mismatch="replay")
    grant(cloud, at, **{**at.vbr_grant, "client_token": "intent-1"})
    assert granted(cloud, at).total_count == 0

    cloud.advance(24 * 3600 + 1)
    grant(cloud, at, client_token="intent-1")
    assert granted(cloud, at).total_count == 1


def test_a_refused_call_does_not_use_its_token_up(run_cloud: RunCloud) -> None:
    """Only what succeeded is remembered under a ClientToken."""
    at = stage(switches={"revoke_absent": "not_found"})
    cloud = run_cloud(at.world)

    assert refused(lambda: revoke(cloud, at, client_token="r-1")) == (404, "EcGrantRelation.NotExist")
    grant(cloud, at)
    revoke(cloud, at, client_token="r-1")
    assert granted(cloud, at).total_count == 0


def test_a_dry_run_checks_and_changes_nothing(run_cloud: RunCloud) -> None:
    """A dry run meets the same refusals; a passed one grants nothing, whichever way it answers."""
    at = stage()
    cloud = run_cloud(at.world)

    assert refused(lambda: grant(cloud, at, dry_run=True, ecr_id="ecr-unknown")) == (404, "ResourceNotFound.EcrId")
    assert grant(cloud, at, dry_run=True, client_token="t").success
    cloud.admin.switch(dry_run_passed="error")
    assert refused(lambda: grant(cloud, at, dry_run=True)) == (400, "DryRunOperation")
    assert granted(cloud, at).total_count == 0
    grant(cloud, at, client_token="t")
    assert granted(cloud, at).total_count == 1


def test_business_errors_can_come_inside_a_success(run_cloud: RunCloud) -> None:
    """By switch, a business error is Success:false inside HTTP 200, which the SDK does not raise for; RAM still is 403."""
    at = stage(switches={"ecr_errors": "success_false"})
    powerless, key = user("powerless")
    at.world["accounts"][at.spoke]["users"]["powerless"] = powerless
    cloud = run_cloud(at.world)

    body = grant(cloud, at, ecr_id="ecr-doesnotexist")
    malformed = grant(cloud, at, ecr_id="nonsense")

    assert (body.success, body.code, body.http_status_code) == (False, "ResourceNotFound.EcrId", 404)
    assert body.message == "EcrId not found."
    assert (malformed.success, malformed.code) == (False, "IllegalParamFormat.EcrId")
    request = ecr.GrantInstanceToExpressConnectRouterRequest(**at.vpc_grant)
    denied = refused(lambda: cloud.ecr(key).grant_instance_to_express_connect_router(request))
    assert denied == (403, "NoPermission")
    assert cloud.operations(service="ecr")[0] == ("GrantInstanceToExpressConnectRouter", "ResourceNotFound.EcrId")


def test_unknown_form_fields_are_ignored(run_cloud: RunCloud) -> None:
    """A client that posts CallerType on Grant, as one does in the wild, is served."""
    at = stage()
    cloud = run_cloud(at.world)
    asked = ecr.GrantInstanceToExpressConnectRouterRequest(**at.vpc_grant).to_map()
    form = {**{name: str(value) for name, value in asked.items()}, "CallerType": "OTHER"}

    request = signed_rpc(cloud, at.b, "GrantInstanceToExpressConnectRouter", "2023-09-01", form=form)

    assert send(cloud, *request).json["Success"] is True
    assert granted(cloud, at).total_count == 1


def test_parameters_travel_in_the_body_by_post(run_cloud: RunCloud) -> None:
    """This product knows POST with a form only: a GET is no API of it, and what stands in the query is not read."""
    at = stage()
    cloud = run_cloud(at.world)
    action, version = "DescribeExpressConnectRouter", "2023-09-01"

    get = send(cloud, *signed_rpc(cloud, at.a, action, version, method="GET"))
    query = send(cloud, *signed_rpc(cloud, at.a, action, version, query={"EcrId": "nonsense"}))

    assert (get.status, get.json["Code"]) == (404, "InvalidApi.NotFound")
    assert (query.status, query.json["TotalCount"]) == (200, 1)
