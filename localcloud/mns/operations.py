"""One function per operation: what it checks, what it does, what it answers (mns.md sections 2 and 3).

Each runs inside ``Cloud.perform``, raises a Refusal before it changes anything, and returns a Reply.
"""

import base64
import binascii
import itertools
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from localcloud.call import Call
from localcloud.mns.attributes import TOPIC_RETENTION_SECONDS, QueueAttributes, TopicAttributes, whole_number
from localcloud.mns.errors import no_message, out_of_range, refuse
from localcloud.mns.markup import Element, document, leaf
from localcloud.mns.messages import (
    DEFAULT_PRIORITY,
    LOWEST_PRIORITY,
    MAX_BATCH,
    Draft,
    Message,
    Property,
    Receipt,
    check_properties,
    new_id,
)
from localcloud.mns.names import queue_address, queue_endpoint
from localcloud.mns.queues import Counts, Queue
from localcloud.mns.store import Store
from localcloud.mns.topics import FORMATS, MAX_TAG, STRATEGIES, Subscription, Topic
from localcloud.mns.wire import Asked, Route
from localcloud.refusal import Refusal, not_emulated
from localcloud.switches import Switches

if TYPE_CHECKING:
    from localcloud.mns.service import MnsService

Known = TypeVar("Known")

MAX_PAGE: Final = 1_000
LONGEST_WAIT: Final = 30


class Reply(NamedTuple):
    """An answer before it becomes HTTP."""

    status: int
    body: str = ""
    location: str | None = None


@dataclass(slots=True)
class Desk:
    """What an operation works with: the service, the request, and the call it is performed as."""

    service: "MnsService"
    asked: Asked
    call: Call
    host: str
    facts: dict[str, Any]
    """The call's parameters; operations add what the journal should show."""
    gone: Callable[[], bool]
    """Whether the client hung up meanwhile."""

    @property
    def store(self) -> Store:
        """The queues and topics."""
        return self.service.store

    @property
    def switches(self) -> Switches:
        """What the vendor does not document."""
        return self.service.cloud.switches

    @property
    def account(self) -> str:
        """The account that owns what is asked for."""
        return self.call.account

    @property
    def now_ms(self) -> int:
        """The time of the call."""
        return int(self.call.now * 1_000)

    @property
    def queue(self) -> Queue:
        """The queue that is asked for."""
        return self.store.queue(self.account, self.asked.queue)

    def url(self, path: str) -> str:
        """A URL that this client can reach."""
        return f"http://{self.host}{path}"


Operation = Callable[[Desk], Reply | Awaitable[Reply]]


# Queues


def create_queue(desk: Desk) -> Reply:
    """PUT /queues/{q}"""
    given = _given(desk.asked.optional_document("Queue"), QueueAttributes.names())
    new = desk.store.create_queue(desk.account, desk.asked.queue, given, desk.now_ms)
    desk.call.effect = new
    return Reply(201 if new else 204, location=desk.url(f"/queues/{desk.asked.queue}"))


def set_queue_attributes(desk: Desk) -> Reply:
    """PUT /queues/{q}?metaoverride=true"""
    given = _given(desk.asked.optional_document("Queue"), QueueAttributes.names())
    desk.store.set_queue_attributes(desk.account, desk.asked.queue, given, desk.now_ms)
    desk.call.effect = True
    return Reply(204)


def get_queue_attributes(desk: Desk) -> Reply:
    """GET /queues/{q}"""
    return Reply(200, document("Queue", _queue_elements(desk, desk.queue)))


def list_queue(desk: Desk) -> Reply:
    """GET /queues"""
    with_meta = desk.asked.headers.get("x-mns-with-meta", "").lower() == "true"
    queues = desk.store.queues(desk.account)

    def entry(name: str) -> str:
        url = leaf("QueueURL", desk.url(f"/queues/{name}"))
        return url + (_queue_elements(desk, queues[name]) if with_meta else "")

    return _page(desk, "Queue", queues, entry)


def delete_queue(desk: Desk) -> Reply:
    """DELETE /queues/{q}"""
    desk.call.effect = desk.store.delete_queue(desk.account, desk.asked.queue)
    if not desk.call.effect and desk.switches.delete_absent == "not_exist":
        raise refuse("QueueNotExist", "The queue you provided is not exist.")
    return Reply(204)


