"""What should be, computed from nothing but the approvals that were sent, when they first came in, and what others did.

It shares no code with what it judges: it knows leases from the design alone, and works on the documents as they were sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_network
from typing import Any

Document = dict[str, Any]


@dataclass(frozen=True)
class Said:
    """An approval, and what the record says of it: when it was first admitted, and what became of it.

    ``done``: its effect was seen once. ``ended``: its end was carried out. ``refused``: while its account was not listed.
    ``void``: it was refused when its date came. ``unproven``: the key that sealed it is not believed now.
    """

    document: Document
    at: int
    number: int
    done: bool = False
    ended: bool = False
    refused: bool = False
    void: bool = False
    unproven: bool = False


@dataclass(frozen=True)
class Version:
    """A configuration as far as approvals go by it. ``listed``: account B is. ``keys``: the state of each key of the issuers that
    are listed. ``shut``: its policy lets no lease in. ``believed``: the keys of the deployment signed it.

    ``owners``: who owns a side's account. ``delegations``: of whom, to whom, from and until when. ``strict``: both sides'
    people must agree.
    """

    number: int
    listed: bool = True
    keys: Mapping[str, str] = field(default_factory=dict)
    shut: bool = False
    believed: bool = True
    owners: Mapping[str, frozenset[str]] = field(default_factory=dict)
    delegations: tuple[tuple[str, str, int, int], ...] = ()
    strict: bool = False


FIRST = Version(0)


@dataclass(frozen=True)
class Seal:
    """Who sealed an approval, and when."""

    kid: str
    at: int


SEALS_LAST = 7 * 86_400_000


def vouched(kid: str, version: Version) -> bool:
    """Whether a configuration believes what a key sealed before."""
    return version.keys.get(kid) in ("active", "retired")


def let_in(document: Document, seal: Seal, version: Version, now: int) -> bool:
    """Whether a configuration lets an approval in, as news. Of a revoke, age, date and a retired key refuse nothing."""
    if document["action"] == "revoke":
        return vouched(seal.kid, version)
    return version.keys.get(seal.kid) == "active" and seal.at >= now - SEALS_LAST and takes_effect(seal.kid, version)


def takes_effect(kid: str, version: Version) -> bool:
    """Whether a configuration lets an early lease take effect, that was let in before."""
    return vouched(kid, version) and version.listed and not version.shut


@dataclass(frozen=True)
class Should:
    """What should be on the cloud for one grant. Prefixes: those that must be allowed, and those that may stay."""

    level: str  # up, keep, down
    must: frozenset[str] = frozenset()
    may: frozenset[str] = frozenset()
    leases: tuple[Document, ...] = ()
    doubtful: bool = False  # one of them before its end makes nothing, since nobody believes its key


def millis(text: str) -> int:
    """An ISO time as epoch milliseconds."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def same(document: Document) -> str:
    """Two documents with this in common are one approval."""
    content = {"on_end": "report", **document}
    if document["action"] == "grant":
        content["replaces"] = sorted(set(document.get("replaces", [])))
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


def replaces(other: Said, grant: Said, now: int, skew: int) -> bool:
    """Whether a lease closes another one that it replaces, on its own grant and of its own issuer: as soon as it is no longer
    early, whether or not it counts itself, and whichever of them came first.
    """
    if other.document["action"] != "grant" or instance(other.document) != instance(grant.document):
        return False
    named = grant.document["request_id"] in other.document.get("replaces", ())
    waits = early_until(other, skew)
    mine = other.document["issuer"] == grant.document["issuer"]
    return named and mine and not other.void and (waits is None or waits <= now)


def closed(grant: Said, said: Iterable[Said], now: int, skew: int) -> bool:
    """Whether anything that was said closes a lease: a revoke, or a lease in its place."""
    return any(
        closes(one, grant, skew) if one.document["action"] == "revoke" else replaces(one, grant, now, skew)
        for one in said
    )


def should(said: Iterable[Said], now: int, skew: int) -> Should:
    """What these approvals of one grant want, once everything that is due has been carried out."""
    said = list(said)
    counting = [one for one in said if one.document["action"] == "grant" and _counts(one, said, now, skew)]
    before = [one for one in counting if _ahead(one, now) and not one.unproven]
    doubtful = [one for one in counting if _ahead(one, now) and one.unproven]
    past = [one for one in counting if not _ahead(one, now)]
    kept = doubtful + [one for one in past if one.document.get("on_end") != "teardown"]
    leases = tuple(one.document for one in [*before, *kept])
    if before:
        return Should("up", _prefixes(before), _prefixes(kept), leases, bool(doubtful))
    if doubtful:
        return Should("keep", may=_prefixes(kept), leases=leases, doubtful=True)
    last = max(past, key=lambda one: (ends(one.document) or 0, one.document.get("on_end") == "teardown"), default=None)
    if last is None or last.document.get("on_end") == "teardown":
        return Should("down")
    return Should("keep", may=_prefixes(kept), leases=leases)


def _counts(grant: Said, said: list[Said], now: int, skew: int) -> bool:
    waits, end = early_until(grant, skew), ends(grant.document)
    gone = grant.ended or grant.refused or grant.void
    if gone or (waits is not None and waits > now) or closed(grant, said, now, skew):
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
