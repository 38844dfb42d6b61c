"""Topics, subscriptions and dead letters as plain state: time is an argument, chance is seeded."""

import json
import random
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from localcloud.mns.messages import Draft, Property
from localcloud.mns.queues import DeadLetter
from localcloud.mns.store import Outcome, Store, Trouble
from localcloud.mns.topics import Delivery, QueueAddress, retry_delay
from localcloud.refusal import Refusal
from localcloud.switches import Switches

ACCOUNT = "1000000000000001"
START = 1_800_000_000_000
CHANCE = random.Random(7)  # noqa: S311 - a seed


class Road:
    """A courier whose next troubles are written down beforehand, and who remembers how deliveries ended."""

    def __init__(self) -> None:
        self.ahead: list[Trouble] = []
        self.outcomes: list[Outcome] = []

    def trouble(self, _: Delivery) -> Trouble:
        return self.ahead.pop(0) if self.ahead else "none"

    def tried(self, _: Delivery, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


@pytest.fixture
def road() -> Road:
    return Road()


@pytest.fixture
def store(road: Road) -> Store:
    store = Store("cn-hangzhou", Switches(), road, CHANCE)
    store.create_topic(ACCOUNT, "news", {}, START)
    for name in ("inbox", "other", "dead"):
        store.create_queue(ACCOUNT, name, {}, START)
    return store


def subscribe(store: Store, name: str = "all", queue: str = "inbox", **changes: Any) -> bool:
    wishes: dict[str, Any] = {
        "target": QueueAddress(ACCOUNT, queue),
        "filter_tag": None,
        "strategy": "BACKOFF_RETRY",
        "content_format": "SIMPLIFIED",
        "now_ms": START,
        **changes,
    }
    return store.subscribe(ACCOUNT, "news", name, **wishes)


def publish(store: Store, body: str = "hello", tag: str | None = None, now_ms: int = START) -> str:
    return store.publish(ACCOUNT, "news", Draft(body), tag, now_ms).id


def texts(store: Store, queue: str = "inbox", now_ms: int = START) -> list[str]:
    return [receipt.message.body for receipt in store.receive(ACCOUNT, queue, 16, now_ms)]


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(Refusal) as refusal:
        call()
    return refusal.value.code


def test_filter_lets_only_equal_tags_through(store: Store) -> None:
    """A filtered subscription gets its own tag and nothing else; an unfiltered one gets everything."""
    subscribe(store, "filtered", "inbox", filter_tag="granted")
    subscribe(store, "all", "other")
    for body, tag in [("yes", "granted"), ("no", "denied"), ("untagged", None), ("longer", "granted2")]:
        publish(store, body, tag)

    assert texts(store) == ["yes"]
    assert texts(store, "other") == ["yes", "no", "untagged", "longer"]


def test_json_notification(store: Store) -> None:
    """The JSON format carries the documented keys, all of them strings, and the tag only when there is one."""
    subscribe(store, content_format="JSON")
    message_id = publish(store, 'a "quoted" <text> ä', "granted", START + 5)

    [text] = texts(store, now_ms=START + 5)

    assert json.loads(text) == {
        "TopicOwner": ACCOUNT,
        "TopicName": "news",
        "Subscriber": ACCOUNT,
        "SubscriptionName": "all",
        "MessageId": message_id,
        "Message": 'a "quoted" <text> ä',
        "MessageMD5": "86923BFC79469DB5A2A9E1CB5CE09136",
        "MessageTag": "granted",
        "PublishTime": str(START + 5),
    }
    publish(store, "untagged")
    assert "MessageTag" not in json.loads(texts(store, now_ms=START + 5)[0])


def test_xml_notification(store: Store) -> None:
    """The XML format is a Notification document whose Message is the published body."""
    subscribe(store, content_format="XML")
    publish(store, "a < b & c\r\n", "granted")

    root = ET.fromstring(texts(store)[0])  # noqa: S314 - an independent reader of our own text

    assert root.tag.endswith("Notification")
    values = {child.tag.rpartition("}")[2]: child.text for child in root}
    assert values["Message"] == "a < b & c\r\n"
    assert values["MessageTag"] == "granted"


def test_simplified_notification_is_the_body_and_properties_come_along(store: Store) -> None:
    """SIMPLIFIED delivers exactly what was published, as a new message that keeps the publisher's properties."""
    subscribe(store)
    mark = Property("k", "v", "STRING")
    publication = store.publish(ACCOUNT, "news", Draft("as it is", user_properties=(mark,)), None, START)

    [receipt] = store.receive(ACCOUNT, "inbox", 16, START)

    assert receipt.message.body == "as it is"
    assert receipt.message.user_properties == (mark,)
    assert receipt.message.id != publication.id


def test_missing_queue_is_tried_again_by_the_strategy_then_buried(store: Store, road: Road) -> None:
    """BACKOFF_RETRY tries three more times 10 to 20 s apart, then the dead-letter queue gets the notification."""
    subscribe(store, queue="missing", dead_letter="dead")
    message_id = publish(store)

    now_ms = START
    for _ in range(3):
        due_ms = store.next_delivery_ms()
        assert due_ms is not None
        assert 10_000 <= due_ms - now_ms <= 20_000
        now_ms = due_ms
        store.deliver_due(now_ms)

    assert road.outcomes == ["later", "later", "later", "dead letter"]
    assert store.next_delivery_ms() is None
    [receipt] = store.receive(ACCOUNT, "dead", 16, now_ms)
    marks = {each.name: each.value for each in receipt.message.system_properties}
    assert receipt.message.body == "hello"
    assert marks["DLQOriginMessageId"] == message_id
    assert marks["DLQSourceArn"] == f"acs:mns:cn-hangzhou:{ACCOUNT}:/topics/news/subscriptions/all"
    assert receipt.message.enqueued_ms == START


def test_queue_that_appears_in_time_gets_the_message(store: Store, road: Road) -> None:
    """A retry delivers as soon as the queue exists."""
    subscribe(store, queue="late")
    publish(store)
    store.create_queue(ACCOUNT, "late", {}, START)

    store.deliver_due(START + 20_000)

    assert road.outcomes == ["later", "delivered"]
    assert texts(store, "late", START + 20_000) == ["hello"]


def test_without_dead_letter_queue_the_message_is_dropped(store: Store, road: Road) -> None:
    """When the strategy gives up and nobody wants dead letters, the message is gone."""
    subscribe(store, queue="missing")
    publish(store)
    while (due_ms := store.next_delivery_ms()) is not None:
        store.deliver_due(due_ms)

    assert road.outcomes[-1] == "dropped"


def test_exponential_decay_lasts_a_day() -> None:
    """EXPONENTIAL_DECAY_RETRY: 1, 2, 4 … 512 s, then 512 s: 176 retries, about a day together."""
    delays = [retry_delay("EXPONENTIAL_DECAY_RETRY", failures, CHANCE) for failures in range(1, 177)]

    assert delays[:11] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 512]
    assert delays.count(512) == 167
    assert sum(delay or 0 for delay in delays) == pytest.approx(86_400, rel=0.01)
    assert retry_delay("EXPONENTIAL_DECAY_RETRY", 177, CHANCE) is None