def _queue_elements(desk: Desk, queue: Queue) -> str:
    """Every attribute; one official decoder demands all of them."""
    counts = queue.counts(desk.now_ms) if desk.switches.message_counts == "real" else Counts(0, 0, 0)
    return "".join(
        leaf(name, value)
        for name, value in {
            "QueueName": queue.name,
            "CreateTime": queue.created_ms // 1_000,
            "LastModifyTime": queue.modified_ms // 1_000,
            **queue.attributes.wire(),
            "ActiveMessages": counts.active,
            "InactiveMessages": counts.inactive,
            "DelayMessages": counts.delayed,
        }.items()
    )


# Messages in queues


def send_message(desk: Desk) -> Reply:
    """POST /queues/{q}/messages with one message"""
    draft = _draft(desk.asked.document("Message"))
    message, handle = desk.store.send(desk.account, desk.asked.queue, draft, desk.now_ms)
    desk.call.effect = True
    desk.facts["MessageId"] = message.id
    return Reply(201, document("Message", _sent(message, handle)))


def batch_send_message(desk: Desk) -> Reply:
    """POST /queues/{q}/messages with up to sixteen messages, each with its own outcome (section 5.2)"""
    elements = list(desk.asked.document("Messages").all("Message"))
    _check_batch("Message", len(elements))
    drafts: list[Draft | Refusal] = []
    for element in elements:
        try:
            drafts.append(_draft(element))
        except Refusal as refusal:
            if refusal.code == "NotEmulated":
                raise
            drafts.append(refusal)
    outcomes = desk.store.send_many(desk.account, desk.asked.queue, drafts, desk.now_ms)
    sent = [outcome[0].id for outcome in outcomes if not isinstance(outcome, Refusal)]
    desk.call.effect = bool(sent)
    desk.facts["MessageId"] = sent
    failed = len(sent) < len(outcomes)

    def item(outcome: tuple[Message, str | None] | Refusal) -> str:
        if isinstance(outcome, Refusal):
            return _unsent(outcome)
        # Beside a failure one official client accepts exactly two children, so the handle has to stay away.
        return _sent(outcome[0], None if failed else outcome[1])

    inner = "".join(f"<Message>{item(outcome)}</Message>" for outcome in outcomes)
    return Reply(int(desk.switches.batch_send_failure) if failed else 201, document("Messages", inner))


def _sent(message: Message, handle: str | None) -> str:
    ids = f"<MessageId>{message.id}</MessageId><MessageBodyMD5>{message.md5}</MessageBodyMD5>"
    return ids if handle is None else f"{ids}<ReceiptHandle>{handle}</ReceiptHandle>"


def _unsent(refusal: Refusal) -> str:
    return leaf("ErrorCode", refusal.code) + leaf("ErrorMessage", refusal.message)


def receive_message(desk: Desk) -> Reply | Awaitable[Reply]:
    """GET /queues/{q}/messages"""
    return _receive(desk, 1, lambda receipts: document("Message", _received(receipts[0])))


def batch_receive_message(desk: Desk) -> Reply | Awaitable[Reply]:
    """GET /queues/{q}/messages?numOfMessages=n; the root is Messages even for one"""
    return _receive(desk, _batch_size(desk), lambda receipts: _messages(_received(each) for each in receipts))


def _receive(desk: Desk, count: int, render: Callable[[list[Receipt]], str]) -> Reply | Awaitable[Reply]:
    """Answer at once when there is something; hold the request when there is not and the client wants to wait."""
    wait = desk.asked.number("waitseconds", 0, LONGEST_WAIT)
    if wait is None:
        wait = desk.queue.attributes.polling_wait_seconds

    def reply(receipts: list[Receipt]) -> Reply:
        desk.call.effect = True
        desk.facts["MessageId"] = [each.message.id for each in receipts]
        return Reply(200, render(receipts))

    receipts = desk.service.try_receive(desk.call, desk.account, desk.asked.queue, count)
    if receipts:
        return reply(receipts)
    if wait == 0 or desk.switches.long_poll == "immediate":
        raise no_message()

    async def poll() -> Reply:
        found = await desk.service.poll(
            desk.call, desk.account, desk.asked.queue, count=count, seconds=wait, gone=desk.gone
        )
        if not found:
            raise no_message()
        return reply(found)

    return poll()


