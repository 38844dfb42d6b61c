"""Topics, their subscriptions, and what a notification looks like when it arrives in a queue (mns.md section 3)."""

import json
import random
from dataclasses import dataclass, field
from typing import Final, Literal

from localcloud.endpoints import Kind
from localcloud.mns.attributes import QueueAttributes, TopicAttributes
from localcloud.mns.errors import refuse
from localcloud.mns.markup import document, leaf
from localcloud.mns.messages import Property
from localcloud.ordered import Names

Strategy = Literal["BACKOFF_RETRY", "EXPONENTIAL_DECAY_RETRY"]
ContentFormat = Literal["XML", "JSON", "SIMPLIFIED"]

STRATEGIES: Final[dict[str, Strategy]] = {name: name for name in ("BACKOFF_RETRY", "EXPONENTIAL_DECAY_RETRY")}
FORMATS: Final[dict[str, ContentFormat]] = {name: name for name in ("XML", "JSON", "SIMPLIFIED")}
MAX_TAG: Final = 16
MAX_SUBSCRIPTIONS: Final = 100

_BACKOFF_RETRIES: Final = 3
_DECAY_RETRIES: Final = 176
_DECAY_CEILING_SECONDS: Final = 512


@dataclass(frozen=True, slots=True)
class QueueAddress:
    """A queue that a subscription pushes to, perhaps in another account."""

    account: str
    queue: str


@dataclass(frozen=True, slots=True)
class PushAddress:
    """Where the real service would push to from its own network: kept and shown here, and never reached."""

    kind: Kind
    endpoint: str


@dataclass(slots=True)
class Subscription:
    """A topic's standing order to push what is published, into a queue or to somebody outside."""

    name: str
    target: QueueAddress | PushAddress
    filter_tag: str | None
    strategy: Strategy
    content_format: ContentFormat
    created_ms: int
    modified_ms: int
    dead_letter: str | None = None

    def wants(self, tag: str | None) -> bool:
        """Only equal tags pass a filter; without a filter everything does."""
        return self.filter_tag is None or self.filter_tag == tag


@dataclass(frozen=True, slots=True)
class Publication:
    """A message that was published to a topic."""

    id: str
    body: str
    md5: str
    tag: str | None
    user_properties: tuple[Property, ...]
    system_properties: tuple[Property, ...]
    published_ms: int


@dataclass(slots=True)
class Topic:
    """A topic."""

    account: str
    name: str
    attributes: TopicAttributes
    created_ms: int
    modified_ms: int
    subscriptions: Names[Subscription] = field(default_factory=Names)
    under_way: set["Delivery"] = field(default_factory=set)
    """What could not be delivered at once."""


@dataclass(slots=True, eq=False)
class Delivery:
    """A publication on its way to one subscription."""

    topic: Topic
    subscription: Subscription
    publication: Publication
    due_ms: int
    failures: int = 0

    def wanted(self) -> bool:
        """Whether the subscription still exists; what was under way to a removed one is dropped."""
        return self.topic.subscriptions.get(self.subscription.name) is self.subscription


def notification(topic: Topic, subscription: Subscription, publication: Publication) -> str:
    """The body of the queue message: in the subscription's format, and not encoded any further."""
    if subscription.content_format == "SIMPLIFIED":
        return publication.body
    facts = {
        "TopicOwner": topic.account,
        "TopicName": topic.name,
        "Subscriber": topic.account,
        "SubscriptionName": subscription.name,
        "MessageId": publication.id,
        "Message": publication.body,
        "MessageMD5": publication.md5,
        **({} if publication.tag is None else {"MessageTag": publication.tag}),
        "PublishTime": str(publication.published_ms),
    }
    if subscription.content_format == "JSON":
        return json.dumps(facts, ensure_ascii=False)
    return document("Notification", "".join(leaf(name, value) for name, value in facts.items()))


def retry_delay(strategy: Strategy, failures: int, chance: random.Random) -> float | None:
    """Seconds until the next try after so many failures in a row; None when the strategy gives up."""
    if strategy == "BACKOFF_RETRY":
        return chance.uniform(10, 20) if failures <= _BACKOFF_RETRIES else None
    if failures > _DECAY_RETRIES:
        return None
    return float(min(1 << min(failures - 1, 30), _DECAY_CEILING_SECONDS))


def must_fit(topic: TopicAttributes, queue: QueueAttributes) -> None:
    """A queue that takes smaller messages than the topic cannot be subscribed (mns.md section 3)."""
    if queue.maximum_message_size < topic.maximum_message_size:
        raise refuse(
            "InvalidArgument",
            f"MaximumMessageSize of the queue ({queue.maximum_message_size}) is smaller than that of the topic "
            f"({topic.maximum_message_size}).",
        )
