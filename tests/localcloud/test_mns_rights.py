"""Conformance: who may do what with queues and topics, as the official Python SDK meets it."""

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from mns.account import AccountMeta
from mns.mns_exception import MNSServerException
from mns.queue import Message, QueueMeta
from mns.subscription import SubscriptionMeta
from mns.topic import TopicMessage, TopicMeta

from tests.localcloud.conftest import RunCloud
from tests.localcloud.harness import Key, allow, trust, user
from tests.localcloud.mns_kit import Hub, a_hub, code_of, everything_but, meta, refused


@pytest.fixture
def hub(run_cloud: RunCloud) -> Hub:
    return a_hub(run_cloud, queues={"work": {}, "inbox": {}}, topics={"news": {}})


def test_role_session(run_cloud: RunCloud) -> None:
    """A role session sends with its token, with nothing else, and not after its time."""
    uid = "3000000000000003"
    spec, key = user("person", allow("sts:AssumeRole"))
    roles = {"sender": {"trust": trust(f"acs:ram::{uid}:root"), "policies": {"p": allow("mns:SendMessage")}}}
    hub = a_hub(run_cloud, accounts={uid: {"users": {"person": spec}, "roles": roles, "queues": {"work": {}}}})
    session = hub.cloud.assume(key, f"acs:ram::{uid}:role/sender")
    queue = hub.queue("work", key=session)
    queue.send_message(Message("a"))

    assert code_of(lambda: queue.receive_message(0)) == "AccessDenied"
    untokened = hub.queue("work", key=Key(session.id, session.secret))
    assert code_of(lambda: untokened.send_message(Message("a"))) == "AccessDenied"
    wrong = hub.queue("work", key=Key(session.id, session.secret, "CAISwrong"))
    assert code_of(lambda: wrong.send_message(Message("a"))) == "AccessDenied"
    hub.cloud.advance(3601)
    assert code_of(lambda: queue.send_message(Message("a"))) == "AccessDenied"
    assert [entry["message"] for entry in hub.cloud.journal(operation="SendMessage")][-1].endswith("expired.")


OPERATIONS: dict[str, tuple[list[str], Callable[[Hub, Key], object]]] = {
    "CreateQueue": (["CreateQueue"], lambda hub, key: hub.queue("fresh", key=key).create(QueueMeta())),
    "SetQueueAttributes": (
        ["SetQueueAttributes"],
        lambda hub, key: hub.queue("work", key=key).set_attributes(meta(delay_seconds=0)),
    ),
    "GetQueueAttributes": (["GetQueueAttributes"], lambda hub, key: hub.queue("work", key=key).get_attributes()),
    "ListQueue": (["ListQueue"], lambda hub, key: hub.account(key).list_queue()),
    "DeleteQueue": (["DeleteQueue"], lambda hub, key: hub.queue("other", key=key).delete()),
    "SendMessage": (["SendMessage"], lambda hub, key: hub.queue("work", key=key).send_message(Message("a"))),
    "BatchSendMessage": (
        ["SendMessage", "BatchSendMessage"],
        lambda hub, key: hub.queue("work", key=key).batch_send_message([Message("a")]),
    ),
    "ReceiveMessage": (["ReceiveMessage"], lambda hub, key: hub.queue("work", key=key).receive_message(0)),
    "BatchReceiveMessage": (
        ["ReceiveMessage", "BatchReceiveMessage"],
        lambda hub, key: hub.queue("work", key=key).batch_receive_message(1, 0),
    ),
    "PeekMessage": (["PeekMessage"], lambda hub, key: hub.queue("work", key=key).peek_message()),
    "BatchPeekMessage": (
        ["PeekMessage", "BatchPeekMessage"],
        lambda hub, key: hub.queue("work", key=key).batch_peek_message(1),
    ),
    "DeleteMessage": (["DeleteMessage"], lambda hub, key: hub.queue("work", key=key).delete_message("1-" + "a" * 32)),
    "BatchDeleteMessage": (
        ["DeleteMessage", "BatchDeleteMessage"],
        lambda hub, key: hub.queue("work", key=key).batch_delete_message(["1-" + "a" * 32]),
    ),
    "ChangeMessageVisibility": (
        ["ChangeMessageVisibility"],
        lambda hub, key: hub.queue("work", key=key).change_message_visibility("1-" + "a" * 32, 5),
    ),
    "CreateTopic": (["CreateTopic"], lambda hub, key: hub.topic("fresh", key).create(TopicMeta())),
    "SetTopicAttributes": (
        ["SetTopicAttributes"],
        lambda hub, key: hub.topic("news", key).set_attributes(TopicMeta(2048)),
    ),
    "GetTopicAttributes": (["GetTopicAttributes"], lambda hub, key: hub.topic("news", key).get_attributes()),
    "ListTopic": (["ListTopic"], lambda hub, key: hub.account(key).list_topic()),
    "DeleteTopic": (["DeleteTopic"], lambda hub, key: hub.topic("other", key).delete()),
    "PublishMessage": (["PublishMessage"], lambda hub, key: hub.topic("news", key).publish_message(TopicMessage("a"))),
    "Subscribe": (
        ["Subscribe"],
        lambda hub, key: hub.subscription("news", "fresh", key).subscribe(SubscriptionMeta(hub.endpoint("work"))),
    ),
    "SetSubscriptionAttributes": (
        ["SetSubscriptionAttributes"],
        lambda hub, key: hub.subscription("news", "s", key).set_attributes(
            SubscriptionMeta(notify_strategy="BACKOFF_RETRY")
        ),
    ),
    "GetSubscriptionAttributes": (
        ["GetSubscriptionAttributes"],
        lambda hub, key: hub.subscription("news", "s", key).get_attributes(),
    ),
    "ListSubscriptionByTopic": (
        ["ListSubscriptionByTopic"],
        lambda hub, key: hub.topic("news", key).list_subscription(),
    ),
    "Unsubscribe": (["Unsubscribe"], lambda hub, key: hub.subscription("news", "other", key).unsubscribe()),
    "GetAccountAttributes": (["GetAccountAttributes"], lambda hub, key: hub.account(key).get_attributes()),
    "SetAccountAttributes": (
        ["SetAccountAttributes"],
        lambda hub, key: hub.account(key).set_attributes(AccountMeta("b")),
    ),
    "OpenService": (["OpenService"], lambda hub, key: hub.account(key).open_service()),
}


