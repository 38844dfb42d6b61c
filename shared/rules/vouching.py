"""Counting for policy: what an approval asks for, and who is behind it, as plain facts that rules compare.

Everything that Cedar cannot reckon is reckoned here: lengths, ranges, whether two names are one person. What cannot be known is
counted as what a rule must not let through.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Network, collapse_addresses
from typing import Protocol

from pydantic import JsonValue

from shared.messages.approval import Every, GrantApproval, OnEnd, RevokeApproval
from shared.messages.consent import Decided, Strength, Voice, Wish
from shared.messages.forms import GrantKey
from shared.rules.consent import Standing, owns, speaks
from shared.rules.facts import Side
from shared.rules.inventory import Inventory
from shared.rules.people import People
from shared.rules.questions import Act, Command, Entity, FourEyes, Named, Question, Supernets, TargetKind, Via

ENDLESS = 1_000_000_000
"""Hours of a lease without an end: more than any rule lets through that forgets to ask whether there is one."""
UNSEEN = 1_000
"""Checks of a request that preflight has not looked at: as many as no rule lets through."""
NO_RANGE = 33
"""The length of the widest of no prefixes: narrower than a single address."""
LOGIN = "login"
"""The provider of the names that operators go by: ``login:name`` in `people.yaml`. Such a name is a claim, not a proof."""


class Vouched(Protocol):
    """What counts of whoever vouches: for which sides, and whether it sees to it that nobody approves what they asked for."""

    @property
    def sides(self) -> Sequence[Side]: ...  # as above

    @property
    def keeps_four_eyes(self) -> bool: ...  # as above


def endless(approval: GrantApproval) -> bool:
    """Whether the lease may stand for ever: it has no end, or one that is only reported."""
    return approval.ends_at is None or approval.on_end is OnEnd.REPORT


def vouch(
    approval: GrantApproval | RevokeApproval,
    issuer: str,
    rights: Vouched,
    inventory: Inventory,
    people: People,
    now: int,
    *,
    emergency: bool = False,
) -> Question:
    """Whether this issuer may vouch for that. ``issuer``: as the seal proves it. ``now``: epoch milliseconds.

    ``emergency``: people ask for it as one; no seal can say so. Of the time only the approval's age depends on it: who was whose
    delegate is asked of the moment of the approval. An account that is not listed has an empty group and environment, and no
    supernets.
    """
    approvers = _persons(people, issuer, approval.approved_by)
    standing_for = _standing_for(people, approvers, people.person(issuer, approval.requested_by), approval.approved_at)
    context: dict[str, JsonValue] = {
        "opens": isinstance(approval, GrantApproval),
        "everyone": isinstance(approval, RevokeApproval) and approval.closes == Every.EVERYONE,
        **_length(approval),
        "age": (now - _milliseconds(approval.approved_at)) // 3_600_000,
        "prefixes": _prefixes(approval, inventory),
        "sides": {side.value: side in rights.sides for side in Side},
        "leads": {side.value: _led(side, approval.grant, inventory, people, standing_for) for side in Side},
        "four_eyes": _one_of("FourEyes", four_eyes(approval, issuer, rights, people)),
        "emergency": emergency,
    }
    return Question(
        act=Act.VOUCH,
        principal=Entity(type="Issuer", id=issuer),
        resource=grant_entity(approval.grant, inventory),
        context=context,
    )


@dataclass(frozen=True)
class PeoplesWord:
    """What the desk vouches for: the sides that people said yes for. Who they are is known, and so are four eyes."""

    sides: tuple[Side, ...]
    keeps_four_eyes: bool = False


def see(person: str, uid: str | None, inventory: Inventory, people: People, *, owner: bool) -> Question:
    """Whether this person may see what an account is a side of. ``uid`` None: any account that is not listed. ``owner``: whether
    they are one of its owners, or somebody to whom one delegated.
    """
    attrs: dict[str, JsonValue] = {"listed": uid is not None, **_whose(inventory, uid or "")}
    return Question(
        act=Act.SEE,
        principal=_person(person, people),
        resource=Entity(type="Account", id=uid or "", attrs=attrs),
        context={"owner": owner},
    )


def ask(person: str, wish: Wish, inventory: Inventory, people: People) -> Question:
    """Whether this person may ask for that."""
    return Question(
        act=Act.ASK,
        principal=_person(person, people),
        resource=grant_entity(wish.grant, inventory),
        context={
            "kind": _one_of("RequestKind", wish.kind),
            "owns": {side.value: side in owns(person, wish.grant, inventory, people) for side in Side},
            "emergency": wish.emergency,
        },
    )


def decide(word: Decided, standing: Standing, inventory: Inventory, people: People) -> Question:
    """Whether this person's word counts for that side of a request, as it stood when it was said."""
    asked, looked = standing.asked, standing.looked
    return Question(
        act=Act.DECIDE,
        principal=_person(word.by.person, people),
        resource=grant_entity(asked.wish.grant, inventory),
        context={
            "side": _one_of("Side", word.side),
            "agrees": word.agrees,
            "own": asked.by.person in (word.by.person, word.instead_of),
            "owner": speaks(word, standing, inventory, people),
            "fresh": word.by.strength is Strength.FRESH,
            "emergency": asked.wish.emergency,
            "failed": UNSEEN if looked is None else looked.failed,
            "unknown": UNSEEN if looked is None else looked.unknown,
        },
    )


