"""Figures over time on the page: a plot for each question, the numbers beside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from fastapi import APIRouter, Response
from markupsafe import Markup

from shared.desk.figures_api import Counts, DayShown, SpreadShown, figures_of
from shared.page.plots import Series, Told, bars, curves, length_of, unit_of
from shared.page.texts import Texts
from shared.page.viewer import Looking
from shared.rules.consent import Stage
from shared.rules.figures import WRITES_A_MINUTE

routes = APIRouter()

DAYS = (7, 30, 90)


@dataclass(frozen=True)
class Plot:
    """One question over time. ``picture`` is empty where there is nothing to draw; ``rows``: each day with its values."""

    title: str
    about: str
    picture: Markup
    names: Sequence[str]
    rows: Sequence[tuple[date, Sequence[str]]]


@routes.get("/figures")
def figures(viewer: Looking, days: Literal["7", "30", "90"] = "30") -> Response:
    """So many days, today included. Four statements."""
    found, cut = figures_of(viewer.parts, viewer.scope, int(days))
    plots = list(plots_of(viewer.t, found))
    return viewer.page("figures.html", plots=plots, days=int(days), every=DAYS, cut=cut, whole=viewer.scope.everything)


def plots_of(t: Texts, found: Sequence[DayShown]) -> Iterator[Plot]:
    """All plots; those of the whole deployment only where its counts are known."""
    yield from _of_leases(t, found)
    if any(one.counts is not None for one in found):
        yield from _of_deployment(t, found)


def _of_leases(t: Texts, found: Sequence[DayShown]) -> Iterator[Plot]:
    def spread(title: str, about: str, of: Callable[[DayShown], SpreadShown]) -> Plot:
        series = [
            Series(t("half took no longer than"), [of(one).median for one in found]),
            Series(t("nine of ten took no longer than"), [of(one).p90 for one in found], "second"),
        ]
        return _curves(t, title, about, found, series, lambda value: length_of(t, value), unit=unit_of)

    yield spread(
        t("Time until granted"),
        t("From a lease's admission until its grant was made on the cloud, by the day on which all was done."),
        lambda one: one.granted,
    )
    yield spread(
        t("Time until active"),
        t("From a lease's admission until grant and association were as wanted."),
        lambda one: one.active,
    )
    ended = {stage: [float(one.ended.get(stage, 0)) for one in found] for stage in Stage}
    others = [sum(values) for values in zip(*(ended[one] for one in _NOT_APPROVED), strict=True)]
    series = [
        Series(t("asked"), [float(one.asked) for one in found]),
        Series(t("approved"), ended[Stage.APPROVED], "added"),
        Series(t("refused, lapsed or withdrawn"), others, "gone"),
    ]
    title, days = t("Requests and what was decided"), [one.day for one in found]
    about = t("Requests that were asked on a day, and those that ended on it.")
    yield Plot(title, about, bars(t, title, days, series, _number), [one.name for one in series], _rows(found, series))


_NOT_APPROVED = (Stage.REFUSED, Stage.LAPSED, Stage.WITHDRAWN)


def _of_deployment(t: Texts, found: Sequence[DayShown]) -> Iterator[Plot]:
    def counted(name: str, of: Callable[[Counts], float | None], look: str = "") -> Series:
        return Series(name, [None if one.counts is None else of(one.counts) for one in found], look)

    yield _curves(
        t,
        t("Open work"),
        t("The most of each day: sides that are not as wanted yet, dead ones, and requests that nobody has decided."),
        found,
        [
            counted(t("not as wanted"), lambda one: one.unsettled),
            counted(t("dead"), lambda one: one.dead, "gone"),
            counted(t("open requests"), lambda one: one.requests, "second"),
        ],
        _number,
    )
    yield _curves(
        t,
        t("Quota used"),
        t("The most writes within a minute, of all accounts together, beside what the platform lets one account make."),
        found,
        [counted(t("writes within a minute"), lambda one: one.writes)],
        _number,
        WRITES_A_MINUTE,
    )
    yield _curves(
        t,
        t("Age of drift"),
        t("How long ago the oldest difference that still stands was found."),
        found,
        [counted(t("the oldest drift"), lambda one: one.drift_seconds)],
        lambda value: length_of(t, value),
        unit=unit_of,
    )


def _curves(
    t: Texts,
    title: str,
    about: str,
    found: Sequence[DayShown],
    series: Sequence[Series],
    told: Told,
    limit: float | None = None,
    unit: Callable[[float], float] = lambda _: 1.0,
) -> Plot:
    picture = curves(t, title, [one.day for one in found], series, told, limit, unit)
    return Plot(title, about, picture, [one.name for one in series], _rows(found, series, told))


def _rows(
    found: Sequence[DayShown], series: Sequence[Series], told: Told | None = None
) -> list[tuple[date, list[str]]]:
    tell = told or _number
    values = [["—" if value is None else tell(value) for value in one.values] for one in series]
    return [(one.day, [each[number] for each in values]) for number, one in enumerate(found)][::-1]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"
