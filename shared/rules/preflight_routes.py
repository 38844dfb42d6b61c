"""The checks of routes, of virtual border routers, across accounts, of quotas and time.

What the reference leaves open stands in the constants here, or is *unknown*.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, collapse_addresses

from shared.messages.consent import RequestKind
from shared.messages.forms import InstanceType
from shared.rules.checked import Answer, failed, passed, unknown
from shared.rules.looked import Asked, EcrUse, NeighbourSeen, Unread, World

WRITES_A_MINUTE = 120  # of one account, region and API (openapi-ecr-vpc-sts.md section 7)
SETTLES_SECONDS = 300
"""Within so long an association is ACTIVE. Not documented: as long as the vendor's Terraform provider waits."""
LEARNING = frozenset({"TR", "CEN"})
"""Sources that a VPC may not learn routes from beside an ECR (section 7 names transit routers, and one dynamic source)."""
NOT_LEARNING = frozenset({"ECR"})
PAPER_FOR = frozenset({InstanceType.VBR})
"""Kinds whose use across accounts is off until the vendor turns it on (section 7, the newer of two pages)."""
_PAPER = (
    "The owners of both accounts give the certificate that they are one legal entity to the account manager of account {owner}, "
    "who has cross-account use of a {kind} turned on."
)


def hangs_on(asked: Asked, seen: World) -> bool:
    """Whether either account shows the instance on this ECR."""
    key, instance = asked.key, seen.in_place(asked.key)
    b_says = not isinstance(instance, Unread) and any(one.ecr_id == key.ecr_id for one in instance.routers)
    a_says = not isinstance(seen.use, Unread) and any(one.name == key.instance_id for one in seen.use.neighbours)
    return b_says or a_says


# -- routes ------------------------------------------------------------------------------------------------------------


def check_route_source(asked: Asked, seen: World) -> Answer:
    """Whether the VPC learns routes from a transit router or the like."""
    key, instance = asked.key, seen.in_place(asked.key)
    if isinstance(instance, Unread):
        return unknown(f"What {key.instance_id} gets routes from was not seen: {instance.reason}.")
    others = [one for one in instance.sources if one.kind not in NOT_LEARNING and one.learns is not False]
    learning = [one for one in others if one.kind in LEARNING and one.learns]
    if learning:
        names = ", ".join(f"{one.kind} {one.name}" for one in learning)
        return failed(
            f"{key.instance_id} learns routes from {names}; a VPC that does cannot be associated with an ECR.",
            f"Account {key.instance_owner_uid} turns route synchronisation off there, once the VPC's traffic has another way.",
        )
    if others:
        names = ", ".join(f"{one.kind} {one.name}" for one in others)
        return unknown(
            f"{key.instance_id} has {names} beside an ECR; whether that stands in the way is not documented."
        )
    return passed(f"{key.instance_id} learns routes from nothing but an ECR.")


def _network(text: str) -> IPv4Network | None:
    """A range as it is compared; None for what is none of IPv4."""
    try:
        return IPv4Network(text, strict=False)
    except ValueError:
        return None


def _networks(texts: Iterable[str]) -> list[IPv4Network]:
    return [found for text in texts if (found := _network(text)) is not None]


def check_overlap(asked: Asked, seen: World) -> Answer:
    """The VPC's address ranges against those of everything on the ECR."""
    key, instance, use = asked.key, seen.in_place(asked.key), seen.use
    if isinstance(instance, Unread):
        return unknown(f"The address ranges of {key.instance_id} were not seen: {instance.reason}.")
    if isinstance(use, Unread):
        return unknown(f"What is on {key.ecr_id} was not seen: {use.reason}.")
    mine = _networks(instance.cidrs)
    if not mine:
        return unknown(f"The platform shows no address range of {key.instance_id}.")
    others = [one for one in use.neighbours if one.name != key.instance_id and one.kind != InstanceType.VBR]
    hits = [hit for one in others if (hit := _hit(mine, one))]
    if hits:
        return failed(
            f"{key.instance_id} overlaps with what is on {key.ecr_id}: {'; '.join(hits)}.",
            "Move one of the two to other addresses, or use another ECR: traffic for shared addresses goes to one of them only.",
        )
    unread = [one.name for one in others if one.cidrs is None and not one.prefixes]
    if unread or not use.whole:
        more = (
            ", ".join(unread[:5]) + (" and others" if len(unread) > 5 else "")
            if unread
            else "what was not read any more"
        )
        return unknown(f"Nothing that was read on {key.ecr_id} overlaps; the address ranges of {more} were not seen.")
    return passed(f"{', '.join(map(str, mine))} overlaps with none of the {len(others)} networks on {key.ecr_id}.")


