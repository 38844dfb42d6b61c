"""Who decides about a request, and all that was said of it, as people are shown it; typed for the API."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from pydantic import BaseModel, Field

from shared.desk.parts import Parts
from shared.desk.requests_shown import Word, preflight_told, word_shown
from shared.ledger.seeing import Scope
from shared.loop.deciding import MaySay, may_say, missing
from shared.messages.consent import Amounted, AnyFact, Asked, Decided, Looked, Reviewed, Strength, Voice
from shared.rules.consent import Stage, Standing, fold, review_due, reviewers, speakers, told, told_by_turns
from shared.rules.facts import Side


class FactShown(BaseModel):
    """One thing that was said of a request. ``text``: the same as a sentence; what does not apply is null."""

    at: datetime
    fact: str
    person: str | None
    instead_of: str | None
    relay: str | None
    strength: Strength | None = Field(description="how sure it is who said it")
    side: Side | None
    agrees: bool | None = Field(description="yes or no; of a review: in order or not")
    reason: str
    failed: int | None
    unknown: int | None
    round: int
    text: str


class FactsShown(BaseModel):
    """All that was said of a request, oldest first."""

    facts: list[FactShown]


class SpeakerShown(BaseModel):
    """Somebody who may speak for a side."""

    person: str
    instead_of: str | None


class SideShown(BaseModel):
    """Who decides for one account. ``may``: who may speak for it by the newest configuration; ``said``: words that count."""

    side: Side
    account: str
    takes: bool = Field(description="whether it takes a yes of this side at least")
    may: list[SpeakerShown]
    said: list[Word]


class MineShown(BaseModel):
    """A side that the caller may speak for now. ``yes``: the policy lets them agree; else ``why`` and ``rules`` say why not, and
    ``fresh`` whether a fresh sign-in would do. No can be said whenever there is one.
    """

    side: Side
    yes: bool
    why: list[str]
    rules: list[str]
    fresh: bool


class DecidingShown(BaseModel):
    """Who decides about a request, and what is missing."""

    request_id: str
    sides: list[SideShown]
    leads: bool = Field(description="whether it takes a lead of each side")
    missing: str = Field(description="what is missing while it is open, as a sentence; empty: nothing")
    nobody: str = Field(description="why nothing that anybody could say would suffice; empty where something would")
    mine: list[MineShown]
    reviewers: list[str] = Field(description="who may review it, where it waits for that")


def facts_shown(scope: Scope, facts: Sequence[AnyFact], now: datetime) -> FactsShown:
    """What was said, as far as whoever looks may hear it: of what was seen in account B not even when."""
    sees = preflight_told(scope, fold(facts), now).sees
    return FactsShown(facts=list(_facts(facts, sees=sees)))


def _facts(facts: Sequence[AnyFact], *, sees: bool) -> Iterator[FactShown]:
    for fact, then in told_by_turns(facts):
        if isinstance(fact, Looked) and not sees:
            continue
        by: Voice | None = getattr(fact, "by", None)
        agrees = fact.agrees if isinstance(fact, Decided) else fact.in_order if isinstance(fact, Reviewed) else None
        seen = fact if isinstance(fact, Looked) else None
        yield FactShown(
            at=fact.at,
            fact=fact.fact,
            person=None if by is None else by.person,
            instead_of=fact.instead_of if isinstance(fact, Decided) else None,
            relay=None if by is None else by.relay,
            strength=None if by is None else by.strength,
            side=Side(fact.side) if isinstance(fact, Decided) else None,
            agrees=fact.approval is not None if isinstance(fact, Amounted) else agrees,
            reason=fact.wish.reason if isinstance(fact, Asked) else getattr(fact, "reason", ""),
            failed=None if seen is None else seen.failed,
            unknown=None if seen is None else seen.unknown,
            round=then.round if sees else 0,
            text=told(fact, then),
        )


def deciding_shown(parts: Parts, standing: Standing, by: Voice) -> DecidingShown:
    """Who decides about a request. No statement is asked for it."""
    believed, now, asked = parts.standing(), parts.now(), standing.asked
    assert believed.version is not None  # noqa: S101  # it stands
    inventory, people = believed.version.configuration.inventory, believed.version.configuration.people
    open_ = standing.stage is Stage.OPEN and not standing.lapsed(now)
    lacks = missing(believed, standing, round(now.timestamp() * 1000)) if open_ else None
    takes = None if lacks is None else lacks.takes
    grant = asked.wish.grant
    uids = {Side.GRANT: grant.instance_owner_uid, Side.ASSOCIATE: grant.ecr_owner_uid}
    sides = [
        SideShown(
            side=side,
            account=uid,
            takes=takes is not None and side in takes.sides,
            may=[
                SpeakerShown(person=one.person, instead_of=one.instead_of)
                for one in (speakers(side, grant, asked.by.person, now, inventory, people) if open_ else ())
            ],
            said=[word_shown(one) for one in standing.yes if one.side == side],
        )
        for side, uid in uids.items()
    ]
    return DecidingShown(
        request_id=standing.request_id,
        sides=sides,
        leads=takes is not None and takes.leads,
        missing="" if lacks is None else lacks.wants,
        nobody="" if lacks is None else lacks.nobody,
        mine=[_mine(one) for one in may_say(believed, standing, by, now)],
        reviewers=reviewers(standing, now, inventory, people) if review_due(standing) is not None else [],
    )


def _mine(one: MaySay) -> MineShown:
    return MineShown(side=one.side, yes=one.yes, why=list(one.advice), rules=list(one.rules), fresh=one.fresh)
