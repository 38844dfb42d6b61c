"""What people are told before they decide: named checks of both accounts, each with what was found and what to do about it.

Plain functions of what was asked and seen.
"""

from __future__ import annotations

from collections.abc import Callable

from shared.messages.consent import RequestKind
from shared.messages.forms import InstanceType
from shared.rules import preflight_routes as routes
from shared.rules.checked import Answer, Checked, PreflightCheck, Report, failed, passed, unknown
from shared.rules.looked import Asked, RoleSeen, Unread, World

_USABLE = {InstanceType.VPC: "Available", InstanceType.VBR: "active"}  # sections 2.1 and 2.3
_PASSING = frozenset({"UPDATING", "ASSOCIATING", "DISSOCIATING"})  # busy with a change of somebody's (section 1.4)


def preflight(asked: Asked, seen: World) -> Report:
    """All checks that apply. Never raises: what was not seen is unknown, with its reason."""
    kind = asked.key.instance_type
    checked = []
    for check, only, look in _CHECKS:
        if only in (None, kind):
            result, found, advice = look(asked, seen)
            checked.append(Checked(check=check, result=result, found=found, advice=advice))
    return Report(checks=tuple(checked))


# -- roles -------------------------------------------------------------------------------------------------------------


def _role(account: str, role: RoleSeen | Unread) -> Answer:
    if isinstance(role, Unread):
        return unknown(f"Whether the role in account {account} lets us in was not seen: {role.reason}.")
    if role.refusal is None and role.missing:
        return failed(
            f"The role in account {account} lets us in, and not look: {'; '.join(role.missing)}.",
            f"Whoever looks after account {account} deploys the role again, with the actions that it lacks.",
        )
    if role.refusal is None:
        return passed(f"The role in account {account} lets us in.")
    return failed(
        f"The role in account {account} does not let us in: {role.refusal}.",
        f"Whoever looks after account {account} deploys the role again: its name, whom it trusts and the external id must be "
        "as the inventory has them.",
    )


def _role_a(asked: Asked, seen: World) -> Answer:
    return _role(asked.key.ecr_owner_uid, seen.role_a)


def _role_b(asked: Asked, seen: World) -> Answer:
    return _role(asked.key.instance_owner_uid, seen.role_b)


# -- the instance ------------------------------------------------------------------------------------------------------


def _instance_exists(asked: Asked, seen: World) -> Answer:
    key, instance = asked.key, seen.instance
    if isinstance(instance, Unread):
        return unknown(f"Whether {key.instance_id} exists was not seen: {instance.reason}.")
    if instance.owner is None:
        return failed(
            f"Account {key.instance_owner_uid} has no {key.instance_type} {key.instance_id} in {key.instance_region}, and it was "
            "found nowhere else that was asked.",
            "Ask again with the id, the account and the region as the console shows them.",
        )
    return passed(f"{key.instance_type} {key.instance_id} exists.")


def _instance_owner(asked: Asked, seen: World) -> Answer:
    key, instance = asked.key, seen.instance
    if isinstance(instance, Unread):
        return unknown(f"Whose {key.instance_id} is was not seen: {instance.reason}.")
    if instance.owner is None:
        return unknown(f"{key.instance_id} was not found, so whose it is cannot be said.")
    if instance.owner != key.instance_owner_uid:
        return failed(
            f"{key.instance_id} is account {instance.owner}'s, not account {key.instance_owner_uid}'s.",
            f"Ask for it as account {instance.owner}'s: that account's owner decides.",
        )
    return passed(f"{key.instance_id} is account {key.instance_owner_uid}'s.")


def _instance_region(asked: Asked, seen: World) -> Answer:
    key, instance = asked.key, seen.instance
    if isinstance(instance, Unread):
        return unknown(f"Where {key.instance_id} is was not seen: {instance.reason}.")
    if instance.region is None:
        return unknown(f"{key.instance_id} was not found, so where it is cannot be said.")
    if instance.region != key.instance_region:
        return failed(
            f"{key.instance_id} is in {instance.region}, not in {key.instance_region}.",
            f"Ask again with the region {instance.region}.",
        )
    return passed(f"{key.instance_id} is in {key.instance_region}.")


