"""Plots as plain functions: what is drawn, what is said in words, and nothing where there is nothing."""

from __future__ import annotations

import re
from datetime import date, timedelta
from xml.etree import ElementTree as Xml

import pytest
from hypothesis import given
from hypothesis import strategies as some

from shared.page.plots import Series, bars, curves, length_of
from shared.page.texts import Language, Texts

EN, ZH = Texts(Language.EN), Texts(Language.ZH)
DAYS = [date(2026, 1, 1) + timedelta(days=number) for number in range(5)]


def number(value: float) -> str:
    """As a figure is told."""
    return f"{value:.0f}"


def test_a_line_is_broken_where_a_day_has_no_value() -> None:
    """Two days together are a line, one alone is a dot; what it comes to is said in words."""
    picture = str(curves(EN, "Open work", DAYS, [Series("dead", [1, 3, None, 2, None])], number))
    lines = re.findall(r'<polyline class="curve " points="([^"]*)"', picture)
    assert [len(one.split()) for one in lines] == [2]
    assert picture.count("<circle") == 2
    assert 'aria-label="Open work. dead: at most 3, last 2"' in picture


def test_more_is_higher_and_later_is_further_right() -> None:
    """In the coordinates of SVG, where what is higher has less of y."""
    picture = str(curves(EN, "x", DAYS, [Series("a", [0, 1, 2, 5, 10])], number))
    [points] = re.findall(r'points="([^"]*)"', picture)
    places = [tuple(map(float, one.split(","))) for one in points.split()]
    assert places == sorted(places, key=lambda one: one[0])
    assert places == sorted(places, key=lambda one: -one[1])
    assert len(set(places)) == len(DAYS)


def test_a_limit_is_drawn_and_within_the_picture_however_little_is_used() -> None:
    """So that one sees how much is left."""
    picture = str(curves(EN, "x", DAYS, [Series("a", [1, 1, 1, 1, 1])], number, 120))
    assert 'class="limit"' in picture
    assert ">200<" in picture


def test_bars_are_drawn_for_what_is_something() -> None:
    """One beside the other."""
    picture = str(bars(EN, "x", DAYS, [Series("a", [1, 0, 0, 0, 2]), Series("b", [0, 3, 0, 0, 0], "gone")], number))
    assert (picture.count('class="bar "'), picture.count('class="bar gone"')) == (2, 1)


def test_nothing_is_drawn_of_nothing() -> None:
    """The page says so in words instead."""
    assert curves(EN, "x", DAYS, [Series("a", [None] * 5)], number) == ""
    assert bars(EN, "x", DAYS, [Series("a", [0] * 5)], number) == ""


@given(
    some.lists(some.none() | some.floats(0, 1e9), min_size=1, max_size=90),
    some.text(max_size=30),
)
def test_any_values_and_names_make_one_picture(values: list[float | None], name: str) -> None:
    """Well-formed, every number in it finite, a name is text whatever it is."""
    days = [date(2026, 1, 1) + timedelta(days=one) for one in range(len(values))]
    clean = "".join(one for one in name if one.isprintable())
    for picture in (
        curves(EN, clean, days, [Series(clean, values)], number),
        bars(EN, clean, days, [Series(clean, values)], number),
    ):
        if picture:
            root = Xml.fromstring(str(picture))  # noqa: S314  # our own
            assert root.attrib["role"] == "img"
            assert not re.search(r'="[^"]*\b(nan|inf)\b', re.sub(r'aria-label="[^"]*"', "", str(picture)))


@pytest.mark.parametrize(
    ("seconds", "en", "zh"),
    [
        (0.4, "0.4 s", "0.4 秒"),
        (59, "59 s", "59 秒"),
        (150, "2.5 min", "2.5 分钟"),
        (7_200, "2 h", "2 小时"),
        (259_200, "3 d", "3 天"),
    ],
)
def test_a_length_of_time_is_told_in_its_largest_unit(seconds: float, en: str, zh: str) -> None:
    """In both languages."""
    assert (length_of(EN, seconds), length_of(ZH, seconds)) == (en, zh)
