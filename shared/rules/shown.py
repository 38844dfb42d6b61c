"""What the deciders of a request bind: the lasting facts that they were shown, and the request itself.

Nothing volatile is in it: no status, no time of a look, nothing that other requests change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from shared.rules.leases import in_order
from shared.rules.looked import Asked, Unread, World

UNSEEN = None
"""What a fact is while it could not be read. Whoever compares looks again before concluding anything from it."""

_LABELS = {
    "instance_owner": "the instance's owner",
    "instance_region": "the instance's region",
    "cidrs": "the instance's address ranges",
    "ecr_owner": "the router's owner",
    "ecr_asn": "the router's ASN",
    "vbr_asns": "the ASNs of the VBR's BGP groups",
    "prefixes": "the asked prefixes",
    "kind": "what is asked for",
    "ends_at": "the end that is asked for",
    "ecr_id": "the router that is asked for",
    "asked_ecr_owner": "the router's owner as asked for",
    "instance_type": "the kind of instance that is asked for",
    "instance_id": "the instance that is asked for",
    "asked_region": "the region that is asked for",
    "asked_owner": "the instance's owner as asked for",
}
_NONE = "none"


def content(asked: Asked, seen: World) -> str:
    """The facts that are bound, as canonical JSON (sorted keys, no blanks, ASCII): what is kept beside its hash."""
    key, instance, ecr = asked.key, seen.instance, seen.ecr
    place = seen.in_place(key)
    facts: dict[str, Any] = {
        "seen": {
            "instance_owner": UNSEEN if isinstance(instance, Unread) else instance.owner or _NONE,
            "instance_region": UNSEEN if isinstance(instance, Unread) else instance.region or _NONE,
            "cidrs": UNSEEN if isinstance(place, Unread) else list(in_order(place.cidrs)),
            "vbr_asns": UNSEEN
            if isinstance(place, Unread) or isinstance(place.asns, Unread)
            else sorted(set(place.asns)),
            "ecr_owner": UNSEEN if isinstance(ecr, Unread) else ecr.owner or _NONE,
            "ecr_asn": UNSEEN if isinstance(ecr, Unread) or ecr.asn is None else ecr.asn,
        },
        "asked": {
            "kind": asked.kind,
            "ecr_id": key.ecr_id,
            "asked_ecr_owner": key.ecr_owner_uid,
            "instance_type": key.instance_type,
            "instance_id": key.instance_id,
            "asked_region": key.instance_region,
            "asked_owner": key.instance_owner_uid,
            "prefixes": list(in_order(asked.prefixes)),
            "ends_at": asked.ends_at,
        },
        "also": dict(asked.also),
    }
    return json.dumps(facts, sort_keys=True, separators=(",", ":"))


def digest(kept: str) -> str:
    """The hash of a content: SHA-256 in hexadecimal digits."""
    return hashlib.sha256(kept.encode()).hexdigest()


def snapshot(asked: Asked, seen: World) -> str:
    """The hash that a decision carries."""
    return digest(content(asked, seen))


def unseen(kept: str) -> tuple[str, ...]:
    """Which facts of a content could not be read, in words. A comparison with one that has any proves nothing about them."""
    return tuple(_LABELS[name] for name, value in sorted(json.loads(kept)["seen"].items()) if value is UNSEEN)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    """What changed between two contents, a sentence each; empty when nothing did."""
    parts = ("asked", _NONE), ("also", _NONE), ("seen", "not seen")
    return tuple(line for part, absent in parts for line in _changed(before.get(part, {}), now.get(part, {}), absent))


def changed_since(shown: Mapping[str, Any], cidrs: Sequence[str] | None) -> str | None:
    """What of an instance is not as it was shown to those who decided, as a sentence; None where nothing is, as far as both
    were seen.
    """
    before = (shown.get("seen") or {}).get("cidrs")
    if before is UNSEEN or cidrs is None:
        return None
    return next(iter(_changed({"cidrs": before}, {"cidrs": list(in_order(cidrs))}, "not seen")), None)


def _changed(old: Mapping[str, Any], new: Mapping[str, Any], absent: str) -> list[str]:
    names = sorted(old.keys() | new.keys())
    return [
        f"{_LABELS.get(name, name)}, before: {_text(old.get(name), absent)}; now: {_text(new.get(name), absent)}"
        for name in names
        if old.get(name) != new.get(name)
    ]


def _text(value: Any, absent: str) -> str:
    if value is None:
        return absent
    if isinstance(value, list):
        return ", ".join(map(str, value)) or _NONE
    return str(value)
