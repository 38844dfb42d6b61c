"""Publishing to topics: what cannot be delivered at once is tried again in cloud time, and every attempt is on record."""

import asyncio
from http import HTTPStatus
from typing import Final

from localcloud.call import Call
from localcloud.kernel import Cloud
from localcloud.mns.messages import Draft
from localcloud.mns.names import platform_caller
from localcloud.mns.store import Outcome, Store, Trouble
from localcloud.mns.topics import Delivery, Publication, PushAddress, QueueAddress

_A_DAY: Final = 86_400.0


class Publisher:
    """Publishes to the topics of one local cloud."""

    def __init__(self, cloud: Cloud, store: Store) -> None:
        self._cloud = cloud
        self._store = store
        self._undelivered = asyncio.Event()

    def start(self) -> None:
        """Keep delivering what could not be delivered at once; the kernel ends that."""
        self._cloud.spawn(self._redeliver())

    def publish(self, account: str, topic: str, draft: Draft, tag: str | None, now_ms: int) -> Publication:
        """Publish, and see to it that what could not be delivered is tried again."""
        publication = self._store.publish(account, topic, draft, tag, now_ms)
        self._undelivered.set()
        return publication

    async def _redeliver(self) -> None:
        clock = self._cloud.clock
        while True:
            self._undelivered.clear()
            due_ms = self._store.next_delivery_ms()
            await clock.wait_for(
                self._undelivered, _A_DAY if due_ms is None else max(0.0, due_ms / 1_000 + 0.001 - clock.now())
            )
            self._store.deliver_due(int(clock.now() * 1_000))


class JournalledCourier:
    """The kernel's part in a delivery: planned trouble strikes it, and the journal has every attempt."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def trouble(self, delivery: Delivery) -> Trouble:
        """Planned trouble for a delivery: it is matched as operation DeliverMessage, by topic, subscription or queue."""
        faults = self._cloud.faults
        kinds = {plan.kind for plan in faults.strike(self._delivery_call(delivery))} if faults.planned else set()
        if kinds & {"throttle", "error", "server_error", "cut_before"}:
            return "before"
        return "after" if "cut_after" in kinds else "none"

    def tried(self, delivery: Delivery, outcome: Outcome) -> None:
        """Every attempt is in the journal, so that people can see why a message did not arrive."""
        call = self._delivery_call(delivery)
        call.now = self._cloud.clock.now()
        call.effect = outcome in {"delivered", "dead letter"}
        target = delivery.subscription.target
        if isinstance(target, PushAddress):
            # One line for each notification, and not a long one: whoever waits for it must see why it never comes.
            why = f"not delivered: pushing to {target.kind} endpoints is not emulated ({target.endpoint[:120]})"
            self._cloud.journal.note(call, HTTPStatus.NOT_IMPLEMENTED, "NotEmulated", why, 0.0)
            return
        status = HTTPStatus.CREATED if outcome == "delivered" else HTTPStatus.SERVICE_UNAVAILABLE
        self._cloud.journal.note(call, status, "" if outcome == "delivered" else "NotDelivered", outcome, 0.0)

    def _delivery_call(self, delivery: Delivery) -> Call:
        topic, subscription = delivery.topic, delivery.subscription
        target = subscription.target
        return Call(
            service="mns",
            operation="DeliverMessage",
            caller=platform_caller(topic.account),
            account=target.account if isinstance(target, QueueAddress) else topic.account,
            region=self._cloud.world.region,
            request_id=delivery.publication.id,
            params={
                "TopicName": topic.name,
                "SubscriptionName": subscription.name,
                **({"QueueName": target.queue} if isinstance(target, QueueAddress) else {"Endpoint": target.endpoint}),
                "MessageId": delivery.publication.id,
                "Failures": delivery.failures,
            },
        )
