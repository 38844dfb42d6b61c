"""What people say: requests, decisions and whatever else befalls a request, and operators' words; each a fact that is only added.

What the facts of one request amount to is decided from these alone, in `shared/rules/consent.py`.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, JsonValue, TypeAdapter, ValidationError, model_validator

from shared.errors import BadInput
from shared.messages.approval import (
    APPROVAL,
    APPROVALS,
    DESK,
    Action,
    Ecr,
    Every,
    GrantApproval,
    Instance,
    OnEnd,
    RevokeApproval,
    grant_key,
)
from shared.messages.forms import (
    AccountId,
    Digest,
    EcrId,
    GrantId,
    GrantKey,
    Instant,
    Issuer,
    Message,
    OperationId,
    Person,
    Prefix,
    RequestId,
    Why,
)
from shared.messages.texts import canonical, faults

Count = Annotated[int, Field(ge=0, le=2**53 - 1)]


def _in_order(values: list[str]) -> list[str]:
    return sorted(set(values))


class RequestKind(StrEnum):
    """What somebody asks for."""

    GRANT = "grant"  # a new lease
    CHANGE = "change"  # a new lease in place of others: extended, or with other prefixes
    REVOKE = "revoke"


class Strength(StrEnum):
    """How sure it is who said something."""

    FRESH = "fresh"  # signed in within the last minutes
    SIGNED_IN = "signed-in"
    RELAYED = "relayed"  # a system says so, signed with its key


class Wish(Message):
    """What a request is about, whole: what is asked for on one grant, until when, and why.

    ``replaces``: of a change, the desk's request ids whose leases end when it counts. ``closes``: of a revoke, the desk's request
    ids, all of the desk's, or everyone's.
    """

    kind: RequestKind = Field(strict=False)
    ecr: Ecr
    instance: Instance
    allowed_prefixes: Annotated[list[Prefix], Field(max_length=100)] = Field(default=[])
    ends_at: Instant | None = None
    on_end: OnEnd = Field(default=OnEnd.TEARDOWN, strict=False)
    replaces: Annotated[list[RequestId], Field(max_length=100), AfterValidator(_in_order)] = Field(default=[])
    closes: (
        Annotated[Every, Field(strict=False)]
        | Annotated[list[RequestId], Field(min_length=1, max_length=100), AfterValidator(_in_order)]
        | None
    ) = None
    reason: Why
    ticket: Annotated[str, Field(max_length=200)] = ""
    emergency: bool = False

    @property
    def grant(self) -> GrantKey:
        """The grant that it is about."""
        return grant_key(self.ecr, self.instance)

    @property
    def opens(self) -> bool:
        """Whether it asks for a lease."""
        return self.kind is not RequestKind.REVOKE

    @property
    def content(self) -> dict[str, Any]:
        """As JSON, in the one way that its hash is taken of."""
        return self.model_dump(mode="json", by_alias=True)

    @model_validator(mode="after")
    def _says_what_its_kind_needs(self) -> Wish:
        if (self.kind is RequestKind.REVOKE) != (self.closes is not None):
            raise ValueError("closes: must be said of a revoke, and of nothing else")
        if (self.kind is RequestKind.CHANGE) != bool(self.replaces):
            raise ValueError("replaces: must name what a change replaces, and be left out of anything else")
        if not self.opens and (self.allowed_prefixes or self.ends_at is not None or self.emergency):
            raise ValueError("allowed_prefixes, ends_at and emergency: must be left out of a revoke")
        if self.emergency and (self.ends_at is None or self.on_end is not OnEnd.TEARDOWN):
            raise ValueError("ends_at and on_end: an emergency has an end, and is torn down then")
        return self

    def approval(
        self, request_id: str, requester: str, approvers: list[str], at: datetime
    ) -> GrantApproval | RevokeApproval:
        """The approval that it becomes once these persons have agreed. Raises BadInput, naming the fields at fault."""
        document: dict[str, Any] = {
            "schema": APPROVAL,
            "issuer": DESK,
            "request_id": request_id,
            "action": Action.GRANT if self.opens else Action.REVOKE,
            "ecr": self.ecr,
            "instance": self.instance,
            "requested_by": requester,
            "approved_by": approvers,
            "approved_at": at,
            "reason": self.reason,
        }
        if self.opens:
            document |= {
                "allowed_prefixes": self.allowed_prefixes,
                "ends_at": self.ends_at,
                "on_end": self.on_end,
                "replaces": self.replaces,
            }
        else:
            document["closes"] = self.closes
        try:
            return APPROVALS.validate_python(document)
        except ValidationError as error:
            raise BadInput(faults(error, tags=("grant", "revoke"))) from None


class _Fact(Message):
    """What every fact says: about which request, when, and by whom if by anybody."""

    request_id: RequestId
    at: Instant


class Voice(Message):
    """Whose word a fact is: the person, the subject that it came by, the system that relayed it, and how sure that is."""

    person: Person
    subject: Person
    relay: Issuer | None = None
    strength: Strength = Field(strict=False)


class Asked(_Fact):
    """Somebody asks. ``lapses_at``: until then it can be decided. ``batch``: what it was asked together with."""

    fact: Literal["asked"] = "asked"
    wish: Wish
    by: Voice
    batch: RequestId | None = None
    lapses_at: Instant
    configuration: Count


class Looked(_Fact):
    """Preflight has looked. ``snapshot``: the hash of what deciders are shown, ``content``, the request's wish included.

    ``checks``: what was found, for people; ``unknown``: how many checks could not be made.
    """

    fact: Literal["looked"] = "looked"
    snapshot: Digest
    content: dict[str, JsonValue]
    checks: list[JsonValue] = Field(default=[])
    failed: Count = 0
    unknown: Count = 0

    @model_validator(mode="after")
    def _is_its_hash(self) -> Looked:
        if snapshot_of(self.content) != self.snapshot:
            raise ValueError("snapshot: is not the hash of the content")
        return self


class Decided(_Fact):
    """One person's word for one side. ``instead_of``: who delegated it to them. ``snapshot``: of what they were shown."""

    fact: Literal["decided"] = "decided"
    side: Literal["grant", "associate"]
    agrees: bool
    by: Voice
    instead_of: Person | None = None
    reason: Annotated[str, Field(max_length=1000)] = ""
    snapshot: Digest
    configuration: Count


