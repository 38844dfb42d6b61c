"""What should be, computed from nothing but the approvals that were sent, when they first came in, and what others did.

It shares no code with what it judges: it knows leases from the design alone, and works on the documents as they were sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_network
from typing import Any

Document = dict[str, Any]


@dataclass(frozen=True)
class Said:
    """An approval, and what the record says of it: when it was first admitted, and what became of it.

    ``done``: its effect was seen once. ``ended``: its end was carried out. ``refused``: while its account was not listed.
    """

    document: Document
    at: int
    number: int
    done: bool = False
    ended: bool = False
    refused: bool = False


@dataclass(frozen=True)
class Should:
    """What should be on the cloud for one grant. Prefixes: those that must be allowed, and those that may stay."""

    level: str  # up, keep, down
    must: frozenset[str] = frozenset()
    may: frozenset[str] = frozenset()
    leases: tuple[Document, ...] = ()


def millis(text: str) -> int:
    """An ISO time as epoch milliseconds."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def same(document: Document) -> str:
    """Two documents with this in common are one approval."""
    content = {"on_end": "report", **document}
    if document["action"] == "grant":
        content["ends_at"] = None if document.get("ends_at") is None else millis(document["ends_at"])
        content["allowed_prefixes"] = sorted(set(document.get("allowed_prefixes", [])))
    content["approved_at"] = millis(document["approved_at"])
    return json.dumps(content, sort_keys=True)


def instance(document: Document) -> str:
    """Which grant it is about; here every instance belongs to one grant."""
    return str(document["instance"]["id"])


def ends(document: Document) -> int | None:
    """When a lease ends, if ever."""
    return millis(document["ends_at"]) if document.get("ends_at") else None


def early_until(grant: Said, skew: int) -> int | None:
    """Until when a lease that is dated ahead is not believed; None for one that was believed at once."""
    approved_at = millis(grant.document["approved_at"])
    return approved_at - skew if approved_at > grant.at + skew else None


def mark(revoke: Said, skew: int) -> int:
    """What a revoke of all reaches: it is believed at once, however it is dated."""
    return min(millis(revoke.document["approved_at"]), revoke.at + skew)


def closes(revoke: Said, grant: Said, skew: int) -> bool:
    """Whether a revoke closes a lease, whichever of them came first: on its own grant, and of its own issuer."""
    named, mine = revoke.document["closes"], revoke.document["issuer"] == grant.document["issuer"]
    if instance(revoke.document) != instance(grant.document) or (not mine and named != "everyone"):
        return False
    if named in ("all", "everyone"):
        until = mark(revoke, skew) + (skew if named == "everyone" else 0)
        waits = early_until(grant, skew)
        known_and_early = grant.number < revoke.number and waits is not None and waits > revoke.at
        return known_and_early or millis(grant.document["approved_at"]) <= until
    return grant.document["request_id"] in named


def should(said: Iterable[Said], now: int, skew: int) -> Should:
    """What these approvals of one grant want, once everything that is due has been carried out."""
    said = list(said)
    revokes = [one for one in said if one.document["action"] == "revoke"]
    counting = [one for one in said if one.document["action"] == "grant" and _counts(one, revokes, now, skew)]
    before = [one for one in counting if _ahead(one, now)]
    past = [one for one in counting if not _ahead(one, now)]
    kept = [one for one in past if one.document.get("on_end") != "teardown"]
    leases = tuple(one.document for one in [*before, *kept])
    if before:
        return Should("up", _prefixes(before), _prefixes(kept), leases)
    last = max(past, key=lambda one: (ends(one.document) or 0, one.document.get("on_end") == "teardown"), default=None)
    if last is None or last.document.get("on_end") == "teardown":
        return Should("down")
    return Should("keep", may=_prefixes(kept), leases=leases)


def _counts(grant: Said, revokes: list[Said], now: int, skew: int) -> bool:
    waits, end = early_until(grant, skew), ends(grant.document)
    if (
        grant.ended
        or grant.refused
        or (waits is not None and waits > now)
        or any(closes(one, grant, skew) for one in revokes)
    ):
        return False
    return end is None or end > now or grant.done  # what never became effective lapses at its end


def _ahead(grant: Said, now: int) -> bool:
    end = ends(grant.document)
    return end is None or end > now


def _prefixes(leases: Iterable[Said]) -> frozenset[str]:
    return frozenset(prefix for lease in leases for prefix in lease.document.get("allowed_prefixes", []))


def in_order(prefixes: Iterable[str]) -> tuple[str, ...]:
    """Prefixes as clouds show them."""
    return tuple(str(network) for network in sorted(ip_network(prefix) for prefix in set(prefixes)))
