"""What people's words amount to: the facts of one request, in the order of their chain, come to how it stands.

The desk answers by this, the grant function admits by this, and a lease of the desk is proven by this again before anything is
made for it. Whether a word counts is asked of policy; here is only what was said, and in which order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from fractions import Fraction

from shared.errors import BadInput, NotAllowed
from shared.messages.approval import GrantApproval, RevokeApproval
from shared.messages.consent import Amounted, AnyFact, Asked, Decided, Lapsed, Looked, Withdrawn
from shared.messages.forms import GrantKey
from shared.rules.facts import Side
from shared.rules.inventory import Inventory
from shared.rules.people import People


class Stage(StrEnum):
    """How far a request has come."""

    OPEN = "open"  # it waits for preflight, or for somebody to decide
    APPROVED = "approved"  # what was said sufficed: its approval was admitted
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    LAPSED = "lapsed"


@dataclass(frozen=True)
class Standing:
    """How a request stands. ``round``: raised whenever what is shown to deciders changed, which voids what was said before.

    ``yes``: what counts in this round, one word for each person and side, in the order it was said. ``void``: what counted in
    earlier rounds. ``ended``: the fact that ended it.
    """

    asked: Asked
    stage: Stage = Stage.OPEN
    round: int = 0
    looked: Looked | None = None
    before: Looked | None = None
    yes: tuple[Decided, ...] = ()
    void: tuple[Decided, ...] = ()
    ended: AnyFact | None = None

    @property
    def request_id(self) -> str:
        """The request."""
        return self.asked.request_id

    @property
    def sides(self) -> frozenset[Side]:
        """The sides that somebody said yes for."""
        return frozenset(Side(one.side) for one in self.yes)

    def lapsed(self, now: datetime) -> bool:
        """Whether it can no longer be decided, though nobody has recorded that yet."""
        return self.stage is Stage.OPEN and now >= self.asked.lapses_at


def fold(facts: Iterable[AnyFact]) -> Standing:
    """How a request stands after these facts, in their order. Raises BadInput where they do not begin with its being asked.

    What was said after the end, after it lapsed or about something that is not shown any more changes nothing, whoever wrote it.
    """
    standing: Standing | None = None
    for fact in facts:
        if standing is None:
            if not isinstance(fact, Asked):
                raise BadInput(f"the facts of {fact.request_id} begin with {fact.fact}, not with its being asked")
            standing = Standing(fact)
            continue
        if standing.stage is Stage.OPEN and fact.request_id == standing.request_id:
            standing = _after(standing, fact)
    if standing is None:
        raise BadInput("there are no facts")
    return standing


def _after(standing: Standing, fact: AnyFact) -> Standing:
    match fact:
        case Amounted():
            return replace(standing, stage=Stage.REFUSED if fact.approval is None else Stage.APPROVED, ended=fact)
        case Lapsed():
            return replace(standing, stage=Stage.LAPSED, ended=fact)
        case _ if fact.at >= standing.asked.lapses_at:
            return standing
        case Withdrawn():
            return replace(standing, stage=Stage.WITHDRAWN, ended=fact)
        case Looked():
            return _seen(standing, fact)
        case Decided():
            return _said(standing, fact)
        case Asked():
            return standing


def _seen(standing: Standing, fact: Looked) -> Standing:
    if standing.looked is None:
        return replace(standing, round=1, looked=fact)
    if standing.looked.snapshot == fact.snapshot:
        return replace(standing, looked=fact)
    return replace(
        standing,
        round=standing.round + 1,
        looked=fact,
        before=standing.looked,
        yes=(),
        void=(*standing.void, *standing.yes),
    )


def _said(standing: Standing, fact: Decided) -> Standing:
    if standing.looked is None or fact.snapshot != standing.looked.snapshot:
        return standing
    if not fact.agrees:
        return replace(standing, stage=Stage.REFUSED, ended=fact)
    others = [one for one in standing.yes if (one.by.person, one.side) != (fact.by.person, fact.side)]
    return replace(standing, yes=(*others, fact))


_REMINDERS = (Fraction(1, 2), Fraction(7, 8))
"""When those who may decide are reminded: after these parts of the time that there is."""


def due(asked: Asked, reminded: int) -> datetime:
    """When time does something to an open request next, after so many reminders: another one, or its lapse."""
    if reminded >= len(_REMINDERS):
        return asked.lapses_at
    part = _REMINDERS[reminded]
    return asked.at + (asked.lapses_at - asked.at) * part.numerator / part.denominator


def ensure_open(standing: Standing, now: datetime) -> None:
    """Raise NotAllowed, code RequestEnded, that says how the request ended, or that it lapsed by now."""
    if standing.lapsed(now):
        raise NotAllowed(
            f"{standing.request_id} lapsed at {_moment(standing.asked.lapses_at)}: ask again", code="RequestEnded"
        )
    if standing.stage is not Stage.OPEN:
        raise NotAllowed(f"{standing.request_id} {how_it_ended(standing)}", code="RequestEnded")


def ensure_decidable(standing: Standing, snapshot: str, now: datetime) -> None:
    """Raise NotAllowed where nothing can be decided on this: it ended, preflight has not looked yet (NotLookedYet), or something
    else is to be decided about by now than was shown (SnapshotChanged).
    """
    ensure_open(standing, now)
    if standing.looked is None:
        raise NotAllowed(
            f"{standing.request_id}: preflight has not looked yet, so nobody knows what is decided", code="NotLookedYet"
        )
    if snapshot != standing.looked.snapshot:
        raise NotAllowed(
            f"snapshot: {standing.request_id} is in round {standing.round} by now: look at what changed, then decide again",
            code="SnapshotChanged",
        )


def how_it_ended(standing: Standing) -> str:
    """How a request ended, by whom and when, as the rest of a sentence."""
    match standing.ended:
        case Amounted(approval=None) as fact:
            return f"was refused at {_moment(fact.at)}: {fact.reason}"
        case Amounted() as fact:
            return f"was approved at {_moment(fact.at)}: what it opened is ended by a revoke"
        case Decided() as fact:
            why = f": {fact.reason}" if fact.reason else ""
            return f"was refused at {_moment(fact.at)} by {fact.by.person} for the {fact.side} side{why}"
        case Withdrawn() as fact:
            return f"was withdrawn at {_moment(fact.at)} by {fact.by.person}"
        case Lapsed() as fact:
            return f"lapsed at {_moment(fact.at)}: {fact.reason}"
        case _:
            return "is open"


def told(fact: AnyFact, then: Standing) -> str:
    """A fact in words. ``then``: how the request stood after it."""
    wish, name = then.asked.wish, fact.request_id
    match fact:
        case Asked():
            what = f"{wish.kind} {wish.instance.id} on {wish.ecr.id}"
            relayed = f", through {fact.by.relay}" if fact.by.relay is not None else ""
            return f"{fact.by.person} asks to {what}{relayed}: {wish.reason}"
        case Looked():
            new = f"; this is round {then.round}, what was said before does not count" if then.void else ""
            return f"preflight has looked: {fact.failed} checks failed, {fact.unknown} could not be made{new}"
        case Decided():
            word, why = ("agrees" if fact.agrees else "refuses"), (f": {fact.reason}" if fact.reason else "")
            instead = f" instead of {fact.instead_of}" if fact.instead_of is not None else ""
            return f"{fact.by.person}{instead} {word} for the {fact.side} side{why}"
        case _:
            return f"{name} {how_it_ended(then)}"


def approval_of(standing: Standing, words: Sequence[Decided]) -> GrantApproval | RevokeApproval:
    """The approval that these words for a request come to, dated like the last of them. A revoke may need none: then whoever
    asked has approved it by asking. Raises BadInput for a request that no approval can say.
    """
    asked = standing.asked
    who = [one.by.person for one in words] or [asked.by.person]
    at = max((one.at for one in words), default=asked.at)
    return asked.wish.approval(standing.request_id, asked.by.person, who, at)


# -- who may speak for a side ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Speaker:
    """A person who may speak for a side. ``instead_of``: whoever delegated it to them, where it is not their own."""

    person: str
    instead_of: str | None = None


def speakers(
    side: Side, grant: GrantKey, requester: str, at: datetime, inventory: Inventory, people: People
) -> list[Speaker]:
    """Who may speak for a side at that time: its owners, and whoever one of them delegated to. Never the requester, nor anybody
    instead of the requester. A person who owns it speaks in their own name.
    """
    account = inventory.accounts.get(grant.instance_owner_uid if side is Side.GRANT else grant.ecr_owner_uid)
    owners = frozenset[str]() if account is None else people.members(account.owner)
    found = {person: Speaker(person) for person in sorted(owners) if person != requester}
    for one in people.delegations:
        if one.of in owners and one.holds(at) and requester not in (one.of, one.to):
            found.setdefault(one.to, Speaker(one.to, one.of))
    return list(found.values())


def speaks(fact: Decided, standing: Standing, inventory: Inventory, people: People) -> bool:
    """Whether whoever decided may speak for that side, at the time of it, by this configuration."""
    asked = standing.asked
    side = Side(fact.side)
    found = speakers(side, asked.wish.grant, asked.by.person, fact.at, inventory, people)
    return Speaker(fact.by.person, fact.instead_of) in found


def owns(person: str, grant: GrantKey, inventory: Inventory, people: People) -> list[Side]:
    """The sides of a grant whose owner this person is."""
    uids = {Side.GRANT: grant.instance_owner_uid, Side.ASSOCIATE: grant.ecr_owner_uid}
    listed = {side: inventory.accounts.get(uid) for side, uid in uids.items()}
    return [side for side, account in listed.items() if account is not None and person in people.members(account.owner)]


@dataclass(frozen=True)
class Needed:
    """Whose yes a request takes: of one who may speak for it, for each of these sides; of a lead of it where ``leads``."""

    sides: tuple[Side, ...]
    leads: bool = False


_COMBINATIONS = (
    Needed((Side.GRANT,)),
    Needed((Side.ASSOCIATE,)),
    Needed((Side.GRANT, Side.ASSOCIATE)),
    Needed((Side.GRANT, Side.ASSOCIATE), leads=True),
)


def needed(suffices: Callable[[Needed], bool]) -> Needed | None:
    """The least that suffices by policy; None where nothing does that anybody could say."""
    return next((one for one in _COMBINATIONS if suffices(one)), None)


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
