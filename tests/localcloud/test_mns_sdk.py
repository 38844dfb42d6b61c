"""Conformance: queues and topics through the official Python SDK, each operation's success and the errors callers meet."""

import base64
import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from mns.account import AccountMeta
from mns.message_property import MessagePropertyValue, MessageSystemPropertyValue, SystemPropertyName
from mns.mns_exception import MNSClientNetworkException, MNSServerException
from mns.queue import Message, QueueMeta
from mns.subscription import SubscriptionMeta
from mns.topic import Base64TopicMessage, TopicMessage, TopicMeta

from localcloud.worldfile import check_world
from tests.localcloud.conftest import RunCloud
from tests.localcloud.harness import Key, allow, trust, user
from tests.localcloud.mns_kit import Hub, a_hub, close_accounts, code_of, everything_but, meta, refused


@pytest.fixture(autouse=True)
def closed_connections(run_cloud: RunCloud) -> Iterator[None]:  # before the cloud stops: it would wait for them
    yield
    close_accounts()


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


# Waiting


def in_thread(call: Callable[[], Any]) -> Callable[[], Any]:
    """Start a call in a thread; what is returned waits for its result, or raises what it raised."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(call())
        except MNSServerException as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def result() -> Any:
        thread.join(20)
        assert outcome, "the call is still waiting"
        if isinstance(outcome[0], MNSServerException):
            raise outcome[0]
        return outcome[0]

    return result


def waiters(hub: Hub, queue: str = "work") -> int:
    return hub.cloud.inside(lambda _: len(hub.cloud.mns.store.queue(hub.uid, queue)._bells))


def until(condition: Callable[[], bool]) -> None:
    """Real waiting for another thread's request to arrive; bounded."""
    pause = threading.Event()
    for _ in range(2_000):
        if condition():
            return
        pause.wait(0.005)
    raise AssertionError("it did not happen")


def test_long_poll_wakes_on_send(hub: Hub) -> None:
    """Two wait, one message comes: one of them gets it at once, the other waits on and times out in cloud time."""
    hub.queue("work").set_attributes(meta(visibility_timeout=3600))
    waiting = [in_thread(lambda: hub.queue("work").receive_message(30)) for _ in range(2)]
    until(lambda: waiters(hub) == 2)

    hub.queue("work").send_message(Message("a"))
    until(lambda: waiters(hub) == 1)
    hub.cloud.advance(29)
    assert waiters(hub) == 1
    hub.cloud.advance(2)

    outcomes = []
    for result in waiting:
        try:
            outcomes.append(result().message_body)
        except MNSServerException as error:
            outcomes.append(error.type)
    assert sorted(outcomes) == ["MessageNotExist", "a"]


def test_long_poll_wakes_when_visibility_or_delay_lapses(hub: Hub) -> None:
    """Whoever waits gets a message the moment it becomes visible again, or for the first time."""
    queue = hub.queue("work")
    queue.send_message(Message("delayed", delay_seconds=10))
    queue.send_message(Message("held"))
    queue.receive_message(0)

    first = in_thread(lambda: hub.queue("work").receive_message(30).message_body)
    until(lambda: waiters(hub) == 1)
    hub.cloud.advance(11)
    assert first() == "delayed"

    second = in_thread(lambda: hub.queue("work").batch_receive_message(16, 30))
    until(lambda: waiters(hub) == 1)
    hub.cloud.advance(21)
    assert [message.message_body for message in second()] == ["held"]


def test_long_poll_wakes_when_visibility_is_shortened(hub: Hub) -> None:
    """Somebody gives a message back early: whoever waits gets it then, not when it would have lapsed."""
    queue = hub.queue("work")
    queue.set_attributes(meta(visibility_timeout=3600))
    queue.send_message(Message("a"))
    handle = queue.receive_message(0).receipt_handle
    waiting = in_thread(lambda: hub.queue("work").receive_message(30).message_body)
    until(lambda: waiters(hub) == 1)

    queue.change_message_visibility(handle, 1)
    hub.cloud.advance(2)

    assert waiting() == "a"