class Withdrawn(_Fact):
    """Whoever asked asks no more."""

    fact: Literal["withdrawn"] = "withdrawn"
    by: Voice
    reason: Annotated[str, Field(max_length=1000)] = ""


class Lapsed(_Fact):
    """Nobody decided in time, or what was decided about is not so any more: the reason says which."""

    fact: Literal["lapsed"] = "lapsed"
    reason: Why


class Amounted(_Fact):
    """What was said suffices, or nothing that could be said would: the grant function's word, under a configuration.

    ``approval``: the digest of the approval that was admitted; None: refused, and the reason says why.
    """

    fact: Literal["amounted"] = "amounted"
    approval: Digest | None
    reason: Why
    configuration: Count


class LookAsked(_Fact):
    """Somebody wants preflight to look again."""

    fact: Literal["look-asked"] = "look-asked"
    by: Voice


class Reviewed(_Fact):
    """Somebody who neither asked for an emergency nor agreed to it has looked at it afterwards, and says whether it was in
    order.
    """

    fact: Literal["reviewed"] = "reviewed"
    in_order: bool
    by: Voice
    reason: Why


AnyFact = Asked | Looked | LookAsked | Decided | Withdrawn | Lapsed | Amounted | Reviewed
"""What can be said of a request."""


class OperatingWord(StrEnum):
    """What an operator can have done over the desk."""

    HOLD = "hold"
    LIFT = "lift"
    REDRIVE = "redrive"
    ADOPT = "adopt"
    REPAIR = "repair"  # look at a grant that drifted now, and put right what is ours
    MODE = "mode"


