"""The message service as triggers and destinations need it: a message that is gone already is no trouble.

Everything Function Compute and EventBridge do with queues and topics goes through here.
"""

import contextlib
from collections.abc import Sequence

from localcloud.mns.platform import Delivered, PlatformAccess
from localcloud.refusal import Refusal


class Queues:
    """The queues and topics of one local cloud."""

    def __init__(self, platform: PlatformAccess) -> None:
        self._platform = platform

    def exists(self, kind: str, account: str, name: str) -> bool:
        """Whether there is such a queue or topic."""
        return self._platform.has_queue(account, name) if kind == "queue" else self._platform.has_topic(account, name)

    async def take(
        self, account: str, name: str, *, count: int, wait_seconds: float, visibility_seconds: float
    ) -> list[Delivered]:
        """Messages to deliver, which stay invisible meanwhile; an empty list when none came in time."""
        return await self._platform.take(
            account, name, count=count, wait_seconds=wait_seconds, visibility_seconds=visibility_seconds
        )

    def delete(self, account: str, name: str, messages: Sequence[Delivered]) -> None:
        """These are done with; what is gone already, queue or message, is gone."""
        with contextlib.suppress(Refusal):
            self._platform.delete(account, name, [message.receipt_handle for message in messages])

    def release(self, account: str, name: str, messages: Sequence[Delivered]) -> None:
        """These were not delivered: let somebody else see them now."""
        for message in messages:
            with contextlib.suppress(Refusal):  # the queue or the message is gone
                self._platform.release(account, name, message.receipt_handle)

    def put(self, account: str, name: str, body: str) -> None:
        """A message into a queue; raises Refusal when there is no such queue."""
        self._platform.put(account, name, body)

    def publish(self, account: str, name: str, body: str) -> None:
        """A message to a topic; raises Refusal when there is no such topic."""
        self._platform.publish(account, name, body)
