"""The message service as the platform itself uses it: in process, without signature or permission.

Function Compute's queue triggers and dead letters come this way; the rules of queues and topics are the same as for
everybody.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from localcloud.call import Call
from localcloud.kernel import Cloud
from localcloud.mns.errors import refuse
from localcloud.mns.markup import writable
from localcloud.mns.messages import Draft, Property, Receipt, check_properties
from localcloud.mns.names import platform_caller
from localcloud.mns.publishing import Publisher
from localcloud.mns.receiving import Receiver
from localcloud.mns.store import Store


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message handed to the platform itself."""

    message_id: str
    body: str
    receipt_handle: str
    dequeue_count: int
    enqueue_time_ms: int
    priority: int
    user_properties: tuple[Property, ...]
    system_properties: tuple[Property, ...]


class PlatformAccess:
    """Queues and topics for other services of the platform."""

    def __init__(self, cloud: Cloud, store: Store, receiver: Receiver, publisher: Publisher) -> None:
        self._cloud = cloud
        self._store = store
        self._receiver = receiver
        self._publisher = publisher

    async def take(
        self, account: str, queue: str, *, count: int, wait_seconds: float, visibility_seconds: float
    ) -> list[Delivered]:
        """Messages for a trigger, waiting for them if need be; empty when none came. A missing queue is a Refusal."""
        call = Call(
            service="mns",
            operation="ReceiveMessage",
            caller=platform_caller(account),
            account=account,
            region=self._cloud.world.region,
            request_id="",
            params={"QueueName": queue},
        )
        receipts = self._receiver.try_receive(call, account, queue, count, visibility_seconds)
        if not receipts and wait_seconds > 0:
            receipts = await self._receiver.poll(
                call, account, queue, count=count, seconds=wait_seconds, visibility_seconds=visibility_seconds
            )
        return [_delivered(receipt) for receipt in receipts]

    def delete(self, account: str, queue: str, receipt_handles: Iterable[str]) -> None:
        """Delete what the handles still hold; those that lapsed are delivered again, as everywhere."""
        self._store.queue(account, queue).delete_many(receipt_handles, self._now_ms())

    def release(self, account: str, queue: str, receipt_handle: str) -> None:
        """Let somebody else see a message now; raises Refusal when the queue or the message is gone."""
        self._store.queue(account, queue).change_visibility(receipt_handle, 0, self._now_ms())

    def put(
        self,
        account: str,
        queue: str,
        body: str,
        *,
        delay_seconds: int = 0,
        properties: Mapping[str, str] | None = None,
    ) -> str:
        """Send as the platform; the new message's id. Raises Refusal when the queue is missing or will not take it."""
        draft = _platform_draft(body, delay_seconds, properties)
        message, _ = self._store.send(account, queue, draft, self._now_ms())
        return message.id

    def publish(self, account: str, topic: str, body: str, *, tag: str | None = None) -> str:
        """Publish as the platform; the new message's id. Raises Refusal when the topic is missing or will not take it."""
        return self._publisher.publish(account, topic, _platform_draft(body, 0, None), tag, self._now_ms()).id

    def has_queue(self, account: str, queue: str) -> bool:
        """Whether a queue exists, for those who want to complain in their own words."""
        return queue in self._store.queues(account)

    def has_topic(self, account: str, topic: str) -> bool:
        """Whether a topic exists."""
        return topic in self._store.topics(account)

    def _now_ms(self) -> int:
        return int(self._cloud.clock.now() * 1_000)


def _platform_draft(body: str, delay_seconds: int, properties: Mapping[str, str] | None) -> Draft:
    user = tuple(Property(name, value, "STRING") for name, value in (properties or {}).items())
    check_properties(user, ())
    if not body or not all(writable(text) for text in (body, *(properties or {}).values())):
        raise refuse("InvalidArgument", "A message is text that XML can carry, and not empty.")
    return Draft(body, delay_seconds, user_properties=user)


def _delivered(receipt: Receipt) -> Delivered:
    message = receipt.message
    return Delivered(
        message.id,
        message.body,
        receipt.handle,
        receipt.dequeue_count,
        message.enqueued_ms,
        message.priority,
        message.user_properties,
        message.system_properties,
    )