def _instance_usable(asked: Asked, seen: World) -> Answer:
    instance, wanted = seen.in_place(asked.key), _USABLE[asked.key.instance_type]
    if isinstance(instance, Unread):
        return unknown(f"Its status was not seen: {instance.reason}.")
    if instance.status is None:
        return unknown("The platform shows no status.")
    if instance.status != wanted:
        return failed(
            f"Its status is {instance.status}.",
            f"Wait until the status is {wanted}, or have account B's owner see to it; then ask for another look.",
        )
    return passed(f"Its status is {instance.status}.")


# -- the router --------------------------------------------------------------------------------------------------------


def _ecr_exists(asked: Asked, seen: World) -> Answer:
    key, ecr = asked.key, seen.ecr
    if isinstance(ecr, Unread):
        if key.ecr_id not in seen.own.ecrs:
            return failed(
                f"The inventory lists no router {key.ecr_id}, and account {key.ecr_owner_uid} did not show it: {ecr.reason}.",
                "Ask again with the id as the console shows it; if it is right, have the inventory and account A's role list it.",
            )
        return unknown(f"Whether {key.ecr_id} exists was not seen: {ecr.reason}.")
    if ecr.owner is None:
        return failed(
            f"Neither account {key.ecr_owner_uid} nor any other that was asked has the router {key.ecr_id}.",
            "Ask again with the id as the console shows it; if the router was deleted, take it out of the inventory.",
        )
    return passed(f"The router {key.ecr_id} exists.")


def _ecr_owner(asked: Asked, seen: World) -> Answer:
    key, ecr = asked.key, seen.ecr
    if isinstance(ecr, Unread):
        return unknown(f"Whose {key.ecr_id} is was not seen: {ecr.reason}.")
    if ecr.owner is None:
        return unknown(f"{key.ecr_id} was not found, so whose it is cannot be said.")
    if ecr.owner != key.ecr_owner_uid:
        return failed(
            f"{key.ecr_id} is account {ecr.owner}'s, not account {key.ecr_owner_uid}'s.",
            f"Ask for it as account {ecr.owner}'s, and have the inventory list it there.",
        )
    return passed(f"{key.ecr_id} is account {key.ecr_owner_uid}'s.")


def _ecr_region(asked: Asked, seen: World) -> Answer:
    """An ECR itself is in no region: what counts is whether it reaches the instance's."""
    key, regions = asked.key, seen.regions
    if isinstance(regions, Unread):
        return unknown(
            f"Whether an ECR reaches a {key.instance_type} in {key.instance_region} was not seen: {regions.reason}."
        )
    if key.instance_region not in regions:
        return failed(
            f"An ECR reaches no {key.instance_type} in {key.instance_region}.",
            "Use an instance in a region that the platform lists for Express Connect Routers.",
        )
    return passed(f"An ECR reaches a {key.instance_type} in {key.instance_region}.")


def _ecr_usable(asked: Asked, seen: World) -> Answer:
    key, ecr = asked.key, seen.ecr
    if isinstance(ecr, Unread):
        return unknown(f"The status of {key.ecr_id} was not seen: {ecr.reason}.")
    if ecr.owner != key.ecr_owner_uid:
        return unknown(f"{key.ecr_id} was not found where it was asked for.")
    if ecr.business not in (None, "Normal"):
        return failed(
            f"{key.ecr_id} is {ecr.business}.", f"Account {ecr.owner} settles what it owes, then it can be changed."
        )
    if ecr.status is None:
        return unknown(f"The platform shows no status of {key.ecr_id}.")
    status = ecr.status.upper()
    if status in _PASSING:
        return passed(f"{key.ecr_id} is {status}: busy with another change, which passes by itself.")
    if status != "ACTIVE":
        return failed(
            f"{key.ecr_id} is {status}.",
            f"Account {ecr.owner} sees in the console why; have it looked at again when it is ACTIVE.",
        )
    return passed(f"{key.ecr_id} is ACTIVE.")


# -- what stands already -----------------------------------------------------------------------------------------------


def _stands(asked: Asked, what: str, *, there: bool, ours: bool | None) -> Answer:
    name, ecr_id = asked.key.instance_id, asked.key.ecr_id
    if not there:
        return passed(f"{name} is not {what} {ecr_id} yet.")
    if asked.kind is not RequestKind.GRANT:
        return passed(f"{name} is {what} {ecr_id}.")
    if ours is None:
        return unknown(f"{name} is {what} {ecr_id} already; whether that is ours was not asked.")
    if ours:
        return passed(f"{name} is {what} {ecr_id} already, by a lease of ours: this would be one more.")
    return failed(
        f"{name} is {what} {ecr_id} already, and not by us.",
        "Have its makers take it away, or adopt it: else it stays when the lease ends.",
    )


