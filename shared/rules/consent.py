"""What people's words amount to: the facts of one request, in the order of their chain, come to how it stands.

The desk answers by this, the grant function admits by this, and a lease of the desk is proven by this again before anything is
made for it. Whether a word counts is asked of policy; here is only what was said, and in which order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from fractions import Fraction

from shared.errors import BadInput, NotAllowed
from shared.messages.approval import GrantApproval, RevokeApproval
from shared.messages.consent import Amounted, AnyFact, Asked, Decided, Lapsed, LookAsked, Looked, Reviewed, Withdrawn
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
    earlier rounds. ``ended``: the fact that ended it. ``reviewed``: the word that closed an emergency's review.
    """

    asked: Asked
    stage: Stage = Stage.OPEN
    round: int = 0
    looked: Looked | None = None
    before: Looked | None = None
    yes: tuple[Decided, ...] = ()
    void: tuple[Decided, ...] = ()
    ended: AnyFact | None = None
    reviewed: Reviewed | None = None

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
    turns = deque((then for _, then in told_by_turns(facts)), maxlen=1)
    if not turns:
        raise BadInput("there are no facts")
    return turns.pop()


def told_by_turns(facts: Iterable[AnyFact]) -> Iterator[tuple[AnyFact, Standing]]:
    """Each fact of the request that the first is about, with how that stood then. Raises BadInput as ``fold`` does."""
    standing: Standing | None = None
    for fact in facts:
        if standing is None:
            if not isinstance(fact, Asked):
                raise BadInput(f"the facts of {fact.request_id} begin with {fact.fact}, not with its being asked")
            standing = Standing(fact)
        elif fact.request_id != standing.request_id:
            continue
        elif standing.stage is Stage.OPEN:
            standing = _after(standing, fact)
        elif (
            isinstance(fact, Reviewed) and review_due(standing) is not None and fact.by.person not in involved(standing)
        ):
            standing = replace(standing, reviewed=fact)
        yield fact, standing


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
        case Asked() | LookAsked() | Reviewed():
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
_LOOKED = timedelta(minutes=15)
"""When preflight should have looked: what it was told got lost by then, and is told again."""


def due(asked: Asked, reminded: int) -> datetime:
    """When time does something to an open request next, after so many times that it did: the first is whether preflight has
    looked, then come the reminders, then its lapse.
    """
    whole = asked.lapses_at - asked.at
    steps = [whole * part.numerator / part.denominator for part in _REMINDERS]
    steps = [min(_LOOKED, steps[0]), *steps, whole]
    return asked.at + steps[min(reminded, len(_REMINDERS) + 1)]


REVIEW = timedelta(days=3)
"""How long after it was approved an emergency is reviewed."""


def review_due(standing: Standing) -> datetime | None:
    """Until when an emergency is to be reviewed; None for whatever waits for no review."""
    approved = standing.stage is Stage.APPROVED and standing.ended is not None
    if not standing.asked.wish.emergency or not approved or standing.reviewed is not None:
        return None
    assert standing.ended is not None  # noqa: S101  # as above
    return standing.ended.at + REVIEW


def involved(standing: Standing) -> frozenset[str]:
    """Whoever asked, agreed, or was agreed for: none of them reviews it."""
    agreed = {name for one in standing.yes for name in (one.by.person, one.instead_of) if name is not None}
    return frozenset(agreed | {standing.asked.by.person})


def reviewers(standing: Standing, at: datetime, inventory: Inventory, people: People) -> list[str]:
    """Who may review an emergency at that time: whoever may speak for either side, and has nothing to do with it."""
    asked, out = standing.asked, involved(standing)
    may = (one for side in Side for one in speakers(side, asked.wish.grant, asked.by.person, at, inventory, people))
    return list(dict.fromkeys(one.person for one in may if not {one.person, one.instead_of} & out))


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
            return f"was approved at {_moment(fact.at)}{_urgently(standing)}: what it opened is ended by a revoke"
        case Decided() as fact:
            why = f": {fact.reason}" if fact.reason else ""
            return f"was refused at {_moment(fact.at)} by {fact.by.person} for the {fact.side} side{why}"
        case Withdrawn() as fact:
            return f"was withdrawn at {_moment(fact.at)} by {fact.by.person}"
        case Lapsed() as fact:
            return f"lapsed at {_moment(fact.at)}: {fact.reason}"
        case _:
            return "is open"


def _urgently(standing: Standing) -> str:
    """Who has agreed to an emergency, and for which side nobody was asked."""
    due_at = review_due(replace(standing, reviewed=None))
    if due_at is None:
        return ""
    who = " and ".join(f"{one.by.person} for the {one.side} side" for one in standing.yes)
    skipped = [side for side in Side if side not in standing.sides]
    asked = f"; nobody was asked for the {' and '.join(skipped)} side" if skipped else ""
    review = f"to be reviewed until {_moment(due_at)}" if standing.reviewed is None else _review(standing.reviewed)
    return f" as an emergency by {who}{asked}; {review}"


def _review(fact: Reviewed) -> str:
    word = "in order" if fact.in_order else "not in order"
    return f"reviewed at {_moment(fact.at)} by {fact.by.person}, {word}: {fact.reason}"


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
        case LookAsked():
            return f"{fact.by.person} asks to have {name} looked at again"
        case Reviewed():
            return f"{name} was {_review(fact)}"
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
    """Who may speak for a side at that time: its owners, and whoever one of them delegated to; where there is nobody of them,
    its fallback group in the same way. Never the requester, nor anybody instead of the requester. A person who owns it speaks
    in their own name.
    """
    account = inventory.accounts.get(grant.instance_owner_uid if side is Side.GRANT else grant.ecr_owner_uid)
    if account is None:
        return []
    groups = (account.owner, account.fallback)
    found = (_speaking(people.members(group), requester, at, people) for group in groups if group is not None)
    return next(filter(None, found), [])


def spoken_for(person: str, at: datetime, inventory: Inventory, people: People) -> frozenset[str]:
    """The accounts that somebody may be one to speak for at that time, by whoever asks; of one request ``speakers`` says it."""
    mine = {person, *(one.of for one in people.delegations if one.to == person and one.holds(at))}
    return frozenset(
        uid
        for uid, account in inventory.accounts.items()
        if not mine.isdisjoint(people.members(account.owner) | people.members(account.fallback))
    )


def _speaking(owners: frozenset[str], requester: str, at: datetime, people: People) -> list[Speaker]:
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