def _hit(mine: Iterable[IPv4Network], other: NeighbourSeen) -> str:
    """Where the ranges of something on the ECR overlap with these, as text."""
    theirs = _networks((*(other.cidrs or ()), *other.prefixes))
    pairs = [f"{left} with {right}" for right in dict.fromkeys(theirs) for left in mine if left.overlaps(right)]
    return f"{', '.join(pairs)} of {other.kind} {other.name}, account {other.owner}" if pairs else ""


def check_prefixes(asked: Asked, seen: World) -> Answer:
    """The asked prefixes against the VPC's address ranges."""
    key, instance = asked.key, seen.in_place(asked.key)
    if not asked.prefixes:
        return passed("No prefixes are asked for: all that the VPC has is meant.")
    if isinstance(instance, Unread):
        return unknown(f"The address ranges of {key.instance_id} were not seen: {instance.reason}.")
    ranges = list(collapse_addresses(_networks(instance.cidrs)))
    if not ranges:
        return unknown(f"The platform shows no address range of {key.instance_id}.")
    outside = [
        prefix
        for prefix in asked.prefixes
        if (found := _network(prefix)) is None or not any(found.subnet_of(one) for one in ranges)
    ]
    has = ", ".join(instance.cidrs)
    if outside:
        return failed(
            f"{', '.join(outside)} is outside of {key.instance_id}, which has {has}.",
            "Ask for prefixes inside the VPC's address ranges.",
        )
    return passed(f"All asked prefixes are inside of {has}.")


# -- virtual border routers, accounts ----------------------------------------------------------------------------------


def check_vbr_asn(asked: Asked, seen: World) -> Answer:
    """The ASN of its BGP groups must be the ECR's (section 7)."""
    key, instance, ecr = asked.key, seen.in_place(asked.key), seen.ecr
    if isinstance(instance, Unread):
        return unknown(f"The BGP groups of {key.instance_id} were not seen: {instance.reason}.")
    if isinstance(instance.asns, Unread):
        return unknown(f"The BGP groups of {key.instance_id} were not seen: {instance.asns.reason}.")
    if isinstance(ecr, Unread):
        return unknown(f"The ASN of {key.ecr_id} was not seen: {ecr.reason}.")
    if ecr.asn is None:
        return unknown(f"The ASN of {key.ecr_id} is not shown.")
    wrong = sorted(set(instance.asns) - {ecr.asn})
    if wrong:
        return failed(
            f"The BGP groups of {key.instance_id} have the ASN {', '.join(map(str, wrong))}, {key.ecr_id} has {ecr.asn}.",
            f"Account {key.instance_owner_uid} sets the cloud's ASN of the BGP group to {ecr.asn}, or another ECR is used.",
        )
    if not instance.asns:
        return passed(
            f"{key.instance_id} has no BGP group yet, {key.ecr_id} has the ASN {ecr.asn}.",
            f"Whoever makes a BGP group gives it the ASN {ecr.asn} on the cloud's side.",
        )
    return passed(f"The BGP groups of {key.instance_id} and {key.ecr_id} have the ASN {ecr.asn}.")


def check_vbr_mp_bgp(asked: Asked, seen: World) -> Answer:
    """No documented read shows it; a VBR that is on an ECR has shown it."""
    key, instance = asked.key, seen.in_place(asked.key)
    if isinstance(instance, Unread):
        return unknown(f"Whether {key.instance_id} supports MP-BGP was not seen: {instance.reason}.")
    if instance.routers:
        return passed(f"{key.instance_id} is on {instance.routers[0].ecr_id}, so it supports MP-BGP.")
    return unknown(
        f"Whether {key.instance_id} supports MP-BGP is shown by no documented call.",
        f"Account {key.instance_owner_uid} looks in the console; a VBR without it is refused, and its account manager can help.",
    )


