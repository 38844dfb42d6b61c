"""The rules of leases: which approvals keep a grant up, and what is wanted of it. Plain functions of plain values.

An approval is a lease on a grant. Closing is final and believed at once; an end only ever takes away. So no order of messages,
and no repetition, changes what is wanted in the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import IPv4Network

from shared.messages.approval import OnEnd

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY_MINUTES = 24 * 60


@dataclass(frozen=True)
class Lease:
    """One admitted grant approval as the ledger holds it. Times are epoch milliseconds."""

    approval_id: str
    issuer: str
    request_id: str
    digest: str
    approved_at: int
    ends_at: int | None
    on_end: OnEnd
    allowed_prefixes: tuple[str, ...]
    admitted_at: int
    closed: bool = False
    rejected: bool = False
    early: bool = False  # dated further ahead than clocks may differ: not believed yet
    done: bool = False  # its effect was seen
    warned: bool = False
    overdue: bool = False  # its end has come, and it is not taken down (yet)
    ended: bool = False


class Level(StrEnum):
    """How much is wanted of a grant."""

    UP = "up"  # it is made, and made again
    KEEP = "keep"  # what stands is left; nothing is made
    DOWN = "down"


@dataclass(frozen=True)
class Wanted:
    """What should be on the cloud for one grant.

    ``prefixes`` have to be allowed; ``may_stay`` are of leases past their end: allowed only as far as they are seen standing.
    """

    level: Level
    prefixes: tuple[str, ...] = ()
    may_stay: tuple[str, ...] = ()

    @property
    def up(self) -> bool:
        """Whether something may be made for it."""
        return self.level is Level.UP

    @property
    def down(self) -> bool:
        """Whether nothing of ours should be left."""
        return self.level is Level.DOWN

    def beside(self, standing: Iterable[str]) -> tuple[str, ...]:
        """The prefixes that an association should allow, where these are standing."""
        return in_order({*self.prefixes, *(set(self.may_stay) & set(standing))})


def longest_waiting(leases: Iterable[Lease]) -> Lease | None:
    """Of the leases whose effect was not seen yet, the oldest."""
    return min((lease for lease in leases if not lease.done), key=lambda lease: lease.admitted_at, default=None)


def counts_from(lease: Lease, timing: Timing) -> int:
    """From when its approval could take effect: from its admission, or from its date where that lay further ahead than clocks
    may differ.
    """
    return max(lease.admitted_at, lease.approved_at - timing.skew)


class LeaseState(StrEnum):
    """How a lease stands, in one word for people."""

    WAITING = "waiting"  # its effect was not seen yet
    LIVE = "live"
    EARLY = "early"  # dated ahead: without effect until then
    OVERDUE = "overdue"
    CLOSED = "closed"
    ENDED = "ended"
    REJECTED = "rejected"


def state_of(lease: Lease) -> LeaseState:
    """The word for a lease: what is final comes first."""
    said = (
        (LeaseState.REJECTED, lease.rejected),
        (LeaseState.CLOSED, lease.closed),
        (LeaseState.ENDED, lease.ended),
        (LeaseState.EARLY, lease.early),
        (LeaseState.OVERDUE, lease.overdue),
    )
    return next((word for word, so in said if so), LeaseState.LIVE if lease.done else LeaseState.WAITING)


def live(lease: Lease) -> bool:
    """Whether this lease counts. Closing is final, wherever the close came from and whichever came first."""
    return not (lease.closed or lease.rejected or lease.early or lease.ended)


def wanted(leases: Iterable[Lease]) -> Wanted:
    """What the leases of one grant want together.

    Up while one of them is before its end, with the prefixes of all those: one lease must not cut off another, so prefixes add
    up. They are not merged: each is a route that somebody approved. Past all ends what stands is kept, until ``passing`` ends
    it: it carries traffic.
    """
    alive = [lease for lease in leases if live(lease)]
    before = {prefix for lease in alive if not lease.overdue for prefix in lease.allowed_prefixes}
    past = {prefix for lease in alive if lease.overdue for prefix in lease.allowed_prefixes}
    level = Level.DOWN
    if alive:
        level = Level.KEEP if all(lease.overdue for lease in alive) else Level.UP
    return Wanted(level, in_order(before), in_order(past - before))


def in_order(prefixes: Iterable[str]) -> tuple[str, ...]:
    """Prefixes as both the leases and the cloud are compared: by network. What is no IPv4 network comes last, as it is."""
    return tuple(sorted(set(prefixes), key=_place))


def _place(prefix: str) -> tuple[int, IPv4Network | None, str]:
    try:
        return 0, IPv4Network(prefix), prefix
    except ValueError:
        return 1, None, prefix


@dataclass(frozen=True)
class Window:
    """When ended leases may be torn down: some days of the week, from one time of day to another, in UTC."""

    days: frozenset[int]
    start: int  # minutes since midnight
    end: int  # may lie on the next day

    @classmethod
    def parse(cls, text: str) -> Window:
        """``Sat,Sun 22:00-04:00``, or without days for every day. Raises ValueError that shows the form."""
        found = re.fullmatch(r"(?:([A-Za-z,]+) )?([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})", text)
        days = found.group(1).split(",") if found and found.group(1) else list(DAYS)
        if found is None or not set(days) <= set(DAYS):
            raise ValueError("must look like 'Sat,Sun 22:00-04:00' or '22:00-04:00' (UTC)")
        hours = [int(part) for part in found.groups()[1:]]
        start, end = hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]
        if hours[1] > 59 or hours[3] > 59 or start >= _DAY_MINUTES or end > _DAY_MINUTES:
            raise ValueError("must have times of day from 00:00 to 24:00")
        if start == end:
            raise ValueError("must end at another time than it starts: the whole day is 00:00-24:00")
        if (end - start) % _DAY_MINUTES == 1:
            raise ValueError("must be longer than a minute: between two looks at the clock it would pass unseen")
        return cls(frozenset(DAYS.index(day) for day in days), start, end)

    def open_at(self, now: int) -> bool:
        """Whether the window is open at this time (epoch milliseconds)."""
        moment = datetime.fromtimestamp(now / 1000, UTC)
        minute, today = moment.hour * 60 + moment.minute, moment.weekday()
        if self.start < self.end:
            return today in self.days and self.start <= minute < self.end
        # Over midnight: the small hours belong to the day before.
        return (today in self.days and minute >= self.start) or ((today - 1) % 7 in self.days and minute < self.end)


@dataclass(frozen=True)
class Timing:
    """The times that the rules go by, in milliseconds. ``window`` None: ended leases are torn down at once.

    ``settle``: how late an unanswered write may land, and how old a look may be.
    """

    skew: int = 300_000
    warn: int = 86_400_000
    stuck: int = 900_000
    settle: int = 60_000
    window: Window | None = None


class Due(StrEnum):
    """What the passing of time does to a lease; each happens once."""

    WARN = "warn"  # its end is near
    OVERDUE = "overdue"  # its end has come, and what stands is kept
    END = "end"  # its end has come, and it is taken down
    LAPSE = "lapse"  # its end has come before its effect was seen


def passing(leases: Iterable[Lease], now: int, timing: Timing) -> Mapping[str, Due]:
    """What is due now for leases of one grant, by approval id.

    A lease that never became effective lapses. A teardown lease past its end goes, inside the window. Past all ends the live
    lease that ends last decides for all of them; where two end together, teardown does.
    """
    alive = [lease for lease in leases if live(lease)]
    past = [lease for lease in alive if lease.ends_at is not None and lease.ends_at <= now]
    found: dict[str, Due] = {lease.approval_id: Due.LAPSE for lease in past if not lease.done}
    everything_is_past = len(past) == len(alive)
    past = [lease for lease in past if lease.done]
    last = max(past, key=lambda lease: (lease.ends_at or 0, lease.on_end is OnEnd.TEARDOWN), default=None)
    all_go = everything_is_past and last is not None and last.on_end is OnEnd.TEARDOWN
    for lease in past:
        goes = all_go or lease.on_end is OnEnd.TEARDOWN
        if goes and (timing.window is None or timing.window.open_at(now)):
            found[lease.approval_id] = Due.END
        elif not lease.overdue:
            found[lease.approval_id] = Due.OVERDUE
    for lease in alive:
        near = lease.ends_at is not None and lease.ends_at - timing.warn <= now < lease.ends_at
        if near and not lease.warned:
            found[lease.approval_id] = Due.WARN
    return found


def next_due(lease: Lease, timing: Timing) -> int | None:
    """When time does something to this lease next, if ever. One that waits for the window is due until it has ended."""
    if not live(lease) or lease.ends_at is None or (lease.overdue and lease.on_end is OnEnd.REPORT):
        return None
    return lease.ends_at if lease.warned or lease.overdue else lease.ends_at - timing.warn
