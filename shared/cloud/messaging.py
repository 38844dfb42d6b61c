"""Queues and topics, through the official data-plane SDK, made safe for functions that are frozen between calls.

A connection frozen with its instance is dead when the instance wakes: the SDK's next send then fails, or is sent twice in
silence, and over HTTPS it waits for ever (seen in aliyun-mns-sdk 1.3.0, mns_http). So every call here has a connection and a
time limit of its own, and an answer that does not come is an error, never a second send.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import BadStatusLine, HTTPConnection, HTTPResponse, HTTPSConnection
from typing import Any

from mns.account import Account
from mns.mns_exception import MNSClientException, MNSServerException
from mns.queue import Message
from mns.topic import TopicMessage

from shared.cloud.errors import made
from shared.cloud.keys import Keys
from shared.errors import GrantError

_TIMEOUT_SECONDS = 10.0
_MAX_DELAY_SECONDS = 604_800
BATCH = 16
"""As many messages as one call can show or take."""


@dataclass(frozen=True)
class Parked:
    """A message in a queue that somebody looks through by hand. ``body`` as it travelled; ``since`` in epoch milliseconds."""

    message_id: str
    body: str
    receipt: str
    since: int


@dataclass(frozen=True)
class Counts:
    """How many messages a queue says it has: to be seen, and in somebody's hands. The vendor retires these counts: 0 may mean
    that it does not count."""

    visible: int
    hidden: int


@dataclass(frozen=True)
class QueueSeen:
    """A queue's attributes as MNS names them, in seconds. Where its dead letters go is not among what is shown here."""

    attributes: Mapping[str, int]


@dataclass(frozen=True)
class SubscriptionSeen:
    """What of a topic is pushed where, and how."""

    name: str
    endpoint: str
    filter_tag: str
    strategy: str
    format: str


class _OneAnswer:
    """Turns "closed without an answer" into an error that the SDK does not retry."""

    request_length = 0

    def getresponse(self) -> HTTPResponse:
        try:
            return super().getresponse()  # type: ignore[misc,no-any-return]  # of the connection class mixed in
        except BadStatusLine as error:
            raise ConnectionResetError("closed without an answer") from error


class _Plain(_OneAnswer, HTTPConnection):
    pass


class _Tls(_OneAnswer, HTTPSConnection):
    pass


def _if_there(ask: Callable[[], Any]) -> Any:
    """What is told about a thing; None where there is none."""
    try:
        return ask()
    except MNSServerException as error:
        if error.type in ("QueueNotExist", "TopicNotExist", "SubscriptionNotExist"):
            return None
        raise


