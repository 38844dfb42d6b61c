"""What asking would be answered, before anything is asked: whether it can be, who would decide, what shares its addresses."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter
from pydantic import BaseModel, Field

from shared.desk.api import AskBody, Calling, Here, count_unseen, voice_of
from shared.desk.finding_api import leases_on
from shared.desk.parts import Parts
from shared.desk.problems import ANY, Problem, documented, problem_of
from shared.ledger.seeing import Scope
from shared.loop.asking import Checked
from shared.messages.consent import Voice, Wish
from shared.rules.facts import Side
from shared.rules.inventory import Inventory
from shared.rules.ranges import Change, LeaseRange, changed, outside, size_of

checking = APIRouter(prefix="/api/v1", responses=ANY)


class PrefixChecked(BaseModel):
    """An asked prefix. ``addresses``: how many it has; ``outside``: it is in none of account B's supernets, where those are known
    to whoever asks; ``overlaps``: with what else is let through on that router, as far as they may see it.
    """

    prefix: str
    addresses: int | None
    outside: bool | None
    overlaps: list[str]


class WishChecked(BaseModel):
    """What asking for one wish would be answered."""

    problem: Problem | None = Field(description="why it cannot be asked")
    takes: list[Side] | None = Field(description="the sides whose yes it takes at least; null: nobody else's")
    deciders: dict[Side, list[str]] = Field(description="who may say it, of the accounts that whoever asks may see")
    prefixes: list[PrefixChecked]


class Checks(BaseModel):
    """The same for all of them, in the order of the call."""

    checks: list[WishChecked]


@checking.post("/checks", responses=documented(401, 403, 422))
def check(parts: Here, caller: Calling, body: AskBody) -> Checks:
    """Check what could be asked, and ask nothing."""
    by = voice_of(parts, caller)
    return Checks(checks=wishes_checked(parts, by, body.wishes))


def wishes_checked(parts: Parts, by: Voice, wishes: Sequence[Wish]) -> list[WishChecked]:
    """What asking for each of these would be answered; a statement for each router. Raises Throttled where somebody tries too
    many accounts that they may not see.
    """
    scope = parts.scope(by.person)
    count_unseen(parts, by, sorted({wish.instance.owner_uid for wish in wishes}))
    version = parts.standing().version
    assert version is not None  # noqa: S101  # it stands
    inventory = version.configuration.inventory
    routers = {wish.ecr.id: leases_on(parts, scope, wish.ecr.id)[0] for wish in wishes if wish.opens}
    told = parts.desk().check(by, wishes)
    return [_checked(one, scope, inventory, routers.get(one.wish.ecr.id, [])) for one in told]


def _checked(one: Checked, scope: Scope, inventory: Inventory, leases: Sequence[LeaseRange]) -> WishChecked:
    grant = one.wish.grant
    sees = {Side.GRANT: scope.sees(grant.instance_owner_uid), Side.ASSOCIATE: scope.sees(grant.ecr_owner_uid)}
    names = {side: [each.person for each in who] for side, who in one.deciders.items() if sees[side]}
    return WishChecked(
        problem=None if one.error is None else problem_of(one.error),
        takes=None if one.needs is None else list(one.needs.sides),
        deciders=names,
        prefixes=_prefixes(one.wish, inventory, leases, sees_b=sees[Side.GRANT]) if one.wish.opens else [],
    )


def _prefixes(wish: Wish, inventory: Inventory, leases: Sequence[LeaseRange], *, sees_b: bool) -> list[PrefixChecked]:
    account = inventory.accounts.get(wish.instance.owner_uid)
    known = account.supernets if sees_b and account is not None else []
    beyond = set(outside(wish.allowed_prefixes, known)) if known else set()
    mine = wish.grant.grant_id
    entries = {one.prefix: one for one in changed(leases, wish, "", None) if one.grant_id == mine}
    return [
        PrefixChecked(
            prefix=prefix,
            addresses=size_of(prefix),
            outside=prefix in beyond if known else None,
            overlaps=[
                f"{other} of {instance}"
                for other, instance in (entries[prefix].overlaps if entries[prefix].change is not Change.GONE else ())
            ],
        )
        for prefix in wish.allowed_prefixes
    ]