def test_planned_trouble_on_the_way(store: Store, road: Road) -> None:
    """Trouble before the queue delays a message; trouble after it delivers the message twice."""
    subscribe(store)
    road.ahead = ["before", "none", "after"]
    publish(store, "delayed")
    store.deliver_due(START + 20_000)
    assert texts(store, now_ms=START + 20_000) == ["delayed"]

    publish(store, "twice", now_ms=START + 20_000)
    store.deliver_due(START + 40_000)

    assert texts(store, now_ms=START + 40_000) == ["twice", "twice"]
    assert road.outcomes == ["later", "delivered", "later", "delivered"]


def test_unsubscribing_drops_what_is_on_its_way(store: Store, road: Road) -> None:
    """A delivery under way to a removed subscription is not made, not even when one of that name comes back."""
    subscribe(store, queue="late")
    publish(store)
    assert store.pending(store.topic(ACCOUNT, "news")) == 1
    store.unsubscribe(ACCOUNT, "news", "all")
    subscribe(store, queue="late")
    store.create_queue(ACCOUNT, "late", {}, START)

    assert store.pending(store.topic(ACCOUNT, "news")) == 0
    store.deliver_due(START + 20_000)
    assert not texts(store, "late", START + 20_000)


def test_queue_smaller_than_the_topic_is_refused(store: Store) -> None:
    """A subscription whose queue takes less than the topic does not come to be; nor does a delivery that is too big."""
    store.create_queue(ACCOUNT, "small", {"MaximumMessageSize": "1024"}, START)
    assert code_of(lambda: subscribe(store, queue="small")) == "InvalidArgument"

    store.create_topic(ACCOUNT, "small", {"MaximumMessageSize": "1024"}, START)
    assert code_of(lambda: store.publish(ACCOUNT, "small", Draft("a" * 1025), None, START)) == "InvalidArgument"


