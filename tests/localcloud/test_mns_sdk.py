"""Conformance: queues and messages through the official Python SDK, each operation's success and the errors callers meet."""

import base64
import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from mns.message_property import MessagePropertyValue, MessageSystemPropertyValue, SystemPropertyName
from mns.queue import Message, QueueMeta
from mns.topic import TopicMessage, TopicMeta

from tests.localcloud.conftest import RunCloud
from tests.localcloud.mns_kit import Hub, a_hub, code_of, meta, refused


@pytest.fixture
def hub(run_cloud: RunCloud) -> Hub:
    return a_hub(run_cloud, queues={"work": {}, "inbox": {}}, topics={"news": {}})


# Queues


def test_create_queue(hub: Hub) -> None:
    """Creating answers the queue's URL; the same again is fine, with other attributes it is a conflict."""
    queue = hub.queue("fresh")

    assert queue.create(meta(visibility_timeout=77)) == f"{hub.cloud.url}/queues/fresh"
    assert queue.create(meta(visibility_timeout=77)) == f"{hub.cloud.url}/queues/fresh"
    assert code_of(lambda: queue.create(meta(visibility_timeout=78))) == "QueueAlreadyExist"
    assert queue.get_attributes().visibility_timeout == 77


def test_queue_attributes(hub: Hub) -> None:
    """All attributes are there from the start; setting changes the given ones and keeps the others."""
    queue = hub.queue("work")
    before = queue.get_attributes()
    assert (before.queue_name, before.visibility_timeout, before.maximum_message_size) == ("work", 30, 65536)
    assert (before.message_retention_period, before.delay_seconds, before.polling_wait_seconds) == (345600, 0, 0)
    assert before.logging_enabled is False

    hub.cloud.advance(60)
    queue.set_attributes(meta(delay_seconds=5, logging_enabled=True))

    after = queue.get_attributes()
    assert (after.delay_seconds, after.logging_enabled, after.visibility_timeout) == (5, True, 30)
    assert after.create_time == before.create_time
    assert after.last_modify_time - before.last_modify_time >= 60


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_message_counts(run_cloud: RunCloud) -> None:
    """Active, inactive and delayed messages are counted; a switch lets them read zero, as announced."""
    for setting, expected in (("real", (1, 1, 1)), ("zero", (0, 0, 0))):
        hub = a_hub(run_cloud, queues={"work": {}}, switches={"message_counts": setting})
        queue = hub.queue("work")
        for delay in (0, 0, 9):
            queue.send_message(Message("a", delay_seconds=delay))
        queue.receive_message(0)
        found = queue.get_attributes()
        assert (found.active_messages, found.inactive_messages, found.delay_messages) == expected


@pytest.mark.parametrize(
    ("attribute", "bad"),
    [
        ("visibility_timeout", 43201),
        ("maximum_message_size", 1023),
        ("maximum_message_size", 65537),
        ("message_retention_period", 59),
        ("message_retention_period", 604801),
        ("delay_seconds", 604801),
        ("polling_wait_seconds", 31),
    ],
)
def test_attribute_out_of_range(hub: Hub, attribute: str, bad: int) -> None:
    """Values outside the documented ranges are InvalidArgument, on create and on set, and change nothing."""
    before = hub.snapshot()

    assert code_of(lambda: hub.queue("fresh").create(meta(**{attribute: bad}))) == "InvalidArgument"
    assert code_of(lambda: hub.queue("work").set_attributes(meta(**{attribute: bad}))) == "InvalidArgument"
    assert hub.snapshot() == before


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("-a", "InvalidQueueName"),
        ("a_b", "InvalidQueueName"),
        ("a.b", "InvalidQueueName"),
        ("a" * 121, "QueueNameLengthError"),
    ],
)
def test_bad_queue_name(hub: Hub, name: str, code: str) -> None:
    """Names are letters, digits and hyphens, at most 120 characters."""
    assert code_of(lambda: hub.queue(name).create(QueueMeta())) == code


def test_list_queue_by_page_and_prefix(run_cloud: RunCloud) -> None:
    """Listing walks page by page to the end, filters by prefix, and carries attributes when asked."""
    hub = a_hub(run_cloud, queues={f"{kind}-{number}": {} for kind in "ab" for number in range(5)})
    account = hub.account()

    pages, marker = [], ""
    while True:
        urls, marker = account.list_queue("a-", 2, marker)
        pages.append([url.rpartition("/")[2] for url in urls])
        if not marker:
            break

    assert pages == [["a-0", "a-1"], ["a-2", "a-3"], ["a-4"]]
    assert len(account.list_queue()[0]) == 10
    assert account.list_queue("nothing") == ([], "")
    assert code_of(lambda: account.list_queue("", 1001)) == "InvalidArgument"
    assert code_of(lambda: account.list_queue("", 1, "no marker")) == "InvalidArgument"


