"""Every queue and topic of the local cloud, and how messages move between them.

Plain and synchronous like a single queue: time is handed in. Each operation checks everything before it changes
anything, so that a refused request leaves no trace.
"""

import heapq
import itertools
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, Protocol, TypeVar

from localcloud.mns.attributes import QueueAttributes, TopicAttributes
from localcloud.mns.errors import refuse
from localcloud.mns.messages import MAX_BATCH_BYTES, Draft, Message, Property, Receipt, body_md5, new_id
from localcloud.mns.names import endpoint_of
from localcloud.mns.queues import DeadLetter, Queue
from localcloud.mns.topics import (
    MAX_SUBSCRIPTIONS,
    ContentFormat,
    Delivery,
    Publication,
    PushAddress,
    QueueAddress,
    Strategy,
    Subscription,
    Topic,
    must_fit,
    notification,
    retry_delay,
)
from localcloud.mns.visibility import ORDERLY, Manner
from localcloud.ordered import Names
from localcloud.refusal import Refusal
from localcloud.switches import Switches

MAX_QUEUES: Final = 1_000
MAX_TOPICS: Final = 1_000

Outcome = Literal["delivered", "later", "dead letter", "dropped", "not emulated"]
Trouble = Literal["none", "before", "after"]
"""What planned trouble does to a delivery: nothing, or it fails before, or only its success is not noticed."""


class Courier(Protocol):
    """Planned trouble on the way to a queue, and a witness of every attempt."""

    def trouble(self, delivery: Delivery) -> Trouble:
        """What happens to this attempt."""

    def tried(self, delivery: Delivery, outcome: Outcome) -> None:
        """How the attempt ended."""


