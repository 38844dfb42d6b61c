"""Who may only publish, only wake or only run a function approves nothing: each tries, with real keys, and is told why not."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
import yaml
from mns.account import Account
from mns.queue import Message
from mns.topic import TopicMessage

from shared.cloud.functions import Functions
from shared.cloud.keys import Keys
from shared.messages.envelope import Item, again
from tests.functional.approvals import approval, revocation
from tests.functional.deployment import Deployment, Json, deployment
from tests.functional.launch import TEMPLATE, ledger_busy, ledger_without
from tests.functional.mailbox import as_sent
from tests.functional.waiting import until
from tests.functional.world import (
    ASSOCIATE_FUNCTION,
    GRANT_FUNCTION,
    HUB,
    RECONCILE_FUNCTION,
    REGION,
    Key,
    Spoke,
    Stage,
)

PUBLISHER = Key("LTAI-example-publisher", "example-secret-of-the-publisher")
WAKER = Key("LTAI-example-waker", "example-secret-of-the-waker")
RUNNER = Key("LTAI-example-invoker", "example-secret-of-the-invoker")
MAY = {
    "publisher": (PUBLISHER, "mns:PublishMessage", [f"acs:mns:*:{HUB}:/topics/ecr-completions/messages"]),
    "waker": (
        WAKER,
        "mns:SendMessage",
        [f"acs:mns:*:{HUB}:/queues/{name}/messages" for name in ("ecr-grants-wakes", "ecr-associations")],
    ),
    "invoker": (RUNNER, "fc:InvokeFunction", ["*"]),
}


@pytest.fixture(scope="module")
def spokes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Deployment, Iterator[Spoke]]]:
    """The functions deployed, and beside the usual people three who may do one thing each."""
    stage = Stage()
    made = [stage.new_spoke() for _ in range(24)]
    for name, (key, action, resources) in MAY.items():
        only = {"Version": "1", "Statement": [{"Effect": "Allow", "Action": [action], "Resource": resources}]}
        access_key = {"id": key.id, "secret": key.secret}
        stage.hub["users"][name] = {"access_key": access_key, "policies": {"only": only}}
    with deployment(stage, tmp_path_factory.mktemp("doors")) as cloud:
        yield cloud, iter(made)


@pytest.fixture
def cloud(spokes: tuple[Deployment, Iterator[Spoke]]) -> Deployment:
    """The deployed functions."""
    return spokes[0]


@pytest.fixture
def spoke(spokes: tuple[Deployment, Iterator[Spoke]]) -> Spoke:
    """A spoke for this test alone."""
    return next(spokes[1])


_names = itertools.count(1)


def publish(cloud: Deployment, body: str, tag: str) -> None:
    """As who may only publish."""
    account = Account(cloud.url, PUBLISHER.id, PUBLISHER.secret)
    account.get_topic("ecr-completions").publish_message(TopicMessage(body, message_tag=tag))
    account.get_client().close_connection()


def invoke(cloud: Deployment, function: str, body: str, **attributes: str) -> None:
    """As who may only run functions, with an event of one's own making."""
    name = f"M-by-hand-{next(_names)}"
    event = {"id": name, **attributes, "data": {"messageId": name, "messageBody": body}}
    Functions(cloud.url, REGION, Keys(RUNNER.id, RUNNER.secret, "")).run(function, json.dumps(event).encode())


def through(queue: str) -> Callable[[Deployment, str], None]:
    """As who may only wake."""
    return lambda cloud, body: send(cloud, queue, body)


def send(cloud: Deployment, queue: str, body: str) -> None:
    """Put a message on one of the queues that wake."""
    account = Account(cloud.url, WAKER.id, WAKER.secret)
    account.get_queue(queue).send_message(Message(body))
    account.get_client().close_connection()


ROADS = [
    pytest.param(lambda cloud, body: publish(cloud, body, "dissociated"), "ecr-grants-wakes", id="published, to grant"),
    pytest.param(lambda cloud, body: publish(cloud, body, "granted"), "ecr-associations", id="published, to associate"),
    pytest.param(through("ecr-grants-wakes"), "ecr-grants-wakes", id="sent as a wake, to grant"),
    pytest.param(through("ecr-associations"), "ecr-associations", id="sent as a wake, to associate"),
    pytest.param(
        lambda cloud, body: invoke(cloud, GRANT_FUNCTION, body), "an event that names no queue", id="grant run by hand"
    ),
    pytest.param(
        lambda cloud, body: invoke(cloud, ASSOCIATE_FUNCTION, body),
        "an event that names no queue",
        id="associate run by hand",
    ),
    pytest.param(
        lambda cloud, body: invoke(
            cloud, ASSOCIATE_FUNCTION, body, subject=f"acs:mns:{REGION}:{HUB}:queues/ecr-approvals"
        ),
        "ecr-approvals' into the associate function",
        id="associate run by hand with a good subject",
    ),
]