def check_cross_account(asked: Asked, seen: World) -> Answer:
    """Whether accounts of one enterprise are at both ends, and whether the vendor lets this kind cross accounts (section 7)."""
    key, use = asked.key, seen.use
    paper = _PAPER.format(owner=key.instance_owner_uid, kind=key.instance_type)
    if key.instance_owner_uid == key.ecr_owner_uid:
        return passed("One account owns both.")
    if isinstance(use, Unread):
        return unknown(f"What is on {key.ecr_id} was not seen: {use.reason}.", paper)
    mine, theirs = _enterprises(asked, use)
    if mine and theirs and not mine & theirs:
        return failed(
            f"Account {key.instance_owner_uid} is of the enterprise {', '.join(sorted(mine))}; what works on {key.ecr_id} is of "
            f"{', '.join(sorted(theirs))}.",
            "Accounts of different enterprises may not associate. " + paper,
        )
    proven = [
        one.name
        for one in use.neighbours
        if (one.owner, one.kind, one.status) == (key.instance_owner_uid, key.instance_type, "ACTIVE")
    ]
    if proven:
        return passed(f"{proven[0]} of the same account is ACTIVE on {key.ecr_id}.")
    if key.instance_type in PAPER_FOR:
        return unknown(
            f"Use of a {key.instance_type} across accounts is off by default, and no {key.instance_type} of account "
            f"{key.instance_owner_uid} is on {key.ecr_id} yet.",
            paper,
        )
    if mine & theirs:
        return passed(f"Both accounts are of the enterprise {', '.join(sorted(mine & theirs))}.")
    return unknown(
        "Whether both accounts are of one enterprise is not shown before something of each is granted or works.",
        "If they are not, the association is refused: ask the account manager first.",
    )


def _enterprises(asked: Asked, use: EcrUse) -> tuple[set[str], set[str]]:
    """(account B's enterprise, that of the ECR's side) as far as grants show: what works there is of the owner's enterprise."""
    key = asked.key
    works = {one.owner for one in use.neighbours if one.status == "ACTIVE"} | {key.ecr_owner_uid}
    shown = [one for one in use.granted if one.enterprise]
    mine = {one.enterprise for one in shown if one.owner == key.instance_owner_uid}
    return mine, {one.enterprise for one in shown if one.owner in works}


# -- quotas and time ---------------------------------------------------------------------------------------------------


def check_quota(asked: Asked, seen: World) -> Answer:
    """Whether the ECR takes one more, as far as its limits are known."""
    key, use, limits = asked.key, seen.use, seen.own.limits
    if limits.prefixes is not None and len(asked.prefixes) > limits.prefixes:
        return failed(
            f"{len(asked.prefixes)} prefixes are asked for, an association takes {limits.prefixes}.",
            "Ask for fewer, wider prefixes.",
        )
    if isinstance(use, Unread):
        return unknown(f"What is on {key.ecr_id} was not seen: {use.reason}.")
    if hangs_on(asked, seen):
        return passed(f"{key.instance_id} is on {key.ecr_id} already: it takes nothing more.")
    there = sum(1 for one in use.neighbours if one.kind == key.instance_type)
    limit = limits.vpcs_per_ecr if key.instance_type is InstanceType.VPC else None
    if limit is None:
        return unknown(
            f"{there} {key.instance_type}s are on {key.ecr_id}; how many it takes, the platform does not publish.",
            f"Account {key.ecr_owner_uid} looks at its quotas in the console.",
        )
    if there >= limit:
        return failed(
            f"{there} VPCs are on {key.ecr_id}, which takes {limit}.",
            f"Account {key.ecr_owner_uid} has the quota raised, or frees a place.",
        )
    if not use.whole:
        return unknown(f"{there} VPCs or more are on {key.ecr_id}, which takes {limit}.")
    return passed(f"{there} VPCs are on {key.ecr_id}, which takes {limit}.")


def check_time(asked: Asked, seen: World) -> Answer:
    """How long it takes, against the end that is asked for."""
    own = seen.own
    seconds = (own.ahead or 0) * 60 // WRITES_A_MINUTE + SETTLES_SECONDS
    left = None if asked.ends_at is None else (asked.ends_at - own.now) // 1000
    if left is not None and left < seconds and asked.kind is not RequestKind.REVOKE:
        return failed(
            f"It takes up to {seconds} s once decided, and its end is in {max(left, 0)} s.", "Ask for a later end."
        )
    if own.ahead is None:
        return unknown(f"It takes up to {seconds} s once decided, and how much waits before it was not counted.", "")
    return passed(
        f"It takes up to {seconds} s once decided: {own.ahead} writes wait before it, at {WRITES_A_MINUTE} a minute."
    )
