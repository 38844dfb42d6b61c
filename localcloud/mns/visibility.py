"""Which messages of a queue can be received, in which order, and when the others will be.

Heaps hold entries that may be out of date. A message's ticket names the one entry that counts; each move of a message
takes a new ticket, which makes every older entry worthless without searching for it.
"""

import heapq
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from localcloud.mns.messages import Message

_Ready = tuple[int, int, int, Message]  # priority, number, ticket
_Hidden = tuple[int, int, Message]  # visible_ms, ticket


@dataclass(frozen=True, slots=True)
class Manner:
    """How messages are handed out; a standard queue promises neither order nor single delivery (mns.md section 2.4)."""

    duplicate: bool = False
    """The messages stay where they are, so that somebody gets them once more."""
    shuffle: random.Random | None = None
    """Any order, drawn from here."""
    slices: int = 1
    """A receive reads one of so many parts of the queue, even when others hold messages too."""


ORDERLY: Final = Manner()


class Visibility:
    """The active messages of one queue, and those that are hidden for a while."""

    def __init__(self) -> None:
        self._ready: list[_Ready] = []
        self._hidden: list[_Hidden] = []
        self._tickets = itertools.count(1)
        self.counts = {"active": 0, "inactive": 0, "delayed": 0}
        """Messages by state, kept up to date: listings of many queues ask for them."""
        self._turn = 0

    def show(self, message: Message) -> None:
        """It can be received."""
        message.ticket = ticket = next(self._tickets)
        message.hidden = False
        self._count(message, "active")
        heapq.heappush(self._ready, (message.priority, message.number, ticket, message))

    def hide(self, message: Message) -> None:
        """It cannot be received before its ``visible_ms``."""
        message.ticket = ticket = next(self._tickets)
        message.hidden = True
        self._count(message, "inactive" if message.dequeue_count else "delayed")
        heapq.heappush(self._hidden, (message.visible_ms, ticket, message))

    def drop(self, message: Message) -> None:
        """It is gone; none of its entries counts any longer."""
        message.ticket = 0
        self._count(message, "")

    def _count(self, message: Message, state: str) -> None:
        if message.counted:
            self.counts[message.counted] -= 1
        if state:
            self.counts[state] += 1
        message.counted = state

    def settle(self, now_ms: int) -> None:
        """Show what was hidden until now."""
        hidden = self._hidden
        while hidden and hidden[0][0] <= now_ms:
            _, ticket, message = heapq.heappop(hidden)
            if message.ticket == ticket:
                self.show(message)

    def next_change_ms(self) -> int | None:
        """When the next hidden message becomes visible."""
        hidden = self._hidden
        while hidden and hidden[0][2].ticket != hidden[0][1]:
            heapq.heappop(hidden)
        return hidden[0][0] if hidden else None

    def has_active(self) -> bool:
        """Whether there is anything to receive."""
        ready = self._ready
        while ready and ready[0][3].ticket != ready[0][2]:
            heapq.heappop(ready)
        return bool(ready)

    def first(self, count: int) -> list[Message]:
        """The next active messages, without changing anything about them."""
        found: list[_Ready] = []
        while self._ready and len(found) < count:
            entry = heapq.heappop(self._ready)
            if entry[3].ticket == entry[2]:
                found.append(entry)
        for entry in found:
            heapq.heappush(self._ready, entry)
        return [entry[3] for entry in found]

    def in_order(self) -> Iterator[Message]:
        """Active messages, first things first; each leaves the heap when it is asked for."""
        ready = self._ready
        while ready:
            _, _, ticket, message = heapq.heappop(ready)
            if message.ticket == ticket:
                yield message

    def in_manner(self, manner: Manner) -> Iterator[Message]:
        """Active messages in another manner; looks at all of them, which only trouble and switches pay for."""
        live = sorted(entry for entry in self._ready if entry[3].ticket == entry[2])
        if manner.slices > 1 and live:
            parts = sorted({entry[1] % manner.slices for entry in live})
            self._turn += 1
            part = parts[self._turn % len(parts)]
            live = [entry for entry in live if entry[1] % manner.slices == part]
        if manner.shuffle is not None:
            manner.shuffle.shuffle(live)
        for entry in live:
            yield entry[3]

    def sweep(self) -> None:
        """Drop the entries that do not count any longer."""
        self._hidden[:] = [entry for entry in self._hidden if entry[2].ticket == entry[1]]
        heapq.heapify(self._hidden)
        self._ready[:] = [entry for entry in self._ready if entry[3].ticket == entry[2]]
        heapq.heapify(self._ready)