def wrapped(document: Json) -> str:
    """An approval dressed as a message that was sent again."""
    return again(Item("M-somebody", as_sent(document)))


@pytest.mark.parametrize("dress", [pytest.param(as_sent, id="plain"), pytest.param(wrapped, id="as if sent again")])
@pytest.mark.parametrize(("road", "origin"), ROADS)
def test_an_approval_by_another_door_is_rejected_and_says_where_it_came_from(
    cloud: Deployment,
    spoke: Spoke,
    road: Callable[[Deployment, str], None],
    origin: str,
    dress: Callable[[Json], str],
) -> None:
    """Recorded once, answered once, never tried again; nothing is granted, and nothing is in the dead letters."""
    document = approval(spoke.uid, next(spoke.vpcs))
    road(cloud, dress(document))
    answer = cloud.answer(document)
    assert (answer["event"], answer["reason"]["code"]) == ("rejected", "NotAllowed")
    assert origin in answer["reason"]["text"]
    cloud.quiet()
    assert cloud.granted(document, spoke) == []
    assert cloud.rows("SELECT 1 FROM approvals WHERE request_id = :name", name=document["request_id"]) == []
    assert cloud.rows("SELECT 1 FROM grants WHERE instance_id = :name", name=document["instance"]["id"]) == []
    told = [one for one in cloud.completions if one.get("request", {}).get("request_id") == document["request_id"]]
    assert len({one["id"] for one in told}) == 1
    assert dead_letters(cloud) == 0


def dead_letters(cloud: Deployment) -> int:
    """Messages in all dead-letter queues."""
    queues = cloud.admin.world()["mns"]["queues"]
    return sum(int(one["active"]) + int(one["inactive"]) for one in queues if one["name"].endswith("-dead"))


def test_the_same_request_by_its_own_door_is_admitted_afterwards(cloud: Deployment, spoke: Spoke) -> None:
    """Who tries another door with somebody's request id does not spoil it for them."""
    document = approval(spoke.uid, next(spoke.vpcs))
    send(cloud, "ecr-grants-wakes", as_sent(document))
    assert cloud.answer(document)["event"] == "rejected"
    cloud.completions.clear()
    assert cloud.settled(document)["event"] == "done"


def sent_again(cloud: Deployment, function: str) -> int:
    """How often a function has sent something again so far."""
    return sum('"message.sent_again"' in line["text"] for line in cloud.logs(function))


@pytest.mark.parametrize("queue", ["ecr-grants-wakes", "ecr-associations"])
def test_a_ledger_that_is_away_opens_no_door(cloud: Deployment, spoke: Spoke, queue: str) -> None:
    """What may not come in is sent again to where it came from, so that it may not come in afterwards either."""
    document = approval(spoke.uid, next(spoke.vpcs))
    function = GRANT_FUNCTION if queue == "ecr-grants-wakes" else ASSOCIATE_FUNCTION
    before = sent_again(cloud, function)
    with ledger_without(cloud.ledger_url, "events"):
        invoke(cloud, function, as_sent(document))
        send(cloud, queue, as_sent(document))
        until(lambda: sent_again(cloud, function) == before + 2, "both are sent again")
        sent = [one for one in cloud.admin.world()["mns"]["queues"] if one["name"] == "ecr-approvals"]
        assert [(one["active"], one["inactive"], len(one["messages"])) for one in sent] == [(0, 0, 0)]
    cloud.admin.advance(20)
    assert cloud.answer(document)["event"] == "rejected"
    cloud.quiet()
    assert cloud.granted(document, spoke) == []