def test_long_poll_ends_when_the_queue_is_deleted(hub: Hub) -> None:
    """Nobody waits on a queue that is gone."""
    waiting = in_thread(lambda: hub.queue("work").receive_message(30))
    until(lambda: waiters(hub) == 1)
    hub.queue("work").delete()

    assert code_of(waiting) == "QueueNotExist"


def test_queue_may_wait_by_itself(run_cloud: RunCloud) -> None:
    """PollingWaitSeconds is the wait of receives that say nothing; zero seconds is a wait of its own."""
    hub = a_hub(run_cloud, queues={"work": {"PollingWaitSeconds": 30}})
    waiting = in_thread(lambda: hub.queue("work").receive_message())
    until(lambda: waiters(hub) == 1)

    assert code_of(lambda: hub.queue("work").receive_message(0)) == "MessageNotExist"
    hub.queue("work").send_message(Message("a"))
    assert waiting().message_body == "a"


def test_abandoned_long_poll_takes_no_message(hub: Hub) -> None:
    """A client that hung up while it waited does not swallow the message that comes afterwards."""
    account = hub.account()
    account.get_client().set_connection_timeout(0.2)
    queue = account.get_queue("work")
    queue.set_encoding(False)
    with pytest.raises(MNSClientNetworkException):
        queue.receive_message(30)
    until(lambda: waiters(hub) == 1)

    hub.queue("work").send_message(Message("a"))

    assert hub.queue("work").receive_message(5).message_body == "a"


def test_long_poll_beyond_the_cap_answers_at_once(run_cloud: RunCloud) -> None:
    """The service may answer empty long polls at once; the switch makes it always do so."""
    hub = a_hub(run_cloud, queues={"work": {}}, switches={"long_poll": "immediate"})

    assert code_of(lambda: hub.queue("work").receive_message(30)) == "MessageNotExist"
    assert code_of(lambda: hub.queue("work").receive_message(31)) == "InvalidArgument"


# Topics and subscriptions


def test_topic_life(hub: Hub) -> None:
    """Create, same again, conflict, attributes, change, list, delete."""
    topic = hub.topic("fresh")
    made = TopicMeta(2048)
    assert topic.create(made) == f"{hub.cloud.url}/topics/fresh"
    assert topic.create(made) == f"{hub.cloud.url}/topics/fresh"
    assert code_of(lambda: topic.create(TopicMeta(4096))) == "TopicAlreadyExist"

    found = topic.get_attributes()
    assert (found.topic_name, found.maximum_message_size, found.message_retention_period) == ("fresh", 2048, 86400)
    assert (found.message_count, found.logging_enabled) == (0, False)
    change = TopicMeta(logging_enabled=True)
    topic.set_attributes(change)
    assert (topic.get_attributes().maximum_message_size, topic.get_attributes().logging_enabled) == (2048, True)
    assert code_of(lambda: topic.set_attributes(TopicMeta(1023))) == "InvalidArgument"

    urls, marker = hub.account().list_topic("", 1)
    assert (urls, bool(marker)) == ([f"{hub.cloud.url}/topics/fresh"], True)
    assert hub.account().list_topic("", 1, marker)[0] == [f"{hub.cloud.url}/topics/news"]
    topic.delete()
    topic.delete()
    assert code_of(topic.get_attributes) == "TopicNotExist"
    assert code_of(lambda: hub.topic("a_b").create(made)) == "TopicNameInvalid"
    assert code_of(lambda: hub.topic("a" * 121).create(made)) == "TopicNameLengthError"


