"""When a timer trigger fires: six cron fields with seconds, or ``@every 5m`` (function-compute.md section 2.3).

Fields are second, minute, hour, day of month, month, day of week; a day of month and a day of week that are both
restricted must both match. Times are UTC unless the expression starts with ``CRON_TZ=Zone/Name``.
"""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_EVERY = re.compile(r"@every\s+((?:\d+(?:\.\d+)?[hms])+)")
_SPAN = re.compile(r"(\d+(?:\.\d+)?)([hms])")
_UNIT = {"h": 3600.0, "m": 60.0, "s": 1.0}
_HORIZON = timedelta(days=366 * 8)
"""Far enough for the 29th of February, so that an expression that never fires is found out."""


class Schedule(ABC):
    """Answers one question: after this moment, when next?"""

    @abstractmethod
    def after(self, moment: float) -> float:
        """The first firing after ``moment``, both epoch seconds."""


@dataclass(frozen=True)
class Every(Schedule):
    """A fixed distance from one firing to the next."""

    seconds: float

    def after(self, moment: float) -> float:
        """One distance later."""
        return moment + self.seconds


@dataclass(frozen=True)
class Cron(Schedule):
    """The six fields as the sets of numbers they allow."""

    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    zone: tzinfo = UTC

    def after(self, moment: float) -> float:
        """Walk forward field by field, the largest first, until every field agrees."""
        found = self._search(datetime.fromtimestamp(int(moment) + 1, self.zone))
        if found is None:
            raise ValueError("the expression names a date that never comes")
        return found.timestamp()

    def _search(self, start: datetime) -> datetime | None:
        here = start.replace(tzinfo=None)
        limit = here + _HORIZON
        while here < limit:
            if here.month not in self.months or not self._day(here):
                here = here.replace(hour=0, minute=0, second=0) + timedelta(days=1)
            elif here.hour not in self.hours:
                here = here.replace(minute=0, second=0) + timedelta(hours=1)
            elif here.minute not in self.minutes:
                here = here.replace(second=0) + timedelta(minutes=1)
            elif here.second not in self.seconds:
                here += timedelta(seconds=1)
            else:
                found = here.replace(tzinfo=self.zone)
                if found >= start:
                    return found
                here += timedelta(seconds=1)  # the hour that a zone repeats in autumn
        return None

    def _day(self, here: datetime) -> bool:
        return here.day in self.days and here.isoweekday() % 7 in self.weekdays


def parse(expression: str) -> Schedule:
    """The schedule an expression stands for; ValueError says what cannot be read."""
    every = _EVERY.fullmatch(expression.strip())
    if every is not None:
        seconds = sum(float(count) * _UNIT[unit] for count, unit in _SPAN.findall(every[1]))
        if seconds < 1:
            raise ValueError(f"{expression!r} fires more often than once a second")
        return Every(seconds)
    fields = expression.split()
    zone: tzinfo = UTC
    if fields and fields[0].startswith("CRON_TZ="):
        name = fields.pop(0).removeprefix("CRON_TZ=")
        try:
            zone = ZoneInfo(name)
        except (KeyError, ValueError, OSError) as problem:
            raise ValueError(f"{name!r} is not a time zone") from problem
    if len(fields) != 6:
        raise ValueError(
            f"{expression!r} has {len(fields)} fields; six are needed (second minute hour day month weekday), or '@every 5m'"
        )
    cron = Cron(
        seconds=_field(fields[0], "second", 0, 59),
        minutes=_field(fields[1], "minute", 0, 59),
        hours=_field(fields[2], "hour", 0, 23),
        days=_field(fields[3], "day of month", 1, 31),
        months=_field(fields[4], "month", 1, 12, _MONTHS),
        weekdays=frozenset(day % 7 for day in _field(fields[5], "day of week", 0, 7, _DAYS)),
        zone=zone,
    )
    cron.after(0.0)  # an expression that never fires is a mistake worth hearing of now
    return cron


def _field(text: str, name: str, low: int, high: int, names: tuple[str, ...] = ()) -> frozenset[int]:
    """The numbers one field allows: lists, ranges, steps, names."""
    allowed: set[int] = set()
    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        if slash and not (step_text.isdecimal() and int(step_text) > 0):
            raise ValueError(f"{name}: {part!r} has no usable step")
        step = int(step_text) if slash else 1
        if span in {"*", "?"}:
            first, last = low, high
        else:
            begin, dash, end = span.partition("-")
            first = _number(begin, name, low, high, names)
            last = _number(end, name, low, high, names) if dash else (high if slash else first)
        if first > last:
            raise ValueError(f"{name}: {part!r} runs backwards")
        allowed.update(range(first, last + 1, step))
    return frozenset(allowed)


def _number(text: str, name: str, low: int, high: int, names: tuple[str, ...]) -> int:
    if text.upper() in names:
        return names.index(text.upper()) + (0 if names is _DAYS else 1)
    if not text.isdecimal() or not low <= int(text) <= high:
        raise ValueError(f"{name}: {text!r} is not between {low} and {high}")
    return int(text)
