"""Conformance: topics, subscriptions, dead letters and the platform's own access, through the official Python SDK."""

import base64
import hashlib
from functools import partial
from typing import Any

import pytest
from mns.account import AccountMeta
from mns.message_property import MessagePropertyValue
from mns.queue import Message, QueueMeta
from mns.subscription import SubscriptionMeta
from mns.topic import Base64TopicMessage, TopicMessage, TopicMeta

from localcloud.worldfile import check_world
from tests.functional.waiting import until
from tests.localcloud.conftest import RunCloud
from tests.localcloud.harness import allow, user
from tests.localcloud.mns_kit import Hub, a_hub, code_of, in_thread, meta, waiters


@pytest.fixture
def hub(run_cloud: RunCloud) -> Hub:
    return a_hub(run_cloud, queues={"work": {}, "inbox": {}}, topics={"news": {}})


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
        until(partial(tried, times), f"{times} deliveries were tried")

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
    until(lambda: waiters(hub) == 1, "1 wait")
    hub.cloud.advance(10)
    assert [each.message_id for each in waiting()] == [message_id]
