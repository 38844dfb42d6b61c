"""What people decide by, over the desk's API: who may speak, what a request would change, and all that was said of it."""

from __future__ import annotations

from fastapi import APIRouter

from shared.desk.api import Calling, Here, Id, said, scope_of, visible, voice_of
from shared.desk.deciding_shown import DecidingShown, FactsShown, deciding_shown, facts_shown
from shared.desk.effect_shown import EffectShown, effect_shown
from shared.desk.problems import ANY, documented

deciding = APIRouter(prefix="/api/v1", responses=ANY)

SEEN = documented(401, 403, 404, 422)


@deciding.get("/requests/{request_id}/facts", responses=SEEN)
def facts(parts: Here, caller: Calling, request_id: Id) -> FactsShown:
    """All that was said of a request, oldest first."""
    scope = scope_of(parts, caller)
    return facts_shown(scope, said(parts, scope, request_id), parts.now())


@deciding.get("/requests/{request_id}/deciding", responses=SEEN)
def who(parts: Here, caller: Calling, request_id: Id) -> DecidingShown:
    """Who decides about a request, what is missing, and what this caller may say."""
    by = voice_of(parts, caller)
    return deciding_shown(parts, visible(parts, parts.scope(by.person), request_id), by)


@deciding.get("/requests/{request_id}/effect", responses=SEEN)
def effect(parts: Here, caller: Calling, request_id: Id) -> EffectShown:
    """What a request would change, were it agreed to now: on the cloud, of the leases, and of what the router reaches."""
    scope = scope_of(parts, caller)
    return effect_shown(parts, scope, visible(parts, scope, request_id))