def test_subscription_life(hub: Hub) -> None:
    """Subscribe, same again, conflict, attributes, change the strategy, list, unsubscribe."""
    subscription = hub.subscription("news", "in")
    wish = SubscriptionMeta(hub.endpoint("inbox"), "EXPONENTIAL_DECAY_RETRY", "JSON", "granted")
    assert subscription.subscribe(wish) == f"{hub.cloud.url}/topics/news/subscriptions/in"
    assert subscription.subscribe(wish) == f"{hub.cloud.url}/topics/news/subscriptions/in"
    other = SubscriptionMeta(hub.endpoint("work"))
    assert code_of(lambda: subscription.subscribe(other)) == "SubscriptionAlreadyExist"

    found = subscription.get_attributes()
    assert (found.topic_owner, found.topic_name, found.subscription_name) == (hub.uid, "news", "in")
    assert (found.endpoint, found.filter_tag) == (hub.endpoint("inbox"), "granted")
    assert (found.notify_strategy, found.notify_content_format) == ("EXPONENTIAL_DECAY_RETRY", "JSON")
    subscription.set_attributes(SubscriptionMeta(notify_strategy="BACKOFF_RETRY"))
    assert subscription.get_attributes().notify_strategy == "BACKOFF_RETRY"

    hub.subscription("news", "on").subscribe(other)
    urls, marker = hub.topic("news").list_subscription("", 1)
    assert (urls, bool(marker)) == ([f"{hub.cloud.url}/topics/news/subscriptions/in"], True)
    assert hub.topic("news").list_subscription("", 1, marker) == (
        [f"{hub.cloud.url}/topics/news/subscriptions/on"],
        "",
    )
    subscription.unsubscribe()
    subscription.unsubscribe()
    assert code_of(subscription.get_attributes) == "SubscriptionNotExist"
    assert code_of(lambda: hub.subscription("news", "a_b").subscribe(wish)) == "SubscriptionNameInvalid"


def test_missing_topic(hub: Hub) -> None:
    """Every operation on a topic that does not exist says TopicNotExist."""
    topic, subscription = hub.topic("missing"), hub.subscription("missing", "s")
    for call in (
        topic.get_attributes,
        lambda: topic.set_attributes(TopicMeta(2048)),
        lambda: topic.publish_message(TopicMessage("a")),
        topic.list_subscription,
        lambda: subscription.subscribe(SubscriptionMeta(hub.endpoint("inbox"))),
        lambda: subscription.set_attributes(SubscriptionMeta(notify_strategy="BACKOFF_RETRY")),
        subscription.get_attributes,
        subscription.unsubscribe,
    ):
        assert code_of(call) == "TopicNotExist"


def test_publish_reaches_queues_in_their_formats(hub: Hub) -> None:
    """A publication arrives as a new message in each subscribed queue, in the format its subscription wants."""
    for content_format in ("SIMPLIFIED", "JSON", "XML"):
        queue = hub.queue(content_format.lower())
        queue.create(QueueMeta())
        hub.subscription("news", content_format.lower()).subscribe(
            SubscriptionMeta(hub.endpoint(content_format.lower()), notify_content_format=content_format)
        )
    published = hub.topic("news").publish_message(TopicMessage("a < b", "granted"))

    simplified, as_json, as_xml = (
        hub.queue(name).receive_message(5).message_body for name in ("simplified", "json", "xml")
    )

    assert simplified == "a < b"
    assert f'"MessageId": "{published.message_id}"' in as_json
    assert f'"TopicOwner": "{hub.uid}"' in as_json
    assert "<Message>a &lt; b</Message>" in as_xml
    assert "<MessageTag>granted</MessageTag>" in as_xml
    encoded = hub.topic("news").publish_message(Base64TopicMessage("ä"))
    assert encoded.message_body_md5 == hashlib.md5(base64.b64encode("ä".encode())).hexdigest().upper()  # noqa: S324
    assert hub.queue("simplified", raw=False).receive_message_with_str_body(5).message_body == "ä"


def test_subscription_filter(hub: Hub) -> None:
    """A filtered subscription gets what carries exactly its tag."""
    hub.subscription("news", "in").subscribe(
        SubscriptionMeta(hub.endpoint("inbox"), "BACKOFF_RETRY", "SIMPLIFIED", "granted")
    )
    for body, tag in (("no tag", ""), ("other", "denied"), ("right", "granted")):
        hub.topic("news").publish_message(TopicMessage(body, tag))

    assert hub.queue("inbox").receive_message(0).message_body == "right"
    assert code_of(lambda: hub.queue("inbox").receive_message(0)) == "MessageNotExist"


