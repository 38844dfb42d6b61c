"""Least privilege, proven: without any single one of the role's actions the work ends dead and says what is missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import pytest

from tests.functional.approvals import approval, request_id, revocation, wake
from tests.functional.asked import ask, desk_at, seen
from tests.functional.conftest import Cast
from tests.functional.deployment import Deployment, Json
from tests.functional.waiting import until
from tests.functional.world import HUB, HUB_ROLE, SPOKE, SPOKE_ROLE, Spoke, example_actions

SPOKE_ACTIONS = list(dict.fromkeys(example_actions(SPOKE, SPOKE_ROLE)))
BEFORE = {"vpc:DescribeBgpGroups", "expressconnectrouter:ListExpressConnectRouterSupportedRegion"}
"""What only preflight needs."""
HUB_ACTIONS = list(dict.fromkeys(example_actions(HUB, HUB_ROLE)))


@dataclass
class Life:
    """A grant that is made, changed and taken away, as far as it goes."""

    steps: list[Json]
    ended: Json = field(default_factory=dict)
    """The first answer that was not "done"."""


def life(document: Json) -> Life:
    """Grant, change the prefixes of a VPC, close everything."""
    wider = {**document, "request_id": request_id(), "allowed_prefixes": ["10.30.0.0/16"]}
    return Life([document, *([wider] if document["allowed_prefixes"] else []), revocation(document, "all")])


@dataclass
class Lives:
    """For every action, the life of a grant where that action is missing."""

    spokes: dict[str, Life]
    hubs: dict[str, Life]
    report: Json
    """What reconcile then says."""
    looked: dict[str, str]
    """For every action that only preflight needs, what it says of such a grant without it."""


@pytest.fixture(scope="module")
def lives(deployed: Deployment, cast: Cast) -> Lives:
    """All lives side by side, step by step; afterwards one reconcile."""
    spokes = {action: life(approval(spoke.uid, instance(spoke, action))) for action, spoke in cast.without.items()}
    hubs = {
        action: life(approval(spoke.uid, instance(spoke, action), ecr={"id": hub.ecr_id, "owner_uid": hub.uid}))
        for action, hub in cast.hubs_without.items()
        for spoke in [cast.spoke()]
    }
    going = [*spokes.values(), *hubs.values()]
    report: Json = {}
    while going:
        deployed.send(*[one.steps[0] for one in going])
        for one in going:
            answer = deployed.answer(one.steps.pop(0), 60)
            if answer["event"] != "done":
                one.ended = answer
        going = [one for one in going if one.steps and not one.ended]
        report = report or deployed.reconcile()  # while everything that could be put up is up
    return Lives(spokes, hubs, report, looked_at(deployed, cast))


def looked_at(deployed: Deployment, cast: Cast) -> dict[str, str]:
    """Somebody asks, and the deployed function looks before anybody decides."""
    with desk_at(deployed.ledger_url) as desk:
        asked = {}
        for action in BEFORE & cast.without.keys():
            spoke = cast.without[action]
            asked[action] = ask(desk, instance(spoke, action), spoke.uid)
        for action in BEFORE & cast.hubs_without.keys():
            spoke, hub = cast.spoke(), cast.hubs_without[action]
            asked[action] = ask(desk, instance(spoke, action), spoke.uid, hub.ecr_id, hub.uid)
        deployed.send(wake(None), queue="ecr-grants-wakes")
        return {action: until(partial(seen, desk, name), f"{name} is looked at") for action, name in asked.items()}


def instance(spoke: Spoke, action: str) -> str:
    """An instance of the kind whose life needs this action, as far as its name tells."""
    needs_vbr = any(
        word in action for word in ("VirtualBorderRouter", "ChildInstance", ":DescribeGrantRules", "BgpGroups")
    )
    return next(spoke.vbrs if needs_vbr else spoke.vpcs)


def named(lives: Lives, end: Json, action: str, uid: str) -> None:
    """Assert that work which needed the action ended dead and named it; or that whoever alone needs it does: reconcile, or
    preflight.
    """
    missing = f"permission {action} is missing in account {uid}"
    if action in lives.looked:
        assert end == {}
        assert missing in lives.looked[action]
    elif end:
        assert (end["event"], end["reason"]["code"]) == ("dead", "PermissionMissing")
        assert missing in end["reason"]["text"]
    else:
        assert any(missing in line for line in lives.report["trouble"]), "nothing needs this action"


@pytest.mark.parametrize("action", SPOKE_ACTIONS)
def test_account_bs_role_needs_every_action_it_has(cast: Cast, lives: Lives, action: str) -> None:
    """Nothing in the role is idle, and whatever is missing is named, with the account it is missing in."""
    named(lives, lives.spokes[action].ended, action, cast.without[action].uid)


@pytest.mark.parametrize("action", HUB_ACTIONS)
def test_account_as_role_needs_every_action_it_has(cast: Cast, lives: Lives, action: str) -> None:
    """The same for the role that associates, attaches and undoes it."""
    named(lives, lives.hubs[action].ended, action, cast.hubs_without[action].uid)


def test_what_was_granted_before_the_work_died_is_on_record(deployed: Deployment, cast: Cast, lives: Lives) -> None:
    """Where A's side died B's grant stands, and the ledger and the completions both say so: nothing is silent."""
    action = "expressconnectrouter:CreateExpressConnectRouterAssociation"
    grant = lives.hubs[action].ended["grant"]
    about = {"instance": {"id": grant["instance_id"], "type": "VPC"}, "ecr": {"id": grant["ecr_id"]}}
    spoke = next(one for one in cast.spokes if one.uid == grant["instance_owner_uid"])
    hub = cast.hubs_without[action]
    assert deployed.kinds(about) == ["admitted", "granted", "dead"]
    assert deployed.granted(about, spoke) == [(hub.ecr_id, hub.uid)]
    assert deployed.associated(about, hub.admin) == []
    rows = deployed.rows(
        "SELECT side, state, dead_at IS NOT NULL AS dead, trouble FROM sides WHERE grant_id = :grant ORDER BY side",
        grant=grant["grant_id"],
    )
    assert [(row.side, row.state, bool(row.dead)) for row in rows] == [
        ("associate", "absent", True),
        ("grant", "present", False),
    ]
    assert "CreateExpressConnectRouterAssociation" in rows[0].trouble


@pytest.mark.parametrize(
    "who",
    [
        pytest.param("distrusting", id="its trust policy names another role"),
        pytest.param("misnamed", id="its trust policy asks for another external id"),
    ],
)
def test_a_role_that_may_not_be_entered_is_named(deployed: Deployment, cast: Cast, who: str) -> None:
    """A trust policy without our role, or with another external id: dead, with the account that does not let us in."""
    spoke: Spoke = getattr(cast, who)
    document = approval(spoke.uid, next(spoke.vpcs))
    answer = deployed.settled(document)
    assert (answer["event"], answer["reason"]["code"]) == ("dead", "PermissionMissing")
    assert f"the role may not be assumed in account {spoke.uid}" in answer["reason"]["text"]
    assert "NoPermission" in answer["reason"]["text"]
    deployed.quiet()
    assert deployed.kinds(document) == ["admitted", "dead"]
    assert deployed.granted(document, spoke) == []


def test_a_person_who_has_repaired_the_role_only_has_to_ask_again(deployed: Deployment, spoke: Spoke) -> None:
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