def test_delete_queue(run_cloud: RunCloud) -> None:
    """A queue goes with its messages; deleting an absent one succeeds unless the switch says otherwise."""
    hub = a_hub(run_cloud, queues={"work": {}})
    queue = hub.queue("work")
    queue.send_message(Message("a"))
    queue.delete()
    queue.delete()
    queue.create(QueueMeta())
    assert code_of(lambda: queue.receive_message(0)) == "MessageNotExist"

    strict = a_hub(run_cloud, switches={"delete_absent": "not_exist"})
    assert code_of(strict.queue("work").delete) == "QueueNotExist"
    assert code_of(strict.topic("news").delete) == "TopicNotExist"
    strict.topic("news").create(TopicMeta())
    assert code_of(strict.subscription("news", "s").unsubscribe) == "SubscriptionNotExist"


QUEUE_CALLS: dict[str, Callable[[Any], object]] = {
    "get": lambda queue: queue.get_attributes(),
    "set": lambda queue: queue.set_attributes(meta(delay_seconds=1)),
    "send": lambda queue: queue.send_message(Message("a")),
    "batch send": lambda queue: queue.batch_send_message([Message("a")]),
    "receive": lambda queue: queue.receive_message(0),
    "batch receive": lambda queue: queue.batch_receive_message(2, 0),
    "peek": lambda queue: queue.peek_message(),
    "batch peek": lambda queue: queue.batch_peek_message(2),
    "delete message": lambda queue: queue.delete_message("1-aaaaaaaaaaaaaaaaaaaa"),
    "batch delete": lambda queue: queue.batch_delete_message(["1-aaaaaaaaaaaaaaaaaaaa"]),
    "change": lambda queue: queue.change_message_visibility("1-aaaaaaaaaaaaaaaaaaaa", 5),
}


@pytest.mark.parametrize("call", QUEUE_CALLS.values(), ids=QUEUE_CALLS)
def test_missing_queue(hub: Hub, call: Callable[[Any], object]) -> None:
    """Every operation on a queue that does not exist says QueueNotExist, and the error is complete."""
    error = refused(lambda: call(hub.queue("missing")))

    assert error.type == "QueueNotExist"
    assert len(error.req_id) == 24
    assert error.host_id == f"http://{hub.uid}.mns.cn-hangzhou.aliyuncs.com"


# Messages


@pytest.mark.parametrize("raw", [False, True])
def test_send_receive_delete(hub: Hub, raw: bool) -> None:
    """What was sent comes back with everything the SDK demands, Base64 or not, and is gone after its deletion."""
    body = "ä \"quoted\" <tag attr='1'> & more\n\ttext 🚀"
    carried = body if raw else base64.b64encode(body.encode()).decode()
    queue = hub.queue("work", raw=raw)
    sent = queue.send_message(Message(body))

    message = queue.receive_message_with_str_body(0)

    assert message.message_body == body
    assert message.message_id == sent.message_id
    assert message.message_body_md5 == sent.message_body_md5 == hashlib.md5(carried.encode()).hexdigest().upper()  # noqa: S324
    assert (message.dequeue_count, message.priority) == (1, 8)
    assert message.next_visible_time - message.first_dequeue_time == 30_000
    assert message.enqueue_time <= message.first_dequeue_time
    assert not sent.receipt_handle
    queue.delete_message(message.receipt_handle)
    hub.cloud.advance(31)
    assert code_of(lambda: queue.receive_message(0)) == "MessageNotExist"


def test_delayed_message_can_be_cancelled(hub: Hub) -> None:
    """A delayed send answers a receipt handle, and the message comes when its time has come in cloud time."""
    queue = hub.queue("work")
    cancelled = queue.send_message(Message("cancelled", delay_seconds=600))
    queue.send_message(Message("kept", delay_seconds=600))

    queue.delete_message(cancelled.receipt_handle)
    hub.cloud.advance(599)
    assert code_of(lambda: queue.receive_message(0)) == "MessageNotExist"
    hub.cloud.advance(2)

    assert queue.receive_message(0).message_body == "kept"
    assert code_of(lambda: queue.receive_message(0)) == "MessageNotExist"


def test_priority(hub: Hub) -> None:
    """More urgent messages come first; a priority of zero means the default."""
    queue = hub.queue("work")
    for priority in (16, 0, 1):
        queue.send_message(Message(str(priority), priority=priority))

    assert [message.priority for message in queue.batch_receive_message(16, 0)] == [1, 8, 16]
    assert code_of(lambda: queue.send_message(Message("a", priority=17))) == "InvalidArgument"


