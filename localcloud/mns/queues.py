"""One queue as a plain state machine: time is handed in, nobody waits here.

States (mns.md section 2.4): delayed, active, inactive after a receive, active again when its visibility lapses, gone
when deleted or older than the retention period. All times are integer milliseconds of cloud time, the unit that
answers carry, so that what a client is told and what happens are the same instant.
"""

import heapq
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from localcloud.mns.attributes import QueueAttributes
from localcloud.mns.errors import refuse
from localcloud.mns.handles import ReceiptHandles
from localcloud.mns.messages import Draft, Message, Receipt, body_md5, new_id
from localcloud.mns.visibility import ORDERLY, Manner, Visibility
from localcloud.refusal import Refusal

_ROOM_FOR_STALE: Final = 64

_Aging = tuple[int, int, Message]  # enqueued_ms, number


class Bell(Protocol):
    """Whatever wakes somebody who waits for a message; an asyncio.Event, usually."""

    def set(self) -> None:
        """Wake the one who waits."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Where a message goes that was received too often."""

    queue: str
    max_receives: int


@dataclass(frozen=True, slots=True)
class Counts:
    """How many messages are in each state."""

    active: int
    inactive: int
    delayed: int


class Queue:
    """A standard queue."""

    def __init__(
        self,
        account: str,
        name: str,
        attributes: QueueAttributes,
        now_ms: int,
        *,
        dead_letter: DeadLetter | None = None,
    ) -> None:
        self.account = account
        self.name = name
        self.attributes = attributes
        self.dead_letter = dead_letter
        self.created_ms = now_ms
        self.modified_ms = now_ms
        self.closed = False
        self._messages: dict[int, Message] = {}
        self._visibility = Visibility()
        self._aging: list[_Aging] = []
        self._handles = ReceiptHandles()
        self._numbers = itertools.count(1)
        self._bells: dict[Bell, None] = {}

    # Attributes

    def set_attributes(self, attributes: QueueAttributes, now_ms: int) -> None:
        """Replace the attributes; a changed retention counts for the messages that are here already."""
        self.attributes = attributes
        self.modified_ms = now_ms

    def close(self) -> None:
        """The queue is deleted: its messages go, and nobody needs to wait any longer."""
        self.closed = True
        self._messages.clear()
        self._handles.clear()
        self.ring(len(self._bells))

    # Sending

    def check(self, draft: Draft) -> None:
        """Refuse a message that is larger than this queue takes."""
        limit = self.attributes.maximum_message_size
        size = draft.size()
        if size > limit:
            raise refuse("InvalidArgument", f"The message has {size} bytes, but MaximumMessageSize is {limit}.")

    def send(
        self, draft: Draft, now_ms: int, *, enqueued_ms: int | None = None, message_id: str | None = None
    ) -> tuple[Message, str | None]:
        """Take a message in; a delayed one comes with a receipt handle that can cancel it (mns.md section 2.2).

        A message that moves here from another queue brings its enqueue time along, because a move does not reset the
        retention clock (mns.md section 2.1).
        """
        self.settle(now_ms)
        delay = self.attributes.delay_seconds if draft.delay_seconds is None else draft.delay_seconds
        message = Message(
            id=message_id or new_id(),
            body=draft.body,
            md5=body_md5(draft.body),
            priority=draft.priority,
            user_properties=draft.user_properties,
            system_properties=draft.system_properties,
            number=next(self._numbers),
            enqueued_ms=now_ms if enqueued_ms is None else enqueued_ms,
            first_dequeued_ms=now_ms if enqueued_ms is None else enqueued_ms,
            visible_ms=now_ms + delay * 1_000,
        )
        self._messages[message.number] = message
        heapq.heappush(self._aging, (message.enqueued_ms, message.number, message))
        if not delay:
            self._visibility.show(message)
            self.ring(1)
            return message, None
        self._visibility.hide(message)
        # Whoever waits must learn that something will be here earlier than it believed.
        self.ring(len(self._bells))
        return message, self._handles.issue(message)

    # Receiving

    def receive(
        self,
        count: int,
        now_ms: int,
        *,
        visibility_seconds: float | None = None,
        bury: Callable[[Message, DeadLetter], bool] | None = None,
        manner: Manner = ORDERLY,
    ) -> list[Receipt]:
        """Hand out up to ``count`` messages, highest priority and oldest first, and hide them for a while.

        A message whose receive count would exceed the dead-letter policy's maximum is buried instead; when the policy's
        queue cannot take it, it is handed out once more rather than lost.
        """
        self.settle(now_ms)
        seconds = self.attributes.visibility_timeout if visibility_seconds is None else visibility_seconds
        lapse_ms = now_ms + int(seconds * 1_000)
        policy = self.dead_letter
        receipts: list[Receipt] = []
        for message in self._visibility.in_order() if manner is ORDERLY else self._visibility.in_manner(manner):
            if policy and bury and message.dequeue_count >= policy.max_receives and bury(message, policy):
                self._forget(message)
                continue
            receipts.append(self._deliver(message, now_ms, lapse_ms))
            if len(receipts) == count:
                break
        if manner.duplicate:
            for receipt in receipts:
                self._visibility.show(receipt.message)
        return receipts

    def peek(self, count: int, now_ms: int) -> list[Message]:
        """Look at active messages without changing anything about them."""
        self.settle(now_ms)
        return self._visibility.first(count)

    def delete(self, handle: str, now_ms: int) -> None:
        """Delete the message that a valid receipt handle names."""
        self.settle(now_ms)
        self._forget(self._handles.held_by(handle, now_ms))

    def delete_many(self, handles: Iterable[str], now_ms: int) -> list[tuple[str, Refusal]]:
        """Delete what can be deleted; the handles that could not, each with its reason."""
        self.settle(now_ms)
        failures: list[tuple[str, Refusal]] = []
        for handle in handles:
            try:
                self._forget(self._handles.held_by(handle, now_ms))
            except Refusal as refusal:
                failures.append((handle, refusal))
        return failures

    def change_visibility(self, handle: str, seconds: int, now_ms: int, *, keep: bool = True) -> tuple[str, int]:
        """Hide a message for so long from now on; a fresh handle and the new time.

        With ``keep`` the handle from before works until its own time is over: some official clients rely on that, and
        nothing documented contradicts it (mns.md section 2.4).
        """
        self.settle(now_ms)
        message = self._handles.held_by(handle, now_ms)
        if not keep:
            self._handles.void(message)
        message.visible_ms = now_ms + seconds * 1_000
        self._visibility.hide(message)
        self.ring(len(self._bells))
        return self._handles.issue(message), message.visible_ms

    # Time

    def settle(self, now_ms: int) -> None:
        """Let everything happen whose time has come: visibility and delays lapse, retention removes in any state."""
        self._visibility.settle(now_ms)
        aging = self._aging
        oldest_ms = now_ms - self.attributes.message_retention_period * 1_000
        while aging and aging[0][0] <= oldest_ms:
            _, number, message = heapq.heappop(aging)
            if number in self._messages:
                self._forget(message)

    def next_change_ms(self) -> int | None:
        """When the next hidden message becomes visible, if nothing else happens before."""
        return self._visibility.next_change_ms()

    def has_active(self, now_ms: int) -> bool:
        """Whether there is anything to receive."""
        self.settle(now_ms)
        return self._visibility.has_active()

    # Waiting

    def wait(self, bell: Bell) -> None:
        """Ring this bell when there may be something to receive."""
        self._bells[bell] = None

    def stop_waiting(self, bell: Bell) -> bool:
        """Forget a bell; False when it was rung already."""
        return self._bells.pop(bell, self) is None

    def ring(self, count: int) -> None:
        """Wake up to ``count`` of those who wait, longest waiting first."""
        if not self._bells:
            return
        for bell in list(itertools.islice(self._bells, count)):
            del self._bells[bell]
            bell.set()

    # Looking inside

    def __len__(self) -> int:
        return len(self._messages)

    def counts(self, now_ms: int) -> Counts:
        """Messages by state."""
        self.settle(now_ms)
        return Counts(**self._visibility.counts)

    def snapshot(self, now_ms: int) -> list[dict[str, Any]]:
        """Every message and its state, for people and tests that look at the world."""
        self.settle(now_ms)
        return [
            {
                "id": message.id,
                "body": message.body,
                "state": _state(message),
                "priority": message.priority,
                "dequeue_count": message.dequeue_count,
                "enqueue_time_ms": message.enqueued_ms,
                "next_visible_time_ms": message.visible_ms,
                "user_properties": {each.name: each.value for each in message.user_properties},
                "system_properties": {each.name: each.value for each in message.system_properties},
            }
            for message in self._messages.values()
        ]

    # Inner workings

    def _deliver(self, message: Message, now_ms: int, lapse_ms: int) -> Receipt:
        self._handles.void(message)
        if message.dequeue_count == 0:
            message.first_dequeued_ms = now_ms
        message.dequeue_count += 1
        message.visible_ms = lapse_ms
        self._visibility.hide(message)
        return Receipt(message, self._handles.issue(message), lapse_ms, message.dequeue_count)

    def _forget(self, message: Message) -> None:
        del self._messages[message.number]
        self._visibility.drop(message)
        self._handles.void(message)
        if len(self._aging) > 2 * len(self._messages) + _ROOM_FOR_STALE:
            # Or a busy queue would remember the entries of messages that are gone for days.
            self._aging[:] = [entry for entry in self._aging if entry[1] in self._messages]
            heapq.heapify(self._aging)
            self._visibility.sweep()


def _state(message: Message) -> str:
    if not message.hidden:
        return "active"
    return "inactive" if message.dequeue_count else "delayed"
