"""One door, one purpose: through which queue of ours a message came in, and what may come in there.

Approvals enter through their own queue into the grant function, and nowhere else: who may publish completions or wake
somebody, or run a function, approves nothing by it. Everything that goes by a CloudEvent's ``subject`` is here, because
nobody documents that every event has one (function-compute.md section 3.1); ``EVENT_SUBJECT`` says what holds without it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from shared.errors import NotAllowed
from shared.messages.envelope import Item
from shared.messages.texts import shown
from shared.rules.facts import Side
from shared.settings import EventSubject, Settings

_QUEUE = re.compile(r"acs:mns:[^:/]*:(?P<account>[^:/]*):/?queues/(?P<name>[^:/]+)")


@dataclass(frozen=True)
class Doors:
    """The queues of one deployment, by what they are for. ``account`` owns them; empty where the platform does not say."""

    settings: Settings
    account: str

    def hints(self, side: Side) -> str:
        """The queue that wakes one side. What comes through it says where to look, and nothing else."""
        return self.settings.wakes_queue if side is Side.GRANT else self.settings.associations_queue

    def check(self, side: Side, item: Item) -> None:
        """Raise NotAllowed, naming where it came from, unless an approval may come in by this way."""
        if self._is_for_approvals(side, item):
            return
        origin = "an event that names no queue" if item.subject is None else shown(item.subject)
        raise NotAllowed(
            f"an approval enters only through the queue {self.settings.approvals_queue} into the grant function; "
            f"this one came from {origin} into the {side} function"
        )

    def way_back(self, side: Side, item: Item) -> str:
        """The queue to which a message is sent again. Never a better door than the one that it came through."""
        return self.settings.approvals_queue if self._is_for_approvals(side, item) else self.hints(side)

    def _is_for_approvals(self, side: Side, item: Item) -> bool:
        if side is not Side.GRANT:
            return False
        if item.subject is None:
            return self.settings.event_subject is EventSubject.OPTIONAL
        found = _QUEUE.fullmatch(item.subject)
        return (
            found is not None
            and found["name"] == self.settings.approvals_queue
            and self.account in ("", found["account"])
        )