def _received(receipt: Receipt) -> str:
    message = receipt.message
    return (
        f"<MessageId>{message.id}</MessageId><ReceiptHandle>{receipt.handle}</ReceiptHandle>"
        f"<NextVisibleTime>{receipt.next_visible_ms}</NextVisibleTime>{_content(message, receipt.dequeue_count)}"
    )


def peek_message(desk: Desk) -> Reply:
    """GET /queues/{q}/messages?peekonly=true"""
    return Reply(200, document("Message", _peeked(_peek(desk, 1)[0])))


def batch_peek_message(desk: Desk) -> Reply:
    """GET /queues/{q}/messages?peekonly=true&numOfMessages=n"""
    return Reply(200, _messages(_peeked(message) for message in _peek(desk, _batch_size(desk))))


def _peek(desk: Desk, count: int) -> list[Message]:
    messages = desk.queue.peek(count, desk.now_ms)
    if not messages:
        raise no_message()
    return messages


def _peeked(message: Message) -> str:
    return f"<MessageId>{message.id}</MessageId>{_content(message, message.dequeue_count)}"


def _content(message: Message, dequeue_count: int) -> str:
    """What receive and peek have in common."""
    return (
        f"{leaf('MessageBody', message.body)}<MessageBodyMD5>{message.md5}</MessageBodyMD5>"
        f"<EnqueueTime>{message.enqueued_ms}</EnqueueTime><FirstDequeueTime>{message.first_dequeued_ms}</FirstDequeueTime>"
        f"<DequeueCount>{dequeue_count}</DequeueCount><Priority>{message.priority}</Priority>"
        f"{_properties('UserProperties', 'PropertyValue', message.user_properties)}"
        f"{_properties('SystemProperties', 'SystemPropertyValue', message.system_properties)}"
    )


def _properties(root: str, item: str, properties: tuple[Property, ...]) -> str:
    if not properties:
        return ""
    inner = "".join(
        f"<{item}>{leaf('Name', each.name)}{leaf('Value', each.value)}<Type>{each.type}</Type></{item}>"
        for each in properties
    )
    return f"<{root}>{inner}</{root}>"


def _messages(inner: Iterable[str]) -> str:
    return document("Messages", "".join(f"<Message>{each}</Message>" for each in inner))


def delete_message(desk: Desk) -> Reply:
    """DELETE /queues/{q}/messages?ReceiptHandle=h"""
    queue = desk.queue
    try:
        queue.delete(_handle(desk), desk.now_ms)
    except Refusal as refusal:
        raise _lapsed(desk, refusal) from refusal
    desk.call.effect = True
    return Reply(204)


def batch_delete_message(desk: Desk) -> Reply:
    """DELETE /queues/{q}/messages with handles in the body; an answer other than 204 lists the failures only"""
    queue = desk.queue
    handles = [element.scalar() for element in desk.asked.document("ReceiptHandles").all("ReceiptHandle")]
    _check_batch("ReceiptHandle", len(handles))
    failures = queue.delete_many(handles, desk.now_ms)
    desk.call.effect = len(failures) < len(handles)
    if not failures:
        return Reply(204)
    inner = "".join(
        f"<Error>{_unsent(_lapsed(desk, refusal))}{leaf('ReceiptHandle', handle)}</Error>"
        for handle, refusal in failures
    )
    return Reply(404, document("Errors", inner))


def change_message_visibility(desk: Desk) -> Reply:
    """PUT /queues/{q}/messages?ReceiptHandle=h&VisibilityTimeout=s"""
    queue = desk.queue
    handle = _handle(desk)
    seconds = desk.asked.number("VisibilityTimeout", 1, 43_200)
    if seconds is None:
        raise refuse("MissingVisibilityTimeout", "VisibilityTimeout is required.")
    try:
        fresh, next_visible_ms = queue.change_visibility(
            handle, seconds, desk.now_ms, keep=desk.switches.old_receipt == "valid"
        )
    except Refusal as refusal:
        raise _lapsed(desk, refusal) from refusal
    desk.call.effect = True
    inner = leaf("ReceiptHandle", fresh) + leaf("NextVisibleTime", next_visible_ms)
    return Reply(200, document("ChangeVisibility", inner))