def test_subscribing_again_is_compared(store: Store) -> None:
    """The same wish again is fine, a different one under the same name is not."""
    assert subscribe(store)
    assert not subscribe(store)
    assert code_of(lambda: subscribe(store, filter_tag="granted")) == "SubscriptionAlreadyExist"


def test_queue_dead_letter_keeps_age_and_names_its_origin(store: Store) -> None:
    """A message received too often arrives in the dead-letter queue with marks, and its retention clock runs on."""
    store.create_queue(ACCOUNT, "work", {"VisibilityTimeout": "1"}, START, DeadLetter("dead", 1))
    message, _ = store.send(ACCOUNT, "work", Draft("poison", priority=3), START)
    assert texts(store, "work") == ["poison"]

    assert not texts(store, "work", START + 1_000)
    [receipt] = store.receive(ACCOUNT, "dead", 16, START + 1_000)

    marks = {each.name: each.value for each in receipt.message.system_properties}
    assert marks["DLQOriginMessageId"] == message.id != receipt.message.id
    assert marks["DLQSourceArn"] == f"acs:mns:cn-hangzhou:{ACCOUNT}:/queues/work"
    assert receipt.message.enqueued_ms == START
    assert receipt.dequeue_count == 1
    assert not texts(store, "dead", START + 345_600_000)


def test_dead_letter_may_keep_its_id(road: Road) -> None:
    """With the switch dead_letter_id=kept the message is the same one in the dead-letter queue."""
    store = Store("cn-hangzhou", Switches(dead_letter_id="kept"), road, CHANCE)
    store.create_queue(ACCOUNT, "dead", {}, START)
    store.create_queue(ACCOUNT, "work", {"VisibilityTimeout": "1"}, START, DeadLetter("dead", 1))
    message, _ = store.send(ACCOUNT, "work", Draft("poison"), START)
    for now_ms in (START, START + 1_000):
        store.receive(ACCOUNT, "work", 1, now_ms)

    assert [receipt.message.id for receipt in store.receive(ACCOUNT, "dead", 1, START + 1_000)] == [message.id]


def test_batch_larger_than_a_message_is_refused_whole(store: Store) -> None:
    """The bodies of a batch may not exceed 64 KB together; nothing of it is sent."""
    drafts = [Draft("a" * 33_000), Draft("b" * 33_000)]

    assert code_of(lambda: store.send_many(ACCOUNT, "inbox", drafts, START)) == "InvalidArgument"
    assert not texts(store)


def test_limits_on_how_many_there_may_be(store: Store) -> None:
    """A thousand queues per account, a hundred subscriptions per topic."""
    for number in range(997):
        store.create_queue(ACCOUNT, f"q{number}", {}, START)
    assert code_of(lambda: store.create_queue(ACCOUNT, "one-more", {}, START)) == "QueueNumExceededLimit"
    assert store.create_queue("2000000000000002", "one-more", {}, START)

    for number in range(100):
        subscribe(store, f"s{number}")
    assert code_of(lambda: subscribe(store, "one-more")) == "InvalidArgument"