class Messaging:
    """Publishes to topics and sends to queues of the function's own account."""

    def __init__(
        self,
        endpoint: str,
        home: Callable[[], Keys],
        caller: str = "the function's role",
        seconds: float = _TIMEOUT_SECONDS,
    ) -> None:
        """``caller``: whom the keys of ``home`` belong to, for whoever reads that a permission is missing. ``seconds``: how long
        one answer is waited for.
        """
        self._endpoint = endpoint
        self._home = home
        self._caller = caller
        self._seconds = seconds

    def publish(self, topic: str, body: str, tag: str) -> str:
        """Publish a text under a tag (at most 16 characters). Returns the message id. Raises GrantError."""
        with self._account("PublishMessage", topic) as account:
            return str(account.get_topic(topic).publish_message(TopicMessage(body, message_tag=tag)).message_id)

    def send(self, queue: str, body: str, delay_seconds: int = 0) -> str:
        """Send a text to a queue, Base64 on the wire. Returns the message id. Raises GrantError."""
        message = Message(body)
        message.delay_seconds = min(max(delay_seconds, 0), _MAX_DELAY_SECONDS)
        with self._account("SendMessage", queue) as account:
            return str(account.get_queue(queue).send_message(message).message_id)

    def counts(self, queue: str) -> Counts:
        """How many messages the queue says it has. Raises GrantError."""
        with self._account("GetQueueAttributes", queue) as account, warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the SDK warns about its own attributes
            told = account.get_queue(queue).get_attributes()
            return Counts(int(told.active_messages), int(told.inactive_messages))

    def queue(self, name: str) -> QueueSeen | None:
        """A queue's attributes; None where there is no such queue. Raises GrantError."""
        with self._account("GetQueueAttributes", name) as account:
            told = _if_there(account.get_queue(name).get_attributes)
            if told is None:
                return None
            return QueueSeen(
                {
                    "VisibilityTimeout": int(told.visibility_timeout),
                    "MessageRetentionPeriod": int(told.message_retention_period),
                    "PollingWaitSeconds": int(told.polling_wait_seconds),
                }
            )

    def has_topic(self, name: str) -> bool:
        """Whether there is such a topic. Raises GrantError."""
        with self._account("GetTopicAttributes", name) as account:
            return _if_there(account.get_topic(name).get_attributes) is not None

    def subscriptions(self, topic: str) -> list[str]:
        """The names of a topic's subscriptions, of which it has a hundred at most. Raises GrantError."""
        with self._account("ListSubscriptionByTopic", topic) as account:
            urls, _ = account.get_topic(topic).list_subscription()
            return [url.rstrip("/").rpartition("/")[2] for url in urls]

    def subscription(self, topic: str, name: str) -> SubscriptionSeen | None:
        """A subscription; None where there is no such one. Raises GrantError."""
        with self._account("GetSubscriptionAttributes", f"{topic}, subscription {name}") as account:
            told = _if_there(account.get_subscription(topic, name).get_attributes)
            if told is None:
                return None
            facts = (told.endpoint, told.filter_tag or "", told.notify_strategy, told.notify_content_format)
            return SubscriptionSeen(name, *facts)

    def peek(self, queue: str) -> list[Parked]:
        """Up to sixteen messages, without taking them. Raises GrantError."""
        return self._take(queue, "BatchPeekMessage", lambda raw: raw.batch_peek_message(BATCH))

    def receive(self, queue: str) -> list[Parked]:
        """Take up to sixteen messages; they come back after the queue's visibility timeout. Does not wait for any, whatever
        the queue's own polling time. Raises GrantError.
        """
        return self._take(queue, "BatchReceiveMessage", lambda raw: raw.batch_receive_message(BATCH, 0))

    def delete(self, queue: str, receipt: str) -> None:
        """Remove a message that was received. Raises GrantError."""
        with self._account("DeleteMessage", queue) as account:
            account.get_queue(queue).delete_message(receipt)

    def put_back(self, queue: str, receipt: str) -> None:
        """Let others see a received message again at once. Raises GrantError."""
        with self._account("ChangeMessageVisibility", queue) as account:
            account.get_queue(queue).change_message_visibility(receipt, 1)

    def _take(self, queue: str, operation: str, ask: Callable[[Any], Any]) -> list[Parked]:
        with self._account(operation, queue) as account:
            raw = account.get_queue(queue)
            raw.set_encoding(False)  # the SDK would decode what is not Base64 after the message is hidden, and lose it
            try:
                messages = ask(raw)
            except MNSServerException as error:
                if error.type == "MessageNotExist":
                    return []  # an empty queue is an error on the wire
                raise
            return [
                Parked(
                    one.message_id, one.message_body, getattr(one, "receipt_handle", "") or "", int(one.enqueue_time)
                )
                for one in messages
            ]

    @contextmanager
    def _account(self, operation: str, name: str) -> Iterator[Any]:
        keys = self._home()
        account = Account(self._endpoint, keys.access_key_id, keys.access_key_secret, keys.security_token or "")
        http = account.mns_client.http
        kind = _Tls if http.is_https else _Plain
        http.conn = kind(http.host, timeout=self._seconds)
        try:
            yield account
        except MNSServerException as error:
            raise self._told(operation, name, error) from error
        except (MNSClientException, OSError, KeyError) as error:
            detail = f"{type(error).__name__}, asking {self._endpoint}"
            raise made("CloudUnreachable", None, f"{operation} on {name}", detail) from error
        finally:
            http.conn.close()

    def _told(self, operation: str, name: str, error: MNSServerException) -> GrantError:
        status = 500 if error.type.startswith("Internal") else 400
        where = f"{operation} on {name}"
        if error.type == "AccessDenied":  # one answer for every operation: say who lacks what
            single = operation.removeprefix("Batch")
            actions = " or ".join(f"mns:{one}" for one in dict.fromkeys((single, operation)))
            where = f"{self._caller} lacks the permission {actions} on {name}"
        return made(error.type, status, where, f"{error.type}: {error.message}; API request {error.req_id}")
