"""The table of address ranges of a router: which prefixes are let through for whom, what a request would change, what overlaps.

Plain functions of plain values; sizes are numbers of addresses. What is no IPv4 network has no size and overlaps with nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Network, collapse_addresses

from shared.messages.consent import RequestKind, Wish
from shared.rules.leases import in_order


@dataclass(frozen=True)
class LeaseRange:
    """What one open lease lets through. ``ends_at``: epoch milliseconds; None: it has no end."""

    grant_id: str
    instance_id: str
    account: str
    issuer: str
    request_id: str
    prefixes: tuple[str, ...]
    ends_at: int | None = None


class Change(StrEnum):
    """What a request does to a prefix of the table."""

    STAYS = "stays"
    ADDED = "added"
    GONE = "gone"


@dataclass(frozen=True)
class Entry:
    """A prefix that is let through for a grant. ``requests``: those that it comes from; ``ends_at``: of the lease that ends last,
    None with ``endless``. ``overlaps``: entries of other grants, as (prefix, instance), at most ``MOST_OVERLAPS``.
    """

    prefix: str
    grant_id: str
    instance_id: str
    account: str
    requests: tuple[str, ...]
    ends_at: int | None
    endless: bool
    size: int | None
    overlaps: tuple[tuple[str, str], ...] = ()
    change: Change = Change.STAYS


def size_of(prefix: str) -> int | None:
    """How many addresses a prefix has; None for what is no IPv4 network."""
    network = _network(prefix)
    return None if network is None else network.num_addresses


def total(prefixes: Iterable[str]) -> int:
    """How many addresses these have together, each counted once."""
    networks = [network for network in map(_network, prefixes) if network is not None]
    return sum(network.num_addresses for network in collapse_addresses(networks))


def outside(prefixes: Iterable[str], allowed: Sequence[str]) -> tuple[str, ...]:
    """Those that are not wholly inside what a list allows, by network. What is no IPv4 network is outside."""
    whole = [network for network in map(_network, allowed) if network is not None]
    inside = list(collapse_addresses(whole))

    def fits(prefix: str) -> bool:
        network = _network(prefix)
        return network is not None and any(network.subnet_of(one) for one in inside)

    return tuple(prefix for prefix in in_order(prefixes) if not fits(prefix))


def table(leases: Iterable[LeaseRange]) -> tuple[Entry, ...]:
    """The table that open leases make: one entry for each prefix of each grant, by network."""
    found: dict[tuple[str, str], Entry] = {}
    for lease in leases:
        for prefix in lease.prefixes:
            entry = found.get((lease.grant_id, prefix))
            found[lease.grant_id, prefix] = _entry(lease, prefix) if entry is None else _joined(entry, lease)
    return _with_overlaps(found.values())


def changed(leases: Sequence[LeaseRange], wish: Wish, request_id: str, ends_at: int | None) -> tuple[Entry, ...]:
    """The table as it will be when a request counts, with what is added and what goes marked. ``ends_at``: of the wish."""
    grant = wish.grant
    stood = table(leases)
    before = {(one.grant_id, one.prefix) for one in stood}
    kept = [one for one in leases if not _closed_by(one, wish)]
    if wish.opens:
        new = LeaseRange(
            grant.grant_id,
            grant.instance_id,
            grant.instance_owner_uid,
            "desk",
            request_id,
            tuple(wish.allowed_prefixes),
            ends_at,
        )
        kept = [*(one for one in kept if (one.issuer, one.request_id) != ("desk", request_id)), new]
    after = table(kept)
    there = {(one.grant_id, one.prefix) for one in after}
    marked = [one if (one.grant_id, one.prefix) in before else replace(one, change=Change.ADDED) for one in after]
    gone = [replace(one, change=Change.GONE) for one in stood if (one.grant_id, one.prefix) not in there]
    return tuple(sorted([*marked, *gone], key=_place))


def _closed_by(lease: LeaseRange, wish: Wish) -> bool:
    """Whether a wish ends this lease."""
    if lease.grant_id != wish.grant.grant_id:
        return False
    mine = lease.issuer == "desk"
    if wish.kind is RequestKind.CHANGE:
        return mine and lease.request_id in wish.replaces
    if wish.closes is None:
        return False
    if isinstance(wish.closes, list):
        return mine and lease.request_id in wish.closes
    return mine or wish.closes == "everyone"


def _entry(lease: LeaseRange, prefix: str) -> Entry:
    return Entry(
        prefix,
        lease.grant_id,
        lease.instance_id,
        lease.account,
        (lease.request_id,),
        lease.ends_at,
        lease.ends_at is None,
        size_of(prefix),
    )


def _joined(entry: Entry, lease: LeaseRange) -> Entry:
    endless = entry.endless or lease.ends_at is None
    ends = [at for at in (entry.ends_at, lease.ends_at) if at is not None]
    requests = tuple(dict.fromkeys((*entry.requests, lease.request_id)))
    return replace(entry, requests=requests, endless=endless, ends_at=None if endless else max(ends))


MOST_OVERLAPS = 20
"""So many of an entry's overlaps are told: who has one looks at it anyway."""


