"""What policy is asked and what it answers, as data: both are kept with what they decided, and asked again by a replay.

The words here are those of the schema (`shared/rules/shipped.py`). Entities and values are written as Cedar's JSON writes them.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, JsonValue

from shared.errors import NotAllowed


class Act(StrEnum):
    """What somebody wants to do; one question each."""

    SEE = "see"
    ASK = "ask"
    DECIDE = "decide"
    VOUCH = "vouch"
    OPERATE = "operate"


class FourEyes(StrEnum):
    """Whether whoever approved is somebody other than who requested."""

    KEPT = "kept"  # everybody is a known person, and no approver is the requester
    OWN = "own"  # not proved here, but the issuer's scope says that it sees to it
    UNPROVED = "unproved"  # somebody is no known person
    BROKEN = "broken"  # an approver is the requester, by name or by person


class Supernets(StrEnum):
    """Whether the configuration says which addresses an account has."""

    LISTED = "listed"
    UNKNOWN = "unknown"


class Command(StrEnum):
    """A command that changes something."""

    MODE = "mode"
    HOLD = "hold"
    LIFT = "lift"
    ADOPT = "adopt"
    REPAIR = "repair"
    DEAD_REDRIVE = "dead-redrive"
    CONFIG_APPLY = "config-apply"


class Via(StrEnum):
    """How a command is given."""

    LEDGER = "ledger"  # with the ledger open, by a name that is a claim
    DESK = "desk"  # by somebody who signed in


class TargetKind(StrEnum):
    """What such a command changes."""

    DEPLOYMENT = "deployment"
    ECR = "ecr"
    ACCOUNT = "account"
    GRANT = "grant"
    DEAD = "dead"
    CONFIGURATION = "configuration"


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Named(_Fact):
    """The name of an entity of the schema."""

    type: str
    id: str


class Entity(Named):
    """An entity with everything the schema says of it. ``parents``: what it is in, such as the groups of a person."""

    attrs: dict[str, JsonValue] = {}
    parents: tuple[Named, ...] = ()


class Question(_Fact):
    """May this principal do this to this resource, in this context? Whole: nothing else is asked for to answer it."""

    act: Act
    principal: Entity
    resource: Entity
    context: dict[str, JsonValue] = {}


class Answer(_Fact):
    """``rules``: ids of those that decided; none where nothing permits. ``advice``: what to do about a refusal, as the rules say.

    ``errors``: what kept the question from being answered; then it is a refusal, whatever the rules say.
    """

    allowed: bool
    rules: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


def ensure(answer: Answer) -> None:
    """Raise NotAllowed for a refusal: code PolicyFailed with what went wrong, else PolicyForbids with what to do about it."""
    if answer.errors:
        raise NotAllowed(f"policy gave no answer: {'; '.join(answer.errors)}", code="PolicyFailed")
    if not answer.allowed:
        error = NotAllowed(" ".join(answer.advice) or "nothing in the policy permits it", code="PolicyForbids")
        error.rules, error.advice = answer.rules, answer.advice
        raise error