def test_properties_travel_through_a_topic(hub: Hub) -> None:
    """Properties of a publication arrive on the queue message."""
    hub.subscription("news", "in").subscribe(
        SubscriptionMeta(hub.endpoint("inbox"), notify_content_format="SIMPLIFIED")
    )
    message = TopicMessage("a")
    message.user_properties = {"k": MessagePropertyValue.create_string("v")}
    hub.topic("news").publish_message(message)

    assert hub.queue("inbox").receive_message(0).user_properties["k"].get_string_value_by_type() == "v"


@pytest.mark.parametrize(
    ("endpoint", "code"),
    [
        ("http://", "EndpointInvalid"),
        ("ftp://example.com/notify", "EndpointInvalid"),
        ("http://exa mple.com", "EndpointInvalid"),
        (f"http://example.com/{'a' * 1024}", "EndpointInvalid"),
        ("mail:directmail:nobody", "EndpointInvalid"),
        ("mail:smtp:requester@example.com", "EndpointInvalid"),
        ("sms:directsms:", "EndpointInvalid"),
        ("sms:directsms:somebody", "EndpointInvalid"),
        ("acs:mns:cn-beijing:1000000000000001:queues/inbox", "NotEmulated"),
        ("acs:mns:cn-hangzhou:1000000000000001:/queues/inbox", "EndpointInvalid"),
        ("acs:mns:cn-hangzhou:1:queues/inbox", "EndpointInvalid"),
        ("acs:mns:cn-hangzhou:1000000000000001:queues/in_box", "InvalidQueueName"),
        ("somewhere", "EndpointInvalid"),
    ],
)
def test_endpoints_that_are_refused(hub: Hub, endpoint: str, code: str) -> None:
    """Queues of other regions are refused by name, malformed endpoints as invalid."""
    assert code_of(lambda: hub.subscription("news", "s").subscribe(SubscriptionMeta(endpoint))) == code


def test_bad_subscription_wishes(hub: Hub) -> None:
    """Unknown strategies and formats, and a queue smaller than the topic, are InvalidArgument."""
    hub.queue("small").create(meta(maximum_message_size=1024))
    for wish in (
        SubscriptionMeta(hub.endpoint("inbox"), notify_strategy="NEVER"),
        SubscriptionMeta(hub.endpoint("inbox"), notify_content_format="STREAM"),
        SubscriptionMeta(hub.endpoint("small")),
    ):
        assert code_of(partial(hub.subscription("news", "s").subscribe, wish)) == "InvalidArgument"


def test_publication_across_accounts(run_cloud: RunCloud) -> None:
    """A subscription may name a queue of another account; that account reads it with its own key."""
    spec, key = user("reader", allow("mns:*"))
    other = "2000000000000002"
    hub = a_hub(run_cloud, topics={"news": {}}, accounts={other: {"users": {"reader": spec}, "queues": {"inbox": {}}}})
    hub.subscription("news", "out").subscribe(
        SubscriptionMeta(f"acs:mns:cn-hangzhou:{other}:queues/inbox", notify_content_format="SIMPLIFIED")
    )
    hub.topic("news").publish_message(TopicMessage("hello"))

    assert hub.queue("inbox", key=key).receive_message(0).message_body == "hello"
    assert code_of(lambda: hub.queue("inbox").receive_message(0)) == "QueueNotExist"


# The account, dead letters, the platform's access


def test_account_attributes(hub: Hub) -> None:
    """The logging bucket is kept; the service is always open."""
    account = hub.account()
    assert account.get_attributes().logging_bucket == ""
    account.set_attributes(AccountMeta("bucket"))
    assert account.get_attributes().logging_bucket == "bucket"
    account.open_service()


