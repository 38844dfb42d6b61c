"""Facts in, one step out: what each side does next about one grant. Plain functions of plain values.

The loop around them (``converge``) acts on the step and looks again, so a step never has to be remembered.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import assert_never

from shared.rules.facts import AssociationStatus, Mode
from shared.rules.leases import Wanted


class Step(Enum):
    """The one thing to do now."""

    SETTLE = "settle"  # the world is as wanted: record it
    CREATE = "create"  # grant, associate or attach
    REMOVE = "remove"  # revoke, dissociate or detach
    CHANGE = "change"  # set the allowed prefixes of a standing association
    LATER = "later"  # something is under way: look again soon
    WAIT = "wait"  # it is the other side's turn: its completion wakes us
    REFUSE = "refuse"  # it can never be as wanted


@dataclass(frozen=True)
class SpokeFacts:
    """What account B's side decides from."""

    wanted: Wanted
    found: bool
    granted: bool
    associated: bool  # B's own view of its instance
    ours: bool
    open_intent: bool
    other_pending: bool
    other_gone: bool  # account A's side is known to have nothing left, for these very leases


def spoke_step(facts: SpokeFacts) -> Step:
    """Account B's next step: grant what is wanted; revoke what is not, once account A has let go of it."""
    if facts.open_intent:
        return Step.LATER
    if facts.wanted.up:
        if not facts.found:
            return Step.REFUSE
        if facts.granted:
            return Step.SETTLE
        return Step.LATER if facts.other_pending else Step.CREATE
    if not facts.granted or not facts.ours:
        return Step.SETTLE
    if facts.other_pending:
        return Step.LATER
    return Step.WAIT if facts.associated or not facts.other_gone else Step.REMOVE


@dataclass(frozen=True)
class HubFacts:
    """What account A's side decides from. ``status`` is the platform's; None when there is no association."""

    wanted: Wanted
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
    if facts.wanted.up:
        if facts.status is None:
            if not facts.granted:
                return Step.WAIT
            return Step.LATER if facts.other_pending else Step.CREATE
        if facts.status != AssociationStatus.ACTIVE:
            return Step.LATER
        if facts.ours and facts.takes_prefixes and facts.prefixes != facts.wanted.prefixes:
            return Step.CHANGE
        return Step.SETTLE
    if facts.status is None or not facts.ours:
        return Step.SETTLE
    return Step.REMOVE if facts.status in tuple(AssociationStatus) else Step.LATER


def believable(*, contradicted_at: Iterable[int], at: int, settle: int) -> bool:
    """Whether a look, begun at this time, can be trusted. It may show a state that is older by up to ``settle``.

    So it proves nothing so soon after what speaks against it (``contradicted_at``). After a write of ours that asked for
    something else than it shows, the answer may come from before that write, or the write may still be on its way; after a
    sight of the other side that shows something else, it may come from before that.
    """
    return all(at - made_at >= settle for made_at in contradicted_at)


def may(mode: Mode, step: Step) -> bool:
    """Whether the mode lets a step act on the cloud."""
    match mode:
        case Mode.FULL:
            return True
        case Mode.PAUSE_TEARDOWN:
            return step is not Step.REMOVE
        case Mode.OBSERVE | Mode.PAUSE_ALL:
            return False
        case unreachable:
            assert_never(unreachable)