def _with_overlaps(entries: Collection[Entry]) -> tuple[Entry, ...]:
    """Entries by network; each knows those of other grants that share addresses with it, as far as ``MOST_OVERLAPS``.

    In one pass: networks are apart or nested, so those around the next one are a stack.
    """
    ordered = sorted(entries, key=_place)
    networks = [_network(one.prefix) for one in ordered]
    hits: list[list[int]] = [[] for _ in ordered]
    around: list[int] = []
    for number, network in enumerate(networks):
        if network is None:
            continue
        while around and _last(networks[around[-1]]) < int(network.network_address):
            around.pop()
        for other in reversed(around):
            if len(hits[number]) >= MOST_OVERLAPS:
                break
            if ordered[other].grant_id != ordered[number].grant_id:
                hits[number].append(other)
                if len(hits[other]) < MOST_OVERLAPS:
                    hits[other].append(number)
        around.append(number)
    return tuple(
        replace(one, overlaps=tuple((ordered[other].prefix, ordered[other].instance_id) for other in hits[number]))
        for number, one in enumerate(ordered)
    )


def _last(network: IPv4Network | None) -> int:
    return -1 if network is None else int(network.broadcast_address)


def _network(prefix: str) -> IPv4Network | None:
    try:
        return IPv4Network(prefix)
    except ValueError:
        return None


def _place(entry: Entry) -> tuple[bool, int, int, str, str]:
    network = _network(entry.prefix)
    start, length = (0, 0) if network is None else (int(network.network_address), network.prefixlen)
    return network is None, start, length, entry.instance_id, entry.prefix


# -- looking for a range ---------------------------------------------------------------------------------------------

_ADDRESSES = re.compile(r"(?:[0-9]{1,3}\.){1,3}(?:[0-9]{1,3}(?:/[0-9]{1,2})?)?")


class Relation(StrEnum):
    """How a prefix lies to a range that somebody looks for."""

    SAME = "same"
    AROUND = "around"  # it has all of it, and more
    INSIDE = "inside"


def range_sought(text: str) -> IPv4Network | None:
    """The range that a text names: an address, a network (bits behind its length do not matter), or whole octets with a dot
    behind them, as ``10.20.``. None for anything else.
    """
    if _ADDRESSES.fullmatch(text) is None:
        return None
    octets = text.removesuffix(".").split(".")
    if text.endswith("."):
        text = f"{'.'.join([*octets, '0', '0', '0'][:4])}/{8 * len(octets)}"
    elif len(octets) < 4:
        return None
    try:
        return IPv4Network(text, strict=False)
    except ValueError:
        return None


def relation(prefix: str, sought: IPv4Network) -> Relation | None:
    """How a prefix lies to a range; None where they share nothing, or it is no IPv4 network."""
    network = _network(prefix)
    if network is None or not network.overlaps(sought):
        return None
    if network == sought:
        return Relation.SAME
    return Relation.INSIDE if network.subnet_of(sought) else Relation.AROUND
