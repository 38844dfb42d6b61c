"""What a request would change, as people are shown it before they decide; typed for the API."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from shared.desk.finding_api import RangeLine, leases_on, range_line
from shared.desk.parts import Parts
from shared.desk.shown import maybe
from shared.ledger.looking import seen_grant
from shared.ledger.seeing import Scope
from shared.ledger.views import GrantView
from shared.messages.approval import OnEnd
from shared.rules.consent import Standing
from shared.rules.effect import Becomes, effect_of
from shared.rules.facts import State
from shared.rules.inventory import Association
from shared.rules.leases import Lease
from shared.rules.ranges import changed


class LeaseEffect(BaseModel):
    """A lease that is open on the grant. ``ends``: the request ends it."""

    issuer: str
    request_id: str
    prefixes: list[str]
    ends_at: datetime | None
    on_end: OnEnd
    ends: bool


class EffectShown(BaseModel):
    """What a request would change, were it agreed to now. ``seen``: the caller may see one of the accounts; else nothing of what
    stands is told. ``whole``: the table has every lease on the router.
    """

    request_id: str
    seen: bool = False
    whole: bool = False
    association_by: Association | None = Field(default=None, description="whose automation makes the association")
    grant_state: str | None = None
    association_state: str | None = None
    grant: Becomes | None = None
    association: Becomes | None = None
    prefixes: list[str] = Field(default=[], description="of the association, as last read")
    prefixes_then: list[str] = Field(default=[], description="to be let through then; none: not limited, or down")
    leases: list[LeaseEffect] = []
    ranges: list[RangeLine] = Field(default=[], description="the table of the router then, with what comes and goes")


def effect_shown(parts: Parts, scope: Scope, standing: Standing) -> EffectShown:
    """What a request would change; seven statements for whoever may see one of the accounts, else none."""
    grant, wish = standing.asked.wish.grant, standing.asked.wish
    sees_a, sees_b = scope.sees(grant.ecr_owner_uid), scope.sees(grant.instance_owner_uid)
    if not (sees_a or sees_b):
        return EffectShown(request_id=standing.request_id)
    view = parts.ledger.read(seen_grant, scope, grant.grant_id)
    leases, more = leases_on(parts, scope, grant.ecr_id)
    effect = effect_of(standing.asked, () if view is None else [one.lease for one in view.leases])
    state, association, prefixes = _seen(view)
    if wish.opens and not wish.allowed_prefixes and sees_b:
        wish = wish.model_copy(update={"allowed_prefixes": list(seen_cidrs(standing))})
    ends_at = None if wish.ends_at is None else round(wish.ends_at.timestamp() * 1000)
    return EffectShown(
        request_id=standing.request_id,
        seen=True,
        whole=sees_a and not more,
        association_by=parts.inventory().association(grant),
        grant_state=state,
        association_state=association,
        grant=effect.grant(state),
        association=effect.association(association, prefixes),
        prefixes=list(prefixes),
        prefixes_then=list(effect.after.beside(prefixes)),
        leases=[_lease(one, ends=one in effect.ends) for one in (*effect.stays, *effect.ends)],
        ranges=[range_line(one) for one in changed(leases, wish, standing.request_id, ends_at)],
    )


def seen_cidrs(standing: Standing) -> tuple[str, ...]:
    """The instance's own ranges, as preflight saw them last; nothing where it did not."""
    seen = None if standing.looked is None else standing.looked.content.get("seen")
    found = seen.get("cidrs") if isinstance(seen, dict) else None
    return tuple(str(one) for one in found) if isinstance(found, list) else ()


def _seen(view: GrantView | None) -> tuple[str, str, tuple[str, ...]]:
    """What was seen of both sides last, and the association's prefixes; of a grant that the ledger never had, nothing is up."""
    if view is None:
        return State.ABSENT, State.ABSENT, ()
    return view.grant.row.state, view.associate.row.state, view.associate.row.prefixes


def _lease(lease: Lease, *, ends: bool) -> LeaseEffect:
    return LeaseEffect(
        issuer=lease.issuer,
        request_id=lease.request_id,
        prefixes=list(lease.allowed_prefixes),
        ends_at=maybe(lease.ends_at),
        on_end=lease.on_end,
        ends=ends,
    )