_HELD: dict[str, TypeAdapter[str]] = {
    "ecr": TypeAdapter(EcrId),
    "account": TypeAdapter(AccountId),
    "grant": TypeAdapter(GrantId),
}
_HOLDS = (OperatingWord.HOLD, OperatingWord.LIFT)


class Operation(Message):
    """What an operator wants done, whole.

    ``kind`` and ``name``: of a hold, what is held or let go; of whatever is about one grant ``name`` is the grant. ``side``: of a
    redrive which one; of an adoption which one, or both. ``everything``: of a hold, that nothing is taken down either.
    """

    word: OperatingWord = Field(strict=False)
    kind: Literal["ecr", "account", "grant"] | None = None
    name: Annotated[str, Field(max_length=64)] = ""
    side: Literal["grant", "associate"] | None = None
    mode: Literal["observe", "pause-teardown", "pause-all", "full"] | None = None
    everything: bool = False
    reason: Why

    @property
    def grant_id(self) -> str | None:
        """The grant that it is about, if it is about one."""
        about_one = self.word not in _HOLDS and self.word is not OperatingWord.MODE
        return self.name if about_one or self.kind == "grant" else None

    @model_validator(mode="after")
    def _says_what_its_word_needs(self) -> Operation:
        held = self.word in _HOLDS
        if held != (self.kind is not None):
            raise ValueError("kind: must be said of hold and lift, and of nothing else")
        if (self.word is OperatingWord.MODE) != (self.mode is not None):
            raise ValueError("mode: must be said of the word mode, and of nothing else")
        if self.everything and self.word is not OperatingWord.HOLD:
            raise ValueError("everything: must be left out of anything but a hold")
        if self.side is not None and self.word not in (OperatingWord.REDRIVE, OperatingWord.ADOPT):
            raise ValueError("side: must be left out of anything but redrive and adopt")
        if self.word is OperatingWord.REDRIVE and self.side is None:
            raise ValueError("side: must be said of a redrive")
        if self.word is OperatingWord.MODE:
            if self.name:
                raise ValueError("name: must be left out of mode, which is the deployment's")
            return self
        try:
            _HELD[self.kind or "grant"].validate_python(self.name)
        except ValidationError as error:
            [first, *_] = error.errors(include_url=False)
            raise ValueError(f"name: {first.get('ctx', {}).get('error', first['msg'])}") from None
        return self


class Operated(Message):
    """An operator's word, to be carried out by the grant function. No request's; it has an id of its own.

    ``accounts``: those whose it is what it is about, as far as they are known: account A's, account B's, or one; who may see
    them may see this.
    """

    fact: Literal["operated"] = "operated"
    operation_id: OperationId
    at: Instant
    operation: Operation
    by: Voice
    accounts: Annotated[list[AccountId], Field(max_length=2)] = Field(default=[])
    configuration: Count


Fact = Annotated[AnyFact | Operated, Field(discriminator="fact")]
FACTS: TypeAdapter[AnyFact | Operated] = TypeAdapter(Fact)
"""Reads any of them."""


def snapshot_of(content: dict[str, JsonValue]) -> str:
    """The hash that a decision binds: SHA-256 over the canonical JSON of what was shown."""
    return hashlib.sha256(canonical(content)).hexdigest()


def renewed(wish: Wish, request_id: str, reason: str, ends_at: datetime) -> Wish:
    """The same once more with another end, in place of what a request opened: nothing is taken down in between."""
    document = {
        **wish.model_dump(mode="json", by_alias=True),
        "kind": RequestKind.CHANGE,
        "replaces": [request_id],
        "closes": None,
        "emergency": False,
        "ends_at": ends_at.isoformat(),
        "reason": reason,
    }
    try:
        return Wish.model_validate(document)
    except ValidationError as error:
        raise BadInput(f"{request_id}: {faults(error)}") from None