def _granted(asked: Asked, seen: World) -> Answer:
    key, grants = asked.key, seen.grants
    if isinstance(grants, Unread):
        return unknown(f"Whether {key.instance_id} is granted was not seen: {grants.reason}.")
    there = any((one.ecr_id, one.owner) == (key.ecr_id, key.ecr_owner_uid) for one in grants)
    return _stands(asked, "granted to", there=there, ours=seen.own.grant_ours)


def _associated(asked: Asked, seen: World) -> Answer:
    key = asked.key
    there = routes.hangs_on(asked, seen)
    if there:
        return _stands(asked, "associated with", there=True, ours=seen.own.association_ours)
    if isinstance(seen.use, Unread):
        return unknown(f"What is on {key.ecr_id} was not seen: {seen.use.reason}.")
    if not seen.use.whole and isinstance(seen.in_place(key), Unread):
        return unknown(f"More is on {key.ecr_id} than was read, and account B's view was not seen.")
    return _stands(asked, "associated with", there=False, ours=None)


def _elsewhere(asked: Asked, seen: World) -> Answer:
    key, instance = asked.key, seen.in_place(asked.key)
    if isinstance(instance, Unread):
        return unknown(f"Whether {key.instance_id} is on another ECR was not seen: {instance.reason}.")
    others = sorted({one.ecr_id for one in instance.routers} - {key.ecr_id})
    if others:
        return failed(
            f"{key.instance_id} is on {', '.join(others)}, and an instance can be on one ECR only.",
            "Have it taken off there first; what that interrupts, its owner knows.",
        )
    if isinstance(seen.grants, Unread):
        return unknown(f"What {key.instance_id} is granted to was not seen: {seen.grants.reason}.")
    granted = {one.ecr_id for one in seen.grants} - {key.ecr_id}
    strange = sorted(granted - seen.own.ecrs)
    if strange:
        return failed(
            f"{key.instance_id} is granted to {', '.join(strange)}, which the inventory does not list.",
            "Account B's owner takes that grant back, or says why it stands: its owner may associate it at any moment.",
        )
    if granted:
        return passed(f"{key.instance_id} is on no other ECR; it is granted to {', '.join(sorted(granted))} too.")
    return passed(f"{key.instance_id} is on no other ECR, and granted to none.")


_CHECKS: tuple[tuple[PreflightCheck, InstanceType | None, Callable[[Asked, World], Answer]], ...] = (
    (PreflightCheck.ROLE_A, None, _role_a),
    (PreflightCheck.ROLE_B, None, _role_b),
    (PreflightCheck.INSTANCE_EXISTS, None, _instance_exists),
    (PreflightCheck.INSTANCE_OWNER, None, _instance_owner),
    (PreflightCheck.INSTANCE_REGION, None, _instance_region),
    (PreflightCheck.INSTANCE_USABLE, None, _instance_usable),
    (PreflightCheck.ECR_EXISTS, None, _ecr_exists),
    (PreflightCheck.ECR_OWNER, None, _ecr_owner),
    (PreflightCheck.ECR_REGION, None, _ecr_region),
    (PreflightCheck.ECR_USABLE, None, _ecr_usable),
    (PreflightCheck.GRANTED, None, _granted),
    (PreflightCheck.ASSOCIATED, None, _associated),
    (PreflightCheck.ELSEWHERE, None, _elsewhere),
    (PreflightCheck.ROUTE_SOURCE, InstanceType.VPC, routes.check_route_source),
    (PreflightCheck.OVERLAP, InstanceType.VPC, routes.check_overlap),
    (PreflightCheck.PREFIXES, InstanceType.VPC, routes.check_prefixes),
    (PreflightCheck.VBR_ASN, InstanceType.VBR, routes.check_vbr_asn),
    (PreflightCheck.VBR_MP_BGP, InstanceType.VBR, routes.check_vbr_mp_bgp),
    (PreflightCheck.CROSS_ACCOUNT, None, routes.check_cross_account),
    (PreflightCheck.QUOTA, None, routes.check_quota),
    (PreflightCheck.TIME, None, routes.check_time),
)
