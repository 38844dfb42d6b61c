"""What somebody may say about a request now, asked of policy before they say it, and what it still takes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from shared.errors import NotAllowed
from shared.loop.consent import takes, weigh
from shared.loop.gate import Standing
from shared.messages.consent import Decided, Strength, Voice
from shared.rules import consent
from shared.rules.consent import Needed, Stage, owns, speakers
from shared.rules.facts import Side
from shared.rules.questions import Answer
from shared.rules.vouching import decide


@dataclass(frozen=True)
class MaySay:
    """What a person may say for one side. ``advice`` and ``rules``: why not yes; ``fresh``: a fresh sign-in would do."""

    side: Side
    yes: bool
    no: bool
    advice: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    fresh: bool = False


def may_say(standing: Standing, request: consent.Standing, by: Voice, now: datetime) -> list[MaySay]:
    """For each side that this person may speak for; nothing for a request that cannot be decided now."""
    looked, asked = request.looked, request.asked
    if standing.version is None or looked is None or request.stage is not Stage.OPEN or request.lapsed(now):
        return []
    configuration = standing.version.configuration
    inventory, people = configuration.inventory, configuration.people
    found = []
    for side in Side:
        may = speakers(side, asked.wish.grant, asked.by.person, now, inventory, people)
        mine = next((one for one in may if one.person == by.person), None)
        if mine is None:
            continue

        def answer(*, agrees: bool, strength: Strength, mine: consent.Speaker = mine, side: Side = side) -> Answer:
            word = Decided(
                request_id=request.request_id,
                at=now,
                side=side.value,
                agrees=agrees,
                by=by.model_copy(update={"strength": strength}),
                instead_of=mine.instead_of,
                snapshot=looked.snapshot,
                configuration=standing.number,
            )
            return standing.policy.decide(decide(word, request, inventory, people))

        yes, no = answer(agrees=True, strength=by.strength), answer(agrees=False, strength=by.strength)
        fresh = not yes.allowed and answer(agrees=True, strength=Strength.FRESH).allowed
        found.append(MaySay(side, yes.allowed, no.allowed, tuple(yes.advice), tuple(yes.rules), fresh))
    return found


@dataclass(frozen=True)
class Missing:
    """What an open request still takes. ``takes``: the least, where nobody has said anything; None where whoever asked may do it
    alone, or ``nobody`` says why nothing would suffice. ``wants``: what is missing by now, as a sentence; empty: nothing is.
    """

    takes: Needed | None
    nobody: str = ""
    wants: str = ""


def missing(standing: Standing, request: consent.Standing, now: int) -> Missing:
    """What a request takes by the configuration that stands. ``now``: epoch milliseconds."""
    assert standing.version is not None  # noqa: S101  # it stands
    configuration = standing.version.configuration
    asked = request.asked
    wants = weigh(standing, request, now).wants
    if not asked.wish.opens and owns(asked.by.person, asked.wish.grant, configuration.inventory, configuration.people):
        return Missing(None, wants=wants)
    try:
        return Missing(takes(standing, consent.Standing(asked), now), wants=wants)
    except NotAllowed as error:
        return Missing(None, nobody=str(error), wants=wants)
