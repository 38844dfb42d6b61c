"""The main job over the wire: one approval on the queue becomes an ACTIVE association, once."""

from __future__ import annotations

import json

import pytest
from alibabacloud_expressconnectrouter20230901 import models as ecr_models
from jsonschema import Draft202012Validator

from tests.functional.approvals import approval, wake
from tests.functional.conftest import Cast
from tests.functional.deployment import Deployment, Json
from tests.functional.mailbox import FUNCTIONS
from tests.functional.waiting import until
from tests.functional.world import ASSOCIATE_FUNCTION, GRANT_FUNCTION, HUB, HUB_ECR, ROOT, Spoke

COMPLETION = Draft202012Validator(json.loads((ROOT / "docs" / "schemas" / "completion.json").read_text("utf-8")))


@pytest.fixture(scope="module")
def story(deployed: Deployment, cast: Cast) -> tuple[Json, Spoke]:
    """One approval, answered, and the spoke whose instance it is about."""
    spoke = cast.spoke()
    document = approval(spoke.uid, next(spoke.vpcs), allowed_prefixes=["10.20.0.0/16", "10.8.0.0/16"])
    assert deployed.settled(document)["event"] == "done"
    deployed.quiet()
    return document, spoke


def test_both_accounts_see_the_result_with_their_own_sdks(deployed: Deployment, story: tuple[Json, Spoke]) -> None:
    """B reads the grant on its instance, in both products; A reads the association, ACTIVE and with its prefixes."""
    document, spoke = story
    assert deployed.granted(document, spoke) == [(HUB_ECR, HUB)]
    request = ecr_models.DescribeInstanceGrantedToExpressConnectRouterRequest(ecr_id=HUB_ECR, caller_type="OTHER")
    body = deployed.ecr(spoke.admin).describe_instance_granted_to_express_connect_router(request).body
    assert [one.node_id for one in body.ecr_granted_instance_list] == [document["instance"]["id"]]
    assert deployed.associated(document) == [("ACTIVE", ("10.20.0.0/16", "10.8.0.0/16"))]


def test_each_transition_is_published_once_and_numbered(deployed: Deployment, story: tuple[Json, Spoke]) -> None:
    """Four completions, in order, under ids of their own, in the form that the public schema promises."""
    document, _ = story
    told = deployed.about(document)
    assert [(one["number"], one["event"]) for one in told] == [
        (1, "admitted"),
        (2, "granted"),
        (3, "associated"),
        (4, "done"),
    ]
    assert len({one["id"] for one in told}) == 4
    assert {one["generation"] for one in told} <= {0, 1}
    for one in told:
        COMPLETION.validate(one)
    done = told[-1]
    assert done["reason"] == {"code": "Done", "text": "granted and associated"}
    assert done["request"]["request_id"] == document["request_id"]
    assert (done["request"]["issuer"], done["message_id"]) == (document["issuer"], told[0]["message_id"])
    assert told[2]["association_id"].startswith("ecr-assoc-")


def test_completions_lead_to_the_calls_that_served_them(deployed: Deployment, story: tuple[Json, Spoke]) -> None:
    """Each API request id that a completion names is one the cloud has written down: same call, account and session."""
    document, spoke = story
    journal = {entry["request_id"]: entry for entry in deployed.journal()}
    served = [call for one in deployed.about(document) for call in one.get("served", [])]
    assert {call["operation"] for call in served} >= {
        "GrantInstanceToExpressConnectRouter",
        "DescribeVpcGrantRulesToEcr",
        "CreateExpressConnectRouterAssociation",
        "DescribeExpressConnectRouterAssociation",
    }
    for call in served:
        entry = journal[call["api_request_id"]]
        assert entry["operation"] == call["operation"]
        assert entry["account"] == call["account"] == entry["caller"]["account"]
        assert entry["caller"]["session"] == call["session"]
        assert call["account"] == (spoke.uid if "Vpc" in call["operation"] or "Grant" in call["operation"] else HUB)


