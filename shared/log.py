"""Logs: one JSON object a line on standard output, where Log Service takes it as it is.

A line is a word with its facts. Words are declared in ``shared.words``, and there is no other way to write a line. Credentials
and whole payloads stay out.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Any, Generic, ParamSpec

import structlog

from shared import STARTED

P = ParamSpec("P")

LONGEST = 30_000  # bytes; what is longer may be cut in two on its way, and half a line is no JSON
_NAMES = 1_000  # bytes; what the names of a line's facts take at most

ALWAYS = ("event", "level", "time")
"""What every line has beside the facts of its word."""
CARRIED = ("invocation", "grant", "side")
"""What a line has where it is known: its invocation, and the grant and side that are being worked on."""
TRACEBACK = "exception"
"""The fact in which words for faults of ours carry a traceback."""


class Level(StrEnum):
    """How much a line matters. An error needs a person."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Word(Generic[P]):
    """An event name with its level and its facts. To call it is to write the line."""

    def __init__(self, name: str, level: Level, facts: Callable[P, None], todo: str, *, traceback: bool) -> None:
        """``facts``: a signature that declares the facts, and whose docstring says what the word means."""
        self.name = name
        self.level = level
        self.facts = facts
        self.todo = todo
        self.traceback = traceback

    def __call__(self, *_: P.args, **facts: P.kwargs) -> None:
        if self.traceback:
            getattr(_log, self.level)(self.name, exc_info=True, **facts)
        else:
            getattr(_log, self.level)(self.name, **facts)


def word(name: str, level: Level, todo: str = "", *, traceback: bool = False) -> Callable[[Callable[P, None]], Word[P]]:
    """Declare a word by the signature of its facts, all of them named. ``todo``: what a person does about an error.

    ``traceback``: it is said while an exception is handled that nobody expected, and tells where it came from.
    """

    def declared(facts: Callable[P, None]) -> Word[P]:
        return Word(name, level, facts, todo, traceback=traceback)

    return declared


def configure(stream: str = "stdout", level: int = logging.NOTSET) -> None:
    """Set the format, the standard stream that lines go to, and from which level on. Safe to call more than once."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            _line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: structlog.PrintLogger(getattr(sys, stream)),  # as it is when a line is written
        cache_logger_on_first_use=False,
    )


def bind(**facts: str) -> None:
    """Facts that every line of this invocation carries."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**facts)


def bound(**facts: str) -> AbstractContextManager[None]:
    """Facts that every line in this block carries."""
    return structlog.contextvars.bound_contextvars(**facts)


def seconds_since_start() -> float:
    """How long this process has had our code, in seconds: in a cold start, nearly all of it."""
    return round(time.monotonic() - STARTED, 3)


_log = structlog.get_logger()
_render = json.JSONEncoder(default=repr).encode  # made once: structlog's own renderer makes one for every line


def _line(_logger: object, _method: str, facts: Any) -> str:
    """The line, whole where that is possible: else every fact of it stays, and long texts lose their middles."""
    line = _render(facts)
    if len(line) <= LONGEST:  # what is rendered is ASCII
        return line
    room = (LONGEST - _NAMES) // len(facts)
    return _render({name: _short(value, room) for name, value in facts.items()})


def _short(value: Any, room: int) -> Any:
    """A fact that takes no more than so many bytes."""
    if not isinstance(value, str):
        return f"{len(value)} entries" if isinstance(value, dict) else value
    text, kept = value, room
    while len(_render(text)) > room:
        kept = kept * 3 // 4
        text = f"{value[: kept // 2]} … {len(value) - kept} characters left out … {value[-kept // 2 :]}"
    return text
