"""Requests of the message service: which operation a request line asks for, and what it says.

Lenient exactly where real clients differ (mns.md section 0): absolute-form targets, query keys in any case, percent
encoding or none, a plus sign that stays a plus sign. Strict everywhere else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote

from localcloud.mns.attributes import truth, whole_number
from localcloud.mns.errors import refuse, unknown_parameter
from localcloud.mns.markup import Element, parse
from localcloud.mns.messages import MAX_BATCH
from localcloud.mns.names import check_name

VERSION: Final = "2015-06-06"


class Target(NamedTuple):
    """A request target as sent, taken apart."""

    signed: str
    """Path and query, byte for byte: what the signature covers."""
    authority: str | None
    """Host of an absolute-form target."""
    path: str
    query: Mapping[str, str]
    """Decoded, keys in lower case."""


def read_target(raw: str) -> Target:
    """Take a request target apart; decoding must not touch what the signature covers."""
    authority, signed = None, raw
    if not raw.startswith("/"):
        scheme, _, rest = raw.partition("://")
        if scheme.lower() not in {"http", "https"} or not rest:
            raise refuse("InvalidRequestURL", f"The request target {raw[:80]!r} is invalid.")
        cut = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
        authority, signed = rest[:cut], rest[cut:]
    path, _, query = signed.partition("?")
    return Target(signed, authority, path or "/", _read_query(query) if query else {})


def _read_query(text: str) -> dict[str, str]:
    query: dict[str, str] = {}
    for pair in text.split("&"):
        if not pair:
            continue
        key, _, value = pair.partition("=")
        key = unquote(key).lower()
        if key in query:
            raise unknown_parameter(key[:40], "it appears more than once")
        query[key] = unquote(value) if "%" in value else value
    return query


@dataclass(frozen=True, slots=True)
class Route:
    """What the request line alone says."""

    operation: str
    queue: str = ""
    topic: str = ""
    subscription: str = ""

    def names(self) -> dict[str, str]:
        """The names under the keys that the journal shows."""
        named = {"QueueName": self.queue, "TopicName": self.topic, "SubscriptionName": self.subscription}
        return {key: name for key, name in named.items() if name}


@dataclass(slots=True)
class Asked:
    """One request: the operation and its parts. The body is parsed already when the operation depends on it."""

    operation: str
    route: Route
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    weight: int = 1
    """Messages in the request, which is what the rate limit counts."""
    _document: Element | None = None

    @property
    def queue(self) -> str:
        """Name of the queue, when there is one."""
        return self.route.queue

    @property
    def topic(self) -> str:
        """Name of the topic, when there is one."""
        return self.route.topic

    @property
    def subscription(self) -> str:
        """Name of the subscription, when there is one."""
        return self.route.subscription

    def document(self, root: str) -> Element:
        """The parsed body, whose root element must have this name."""
        if self._document is None:
            self._document = parse(self.body)
        if self._document.name != root:
            raise refuse("MalformedXML", f"The root element should be {root}, found {self._document.name[:40]!r}.")
        return self._document

    def optional_document(self, root: str) -> Element:
        """The parsed body, or an empty element when there is no body."""
        return self.document(root) if self.body else Element(root)

    def number(self, key: str, low: int, high: int) -> int | None:
        """A whole number of the query, or None when it is not there."""
        text = self.query.get(key.lower())
        return None if text is None else whole_number(key, text, low, high)

    def is_set(self, key: str) -> bool:
        """Whether a flag of the query is there and true."""
        text = self.query.get(key.lower())
        return text is not None and truth(key, text)


_QUERY_KEYS: Final = {
    "ReceiveMessage": {"waitseconds"},
    "BatchReceiveMessage": {"waitseconds", "numofmessages"},
    "PeekMessage": {"peekonly", "waitseconds"},
    "BatchPeekMessage": {"peekonly", "numofmessages", "waitseconds"},
    "DeleteMessage": {"receipthandle"},
    "ChangeMessageVisibility": {"receipthandle", "visibilitytimeout"},
    "CreateQueue": {"metaoverride"},
    "SetQueueAttributes": {"metaoverride"},
    "CreateTopic": {"metaoverride"},
    "SetTopicAttributes": {"metaoverride"},
    "Subscribe": {"metaoverride"},
    "SetSubscriptionAttributes": {"metaoverride"},
    "GetAccountAttributes": {"accountmeta"},
    "SetAccountAttributes": {"accountmeta"},
}
_NO_KEYS: Final[set[str]] = set()

_RESOURCES: Final = {
    ("queues",): {"GET": "ListQueue"},
    ("queues", None): {"PUT": "CreateQueue", "GET": "GetQueueAttributes", "DELETE": "DeleteQueue"},
    ("queues", None, "messages"): {
        "POST": "SendMessage",
        "GET": "ReceiveMessage",
        "DELETE": "DeleteMessage",
        "PUT": "ChangeMessageVisibility",
    },
    ("topics",): {"GET": "ListTopic"},
    ("topics", None): {"PUT": "CreateTopic", "GET": "GetTopicAttributes", "DELETE": "DeleteTopic"},
    ("topics", None, "messages"): {"POST": "PublishMessage"},
    ("topics", None, "subscriptions"): {"GET": "ListSubscriptionByTopic"},
    ("topics", None, "subscriptions", None): {
        "PUT": "Subscribe",
        "GET": "GetSubscriptionAttributes",
        "DELETE": "Unsubscribe",
    },
    ("commonbuy", "openservice"): {"POST": "OpenService"},
    (): {"GET": "GetAccountAttributes", "PUT": "SetAccountAttributes"},
}
_OVERRIDES: Final = {
    "CreateQueue": "SetQueueAttributes",
    "CreateTopic": "SetTopicAttributes",
    "Subscribe": "SetSubscriptionAttributes",
}


@lru_cache(maxsize=4_096)
def _route(method: str, path: str) -> Route:
    """Find the operation and the names in a request line; clients send few different ones again and again."""
    parts = path.split("/")[1:]
    if parts and parts[-1] == "":
        parts.pop()
    named = bool(parts) and parts[0] in {"queues", "topics"}
    # Every second part is a name: of a queue or topic first, of a subscription then.
    shape = tuple(None if named and at in {1, 3} else part for at, part in enumerate(parts))
    operation = _RESOURCES.get(shape, {}).get(method)
    if operation is None:
        raise refuse("InvalidRequestURL", f"{method[:10]} {path[:80]!r} is not a request of this service.")
    if not named or len(parts) == 1:
        return Route(operation)
    if parts[0] == "queues":
        return Route(operation, queue=check_name("queue", unquote(parts[1])))
    return Route(
        operation,
        topic=check_name("topic", unquote(parts[1])),
        subscription=check_name("subscription", unquote(parts[3])) if len(parts) == 4 else "",
    )


def read_request(method: str, target: Target, headers: Mapping[str, str], body: bytes) -> Asked:
    """Find the operation that a request asks for."""
    route = _route(method, target.path)
    asked = Asked(route.operation, route, target.query, headers, body)
    _refine(asked)
    if asked.query:
        unknown = set(asked.query) - _QUERY_KEYS.get(asked.operation, _NO_KEYS)
        if unknown:
            raise unknown_parameter(min(unknown)[:40], f"{asked.operation} does not know it")
    if target.path == "/" and "accountmeta" not in asked.query:
        raise refuse("InvalidRequestURL", "The request does not say what it is about.")
    return asked


def _refine(asked: Asked) -> None:
    """Tell operations apart that share a request line."""
    if asked.operation in _OVERRIDES:
        if asked.is_set("metaoverride"):
            asked.operation = _OVERRIDES[asked.operation]
    elif asked.operation == "ReceiveMessage":
        if asked.is_set("peekonly"):
            asked.operation = "PeekMessage"
        if "numofmessages" in asked.query:
            asked.operation = f"Batch{asked.operation}"
    elif asked.operation == "DeleteMessage":
        # A body beside a handle in the query is ignored: some clients send one on every request.
        if "receipthandle" not in asked.query and asked.body:
            asked.operation = "BatchDeleteMessage"
            asked.weight = min(max(1, sum(1 for _ in asked.document("ReceiptHandles").all("ReceiptHandle"))), MAX_BATCH)
    elif asked.operation == "SendMessage":
        root = parse(asked.body)
        asked._document = root  # noqa: SLF001 - the root element decides the operation, so it is parsed here already
        if root.name == "Messages":
            asked.operation = "BatchSendMessage"
            asked.weight = min(max(1, sum(1 for _ in root.all("Message"))), MAX_BATCH)
