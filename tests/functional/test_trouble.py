"""Trouble on each call of the flow: throttled, failing, or cut off, the request is done in the end, and done once."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from tests.functional.approvals import approval, revocation
from tests.functional.conftest import Cast
from tests.functional.deployment import Deployment, Json
from tests.functional.launch import ledger_without
from tests.functional.waiting import until
from tests.functional.world import GRANT_FUNCTION, HUB, HUB_ECR, Spoke

KINDS: dict[str, Json] = {
    "throttled": {"kind": "throttle"},
    "throttled with a time": {"kind": "throttle", "retry_after": 500},
    "500": {"kind": "server_error", "status": 500},
    "503 in HTML": {"kind": "server_error", "status": 503, "body": "html"},
    "502 without a body": {"kind": "server_error", "status": 502, "body": "empty"},
    "cut before": {"kind": "cut_before"},
    "cut after": {"kind": "cut_after"},
}
LOCKED = {"kind": "error", "status": 400, "code": "Conflict.Lock", "message": "There are other unfinished operations."}

# Which call of the flow, and which trouble happens to it.
CASES: dict[tuple[str, str], Json] = {
    (operation, kind): {"service": service, "operation": operation, **KINDS[kind]}
    for service, operation, kinds in (
        ("sts", "AssumeRole", ["throttled", "500", "cut before", "cut after"]),
        ("vpc", "DescribeVpcAttribute", ["throttled", "503 in HTML", "cut before"]),
        ("vpc", "DescribeVpcGrantRulesToEcr", ["throttled with a time", "500", "cut after"]),
        ("ecr", "GrantInstanceToExpressConnectRouter", list(KINDS)),
        ("ecr", "CreateExpressConnectRouterAssociation", list(KINDS)),
        ("ecr", "DescribeExpressConnectRouterAssociation", ["throttled", "502 without a body", "cut before"]),
    )
    for kind in kinds
} | {
    (operation, "locked"): {"service": "ecr", "operation": operation, **LOCKED}
    for operation in ("GrantInstanceToExpressConnectRouter", "CreateExpressConnectRouterAssociation")
}


@dataclass
class Troubled:
    """One approval that met trouble."""

    spoke: Spoke
    document: Json
    fault: int


@pytest.fixture(scope="module")
def troubled(deployed: Deployment, cast: Cast) -> dict[tuple[str, str], Troubled]:
    """Everything at once, so that what has to be waited for is waited for together."""
    found: dict[tuple[str, str], Troubled] = {}
    for name, plan in CASES.items():
        spoke = cast.spoke()
        document = approval(spoke.uid, next(spoke.vpcs))
        # Account A is the same for all, so its calls are told apart by the instance they name.
        whose = {"account": spoke.uid} if plan["service"] == "sts" else {"resource": document["instance"]["id"]}
        if plan["operation"] == "DescribeExpressConnectRouterAssociation":
            whose = {"account": HUB}  # many are looked up by one call, which names none of them
        found[name] = Troubled(spoke, document, deployed.admin.plan(**plan, **whose)["number"])
    deployed.send(*[one.document for one in found.values()])
    return found


@pytest.mark.parametrize("name", CASES, ids=" ".join)
def test_trouble_on_one_call_does_not_keep_the_request_from_being_done(
    deployed: Deployment, troubled: dict[tuple[str, str], Troubled], name: tuple[str, str]
) -> None:
    """The trouble did happen; the request is done all the same, with one grant and one association on the cloud."""
    one = troubled[name]
    answer = deployed.answer(one.document)
    assert (answer["event"], answer["reason"]["text"]) == ("done", "granted and associated")
    [struck] = [fault["struck"] for fault in deployed.admin.faults() if fault["number"] == one.fault]
    assert struck == 1
    assert deployed.granted(one.document, one.spoke) == [(HUB_ECR, HUB)]
    assert deployed.associated(one.document) == [("ACTIVE", ("10.20.0.0/16",))]
    effects = [entry["operation"] for entry in deployed.journal(one.document) if entry["effect"]]
    assert effects == ["GrantInstanceToExpressConnectRouter", "CreateExpressConnectRouterAssociation"]


def test_a_completion_that_cannot_be_published_goes_out_later(deployed: Deployment, spoke: Spoke) -> None:
    """The outbox keeps what the topic would not take; the next event carries it out."""
    fault: dict[str, Any] = {"service": "mns", "operation": "PublishMessage", "times": None}
    planned = deployed.admin.plan(kind="server_error", status=500, **fault)
    document = approval(spoke.uid, next(spoke.vpcs))
    deployed.send(document)
    deployed.quiet()
    assert deployed.kinds(document) == []
    assert deployed.granted(document, spoke) == [(HUB_ECR, HUB)]

    deployed.admin.clear(planned["number"])
    deployed.nudge()

    assert deployed.answer(document)["event"] == "done"
    deployed.quiet()
    assert deployed.kinds(document) == ["admitted", "granted", "associated", "done"]


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        pytest.param(
            "DeleteExpressConnectRouterAssociation", "cut after", id="dissociating had its effect, and nobody was told"
        ),
        pytest.param(
            "RevokeInstanceFromExpressConnectRouter", "cut after", id="revoking had its effect, and nobody was told"
        ),
        pytest.param("RevokeInstanceFromExpressConnectRouter", "throttled", id="revoking has to wait"),
    ],
)
def test_trouble_on_the_way_back_leaves_nothing_standing(
    deployed: Deployment, spoke: Spoke, operation: str, kind: str
) -> None:
    """Undoing is as patient as doing, and keeps its order."""
    document = approval(spoke.uid, next(spoke.vpcs))
    deployed.settled(document)
    deployed.admin.plan(service="ecr", operation=operation, **where(deployed, document, operation), **KINDS[kind])
    answer = deployed.settled(revocation(document, "all"))
    assert (answer["event"], answer["reason"]["text"]) == ("done", "dissociated and revoked")
    assert deployed.granted(document, spoke) == []
    assert deployed.associated(document) == []


def where(deployed: Deployment, document: Json, operation: str) -> Json:
    """What tells the calls about one grant apart: deleting names the association, not the instance."""
    if operation != "DeleteExpressConnectRouterAssociation":
        return {"resource": document["instance"]["id"]}
    return {"resource": deployed.event(document, "associated")["association_id"]}


@pytest.mark.parametrize("tables", [["sides"], ["sides", "intents"]], ids=" and ".join)
def test_a_ledger_that_was_away_delays_nothing_for_long(deployed: Deployment, spoke: Spoke, tables: list[str]) -> None:
    """Away while a grant is being asked for, which then cannot be noted: done soon after it is back, with one grant.

    Not only when the claim has run out that the worker could not give back, which takes longer than an invocation may.
    """
    document = next(one for one in map(partial(approval, spoke.uid), spoke.vpcs) if is_missed(deployed, one, tables))
    deployed.admin.advance(20)  # what was sent back is handed over anew
    assert deployed.answer(document)["event"] == "done"
    effects = [entry["operation"] for entry in deployed.journal(document) if entry["effect"]]
    assert effects == ["GrantInstanceToExpressConnectRouter", "CreateExpressConnectRouterAssociation"]


def is_missed(deployed: Deployment, document: Json, tables: list[str]) -> bool:
    """Take tables away while a worker asks for a grant. Whether it missed them; if not, this machine was too slow for that."""
    instance = document["instance"]["id"]
    # While the platform takes its time with the call, and only then, it is certain where the worker is.
    asked = {"service": "ecr", "operation": "GrantInstanceToExpressConnectRouter", "resource": instance}
    deployed.admin.plan(kind="slow", seconds=3, **asked)
    deployed.send(document)
    intended = "SELECT grant_id FROM grants JOIN intents USING (grant_id) WHERE instance_id = :instance"
    [[grant]] = until(lambda: deployed.rows(intended, instance=instance), "an intent")

    def missed() -> bool:
        lines = [line["text"] for line in deployed.logs(GRANT_FUNCTION)]
        return any('"ledger.away"' in line and grant in line for line in lines)

    with ExitStack() as away:
        for table in tables:
            away.enter_context(ledger_without(deployed.ledger_url, table))
        if not deployed.calls(
            document, "GrantInstanceToExpressConnectRouter"
        ):  # a call is journalled when it has ended
            until(missed, "the worker misses the ledger")
            return True
    return False