@pytest.mark.parametrize("tag", ["granted", "unwanted", "dissociated"])
def test_a_completion_that_somebody_made_up_is_only_a_hint(cloud: Deployment, spoke: Spoke, tag: str) -> None:
    """It makes a function look, at what the ledger and the cloud say; through the approvals queue it is no more than that."""
    document = approval(spoke.uid, next(spoke.vpcs))
    assert cloud.settled(document)["event"] == "done"
    true = cloud.event(document, "granted")
    false = {**true, "event": tag, "id": f"made-up-{next(_names)}"}
    writes = [one for one in cloud.our_calls(document) if not one.startswith("Describe")]
    publish(cloud, json.dumps(false), tag)
    cloud.send(false)
    cloud.send({"schema": "ecr-grants/wake/1", "grant_id": true["grant"]["grant_id"]})
    cloud.quiet()
    assert [one for one in cloud.our_calls(document) if not one.startswith("Describe")] == writes
    assert [status for status, _ in cloud.associated(document)] == ["ACTIVE"]


# -- where events do not name their queue --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def subjectless(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., AbstractContextManager[Deployment]]:
    """Deployments whose events have no subject, as RawData delivers them, with settings."""
    folder = tmp_path_factory.mktemp("subjectless")

    @contextlib.contextmanager
    def deployed(stage: Stage, **settings: str) -> Iterator[Deployment]:
        text = TEMPLATE.read_text("utf-8").replace("CloudEvents", "RawData")
        document = yaml.safe_load(text)
        grant = document["resources"]["grant"]["props"]
        if settings:
            grant["triggers"] = [one for one in grant["triggers"] if one["triggerName"] != "wakes"]
            for resource in document["resources"].values():
                resource["props"]["environmentVariables"] |= settings
        place = folder / ("fallback" if settings else "default")
        place.mkdir()
        path = place / "s.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
        with deployment(stage, place, template=path) as made:
            yield made

    return deployed


def test_without_subjects_nothing_is_approved_unless_somebody_says_so(
    subjectless: Callable[..., AbstractContextManager[Deployment]],
) -> None:
    """The default is the safe side, and the reason says what is the matter."""
    stage = Stage()
    spoke = stage.new_spoke()
    document = approval(spoke.uid, next(spoke.vpcs))
    with subjectless(stage) as cloud:
        answer = cloud.settled(document)
    assert (answer["event"], answer["reason"]["code"]) == ("rejected", "NotAllowed")
    assert "an event that names no queue" in answer["reason"]["text"]


def test_without_subjects_one_queue_and_the_timer_do_the_job(
    subjectless: Callable[..., AbstractContextManager[Deployment]],
) -> None:
    """The fallback as docs/operating.md tells it: what is published wakes grant no more, reconcile does, and publishing an
    approval approves nothing.
    """
    stage = Stage()
    spoke = stage.new_spoke()
    del stage.hub["topics"]["ecr-completions"]["subscriptions"]["grant-dissociated"]
    policies = stage.role(HUB, RECONCILE_FUNCTION)["policies"].values()
    (send_rights,) = (one for each in policies for one in each["Statement"] if "mns:SendMessage" in one["Action"])
    send_rights["Resource"][0] = f"acs:mns:*:{HUB}:/queues/ecr-approvals/messages"
    document, forged = (approval(spoke.uid, next(spoke.vpcs)) for _ in range(2))
    key = {"id": PUBLISHER.id, "secret": PUBLISHER.secret}
    only = {
        "Version": "1",
        "Statement": [{"Effect": "Allow", "Action": [MAY["publisher"][1]], "Resource": MAY["publisher"][2]}],
    }
    stage.hub["users"]["publisher"] = {"access_key": key, "policies": {"only": only}}
    with subjectless(stage, EVENT_SUBJECT="optional", WAKES_QUEUE="ecr-approvals") as cloud:
        assert cloud.settled(document)["event"] == "done"
        for tag in ("dissociated", "granted"):
            publish(cloud, as_sent(forged), tag)
        assert cloud.answer(forged)["event"] == "rejected"
        close = revocation(document, "all")
        cloud.send(close)
        cloud.event(document, "dissociated")
        assert not cloud.rows("SELECT 1 FROM approvals WHERE request_id = :name", name=forged["request_id"])
        with ledger_busy(cloud.ledger_url) as connection:
            connection.execute("UPDATE sides SET next_at = 1 WHERE next_at IS NOT NULL")  # in five minutes
        assert cloud.reconcile()["woken"] == 1
        assert cloud.answer(close)["event"] == "done"
        assert cloud.granted(forged, spoke) == []