def test_the_session_name_leads_back_to_the_invocation(deployed: Deployment, story: tuple[Json, Spoke]) -> None:
    """What stands in the other account's audit log is the id of one invocation in our function's log."""
    document, spoke = story
    [grant] = deployed.journal(document, operation="GrantInstanceToExpressConnectRouter")
    assert grant["caller"]["arn"].startswith(f"acs:ram::{spoke.uid}:assumed-role/ecr-grants-spoke/ecr-grants-")
    invocation = grant["caller"]["session"].removeprefix("ecr-grants-")
    lines = [line["text"] for line in deployed.logs(GRANT_FUNCTION) if line["request_id"] == invocation]
    assert f"FC Invoke Start RequestId: {invocation}" in lines
    facts = [json.loads(line) for line in lines if line.startswith("{")]
    assert {"approval.admitted", "role.assumed", "completion.published"} <= {fact["event"] for fact in facts}
    assert {fact["invocation"] for fact in facts} == {invocation}


def test_each_write_was_made_once_and_read_back(deployed: Deployment, story: tuple[Json, Spoke]) -> None:
    """One grant, one association, and after each of them a look before it counted."""
    document, _ = story
    assert deployed.our_calls(document) == [
        "DescribeVpcAttribute",
        "DescribeVpcGrantRulesToEcr",
        "GrantInstanceToExpressConnectRouter",
        "DescribeVpcGrantRulesToEcr",
        "DescribeExpressConnectRouterAssociation",
        "CreateExpressConnectRouterAssociation",
        "DescribeExpressConnectRouterAssociation",
    ]


def test_a_log_line_is_one_json_object(deployed: Deployment, story: tuple[Json, Spoke]) -> None:
    """What our code prints can be taken by a log service as it is: an event, a level, a time."""
    for function in FUNCTIONS:
        ours = [json.loads(line["text"]) for line in deployed.logs(function) if line["text"].startswith("{")]
        assert ours
        for fact in ours:
            assert {"event", "level", "time"} <= set(fact)


def test_a_vbr_is_granted_and_attached(deployed: Deployment, spoke: Spoke) -> None:
    """The other kind of instance goes the same way; it takes no prefixes."""
    document = approval(spoke.uid, next(spoke.vbrs))
    assert deployed.settled(document)["reason"]["text"] == "granted and associated"
    assert deployed.granted(document, spoke) == [(HUB_ECR, HUB)]
    assert deployed.associated(document) == [("ACTIVE", ())]
    deployed.quiet()
    assert deployed.kinds(document) == ["admitted", "granted", "associated", "done"]


def test_where_account_a_has_its_own_automation_only_the_grant_is_ours(
    deployed: Deployment, cast: Cast, spoke: Spoke
) -> None:
    """The request is done when B has granted; nothing is called in account A."""
    hub = cast.theirs
    document = approval(spoke.uid, next(spoke.vpcs), ecr={"id": hub.ecr_id, "owner_uid": hub.uid})
    assert deployed.settled(document)["reason"]["text"] == "granted; the association is account A's to make"
    assert deployed.granted(document, spoke) == [(hub.ecr_id, hub.uid)]
    deployed.quiet()
    assert [one["event"] for one in deployed.about(document)] == ["admitted", "granted", "done"]
    acting = [entry for entry in deployed.journal(account=hub.uid) if entry["caller"].get("function") in FUNCTIONS]
    assert acting == []


def test_a_grant_that_is_not_there_yet_is_waited_for(deployed: Deployment, spoke: Spoke) -> None:
    """Account A's side, woken too early, holds; it neither rejects the request nor associates without a grant."""
    document = approval(spoke.uid, next(spoke.vpcs))
    plan = {"service": "ecr", "operation": "GrantInstanceToExpressConnectRouter", "account": spoke.uid}
    fault = deployed.admin.plan(kind="throttle", times=None, **plan)
    deployed.send(document)
    admitted = deployed.event(document, "admitted")
    until(lambda: deployed.calls(document, "GrantInstanceToExpressConnectRouter"), "the throttled call")

    deployed.send(wake(admitted["grant"]["grant_id"]), queue="ecr-associations")

    def waiting() -> bool:
        lines = [line["text"] for line in deployed.logs(ASSOCIATE_FUNCTION) if "grant.waiting" in line["text"]]
        return any(admitted["grant"]["grant_id"] in line for line in lines)

    until(waiting, "account A's side waits")
    deployed.admin.clear(fault["number"])
    assert deployed.answer(document)["event"] == "done"
    assert deployed.calls(document, "CreateExpressConnectRouterAssociation") == 1
