"""Visits: how one can end, and many of them, some at a time: what comes of some is handed on while the others go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from shared.ledger.rows import Held


class Outcome(StrEnum):
    """How a visit to one side of a grant can end."""

    SETTLED = "settled"  # nothing left to do
    WAITING = "waiting"  # it is the other side's turn
    HELD = "held"  # a person said so, by the mode
    LATER = "later"  # looked at again at a known time
    DEAD = "dead"  # not tried until somebody redrives it
    BUSY = "busy"  # another worker is at it


@dataclass(frozen=True)
class Visit:
    """How one visit to a grant ended, and when to look again."""

    outcome: Outcome
    next_at: int | None = None


AT_ONCE = 50
"""As many as one event of approvals brings, so that those of one account stay in step."""
_TOGETHER = 8  # results that are handed on together, or what came within the pause
_PAUSE_SECONDS = 0.02

T = TypeVar("T")


def at_once(
    see: Callable[[Sequence[str]], dict[str, Held]], visit: Callable[[str, Held | None], T], ids: Sequence[str]
) -> Iterator[list[T]]:
    """Visit grants some at a time and yield what came of them, a few together, as they finish.

    What is known of those that are next is read at once (``see``). The threads end with the invocation: a frozen one could not
    go on.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        left, pending, fresh = list(ids), set[Future[T]](), list[T]()
        while left or pending:
            if left and len(pending) <= AT_ONCE // 2:
                chunk, left = left[:AT_ONCE], left[AT_ONCE:]
                seen = see(chunk)
                pending |= {pool.submit(copy_context().run, visit, one, seen.get(one)) for one in chunk}
            done, pending = wait(pending, _PAUSE_SECONDS if fresh else None, FIRST_COMPLETED)
            fresh += [one.result() for one in done]
            if fresh and (not done or len(fresh) >= _TOGETHER or not pending):
                yield fresh
                fresh = []