class Store:
    """The message service's state."""

    def __init__(self, region: str, switches: Switches, courier: Courier, chance: random.Random) -> None:
        self.region = region
        self._switches = switches
        self._courier = courier
        self._chance = chance
        self._queues: dict[str, Names[Queue]] = {}
        self._topics: dict[str, Names[Topic]] = {}
        self._logging_buckets: dict[str, str] = {}
        self._due: list[tuple[int, int, Delivery]] = []
        self._order = itertools.count()

    # Queues

    def queue(self, account: str, name: str) -> Queue:
        """A queue that exists."""
        try:
            return self._queues[account][name]
        except KeyError:
            raise refuse("QueueNotExist") from None

    def queues(self, account: str) -> Names[Queue]:
        """All queues of an account by name."""
        return self._queues.get(account) or Names()

    def create_queue(
        self,
        account: str,
        name: str,
        given: Mapping[str, str],
        now_ms: int,
        dead_letter: DeadLetter | None = None,
    ) -> bool:
        """True when it is new, False when it exists with the very same attributes; different ones are refused."""
        attributes = QueueAttributes().changed(given)
        owned = self._queues.setdefault(account, Names())
        existing = owned.get(name)
        if existing is not None:
            if existing.attributes != attributes:
                raise refuse("QueueAlreadyExist")
            return False
        if len(owned) >= MAX_QUEUES:
            raise refuse("QueueNumExceededLimit", f"An account may have {MAX_QUEUES} queues in a region.")
        owned[name] = Queue(account, name, attributes, now_ms, dead_letter=dead_letter)
        return True

    def set_queue_attributes(self, account: str, name: str, given: Mapping[str, str], now_ms: int) -> None:
        """Change the given attributes; the others keep their values."""
        queue = self.queue(account, name)
        queue.set_attributes(queue.attributes.changed(given), now_ms)

    def delete_queue(self, account: str, name: str) -> bool:
        """The queue and all its messages go; False when there was none."""
        queue = self.queues(account).take(name)
        if queue is None:
            return False
        queue.close()
        return True

    def send(self, account: str, name: str, draft: Draft, now_ms: int) -> tuple[Message, str | None]:
        """One message into a queue."""
        queue = self.queue(account, name)
        queue.check(draft)
        return queue.send(draft, now_ms)

    def send_many(
        self, account: str, name: str, drafts: Sequence[Draft | Refusal], now_ms: int
    ) -> list[tuple[Message, str | None] | Refusal]:
        """Several messages, each with its own outcome; together they may not be larger than one message may be."""
        queue = self.queue(account, name)
        if sum(draft.size() for draft in drafts if isinstance(draft, Draft)) > MAX_BATCH_BYTES:
            raise refuse("InvalidArgument", f"The messages of a batch may have {MAX_BATCH_BYTES} bytes together.")
        outcomes: list[tuple[Message, str | None] | Refusal] = []
        for draft in drafts:
            try:
                if isinstance(draft, Refusal):
                    raise draft
                queue.check(draft)
                outcomes.append(queue.send(draft, now_ms))
            except Refusal as refusal:
                outcomes.append(refusal)
        return outcomes

    def receive(
        self,
        account: str,
        name: str,
        count: int,
        now_ms: int,
        *,
        visibility_seconds: float | None = None,
        manner: Manner = ORDERLY,
    ) -> list[Receipt]:
        """Messages to work on; those received too often move to the dead-letter queue on the way."""
        queue = self.queue(account, name)
        if queue.dead_letter is None:
            return queue.receive(count, now_ms, visibility_seconds=visibility_seconds, manner=manner)

        def bury(message: Message, policy: DeadLetter) -> bool:
            source = f"acs:mns:{self.region}:{account}:/queues/{name}"
            return self._bury(account, policy.queue, message.body, message, "ExceededMaxReceiveCount", source, now_ms)

        return queue.receive(count, now_ms, visibility_seconds=visibility_seconds, bury=bury, manner=manner)

    def _bury(
        self,
        account: str,
        queue_name: str,
        body: str,
        origin: Message | Publication,
        why: str,
        source: str,
        now_ms: int,
    ) -> bool:
        """Move a message to a dead-letter queue; False when that queue does not exist.

        The move does not reset its retention clock. The names of the properties that say where it came from are
        documented, their values are not (mns.md section 2.1).
        """
        target = self.queues(account).get(queue_name)
        if target is None:
            return False
        marks = {"DLQMessageType": why, "DLQSourceArn": source, "DLQOriginMessageId": origin.id}
        kept = tuple(each for each in origin.system_properties if each.name not in marks)
        draft = Draft(
            body,
            delay_seconds=0,
            user_properties=origin.user_properties,
            system_properties=kept + tuple(Property(name, value, "STRING") for name, value in marks.items()),
        )
        since_ms = origin.published_ms if isinstance(origin, Publication) else origin.enqueued_ms
        message_id = origin.id if self._switches.dead_letter_id == "kept" else None
        target.send(draft, now_ms, enqueued_ms=since_ms, message_id=message_id)
        return True

    # Topics

    def topic(self, account: str, name: str) -> Topic:
        """A topic that exists."""
        try:
            return self._topics[account][name]
        except KeyError:
            raise refuse("TopicNotExist", "The topic you provided is not exist.") from None

    def topics(self, account: str) -> Names[Topic]:
        """All topics of an account by name."""
        return self._topics.get(account) or Names()

    def create_topic(self, account: str, name: str, given: Mapping[str, str], now_ms: int) -> bool:
        """True when it is new, False when it exists with the very same attributes; different ones are refused."""
        attributes = TopicAttributes().changed(given)
        owned = self._topics.setdefault(account, Names())
        existing = owned.get(name)
        if existing is not None:
            if existing.attributes != attributes:
                raise refuse("TopicAlreadyExist", "The topic you want to create is already exist.")
            return False
        if len(owned) >= MAX_TOPICS:
            raise refuse("InvalidArgument", f"An account may have {MAX_TOPICS} topics in a region.")
        owned[name] = Topic(account, name, attributes, now_ms, now_ms)
        return True

    def set_topic_attributes(self, account: str, name: str, given: Mapping[str, str], now_ms: int) -> None:
        """Change the given attributes; the others keep their values."""
        topic = self.topic(account, name)
        topic.attributes = topic.attributes.changed(given)
        topic.modified_ms = now_ms

    def delete_topic(self, account: str, name: str) -> bool:
        """The topic and its subscriptions go; False when there was none."""
        topic = self.topics(account).take(name)
        if topic is None:
            return False
        topic.subscriptions.clear()
        return True

    # Subscriptions

    def subscription(self, account: str, topic_name: str, name: str) -> Subscription:
        """A subscription that exists."""
        found = self.topic(account, topic_name).subscriptions.get(name)
        if found is None:
            raise refuse("SubscriptionNotExist", "The subscription you provided is not exist.")
        return found

    def subscribe(
        self,
        account: str,
        topic_name: str,
        name: str,
        *,
        target: QueueAddress | PushAddress,
        filter_tag: str | None,
        strategy: Strategy,
        content_format: ContentFormat,
        now_ms: int,
        dead_letter: str | None = None,
    ) -> bool:
        """True when it is new, False when the very same exists; a different one of that name is refused."""
        topic = self.topic(account, topic_name)
        existing = topic.subscriptions.get(name)
        if existing is not None:
            asked = (target, filter_tag, strategy, content_format)
            if asked != (existing.target, existing.filter_tag, existing.strategy, existing.content_format):
                raise refuse("SubscriptionAlreadyExist", "The subscription you want to create is already exist.")
            return False
        if len(topic.subscriptions) >= MAX_SUBSCRIPTIONS:
            raise refuse("InvalidArgument", f"A topic may have {MAX_SUBSCRIPTIONS} subscriptions.")
        queue = self._target_queue(target)
        if queue is not None:
            must_fit(topic.attributes, queue.attributes)
        topic.subscriptions[name] = Subscription(
            name, target, filter_tag, strategy, content_format, now_ms, now_ms, dead_letter
        )
        return True

    def set_subscription_attributes(
        self,
        account: str,
        topic_name: str,
        name: str,
        *,
        strategy: Strategy | None,
        filter_tag: str | None,
        now_ms: int,
    ) -> None:
        """Change what may be changed: the retry strategy and the filter."""
        subscription = self.subscription(account, topic_name, name)
        if strategy is not None:
            subscription.strategy = strategy
        if filter_tag is not None:
            subscription.filter_tag = filter_tag
        subscription.modified_ms = now_ms

    def unsubscribe(self, account: str, topic_name: str, name: str) -> bool:
        """The subscription goes, and with it what is still on its way; False when there was none."""
        return self.topic(account, topic_name).subscriptions.take(name) is not None

    # Publishing

    def publish(self, account: str, topic_name: str, draft: Draft, tag: str | None, now_ms: int) -> Publication:
        """Take a message in and push it to every subscription that wants it, at once where that works."""
        topic = self.topic(account, topic_name)
        size = draft.size()
        if size > topic.attributes.maximum_message_size:
            raise refuse(
                "InvalidArgument",
                f"The message has {size} bytes, but MaximumMessageSize is {topic.attributes.maximum_message_size}.",
            )
        publication = Publication(
            new_id(),
            draft.body,
            body_md5(draft.body),
            tag,
            draft.user_properties,
            draft.system_properties,
            now_ms,
        )
        for subscription in list(topic.subscriptions.values()):
            if subscription.wants(tag):
                self._try(Delivery(topic, subscription, publication, now_ms), now_ms)
        return publication

    def deliver_due(self, now_ms: int) -> None:
        """Try again what is due."""
        due = self._due
        while due and due[0][0] <= now_ms:
            delivery = heapq.heappop(due)[2]
            delivery.topic.under_way.discard(delivery)
            self._try(delivery, now_ms)

    def next_delivery_ms(self) -> int | None:
        """When the next delivery is due; None when nothing is under way."""
        return self._due[0][0] if self._due else None

    def _try(self, delivery: Delivery, now_ms: int) -> None:
        """One attempt: into the queue, or again later, or into the dead-letter queue, or gone."""
        if not delivery.wanted():
            return
        if isinstance(delivery.subscription.target, PushAddress):
            self._courier.tried(delivery, "not emulated")
            return
        trouble = self._courier.trouble(delivery)
        if trouble != "before" and self._push(delivery, now_ms) and trouble == "none":
            self._courier.tried(delivery, "delivered")
            return
        self._courier.tried(delivery, self._postpone(delivery, now_ms))

    def _postpone(self, delivery: Delivery, now_ms: int) -> Outcome:
        """What becomes of a delivery that failed: its subscription's strategy decides."""
        subscription, topic = delivery.subscription, delivery.topic
        delivery.failures += 1
        delay = retry_delay(subscription.strategy, delivery.failures, self._chance)
        if delay is not None:
            delivery.due_ms = now_ms + int(delay * 1_000)
            topic.under_way.add(delivery)
            heapq.heappush(self._due, (delivery.due_ms, next(self._order), delivery))
            return "later"
        if subscription.dead_letter is None:
            return "dropped"
        source = f"acs:mns:{self.region}:{topic.account}:/topics/{topic.name}/subscriptions/{subscription.name}"
        body = notification(topic, subscription, delivery.publication)
        buried = self._bury(
            topic.account, subscription.dead_letter, body, delivery.publication, "DeliveryFailed", source, now_ms
        )
        return "dead letter" if buried else "dropped"

    def _push(self, delivery: Delivery, now_ms: int) -> bool:
        """Whether the queue took it. The published body counts for its size limit, not what the format wraps around."""
        subscription, publication = delivery.subscription, delivery.publication
        queue = self._target_queue(subscription.target)
        if queue is None:
            return False
        properties = publication.user_properties, publication.system_properties
        try:
            queue.check(Draft(publication.body, None, 8, *properties))
        except Refusal:
            return False
        text = notification(delivery.topic, subscription, publication)
        queue.send(Draft(text, None, 8, *properties), now_ms)
        return True

    def _target_queue(self, target: QueueAddress | PushAddress) -> Queue | None:
        if isinstance(target, PushAddress):
            return None
        return self.queues(target.account).get(target.queue)

    # The account

    def logging_bucket(self, account: str) -> str:
        """Where the account wants its message logs; kept, but nothing is logged there."""
        return self._logging_buckets.get(account, "")

    def set_logging_bucket(self, account: str, bucket: str) -> None:
        """Remember it."""
        self._logging_buckets[account] = bucket

    # Looking inside

    def pending(self, topic: Topic) -> int:
        """How many publications of a topic are still on their way."""
        return len({id(each.publication) for each in topic.under_way if each.wanted()})

    def snapshot(self, now_ms: int) -> dict[str, Any]:
        """Everything, JSON-able."""
        return {
            "queues": [self._queue_snapshot(queue, now_ms) for queue in _each(self._queues)],
            "topics": [self._topic_snapshot(topic) for topic in _each(self._topics)],
            "logging_buckets": dict(self._logging_buckets),
        }

    def _queue_snapshot(self, queue: Queue, now_ms: int) -> dict[str, Any]:
        counts = queue.counts(now_ms)
        policy = queue.dead_letter
        return {
            "account": queue.account,
            "name": queue.name,
            "attributes": queue.attributes.wire(),
            "dead_letter": policy and {"queue": policy.queue, "max_receives": policy.max_receives},
            "active": counts.active,
            "inactive": counts.inactive,
            "delayed": counts.delayed,
            "messages": queue.snapshot(now_ms),
        }

    def _topic_snapshot(self, topic: Topic) -> dict[str, Any]:
        return {
            "account": topic.account,
            "name": topic.name,
            "attributes": topic.attributes.wire(),
            "pending": self.pending(topic),
            "subscriptions": [
                {
                    "name": each.name,
                    "endpoint": endpoint_of(each.target, self.region),
                    "queue": each.target.queue if isinstance(each.target, QueueAddress) else None,
                    "queue_account": each.target.account if isinstance(each.target, QueueAddress) else None,
                    "filter_tag": each.filter_tag,
                    "strategy": each.strategy,
                    "format": each.content_format,
                    "dead_letter": each.dead_letter,
                    "pending": [
                        {"message_id": one.publication.id, "failures": one.failures, "due_ms": one.due_ms}
                        for one in sorted(topic.under_way, key=lambda one: one.due_ms)
                        if one.subscription is each and one.wanted()
                    ],
                }
                for each in topic.subscriptions.values()
            ],
        }


Owned = TypeVar("Owned")


def _each(by_account: Mapping[str, Mapping[str, Owned]]) -> Iterable[Owned]:
    return itertools.chain.from_iterable(owned.values() for owned in by_account.values())