def operate(who: str, command: Command, kind: TargetKind, name: str, people: People) -> Question:
    """Whether this operator may do that to what has this name. ``who``: as the record will have it."""
    found = people.person(LOGIN, who)
    return _operate(f"{LOGIN}:{who}" if found is None else found, command, kind, name, people, Via.LEDGER, fresh=False)


def operate_at_desk(by: Voice, command: Command, kind: TargetKind, name: str, people: People) -> Question:
    """The same of somebody who signed in, by what they said and how sure that is."""
    return _operate(
        by.person, command, kind, name, people, Via.DESK, fresh=by.relay is None and by.strength is Strength.FRESH
    )


def _operate(
    person: str, command: Command, kind: TargetKind, name: str, people: People, via: Via, *, fresh: bool
) -> Question:
    return Question(
        act=Act.OPERATE,
        principal=_person(person, people),
        resource=Entity(type="Target", id=name, attrs={"kind": _one_of("TargetKind", kind)}),
        context={"command": _one_of("Command", command), "via": _one_of("Via", via), "fresh": fresh},
    )


def grant_entity(grant: GrantKey, inventory: Inventory) -> Entity:
    """A grant as policy knows it: what it is about, and whose the two accounts are."""
    instance, ecr = grant.instance_owner_uid, grant.ecr_owner_uid
    return Entity(
        type="Grant",
        id=grant.grant_id,
        attrs={
            "ecr": {"id": grant.ecr_id, "owner_uid": ecr, **_whose(inventory, ecr)},
            "instance": {
                "type": _one_of("InstanceType", grant.instance_type),
                "id": grant.instance_id,
                "region": grant.instance_region,
                "owner_uid": instance,
                **_whose(inventory, instance),
            },
        },
    )


def four_eyes(approval: GrantApproval | RevokeApproval, issuer: str, rights: Vouched, people: People) -> FourEyes:
    """Whether nobody approved what they asked for, as far as names and `people.yaml` tell.

    The names are the issuer's own. Two that differ only in how letters are written are one person, listed or not.
    """
    requester = people.person(issuer, approval.requested_by)
    approvers = _persons(people, issuer, approval.approved_by)
    if _folded(approval.requested_by) in map(_folded, approval.approved_by):
        return FourEyes.BROKEN
    if requester is not None and requester in approvers:
        return FourEyes.BROKEN
    if requester is not None and None not in approvers:
        return FourEyes.KEPT
    return FourEyes.OWN if rights.keeps_four_eyes else FourEyes.UNPROVED


def _person(name: str, people: People) -> Entity:
    """A person with their groups, as policy knows them; one who is not listed is in none."""
    groups = [group for group in sorted(people.groups) if name in people.members(group)]
    return Entity(
        type="Person",
        id=name,
        attrs={"known": name in people.persons},
        parents=tuple(Named(type="Group", id=group) for group in groups),
    )


def _persons(people: People, issuer: str, names: Iterable[str]) -> list[str | None]:
    return [people.person(issuer, name) for name in names]


def _folded(name: str) -> str:
    """A name without what differs only to the eye: capitals, and other ways to write the same letters."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _standing_for(
    people: People, approvers: Iterable[str | None], requester: str | None, at: datetime
) -> frozenset[str]:
    """The persons whose word an approval has: the approvers, and whoever delegated to them; never for the requester."""
    present = {one for one in approvers if one is not None}
    delegated = {one.of for one in people.delegations if one.to in present and one.holds(at) and one.of != requester}
    return frozenset(present | delegated)


def _led(side: Side, grant: GrantKey, inventory: Inventory, people: People, persons: frozenset[str]) -> bool:
    account = inventory.accounts.get(grant.instance_owner_uid if side is Side.GRANT else grant.ecr_owner_uid)
    return account is not None and not persons.isdisjoint(people.members(account.lead))


def _length(approval: GrantApproval | RevokeApproval) -> dict[str, JsonValue]:
    if isinstance(approval, RevokeApproval):
        return {"endless": False, "hours": 0}
    if endless(approval) or approval.ends_at is None:
        return {"endless": True, "hours": ENDLESS}
    return {"endless": False, "hours": -((approval.approved_at - approval.ends_at) // timedelta(hours=1))}


def _prefixes(approval: GrantApproval | RevokeApproval, inventory: Inventory) -> dict[str, JsonValue]:
    """Ranges are judged as they are routed: two halves of a range are the whole, in what is asked for and in what is listed."""
    asked = [] if isinstance(approval, RevokeApproval) else [IPv4Network(one) for one in approval.allowed_prefixes]
    account = inventory.accounts.get(approval.grant.instance_owner_uid)
    listed = [] if account is None else [IPv4Network(one) for one in account.supernets]
    supernets = list(collapse_addresses(listed))
    return {
        "count": len(asked),
        "outside": sum(not any(one.subnet_of(supernet) for supernet in supernets) for one in asked),
        "widest": min((one.prefixlen for one in collapse_addresses(asked)), default=NO_RANGE),
        "supernets": _one_of("Supernets", Supernets.LISTED if supernets else Supernets.UNKNOWN),
    }


def _whose(inventory: Inventory, uid: str) -> dict[str, JsonValue]:
    account = inventory.accounts.get(uid)
    group, environment = ("", "") if account is None else (account.owner, account.environment)
    return {"owner": {"type": "Group", "id": group}, "environment": environment}


def _one_of(kind: str, value: str) -> dict[str, JsonValue]:
    """A value of one of the schema's lists of values."""
    return {"type": kind, "id": str(value)}


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
