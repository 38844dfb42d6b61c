"""Figures over time, over the desk's API."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from shared.desk.api import Calling, Here, scope_of
from shared.desk.parts import Parts
from shared.desk.problems import ANY, documented
from shared.ledger.figures import asked_since, ended_since, hourly, taken_since
from shared.ledger.seeing import Scope
from shared.rules.consent import Stage
from shared.rules.figures import DAY, WRITES_A_MINUTE, Figure, OfDay, Spread, by_day

figures = APIRouter(prefix="/api/v1", responses=ANY)


class SpreadShown(BaseModel):
    """How long something took, in seconds: half of so many no longer than ``median``, nine of ten no longer than ``p90``."""

    many: int
    median: float | None
    p90: float | None


class Counts(BaseModel):
    """What the timer counted, the most of the day; null where it did not."""

    unsettled: int | None = Field(description="sides that are not as wanted, and not dead")
    unsettled_seconds: float | None = Field(description="for how long the oldest has been")
    dead: int | None
    outbox: int | None = Field(description="completions that are not out")
    drift: int | None
    drift_seconds: float | None = Field(description="how long ago the oldest was found")
    requests: int | None = Field(description="requests that are open")
    writes: int | None = Field(description="writes that were decided on within one minute, in all accounts")


class DayShown(BaseModel):
    """One day, UTC."""

    day: date
    granted: SpreadShown = Field(
        description="from a lease's admission to when its grant was made, where it was not there"
    )
    active: SpreadShown = Field(description="from a lease's admission to when all was as wanted")
    asked: int
    ended: dict[Stage, int] = Field(description="requests that ended, by how")
    counts: Counts | None = Field(description="of the whole deployment, for whoever may see everything")


class FiguresShown(BaseModel):
    """Day by day, the oldest first. ``cut``: only the newest were reckoned with, so what is older is less than it was."""

    days: list[DayShown]
    cut: bool
    writes_a_minute: int = Field(
        description="what the platform lets be written within one minute, for each account, region and API"
    )


@figures.get("/figures", responses=documented(401, 403, 422))
def over_time(
    parts: Here, caller: Calling, days: Annotated[int, Query(ge=1, le=90, description="how many, today included")] = 30
) -> FiguresShown:
    """Figures of what may be seen, day by day."""
    found, cut = figures_of(parts, scope_of(parts, caller), days)
    return FiguresShown(days=found, cut=cut, writes_a_minute=WRITES_A_MINUTE)


def figures_of(parts: Parts, scope: Scope, days: int) -> tuple[list[DayShown], bool]:
    """So many days, and whether less was reckoned with than there is. Four statements."""
    last = int(parts.now().timestamp() * 1000) // DAY
    first = last - days + 1
    since = first * DAY
    taken, cut = parts.ledger.glance(taken_since, scope, since)
    asked = parts.ledger.glance(asked_since, scope, since)
    ended = parts.ledger.glance(ended_since, scope, since)
    most = parts.ledger.glance(hourly, since) if scope.everything else {}
    found = by_day(first, last, taken, asked.found, ended.found, most)
    return [_day(one, counted=scope.everything) for one in found], cut or asked.cut or ended.cut


def _day(one: OfDay, *, counted: bool) -> DayShown:
    return DayShown(
        day=datetime.fromtimestamp(one.day * DAY / 1000, UTC).date(),
        granted=_spread(one.granted),
        active=_spread(one.active),
        asked=one.asked,
        ended={Stage(stage): many for stage, many in one.ended.items()},
        counts=_counts(one) if counted else None,
    )


def _counts(one: OfDay) -> Counts:
    most = one.most
    return Counts(
        unsettled=most.get(Figure.UNSETTLED),
        unsettled_seconds=_seconds(most.get(Figure.UNSETTLED_AGE)),
        dead=most.get(Figure.DEAD),
        outbox=most.get(Figure.OUTBOX),
        drift=most.get(Figure.DRIFT),
        drift_seconds=_seconds(most.get(Figure.DRIFT_AGE)),
        requests=most.get(Figure.REQUESTS),
        writes=most.get(Figure.WRITES),
    )


def _spread(one: Spread) -> SpreadShown:
    return SpreadShown(many=one.many, median=_seconds(one.median), p90=_seconds(one.p90))


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
