"""Completions: what happened, told to whoever listens; and wakes, which only say where to look."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, ValidationError, field_validator

from shared.errors import GrantError
from shared.messages.catalogue import find
from shared.messages.forms import (
    AccountId,
    Digest,
    EcrId,
    EventId,
    EventName,
    GrantId,
    GrantKey,
    InstanceId,
    InstanceType,
    Instant,
    Issuer,
    Message,
    OperationId,
    Person,
    RegionId,
    RequestId,
    Shown,
)

COMPLETION = "ecr-grants/completion/1"
WAKE = "ecr-grants/wake/1"


Count = Annotated[int, Field(ge=0, le=2**53 - 1)]  # beyond that, readers that use doubles lose some


class _Told(Message):
    """What we tell others. Whoever reads it passes over the fields of a later version."""

    model_config = ConfigDict(extra="ignore")


class Request(_Told):
    """Which request an outcome answers. The digest is empty where its content could not be read as a whole."""

    issuer: Issuer
    request_id: RequestId
    digest: Digest = ""


class Reason(_Told):
    """Why: a stable code for programs, a sentence for people, in English and, where there is one, in Chinese."""

    code: str
    text: str
    text_zh: str | None = None

    @classmethod
    def of(cls, error: GrantError) -> Reason:
        """The reason that an error is. Our own errors have their words in the catalogue, before what was found."""
        entry = find(error.code)
        own = f"{entry.zh}：{error}" if entry is not None else None
        return cls(code=error.code, text=str(error), text_zh=error.text_zh or own)


class ReasonCode(StrEnum):
    """The codes of reasons that are no errors. Errors have theirs in the catalogue."""

    DONE = "Done"
    CLOSED = "Closed"
    ENDED = "Ended"
    SECOND_DIGEST = "SecondDigest"
    EARLY = "Early"
    OTHERS_TURN = "OthersTurn"  # waiting: it is the other side's turn
    HELD = "Held"  # a hold or the mode says so
    UNDER_WAY = "UnderWay"  # later: the platform is at it
    BUSY = "Busy"
    LEDGER_AWAY = "LedgerAway"
    REDRIVEN = "Redriven"
    ADOPTED = "Adopted"
    MODE_CHANGED = "ModeChanged"
    HOLD_SET = "HoldSet"
    HOLD_LIFTED = "HoldLifted"
    CONFIGURED = "Configured"
    SAID = "Said"  # by somebody, of a request
    NOTHING_TO_DO = "NothingToDo"  # what an operator said was so already, or is not there
    WAITS = "Waits"  # to be decided


class Served(_Told):
    """One API call that served the work: it leads from our record to the account's own audit log."""

    operation: str
    account: str
    session: str
    api_request_id: str


class EventKind(StrEnum):
    """What happened. Also the tags that completions are published under; some facts only the record needs."""

    # to a grant
    GRANTED = "granted"
    ASSOCIATED = "associated"
    UNWANTED = "unwanted"
    DISSOCIATED = "dissociated"
    REVOKED = "revoked"
    STUCK = "stuck"
    DRIFT_FOUND = "drift-found"
    DRIFT_REPAIRED = "drift-repaired"
    ADOPTED = "adopted"
    REDRIVEN = "redriven"
    # to a lease
    ENDING = "ending"
    OVERDUE = "overdue"
    ENDED = "ended"
    SECOND_DIGEST = "second-digest"
    # to a request
    ADMITTED = "admitted"
    EARLY = "early"  # dated further ahead than clocks may differ: without effect until then
    HELD = "held"  # a hold or the mode stops it
    DONE = "done"
    REJECTED = "rejected"
    DEAD = "dead"
    # to what people ask for
    ASKED = "asked"
    LOOKED = "looked"  # preflight has
    DECIDED = "decided"
    WITHDRAWN = "withdrawn"
    LAPSED = "lapsed"
    REMINDED = "reminded"  # that it waits to be decided
    APPROVED = "approved"  # what was said suffices
    REFUSED = "refused"
    REVIEWED = "reviewed"  # an emergency, afterwards
    # to what operators say at the desk
    OPERATION_ASKED = "operation-asked"
    OPERATED = "operated"  # carried out, or refused
    # to the deployment
    MODE_CHANGED = "mode-changed"
    HOLD_SET = "hold-set"
    HOLD_LIFTED = "hold-lifted"
    CONFIGURED = "configured"
    # facts that are not published
    TOOK_EFFECT = "took-effect"  # an early lease
    OWNERSHIP = "ownership"  # whose it is what stands on a side

    @property
    def published(self) -> bool:
        """Whether it is told to others."""
        return self not in (EventKind.TOOK_EFFECT, EventKind.OWNERSHIP)


class GrantFields(_Told):
    """The grant a completion is about, with all that names it."""

    grant_id: GrantId
    ecr_id: EcrId
    ecr_owner_uid: AccountId
    instance_type: InstanceType
    instance_id: InstanceId
    instance_region: RegionId
    instance_owner_uid: AccountId


def can_be_told(grant: GrantKey) -> bool:
    """Whether a completion can name this grant: of what a cloud shows, something may be missing or have no form of ours."""
    try:
        GrantFields(grant_id=grant.grant_id, **asdict(grant))
    except ValidationError:
        return False
    return True


class Completion(_Told):
    """One recorded fact, published once per (grant, generation, event). A hint to look, never an order.

    ``number`` counts a grant's facts: a late one is known as late. ``id`` never changes, however often it is delivered.
    """

    schema_: Literal["ecr-grants/completion/1"] = Field(alias="schema")
    id: EventId
    # One of EventKind, or what a later version tells: whoever only wants the grant is served all the same.
    event: Annotated[EventKind | EventName, Field(union_mode="left_to_right")]
    at: Instant
    grant: GrantFields | None = None
    number: Count | None = None
    generation: Count | None = None
    association_id: Shown | None = None
    allowed_prefixes: list[str] | None = None
    request: Request | None = None
    message_id: Shown | None = None
    reason: Reason | None = None
    served: list[Served] = Field(default=[])
    people: list[Person] | None = None
    """Whom it concerns, by their names in `people.yaml`, where it is about what somebody asks for."""
    operation: OperationId | None = None
    """Which operator's word it is about, or was done by."""


class Wake(Message):
    """Look at this grant again; without one, hear what people said. Carries no fact."""

    schema_: Literal["ecr-grants/wake/1"] = Field(alias="schema")
    grant_id: GrantId | None = None

    @field_validator("grant_id", mode="before")
    @classmethod
    def _is_said(cls, value: object) -> object:
        """What is there is a grant's id: nothing meant is left out."""
        if value is None:
            raise ValueError("must be a grant's id, or left out")
        return value
