"""What accounts, issuers and people say about each other, and where that cannot be true.

A name that nobody has, a key or a person's name that two have: each fault with its place, what was found, and the names that
there are. What is only odd is told and refuses nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from ipaddress import IPv4Network

from shared.messages.approval import DESK
from shared.rules.inventory import Inventory
from shared.rules.issuers import ANY, IssuerRights
from shared.rules.people import People


class Part(StrEnum):
    """A part of the configuration, by its field."""

    INVENTORY = "inventory"
    ISSUERS = "issuers"
    PEOPLE = "people"
    POLICY = "policy"


Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Inconsistency:
    """One of them. ``path`` leads to it from the part, or to the list that ``found`` stands in.

    ``known``: what may stand there, where that is a question of names. ``refused``: it is more than odd.
    """

    part: Part
    path: Path
    text: str
    found: str
    known: frozenset[str] = frozenset()
    refused: bool = True


def inconsistencies(
    inventory: Inventory | None, issuers: Mapping[str, IssuerRights] | None, people: People | None
) -> list[Inconsistency]:
    """All there are. A part that is not there, since it could not be read, is not missed."""
    found: list[Inconsistency] = []
    if inventory is not None:
        found += _of_accounts(inventory, None if people is None else frozenset(people.groups))
    if issuers is not None:
        found += _of_issuers(issuers, inventory)
    if people is not None:
        found += _of_people(people, None if issuers is None else frozenset(issuers))
    return found


def _of_accounts(inventory: Inventory, groups: frozenset[str] | None) -> Iterator[Inconsistency]:
    for uid, account in inventory.accounts.items():
        at = ("accounts", uid)
        for field, group in (
            ("owner", account.owner),
            ("lead", account.lead),
            ("fallback", account.fallback),
        ):
            if groups is not None and group is not None and group not in groups:
                text = f"no group of people.yaml has the name {group}"
                yield Inconsistency(Part.INVENTORY, (*at, field), text, group, groups)
        for prefix, other in _within(account.supernets):
            text = f"{prefix} lies within {other}, which is listed beside it: leave one of them out"
            yield Inconsistency(Part.INVENTORY, (*at, "supernets"), text, prefix)
    yield from _between_accounts(inventory)


def _between_accounts(inventory: Inventory) -> Iterator[Inconsistency]:
    """Two accounts with the same addresses are odd: no router can tell them apart. Behind different routers it may be meant."""
    seen: list[tuple[str, str, IPv4Network]] = []
    for uid, account in inventory.accounts.items():
        for prefix in account.supernets:
            network = IPv4Network(prefix)
            for other, theirs, range_ in seen:
                if other != uid and network.overlaps(range_):
                    text = f"{prefix} overlaps {theirs} of account {other}"
                    path = ("accounts", uid, "supernets")
                    yield Inconsistency(Part.INVENTORY, path, text, prefix, refused=False)
            seen.append((uid, prefix, network))


def _within(prefixes: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each prefix that lies within another of them, or is there twice."""
    seen: list[str] = []
    for prefix in prefixes:
        for other in seen:
            inner, outer = sorted((prefix, other), key=lambda one: -IPv4Network(one).prefixlen)
            if IPv4Network(inner).subnet_of(IPv4Network(outer)):
                yield inner, outer
        seen.append(prefix)


def _of_issuers(issuers: Mapping[str, IssuerRights], inventory: Inventory | None) -> Iterator[Inconsistency]:
    accounts = None if inventory is None else frozenset(inventory.accounts)
    ecrs = None if inventory is None else frozenset(one for each in inventory.accounts.values() for one in each.ecrs)
    kids: dict[str, str] = {}
    keys: dict[str, str] = {}
    for name, rights in issuers.items():
        if name == DESK:
            text = f"{DESK} is built in and may not be listed: no system speaks for people"
            yield Inconsistency(Part.ISSUERS, ("issuers", name), text, name)
        for place, key in enumerate(rights.keys.keys):
            at: Path = ("issuers", name, "keys", "keys", place)
            if key.kid in kids:
                text = f"another key has the name {key.kid}, of {kids[key.kid]}: a name belongs to one key"
                yield Inconsistency(Part.ISSUERS, (*at, "kid"), text, key.kid)
            if key.x in keys:
                text = f"{keys[key.x]} is the same key: a key has one name, and belongs to one issuer"
                yield Inconsistency(Part.ISSUERS, (*at, "x"), text, key.x)
            kids.setdefault(key.kid, name)
            keys.setdefault(key.x, key.kid)
        yield from _unknown(("issuers", name, "accounts"), rights.accounts, accounts, "account")
        yield from _unknown(("issuers", name, "ecrs"), rights.ecrs, ecrs, "router")


def _unknown(at: Path, listed: str | list[str], known: frozenset[str] | None, what: str) -> Iterator[Inconsistency]:
    for one in listed if known is not None and listed != ANY else ():
        if one not in (known or ()):
            text = f"no {what} of accounts.yaml is {one}"
            yield Inconsistency(Part.ISSUERS, at, text, one, known or frozenset())


def _of_people(people: People, issuers: frozenset[str] | None) -> Iterator[Inconsistency]:
    owners: dict[str, str] = {}
    for name, entry in people.persons.items():
        for place, subject in enumerate(entry.subjects):
            at: Path = ("persons", name, "subjects", place)
            owner = owners.setdefault(subject.casefold(), name)
            if owner != name:  # where only small and capital letters differ, somebody will take the one for the other
                text = f"{subject} belongs to {owner}: one name belongs to one person"
                yield Inconsistency(Part.PEOPLE, at, text, subject)
            elif subject in entry.subjects[:place]:
                yield Inconsistency(Part.PEOPLE, at, f"{subject} is there twice", subject)
    persons = frozenset(people.persons)
    for name, members in people.groups.items():
        for member, times in Counter(members).items():
            if times > 1:
                yield Inconsistency(Part.PEOPLE, ("groups", name), f"{member} is there twice", member)
            yield from _person(("groups", name), member, persons)
    for place, one in enumerate(people.delegations):
        yield from _person(("delegations", place, "of"), one.of, persons)
        yield from _person(("delegations", place, "to"), one.to, persons)
    if issuers is not None:
        yield from _nearly_issuers(people, issuers)


def _person(at: Path, name: str, persons: frozenset[str]) -> Iterator[Inconsistency]:
    if name not in persons:
        yield Inconsistency(Part.PEOPLE, at, f"no person has the name {name}", name, persons)


def _nearly_issuers(people: People, issuers: frozenset[str]) -> Iterator[Inconsistency]:
    """A provider may be a sign-in, which nothing lists here. One that is nearly an issuer's name is probably misspelt."""
    for name, entry in people.persons.items():
        for place, subject in enumerate(entry.subjects):
            provider = subject.partition(":")[0]
            if provider not in issuers and get_close_matches(provider, issuers, cutoff=0.8):
                text = f"{provider} is no issuer's name, though nearly one"
                at = ("persons", name, "subjects", place)
                yield Inconsistency(Part.PEOPLE, at, text, provider, issuers, refused=False)
