"""Bad input: one rejection each, with a reason a person understands, and the neighbours in the batch are done."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.functional.approvals import approval
from tests.functional.conftest import Cast
from tests.functional.deployment import Deployment, Json
from tests.functional.world import EXAMPLE, HUB, HUB_ECR, Spoke

Make = Callable[[Spoke], Json | str]

UNLISTED = "9999999999999999"
ELSEWHERE = EXAMPLE["accounts"]["3000000000000003"]["vpcs"][0]["id"]


def changed(path: str, value: Any) -> Make:
    """A good approval in which one field has another value."""

    def make(spoke: Spoke) -> Json:
        document = approval(spoke.uid, "vpc-nobodyasked")
        *steps, last = path.split(".")
        place = document
        for step in steps:
            place = place[step]
        place[last] = value
        return document

    return make


def without(*names: str) -> Make:
    """A good approval from which fields are missing."""
    return lambda spoke: {k: v for k, v in approval(spoke.uid, "vpc-nobodyasked").items() if k not in names}


def on(instance_id: str) -> Make:
    """A well-formed approval for an instance that the spoke does not have."""
    return lambda spoke: approval(spoke.uid, instance_id)


def encoded_once_more(spoke: Spoke) -> str:
    """A good approval that was made Base64 of before the SDK does that."""
    return base64.b64encode(json.dumps(approval(spoke.uid, "vpc-nobodyasked")).encode()).decode()


# A message, and what its rejection has to say; {uid} stands for the spoke's account.
CASES: dict[str, tuple[Make, list[str]]] = {
    "not JSON": (lambda _: "{rotten", ["the message is not JSON", "{rotten"]),
    "no object": (lambda _: "[1, 2]", ["the message is not a JSON object", "[1, 2]"]),
    "no schema": (lambda _: "{}", ["schema: must be one of", "found nothing"]),
    "future schema": (
        changed("schema", "ecr-grants/approval/9"),
        ["schema: must be ecr-grants/approval/3", "approval/9"],
    ),
    "unknown field": (changed("colour", "red"), ["colour: is not a known field"]),
    "missing fields": (without("reason", "approved_by"), ["reason: is missing", "approved_by: is missing"]),
    "malformed VPC id": (changed("instance.id", "vpc_1"), ["instance.id: must be the id of a VPC or VBR", "vpc_1"]),
    "malformed ECR id": (changed("ecr.id", "ecr"), ["ecr.id: must be the id of a router"]),
    "malformed uid": (changed("instance.owner_uid", "12"), ["instance.owner_uid: must be an account uid", "'12'"]),
    "uid as a number": (changed("instance.owner_uid", 2 * 10**15), ["instance.owner_uid: ", "valid string"]),
    "malformed region": (changed("instance.region", "Hangzhou"), ["instance.region: must be a region id", "Hangzhou"]),
    "id of another kind": (changed("instance.type", "VBR"), ["instance.id: is not the id of a VBR"]),
    "host bits in a prefix": (changed("allowed_prefixes", ["10.0.0.1/16"]), ["allowed_prefixes.0: ", "host bits set"]),
    "a prefix without its mask": (
        changed("allowed_prefixes", ["10.20.0.0/16", "10.20.3.4"]),
        ["allowed_prefixes.1: has no mask", "10.20.3.4/32"],
    ),
    "a prefix with a netmask": (
        changed("allowed_prefixes", ["10.20.0.0/255.255.0.0"]),
        ["allowed_prefixes.0: must end in the length", "10.20.0.0/255.255.0.0"],
    ),
    "nobody approved it": (changed("approved_by", []), ["approved_by: must have at least 1"]),
    "an approver whom nobody sees": (
        changed("approved_by", ["\u00a0"]),
        ["approved_by.0: must be 1 to 200 characters"],
    ),
    "a NUL in the reason": (changed("reason", "a\x00b"), ["reason: must be", "a\\x00b"]),
    "a region beyond its column": (
        changed("instance.region", "cn-" + "a" * 70),
        ["instance.region: must be", "73 char"],
    ),
    "a time without its seconds": (changed("approved_at", "2026-01-31T12:00Z"), ["approved_at: must be", "RFC 3339"]),
    "an array of one": (
        lambda spoke: json.dumps([approval(spoke.uid, "vpc-nobodyasked")]),
        ["the message is not a JSON object", "an array of one"],
    ),
    "Base64 twice": (encoded_once_more, ["the message is not JSON, nor Base64 of JSON", "it was encoded twice"]),
    "a topic's envelope": (
        lambda spoke: {"TopicName": "t", "Message": json.dumps(approval(spoke.uid, "vpc-nobodyasked"))},
        ["schema: must be one of", "notify format SIMPLIFIED"],
    ),
    "unlisted account B": (
        changed("instance.owner_uid", UNLISTED),
        [f"instance.owner_uid: account {UNLISTED} is not listed in the inventory"],
    ),
    "unlisted account A": (
        changed("ecr", {"id": HUB_ECR, "owner_uid": UNLISTED}),
        [f"ecr.owner_uid: account {UNLISTED} is not listed in the inventory"],
    ),
    "unlisted ECR": (
        changed("ecr", {"id": "ecr-nobodylistedit", "owner_uid": HUB}),
        ["ecr.id: ecr-nobodylistedit is not listed in the inventory", HUB],
    ),
    "VPC that does not exist": (
        on("vpc-doesnotexist"),
        ["instance.id: VPC vpc-doesnotexist not found in account {uid}, region cn-hangzhou"],
    ),
    "another account's VPC": (
        on(ELSEWHERE),
        [f"instance.id: VPC {ELSEWHERE} not found in account {{uid}}, region cn-hangzhou"],
    ),
    "VPC of another region": (
        lambda spoke: {
            **(document := approval(spoke.uid, next(spoke.vpcs))),
            "instance": {**document["instance"], "region": "cn-shanghai"},
        },
        ["not found in account {uid}, region cn-shanghai"],
    ),
    "VBR that does not exist": (
        on("vbr-doesnotexist"),
        ["instance.id: VBR vbr-doesnotexist not found in account {uid}, region cn-hangzhou"],
    ),
}


@dataclass
class Handled:
    """Bad and good messages that were sent together, and are all answered."""

    spoke: Spoke
    sent: dict[str, str]
    bad: dict[str, Json | str]
    good: list[Json]

    def answers(self, deployed: Deployment, name: str) -> list[Json]:
        """What was said about one bad message, beside having taken it in."""
        about = {one["id"]: one for one in deployed.completions if one.get("message_id") == self.sent[name]}
        return [one for one in about.values() if one["event"] != "admitted"]


@pytest.fixture(scope="module")
def handled(deployed: Deployment, cast: Cast) -> Handled:
    """All bad messages with good ones between them, sent together; everything is answered."""
    spoke = cast.spoke()
    bad = {name: make(spoke) for name, (make, _) in CASES.items()}
    good = [approval(spoke.uid, next(spoke.vpcs)) for _ in range(3)]
    bodies: list[Json | str] = list(bad.values())
    half = len(bodies) // 2
    ids = deployed.send(good[0], *bodies[:half], good[1], *bodies[half:], good[2])
    sent = dict(zip(bad, [*ids[1 : half + 1], *ids[half + 2 : -1]], strict=True))
    for message_id in sent.values():
        deployed.answer_to_message(message_id)
    for document in good:
        deployed.answer(document)
    deployed.quiet()
    return Handled(spoke, sent, bad, good)


@pytest.mark.parametrize("name", CASES)
def test_a_bad_message_is_rejected_once_and_told_why(deployed: Deployment, handled: Handled, name: str) -> None:
    """The reason names the field or the cause, and what was found."""
    [answer] = handled.answers(deployed, name)
    assert answer["event"] == "rejected"
    for part in CASES[name][1]:
        assert part.replace("{uid}", handled.spoke.uid) in answer["reason"]["text"]


def test_the_neighbours_of_bad_messages_are_done(deployed: Deployment, handled: Handled) -> None:
    """Every good message of the same batches has its association."""
    for document in handled.good:
        assert deployed.answer(document)["event"] == "done"
        assert [status for status, _ in deployed.associated(document)] == ["ACTIVE"]


def test_a_rejection_that_could_be_read_names_its_request(deployed: Deployment, handled: Handled) -> None:
    """Where the request id was legible the answer carries it, so that whoever asked can be told."""
    legible = ("unlisted account B", "unlisted ECR", "VPC that does not exist", "another account's VPC")
    for name in legible:
        [answer] = handled.answers(deployed, name)
        document = handled.bad[name]
        assert isinstance(document, dict)
        assert answer["request"]["request_id"] == document["request_id"]


def test_nothing_is_retried_and_nothing_becomes_a_dead_letter(deployed: Deployment, handled: Handled) -> None:
    """Each message was delivered once; no trigger gave one up; the dead-entry queues are empty."""
    delivered = deployed.delivered()
    assert {name: delivered[name] for name in handled.sent.values()} == dict.fromkeys(handled.sent.values(), 1)
    assert deployed.lost() == {}
    world = deployed.admin.world()
    graves = [queue for queue in world["mns"]["queues"] if queue["name"].endswith("-dead")]
    assert graves
    assert [queue["messages"] for queue in graves] == [[] for _ in graves]


def test_no_completion_is_published_twice(deployed: Deployment, handled: Handled) -> None:
    """Also when both functions find the same entries in the outbox, each completion goes out once."""
    about = [one for one in deployed.completions if one.get("message_id") in handled.sent.values()]
    names = [(one["event"], one["id"]) for one in about]
    assert [name for name in names if names.count(name) > 1] == []


def test_a_rejected_request_changes_nothing_on_the_cloud(deployed: Deployment, handled: Handled) -> None:
    """For what was refused no write was even tried."""
    asked = [
        message["instance"]["id"]
        for message in handled.bad.values()
        if isinstance(message, dict) and "instance" in message
    ]
    writes = [
        entry
        for entry in deployed.journal(service="ecr")
        if entry["operation"].startswith(("Grant", "Create")) and entry["params"].get("InstanceId") in asked
    ]
    assert writes == []


def test_a_rejection_told_twice_is_one_event(deployed: Deployment, spoke: Spoke) -> None:
    """A refused message that is delivered twice is one rejection; sent again it is another message, and told again."""
    fault = deployed.admin.plan(
        kind="duplicate", service="fc", operation="InvokeFunction", resource="ecr-grants-grant", times=1
    )
    text = json.dumps(approval(spoke.uid, "vpc_1"))
    [first] = deployed.send(text)
    deployed.answer_to_message(first)
    deployed.quiet()
    [second] = deployed.send(text)
    deployed.answer_to_message(second)
    deployed.quiet()
    told = [one["message_id"] for one in deployed.completions if one.get("message_id") in (first, second)]
    assert told == [first, second]
    deployed.admin.clear(fault["number"])