def _handle(desk: Desk) -> str:
    handle = desk.asked.query.get("receipthandle")
    if not handle:
        raise refuse("MissingReceiptHandle", "ReceiptHandle is required.")
    return handle


def _lapsed(desk: Desk, refusal: Refusal) -> Refusal:
    """What a well-formed handle that no longer counts is answered with is documented in two ways (section 2.4)."""
    if refusal.code == "MessageNotExist" and desk.switches.lapsed_receipt == "receipt_handle_error":
        return refuse("ReceiptHandleError", "The receipt handle you provided has expired.")
    return refusal


# Topics


def create_topic(desk: Desk) -> Reply:
    """PUT /topics/{t}"""
    given = _given(desk.asked.optional_document("Topic"), TopicAttributes.names())
    new = desk.store.create_topic(desk.account, desk.asked.topic, given, desk.now_ms)
    desk.call.effect = new
    return Reply(201 if new else 204, location=desk.url(f"/topics/{desk.asked.topic}"))


def set_topic_attributes(desk: Desk) -> Reply:
    """PUT /topics/{t}?metaoverride=true"""
    given = _given(desk.asked.optional_document("Topic"), TopicAttributes.names())
    desk.store.set_topic_attributes(desk.account, desk.asked.topic, given, desk.now_ms)
    desk.call.effect = True
    return Reply(204)


def get_topic_attributes(desk: Desk) -> Reply:
    """GET /topics/{t}"""
    topic = desk.store.topic(desk.account, desk.asked.topic)
    return Reply(200, document("Topic", _topic_elements(desk, topic)))


def list_topic(desk: Desk) -> Reply:
    """GET /topics"""
    with_meta = desk.asked.headers.get("x-mns-with-meta", "").lower() == "true"
    topics = desk.store.topics(desk.account)

    def entry(name: str) -> str:
        url = leaf("TopicURL", desk.url(f"/topics/{name}"))
        return url + (_topic_elements(desk, topics[name]) if with_meta else "")

    return _page(desk, "Topic", topics, entry)


def delete_topic(desk: Desk) -> Reply:
    """DELETE /topics/{t}"""
    desk.call.effect = desk.store.delete_topic(desk.account, desk.asked.topic)
    if not desk.call.effect and desk.switches.delete_absent == "not_exist":
        raise refuse("TopicNotExist", "The topic you provided is not exist.")
    return Reply(204)


def _topic_elements(desk: Desk, topic: Topic) -> str:
    return "".join(
        leaf(name, value)
        for name, value in {
            "TopicName": topic.name,
            "MessageCount": desk.store.pending(topic),
            "CreateTime": topic.created_ms // 1_000,
            "LastModifyTime": topic.modified_ms // 1_000,
            "MessageRetentionPeriod": TOPIC_RETENTION_SECONDS,
            **topic.attributes.wire(),
        }.items()
    )


def publish_message(desk: Desk) -> Reply:
    """POST /topics/{t}/messages; attributes for mail and SMS are ignored, since no such subscription can exist"""
    element = desk.asked.document("Message")
    draft, tag = _draft(element), element.value("MessageTag")
    if tag is not None and len(tag) > MAX_TAG:
        raise out_of_range("MessageTag", 1, MAX_TAG, tag)
    publication = desk.service.publish_draft(desk.account, desk.asked.topic, draft, tag, desk.now_ms)
    desk.call.effect = True
    desk.facts["MessageId"] = publication.id
    if tag is not None:
        desk.facts["MessageTag"] = tag
    inner = leaf("MessageId", publication.id) + leaf("MessageBodyMD5", publication.md5)
    return Reply(201, document("Message", inner))


# Subscriptions


