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
    """A side that somebody may speak for. ``yes``: policy lets them agree now; else ``advice`` and ``rules`` say why not, and
    ``fresh`` whether a fresh sign-in would do.
    """

    side: Side
    yes: bool
    advice: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    fresh: bool = False


def may_say(standing: Standing, request: consent.Standing, by: Voice, now: datetime) -> list[MaySay]:
    """The sides that this person may speak for; none of a request that cannot be decided now."""
    asked = request.asked
    if standing.version is None or request.looked is None or request.stage is not Stage.OPEN or request.lapsed(now):
        return []
    configuration = standing.version.configuration
    found = []
    for side in Side:
        may = speakers(side, asked.wish.grant, asked.by.person, now, configuration.inventory, configuration.people)
        mine = next((one for one in may if one.person == by.person), None)
        if mine is not None:
            found.append(_may(standing, request, side, by, mine.instead_of, now))
    return found


def _may(
    standing: Standing, request: consent.Standing, side: Side, by: Voice, instead_of: str | None, now: datetime
) -> MaySay:
    answer = _agreed(standing, request, side, by, instead_of, now)
    if answer.allowed:
        return MaySay(side, yes=True)
    fresh = by.model_copy(update={"strength": Strength.FRESH})
    would = by.strength is not Strength.FRESH and _agreed(standing, request, side, fresh, instead_of, now).allowed
    return MaySay(side, yes=False, advice=answer.advice, rules=answer.rules, fresh=would)


def _agreed(
    standing: Standing, request: consent.Standing, side: Side, by: Voice, instead_of: str | None, now: datetime
) -> Answer:
    """What policy says to a yes, were it said now."""
    assert standing.version is not None  # noqa: S101  # it stands
    configuration, looked = standing.version.configuration, request.looked
    word = Decided(
        request_id=request.request_id,
        at=now,
        side=side.value,
        agrees=True,
        by=by,
        instead_of=instead_of,
        snapshot="" if looked is None else looked.snapshot,
        configuration=standing.number,
    )
    return standing.policy.decide(decide(word, request, configuration.inventory, configuration.people))


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
