"""The platform's own hand on the message service: no signature, no permission, in process.

Everything Function Compute and EventBridge do with queues and topics goes through here.
"""

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from localcloud.refusal import Refusal

if TYPE_CHECKING:
    from localcloud.kernel import Cloud
    from localcloud.mns.service import Delivered


class Queues:
    """The queues and topics of one local cloud."""

    def __init__(self, cloud: "Cloud") -> None:
        self._cloud = cloud

    def exists(self, kind: str, account: str, name: str) -> bool:
        """Whether there is such a queue or topic."""
        service = self._cloud.mns
        return service.has_queue(account, name) if kind == "queue" else service.has_topic(account, name)

    async def take(
        self, account: str, name: str, *, count: int, wait_seconds: float, visibility_seconds: float
    ) -> "list[Delivered]":
        """Messages to deliver, which stay invisible meanwhile; an empty list when none came in time."""
        return await self._cloud.mns.take(
            account, name, count=count, wait_seconds=wait_seconds, visibility_seconds=visibility_seconds
        )

    def delete(self, account: str, name: str, messages: "Sequence[Delivered]") -> None:
        """These are done with; what is gone already, queue or message, is gone."""
        with contextlib.suppress(Refusal):
            self._cloud.mns.delete(account, name, [message.receipt_handle for message in messages])

    def release(self, account: str, name: str, messages: "Sequence[Delivered]") -> None:
        """These were not delivered: let somebody else see them now."""
        now_ms = int(self._cloud.clock.now() * 1000)
        for message in messages:
            with contextlib.suppress(Refusal):  # the queue or the message is gone
                self._cloud.mns.store.queue(account, name).change_visibility(message.receipt_handle, 0, now_ms)

    def put(self, account: str, name: str, body: str) -> None:
        """A message into a queue; raises Refusal when there is no such queue."""
        self._cloud.mns.put(account, name, body)

    def publish(self, account: str, name: str, body: str) -> None:
        """A message to a topic; raises Refusal when there is no such topic."""
        self._cloud.mns.publish(account, name, body)
