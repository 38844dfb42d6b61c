"""Least privilege, proven: without any single one of the role's actions the work ends dead and says what is missing."""

from __future__ import annotations

import pytest

from tests.functional.conftest import Cast
from tests.functional.deployment import Deployment, Json, approval, request_id, revocation
from tests.functional.world import HUB, HUB_ROLE, SPOKE, SPOKE_ROLE, Spoke, example_actions

SPOKE_ACTIONS = list(dict.fromkeys(example_actions(SPOKE, SPOKE_ROLE)))
HUB_ACTIONS = list(dict.fromkeys(example_actions(HUB, HUB_ROLE)))


def life(deployed: Deployment, document: Json) -> Json:
    """Grant, change the prefixes, close everything: the first answer that is not done, or the last."""
    wider = {**document, "request_id": request_id(), "allowed_prefixes": ["10.30.0.0/16"]}
    steps = [document, *([wider] if document["allowed_prefixes"] else []), revocation(document, "all")]
    answer: Json = {}
    for step in steps:
        answer = deployed.settled(step)
        if answer["event"] != "done":
            break
    return answer


def both_lives(deployed: Deployment, spoke: Spoke, router: Json) -> list[Json]:
    """What ended the lives of a VPC's and a VBR's grant."""
    return [
        life(deployed, approval(spoke.uid, next(instances), **router)) for instances in (spoke.vpcs, spoke.vbrs)
    ]


@pytest.mark.parametrize("action", SPOKE_ACTIONS)
def test_account_bs_role_needs_every_action_it_has(deployed: Deployment, cast: Cast, action: str) -> None:
    """Nothing in the role is idle, and whatever is missing is named, with the account it is missing in."""
    spoke = cast.without[action]
    ends = [one for one in both_lives(deployed, spoke, {}) if one["event"] != "done"]
    assert ends
    for end in ends:
        assert end["event"] == "dead"
        assert end["reason"]["code"] == "PermissionMissing"
        assert f"permission {action} is missing in account {spoke.uid}" in end["reason"]["text"]


@pytest.mark.parametrize("action", HUB_ACTIONS)
def test_account_as_role_needs_every_action_it_has(
    deployed: Deployment, cast: Cast, action: str, spoke: Spoke
) -> None:
    """The same for the role that associates, attaches and undoes it."""
    hub = cast.hubs_without[action]
    router = {"ecr": {"id": hub.ecr_id, "owner_uid": hub.uid}}
    ends = [one for one in both_lives(deployed, spoke, router) if one["event"] != "done"]
    assert ends
    for end in ends:
        assert end["event"] == "dead"
        assert f"permission {action} is missing in account {hub.uid}" in end["reason"]["text"]


def test_what_was_granted_before_the_work_died_is_on_record(deployed: Deployment, cast: Cast, spoke: Spoke) -> None:
    """Where A's side died B's grant stands, and the ledger and the completions both say so: nothing is silent."""
    hub = cast.hubs_without["expressconnectrouter:CreateExpressConnectRouterAssociation"]
    document = approval(spoke.uid, next(spoke.vpcs), ecr={"id": hub.ecr_id, "owner_uid": hub.uid})
    assert deployed.settled(document)["event"] == "dead"
    deployed.quiet()
    assert deployed.kinds(document) == ["admitted", "granted", "dead"]
    assert deployed.granted(document, spoke) == [(hub.ecr_id, hub.uid)]
    assert deployed.associated(document, hub.admin) == []
    rows = deployed.rows(
        "SELECT side, state, dead_at IS NOT NULL AS dead, trouble FROM sides JOIN grants USING (grant_id) "
        "WHERE instance_id = :instance ORDER BY side",
        instance=document["instance"]["id"],
    )
    assert [(row.side, row.state, bool(row.dead)) for row in rows] == [
        ("associate", "absent", True),
        ("grant", "present", False),
    ]
    assert "CreateExpressConnectRouterAssociation" in rows[0].trouble


@pytest.mark.parametrize("who", ["distrusting", "misnamed"])
def test_a_role_that_may_not_be_entered_is_named(deployed: Deployment, cast: Cast, who: str) -> None:
    """A trust policy without our role, or with another external id: dead, with the account whose door is closed."""
    spoke: Spoke = getattr(cast, who)
    document = approval(spoke.uid, next(spoke.vpcs))
    answer = deployed.settled(document)
    assert (answer["event"], answer["reason"]["code"]) == ("dead", "PermissionMissing")
    assert f"the role may not be assumed in account {spoke.uid}" in answer["reason"]["text"]
    assert "NoPermission" in answer["reason"]["text"]
    deployed.quiet()
    assert deployed.kinds(document) == ["admitted", "dead"]
    assert deployed.granted(document, spoke) == []


def test_a_person_who_has_repaired_the_role_only_has_to_ask_again(
    deployed: Deployment, cast: Cast, spoke: Spoke
) -> None:
    """Dead is not for ever: a new approval for the same grant starts afresh, and answers the old one too."""
    fault = deployed.admin.plan(
        kind="error",
        service="vpc",
        operation="DescribeVpcAttribute",
        account=spoke.uid,
        times=1,
        status=403,
        code="Forbidden.RAM",
        message="User not authorized to operate on the specified resource.",
    )
    document = approval(spoke.uid, next(spoke.vpcs))
    assert deployed.settled(document)["event"] == "dead"
    again = {**document, "request_id": request_id()}
    assert deployed.settled(again)["event"] == "done"
    deployed.wait_for(
        lambda one: one["event"] == "done" and one.get("request", {}).get("request_id") == document["request_id"],
        "the first request is done too",
    )
    deployed.admin.clear(fault["number"])
