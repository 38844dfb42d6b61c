"""The operations by name, with the RAM actions that stand for them (mns.md section 8)."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from localcloud.mns.context import Operation
from localcloud.mns.operations.account import (
    get_account_attributes,
    open_service,
    set_account_attributes,
)
from localcloud.mns.operations.messages import (
    batch_delete_message,
    batch_peek_message,
    batch_receive_message,
    batch_send_message,
    change_message_visibility,
    delete_message,
    peek_message,
    receive_message,
    send_message,
)
from localcloud.mns.operations.queues import (
    create_queue,
    delete_queue,
    get_queue_attributes,
    list_queue,
    set_queue_attributes,
)
from localcloud.mns.operations.subscriptions import (
    get_subscription_attributes,
    list_subscription_by_topic,
    set_subscription_attributes,
    subscribe,
    unsubscribe,
)
from localcloud.mns.operations.topics import (
    create_topic,
    delete_topic,
    get_topic_attributes,
    list_topic,
    publish_message,
    set_topic_attributes,
)
from localcloud.mns.wire import Route


@dataclass(frozen=True, slots=True)
class Entry:
    """An operation, the RAM actions that stand for it and the path of the resource it touches (section 8)."""

    run: Operation
    resource: str
    single: str = ""
    """The action of the single-message operation, for batches."""


_MESSAGES: Final = "/queues/{queue}/messages"
_SUBSCRIPTION: Final = "/topics/{topic}/subscriptions/{subscription}"

OPERATIONS: Final = {
    "CreateQueue": Entry(create_queue, "/queues/{queue}"),
    "SetQueueAttributes": Entry(set_queue_attributes, "/queues/{queue}"),
    "GetQueueAttributes": Entry(get_queue_attributes, "/queues/{queue}"),
    "ListQueue": Entry(list_queue, "/queues"),
    "DeleteQueue": Entry(delete_queue, "/queues/{queue}"),
    "SendMessage": Entry(send_message, _MESSAGES),
    "BatchSendMessage": Entry(batch_send_message, _MESSAGES, "SendMessage"),
    "ReceiveMessage": Entry(receive_message, _MESSAGES),
    "BatchReceiveMessage": Entry(batch_receive_message, _MESSAGES, "ReceiveMessage"),
    "PeekMessage": Entry(peek_message, _MESSAGES),
    "BatchPeekMessage": Entry(batch_peek_message, _MESSAGES, "PeekMessage"),
    "DeleteMessage": Entry(delete_message, _MESSAGES),
    "BatchDeleteMessage": Entry(batch_delete_message, _MESSAGES, "DeleteMessage"),
    "ChangeMessageVisibility": Entry(change_message_visibility, _MESSAGES),
    "CreateTopic": Entry(create_topic, "/topics/{topic}"),
    "SetTopicAttributes": Entry(set_topic_attributes, "/topics/{topic}"),
    "GetTopicAttributes": Entry(get_topic_attributes, "/topics/{topic}"),
    "ListTopic": Entry(list_topic, "/topics"),
    "DeleteTopic": Entry(delete_topic, "/topics/{topic}"),
    "PublishMessage": Entry(publish_message, "/topics/{topic}/messages"),
    "Subscribe": Entry(subscribe, _SUBSCRIPTION),
    "SetSubscriptionAttributes": Entry(set_subscription_attributes, _SUBSCRIPTION),
    "GetSubscriptionAttributes": Entry(get_subscription_attributes, _SUBSCRIPTION),
    "ListSubscriptionByTopic": Entry(list_subscription_by_topic, "/topics/{topic}/subscriptions"),
    "Unsubscribe": Entry(unsubscribe, _SUBSCRIPTION),
    "GetAccountAttributes": Entry(get_account_attributes, "/"),
    "SetAccountAttributes": Entry(set_account_attributes, "/"),
    "OpenService": Entry(open_service, "/commonbuy/openservice"),
}


@lru_cache(maxsize=4_096)
def permissions(operation: str, route: Route, account: str, region: str, batches: str) -> tuple[tuple[str, str], ...]:
    """The RAM actions a request needs, on which resource.

    Two pages disagree about batches: the overview maps them to the single-message action, the per-operation pages name
    an action of their own (section 8).
    """
    entry = OPERATIONS[operation]
    path = entry.resource.format(queue=route.queue, topic=route.topic, subscription=route.subscription)
    resource = f"acs:mns:{region}:{account}:{path}"
    own = (f"mns:{operation}", resource)
    if not entry.single or batches == "batch":
        return (own,)
    single = (f"mns:{entry.single}", resource)
    return (single,) if batches == "single" else (single, own)
