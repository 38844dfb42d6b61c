"""The same message again: every way in which that happens changes nothing."""

from __future__ import annotations

from collections import Counter

from tests.functional.approvals import approval, request_id
from tests.functional.deployment import Deployment, Json
from tests.functional.world import ASSOCIATE_FUNCTION, GRANT_FUNCTION, HUB, HUB_ECR, Spoke

WRITES = ("GrantInstanceToExpressConnectRouter", "CreateExpressConnectRouterAssociation")


def writes(deployed: Deployment, document: Json) -> list[int]:
    """How often the grant and the association were asked for."""
    return [deployed.calls(document, operation) for operation in WRITES]


def events(deployed: Deployment, document: Json) -> Counter[str]:
    """How many events of each kind the ledger holds about the grant of an approval, besides those that nobody is told."""
    rows = deployed.rows(
        "SELECT kind FROM events JOIN grants USING (grant_id) "
        "WHERE instance_id = :instance AND kind NOT IN ('took-effect', 'ownership')",
        instance=document["instance"]["id"],
    )
    return Counter(row.kind for row in rows)


ONCE = Counter(["admitted", "granted", "associated", "done"])


def test_a_message_that_is_delivered_twice_is_handled_once(deployed: Deployment, spoke: Spoke) -> None:
    """The platform delivers at least once: a batch that comes again finds everything done."""
    faults = [
        deployed.admin.plan(kind="duplicate", service="fc", operation="InvokeFunction", resource=function, times=1)
        for function in (GRANT_FUNCTION, ASSOCIATE_FUNCTION)
    ]
    document = approval(spoke.uid, next(spoke.vpcs))
    assert deployed.settled(document)["event"] == "done"
    deployed.quiet()
    struck = {fault["number"]: fault["struck"] for fault in deployed.admin.faults()}
    assert [struck[fault["number"]] for fault in faults] == [1, 1]
    assert writes(deployed, document) == [1, 1]
    assert events(deployed, document) == ONCE
    assert deployed.kinds(document) == ["admitted", "granted", "associated", "done"]
    for fault in faults:
        deployed.admin.clear(fault["number"])


def test_the_same_approval_sent_again_is_answered_from_what_holds_now(deployed: Deployment, spoke: Spoke) -> None:
    """A new message with the old content acts on nothing; whoever asks again is told what holds, and what was told before."""
    document = approval(spoke.uid, next(spoke.vpcs))
    first = deployed.settled(document)
    deployed.quiet()
    before = len(deployed.completions)

    deployed.send(document)
    again = deployed.wait_for(
        lambda one: one["event"] == "done" and one["request"] == first["request"] and one["id"] != first["id"],
        "the answer once more",
    )
    deployed.quiet()

    assert deployed.completions[before:] == [again]
    assert again["reason"]["text"].startswith("already granted and associated; this very request was answered at ")
    assert writes(deployed, document) == [1, 1]
    assert events(deployed, document) == ONCE + Counter(["done"])
    repeated = [line["text"] for line in deployed.logs(GRANT_FUNCTION) if "approval.repeated" in line["text"]]
    assert any(document["request_id"] in line for line in repeated)


def test_another_request_for_the_same_grant_is_told_that_it_is_already_granted(
    deployed: Deployment, spoke: Spoke
) -> None:
    """A second lease rests on what is there; the cloud is looked at and not changed."""
    document = approval(spoke.uid, next(spoke.vpcs))
    deployed.settled(document)
    second = {**document, "request_id": request_id()}

    answer = deployed.settled(second)

    assert (answer["event"], answer["reason"]["text"]) == ("done", "already granted and associated")
    deployed.quiet()
    assert writes(deployed, document) == [1, 1]
    assert events(deployed, document)["done"] == events(deployed, document)["admitted"] == 2
    assert deployed.granted(document, spoke) == [(HUB_ECR, HUB)]
    assert deployed.associated(document) == [("ACTIVE", ("10.20.0.0/16",))]


def test_many_copies_at_once_are_one_request(deployed: Deployment, spoke: Spoke) -> None:
    """Ten copies sent together and one more request for the same grant beside them: one grant, one association."""
    document = approval(spoke.uid, next(spoke.vpcs))
    other = {**document, "request_id": request_id()}
    deployed.send(*[document] * 10, other)
    assert {deployed.answer(one)["event"] for one in (document, other)} == {"done"}
    deployed.quiet()
    assert writes(deployed, document) == [1, 1]
    found = events(deployed, document)
    assert (found["admitted"], found["done"]) == (2, 2)


def test_the_same_request_id_with_other_content_is_reported(deployed: Deployment, spoke: Spoke) -> None:
    """Two contents approved under one name are two leases, and somebody is told that the name was used twice."""
    document = approval(spoke.uid, next(spoke.vpcs))
    deployed.settled(document)
    changed = {**document, "reason": "Another reason under the same name"}
    deployed.send(changed)
    assert deployed.event(document, "second-digest")["request"]["request_id"] == document["request_id"]
    deployed.quiet()
    assert writes(deployed, document) == [1, 1]
