"""What waits for a decision, on the page: what whoever looks has to decide, oldest first, and then what others have to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from fastapi import APIRouter, Response

from shared.desk.requests_shown import Told, preflight_told
from shared.ledger.consent import standings
from shared.ledger.finding import open_requests, waiting_reviews
from shared.loop.waiting import MOST, waiting
from shared.messages.consent import Asked
from shared.page.viewer import Looking, Viewer
from shared.rules.consent import Stage, Standing, review_due, reviewers
from shared.rules.facts import Side

routes = APIRouter()

_REVIEWS = 100


@dataclass(frozen=True)
class Line:
    """One row: a request, or those of a batch that are in the list. ``told``: what preflight saw of the first, as far as whoever
    looks may hear it; ``sides``: those that they may still agree for.
    """

    asked: Asked
    told: Told
    sides: tuple[Side, ...]
    number: int = 1

    @property
    def where(self) -> str:
        """Its page."""
        batch = self.asked.batch
        return f"/requests/{self.asked.request_id}" if batch is None else f"/batches/{batch}"


@routes.get("/decide")
def decide(viewer: Looking) -> Response:
    """What waits, for whoever looks first; six statements."""
    found, more = waiting(viewer.parts.ledger, viewer.configuration, viewer.person, viewer.parts.now())
    mine = [(one.standing, one.sides) for one in found if one.sides]
    others, more_of_others = _others(viewer, {one.request_id for one, _ in mine})
    return viewer.page(
        "decide.html",
        mine=_together(viewer, mine),
        others=_together(viewer, [(one, ()) for one in others]),
        reviews=_reviews(viewer),
        more=more or more_of_others,
        most=MOST,
    )


def _others(viewer: Viewer, but: set[str]) -> tuple[list[Standing], bool]:
    """What is open on the accounts that whoever looks may see, for others to decide; and whether there is more."""
    ledger, now = viewer.parts.ledger, viewer.parts.now()
    rows = ledger.glance(open_requests, viewer.scope.accounts, MOST + 1) if viewer.scope.accounts else []
    ids = [row.request_id for row in rows[:MOST] if row.request_id not in but]
    found = ledger.glance(standings, ids) if ids else {}
    known = (found[one] for one in ids if one in found)
    return [one for one in known if one.stage is Stage.OPEN and not one.lapsed(now)], len(rows) > MOST


def _reviews(viewer: Viewer) -> list[tuple[Standing, datetime]]:
    """The emergencies that whoever looks may review, and until when, the most urgent first."""
    rows = viewer.parts.ledger.glance(waiting_reviews, viewer.scope, _REVIEWS)
    ids = [row.request_id for row in rows]
    found = viewer.parts.ledger.glance(standings, ids) if ids else {}
    now, inventory, people = viewer.parts.now(), viewer.configuration.inventory, viewer.configuration.people
    waits = [(found[one], review_due(found[one])) for one in ids if one in found]
    return [
        (one, due) for one, due in waits if due is not None and viewer.person in reviewers(one, now, inventory, people)
    ]


def _together(viewer: Viewer, waits: Iterable[tuple[Standing, tuple[Side, ...]]]) -> list[Line]:
    """In their order, those of a batch as one where its first is."""
    found: dict[str, Line] = {}
    now = viewer.parts.now()
    for standing, sides in waits:
        asked = standing.asked
        name = asked.batch or asked.request_id
        line = found.get(name)
        found[name] = (
            Line(asked, preflight_told(viewer.scope, standing, now), sides)
            if line is None
            else replace(line, number=line.number + 1)
        )
    return list(found.values())
