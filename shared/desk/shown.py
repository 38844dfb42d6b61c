"""What the desk answers whoever looks: typed, so that the API's description says all of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, Field, JsonValue

from shared.ledger.looking import Applied
from shared.ledger.rows import finding_of, lease_of
from shared.ledger.views import GrantView, LeaseView, SideView
from shared.messages.approval import OnEnd
from shared.messages.completion import Reason
from shared.messages.forms import InstanceType
from shared.rules.checked import CheckResult
from shared.rules.facts import DriftKind, HoldKind, Mode
from shared.rules.leases import LeaseState, Level, state_of


class GrantNamed(BaseModel):
    """Which grant."""

    grant_id: str
    ecr_id: str
    ecr_owner_uid: str
    instance_type: InstanceType
    instance_id: str
    instance_region: str
    instance_owner_uid: str


class LeaseLine(GrantNamed):
    """A lease in a list. ``open``: it counts, or will."""

    issuer: str
    request_id: str
    state: LeaseState
    open: bool
    allowed_prefixes: list[str]
    approved_at: datetime
    admitted_at: datetime
    ends_at: datetime | None
    on_end: OnEnd


class LeasesPage(BaseModel):
    """So many leases, the newest first, and where the next ones begin."""

    leases: list[LeaseLine]
    next: str | None


class GrantLine(GrantNamed):
    """A grant in a list: both sides as last read, and why they are not as wanted, where they are not."""

    grant_state: str
    association_state: str
    association_id: str | None
    prefixes: list[str] = Field(description="of the association, as last read")
    settled: bool
    dead: bool
    drift: list[DriftKind]
    code: str | None
    why: str | None
    since: datetime | None
    next_look: datetime | None


class GrantsPage(BaseModel):
    """So many grants, by id, and where the next ones begin."""

    grants: list[GrantLine]
    next: str | None


class SideShown(BaseModel):
    """One side as last read. ``since``: since when it is not as wanted; ``next_look``: when it is looked at again."""

    state: str
    ours: bool | None = Field(description="whether what is there was made by this deployment")
    settled: bool
    dead: bool
    code: str | None
    why: str | None
    since: datetime | None
    next_look: datetime | None
    read_at: datetime | None
    made_at: datetime | None = Field(description="when what is there was made, as the platform says")
    association_id: str | None
    prefixes: list[str]
    drift: DriftKind | None
    drift_text: str | None


class LeaseShown(BaseModel):
    """A lease with the people behind it."""

    issuer: str
    request_id: str
    state: LeaseState
    requested_by: str | None
    approved_by: list[str]
    reason: str | None
    allowed_prefixes: list[str]
    approved_at: datetime
    ends_at: datetime | None
    on_end: OnEnd
    outcome: str | None


class HoldShown(BaseModel):
    """Something a person froze."""

    kind: HoldKind
    name: str
    everything: bool
    who: str
    reason: str
    at: datetime


class GrantShown(GrantNamed):
    """One grant whole. ``leases``: those that are open and may be seen."""

    wanted: Level
    grant: SideShown
    associate: SideShown
    leases: list[LeaseShown]
    holds: list[HoldShown]


class HappenedLine(BaseModel):
    """Something that happened to a grant, as it was published."""

    number: int
    at: datetime
    event: str
    issuer: str | None
    request_id: str | None
    code: str | None
    reason: str | None
    association_id: str | None
    served: list[JsonValue] = Field(description="the API calls that served it")


class HistoryPage(BaseModel):
    """What happened, the newest first, and where what was before it begins."""

    events: list[HappenedLine]
    next: str | None


class ExposedLine(GrantNamed):
    """A grant of which something was seen up: what the router reaches by it, and for how long.

    ``ends_at``: of the open lease that ends last; with ``endless`` one has no end.
    """

    grant_state: str
    association_state: str
    prefixes: list[str] = Field(description="of the association, as last read")
    allowed_prefixes: list[str] = Field(description="of the open leases")
    ends_at: datetime | None
    endless: bool
    leases: int
    drift: list[DriftKind] = Field(description="what was found to differ from what had settled")


class ExposurePage(BaseModel):
    """What is exposed to a router, by grant, and where the next begins."""

    exposed: list[ExposedLine]
    next: str | None


class CheckShown(BaseModel):
    """One check of preflight."""

    check: str
    result: CheckResult
    found: str
    advice: str


class PreflightShown(BaseModel):
    """What preflight saw of a request last. ``whole``: nothing is left out; else the rest is for the accounts' owners."""

    request_id: str
    round: int
    looked_at: datetime | None
    snapshot: str | None
    whole: bool
    failed: int
    unknown: int
    checks: list[CheckShown]
    content: dict[str, JsonValue] | None = Field(description="what a decision binds")


class ConfigurationShown(BaseModel):
    """The configuration that stands. ``fault``: why the newest is not believed; ``number`` is the newest one's all the same.

    ``content``: for whoever may see everything, without the external ids of accounts.
    """

    deployment: str | None
    number: int
    digest: str | None
    since: datetime | None
    mode: Mode | None = Field(description="what may act, by an operator's word; null: as each function was deployed")
    fault: str | None
    content: dict[str, JsonValue] | None


class Health(BaseModel):
    """Whether the desk can record anything now."""

    status: str


