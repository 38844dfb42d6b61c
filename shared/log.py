"""Logs: one JSON object a line on standard output, where Log Service takes it as it is.

The message is an event name, the facts are fields. Credentials and whole payloads stay out.
"""

from __future__ import annotations

import logging
import sys

import structlog


def configure(stream: str = "stdout", level: int = logging.NOTSET) -> None:
    """Set the format, the standard stream that lines go to, and from which level on. Safe to call more than once."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: structlog.PrintLogger(getattr(sys, stream)),  # as it is when a line is written
        cache_logger_on_first_use=False,
    )


def bind(**facts: str) -> None:
    """Facts that every line of this invocation carries."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**facts)
