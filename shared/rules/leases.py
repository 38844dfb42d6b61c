"""The rules of leases: which approvals keep a grant up, and what is wanted of it. Plain functions of plain values.

An approval is a lease on a grant. Opens, closes, ends and watermarks only grow, so they commute and repeat harmlessly:
no order of messages, and no repetition, changes what is wanted in the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network

from shared.messages.approval import OnEnd

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


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
    closed: bool = False
    rejected: bool = False
    early: bool = False  # dated further ahead than clocks may differ: not believed yet
    warned: bool = False
    overdue: bool = False
    ended: bool = False


@dataclass(frozen=True)
class Wanted:
    """What should exist on the cloud for one grant."""

    up: bool
    prefixes: tuple[str, ...] = ()


def live(lease: Lease, watermark: int | None) -> bool:
    """Whether this lease keeps its grant up.

    Closing is final, wherever the close came from and whichever came first. An end counts once it is recorded, which
    happens only where it was approved to tear down; otherwise the lease stays live and is reported as overdue, since the
    grant carries traffic.
    """
    dead = lease.closed or lease.rejected or lease.early or lease.ended
    return not dead and (watermark is None or lease.approved_at > watermark)


def wanted(leases: Iterable[Lease], watermark: int | None) -> Wanted:
    """What the leases of one grant want together: up while one of them is live, with the prefixes of all of them.

    One lease must not cut off another, so prefixes add up. They are not merged: each is a route that somebody approved.
    """
    alive = [lease for lease in leases if live(lease, watermark)]
    prefixes = {prefix for lease in alive for prefix in lease.allowed_prefixes}
    return Wanted(up=bool(alive), prefixes=in_order(prefixes))


def in_order(prefixes: Iterable[str]) -> tuple[str, ...]:
    """Prefixes as both the leases and the cloud are compared: by network."""
    return tuple(sorted(prefixes, key=IPv4Network))


@dataclass(frozen=True)
class Window:
    """When ended leases may be torn down: some days of the week, from one time of day to another, in UTC."""

    days: frozenset[int]
    start: int  # minutes since midnight
    end: int  # may lie on the next day

    @classmethod
    def parse(cls, text: str) -> Window:
        """``Sat,Sun 22:00-04:00``, or without days for every day. Raises ValueError that shows the form."""
        found = re.fullmatch(r"(?:([A-Za-z,]+) )?(\d\d):(\d\d)-(\d\d):(\d\d)", text)
        days = found.group(1).split(",") if found and found.group(1) else list(DAYS)
        if found is None or not set(days) <= set(DAYS):
            raise ValueError("must look like 'Sat,Sun 22:00-04:00' or '22:00-04:00' (UTC)")
        hours = [int(part) for part in found.groups()[1:]]
        if hours[0] > 23 or hours[2] > 24 or hours[1] > 59 or hours[3] > 59:
            raise ValueError("must have times of day from 00:00 to 24:00")
        return cls(frozenset(DAYS.index(day) for day in days), hours[0] * 60 + hours[1], hours[2] * 60 + hours[3])

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
    """The times that the rules go by, in milliseconds. ``window`` None: ended leases are torn down at once."""

    skew: int = 300_000
    warn: int = 86_400_000
    stuck: int = 900_000
    window: Window | None = None


@dataclass(frozen=True)
class Passing:
    """What the passing of time does to one lease now; each of these happens once."""

    warn: bool = False
    overdue: bool = False
    end: bool = False


def passing(lease: Lease, watermark: int | None, now: int, timing: Timing) -> Passing:
    """What is due for a lease with an end: a warning before it, then being overdue or ended, as was approved for it."""
    if lease.ends_at is None or not live(lease, watermark):
        return Passing()
    if now < lease.ends_at:
        return Passing(warn=not lease.warned and now >= lease.ends_at - timing.warn)
    if lease.on_end is OnEnd.REPORT:
        return Passing(overdue=not lease.overdue)
    return Passing(end=timing.window is None or timing.window.open_at(now))