def lease_line(row: Any) -> LeaseLine:
    """A row of ``list_leases``."""
    lease = lease_of(row)
    return LeaseLine(
        **_named(row),
        issuer=lease.issuer,
        request_id=lease.request_id,
        state=state_of(lease),
        open=row.open,
        allowed_prefixes=list(lease.allowed_prefixes),
        approved_at=moment(lease.approved_at),
        admitted_at=moment(lease.admitted_at),
        ends_at=maybe(lease.ends_at),
        on_end=lease.on_end,
    )


def grant_line(row: Any) -> GrantLine:
    """A row of ``list_grants``."""
    words = ("grant", "associate")
    read = {word: {name: getattr(row, f"{word}_{name}") for name in _OF_SIDE} for word in words}
    troubled = next((one for one in read.values() if one["dead_at"] is not None), None)
    troubled = troubled or next((one for one in read.values() if one["unsettled"]), {})
    trouble = troubled.get("trouble")
    why = None if trouble is None else Reason.model_validate_json(trouble)
    drifts = [finding_of(one["drift"]) for one in read.values()]
    return GrantLine(
        **_named(row),
        grant_state=row.grant_state,
        association_state=row.associate_state,
        association_id=row.association_id,
        prefixes=_prefixes(row.prefixes),
        settled=not any(one["unsettled"] for one in read.values()),
        dead=any(one["dead_at"] is not None for one in read.values()),
        drift=[one.kind for one in drifts if one is not None],
        code=None if why is None else why.code,
        why=None if why is None else why.text,
        since=maybe(troubled.get("waiting_since")),
        next_look=maybe(troubled.get("next_at")),
    )


_OF_SIDE = ("unsettled", "trouble", "waiting_since", "next_at", "dead_at", "drift")


def grant_shown(view: GrantView) -> GrantShown:
    """One grant."""
    return GrantShown(
        grant_id=view.grant_id,
        **{name: getattr(view.key, name) for name in _KEY},
        wanted=view.wanted.level,
        grant=_side(view.grant),
        associate=_side(view.associate),
        leases=[_lease(one) for one in view.leases],
        holds=[HoldShown(**{**vars(one), "at": moment(one.at)}) for one in view.holds],
    )


def happened_line(row: Any) -> HappenedLine:
    """An event of a grant that was published."""
    said = json.loads(row.body)
    request, reason = said.get("request") or {}, said.get("reason") or {}
    return HappenedLine(
        number=said["number"],
        at=said["at"],
        event=said["event"],
        issuer=request.get("issuer"),
        request_id=request.get("request_id"),
        code=reason.get("code"),
        reason=reason.get("text"),
        association_id=said.get("association_id"),
        served=said.get("served") or [],
    )


def exposed_line(row: Any, leases: list[Any]) -> ExposedLine:
    """A row of ``list_exposed``, and its open leases."""
    read = [lease_of(one) for one in leases]
    ends = [one.ends_at for one in read]
    return ExposedLine(
        **_named(row),
        grant_state=row.grant_state,
        association_state=row.associate_state,
        prefixes=_prefixes(row.prefixes),
        allowed_prefixes=list(dict.fromkeys(prefix for one in read for prefix in one.allowed_prefixes)),
        ends_at=maybe(max((end for end in ends if end is not None), default=None)),
        endless=None in ends,
        leases=len(read),
        drift=[one.kind for one in map(finding_of, (row.grant_drift, row.associate_drift)) if one is not None],
    )


def since_of(applied: Applied) -> datetime | None:
    """Since when a configuration is the newest."""
    return maybe(applied.applied_at)


_KEY = ("ecr_id", "ecr_owner_uid", "instance_type", "instance_id", "instance_region", "instance_owner_uid")


def _named(row: Any) -> dict[str, Any]:
    return {"grant_id": row.grant_id, **{name: getattr(row, name) for name in _KEY}}


def _side(view: SideView) -> SideShown:
    row, drift = view.row, view.row.drift
    return SideShown(
        state=row.state,
        ours=row.ours,
        settled=view.settled,
        dead=row.dead,
        code=None if view.why is None else view.why.code,
        why=None if view.why is None else view.why.text,
        since=maybe(view.since),
        next_look=maybe(view.next_at),
        read_at=maybe(row.seen_at),
        made_at=maybe(view.made_at),
        association_id=row.association_id,
        prefixes=list(row.prefixes),
        drift=None if drift is None else drift.kind,
        drift_text=None if drift is None else drift.text,
    )


def _lease(view: LeaseView) -> LeaseShown:
    lease, said = view.lease, view.document
    return LeaseShown(
        issuer=lease.issuer,
        request_id=lease.request_id,
        state=state_of(lease),
        requested_by=said.get("requested_by"),
        approved_by=list(said.get("approved_by") or []),
        reason=said.get("reason"),
        allowed_prefixes=list(lease.allowed_prefixes),
        approved_at=moment(lease.approved_at),
        ends_at=maybe(lease.ends_at),
        on_end=lease.on_end,
        outcome=view.outcome,
    )


def _prefixes(text: str | None) -> list[str]:
    return [] if text is None else list(json.loads(text))


def moment(milliseconds: int) -> datetime:
    """A time of the ledger."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def maybe(milliseconds: int | None) -> datetime | None:
    """The same, where there is one."""
    return None if milliseconds is None else moment(milliseconds)
