"""Plots that the server draws, as SVG: values day by day. Each says in words what is in it; its numbers stand in a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from math import ceil, floor, log10

from markupsafe import Markup

from shared.page.texts import Texts

Told = Callable[[float], str]

_WIDTH, _HEIGHT, _LEFT, _FOOT, _ROW = 480, 120, 84, 26, 20
_STEPS = (1, 2, 5, 10)
_MINUTE, _HOUR, _DAY = 60.0, 3_600.0, 86_400.0
_FEWEST = 2.0
_DOT = 2.5


@dataclass(frozen=True)
class Series:
    """A value for each day; None: of that day there is none. ``look``: how it is drawn, as the style sheet has it."""

    name: str
    values: Sequence[float | None]
    look: str = ""

    @property
    def known(self) -> list[float]:
        """The values that there are."""
        return [one for one in self.values if one is not None]


def curves(
    t: Texts,
    title: str,
    days: Sequence[date],
    series: Sequence[Series],
    told: Told,
    limit: float | None = None,
    unit: Callable[[float], float] = lambda _: 1.0,
) -> Markup:
    """A line for each; broken where a day has no value. ``limit``: a line that is not to be crossed; ``unit``: what the axis is
    counted in, by the largest value. Empty without any value.
    """
    return _plot(t, title, days, series, told, _line, limit, unit)


def bars(t: Texts, title: str, days: Sequence[date], series: Sequence[Series], told: Told) -> Markup:
    """Bars beside one another, those of a day together. Empty where all are nothing."""
    if not any(any(one.known) for one in series):
        return Markup("")

    def drawn(one: Series, frame: _Frame) -> Iterator[Markup]:
        return _bars(one, frame, list(series).index(one), len(series))

    return _plot(t, title, days, series, told, drawn)


def length_of(t: Texts, seconds: float) -> str:
    """A length of time in its largest unit, such as ``2.5 min``."""
    unit = unit_of(seconds)
    size = f"{seconds / unit:.1f}".removesuffix(".0")
    if unit == _MINUTE:
        return t("{n} min", n=size)
    if unit == _HOUR:
        return t("{n} h", n=size)
    return t("{n} d", n=size) if unit == _DAY else t("{n} s", n=size)


def unit_of(seconds: float) -> float:
    """The largest unit of which a length of time has one, of days two; in seconds."""
    return next((unit for unit in (_DAY, _HOUR, _MINUTE) if seconds >= (2 * unit if unit == _DAY else unit)), 1.0)


@dataclass(frozen=True)
class _Frame:
    """Where values are drawn: ``many`` days, from nothing up to ``most``, below ``top``."""

    many: int
    most: float
    top: float

    @property
    def step(self) -> float:
        return _WIDTH / self.many

    def x(self, day: int) -> float:
        return _LEFT + (day + 0.5) * self.step

    def y(self, value: float) -> float:
        return self.top + _HEIGHT * (1 - value / self.most)


def _plot(
    t: Texts,
    title: str,
    days: Sequence[date],
    series: Sequence[Series],
    told: Told,
    drawn: Callable[[Series, _Frame], Iterator[Markup]],
    limit: float | None = None,
    unit: Callable[[float], float] = lambda _: 1.0,
) -> Markup:
    known = [value for one in series for value in one.known]
    if not known:
        return Markup("")
    most = max([*known, limit or 0])
    size = unit(most)
    frame = _Frame(len(days), _ceiling(most / size) * size, len(series) * _ROW + 14)
    parts = [*_axes(days, frame, told)]
    if limit is not None:
        parts.append(_across(frame.y(limit), "limit"))
    for number, one in enumerate(series):
        parts += [_legend(one, number), *drawn(one, frame)]
    said = "; ".join(
        t("{name}: at most {most}, last {last}", name=one.name, most=told(max(one.known)), last=told(one.known[-1]))
        for one in series
        if one.known
    )
    return Markup('<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _LEFT + _WIDTH + 10, int(frame.top + _HEIGHT + _FOOT), f"{title}. {said}", Markup("").join(parts)
    )


def _ceiling(most: float) -> float:
    """The next round number from there: so that few of them stand at the axis."""
    if most <= _FEWEST:
        return _FEWEST
    size = 10 ** floor(log10(most))
    return float(next(step * size for step in _STEPS if step * size >= most))


def _axes(days: Sequence[date], frame: _Frame, told: Told) -> Iterator[Markup]:
    for value in (0.0, frame.most / 2, frame.most):
        yield _across(frame.y(value), "axis")
        yield _text(_LEFT - 6, frame.y(value) + 4, told(value), "end")
    every = max(1, ceil(len(days) / 6))
    for number in range(0, len(days), every):
        yield _text(frame.x(number), frame.top + _HEIGHT + 20, f"{days[number]:%m-%d}", "middle")


def _legend(one: Series, number: int) -> Markup:
    y = number * _ROW + 14
    return Markup('<line class="curve {}" x1="{}" y1="{}" x2="{}" y2="{}"/>{}').format(
        one.look, _LEFT, y, _LEFT + 24, y, _text(_LEFT + 32, y + 4, one.name, "start")
    )


def _line(one: Series, frame: _Frame) -> Iterator[Markup]:
    """What is together as a line; a day alone, and the last one, as a dot."""
    for run in _runs(one.values):
        points = [(frame.x(day), frame.y(value)) for day, value in run]
        if len(points) > 1:
            said = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            yield Markup('<polyline class="curve {}" points="{}"/>').format(one.look, said)
        x, y = points[-1]
        yield Markup('<circle class="dot {}" cx="{}" cy="{}" r="{}"/>').format(one.look, f"{x:.1f}", f"{y:.1f}", _DOT)


def _runs(values: Sequence[float | None]) -> Iterator[list[tuple[int, float]]]:
    run: list[tuple[int, float]] = []
    for day, value in enumerate(values):
        if value is not None:
            run.append((day, value))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _bars(one: Series, frame: _Frame, place: int, of: int) -> Iterator[Markup]:
    width = frame.step * 0.8 / of
    for day, value in enumerate(one.values):
        if value:
            x = frame.x(day) - frame.step * 0.4 + place * width
            yield Markup('<rect class="bar {}" x="{}" y="{}" width="{}" height="{}"/>').format(
                one.look, f"{x:.1f}", f"{frame.y(value):.1f}", f"{width:.1f}", f"{_HEIGHT * value / frame.most:.1f}"
            )


def _across(y: float, look: str) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
        look, _LEFT, f"{y:.1f}", _LEFT + _WIDTH, f"{y:.1f}"
    )


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(f"{x:.1f}", f"{y:.1f}", anchor, text)