def test_visibility_lapse_and_change(hub: Hub) -> None:
    """A message comes back when its visibility lapses, earlier or later when that was changed."""
    queue = hub.queue("work")
    queue.send_message(Message("a"))
    first = queue.receive_message(0)
    hub.cloud.advance(31)
    second = queue.receive_message(0)
    assert (second.message_id, second.dequeue_count) == (first.message_id, 2)
    assert second.first_dequeue_time == first.first_dequeue_time

    changed = queue.change_message_visibility(second.receipt_handle, 3600)
    assert changed.receipt_handle != second.receipt_handle
    hub.cloud.advance(3590)
    assert code_of(lambda: queue.receive_message(0)) == "MessageNotExist"
    hub.cloud.advance(11)
    assert queue.receive_message(0).dequeue_count == 3


@pytest.mark.parametrize(
    ("setting", "code"), [("message_not_exist", "MessageNotExist"), ("receipt_handle_error", "ReceiptHandleError")]
)
def test_lapsed_handle(run_cloud: RunCloud, setting: str, code: str) -> None:
    """A handle is worth nothing once its time is over; the code for that is documented twice, so it is a switch."""
    hub = a_hub(run_cloud, queues={"work": {}}, switches={"lapsed_receipt": setting})
    queue = hub.queue("work")
    queue.send_message(Message("a"))
    message = queue.receive_message(0)
    hub.cloud.advance(31)

    assert code_of(lambda: queue.delete_message(message.receipt_handle)) == code
    assert code_of(lambda: queue.change_message_visibility(message.receipt_handle, 9)) == code
    assert code_of(lambda: queue.delete_message("malformed")) == "ReceiptHandleError"
    assert queue.receive_message(0).message_body == "a"


def test_old_handle_after_a_visibility_change(run_cloud: RunCloud) -> None:
    """Whether the handle from before the change still deletes is undocumented, hence a switch."""
    for setting, works in (("valid", True), ("void", False)):
        hub = a_hub(run_cloud, queues={"work": {}}, switches={"old_receipt": setting})
        queue = hub.queue("work")
        queue.send_message(Message("a"))
        old = queue.receive_message(0).receipt_handle
        queue.change_message_visibility(old, 60)
        if works:
            queue.delete_message(old)
        else:
            assert code_of(partial(queue.delete_message, old)) == "MessageNotExist"


def test_batches(hub: Hub) -> None:
    """Sixteen at once in, peeked at, out and deleted; ids and digests in the order they were sent."""
    queue = hub.queue("work", raw=False)
    sent = queue.batch_send_message([Message(f"body {number}") for number in range(16)])
    assert [entry.message_body_md5 for entry in sent] == [
        hashlib.md5(base64.b64encode(f"body {number}".encode())).hexdigest().upper()  # noqa: S324
        for number in range(16)
    ]

    peeked = queue.batch_peek_message_with_str_body(16)
    assert [message.message_body for message in peeked] == [f"body {number}" for number in range(16)]
    assert {message.dequeue_count for message in peeked} == {0}
    received = queue.batch_receive_message_with_str_body(16, 0)
    assert [message.message_id for message in received] == [entry.message_id for entry in sent]
    queue.batch_delete_message([message.receipt_handle for message in received])
    assert hub.snapshot()["queues"][0]["messages"] == []


def test_peek_shows_without_taking(hub: Hub) -> None:
    """A peek leaves the message where it is."""
    queue = hub.queue("work", raw=False)
    assert code_of(queue.peek_message) == "MessageNotExist"
    assert code_of(lambda: queue.batch_peek_message(3)) == "MessageNotExist"
    queue.send_message(Message("a"))

    assert queue.peek_message_with_str_body().message_body == "a"
    assert queue.peek_message().dequeue_count == 0
    assert queue.receive_message_with_str_body(0).message_body == "a"


def test_batch_send_with_failures(run_cloud: RunCloud) -> None:
    """Of a batch the good messages are sent; the SDK learns which were not, and why."""
    for status in ("400", "500"):
        hub = a_hub(run_cloud, queues={"work": {"MaximumMessageSize": 1024}}, switches={"batch_send_failure": status})
        queue = hub.queue("work")
        batch = [Message("good"), Message("a" * 1025), Message("also good", delay_seconds=1), Message("b", priority=17)]

        error = refused(partial(queue.batch_send_message, batch))

        assert error.type == "InvalidArgument"
        assert [sorted(item) for item in error.sub_errors] == [
            ["MessageBodyMD5", "MessageId"],
            ["ErrorCode", "ErrorMessage"],
            ["MessageBodyMD5", "MessageId"],
            ["ErrorCode", "ErrorMessage"],
        ]
        assert len(error.req_id) == 24
        assert [message["body"] for message in hub.snapshot()["queues"][0]["messages"]] == ["good", "also good"]
        assert [entry["status"] for entry in hub.cloud.journal(operation="BatchSendMessage")] == [int(status)]


