"""What goes out: completions from the outbox, some at a time, and wakes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

from shared import words
from shared.cloud.messaging import Messaging
from shared.errors import GrantError, LedgerError, NeedsSomebody, PermanentError
from shared.ledger.outbox import OutboxEntry, give_back, mark_published, take_entries
from shared.ledger.transactions import Ledger, now_ms
from shared.messages.completion import WAKE

AT_ONCE = 16
"""Completions that are taken, sent and marked together."""


class Outgoing:
    """One publisher of the outbox. Several share it: each takes entries for a while."""

    def __init__(self, ledger: Ledger, messaging: Callable[[], Messaging], topic: str) -> None:
        self._ledger, self._messaging, self._topic = ledger, messaging, topic

    def publish(self, entries_ms: int) -> None:
        """Everything the outbox holds, oldest first. What cannot go out now goes out with the next event or the timer.

        ``entries_ms``: for how long entries are taken, in case this publisher dies with them.
        """
        try:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                self._publish(pool, entries_ms)
        except LedgerError as away:
            words.ledger_away(grant=None, reason=str(away))

    def _publish(self, pool: ThreadPoolExecutor, entries_ms: int) -> None:
        out: list[int] = []
        while True:
            with self._ledger.writing() as run:
                if out:
                    run(mark_published, out)
                entries = run(take_entries, AT_ONCE, now_ms(), now_ms() + entries_ms)
            out, kept = [], list[int]()
            sending = [pool.submit(copy_context().run, self._send, one) for one in _by_grant(entries)]
            for sent, left in (one.result() for one in sending):
                out += sent
                kept += left
            if kept:
                self._ledger.write(give_back, kept)
            if kept or len(entries) < AT_ONCE:  # the topic is in trouble, or nothing is left
                break
        if out:
            self._ledger.write(mark_published, out)

    def _send(self, entries: Sequence[OutboxEntry]) -> tuple[list[int], list[int]]:
        """Send one grant's completions in their order. Returns which are out, and which the next one who comes may try."""
        out: list[int] = []
        for position, entry in enumerate(entries):
            try:
                message_id = self._messaging().publish(self._topic, entry.body, entry.tag)
            except PermanentError as error:
                # The topic will not take this one, and it must not stop those behind it. It stays taken for a while.
                words.completion_refused(seq=entry.seq, code=error.code, reason=str(error))
                continue
            except GrantError as error:
                words.completion_kept(seq=entry.seq, code=error.code, reason=str(error))
                say_refused(self._topic, error)
                return out, [left.seq for left in entries[position:]]
            out.append(entry.seq)
            words.completion_published(kind=entry.tag, seq=entry.seq, message_id=message_id)
        return out, []


def _by_grant(entries: Sequence[OutboxEntry]) -> list[list[OutboxEntry]]:
    """Those of one grant together, in their order; what is about no grant is alone."""
    found: dict[object, list[OutboxEntry]] = {}
    for entry in entries:
        found.setdefault(entry.grant_id or entry.seq, []).append(entry)
    return list(found.values())


def say_refused(queue: str, error: GrantError) -> None:
    """What only a person can mend about a queue or the topic is said as that, beside what came of it."""
    if isinstance(error, NeedsSomebody):
        words.queue_refused(queue=queue, code=error.code, reason=str(error))


def wake_body(grant_id: str | None) -> str:
    """A message that says where to look; without a grant, that people said something."""
    return json.dumps({"schema": WAKE} if grant_id is None else {"schema": WAKE, "grant_id": grant_id})


def seconds_until(next_at: int) -> int:
    """How long a queue is to keep a message that is wanted at a time in epoch milliseconds."""
    return max(0, math.ceil((next_at - now_ms()) / 1000))