FURNITURE: dict[str, Any] = {
    "queues": {"work": {}, "other": {}},
    "topics": {"news": {"subscriptions": {"s": {"queue": "work"}, "other": {"queue": "work"}}}, "other": {}},
}


def test_every_operation_asks_for_its_permission(run_cloud: RunCloud) -> None:
    """Each operation is refused when exactly its action is missing, changes nothing then, and names the action."""
    keys: dict[str, Key] = {}
    users: dict[str, Any] = {}
    actions = sorted({action for needed, _ in OPERATIONS.values() for action in needed})
    for action in actions:
        users[action], keys[action] = user(action, everything_but(f"mns:{action}"))
    uid = "4000000000000004"
    cloud = run_cloud({"accounts": {uid: {"users": users, **FURNITURE}}})
    hub = Hub(cloud, uid, keys["SendMessage"])
    before = hub.snapshot()

    for operation, (needed, call) in OPERATIONS.items():
        for action in needed:
            error = refused(partial(call, hub, keys[action]))
            assert (operation, error.type) == (operation, "AccessDenied")
            assert f"mns:{action} on acs:mns:cn-hangzhou:{uid}:/" in error.message
    assert hub.snapshot() == before
    assert {entry["operation"] for entry in cloud.journal(service="mns")} == set(OPERATIONS)


def test_operations_are_allowed_with_their_permission_alone(run_cloud: RunCloud) -> None:
    """With exactly the documented action on exactly the documented resource an operation gets past RAM."""
    keys: dict[str, Key] = {}
    users: dict[str, Any] = {}
    for operation, (needed, _) in OPERATIONS.items():
        users[operation], keys[operation] = user(operation, allow([f"mns:{action}" for action in needed]))
    uid = "5000000000000005"
    cloud = run_cloud({"accounts": {uid: {"users": users, **FURNITURE}}})
    hub = Hub(cloud, uid, keys["SendMessage"])

    for operation, (_, call) in OPERATIONS.items():
        with contextlib.suppress(MNSServerException):
            call(hub, keys[operation])

    journal = cloud.journal(service="mns")
    assert {entry["operation"] for entry in journal} - {"DeliverMessage"} == set(OPERATIONS)
    assert {entry["code"] for entry in journal} == {"", "MessageNotExist"}


@pytest.mark.parametrize(("setting", "needed"), [("single", "SendMessage"), ("batch", "BatchSendMessage")])
def test_batch_permission_switch(run_cloud: RunCloud, setting: str, needed: str) -> None:
    """Two pages disagree about which action a batch needs; each reading can be set."""
    hub = a_hub(run_cloud, allow(f"mns:{needed}"), queues={"work": {}}, switches={"batch_actions": setting})

    hub.queue("work").batch_send_message([Message("a")])


def test_permission_is_about_one_queue(run_cloud: RunCloud) -> None:
    """A policy for one queue does not open the next one."""
    hub = a_hub(
        run_cloud,
        allow("mns:SendMessage", "acs:mns:*:*:/queues/work/messages"),
        queues={"work": {}, "inbox": {}},
    )
    hub.queue("work").send_message(Message("a"))

    assert code_of(lambda: hub.queue("inbox").send_message(Message("a"))) == "AccessDenied"