def test_batch_delete_with_failures(hub: Hub) -> None:
    """Of a batch of handles the good ones delete; the SDK learns which did not."""
    queue = hub.queue("work")
    queue.batch_send_message([Message("a"), Message("b")])
    handles = [message.receipt_handle for message in queue.batch_receive_message(16, 0)]

    error = refused(lambda: queue.batch_delete_message([handles[0], "malformed", handles[0], handles[1]]))

    assert [(item["ErrorCode"], item["ReceiptHandle"]) for item in error.sub_errors] == [
        ("ReceiptHandleError", "malformed"),
        ("MessageNotExist", handles[0]),
    ]
    assert hub.snapshot()["queues"][0]["messages"] == []


def test_batch_limits(hub: Hub) -> None:
    """A batch has one to sixteen messages and 64 KB of bodies; whatever exceeds that is refused whole."""
    queue = hub.queue("work")

    assert code_of(lambda: queue.batch_send_message([Message("a")] * 17)) == "InvalidArgument"
    assert code_of(lambda: queue.batch_send_message([])) == "InvalidArgument"
    assert code_of(lambda: queue.batch_send_message([Message("a" * 33_000)] * 2)) == "InvalidArgument"
    assert code_of(lambda: queue.batch_receive_message(17, 0)) == "InvalidArgument"
    assert code_of(lambda: queue.batch_receive_message(0, 0)) == "InvalidArgument"
    assert code_of(lambda: queue.batch_peek_message(17)) == "InvalidArgument"
    assert (
        code_of(lambda: queue.batch_delete_message([f"1-{number:020d}" for number in range(17)])) == "InvalidArgument"
    )
    assert hub.snapshot()["queues"][0]["messages"] == []


def test_largest_message(hub: Hub) -> None:
    """A body of exactly 64 KB passes both ways, also when XML blows it up; one byte more does not."""
    queue = hub.queue("work")
    body = '<&>"' * 16_384
    queue.send_message(Message(body))
    assert queue.receive_message(0).message_body == body

    assert code_of(lambda: queue.send_message(Message(body + "a"))) == "InvalidArgument"
    assert code_of(lambda: hub.topic("news").publish_message(TopicMessage(body + "a"))) == "InvalidArgument"


def test_properties_travel_with_the_message(hub: Hub) -> None:
    """All four types of user properties and the known system properties come back as they were sent."""
    queue = hub.queue("work", raw=False)
    message = Message("a")
    message.user_properties = {
        "text": MessagePropertyValue.create_string("ä <b>"),
        "count": MessagePropertyValue.create_number(7),
        "flag": MessagePropertyValue.create_boolean(True),
        "bytes": MessagePropertyValue.create_binary(b"\x00\xff"),
    }
    message.system_properties = {SystemPropertyName.TRACEPARENT: MessageSystemPropertyValue("STRING", "00-trace-01")}
    queue.send_message(message)

    for found in (queue.peek_message(), queue.receive_message(0)):
        values = {
            name: value.get_string_value_by_type() for name, value in found.user_properties.items() if name != "bytes"
        }
        assert values == {"text": "ä <b>", "count": "7", "flag": "true"}
        assert found.user_properties["bytes"].get_binary_value() == b"\x00\xff"
        assert found.system_properties["traceparent"].get_string_value_by_type() == "00-trace-01"


def test_bad_properties_are_refused(hub: Hub) -> None:
    """Too many, badly named or oversized properties are InvalidArgument."""
    queue = hub.queue("work")

    def send(properties: dict[str, str]) -> Callable[[], object]:
        message = Message("a")
        message.user_properties = {
            name: MessagePropertyValue.create_string(value) for name, value in properties.items()
        }
        return lambda: queue.send_message(message)

    for bad in (
        {f"k{number}": "v" for number in range(51)},
        {".k": "v"},
        {"a..b": "v"},
        {"ä": "v"},
        {"k" * 257: "v"},
        {"k": "v" * 4097},
    ):
        assert code_of(send(bad)) == "InvalidArgument"
    send({f"a.b_c-{number}": "v" * 4096 for number in range(15)})()


def test_fifo_is_refused_by_name(hub: Hub) -> None:
    """Ordered messages are not emulated, and the answer says so."""
    message = Message("a")
    message.message_group_id = "group"

    for call in (
        lambda: hub.queue("work").send_message(message),
        lambda: hub.queue("work").batch_send_message([message]),
    ):
        error = refused(call)
        assert error.type == "NotEmulated"
        assert "MessageGroupId" in error.message
