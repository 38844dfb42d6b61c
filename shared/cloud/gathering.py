"""One listing for many questions: grants of one account that are looked at at the same time are looked up by page, together.

A question waits, not for long, until everybody who is at the same account asks too; whoever comes last asks for all. So a crowd
comes into step by itself, and one who is alone never waits. An answer is never older than its question.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from shared import words
from shared.errors import GrantError
from shared.messages.completion import Served

_WAIT_SECONDS = 2.0
_LARGE_SECONDS = 60.0

T = TypeVar("T")


@dataclass(frozen=True)
class Listed(Generic[T]):
    """What a listing showed. ``whole``: what it did not show is not there; else there are more pages than it is worth."""

    found: Mapping[Hashable, T]
    whole: bool
    calls: Sequence[Served]


@dataclass
class _Round(Generic[T]):
    """Questions that are answered together."""

    names: set[Hashable] = field(default_factory=set)
    waiting: int = 0
    begun: bool = False
    done: threading.Event = field(default_factory=threading.Event)
    listed: Listed[T] | None = None


@dataclass
class _Group(Generic[T]):
    """Those who are at one account."""

    present: int = 0
    large_until: float = 0.0
    round: _Round[T] = field(default_factory=_Round)


class Gathering(Generic[T]):
    """Rounds of questions, by group. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._groups: dict[Hashable, _Group[T]] = {}

    @contextmanager
    def present(self, group: Hashable) -> Iterator[None]:
        """Who is in this block may ask soon: the others wait for it."""
        with self._changed:
            self._group(group).present += 1
        try:
            yield
        finally:
            with self._changed:
                self._group(group).present -= 1
                self._changed.notify_all()

    def ask(self, group: Hashable, name: Hashable, listing: Callable[[set[Hashable]], Listed[T]]) -> Listed[T] | None:
        """What a listing for everybody who asks shows. None: ask alone, since nobody else does, or there would be too many pages.

        ``listing``: reads pages for these names. None, too, when it fails: one that is in trouble must not be everybody's.
        """
        with self._changed:
            here = self._group(group)
            if here.present < 2 or self._clock() < here.large_until:
                return None
            mine = here.round
            mine.names.add(name)
            mine.waiting += 1
            self._changed.notify_all()
            until = self._clock() + _WAIT_SECONDS
            while not mine.begun and mine.waiting < here.present and (left := until - self._clock()) > 0:
                self._changed.wait(left)
            leads = not mine.begun
            if leads:
                mine.begun, here.round = True, _Round()
        if leads:
            self._lead(here, mine, listing)
        mine.done.wait()
        return mine.listed

    def _lead(self, here: _Group[T], mine: _Round[T], listing: Callable[[set[Hashable]], Listed[T]]) -> None:
        try:
            if mine.waiting > 1:
                mine.listed = listing(mine.names)
                if not mine.listed.whole and not mine.names <= mine.listed.found.keys():
                    here.large_until = self._clock() + _LARGE_SECONDS
        except GrantError as error:  # whose trouble it is, each finds out alone
            words.listing_failed(code=error.code, reason=str(error))
        finally:
            mine.done.set()

    def _group(self, name: Hashable) -> _Group[T]:
        return self._groups.setdefault(name, _Group())
