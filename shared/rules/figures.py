"""Figures over time, day by day (UTC), from what the ledger has of each: plain functions of plain values. Times are epoch
milliseconds, lengths of time are milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from math import ceil

DAY = 86_400_000
WRITES_A_MINUTE = 120
"""How many writes the platform lets be made in 60 s, by account, region and API (quota page of Express Connect Router)."""


class Figure(StrEnum):
    """What the timer counts at every pass; the most of each hour is kept."""

    UNSETTLED = "unsettled"  # sides that are not as wanted, and not dead
    UNSETTLED_AGE = "unsettled-age"  # of the oldest, in milliseconds
    DEAD = "dead"
    OUTBOX = "outbox"
    DRIFT = "drift"  # sides found to differ from what had settled
    DRIFT_AGE = "drift-age"
    REQUESTS = "requests"  # that are open
    WRITES = "writes"  # that were decided on within one minute


@dataclass(frozen=True)
class Taken:
    """How long it took from a lease's admission to its grant (None: it was there before), and to when all was as wanted."""

    at: int
    granted: int | None
    active: int


@dataclass(frozen=True)
class Spread:
    """Of so many: half of them took no longer than ``median``, nine of ten no longer than ``p90``; None of none."""

    many: int
    median: int | None
    p90: int | None


@dataclass(frozen=True)
class OfDay:
    """One day. ``ended``: requests by the stage that they ended in; ``most``: by figure, the most of that day."""

    day: int
    granted: Spread
    active: Spread
    asked: int
    ended: Mapping[str, int]
    most: Mapping[str, int]


def spread(values: Iterable[int]) -> Spread:
    """By nearest rank: each of both is one of the values."""
    ordered = sorted(values)

    def rank(part: Fraction) -> int | None:
        return ordered[ceil(part * len(ordered)) - 1] if ordered else None

    return Spread(len(ordered), rank(Fraction(1, 2)), rank(Fraction(9, 10)))


def by_day(
    first: int,
    last: int,
    taken: Sequence[Taken],
    asked: Mapping[int, int],
    ended: Mapping[tuple[int, str], int],
    most: Mapping[tuple[int, str], int],
) -> list[OfDay]:
    """Every day from ``first`` to ``last`` (days since 1970), the oldest first. The others' keys begin with a day."""
    found = []
    for day in range(first, last + 1):
        mine = [one for one in taken if one.at // DAY == day]
        found.append(
            OfDay(
                day,
                spread(one.granted for one in mine if one.granted is not None),
                spread(one.active for one in mine),
                asked.get(day, 0),
                {stage: many for (at, stage), many in ended.items() if at == day},
                {name: value for (at, name), value in most.items() if at == day},
            )
        )
    return found