def subscribe(desk: Desk) -> Reply:
    """PUT /topics/{t}/subscriptions/{s}"""
    element = desk.asked.document("Subscription")
    endpoint = element.value("Endpoint")
    if endpoint is None:
        raise refuse("EndpointInvalid", "The endpoint is required.")
    new = desk.store.subscribe(
        desk.account,
        desk.asked.topic,
        desk.asked.subscription,
        target=queue_address(endpoint, desk.call.region),
        filter_tag=_filter_tag(element),
        strategy=_choice(element, "NotifyStrategy", STRATEGIES) or "BACKOFF_RETRY",
        content_format=_choice(element, "NotifyContentFormat", FORMATS) or "XML",
        now_ms=desk.now_ms,
    )
    desk.call.effect = new
    desk.facts["Endpoint"] = endpoint
    return Reply(201 if new else 204, location=desk.url(_subscription_path(desk.asked.topic, desk.asked.subscription)))


def set_subscription_attributes(desk: Desk) -> Reply:
    """PUT /topics/{t}/subscriptions/{s}?metaoverride=true; endpoint and format cannot change"""
    element = desk.asked.optional_document("Subscription")
    current = desk.store.subscription(desk.account, desk.asked.topic, desk.asked.subscription)
    fixed = {
        "Endpoint": queue_endpoint(current.target, desk.call.region),
        "NotifyContentFormat": current.content_format,
    }
    for name, value in fixed.items():
        if element.value(name) not in {None, value}:
            raise refuse("InvalidArgument", f"{name} of a subscription cannot be changed.")
    desk.store.set_subscription_attributes(
        desk.account,
        desk.asked.topic,
        desk.asked.subscription,
        strategy=_choice(element, "NotifyStrategy", STRATEGIES),
        filter_tag=_filter_tag(element),
        now_ms=desk.now_ms,
    )
    desk.call.effect = True
    return Reply(204)


def get_subscription_attributes(desk: Desk) -> Reply:
    """GET /topics/{t}/subscriptions/{s}"""
    subscription = desk.store.subscription(desk.account, desk.asked.topic, desk.asked.subscription)
    return Reply(200, document("Subscription", _subscription_elements(desk, subscription)))


def list_subscription_by_topic(desk: Desk) -> Reply:
    """GET /topics/{t}/subscriptions"""
    topic = desk.store.topic(desk.account, desk.asked.topic)

    def entry(name: str) -> str:
        return leaf("SubscriptionURL", desk.url(_subscription_path(topic.name, name)))

    return _page(desk, "Subscription", topic.subscriptions, entry)


def unsubscribe(desk: Desk) -> Reply:
    """DELETE /topics/{t}/subscriptions/{s}"""
    desk.call.effect = desk.store.unsubscribe(desk.account, desk.asked.topic, desk.asked.subscription)
    if not desk.call.effect and desk.switches.delete_absent == "not_exist":
        raise refuse("SubscriptionNotExist", "The subscription you provided is not exist.")
    return Reply(204)


def _subscription_path(topic: str, subscription: str) -> str:
    return f"/topics/{topic}/subscriptions/{subscription}"


def _subscription_elements(desk: Desk, subscription: Subscription) -> str:
    elements = {
        "SubscriptionName": subscription.name,
        "Subscriber": desk.account,
        "TopicOwner": desk.account,
        "TopicName": desk.asked.topic,
        "Endpoint": queue_endpoint(subscription.target, desk.call.region),
        "NotifyStrategy": subscription.strategy,
        "NotifyContentFormat": subscription.content_format,
        "CreateTime": subscription.created_ms // 1_000,
        "LastModifyTime": subscription.modified_ms // 1_000,
    }
    if subscription.filter_tag is not None:
        elements["FilterTag"] = subscription.filter_tag
    return "".join(leaf(name, value) for name, value in elements.items())


# The account


def get_account_attributes(desk: Desk) -> Reply:
    """GET /?accountmeta=true"""
    return Reply(200, document("Account", leaf("LoggingBucket", desk.store.logging_bucket(desk.account))))


def set_account_attributes(desk: Desk) -> Reply:
    """PUT /?accountmeta=true"""
    bucket = desk.asked.document("Account").child("LoggingBucket")
    if bucket is not None:
        desk.store.set_logging_bucket(desk.account, bucket.scalar().strip())
    desk.call.effect = True
    return Reply(204)


