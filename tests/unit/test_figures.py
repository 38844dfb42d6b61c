"""Figures over time: medians by rank, and every day that there is."""

from __future__ import annotations

import pytest

from shared.rules.figures import DAY, Spread, Taken, by_day, spread


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], Spread(0, None, None)),
        ([7], Spread(1, 7, 7)),
        ([9, 1], Spread(2, 1, 9)),
        ([3, 1, 2], Spread(3, 2, 3)),
        (range(1, 11), Spread(10, 5, 9)),
        (range(1, 101), Spread(100, 50, 90)),
    ],
)
def test_half_and_nine_of_ten_took_no_longer(values: range, expected: Spread) -> None:
    """Each is one of the values."""
    assert spread(values) == expected


def test_each_day_has_its_own() -> None:
    """Also one on which nothing was; what is of a day that was not asked for is left out."""
    taken = [Taken(10 * DAY, 5, 9), Taken(11 * DAY - 1, None, 3), Taken(12 * DAY, 1, 1), Taken(9 * DAY, 1, 1)]
    first, second, third = by_day(
        10, 12, taken, {10: 4, 9: 1}, {(12, "approved"): 2, (12, "lapsed"): 1}, {(11, "dead"): 3}
    )
    assert (first.day, first.granted, first.active) == (10, Spread(1, 5, 5), Spread(2, 3, 9))
    assert (first.asked, dict(first.ended), dict(first.most)) == (4, {}, {})
    assert (second.active.many, dict(second.most)) == (0, {"dead": 3})
    assert dict(third.ended) == {"approved": 2, "lapsed": 1}
