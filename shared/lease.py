"""The rules of leases: which approvals keep a grant up, and what is wanted of it. Plain functions of plain values.

An approval is a lease on a grant. Opens, closes and watermarks only grow, so they commute and repeat harmlessly: no order
of messages, and no repetition, changes what is wanted in the end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network


@dataclass(frozen=True)
class Lease:
    """One admitted grant approval as the ledger holds it. Times are epoch milliseconds."""

    approval_id: str
    issuer: str
    request_id: str
    approved_at: int
    ends_at: int | None
    on_end: str
    allowed_prefixes: tuple[str, ...]
    closed: bool
    rejected: bool


@dataclass(frozen=True)
class Wanted:
    """What should exist on the cloud for one grant."""

    up: bool
    prefixes: tuple[str, ...] = ()


def live(lease: Lease, watermark: int | None, now: int) -> bool:
    """Whether this lease keeps its grant up now.

    Closing is final, wherever the close came from and whichever came first. An end tears down only where that was
    approved (``on_end``); otherwise the lease stays live and is reported, since the grant carries traffic.
    """
    if lease.closed or lease.rejected:
        return False
    if watermark is not None and lease.approved_at <= watermark:
        return False
    return not ended(lease, now) or lease.on_end == "report"


def ended(lease: Lease, now: int) -> bool:
    """Whether the lease's approved end has come."""
    return lease.ends_at is not None and now >= lease.ends_at


def wanted(leases: Iterable[Lease], watermark: int | None, now: int) -> Wanted:
    """What the leases of one grant want together: up while one of them is live, with the prefixes of all of them.

    One lease must not cut off another, so prefixes add up. They are not merged: each is a route that somebody approved.
    """
    alive = [lease for lease in leases if live(lease, watermark, now)]
    prefixes = {prefix for lease in alive for prefix in lease.allowed_prefixes}
    return Wanted(up=bool(alive), prefixes=in_order(prefixes))


def in_order(prefixes: Iterable[str]) -> tuple[str, ...]:
    """Prefixes as both the leases and the cloud are compared: by network."""
    return tuple(sorted(prefixes, key=IPv4Network))
