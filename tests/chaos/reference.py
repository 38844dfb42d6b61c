"""What should be, computed from nothing but the approvals that were sent and what others did.

It shares no code with what it judges: it knows leases from the design alone, and works on the documents as they were sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from ipaddress import ip_network
from typing import Any

Document = dict[str, Any]


def millis(text: str) -> int:
    """An ISO time as epoch milliseconds."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def same(document: Document) -> str:
    """Two documents with this in common are one approval. Version 1 had no issuer: its requests are "direct"."""
    content = {"on_end": "report", **document, "schema": "", "issuer": document.get("issuer", "direct")}
    if document["action"] == "grant":
        content["ends_at"] = None if document.get("ends_at") is None else millis(document["ends_at"])
        content["allowed_prefixes"] = sorted(set(document.get("allowed_prefixes", [])))
    content["approved_at"] = millis(document["approved_at"])
    return json.dumps(content, sort_keys=True)


def name(document: Document) -> tuple[str, str]:
    """Issuer and request id."""
    return document.get("issuer", "direct"), document["request_id"]


def instance(document: Document) -> str:
    """Which grant it is about; here every instance belongs to one grant."""
    return str(document["instance"]["id"])


def closes(revoke: Document, grant: Document, skew: int) -> bool:
    """Whether a revoke closes a lease, whichever of them came first."""
    if revoke["closes"] == "all":
        before = millis(grant["approved_at"]) <= millis(revoke["approved_at"]) + skew
        return instance(revoke) == instance(grant) and before
    return name(revoke)[0] == name(grant)[0] and grant["request_id"] in revoke["closes"]


def live(documents: Iterable[Document], now: int, skew: int) -> Iterator[Document]:
    """The grants among these approvals that still keep something up."""
    distinct = {same(document): document for document in documents}.values()
    revokes = [document for document in distinct if document["action"] == "revoke"]
    for grant in distinct:
        if grant["action"] != "grant" or any(closes(revoke, grant, skew) for revoke in revokes):
            continue
        if grant.get("on_end") == "teardown" and grant.get("ends_at") and millis(grant["ends_at"]) <= now:
            continue
        yield grant


def prefixes(leases: Iterable[Document]) -> tuple[str, ...]:
    """The routes that these leases approve together."""
    every = {prefix for lease in leases for prefix in lease.get("allowed_prefixes", [])}
    return tuple(str(network) for network in sorted(ip_network(prefix) for prefix in every))
