"""What somebody finds who types a text: ids, names of accounts, address ranges and people; of each kind a few, as far as they may
see it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network
from urllib.parse import quote

from shared.ledger.beginnings import looks_like_an_id
from shared.ledger.consent import RequestsAsked, list_requests
from shared.ledger.looking import LeasesAsked, list_leases
from shared.ledger.searching import instances_beginning, leases_beginning, named_exactly, people_seen
from shared.ledger.seeing import Scope
from shared.ledger.transactions import Ledger
from shared.rules.configuration import Configuration
from shared.rules.ranges import range_sought, relation

MOST = 20
"""Of each kind."""
LOOKED_THROUGH = 2_000
"""Open leases, the newest, that are looked through for a range."""


class FoundKind(StrEnum):
    """What was found."""

    GRANT = "grant"
    INSTANCE = "instance"
    ROUTER = "router"
    REQUEST = "request"
    BATCH = "batch"
    LEASE = "lease"
    RANGE = "range"
    ACCOUNT = "account"
    PERSON = "person"


@dataclass(frozen=True)
class Found:
    """``where``: the path of the page that shows it."""

    kind: FoundKind
    id: str
    title: str
    where: str
    detail: str


@dataclass(frozen=True)
class Findings:
    """``more``: kinds of which there is more. ``passed``: what was not looked through, in words."""

    found: tuple[Found, ...]
    more: tuple[FoundKind, ...]
    passed: tuple[str, ...]


def search(ledger: Ledger, configuration: Configuration, scope: Scope, text: str) -> Findings:
    """What a text names, or what begins with it. At most five statements."""
    rows, passed = list[Found](), list[str]()
    wanted = range_sought(text)
    if wanted is not None:
        found, whole = _ranges(ledger, scope, wanted)
        rows += found
        if not whole:
            passed.append(f"prefixes were looked for among the {LOOKED_THROUGH} open leases that were admitted last")
    elif looks_like_an_id(text):
        rows += _ids(ledger, configuration, scope, text)
    else:
        passed.append(
            "ids were not looked for: they begin with 3 letters or digits, and ranges are written 10.20. or 10.20.0.0/16"
        )
    rows += _accounts(configuration, scope, text)
    rows += _people(ledger, configuration, scope, text)
    return _few(rows, passed)


def _few(rows: Iterable[Found], passed: list[str]) -> Findings:
    """At most so many of each kind, each once."""
    kept: dict[FoundKind, dict[tuple[str, str], Found]] = {kind: {} for kind in FoundKind}
    for one in rows:
        kept[one.kind].setdefault((one.id, one.where), one)
    found = [one for each in kept.values() for one in list(each.values())[:MOST]]
    return Findings(tuple(found), tuple(kind for kind, each in kept.items() if len(each) > MOST), tuple(passed))


def _ids(ledger: Ledger, configuration: Configuration, scope: Scope, text: str) -> Iterator[Found]:
    exact = ledger.glance(named_exactly, scope, text)
    if exact.grant is not None:
        grant_id, instance, router = exact.grant
        yield Found(FoundKind.GRANT, grant_id, f"{instance} on {router}", _path("/grants", grant_id), "")
    if exact.batch is not None:
        yield Found(FoundKind.BATCH, exact.batch, exact.batch, _path("/batches", exact.batch), "")
    if exact.router is not None:
        router, owner = exact.router
        yield Found(FoundKind.ROUTER, router, router, _path("/exposure", router), owner)
    for uid, account in configuration.inventory.accounts.items():
        for router in account.ecrs if scope.sees(uid) else ():
            if router.startswith(text):
                yield Found(FoundKind.ROUTER, router, router, _path("/exposure", router), uid)
    for row in ledger.glance(instances_beginning, scope, text, 3 * MOST):  # an instance may be on several routers
        about = f"{row.instance_type} in {row.instance_region} of {row.instance_owner_uid}"
        yield Found(
            FoundKind.INSTANCE, row.instance_id, row.instance_id, _asking("/grants", instance=row.instance_id), about
        )
    for one in ledger.glance(list_requests, scope, RequestsAsked(text=text), None, MOST + 1):
        title = f"{one.kind} {one.instance_id or one.grant_id}"
        detail = f"{one.stage}, asked by {one.requester}"
        yield Found(FoundKind.REQUEST, one.request_id, title, _path("/requests", one.request_id), detail)
    for row in ledger.glance(leases_beginning, scope, text, MOST + 1):
        where = _asking("/leases", request=row.request_id)
        detail = f"{row.instance_id} on {row.ecr_id}, {'open' if row.open else 'past'}"
        yield Found(FoundKind.LEASE, row.request_id, f"{row.request_id} of {row.issuer}", where, detail)


def _ranges(ledger: Ledger, scope: Scope, wanted: IPv4Network) -> tuple[list[Found], bool]:
    """Prefixes that share addresses with that range; and whether every open lease was looked at."""
    rows = ledger.glance(list_leases, scope, LeasesAsked(open=True), None, LOOKED_THROUGH + 1)
    found: list[Found] = []
    for row in rows[:LOOKED_THROUGH]:
        for prefix in json.loads(row.allowed_prefixes):
            how = relation(prefix, wanted)
            if how is not None:
                title = f"{prefix} of {row.instance_id} on {row.ecr_id}"
                detail = f"{how} {wanted}" if how != "same" else f"{how}"
                found.append(Found(FoundKind.RANGE, prefix, title, _path("/grants", row.grant_id), detail))
    order = {"same": 0, "around": 1, "inside": 2}
    found.sort(key=lambda one: order[one.detail.split(" ")[0]])
    return found, len(rows) <= LOOKED_THROUGH


def _accounts(configuration: Configuration, scope: Scope, text: str) -> Iterator[Found]:
    """Listed accounts that they may see, by a part of the name or how the uid begins."""
    folded = text.casefold()
    for uid, account in configuration.inventory.accounts.items():
        if scope.sees(uid) and (folded in account.name.casefold() or uid.startswith(text)):
            where = _asking("/grants", account=uid)
            yield Found(FoundKind.ACCOUNT, uid, account.name, where, f"{account.environment}, {account.owner}")


def _people(ledger: Ledger, configuration: Configuration, scope: Scope, text: str) -> Iterator[Found]:
    """Persons by a part of the name, of whom something may be seen; one who is not listed any more by the whole name."""
    folded = text.casefold()
    listed = [name for name in configuration.people.persons if folded in name.casefold()]
    named = list(dict.fromkeys([text, *sorted(listed)]))[: MOST + 1]
    for name, (asked, decided) in ledger.glance(people_seen, scope, named).items():
        if asked:
            yield Found(FoundKind.PERSON, name, name, _asking("/requests", person=name), "asked")
        if decided:
            yield Found(FoundKind.PERSON, name, name, _asking("/decisions", person=name), "decided")


def _path(where: str, name: str) -> str:
    return f"{where}/{quote(name, safe='')}"


def _asking(where: str, **names: str) -> str:
    return where + "?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in names.items())
