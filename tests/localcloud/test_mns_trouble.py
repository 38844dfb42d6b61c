"""Conformance: quotas, planned trouble and the journal, as the official Python SDK meets them."""

import pytest
from mns.mns_exception import MNSClientNetworkException
from mns.queue import Message
from mns.topic import TopicMessage

from tests.functional.waiting import until
from tests.localcloud.conftest import RunCloud
from tests.localcloud.mns_kit import Hub, a_hub, code_of


@pytest.fixture
def hub(run_cloud: RunCloud) -> Hub:
    return a_hub(run_cloud, queues={"work": {}, "inbox": {}}, topics={"news": {}})


def test_data_and_metadata_have_quotas(run_cloud: RunCloud) -> None:
    """Over the limit comes 429 TooManyRequests; a batch counts once per message, metadata count apart."""
    hub = a_hub(
        run_cloud,
        queues={"work": {}},
        quotas={
            "mns:data": {"limit": 20, "seconds": 60, "window": "sliding"},
            "mns:metadata": {"limit": 1, "seconds": 60, "window": "sliding"},
        },
    )
    queue = hub.queue("work")
    queue.batch_send_message([Message("a")] * 16)
    for _ in range(4):
        queue.send_message(Message("a"))
    assert code_of(lambda: queue.send_message(Message("a"))) == "TooManyRequests"
    assert len(hub.snapshot()["queues"][0]["messages"]) == 20

    queue.get_attributes()
    assert code_of(queue.get_attributes) == "TooManyRequests"
    hub.cloud.advance(61)
    queue.get_attributes()
    queue.send_message(Message("a"))


def test_planned_errors(run_cloud: RunCloud) -> None:
    """Throttling, named errors and server errors with and without XML reach the SDK as it would see them."""
    plans = [
        {"kind": "throttle", "service": "mns", "operation": "SendMessage"},
        {
            "kind": "error",
            "service": "mns",
            "operation": "SendMessage",
            "after": 1,
            "status": 403,
            "code": "AccessDenied",
        },
        {"kind": "server_error", "service": "mns", "operation": "SendMessage", "after": 2, "status": 500},
        {"kind": "server_error", "service": "mns", "operation": "SendMessage", "after": 3, "body": "html"},
        {"kind": "server_error", "service": "mns", "operation": "SendMessage", "after": 4, "body": "empty"},
    ]
    hub = a_hub(run_cloud, queues={"work": {}}, faults=plans)
    queue = hub.queue("work")

    def send() -> object:
        return queue.send_message(Message("a"))

    assert [code_of(send) for _ in range(3)] == ["TooManyRequests", "AccessDenied", "InternalError"]
    for _ in range(2):
        with pytest.raises(MNSClientNetworkException) as error:
            send()
        assert error.value.type == "RespDataDamaged"
    send()
    assert len(hub.snapshot()["queues"][0]["messages"]) == 1


def test_cut_connection_makes_the_sdk_send_twice(run_cloud: RunCloud) -> None:
    """The SDK silently sends again when the connection closes without a reply: after the effect, that is a duplicate."""
    hub = a_hub(
        run_cloud,
        queues={"work": {}},
        faults=[
            {"kind": "cut_after", "service": "mns", "operation": "SendMessage"},
            {"kind": "cut_before", "service": "mns", "operation": "SendMessage", "after": 2},
        ],
    )
    queue = hub.queue("work")

    queue.send_message(Message("twice"))
    queue.send_message(Message("once"))

    assert [message["body"] for message in hub.snapshot()["queues"][0]["messages"]] == ["twice", "twice", "once"]


def test_effect_that_lands_late(run_cloud: RunCloud) -> None:
    """A send whose client gave up can still land, in cloud time."""
    plan = {"kind": "late", "service": "mns", "operation": "SendMessage", "seconds": 60, "times": 2}
    hub = a_hub(run_cloud, queues={"work": {}}, faults=[plan])
    with pytest.raises(MNSClientNetworkException):
        hub.queue("work").send_message(Message("late"))
    assert hub.snapshot()["queues"][0]["messages"] == []

    hub.cloud.advance(61)
    until(lambda: len(hub.snapshot()["queues"][0]["messages"]) == 2, "both effects land")


def test_planned_duplicates_and_disorder(run_cloud: RunCloud) -> None:
    """Deliveries can be doubled and shuffled; an empty receive does not use the plan up."""
    hub = a_hub(
        run_cloud,
        queues={"work": {}},
        faults=[
            {"kind": "duplicate", "service": "mns", "operation": "ReceiveMessage"},
            {"kind": "reorder", "service": "mns", "operation": "BatchReceiveMessage", "times": None},
        ],
    )
    queue = hub.queue("work")
    assert code_of(lambda: queue.receive_message(0)) == "MessageNotExist"
    queue.send_message(Message("twice"))
    assert queue.receive_message(0).message_id == queue.receive_message(0).message_id
    assert code_of(lambda: queue.receive_message(0)) == "MessageNotExist"

    sent = [f"{number:02d}" for number in range(16)]
    orders = []
    for _ in range(3):
        queue.batch_send_message([Message(body) for body in sent])
        orders.append([message.message_body for message in queue.batch_receive_message(16, 0)])
    assert [sorted(order) for order in orders] == [sent] * 3
    assert orders != [sent] * 3


def test_slices_switch(run_cloud: RunCloud) -> None:
    """With slices a batch receive returns less than there is, and priority holds nowhere; nothing is lost."""
    hub = a_hub(run_cloud, queues={"work": {}}, switches={"queue_slices": "on"})
    queue = hub.queue("work")
    queue.batch_send_message([Message(str(number)) for number in range(16)])

    batches: list[list[str]] = []
    while len([body for batch in batches for body in batch]) < 16:
        batches.append([message.message_body for message in queue.batch_receive_message(16, 0)])

    assert len(batches) == 4
    assert sorted(body for batch in batches for body in batch) == sorted(str(number) for number in range(16))


def test_planned_trouble_with_deliveries(run_cloud: RunCloud) -> None:
    """A topic's push can be made to fail: the subscription tries again in cloud time."""
    hub = a_hub(
        run_cloud,
        queues={"inbox": {}},
        topics={"news": {"subscriptions": {"in": {"queue": "inbox", "format": "SIMPLIFIED"}}}},
        faults=[{"kind": "server_error", "service": "mns", "operation": "DeliverMessage", "resource": "inbox"}],
    )
    hub.topic("news").publish_message(TopicMessage("hello"))
    assert code_of(lambda: hub.queue("inbox").receive_message(0)) == "MessageNotExist"

    hub.cloud.advance(21)

    assert hub.queue("inbox").receive_message(10).message_body == "hello"


def test_journal_tells_what_happened(hub: Hub) -> None:
    """Every call is in the journal with its caller, its message ids and whether it had an effect; bodies are not."""
    sent = hub.queue("work").send_message(Message("secret body"))
    code_of(lambda: hub.queue("inbox").receive_message(0))

    first, second = hub.cloud.journal(service="mns")

    assert (first["operation"], first["status"], first["effect"]) == ("SendMessage", 201, True)
    assert first["params"] == {"QueueName": "work", "MessageId": sent.message_id}
    assert first["caller"]["name"] == "operator"
    assert first["decision"]["action"] == "mns:SendMessage"
    assert (second["operation"], second["status"], second["code"], second["effect"]) == (
        "ReceiveMessage",
        404,
        "MessageNotExist",
        False,
    )
    assert "secret body" not in str(first)
