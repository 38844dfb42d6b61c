"""Facts in, one step out: what each side does next about one grant. Plain functions of plain values.

The loop around them (``converge``) acts on the step and looks again, so a step never has to be remembered.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import assert_never

from shared.rules.facts import AssociationStatus, Hold, Mode, Stops
from shared.rules.leases import Level, Wanted, in_order


class Step(Enum):
    """The one thing to do now."""

    SETTLE = "settle"  # the world is as wanted: record it
    CREATE = "create"  # grant, associate or attach
    REMOVE = "remove"  # revoke, dissociate or detach
    CHANGE = "change"  # set the allowed prefixes of a standing association
    LATER = "later"  # something is under way: look again soon
    WAIT = "wait"  # it is the other side's turn: its completion wakes us
    HOLD = "hold"  # a person says that it must not be done now
    REFUSE = "refuse"  # it can never be as wanted


@dataclass(frozen=True)
class SpokeFacts:
    """What account B's side decides from."""

    wanted: Wanted
    stops: Stops
    found: bool
    granted: bool
    associated: bool  # B's own view of its instance
    elsewhere: bool  # B's own view: it hangs on another ECR
    ours: bool
    open_intent: bool
    other_pending: bool
    other_gone: bool  # account A's side is known to have nothing left, for these very leases


def spoke_step(facts: SpokeFacts) -> Step:
    """Account B's next step: grant what is wanted; revoke what is not, once account A has let go of it."""
    if facts.open_intent:
        return Step.LATER
    match facts.wanted.level:
        case Level.UP:
            if facts.granted:
                return Step.SETTLE
            if not facts.found or facts.elsewhere:
                return Step.REFUSE
            if facts.stops.create is not None:
                return Step.HOLD
            return Step.LATER if facts.other_pending else Step.CREATE
        case Level.KEEP:
            return Step.SETTLE
        case Level.DOWN:
            if not facts.granted or not facts.ours:
                return Step.SETTLE
            if facts.other_pending:
                return Step.LATER
            if facts.associated or not facts.other_gone:
                return Step.WAIT
            return Step.REMOVE if facts.stops.remove is None else Step.HOLD
        case unreachable:
            assert_never(unreachable)


@dataclass(frozen=True)
class HubFacts:
    """What account A's side decides from. ``status`` is the platform's; None when there is no association."""

    wanted: Wanted
    stops: Stops
    status: str | None
    prefixes: tuple[str, ...]
    ours: bool
    takes_prefixes: bool
    open_intent: bool
    other_pending: bool
    granted: bool  # account B's side has settled with the grant up, for these very leases


def hub_step(facts: HubFacts) -> Step:
    """Account A's next step: associate what is granted; dissociate what is no longer wanted."""
    if facts.open_intent:
        return Step.LATER
    if facts.wanted.level is Level.DOWN:
        if facts.status is None or not facts.ours:
            return Step.SETTLE
        if facts.status not in tuple(AssociationStatus):
            return Step.LATER
        return Step.REMOVE if facts.stops.remove is None else Step.HOLD
    if facts.status is None:
        if facts.wanted.level is Level.KEEP:
            return Step.SETTLE
        if not facts.granted:
            return Step.WAIT
        if facts.stops.create is not None:
            return Step.HOLD
        return Step.LATER if facts.other_pending else Step.CREATE
    if facts.status != AssociationStatus.ACTIVE:
        return Step.LATER
    right = facts.wanted.beside(facts.prefixes)
    # An empty list would not mean nothing: an association without allowed prefixes is not restricted by any.
    if not facts.ours or not facts.takes_prefixes or not right or facts.prefixes == right:
        return Step.SETTLE
    given = allowed(facts.wanted, facts.stops, facts.prefixes)
    return Step.CHANGE if given and given != facts.prefixes else Step.HOLD


def allowed(wanted: Wanted, stops: Stops, standing: tuple[str, ...]) -> tuple[str, ...]:
    """The prefixes that a standing association is to be given now: what is wanted, as far as people let us widen and narrow."""
    right = set(wanted.beside(standing))
    if stops.create is not None:
        right &= set(standing)
    if stops.remove is not None:
        right |= set(standing)
    return in_order(right)


def stops(mode: Mode, holds: Iterable[Hold]) -> Stops:
    """What the mode and the holds on a grant, its accounts and its ECR let nobody do."""
    said = f"the mode is {mode}"
    match mode:
        case Mode.FULL:
            found = Stops()
        case Mode.PAUSE_TEARDOWN:
            found = Stops(remove=said)
        case Mode.OBSERVE:
            found = Stops(said, said)
        case Mode.PAUSE_ALL:
            found = Stops(said, said, look=True)
        case unreachable:
            assert_never(unreachable)
    every = sorted(holds, key=lambda hold: (not hold.everything, hold.at))
    create = found.create or next((hold.text for hold in every), None)
    remove = found.remove or next((hold.text for hold in every if hold.everything), None)
    return Stops(create, remove, found.look)


def believable(*, contradicted_at: Iterable[int], at: int, settle: int) -> bool:
    """Whether a look, begun at this time, can be trusted. It may show a state that is older by up to ``settle``.

    So it proves nothing so soon after what speaks against it (``contradicted_at``). After a write of ours that asked for
    something else than it shows, the answer may come from before that write, or the write may still be on its way; after a
    sight of the other side that shows something else, it may come from before that.
    """
    return all(at - made_at >= settle for made_at in contradicted_at)
