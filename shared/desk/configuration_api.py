"""The configuration, over the desk's API: the version that stands, those before it, and who signed and applied each.

What is in a version is for whoever may see everything, and never has an external id. To others it is a number, a digest, a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field, JsonValue

from shared.desk.api import Calling, Here, scope_of
from shared.desk.pages import TABLE, After, HowAnswered, Listing, Place, answered
from shared.desk.parts import Parts
from shared.desk.problems import ANY, documented
from shared.desk.shown import ConfigurationShown, moment, since_of
from shared.errors import BadInput
from shared.ledger.configuration import AppliedVersion, kept_version, list_versions
from shared.ledger.looking import applied
from shared.ledger.seeing import Scope
from shared.messages.configuration import read_bundle
from shared.rules.configuration import Configuration, digest_of, stated

configurations = APIRouter(prefix="/api/v1", responses=ANY)

Number = Annotated[int, Path(ge=1, le=2**31 - 1, description="the version's number")]


class VersionLine(BaseModel):
    """A version as it was applied; who did that, and what it changed, for whoever may see everything."""

    number: int
    digest: str
    applied_at: datetime
    applied_by: str | None
    signers: list[str] = Field(description="the keys that signed it, as they were judged when it was applied")
    difference: list[str] = Field(description="what it changed, in words")


class VersionsPage(BaseModel):
    """So many versions, the newest first, and where the next ones begin."""

    configurations: list[VersionLine]
    next: str | None


class VersionShown(VersionLine):
    """A version with what is in it. ``as_applied``: it is, byte by byte, what the record says was applied."""

    previous: str | None = Field(description="the digest of the version before; none of the first")
    as_applied: bool
    content: dict[str, JsonValue] | None = Field(description="without the external ids of accounts")


@configurations.get("/configuration", responses=documented(401, 403))
def configuration(parts: Here, caller: Calling) -> ConfigurationShown:
    """Which configuration stands, since when, and the mode; what is in it for whoever may see everything."""
    return configuration_shown(parts, scope_of(parts, caller))


@configurations.get("/configurations", response_model=VersionsPage, responses=TABLE | documented(401, 403, 422))
def versions(parts: Here, caller: Calling, how: HowAnswered, after: After = None) -> Response:
    """Every version that was applied, the newest first."""
    listing = versions_listing(parts, scope_of(parts, caller))
    return answered(listing, VersionsPage, parts.seals, after, how)


@configurations.get("/configurations/{number}", responses=documented(401, 403, 404, 422))
def version(parts: Here, caller: Calling, number: Number) -> VersionShown:
    """One version."""
    return version_shown(parts, scope_of(parts, caller), number)


def configuration_shown(parts: Parts, scope: Scope) -> ConfigurationShown:
    """What stands, for whoever has this scope. Three statements."""
    standing, found = parts.standing(), parts.ledger.read(applied)
    content = None
    if scope.everything and standing.version is not None:
        content = content_of(standing.version.configuration)
    return ConfigurationShown(
        deployment=standing.deployment,
        number=found.number,
        digest=None if standing.version is None else standing.version.digest,
        since=since_of(found),
        mode=found.mode,
        fault=standing.fault,
        content=content,
    )


def versions_listing(parts: Parts, scope: Scope) -> Listing:
    """Versions for whoever has this scope. Two statements a page."""

    def fetch(behind: Place | None, limit: int) -> Sequence[AppliedVersion]:
        return parts.ledger.read(list_versions, None if behind is None else int(behind[0]), limit)

    return Listing(
        of={"list": "configurations", "person": scope.person},
        fetch=fetch,
        place=lambda row: (row.number,),
        line=lambda row: _line(scope, row),
    )


def version_shown(parts: Parts, scope: Scope, number: int) -> VersionShown:
    """One version. Raises BadInput: NoSuchTarget, or ConfigurationUnreadable where this code reads it no more. Two statements."""
    found = parts.ledger.read(kept_version, number)
    if found is None:
        raise BadInput(f"number: there is no configuration {number}", code="NoSuchTarget")
    kept, facts = found
    line = _line(
        scope, AppliedVersion(kept.number, kept.digest, kept.previous, kept.applied_at, kept.applied_by, facts)
    )
    raw = read_bundle(kept.bundle).content
    was = (facts.get("digest"), facts.get("bundle"))
    return VersionShown(
        **vars(line),
        previous=kept.previous or None,
        as_applied=(digest_of(raw), hashlib.sha256(kept.bundle.encode()).hexdigest()) == was,
        content=_content(raw) if scope.everything else None,
    )


def content_of(found: Configuration) -> dict[str, JsonValue]:
    """What is in a version, as JSON, without the external ids of accounts."""
    external = {"inventory": {"accounts": {uid: {"external_id"} for uid in found.inventory.accounts}}}
    content: dict[str, JsonValue] = found.model_dump(mode="json", by_alias=True, exclude=external)
    return content


@lru_cache(maxsize=4)
def _content(raw: bytes) -> dict[str, JsonValue]:
    """What is in a payload, whatever version it follows on. Read once for two that are compared, and for their parts."""
    return content_of(stated(raw)[1])


def _line(scope: Scope, row: AppliedVersion) -> VersionLine:
    told: dict[str, Any] = {name: list(map(str, row.facts.get(name, []))) for name in ("signers", "difference")}
    if not scope.everything:
        told = {"signers": [], "difference": []}
    return VersionLine(
        number=row.number,
        digest=row.digest,
        applied_at=moment(row.applied_at),
        applied_by=row.applied_by if scope.everything else None,
        **told,
    )