def open_service(desk: Desk) -> Reply:  # noqa: ARG001 - every operation gets the desk
    """POST /commonbuy/openservice; the service is always open here"""
    return Reply(200, document("OpenService", leaf("OrderId", new_id())))


# Reading requests


def _given(element: Element, names: Iterable[str]) -> dict[str, str]:
    """The attributes a client sent, empty ones left out."""
    if element.value("QueueType") not in {None, "normal"}:
        raise not_emulated("A FIFO queue")
    return {name: value for name in names if (value := element.value(name)) is not None}


def _draft(element: Element) -> Draft:
    """A message as a client sends it."""
    if element.value("MessageGroupId") is not None:
        raise not_emulated("An ordered message (MessageGroupId)")
    body = element.child("MessageBody")
    if body is None:
        raise refuse("MalformedXML", "The element MessageBody is missing.")
    text = body.scalar()
    if not text:
        raise refuse("InvalidArgument", "The MessageBody should not be empty.")
    delay = element.value("DelaySeconds")
    priority = element.value("Priority")
    user = _read_properties(element, "UserProperties", "PropertyValue")
    system = _read_properties(element, "SystemProperties", "SystemPropertyValue")
    if user or system:
        check_properties(user, system)
    return Draft(
        text,
        None if delay is None else whole_number("DelaySeconds", delay, 0, 604_800),
        # One client always sends a priority and means "unset" by zero (section 2.2).
        DEFAULT_PRIORITY
        if priority is None
        else whole_number("Priority", priority, 0, LOWEST_PRIORITY) or DEFAULT_PRIORITY,
        user,
        system,
    )


def _read_properties(element: Element, root: str, item: str) -> tuple[Property, ...]:
    parent = element.child(root)
    if parent is None:
        return ()
    found = []
    for each in parent.all(item):
        name, value, kind = each.child("Name"), each.child("Value"), each.child("Type")
        if name is None or value is None or kind is None:
            raise refuse("MalformedXML", f"Each {item} needs Name, Value and Type.")
        found.append(Property(name.scalar(), value.scalar(), kind.scalar()))
    return tuple(found)


def _filter_tag(element: Element) -> str | None:
    tag = element.value("FilterTag")
    if tag is not None and len(tag) > MAX_TAG:
        raise out_of_range("FilterTag", 1, MAX_TAG, tag)
    return tag


def _choice(element: Element, name: str, known: Mapping[str, Known]) -> Known | None:
    text = element.value(name)
    if text is None:
        return None
    if text not in known:
        raise refuse("InvalidArgument", f"{name} should be one of {', '.join(known)}, found {text[:40]!r}.")
    return known[text]


def _batch_size(desk: Desk) -> int:
    count = desk.asked.number("numOfMessages", 1, MAX_BATCH)
    if count is None:
        raise out_of_range("numOfMessages", 1, MAX_BATCH, None)
    return count


def _check_batch(name: str, count: int) -> None:
    if not 1 <= count <= MAX_BATCH:
        raise refuse("InvalidArgument", f"A batch has 1 to {MAX_BATCH} {name} elements, found {count}.")


def _page(desk: Desk, item: str, owned: Mapping[str, object], entry: Callable[[str], str]) -> Reply:
    """One page of a listing by name. The marker is left out on the last page: one client cannot read an empty one."""
    headers = desk.asked.headers
    limit = whole_number("x-mns-ret-number", headers.get("x-mns-ret-number") or str(MAX_PAGE), 1, MAX_PAGE)
    prefix = headers.get("x-mns-prefix", "")
    after = _read_marker(headers.get("x-mns-marker", ""))
    names = sorted(name for name in owned if name.startswith(prefix) and name > after)
    shown = list(itertools.islice(names, limit))
    inner = "".join(f"<{item}>{entry(name)}</{item}>" for name in shown)
    if len(names) > limit:
        inner += leaf("NextMarker", base64.urlsafe_b64encode(shown[-1].encode()).decode())
    return Reply(200, document(f"{item}s", inner))


def _read_marker(marker: str) -> str:
    try:
        return base64.b64decode(marker, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise refuse("InvalidArgument", f"The marker {marker[:40]!r} is invalid.") from error


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
