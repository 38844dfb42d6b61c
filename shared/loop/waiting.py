"""What waits for somebody: the open requests that they may say a word about, and how far each has come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.ledger.consent import standings
from shared.ledger.finding import open_requests
from shared.ledger.transactions import Ledger
from shared.rules.configuration import Configuration
from shared.rules.consent import Stage, Standing, speakers, spoken_for
from shared.rules.facts import Side

MOST = 300
"""Requests that are looked through, the oldest first."""


@dataclass(frozen=True)
class Waits:
    """An open request. ``sides``: those that this person may speak for and has not agreed for in this round; ``said``: those that
    they have. Without a look of preflight (``standing.looked``) nothing can be decided yet.
    """

    standing: Standing
    sides: tuple[Side, ...]
    said: tuple[Side, ...]


def waiting(ledger: Ledger, configuration: Configuration, person: str, now: datetime) -> tuple[list[Waits], bool]:
    """What waits for this person, the oldest first; and whether there is more than was looked through. Two statements."""
    inventory, people = configuration.inventory, configuration.people
    accounts = spoken_for(person, now, inventory, people)
    if not accounts:
        return [], False
    rows = ledger.glance(open_requests, accounts, MOST + 1)
    ids = [row.request_id for row in rows[:MOST] if row.requester != person]
    found = ledger.glance(standings, ids) if ids else {}
    waits = (_waits(found[one], person, now, configuration) for one in ids if one in found)
    return [one for one in waits if one is not None], len(rows) > MOST


def _waits(standing: Standing, person: str, now: datetime, configuration: Configuration) -> Waits | None:
    sides = sides_of(standing, person, now, configuration)
    if not sides:
        return None
    said = tuple(side for side in sides if any(one.by.person == person and one.side == side for one in standing.yes))
    return Waits(standing, tuple(side for side in sides if side not in said), said)


def sides_of(standing: Standing, person: str, now: datetime, configuration: Configuration) -> Sequence[Side]:
    """The sides of an open request that somebody may speak for now; none of one that ended or lapsed."""
    if standing.stage is not Stage.OPEN or standing.lapsed(now):
        return ()
    asked = standing.asked
    return [
        side
        for side in Side
        if any(
            one.person == person
            for one in speakers(
                side, asked.wish.grant, asked.by.person, now, configuration.inventory, configuration.people
            )
        )
    ]