def test_dead_letters_of_a_queue(run_cloud: RunCloud) -> None:
    """The world file's policy: received twice, then it is in the dead-letter queue with marks of its origin."""
    hub = a_hub(run_cloud, queues={"work": {"dead_letter": {"queue": "dead", "max_receives": 2}}, "dead": {}})
    sent = hub.queue("work").send_message(Message("poison"))
    for _ in range(2):
        hub.queue("work").receive_message(0)
        hub.cloud.advance(31)
    assert code_of(lambda: hub.queue("work").receive_message(0)) == "MessageNotExist"

    dead = hub.queue("dead").receive_message(0)

    assert dead.message_body == "poison"
    marks = {name: value.get_string_value_by_type() for name, value in dead.system_properties.items()}
    assert marks["DLQOriginMessageId"] == sent.message_id
    assert marks["DLQSourceArn"].endswith(":/queues/work")
    assert marks["DLQMessageType"]


def test_dead_letters_of_a_subscription(run_cloud: RunCloud) -> None:
    """A subscription whose queue is gone retries in cloud time, then hands the message to its dead-letter queue."""
    subscription = {"queue": "inbox", "format": "SIMPLIFIED", "dead_letter": "dead"}
    hub = a_hub(run_cloud, queues={"inbox": {}, "dead": {}}, topics={"news": {"subscriptions": {"in": subscription}}})
    hub.queue("inbox").delete()
    hub.topic("news").publish_message(TopicMessage("lost"))
    assert hub.topic("news").get_attributes().message_count == 1

    def tried(times: int) -> bool:
        return len(hub.cloud.journal(operation="DeliverMessage")) == times

    for times in range(2, 5):
        hub.cloud.advance(21)
        until(partial(tried, times))

    assert hub.queue("dead").receive_message(0).message_body == "lost"
    assert hub.topic("news").get_attributes().message_count == 0
    outcomes = [entry["message"] for entry in hub.cloud.journal(operation="DeliverMessage")]
    assert outcomes == ["later", "later", "later", "dead letter"]


@pytest.mark.parametrize(
    ("world", "complaint"),
    [
        ({"queues": {"work": {"dead_letter": {"queue": "work"}}}}, "queues.work.dead_letter.queue: .* its own"),
        (
            {"queues": {"in": {}}, "topics": {"news": {"subscriptions": {"s": {"queue": "in", "dead_letter": "in"}}}}},
            "subscriptions.s.dead_letter: .* its own",
        ),
        (
            {
                "queues": {"in": {"MaximumMessageSize": 1024}},
                "topics": {"news": {"subscriptions": {"s": {"queue": "in"}}}},
            },
            "subscriptions.s.queue: .* smaller",
        ),
    ],
)
def test_worlds_that_cannot_be(world: dict[str, Any], complaint: str) -> None:
    """Dead letters may not go back where they came from, a queue may not be too small for its topic: named by path."""
    with pytest.raises(ValueError, match=complaint):
        check_world({"version": 1, "accounts": {"6000000000000006": world}})


def test_platform_takes_deletes_and_puts(hub: Hub) -> None:
    """Triggers work on queues without signature or permission, by the same rules as everybody."""
    service = hub.cloud.mns.platform
    hub.queue("work").batch_send_message([Message("a"), Message("b")])

    taken = hub.cloud.inside_async(
        lambda: service.take(hub.uid, "work", count=16, wait_seconds=0, visibility_seconds=100)
    )
    assert [(each.body, each.dequeue_count) for each in taken] == [("a", 1), ("b", 1)]
    hub.cloud.inside(lambda _: service.delete(hub.uid, "work", [taken[0].receipt_handle]))
    hub.cloud.advance(99)
    assert code_of(lambda: hub.queue("work").receive_message(0)) == "MessageNotExist"
    hub.cloud.advance(2)
    assert hub.queue("work").receive_message(0).message_body == "b"

    message_id = hub.cloud.inside(lambda _: service.put(hub.uid, "work", "c", delay_seconds=9, properties={"k": "v"}))
    waiting = in_thread(
        lambda: hub.cloud.inside_async(
            lambda: service.take(hub.uid, "work", count=1, wait_seconds=20, visibility_seconds=1)
        )
    )
    until(lambda: waiters(hub) == 1)
    hub.cloud.advance(10)
    assert [each.message_id for each in waiting()] == [message_id]


# Who may do what


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


# Limits and planned trouble


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
    until(lambda: len(hub.snapshot()["queues"][0]["messages"]) == 2)


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
